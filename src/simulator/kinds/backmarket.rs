//! Back Market: one listing per push, answered with the listing as it is now; pages of fifty; a wall that turns away whoever does
//! not say who they are in the words it wants. It lowers a listing by itself when it sells. No webhooks.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

use super::super::orders::Order;
use super::super::shop::Item;
use super::call::{Call, Class, Route, Say};
use super::desk::{Desk, Trouble};
use super::limits::Limit;
use super::{Account, Delivery, Dialect, Habits, News, Notice, Posting, made_up_secret};

const SECONDS_10: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3_600);
const PAGE_MAX: i64 = 50;

const SET: &str = "POST /ws/listings/{id}";
const LIST: &str = "GET /ws/listings";
const DETAIL: &str = "GET /ws/listings/detail";
const ONE: &str = "GET /ws/listings/{id}";
const ORDERS: &str = "GET /ws/orders";
const ORDER: &str = "GET /ws/orders/{id}";

static ROUTES: [Route; 6] = [
    Route::new(SET, Class::Write, &["all", "updates"]),
    Route::new(LIST, Class::Read, &["all"]),
    Route::new(DETAIL, Class::Read, &["all"]),
    Route::new(ONE, Class::Read, &["all"]),
    Route::new(ORDERS, Class::Orders, &["all"]),
    Route::new(ORDER, Class::Orders, &["all"]),
];

pub(super) struct BackMarket;

fn error(status: u16, code: &str, message: &str) -> Say {
    let request = "0196d9b2-7f5e-7a6e-8d57-2f6b8a1d3c11";
    Say::json(status, json!({ "error": { "code": code, "message": message }, "requestId": request }))
}

impl Dialect for BackMarket {
    fn habits(&self) -> Habits {
        // Refurbished goods that were not sent do not go back on sale by themselves.
        let (webhooks, webhooks_again, cancel_restocks, whole_orders) = (false, false, false, true);
        Habits { webhooks, webhooks_again, cancel_restocks, whole_orders, shown_after: Duration::ZERO }
    }

    fn account(&self, code: &str) -> Account {
        let values = json!({ "locale": "fr-fr", "company": "Simulated", "contact_email": "ops@example.com" });
        Account::new(values, &[("token", made_up_secret(code, "token"))])
    }

    fn refs(&self, n: u64, sku: &Sku, _account: &Account) -> Map<String, Value> {
        let mut refs = Map::new();
        refs.insert("listing_uuid".into(), format!("0196d9b2-0000-7000-8000-{n:012x}").into());
        refs.insert("listing_int".into(), (7_700_000 + n).into());
        refs.insert("listing_sku".into(), sku.as_str().into());
        refs
    }

    fn main_ref(&self) -> &'static str {
        "listing_uuid"
    }

    fn order_id(&self, base: u64, number: u64) -> String {
        (base * 10_000_000 + number).to_string()
    }

    fn limits(&self) -> Vec<Limit> {
        let all = Limit::window("all", 200, SECONDS_10, SECONDS_10);
        vec![all, Limit::window("updates", 2_000, HOUR, Duration::ZERO)]
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn authorise(&self, call: &Call, account: &Account, _now: Timestamp) -> Result<(), Say> {
        // `BM-<company>-<integration>;<mail>`, or the wall takes the caller for a robot.
        let agent = call.header("user-agent").unwrap_or("");
        let named = agent.strip_prefix("BM-").and_then(|rest| rest.split_once(';'));
        if !named.is_some_and(|(who, mail)| who.contains('-') && mail.contains('@')) {
            let page = "<html><title>Just a moment...</title><div id=\"challenge-form\"></div></html>";
            return Err(Say::json(403, json!(page)));
        }
        if call.header("authorization") != Some(format!("Basic {}", account.secret("token")).as_str()) {
            return Err(error(401, "unauthorized", "Authentication credentials were not provided or are wrong"));
        }
        if call.header("accept-language").is_none() {
            return Err(error(400, "missing_header", "Accept-Language is required"));
        }
        Ok(())
    }

    fn throttled(&self, _limit: &'static str, _wait: Duration, _now: Timestamp) -> Say {
        // No header says how long.
        error(429, "too_many_requests", "Request was throttled.")
    }

    fn answer(&self, route: &'static str, call: &Call, desk: &mut Desk<'_>) -> Say {
        let gone = || error(404, "not_found", "Not found.");
        match route {
            SET => set(call, desk),
            LIST => {
                let fewest = call.number("min_quantity", 0);
                let items = desk.shelf(0, usize::MAX).into_iter().filter(|item| item.stock >= fewest);
                paged(call, items.map(|item| listing(&item)).collect())
            }
            DETAIL => {
                let item = call.query("sku").and_then(|sku| desk.find("listing_sku", &json!(sku)));
                item.and_then(|sku| desk.item(&sku).map(listing)).map_or_else(gone, Say::ok)
            }
            ONE => found(call, desk).and_then(|sku| desk.item(&sku).map(listing)).map_or_else(gone, Say::ok),
            ORDERS => orders(call, desk),
            _ => desk.book().get(call.part(0)).map_or_else(gone, |order| Say::ok(render(desk, order))),
        }
    }

    fn greeting(&self, _account: &Account, _now: Timestamp) -> Option<Notice> {
        None
    }

    fn notices(&self, _news: News<'_>) -> Vec<Notice> {
        Vec::new()
    }

    fn deliver(&self, posting: Posting<'_>) -> Delivery {
        Delivery { path: format!("/webhooks/{}", posting.code), headers: Vec::new() }
    }

    fn taken(&self, status: u16, _body: &[u8]) -> bool {
        status == 200
    }
}

/// By its UUID, or by the old number.
fn found(call: &Call, desk: &Desk<'_>) -> Option<Sku> {
    let id = json!(call.part(0));
    desk.find("listing_uuid", &id).or_else(|| desk.find("listing_int", &id))
}

fn listing(item: &Item) -> Value {
    json!({ "id": item.refs["listing_uuid"], "listing_id": item.refs["listing_int"], "sku": item.refs["listing_sku"],
        "quantity": item.stock, "title": format!("Product {}", item.sku), "price": item.price, "currency": "EUR",
        "publication_state": if item.stock > 0 { 2 } else { 3 }, "state": 2 })
}

fn set(call: &Call, desk: &mut Desk<'_>) -> Say {
    let body = call.json();
    let quantity = body["quantity"].as_i64();
    let Some(sku) = found(call, desk) else {
        desk.refuse(call.part(0), quantity.unwrap_or(-1));
        return error(404, "not_found", "Not found.");
    };
    let Some(quantity) = quantity.filter(|quantity| *quantity >= 0) else {
        desk.refuse(sku, -1);
        return Say::json(400, json!({ "quantity": ["A valid integer is required."] }));
    };
    match desk.trouble(&sku) {
        Some(Trouble::Passing) => {
            desk.refuse(sku, quantity);
            error(500, "internal_error", "Something went wrong")
        }
        Some(Trouble::Lasting) => {
            desk.refuse(sku, quantity);
            error(400, "listing_not_editable", "This listing cannot be edited")
        }
        None => {
            desk.set(&sku, quantity);
            desk.item(&sku).map_or(Say::empty(200), |item| Say::ok(listing(item)))
        }
    }
}

fn paged(call: &Call, rows: Vec<Value>) -> Say {
    let size = usize::try_from(call.number("page-size", 10).clamp(1, PAGE_MAX)).unwrap_or(1);
    let page = usize::try_from(call.number("page", 1).max(1)).unwrap_or(1);
    let pages = rows.len().div_ceil(size).max(1);
    if page > pages {
        return error(404, "not_found", "Invalid page.");
    }
    let at = |page: usize| {
        let kept = call.query.iter().filter(|(name, _)| name != "page");
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(kept).append_pair("page", &page.to_string());
        format!("http://{}{}?{}", call.header("host").unwrap_or("localhost"), call.path, query.finish())
    };
    let next = (page < pages).then(|| at(page + 1));
    let previous = (page > 1).then(|| at(page - 1));
    let count = rows.len();
    let results: Vec<Value> = rows.into_iter().skip((page - 1) * size).take(size).collect();
    Say::ok(json!({ "count": count, "next": next, "previous": previous, "results": results }))
}

/// States of the order and of its line.
fn states(order: &Order) -> (i64, i64) {
    if order.returned > 0 {
        (9, 6)
    } else if order.cancelled > 0 {
        (9, 4)
    } else if order.shipped {
        (9, 3)
    } else {
        (1, 1)
    }
}

fn render(desk: &Desk<'_>, order: &Order) -> Value {
    let Some(item) = desk.item(&order.sku) else { return Value::Null };
    let number: u64 = order.id.parse().unwrap_or(0);
    let (state, line) = states(order);
    json!({ "order_id": number, "state": state, "date_creation": order.placed_at, "date_modification": order.changed_at,
        "currency": "EUR", "country_code": "fr-fr",
        "orderlines": [{ "id": number * 10 + 1, "listing": item.refs["listing_sku"], "listing_id": item.refs["listing_int"],
            "quantity": order.quantity, "state": line, "price": order.price }] })
}

fn orders(call: &Call, desk: &mut Desk<'_>) -> Say {
    let since = call.query("date_modification").map(Timestamp::parse_rfc3339);
    let Some(since) = since.unwrap_or(Some(Timestamp::from_micros(0))) else {
        return Say::json(400, json!({ "date_modification": ["Enter a valid date/time."] }));
    };
    let wanted = call.query("state").and_then(|state| state.parse::<i64>().ok());
    let all = desk.book().changed(since, Timestamp::from_micros(i64::MAX));
    let rows: Vec<Value> =
        all.filter(|order| wanted.is_none_or(|wanted| states(order).0 == wanted)).map(|order| render(desk, order)).collect();
    paged(call, rows)
}
