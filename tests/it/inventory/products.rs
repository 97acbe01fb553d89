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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn products_are_found_by_what_people_type() {
    let hub = Hub::with(Plan { shops: vec![], products: vec![], ..Plan::default() }).await;
    for (sku, name, stock) in
        [("CUP-1", "Кружка синяя", 40), ("POT-2", "Pot 100%", 3), ("POTX100", "Potato", 0), ("A_B", "Under!score", 9)]
    {
        let body = json!({"sku": sku, "name": name, "initial_stock": stock});
        assert_eq!(hub.admin("POST", "/v1/admin/products", Some(body)).await.status, 201);
    }
    let found = async |query: &str| {
        let page = hub.get(&format!("/v1/admin/products?{query}")).await;
        let skus = page["items"].as_array().expect("items").iter().map(|p| p["sku"].as_str().expect("a SKU").to_owned());
        skus.collect::<Vec<_>>().join(" ")
    };
    // кружка, КРУЖКА, and the middle of the word.
    for text in ["%D0%BA%D1%80%D1%83%D0%B6%D0%BA%D0%B0", "%D0%9A%D0%A0%D0%A3%D0%96%D0%9A%D0%90", "%D1%80%D1%83%D0%B6"] {
        assert_eq!(found(&format!("q={text}")).await, "CUP-1", "{text}");
    }
    assert_eq!(found("q=pot").await, "POT-2 POTX100");
    assert_eq!(found("q=0%25").await, "POT-2", "a percent sign is one");
    assert_eq!(found("q=_").await, "A_B", "and so is a line");
    assert_eq!(found("q=%21").await, "A_B");
    assert_eq!(found("stock=out").await, "POTX100");
    assert_eq!(found("q=pot&stock=low").await, "POT-2");
    assert_eq!(found("q=pot&limit=1").await, "POT-2");
    assert_eq!(found("").await, "A_B CUP-1 POT-2 POTX100");
    let long = "x".repeat(129);
    let refused = hub.admin("GET", &format!("/v1/admin/products?q={long}"), None).await;
    assert_eq!((refused.status, refused.fields()), (422, vec!["q".to_owned()]));
    assert_eq!(hub.admin("GET", "/v1/admin/products?stock=lots", None).await.status, 422);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_products_may_tell_what_each_marketplace_shows() {
    let hub = Hub::with(Plan { shops: vec!["uzum"], products: vec![("A-1", 10), ("B-2", 4)], ..Plan::default() }).await;
    let page = hub.get("/v1/admin/products?include=listings").await;
    let shown = |n: usize| {
        let listings = page["items"][n]["listings"].as_array().expect("listings").iter();
        listings.map(|l| (l["marketplace"].as_str().expect("a code").to_owned(), l["wanted"].as_i64().expect("a number")))
    };
    let sets: Vec<Vec<_>> = (0..2).map(|n| shown(n).collect()).collect();
    assert!(sets[0].iter().all(|(_, wanted)| *wanted == 10) && sets[1].iter().all(|(_, wanted)| *wanted == 4), "{page}");
    assert!(
        sets.iter().all(|set| set.iter().any(|(code, _)| code == "uzum") && set.iter().any(|(code, _)| code == "store")),
        "{page}"
    );
    assert!(hub.get("/v1/admin/products").await["items"][0].get("listings").is_none(), "only where it is asked for");
    hub.stop().await;
}
