//! SIGTERM under load: the hub ends well and in time, whatever it answered stands, and browsers are told when to come back.

use std::time::Duration;

use tokio::time::Instant;

use super::campaign::seed;
use super::senders;
use super::world::{READY_AT_MOST, World};

const STOPS: usize = 5;
const EVENTS: usize = 800;
/// What a browser is told when the hub goes (`realtime::protocol`).
const SHUTTING_DOWN: i64 = 4200;
const STOP_AT_MOST: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_stop_loses_nothing() {
    let seed = seed();
    println!("seed {seed}");
    let mut world = World::new(seed, None).await;
    world.open().await;
    let observer = world.observer();
    let load = senders::start(world.load(seed, 0..EVENTS, 8, Duration::from_millis(1)), world.oracle.clone());
    let mut longest = Duration::ZERO;
    for stop in 1..=STOPS {
        let begun = Instant::now();
        while world.oracle.count_acked() < EVENTS * stop / (STOPS + 1) || observer.seen().shown.is_empty() {
            assert!(begun.elapsed() < READY_AT_MOST, "the load stands still\n{}", world.process.log_tail());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // A page that has not come back yet cannot be told goodbye.
        while observer.seen().connections < stop {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (status, took) = world.process.terminate(STOP_AT_MOST).await;
        assert!(status.success(), "{status}\n{}", world.process.log_tail());
        longest = longest.max(took);
        world.process.spawn();
        world.process.ready(READY_AT_MOST).await;
    }
    for sender in load {
        sender.await.expect("a sender does not panic");
    }
    let (converged, quiet) = world.settle(&observer, super::SETTLE).await;
    assert_eq!(world.check(&observer).await, []);
    assert!(quiet, "pushes go on although everything is right");
    assert_eq!(world.verify("after five stops").await, None);
    let byes = observer.seen().byes;
    println!(
        "{STOPS} stops under load, at most {longest:.1?} each; right everywhere {converged:.1?} after the last answer; {byes:?}"
    );
    assert_eq!(byes, vec![SHUTTING_DOWN; STOPS], "every stop is announced to the page that is there");
    world.process.kill().await;
    world.close().await;
}
