//! Shopify Admin: REST pages with a bucket of forty and the fill in a header, and GraphQL whose faults stand in a 200, whose cost is
//! counted in points, and which sets a quantity only if it is still what the caller thought. Webhooks are signed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

use super::super::orders::Order;
use super::super::shop::Item;
use super::super::webhooks::{Feed, Reason};
use super::call::{Call, Class, Route, Say};
use super::desk::{Desk, Trouble};
use super::limits::Limit;
use super::{Account, Delivery, Dialect, Habits, News, Notice, Posting, made_up_secret, shopify_graphql};

const PAGE_MAX: i64 = 250;

pub(super) const GRAPHQL: &str = "POST /admin/api/{version}/graphql.json";
const SET: &str = "POST /admin/api/{version}/inventory_levels/set.json";
const LEVELS: &str = "GET /admin/api/{version}/inventory_levels.json";
const SHOP: &str = "GET /admin/api/{version}/shop.json";
const ORDERS: &str = "GET /admin/api/{version}/orders.json";
const ORDER: &str = "GET /admin/api/{version}/orders/{id}";

static ROUTES: [Route; 6] = [
    Route::new(GRAPHQL, Class::Write, &[]),
    Route::new(SET, Class::Write, &["rest"]),
    Route::new(LEVELS, Class::Read, &["rest"]),
    Route::new(SHOP, Class::Account, &["rest"]),
    Route::new(ORDERS, Class::Orders, &["rest"]),
    Route::new(ORDER, Class::Orders, &["rest"]),
];

pub(super) struct Shopify;

impl Dialect for Shopify {
    fn habits(&self) -> Habits {
        // "Restock" is ticked when an order is cancelled, unless somebody unticks it.
        let (webhooks, webhooks_again, cancel_restocks, whole_orders) = (true, true, true, true);
        Habits { webhooks, webhooks_again, cancel_restocks, whole_orders, shown_after: Duration::ZERO }
    }

    fn account(&self, code: &str) -> Account {
        let values = json!({ "shop": "simulated", "api_version": "2026-07", "location_id": 65_000_000_001_i64 });
        Account::new(values, &["access_token", "app_secret"].map(|name| (name, made_up_secret(code, name))))
    }

    fn refs(&self, n: u64, _sku: &Sku, account: &Account) -> Map<String, Value> {
        let mut refs = Map::new();
        refs.insert("inventory_item_id".into(), (49_000_000_000 + n).into());
        refs.insert("location_id".into(), account.value("location_id"));
        refs.insert("variant_id".into(), (39_000_000_000 + n).into());
        refs
    }

    fn main_ref(&self) -> &'static str {
        "inventory_item_id"
    }

    fn order_id(&self, base: u64, number: u64) -> String {
        (base * 10_000_000 + number).to_string()
    }

    fn limits(&self) -> Vec<Limit> {
        // Of the points, 2,000 and a hundred back each second on the standard plan.
        vec![Limit::bucket("rest", 40, Duration::from_millis(500)), Limit::bucket("points", 2_000, Duration::from_millis(10))]
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn authorise(&self, call: &Call, account: &Account, _now: Timestamp) -> Result<(), Say> {
        if call.header("x-shopify-access-token") == Some(account.secret("access_token")) {
            return Ok(());
        }
        Err(Say::json(401, json!({ "errors": "[API] Invalid API key or access token (unrecognized login or wrong password)" })))
    }

    fn throttled(&self, _limit: &'static str, _wait: Duration, _now: Timestamp) -> Say {
        let body = json!({ "errors": "Exceeded 2 calls per second for api client. Reduce request rates to resume uninterrupted service." });
        Say::json(429, body).with("Retry-After", "2.0").with("X-Shopify-Shop-Api-Call-Limit", "40/40")
    }

    fn answer(&self, route: &'static str, call: &Call, desk: &mut Desk<'_>) -> Say {
        let say = match route {
            GRAPHQL => return shopify_graphql::answer(&call.json(), call, desk),
            SET => set(&call.json(), desk),
            LEVELS => levels(call, desk),
            SHOP => {
                let domain = format!("{}.myshopify.com", desk.account().text("shop"));
                Say::ok(json!({ "shop": { "id": 1, "name": "Simulated", "myshopify_domain": domain } }))
            }
            ORDERS => orders(call, desk),
            _ => match desk.book().get(call.part(1).trim_end_matches(".json")) {
                Some(order) => Say::ok(json!({ "order": rendered(desk, order) })),
                None => Say::json(404, json!({ "errors": "Not Found" })),
            },
        };
        let (left, size) = desk.left("rest");
        say.with("X-Shopify-Shop-Api-Call-Limit", format!("{}/{size}", size - left))
    }

    fn greeting(&self, _account: &Account, _now: Timestamp) -> Option<Notice> {
        None
    }

    fn notices(&self, news: News<'_>) -> Vec<Notice> {
        let mut told = Vec::new();
        if news.feed != Feed::Stock {
            let name = if news.reason == Reason::Sold { "orders/create" } else { "orders/cancelled" };
            told.push(Notice { name, body: render(news.item, news.order).to_string() });
        }
        if news.feed != Feed::Orders && news.trade.before != news.trade.after {
            told.push(Notice { name: "inventory_levels/update", body: level(news.item, news.trade.at).to_string() });
        }
        told
    }

    fn deliver(&self, posting: Posting<'_>) -> Delivery {
        let headers = vec![
            ("X-Shopify-Topic", posting.name.to_owned()),
            ("X-Shopify-Hmac-Sha256", signature(posting.account.secret("app_secret"), posting.body)),
            ("X-Shopify-Shop-Domain", format!("{}.myshopify.com", posting.account.text("shop"))),
            ("X-Shopify-API-Version", posting.account.text("api_version")),
            ("X-Shopify-Webhook-Id", posting.id.to_owned()),
            ("X-Shopify-Event-Id", format!("event-{}", posting.id)),
            ("X-Shopify-Triggered-At", posting.now.to_string()),
        ];
        Delivery { path: format!("/webhooks/{}", posting.code), headers }
    }

    fn taken(&self, status: u16, _body: &[u8]) -> bool {
        (200..300).contains(&status)
    }
}

/// Base64 of the HMAC-SHA256 of the raw body.
pub(super) fn signature(secret: &str, body: &[u8]) -> String {
    // HMAC takes keys of any length; the other arm is never run.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap_or_else(|_| Hmac::new(&Default::default()));
    mac.update(body);
    STANDARD.encode(mac.finalize().into_bytes())
}

fn level(item: &Item, at: Timestamp) -> Value {
    json!({ "inventory_item_id": item.refs["inventory_item_id"], "location_id": item.refs["location_id"], "available": item.stock,
        "updated_at": at })
}

fn set(body: &Value, desk: &mut Desk<'_>) -> Say {
    let available = body["available"].as_i64();
    let sku = desk.find("inventory_item_id", &body["inventory_item_id"]);
    let here = body["location_id"] == desk.account().value("location_id");
    let (Some(sku), Some(available), true) = (sku, available, here) else {
        desk.refuse(super::plain(&body["inventory_item_id"]), available.unwrap_or(-1));
        return Say::json(404, json!({ "errors": "Not Found" }));
    };
    match desk.trouble(&sku) {
        Some(Trouble::Passing) => {
            desk.refuse(sku, available);
            Say::json(503, json!({ "errors": "Service Unavailable" }))
        }
        Some(Trouble::Lasting) => {
            desk.refuse(sku, available);
            Say::json(422, json!({ "errors": ["Inventory item does not have inventory tracking enabled"] }))
        }
        None => {
            desk.set(&sku, available);
            let level = desk.item(&sku).map(|item| level(item, desk.now));
            Say::ok(json!({ "inventory_level": level }))
        }
    }
}

/// `Link` to the next page, as long as there is one.
fn linked(say: Say, call: &Call, next: Option<String>) -> Say {
    let Some(info) = next else { return say };
    let limit = call.number("limit", 50);
    let url = format!("http://{}{}?limit={limit}&page_info={info}", call.header("host").unwrap_or("localhost"), call.path);
    say.with("Link", format!("<{url}>; rel=\"next\""))
}

fn bounds(call: &Call) -> (usize, usize) {
    let limit = usize::try_from(call.number("limit", 50).clamp(1, PAGE_MAX)).unwrap_or(1);
    let from = call.query("page_info").and_then(|info| info.rsplit('.').next()).and_then(|from| from.parse().ok()).unwrap_or(0);
    (from, limit)
}

fn levels(call: &Call, desk: &mut Desk<'_>) -> Say {
    let (from, limit) = bounds(call);
    let wanted: Option<Vec<&str>> = call.query("inventory_item_ids").map(|ids| ids.split(',').collect());
    if wanted.as_ref().is_some_and(|wanted| wanted.len() > 50) {
        return Say::json(422, json!({ "errors": { "inventory_item_ids": ["may not have more than 50"] } }));
    }
    let here = desk.account().text("location_id");
    if call.query("page_info").is_none() && wanted.is_none() && !call.query("location_ids").is_some_and(|ids| ids.contains(&here))
    {
        return Say::json(422, json!({ "errors": { "base": ["inventory_item_ids or location_ids is required"] } }));
    }
    let fits = |item: &Item| {
        let id = super::plain(&item.refs["inventory_item_id"]);
        wanted.as_ref().is_none_or(|wanted| wanted.contains(&id.as_str()))
    };
    let found: Vec<Item> = desk.shelf(0, usize::MAX).into_iter().filter(fits).collect();
    let rows: Vec<Value> = found.iter().skip(from).take(limit).map(|item| level(item, desk.now)).collect();
    let next = (from + limit < found.len()).then(|| format!("l.{}", from + limit));
    linked(Say::ok(json!({ "inventory_levels": rows })), call, next)
}

fn rendered(desk: &Desk<'_>, order: &Order) -> Value {
    desk.item(&order.sku).map_or(Value::Null, |item| render(item, order))
}

fn render(item: &Item, order: &Order) -> Value {
    let number: u64 = order.id.parse().unwrap_or(0);
    let gone = order.cancelled > 0;
    let back = order.returned > 0;
    let current = if gone || back { 0 } else { order.quantity };
    let refunds = if back {
        json!([{ "id": number * 10 + 7, "order_id": number, "refund_line_items": [{ "line_item_id": number * 10 + 1,
            "quantity": order.returned, "restock_type": "no_restock" }] }])
    } else {
        json!([])
    };
    json!({ "id": number, "admin_graphql_api_id": format!("gid://shopify/Order/{number}"), "name": format!("#{}", order.number),
        "created_at": order.placed_at, "updated_at": order.changed_at,
        "cancelled_at": gone.then_some(order.changed_at), "cancel_reason": gone.then_some("customer"),
        "financial_status": if gone || back { "refunded" } else { "paid" },
        "fulfillment_status": if order.shipped { json!("fulfilled") } else { Value::Null },
        "line_items": [{ "id": number * 10 + 1, "variant_id": item.refs["variant_id"], "sku": item.sku, "quantity": order.quantity,
            "current_quantity": current, "price": order.price.as_deref().unwrap_or("0.00") }],
        "refunds": refunds })
}

/// A cursor carries the time from which the walk began, as the real one carries its filter.
fn orders(call: &Call, desk: &mut Desk<'_>) -> Say {
    let (from, limit) = bounds(call);
    let carried = call.query("page_info").and_then(|info| info.split('.').next()).and_then(|micros| micros.parse().ok());
    let since = match (carried, call.query("updated_at_min")) {
        (Some(micros), _) => Some(Timestamp::from_micros(micros)),
        (None, Some(text)) => Timestamp::parse_rfc3339(text),
        (None, None) => Some(Timestamp::from_micros(0)),
    };
    let Some(since) = since else { return Say::json(400, json!({ "errors": { "updated_at_min": "is invalid" } })) };
    let open_only = call.query("page_info").is_none() && call.query("status") != Some("any");
    let all = desk.book().changed(since, Timestamp::from_micros(i64::MAX));
    let found: Vec<&Order> = all.filter(|order| !open_only || order.cancelled == 0).skip(from).take(limit + 1).collect();
    let next = (found.len() > limit).then(|| format!("{}.{}", since.micros(), from + limit));
    let orders: Vec<Value> = found.into_iter().take(limit).map(|order| rendered(desk, order)).collect();
    linked(Say::ok(json!({ "orders": orders })), call, next)
}
