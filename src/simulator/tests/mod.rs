//! The simulator against itself: real sockets on loopback, a clock that ticks once per look, and a hub small enough to be
//! obviously right.

mod chaos;
mod delivery;
mod kinds;
mod load;
mod scenarios;
mod shop;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::http_client::{Client, Target};
use super::http_server::{Handler, HttpServer, Reply, Request};
use super::marketplace::MarketplaceSettings;
use super::server::ShopServer;
use super::shop::Opening;
use super::{World, locked};
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "a shared secret";

/// Ends the world's tasks when a test ends, also by a panic.
struct TestWorld(World);

impl Drop for TestWorld {
    fn drop(&mut self) {
        self.0.stop.cancel();
    }
}

impl std::ops::Deref for TestWorld {
    type Target = World;
    fn deref(&self) -> &World {
        &self.0
    }
}

/// A world whose clock moves a millisecond with every look at it.
fn world() -> TestWorld {
    let now = AtomicI64::new(Timestamp::parse_rfc3339("2026-01-09T10:30:00Z").unwrap().micros());
    let clock = Arc::new(move || Timestamp::from_micros(now.fetch_add(1_000, Ordering::Relaxed)));
    TestWorld(World::new(clock, TaskTracker::new(), CancellationToken::new()))
}

fn sku(text: &str) -> Sku {
    Sku::parse(text).unwrap()
}

fn opening(text: &str, stock: i64) -> Opening {
    Opening::new(sku(text), Quantity::parse(stock).unwrap())
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn phone_shop(world: &World, code: &str) -> ShopServer {
    let settings = MarketplaceSettings::new(code, vec![opening("PHONE-001", 50), opening("CASE-001", 20)]);
    ShopServer::start(world.clone(), any_port(), settings).unwrap()
}

fn client(url: &str) -> Client {
    Client::new(Target::parse(url).unwrap(), Duration::from_secs(5))
}

async fn push(client: &mut Client, key: &str, stock: i64) -> Option<u16> {
    let body = format!(r#"{{"sku":"PHONE-001","stock":{stock}}}"#);
    client.post("/stock", &[("Idempotency-Key", key)], body.as_bytes()).await.ok().map(|answer| answer.status)
}

async fn eventually(what: &str, done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never came: {what}");
}

/// What a receiver got.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Received {
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Stands where the hub will stand: keeps what comes, answers from a script and then 200.
#[derive(Default)]
struct Receiver {
    got: Mutex<Vec<Received>>,
    script: Mutex<VecDeque<Reply>>,
}

impl Receiver {
    fn start(world: &World, script: Vec<Reply>) -> (Arc<Self>, HttpServer<Self>) {
        let receiver = Arc::new(Self { got: Mutex::default(), script: Mutex::new(script.into()) });
        let server = HttpServer::start(world.clone(), any_port(), Arc::clone(&receiver)).unwrap();
        (receiver, server)
    }

    fn got(&self) -> Vec<Received> {
        locked(&self.got).clone()
    }
}

impl Handler for Receiver {
    async fn handle(&self, request: Request) -> Reply {
        let (_, target) = request.head.request_line().unwrap();
        let headers = request.head.headers().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        locked(&self.got).push(Received { path: target.to_owned(), headers, body: request.body });
        locked(&self.script).pop_front().unwrap_or_else(|| Reply::json(200, &serde_json::json!({ "received": true })))
    }
}
