//! Changing what is known of a product.

use serde_json::json;

use crate::support::hub::{ADMIN_TOKEN, Hub, Plan};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_is_changed_by_who_saw_it_last() {
    let hub = Hub::with(Plan { shops: vec![], products: vec![("A-1", 10)], ..Plan::default() }).await;
    let seen = hub.get("/v1/admin/products/A-1").await["product_version"].to_string();
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let with =
        |version: &str| vec![("authorization".to_owned(), bearer.clone()), ("if-match".to_owned(), format!("\"{version}\""))];
    let patch = async |headers: Vec<(String, String)>, body| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        hub.http.send("PATCH", "/v1/admin/products/A-1", &headers, Some(body)).await
    };
    let body =
        json!({"name": "Better", "cost_price": null, "price": {"amount": "99", "currency": "EUR"}, "low_stock_threshold": 10});
    let done = patch(with(&seen), body.clone()).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let product = done.json();
    assert_eq!(
        (&product["name"], &product["price"]["amount"], &product["cost_price"]),
        (&json!("Better"), &json!("99.00"), &json!(null))
    );
    let alerts = hub.get("/v1/admin/alerts").await;
    assert_eq!(alerts["items"][0]["kind"], "low-stock", "the new threshold makes it low: {alerts}");
    let stale = patch(with(&seen), body).await;
    assert_eq!((stale.status, stale.problem().as_str()), (409, "stale-version"));
    let mixed = json!({"cost_price": {"amount": "5", "currency": "USD"}});
    assert_eq!(hub.admin("PATCH", "/v1/admin/products/A-1", Some(mixed)).await.status, 422, "its price is in euros");
    assert_eq!(hub.admin("PATCH", "/v1/admin/products/A-1", Some(json!({"on_hand": 5}))).await.status, 422);
    assert_eq!(hub.admin("PATCH", "/v1/admin/products/NONE", Some(json!({"name": "x"}))).await.status, 404);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_empty_product_is_put_away() {
    let hub = Hub::with(Plan { shops: vec![], products: vec![("A-1", 10)], ..Plan::default() }).await;
    let archive = async |archived: bool| hub.admin("PATCH", "/v1/admin/products/A-1", Some(json!({"archived": archived}))).await;
    let refused = archive(true).await;
    assert_eq!((refused.status, refused.problem().as_str()), (409, "still-in-stock"));
    let counted = hub.admin("POST", "/v1/admin/counts", Some(json!({"counts": [{"sku": "A-1", "count": 0}]}))).await;
    assert_eq!(counted.status, 200);
    assert_eq!(archive(true).await.status, 200);
    assert_eq!(hub.admin("GET", "/v1/admin/products/A-1", None).await.status, 404);
    assert_eq!(archive(false).await.status, 200, "and brought back");
    assert_eq!(hub.get("/v1/admin/products/A-1").await["on_hand"], 0);
    hub.stop().await;
}
