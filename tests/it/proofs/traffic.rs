//! Signed webhooks through real sockets, from several senders at once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use stockhub::clock::Clock;
use stockhub::simulator::http_client::{Client, Target};
use stockhub::simulator::webhooks::{Door, Signer, headers};

use crate::support::hub::{Hub, SECRET};

/// A webhook as its sender keeps it: a repeat has the same id and the same bytes.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub marketplace: &'static str,
    /// Most name their delivery; some leave it to the natural key.
    pub id: Option<String>,
    pub body: String,
}

/// Delivers all of it, `workers` at a time, each over a connection of its own that stays open. Every answer must be 200; gives
/// how many were known already.
pub async fn deliver(hub: &Hub, deliveries: Vec<Delivery>, workers: usize) -> usize {
    let queue = Arc::new(Mutex::new(VecDeque::from(deliveries)));
    let mut running = Vec::new();
    for _ in 0..workers {
        let (queue, target) = (queue.clone(), Target::parse(&format!("http://{}", hub.address)).unwrap());
        running.push(tokio::spawn(async move {
            let mut client = Client::new(target, Duration::from_secs(60));
            let (signer, clock, mut known) = (Signer::new(SECRET), Clock::system(), 0);
            loop {
                let next = queue.lock().unwrap().pop_front();
                let Some(next) = next else { return known };
                let body = next.body.as_bytes();
                let made = headers(&signer, Door::Own, next.marketplace, next.id.as_deref(), body, clock.now());
                let made: Vec<(&str, &str)> = made.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let answer = client.post(&Door::Own.path(next.marketplace), &made, body).await.expect("an answer");
                assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
                let receipt: Value = serde_json::from_slice(&answer.body).unwrap();
                known += usize::from(receipt["duplicate"] == true);
            }
        }));
    }
    let mut known = 0;
    for worker in running {
        known += worker.await.expect("a sender ends well");
    }
    known
}

/// What `stockhub verify` says, asked beside the running hub.
pub async fn assert_verified(hub: &Hub) {
    let db = stockhub::db::Db::open_readers(hub.database.options()).await.unwrap();
    let mut reader = db.read().await.unwrap();
    let findings = stockhub::db::verify::findings(&mut reader.conn()).await.unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
    drop(reader);
    db.close().await;
}

/// Reads a product's whole ledger over the API and checks that each movement starts where the one before it ended, and that no
/// version is missing. Gives how many there are.
pub async fn assert_chain(hub: &Hub, sku: &str) -> usize {
    let (mut newest_first, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = hub.get(&format!("/v1/admin/movements?sku={sku}&limit=500{cursor}")).await;
        newest_first.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    newest_first.sort_by_key(|m| m["level_version"].as_i64());
    let (mut stands, mut version) = (0, 0);
    for m in &newest_first {
        let number = |field: &str| m[field].as_i64().unwrap();
        version += 1;
        assert_eq!(number("level_version"), version, "{sku}: a version is missing or twice: {m}");
        assert_eq!(number("quantity_before"), stands, "{sku}: does not start where the one before ended: {m}");
        stands += number("quantity_change");
        assert_eq!(number("quantity_after"), stands, "{m}");
        let parts =
            number("on_hand_change") - number("committed_change") - number("reserved_change") - number("unsellable_change");
        assert_eq!(number("quantity_change"), parts, "{m}");
    }
    newest_first.len()
}
