//! Counting: what was on the shelf when it was counted, with the day's movements on top.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::clock::Clock;

use crate::support::http::Answer;
use crate::support::hub::{ADMIN_TOKEN, Hub, Plan, STORE_KEY};

async fn hub(products: Vec<(&'static str, i64)>) -> Hub {
    Hub::with(Plan { shops: vec![], products, ..Plan::default() }).await
}

async fn count(hub: &Hub, counts: Value) -> Answer {
    hub.admin("POST", "/v1/admin/counts", Some(json!({ "counts": counts }))).await
}

async fn count_csv(hub: &Hub, path: &str, text: &str) -> Answer {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "text/csv")];
    hub.http.send_bytes("POST", path, &headers, text.as_bytes()).await
}

async fn sell(hub: &Hub, sku: &str, quantity: i64) {
    let body = json!({"items": [{"sku": sku, "quantity": quantity}]});
    let answer = hub.http.send("POST", "/v1/store/orders", &[("x-storefront-key", STORE_KEY)], Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

async fn on_hand(hub: &Hub, sku: &str) -> i64 {
    hub.get(&format!("/v1/admin/products/{sku}")).await["on_hand"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moved_after_the_count_is_replayed_on_it() {
    let hub = hub(vec![("A-1", 50)]).await;
    sell(&hub, "A-1", 5).await;
    let at = Clock::system().now();
    // The next sale must be later than the count, by the clock that stamps it.
    tokio::time::sleep(Duration::from_millis(5)).await;
    sell(&hub, "A-1", 3).await;
    // At that time 44 lay there (one was missing); three were sold since.
    let answer = count(&hub, json!([{"sku": "A-1", "count": 44, "counted_at": at.to_string()}])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let done = &answer.json()["counts"][0];
    assert_eq!((&done["moved_since"], &done["on_hand_before"], &done["on_hand_after"]), (&json!(-3), &json!(42), &json!(41)));
    assert_eq!(on_hand(&hub, "A-1").await, 41);
    let newest = &hub.get("/v1/admin/movements?sku=A-1").await["items"][0];
    assert_eq!((&newest["movement_type"], &newest["reason"]), (&json!("adjusted"), &json!("cycle_count")));
    // The same list once more finds the shelf as it is; an older one does not turn the clock back.
    let again = count(&hub, json!([{"sku": "A-1", "count": 44, "counted_at": at.to_string()}])).await;
    assert_eq!((again.status, &again.json()["counts"][0]["change"]), (200, &json!(0)));
    let older = at.minus(Duration::from_secs(60)).to_string();
    let refused = count(&hub, json!([{"sku": "A-1", "count": 50, "counted_at": older}])).await;
    assert_eq!((refused.status, on_hand(&hub, "A-1").await), (422, 41), "{}", refused.text());
    assert_eq!(refused.json()["errors"][0]["field"], "/counts/0/counted_at");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_orders_may_be_off_the_shelf_already() {
    // This marketplace ships later: its sale commits, and the goods stay on hand.
    let marketplaces =
        "[[marketplaces]]\ncode = \"olx\"\nadapter = \"manual\"\n[marketplaces.policy]\nfulfilment = \"shipment\"\n";
    let plan = Plan { shops: vec![], marketplaces: marketplaces.into(), products: vec![("A-1", 20)], ..Plan::default() };
    let hub = Hub::with(plan).await;
    let body = json!({"marketplace": "olx", "items": [{"sku": "A-1", "quantity": 4}]});
    let order = hub.admin("POST", "/v1/admin/orders", Some(body)).await;
    assert_eq!(order.status, 201, "{}", order.text());
    let product = hub.get("/v1/admin/products/A-1").await;
    assert_eq!((&product["on_hand"], &product["committed"], &product["available"]), (&json!(20), &json!(4), &json!(16)));
    // Sixteen on the shelf, the four packed ones not counted: nothing is missing.
    let answer = count(&hub, json!([{"sku": "A-1", "count": 16, "includes_open_orders": false}])).await;
    assert_eq!((answer.status, &answer.json()["counts"][0]["change"]), (200, &json!(0)), "{}", answer.text());
    // Counted with them, sixteen means that four are gone.
    let answer = count(&hub, json!([{"sku": "A-1", "count": 16}])).await;
    assert_eq!((answer.status, &answer.json()["counts"][0]["change"]), (200, &json!(-4)), "{}", answer.text());
    assert_eq!(hub.get("/v1/admin/products/A-1").await["available"], 12);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_posted_whole_or_not_at_all() {
    let hub = hub(vec![("A-1", 1), ("B-1", 2)]).await;
    let bad = count(&hub, json!([{"sku": "A-1", "count": 9}, {"sku": "NONE", "count": 1}, {"sku": "A-1", "count": 8}])).await;
    let fields: Vec<_> = bad.json()["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!((bad.status, fields), (422, vec![json!("/counts/1/sku"), json!("/counts/2/sku")]));
    let stale = count(&hub, json!([{"sku": "A-1", "count": 9}, {"sku": "B-1", "count": 1, "expected_version": 7}])).await;
    assert_eq!((stale.status, stale.problem().as_str(), &stale.json()["index"]), (409, "stale-version", &json!(1)));
    assert_eq!((on_hand(&hub, "A-1").await, on_hand(&hub, "B-1").await), (1, 2));
    let good = count(&hub, json!([{"sku": "A-1", "count": 9, "expected_version": 1}, {"sku": "B-1", "count": 0}])).await;
    assert_eq!(good.status, 200, "{}", good.text());
    assert_eq!((on_hand(&hub, "A-1").await, on_hand(&hub, "B-1").await), (9, 0));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_names_its_bad_lines_and_can_be_tried_first() {
    let hub = hub(vec![("A-1", 1), ("B,\"2\"", 2)]).await;
    let text =
        "sku,location,count,counted_at,includes_open_orders\nA-1,main,5,,\n\"B,\"\"2\"\"\",,x,,\nNONE,main,1,yesterday,maybe\n";
    let bad = count_csv(&hub, "/v1/admin/counts", text).await;
    let fields: Vec<_> = bad.json()["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!(bad.status, 422);
    assert_eq!(fields, ["line 3: count", "line 4: counted_at", "line 4: includes_open_orders"]);
    let unknown = count_csv(&hub, "/v1/admin/counts", "sku,count\nA-1,5\nNONE,1\n").await;
    assert_eq!((unknown.status, &unknown.json()["errors"][0]["field"]), (422, &json!("line 3: sku")));
    let text = "sku,location,count,counted_at,includes_open_orders\r\nA-1,main,5,,true\r\n\"B,\"\"2\"\"\",,7,,\r\n";
    let tried = count_csv(&hub, "/v1/admin/counts?dry_run=true", text).await;
    assert_eq!((tried.status, &tried.json()["counts"][1]["change"]), (200, &json!(5)), "{}", tried.text());
    assert_eq!(on_hand(&hub, "A-1").await, 1, "tried only");
    let done = count_csv(&hub, "/v1/admin/counts", text).await;
    assert_eq!((done.status, &done.json()["dry_run"], on_hand(&hub, "A-1").await), (200, &json!(false), 5));
    let other =
        hub.http.send_bytes("POST", "/v1/admin/counts", &[("authorization", &format!("Bearer {ADMIN_TOKEN}"))], b"x").await;
    assert_eq!(other.status, 415);
    hub.stop().await;
}

/// What lay there when the product was made is a count too: movements before it are in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_from_before_the_opening_is_older_than_what_stands() {
    let hub = hub(vec![("A-1", 50)]).await;
    let early = Clock::system().now().minus(Duration::from_secs(3_600)).to_string();
    let refused = count(&hub, json!([{"sku": "A-1", "count": 44, "counted_at": early}])).await;
    assert_eq!((refused.status, refused.fields()), (422, vec!["/counts/0/counted_at".to_owned()]), "{}", refused.text());
    assert_eq!(on_hand(&hub, "A-1").await, 50);
    hub.stop().await;
}
