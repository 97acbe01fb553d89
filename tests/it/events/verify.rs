//! The official Standard Webhooks library takes our deliveries. It runs where `STOCKHUB_TEST_PYTHON` names a Python that has it,
//! as `scripts/test` arranges; the same check in plain Rust stands in `delivery.rs` and always runs.

use super::consumer::Consumer;
use super::{change, hub, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_library_takes_our_deliveries() {
    let Ok(python) = std::env::var("STOCKHUB_TEST_PYTHON") else {
        println!("STOCKHUB_TEST_PYTHON is not set: only the check of our own ran");
        return;
    };
    let hub = hub(vec![("PEN", 5)], "").await;
    let consumer = Consumer::of(&hub, &[]).await;
    change(&hub, "PEN", -5).await;
    until("the events arrive", async || consumer.taken().len() >= 3).await;
    let deliveries: Vec<_> = consumer
        .got()
        .iter()
        .map(|got| serde_json::json!({"headers": got.headers, "body": String::from_utf8_lossy(&got.body)}))
        .collect();
    let file = hub.database.folder.path().join("deliveries.json");
    std::fs::write(&file, serde_json::json!({"secret": consumer.secret, "deliveries": deliveries}).to_string()).unwrap();
    let run = tokio::process::Command::new(python).arg("tests/peers/verify_events.py").arg(&file).output().await.unwrap();
    assert!(run.status.success(), "{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(String::from_utf8_lossy(&run.stdout).contains("verified, and refused"));
    hub.stop().await;
}
