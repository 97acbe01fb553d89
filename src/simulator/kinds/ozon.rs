//! Ozon Seller API: every page is a POST with JSON, quantities are told per product and warehouse and answered one by one inside a
//! 200, and what is pushed carries no signature: a secret path and the seller's id are all the hub has to go by.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

use super::super::orders::Order;
use super::super::shop::Item;
use super::super::webhooks::{Feed, Reason};
use super::call::{Call, Class, Route, Say};
use super::desk::{Desk, Trouble};
use super::limits::Limit;
use super::{Account, Delivery, Dialect, Habits, News, Notice, Posting, made_up_secret};

const MINUTE: Duration = Duration::from_secs(60);
const PAIR_GAP: Duration = Duration::from_secs(30);
const ITEMS_MAX: usize = 100;
const STOCK_MAX: i64 = 1_000_000;

const SET: &str = "POST /v2/products/stocks";
const BY_WAREHOUSE: &str = "POST /v1/product/info/warehouse/stocks";
const BY_OFFER: &str = "POST /v2/product/info/stocks-by-warehouse/fbs";
const ALL_SCHEMES: &str = "POST /v4/product/info/stocks";
const WAREHOUSES: &str = "POST /v2/warehouse/list";
const ROLES: &str = "POST /v1/roles";
const ORDERS: &str = "POST /v4/posting/fbs/list";
const ORDER: &str = "POST /v3/posting/fbs/get";

static ROUTES: [Route; 8] = [
    Route::new(SET, Class::Write, &["all", "stock"]),
    Route::new(BY_WAREHOUSE, Class::Read, &["all"]),
    Route::new(BY_OFFER, Class::Read, &["all"]),
    Route::new(ALL_SCHEMES, Class::Read, &["all"]),
    Route::new(WAREHOUSES, Class::Account, &["all"]),
    Route::new(ROLES, Class::Account, &["all"]),
    Route::new(ORDERS, Class::Orders, &["all"]),
    Route::new(ORDER, Class::Orders, &["all"]),
];

pub(super) struct Ozon;

/// A refusal of a whole request.
fn error(status: u16, code: i64, message: &str) -> Say {
    Say::json(status, json!({ "code": code, "message": message, "details": [] }))
}

impl Dialect for Ozon {
    fn habits(&self) -> Habits {
        // A cancel before shipping frees the reserve, so free stock rises by itself.
        let (webhooks, webhooks_again, cancel_restocks, whole_orders) = (true, true, true, true);
        Habits { webhooks, webhooks_again, cancel_restocks, whole_orders, shown_after: Duration::ZERO }
    }

    fn account(&self, code: &str) -> Account {
        let values = json!({ "client_id": "1234567", "seller_id": 1_234_567, "warehouse_id": 22_142_605_386_000_i64 });
        let secrets = ["api_key", "hook_path"].map(|name| (name, made_up_secret(code, name)));
        Account::new(values, &secrets)
    }

    fn refs(&self, n: u64, sku: &Sku, account: &Account) -> Map<String, Value> {
        let mut refs = Map::new();
        refs.insert("offer_id".into(), sku.as_str().into());
        refs.insert("warehouse_id".into(), account.value("warehouse_id"));
        refs.insert("product_id".into(), (500_000_000 + n).into());
        refs.insert("ozon_sku".into(), (1_700_000_000 + n).into());
        refs
    }

    fn main_ref(&self) -> &'static str {
        "offer_id"
    }

    fn order_id(&self, base: u64, number: u64) -> String {
        format!("{base:08}-{number:04}-1")
    }

    fn limits(&self) -> Vec<Limit> {
        let all = Limit::window("all", 50, Duration::from_secs(1), Duration::ZERO);
        vec![all, Limit::window("stock", 80, MINUTE, Duration::ZERO)]
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn authorise(&self, call: &Call, account: &Account, _now: Timestamp) -> Result<(), Say> {
        let (Some(client), Some(key)) = (call.header("client-id"), call.header("api-key")) else {
            return Err(error(401, 16, "Client-Id and Api-Key headers are required"));
        };
        if client != account.text("client_id") || key != account.secret("api_key") {
            return Err(error(403, 7, "Invalid Api-Key, please contact support"));
        }
        Ok(())
    }

    fn throttled(&self, _limit: &'static str, wait: Duration, _now: Timestamp) -> Say {
        error(429, 8, "You have reached request rate limit per second").with("Retry-After", wait.as_secs() + 1)
    }

    fn answer(&self, route: &'static str, call: &Call, desk: &mut Desk<'_>) -> Say {
        let body = call.json();
        if !body.is_object() {
            return error(400, 3, "invalid character looking for beginning of value");
        }
        match route {
            SET => set(&body, desk),
            BY_WAREHOUSE => by_warehouse(&body, desk),
            BY_OFFER => by_offer(&body, desk),
            ALL_SCHEMES => all_schemes(&body, desk),
            ORDERS => orders(&body, desk),
            ORDER => match body["posting_number"].as_str().and_then(|id| desk.book().get(id)) {
                Some(order) => Say::ok(json!({ "result": posting(desk, order) })),
                None => error(404, 5, "POSTING_NOT_FOUND"),
            },
            WAREHOUSES => {
                let id = desk.account().value("warehouse_id");
                let one = json!({ "warehouse_id": id, "name": "Main", "is_rfbs": false, "status": "created" });
                Say::ok(json!({ "warehouses": [one], "has_next": false, "cursor": "" }))
            }
            _ => roles(desk),
        }
    }

    fn greeting(&self, _account: &Account, now: Timestamp) -> Option<Notice> {
        Some(Notice { name: "TYPE_PING", body: json!({ "message_type": "TYPE_PING", "time": now }).to_string() })
    }

    fn notices(&self, news: News<'_>) -> Vec<Notice> {
        let mut told = Vec::new();
        if news.feed != Feed::Stock {
            told.push(order_notice(news));
        }
        if news.feed != Feed::Orders && news.trade.before != news.trade.after {
            told.push(stock_notice(news));
        }
        told
    }

    fn deliver(&self, posting: Posting<'_>) -> Delivery {
        let path = format!("/webhooks/{}/{}", posting.code, posting.account.secret("hook_path"));
        // One of the addresses it sends from, for a hub that trusts this machine as its proxy.
        Delivery { path, headers: vec![("X-Forwarded-For", "195.34.21.7".to_owned())] }
    }

    fn taken(&self, status: u16, body: &[u8]) -> bool {
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        // A ping is answered with the receiver's version.
        status == 200 && (body["result"] == json!(true) || body["version"].is_string())
    }
}

fn set(body: &Value, desk: &mut Desk<'_>) -> Say {
    let Some(rows) = body["stocks"].as_array() else { return error(400, 3, "stocks: value is required") };
    if rows.is_empty() || rows.len() > ITEMS_MAX {
        return error(400, 3, "stocks: value must contain between 1 and 100 items, inclusive");
    }
    let mut results = Vec::new();
    for row in rows {
        let refused = told(row, desk).err();
        if refused.is_none() && desk.pretends() {
            continue;
        }
        let errors: Vec<Value> =
            refused.iter().map(|code| json!({ "code": code, "message": format!("stock is not updated: {code}") })).collect();
        results.push(json!({ "warehouse_id": row["warehouse_id"], "product_id": row["product_id"].as_i64().unwrap_or(0),
            "offer_id": row["offer_id"], "updated": refused.is_none(), "errors": errors }));
    }
    Say::ok(json!({ "result": results }))
}

/// One product and warehouse; the code of the refusal where there is one.
fn told(row: &Value, desk: &mut Desk<'_>) -> Result<(), &'static str> {
    let name = if row["offer_id"].is_null() { "product_id" } else { "offer_id" };
    let stock = row["stock"].as_i64();
    let found = desk.find(name, &row[name]);
    let outcome = judged(row, found.as_ref(), stock, desk);
    match (&outcome, found) {
        (Ok(()), Some(sku)) => {
            desk.set(&sku, stock.unwrap_or(0));
        }
        (_, Some(sku)) => desk.refuse(sku, stock.unwrap_or(-1)),
        (_, None) => desk.refuse(super::plain(&row[name]), stock.unwrap_or(-1)),
    }
    outcome
}

fn judged(row: &Value, found: Option<&Sku>, stock: Option<i64>, desk: &mut Desk<'_>) -> Result<(), &'static str> {
    let sku = found.ok_or("NOT_FOUND")?;
    let warehouse = row["warehouse_id"].as_i64().ok_or("WAREHOUSE_ID_REQUIRED")?;
    if desk.account().value("warehouse_id") != json!(warehouse) {
        return Err("WAREHOUSE_NOT_FOUND");
    }
    if !stock.is_some_and(|stock| (0..STOCK_MAX).contains(&stock)) {
        return Err("INVALID_STOCK");
    }
    match desk.trouble(sku) {
        Some(Trouble::Lasting) => return Err("product_is_not_created"),
        Some(Trouble::Passing) => return Err("TOO_MANY_REQUESTS"),
        None => {}
    }
    let pair = format!("{sku} {warehouse}");
    if desk.rested("pair", &pair, PAIR_GAP) { Ok(()) } else { Err("TOO_MANY_REQUESTS") }
}

fn stock_row(item: &Item, now: Timestamp) -> Value {
    json!({ "sku": item.refs["ozon_sku"], "product_id": item.refs["product_id"], "offer_id": item.refs["offer_id"],
        "warehouse_id": item.refs["warehouse_id"], "present": item.stock + item.open, "reserved": item.open,
        "free_stock": item.stock, "updated_at": now })
}

/// The part of the shelf a cursor asks for: the things, whether there are more, and the cursor of those.
fn page(body: &Value, most: i64, desk: &Desk<'_>) -> (Vec<Item>, bool, String) {
    let limit = usize::try_from(body["limit"].as_i64().unwrap_or(most).clamp(1, most)).unwrap_or(1);
    let from: usize = body["cursor"].as_str().and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let items = desk.shelf(from, limit);
    let next = from + items.len();
    let more = next < desk.shelf_size();
    (items, more, if more { next.to_string() } else { String::new() })
}

fn by_warehouse(body: &Value, desk: &mut Desk<'_>) -> Say {
    if super::plain(&body["warehouse_id"]) != desk.account().text("warehouse_id") {
        return error(404, 5, "WAREHOUSE_NOT_FOUND");
    }
    let (items, has_next, cursor) = page(body, 1_000, desk);
    let stocks: Vec<Value> = items.iter().map(|item| stock_row(item, desk.now)).collect();
    Say::ok(json!({ "stocks": stocks, "has_next": has_next, "cursor": cursor }))
}

fn by_offer(body: &Value, desk: &mut Desk<'_>) -> Say {
    let named = |key: &str, name: &str| -> Vec<Sku> {
        body[key].as_array().into_iter().flatten().filter_map(|value| desk.find(name, value)).collect()
    };
    let mut found = named("offer_id", "offer_id");
    found.extend(named("sku", "ozon_sku"));
    if found.len() > 500 {
        return error(400, 3, "offer_id: value must contain no more than 500 items");
    }
    let items = found.iter().filter_map(|sku| desk.item(sku));
    let products: Vec<Value> = items.map(|item| stock_row(item, desk.now)).collect();
    Say::ok(json!({ "products": products, "has_next": false, "cursor": "" }))
}

fn all_schemes(body: &Value, desk: &mut Desk<'_>) -> Say {
    let wanted = body["filter"]["offer_id"].as_array().filter(|wanted| !wanted.is_empty());
    let (items, more, cursor) = page(body, 1_000, desk);
    let items = items.iter().filter(|item| wanted.is_none_or(|wanted| wanted.contains(&item.refs["offer_id"])));
    let rows: Vec<Value> = items
        .map(|item| {
            let stock = json!({ "type": "fbs", "present": item.stock + item.open, "reserved": item.open,
                "sku": item.refs["ozon_sku"], "warehouse_ids": [item.refs["warehouse_id"]] });
            json!({ "offer_id": item.refs["offer_id"], "product_id": item.refs["product_id"], "stocks": [stock] })
        })
        .collect();
    Say::ok(json!({ "items": rows, "total": desk.shelf_size(), "cursor": if more { cursor } else { String::new() } }))
}

fn roles(desk: &Desk<'_>) -> Say {
    let methods: Vec<&str> = ROUTES.iter().filter_map(|route| route.name.strip_prefix("POST ")).collect();
    let expires = desk.now.plus(Duration::from_secs(90 * 24 * 3_600));
    Say::ok(json!({ "roles": [{ "name": "Admin", "methods": methods }], "expires_at": expires }))
}

fn status(order: &Order) -> &'static str {
    if order.cancelled + order.returned >= order.quantity {
        "cancelled"
    } else if order.shipped {
        "delivering"
    } else {
        "awaiting_packaging"
    }
}

fn posting(desk: &Desk<'_>, order: &Order) -> Value {
    let Some(item) = desk.item(&order.sku) else { return Value::Null };
    let gone = status(order) == "cancelled";
    let cancellation = json!({ "cancel_reason_id": if gone { 352 } else { 0 },
        "cancel_reason": if gone { "The customer changed their mind" } else { "" },
        "cancellation_type": if gone { "client" } else { "" }, "cancelled_after_ship": gone && order.shipped,
        "cancellation_initiator": if gone { "Client" } else { "" } });
    json!({ "posting_number": order.id, "order_id": 40_000_000 + order.number, "status": status(order),
        "in_process_at": order.placed_at, "shipment_date": order.placed_at.plus(MINUTE * 60 * 24),
        "delivery_method": { "warehouse_id": item.refs["warehouse_id"], "name": "Pickup" },
        "products": [{ "offer_id": item.refs["offer_id"], "sku": item.refs["ozon_sku"], "name": format!("Product {}", item.sku),
            "quantity": order.quantity, "price": order.price.as_deref().unwrap_or("0"), "currency_code": "RUB" }],
        "cancellation": cancellation })
}

fn orders(body: &Value, desk: &mut Desk<'_>) -> Say {
    let filter = &body["filter"];
    let time = |value: &Value| value.as_str().and_then(Timestamp::parse_rfc3339);
    let (Some(since), Some(to)) = (time(&filter["since"]), time(&filter["to"])) else {
        return error(400, 3, "filter.since and filter.to are required");
    };
    if to.since(since) > MINUTE * 60 * 24 * 366 {
        return error(400, 3, "PERIOD_IS_TOO_LONG");
    }
    let changed = &filter["last_changed_status_date"];
    let from = time(&changed["from"]).unwrap_or(Timestamp::from_micros(0));
    let until = time(&changed["to"]).unwrap_or(Timestamp::from_micros(i64::MAX));
    let wanted = filter["statuses"].as_array().filter(|wanted| !wanted.is_empty());
    let fits = |order: &&Order| {
        (since..=to).contains(&order.placed_at) && wanted.is_none_or(|wanted| wanted.contains(&json!(status(order))))
    };
    let limit = usize::try_from(body["limit"].as_i64().unwrap_or(100)).unwrap_or(0);
    if !(1..=100).contains(&limit) {
        return error(400, 3, "limit: value must be inside range [1, 100]");
    }
    let skip: usize = body["cursor"].as_str().and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let mut found: Vec<&Order> = desk.book().changed(from, until).filter(fits).skip(skip).take(limit + 1).collect();
    let has_next = found.len() > limit;
    found.truncate(limit);
    let cursor = if has_next { (skip + limit).to_string() } else { String::new() };
    let postings: Vec<Value> = found.into_iter().map(|order| posting(desk, order)).collect();
    Say::ok(json!({ "postings": postings, "has_next": has_next, "cursor": cursor }))
}

fn order_notice(news: News<'_>) -> Notice {
    let News { trade, order, item, account, .. } = news;
    let seller = account.value("seller_id");
    let warehouse = &item.refs["warehouse_id"];
    if news.reason == Reason::Sold {
        let products = json!([{ "sku": item.refs["ozon_sku"], "offer_id": item.refs["offer_id"], "quantity": trade.quantity }]);
        let body = json!({ "message_type": "TYPE_NEW_POSTING", "posting_number": order.id, "products": products,
            "in_process_at": trade.at, "warehouse_id": warehouse, "seller_id": seller });
        return Notice { name: "TYPE_NEW_POSTING", body: body.to_string() };
    }
    // No offer_id in this one: it must be found by Ozon's own number.
    let products = json!([{ "sku": item.refs["ozon_sku"], "quantity": trade.quantity }]);
    let body = json!({ "message_type": "TYPE_POSTING_CANCELLED", "posting_number": order.id, "products": products,
        "old_state": if order.shipped { "posting_in_delivery" } else { "posting_awaiting_packaging" },
        "new_state": "posting_canceled", "changed_state_date": trade.at,
        "reason": { "id": 352, "message": "The customer changed their mind" }, "warehouse_id": warehouse, "seller_id": seller });
    Notice { name: "TYPE_POSTING_CANCELLED", body: body.to_string() }
}

fn stock_notice(news: News<'_>) -> Notice {
    let News { trade, item, account, .. } = news;
    let stocks =
        json!([{ "warehouse_id": item.refs["warehouse_id"], "present": trade.after + item.open, "reserved": item.open }]);
    let row =
        json!({ "product_id": item.refs["product_id"], "sku": item.refs["ozon_sku"], "updated_at": trade.at, "stocks": stocks });
    let body = json!({ "message_type": "TYPE_STOCKS_CHANGED", "items": [row], "seller_id": account.value("seller_id") });
    Notice { name: "TYPE_STOCKS_CHANGED", body: body.to_string() }
}
