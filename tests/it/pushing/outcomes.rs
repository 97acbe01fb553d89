//! How each kind of answer ends for its listing.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::marketplaces::{Refs, Traits};
use stockhub::simulator::http_server::Reply;

use super::{SECOND, rig};
use crate::support::scripted::{Reads, Scripted, Slow, readable};

fn accepting() -> Scripted {
    let traits = Traits { verify_after: Duration::from_millis(150), abilities: readable(50), batch_max: 50, ..Traits::plain() };
    Scripted { reads: Reads::Accepted, traits, ..Scripted::plain() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_only_accepted_is_acknowledged_once_it_was_read_back() {
    let (hub, shop) = rig(accepting(), "").await;
    hub.sell_at_shop("A", 5, None, json!({})).await;
    hub.until("it was told", async || !shop.pushes().is_empty()).await;
    let early = hub.listing("A", "shop").await;
    assert!(early["state"] == "unknown" || early["state"] == "in_flight" || !shop.reads().is_empty(), "{early}");
    hub.is_synced("A").await;
    let seen: Vec<String> = shop.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(seen, ["POST /stocks", "GET /stocks?skus=A"]);
    let listing = hub.listing("A", "shop").await;
    assert_eq!((&listing["expected"], &listing["acknowledged"]), (&5.into(), &5.into()), "{listing}");
    assert_eq!(hub.metric("api_calls_total{marketplace=\"shop\",purpose=\"verify\"}").await, 1.0);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_2xx_that_did_nothing_is_told_again_until_it_shows_and_somebody_hears_of_it() {
    let (hub, shop) = rig(accepting(), "").await;
    hub.sell_at_shop("A", 5, None, json!({})).await;
    hub.is_synced("A").await;
    // Wildberries answers 204 to a misspelt field, too.
    shop.script(|seen, _| seen.is_push().then(|| Reply::status(204).into()));
    hub.store_sells("A", 2).await;
    hub.until("it was told three times in vain", async || shop.pushes().len() >= 4).await;
    hub.until("somebody hears of it", async || hub.alerts().await.contains(&"listing-unverified".to_owned())).await;
    let listing = hub.listing("A", "shop").await;
    assert_ne!(listing["state"], "synced", "{listing}");
    shop.honest();
    hub.is_synced("A").await;
    assert_eq!(shop.shows("A"), Some(3));
    hub.until("the alert is over", async || !hub.alerts().await.contains(&"listing-unverified".to_owned())).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_compares_before_setting_is_told_what_we_believe_and_believed_what_it_says() {
    let traits = Traits { batch_max: 10, ..Traits::plain() };
    let (hub, shop) = rig(Scripted { reads: Reads::Each, traits, ..Scripted::plain() }, "").await;
    hub.sell_at_shop("A", 5, None, json!({})).await;
    hub.is_synced("A").await;
    // It shows 9: somebody raised it there by hand.
    shop.script(|seen, _| {
        let row = &seen.body["stocks"][0];
        let stale = seen.is_push() && row["expected"] != 9;
        stale.then(|| Reply::json(200, &json!({"results": [{"sku": "A", "code": "stale", "shown": 9}]})).into())
    });
    hub.store_sells("A", 2).await;
    hub.is_synced("A").await;
    assert_eq!(shop.shows("A"), Some(3));
    let believed: Vec<Value> = shop.pushes().iter().map(|push| push.body["stocks"][0]["expected"].clone()).collect();
    assert_eq!(believed, [Value::Null, 5.into(), 9.into()]);
    let keys: Vec<Value> = shop.pushes().iter().map(|push| push.body["stocks"][0]["key"].clone()).collect();
    assert!(keys[1] != keys[2], "another request, another key: {keys:?}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_item_is_found_and_the_rest_of_its_batch_is_told() {
    let traits = Traits { batch_max: 100, ..Traits::plain() };
    let (hub, shop) = rig(Scripted { traits, ..Scripted::plain() }, "join_ms = 400\n").await;
    let bad = |seen: &crate::support::scripted::Seen| seen.stocks().iter().any(|(sku, _)| sku == "S-13");
    shop.script(move |seen, _| (seen.is_push() && bad(seen)).then(|| Reply::status(422).into()));
    for n in 0..40 {
        hub.unlisted(&format!("S-{n}"), 0).await;
    }
    for n in 0..40 {
        hub.sell_at_shop(&format!("S-{n}"), 0, None, json!({})).await;
    }
    hub.settled_but(1).await;
    // The one that is left must have been refused, not still be on its way.
    hub.is_blocked("S-13").await;
    // All forty change at once.
    let before = shop.pushes().len();
    let counts: Vec<Value> = (0..40).map(|n| json!({"sku": format!("S-{n}"), "count": 7})).collect();
    let answer = hub.admin("POST", "/v1/admin/counts", Some(json!({ "counts": counts }))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    hub.settled_but(1).await;
    hub.is_blocked("S-13").await;
    let since = shop.pushes().split_off(before);
    for n in (0..40).filter(|n| *n != 13) {
        assert_eq!(shop.shows(&format!("S-{n}")), Some(7));
    }
    assert!(hub.alerts().await.contains(&"listing-refused".to_owned()));
    // It was refused before: tried alone from the first, so the others went in one.
    let with_bad: Vec<usize> = since.iter().filter(|push| bad(push)).map(|push| push.stocks().len()).collect();
    assert_eq!(with_bad, [1]);
    assert!(since.len() <= 3, "{} requests", since.len());
    shop.honest();
    hub.store_sells("S-13", 1).await;
    hub.is_synced("S-13").await;
    assert_eq!(shop.shows("S-13"), Some(6));
    hub.until("the alert is over", async || hub.alerts().await.iter().all(|kind| kind != "listing-refused")).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_item_nobody_knew_of_is_found_with_a_bounded_number_of_requests() {
    let traits = Traits { batch_max: 100, ..Traits::plain() };
    let (hub, shop) = rig(Scripted { traits, ..Scripted::plain() }, "").await;
    for n in 0..40 {
        hub.sell_at_shop(&format!("S-{n}"), 9, None, json!({})).await;
    }
    hub.settled(30 * SECOND).await;
    shop.script(|seen, _| {
        let bad = seen.stocks().iter().any(|(sku, _)| sku == "S-13");
        (seen.is_push() && bad).then(|| Reply::status(422).into())
    });
    let before = shop.pushes().len();
    let counts: Vec<Value> = (0..40).map(|n| json!({"sku": format!("S-{n}"), "count": 7})).collect();
    assert_eq!(hub.admin("POST", "/v1/admin/counts", Some(json!({ "counts": counts }))).await.status, 200);
    hub.settled_but(1).await;
    hub.is_blocked("S-13").await;
    for n in (0..40).filter(|n| *n != 13) {
        assert_eq!(shop.shows(&format!("S-{n}")), Some(7));
    }
    let requests = shop.pushes().len() - before;
    println!("one bad of forty found with {requests} requests");
    assert!(requests <= 1 + 2 * 6, "{requests}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_without_its_names_is_refused_and_says_which() {
    let refs = Refs { required: &["offer_id", "warehouse_id"], optional: &[] };
    let (hub, shop) = rig(Scripted { refs, ..Scripted::plain() }, "").await;
    hub.unlisted("A", 5).await;
    let nameless = json!({"marketplace": "shop", "sku": "A", "marketplace_product_id": "A", "refs": {"offer_id": "A-1"}});
    let answer = hub.admin("POST", "/v1/admin/listings", Some(nameless)).await;
    assert_eq!((answer.status, answer.fields()), (422, vec!["/refs/warehouse_id".to_owned()]), "{}", answer.text());
    hub.sell_at_shop("B", 5, None, json!({"offer_id": "B-1", "warehouse_id": 7})).await;
    hub.is_synced("B").await;
    assert!(shop.pushes().iter().all(|push| push.stocks() == [("B".to_owned(), 5)]));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_share_no_request_and_one_key_is_told_once_in_it() {
    let traits = Traits { batch_max: 100, ..Traits::plain() };
    let (hub, shop) = rig(Scripted { traits, ..Scripted::plain() }, "").await;
    for n in 0..12 {
        let external = format!("{}:S-{n}", ["north", "south"][n % 2]);
        hub.sell_at_shop(&format!("S-{n}"), 9, Some(&external), json!({})).await;
    }
    hub.settled(30 * SECOND).await;
    let before = shop.pushes().len();
    let counts: Vec<Value> = (0..12).map(|n| json!({"sku": format!("S-{n}"), "count": 7})).collect();
    assert_eq!(hub.admin("POST", "/v1/admin/counts", Some(json!({ "counts": counts }))).await.status, 200);
    hub.settled(30 * SECOND).await;
    let since = shop.pushes().split_off(before);
    assert_eq!(since.len(), 2, "one for each group");
    let calls = &hub.get("/v1/admin/analytics").await["api_calls"];
    assert_eq!(calls["made"], before + 2, "requests are counted, not what is in them: {calls}");
    for push in since {
        let odd = |(sku, _): &(String, i64)| sku[2..].parse::<usize>().unwrap() % 2;
        assert!(push.stocks().windows(2).all(|pair| odd(&pair[0]) == odd(&pair[1])), "{push:?}");
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zeros_and_decreases_go_before_increases() {
    let traits = Traits { batch_max: 2, ..Traits::plain() };
    let (hub, shop) = rig(Scripted { traits, ..Scripted::plain() }, "concurrency = 1\n").await;
    for n in 0..6 {
        hub.sell_at_shop(&format!("S-{n}"), 9, None, json!({})).await;
    }
    // Others, so that two emptied ones are no mass change.
    for n in 0..8 {
        hub.unlisted(&format!("X-{n}"), 9).await;
    }
    hub.settled(30 * SECOND).await;
    // The first request takes long: the rest comes together behind it.
    let mut slow = true;
    shop.script(move |seen, stocks| {
        let was_slow = std::mem::take(&mut slow);
        stocks.extend(seen.stocks());
        let results: Vec<Value> = seen.stocks().iter().map(|(sku, _)| json!({ "sku": sku })).collect();
        Some(Slow(Duration::from_millis(if was_slow { 300 } else { 0 }), Reply::json(200, &json!({ "results": results }))))
    });
    let before = shop.pushes().len();
    hub.store_sells("S-5", 1).await;
    let counts = [(0, 20), (1, 20), (2, 5), (3, 0), (4, 0)];
    let counts: Vec<Value> = counts.iter().map(|(n, count)| json!({"sku": format!("S-{n}"), "count": count})).collect();
    assert_eq!(hub.admin("POST", "/v1/admin/counts", Some(json!({ "counts": counts }))).await.status, 200);
    hub.settled(30 * SECOND).await;
    let order: Vec<i64> = shop.pushes().split_off(before).iter().flat_map(|push| push.stocks()).map(|(_, stock)| stock).collect();
    assert_eq!(order, [8, 0, 0, 5, 20, 20]);
    hub.stop().await;
}
