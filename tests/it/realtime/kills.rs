//! Kills on both sides: the hub is killed without warning and started again, browsers break off in the middle of anything and come
//! back on another transport with the same cursor. All end with the last numbers, and none ever goes back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::shop::Wire;
use crate::crash::process::{Process, free_address};
use crate::support::database::TestDatabase;
use crate::support::http::Http;
use crate::support::hub::{ADMIN_TOKEN, Plan, settings_text};

const SKUS: usize = 8;
const SHOPPERS: u64 = 6;
const KILLS: usize = 4;
const READY_AT_MOST: Duration = Duration::from_secs(60);
/// After the last change every browser must be right within this.
const SETTLE: Duration = Duration::from_secs(120);

fn names() -> Vec<String> {
    (0..SKUS).map(|n| format!("K-{n}")).collect()
}

/// One browser, on whichever transport it happens to use.
struct Shopper {
    hub: SocketAddr,
    dice: fastrand::Rng,
    cursor: Option<String>,
    /// SKU → version, stock.
    held: BTreeMap<String, (i64, i64)>,
    seen: Arc<Mutex<Seen>>,
}

/// What all of them did.
#[derive(Default)]
struct Seen {
    used: BTreeMap<&'static str, usize>,
    resumed: usize,
}

impl Seen {
    fn is_enough(&self) -> bool {
        self.used.len() == 3 && self.used.values().all(|count| *count > 5) && self.resumed > 5
    }
}

impl Shopper {
    fn new(hub: SocketAddr, seed: u64, seen: Arc<Mutex<Seen>>) -> Self {
        Self { hub, dice: fastrand::Rng::with_seed(seed), cursor: None, held: BTreeMap::new(), seen }
    }

    /// Shops until told that nothing changes any more and it holds what is `last`.
    async fn shop_around(mut self, last: Arc<tokio::sync::OnceCell<BTreeMap<String, i64>>>) {
        let mut quiet = None;
        loop {
            let transport = ["websocket", "eventstream", "poll"][self.dice.usize(..3)];
            // It breaks off after this, wherever it is; in the end it may take as long as a busy machine makes it.
            let longest = if last.initialized() { 5_000 } else { 250 };
            let patience = Duration::from_millis(self.dice.u64(5..longest));
            let went = timeout(patience, self.connect(transport)).await;
            if went.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            *self.seen.lock().unwrap().used.entry(transport).or_default() += 1;
            if let Some(last) = last.get() {
                let since = *quiet.get_or_insert_with(Instant::now);
                let held: BTreeMap<String, i64> = self.held.iter().map(|(sku, (_, stock))| (sku.clone(), *stock)).collect();
                if held == *last {
                    return;
                }
                assert!(since.elapsed() < SETTLE, "holds {held:?}, should hold {last:?}");
            }
        }
    }

    fn query(&self) -> String {
        let since = self.cursor.as_ref().map_or(String::new(), |cursor| format!("&since={cursor}"));
        format!("?skus={}{since}", names().join(","))
    }

    /// Until the hub ends it; the caller gives up sooner.
    async fn connect(&mut self, transport: &str) {
        match transport {
            "websocket" => self.websocket().await,
            "eventstream" => self.request("/v1/stock/stream").await,
            _ => self.request("/v1/stock/poll").await,
        }
    }

    async fn websocket(&mut self) {
        let Some(mut wire) = Wire::try_open(self.hub, &self.query()).await else { return };
        while let Some(message) = wire.message().await {
            self.seen.lock().unwrap().resumed += usize::from(message["mode"] == "resumed");
            if message["type"] != "subscribed" && message["type"] != "hello" {
                self.learn(&message);
            }
        }
    }

    /// A stream's events and a poll's answer are lines with JSON in them.
    async fn request(&mut self, path: &str) {
        let Ok(mut stream) = TcpStream::connect(self.hub).await else { return };
        let head = format!("GET {path}{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.query(), self.hub);
        if stream.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        let mut text = String::new();
        let mut bytes = [0; 8_192];
        while let Ok(n @ 1..) = stream.read(&mut bytes).await {
            text.push_str(&String::from_utf8_lossy(&bytes[..n]));
            while let Some(end) = text.find('\n') {
                let line: String = text.drain(..=end).collect();
                self.line(line.trim_start_matches("data: ").trim_end());
            }
        }
        self.line(&text);
    }

    fn line(&mut self, line: &str) {
        if line.starts_with('{')
            && let Ok(message) = serde_json::from_str::<Value>(line)
        {
            self.learn(&message);
        }
    }

    fn learn(&mut self, message: &Value) {
        for item in message["items"].as_array().into_iter().flatten() {
            let (version, stock) = (item["version"].as_i64().unwrap(), item["stock"].as_i64().unwrap());
            let held = self.held.entry(item["sku"].as_str().unwrap().to_owned()).or_insert((0, 0));
            if version > held.0 {
                *held = (version, stock);
            } else if version == held.0 {
                assert_eq!(stock, held.1, "one version, two numbers: {item}");
            }
        }
        if let Some(cursor) = message["cursor"].as_str() {
            self.cursor = Some(cursor.to_owned());
        }
    }
}

async fn change(http: Http, dice: &mut fastrand::Rng) {
    let path = format!("/v1/products/K-{}/inventory", dice.usize(..SKUS));
    let body = json!({ "delta": dice.i64(1..5), "reason": "kills" }).to_string();
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    // The hub may be away just now.
    let _ = timeout(Duration::from_secs(5), http.try_send("PATCH", &path, &headers, body.as_bytes())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_every_browser_ends_with_the_last_numbers() {
    let database = TestDatabase::new().await;
    let mut dice = fastrand::Rng::new();
    let seed = std::env::var("STOCKHUB_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| dice.u64(..1_000_000));
    println!("STOCKHUB_SEED={seed}");
    dice.seed(seed);
    let address = free_address(&mut dice);
    let plan = Plan { shops: vec![], ..Plan::default() };
    let text = settings_text(&database, &plan, &[]).replace("127.0.0.1:0", &address.to_string());
    let mut process = Process::new(database.folder.path().to_owned(), address, &text, None);
    process.spawn();
    process.ready(READY_AT_MOST).await;
    for sku in names() {
        let body = json!({"sku": sku, "name": sku, "initial_stock": 100});
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        let made = process.http().send("POST", "/v1/admin/products", &[("authorization", &bearer)], Some(body)).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let last = Arc::new(tokio::sync::OnceCell::new());
    let seen = Arc::new(Mutex::new(Seen::default()));
    let shopper = |n| Shopper::new(address, seed + n, seen.clone());
    let shoppers: Vec<_> = (0..SHOPPERS).map(|n| tokio::spawn(shopper(n).shop_around(last.clone()))).collect();
    let (http, selling) = (process.http(), Arc::new(AtomicBool::new(true)));
    let (open, mut own) = (selling.clone(), fastrand::Rng::with_seed(seed + 99));
    let seller = tokio::spawn(async move {
        while open.load(Ordering::Relaxed) {
            change(http, &mut own).await;
            tokio::time::sleep(Duration::from_millis(own.u64(0..8))).await;
        }
    });
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(dice.u64(300..900))).await;
        process.kill().await;
        process.spawn();
        process.ready(READY_AT_MOST).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    while !seen.lock().unwrap().is_enough() && begun.elapsed() < READY_AT_MOST {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    selling.store(false, Ordering::Relaxed);
    seller.await.unwrap();
    let answer = process.http().send("GET", "/v1/stock?limit=500", &[], None).await.json();
    let numbers = answer["items"].as_array().unwrap().iter();
    let numbers = numbers.map(|item| (item["sku"].as_str().unwrap().to_owned(), item["stock"].as_i64().unwrap())).collect();
    last.set(numbers).unwrap();
    for shopper in shoppers {
        shopper.await.unwrap();
    }
    {
        let seen = seen.lock().unwrap();
        println!("{KILLS} kills of the hub, connections broken off: {:?}, {} sockets resumed", seen.used, seen.resumed);
        assert!(seen.is_enough(), "{:?}, {} resumed", seen.used, seen.resumed);
    }
    process.kill().await;
}
