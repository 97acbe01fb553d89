//! Public keys that a sender names by id, as eBay does: asked for at the account's own address, once, and not by whoever invents one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stockhub::clock::Clock;
use stockhub::simulator::World;
use stockhub::simulator::http_server::{Handler, HttpServer, Reply, Request};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::hub::{Hub, Plan};

/// eBay's own published example: its message, its signature, its key.
fn published() -> (String, Vec<u8>, String, String) {
    let all: Value = serde_json::from_str(include_str!("../../vectors/ebay.json")).unwrap();
    let header = all[0]["headers"]["x-ebay-signature"].as_str().unwrap().to_owned();
    let body = all[0]["body"].as_str().unwrap().as_bytes().to_vec();
    let (kid, key) = all[0]["account"]["public_keys"].as_object().unwrap().iter().next().unwrap();
    (header, body, kid.clone(), key.as_str().unwrap().to_owned())
}

/// Hands out one key, and writes down what it was asked.
#[derive(Clone)]
struct KeyServer {
    kid: String,
    key: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Handler for KeyServer {
    async fn handle(&self, request: Request) -> Reply {
        let path = request.head.request_line().map_or(String::new(), |(_, path)| path.to_owned());
        let known = path == format!("/commerce/notification/v1/public_key/{}", self.kid);
        self.asked.lock().unwrap().push(path);
        let body = json!({"algorithm": "ECDSA", "digest": "SHA1", "key": self.key}).to_string();
        let (status, body) = if known { (200, body) } else { (404, "{}".to_owned()) };
        Reply::Answer { status, headers: vec![("content-type", "application/json".to_owned())], body: body.into() }
    }
}

impl KeyServer {
    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_named_key_is_asked_for_once() {
    let (header, body, kid, key) = published();
    let server = KeyServer { kid: kid.clone(), key, asked: Arc::default() };
    let (stop, tasks, clock) = (CancellationToken::new(), TaskTracker::new(), Clock::system());
    let world = World::new(Arc::new(move || clock.now()), tasks.clone(), stop.clone());
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let running = HttpServer::start(world, any, Arc::new(server.clone())).unwrap();
    let clock = Clock::manual(stockhub::domain::time::Timestamp::from_seconds(1_800_000_000));
    let marketplaces = format!(
        "[[marketplaces]]\ncode = \"bay\"\nadapter = \"generic\"\nbase_url = \"http://{}\"\n[marketplaces.account]\nscheme = \"ebay\"\n\
         webhook_url = \"https://hub.example/webhooks/bay\"\n[marketplaces.secrets]\nverification_token = \"env:T_TOKEN\"\n\
         [marketplaces.policy]\npush_enabled = false\n",
        running.address()
    );
    let plan = Plan { shops: vec![], products: vec![], marketplaces, clock: clock.clone(), ..Plan::default() };
    let hub = Hub::with(plan).await;
    let send = async |header: &str, body: &[u8]| {
        hub.http.send_bytes("POST", "/webhooks/bay", &[("x-ebay-signature", header)], body).await.status
    };
    assert_eq!(send(&header, &body).await, 204, "the published message is believed, and answered as eBay expects");
    assert_eq!(send(&header, &body).await, 204);
    assert_eq!((server.asked(), hub.log_rows().await.len()), (1, 1), "one question, one event");
    let mut changed = body.clone();
    changed[40] ^= 1;
    assert_eq!(send(&header, &changed).await, 401);
    // Keys that do not exist: anybody can name some, but not make us ask for ever.
    let invented = |n: usize| {
        STANDARD.encode(
            json!({"alg": "ecdsa", "kid": format!("k{n}"), "signature": STANDARD.encode([7; 70]), "digest": "SHA1"}).to_string(),
        )
    };
    assert_eq!((send(&invented(0), &body).await, send(&invented(0), &body).await), (401, 401));
    assert_eq!(server.asked(), 2, "what is not there is remembered too");
    for n in 1..40 {
        assert_eq!(send(&invented(n), &body).await, 401);
    }
    assert!(server.asked() <= 11, "{} questions", server.asked());
    assert_eq!(send(&header, &body).await, 204, "the one that is known needs no question");
    // After an hour it is asked for anew: keys are changed.
    let before = server.asked();
    clock.advance(Duration::from_secs(3_700));
    assert_eq!(send(&header, &body).await, 204);
    assert_eq!(server.asked(), before + 1);
    hub.stop().await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
