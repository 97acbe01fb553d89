//! A cursor works on every transport, whichever gave it.

use serde_json::json;
use stockhub::realtime::RealtimeSettings;

use crate::realtime::shop::{Shop, item, skus, text};

/// A browser's last cursor over `?skus=A,B`.
async fn cursor(shop: &Shop) -> String {
    let mut browser = shop.browser("?skus=A,B").await;
    browser.expect("hello").await;
    browser.expect("subscribed").await;
    text(&browser.expect("snapshot").await["cursor"])
}

#[tokio::test]
async fn a_socket_resumes_with_what_changed_and_says_so() {
    let shop = super::open();
    let since = cursor(&shop).await;
    shop.publish(item("A", 4, 2));
    shop.publish(item("A", 3, 3));
    shop.publish(item("C", 1, 2));
    let mut browser = shop.browser(&format!("?skus=A,B&since={since}")).await;
    assert_eq!(browser.expect("hello").await["cursor"], since);
    let outcome = browser.expect("subscribed").await;
    assert_eq!((&outcome["mode"], &outcome["cursor"]), (&json!("resumed"), &json!(since)));
    let update = browser.expect("stock_update").await;
    assert_eq!(update["items"], json!([{ "sku": "A", "stock": 3, "version": 3, "in_stock": true }]));
}

#[tokio::test]
async fn one_cursor_serves_all_transports() {
    let shop = super::open();
    let since = cursor(&shop).await;
    shop.publish(item("A", 4, 2));

    let mut events = shop.events(&format!("?skus=A,B&since={since}"), &[]).await;
    let update = events.next().await;
    assert_eq!((update.event.as_str(), skus(&update.data)), ("stock_update", vec!["A".to_owned()]));
    let from_events = update.id.unwrap();

    shop.publish(item("B", 1, 2));
    let poll = shop.get(&format!("/v1/stock/poll?skus=A,B&since={from_events}")).await.json();
    assert_eq!((&poll["mode"], skus(&poll)), (&json!("resumed"), vec!["B".to_owned()]));

    shop.publish(item("A", 3, 3));
    let mut browser = shop.browser("").await;
    browser.expect("hello").await;
    browser.say(json!({ "type": "subscribe", "id": 1, "skus": ["A", "B"], "since": poll["cursor"] })).await;
    assert_eq!(browser.expect("subscribed").await["mode"], "resumed");
    let update = browser.expect("stock_update").await;
    assert_eq!(skus(&update), ["A"]);

    shop.publish(item("B", 0, 3));
    let again = [("Last-Event-ID", text(&update["cursor"]))];
    let again: Vec<(&str, &str)> = again.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut events = shop.events(&format!("?skus=A,B&since={since}"), &again).await;
    assert_eq!(skus(&events.next().await.data), ["B"], "the header is newer than the URL");
}

#[tokio::test]
async fn a_cursor_of_another_stream_gets_a_gap_and_everything() {
    let shop = super::open();
    for foreign in [cursor(&super::open()).await, "nonsense".to_owned()] {
        let mut browser = shop.browser(&format!("?skus=A,B&since={foreign}")).await;
        browser.expect("hello").await;
        let outcome = browser.expect("subscribed").await;
        assert_eq!((&outcome["mode"], &outcome["cursor"]), (&json!("snapshot"), &json!(foreign)));
        let gap = browser.expect("gap").await;
        assert_eq!((&gap["why"], &gap["from"]), (&json!("epoch"), &json!(foreign)));
        assert_eq!(browser.expect("snapshot").await["items"].as_array().unwrap().len(), 2);

        let mut events = shop.events(&format!("?skus=A&since={foreign}"), &[]).await;
        assert_eq!(events.next().await.event, "gap");
        assert_eq!(events.next().await.event, "snapshot");

        let poll = shop.get(&format!("/v1/stock/poll?skus=A&since={foreign}")).await.json();
        assert_eq!(poll["mode"], "snapshot");
    }
}

#[tokio::test]
async fn a_cursor_older_than_the_ring_gets_a_gap_and_everything() {
    let shop = super::with(RealtimeSettings { ring: 4, ..Default::default() });
    let since = cursor(&shop).await;
    for version in 2..12 {
        shop.publish(item("A", version, version));
    }
    let mut browser = shop.browser(&format!("?skus=A,B&since={since}")).await;
    browser.expect("hello").await;
    assert_eq!(browser.expect("subscribed").await["mode"], "snapshot");
    assert_eq!(browser.expect("gap").await["why"], "ring");
    assert_eq!(skus(&browser.expect("snapshot").await), ["A", "B"]);
}

#[tokio::test]
async fn more_is_asked_for_later_without_a_cursor() {
    let shop = super::open();
    let since = cursor(&shop).await;
    shop.publish(item("A", 4, 2));
    let mut browser = shop.browser(&format!("?skus=A,B&since={since}")).await;
    browser.say(json!({ "type": "subscribe", "id": 9, "skus": ["C"] })).await;
    for kind in ["hello", "subscribed", "stock_update"] {
        browser.expect(kind).await;
    }
    assert_eq!(browser.expect("subscribed").await["mode"], "snapshot");
    let snapshot = browser.expect("snapshot").await;
    assert_eq!(skus(&snapshot), ["C"]);
    let resumed = shop.get(&format!("/v1/stock/poll?skus=A,B,C&wait=0&since={}", text(&snapshot["cursor"]))).await;
    assert_eq!(resumed.status, 304, "the cursor covers everything that was asked for");
}

#[tokio::test]
async fn a_cursor_covers_what_was_asked_for_before_it_existed() {
    let shop = super::open();
    let since = cursor(&shop).await;
    // A first change leaves at once; the next flush is a second away.
    let mut browser = shop.browser("?gap=1000&skus=A,NEW").await;
    browser.expect("hello").await;
    assert_eq!(browser.expect("subscribed").await["unknown"], json!(["NEW"]));
    browser.expect("snapshot").await;
    shop.publish(item("A", 4, 2));
    browser.expect("stock_update").await;
    shop.publish(item("NEW", 7, 1));
    shop.publish(item("B", 1, 2));
    // What it lacks of B is sent with a cursor past NEW.
    browser.say(json!({ "type": "subscribe", "id": 9, "skus": ["B"], "since": since })).await;
    let mut told = Vec::new();
    while !told.contains(&"B".to_owned()) {
        let message = browser.next().await;
        if message["type"] == "stock_update" {
            told.extend(skus(&message));
        }
    }
    assert!(told.contains(&"NEW".to_owned()), "{told:?}");
}
