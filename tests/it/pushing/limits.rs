//! Limits of a marketplace: kept under load, and over a restart.

use std::time::Duration;

use serde_json::json;
use stockhub::clock::Clock;
use stockhub::marketplaces::call::OrderFeed;
use stockhub::marketplaces::limit::{Cost, LimitHeaders};
use stockhub::marketplaces::{Abilities, Limit, Traits};
use stockhub::simulator::http_server::Reply;

use super::{SECOND, plan, rig};
use crate::support::hub::{Hub, Plan};
use crate::support::scripted::{Reads, Scripted, ScriptedShop, install};

fn limit(requests: u32, per: Duration, burst: u32) -> Limit {
    Limit {
        name: "stock",
        requests: Some(requests),
        per,
        burst,
        concurrency: None,
        min_interval: Duration::ZERO,
        throttle_status: vec![429],
        costs: Vec::new(),
        penalty: SECOND,
        reads: LimitHeaders::default(),
    }
}

/// One listing may be told only so often, whatever happens to it: Ozon's thirty seconds, in short.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_is_told_only_so_often_even_zero_even_after_a_restart() {
    const INTERVAL: Duration = Duration::from_secs(30);
    let adapter =
        || Scripted { traits: Traits { key_interval: INTERVAL, batch_max: 100, ..Traits::plain() }, ..Scripted::plain() };
    // Time stands still but for the steps made here.
    let clock = Clock::manual(Clock::system().now());
    let plan = || Plan { clock: clock.clone(), ..plan("lease_ms = 3600000\n", "") };
    let hub = Hub::with(plan()).await;
    let shop = ScriptedShop::start(hub.world.clone());
    install(&hub, "shop", adapter(), &shop).await;
    let listed = async |hub: &Hub, shop: &ScriptedShop, sku: &str| {
        // One that was told nothing yet is free: what is due with it has been looked at as well.
        hub.sell_at_shop(sku, 9, None, json!({})).await;
        hub.until(&format!("{sku} is told"), async || {
            clock.advance(Duration::from_millis(1));
            shop.shows(sku).is_some()
        })
        .await;
    };
    let settled = async || {
        hub.until("all is written down", async || {
            clock.advance(Duration::from_millis(10));
            let metrics = hub.http.send("GET", "/metrics", &[], None).await.text();
            !metrics.lines().any(|line| line.starts_with("dirty_listings{") && !line.ends_with(" 0"))
        })
        .await;
    };
    listed(&hub, &shop, "A").await;
    settled().await;
    for _ in 0..3 {
        hub.store_sells("A", 1).await;
    }
    listed(&hub, &shop, "B").await;
    assert_eq!(shop.shows("A"), Some(9), "it was told a moment ago");
    clock.advance(INTERVAL);
    listed(&hub, &shop, "C").await;
    hub.until("the three are one", async || {
        clock.advance(Duration::from_millis(1));
        shop.shows("A") == Some(6) && hub.listing("A", "shop").await["state"] == "synced"
    })
    .await;
    hub.store_sells("A", 6).await;
    listed(&hub, &shop, "D").await;
    assert_eq!(shop.shows("A"), Some(6), "zero waits for the marketplace's interval too");
    let database = hub.stop().await;
    let hub = Hub::on(database, plan()).await;
    let again = ScriptedShop::start(hub.world.clone());
    install(&hub, "shop", adapter(), &again).await;
    listed(&hub, &again, "E").await;
    assert_eq!(again.shows("A"), None, "after a restart, too");
    clock.advance(INTERVAL);
    listed(&hub, &again, "F").await;
    hub.until("zero is told", async || {
        clock.advance(Duration::from_millis(1));
        again.shows("A") == Some(0)
    })
    .await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_kept_while_many_change_and_each_request_is_full() {
    let traits = Traits { batch_max: 10, ..Traits::plain() };
    let limits = vec![limit(10, SECOND, 2)];
    // Time stands still but for the steps made here: how late a request arrives says nothing of when it was let go.
    let clock = Clock::manual(Clock::system().now());
    let hub = Hub::with(Plan { clock: clock.clone(), ..plan("lease_ms = 3600000\n", "") }).await;
    let shop = ScriptedShop::start(hub.world.clone());
    install(&hub, "shop", Scripted { traits, limits, push_limits: vec!["stock"], ..Scripted::plain() }, &shop).await;
    let kept = async |what: &str, number: i64, before: usize| {
        let begun = clock.now();
        hub.until(what, async || {
            let since = shop.pushes().len() - before;
            // Two at once where they were saved, then ten a second.
            let allowed = 2 + clock.now().since(begun).as_millis() as usize / 100;
            assert!(since <= allowed, "{since} and not {allowed} in {:?}", clock.now().since(begun));
            clock.advance(Duration::from_millis(5));
            (0..100).all(|n| shop.shows(&format!("S-{n}")) == Some(number))
        })
        .await;
        hub.settled(60 * SECOND).await;
    };
    let before = shop.pushes().len();
    let mut listed = Vec::new();
    for n in 0..100 {
        listed.push(format!("S-{n}"));
        hub.sell_at_shop(&listed[n], 9, None, json!({})).await;
    }
    kept("all are told", 9, before).await;
    clock.advance(SECOND);
    let before = shop.pushes().len();
    let counts: Vec<serde_json::Value> = listed.iter().map(|sku| json!({"sku": sku, "count": 7})).collect();
    assert_eq!(hub.admin("POST", "/v1/admin/counts", Some(json!({ "counts": counts }))).await.status, 200);
    kept("all are told anew", 7, before).await;
    let since = shop.pushes().split_off(before);
    assert_eq!(since.len(), 10, "a hundred in tens");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patience_asked_for_by_a_status_of_its_own_is_had() {
    // Yandex: 420, and until when as a date.
    let reads = LimitHeaders { reset_rfc822: Some("X-RateLimit-Resource-Until"), ..LimitHeaders::default() };
    let limits = vec![Limit { throttle_status: vec![420], reads, ..limit(600, 60 * SECOND, 600) }];
    let (hub, shop) = rig(Scripted { limits, push_limits: vec!["stock"], ..Scripted::plain() }, "").await;
    hub.sell_at_shop("A", 9, None, json!({})).await;
    hub.is_synced("A").await;
    // The answer says when, three seconds from its own moment on: a busy machine may be slow to ask.
    let told = std::sync::Arc::new(std::sync::Mutex::new(None));
    let note = told.clone();
    shop.script(move |seen, _| {
        let mut told = note.lock().unwrap();
        let refuse = seen.is_push() && told.is_none();
        refuse.then(|| {
            let until = stockhub::domain::time::Timestamp::from_seconds(seen.clock / 1_000_000 + 3);
            *told = Some((seen.clock, until));
            let headers = vec![("x-ratelimit-resource-until", rfc822(until))];
            Reply::Answer { status: 420, headers, body: "".into() }.into()
        })
    });
    hub.store_sells("A", 1).await;
    hub.until("it was asked to wait", async || told.lock().unwrap().is_some()).await;
    hub.store_sells("A", 1).await;
    hub.is_synced("A").await;
    let (asked, until) = told.lock().unwrap().unwrap();
    let pushes = shop.pushes();
    let next = pushes.iter().map(|push| push.clock).filter(|at| *at > asked).min().unwrap();
    assert!(next >= until.micros(), "it came {} µs too early", until.micros() - next);
    assert_eq!(shop.shows("A"), Some(7));
    assert_eq!(hub.metric("circuit_open{marketplace=\"shop\"}").await, 0.0);
    hub.stop().await;
}

fn rfc822(at: stockhub::domain::time::Timestamp) -> String {
    let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = at.to_string();
    let month: usize = text[5..7].parse().unwrap();
    let day = days[usize::try_from(at.seconds().div_euclid(86_400).rem_euclid(7)).unwrap()];
    format!("{day}, {} {} {} {} GMT", &text[8..10], months[month - 1], &text[..4], &text[11..19])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_costs_ten_slows_the_rest_down() {
    // Wildberries: a 409 counts as ten of the budget. Time stands still but for the steps made here.
    let clock = Clock::manual(Clock::system().now());
    let hub = Hub::with(Plan { clock: clock.clone(), ..plan("lease_ms = 3600000\n", "") }).await;
    let shop = ScriptedShop::start(hub.world.clone());
    let costs = vec![Cost { from: 409, to: 409, requests: 10 }];
    let limits = vec![Limit { costs, ..limit(1_200, 60 * SECOND, 12) }];
    install(&hub, "shop", Scripted { limits, push_limits: vec!["stock"], ..Scripted::plain() }, &shop).await;
    let skus = ["A", "B", "D"];
    for sku in skus {
        hub.sell_at_shop(sku, 9, None, json!({})).await;
    }
    let step = |millis| clock.advance(Duration::from_millis(millis));
    hub.until("each is told", async || {
        step(10);
        skus.iter().all(|sku| shop.shows(sku) == Some(9))
    })
    .await;
    hub.settled(30 * SECOND).await;
    // A full bucket: twelve at once.
    step(2_000);
    shop.script(|seen, _| (seen.is_push() && seen.stocks()[0].0 != "D").then(|| Reply::status(409).into()));
    for sku in ["A", "B"] {
        hub.store_sells(sku, 1).await;
        hub.until(&format!("{sku} is refused"), async || hub.listing(sku, "shop").await["state"] == "blocked").await;
    }
    let refused_at = clock.now();
    hub.store_sells("D", 1).await;
    hub.until("D is told", async || {
        step(10);
        shop.shows("D") == Some(8)
    })
    .await;
    // Two refusals cost twenty of the twelve that were saved: nine more come at twenty a second.
    let waited = clock.now().since(refused_at);
    assert!(waited >= Duration::from_millis(440), "only {waited:?}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_that_is_too_early_waits_alone() {
    let traits = Traits { batch_max: 10, ..Traits::plain() };
    let (hub, shop) = rig(Scripted { reads: Reads::Each, traits, ..Scripted::plain() }, "").await;
    for sku in ["A", "B"] {
        hub.sell_at_shop(sku, 9, None, json!({})).await;
    }
    hub.settled(30 * SECOND).await;
    let mut refused = 0;
    shop.script(move |seen, stocks| {
        if !seen.is_push() {
            return None;
        }
        let rows: Vec<serde_json::Value> = seen
            .stocks()
            .into_iter()
            .map(|(sku, stock)| {
                if sku == "A" && refused < 3 {
                    refused += 1;
                    return json!({"sku": sku, "code": "busy"});
                }
                stocks.insert(sku.clone(), stock);
                json!({ "sku": sku })
            })
            .collect();
        Some(Reply::json(200, &json!({ "results": rows })).into())
    });
    let counts = json!({"counts": [{"sku": "A", "count": 4}, {"sku": "B", "count": 4}]});
    assert_eq!(hub.admin("POST", "/v1/admin/counts", Some(counts)).await.status, 200);
    hub.settled(30 * SECOND).await;
    assert_eq!((shop.shows("A"), shop.shows("B")), (Some(4), Some(4)));
    let of = |sku: &str| shop.pushes().iter().filter(|push| push.stocks().contains(&(sku.to_owned(), 4))).count();
    assert_eq!((of("A"), of("B")), (4, 1));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_not_raised_before_its_orders_were_looked_at() {
    let feed = OrderFeed { lists: 1, overlap: SECOND, span_max: None, every: Duration::from_secs(86_400), statuses: None };
    let abilities = Abilities { orders: Some(feed), ..Abilities::default() };
    let traits = Traits { abilities, ..Traits::plain() };
    let (hub, shop) = rig(Scripted { traits, ..Scripted::plain() }, "").await;
    // One it never had waits for nothing.
    hub.sell_at_shop("A", 5, None, json!({})).await;
    hub.is_synced("A").await;
    hub.top_up("A", 4).await;
    // A lower number goes out meanwhile, and so does a zero.
    hub.store_sells("A", 6).await;
    hub.until("the lower one is told", async || shop.shows("A") == Some(3)).await;
    hub.top_up("A", 2).await;
    hub.store_sells("A", 5).await;
    hub.until("zero is told", async || shop.shows("A") == Some(0)).await;
    assert_eq!(shop.pushes().iter().flat_map(|push| push.stocks()).map(|(_, stock)| stock).collect::<Vec<_>>(), [5, 3, 0]);
    hub.stop().await;
}
