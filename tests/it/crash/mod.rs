//! What a 200 is worth: the real binary is killed in the middle of its work, started again, and everything it ever promised is held
//! against what the other side wrote down.
//!
//! `world` is what survives the kills, `process` the hub's own process, `senders` and `oracle` the load and what is known of it,
//! `observer` a shopper's page, `checker` the judge, `campaign` one run. A failing run prints its seed and the line that repeats it.

#[cfg(debug_assertions)]
mod breakages;
mod campaign;
mod checker;
mod disk;
mod observer;
mod oracle;
mod power;
pub(crate) mod process;
mod senders;
mod stopping;
mod sweep;
mod world;

use std::time::Duration;

use campaign::{Cut, Scenario, seed};
use world::{READY_AT_MOST, World};

/// The numbers must be right everywhere this long after the last answer.
const SETTLE: Duration = Duration::from_secs(120);

/// `STOCKHUB_RIG_KILLS` of them, a hundred webhooks for each: 20 unless told otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_webhooks_survive_twenty_kills() {
    let kills =
        std::env::var("STOCKHUB_RIG_KILLS").map_or(20, |text| text.parse().expect("STOCKHUB_RIG_KILLS is a whole number"));
    let (seed, events, cut) = (seed(), kills * 100, Cut::Process);
    let scenario = Scenario { seed, events, kills, cut, connections: 16, pause_ms: 0, breakage: None, settle: SETTLE };
    let verdict = campaign::run(scenario).await;
    verdict.must_be_clean("two_thousand_webhooks_survive_twenty_kills");
    assert_eq!((verdict.figures.acked, verdict.figures.kills), (events, kills));
}

/// What a killed hub owed its marketplaces is paid by the next one, not after a minute and not after the next sale.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_hub_pushes_what_it_owed() {
    let mut world = World::new(seed(), None).await;
    world.open().await;
    let observer = world.observer();
    world.settle(&observer, SETTLE).await;
    world.shops[0].refuse().await;
    let load = world.load(seed(), 0..20, 1, Duration::ZERO);
    for sender in senders::start(load, world.oracle.clone()) {
        sender.await.expect("a sender does not panic");
    }
    world.process.kill().await;
    world.shops[0].come_back().expect("the shop opens again");
    world.process.spawn();
    world.process.ready(READY_AT_MOST).await;
    let (converged, _) = world.settle(&observer, SETTLE).await;
    println!("everything owed was told {converged:.1?} after the restart");
    assert_eq!(world.check(&observer).await, []);
    world.process.kill().await;
    world.close().await;
}
