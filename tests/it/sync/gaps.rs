//! An event of a marketplace was missed: where its numbers can be read, it is read before any number is raised.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::marketplaces::{Abilities, StockFeed};

use super::adapter::everything;
use super::stand::{Set, Stand};

async fn stand() -> Stand {
    let abilities = Abilities { orders: None, ..everything() };
    Stand::new(Set { abilities, feed: StockFeed::Delta, webhooks: true, reads_back: true, ..Set::default() }).await
}

/// Two are sold there; of the first nobody tells us.
async fn one_is_missed(stand: &Stand, shown: i64) {
    stand.shelf.set("L-A-1", shown - 2);
    let event = json!({"event": "stock.updated", "sku": "A-1", "marketplace_product_id": "L-A-1", "previous_stock": shown - 1,
        "current_stock": shown - 2, "change": -1, "reason": "sold", "timestamp": stand.clock.now().to_string()});
    stand.webhook(&event).await;
}

fn since(stand: &Stand, before: usize) -> Vec<String> {
    let calls = stand.shelf.state().calls[before..].to_vec();
    calls.into_iter().map(|call| call.split(['?', ' ']).take(2).collect::<Vec<_>>().join(" ")).collect()
}

/// Time passes until it shows that.
async fn shows(stand: &Stand, quantity: i64) {
    stand
        .hub
        .until(&format!("it shows {quantity}"), async || {
            stand.clock.advance(Duration::from_millis(100));
            stand.shelf.shows("L-A-1") == quantity
        })
        .await;
}

async fn state(stand: &Stand) -> Value {
    stand.hub.listing("A-1", "shelf").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_read_before_its_number_is_raised() {
    let stand = stand().await;
    stand.clock.advance(Duration::from_secs(10));
    let before = stand.shelf.state().calls.len();
    one_is_missed(&stand, 50).await;
    assert_eq!(stand.on_hand("A-1").await, 49, "what we heard of counts");
    shows(&stand, 49).await;
    assert_eq!(since(&stand, before), ["GET /listing", "POST /stock"]);
    stand.told().await;
    assert!(stand.alerts("listing-gap").await.is_empty());
    // Another one a moment later: it is not read again so soon.
    stand.clock.advance(Duration::from_secs(5));
    let before = stand.shelf.state().calls.len();
    one_is_missed(&stand, 49).await;
    for _ in 0..20 {
        stand.clock.advance(Duration::from_secs(1));
        state(&stand).await;
    }
    assert_eq!(since(&stand, before), [""; 0]);
    assert_eq!((state(&stand).await["wanted"].clone(), stand.shelf.shows("L-A-1")), (json!(48), 47));
    shows(&stand, 48).await;
    assert_eq!(since(&stand, before), ["GET /listing", "POST /stock"]);
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_cannot_be_read_somebody_is_told_and_only_less_goes_out() {
    let stand = stand().await;
    stand.clock.advance(Duration::from_secs(10));
    stand.shelf.state().broken = Some((503, "not now".into()));
    let before = stand.shelf.state().calls.len();
    one_is_missed(&stand, 50).await;
    stand
        .hub
        .until("somebody is told", async || {
            stand.clock.advance(Duration::from_millis(100));
            stand.alerts("listing-gap").await.len() == 1
        })
        .await;
    assert_eq!(stand.shelf.count("POST /stock"), 1, "nothing since the first");
    // It can be read again.
    stand.shelf.state().broken = None;
    shows(&stand, 49).await;
    stand.told().await;
    assert!(stand.alerts("listing-gap").await.is_empty());
    assert!(since(&stand, before).iter().filter(|call| *call == "GET /listing").count() <= 3, "{:?}", since(&stand, before));
    // A gap again, and then less: that needs no reading first, and ends it.
    stand.shelf.state().broken = Some((503, "not now".into()));
    stand.clock.advance(Duration::from_secs(10));
    one_is_missed(&stand, 49).await;
    let correction = json!({"delta": -20, "reason": "damaged"});
    stand.hub.store_sells("A-1", 20).await;
    shows(&stand, 28).await;
    // What a person says there is, is told as it is.
    one_is_missed(&stand, 28).await;
    assert_eq!(stand.hub.admin("PATCH", "/v1/products/A-1/inventory", Some(correction)).await.status, 200);
    shows(&stand, 7).await;
    stand.hub.stop().await;
}
