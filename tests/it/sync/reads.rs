//! What a marketplace shows, read in bulk, for the first time, and of single listings.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::marketplaces::{Abilities, StockFeed};

use super::adapter::everything;
use super::stand::{Set, Stand};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_listings_are_twenty_calls() {
    let stand = Stand::new(Set::default()).await;
    for n in 0..999 {
        stand.shelf.put(&format!("M-{n:04}"), &format!("SKU-{n:04}"), n);
    }
    let run = stand.synced(json!({"dry_run": true})).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    assert_eq!((&run["api_calls"], &run["counts"]["pages"]), (&json!(20), &json!(20)), "{run}");
    assert_eq!((&run["counts"]["matched"], &run["counts"]["products_created"]), (&json!(1), &json!(999)));
    assert_eq!(stand.shelf.count("GET /listings"), 20);
    // A dry run makes nothing.
    assert_eq!(stand.hub.admin("GET", "/v1/admin/products/SKU-0001", None).await.status, 404);
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_reading_fills_an_empty_catalogue_and_tells_nothing_back() {
    let stand = Stand::new(Set { products: vec![("A-1", 50), ("B-2", 0)], ..Set::default() }).await;
    stand.shelf.put("L-NEW", "NEW-1", 12);
    // Known here, with stock of its own, and not listed there yet as far as we know.
    assert!(stand.hub.unlisted("C-3", 7).await);
    stand.shelf.put("L-C-3", "C-3", 9);
    stand.shelf.state().listings.get_mut("L-B-2").unwrap().quantity = Some(4);
    let pushes = stand.shelf.count("POST /stock");
    let run = stand.synced(json!({})).await;
    let counts = &run["counts"];
    assert_eq!(
        (&counts["listings_created"], &counts["products_created"], &counts["opened"]),
        (&json!(2), &json!(1), &json!(2)),
        "{run}"
    );
    assert_eq!(stand.on_hand("NEW-1").await, 12);
    assert_eq!(stand.on_hand("C-3").await, 7, "stock that has a ledger is not overwritten by a marketplace's number");
    let new = stand.hub.listing("NEW-1", "shelf").await;
    assert_eq!((&new["expected"], &new["wanted"], &new["refs"]["listing_id"]), (&json!(12), &json!(12), &json!("L-NEW")));
    let opening = &stand.hub.get("/v1/admin/movements?sku=NEW-1").await["items"][0];
    assert_eq!((&opening["movement_type"], &opening["reference_id"]), (&json!("opening"), &run["id"]));
    stand.told().await;
    let told: Vec<String> = stand.shelf.state().calls.iter().filter(|call| call.starts_with("POST")).cloned().collect();
    assert!(told.len() <= pushes + 2, "only what differs is told: {told:?}");
    assert_eq!((stand.shelf.shows("L-NEW"), stand.shelf.shows("L-C-3"), stand.on_hand("B-2").await), (12, 7, 4));
    // The next reading of the same day waits, unless it must not.
    let again = stand.hub.admin("POST", "/v1/admin/sync", Some(json!({"marketplace": "shelf"}))).await;
    assert_eq!((again.status, again.problem().as_str()), (429, "cooling-down"));
    assert!(again.header("retry-after").unwrap().parse::<u64>().unwrap() > 60);
    let forced = stand.synced(json!({"force": true})).await;
    assert_eq!((&forced["counts"]["listings_created"], &forced["counts"]["matched"]), (&Value::Null, &json!(4)), "{forced}");
    stand.hub.stop().await;
}

/// What a push must say again, because it is written with the number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_listing_must_say_again_is_taken_over_as_it_was_last_read() {
    let stand = Stand::new(Set::default()).await;
    stand.shelf.put("L-NEW", "NEW-1", 12);
    let way = |id: &str, way| stand.shelf.state().listings.get_mut(id).unwrap().way = Some(way);
    way("L-NEW", "own");
    way("L-A-1", "own");
    stand.synced(json!({})).await;
    let refs = async |sku: &str| stand.hub.listing(sku, "shelf").await["refs"].clone();
    assert_eq!(refs("NEW-1").await, json!({"listing_id": "L-NEW", "way": "own"}), "the first reading makes it so");
    assert_eq!(refs("A-1").await, json!({"way": "own"}), "and one that was there already has it too");
    stand.told().await;
    // Somebody changes it there. One of the same way, which nobody knows, is not taken for it.
    way("L-A-1", "theirs");
    stand.shelf.put("L-STRANGE", "STRANGE-1", 3);
    way("L-STRANGE", "own");
    let run = stand.synced(json!({"force": true})).await;
    assert_eq!((&run["counts"]["matched"], &run["counts"]["unmapped"]), (&json!(2), &json!(1)), "{run}");
    assert_eq!(refs("A-1").await, json!({"way": "theirs"}));
    assert_eq!(refs("NEW-1").await, json!({"listing_id": "L-NEW", "way": "own"}));
    stand.told().await;
    assert_eq!((stand.shelf.shows("L-NEW"), stand.shelf.shows("L-A-1")), (12, 50));
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_absent_or_has_no_number_is_unknown_and_never_zero() {
    let stand = Stand::new(Set { products: vec![("A-1", 50), ("B-2", 20), ("C-3", 10)], ..Set::default() }).await;
    stand.synced(json!({"force": true})).await;
    stand.shelf.state().listings.get_mut("L-B-2").unwrap().hidden = true;
    stand.shelf.state().listings.get_mut("L-C-3").unwrap().quantity = None;
    stand.shelf.set("L-A-1", 48);
    let run = stand.synced(json!({"force": true})).await;
    let counts = &run["counts"];
    assert_eq!((&counts["matched"], &counts["absent"], &counts["without_number"]), (&json!(1), &json!(2), &json!(1)), "{run}");
    let seen = stand.hub.listing("A-1", "shelf").await;
    // Seen and written down; what moves stock is another feed.
    assert_eq!((&seen["observed"], &seen["expected"], &seen["wanted"]), (&json!(48), &json!(50), &json!(50)));
    for sku in ["B-2", "C-3"] {
        assert!(stand.hub.listing(sku, "shelf").await["observed"].as_i64().unwrap() > 0);
    }
    assert_eq!(stand.on_hand("A-1").await + stand.on_hand("B-2").await + stand.on_hand("C-3").await, 80);
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sync_now_asks_for_one_listing() {
    let stand = Stand::new(Set { products: vec![("A-1", 50), ("B-2", 20)], ..Set::default() }).await;
    stand.shelf.set("L-A-1", 49);
    let id = stand.hub.listing("A-1", "shelf").await["id"].as_str().unwrap().to_owned();
    let pages = stand.shelf.count("GET /listings");
    let answer = stand.hub.admin("POST", &format!("/v1/admin/listings/{id}/refresh"), None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = answer.json();
    assert_eq!(
        (&shown["listing"], &shown["remote"], &shown["expected"], &shown["wanted"]),
        (&json!(id), &json!(49), &json!(50), &json!(50))
    );
    assert!(shown["checked_at"].is_string());
    assert_eq!((stand.shelf.count("GET /listing?"), stand.shelf.count("GET /listings")), (1, pages), "no page is read for it");
    let some = stand.synced(json!({"skus": ["A-1", "B-2"]})).await;
    assert_eq!((&some["kind"], some["result"].as_array().unwrap().len()), (&json!("refresh"), 2));
    stand.shelf.state().listings.get_mut("L-A-1").unwrap().hidden = true;
    let answer = stand.hub.admin("POST", &format!("/v1/admin/listings/{id}/refresh"), None).await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "not-told"));
    let nobody = stand.hub.admin("POST", "/v1/admin/listings/00000000-0000-7000-8000-000000000000/refresh", None).await;
    assert_eq!(nobody.status, 404);
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_that_was_cut_goes_on_where_it_was() {
    let stand = Stand::new(Set::default()).await;
    for n in 0..300 {
        stand.shelf.put(&format!("M-{n:04}"), "", n);
    }
    stand.shelf.state().hook = Some(Box::new(|path, state| {
        if path.contains("listings?offset=150") {
            state.broken = Some((503, "not now".into()));
        }
    }));
    let answer = stand.hub.admin("POST", "/v1/admin/sync", Some(json!({"marketplace": "shelf"}))).await;
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    stand.hub.until("the fourth page was asked for", async || stand.shelf.state().broken.is_some()).await;
    let Stand { hub, shelf, clock } = stand;
    let database = hub.stop().await;
    {
        let mut state = shelf.state();
        (state.broken, state.hook) = (None, None);
        state.calls.clear();
    }
    let stand = Stand::on(database, shelf, clock, Set::default()).await;
    let run = stand.ended(&id).await;
    assert_eq!(run["status"], "partial", "{run}");
    let pages = stand.shelf.state().calls.iter().filter(|call| call.starts_with("GET /listings")).cloned().collect::<Vec<_>>();
    assert_eq!(pages.len(), 4, "the rest, not all of it: {pages:?}");
    assert_eq!((&run["counts"]["unmapped"], &run["counts"]["matched"]), (&json!(300), &json!(1)), "{run}");
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marketplace_that_only_tells_its_numbers_is_read_by_itself() {
    let abilities = Abilities { orders: None, order: false, ..everything() };
    let stand = Stand::new(Set { abilities, feed: StockFeed::Absolute, ..Set::default() }).await;
    stand.clock.advance(Duration::from_secs(60));
    stand.shelf.set("L-A-1", 46);
    stand.clock.advance(Duration::from_secs(2 * 3_600));
    stand.hub.until("the missing pieces are a sale", async || stand.on_hand("A-1").await == 46).await;
    let log = stand.hub.get("/v1/admin/webhooks").await;
    assert_eq!((&log["items"][0]["source"], &log["items"][0]["event_type"]), (&json!("poll"), &json!("stock.observed")));
    // Nothing new: nothing is logged.
    let reads = stand.shelf.count("GET /listings");
    stand.clock.advance(Duration::from_secs(2 * 3_600));
    stand.hub.until("it was read again", async || stand.shelf.count("GET /listings") > reads).await;
    assert_eq!(stand.hub.get("/v1/admin/webhooks").await["items"].as_array().unwrap().len(), 1);
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_refused_with_its_reason() {
    let stand = Stand::new(Set { abilities: Abilities::default(), ..Set::default() }).await;
    for (body, field) in [
        (json!({"marketplace": "shelf"}), "/marketplace"),
        (json!({"marketplace": "nowhere"}), "/marketplace"),
        (json!({"marketplace": "shelf", "skus": []}), "/skus"),
        (json!({"marketplace": "shelf", "skus": [" x"]}), "/skus/0"),
        (json!({"marketplace": "shelf", "hurry": true}), "/hurry"),
    ] {
        let answer = stand.hub.admin("POST", "/v1/admin/sync", Some(body)).await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert_eq!(answer.fields(), [field], "{}", answer.text());
    }
    let answer = stand.hub.admin("POST", "/v1/admin/reconciliations", Some(json!({"marketplace": "shelf"}))).await;
    assert_eq!(answer.fields(), ["/marketplace"]);
    assert_eq!(stand.hub.get("/v1/admin/sync-logs").await["items"].as_array().unwrap().len(), 0);
    stand.hub.stop().await;
}
