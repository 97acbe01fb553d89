//! Allocation rules that change while the hub runs, and the second look that a mass change needs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::hub::{Hub, Plan};

const WAIT: Duration = Duration::from_secs(120);

async fn wanted(hub: &Hub, sku: &str, marketplace: &str) -> i64 {
    let product = hub.get(&format!("/v1/admin/products/{sku}")).await;
    let listings = product["listings"].as_array().unwrap();
    listings.iter().find(|l| l["marketplace"] == marketplace).unwrap()["wanted"].as_i64().unwrap()
}

/// The pass over all products is a worker's: its end is waited for.
async fn becomes(hub: &Hub, sku: &str, marketplace: &str, quantity: i64) {
    let begun = tokio::time::Instant::now();
    loop {
        let now = wanted(hub, sku, marketplace).await;
        if now == quantity {
            return;
        }
        assert!(begun.elapsed() < WAIT, "{marketplace} is wanted to show {now} of {sku}, not {quantity}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn put(hub: &Hub, path: &str, body: Value) -> Value {
    let answer = hub.admin("PUT", path, Some(body)).await;
    assert_eq!(answer.status, 200, "PUT {path}: {}", answer.text());
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_level_of_rules_holds_at_once() {
    let plan = Plan { shops: vec!["uzum", "ozon"], products: vec![("A-1", 50), ("B-1", 30)], ..Plan::default() };
    let hub = Hub::with(plan).await;
    hub.settled(WAIT).await;
    put(&hub, "/v1/admin/rules", json!({"rule": {"buffer": 2}})).await;
    becomes(&hub, "A-1", "uzum", 48).await;
    becomes(&hub, "B-1", "store", 28).await;
    put(&hub, "/v1/admin/marketplaces/ozon/rule", json!({"rule": {"buffer": 5, "max_listed": 20}})).await;
    becomes(&hub, "B-1", "ozon", 20).await;
    assert_eq!(wanted(&hub, "B-1", "uzum").await, 28, "another marketplace's rule is none of its business");
    // A product's and a listing's rule move their targets in the transaction that stores them: no waiting.
    put(&hub, "/v1/admin/products/A-1/rule", json!({"rule": {"stop_below": 100}})).await;
    assert_eq!((wanted(&hub, "A-1", "uzum").await, wanted(&hub, "A-1", "store").await), (0, 0));
    put(&hub, "/v1/admin/products/A-1/rule", json!({"rule": {}})).await;
    let product = hub.get("/v1/admin/products/A-1").await;
    let id = product["listings"].as_array().unwrap().iter().find(|l| l["marketplace"] == "uzum").unwrap()["id"].clone();
    let path = format!("/v1/admin/listings/{}/rule", id.as_str().unwrap());
    put(&hub, &path, json!({"rule": {"fixed": 7}})).await;
    assert_eq!((wanted(&hub, "A-1", "uzum").await, wanted(&hub, "A-1", "store").await), (7, 48));
    assert_eq!(hub.get(&path).await["rule"], json!({"fixed": 7}));
    hub.settled(WAIT).await;
    assert_eq!(hub.shop("uzum").market().shown("A-1"), 7, "the marketplace was told");

    // After a restart all of it still holds, and what the settings name wins over what is stored.
    let database = hub.stop().await;
    let policy = "buffer = 1\n".to_owned();
    let plan = Plan { shops: vec!["uzum", "ozon"], products: vec![], policy, ..Plan::default() };
    let hub = Hub::on(database, plan).await;
    assert_eq!(hub.get("/v1/admin/rules").await["rule"], json!({"buffer": 2}));
    let ozon = hub.get("/v1/admin/marketplaces/ozon/rule").await;
    assert_eq!(
        (&ozon["rule"]["buffer"], &ozon["settings"]["buffer"], &ozon["effective"]["buffer"]),
        (&json!(5), &json!(1), &json!(1))
    );
    becomes(&hub, "B-1", "uzum", 29).await;
    becomes(&hub, "A-1", "ozon", 20).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptying_the_shop_needs_a_second_look() {
    let products = vec![("A-1", 5), ("B-1", 5), ("C-1", 90), ("D-1", 90)];
    let hub = Hub::with(Plan { shops: vec!["uzum"], products, ..Plan::default() }).await;
    let rule = json!({"rule": {"buffer": 10}});
    let refused = hub.admin("PUT", "/v1/admin/rules", Some(rule.clone())).await;
    assert_eq!((refused.status, refused.problem().as_str()), (409, "needs-confirmation"), "{}", refused.text());
    let said = refused.json();
    assert_eq!((&said["preview"]["shown"], &said["preview"]["to_zero"]), (&json!(4), &json!(2)));
    assert_eq!(said["preview"]["listings_changed"], 8, "uzum's and the own store's");
    assert_eq!(wanted(&hub, "A-1", "uzum").await, 5, "nothing was changed");
    // The token confirms this rule, and no other.
    let mut other = json!({"rule": {"buffer": 80}, "confirm": said["confirm"]});
    assert_eq!(hub.admin("PUT", "/v1/admin/rules", Some(other.clone())).await.status, 409);
    other["rule"] = rule["rule"].clone();
    put(&hub, "/v1/admin/rules", other).await;
    becomes(&hub, "A-1", "uzum", 0).await;
    becomes(&hub, "D-1", "store", 80).await;
    // A buffer that empties one of five or fewer than a fifth asks nothing; a bad rule is named.
    let bad = hub.admin("PUT", "/v1/admin/marketplaces/uzum/rule", Some(json!({"rule": {"share_percent": 101}}))).await;
    assert_eq!((bad.status, &bad.json()["errors"][0]["field"]), (422, &json!("/rule/share_percent")));
    assert_eq!(hub.admin("PUT", "/v1/admin/marketplaces/none/rule", Some(json!({"rule": {}}))).await.status, 404);
    assert_eq!(hub.admin("PUT", "/v1/admin/products/NONE/rule", Some(json!({"rule": {}}))).await.status, 404);
    hub.stop().await;
}
