//! Two hubs on one database: each account is read by one of them, and a run is done once. Only where there is a server for two.

use serde_json::json;

use super::shelf::Shelf;
use super::stand::{Set, Stand};
use crate::support::database::TestDatabase;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_read_by_one_node_and_taken_over_when_that_is_gone() {
    let database = TestDatabase::new().await;
    if database.is_sqlite() {
        // One process holds the file: the second is refused at its door, which other tests show.
        return;
    }
    let second = TestDatabase { url: database.url.clone(), folder: tempfile::tempdir().unwrap() };
    // Leases are renewed by real time, so this clock is the system's.
    let clock = stockhub::clock::Clock::system();
    let set =
        || Set { policy: "poll_every = \"1s\"", sync: "reconcile = []\nsecond_look_s = 1", lease_ms: 15_000, ..Set::default() };
    let shelf = Shelf::start().await;
    let one = Stand::on(database, shelf.clone(), clock.clone(), set()).await;
    let two = Stand::on(second, shelf.clone(), clock, set()).await;
    one.reread().await;
    one.drained().await;
    shelf.sells("O-1", "L-A-1", 3, one.now());
    one.hub.until("the sale is in", async || two.on_hand("A-1").await == 47).await;
    assert_eq!(one.hub.get("/v1/admin/movements?sku=A-1").await["items"].as_array().unwrap().len(), 2, "once");
    // Asked for on both nodes at once, read one after the other by whoever owns the account.
    shelf.set("L-A-1", 40);
    let ask = async |stand: &Stand| {
        let answer = stand.hub.admin("POST", "/v1/admin/reconciliations", Some(json!({"marketplace": "shelf"}))).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let (first, other) = (ask(&one).await, ask(&two).await);
    let (first, other) = (one.ended(&first).await, two.ended(&other).await);
    let acted = |run: &serde_json::Value| run["counts"]["acted"].as_i64().unwrap_or(0);
    assert_eq!(acted(&first) + acted(&other), 1, "{first}\n{other}");
    // The one that owned it goes; the other takes over.
    one.hub.stop().await;
    let before = two.on_hand("A-1").await;
    shelf.sells("O-2", "L-A-1", 1, two.now());
    two.hub.until("the other reads on", async || two.on_hand("A-1").await == before - 1).await;
    two.hub.stop().await;
}
