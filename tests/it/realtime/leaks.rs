//! What a storefront must never learn: everything the hub knows besides the number it shows is marked, and looked for in every
//! byte the public can get.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::realtime::shop::Wire;
use crate::support::hub::{Hub, Plan};

const FIELDS: [&str; 6] = ["sku", "stock", "version", "in_stock", "more", "removed"];
/// In names and reasons.
const MARK: &str = "canaryinthemine";
/// A cost, and a stock that the cap hides.
const NUMBERS: [&str; 2] = ["8675309", "4711"];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_allowed_fields_leaves() {
    let plan = Plan { sections: "[realtime]\npublic_cap = 20\n".into(), products: vec![], ..Plan::default() };
    let hub = Hub::with(plan).await;
    let product = json!({"sku": "MARKED", "name": format!("{MARK} name"), "price": {"amount": "129.90", "currency": "USD"},
        "cost_price": {"amount": "8675309.00", "currency": "USD"}, "initial_stock": 4_711});
    assert_eq!(hub.admin("POST", "/v1/admin/products", Some(product)).await.status, 201);
    hub.list("MARKED").await;
    let mut wire = Wire::open(hub.address, "?skus=MARKED,NONE").await;
    let mut messages = vec![];
    for _ in 0..3 {
        messages.push(wire.message().await.unwrap());
    }
    let since = messages[2]["cursor"].as_str().unwrap().to_owned();
    let mut stream = TcpStream::connect(hub.address).await.unwrap();
    let request = format!("GET /v1/stock/stream?skus=MARKED HTTP/1.1\r\nHost: {}\r\n\r\n", hub.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut streamed = String::new();
    read_until(&mut stream, &mut streamed, "snapshot").await;
    let change = json!({"delta": -1, "reason": format!("{MARK} reason")});
    assert_eq!(hub.admin("PATCH", "/v1/products/MARKED/inventory", Some(change)).await.status, 200);
    // The cap hides the sale of one of thousands, so nothing is told; taking nearly all is.
    let change = json!({"delta": -4_700, "reason": format!("{MARK} reason")});
    assert_eq!(hub.admin("PATCH", "/v1/products/MARKED/inventory", Some(change)).await.status, 200);
    messages.push(loop {
        let message = wire.message().await.unwrap();
        if message["items"][0]["stock"] == 10 {
            break message;
        }
    });
    read_until(&mut stream, &mut streamed, "\"stock\":10").await;
    let mut everything: Vec<String> = messages.iter().map(Value::to_string).collect();
    everything.push(streamed);
    for path in [
        "/v1/stock",
        "/v1/stock?skus=MARKED",
        "/v1/stock/MARKED",
        "/v1/stock/NONE",
        "/v1/stock?limit=x",
        "/v1/stock/poll?skus=MARKED",
        &format!("/v1/stock/poll?skus=MARKED&since={since}"),
        "/v1/stock/stream",
        "/store",
        "/store/store.js",
        "/client/stockhub.js",
        "/asyncapi.json",
        "/openapi.json",
        "/healthz",
    ] {
        let answer = hub.http.send("GET", path, &[], None).await;
        if let Ok(body) = serde_json::from_slice::<Value>(&answer.body) {
            messages.push(body);
        }
        everything.push(format!("{path} {:?} {}", answer.headers, answer.text()));
    }
    for said in &everything {
        for secret in [MARK].iter().chain(&NUMBERS) {
            assert!(!said.contains(secret), "{secret} in {said}");
        }
    }
    let allowed: BTreeSet<&str> = FIELDS.into();
    let mut items = 0;
    for message in &messages {
        for item in message["items"].as_array().into_iter().flatten().chain(message.get("sku").map(|_| message)) {
            items += 1;
            let extra: Vec<&String> = item.as_object().unwrap().keys().filter(|key| !allowed.contains(key.as_str())).collect();
            assert!(extra.is_empty(), "{extra:?} in {message}");
        }
    }
    assert!(items >= 6, "only {items} items were looked at");
    hub.stop().await;
}

/// Ready is only who serves browsers: the answer names how long a change took to come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_is_ready_when_its_canary_comes_back() {
    let hub = Hub::with(Plan { sections: "[realtime]\nmax_connections = 1\n".into(), ..Plan::default() }).await;
    let mut only = Wire::open(hub.address, "?skus=PHONE-001").await;
    assert_eq!(only.message().await.unwrap()["type"], "hello");
    for _ in 0..3 {
        // It is given seconds, which a busy machine may need for itself.
        hub.until("it is ready", async || {
            let answer = hub.http.send("GET", "/readyz", &[], None).await;
            answer.status == 200 && answer.json()["canary_ms"].is_u64()
        })
        .await;
    }
    hub.until("the one browser is counted", async || hub.metric("fanout_connections{transport=\"websocket\"}").await == 1.0)
        .await;
    hub.stop().await;
}

async fn read_until(stream: &mut TcpStream, text: &mut String, words: &str) {
    while !text.contains(words) {
        let mut bytes = [0; 4_096];
        let n = tokio::time::timeout(std::time::Duration::from_secs(60), stream.read(&mut bytes)).await.unwrap().unwrap();
        assert!(n > 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
}
