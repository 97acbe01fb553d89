//! The admin's live stream: tickets that work once, what is told, and that it ends with the right to look.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::support::hub::{Hub, Plan, SECRET};
use crate::support::signing::hex_tag;
use crate::support::webhook::sold;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn ticket(hub: &Hub, token: &str) -> String {
    let bearer = format!("Bearer {token}");
    let answer = hub.http.send("POST", "/v1/admin/live/ticket", &[("authorization", &bearer)], None).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["ticket"].as_str().unwrap().to_owned()
}

async fn open(hub: &Hub, ticket: &str) -> Result<Socket, u16> {
    let url = format!("ws://{}/v1/admin/live?ticket={ticket}", hub.address);
    match tokio_tungstenite::connect_async(url).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// Reads until a frame is the one that is waited for; it may have come before others that were waited for. No frame is found twice.
async fn until(socket: &mut Socket, passed: &mut Vec<Value>, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    if let Some(at) = passed.iter().position(&is) {
        return passed.remove(at);
    }
    let found = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            if let Message::Text(text) = socket.next().await.expect("it stays open").expect("a frame") {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if is(&frame) {
                    return frame;
                }
                passed.push(frame);
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

async fn token(hub: &Hub, role: &str) -> (String, String) {
    let made = hub.admin("POST", "/v1/admin/tokens", Some(json!({"name": role, "role": role}))).await.json();
    (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_told_and_the_right_to_look_can_end() {
    let hub = Hub::with(Plan { shops: vec!["uzum"], ..Plan::default() }).await;
    let (id, viewer) = token(&hub, "viewer").await;
    let mut socket = open(&hub, &ticket(&hub, &viewer).await).await.expect("a socket");
    let mut passed = Vec::new();
    until(&mut socket, &mut passed, "hello", |frame| frame["type"] == "hello").await;
    let body = sold("UZUM-PHONE-001", 50, 3, "2026-02-01T10:00:00Z");
    let tag = hex_tag(SECRET, &body);
    assert_eq!(hub.http.send_bytes("POST", "/webhooks/uzum", &[("x-webhook-signature", &tag)], &body).await.status, 200);
    let stock = until(&mut socket, &mut passed, "the stock", |frame| frame["kind"] == "stock" && frame["quantity"] == 47).await;
    assert_eq!((&stock["type"], &stock["sku"], &stock["marketplace"]), (&json!("change"), &json!("PHONE-001"), &json!("uzum")));
    assert!(stock["at"].is_string() && stock["text"].as_str().unwrap().contains("50 → 47"));
    let hook = until(&mut socket, &mut passed, "the webhook", |frame| frame["kind"] == "webhook").await;
    assert_eq!((&hook["marketplace"], &hook["status"]), (&json!("uzum"), &json!("processed")));
    hub.store_sells("PHONE-001", 1).await;
    until(&mut socket, &mut passed, "the order", |frame| frame["kind"] == "order" && frame["marketplace"] == "store").await;
    until(&mut socket, &mut passed, "the push", |frame| frame["kind"] == "push" && frame["outcome"] == "applied").await;
    hub.admin("POST", "/v1/admin/marketplaces/olx/pause", None).await;
    until(&mut socket, &mut passed, "the marketplace", |frame| frame["kind"] == "marketplace" && frame["marketplace"] == "olx")
        .await;

    assert_eq!(hub.admin("DELETE", &format!("/v1/admin/tokens/{id}"), None).await.status, 200);
    let closed = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return u16::from(frame.code),
                Some(Ok(_)) => {}
                other => panic!("closed without saying why: {other:?}"),
            }
        }
    });
    assert_eq!(closed.await.expect("closed at once"), 4009);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_works_once_for_who_may_look_and_not_for_long() {
    let clock = stockhub::clock::Clock::manual(stockhub::clock::Clock::system().now());
    let hub = Hub::with(Plan { shops: vec![], clock: clock.clone(), ..Plan::default() }).await;
    let (_, viewer) = token(&hub, "viewer").await;
    let one = ticket(&hub, &viewer).await;
    let mut socket = open(&hub, &one).await.expect("a socket");
    assert_eq!(open(&hub, &one).await.err(), Some(401), "once");
    let late = ticket(&hub, &viewer).await;
    clock.advance(Duration::from_secs(31));
    assert_eq!(open(&hub, &late).await.err(), Some(401), "not for long");
    assert_eq!(open(&hub, "AAAA").await.err(), Some(401));
    let (_, key) = token(&hub, "storefront").await;
    let bearer = format!("Bearer {key}");
    assert_eq!(hub.http.send("POST", "/v1/admin/live/ticket", &[("authorization", &bearer)], None).await.status, 403);
    let plain = hub.http.send("GET", &format!("/v1/admin/live?ticket={}", ticket(&hub, &viewer).await), &[], None).await;
    assert_eq!((plain.status, plain.problem().as_str()), (400, "not-a-websocket"));
    for n in 0..20 {
        if socket.send(Message::text(format!("chatter {n}"))).await.is_err() {
            break;
        }
    }
    let ended = tokio::time::timeout(Duration::from_secs(60), async { while let Some(Ok(_)) = socket.next().await {} });
    assert!(ended.await.is_ok(), "who talks is closed");
    hub.stop().await;
}
