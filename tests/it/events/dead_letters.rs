//! What gives up is kept, listed, and put back in line by a person.

use serde_json::{Value, json};

use super::consumer::Consumer;
use super::{change, hub, until};
use crate::support::hub::{Hub, Plan};

async fn letters(hub: &Hub, filter: &str) -> Vec<Value> {
    hub.get(&format!("/v1/admin/dead-letters{filter}")).await["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_event_is_set_aside_and_replayed() {
    let hub = hub(vec![("PEN", 100)], "").await;
    let consumer = Consumer::of(&hub, &["inventory-updated"]).await;
    consumer.answers(|event| if event["payload"]["newQuantity"] == 99 { 422 } else { 200 });
    for _ in 0..3 {
        change(&hub, "PEN", -1).await;
    }
    until("what comes after it arrives", async || consumer.taken().len() == 2).await;
    // What became of all that was sent is written down after the last answer.
    until("the poison is set aside", async || letters(&hub, "?kind=event").await.len() == 1).await;
    let dead = letters(&hub, "?kind=event").await;
    assert_eq!((&dead[0]["name"], &dead[0]["attempts"]), (&json!("inventory-updated"), &json!(1)));
    assert!(dead[0]["reason"].as_str().unwrap().contains("422"));
    let alerts = hub.get("/v1/admin/alerts").await;
    assert!(alerts["items"].as_array().unwrap().iter().any(|alert| alert["kind"] == "event-dead-letter"));
    let metrics = hub.http.send("GET", "/metrics", &[], None).await.text();
    assert!(metrics.contains("dlq_message_count{status=\"event\"} 1"), "{metrics}");

    consumer.answers(|_| 200);
    let retry = format!("/v1/admin/dead-letters/{}/retry", dead[0]["id"].as_str().unwrap());
    assert_eq!(hub.admin("POST", &retry, None).await.status, 200);
    until("it arrives after all", async || consumer.taken().len() == 3).await;
    assert!(letters(&hub, "").await.is_empty());
    assert_eq!(hub.admin("POST", &retry, None).await.status, 404, "it is a dead letter no more");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_tries_end_too_and_can_be_discarded() {
    let sections = "[events]\nretry_base_ms = 5\nretry_cap_ms = 10\nattempts_max = 3\n".to_owned();
    let hub = Hub::with(Plan { shops: vec![], sections, products: vec![("PEN", 100)], ..Plan::default() }).await;
    let consumer = Consumer::of(&hub, &["inventory-updated"]).await;
    consumer.answers(|_| 500);
    change(&hub, "PEN", -1).await;
    until("it gives up", async || !letters(&hub, "").await.is_empty()).await;
    assert_eq!(consumer.got().len(), 3);
    let id = letters(&hub, "").await[0]["id"].as_str().unwrap().to_owned();
    let answer = hub.admin("POST", &format!("/v1/admin/dead-letters/{id}/discard"), None).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"kind": "event"})));
    assert!(letters(&hub, "").await.is_empty());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_webhook_is_a_dead_letter_too() {
    let hub = Hub::with(Plan { shops: vec!["uzum"], products: vec![("PEN", 5)], ..Plan::default() }).await;
    hub.settled(super::PATIENCE).await;
    // A delta that does not add up can never be applied.
    let body = json!({"event": "stock.updated", "timestamp": "2026-01-09T10:30:00Z", "product_id": "UZUM-PEN", "sku": "PEN",
        "stock": {"previous": 5, "current": 1, "change": -1}, "reason": "sold"});
    let text = body.to_string();
    let signature = hex::encode({
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(crate::support::hub::SECRET.as_bytes()).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes()
    });
    let answer = hub.http.send("POST", "/webhooks/uzum", &[("x-webhook-signature", &signature)], Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    until("it failed", async || letters(&hub, "?kind=webhook").await.len() == 1).await;
    let id = letters(&hub, "?kind=webhook").await[0]["id"].as_str().unwrap().to_owned();
    let retried = hub.admin("POST", &format!("/v1/admin/dead-letters/{id}/retry"), None).await;
    assert_eq!(retried.json(), json!({"kind": "webhook"}));
    // Trying it again does not make it right: it must not count as handled.
    until("it failed again", async || letters(&hub, "?kind=webhook").await.len() == 1).await;
    let discarded = hub.admin("POST", &format!("/v1/admin/dead-letters/{id}/discard"), None).await;
    assert_eq!(discarded.status, 200);
    assert!(letters(&hub, "?kind=webhook").await.is_empty());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_push_is_a_dead_letter_that_only_its_delivery_ends() {
    let shop = Consumer::start().await;
    shop.answers(|_| 400);
    let marketplaces = format!(
        "[[marketplaces]]\ncode = \"ozon\"\nadapter = \"generic\"\nbase_url = \"http://{}\"\nstock_feed = \"delta\"\n\
         [marketplaces.secrets]\nwebhook_secret = [\"env:T_SECRET\"]\n",
        shop.address
    );
    let hub = Hub::with(Plan { shops: vec![], marketplaces, products: vec![("PEN", 5)], ..Plan::default() }).await;
    let listing = json!({"marketplace": "ozon", "sku": "PEN", "marketplace_product_id": "OZON-PEN"});
    assert_eq!(hub.admin("POST", "/v1/admin/listings", Some(listing)).await.status, 201);
    until("it is refused", async || letters(&hub, "?kind=push").await.len() == 1).await;
    let letter = letters(&hub, "").await[0].clone();
    assert_eq!((&letter["name"], &letter["target"]), (&json!("OZON-PEN"), &json!("ozon")));
    let path = |what| format!("/v1/admin/dead-letters/{}/{what}", letter["id"].as_str().unwrap());
    assert_eq!(hub.admin("POST", &path("discard"), None).await.problem(), "not-discardable");
    shop.answers(|_| 200);
    assert_eq!(hub.admin("POST", &path("retry"), None).await.json(), json!({"kind": "push"}));
    until("it is taken", async || shop.got().iter().any(|got| got.answered == 200)).await;
    until("the answer is written down", async || letters(&hub, "").await.is_empty()).await;
    let keys: std::collections::BTreeSet<String> = shop.got().iter().map(|got| got.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys.len(), 2, "another key, or a shop that remembers keys would answer 400 again");
    hub.stop().await;
}
