//! Packs and bundles: listings that are made of several pieces, or of several products.

use serde_json::{Value, json};

use super::webhook;
use crate::support::hub::{Hub, Plan};

async fn wanted(hub: &Hub, sku: &str, id: &str) -> i64 {
    let product = hub.get(&format!("/v1/admin/products/{sku}")).await;
    let listings = product["listings"].as_array().unwrap();
    listings.iter().find(|l| l["marketplace_product_id"] == id).unwrap()["wanted"].as_i64().unwrap()
}

async fn list(hub: &Hub, body: Value) {
    let answer = hub.admin("POST", "/v1/admin/listings", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

fn sold(id: &str, previous: i64, change: i64, at: &str) -> Value {
    json!({"event": "stock.updated", "marketplace_product_id": id, "previous_stock": previous,
        "current_stock": previous + change, "change": change, "timestamp": at, "reason": "sold"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_of_a_bundle_moves_the_other() {
    let hub = Hub::with(Plan { shops: vec!["uzum"], products: vec![("CUP", 10), ("SPOON", 12)], ..Plan::default() }).await;
    let set = json!([{"sku": "CUP", "units": 1}, {"sku": "SPOON", "units": 2}]);
    list(&hub, json!({"marketplace": "uzum", "components": set, "marketplace_product_id": "SET-1"})).await;
    list(&hub, json!({"marketplace": "uzum", "sku": "SPOON", "units": 6, "marketplace_product_id": "SIX-SPOONS"})).await;
    assert_eq!((wanted(&hub, "CUP", "SET-1").await, wanted(&hub, "SPOON", "SIX-SPOONS").await), (6, 2));

    // Two sets: two cups and four spoons. Everybody else is retargeted in the same transaction, so one look sees it all.
    webhook(&hub, "uzum", &sold("SET-1", 6, -2, "2026-01-09T10:30:00Z")).await;
    let numbers = [("CUP", "UZUM-CUP"), ("SPOON", "UZUM-SPOON"), ("CUP", "SET-1"), ("SPOON", "SIX-SPOONS"), ("CUP", "CUP")];
    let mut shown = Vec::new();
    for (sku, id) in numbers {
        shown.push(wanted(&hub, sku, id).await);
    }
    assert_eq!(shown, [8, 8, 4, 1, 8]);
    // A pack of six spoons: two spoons are left, so one set.
    webhook(&hub, "uzum", &sold("SIX-SPOONS", 1, -1, "2026-01-09T10:31:00Z")).await;
    assert_eq!((wanted(&hub, "CUP", "SET-1").await, wanted(&hub, "SPOON", "SIX-SPOONS").await), (1, 0));
    assert_eq!(hub.get("/v1/admin/products/CUP").await["on_hand"], 8);
    assert_eq!(hub.get("/v1/admin/products/SPOON").await["on_hand"], 2);
    // A single cup sold in the own store, a single spoon at uzum: the set follows.
    webhook(&hub, "uzum", &sold("UZUM-SPOON", 2, -1, "2026-01-09T10:32:00Z")).await;
    assert_eq!(wanted(&hub, "CUP", "SET-1").await, 0);
    // The money of a set is counted once.
    let movements = hub.get("/v1/admin/movements?sku=CUP").await;
    assert_eq!(movements["items"][0]["quantity_change"], -2);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_says_what_it_is_made_of() {
    let hub = Hub::with(Plan { shops: vec!["uzum"], products: vec![("CUP", 10)], ..Plan::default() }).await;
    let cases = [
        (json!({"components": []}), "/components"),
        (json!({"components": [{"sku": "CUP", "units": 0}]}), "/components/0/units"),
        (json!({"components": [{"sku": "CUP", "units": 1}, {"sku": "CUP", "units": 1}]}), "/components/1/sku"),
        (json!({"components": [{"sku": "CUP", "units": 1}, {"sku": "NONE", "units": 1}]}), "/components/1/sku"),
        (json!({"sku": "CUP", "components": [{"sku": "CUP", "units": 1}]}), "/"),
        (json!({}), "/"),
    ];
    for (mut body, field) in cases {
        body["marketplace"] = json!("uzum");
        body["marketplace_product_id"] = json!("SET");
        let answer = hub.admin("POST", "/v1/admin/listings", Some(body.clone())).await;
        assert_eq!((answer.status, &answer.json()["errors"][0]["field"]), (422, &json!(field)), "{body}");
    }
    let nameless = json!({"marketplace": "uzum", "components": [{"sku": "CUP", "units": 2}]});
    assert_eq!(hub.admin("POST", "/v1/admin/listings", Some(nameless)).await.status, 422);
    hub.stop().await;
}
