//! Wildberries: quantities of sizes per warehouse. A field it does not know is ignored, so a misspelt push gets its 204 and changes
//! nothing; rows that cannot be taken are a 409 with a list; every 4xx costs ten requests. No webhooks: orders are asked for, their
//! states by a second call. One order is one unit.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

use super::super::orders::Order;
use super::super::shop::Item;
use super::call::{Call, Class, Route, Say};
use super::desk::{Desk, Trouble};
use super::limits::Limit;
use super::{Account, Delivery, Dialect, Habits, News, Notice, Posting, made_up_secret, plain};

const ROWS_MAX: usize = 1_000;
const AMOUNT_MAX: i64 = 100_000;
/// An order's number is this many times the purchase's, plus the unit.
const UNITS: u64 = 1_000;

const SET: &str = "PUT /api/v3/stocks/{warehouse}";
const READ: &str = "POST /api/v3/stocks/{warehouse}";
const WAREHOUSES: &str = "GET /api/v3/warehouses";
const NEW: &str = "GET /api/v3/orders/new";
const ORDERS: &str = "GET /api/v3/orders";
const STATUS: &str = "POST /api/v3/orders/status";

static ROUTES: [Route; 6] = [
    Route::new(SET, Class::Write, &["stock"]),
    Route::new(READ, Class::Read, &["stock"]),
    Route::new(WAREHOUSES, Class::Account, &["orders"]),
    Route::new(NEW, Class::Orders, &["orders"]),
    Route::new(ORDERS, Class::Orders, &["orders"]),
    Route::new(STATUS, Class::Orders, &["orders"]),
];

pub(super) struct Wildberries;

fn error(status: u16, code: &str, message: &str) -> Say {
    Say::json(status, json!({ "code": code, "message": message, "data": null }))
}

impl Dialect for Wildberries {
    fn habits(&self) -> Habits {
        // What it holds is the seller's number: a cancel does not raise it.
        let (webhooks, webhooks_again, cancel_restocks, whole_orders) = (false, false, false, false);
        Habits { webhooks, webhooks_again, cancel_restocks, whole_orders, shown_after: Duration::ZERO }
    }

    fn account(&self, code: &str) -> Account {
        Account::new(json!({ "warehouse_id": 658_434 }), &[("token", made_up_secret(code, "token"))])
    }

    fn refs(&self, n: u64, _sku: &Sku, account: &Account) -> Map<String, Value> {
        let mut refs = Map::new();
        refs.insert("chrt_id".into(), (120_000_000 + n).into());
        refs.insert("warehouse_id".into(), account.value("warehouse_id"));
        refs.insert("barcode".into(), format!("20{:011}", 40_000_000 + n).into());
        refs.insert("nm_id".into(), (160_000_000 + n).into());
        refs
    }

    fn main_ref(&self) -> &'static str {
        "chrt_id"
    }

    /// Of the purchase; each of its units is an order of its own.
    fn order_id(&self, base: u64, number: u64) -> String {
        (base * 1_000_000_000 + number * UNITS).to_string()
    }

    fn limits(&self) -> Vec<Limit> {
        let bucket = |name| Limit::bucket(name, 20, Duration::from_millis(200)).errors_cost(10);
        vec![bucket("stock"), bucket("orders")]
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn authorise(&self, call: &Call, account: &Account, now: Timestamp) -> Result<(), Say> {
        // The token stands alone: a scheme word before it is part of a wrong token.
        if call.header("authorization") == Some(account.secret("token")) {
            return Ok(());
        }
        Err(Say::json(
            401,
            json!({ "title": "unauthorized", "detail": "token problem; token is malformed", "code": "07e4668e",
            "requestId": "7b80742415072fe8b6b7f7761f1d1211", "origin": "s2s-api-auth-catalog", "status": 401,
            "statusText": "Unauthorized", "timestamp": now }),
        ))
    }

    fn throttled(&self, _limit: &'static str, wait: Duration, now: Timestamp) -> Say {
        let body = json!({ "title": "too many requests", "detail": "limited by c122a060-a7fb-4bb4-abb0-32fd4e18d489",
            "code": "07e4668e-ac2242c5c8c5", "requestId": "9d3c02cc698f8b041c661a7c28bed293", "origin": "s2s-api-auth-stat",
            "status": 429, "statusText": "Too Many Requests", "timestamp": now });
        let seconds = wait.as_secs() + 1;
        Say::json(429, body).with("X-Ratelimit-Retry", seconds).with("X-Ratelimit-Reset", seconds).with("X-Ratelimit-Limit", 20)
    }

    fn answer(&self, route: &'static str, call: &Call, desk: &mut Desk<'_>) -> Say {
        if matches!(route, SET | READ) && call.part(0) != desk.account().text("warehouse_id") {
            return error(404, "NotFound", "Warehouse not found");
        }
        match route {
            SET => set(&call.json(), desk),
            READ => read(&call.json(), desk),
            NEW => {
                let fresh = |unit: &Unit<'_>| unit.status() == ("new", "waiting");
                let orders: Vec<Value> =
                    desk.book().placed().flat_map(units).filter(fresh).map(|unit| unit.render(desk)).collect();
                Say::ok(json!({ "orders": orders }))
            }
            ORDERS => orders(call, desk),
            STATUS => statuses(&call.json(), desk),
            _ => {
                let id = desk.account().value("warehouse_id");
                Say::ok(json!([{ "id": id, "name": "Main", "officeId": 15, "cargoType": 1, "deliveryType": 1 }]))
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

fn set(body: &Value, desk: &mut Desk<'_>) -> Say {
    let Some(rows) = body["stocks"].as_array() else { return error(400, "IncorrectRequestBody", "stocks is required") };
    if rows.is_empty() || rows.len() > ROWS_MAX {
        return error(400, "IncorrectRequest", "stocks must have 1 to 1000 rows");
    }
    let outside = |row: &Value| row["amount"].as_i64().is_some_and(|amount| !(0..=AMOUNT_MAX).contains(&amount));
    if rows.iter().any(outside) {
        return error(400, "IncorrectParameter", "amount must be between 0 and 100000");
    }
    // The fault of one row is named; whether the others are taken then, nobody says. Here it is now so, now so.
    let mut faults: Vec<(&str, Value)> = Vec::new();
    let mut good = Vec::new();
    for row in rows {
        let (Some(amount), false) = (row["amount"].as_i64(), row["chrtId"].is_null()) else { continue };
        let named = json!({ "sku": "", "chrtId": row["chrtId"], "amount": amount });
        let Some(sku) = desk.find("chrt_id", &row["chrtId"]) else {
            desk.refuse(plain(&row["chrtId"]), amount);
            faults.push(("NotFound", named));
            continue;
        };
        match desk.trouble(&sku) {
            Some(trouble) => {
                desk.refuse(&sku, amount);
                faults.push((if trouble == Trouble::Passing { "StoreIsProcessing" } else { "SubjectFBSRestriction" }, named));
            }
            None => good.push((sku, amount)),
        }
    }
    let takes_rest = faults.is_empty() || desk.turn().is_multiple_of(2);
    for (sku, amount) in good {
        if takes_rest {
            desk.set(&sku, amount);
        } else {
            desk.refuse(&sku, amount);
        }
    }
    if faults.is_empty() { Say::empty(204) } else { Say::json(409, conflicts(faults)) }
}

/// An element for each code, with the rows it is about.
fn conflicts(faults: Vec<(&str, Value)>) -> Value {
    let mut by_code: Vec<(&str, Vec<Value>)> = Vec::new();
    for (code, row) in faults {
        match by_code.iter_mut().find(|(known, _)| *known == code) {
            Some((_, rows)) => rows.push(row),
            None => by_code.push((code, vec![row])),
        }
    }
    let elements = by_code.into_iter().map(|(code, rows)| json!({ "code": code, "message": "not updated", "data": rows }));
    Value::Array(elements.collect())
}

fn read(body: &Value, desk: &mut Desk<'_>) -> Say {
    let Some(wanted) = body["chrtIds"].as_array() else { return error(400, "IncorrectRequestBody", "chrtIds is required") };
    if wanted.is_empty() || wanted.len() > ROWS_MAX {
        return error(400, "IncorrectRequest", "chrtIds must have 1 to 1000 numbers");
    }
    let found = wanted.iter().filter_map(|id| desk.find("chrt_id", id));
    let rows: Vec<Value> = found
        .filter_map(|sku| desk.item(&sku))
        .map(|item| json!({ "chrtId": item.refs["chrt_id"], "amount": item.stock }))
        .collect();
    Say::ok(json!({ "stocks": rows }))
}

/// One of a purchase's units: an order in this marketplace's eyes.
struct Unit<'a> {
    order: &'a Order,
    index: u64,
}

fn units(order: &Order) -> impl Iterator<Item = Unit<'_>> {
    (0..order.quantity.unsigned_abs()).map(move |index| Unit { order, index })
}

impl Unit<'_> {
    fn id(&self) -> u64 {
        self.order.id.parse::<u64>().unwrap_or(0) + self.index
    }

    /// The first units are taken back first. `supplierStatus` and `wbStatus`.
    fn status(&self) -> (&'static str, &'static str) {
        let index = i64::try_from(self.index).unwrap_or(i64::MAX);
        if index < self.order.cancelled {
            ("new", "canceled_by_client")
        } else if index < self.order.cancelled + self.order.returned {
            ("complete", "canceled_by_client")
        } else if self.order.shipped {
            ("complete", "sorted")
        } else {
            ("new", "waiting")
        }
    }

    fn render(&self, desk: &Desk<'_>) -> Value {
        let refs = |name: &str| desk.item(&self.order.sku).map_or(Value::Null, |item: &Item| item.refs[name].clone());
        json!({ "id": self.id(), "rid": format!("r{}", self.id()), "orderUid": format!("o{}", self.order.id),
            "article": self.order.sku, "skus": [refs("barcode")], "chrtId": refs("chrt_id"), "nmId": refs("nm_id"),
            "warehouseId": refs("warehouse_id"), "createdAt": self.order.placed_at, "price": 100_000, "currencyCode": 643,
            "deliveryType": "fbs", "cargoType": 1 })
    }
}

/// By the time of the order; `next` is the last id of the page before.
fn orders(call: &Call, desk: &mut Desk<'_>) -> Say {
    let limit = usize::try_from(call.number("limit", 0)).unwrap_or(0);
    if !(1..=ROWS_MAX).contains(&limit) {
        return error(400, "IncorrectParameter", "limit must be between 1 and 1000");
    }
    let next = u64::try_from(call.number("next", 0)).unwrap_or(0);
    let from = Timestamp::from_seconds(call.number("dateFrom", desk.now.seconds() - 30 * 24 * 3_600));
    let to = Timestamp::from_seconds(call.number("dateTo", desk.now.seconds() + 1));
    if to.since(from) > Duration::from_secs(30 * 24 * 3_600 + 60) {
        return error(400, "IncorrectParameter", "the period must not be longer than 30 days");
    }
    // Whole seconds: what was ordered within the last one belongs to it.
    let within = |order: &&Order| from <= order.placed_at && order.placed_at.seconds() <= to.seconds();
    let found = desk.book().placed().filter(within).flat_map(units).filter(|unit| unit.id() > next).take(limit);
    let found: Vec<Unit<'_>> = found.collect();
    let next = found.last().map_or(next, Unit::id);
    let orders: Vec<Value> = found.iter().map(|unit| unit.render(desk)).collect();
    Say::ok(json!({ "next": next, "orders": orders }))
}

fn statuses(body: &Value, desk: &mut Desk<'_>) -> Say {
    let Some(wanted) = body["orders"].as_array() else { return error(400, "IncorrectRequestBody", "orders is required") };
    if wanted.is_empty() || wanted.len() > ROWS_MAX {
        return error(400, "IncorrectRequest", "orders must have 1 to 1000 numbers");
    }
    let known = wanted.iter().filter_map(Value::as_u64).filter_map(|id| {
        let purchase = id / UNITS * UNITS;
        let order = desk.book().get(&purchase.to_string())?;
        let unit = Unit { order, index: id - purchase };
        (unit.index < order.quantity.unsigned_abs()).then(|| {
            let (supplier, marketplace) = unit.status();
            json!({ "id": id, "supplierStatus": supplier, "wbStatus": marketplace, "errors": [] })
        })
    });
    let orders: Vec<Value> = known.collect();
    Say::ok(json!({ "orders": orders }))
}
