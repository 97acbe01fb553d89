//! Holds: set aside once, ended once, however often and late anybody asks.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use stockhub::clock::Clock;
use stockhub::domain::time::Timestamp;
use stockhub::pipeline::holds;
use stockhub::workers::More;

use super::{sound, stock, store};
use crate::support::hub::{Hub, Plan};

/// Time stands still until it is moved, and nobody sweeps by himself.
fn still(products: Vec<(&'static str, i64)>) -> Plan {
    Plan {
        shops: Vec::new(),
        sections: "[inventory]\nsweep_ms = 3600000\nreservation_ttl_s = 60\nreservation_ttl_max_s = 600\n".into(),
        products,
        clock: Clock::manual(Timestamp::from_seconds(1_770_000_000)),
        ..Plan::default()
    }
}

async fn hold(hub: &Hub, body: Value) -> Value {
    let answer = store(hub, "POST", "/v1/store/reservations", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

fn path(hold: &Value, action: &str) -> String {
    format!("/v1/store/reservations/{}{action}", hold["id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_forty_who_want_one_of_five_exactly_five_hold_it() {
    let hub = Hub::with(Plan { shops: Vec::new(), products: vec![("A", 5)], ..Plan::default() }).await;
    let asks = (0..40).map(|n| {
        let body = json!({"external_id": format!("cart-{n}"), "items": [{"sku": "A", "quantity": 1}]});
        store(&hub, "POST", "/v1/store/reservations", Some(body))
    });
    let answers = join_all(asks).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 5);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!((refused.status, refused.problem().as_str()), (409, "insufficient-stock"));
        assert_eq!(refused.json()["lines"][0]["available"], 0);
    }
    assert_eq!(stock(&hub, "A").await, [5, 0, 5, 0, 0]);
    sound(&hub).await;
    // All five consume; the goods leave once.
    let held = answers.iter().filter(|answer| answer.status == 201);
    let paths: Vec<String> = held.map(|answer| path(&answer.json(), "/consume")).collect();
    for answer in join_all(paths.iter().map(|path| store(&hub, "POST", path, None))).await {
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    assert_eq!(stock(&hub, "A").await, [0, 0, 0, 0, 0]);
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_is_all_or_nothing_and_idempotent_by_its_name() {
    let hub = Hub::with(still(vec![("A", 5), ("B", 1)])).await;
    let both = json!({"external_id": "c1", "items": [{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 2}]});
    let refused = store(&hub, "POST", "/v1/store/reservations", Some(both)).await;
    assert_eq!((refused.status, refused.problem().as_str()), (409, "insufficient-stock"));
    assert_eq!(refused.json()["lines"], json!([{"index": 1, "sku": "B", "requested": 2, "available": 1}]));
    assert_eq!(stock(&hub, "A").await, [5, 0, 0, 0, 5], "nothing was changed");

    // A refused hold is not remembered; an accepted one is.
    let body = json!({"external_id": "c1", "items": [{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 1}]});
    let first = hold(&hub, body.clone()).await;
    assert_eq!((&first["state"], &first["expires_at"]), (&json!("held"), &json!("2026-02-02T02:41:00.000000Z")));
    let again = store(&hub, "POST", "/v1/store/reservations", Some(body)).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &first["id"]));
    let other = json!({"external_id": "c1", "items": [{"sku": "A", "quantity": 3}]});
    let differs = store(&hub, "POST", "/v1/store/reservations", Some(other)).await;
    assert_eq!((differs.status, differs.problem().as_str()), (409, "reservation-differs"));
    assert_eq!(stock(&hub, "A").await, [5, 0, 2, 0, 3]);
    let shown = hub.http.send("GET", "/v1/stock/A", &[], None).await.json();
    assert_eq!(shown["stock"], 3, "shoppers see what is free: {shown}");

    for ttl in [0, -1, 601] {
        let body = json!({"items": [{"sku": "A", "quantity": 1}], "ttl_seconds": ttl});
        let answer = store(&hub, "POST", "/v1/store/reservations", Some(body)).await;
        assert_eq!((answer.status, &answer.json()["errors"][0]["field"]), (422, &json!("/ttl_seconds")));
    }
    let unknown = json!({"items": [{"sku": "NONE", "quantity": 1}]});
    assert_eq!(store(&hub, "POST", "/v1/store/reservations", Some(unknown)).await.status, 422);
    assert_eq!(hub.http.send("GET", &path(&first, ""), &[], None).await.status, 401);
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumed_in_part_it_stays_held_for_the_rest() {
    let hub = Hub::with(still(vec![("A", 5), ("B", 5)])).await;
    let held = hold(&hub, json!({"items": [{"sku": "A", "quantity": 3}, {"sku": "B", "quantity": 1}]})).await;
    let too_many = json!({"items": [{"sku": "A", "quantity": 4}]});
    let answer = store(&hub, "POST", &path(&held, "/consume"), Some(too_many)).await;
    assert_eq!((answer.status, &answer.json()["errors"][0]["field"]), (422, &json!("/items/0/quantity")));

    let part = json!({"external_id": "o1", "items": [{"sku": "A", "quantity": 2}]});
    let order = store(&hub, "POST", &path(&held, "/consume"), Some(part.clone())).await;
    assert_eq!(order.status, 201, "{}", order.text());
    assert_eq!(stock(&hub, "A").await, [3, 0, 1, 0, 2]);
    let again = store(&hub, "POST", &path(&held, "/consume"), Some(part)).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &order.json()["id"]), "the same order, not two");
    assert_eq!(stock(&hub, "A").await, [3, 0, 1, 0, 2]);
    let now = store(&hub, "GET", &path(&held, ""), None).await.json();
    assert_eq!(now["state"], "held");
    assert_eq!(now["items"][0], json!({"sku": "A", "quantity": 3, "consumed": 2}));

    let rest = store(&hub, "POST", &path(&held, "/consume"), Some(json!({"external_id": "o2"}))).await;
    assert_eq!(rest.status, 201, "{}", rest.text());
    assert_eq!(store(&hub, "POST", &path(&held, "/consume"), Some(json!({"external_id": "o2"}))).await.status, 200);
    assert_eq!((stock(&hub, "A").await, stock(&hub, "B").await), ([2, 0, 0, 0, 2], [4, 0, 0, 0, 4]));
    assert_eq!(store(&hub, "GET", &path(&held, ""), None).await.json()["state"], "consumed");
    // It has ended, once and for ever.
    for (method, action) in [("POST", "/consume"), ("POST", "/extend"), ("DELETE", "")] {
        let answer = store(&hub, method, &path(&held, action), None).await;
        assert_eq!((answer.status, answer.problem().as_str()), (409, "reservation-ended"), "{method} {action}");
        assert_eq!(answer.json()["state"], "consumed");
    }
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_takes_from_its_hold_first_and_the_rest_from_what_is_free() {
    let hub = Hub::with(still(vec![("A", 5)])).await;
    let held = hold(&hub, json!({"items": [{"sku": "A", "quantity": 3}]})).await;
    hold(&hub, json!({"items": [{"sku": "A", "quantity": 1}]})).await;
    let buy = |quantity: i64| json!({"items": [{"sku": "A", "quantity": quantity}], "reservation_id": held["id"]});
    let refused = store(&hub, "POST", "/v1/store/orders", Some(buy(5))).await;
    assert_eq!((refused.status, &refused.json()["lines"][0]["available"]), (409, &json!(4)), "one is another's");
    assert_eq!(stock(&hub, "A").await, [5, 0, 4, 0, 1], "nothing was changed");
    let bought = store(&hub, "POST", "/v1/store/orders", Some(buy(4))).await;
    assert_eq!(bought.status, 201, "{}", bought.text());
    assert_eq!(stock(&hub, "A").await, [1, 0, 1, 0, 0]);
    assert_eq!(store(&hub, "GET", &path(&held, ""), None).await.json()["state"], "consumed");
    let free = json!({"items": [{"sku": "A", "quantity": 1}]});
    assert_eq!(store(&hub, "POST", "/v1/store/orders", Some(free)).await.status, 409);
    let nobody = json!({"items": [{"sku": "A", "quantity": 1}], "reservation_id": uuid::Uuid::nil()});
    assert_eq!(store(&hub, "POST", "/v1/store/orders", Some(nobody)).await.status, 404);
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_ends_a_hold_before_anybody_sweeps_it_up() {
    let hub = Hub::with(still(vec![("A", 5)])).await;
    let clock = &hub.context.kit.clock;
    let held = hold(&hub, json!({"items": [{"sku": "A", "quantity": 2}]})).await;
    let kept = hold(&hub, json!({"items": [{"sku": "A", "quantity": 1}], "ttl_seconds": 600})).await;
    clock.advance(Duration::from_secs(59));
    let extended = store(&hub, "POST", &path(&held, "/extend"), Some(json!({"ttl_seconds": 30}))).await.json();
    assert_eq!(extended["expires_at"], "2026-02-02T02:41:29.000000Z");
    clock.advance(Duration::from_secs(30));

    // Over, though nobody has swept: shown so, and dead.
    let shown = store(&hub, "GET", &path(&held, ""), None).await.json();
    assert_eq!((&shown["state"], &shown["ended_at"]), (&json!("expired"), &extended["expires_at"]));
    for (method, action) in [("POST", "/consume"), ("POST", "/extend"), ("DELETE", "")] {
        let answer = store(&hub, method, &path(&held, action), None).await;
        assert_eq!((answer.status, &answer.json()["state"]), (409, &json!("expired")), "{method} {action}");
    }
    assert_eq!(stock(&hub, "A").await, [5, 0, 3, 0, 2]);
    assert_eq!(holds::sweep(&hub.context.writer).await, More::Later);
    assert_eq!(stock(&hub, "A").await, [5, 0, 1, 0, 4], "the other one still holds");
    assert_eq!(holds::sweep(&hub.context.writer).await, More::Later);
    assert_eq!(stock(&hub, "A").await, [5, 0, 1, 0, 4], "once");

    // No life is longer than the longest.
    let longest = store(&hub, "POST", &path(&kept, "/extend"), Some(json!({"ttl_seconds": 600}))).await.json();
    assert_eq!(longest["expires_at"], kept["expires_at"]);
    assert_eq!(store(&hub, "DELETE", &path(&kept, ""), None).await.json()["state"], "released");
    assert_eq!(store(&hub, "DELETE", &path(&kept, ""), None).await.status, 200, "asking again changes nothing");
    assert_eq!(stock(&hub, "A").await, [5, 0, 0, 0, 5]);
    let movements = hub.get("/v1/admin/movements?sku=A").await;
    let types: Vec<&str> = movements["items"].as_array().unwrap().iter().map(|m| m["movement_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["released", "released", "reserved", "reserved", "opening"]);
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_sweeps_by_itself() {
    let sections = "[inventory]\nsweep_ms = 20\n".into();
    let hub = Hub::with(Plan { shops: Vec::new(), sections, products: vec![("A", 5)], ..Plan::default() }).await;
    hold(&hub, json!({"items": [{"sku": "A", "quantity": 2}], "ttl_seconds": 1})).await;
    super::becomes("the stock", [5, 0, 0, 0, 5], async || stock(&hub, "A").await).await;
    sound(&hub).await;
    hub.stop().await;
}
