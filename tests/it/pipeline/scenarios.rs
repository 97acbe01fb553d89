//! The three scenarios the project came from, through real sockets: a marketplace's webhook, an order in the own store, an order
//! by telephone. Each must be everywhere within a second.

use std::time::Duration;

use serde_json::json;
use stockhub::simulator::record::ShopEvent;
use tokio::time::Instant;

use crate::support::browser::Browser;
use crate::support::hub::{Hub, STORE_KEY};

const SECOND: Duration = Duration::from_secs(1);

/// Pushes a shop has received so far.
fn pushes(hub: &Hub, code: &str) -> usize {
    let market = hub.shop(code).market().clone();
    let shop = market.shop();
    shop.journal().records().filter(|record| matches!(record.event, ShopEvent::Push { .. })).count()
}

/// Waits until a shop shows this number; gives when.
async fn shows(hub: &Hub, code: &str, sku: &str, stock: i64) -> Instant {
    let deadline = Instant::now() + 5 * SECOND;
    while hub.shop(code).market().shown(sku) != stock {
        assert!(Instant::now() < deadline, "{code} shows {} instead of {stock}", hub.shop(code).market().shown(sku));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Instant::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_reaches_everyone_within_a_second() {
    let hub = Hub::start().await;
    hub.connect_shops();
    hub.settled(5 * SECOND).await;
    let mut browser = Browser::open(hub.address, "PHONE-001").await;
    browser.sees("PHONE-001", 50, 5 * SECOND).await;
    // A sale that comes later than the last push plus the tolerance is surely not overwritten by it.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let before = ["uzum", "wildberries", "ozon"].map(|code| pushes(&hub, code));

    // (a) Uzum sells three: 50 → 47.
    let start = Instant::now();
    hub.shop("uzum").market().sell("PHONE-001", 3).await.expect("it is in stock");
    let seen = browser.sees("PHONE-001", 47, 5 * SECOND).await - start;
    let told = shows(&hub, "wildberries", "PHONE-001", 47).await.max(shows(&hub, "ozon", "PHONE-001", 47).await) - start;
    println!("(a) webhook 50 → 47: browser after {seen:?}, the other marketplaces after {told:?}");
    assert!(seen < SECOND && told < SECOND);
    hub.settled(5 * SECOND).await;
    let after = ["uzum", "wildberries", "ozon"].map(|code| pushes(&hub, code));
    assert_eq!(
        [after[0] - before[0], after[1] - before[1], after[2] - before[2]],
        [0, 1, 1],
        "one push each, none back to the origin"
    );
    let movements = hub.get("/v1/admin/movements?sku=PHONE-001").await;
    let sale = &movements["items"][0];
    assert_eq!(
        (
            &sale["movement_type"],
            &sale["quantity_change"],
            &sale["quantity_before"],
            &sale["quantity_after"],
            &sale["marketplace"]
        ),
        (&json!("marketplace_sale"), &json!(-3), &json!(50), &json!(47), &json!("uzum"))
    );
    assert_eq!(movements["items"].as_array().map(Vec::len), Some(2), "the opening and one sale");

    // (b) The own store sells one: 47 → 46.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let start = Instant::now();
    let body = json!({"external_id": "web-1", "items": [{"sku": "PHONE-001", "quantity": 1}]});
    let answer = hub.http.send("POST", "/v1/store/orders", &[("x-storefront-key", STORE_KEY)], Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    everyone(&hub, &mut browser, 46, start, "(b) own store 47 → 46").await;
    let counted = ["uzum", "wildberries", "ozon"].map(|code| pushes(&hub, code));
    assert_eq!([counted[0] - after[0], counted[1] - after[1], counted[2] - after[2]], [1, 1, 1], "three pushes");

    // (c) Somebody rings about the advertisement: 46 → 44.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let start = Instant::now();
    let body = json!({"marketplace": "olx", "customer_name": "Alisher", "customer_phone": "+998901234567",
        "items": [{"sku": "PHONE-001", "quantity": 2}]});
    let answer = hub.admin("POST", "/v1/admin/orders", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    everyone(&hub, &mut browser, 44, start, "(c) by telephone 46 → 44").await;
    let last = ["uzum", "wildberries", "ozon"].map(|code| pushes(&hub, code));
    assert_eq!([last[0] - counted[0], last[1] - counted[1], last[2] - counted[2]], [1, 1, 1], "three pushes");

    let product = hub.get("/v1/admin/products/PHONE-001").await;
    assert_eq!((&product["on_hand"], &product["available"]), (&json!(44), &json!(44)));
    hub.stop().await;
}

async fn everyone(hub: &Hub, browser: &mut Browser, stock: i64, start: Instant, what: &str) {
    let seen = browser.sees("PHONE-001", stock, 5 * SECOND).await - start;
    let mut told = start;
    for code in ["uzum", "wildberries", "ozon"] {
        told = told.max(shows(hub, code, "PHONE-001", stock).await);
    }
    println!("{what}: browser after {seen:?}, every marketplace after {:?}", told - start);
    assert!(seen < SECOND && told - start < SECOND);
    hub.settled(5 * SECOND).await;
}
