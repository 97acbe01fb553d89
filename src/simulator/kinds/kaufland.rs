//! Kaufland seller API: every request is signed over its method, address, body and time; a batch is a 207 with a status for each
//! unit, and one unit named twice refuses the whole. What it pushes is signed the same way and names an order unit to be fetched.
//! One order unit is one piece.

use std::time::Duration;

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
use super::{Account, Delivery, Dialect, Habits, News, Notice, Posting, made_up_secret, plain};

const BULK_MAX: usize = 150;
const CLOCK_TOLERANCE: i64 = 300;
const UNITS: u64 = 1_000;

const BULK: &str = "POST /v2/units/bulk";
const SET: &str = "PATCH /v2/units/{id}";
const LIST: &str = "GET /v2/units";
const ONE: &str = "GET /v2/units/{id}";
const ORDERS: &str = "GET /v2/order-units";
const ORDER: &str = "GET /v2/order-units/{id}";
const STATUS: &str = "GET /v2/status/ping";

static ROUTES: [Route; 7] = [
    Route::new(BULK, Class::Write, &["all"]),
    Route::new(SET, Class::Write, &["all"]),
    Route::new(LIST, Class::Read, &["all"]),
    Route::new(ONE, Class::Read, &["all"]),
    Route::new(ORDERS, Class::Orders, &["all"]),
    Route::new(ORDER, Class::Orders, &["all"]),
    Route::new(STATUS, Class::Account, &["all"]),
];

pub(super) struct Kaufland;

fn error(status: u16, message: &str) -> Say {
    Say::json(status, json!({ "message": message }))
}

/// Hex of the HMAC-SHA256 of method, address, body and time, a line each.
pub(super) fn signature(secret: &str, method: &str, url: &str, body: &[u8], timestamp: &str) -> String {
    // HMAC takes keys of any length; the other arm is never run.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap_or_else(|_| Hmac::new(&Default::default()));
    for part in [method.as_bytes(), b"\n", url.as_bytes(), b"\n", body, b"\n", timestamp.as_bytes()] {
        mac.update(part);
    }
    hex::encode(mac.finalize().into_bytes())
}

impl Dialect for Kaufland {
    fn habits(&self) -> Habits {
        let (webhooks, webhooks_again, cancel_restocks, whole_orders) = (true, true, false, false);
        Habits { webhooks, webhooks_again, cancel_restocks, whole_orders, shown_after: Duration::ZERO }
    }

    fn account(&self, code: &str) -> Account {
        let values = json!({ "client_key": "5d4f1c3e9b8a47c6b2a1908f7e6d5c4b", "storefront": "de" });
        // One key for both ways; a hub may keep them apart.
        let key = made_up_secret(code, "secret_key");
        Account::new(values, &[("secret_key", key.clone()), ("webhook_secret", key)])
    }

    fn refs(&self, n: u64, sku: &Sku, _account: &Account) -> Map<String, Value> {
        let mut refs = Map::new();
        refs.insert("id_unit".into(), (3_500_000_000_u64 + n).into());
        refs.insert("id_offer".into(), sku.as_str().into());
        refs
    }

    fn main_ref(&self) -> &'static str {
        "id_unit"
    }

    /// Of the purchase; each of its pieces is an order unit of its own.
    fn order_id(&self, base: u64, number: u64) -> String {
        (base * 1_000_000_000 + number * UNITS).to_string()
    }

    fn limits(&self) -> Vec<Limit> {
        vec![Limit::window("all", 111, Duration::from_secs(1), Duration::ZERO)]
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn authorise(&self, call: &Call, account: &Account, now: Timestamp) -> Result<(), Say> {
        let header = |name: &str| call.header(name).unwrap_or("");
        if header("user-agent").is_empty() {
            return Err(error(400, "The User-Agent header is required"));
        }
        let timestamp = header("shop-timestamp");
        let age = timestamp.parse::<i64>().map(|stamp| (now.seconds() - stamp).abs());
        if header("shop-client-key") != account.text("client_key") || !age.is_ok_and(|age| age <= CLOCK_TOLERANCE) {
            return Err(error(401, "Unknown client key, or a timestamp that is too far away"));
        }
        let url = format!("http://{}{}", header("host"), call.raw_target);
        let right = signature(account.secret("secret_key"), &call.method, &url, &call.body, timestamp);
        if header("shop-signature") == right { Ok(()) } else { Err(error(401, "The signature is wrong")) }
    }

    fn throttled(&self, _limit: &'static str, wait: Duration, _now: Timestamp) -> Say {
        error(429, "Too many requests").with("Retry-After", wait.as_secs() + 1)
    }

    fn answer(&self, route: &'static str, call: &Call, desk: &mut Desk<'_>) -> Say {
        // Units are asked for and told per storefront.
        if matches!(route, BULK | SET | LIST | ONE) && call.query("storefront") != Some(&desk.account().text("storefront")) {
            return error(400, "storefront: is required");
        }
        match route {
            BULK => bulk(&call.json(), desk),
            SET => {
                let row = json!({ "id_unit": call.part(0), "unit_data": call.json() });
                let said = told(&row, desk);
                let status = u16::try_from(said["status_code"].as_u64().unwrap_or(500)).unwrap_or(500);
                if status == 200 { Say::ok(json!({ "data": said["unit"] })) } else { error(status, &plain(&said["message"])) }
            }
            LIST => {
                let all = desk.shelf(0, usize::MAX);
                paged(call, all.len(), all.iter().map(unit))
            }
            ONE => match desk.find("id_unit", &json!(call.part(0))).and_then(|sku| desk.item(&sku).map(unit)) {
                Some(unit) => Say::ok(json!({ "data": unit })),
                None => error(404, "Unit not found"),
            },
            ORDERS => orders(call, desk),
            ORDER => match order_unit(call.part(0), desk) {
                Some(unit) => Say::ok(json!({ "data": unit })),
                None => error(404, "Order unit not found"),
            },
            _ => Say::ok(json!({ "data": { "message": "pong" } })),
        }
    }

    fn greeting(&self, _account: &Account, _now: Timestamp) -> Option<Notice> {
        None
    }

    /// One for each piece.
    fn notices(&self, news: News<'_>) -> Vec<Notice> {
        if news.feed == Feed::Stock {
            return Vec::new();
        }
        let name = if news.reason == Reason::Sold { "order_unit_new" } else { "order_unit_status_changed" };
        let (first, order) = (news.order.id.parse::<u64>().unwrap_or(0), news.order);
        let pieces = match news.reason {
            Reason::Sold => 0..order.quantity,
            Reason::Cancelled => order.cancelled - news.trade.quantity..order.cancelled,
            Reason::Returned => order.cancelled + order.returned - news.trade.quantity..order.cancelled + order.returned,
        };
        let storefront = news.account.value("storefront");
        let told = pieces.map(|piece| {
            let id = first + piece.unsigned_abs();
            let body = json!({ "event_name": name, "id_message": format!("{id}-{name}-{}", news.trade.at.micros()),
                "resource": format!("/order-units/{id}"), "storefront": storefront });
            Notice { name, body: body.to_string() }
        });
        told.collect()
    }

    fn deliver(&self, posting: Posting<'_>) -> Delivery {
        let path = format!("/webhooks/{}", posting.code);
        let (url, timestamp) = (format!("{}{path}", posting.hub), posting.now.seconds().to_string());
        let signed = signature(posting.account.secret("secret_key"), "POST", &url, posting.body, &timestamp);
        let headers = vec![
            ("Shop-Client-Key", posting.account.text("client_key")),
            ("Shop-Timestamp", timestamp),
            ("Shop-Signature", signed),
        ];
        Delivery { path, headers }
    }

    fn taken(&self, status: u16, _body: &[u8]) -> bool {
        (200..=204).contains(&status)
    }
}

fn unit(item: &Item) -> Value {
    json!({ "id_unit": item.refs["id_unit"], "id_offer": item.refs["id_offer"], "amount": item.stock, "condition": "NEW",
        "storefront": "de", "status": if item.stock > 0 { "AVAILABLE" } else { "ONHOLD" } })
}

fn bulk(body: &Value, desk: &mut Desk<'_>) -> Say {
    let Some(rows) = body.as_array().filter(|rows| (1..=BULK_MAX).contains(&rows.len())) else {
        return error(400, "The body must be a list of 1 to 150 units");
    };
    let mut names: Vec<String> = rows.iter().map(|row| plain(&row["id_unit"])).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair.first() == pair.last()) {
        for row in rows {
            desk.refuse(plain(&row["id_unit"]), row["unit_data"]["amount"].as_i64().unwrap_or(-1));
        }
        return error(400, "An id_unit may only appear once");
    }
    let mut data: Vec<Value> = rows.iter().map(|row| told(row, desk)).collect();
    if desk.pretends() {
        data.retain(|row| row["status_code"] != json!(200));
    }
    Say::json(207, json!({ "data": data }))
}

fn told(row: &Value, desk: &mut Desk<'_>) -> Value {
    let amount = row["unit_data"]["amount"].as_i64();
    let failed = |status: u16, message: &str| json!({ "id_unit": row["id_unit"], "status_code": status, "message": message, "errors": [] });
    let Some(sku) = desk.find("id_unit", &row["id_unit"]) else {
        desk.refuse(plain(&row["id_unit"]), amount.unwrap_or(-1));
        return failed(404, "Unit not found");
    };
    let Some(amount) = amount.filter(|amount| (0..=99_999).contains(amount)) else {
        desk.refuse(sku, -1);
        return failed(400, "amount must be between 0 and 99999");
    };
    match desk.trouble(&sku) {
        Some(trouble) => {
            desk.refuse(sku, amount);
            if trouble == Trouble::Passing { failed(503, "Try again later") } else { failed(400, "The unit cannot be changed") }
        }
        None => {
            desk.set(&sku, amount);
            let unit = desk.item(&sku).map_or(Value::Null, unit);
            json!({ "id_unit": row["id_unit"], "status_code": 200, "unit": unit })
        }
    }
}

fn paged(call: &Call, total: usize, rows: impl Iterator<Item = Value>) -> Say {
    let limit = usize::try_from(call.number("limit", 30).clamp(1, 100)).unwrap_or(1);
    let offset = usize::try_from(call.number("offset", 0).max(0)).unwrap_or(0);
    let data: Vec<Value> = rows.skip(offset).take(limit).collect();
    Say::ok(json!({ "data": data, "pagination": { "offset": offset, "limit": limit, "total": total } }))
}

/// The first pieces are taken back first.
fn status(order: &Order, piece: i64) -> &'static str {
    if piece < order.cancelled {
        "cancelled"
    } else if piece < order.cancelled + order.returned {
        "returned"
    } else if order.shipped {
        "sent"
    } else {
        "need_to_be_sent"
    }
}

fn render(desk: &Desk<'_>, order: &Order, piece: i64) -> Value {
    let refs = |name: &str| desk.item(&order.sku).map_or(Value::Null, |item| item.refs[name].clone());
    let id = order.id.parse::<u64>().unwrap_or(0);
    json!({ "id_order_unit": id + piece.unsigned_abs(), "id_order": format!("M{id}"), "status": status(order, piece),
        "id_offer": refs("id_offer"), "ts_created_iso": order.placed_at,
        "ts_updated_iso": order.changed_at, "price": 1_000, "storefront": "de" })
}

fn order_unit(id: &str, desk: &Desk<'_>) -> Option<Value> {
    let id: u64 = id.parse().ok()?;
    let purchase = id / UNITS * UNITS;
    let order = desk.book().get(&purchase.to_string())?;
    let piece = i64::try_from(id - purchase).ok().filter(|piece| *piece < order.quantity)?;
    Some(render(desk, order, piece))
}

fn orders(call: &Call, desk: &mut Desk<'_>) -> Say {
    let since = call.query("ts_updated_from_iso").map(Timestamp::parse_rfc3339);
    let Some(since) = since.unwrap_or(Some(Timestamp::from_micros(0))) else {
        return error(400, "ts_updated_from_iso is no time");
    };
    let wanted: Option<Vec<&str>> = call.query("status").map(|statuses| statuses.split(',').collect());
    let changed = desk.book().changed(since, Timestamp::from_micros(i64::MAX));
    let pieces = changed.flat_map(|order| (0..order.quantity).map(move |piece| (order, piece)));
    let fits = |(order, piece): &(&Order, i64)| wanted.as_ref().is_none_or(|wanted| wanted.contains(&status(order, *piece)));
    let rows: Vec<Value> = pieces.filter(fits).map(|(order, piece)| render(desk, order, piece)).collect();
    paged(call, rows.len(), rows.into_iter())
}
