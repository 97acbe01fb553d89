//! Orders, holds and history, through the hub's own doors; after each story `verify` must find nothing.

mod history;
mod holds;
mod orders;
mod oversells;

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::http::Answer;
use crate::support::hub::{Hub, Plan, SECRET, STORE_KEY};

const LONG: Duration = Duration::from_secs(120);

/// A hub with one marketplace that tells its orders, but sends nothing by itself.
pub fn orders_feed(products: Vec<(&'static str, i64)>) -> Plan {
    Plan { shops: vec!["uzum"], stock_feed: "orders", products, ..Plan::default() }
}

pub async fn store(hub: &Hub, method: &str, path: &str, body: Option<Value>) -> Answer {
    hub.http.send(method, path, &[("x-storefront-key", STORE_KEY)], body).await
}

/// A signed delivery of a marketplace; it is applied when this comes back.
pub async fn webhook(hub: &Hub, code: &str, body: &Value) {
    let bytes = body.to_string().into_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(&bytes);
    let signature = hex::encode(mac.finalize().into_bytes());
    let headers = [("x-webhook-signature", signature.as_str()), ("content-type", "application/json")];
    let answer = hub.http.send_bytes("POST", &format!("/webhooks/{code}"), &headers, &bytes).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

pub fn item(line: &str, sku: &str, quantity: i64) -> Value {
    json!({"order_item_id": line, "sku": sku, "quantity": quantity})
}

pub fn event(event: &str, order: &str, timestamp: &str, items: &[Value]) -> Value {
    let items = if items.is_empty() { Value::Null } else { json!(items) };
    let mut body = json!({"event": event, "order_id": order, "timestamp": timestamp});
    if !items.is_null() {
        body["items"] = items;
    }
    body
}

/// on_hand, committed, reserved, unsellable, available
pub async fn stock(hub: &Hub, sku: &str) -> [i64; 5] {
    let product = hub.get(&format!("/v1/admin/products/{sku}")).await;
    ["on_hand", "committed", "reserved", "unsellable", "available"].map(|name| product[name].as_i64().unwrap())
}

/// The one order of that name.
pub async fn order(hub: &Hub, external_id: &str) -> Value {
    let page = hub.get("/v1/admin/orders?limit=500").await;
    let mut found = page["items"].as_array().unwrap().iter().filter(|order| order["external_id"] == external_id);
    let one = found.next().unwrap_or_else(|| panic!("no order {external_id}: {page}")).clone();
    assert!(found.next().is_none(), "two orders {external_id}");
    one
}

/// Waits until a question has this answer: for what the workers do by themselves.
pub async fn becomes<T: PartialEq + std::fmt::Debug>(what: &str, wanted: T, mut ask: impl AsyncFnMut() -> T) {
    let begun = tokio::time::Instant::now();
    loop {
        let now = ask().await;
        if now == wanted {
            return;
        }
        assert!(begun.elapsed() < LONG, "{what} is {now:?}, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The ledger's promises hold.
pub async fn sound(hub: &Hub) {
    let mut reader = hub.context.db.read().await.unwrap();
    let findings = stockhub::db::verify::findings(&mut reader.conn()).await.unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}
