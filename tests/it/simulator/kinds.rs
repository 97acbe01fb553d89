//! Each kind of marketplace beside the own store: what one sells, the other stops showing, and back; a cancel comes back to both;
//! and none of its limits is broken on the way. Where its limits are of minutes, time runs faster for the hub and the shops alike.

use std::time::Duration;

use serde_json::json;
use stockhub::clock::Clock;
use stockhub::simulator::kinds::Kind;
use stockhub::simulator::shop::TakeBack;
use tokio::time::Instant;

use crate::support::hub::{Hub, Plan};

/// Long against a push and its lease, however fast time runs.
const SECTIONS: &str = "[push]\nlease_ms = 600000\n[sync]\ntick_ms = 50\nreconcile = []\n";

/// Waits long enough for whoever must be asked, and may not be told often.
async fn shows(hub: &Hub, code: &str, stock: i64) {
    let begun = Instant::now();
    while hub.shop(code).market().shown("PHONE-001") != stock {
        if begun.elapsed() > Duration::from_secs(60) {
            let states: Vec<_> = hub.shops.iter().map(|shop| shop.market().state()).collect();
            let product = hub.get("/v1/admin/products/PHONE-001").await;
            let logs = hub.get("/v1/admin/sync-logs?limit=5").await;
            panic!("waited in vain until {code} shows {stock}: {states:#?}\n{product:#}\n{logs:#}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn beside_the_own_store(kind: Kind, times: u32) -> Hub {
    // A shop that is asked is asked once a second of the wall's clock; not so one that takes ten requests for it, and three a second.
    let seconds = if kind == Kind::Uzum { 10 } else { times };
    let policy = format!("poll_every = \"{seconds}s\"\n");
    let (shops, kinds, sections) = (vec!["own-store"], vec![(kind.id(), kind)], SECTIONS.into());
    let clock = Clock::hurried(times);
    let hub = Hub::with(Plan { shops, kinds, policy, sections, clock, marketplaces: String::new(), ..Plan::default() }).await;
    // Every listing is told its number first, and told it again where the first time proved nothing; what is sold before that would be
    // overwritten, as at a real one. The legacy shop cannot be told.
    for shop in hub.shops.iter().filter(|shop| shop.market().kind() != Kind::Polling) {
        let code = shop.market().code();
        // One that shows its numbers minutes later is taken at its word until then.
        let is_told = async || {
            let listing = hub.listing("PHONE-001", &code).await;
            listing["state"] == "synced" || listing["state"] == "unknown" && shop.market().kind() == Kind::YandexMarket
        };
        hub.until(&format!("{code} is told"), is_told).await;
    }
    hub.connect_shops();
    hub
}

async fn sells_both_ways(kind: Kind, times: u32) {
    let code = kind.id();
    let hub = beside_the_own_store(kind, times).await;
    let (store, market) = (hub.shop("own-store").market().clone(), hub.shop(code).market().clone());
    let order = market.sell("PHONE-001", 2).await.unwrap().order_id;
    shows(&hub, "own-store", 48).await;
    assert_eq!(market.shown("PHONE-001"), 48, "it lowered its own number, and is not told it again");
    store.sell("PHONE-001", 3).await.unwrap();
    shows(&hub, code, 45).await;
    market.take_back(&order, None, TakeBack::Cancel).await.unwrap();
    shows(&hub, "own-store", 47).await;
    shows(&hub, code, 47).await;
    let product = hub.get("/v1/admin/products/PHONE-001").await;
    assert_eq!(product["available"], 47);
    is_read(&hub, code).await;
    nothing_was_broken(&hub, code);
    hub.stop().await;
}

/// All its numbers are read, and each is known for what it is.
async fn is_read(hub: &Hub, code: &str) {
    let answer = hub.admin("POST", "/v1/admin/sync", Some(json!({ "marketplace": code }))).await;
    assert!([200, 202].contains(&answer.status), "{code}: {}", answer.text());
    let path = format!("/v1/admin/sync-logs/{}", answer.json()["id"].as_str().unwrap());
    hub.until(&format!("{code} is read"), async || !hub.get(&path).await["finished_at"].is_null()).await;
    let run = hub.get(&path).await;
    assert_eq!((&run["counts"]["matched"], &run["counts"]["unmapped"]), (&json!(1), &json!(0)), "{run}");
}

fn nothing_was_broken(hub: &Hub, code: &str) {
    let mut state = hub.shop(code).market().state();
    let records: Vec<_> = hub.shop(code).market().shop().journal().records().map(|r| format!("{} {:?}", r.at, r.event)).collect();
    // Where three requests are granted a second, a busy machine may hold one back until the next is there: one in twenty at most.
    let rarely = |broken: u64| broken * 20 <= state.totals.calls;
    state.breaches.retain(|limit, broken| limit != "all" || !rarely(*broken));
    assert!(state.breaches.is_empty(), "{:?} {records:#?}", state.breaches);
    assert_eq!((state.totals.calls_refused, state.totals.strays), (0, 0), "{:?} {:?}", state.totals, state.calls);
}

/// It is read and never told: what it sells is known elsewhere, and what is sold elsewhere waits for a person there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legacy_shop_that_can_only_be_asked() {
    let hub = beside_the_own_store(Kind::Polling, 1).await;
    let market = hub.shop(Kind::Polling.id()).market().clone();
    let order = market.sell("PHONE-001", 2).await.unwrap().order_id;
    shows(&hub, "own-store", 48).await;
    market.take_back(&order, None, TakeBack::Cancel).await.unwrap();
    shows(&hub, "own-store", 50).await;
    is_read(&hub, Kind::Polling.id()).await;
    nothing_was_broken(&hub, Kind::Polling.id());
    assert_eq!(market.state().totals.pushes_received, 0);
    hub.stop().await;
}

macro_rules! kinds {
    ($($name:ident: $kind:ident, $times:literal times as fast),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                sells_both_ways(Kind::$kind, $times).await;
            }
        )*
    };
}

kinds! {
    // Its orders carry no status: what became of them is asked once a minute.
    wildberries: Wildberries, 10 times as fast,
    uzum: Uzum, 3 times as fast,
    yandex_market: YandexMarket, 1 times as fast,
    back_market: BackMarket, 4 times as fast,
    // Of one product it may be told twice a minute.
    ozon: Ozon, 20 times as fast,
    refurbed: Refurbed, 1 times as fast,
    shopify: Shopify, 1 times as fast,
    woo_commerce: WooCommerce, 1 times as fast,
    kaufland: Kaufland, 1 times as fast,
}
