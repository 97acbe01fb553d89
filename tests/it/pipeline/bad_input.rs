//! The catalogue of bad inputs (B1 to B50), through real sockets: what is answered, what is kept, and that the hub lives on.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::hub::{Hub, Plan, SECRET};
use crate::support::signing::hex_tag;

async fn start() -> Hub {
    start_with("").await
}

async fn start_with(sections: &str) -> Hub {
    let push = "[marketplaces.policy]\npush_enabled = false\n";
    let secret = "[marketplaces.secrets]\nwebhook_secret = \"env:T_SECRET\"\n";
    let marketplaces = format!(
        "[[marketplaces]]\ncode = \"uzum\"\nadapter = \"generic\"\nstock_feed = \"orders\"\n{secret}{push}\
         [[marketplaces]]\ncode = \"bare\"\nadapter = \"generic\"\nwebhook_enabled = true\n{push}"
    );
    let hub = Hub::with(Plan { shops: vec![], sections: sections.to_owned(), marketplaces, ..Plan::default() }).await;
    let body = json!({"marketplace": "uzum", "sku": "PHONE-001", "marketplace_product_id": "U-1"});
    assert_eq!(hub.admin("POST", "/v1/admin/listings", Some(body)).await.status, 201);
    hub
}

fn order(id: &str, items: Value) -> Vec<u8> {
    json!({"event": "order.created", "order_id": id, "timestamp": "2026-01-09T10:30:00Z", "items": items})
        .to_string()
        .into_bytes()
}

fn one(quantity: &str) -> Vec<u8> {
    let text = "{\"event\":\"order.created\",\"order_id\":\"q\",\"items\":[{\"sku\":\"PHONE-001\",\"quantity\":#}]}";
    text.replace('#', quantity).into_bytes()
}

async fn signed(hub: &Hub, body: &[u8]) -> Value {
    let tag = hex_tag(SECRET, body);
    let answer = hub.http.send_bytes("POST", "/webhooks/uzum", &[("x-webhook-signature", &tag)], body).await;
    assert_eq!(answer.status, 200, "{}: {}", String::from_utf8_lossy(&body[..body.len().min(80)]), answer.text());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    hub.get(&format!("/v1/admin/webhooks/{id}")).await
}

/// B11, B16 to B24, B28, B36 to B38: authentic, so answered 200 and kept; what cannot be used is a dead letter with its reason.
#[tokio::test(flavor = "multi_thread")]
async fn authentic_but_unusable_bodies_are_kept_with_their_reason() {
    let hub = start().await;
    let item = json!({"sku": "PHONE-001", "quantity": 1});
    let deep = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
    let many = order("many", Value::Array(vec![item; 6_000]));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("B11", Vec::new(), "empty-body"),
        ("B16", b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec(), "invalid-utf8"),
        ("B17 html", b"<html></html>".to_vec(), "invalid-json"),
        ("B17 form", b"a=1&b=2".to_vec(), "invalid-json"),
        ("B18", b"{\"event\":\"order.created\",".to_vec(), "invalid-json"),
        ("B19", b"{\"event\":\"\xff\"}".to_vec(), "invalid-utf8"),
        ("B19 surrogate", br#"{"event":"\ud800"}"#.to_vec(), "invalid-json"),
        ("B20", deep(33), "too-deep"),
        ("B20 very", vec![b'['; 100_000], "too-deep"),
        ("B21", many, "too-many-items"),
        ("B22", b"{\"event\":\"order.created\",\"event\":\"x\"}".to_vec(), "duplicate-key"),
        ("B23 text", one("\"5\""), "invalid-field"),
        ("B23 fraction", one("5.5"), "invalid-field"),
        ("B23 true", one("true"), "invalid-field"),
        ("B23 list", one("[]"), "invalid-field"),
        ("B23 object", one("{}"), "invalid-field"),
        ("B24 2^31", one("2147483648"), "out-of-range"),
        ("B24 2^53", one("9007199254740993"), "out-of-range"),
        ("B24 2^63", one("9223372036854775808"), "out-of-range"),
        ("B24 NaN", one("NaN"), "invalid-json"),
        ("B24 negative", one("-1"), "out-of-range"),
    ];
    let mut wrong = Vec::new();
    for (name, body, code) in &cases {
        let row = signed(&hub, body).await;
        if row["status"] != "failed" || row["error_code"] != *code {
            wrong.push(format!("{name}: {} {} {}, not {code}", row["status"], row["error_code"], row["error_message"]));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let huge = signed(&hub, &one("1e999")).await;
    assert_eq!(huge["status"], "failed", "{huge}");
    assert_eq!(hub.get("/v1/admin/products/PHONE-001").await["available"], 50, "none of it moved anything");
    hub.stop().await;
}

/// B19 (a mark first), B25, B27 to B31, B36 to B39: authentic and usable, or parked.
#[tokio::test(flavor = "multi_thread")]
async fn unusual_but_usable_bodies_do_what_they_say() {
    let hub = start().await;
    let item = |sku: &str, quantity: i64| json!([{"sku": sku, "quantity": quantity, "price": "garbage", "unknown": {"x": []}}]);
    let marked = [b"\xef\xbb\xbf", &order("bom", item("PHONE-001", 1))[..]].concat();
    assert_eq!(signed(&hub, &marked).await["status"], "processed", "B19, B36, B38");
    for (n, sku) in
        ["1; DROP TABLE products", "%", "_", "../x", "PHONE-001 ", "phone-001", "e\u{301}", "\u{e9}", "😀"].iter().enumerate()
    {
        let row = signed(&hub, &order(&format!("sku-{n}"), item(sku, 1))).await;
        assert!(row["status"] == "unmapped" || row["status"] == "failed", "B27 to B29, {sku:?}: {row}");
    }
    for sku in ["", "a\0b", "a\r\nb", &"x".repeat(10_240)] {
        let row = signed(&hub, &order("bad-sku", item(sku, 1))).await;
        assert!(row["status"] == "unmapped" || row["status"] == "failed", "B28: {row}");
    }
    assert_eq!(signed(&hub, b"{\"event\":\"review.created\"}").await["status"], "ignored", "B36");
    let odd =
        br#"{"event":"order.created","order_id":"odd-date","timestamp":"0000-00-00","items":[{"sku":"PHONE-001","quantity":1}]}"#;
    assert_eq!(signed(&hub, odd).await["status"], "processed", "B37");
    // B30: five at once are one.
    let body = order("five", item("PHONE-001", 2));
    let answers = futures_util::future::join_all((0..5).map(|_| signed(&hub, &body))).await;
    assert!(answers.iter().all(|row| row["id"] == answers[0]["id"]), "B30");
    assert_eq!(hub.get("/v1/admin/products/PHONE-001").await["available"], 46);
    // B31: one id, two bodies.
    let at = hub.context.kit.clock.now().seconds();
    let mut ids = Vec::new();
    for quantity in [1, 2] {
        let body = order(&format!("conflict-{quantity}"), item("PHONE-001", quantity));
        let tag = hex_tag(SECRET, &[format!("same.{at}.").as_bytes(), &body].concat());
        let stamp = at.to_string();
        let headers = [("x-webhook-id", "same"), ("x-webhook-timestamp", stamp.as_str()), ("x-webhook-signature", tag.as_str())];
        let answer = hub.http.send_bytes("POST", "/webhooks/uzum", &headers, &body).await;
        assert_eq!(answer.status, 200, "B31: {}", answer.text());
        ids.push(answer.json()["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(hub.get("/v1/admin/products/PHONE-001").await["available"], 45, "B31: the second moved nothing");
    let log = hub.get("/v1/admin/webhooks?status=failed&marketplace=uzum").await;
    assert!(log["items"].as_array().unwrap().iter().any(|row| row["error_code"] == "id-conflict"), "B31");
    // B25: more than there is: taken in full, shown as 0.
    assert_eq!(signed(&hub, &order("all", item("PHONE-001", 60))).await["status"], "processed", "B25");
    let product = hub.get("/v1/admin/products/PHONE-001").await;
    assert_eq!(product["available"], -15, "B25: {product}");
    assert_eq!(hub.get("/v1/admin/oversells").await["items"].as_array().map(Vec::len), Some(1), "B25");
    // B39: the type of the body is what its bytes are.
    let body = order("typed", item("PHONE-001", 1));
    let (tag, kind) = (hex_tag(SECRET, &body), ("content-type", "image/png"));
    assert_eq!(hub.http.send_bytes("POST", "/webhooks/uzum", &[("x-webhook-signature", &tag), kind], &body).await.status, 200);
    hub.stop().await;
}

/// B2, B4, B8 to B10, B12, B15: refused before anything is kept.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_refused_as_documented() {
    let hub = start().await;
    let body = order("1", json!([{"sku": "PHONE-001", "quantity": 1}]));
    let tag = hex_tag(SECRET, &body);
    let sign = ("x-webhook-signature", tag.as_str());
    let large = vec![b' '; 262_145];
    type Case<'a> = (&'a str, &'a str, &'a str, Vec<(&'a str, &'a str)>, &'a [u8], u16);
    let cases: Vec<Case<'_>> = vec![
        ("B1", "POST", "/webhooks/uzum", vec![], &body, 401),
        ("B2", "POST", "/webhooks/uzum", vec![("x-webhook-signature", "zz")], &body, 401),
        ("B3", "POST", "/webhooks/uzum", vec![sign], b"{}", 401),
        ("B4", "POST", "/webhooks/uzum", vec![("x-webhook-signature", "00"), sign], &body, 401),
        ("B8", "POST", "/webhooks/nobody", vec![sign], &body, 404),
        ("B9", "POST", "/webhooks/bare", vec![sign], &body, 503),
        ("B10 GET", "GET", "/webhooks/uzum", vec![], b"", 405),
        ("B10 PUT", "PUT", "/webhooks/uzum", vec![sign], &body, 405),
        ("B10 TRACE", "TRACE", "/webhooks/uzum", vec![], b"", 405),
        ("B12", "POST", "/webhooks/uzum", vec![sign], &large, 413),
        ("B15 gzip", "POST", "/webhooks/uzum", vec![sign, ("content-encoding", "gzip")], &body, 415),
        ("B15 br", "POST", "/webhooks/uzum", vec![sign, ("content-encoding", "br")], &body, 415),
        ("B15 identity, gzip", "POST", "/webhooks/uzum", vec![sign, ("content-encoding", "identity, gzip")], &body, 415),
        ("B50 NUL", "POST", "/webhooks/uz%00um", vec![sign], &body, 404),
        ("B50 dots", "POST", "/webhooks/%2e%2e", vec![sign], &body, 404),
    ];
    for (name, method, path, headers, body, status) in cases {
        let answer = hub.http.send_bytes(method, path, &headers, body).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}");
        assert!(status != 405 || answer.header("allow").is_some(), "{name}: no Allow");
        assert!(status != 503 || answer.header("retry-after").is_some(), "{name}: no Retry-After");
    }
    assert_eq!(hub.get("/v1/admin/webhooks").await["items"].as_array().map(Vec::len), Some(0), "nothing was kept");
    hub.stop().await;
}

/// Writes bytes and reads what comes until the other side closes; `None` where nothing came in time.
async fn raw(hub: &Hub, bytes: &[u8], at_most: Duration) -> Option<String> {
    let mut stream = TcpStream::connect(hub.address).await.unwrap();
    // The hub may close before it has read all of it.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(at_most, stream.read_to_end(&mut answer)).await;
    (read.is_ok() || !answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
}

/// B13, B14, B40, B43 to B49: below HTTP's manners.
#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_is_kept() {
    let hub = start_with("[ingest]\nbody_deadline_ms = 1500\n").await;
    let post = "POST /webhooks/uzum HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let headers: String = (0..120).map(|n| format!("x-{n}: 1\r\n")).collect();
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("B13", format!("{post}content-length: 200000\r\n\r\n{{").into_bytes(), &["408"]),
        ("B13 too long", format!("{post}content-length: 10000000\r\n\r\n{{").into_bytes(), &["413"]),
        ("B40 HTTP/1.0", b"GET /healthz HTTP/1.0\r\n\r\n".to_vec(), &["200"]),
        ("B43", format!("{post}{headers}\r\n").into_bytes(), &["431", "400"]),
        ("B44 two hosts", b"GET /healthz HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n".to_vec(), &["400"]),
        ("B44 null", b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: \0\r\nconnection: close\r\n\r\n".to_vec(), &["400"]),
        ("B44 space", b"GET /healthz HTTP/1.1\r\nhost : a\r\nconnection: close\r\n\r\n".to_vec(), &["400"]),
        ("B45 both", format!("{post}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").into_bytes(), &["400"]),
        ("B45 two", format!("{post}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}").into_bytes(), &["400"]),
        ("B45 plus", format!("{post}content-length: +5\r\n\r\n{{}}   ").into_bytes(), &["400"]),
        ("B47", b"POST /webhooks/uzum HTTP/1.1\r\nhost: x\r\n".to_vec(), &["408"]),
        ("B49 TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &["400"]),
        ("B49 HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &["400", "505"]),
    ];
    for (name, bytes, wanted) in cases {
        let answer = raw(&hub, &bytes, Duration::from_secs(30)).await.unwrap_or_default();
        let status = answer.split(' ').nth(1).unwrap_or("nothing");
        assert!(wanted.contains(&status), "{name}: {answer:?}");
    }
    // B14: half a chunked body, and gone.
    let mut stream = TcpStream::connect(hub.address).await.unwrap();
    stream.write_all(format!("{post}transfer-encoding: chunked\r\n\r\n5\r\nhel").as_bytes()).await.unwrap();
    drop(stream);
    // B40: a hundred in one breath are a hundred answers.
    let one = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answers = raw(&hub, (one.repeat(99) + last).as_bytes(), Duration::from_secs(30)).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 100, "B40");
    assert_eq!(hub.get("/v1/admin/webhooks").await["items"].as_array().map(Vec::len), Some(0), "nothing was kept");
    hub.stop().await;
}
