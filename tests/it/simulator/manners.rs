//! What each marketplace is known for, in a whole hub beside a shop that really does it: the rules that cost a seller money, sales or
//! a block when they are not kept. How the adapters read them stands in `marketplaces/words`.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::clock::Clock;
use stockhub::domain::time::Timestamp;
use stockhub::simulator::chaos::{Chaos, Fault};
use stockhub::simulator::http_client::{Client, Target};
use stockhub::simulator::kinds::Kind;
use stockhub::simulator::record::{Answered, ShopEvent};
use stockhub::simulator::shop::ShopState;

use crate::support::hub::{Hub, Plan};

/// A hub and one shop, whose time runs so many times as fast; every product was told there.
async fn beside(kind: Kind, times: u32, skus: &[&'static str]) -> Hub {
    let products: Vec<(&'static str, i64)> = skus.iter().map(|sku| (*sku, 50)).collect();
    let plan = Plan {
        shops: Vec::new(),
        kinds: vec![(kind.id(), kind)],
        products,
        sections: "[push]\nlease_ms = 600000\nmin_gap_ms = 0\n[sync]\ntick_ms = 50\nreconcile = []\n".into(),
        policy: format!("poll_every = \"{times}s\"\n"),
        marketplaces: String::new(),
        clock: Clock::hurried(times),
        ..Plan::default()
    };
    let hub = Hub::with(plan).await;
    for sku in skus {
        // Yandex Market shows minutes later what it was told: until then nobody knows.
        let states = ["synced", "unknown"];
        let is_told = async || states.contains(&hub.listing(sku, kind.id()).await["state"].as_str().unwrap_or(""));
        hub.until(&format!("{sku} is told"), is_told).await;
    }
    hub
}

fn state(hub: &Hub) -> ShopState {
    hub.shops[0].market().state()
}

async fn shows(hub: &Hub, sku: &str, stock: i64) {
    hub.until(&format!("{sku} shows {stock}"), async || hub.shops[0].market().shown(sku) == stock).await;
}

async fn is_blocked(hub: &Hub, sku: &str) {
    let code = hub.shops[0].market().code();
    hub.until(&format!("{sku} is refused"), async || hub.listing(sku, &code).await["state"] == "blocked").await;
}

/// So many of each are left.
async fn counted(hub: &Hub, counts: &[(&str, i64)]) {
    let counts: Vec<Value> = counts.iter().map(|(sku, count)| json!({"sku": sku, "count": count})).collect();
    let answer = hub.admin("POST", "/v1/admin/counts", Some(json!({ "counts": counts }))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Only pushes meet it, and so many of them.
fn pushes_meet(hub: &Hub, fault: Fault, times: u32) {
    let chaos = Chaos { spare_reads: true, ..Chaos::times(fault, times) };
    hub.shops[0].market().set_chaos(chaos).unwrap();
}

/// When quantities were told, and what was said to that.
fn told(hub: &Hub) -> Vec<(Timestamp, Answered)> {
    let shop = hub.shops[0].market().shop();
    let calls = shop.journal().records().filter_map(|record| match &record.event {
        ShopEvent::Call { received_at, answered, body, .. } if !body.is_empty() => Some((*received_at, *answered)),
        _ => None,
    });
    calls.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ozon_is_told_of_a_pair_once_in_thirty_seconds() {
    let hub = beside(Kind::Ozon, 20, &["A", "B"]).await;
    for _ in 0..6 {
        hub.store_sells("A", 1).await;
    }
    hub.store_sells("B", 1).await;
    shows(&hub, "A", 44).await;
    shows(&hub, "B", 49).await;
    let state = state(&hub);
    assert!(state.breaches.is_empty(), "{:?}", state.breaches);
    assert!(state.totals.pushes_received <= 6, "six sales are one request or two: {:?}", state.totals);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wildberries_counts_a_409_as_ten_requests() {
    let hub = beside(Kind::Wildberries, 10, &["A", "B"]).await;
    hub.shops[0].market().set_chaos(Chaos { poison: vec!["B".into()], ..Chaos::default() }).unwrap();
    // Twenty requests are saved at most: the third refusal has to be waited for.
    for left in [40, 39, 38, 37] {
        counted(&hub, &[("B", left)]).await;
        let version = hub.listing("B", "wildberries").await["wanted_version"].clone();
        hub.until("it is refused once more", async || {
            let listing = hub.listing("B", "wildberries").await;
            listing["state"] == "blocked" && listing["wanted_version"] == version
        })
        .await;
    }
    counted(&hub, &[("A", 30)]).await;
    shows(&hub, "A", 30).await;
    let state = state(&hub);
    assert!(state.totals.calls_refused >= 4, "{:?}", state.totals);
    assert!(state.breaches.is_empty(), "{:?}", state.breaches);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_204_of_wildberries_that_did_nothing_is_found_and_told_again() {
    let hub = beside(Kind::Wildberries, 10, &["A"]).await;
    pushes_meet(&hub, Fault::DidNothing, 2);
    hub.store_sells("A", 3).await;
    shows(&hub, "A", 47).await;
    let totals = state(&hub).totals;
    assert!(totals.pushes_faulted == 2 && totals.reads >= 2, "{totals:?}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn back_market_lets_in_who_says_who_they_are() {
    let hub = beside(Kind::BackMarket, 4, &["A"]).await;
    hub.store_sells("A", 1).await;
    shows(&hub, "A", 49).await;
    assert_eq!(state(&hub).totals.calls_refused, 0);
    // The same without the name: the wall.
    let token = format!("Basic {}", hub.shops[0].market().account().secret("token"));
    let mut client = Client::new(Target::parse(&hub.shops[0].base_url()).unwrap(), Duration::from_secs(10));
    let headers = [("authorization", token.as_str()), ("accept-language", "fr-fr")];
    assert_eq!(client.send("GET", "/ws/listings", &headers, b"").await.unwrap().status, 403);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_420_of_yandex_is_patience_and_no_failure() {
    let hub = beside(Kind::YandexMarket, 20, &["A"]).await;
    let before = told(&hub).len();
    pushes_meet(&hub, Fault::Status { status: 420, retry_after_seconds: None }, 2);
    hub.store_sells("A", 2).await;
    shows(&hub, "A", 48).await;
    let told = told(&hub).split_off(before);
    let refused: Vec<Timestamp> =
        told.iter().filter(|(_, answered)| *answered == Answered::Status(420)).map(|(at, _)| *at).collect();
    assert_eq!(refused.len(), 2, "{told:?}");
    for at in refused {
        let next = told.iter().map(|(next, _)| *next).find(|next| *next > at).unwrap();
        assert!(next.since(at) >= Duration::from_secs(5), "{told:?}");
    }
    assert_eq!(hub.metric("circuit_open{marketplace=\"yandex-market\"}").await, 0.0);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_inside_a_200_of_woocommerce_is_of_its_product_alone() {
    let hub = beside(Kind::WooCommerce, 5, &["A", "B", "C"]).await;
    hub.shops[0].market().set_chaos(Chaos { poison: vec!["B".into()], ..Chaos::default() }).unwrap();
    counted(&hub, &[("A", 9), ("B", 8), ("C", 7)]).await;
    shows(&hub, "A", 9).await;
    shows(&hub, "C", 7).await;
    is_blocked(&hub, "B").await;
    assert!(told(&hub).iter().all(|(_, answered)| *answered == Answered::Status(200)), "{:?}", told(&hub));
    assert_eq!(hub.shops[0].market().shown("B"), 50);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_of_refurbed_belong_to_items_by_their_order() {
    let hub = beside(Kind::Refurbed, 5, &["A", "B", "C", "D"]).await;
    hub.shops[0].market().set_chaos(Chaos { poison: vec!["C".into()], ..Chaos::default() }).unwrap();
    counted(&hub, &[("A", 9), ("B", 8), ("C", 7), ("D", 6)]).await;
    for (sku, stock) in [("A", 9), ("B", 8), ("D", 6)] {
        shows(&hub, sku, stock).await;
        hub.until(&format!("{sku} is known to be told"), async || hub.listing(sku, "refurbed").await["state"] == "synced").await;
    }
    is_blocked(&hub, "C").await;
    assert_eq!(hub.shops[0].market().shown("C"), 50);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bucket_of_shopify_does_not_run_over() {
    const SKUS: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];
    let hub = beside(Kind::Shopify, 10, &SKUS).await;
    for left in (20..40).rev() {
        counted(&hub, &SKUS.map(|sku| (sku, left))).await;
        shows(&hub, "H", left).await;
    }
    for sku in SKUS {
        shows(&hub, sku, 20).await;
    }
    let state = state(&hub);
    assert!(state.breaches.is_empty(), "{:?} {:?}", state.breaches, state.calls);
    hub.stop().await;
}
