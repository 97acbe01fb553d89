//! What the hub tells others: each event once per cause, in order per product, to whoever asked; and alerts by mail.

mod alerts;
mod consumer;
mod dead_letters;
mod delivery;
mod mail;
mod outbox;
mod verify;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::hub::{Hub, Plan};

/// Nobody waits this long unless something is broken; the machine may be slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// A hub whose sinks are tried again quickly.
async fn hub(products: Vec<(&'static str, i64)>, sections: &str) -> Hub {
    let sections =
        format!("[events]\nretry_base_ms = 20\nretry_cap_ms = 100\nattempts_max = 1000\ntimeout_ms = 10000\n{sections}");
    Hub::with(Plan { shops: vec![], sections, products, ..Plan::default() }).await
}

/// Everything of the outbox, oldest first.
async fn events(hub: &Hub, filter: &str) -> Vec<Value> {
    let mut all = hub.get(&format!("/v1/admin/events?limit=500{filter}")).await["items"].as_array().unwrap().clone();
    all.reverse();
    all
}

async fn change(hub: &Hub, sku: &str, delta: i64) {
    let path = format!("/v1/products/{sku}/inventory");
    let answer = hub.admin("PATCH", &path, Some(json!({"delta": delta, "reason": "received"}))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
