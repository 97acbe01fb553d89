//! Uzum Market seller OpenAPI, as third parties know it: the answer to a push is two counts, and what is not counted must be read
//! back; the schemes of sale are written with every quantity, so whoever leaves them out takes the thing off sale by that scheme.
//! No webhooks; orders are asked for, one status at a time.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

use super::super::orders::Order;
use super::super::shop::Item;
use super::call::{Call, Class, Route, Say};
use super::desk::Desk;
use super::limits::Limit;
use super::{Account, Delivery, Dialect, Habits, News, Notice, Posting, made_up_secret, plain};

const ROWS_MAX: usize = 100;
const AMOUNT_MAX: i64 = 100_000;

const SET: &str = "POST /api/seller-openapi/v2/fbs/sku/stocks";
const READ: &str = "GET /api/seller-openapi/v3/fbs/sku/stocks";
const ORDERS: &str = "GET /api/seller-openapi/v2/fbs/orders";
const ORDER: &str = "GET /api/seller-openapi/v1/fbs/order/{id}";
const SHOPS: &str = "GET /api/seller-openapi/v1/shops";

static ROUTES: [Route; 5] = [
    Route::new(SET, Class::Write, &["all"]),
    Route::new(READ, Class::Read, &["all"]),
    Route::new(ORDERS, Class::Orders, &["all"]),
    Route::new(ORDER, Class::Orders, &["all"]),
    Route::new(SHOPS, Class::Account, &["all"]),
];

pub(super) struct Uzum;

fn error(status: u16, code: &str, message: &str) -> Say {
    Say::json(status, json!({ "payload": null, "errors": [{ "code": code, "message": message }], "error": message }))
}

fn payload(desk: &Desk<'_>, payload: Value) -> Say {
    let (left, size) = desk.left("all");
    Say::ok(json!({ "payload": payload, "errors": [], "timestamp": desk.now }))
        .with("x-ratelimit-remaining", left)
        .with("x-ratelimit-burst-capacity", size)
        .with("x-ratelimit-replenish-rate", 3)
}

impl Dialect for Uzum {
    fn habits(&self) -> Habits {
        let (webhooks, webhooks_again, cancel_restocks, whole_orders) = (false, false, true, true);
        Habits { webhooks, webhooks_again, cancel_restocks, whole_orders, shown_after: Duration::ZERO }
    }

    fn account(&self, code: &str) -> Account {
        Account::new(json!({ "shop_id": 4_321 }), &[("token", made_up_secret(code, "token"))])
    }

    fn refs(&self, n: u64, sku: &Sku, _account: &Account) -> Map<String, Value> {
        let mut refs = Map::new();
        refs.insert("sku_id".into(), (3_300_000 + n).into());
        refs.insert("barcode".into(), format!("10{:011}", 52_000_000 + n).into());
        refs.insert("sku_title".into(), format!("{sku}-BLACK").into());
        refs.insert("product_title".into(), format!("Product {sku}").into());
        refs.insert("fbs_linked".into(), true.into());
        refs.insert("dbs_linked".into(), false.into());
        refs
    }

    fn main_ref(&self) -> &'static str {
        "sku_id"
    }

    fn order_id(&self, base: u64, number: u64) -> String {
        (base * 10_000_000 + number).to_string()
    }

    /// Nobody publishes them: three a second is what clients live with.
    fn limits(&self) -> Vec<Limit> {
        vec![Limit::bucket("all", 5, Duration::from_millis(334))]
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn authorise(&self, call: &Call, account: &Account, _now: Timestamp) -> Result<(), Say> {
        if call.header("authorization") == Some(account.secret("token")) {
            return Ok(());
        }
        Err(error(401, "unauthorized", "Token is invalid"))
    }

    fn throttled(&self, _limit: &'static str, wait: Duration, _now: Timestamp) -> Say {
        error(429, "too-many-requests", "Too many requests")
            .with("Retry-After", wait.as_secs() + 1)
            .with("x-ratelimit-remaining", 0)
    }

    fn answer(&self, route: &'static str, call: &Call, desk: &mut Desk<'_>) -> Say {
        match route {
            SET => set(&call.json(), desk),
            READ => read(call, desk),
            ORDERS => orders(call, desk),
            ORDER => match desk.book().get(call.part(0)) {
                Some(order) => payload(desk, render(desk, order)),
                None => error(404, "order-not-found", "Order not found"),
            },
            _ => Say::ok(json!([{ "id": desk.account().value("shop_id"), "name": "Main" }])),
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

/// Sold from the seller's store, sold from the seller's store with the seller's delivery.
fn linked(item: &Item, desk: &mut Desk<'_>) -> (bool, bool) {
    let opening = (item.refs["fbs_linked"] == json!(true), item.refs["dbs_linked"] == json!(true));
    desk.memory().flags.get(&item.sku).copied().unwrap_or(opening)
}

fn set(body: &Value, desk: &mut Desk<'_>) -> Say {
    let Some(rows) = body["skuAmountList"].as_array() else {
        return error(400, "validation-failed-001", "skuAmountList must not be null");
    };
    if rows.is_empty() || rows.len() > ROWS_MAX {
        return error(400, "validation-failed-001", "skuAmountList must have 1 to 100 elements");
    }
    if rows.iter().any(|row| !row["amount"].as_i64().is_some_and(|amount| (0..=AMOUNT_MAX).contains(&amount))) {
        return error(400, "validation-failed-001", "amount must be between 0 and 100000");
    }
    let found: Vec<Option<Sku>> = rows.iter().map(|row| named(row, desk)).collect();
    for sku in found.iter().flatten() {
        let unlinked = desk.item(sku).cloned().is_some_and(|item| linked(&item, desk) == (false, false));
        if unlinked {
            return error(400, "validation-failed-001", "SKU is not linked to FBS");
        }
    }
    let mut updated = 0;
    for (row, sku) in rows.iter().zip(found) {
        let amount = row["amount"].as_i64().unwrap_or(0);
        match sku {
            Some(sku) if desk.trouble(&sku).is_none() => {
                desk.set(&sku, amount);
                let flag = |name: &str| row[name].as_bool().unwrap_or(false);
                let flags = (flag("fbsLinked"), flag("dbsLinked"));
                if !desk.pretends() {
                    desk.memory().flags.insert(sku, flags);
                }
                updated += 1;
            }
            Some(sku) => desk.refuse(sku, amount),
            None => desk.refuse(plain(&row["skuId"]), amount),
        }
    }
    payload(desk, json!({ "totalRecords": rows.len(), "updatedRecords": updated }))
}

fn named(row: &Value, desk: &Desk<'_>) -> Option<Sku> {
    desk.find("sku_id", &row["skuId"]).or_else(|| desk.find("barcode", &row["barcode"]))
}

fn page(call: &Call, most: i64) -> (usize, usize) {
    let size = usize::try_from(call.number("size", 20).clamp(1, most)).unwrap_or(1);
    let page = usize::try_from(call.number("page", 0).max(0)).unwrap_or(0);
    (page.saturating_mul(size), size)
}

fn read(call: &Call, desk: &mut Desk<'_>) -> Say {
    let (from, size) = page(call, 100);
    let beginning = call.number("skuIdFrom", 0);
    let items: Vec<Item> = desk
        .shelf(0, usize::MAX)
        .into_iter()
        .filter(|item| item.refs["sku_id"].as_i64().is_some_and(|id| id >= beginning))
        .collect();
    let rows: Vec<Value> = items
        .iter()
        .skip(from)
        .take(size)
        .map(|item| {
            let (fbs, dbs) = linked(item, desk);
            json!({ "skuId": item.refs["sku_id"], "skuTitle": item.refs["sku_title"], "productTitle": item.refs["product_title"],
                "barcode": item.refs["barcode"], "amount": item.stock, "fbsAllowed": true, "dbsAllowed": true,
                "fbsLinked": fbs, "dbsLinked": dbs, "sellerSkuCode": item.sku })
        })
        .collect();
    payload(desk, json!({ "skuAmountList": rows, "totalElements": items.len() }))
}

fn status(order: &Order) -> &'static str {
    if order.cancelled >= order.quantity {
        "CANCELED"
    } else if order.cancelled + order.returned >= order.quantity {
        "RETURNED"
    } else if order.shipped {
        "DELIVERING"
    } else {
        "CREATED"
    }
}

fn render(desk: &Desk<'_>, order: &Order) -> Value {
    let Some(item) = desk.item(&order.sku) else { return Value::Null };
    let id = |number: u64| json!(number);
    let number: u64 = order.id.parse().unwrap_or(0);
    json!({ "id": id(number), "status": status(order), "shopId": desk.account().value("shop_id"), "scheme": "FBS",
        "dateCreated": order.placed_at.millis(), "dateUpdated": order.changed_at.millis(),
        "orderItems": [{ "id": id(number * 10 + 1), "skuId": item.refs["sku_id"], "skuTitle": item.refs["sku_title"],
            "productTitle": item.refs["product_title"], "barcode": item.refs["barcode"], "amount": order.quantity }] })
}

/// Asked in seconds, answered in milliseconds: who asks in milliseconds gets an empty list.
fn orders(call: &Call, desk: &mut Desk<'_>) -> Say {
    let (from, size) = page(call, 50);
    let wanted = call.query("status").unwrap_or("CREATED");
    let since = call.number("dateFrom", 0);
    let until = call.number("dateTo", desk.now.seconds().saturating_add(1));
    let ours = call.query("shopIds").is_none_or(|ids| ids.split(',').any(|id| id == desk.account().text("shop_id")));
    let fits = |order: &&Order| ours && status(order) == wanted && (since..=until).contains(&order.placed_at.seconds());
    let total = desk.book().placed().filter(fits).count();
    let found = desk.book().placed().filter(fits).skip(from).take(size);
    let orders: Vec<Value> = found.map(|order| render(desk, order)).collect();
    payload(desk, json!({ "orders": orders, "totalAmount": total }))
}
