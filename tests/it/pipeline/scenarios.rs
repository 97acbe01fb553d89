//! The three scenarios the project came from, through real sockets: a marketplace's webhook, an order in the own store, an order
//! by telephone. Each must be everywhere within a second; a machine that stands still for a moment delays one of them, not most.

use std::time::Duration;

use serde_json::json;
use stockhub::simulator::record::ShopEvent;
use tokio::time::Instant;

use crate::support::browser::Browser;
use crate::support::hub::{Hub, STORE_KEY};

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
/// How often each is played.
const ROUNDS: i64 = 5;
/// What the three take from the stock together.
const ROUND: i64 = 6;

/// Pushes a shop has received so far.
fn pushes(hub: &Hub, code: &str) -> usize {
    let market = hub.shop(code).market().clone();
    let shop = market.shop();
    shop.journal().records().filter(|record| matches!(record.event, ShopEvent::Push { .. })).count()
}

/// Waits until a shop shows this number; gives when.
async fn shows(hub: &Hub, code: &str, sku: &str, stock: i64) -> Instant {
    let deadline = Instant::now() + PATIENCE;
    while hub.shop(code).market().shown(sku) != stock {
        assert!(Instant::now() < deadline, "{code} shows {} instead of {stock}", hub.shop(code).market().shown(sku));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Instant::now()
}

/// Pushes every shop has received so far.
fn counted(hub: &Hub) -> [usize; 3] {
    ["uzum", "wildberries", "ozon"].map(|code| pushes(hub, code))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_reaches_everyone_within_a_second() {
    let hub = Hub::start().await;
    hub.connect_shops();
    hub.settled(PATIENCE).await;
    let mut browser = Browser::open(hub.address, "PHONE-001").await;
    browser.sees("PHONE-001", 50, PATIENCE).await;
    let mut times = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        let took = each_in_turn(&hub, &mut browser, 50 - ROUND * round).await;
        times.iter_mut().zip(took).for_each(|(times, took)| times.push(took));
    }
    for (what, times) in ["a marketplace's webhook", "the own store", "by telephone"].into_iter().zip(times) {
        println!("{what}: everywhere after {times:?}");
        assert!(median(times.clone()) < SECOND, "{what}: {times:?}");
    }
    let left = 50 - ROUND * ROUNDS;
    let product = hub.get("/v1/admin/products/PHONE-001").await;
    assert_eq!((&product["on_hand"], &product["available"]), (&json!(left), &json!(left)));
    hub.stop().await;
}

/// The three with so much in stock; how long each took until everybody knew.
async fn each_in_turn(hub: &Hub, browser: &mut Browser, stock: i64) -> [Duration; 3] {
    // A sale that comes later than the last push plus the tolerance is surely not overwritten by it.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let before = counted(hub);
    let moved = movements(hub).await.len();

    // (a) Uzum sells three.
    let left = stock - 3;
    let start = Instant::now();
    hub.shop("uzum").market().sell("PHONE-001", 3).await.expect("it is in stock");
    let webhook = everyone(hub, browser, left, start).await;
    let after = counted(hub);
    assert_eq!(
        [after[0] - before[0], after[1] - before[1], after[2] - before[2]],
        [0, 1, 1],
        "one push each, none back to the origin"
    );
    let all = movements(hub).await;
    let sale = &all[0];
    assert_eq!(
        (
            &sale["movement_type"],
            &sale["quantity_change"],
            &sale["quantity_before"],
            &sale["quantity_after"],
            &sale["marketplace"]
        ),
        (&json!("marketplace_sale"), &json!(-3), &json!(stock), &json!(left), &json!("uzum"))
    );
    assert_eq!(all.len(), moved + 1, "one sale");

    // (b) The own store sells one.
    let left = left - 1;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let start = Instant::now();
    let body = json!({"external_id": format!("web-{stock}"), "items": [{"sku": "PHONE-001", "quantity": 1}]});
    let answer = hub.http.send("POST", "/v1/store/orders", &[("x-storefront-key", STORE_KEY)], Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let store = everyone(hub, browser, left, start).await;
    let last = counted(hub);
    assert_eq!([last[0] - after[0], last[1] - after[1], last[2] - after[2]], [1, 1, 1], "three pushes");

    // (c) Somebody rings about the advertisement, and buys two.
    let left = left - 2;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let start = Instant::now();
    let body = json!({"marketplace": "olx", "customer_name": "Alisher", "customer_phone": "+998901234567",
        "items": [{"sku": "PHONE-001", "quantity": 2}]});
    let answer = hub.admin("POST", "/v1/admin/orders", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let telephone = everyone(hub, browser, left, start).await;
    let end = counted(hub);
    assert_eq!([end[0] - last[0], end[1] - last[1], end[2] - last[2]], [1, 1, 1], "three pushes");
    [webhook, store, telephone]
}

async fn movements(hub: &Hub) -> Vec<serde_json::Value> {
    hub.get("/v1/admin/movements?sku=PHONE-001").await["items"].as_array().unwrap().clone()
}

/// Until the browser and every marketplace show this stock.
async fn everyone(hub: &Hub, browser: &mut Browser, stock: i64, start: Instant) -> Duration {
    let mut told = browser.sees("PHONE-001", stock, PATIENCE).await;
    for code in ["uzum", "wildberries", "ozon"] {
        told = told.max(shows(hub, code, "PHONE-001", stock).await);
    }
    hub.settled(PATIENCE).await;
    told - start
}
