//! Whether the room is well, and what it counts: the canary, the roll call, the figures.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use stockhub::realtime::{CanaryError, Interest, RealtimeSettings, Since, metrics_text};

use tokio::time::Instant;

use super::shop::{Path, Shop, item, skus, text};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_canary_comes_back_and_nobody_else_sees_it() {
    for path in [Path::App, Path::TakenOver] {
        let shop = Shop::with(path, RealtimeSettings { max_connections: 2, ..Default::default() });
        let mut all = shop.browser("?all=1").await;
        for kind in ["hello", "subscribed", "snapshot"] {
            all.expect(kind).await;
        }
        let mut more = shop.browser("").await;
        more.expect("hello").await;
        // The hub is full, and its own canary flies all the same.
        for _ in 0..3 {
            shop.engine.canary(shop.addr, PATIENCE).await.unwrap();
        }
        shop.publish(item("A", 1, 2));
        let update = all.expect("stock_update").await;
        assert_eq!(skus(&update), ["A"]);
        more.say(json!({ "type": "subscribe", "skus": [" canary"] })).await;
        assert_eq!(more.expect("error").await["code"], "bad-sku");
        let list = shop.get("/v1/stock").await.json();
        assert_eq!(skus(&list), ["A", "B", "C"]);
        assert_eq!(shop.get("/v1/stock?skus=%20canary").await.status, 422);
        assert_eq!(shop.get("/v1/stock/%20canary").await.status, 404);
        assert_eq!(shop.engine.stats().listed, 3);
        let since = shop.engine.since(&text(&update["cursor"]), &Interest::All);
        assert!(matches!(since, Since::Resumed { items, .. } if items.is_empty()));
    }
}

#[tokio::test]
async fn a_hub_that_does_not_answer_is_found_out() {
    let shop = Shop::open();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    assert!(matches!(shop.engine.canary(nobody, PATIENCE).await, Err(CanaryError::Socket(_))));
    // A socket that is accepted by the kernel and served by nobody.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let lost = shop.engine.canary(silent.local_addr().unwrap(), Duration::from_millis(200)).await;
    assert!(matches!(lost, Err(CanaryError::Lost(_))), "{lost:?}");
    // Another hub is not this one.
    let other = Shop::open();
    let refused = shop.engine.canary(other.addr, Duration::from_millis(500)).await;
    assert!(matches!(refused, Err(CanaryError::Lost(_) | CanaryError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn the_figures_tell_what_happens() {
    let shop = Shop::with(Path::TakenOver, RealtimeSettings { ping_ms: 200, ..Default::default() });
    let mut browser = shop.browser("?skus=A,B,X&gap=100").await;
    for kind in ["hello", "subscribed", "snapshot"] {
        browser.expect(kind).await;
    }
    let mut events = shop.events("?all=1&since=elsewhere:1", &[]).await;
    events.next().await;
    shop.publish(item("A", 4, 2));
    browser.until("stock_update").await;
    // At once: what a flush comes between is not joined.
    shop.engine.publish((3..=12).map(|version| item("A", 4, version)).collect());
    browser.until("stock_update").await;
    // One answer that has everything, one that lacks the last update.
    let ping = browser.until("ping").await;
    browser.say(json!({ "type": "pong", "ts": ping["ts"], "cursor": ping["cursor"] })).await;
    let published = Instant::now();
    shop.publish(item("B", 0, 2));
    let late = browser.until("ping").await;
    // However soon the ping came.
    tokio::time::sleep_until(published + Duration::from_millis(150)).await;
    browser.say(json!({ "type": "pong", "ts": late["ts"], "cursor": ping["cursor"] })).await;
    // A command's answer says that the pong before it was heard.
    browser.say(json!({ "type": "subscribe", "id": 5, "skus": ["C"] })).await;
    browser.until("subscribed").await;
    let tally = shop.engine.roll_call(PATIENCE).await.unwrap();
    assert_eq!((tally.websockets, tally.event_streams, tally.polls, tally.subscriptions), (1, 1, 0, 5));
    let stats = shop.engine.stats();
    assert_eq!(stats.applied.counts.iter().sum::<u64>(), 2, "{stats:?}");
    let beyond_100_ms: u64 = stats.applied.counts[7..].iter().sum();
    assert!(beyond_100_ms >= 1, "the second pong lacked an update for longer: {stats:?}");
    assert!(stats.conflated >= 5, "{stats:?}");
    assert_eq!((stats.snapshots["new"] >= 2, stats.snapshots["epoch"], stats.gaps["epoch"]), (true, 1, 1), "{stats:?}");
    assert!(stats.items >= stats.frames && stats.bytes > 0 && stats.tick.sum_us > 0 && stats.lag.sum_us > 0, "{stats:?}");
    let text = metrics_text(&stats);
    for line in [
        "fanout_connections{transport=\"websocket\"} 1",
        "fanout_connections{transport=\"eventstream\"} 1",
        "fanout_subscriptions 5",
        "fanout_resumes_total{mode=\"snapshot\"} 1",
        "fanout_gap_total{why=\"epoch\"} 1",
        "fanout_handshakes_total{result=\"accepted\"} 2",
        "fanout_applied_lag_ms_count 2",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn browsers_behind_a_trusted_proxy_are_counted_by_their_own_address() {
    let settings = RealtimeSettings {
        max_connections_per_ip: 1,
        trusted_proxies: vec![stockhub::settings::Cidr::parse("127.0.0.1").unwrap()],
        ..Default::default()
    };
    let shop = Shop::with(Path::TakenOver, settings);
    let from = |address: &'static str| [("x-forwarded-for", address)];
    let mut first = shop.browser_with("", &from("203.0.113.9")).await.unwrap();
    first.expect("hello").await;
    let mut second = shop.browser_with("", &from("203.0.113.9")).await.unwrap();
    assert_eq!(second.closed().await, 4_100);
    let mut other = shop.browser_with("", &from("203.0.113.10")).await.unwrap();
    other.expect("hello").await;
    let stream = shop.get_with("/v1/stock/stream?skus=A", &from("203.0.113.9")).await;
    assert_eq!((stream.status, stream.header("retry-after")), (429, Some("5")));
}
