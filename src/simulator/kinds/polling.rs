//! A legacy shop that can only be asked, of the shape the `polling-generic` adapter describes: a list of listings, a list of orders,
//! and, where the account says so, one listing set at a time. No webhooks, no signatures.

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

const PAGE_MAX: i64 = 100;

const LIST: &str = "GET /listings";
const SET: &str = "POST /listings/{id}/stock";
const ORDERS: &str = "GET /orders";

static ROUTES: [Route; 3] = [
    Route::new(LIST, Class::Read, &["all"]),
    Route::new(SET, Class::Write, &["all"]),
    Route::new(ORDERS, Class::Orders, &["all"]),
];

pub(super) struct Polling;

fn error(status: u16, message: &str) -> Say {
    Say::json(status, json!({ "error": message }))
}

impl Dialect for Polling {
    fn habits(&self) -> Habits {
        let (webhooks, webhooks_again, cancel_restocks, whole_orders) = (false, false, true, true);
        Habits { webhooks, webhooks_again, cancel_restocks, whole_orders, shown_after: Duration::ZERO }
    }

    fn account(&self, code: &str) -> Account {
        Account::new(json!({}), &[("api_key", made_up_secret(code, "api_key"))])
    }

    fn refs(&self, n: u64, _sku: &Sku, _account: &Account) -> Map<String, Value> {
        let mut refs = Map::new();
        refs.insert("listing_id".into(), (70 + n).to_string().into());
        refs
    }

    fn main_ref(&self) -> &'static str {
        "listing_id"
    }

    fn order_id(&self, base: u64, number: u64) -> String {
        format!("L{base}-{number}")
    }

    fn limits(&self) -> Vec<Limit> {
        vec![Limit::bucket("all", 10, Duration::from_millis(100))]
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn authorise(&self, call: &Call, account: &Account, _now: Timestamp) -> Result<(), Say> {
        if call.header("authorization") == Some(format!("Bearer {}", account.secret("api_key")).as_str()) {
            return Ok(());
        }
        Err(error(401, "who are you?"))
    }

    fn throttled(&self, _limit: &'static str, wait: Duration, _now: Timestamp) -> Say {
        error(429, "slower, please").with("Retry-After", wait.as_secs() + 1)
    }

    fn answer(&self, route: &'static str, call: &Call, desk: &mut Desk<'_>) -> Say {
        match route {
            LIST => {
                let rows = desk.shelf(0, usize::MAX).iter().map(|item| listing(item, desk.now)).collect();
                paged(call, "items", rows)
            }
            SET if desk.account().value("push") == json!(true) => set(call, desk),
            SET => error(405, "this shop is kept by hand"),
            _ => {
                let since = call.query("since").map(Timestamp::parse_rfc3339);
                let Some(since) = since.unwrap_or(Some(Timestamp::from_micros(0))) else { return error(400, "since is no time") };
                let changed = desk.book().changed(since, Timestamp::from_micros(i64::MAX));
                paged(call, "orders", changed.map(|order| render(desk, order)).collect())
            }
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

fn paged(call: &Call, name: &str, rows: Vec<Value>) -> Say {
    let size = usize::try_from(call.number("limit", PAGE_MAX).clamp(1, PAGE_MAX)).unwrap_or(1);
    let page = usize::try_from(call.number("page", 1).max(1)).unwrap_or(1);
    let pages = rows.len().div_ceil(size);
    let rows: Vec<Value> = rows.into_iter().skip((page - 1).saturating_mul(size)).take(size).collect();
    Say::ok(json!({ name: rows, "pages": pages }))
}

fn listing(item: &Item, now: Timestamp) -> Value {
    json!({ "id": item.refs["listing_id"], "sku": item.sku, "title": format!("Product {}", item.sku), "stock": item.stock,
        "updated_at": now })
}

fn set(call: &Call, desk: &mut Desk<'_>) -> Say {
    let stock = call.json()["stock"].as_i64().filter(|stock| *stock >= 0);
    let (Some(sku), Some(stock)) = (desk.find("listing_id", &json!(call.part(0))), stock) else {
        desk.refuse(call.part(0), stock.unwrap_or(-1));
        return error(if stock.is_some() { 404 } else { 422 }, "no such listing, or no whole number");
    };
    match desk.trouble(&sku) {
        Some(trouble) => {
            desk.refuse(sku, stock);
            error(if trouble == Trouble::Passing { 503 } else { 422 }, "not now")
        }
        None => Say::ok(json!({ "id": call.part(0), "stock": desk.set(&sku, stock) })),
    }
}

fn status(order: &Order) -> &'static str {
    if order.cancelled > 0 {
        "cancelled"
    } else if order.returned > 0 {
        "returned"
    } else if order.shipped {
        "shipped"
    } else {
        "paid"
    }
}

fn render(desk: &Desk<'_>, order: &Order) -> Value {
    let listing = desk.item(&order.sku).map_or(Value::Null, |item| item.refs["listing_id"].clone());
    json!({ "id": order.id, "status": status(order), "created_at": order.placed_at,
        "updated_at": order.changed_at,
        "lines": [{ "id": "1", "listing_id": listing, "sku": order.sku, "quantity": order.quantity,
            "price": order.price.as_deref().unwrap_or("0") }] })
}
