//! The judge itself on trial: hubs that are broken on purpose (`src/pipeline/breakage.rs`, debug builds only), each of which must be
//! found out, and for the right reason.

use std::time::Duration;

use super::campaign::{self, Cut, Scenario, seed};

async fn must_be_caught(breakage: &'static str, kills: usize, for_one_of: &[&str]) {
    let scenario = Scenario {
        seed: seed(),
        events: 400,
        kills,
        cut: Cut::Process,
        connections: 16,
        pause_ms: 0,
        breakage: Some(breakage),
        settle: Duration::from_secs(5),
    };
    let verdict = campaign::run(scenario).await;
    let kinds = verdict.kinds();
    println!("{breakage}: {} findings: {}", verdict.findings.len(), kinds.join(", "));
    assert!(
        kinds.iter().any(|kind| for_one_of.contains(kind)),
        "seed {}: a hub with {breakage} was not found out; found: {kinds:?}",
        verdict.figures.seed
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_commit_is_caught() {
    must_be_caught("ack_before_commit", 6, &["lost"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_dedupe_is_caught() {
    must_be_caught("no_dedupe", 6, &["logged-twice"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applying_twice_is_caught() {
    must_be_caught("apply_twice", 6, &["ledger-sum"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_broadcast_is_caught() {
    // A browser that comes back after a kill is given what is right; only one that stays can be left behind.
    must_be_caught("publish_lost", 0, &["observer-stale"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_that_never_leave_are_caught() {
    must_be_caught("push_lost", 6, &["shop-stale"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_pushes_are_caught() {
    must_be_caught("forget_in_flight", 6, &["shop-stale"]).await;
}
