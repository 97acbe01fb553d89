//! WooCommerce: batches answered in their order inside a 200, variations behind their parent, pages counted in headers, signed
//! webhooks that are sent once and never again, and a first ping that is a form and not signed. No limit of its own, but a host
//! that falls over when too many call at once.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

use super::super::orders::Order;
use super::super::shop::Item;
use super::super::webhooks::{Feed, Reason};
use super::call::{Call, Class, Route, Say};
use super::desk::{Desk, Trouble};
use super::limits::Limit;
use super::shopify::signature;
use super::{Account, Delivery, Dialect, Habits, News, Notice, Posting, made_up_secret};

const BATCH_MAX: usize = 100;
const PAGE_MAX: i64 = 100;
/// What a small PHP host bears.
const PARALLEL_MAX: u32 = 6;

const SET: &str = "POST /wp-json/wc/v3/products/batch";
const SET_VARIATIONS: &str = "POST /wp-json/wc/v3/products/{id}/variations/batch";
const PRODUCTS: &str = "GET /wp-json/wc/v3/products";
const PRODUCT: &str = "GET /wp-json/wc/v3/products/{id}";
const VARIATIONS: &str = "GET /wp-json/wc/v3/products/{id}/variations";
const ORDERS: &str = "GET /wp-json/wc/v3/orders";
const ORDER: &str = "GET /wp-json/wc/v3/orders/{id}";

static ROUTES: [Route; 7] = [
    Route::new(SET, Class::Write, &["host"]),
    Route::new(SET_VARIATIONS, Class::Write, &["host"]),
    Route::new(PRODUCTS, Class::Read, &["host"]),
    Route::new(PRODUCT, Class::Read, &["host"]),
    Route::new(VARIATIONS, Class::Read, &["host"]),
    Route::new(ORDERS, Class::Orders, &["host"]),
    Route::new(ORDER, Class::Orders, &["host"]),
];

const PING: &str = "ping";

pub(super) struct WooCommerce;

fn error(status: u16, code: &str, message: &str) -> Say {
    Say::json(status, json!({ "code": code, "message": message, "data": { "status": status } }))
}

impl Dialect for WooCommerce {
    fn habits(&self) -> Habits {
        let (webhooks, webhooks_again, cancel_restocks, whole_orders) = (true, false, true, true);
        Habits { webhooks, webhooks_again, cancel_restocks, whole_orders, shown_after: Duration::ZERO }
    }

    fn account(&self, code: &str) -> Account {
        let secrets = ["consumer_key", "consumer_secret", "webhook_secret"].map(|name| (name, made_up_secret(code, name)));
        Account::new(json!({}), &secrets)
    }

    /// Every third thing is a variation of a product of its own.
    fn refs(&self, n: u64, _sku: &Sku, _account: &Account) -> Map<String, Value> {
        let mut refs = Map::new();
        refs.insert("product_id".into(), (1_000 + n).into());
        if n.is_multiple_of(3) {
            refs.insert("variation_id".into(), (500_000 + n).into());
        }
        refs
    }

    fn main_ref(&self) -> &'static str {
        "product_id"
    }

    fn order_id(&self, base: u64, number: u64) -> String {
        (base * 10_000_000 + number).to_string()
    }

    fn limits(&self) -> Vec<Limit> {
        vec![Limit::parallel("host", PARALLEL_MAX)]
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn authorise(&self, call: &Call, account: &Account, _now: Timestamp) -> Result<(), Say> {
        let pair = format!("{}:{}", account.secret("consumer_key"), account.secret("consumer_secret"));
        if call.header("authorization") == Some(format!("Basic {}", STANDARD.encode(pair)).as_str()) {
            return Ok(());
        }
        Err(error(401, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources."))
    }

    fn throttled(&self, _limit: &'static str, _wait: Duration, _now: Timestamp) -> Say {
        error(503, "service_unavailable", "The server is temporarily busy, try again later!")
    }

    fn answer(&self, route: &'static str, call: &Call, desk: &mut Desk<'_>) -> Say {
        let gone = || error(404, "woocommerce_rest_product_invalid_id", "Invalid ID.");
        match route {
            SET => batch(&call.json(), None, desk),
            SET_VARIATIONS => batch(&call.json(), Some(call.part(0)), desk),
            PRODUCTS => paged(call, desk.shelf(0, usize::MAX).iter().map(product).collect()),
            PRODUCT => product_by_id(call.part(0), desk).map_or_else(gone, |item| Say::ok(product(&item))),
            VARIATIONS => match product_by_id(call.part(0), desk) {
                Some(item) => paged(call, item.refs.get("variation_id").map(|_| variation(&item)).into_iter().collect()),
                None => gone(),
            },
            ORDERS => orders(call, desk),
            _ => match desk.book().get(call.part(0)) {
                Some(order) => Say::ok(rendered(desk, order)),
                None => error(404, "woocommerce_rest_shop_order_invalid_id", "Invalid ID."),
            },
        }
    }

    fn greeting(&self, _account: &Account, _now: Timestamp) -> Option<Notice> {
        Some(Notice { name: PING, body: "webhook_id=1".to_owned() })
    }

    fn notices(&self, news: News<'_>) -> Vec<Notice> {
        if news.feed == Feed::Stock {
            return Vec::new();
        }
        let name = if news.reason == Reason::Sold { "order.created" } else { "order.updated" };
        vec![Notice { name, body: render(news.item, news.order).to_string() }]
    }

    fn deliver(&self, posting: Posting<'_>) -> Delivery {
        let path = format!("/webhooks/{}", posting.code);
        if posting.name == PING {
            return Delivery { path, headers: vec![("Content-Type", "application/x-www-form-urlencoded".to_owned())] };
        }
        let event = posting.name.split_once('.').map_or("", |(_, event)| event);
        let headers = vec![
            ("X-WC-Webhook-Topic", posting.name.to_owned()),
            ("X-WC-Webhook-Resource", "order".to_owned()),
            ("X-WC-Webhook-Event", event.to_owned()),
            ("X-WC-Webhook-Signature", signature(posting.account.secret("webhook_secret"), posting.body)),
            ("X-WC-Webhook-ID", "1".to_owned()),
            ("X-WC-Webhook-Delivery-ID", posting.id.to_owned()),
            ("X-WC-Webhook-Source", "http://simulated.example/".to_owned()),
        ];
        Delivery { path, headers }
    }

    fn taken(&self, status: u16, _body: &[u8]) -> bool {
        (200..=303).contains(&status)
    }
}

fn product_by_id(id: &str, desk: &Desk<'_>) -> Option<Item> {
    desk.find("product_id", &json!(id)).and_then(|sku| desk.item(&sku).cloned())
}

/// A parent of variations keeps no stock itself.
fn product(item: &Item) -> Value {
    let parent = item.refs.contains_key("variation_id");
    let (kind, quantity) = if parent { ("variable", Value::Null) } else { ("simple", json!(item.stock)) };
    json!({ "id": item.refs["product_id"], "name": format!("Product {}", item.sku), "type": kind,
        "sku": if parent { json!("") } else { json!(item.sku) }, "manage_stock": !parent, "stock_quantity": quantity,
        "stock_status": if item.stock > 0 { "instock" } else { "outofstock" }, "price": item.price })
}

fn variation(item: &Item) -> Value {
    json!({ "id": item.refs["variation_id"], "sku": item.sku, "manage_stock": true, "stock_quantity": item.stock,
        "stock_status": if item.stock > 0 { "instock" } else { "outofstock" }, "price": item.price })
}

fn batch(body: &Value, parent: Option<&str>, desk: &mut Desk<'_>) -> Say {
    let rows = body["update"].as_array().cloned().unwrap_or_default();
    if rows.len() > BATCH_MAX {
        return error(413, "woocommerce_rest_request_entity_too_large", "Unable to accept more than 100 items for this request.");
    }
    let rows: Vec<Value> = rows.iter().map(|row| told(row, parent, desk)).collect();
    Say::ok(json!({ "update": rows }))
}

fn told(row: &Value, parent: Option<&str>, desk: &mut Desk<'_>) -> Value {
    let quantity = row["stock_quantity"].as_i64();
    let failed = |code: &str, message: &str, status: u16| json!({ "id": row["id"], "error": { "code": code, "message": message, "data": { "status": status } } });
    let name = if parent.is_some() { "variation_id" } else { "product_id" };
    let found = desk.find(name, &row["id"]).and_then(|sku| desk.item(&sku).cloned());
    let found = found.filter(|item| parent.is_none_or(|parent| super::plain(&item.refs["product_id"]) == parent));
    let Some(item) = found else {
        desk.refuse(super::plain(&row["id"]), quantity.unwrap_or(-1));
        return failed("woocommerce_rest_product_invalid_id", "Invalid ID.", 400);
    };
    let shown = if parent.is_some() { variation } else { product };
    // A number told to a parent, or without the word that stock is managed, is taken and means nothing.
    let idle = (parent.is_none() && item.refs.contains_key("variation_id")) || row["manage_stock"] == json!(false);
    let Some(quantity) = quantity.filter(|_| !idle) else {
        desk.refuse(&item.sku, quantity.unwrap_or(-1));
        return shown(&item);
    };
    match desk.trouble(&item.sku) {
        Some(trouble) => {
            desk.refuse(&item.sku, quantity);
            match trouble {
                Trouble::Passing => failed("internal_server_error", "There has been a critical error on this website.", 500),
                Trouble::Lasting => failed("woocommerce_rest_product_not_editable", "The product cannot be edited.", 400),
            }
        }
        None => {
            desk.set(&item.sku, quantity);
            desk.item(&item.sku).map_or(Value::Null, shown)
        }
    }
}

fn paged(call: &Call, rows: Vec<Value>) -> Say {
    let size = usize::try_from(call.number("per_page", 10)).unwrap_or(0);
    if !(1..=PAGE_MAX).contains(&call.number("per_page", 10)) {
        return error(400, "rest_invalid_param", "Invalid parameter(s): per_page");
    }
    let page = usize::try_from(call.number("page", 1).max(1)).unwrap_or(1);
    let (total, pages) = (rows.len(), rows.len().div_ceil(size));
    let rows: Vec<Value> = rows.into_iter().skip((page - 1).saturating_mul(size)).take(size).collect();
    Say::ok(Value::Array(rows)).with("X-WP-Total", total).with("X-WP-TotalPages", pages)
}

fn status(order: &Order) -> &'static str {
    if order.cancelled > 0 {
        "cancelled"
    } else if order.returned > 0 {
        "refunded"
    } else if order.shipped {
        "completed"
    } else {
        "processing"
    }
}

/// GMT without a word that it is, in whole seconds.
fn gmt(at: Timestamp) -> String {
    at.to_string().chars().take(19).collect()
}

fn rendered(desk: &Desk<'_>, order: &Order) -> Value {
    desk.item(&order.sku).map_or(Value::Null, |item| render(item, order))
}

fn render(item: &Item, order: &Order) -> Value {
    let number: u64 = order.id.parse().unwrap_or(0);
    let price = order.price.as_deref().unwrap_or("0.00");
    json!({ "id": number, "number": order.id, "status": status(order), "currency": "EUR",
        "date_created_gmt": gmt(order.placed_at), "date_modified_gmt": gmt(order.changed_at),
        "line_items": [{ "id": number * 10 + 1, "product_id": item.refs["product_id"],
            "variation_id": item.refs.get("variation_id").cloned().unwrap_or(json!(0)), "sku": item.sku,
            "quantity": order.quantity, "price": price }],
        "refunds": [] })
}

fn orders(call: &Call, desk: &mut Desk<'_>) -> Say {
    let after = call.query("modified_after").map(|text| {
        let zoned = Timestamp::parse_rfc3339(text);
        zoned.or_else(|| Timestamp::parse_rfc3339(&format!("{text}Z")))
    });
    let Some(after) = after.unwrap_or(Some(Timestamp::from_micros(0))) else {
        return error(400, "rest_invalid_param", "Invalid parameter(s): modified_after");
    };
    let wanted = call.query("status").filter(|status| *status != "any");
    // Whole seconds are compared, and the one that was named is left out, as the word says.
    let changed = desk.book().changed(Timestamp::from_seconds(after.seconds() + 1), Timestamp::from_micros(i64::MAX));
    let fits = changed.filter(|order| wanted.is_none_or(|wanted| wanted == status(order)));
    let mut rows: Vec<Value> = fits.map(|order| rendered(desk, order)).collect();
    if call.query("order") != Some("asc") {
        rows.reverse();
    }
    paged(call, rows)
}
