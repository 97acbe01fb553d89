//! Alerts are edges: one when a line is crossed, none while it lasts, another when it is crossed again.

use serde_json::{Value, json};

use super::{change, events, hub, until};
use crate::support::hub::{Hub, Plan};

async fn alerts(hub: &Hub, kind: &str) -> Vec<Value> {
    let all = hub.get("/v1/admin/alerts?limit=500").await["items"].as_array().unwrap().clone();
    all.into_iter().filter(|alert| alert["kind"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn low_stock_rings_once_per_crossing_whatever_caused_it() {
    let hub = Hub::with(Plan { shops: vec!["uzum"], products: vec![("PEN", 5), ("INK", 5)], ..Plan::default() }).await;
    hub.connect_shops();
    hub.settled(super::PATIENCE).await;
    // By a webhook.
    hub.shop("uzum").market().sell("PEN", 2).await.expect("it is in stock");
    until("the sale is applied", async || hub.get("/v1/admin/products/PEN").await["available"] == json!(3)).await;
    assert_eq!(alerts(&hub, "low-stock").await.len(), 1);
    // By hand.
    change(&hub, "INK", -3).await;
    assert_eq!(alerts(&hub, "low-stock").await.len(), 2);
    // It stays low: nothing new.
    change(&hub, "INK", -1).await;
    assert_eq!(alerts(&hub, "low-stock").await.len(), 2);
    assert_eq!(events(&hub, "&sku=INK&type=low-stock").await.len(), 1);
    // Above, and below again: once more.
    change(&hub, "INK", 9).await;
    assert!(alerts(&hub, "low-stock").await.iter().any(|a| a["sku"] == "INK" && a["state"] == "resolved"));
    change(&hub, "INK", -8).await;
    assert_eq!(alerts(&hub, "low-stock").await.len(), 3);
    assert_eq!(events(&hub, "&sku=INK&type=low-stock").await.len(), 2);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_left_takes_it_off_sale_and_back_undoes_it() {
    let hub = hub(vec![("PEN", 2)], "").await;
    assert!(alerts(&hub, "back-in-stock").await.is_empty(), "what was never there is not back");
    change(&hub, "PEN", -2).await;
    let out = alerts(&hub, "out-of-stock").await;
    assert_eq!((out.len(), &out[0]["state"]), (1, &json!("open")));
    assert_eq!(hub.get("/v1/admin/products/PEN").await["is_available"], json!(false));
    change(&hub, "PEN", 10).await;
    assert_eq!(alerts(&hub, "out-of-stock").await[0]["state"], "resolved");
    assert_eq!(alerts(&hub, "back-in-stock").await.len(), 1);
    assert_eq!(hub.get("/v1/admin/products/PEN").await["is_available"], json!(true));
    let changed = events(&hub, "&type=product-updated").await;
    let states: Vec<&Value> = changed.iter().map(|event| &event["payload"]["isAvailable"]).collect();
    assert_eq!(states, [&json!(true), &json!(false), &json!(true)]);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_acknowledged_and_ends_with_its_cause() {
    let hub = hub(vec![("PEN", 5)], "").await;
    change(&hub, "PEN", -3).await;
    let id = alerts(&hub, "low-stock").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/admin/alerts/{id}/ack");
    for _ in 0..2 {
        assert_eq!(hub.admin("POST", &path, None).await.json(), json!({"state": "acknowledged"}));
    }
    let seen = &alerts(&hub, "low-stock").await[0];
    assert!(seen["state"] == "acknowledged" && seen["acknowledged_at"].is_string(), "{seen}");
    change(&hub, "PEN", -1).await;
    assert_eq!(alerts(&hub, "low-stock").await.len(), 1, "seen is not over: it does not ring again");
    change(&hub, "PEN", 20).await;
    assert_eq!(alerts(&hub, "low-stock").await[0]["state"], "resolved");
    assert_eq!(hub.admin("POST", &path, None).await.status, 409);
    let nobody = "/v1/admin/alerts/00000000-0000-7000-8000-000000000000/ack";
    assert_eq!(hub.admin("POST", nobody, None).await.status, 404);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marketplace_that_fails_is_degraded_once_and_recovers_once() {
    let sections = "[push]\nbreaker_failures = 2\nbreaker_open_ms = 50\nbackoff_base_ms = 10\nbackoff_cap_ms = 50\n".to_owned();
    let shop = super::consumer::Consumer::start().await;
    shop.answers(|_| 503);
    let marketplaces = format!(
        "[[marketplaces]]\ncode = \"ozon\"\nadapter = \"generic\"\nbase_url = \"http://{}\"\nstock_feed = \"delta\"\n\
         [marketplaces.secrets]\nwebhook_secret = [\"env:T_SECRET\"]\n",
        shop.address
    );
    let hub = Hub::with(Plan { shops: vec![], sections, marketplaces, products: vec![("PEN", 5)], ..Plan::default() }).await;
    let listing = json!({"marketplace": "ozon", "sku": "PEN", "marketplace_product_id": "OZON-PEN"});
    assert_eq!(hub.admin("POST", "/v1/admin/listings", Some(listing)).await.status, 201);
    until("it is degraded", async || alerts(&hub, "marketplace-degraded").await.len() == 1).await;
    until("it is tried some more", async || shop.got().len() > 6).await;
    shop.answers(|_| 200);
    until("it recovers", async || !events(&hub, "&type=marketplace-recovered").await.is_empty()).await;
    let degraded = alerts(&hub, "marketplace-degraded").await;
    assert_eq!((degraded.len(), &degraded[0]["state"]), (1, &json!("resolved")));
    let told = events(&hub, "&type=marketplace-degraded").await;
    assert_eq!((told.len(), &told[0]["payload"]["marketplace"]), (1, &json!("ozon")));
    assert_eq!(events(&hub, "&type=marketplace-recovered").await.len(), 1);
    hub.stop().await;
}
