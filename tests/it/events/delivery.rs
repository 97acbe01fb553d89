//! Delivery to webhooks: at least once, signed, in order per product, later where it must be, and each consumer by itself.

use serde_json::{Value, json};

use super::consumer::{Consumer, verify};
use super::{change, hub, until};

/// `previousQuantity` of each is `newQuantity` of the one before: nothing missing, nothing out of order.
fn assert_chain(events: &[Value], first: i64, last: i64) {
    let mut quantity = first;
    for event in events {
        assert_eq!(event["payload"]["previousQuantity"], json!(quantity), "{events:#?}");
        quantity = event["payload"]["newQuantity"].as_i64().unwrap();
    }
    assert_eq!(quantity, last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_and_in_order_per_product() {
    let hub = hub(vec![("PEN", 100), ("INK", 100)], "").await;
    let consumer = Consumer::of(&hub, &["inventory-updated"]).await;
    for _ in 0..20 {
        change(&hub, "PEN", -1).await;
        change(&hub, "INK", -2).await;
    }
    until("all events arrive", async || consumer.taken().len() >= 40).await;
    assert_chain(&consumer.taken_of("PEN"), 100, 80);
    assert_chain(&consumer.taken_of("INK"), 100, 60);
    for got in consumer.got() {
        verify(&consumer.secret, &got);
        let mut keys: Vec<String> = got.json().as_object().unwrap().keys().cloned().collect();
        keys.sort();
        assert_eq!(keys, ["eventId", "eventType", "payload", "timestamp", "version"]);
    }
    assert!(consumer.taken().iter().all(|event| event["eventType"] == "inventory-updated"), "only what it asked for");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_was_down_gets_everything_later_and_delays_nobody() {
    let hub = hub(vec![("PEN", 100), ("INK", 100)], "").await;
    let (down, well) = (Consumer::of(&hub, &["inventory-updated"]).await, Consumer::of(&hub, &["inventory-updated"]).await);
    down.answers(|_| 503);
    for _ in 0..10 {
        change(&hub, "PEN", -1).await;
        change(&hub, "INK", -1).await;
    }
    until("the other one has everything", async || well.taken().len() >= 20).await;
    until("the one that is down is tried again", async || down.got().len() >= 6).await;
    assert!(down.taken().is_empty());
    // Nothing overtakes the first of its product.
    for sku in ["PEN", "INK"] {
        let got = down.got();
        let ids: std::collections::BTreeSet<String> =
            got.iter().map(|g| g.json()).filter(|e| e["payload"]["sku"] == sku).map(|e| e["eventId"].to_string()).collect();
        assert!(ids.len() <= 1, "{sku}: {ids:?}");
    }
    down.answers(|_| 200);
    until("it has everything", async || down.taken().len() >= 20).await;
    assert_chain(&down.taken_of("PEN"), 100, 90);
    assert_chain(&down.taken_of("INK"), 100, 90);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_delivered_is_delivered_after_a_restart() {
    let hub = hub(vec![("PEN", 100)], "").await;
    let consumer = Consumer::of(&hub, &["inventory-updated"]).await;
    consumer.answers(|_| 503);
    change(&hub, "PEN", -1).await;
    until("it was tried", async || !consumer.got().is_empty()).await;
    let database = hub.stop().await;
    consumer.answers(|_| 200);
    let plan = crate::support::hub::Plan { shops: vec![], products: vec![], ..Default::default() };
    let hub = crate::support::hub::Hub::on(database, plan).await;
    until("it arrives", async || consumer.taken().len() == 1).await;
    let tries = consumer.got();
    assert!(tries.iter().all(|got| got.body == tries[0].body), "the same event has the same bytes at every try");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sinks_are_checked_listed_tried_and_removed() {
    let hub = hub(vec![("PEN", 5)], "").await;
    for (body, field) in [
        (json!({"kind": "webhook"}), "/url"),
        (json!({"kind": "webhook", "url": "ftp://example.com/"}), "/url"),
        (json!({"kind": "webhook", "url": "https://user:word@example.com/"}), "/url"),
        (json!({"kind": "webhook", "url": "https://example.com/", "secret": "short"}), "/secret"),
        (json!({"kind": "webhook", "url": "https://example.com/", "event_types": ["nonsense"]}), "/event_types/0"),
        (json!({"kind": "webhook", "url": "https://example.com/", "to": ["a@example.com"]}), "/to"),
        (json!({"kind": "email", "to": ["a@example.com"]}), "/kind"),
    ] {
        let answer = hub.admin("POST", "/v1/admin/sinks", Some(body.clone())).await;
        assert_eq!((answer.status, &answer.json()["errors"][0]["field"]), (422, &json!(field)), "{body}");
    }
    let mut consumer = Consumer::start().await;
    let id = consumer.register(&hub, &[]).await;
    let list = hub.get("/v1/admin/sinks").await;
    assert_eq!(list["items"][0]["id"], json!(id));
    assert!(!list.to_string().contains("whsec_"), "a secret is shown once");
    let answer = hub.admin("POST", &format!("/v1/admin/sinks/{id}/test"), None).await;
    assert_eq!(answer.json(), json!({"delivered": true, "status": 204, "reason": null}));
    verify(&consumer.secret, &consumer.got()[0]);
    assert_eq!(consumer.taken()[0]["eventType"], "sink-test");
    assert_eq!(hub.admin("DELETE", &format!("/v1/admin/sinks/{id}"), None).await.status, 200);
    assert_eq!(hub.admin("DELETE", &format!("/v1/admin/sinks/{id}"), None).await.status, 404);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_addresses_are_refused_unless_allowed() {
    let section = format!("[security]\nallow_private_targets = false\nmaster_key = \"{}\"\n", "ab".repeat(32));
    let hub = hub(vec![], &section).await;
    for url in
        ["https://127.0.0.1/", "https://10.0.0.8/", "https://[::1]/", "https://169.254.169.254/latest", "http://example.com/"]
    {
        let answer = hub.admin("POST", "/v1/admin/sinks", Some(json!({"kind": "webhook", "url": url}))).await;
        assert_eq!(answer.status, 422, "{url}");
    }
    // A name is judged when it is resolved.
    let answer = hub.admin("POST", "/v1/admin/sinks", Some(json!({"kind": "webhook", "url": "https://localhost/"}))).await;
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let tried = hub.admin("POST", &format!("/v1/admin/sinks/{id}/test"), None).await.json();
    assert_eq!((&tried["delivered"], &tried["status"]), (&json!(false), &json!(null)), "{tried}");
    hub.stop().await;
}
