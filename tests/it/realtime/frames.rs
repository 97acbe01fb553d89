//! What a hub answers to handshakes and frames that no well-behaved browser sends: one table for each, byte by byte.

use serde_json::{Value, json};
use stockhub::realtime::RealtimeSettings;

use crate::realtime::shop::Wire;

/// What must come back.
enum Then {
    /// The connection ends with this code.
    Close(u16),
    /// It is told this, and stays.
    Error(&'static str),
    /// It is told nothing, and stays.
    Nothing,
}

use Then::{Close, Error, Nothing};

/// A client frame, masked with zeros so that the table can be read.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | u8::try_from(n).unwrap()),
        n @ 126..=0xffff => out.extend([&[0x80 | 126], &u16::try_from(n).unwrap().to_be_bytes()[..]].concat()),
        n => out.extend([&[0x80 | 127], &(n as u64).to_be_bytes()[..]].concat()),
    }
    [out, vec![0; 4], payload.to_vec()].concat()
}

/// A frame's head alone, announcing this much.
fn announced(first: u8, length: u64) -> Vec<u8> {
    [&[first, 0x80 | 127], &length.to_be_bytes()[..], &[0; 4]].concat()
}

fn text(text: &str) -> Vec<u8> {
    frame(0x81, text.as_bytes())
}

fn says(message: &Value) -> Vec<u8> {
    text(&message.to_string())
}

fn closes(code: u16) -> Vec<u8> {
    frame(0x88, &code.to_be_bytes())
}

#[tokio::test]
async fn every_break_of_the_standard_has_its_code() {
    let mut cases: Vec<(String, Vec<u8>, Then)> = Vec::new();
    let mut case = |name: &str, bytes: Vec<u8>, then: Then| cases.push((name.to_owned(), bytes, then));
    case("unmasked", vec![0x81, 1, b'x'], Close(1_002));
    for bits in [0x40, 0x20, 0x10, 0x70] {
        case(&format!("reserved bits {bits:x}"), frame(0x81 | bits, b"x"), Close(1_002));
    }
    for opcode in (3..8).chain(11..16) {
        case(&format!("opcode {opcode}"), frame(0x80 | opcode, b"x"), Close(1_002));
    }
    for control in [0x08, 0x09, 0x0a] {
        case(&format!("control {control:x} in pieces"), frame(control, b""), Close(1_002));
        case(&format!("control {control:x} of 126 bytes"), frame(0x80 | control, &[b'x'; 126]), Close(1_002));
    }
    case("text that is not UTF-8", frame(0x81, &[0xc3, 0x28]), Close(1_007));
    case("half a character at the end", frame(0x81, &[b'a', 0xe2, 0x82]), Close(1_007));
    case("a close reason that is not UTF-8", frame(0x88, &[3, 0xe8, 0xff]), Close(1_007));
    for code in [0, 999, 1_004, 1_005, 1_006, 1_015, 1_016, 2_000, 2_999, 5_000, 65_535] {
        case(&format!("close {code}"), closes(code), Close(1_002));
    }
    for code in [1_000, 1_001, 1_011, 3_000, 4_999] {
        case(&format!("close {code}"), closes(code), Close(1_000));
    }
    case("close without a code", frame(0x88, b""), Close(1_000));
    case("close of one byte", frame(0x88, &[3]), Close(1_002));
    case("announced 2^63", announced(0x81, 1 << 63), Close(1_009));
    case("announced 2^62", announced(0x82, 1 << 62), Close(1_009));
    case("announced one byte over the cap", announced(0x81, 65_537), Close(1_009));
    case("long text that is no subscription", text(&"x".repeat(4_097)), Close(1_009));
    case("long binary", frame(0x82, &[0; 4_097]), Close(1_009));
    case("pieces over the cap", [frame(0x01, &[b'x'; 40_000]), frame(0x80, &[b'x'; 40_000])].concat(), Close(1_009));
    case("continuation of nothing", frame(0x80, b"x"), Close(1_002));
    case("a message inside another", [frame(0x01, b"{"), text("{}")].concat(), Close(1_002));
    case("a close inside a message", [frame(0x01, b"{"), closes(1_000)].concat(), Close(1_000));
    case("empty pieces without end", [frame(0x01, b""), frame(0x00, b"").repeat(10_000)].concat(), Close(4_102));
    case("10,000 pings", frame(0x89, b"").repeat(10_000), Close(4_102));
    case("10,000 pongs", frame(0x8a, b"").repeat(10_000), Close(4_102));
    case("a pong nobody asked for", frame(0x8a, b"x"), Nothing);
    hold(cases).await;
}

#[tokio::test]
async fn every_message_that_means_nothing_has_its_error() {
    let mut cases: Vec<(String, Vec<u8>, Then)> = Vec::new();
    let mut case = |name: &str, bytes: Vec<u8>, then: Then| cases.push((name.to_owned(), bytes, then));
    case("not JSON", text("hello"), Error("bad-json"));
    case("half of JSON", text(r#"{"type":"subscribe""#), Error("bad-json"));
    case("an empty text", text(""), Error("bad-json"));
    case("not an object", text("[1]"), Error("bad-message"));
    case("no type", text("{}"), Error("bad-message"));
    case("binary", frame(0x82, b"{}"), Error("binary"));
    case("a second hello", says(&json!({ "type": "hello" })), Error("unknown-type"));
    case(
        "a wish to publish",
        says(&json!({ "type": "stock_update", "items": [{ "sku": "A", "stock": 1 }] })),
        Error("unknown-type"),
    );
    case("subscribe to nothing", says(&json!({ "type": "subscribe", "id": 1 })), Error("bad-message"));
    case("subscribe to an empty list", says(&json!({ "type": "subscribe", "skus": [] })), Error("bad-message"));
    case("SKUs that are no list", says(&json!({ "type": "subscribe", "skus": "A" })), Error("bad-message"));
    case("SKUs that are no texts", says(&json!({ "type": "subscribe", "skus": [1] })), Error("bad-message"));
    case("a negative id", says(&json!({ "type": "subscribe", "id": -1, "skus": ["A"] })), Error("bad-message"));
    case("a SKU with a space in front", says(&json!({ "type": "subscribe", "skus": [" canary"] })), Error("bad-sku"));
    case("an empty SKU", says(&json!({ "type": "subscribe", "skus": [""] })), Error("bad-sku"));
    case("a SKU of 129 characters", says(&json!({ "type": "subscribe", "skus": ["x".repeat(129)] })), Error("bad-sku"));
    let many: Vec<String> = (0..101).map(|n| format!("M{n}")).collect();
    case("too many SKUs", says(&json!({ "type": "subscribe", "skus": many })), Error("too-many-skus"));
    case("an unknown field", says(&json!({ "type": "unsubscribe", "skus": ["A"], "later": true })), Nothing);
    case("unsubscribe from what was not asked for", says(&json!({ "type": "unsubscribe", "skus": ["NONE"] })), Nothing);
    case("a pong with a cursor of nowhere", says(&json!({ "type": "pong", "ts": 0, "cursor": "x" })), Nothing);
    hold(cases).await;
}

/// Each case on a connection of its own; one that stays must still be of use.
async fn hold(cases: Vec<(String, Vec<u8>, Then)>) {
    let shop = super::with(RealtimeSettings { max_skus: 100, ..Default::default() });
    for (name, bytes, then) in cases {
        let mut wire = Wire::open(shop.addr, "").await;
        assert_eq!(wire.message().await.unwrap()["type"], "hello", "{name}");
        wire.send(&bytes).await;
        match then {
            Close(code) => assert_eq!(wire.closed().await, Some(code), "{name}"),
            Error(code) => {
                let error = wire.message().await.unwrap_or_else(|| panic!("{name}: closed"));
                assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{name}");
                assert!(error["message"].as_str().is_some_and(|words| !words.is_empty()), "{name}");
            }
            Nothing => {}
        }
        if !matches!(then, Close(_)) {
            wire.send(&says(&json!({ "type": "subscribe", "id": 7, "skus": ["A", "LATER"] }))).await;
            let outcome = wire.message().await.unwrap_or_else(|| panic!("{name}: closed"));
            assert_eq!((&outcome["id"], &outcome["unknown"]), (&json!(7), &json!(["LATER"])), "{name}");
            assert_eq!(wire.message().await.unwrap()["items"][0]["sku"], "A", "{name}");
        }
    }
}

#[tokio::test]
async fn a_cursor_that_cannot_be_is_answered_with_everything() {
    let shop = super::open();
    let snapshot = shop.get("/v1/stock?skus=A").await.json();
    let ours = snapshot["cursor"].as_str().unwrap();
    let (epoch, offset) = ours.rsplit_once(':').unwrap();
    let future = format!("{epoch}:{}", offset.parse::<u64>().unwrap() + 1_000);
    let (generation, stream) = epoch.split_once('.').unwrap();
    let other_epoch = format!("{generation}.{}:{offset}", stream.chars().rev().collect::<String>());
    let (negative, huge, long) = (format!("{epoch}:-1"), format!("{epoch}:99999999999999999999"), "x".repeat(60_000));
    for (name, since) in [
        ("garbage", "garbage"),
        ("future", &future),
        ("another epoch", &other_epoch),
        ("negative", &negative),
        ("beyond 64 bits", &huge),
        ("60 kB of nothing", &long),
    ] {
        let mut wire = Wire::open(shop.addr, "").await;
        wire.message().await;
        wire.send(&says(&json!({ "type": "subscribe", "id": 1, "skus": ["A"], "since": since }))).await;
        let outcome = wire.message().await.unwrap_or_else(|| panic!("{name}: closed"));
        assert_eq!(outcome["mode"], "snapshot", "{name}");
        assert_eq!(wire.message().await.unwrap()["type"], "gap", "{name}");
        let snapshot = wire.message().await.unwrap();
        assert_eq!((&snapshot["items"][0]["sku"], &snapshot["more"]), (&json!("A"), &json!(false)), "{name}");
    }
    let mut wire = Wire::open(shop.addr, "").await;
    wire.message().await;
    wire.send(&says(&json!({ "type": "subscribe", "skus": ["A"], "since": "x".repeat(1_000_000) }))).await;
    assert_eq!(wire.closed().await, Some(1_009), "1 MB");
}

/// Somebody who announces a message and never sends it can be no browser: it cannot answer a ping.
#[tokio::test]
async fn a_message_that_never_comes_ends_by_silence() {
    let shop = super::with(RealtimeSettings { ping_ms: 100, pong_timeout_ms: 200, ..Default::default() });
    let mut wire = Wire::open(shop.addr, "").await;
    wire.send(&announced(0x81, 60_000)).await;
    assert_eq!(wire.closed().await, Some(4_201));
}

#[tokio::test]
async fn ten_strikes_end_it_and_one_good_word_clears_them() {
    let shop = super::with(RealtimeSettings { commands_per_second: 1_000, ..Default::default() });
    let mut wire = Wire::open(shop.addr, "").await;
    let good = says(&json!({ "type": "unsubscribe", "skus": ["A"] }));
    wire.send(&[text("x").repeat(9), good, text("x").repeat(9)].concat()).await;
    wire.message().await;
    for strike in 0..18 {
        assert_eq!(wire.message().await.unwrap()["code"], "bad-json", "strike {strike}");
    }
    wire.send(&text("x")).await;
    let bye = wire.message().await.unwrap();
    assert_eq!((&bye["type"], &bye["code"], bye.get("reconnect_after_ms")), (&json!("bye"), &json!(4_000), None));
    assert_eq!(wire.closed().await, Some(4_000));
}

#[tokio::test]
async fn every_handshake_has_its_answer() {
    let shop = super::open();
    let good = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let own = format!("Origin: http://{}\r\n", shop.addr);
    let cases = [
        ("as it should be", "GET", good.to_owned(), 101, None),
        ("its own page", "GET", format!("{good}{own}"), 101, None),
        ("a page of this machine", "GET", format!("{good}Origin: http://localhost:3000\r\n"), 101, None),
        ("a page of another site", "GET", format!("{good}Origin: https://evil.example\r\n"), 403, Some("foreign-origin")),
        ("no page at all", "GET", format!("{good}Origin: null\r\n"), 403, Some("foreign-origin")),
        ("an older version", "GET", good.replace("13", "8"), 426, Some("bad-handshake")),
        ("no version", "GET", good.replace("Sec-WebSocket-Version: 13\r\n", ""), 400, Some("bad-handshake")),
        ("a short key", "GET", good.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400, Some("bad-handshake")),
        ("a key that is no base64", "GET", good.replace("dGhlIHNhbXBsZSBub25jZQ==", "????"), 400, Some("bad-handshake")),
        ("no key", "GET", good.replace("Sec-WebSocket-Key", "X"), 400, Some("bad-handshake")),
        ("no upgrade", "GET", "Connection: close\r\n".to_owned(), 426, Some("bad-handshake")),
        ("a wish to post", "POST", format!("{good}Content-Length: 0\r\n"), 405, None),
    ];
    for (name, method, headers, status, slug) in cases {
        let reply = shop.raw_request(&format!("{method} /v1/stock/ws HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", shop.addr)).await;
        assert_eq!(reply.status, status, "{name}: {}", reply.head);
        if let Some(slug) = slug {
            assert_eq!(reply.json()["type"], format!("urn:stockhub:problem:{slug}"), "{name}");
        }
        if status == 101 {
            assert_eq!(reply.header("sec-websocket-accept"), Some("s3pplmbitxaq9kygzzhzrbk+xoo="), "{name}");
        }
        if status == 426 {
            assert_eq!(reply.header("sec-websocket-version"), Some("13"), "{name}");
        }
    }
    let handshakes = shop.engine.stats().handshakes;
    assert_eq!((handshakes["accepted"], handshakes["foreign_origin"]), (3, 2), "{handshakes:?}");
}
