//! Finding a listing by the names its marketplace gives it.

use serde_json::{Value, json};

use crate::support::hub::{Hub, PATH, Plan};

/// Ozon, trusted so that what it sends is applied.
async fn start() -> Hub {
    let ozon = "[[marketplaces]]\ncode = \"ozon\"\nadapter = \"ozon\"\n[marketplaces.account]\nclient_id = \"1\"\nseller_id = 7\nwarehouse_id = 9\n\
        trust = \"full\"\nallowed_ips = [\"127.0.0.1\"]\n[marketplaces.secrets]\napi_key = \"env:T_TOKEN\"\nhook_path = \"env:T_PATH\"\n\
        [marketplaces.policy]\npush_enabled = false\n";
    let products = vec![("PHONE-001", 50), ("CASE-001", 50)];
    Hub::with(Plan { shops: Vec::new(), marketplaces: ozon.into(), products, ..Plan::default() }).await
}

async fn list(hub: &Hub, sku: &str, refs: Value) {
    let body = json!({"marketplace": "ozon", "sku": sku, "marketplace_product_id": refs.to_string(), "refs": refs});
    let answer = hub.admin("POST", "/v1/admin/listings", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// What becomes of a posting of one piece.
async fn posting(hub: &Hub, number: &str, product: Value) -> String {
    let mut product = product;
    product["quantity"] = 1.into();
    let at = hub.context.kit.clock.now().to_string();
    let body = json!({"message_type": "TYPE_NEW_POSTING", "posting_number": number, "seller_id": 7, "warehouse_id": 9, "in_process_at": at,
        "products": [product]});
    let path = format!("/webhooks/ozon/{PATH}");
    let answer = hub.http.send_bytes("POST", &path, &[], body.to_string().as_bytes()).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "{\"result\":true}"));
    let log = hub.log_rows().await;
    let row = log.iter().find(|row| row["event_key"].as_str().is_some_and(|key| key.ends_with(number))).expect("it is logged");
    row["status"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_name_that_a_listing_bears_decides() {
    let hub = start().await;
    list(&hub, "PHONE-001", json!({"offer_id": "P", "ozon_sku": 501, "warehouse_id": 9})).await;
    list(&hub, "CASE-001", json!({"offer_id": "C", "ozon_sku": "502"})).await;
    assert_eq!(posting(&hub, "1-1", json!({"offer_id": "P", "sku": 502})).await, "processed");
    assert_eq!((hub.available("PHONE-001").await, hub.available("CASE-001").await), (49, 50), "the offer, not the SKU behind it");
    assert_eq!(posting(&hub, "1-2", json!({"offer_id": "OLD-NAME", "sku": 502})).await, "processed");
    assert_eq!(hub.available("CASE-001").await, 49, "a number finds what is written as text");
    assert_eq!(posting(&hub, "1-3", json!({"offer_id": "X", "sku": 999})).await, "unmapped");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_listings_of_one_name_another_name_decides_or_nobody_guesses() {
    let hub = start().await;
    list(&hub, "PHONE-001", json!({"offer_id": "P", "ozon_sku": 501})).await;
    list(&hub, "CASE-001", json!({"offer_id": "P", "ozon_sku": 502})).await;
    assert_eq!(posting(&hub, "2-1", json!({"offer_id": "P", "sku": 502})).await, "processed");
    assert_eq!((hub.available("PHONE-001").await, hub.available("CASE-001").await), (50, 49));
    assert_eq!(posting(&hub, "2-2", json!({"offer_id": "P", "sku": 777})).await, "unmapped");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_must_be_on_the_listing_or_in_the_account() {
    let hub = start().await;
    let listing = |refs: Value| json!({"marketplace": "ozon", "sku": "PHONE-001", "refs": refs});
    let refused = hub.admin("POST", "/v1/admin/listings", Some(listing(json!({"ozon_sku": 1})))).await;
    assert_eq!((refused.status, refused.fields()), (422, vec!["/refs/offer_id".to_owned()]), "{}", refused.text());
    let taken = hub.admin("POST", "/v1/admin/listings", Some(listing(json!({"offer_id": "P"})))).await;
    assert_eq!(taken.status, 201, "the warehouse is the account's: {}", taken.text());
    hub.stop().await;
}
