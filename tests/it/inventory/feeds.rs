//! Which of a marketplace's feeds moves stock: the whole number it shows, its orders, or nothing at all.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::clock::Clock;
use stockhub::domain::time::Timestamp;

use super::webhook;
use crate::support::hub::{Hub, Plan};

const WAIT: Duration = Duration::from_secs(120);

fn plan(stock_feed: &'static str, policy: &str) -> Plan {
    let policy = format!("clock_tolerance = \"1ms\"\n{policy}");
    Plan { shops: vec!["uzum"], products: vec![("A-1", 50)], stock_feed, policy, ..Plan::default() }
}

async fn hub(stock_feed: &'static str, policy: &str) -> Hub {
    let hub = Hub::with(plan(stock_feed, policy)).await;
    hub.settled(WAIT).await;
    hub
}

/// A time that is surely after the last push was acknowledged, tolerance included.
async fn later() -> Timestamp {
    tokio::time::sleep(Duration::from_millis(5)).await;
    Clock::system().now()
}

fn snapshot(stock: i64, at: Timestamp) -> Value {
    json!({"event": "stock.snapshot", "sku": "A-1", "stock": stock, "timestamp": at.to_string()})
}

fn changed(previous: i64, change: i64, at: Timestamp) -> Value {
    json!({"event": "stock.updated", "sku": "A-1", "previous_stock": previous, "current_stock": previous + change,
        "change": change, "timestamp": at.to_string(), "reason": "sold"})
}

async fn on_hand(hub: &Hub) -> i64 {
    hub.get("/v1/admin/products/A-1").await["on_hand"].as_i64().unwrap()
}

async fn listing(hub: &Hub) -> Value {
    let product = hub.get("/v1/admin/products/A-1").await;
    product["listings"].as_array().unwrap().iter().find(|l| l["marketplace"] == "uzum").unwrap().clone()
}

async fn movements(hub: &Hub) -> Vec<Value> {
    hub.get("/v1/admin/movements?sku=A-1").await["items"].as_array().unwrap().clone()
}

async fn note(hub: &Hub) -> String {
    let newest = &hub.get("/v1/admin/webhooks").await["items"][0];
    newest["effect"]["note"].as_str().unwrap_or("").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lower_number_is_a_sale_that_nobody_told() {
    let hub = hub("absolute", "").await;
    let first = later().await;
    webhook(&hub, "uzum", &snapshot(47, first)).await;
    let newest = &movements(&hub).await[0];
    assert_eq!((&newest["movement_type"], &newest["quantity_change"]), (&json!("marketplace_sale"), &json!(-3)));
    let shown = listing(&hub).await;
    assert_eq!(
        (&shown["expected"], &shown["wanted"], &shown["state"]),
        (&json!(47), &json!(47), &json!("synced")),
        "no push back"
    );
    // The same report again, under another key, finds what is expected.
    let mut again = snapshot(47, first);
    again["sequence"] = json!("1");
    webhook(&hub, "uzum", &again).await;
    // An older one that was held up is dropped, though it is lower.
    webhook(&hub, "uzum", &snapshot(40, first.minus(Duration::from_secs(1)))).await;
    assert!(note(&hub).await.starts_with("dropped"), "{}", note(&hub).await);
    assert_eq!((on_hand(&hub).await, movements(&hub).await.len()), (47, 2));
    // A change counts as a report of the number it ends at, whatever it says it began with.
    webhook(&hub, "uzum", &changed(49, -4, later().await)).await;
    assert_eq!((on_hand(&hub).await, &listing(&hub).await["expected"]), (45, &json!(45)));
    // A report that cannot be placed in time concludes nothing; the number is told again.
    let placeless = json!({"event": "stock.snapshot", "sku": "A-1", "stock": 30, "sequence": 2});
    webhook(&hub, "uzum", &placeless).await;
    assert!(note(&hub).await.contains("told our number again"), "{}", note(&hub).await);
    hub.settled(WAIT).await;
    assert_eq!((on_hand(&hub).await, hub.shop("uzum").market().shown("A-1")), (45, 45));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_higher_number_is_drift_and_the_hub_wins() {
    let hub = hub("absolute", "").await;
    webhook(&hub, "uzum", &snapshot(60, later().await)).await;
    hub.settled(WAIT).await;
    assert_eq!((on_hand(&hub).await, movements(&hub).await.len()), (50, 1), "stock did not move");
    let alerts = hub.get("/v1/admin/alerts").await;
    assert_eq!(alerts["items"][0]["kind"], "listing-drift", "{alerts}");
    let shown = listing(&hub).await;
    assert_eq!(
        (&shown["expected"], &shown["wanted_version"], &shown["acknowledged_version"]),
        (&json!(50), &json!(2), &json!(2))
    );
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marketplace_may_be_trusted_or_a_person_asked() {
    let trusted = hub("absolute", "drift_policy = \"marketplace_wins\"\n").await;
    webhook(&trusted, "uzum", &snapshot(60, later().await)).await;
    let newest = &movements(&trusted).await[0];
    assert_eq!((&newest["movement_type"], &newest["quantity_change"]), (&json!("reconciliation"), &json!(10)));
    assert_eq!((&listing(&trusted).await["expected"], &listing(&trusted).await["state"]), (&json!(60), &json!("synced")));
    trusted.stop().await;
    let asked = hub("absolute", "drift_policy = \"ask\"\n").await;
    webhook(&asked, "uzum", &snapshot(60, later().await)).await;
    let shown = listing(&asked).await;
    assert_eq!((on_hand(&asked).await, &shown["wanted_version"], &shown["observed"]), (50, &json!(1), &json!(60)));
    asked.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_orders_move_stock_a_change_of_stock_only_informs() {
    let hub = hub("orders", "own_cancel_restock = true\n").await;
    let order = |event: &str, at: Timestamp, quantity: i64| {
        json!({"event": event, "order_id": "77", "timestamp": at.to_string(),
            "items": [{"order_item_id": "1", "sku": "A-1", "quantity": quantity}]})
    };
    // The marketplace tells one sale twice, as its order and as its stock: it is one.
    webhook(&hub, "uzum", &order("order.created", later().await, 3)).await;
    webhook(&hub, "uzum", &changed(50, -3, later().await)).await;
    assert_eq!((on_hand(&hub).await, movements(&hub).await.len()), (47, 2));
    assert!(note(&hub).await.starts_with("observed only"));
    assert_eq!(listing(&hub).await["observed"], 47);
    webhook(&hub, "uzum", &order("order.cancelled", later().await, 1)).await;
    webhook(&hub, "uzum", &changed(47, 1, later().await)).await;
    assert_eq!(on_hand(&hub).await, 48);
    webhook(&hub, "uzum", &order("order.returned", later().await, 2)).await;
    assert_eq!(on_hand(&hub).await, 50);
    let kinds: Vec<_> = movements(&hub).await.iter().map(|m| m["movement_type"].clone()).collect();
    assert_eq!(kinds, ["returned", "order_cancelled", "marketplace_sale", "opening"]);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_feed_nothing_moves() {
    let hub = hub("none", "").await;
    webhook(&hub, "uzum", &snapshot(40, later().await)).await;
    webhook(&hub, "uzum", &changed(40, -3, later().await)).await;
    let at = later().await.to_string();
    let order = json!({"event": "order.created", "order_id": "1", "timestamp": at, "items": [{"sku": "A-1", "quantity": 3}]});
    webhook(&hub, "uzum", &order).await;
    assert_eq!((on_hand(&hub).await, movements(&hub).await.len()), (50, 1));
    let shown = listing(&hub).await;
    assert_eq!((&shown["observed"], &shown["wanted_version"]), (&json!(37), &json!(1)), "seen, and not acted upon");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_feed_does_not_count_what_the_old_one_counted() {
    let hub = hub("delta", "own_cancel_restock = true\n").await;
    let before = later().await;
    webhook(&hub, "uzum", &changed(50, -3, before)).await;
    assert_eq!(on_hand(&hub).await, 47);
    let database = hub.stop().await;

    let hub = Hub::on(database, plan("orders", "own_cancel_restock = true\n")).await;
    let order = |event: &str, at: Timestamp, quantity: i64| json!({"event": event, "order_id": "77", "timestamp": at.to_string(), "items": [{"sku": "A-1", "quantity": quantity}]});
    // The order of the sale that the stock feed told comes late, by the feed that counts now.
    webhook(&hub, "uzum", &order("order.created", before, 3)).await;
    assert_eq!(on_hand(&hub).await, 47, "recorded as history");
    // What becomes of it from now on counts.
    webhook(&hub, "uzum", &order("order.cancelled", later().await, 1)).await;
    assert_eq!(on_hand(&hub).await, 48);
    webhook(
        &hub,
        "uzum",
        &json!({"event": "order.created", "order_id": "78", "timestamp": later().await.to_string(),
        "items": [{"sku": "A-1", "quantity": 2}]}),
    )
    .await;
    assert_eq!(on_hand(&hub).await, 46);
    hub.stop().await;
}
