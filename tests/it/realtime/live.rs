//! What a browser sees while it is connected.

use serde_json::json;
use tokio::time::Instant;

use crate::realtime::shop::{item, removed, skus, text};

#[tokio::test]
async fn hello_outcome_and_snapshot_come_with_the_url() {
    let shop = super::open();
    let mut browser = shop.browser("?skus=A,B,X").await;
    let hello = browser.expect("hello").await;
    assert_eq!((&hello["protocol"], &hello["ping_ms"], &hello["max_skus"]), (&json!(1), &json!(25_000), &json!(5_000)));
    assert_eq!(hello["min_gap_ms"], 20);
    assert!(hello.get("cursor").is_none());
    let outcome = browser.expect("subscribed").await;
    assert_eq!((&outcome["id"], &outcome["mode"]), (&json!(0), &json!("snapshot")));
    assert_eq!((&outcome["count"], &outcome["unknown"]), (&json!(2), &json!(["X"])));
    assert!(outcome.get("cursor").is_none());
    let snapshot = browser.expect("snapshot").await;
    assert_eq!((skus(&snapshot), &snapshot["more"]), (vec!["A".to_owned(), "B".to_owned()], &json!(false)));
    assert!(text(&snapshot["cursor"]).starts_with(&text(&hello["generation"])));

    shop.publish(item("A", 4, 2));
    let update = browser.expect("stock_update").await;
    assert_eq!(update["items"], json!([{ "sku": "A", "stock": 4, "version": 2, "in_stock": true }]));
}

#[tokio::test]
async fn updates_go_only_to_those_who_want_them() {
    let shop = super::open();
    let mut only_b = shop.browser("?skus=B").await;
    let mut all = shop.browser("?all=1").await;
    for browser in [&mut only_b, &mut all] {
        for kind in ["hello", "subscribed", "snapshot"] {
            browser.expect(kind).await;
        }
    }
    shop.publish(item("A", 4, 2));
    assert_eq!(skus(&all.expect("stock_update").await), ["A"]);
    shop.publish(item("B", 6, 2));
    assert_eq!(skus(&only_b.expect("stock_update").await), ["B"]);
}

#[tokio::test]
async fn a_burst_is_joined_and_only_the_latest_is_told() {
    let shop = super::open();
    let mut browser = shop.browser("?skus=A&gap=500").await;
    for kind in ["hello", "subscribed", "snapshot"] {
        browser.expect(kind).await;
    }
    shop.publish(item("A", 100, 2));
    assert_eq!(browser.expect("stock_update").await["items"][0]["stock"], 100);
    let begun = Instant::now();
    for version in 3..=50 {
        shop.publish(item("A", version, version));
    }
    // One, unless publishing took longer than the gap.
    let mut told = 0;
    loop {
        let update = browser.expect("stock_update").await;
        told += 1;
        assert_eq!(skus(&update).len(), 1);
        assert!(told <= 1 + begun.elapsed().as_millis() / 500, "{told} in {:?}", begun.elapsed());
        if update["items"][0]["version"] == 50 {
            break;
        }
    }
}

#[tokio::test]
async fn an_unknown_sku_is_delivered_once_it_exists_and_a_removed_one_is_said_to_be() {
    let shop = super::open();
    let mut browser = shop.browser("").await;
    browser.expect("hello").await;
    browser.say(json!({ "type": "subscribe", "id": 4, "skus": ["NEW", "A"] })).await;
    assert_eq!(browser.expect("subscribed").await["unknown"], json!(["NEW"]));
    assert_eq!(skus(&browser.expect("snapshot").await), ["A"]);
    shop.publish(item("NEW", 3, 1));
    assert_eq!(browser.expect("stock_update").await["items"][0]["stock"], 3);
    shop.publish(item("NEW", 2, 2));
    assert_eq!(browser.sees("NEW", 2).await, 2);
    shop.publish(removed("NEW", 3));
    let update = browser.expect("stock_update").await;
    assert_eq!(update["items"], json!([{ "sku": "NEW", "stock": 0, "version": 3, "in_stock": false, "removed": true }]));
}

#[tokio::test]
async fn unsubscribing_ends_the_updates() {
    let shop = super::open();
    let mut browser = shop.browser("?skus=A,B").await;
    for kind in ["hello", "subscribed", "snapshot"] {
        browser.expect(kind).await;
    }
    browser.say(json!({ "type": "unsubscribe", "id": 2, "skus": ["A"] })).await;
    // A second command proves that the first was heard.
    browser.say(json!({ "type": "subscribe", "id": 3, "skus": ["C"] })).await;
    browser.expect("subscribed").await;
    assert_eq!(skus(&browser.expect("snapshot").await), ["C"]);
    shop.publish(item("A", 1, 2));
    shop.publish(item("B", 1, 2));
    assert_eq!(skus(&browser.expect("stock_update").await), ["B"]);
    browser.say(json!({ "type": "unsubscribe", "all": true })).await;
    browser.say(json!({ "type": "subscribe", "id": 4, "skus": ["C"] })).await;
    browser.expect("subscribed").await;
    assert_eq!(skus(&browser.expect("snapshot").await), ["C"]);
    shop.publish(item("B", 0, 3));
    shop.publish(item("C", 0, 2));
    assert_eq!(skus(&browser.expect("stock_update").await), ["C"]);
}

#[tokio::test]
async fn a_large_snapshot_comes_in_pages_and_only_the_last_has_the_cursor() {
    let shop = super::open();
    shop.engine.publish((0..1_200).map(|n| item(&format!("P{n:04}"), n, 1)).collect());
    let mut browser = shop.browser("?all=1").await;
    browser.expect("hello").await;
    assert_eq!(browser.expect("subscribed").await["count"], 1_203);
    let mut seen = 0;
    loop {
        let page = browser.expect("snapshot").await;
        seen += skus(&page).len();
        assert!(skus(&page).len() <= 500);
        assert_eq!(page.get("cursor").is_some(), page["more"] == false);
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(seen, 1_203);
    shop.publish(item("P0700", 1, 2));
    assert_eq!(browser.sees("P0700", 2).await, 1);
}

#[tokio::test]
async fn an_event_stream_tells_the_same() {
    let shop = super::open();
    let mut events = shop.events("?skus=A,B", &[]).await;
    let first = events.next().await;
    assert_eq!((first.event.as_str(), skus(&first.data).len()), ("snapshot", 2));
    assert_eq!(first.id, first.data["cursor"].as_str().map(ToOwned::to_owned));
    shop.publish(item("C", 1, 2));
    shop.publish(item("B", 1, 2));
    let update = events.next().await;
    assert_eq!((update.event.as_str(), skus(&update.data)), ("stock_update", vec!["B".to_owned()]));
}

#[tokio::test]
async fn a_waiting_poll_answers_when_something_it_wants_changes() {
    let shop = super::open();
    let start = shop.get("/v1/stock/poll?skus=A").await.json();
    assert_eq!((&start["mode"], skus(&start)), (&json!("snapshot"), vec!["A".to_owned()]));
    let path = format!("/v1/stock/poll?skus=A&since={}&wait=10", text(&start["cursor"]));
    let publisher = shop.engine.clone();
    let later = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        publisher.publish(vec![item("B", 1, 2)]);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        publisher.publish(vec![item("A", 2, 2)]);
    });
    let answer = shop.get(&path).await.json();
    assert_eq!((&answer["mode"], &answer["items"][0]["stock"]), (&json!("resumed"), &json!(2)));
    later.await.unwrap();
    let again = format!("/v1/stock/poll?skus=A&since={}&wait=0", text(&answer["cursor"]));
    assert_eq!(shop.get(&again).await.status, 304);
}
