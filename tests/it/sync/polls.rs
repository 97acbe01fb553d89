//! Orders that are asked for instead of sent.

use std::time::Duration;

use serde_json::json;
use stockhub::marketplaces::limit::LimitHeaders;
use stockhub::marketplaces::{Abilities, Limit};

use super::adapter::{everything, with_statuses};
use super::shelf::order_json;
use super::stand::{Set, Stand};

const TURN: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_poll_is_history_and_the_next_ones_are_sales() {
    let stand = Stand::new(Set::default()).await;
    stand.drained().await;
    // Before the hub ever looked, the marketplace had sold: that is in the count already.
    assert_eq!(stand.on_hand("A-1").await, 50);
    stand.shelf.sells("O-1", "L-A-1", 3, stand.now());
    stand.polled_after(TURN).await;
    assert_eq!(stand.on_hand("A-1").await, 47);
    let movement = &stand.hub.get("/v1/admin/movements?sku=A-1").await["items"][0];
    assert_eq!((&movement["movement_type"], &movement["reference_id"]), (&json!("marketplace_sale"), &json!("O-1")));
    // It lowered its own number by itself: it is not told back.
    let listing = stand.hub.listing("A-1", "shelf").await;
    assert_eq!((&listing["expected"], &listing["wanted"], &listing["state"]), (&json!(47), &json!(47), &json!("synced")));
    // The same order on the next overlapping page is no second sale; its cancel gives back what it took.
    stand.polled_after(TURN).await;
    assert_eq!(stand.on_hand("A-1").await, 47);
    stand.shelf.cancels("O-1", stand.now());
    stand.polled_after(TURN).await;
    assert_eq!(stand.on_hand("A-1").await, 50);
    stand.hub.stop().await;
}

/// Three hundred a minute, twenty of them at once: a budget that is nearly whole after a poll.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_with_a_small_burst_does_not_make_polls_rarer() {
    let limit = Limit {
        name: "all",
        requests: Some(300),
        per: Duration::from_secs(60),
        burst: 20,
        concurrency: None,
        min_interval: Duration::ZERO,
        throttle_status: vec![429],
        costs: Vec::new(),
        penalty: Duration::from_secs(5),
        reads: LimitHeaders::default(),
    };
    let stand = Stand::new(Set { limits: vec![limit], ..Set::default() }).await;
    stand.drained().await;
    let (before, start) = (stand.shelf.count("GET /orders"), stand.now());
    // Every thirty seconds, a tenth more or less.
    for n in 0..4 {
        stand.asked_since("GET /orders", before + n).await;
    }
    let took = (stand.now() - start) / 1_000_000;
    assert!((60..150).contains(&took), "four polls took {took} s");
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_ordered_before_the_first_look_moves_nothing_until_it_changes() {
    let stand = Stand::new(Set { abilities: Abilities { orders: None, ..everything() }, ..Set::default() }).await;
    let hour = stand.now() - 3_600_000_000;
    stand.shelf.sells("OLD-1", "L-A-1", 5, hour);
    stand.shelf.set("L-A-1", 50);
    stand.shelf.state().orders.push(super::shelf::Order {
        id: "OLD-2".into(),
        at: hour,
        status: "new",
        lines: vec![("UNKNOWN".into(), 2)],
    });
    let Stand { hub, shelf, clock } = stand;
    let database = hub.stop().await;
    let stand = Stand::on(database, shelf, clock, Set::default()).await;
    stand.drained().await;
    assert_eq!(stand.on_hand("A-1").await, 50, "history is not sold twice");
    let log = stand.hub.get("/v1/admin/webhooks").await;
    let sources: Vec<_> = log["items"].as_array().unwrap().iter().map(|row| row["source"].clone()).collect();
    assert_eq!(sources, ["poll", "poll"]);
    // What is mapped later is history too, although its product was made only now.
    assert!(stand.hub.unlisted("UNKNOWN", 10).await);
    let body = json!({"marketplace": "shelf", "sku": "UNKNOWN", "marketplace_product_id": "L-UNKNOWN"});
    assert_eq!(stand.hub.admin("POST", "/v1/admin/listings", Some(body)).await.status, 201);
    stand
        .hub
        .until("the waiting order is applied", async || {
            stand.hub.get("/v1/admin/webhooks?status=unmapped").await["items"].as_array().unwrap().is_empty()
        })
        .await;
    assert_eq!(stand.on_hand("UNKNOWN").await, 10);
    // A later change posts its difference.
    stand.shelf.cancels("OLD-1", stand.now());
    stand.polled_after(TURN).await;
    assert_eq!(stand.on_hand("A-1").await, 55);
    stand.hub.stop().await;
}

/// A first look that comes late, because nobody was let in before, must not swallow what was sold while the listing was ours to tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_ordered_under_our_eyes_is_sold_also_where_the_first_look_finds_it() {
    let stand = Stand::new(Set { abilities: Abilities { orders: None, ..everything() }, ..Set::default() }).await;
    stand.shelf.sells("OLD-1", "L-A-1", 5, stand.now() - 3_600_000_000);
    stand.shelf.sells("NEW-1", "L-A-1", 4, stand.now());
    // A later count holds what was sold before it.
    assert!(stand.hub.unlisted("A-2", 9).await);
    stand.shelf.put("L-A-2", "A-2", 9);
    let body = json!({"marketplace": "shelf", "sku": "A-2", "marketplace_product_id": "L-A-2"});
    assert_eq!(stand.hub.admin("POST", "/v1/admin/listings", Some(body)).await.status, 201);
    stand.clock.advance(Duration::from_secs(1));
    stand.shelf.sells("COUNTED-1", "L-A-2", 2, stand.now());
    stand.clock.advance(Duration::from_secs(1));
    let counts = json!({"counts": [{"sku": "A-2", "count": 7}]});
    assert_eq!(stand.hub.admin("POST", "/v1/admin/counts", Some(counts)).await.status, 200);
    let Stand { hub, shelf, clock } = stand;
    let database = hub.stop().await;
    let stand = Stand::on(database, shelf, clock, Set::default()).await;
    stand.drained().await;
    assert_eq!(stand.on_hand("A-1").await, 46);
    assert_eq!(stand.on_hand("A-2").await, 7);
    stand.shelf.cancels("NEW-1", stand.now());
    stand.polled_after(TURN).await;
    assert_eq!(stand.on_hand("A-1").await, 50, "what was sold comes back once");
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_webhook_is_found_by_the_poll_and_counted() {
    let stand = Stand::new(Set { webhooks: true, ..Set::default() }).await;
    stand.drained().await;
    // One that came by webhook: the poll that sees it again changes nothing.
    stand.shelf.sells("O-1", "L-A-1", 2, stand.now());
    let order = order_json(&stand.shelf.state().orders[0]);
    stand.webhook(&order).await;
    assert_eq!(stand.on_hand("A-1").await, 48);
    // The next poll may have been planned before any webhook had come; from then on they are a net.
    stand.polled_after(Duration::from_secs(1_000)).await;
    // One whose webhook was lost.
    stand.shelf.sells("O-2", "L-A-1", 4, stand.now());
    let polls = stand.shelf.count("GET /orders");
    stand.clock.advance(TURN);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(stand.shelf.count("GET /orders"), polls, "with webhooks the poll is only a net");
    stand.polled_after(Duration::from_secs(1_000)).await;
    assert_eq!(stand.on_hand("A-1").await, 44);
    assert_eq!(stand.metric("poll_found_missing_total{marketplace=\"shelf\"}").await, 1.0);
    let share = stand.hub.get("/v1/admin/analytics?from=2026-01-01&to=2026-12-31").await["deliveries"]["by_source"].clone();
    assert_eq!(share, json!({"webhook": 1, "poll": 1}));
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_cannot_be_read_is_reported_once_and_the_cursor_stays() {
    let stand = Stand::new(Set::default()).await;
    stand.drained().await;
    stand.shelf.state().broken = Some((200, "half a pa".into()));
    stand.shelf.sells("O-1", "L-A-1", 1, stand.now());
    for _ in 0..3 {
        let before = stand.shelf.count("GET /orders");
        stand.clock.advance(Duration::from_secs(400));
        stand.asked_since("GET /orders", before).await;
    }
    stand
        .hub
        .until("the failures are on one row", async || {
            let runs = stand.hub.get("/v1/admin/sync-logs?kind=poll").await;
            let failed: Vec<_> = runs["items"].as_array().unwrap().iter().filter(|run| run["status"] == "failed").collect();
            failed.len() == 1 && failed[0]["counts"]["failures"].as_i64() >= Some(3)
        })
        .await;
    assert_eq!(stand.alerts("poll-failed").await.len(), 1);
    stand.shelf.state().broken = None;
    stand.polled_after(Duration::from_secs(400)).await;
    assert_eq!(stand.on_hand("A-1").await, 49, "nothing was skipped");
    assert!(stand.alerts("poll-failed").await.is_empty());
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_order_is_kept_and_holds_up_nobody() {
    let stand = Stand::new(Set::default()).await;
    stand.drained().await;
    stand.shelf.state().page = 2;
    stand.shelf.sells("O-1", "L-A-1", 1, stand.now());
    stand.shelf.state().orders.push(super::shelf::Order {
        id: "BAD".into(),
        at: stand.now(),
        status: "new",
        lines: vec![("A-1".into(), -7)],
    });
    stand.shelf.sells("O-2", "L-A-1", 1, stand.now());
    stand.polled_after(TURN).await;
    assert_eq!(stand.on_hand("A-1").await, 48);
    let failed = stand.hub.get("/v1/admin/webhooks?status=failed").await;
    let failed = failed["items"].as_array().unwrap();
    assert_eq!((failed.len(), &failed[0]["error_code"]), (1, &json!("out-of-range")));
    assert_eq!(stand.alerts("order-unreadable").await.len(), 1);
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_that_a_stop_cut_goes_on_at_its_page() {
    let stand = Stand::new(Set::default()).await;
    stand.drained().await;
    for n in 0..10 {
        stand.shelf.sells(&format!("O-{n}"), "L-A-1", 1, stand.now());
    }
    {
        let mut state = stand.shelf.state();
        state.page = 3;
        // The third page never comes: the marketplace is broken from then on.
        state.hook = Some(Box::new(|path, state| {
            if path.contains("offset=6") {
                state.broken = Some((503, "not now".into()));
            }
        }));
    }
    stand.clock.advance(TURN);
    stand
        .hub
        .until("two pages are in, and the third was asked for", async || {
            stand.clock.advance(Duration::from_millis(20));
            stand.shelf.state().broken.is_some() && stand.on_hand("A-1").await == 44
        })
        .await;
    let Stand { hub, shelf, clock } = stand;
    let database = hub.stop().await;
    {
        let mut state = shelf.state();
        (state.broken, state.hook) = (None, None);
        state.calls.clear();
    }
    let stand = Stand::on(database, shelf, clock, Set::default()).await;
    stand.drained().await;
    assert_eq!(stand.on_hand("A-1").await, 40);
    let first = stand.shelf.state().calls.iter().find(|call| call.starts_with("GET /orders")).cloned().unwrap();
    assert!(first.contains("offset=6"), "{first}");
    assert_eq!(stand.hub.get("/v1/admin/movements?sku=A-1").await["items"].as_array().unwrap().len(), 11);
    stand.hub.stop().await;
}

/// They are set up here, and nobody has told the marketplace: its orders must not wait for a net.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_no_webhook_has_come_polls_are_no_net() {
    let stand = Stand::new(Set { webhooks: true, ..Set::default() }).await;
    stand.drained().await;
    for sold in 1..=3 {
        stand.shelf.sells(&format!("O-{sold}"), "L-A-1", 1, stand.now());
        stand.polled_after(TURN).await;
        assert_eq!(stand.on_hand("A-1").await, 50 - sold);
    }
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_is_followed_to_its_order() {
    let stand = Stand::new(Set { webhooks: true, ..Set::default() }).await;
    stand.drained().await;
    stand.shelf.sells("O-7", "L-A-1", 6, stand.now());
    stand.shelf.state().broken = Some((503, "not now".into()));
    stand.webhook(&json!({"hint": "O-7"})).await;
    stand.hub.until("it was tried", async || stand.shelf.count("GET /order?") > 0).await;
    assert_eq!(stand.on_hand("A-1").await, 50);
    stand.shelf.state().broken = None;
    stand
        .hub
        .until("the order is in", async || {
            stand.clock.advance(Duration::from_millis(500));
            stand.on_hand("A-1").await == 44
        })
        .await;
    let log = stand.hub.get("/v1/admin/webhooks").await;
    let rows: Vec<_> =
        log["items"].as_array().unwrap().iter().map(|row| (row["source"].clone(), row["status"].clone())).collect();
    assert_eq!(rows, [(json!("poll"), json!("processed")), (json!("webhook"), json!("processed"))]);
    // The same words again: the order may be another by now, so it is looked at once more.
    stand.shelf.cancels("O-7", stand.now());
    stand.clock.advance(Duration::from_millis(500));
    stand.webhook(&json!({"hint": "O-7"})).await;
    stand
        .hub
        .until("the cancel is in", async || {
            stand.clock.advance(Duration::from_millis(20));
            stand.on_hand("A-1").await == 50
        })
        .await;
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_orders_are_asked_for_their_status() {
    let stand = Stand::new(Set { abilities: with_statuses(), ..Set::default() }).await;
    stand.drained().await;
    for n in 0..5 {
        stand.shelf.sells(&format!("O-{n}"), "L-A-1", 1, stand.now());
    }
    stand.polled_after(TURN).await;
    assert_eq!(stand.on_hand("A-1").await, 45);
    // It is cancelled long after it left the window of the list.
    stand.clock.advance(Duration::from_secs(3_600));
    stand.drained().await;
    let at = stand.now() - 1_800_000_000;
    stand.shelf.cancels("O-3", at);
    let before = stand.shelf.count("GET /statuses");
    stand.clock.advance(Duration::from_secs(120));
    stand
        .hub
        .until("the cancel is in", async || {
            stand.clock.advance(Duration::from_millis(200));
            stand.on_hand("A-1").await == 46
        })
        .await;
    // Five orders, two in a request.
    stand.asked_since("GET /statuses", before + 2).await;
    // What is over is not asked about any more.
    let before = stand.shelf.state().calls.len();
    let asked = stand.shelf.count("GET /statuses");
    stand.clock.advance(Duration::from_secs(120));
    stand.asked_since("GET /statuses", asked + 1).await;
    assert!(!stand.shelf.state().calls[before..].iter().any(|call| call.contains("/statuses") && call.contains("O-3")));
    stand.hub.stop().await;
}
