//! The load generator against a receiver.

use std::collections::{BTreeMap, HashSet};

use super::super::load::{LoadSettings, run};
use super::super::webhooks::Signer;
use super::*;

fn settings(hub: &HttpServer<Receiver>) -> LoadSettings {
    let skus = (0..5).map(|n| sku(&format!("SKU-{n}"))).collect();
    let target = Target::parse(&hub.base_url()).unwrap();
    LoadSettings { senders: 8, total: 200, opening: 100, ..LoadSettings::new(target, "uzum", SECRET, skus) }
}

#[tokio::test]
async fn sends_so_many_different_sales_and_counts_the_answers() {
    let world = world();
    let script = (0..10).map(|_| Reply::status(503)).chain([Reply::Cut]).collect();
    let (receiver, hub) = Receiver::start(&world, script);
    let report = run(&world, settings(&hub)).await.unwrap();
    assert_eq!((report.sent, report.unanswered), (200, 1));
    assert_eq!(report.by_status, BTreeMap::from([(200, 189), (503, 10)]));
    assert_eq!(report.acknowledged().values().sum::<u64>(), 189);
    let got = receiver.got();
    assert_eq!(got.iter().map(|received| received.body.clone()).collect::<HashSet<_>>().len(), 200);
    let signer = Signer::new(SECRET);
    assert!(got.iter().all(|received| received.header("X-Webhook-Signature") == Some(signer.sign(&received.body).as_str())));
    let timestamps: HashSet<_> = got.iter().map(|received| received.json()["timestamp"].to_string()).collect();
    assert_eq!(timestamps.len(), 200);
    for received in &got {
        let body = received.json();
        let number = |name: &str| body[name].as_i64().unwrap();
        assert_eq!(number("current_stock"), number("previous_stock") + number("change"));
    }
}

#[tokio::test]
async fn ids_are_distinct_and_a_beat_is_kept() {
    let world = world();
    let (receiver, hub) = Receiver::start(&world, vec![]);
    let begun = tokio::time::Instant::now();
    let paced = LoadSettings { identified: true, rate_per_second: Some(1_000.0), total: 100, ..settings(&hub) };
    let report = run(&world, paced).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(99) && report.by_status == BTreeMap::from([(200, 100)]));
    let ids: HashSet<_> = receiver.got().iter().map(|got| got.header("x-webhook-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 100);
}

#[tokio::test]
async fn a_stopped_world_ends_the_load_early() {
    let world = world();
    let (_receiver, hub) = Receiver::start(&world, vec![]);
    world.stop.cancel();
    let report = run(&world, settings(&hub)).await.unwrap();
    assert_eq!((report.sent, report.p99_us), (0, 0));
}
