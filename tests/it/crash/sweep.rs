//! Not at random: killed at the first write, the second, the third, and so on until a whole scenario runs through without reaching
//! the n-th. SQLite only, where the hub's own process does the writing.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use tokio::time::Instant;

use super::campaign::seed;
use super::process::strace_is_there;
use super::senders;
use super::world::{READY_AT_MOST, World};

/// Webhooks a hub has to take before it may be done.
const BATCH: usize = 10;
const RUN_AT_MOST: Duration = Duration::from_secs(240);

/// Every point where a commit is made durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_sync() {
    sweep("killed_at_every_sync", "fsync,fdatasync", 1).await;
}

/// Every `STOCKHUB_RIG_STEP`-th write of a page; the whole rig takes every one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_writes() {
    let step = std::env::var("STOCKHUB_RIG_STEP").map_or(23, |text| text.parse().expect("STOCKHUB_RIG_STEP is a whole number"));
    sweep("killed_at_writes", "pwrite64", step).await;
}

async fn sweep(test: &str, syscall: &str, step: usize) {
    if !strace_is_there() {
        println!("NOT PROVED: strace is not installed, so nothing was killed at its {syscall}; scripts/test installs it");
        return;
    }
    let seed = seed();
    println!("seed {seed}; again: STOCKHUB_RIG_SEED={seed} cargo test --test it {test}");
    let mut world = World::new(seed, None).await;
    if !world.database.is_sqlite() {
        println!("nothing to do: PostgreSQL does its own writing; see two_thousand_webhooks_survive_twenty_kills");
        return;
    }
    world.open().await;
    world.process.kill().await;
    let observer = world.observer();
    let (mut nth, mut kills, mut promised, mut load) = (1 + (seed as usize) % step, 0, 0, Vec::new());
    let begun = Instant::now();
    loop {
        if promised - world.oracle.count_acked() < BATCH {
            load.extend(senders::start(
                world.load(seed ^ nth as u64, promised..promised + BATCH, 2, Duration::ZERO),
                world.oracle.clone(),
            ));
            promised += BATCH;
        }
        world.process.spawn_traced(syscall, &format!("signal=SIGKILL:when={nth}"));
        if through(&mut world, promised).await {
            break;
        }
        kills += 1;
        assert_eq!(world.verify(&format!("killed at {syscall} {nth}")).await, None);
        nth += step;
    }
    // The rest is for a hub that nobody watches: what was under way at the last kill is still to be confirmed.
    if world.process.ended().is_none() {
        world.process.kill().await;
    }
    world.process.spawn();
    world.process.ready(READY_AT_MOST).await;
    for sender in load {
        sender.await.expect("a sender does not panic");
    }
    assert!(kills >= 5, "only {kills} kills: nothing was proved");
    let (_, quiet) = world.settle(&observer, super::SETTLE).await;
    assert_eq!(world.check(&observer).await, [], "seed {seed}");
    assert!(quiet, "pushes go on although everything is right");
    world.process.kill().await;
    println!(
        "{kills} kills at {syscall} 1 to {nth}, step {step}, {promised} webhooks, {:.1?}: nothing lost, nothing twice",
        begun.elapsed()
    );
    world.close().await;
}

/// Whether the hub lived to answer everything and to tell everybody; otherwise it was killed on the way.
async fn through(world: &mut World, promised: usize) -> bool {
    let killed = |status: std::process::ExitStatus, world: &World| {
        assert_eq!(status.signal(), Some(9), "it ended by itself: {status}\n{}", world.process.log_tail());
    };
    if let Err(status) = world.process.ready_or_ended(READY_AT_MOST).await {
        killed(status, world);
        return false;
    }
    let begun = Instant::now();
    while world.oracle.count_acked() < promised || !world.all_told() {
        if let Some(status) = world.process.ended() {
            killed(status, world);
            return false;
        }
        assert!(begun.elapsed() < RUN_AT_MOST, "it neither dies nor comes to an end\n{}", world.process.log_tail());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    true
}
