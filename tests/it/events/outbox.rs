//! Events are written with their cause, once each, whether or not anybody listens.

use serde_json::json;

use super::{change, events, hub};
use crate::support::hub::{Hub, Plan, STORE_KEY};

fn kinds(events: &[serde_json::Value]) -> Vec<&str> {
    events.iter().map(|event| event["eventType"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_cause_has_its_event_once_and_in_order() {
    let hub = hub(vec![("PEN", 5)], "").await;
    let body = json!({"external_id": "web-1", "items": [{"sku": "PEN", "quantity": 1}]});
    for expected in [201, 200] {
        let answer = hub.http.send("POST", "/v1/store/orders", &[("x-storefront-key", STORE_KEY)], Some(body.clone())).await;
        assert_eq!(answer.status, expected, "{}", answer.text());
    }
    change(&hub, "PEN", -1).await;
    change(&hub, "PEN", -3).await;
    change(&hub, "PEN", 10).await;

    let all = events(&hub, "&sku=PEN").await;
    assert_eq!(
        kinds(&all),
        [
            "inventory-updated",
            "product-updated",   // opening
            "inventory-updated", // sold, told twice
            "inventory-updated",
            "low-stock",
            "inventory-updated",
            "product-updated",
            "out-of-stock",
            "inventory-updated",
            "product-updated",
            "back-in-stock",
        ]
    );
    let sold = &all[2];
    assert_eq!(sold["version"], "1.0");
    assert!(sold["eventId"].is_string() && sold["timestamp"].is_string());
    let product = sold["payload"]["productId"].clone();
    assert_eq!(
        sold["payload"],
        json!({"productId": product, "sku": "PEN", "previousQuantity": 5, "newQuantity": 4, "trigger": "ORDER_CONFIRMED",
            "orderId": "web-1", "updatedBy": "token:storefront-1"})
    );
    assert_eq!(all[3]["payload"]["trigger"], "ADMIN_UPDATE");
    assert_eq!(all[4]["payload"], json!({"productId": product, "sku": "PEN", "available": 3, "threshold": 3}));
    let out = &all[6]["payload"];
    assert_eq!((&out["changedFields"], &out["isAvailable"]), (&json!(["isAvailable", "stockQuantity"]), &json!(false)));
    assert_eq!(all[9]["payload"]["isAvailable"], json!(true));
    assert_eq!(hub.get("/v1/admin/products/PEN").await["is_available"], json!(true));

    let low = events(&hub, "&type=low-stock").await;
    assert_eq!(low.len(), 1);
    assert_eq!(hub.admin("GET", "/v1/admin/events?type=nonsense", None).await.status, 422);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_store_order_leaves_nothing_but_its_event() {
    let hub = hub(vec![("PEN", 2), ("INK", 9)], "").await;
    let body = json!({"external_id": "web-7", "items": [{"sku": "INK", "quantity": 1}, {"sku": "PEN", "quantity": 3}]});
    let answer = hub.http.send("POST", "/v1/store/orders", &[("x-storefront-key", STORE_KEY)], Some(body)).await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "insufficient-stock"));
    let failed = events(&hub, "&type=inventory-update-failed").await;
    assert_eq!(failed.len(), 1);
    assert_eq!(
        failed[0]["payload"],
        json!({"sku": "PEN", "requested": 3, "available": 2, "orderId": "web-7", "reason": "insufficient-stock"})
    );
    assert_eq!(events(&hub, "&sku=PEN&type=inventory-update-failed").await.len(), 1);
    assert_eq!(hub.get("/v1/admin/products/INK").await["available"], json!(9), "the order's other line is undone");
    assert_eq!(hub.get("/v1/admin/orders").await["items"], json!([]));

    // A person at the form sees the refusal; nobody else has to hear of it.
    let body = json!({"marketplace": "olx", "items": [{"sku": "PEN", "quantity": 3}]});
    assert_eq!(hub.admin("POST", "/v1/admin/orders", Some(body)).await.status, 409);
    assert_eq!(events(&hub, "&type=inventory-update-failed").await.len(), 1);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marketplace_sale_and_an_oversell_are_told() {
    let hub = Hub::with(Plan { shops: vec!["uzum"], products: vec![("PEN", 5)], ..Plan::default() }).await;
    hub.connect_shops();
    hub.settled(super::PATIENCE).await;
    hub.shop("uzum").market().sell("PEN", 2).await.expect("it is in stock");
    super::until("the sale is told", async || {
        events(&hub, "&sku=PEN").await.iter().any(|event| event["payload"]["trigger"] == "MARKETPLACE_SALE")
    })
    .await;
    let body = json!({"marketplace": "olx", "force": true, "items": [{"sku": "PEN", "quantity": 7}]});
    let answer = hub.admin("POST", "/v1/admin/orders", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let oversold = events(&hub, "&type=oversold").await;
    assert_eq!(oversold.len(), 1);
    assert_eq!((&oversold[0]["payload"]["available"], &oversold[0]["payload"]["units"]), (&json!(-4), &json!(4)));
    let sale = events(&hub, "&type=inventory-updated").await;
    let sale = sale.iter().find(|event| event["payload"]["trigger"] == "MARKETPLACE_SALE").unwrap();
    assert_eq!(
        (&sale["payload"]["previousQuantity"], &sale["payload"]["newQuantity"], &sale["payload"]["updatedBy"]),
        (&json!(5), &json!(3), &json!("marketplace:uzum"))
    );
    hub.stop().await;
}
