//! Bad frames, limits, slow readers, and how a connection ends.

use std::time::Duration;

use serde_json::json;
use stockhub::realtime::RealtimeSettings;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::realtime::shop::{item, skus};

#[tokio::test]
async fn a_bad_frame_is_answered_and_the_tenth_in_a_row_ends_it() {
    let shop = super::open();
    let mut browser = shop.browser("").await;
    browser.expect("hello").await;
    let bad = [
        (Message::text("{"), "bad-json"),
        (Message::text(r#"{"type":"dance","id":3}"#), "unknown-type"),
        (Message::binary(vec![1, 2]), "binary"),
        (Message::text(r#"{"type":"subscribe"}"#), "bad-message"),
    ];
    for (frame, code) in bad {
        browser.raw(frame).await;
        assert_eq!(browser.expect("error").await["code"], code);
    }
    browser.say(json!({ "type": "subscribe", "id": 1, "skus": ["A"] })).await;
    browser.expect("subscribed").await;
    browser.expect("snapshot").await;
    for _ in 0..9 {
        browser.raw(Message::text("nonsense")).await;
        browser.expect("error").await;
    }
    browser.raw(Message::text("nonsense")).await;
    let bye = browser.expect("bye").await;
    assert_eq!((&bye["code"], bye.get("reconnect_after_ms")), (&json!(4_000), None));
    assert_eq!(browser.closed().await, 4_000);
}

#[tokio::test]
async fn too_many_skus_add_nothing() {
    let shop = super::with(RealtimeSettings { max_skus: 2, ..Default::default() });
    let mut browser = shop.browser("").await;
    browser.expect("hello").await;
    browser.say(json!({ "type": "subscribe", "id": 1, "skus": ["A"] })).await;
    browser.expect("subscribed").await;
    browser.expect("snapshot").await;
    browser.say(json!({ "type": "subscribe", "id": 2, "skus": ["A", "B", "C"] })).await;
    let error = browser.expect("error").await;
    assert_eq!((&error["id"], &error["code"]), (&json!(2), &json!("too-many-skus")));
    shop.publish(item("B", 1, 2));
    shop.publish(item("A", 1, 2));
    assert_eq!(skus(&browser.expect("stock_update").await), ["A"]);
    let too_many = shop.get("/v1/stock/stream?skus=A,B,C").await;
    assert_eq!((too_many.status, &too_many.json()["type"]), (422, &json!("urn:stockhub:problem:too-many-skus")));
}

#[tokio::test]
async fn a_frame_may_be_long_only_to_subscribe() {
    let shop = super::open();
    let names: Vec<String> = (0..1_000).map(|n| format!("LONG-{n:04}")).collect();
    let mut browser = shop.browser("").await;
    browser.expect("hello").await;
    browser.say(json!({ "type": "subscribe", "id": 1, "skus": names })).await;
    assert_eq!(browser.expect("subscribed").await["unknown"].as_array().unwrap().len(), 1_000);
    browser.expect("snapshot").await;
    browser.say(json!({ "type": "unsubscribe", "id": 1, "skus": names })).await;
    assert_eq!(browser.closed().await, 1_009);

    let mut browser = shop.browser("").await;
    browser.raw(Message::text("x".repeat(70_000))).await;
    assert_eq!(browser.closed().await, 1_009);
}

/// Frames that no well-behaved client sends, byte by byte.
#[tokio::test]
async fn breaks_of_the_standard_end_with_its_own_codes() {
    let masked = |first: u8, payload: &[u8]| [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat();
    let cases = [
        (masked(0x81, &[0xff, 0xfe]), 1_007_u16),
        (vec![0x81, 1, b'x'], 1_002),
        (masked(0xc1, b"x"), 1_002),
        (masked(0x83, b"x"), 1_002),
        (masked(0x80, b"x"), 1_002),
        (masked(0x88, &4_999_u16.to_be_bytes()), 1_000),
    ];
    for (bytes, code) in cases {
        let shop = super::open();
        let after = shop.raw_socket(&bytes).await;
        assert_eq!(after, [&[0x88, 2], &code.to_be_bytes()[..]].concat(), "{bytes:x?}");
    }
}

#[tokio::test]
async fn commands_are_limited_per_second() {
    let shop = super::with(RealtimeSettings { commands_per_second: 3, ..Default::default() });
    let mut browser = shop.browser("").await;
    browser.expect("hello").await;
    for _ in 0..40 {
        browser.socket_send(json!({ "type": "unsubscribe", "skus": ["A"] })).await;
    }
    assert_eq!(browser.expect("error").await["code"], "rate-limited");
    assert_eq!(browser.closed().await, 4_102);
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_at_the_handshake() {
    let shop = super::open();
    let foreign = shop.browser_with("", &[("origin", "https://evil.example")]).await;
    assert!(matches!(foreign, Err(Error::Http(response)) if response.status() == 403));
    let own = format!("http://{}", shop.addr);
    let mut browser = shop.browser_with("", &[("origin", &own)]).await.unwrap();
    browser.expect("hello").await;
    let stream = shop.get_with("/v1/stock/stream?skus=A", &[("Origin", "https://evil.example")]).await;
    assert_eq!((stream.status, &stream.json()["type"]), (403, &json!("urn:stockhub:problem:foreign-origin")));
}

#[tokio::test]
async fn the_subprotocol_is_echoed_when_offered() {
    let shop = super::open();
    let offered = shop.browser_with("", &[("sec-websocket-protocol", "stockhub.v1.json")]).await.unwrap();
    assert_eq!(offered.protocol.as_deref(), Some("stockhub.v1.json"));
    assert_eq!(shop.browser("").await.protocol, None);
}

#[tokio::test]
async fn over_capacity_a_browser_is_told_to_back_off() {
    let shop = super::with(RealtimeSettings { max_connections: 1, ..Default::default() });
    let mut first = shop.browser("").await;
    first.expect("hello").await;
    let mut second = shop.browser("").await;
    assert!(second.expect("bye").await["reconnect_after_ms"].is_array());
    assert_eq!(second.closed().await, 4_100);
    assert_eq!(shop.get("/v1/stock/stream?skus=A").await.status, 503);
    first.raw(Message::Close(None)).await;
    first.expect_end().await;
    while shop.engine.stats().connections > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shop.browser("").await.expect("hello").await;
}

#[tokio::test]
async fn a_silent_browser_is_pinged_and_then_closed() {
    let shop = super::with(RealtimeSettings { ping_ms: 100, pong_timeout_ms: 4_000, ..Default::default() });
    let mut browser = shop.browser("?skus=A").await;
    for kind in ["hello", "subscribed", "snapshot"] {
        browser.expect(kind).await;
    }
    let mut last = json!(null);
    for _ in 0..5 {
        let ping = browser.expect("ping").await;
        assert_eq!(ping["cursor"], ping["head"]);
        browser.say(json!({ "type": "pong", "ts": ping["ts"], "cursor": ping["cursor"] })).await;
        last = ping["ts"].clone();
    }
    assert!(last.as_u64().unwrap() > 0);
    browser.expect("ping").await;
    assert_eq!(browser.expect("bye").await["code"], 4_201);
    assert_eq!(browser.closed().await, 4_201);
}

#[tokio::test]
async fn an_old_connection_is_rotated() {
    let shop = super::with(RealtimeSettings { lifetime_s: 1, ..Default::default() });
    let mut browser = shop.browser("").await;
    browser.expect("hello").await;
    assert_eq!(browser.expect("bye").await["code"], 4_202);
    assert_eq!(browser.closed().await, 4_202);
}

#[tokio::test]
async fn shutdown_says_goodbye_to_everybody() {
    let shop = super::open();
    let mut browser = shop.browser("?skus=A").await;
    for kind in ["hello", "subscribed", "snapshot"] {
        browser.expect(kind).await;
    }
    let mut events = shop.events("?skus=A", &[]).await;
    events.next().await;
    shop.engine.closing().cancel();
    let bye = browser.expect("bye").await;
    assert_eq!((&bye["code"], &bye["reconnect_after_ms"]), (&json!(4_200), &json!([0, 1_000])));
    assert_eq!(browser.closed().await, 4_200);
    let bye = events.next().await;
    assert_eq!((bye.event.as_str(), &bye.data["code"]), ("bye", &json!(4_200)));
}

/// Two hundred thousand items are far more than the kernel holds for a reader that does not read.
#[tokio::test]
async fn a_slow_reader_gets_the_latest_and_harms_nobody() {
    let shop = super::with(RealtimeSettings { slow_close_ms: 600_000, ..Default::default() });
    shop.engine.publish((0..500).map(|n| item(&format!("P{n:04}"), 0, 1)).collect());
    let mut slow = shop.browser("?all=1&gap=0").await;
    let mut quick = shop.browser("?skus=P0001&gap=0").await;
    for kind in ["hello", "subscribed", "snapshot"] {
        quick.expect(kind).await;
    }
    for version in 2..=400 {
        shop.engine.publish((0..500).map(|n| item(&format!("P{n:04}"), version, version)).collect());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(quick.sees("P0001", 400).await, 400);
    assert_eq!(slow.sees("P0499", 400).await, 400);
    assert!(shop.engine.stats().held_back > 0, "it was never slow");
}

#[tokio::test]
async fn who_does_not_read_at_all_is_closed() {
    let settings = RealtimeSettings { slow_close_ms: 300, ring: 100, ..Default::default() };
    let shop = super::with(settings);
    let mut stalled = shop.browser("?all=1&gap=0").await;
    for version in 2..1_000 {
        shop.engine.publish((0..500).map(|n| item(&format!("P{n:04}"), version, version)).collect());
        tokio::time::sleep(Duration::from_millis(5)).await;
        if shop.engine.stats().closes.contains_key(&4_101) {
            break;
        }
    }
    assert!(shop.engine.stats().closes.contains_key(&4_101), "{:?}", shop.engine.stats());
    assert_eq!(stalled.closed().await, 4_101);
}
