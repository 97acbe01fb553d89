//! A marketplace that is dead, slow or wrong: it delays nobody else, and ends with the right number by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use stockhub::simulator::chaos::{Chaos, Fault};
use stockhub::simulator::record::PushOutcome;
use tokio::time::Instant;

use crate::support::browser::Browser;
use crate::support::hub::{Hub, Plan};
use crate::support::webhook::sold;

const SKUS: [&str; 6] = ["P-1", "P-2", "P-3", "P-4", "P-5", "P-6"];
const SECOND: Duration = Duration::from_secs(1);

/// What a marketplace that hangs costs whoever waits for it: far more than anything else here takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(6);

/// Every other wait is short, so that a test sees in seconds what a real outage shows in minutes. `more` are keys of `[push]`.
fn plan(more: &str) -> Plan {
    let push = format!(
        "min_gap_ms = 0\ntimeout_ms = {0}\nconnect_timeout_ms = {0}\nbackoff_base_ms = 20\nbackoff_cap_ms = 300\n\
         breaker_open_ms = 200\nlease_ms = 60000\n",
        TIMEOUT.as_millis()
    );
    Plan { sections: format!("[push]\n{push}{more}"), products: SKUS.map(|sku| (sku, 100)).to_vec(), ..Plan::default() }
}

/// One sale of each product, and how long it took each time until the browser and the two healthy shops showed it; the median.
async fn sell_one_of_each(hub: &Hub, browser: &mut Browser, left: &mut i64) -> Duration {
    *left -= 1;
    let mut took = Vec::new();
    for sku in SKUS {
        let begun = Instant::now();
        hub.store_sells(sku, 1).await;
        let seen = browser.sees(sku, *left, 30 * SECOND).await;
        let told = hub.shows("uzum", sku, *left).await.max(hub.shows("wildberries", sku, *left).await);
        took.push(seen.max(told) - begun);
    }
    took.sort_unstable();
    took[took.len() / 2]
}

/// Kills `ozon` in one way, sells on, lets it live again. Gives what it was told since, by product.
async fn outage(hub: &Hub, kill: impl AsyncFnOnce(), heal: impl FnOnce()) -> BTreeMap<String, Vec<i64>> {
    hub.settled(30 * SECOND).await;
    let mut browser = Browser::open(hub.address, &SKUS.join(",")).await;
    let mut left = 100;
    let before = sell_one_of_each(hub, &mut browser, &mut left).await;
    for sku in SKUS {
        hub.shows("ozon", sku, left).await;
    }
    hub.settled(30 * SECOND).await;
    kill().await;
    let mut during = sell_one_of_each(hub, &mut browser, &mut left).await;
    hub.until("the circuit opens", async || hub.metric("circuit_open{marketplace=\"ozon\"}").await == 1.0).await;
    for _ in 0..2 {
        during = during.max(sell_one_of_each(hub, &mut browser, &mut left).await);
    }
    println!("a sale is everywhere else after {before:?} before and {during:?} during the outage");
    assert!(during < TIMEOUT / 2, "{during:?} instead of {before:?}: somebody waited for it");
    let mark = hub.mark("ozon");
    heal();
    let healed = Instant::now();
    for sku in SKUS {
        hub.shows("ozon", sku, left).await;
    }
    println!("it caught up after {:?}", healed.elapsed());
    hub.settled(30 * SECOND).await;
    let mut told: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for push in hub.told("ozon", mark).into_iter().filter(|push| push.outcome != PushOutcome::Faulted) {
        told.entry(push.sku).or_default().push(push.stock);
    }
    assert!(told.values().flatten().all(|stock| *stock == left), "only the newest number: {told:?}");
    assert_eq!(hub.metric("circuit_open{marketplace=\"ozon\"}").await, 0.0);
    told
}

fn one_each(told: &BTreeMap<String, Vec<i64>>) {
    assert_eq!(told.len(), SKUS.len(), "{told:?}");
    assert!(told.values().all(|numbers| numbers.len() == 1), "one push per listing: {told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_refuses_connections_delays_nobody_and_catches_up() {
    let hub = Hub::with(plan("zombie_window_ms = 600000\nbreaker_failures = 3\n")).await;
    let told = outage(&hub, async || hub.shop("ozon").refuse().await, || hub.shop("ozon").come_back().unwrap()).await;
    one_each(&told);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_answers_500_delays_nobody_and_catches_up() {
    let hub = Hub::with(plan("zombie_window_ms = 600000\nbreaker_failures = 3\n")).await;
    let ill = || Chaos::always(Fault::Status { status: 500, retry_after_seconds: None });
    let chaos = |chaos| hub.shop("ozon").market().set_chaos(chaos).unwrap();
    let told = outage(&hub, async || chaos(ill()), || chaos(Chaos::default())).await;
    one_each(&told);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_delays_nobody_and_catches_up() {
    // Long enough that no second look falls into the time in which pushes are counted.
    let hub = Hub::with(plan("zombie_window_ms = 600000\nbreaker_failures = 3\n")).await;
    let chaos = |chaos| hub.shop("ozon").market().set_chaos(chaos).unwrap();
    let told = outage(&hub, async || chaos(Chaos::always(Fault::Hang)), || chaos(Chaos::default())).await;
    one_each(&told);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_after_the_deed_ends_with_the_right_number() {
    let hub = Hub::with(plan("zombie_window_ms = 700\n")).await;
    hub.settled(30 * SECOND).await;
    let mark = hub.mark("ozon");
    hub.shop("ozon").market().set_chaos(Chaos::times(Fault::CutAfterApply, 1)).unwrap();
    hub.store_sells("P-1", 3).await;
    // The first, the one that follows at once, and the one after the window.
    hub.until("it was told three times", async || hub.told("ozon", mark).len() == 3).await;
    hub.settled(30 * SECOND).await;
    let told = hub.told("ozon", mark);
    assert!(told.iter().all(|push| push.stock == 97 && push.outcome == PushOutcome::Applied), "{told:?}");
    assert_eq!(hub.shop("ozon").market().shown("P-1"), 97);
    let listing = hub.listing("P-1", "ozon").await;
    assert_eq!((&listing["expected"], &listing["state"]), (&97.into(), &"synced".into()), "{listing}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_lands_ten_seconds_late_does_not_stand() {
    // The second look is a timeout and this long after the first push: the late write stands for seconds before.
    let hub = Hub::with(plan("zombie_window_ms = 14000\n")).await;
    hub.settled(30 * SECOND).await;
    hub.shop("ozon").market().set_chaos(Chaos::times(Fault::LateWrite { after_ms: 10_000 }, 1)).unwrap();
    hub.store_sells("P-1", 3).await;
    hub.shows("ozon", "P-1", 97).await;
    hub.store_sells("P-1", 2).await;
    hub.shows("ozon", "P-1", 95).await;
    hub.until("the late write", async || hub.shop("ozon").market().shop().totals().late_writes == 1).await;
    assert_eq!(hub.shop("ozon").market().shown("P-1"), 97, "it did land");
    hub.shows("ozon", "P-1", 95).await;
    hub.settled(30 * SECOND).await;
    assert_eq!(hub.shop("ozon").market().shown("P-1"), 95);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_patience_gets_it() {
    // A single failure would open the circuit.
    let hub = Hub::with(plan("zombie_window_ms = 700\nbreaker_failures = 1\n")).await;
    hub.settled(30 * SECOND).await;
    let mark = hub.mark("ozon");
    let busy = Fault::Status { status: 429, retry_after_seconds: Some(2) };
    hub.shop("ozon").market().set_chaos(Chaos::times(busy, 1)).unwrap();
    hub.store_sells("P-1", 3).await;
    hub.until("it was asked", async || !hub.told("ozon", mark).is_empty()).await;
    hub.until("the answer is known", async || hub.metric("pushes_total{marketplace=\"ozon\",outcome=\"retry\"}").await == 1.0)
        .await;
    // Its other listings wait as well, other marketplaces do not.
    hub.store_sells("P-2", 4).await;
    hub.shows("uzum", "P-2", 96).await;
    assert_eq!(hub.metric("circuit_open{marketplace=\"ozon\"}").await, 0.0);
    hub.shows("ozon", "P-1", 97).await;
    hub.shows("ozon", "P-2", 96).await;
    hub.settled(30 * SECOND).await;
    let told = hub.told("ozon", mark);
    assert_eq!(told.len(), 3, "the refused one, and one for each: {told:?}");
    assert!(told[1..].iter().all(|push| push.at - told[0].at >= 2_000), "none within two seconds: {told:?}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_credentials_pause_pushes_and_nothing_else() {
    let hub = Hub::with(plan("zombie_window_ms = 700\n")).await;
    hub.settled(30 * SECOND).await;
    let who = Fault::Status { status: 401, retry_after_seconds: None };
    hub.shop("ozon").market().set_chaos(Chaos::always(who)).unwrap();
    let mark = hub.mark("ozon");
    hub.store_sells("P-1", 1).await;
    hub.until("it is noticed", async || hub.marketplace_status("ozon").await == "auth_error").await;
    assert_eq!(hub.alerts().await, ["marketplace-auth"]);
    let asked = hub.told("ozon", mark).len();
    for n in 1..=5 {
        hub.store_sells("P-1", 1).await;
        hub.shows("uzum", "P-1", 99 - n).await;
    }
    // Longer than every backoff and rest of these settings.
    tokio::time::sleep(SECOND).await;
    assert_eq!(hub.told("ozon", mark).len(), asked, "it is not asked again");
    // What it sells is still taken, and told to the others.
    let row = hub.delivered("ozon", &sold("OZON-P-2", 100, 5, "2026-01-09T10:30:00Z")).await;
    assert_eq!((&row["status"], hub.available("P-2").await), (&"processed".into(), 95));
    hub.shows("uzum", "P-2", 95).await;
    // A restart may bring new credentials: they are tried, and found good.
    let database = hub.stop().await;
    let hub = Hub::on(database, plan("zombie_window_ms = 700\n")).await;
    hub.shows("ozon", "P-1", 94).await;
    hub.shows("ozon", "P-2", 95).await;
    assert_eq!(hub.marketplace_status("ozon").await, "active");
    hub.until("the alert is resolved", async || hub.alerts().await.is_empty()).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_refused_for_good_is_left_out_until_its_number_changes() {
    let hub = Hub::with(plan("zombie_window_ms = 700\nbreaker_failures = 2\n")).await;
    hub.settled(30 * SECOND).await;
    let mark = hub.mark("ozon");
    // No shop has it on its shelf: each answers 404.
    hub.product("GHOST", 5).await;
    let of_ghost = || hub.told("ozon", mark).into_iter().filter(|push| push.sku == "GHOST").collect::<Vec<_>>();
    hub.until("it was refused", async || hub.listing("GHOST", "ozon").await["state"] == "blocked").await;
    for n in 1..=3 {
        hub.store_sells("P-1", 1).await;
        hub.shows("ozon", "P-1", 100 - n).await;
    }
    // Something happens to the product that leaves its number here as it was.
    let olx = serde_json::json!({"marketplace": "olx", "sku": "GHOST"});
    assert_eq!(hub.admin("POST", "/v1/admin/listings", Some(olx)).await.status, 201);
    tokio::time::sleep(SECOND).await;
    assert_eq!(of_ghost().len(), 1, "{:?}", of_ghost());
    assert_eq!(hub.metric("circuit_open{marketplace=\"ozon\"}").await, 0.0, "a refusal is an answer");
    let listing = hub.listing("GHOST", "ozon").await;
    assert!(listing["last_error"].as_str().is_some_and(|why| why.contains("404")), "{listing}");
    hub.store_sells("GHOST", 1).await;
    hub.until("its new number was tried", async || of_ghost().len() == 2).await;
    hub.until("and refused", async || hub.listing("GHOST", "ozon").await["state"] == "blocked").await;
    assert_eq!(of_ghost()[1].stock, 4);
    hub.stop().await;
}
