//! Refurbed merchant API: the HTTP twins of gRPC methods. A batch is answered in the order it was asked in, a zero code is left
//! out, numbers of 64 bits are texts. One item of an order is one unit. Its own order notices are not documented: it is asked.

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

const BATCH_MAX: usize = 50;
const PAGE_MAX: i64 = 100;

const SET: &str = "POST /refb.merchant.v1.OfferService/BatchUpdateOffers";
const SET_ONE: &str = "POST /refb.merchant.v1.OfferService/UpdateOffer";
const LIST: &str = "POST /refb.merchant.v1.OfferService/ListOffers";
const GET: &str = "POST /refb.merchant.v1.OfferService/GetOffer";
const GET_MANY: &str = "POST /refb.merchant.v1.OfferService/BatchGetOffers";
const ORDERS: &str = "POST /refb.merchant.v1.OrderService/ListOrders";
const ORDER: &str = "POST /refb.merchant.v1.OrderService/GetOrder";

static ROUTES: [Route; 7] = [
    Route::new(SET, Class::Write, &["all"]),
    Route::new(SET_ONE, Class::Write, &["all"]),
    Route::new(LIST, Class::Read, &["all"]),
    Route::new(GET, Class::Read, &["all"]),
    Route::new(GET_MANY, Class::Read, &["all"]),
    Route::new(ORDERS, Class::Orders, &["all"]),
    Route::new(ORDER, Class::Orders, &["all"]),
];

pub(super) struct Refurbed;

/// A refusal with its gRPC code.
fn error(status: u16, code: i64, message: &str) -> Say {
    Say::json(status, json!({ "code": code, "message": message, "details": [] }))
}

impl Dialect for Refurbed {
    fn habits(&self) -> Habits {
        let (webhooks, webhooks_again, cancel_restocks, whole_orders) = (false, false, false, false);
        Habits { webhooks, webhooks_again, cancel_restocks, whole_orders, shown_after: Duration::ZERO }
    }

    fn account(&self, code: &str) -> Account {
        Account::new(json!({}), &[("token", made_up_secret(code, "token"))])
    }

    fn refs(&self, n: u64, sku: &Sku, _account: &Account) -> Map<String, Value> {
        let mut refs = Map::new();
        refs.insert("offer_sku".into(), sku.as_str().into());
        refs.insert("offer_id".into(), (8_800_000 + n).to_string().into());
        refs
    }

    fn main_ref(&self) -> &'static str {
        "offer_sku"
    }

    fn order_id(&self, base: u64, number: u64) -> String {
        (base * 10_000_000 + number).to_string()
    }

    /// No numbers are published; the headers tell what is left.
    fn limits(&self) -> Vec<Limit> {
        vec![Limit::window("all", 600, Duration::from_secs(60), Duration::ZERO)]
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn authorise(&self, call: &Call, account: &Account, _now: Timestamp) -> Result<(), Say> {
        if call.header("authorization") == Some(format!("Plain {}", account.secret("token")).as_str()) {
            return Ok(());
        }
        Err(error(401, 16, "invalid token"))
    }

    fn throttled(&self, _limit: &'static str, wait: Duration, now: Timestamp) -> Say {
        let reset = now.plus(wait).seconds() + 1;
        let say = error(429, 8, "rate limit exceeded").with("X-RateLimit-Limit", 600);
        say.with("X-RateLimit-Remaining", 0).with("X-RateLimit-Reset", reset)
    }

    fn answer(&self, route: &'static str, call: &Call, desk: &mut Desk<'_>) -> Say {
        let body = call.json();
        let say = match route {
            SET => batch(&body, desk),
            SET_ONE => match told(&body, desk) {
                Ok(offer) => Say::ok(json!({ "offer": offer })),
                Err((3, message)) => error(400, 3, message),
                Err((5, message)) => error(404, 5, message),
                Err((code, message)) => error(503, code, message),
            },
            LIST => list(&body, desk),
            GET => match named(&body["identifier"], desk).and_then(|sku| desk.item(&sku).map(offer)) {
                Some(offer) => Say::ok(json!({ "offer": offer })),
                None => error(404, 5, "offer not found"),
            },
            GET_MANY => {
                let wanted = body["identifiers"].as_array().into_iter().flatten().take(BATCH_MAX);
                let results: Vec<Value> = wanted
                    .map(|wanted| match named(wanted, desk).and_then(|sku| desk.item(&sku).map(offer)) {
                        Some(offer) => json!({ "status": {}, "offer": offer }),
                        None => json!({ "status": { "code": 5, "message": "offer not found" } }),
                    })
                    .collect();
                Say::ok(json!({ "results": results }))
            }
            ORDERS => orders(&body, desk),
            _ => match desk.book().get(&plain(&body["id"])) {
                Some(order) => Say::ok(json!({ "order": render(desk, order) })),
                None => error(404, 5, "order not found"),
            },
        };
        let (left, size) = desk.left("all");
        let reset = desk.now.seconds() + 60;
        say.with("X-RateLimit-Limit", size).with("X-RateLimit-Remaining", left).with("X-RateLimit-Reset", reset)
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

fn named(identifier: &Value, desk: &Desk<'_>) -> Option<Sku> {
    desk.find("offer_sku", &identifier["sku"]).or_else(|| desk.find("offer_id", &identifier["id"]))
}

fn offer(item: &Item) -> Value {
    json!({ "id": item.refs["offer_id"], "sku": item.refs["offer_sku"], "stock": item.stock, "instance_id": "4711",
        "version": (item.pushes_applied + 1).to_string() })
}

/// One offer of a batch: how it is now, or code and message.
fn told(row: &Value, desk: &mut Desk<'_>) -> Result<Value, (i64, &'static str)> {
    let stock = row["stock"].as_i64();
    let Some(sku) = named(&row["identifier"], desk) else {
        desk.refuse(plain(&row["identifier"]["sku"]), stock.unwrap_or(-1));
        return Err((5, "offer not found"));
    };
    let Some(stock) = stock.filter(|stock| *stock >= 0) else {
        desk.refuse(sku, -1);
        return Err((3, "stock must not be negative"));
    };
    match desk.trouble(&sku) {
        Some(trouble) => {
            desk.refuse(sku, stock);
            Err(if trouble == Trouble::Passing { (14, "try again later") } else { (3, "offer is not editable") })
        }
        None => {
            desk.set(&sku, stock);
            Ok(desk.item(&sku).map_or(Value::Null, offer))
        }
    }
}

fn batch(body: &Value, desk: &mut Desk<'_>) -> Say {
    let Some(rows) = body["offers"].as_array() else { return error(400, 3, "offers: is required") };
    if rows.is_empty() || rows.len() > BATCH_MAX {
        return error(400, 3, "offers: must have 1 to 50 elements");
    }
    let results: Vec<Value> = rows
        .iter()
        .map(|row| match told(row, desk) {
            Ok(offer) => json!({ "status": {}, "offer": offer }),
            Err((code, message)) => json!({ "status": { "code": code, "message": message } }),
        })
        .collect();
    Say::ok(json!({ "results": results }))
}

fn limit(body: &Value) -> usize {
    usize::try_from(body["pagination"]["limit"].as_i64().unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX)).unwrap_or(1)
}

fn list(body: &Value, desk: &mut Desk<'_>) -> Say {
    let after = desk.find("offer_id", &body["pagination"]["starting_after"]);
    let shelf = desk.shelf(0, usize::MAX);
    let from = after.map_or(0, |after| shelf.iter().position(|item| item.sku == after).map_or(0, |at| at + 1));
    let limit = limit(body);
    let offers: Vec<Value> = shelf.iter().skip(from).take(limit).map(offer).collect();
    Say::ok(json!({ "offers": offers, "has_more": from + limit < shelf.len() }))
}

fn state(order: &Order, unit: i64) -> &'static str {
    if unit < order.cancelled {
        "CANCELLED"
    } else if unit < order.cancelled + order.returned {
        "RETURNED"
    } else if order.shipped {
        "SHIPPED"
    } else {
        "NEW"
    }
}

fn render(desk: &Desk<'_>, order: &Order) -> Value {
    let Some(item) = desk.item(&order.sku) else { return Value::Null };
    let number: u64 = order.id.parse().unwrap_or(0);
    let items: Vec<Value> = (0..order.quantity)
        .map(|unit| {
            let id = number * 1_000 + unit.unsigned_abs();
            json!({ "id": id.to_string(), "sku": item.refs["offer_sku"], "offer_id": item.refs["offer_id"], "name": item.sku,
                "state": state(order, unit) })
        })
        .collect();
    let whole = state(order, order.quantity - 1);
    json!({ "id": order.id, "state": whole, "released_at": order.placed_at, "updated_at": order.changed_at, "items": items })
}

/// By release; an order's later changes do not move it.
fn orders(body: &Value, desk: &mut Desk<'_>) -> Say {
    let filter = &body["filter"];
    let time = |name: &str| filter["released_at"][name].as_str().and_then(Timestamp::parse_rfc3339);
    let from = time("ge").or(time("gt")).unwrap_or(Timestamp::from_micros(0));
    let to = time("le").or(time("lt")).unwrap_or(Timestamp::from_micros(i64::MAX));
    let wanted = filter["state"]["any_of"].as_array().filter(|wanted| !wanted.is_empty());
    let after = desk.book().get(&plain(&body["pagination"]["starting_after"])).map_or(0, |order| order.number);
    let fits = |order: &&Order| {
        (from..=to).contains(&order.placed_at)
            && order.number > after
            && wanted.is_none_or(|wanted| wanted.contains(&json!(state(order, order.quantity - 1))))
    };
    let limit = limit(body);
    let found: Vec<&Order> = desk.book().placed().filter(fits).take(limit + 1).collect();
    let orders: Vec<Value> = found.iter().take(limit).map(|order| render(desk, order)).collect();
    Say::ok(json!({ "orders": orders, "has_more": found.len() > limit }))
}
