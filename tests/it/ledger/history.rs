//! What came before its mapping: kept whole, applied once, and not sold twice where a count had seen it already.

use serde_json::{Value, json};

use super::{becomes, event, item, order, orders_feed, sound, stock, webhook};
use crate::support::hub::Hub;

async fn unmapped(hub: &Hub, state: &str) -> Vec<Value> {
    hub.get(&format!("/v1/admin/unmapped?state={state}")).await["items"].as_array().unwrap().clone()
}

async fn new_product(hub: &Hub, sku: &str, stock: i64) {
    let body = json!({"sku": sku, "name": sku, "initial_stock": stock});
    let answer = hub.admin("POST", "/v1/admin/products", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

async fn list(hub: &Hub, sku: &str, external: &str) {
    let body = json!({"marketplace": "uzum", "sku": sku, "marketplace_product_id": external, "marketplace_sku": external});
    let answer = hub.admin("POST", "/v1/admin/listings", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

async fn map(hub: &Hub, id: &Value, body: Value) -> Value {
    let answer = hub.admin("POST", &format!("/v1/admin/unmapped/{}/map", id.as_str().unwrap()), Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Later than anything is counted in these tests.
const LATER: &str = "2150-01-01T10:00:00Z";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_wait_for_their_mapping_and_apply_by_themselves() {
    let hub = Hub::with(orders_feed(vec![("A", 10), ("B", 10)])).await;
    let lines = [item("1", "A", 2), item("2", "X", 3), item("3", "Y", 1)];
    webhook(&hub, "uzum", &event("order.created", "o1", LATER, &lines)).await;
    assert_eq!(stock(&hub, "A").await[0], 8, "the mapped line posts at once");
    let waiting = unmapped(&hub, "waiting").await;
    let kinds: Vec<_> = waiting.iter().map(|row| (row["kind"].as_str().unwrap(), row["external_sku"].clone())).collect();
    assert_eq!(kinds, [("line", json!("Y")), ("line", json!("X")), ("webhook", Value::Null)]);
    assert_eq!(waiting[1]["quantity"], 3);

    // A cancel of the line before its mapping is kept too.
    webhook(
        &hub,
        "uzum",
        &event("order.cancelled", "o1", "2150-01-01T11:00:00Z", &[json!({"order_item_id": "2", "quantity": 1})]),
    )
    .await;
    list(&hub, "B", "X").await;
    becomes("B", 8, async || stock(&hub, "B").await[0]).await;
    assert_eq!(order(&hub, "o1").await["status"], "partly_cancelled");
    let waiting = unmapped(&hub, "waiting").await;
    assert!(waiting.iter().any(|row| row["external_sku"] == "Y") && waiting.iter().all(|row| row["external_sku"] != "X"));
    // The next line of it, through the inbox.
    let line = waiting.iter().find(|row| row["kind"] == "line").unwrap();
    let refused = hub.admin("POST", &format!("/v1/admin/unmapped/{}/map", line["id"].as_str().unwrap()), Some(json!({}))).await;
    assert_eq!((refused.status, &refused.json()["errors"][0]["field"]), (422, &json!("/sku")));
    let mapped = map(&hub, &line["id"], json!({"sku": "A", "units": 2})).await;
    assert_eq!((&mapped["listing"]["marketplace_sku"], &mapped["historic"]), (&json!("Y"), &json!([])));
    assert_eq!(stock(&hub, "A").await[0], 6, "one pack of two");
    assert_eq!(unmapped(&hub, "waiting").await, Vec::<Value>::new());
    assert_eq!(
        hub.admin("POST", &format!("/v1/admin/unmapped/{}/map", uuid::Uuid::nil()), Some(json!({"sku": "A"}))).await.status,
        404
    );
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tombstones_hold_before_any_mapping() {
    let hub = Hub::with(orders_feed(vec![("A", 10)])).await;
    // A cancel of the whole order before its create, and of one line before its create.
    webhook(&hub, "uzum", &event("order.cancelled", "o1", LATER, &[])).await;
    assert_eq!(order(&hub, "o1").await["status"], "cancelled");
    webhook(&hub, "uzum", &event("order.created", "o1", LATER, &[item("1", "X", 3)])).await;
    webhook(&hub, "uzum", &event("order.cancelled", "o2", LATER, &[item("1", "X", 2)])).await;
    webhook(&hub, "uzum", &event("order.created", "o2", LATER, &[item("1", "X", 5)])).await;
    assert_eq!(order(&hub, "o2").await["status"], "partly_cancelled");
    list(&hub, "A", "X").await;
    becomes("A", 7, async || stock(&hub, "A").await[0]).await;
    becomes("the inbox", 0, async || unmapped(&hub, "waiting").await.len()).await;
    assert_eq!((stock(&hub, "A").await[0], &order(&hub, "o1").await["status"]), (7, &json!("cancelled")));
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_from_before_the_count_is_recorded_and_moves_nothing() {
    let hub = Hub::with(orders_feed(Vec::new())).await;
    webhook(&hub, "uzum", &event("order.created", "old", "2026-01-09T10:00:00Z", &[item("1", "X", 3)])).await;
    webhook(&hub, "uzum", &event("order.created", "new", LATER, &[item("1", "X", 2)])).await;
    // Somebody counts what is on the shelf, and only then says what X is.
    new_product(&hub, "A", 20).await;
    list(&hub, "A", "X").await;
    becomes("the inbox", 0, async || unmapped(&hub, "waiting").await.len()).await;
    assert_eq!(stock(&hub, "A").await[0], 18, "only the new sale moved stock");
    let historic = unmapped(&hub, "historic").await;
    assert_eq!(historic.len(), 1, "{historic:?}");
    assert_eq!(
        (&historic[0]["order_external_id"], &historic[0]["recorded"], &historic[0]["sku"]),
        (&json!("old"), &json!(3), &json!("A"))
    );
    // Later changes post the difference.
    webhook(&hub, "uzum", &event("order.cancelled", "old", "2150-01-02T10:00:00Z", &[item("1", "X", 1)])).await;
    assert_eq!(stock(&hub, "A").await[0], 19, "one of the three is back");
    sound(&hub).await;
    // An operator knows better: the count had not seen it.
    map(&hub, &historic[0]["id"], json!({"post": true})).await;
    assert_eq!(stock(&hub, "A").await[0], 16);
    let again = hub
        .admin("POST", &format!("/v1/admin/unmapped/{}/map", historic[0]["id"].as_str().unwrap()), Some(json!({"post": true})))
        .await;
    assert_eq!((again.status, stock(&hub, "A").await[0]), (404, 16), "once");
    assert_eq!(unmapped(&hub, "historic").await, Vec::<Value>::new());
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_change_of_a_waiting_line_posts_only_itself() {
    let hub = Hub::with(orders_feed(Vec::new())).await;
    webhook(&hub, "uzum", &event("order.created", "old", "2026-01-09T10:00:00Z", &[item("1", "X", 3)])).await;
    new_product(&hub, "A", 20).await;
    // Posted on request while it is mapped; and a live one, however old it says it is, always posts.
    let line = unmapped(&hub, "waiting").await.into_iter().find(|row| row["kind"] == "line").unwrap();
    let mapped = map(&hub, &line["id"], json!({"sku": "A"})).await;
    assert_eq!(mapped["historic"], json!([line["id"]]));
    assert_eq!(stock(&hub, "A").await[0], 20);
    webhook(&hub, "uzum", &event("order.cancelled", "old", "2026-01-09T12:00:00Z", &[])).await;
    assert_eq!(stock(&hub, "A").await[0], 23, "all three came back after the count");
    webhook(&hub, "uzum", &event("order.created", "live", "2026-01-09T11:00:00Z", &[item("1", "X", 1)])).await;
    assert_eq!(stock(&hub, "A").await[0], 22);
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_moves_the_line_between_history_and_now() {
    let hub = Hub::with(orders_feed(vec![("A", 20)])).await;
    let sold_at = hub.context.kit.clock.now().to_string();
    webhook(&hub, "uzum", &event("order.created", "o1", &sold_at, &[item("1", "X", 3)])).await;
    let counted = json!({"count": 17, "reason": "cycle_count"});
    assert_eq!(hub.admin("PATCH", "/v1/admin/products/A/inventory", Some(counted)).await.status, 200);
    list(&hub, "A", "X").await;
    becomes("the inbox", 0, async || unmapped(&hub, "waiting").await.len()).await;
    assert_eq!(stock(&hub, "A").await[0], 17, "the counter saw that they were gone");
    assert_eq!(unmapped(&hub, "historic").await.len(), 1);
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_that_waited_is_history_too() {
    let hub = Hub::with(crate::support::hub::Plan { stock_feed: "delta", ..orders_feed(Vec::new()) }).await;
    let sold = |at: &str, from: i64| {
        json!({"event": "stock.updated", "sku": "X", "marketplace_product_id": "X", "previous_stock": from, "current_stock": from - 2,
            "change": -2, "reason": "sold", "timestamp": at})
    };
    webhook(&hub, "uzum", &sold("2026-01-09T10:00:00Z", 30)).await;
    webhook(&hub, "uzum", &sold(LATER, 28)).await;
    new_product(&hub, "A", 20).await;
    let waiting = unmapped(&hub, "waiting").await;
    assert_eq!(waiting.iter().filter(|row| row["kind"] == "webhook").count(), 2);
    let old = waiting.last().unwrap();
    let mapped = map(&hub, &old["id"], json!({"sku": "A", "post": false})).await;
    assert_eq!(stock(&hub, "A").await[0], 18, "only the later one moved stock");
    let line = &mapped["historic"][0];
    map(&hub, line, json!({"post": true})).await;
    assert_eq!(stock(&hub, "A").await[0], 16);
    sound(&hub).await;
    hub.stop().await;
}
