//! One hub and seven shops, each with the other's manners, selling while everything goes wrong that can: at rest every shop shows
//! its allocation, the ledger is what the shops sold, each for itself, and nothing is pushed any more. Time runs ten times faster
//! for the hub and the shops alike, so that the real ones' limits hold and a test need not wait for them.
//!
//! The small run stands in the suite; `STOCKHUB_FAIR="500 20"` (products, minutes of selling) makes it a large one, and
//! `STOCKHUB_FAIR_SEED` repeats one. `just fair` does both.

use std::sync::Arc;
use std::time::Duration;

use stockhub::clock::Clock;
use stockhub::simulator::World;
use stockhub::simulator::chaos::Chaos;
use stockhub::simulator::fair::{Fair, FairSettings};
use stockhub::simulator::http_client::Target;
use stockhub::simulator::hub_view::HubView;
use stockhub::simulator::kinds::Kind;
use stockhub::simulator::shoppers::{ShopperSettings, send_out};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::hub::{ADMIN_TOKEN, Hub, Plan, SECRET};

const TIMES: u32 = 10;

/// Sockets and the knobs' delays keep the wall's time: a late write comes after 1.5 s, which are 15 of the hub's.
const SECTIONS: &str = "[push]\ntimeout_ms = 1500\nconnect_timeout_ms = 500\nzombie_window_ms = 40000\nlease_ms = 120000\n\
    [sync]\ntick_ms = 50\nreconcile = []\n";

struct Size {
    products: usize,
    stock: i64,
    purchases_per_second: f64,
    selling: Duration,
    settling: Duration,
}

fn size() -> Size {
    let large = std::env::var("STOCKHUB_FAIR").ok();
    let parts: Option<Vec<u64>> =
        large.as_deref().map(|text| text.split(' ').map(|part| part.parse().expect("a number")).collect());
    let seconds = Duration::from_secs;
    match parts.as_deref() {
        None => Size { products: 6, stock: 30, purchases_per_second: 6.0, selling: seconds(6), settling: seconds(120) },
        Some([products, minutes]) => Size {
            products: usize::try_from(*products).unwrap(),
            stock: 30,
            purchases_per_second: 10.0,
            selling: seconds(minutes * 60) / TIMES,
            settling: seconds(900),
        },
        Some(_) => panic!("STOCKHUB_FAIR is \"PRODUCTS MINUTES\""),
    }
}

fn shops() -> Vec<(String, Kind)> {
    let kinds = [Kind::Uzum, Kind::Wildberries, Kind::Ozon, Kind::BackMarket, Kind::Refurbed, Kind::Shopify];
    let mut shops: Vec<(String, Kind)> = kinds.map(|kind| (kind.id().to_owned(), kind)).to_vec();
    shops.push(("own-store".into(), Kind::Generic));
    shops
}

async fn hub_beside(fair: &Fair, clock: Clock) -> Hub {
    let mut marketplaces = String::new();
    let mut environment = Vec::new();
    for (side, shop) in fair.hub_sides().into_iter().zip(&fair.shops) {
        // Lost webhooks are found by asking: a net of fifteen minutes would be a long wait here.
        let asked = if shop.market().kind() == Kind::Generic { "" } else { "[marketplaces.policy]\npoll_every = \"10s\"\n" };
        marketplaces += &format!("\n{}{asked}", side.toml);
        environment.extend(side.environment);
    }
    let sections = SECTIONS.into();
    let (shops, products) = (Vec::new(), Vec::new());
    Hub::with(Plan { shops, products, sections, marketplaces, environment, clock, ..Plan::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seven_shops_that_misbehave_all_end_right() {
    let seed = std::env::var("STOCKHUB_FAIR_SEED").ok().map_or(20_261_126, |seed| seed.parse().expect("a number"));
    let size = size();
    println!("STOCKHUB_FAIR_SEED={seed}: {} products, selling for {:?} of {TIMES} times as fast", size.products, size.selling);
    let (stop, tasks, clock) = (CancellationToken::new(), TaskTracker::new(), Clock::hurried(TIMES));
    let time = clock.clone();
    let world = World::new(Arc::new(move || time.now()), tasks.clone(), stop.clone());
    let (products, stock, shops) = (size.products, size.stock, shops());
    let (port_base, hurry, webhook_secret, run) = (0, 1, SECRET.to_owned(), format!("f{seed}"));
    let fair = Fair::open(&world, &FairSettings { shops, products, stock, seed, port_base, hurry, webhook_secret, run }).unwrap();
    let hub = hub_beside(&fair, clock).await;
    let target = Target::parse(&format!("http://{}", hub.address)).unwrap();
    let mut view = HubView::new(target.clone(), ADMIN_TOKEN, Duration::from_secs(30));
    let markets = fair.markets();
    view.stock_up(&markets).await.unwrap();
    fair.connect(&target);

    fair.set_chaos(&Chaos::all()).unwrap();
    let crowd = ShopperSettings {
        stop_after: Some(size.selling),
        cancel_percent: 15,
        quantity_max: 2,
        leave_when_sold_out: false,
        ..ShopperSettings::new(size.purchases_per_second, seed)
    };
    let bought = send_out(&world, markets.clone(), crowd).unwrap().await.unwrap();
    println!(
        "{} sales of {} units, {} cancelled, by shop {:?}",
        bought.sales, bought.units, bought.cancels, bought.units_by_shop
    );
    assert!(bought.units > 0);
    fair.set_chaos(&Chaos::default()).unwrap();
    let (report, took) = fair.settle(&mut view, size.settling).await.unwrap();
    println!("right after {took:?}\n{report}");
    if !report.clean {
        explain(&hub, &report).await;
        panic!("seed {seed}: not at rest after {took:?}");
    }
    quiet(&fair, size.settling).await;
    assert!(fair.audit(&mut view).await.unwrap().clean, "seed {seed}: it did not stay right");
    for market in &markets {
        let sold: i64 = market.state().items.iter().map(|item| item.sold - item.cancelled - item.returned).sum();
        assert_eq!(-moved(&hub, &market.code()).await, sold, "seed {seed}: the ledger's sales of {}", market.code());
    }
    within_limits(&fair);
    hub.stop().await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

/// Waits until no shop has been told anything for a minute of the hub's time.
async fn quiet(fair: &Fair, at_most: Duration) {
    let told = || fair.markets().iter().map(|market| market.state().totals.pushes_received).sum::<u64>();
    let begun = Instant::now();
    let (mut last, mut since) = (told(), Instant::now());
    while since.elapsed() < Duration::from_secs(60) / TIMES {
        assert!(begun.elapsed() < at_most, "something is pushed again and again");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = told();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}

/// What the ledger moved because of one marketplace.
async fn moved(hub: &Hub, code: &str) -> i64 {
    let (mut sum, mut cursor) = (0, String::new());
    loop {
        let page = hub.get(&format!("/v1/admin/movements?marketplace={code}&limit=200{cursor}")).await;
        sum += page["items"].as_array().unwrap().iter().map(|row| row["quantity_change"].as_i64().unwrap()).sum::<i64>();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return sum,
        }
    }
}

/// A clock that runs ten times faster makes ten times as much of every delay between two machines, and a call that comes a little
/// early breaks a limit here that it would not break there. It must stay a rare thing.
fn within_limits(fair: &Fair) {
    for market in fair.markets() {
        let state = market.state();
        let (broken, calls) = (state.totals.limit_breaches, state.totals.calls);
        println!("{}: {calls} calls, limits broken {:?}, too early {}", market.code(), state.breaches, state.totals.early_calls);
        assert!(broken * 50 <= calls + 50, "{}: {:?} of {calls} calls", market.code(), state.breaches);
    }
}

/// What the hub knows of each product that is wrong.
async fn explain(hub: &Hub, report: &stockhub::simulator::audit::Report) {
    for row in report.products.iter().filter(|row| row.available != row.expected).take(5) {
        let product = hub.get(&format!("/v1/admin/products/{}", row.sku)).await;
        let movements = hub.get(&format!("/v1/admin/movements?sku={}&limit=200", row.sku)).await;
        println!("{}: {product:#}\n{movements:#}", row.sku);
    }
    let logs = hub.get("/v1/admin/sync-logs?limit=30").await;
    println!("{logs:#}");
}
