//! Browsers that come, go, dawdle and change their minds while everything changes. The promise is checked at every cursor:
//! a cursor in a frame means that everything up to it, of what this browser wants, has been sent to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use stockhub::realtime::RealtimeSettings;

use crate::realtime::shop::{Browser, Shop, item, removed};

const SKUS: u64 = 40;
const CHANGES: usize = 4_000;
const BROWSERS: u64 = 12;

/// What was published: at place `n` the change with offset `n + 1`.
type History = Arc<Mutex<Vec<(String, i64)>>>;

/// A browser and what it must know.
struct Shopper {
    chance: fastrand::Rng,
    history: History,
    /// Wanted SKUs, and whether the hub has confirmed them.
    wanted: BTreeSet<String>,
    confirmed: BTreeSet<String>,
    asked: BTreeMap<u64, Vec<String>>,
    held: BTreeMap<String, i64>,
    cursor: Option<String>,
    checked: usize,
    required: BTreeMap<String, i64>,
}

impl Shopper {
    fn new(seed: u64, history: History) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let wanted = (0..SKUS).filter(|_| chance.bool()).map(|n| format!("S{n}")).collect();
        let (confirmed, asked, held, required) = Default::default();
        Self { chance, history, wanted, confirmed, asked, held, cursor: None, checked: 0, required }
    }

    async fn connect(&mut self, shop: &Shop) -> Browser {
        self.asked.clear();
        let gap = [0, 5, 20][self.chance.usize(..3)];
        let names = |skus: &BTreeSet<String>| skus.iter().cloned().collect::<Vec<_>>().join(",");
        let query = match &self.cursor {
            Some(cursor) => {
                self.wanted = self.confirmed.clone();
                format!("?gap={gap}&skus={}&since={cursor}", names(&self.confirmed))
            }
            None => format!("?gap={gap}&skus={}", names(&self.wanted)),
        };
        self.asked.insert(0, self.wanted.iter().cloned().collect());
        self.confirmed.clear();
        shop.browser(&query).await
    }

    async fn shop_around(mut self, shop: Arc<Shop>) {
        let mut browser = self.connect(&shop).await;
        let mut next = 1;
        while !self.done() {
            let message = browser.next().await;
            self.learn(&message);
            if message["type"] == "ping" {
                browser.socket_send(json!({ "type": "pong", "ts": message["ts"] })).await;
            }
            match self.chance.u32(..200) {
                0..3 => {
                    drop(browser);
                    tokio::time::sleep(Duration::from_millis(self.chance.u64(..300))).await;
                    browser = self.connect(&shop).await;
                }
                3..8 => {
                    let more = format!("S{}", self.chance.u64(..SKUS));
                    self.wanted.insert(more.clone());
                    self.asked.insert(next, vec![more.clone()]);
                    browser.socket_send(json!({ "type": "subscribe", "id": next, "skus": [more] })).await;
                    next += 1;
                }
                8..20 => tokio::time::sleep(Duration::from_millis(self.chance.u64(..40))).await,
                _ => {}
            }
        }
    }

    fn learn(&mut self, message: &Value) {
        if message["type"] == "subscribed" {
            // A resumed browser holds these already; of a snapshot nothing is claimed before its last page.
            self.confirmed.extend(self.asked.remove(&message["id"].as_u64().unwrap()).unwrap());
        }
        for item in message["items"].as_array().into_iter().flatten() {
            let held = self.held.entry(item["sku"].as_str().unwrap().to_owned()).or_insert(0);
            *held = (*held).max(item["version"].as_i64().unwrap());
        }
        let claims = ["snapshot", "stock_update", "ping"].iter().any(|kind| message["type"] == *kind);
        if let Some(cursor) = message["cursor"].as_str().filter(|_| claims) {
            self.cursor = Some(cursor.to_owned());
            self.check(cursor.rsplit_once(':').unwrap().1.parse().unwrap());
        }
    }

    fn check(&mut self, offset: usize) {
        let history = self.history.lock().unwrap();
        while self.checked < offset {
            let (sku, version) = history[self.checked].clone();
            self.required.insert(sku, version);
            self.checked += 1;
        }
        for sku in &self.confirmed {
            // A cursor may be older than what was checked before; then less is required than is asked here only of a later one.
            let required = history[..offset].iter().rev().find(|(name, _)| name == sku).map_or(0, |(_, version)| *version);
            let held = self.held.get(sku).copied().unwrap_or(0);
            assert!(held >= required, "at {offset} {sku} should be {required} and is {held}");
        }
    }

    /// Everything is published, and this browser's cursor says that it has it all.
    fn done(&self) -> bool {
        let end = CHANGES.to_string();
        let at_end = self.cursor.as_deref().is_some_and(|cursor| cursor.rsplit_once(':').unwrap().1 == end);
        at_end && self.asked.is_empty() && self.wanted == self.confirmed
    }
}

#[tokio::test]
async fn every_cursor_keeps_its_promise_in_a_storm() {
    let shop = super::with(RealtimeSettings { ring: 300, ping_ms: 300, commands_per_second: 10_000, ..Default::default() });
    // The three that every shop starts with.
    let start = ["A", "B", "C"].map(|sku| (sku.to_owned(), 1));
    let (history, shop): (History, _) = (Arc::new(Mutex::new(start.to_vec())), Arc::new(shop));
    let shoppers: Vec<_> =
        (0..BROWSERS).map(|seed| tokio::spawn(Shopper::new(seed, history.clone()).shop_around(shop.clone()))).collect();
    let mut chance = fastrand::Rng::with_seed(99);
    for n in 3..CHANGES {
        let (sku, version) = (format!("S{}", chance.u64(..SKUS)), n as i64);
        history.lock().unwrap().push((sku.clone(), version));
        shop.publish(if chance.u8(..20) == 0 { removed(&sku, version) } else { item(&sku, version, version) });
        if chance.u8(..30) == 0 {
            tokio::time::sleep(Duration::from_millis(chance.u64(..15))).await;
        }
    }
    for shopper in shoppers {
        tokio::time::timeout(Duration::from_secs(240), shopper).await.unwrap().unwrap();
    }
    let stats = shop.engine.stats();
    assert!(stats.resumes > 0 && stats.gaps["ring"] > 0, "{stats:?}");
}
