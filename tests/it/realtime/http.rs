//! The plain answers: `GET /v1/stock` and its neighbours.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio_tungstenite::tungstenite::{Error, Message};

use stockhub::realtime::RealtimeSettings;

use super::shop::{Path, Shop, item, removed, skus};

#[tokio::test]
async fn a_list_is_cheap_to_ask_again() {
    let shop = Shop::open();
    let first = shop.get("/v1/stock?skus=A,B,NONE").await;
    assert_eq!((first.status, skus(&first.json())), (200, vec!["A".to_owned(), "B".to_owned()]));
    let etag = first.header("etag").unwrap().to_owned();
    assert_eq!(shop.get_with("/v1/stock?skus=A,B,NONE", &[("If-None-Match", &etag)]).await.status, 304);
    shop.publish(item("C", 1, 2));
    assert_eq!(shop.get_with("/v1/stock?skus=A,B,NONE", &[("If-None-Match", &etag)]).await.status, 304, "C was not asked for");
    shop.publish(item("B", 1, 2));
    let changed = shop.get_with("/v1/stock?skus=A,B,NONE", &[("If-None-Match", &etag)]).await;
    assert_eq!((changed.status, changed.header("etag") == Some(&etag)), (200, false));
}

#[tokio::test]
async fn the_whole_list_comes_in_pages() {
    let shop = Shop::open();
    let page = shop.get("/v1/stock?limit=2").await.json();
    assert_eq!((skus(&page), &page["more"]), (vec!["A".to_owned(), "B".to_owned()], &json!(true)));
    let page = shop.get("/v1/stock?limit=2&after=B").await.json();
    assert_eq!((skus(&page), &page["more"]), (vec!["C".to_owned()], &json!(false)));
    let etag = shop.get("/v1/stock").await.header("etag").unwrap().to_owned();
    shop.publish(removed("B", 2));
    let page = shop.get_with("/v1/stock", &[("If-None-Match", &etag)]).await;
    assert_eq!((page.status, skus(&page.json())), (200, vec!["A".to_owned(), "C".to_owned()]));
    assert_eq!(shop.get("/v1/stock?limit=501").await.status, 422);
}

#[tokio::test]
async fn one_sku_or_a_problem() {
    let shop = Shop::open();
    assert_eq!(shop.get("/v1/stock/A").await.json(), json!({ "sku": "A", "stock": 5, "version": 1, "in_stock": true }));
    let unknown = shop.get("/v1/stock/NONE").await;
    assert_eq!((unknown.status, unknown.header("content-type")), (404, Some("application/problem+json")));
    assert_eq!(unknown.json()["type"], "urn:stockhub:problem:unknown-sku");
    shop.publish(removed("A", 2));
    assert_eq!(shop.get("/v1/stock/A").await.status, 404);
}

#[tokio::test]
async fn a_socket_address_without_a_handshake_is_a_problem() {
    let shop = Shop::open();
    let answer = shop.get("/v1/stock/ws").await;
    assert_eq!((answer.status, answer.header("upgrade")), (426, Some("websocket")));
    assert_eq!(answer.json()["type"], "urn:stockhub:problem:bad-handshake");
}

#[tokio::test]
async fn allowed_pages_may_read_and_others_may_not() {
    let shop = Shop::open();
    let local = shop.get_with("/v1/stock/A", &[("Origin", "http://localhost:3000")]).await;
    assert_eq!(local.header("access-control-allow-origin"), Some("http://localhost:3000"));
    let foreign = shop.get_with("/v1/stock/A", &[("Origin", "https://evil.example")]).await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (200, None));
}

#[tokio::test]
async fn streams_and_polls_must_name_skus() {
    let shop = Shop::open();
    for path in ["/v1/stock/stream", "/v1/stock/poll?skus=", "/v1/stock/poll?skus=A&wait=99"] {
        assert_eq!(shop.get(path).await.status, 422, "{path}");
    }
}

#[tokio::test]
async fn the_client_and_the_demo_storefront_are_served() {
    let shop = Shop::open();
    for (path, kind) in [
        ("/client/stockhub.js", "text/javascript; charset=utf-8"),
        ("/store", "text/html; charset=utf-8"),
        ("/store/store.js", "text/javascript; charset=utf-8"),
        ("/store/store.css", "text/css; charset=utf-8"),
    ] {
        let answer = shop.get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
    }
    assert!(shop.get("/store").await.header("content-security-policy").unwrap().starts_with("default-src 'self'"));
}

#[tokio::test]
async fn the_messages_are_described() {
    let shop = Shop::open();
    let described = shop.get("/asyncapi.json").await.json();
    let messages = described["channels"]["stock"]["messages"].as_object().unwrap();
    let bodies = &described["components"]["messages"];
    for name in messages.keys() {
        assert_eq!(bodies[name]["payload"]["properties"]["type"]["const"], json!(name));
    }
    let mut browser = shop.browser("?skus=A").await;
    for kind in ["hello", "subscribed", "snapshot"] {
        let message = browser.expect(kind).await;
        let described = bodies[kind]["payload"]["properties"].as_object().unwrap();
        let undescribed: Vec<_> = message.as_object().unwrap().keys().filter(|key| !described.contains_key(*key)).collect();
        assert!(undescribed.is_empty(), "{kind}: {undescribed:?}");
    }
}

#[tokio::test]
async fn other_sockets_and_requests_reach_the_app_around_the_fast_path() {
    let shop = Shop::open();
    let (mut echo, _) = tokio_tungstenite::connect_async(format!("ws://{}/echo", shop.addr)).await.unwrap();
    echo.send(Message::text("hello")).await.unwrap();
    assert_eq!(echo.next().await.unwrap().unwrap(), Message::text("hello"));
    let missing = tokio_tungstenite::connect_async(format!("ws://{}/nowhere", shop.addr)).await;
    assert!(matches!(missing, Err(Error::Http(response)) if response.status() == 404));
}

#[tokio::test]
async fn the_server_ends_when_everybody_has_left() {
    let patient = RealtimeSettings { shutdown_drain_ms: 600_000, ..Default::default() };
    let shop = Shop::with(Path::TakenOver, patient);
    let mut browser = shop.browser("?skus=A").await;
    browser.expect("hello").await;
    let mut events = shop.events("?skus=A", &[]).await;
    events.next().await;
    shop.shutdown.cancel();
    assert_eq!(browser.closed().await, 4_200);
    browser.expect_end().await;
    assert_eq!(events.next().await.event, "bye");
    let joined = tokio::task::spawn_blocking(move || shop.server.join());
    assert!(tokio::time::timeout(Duration::from_secs(60), joined).await.unwrap().unwrap().is_ok());
    assert_eq!(shop.engine.stats().connections, 0);
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_ask_first_and_read_refusals() {
    let shop = Shop::with(Path::TakenOver, RealtimeSettings { max_connections: 0, ..Default::default() });
    let asks = |path: &str, origin: &str| {
        format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: GET\r\n\
             Access-Control-Request-Headers: if-none-match\r\n\r\n",
            shop.addr
        )
    };
    for path in ["/v1/stock", "/v1/stock/A", "/v1/stock/stream", "/v1/stock/poll"] {
        let allowed = shop.raw_request(&asks(path, "http://localhost:3000")).await;
        assert_eq!(
            (allowed.status, allowed.header("access-control-allow-origin")),
            (204, Some("http://localhost:3000")),
            "{path}"
        );
        assert!(allowed.header("access-control-allow-headers").unwrap().contains("if-none-match"), "{path}");
        let foreign = shop.raw_request(&asks(path, "https://evil.example")).await;
        assert_eq!(foreign.header("access-control-allow-origin"), None, "{path}");
    }
    let page = [("Origin", "http://localhost:3000")];
    for (path, status) in [
        ("/v1/stock/stream?skus=A", 503),
        ("/v1/stock/poll?skus=A&since=x:1", 200),
        ("/v1/stock/stream", 422),
        ("/v1/stock/poll?skus=A&wait=99", 422),
        ("/v1/stock/NONE", 404),
    ] {
        let reply = shop.get_with(path, &page).await;
        assert_eq!(
            (reply.status, reply.header("access-control-allow-origin")),
            (status, Some("http://localhost:3000")),
            "{path}"
        );
        assert!(reply.header("access-control-expose-headers").unwrap().contains("retry-after"), "{path}");
        assert_eq!(reply.header("retry-after").is_some(), status == 503, "{path}");
    }
}

#[tokio::test]
async fn the_head_of_an_answer_can_be_asked_for() {
    let shop = Shop::open();
    for path in ["/v1/stock?skus=A", "/v1/stock", "/v1/stock/A"] {
        let whole = shop.get(path).await;
        let head = shop.raw_request_head(path).await;
        assert_eq!((head.status, head.header("etag")), (200, whole.header("etag")), "{path}");
        assert_eq!(head.header("content-length"), whole.header("content-length"), "{path}");
    }
}

#[tokio::test]
async fn a_poll_that_waited_in_vain_learns_a_newer_cursor() {
    let shop = Shop::open();
    let start = shop.get("/v1/stock/poll?skus=A").await.json();
    shop.publish(item("B", 1, 2));
    let waited = shop.get(&format!("/v1/stock/poll?skus=A&wait=0&since={}", start["cursor"].as_str().unwrap())).await;
    let newer = waited.header("etag").unwrap().trim_matches('"').to_owned();
    assert_eq!((waited.status, newer.ends_with(":4")), (304, true), "{newer}");
    shop.publish(item("A", 1, 2));
    let answer = shop.get(&format!("/v1/stock/poll?skus=A&since={newer}")).await.json();
    assert_eq!((&answer["mode"], skus(&answer)), (&json!("resumed"), vec!["A".to_owned()]));
}

/// Every parameter of every transport, and what is wrong with it.
#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let shop = Shop::open();
    for (path, field) in [
        ("/v1/stock?limit=0", "limit"),
        ("/v1/stock?limit=501", "limit"),
        ("/v1/stock?limit=-1", "limit"),
        ("/v1/stock?skus=%20A", "skus"),
        ("/v1/stock/poll?skus=A&wait=56", "wait"),
        ("/v1/stock/poll?skus=A&wait=x", "wait"),
        ("/v1/stock/poll?all=perhaps", "all"),
        ("/v1/stock/poll", "skus"),
        ("/v1/stock/stream?all=false", "skus"),
        ("/v1/stock/stream?skus=A&gap=1001", "gap"),
        ("/v1/stock/stream?sku=", "skus"),
    ] {
        let reply = shop.get(path).await;
        assert_eq!((reply.status, reply.header("content-type")), (422, Some("application/problem+json")), "{path}");
        assert!(reply.json()["detail"].as_str().unwrap().starts_with(field), "{path}: {}", reply.json());
    }
    let mut browser = shop.browser("?skus=A&gap=1001").await;
    browser.expect("hello").await;
    let error = browser.expect("error").await;
    assert_eq!((&error["id"], &error["code"]), (&json!(0), &json!("bad-request")));
    assert!(error["message"].as_str().unwrap().starts_with("gap"), "{error}");
}

#[tokio::test]
async fn a_cap_for_the_public_holds_on_every_transport() {
    let shop = Shop::with(Path::TakenOver, RealtimeSettings { public_cap: Some(6), ..Default::default() });
    let capped = json!([{ "sku": "B", "stock": 6, "version": 1, "in_stock": true, "more": true }]);
    assert_eq!(shop.get("/v1/stock?skus=B").await.json()["items"], capped);
    assert_eq!(shop.get("/v1/stock/B").await.json(), capped[0]);
    assert_eq!(shop.get("/v1/stock?limit=1&after=A").await.json()["items"], capped);
    assert_eq!(shop.get("/v1/stock/poll?skus=B").await.json()["items"], capped);
    let mut events = shop.events("?skus=B", &[]).await;
    assert_eq!(events.next().await.data["items"], capped);
    let mut browser = shop.browser("?skus=B").await;
    browser.expect("hello").await;
    browser.expect("subscribed").await;
    let cursor = browser.expect("snapshot").await;
    assert_eq!(cursor["items"], capped);
    shop.publish(item("B", 4_711, 2));
    let update = json!([{ "sku": "B", "stock": 6, "version": 2, "in_stock": true, "more": true }]);
    assert_eq!(browser.expect("stock_update").await["items"], update);
    assert_eq!(events.next().await.data["items"], update);
    let poll = shop.get(&format!("/v1/stock/poll?skus=B&since={}", cursor["cursor"].as_str().unwrap())).await;
    assert_eq!(poll.json()["items"], update);
    shop.publish(item("B", 6, 3));
    let exact = json!([{ "sku": "B", "stock": 6, "version": 3, "in_stock": true }]);
    assert_eq!(browser.expect("stock_update").await["items"], exact);
}
