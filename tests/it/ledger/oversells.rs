//! More was sold than there is: the sales stand, people are told what they could cancel, and it ends by itself.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::clock::Clock;
use stockhub::simulator::record::ShopEvent;

use super::{LONG, becomes, event, item, order, orders_feed, sound, stock, webhook};
use crate::support::hub::{Hub, Plan};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_names_whose_order_could_go_and_closes_when_the_stock_is_back() {
    let hub = Hub::with(Plan { shops: vec!["uzum", "ozon"], ..orders_feed(vec![("A", 3)]) }).await;
    hub.settled(LONG).await;
    webhook(&hub, "uzum", &event("order.created", "u1", "2026-01-09T10:00:00Z", &[item("1", "A", 2)])).await;
    webhook(&hub, "ozon", &event("order.created", "z1", "2026-01-09T10:00:01Z", &[item("1", "A", 3)])).await;
    assert_eq!(stock(&hub, "A").await[4], -2, "both happened");
    let case = hub.get("/v1/admin/oversells").await["items"][0].clone();
    assert_eq!((&case["state"], &case["units"], &case["sku"]), (&json!("open"), &json!(2), &json!("A")));
    let named: Vec<_> =
        case["candidates"].as_array().unwrap().iter().map(|c| (c["marketplace"].clone(), c["quantity"].clone())).collect();
    assert_eq!(named, [(json!("ozon"), json!(3)), (json!("uzum"), json!(2))], "newest first");
    // Everybody is told zero.
    becomes("what the shops show", [0, 0], async || ["uzum", "ozon"].map(|code| hub.shop(code).market().shown("A"))).await;

    let newest = order(&hub, "z1").await;
    let cancel = |quantity: i64| json!({"lines": [{"line": "1", "quantity": quantity}]});
    let path = format!("/v1/admin/orders/{}/cancel", newest["id"].as_str().unwrap());
    assert_eq!(hub.admin("POST", &path, Some(cancel(1))).await.status, 200);
    assert_eq!(hub.get("/v1/admin/oversells").await["items"][0]["units"], 1, "better, but not good");
    assert_eq!(hub.admin("POST", &path, Some(cancel(2))).await.status, 200);
    let case = hub.get("/v1/admin/oversells").await["items"][0].clone();
    assert_eq!((&case["state"], &case["actor"]), (&json!("resolved"), &json!("system")));
    let alerts = hub.get("/v1/admin/alerts").await;
    assert!(alerts["items"].as_array().unwrap().iter().all(|a| a["kind"] != "oversold" || a["state"] == "resolved"), "{alerts}");
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_may_close_a_case() {
    let hub = Hub::with(orders_feed(vec![("A", 1)])).await;
    let body = json!({"marketplace": "olx", "items": [{"sku": "A", "quantity": 2}], "force": true});
    assert_eq!(hub.admin("POST", "/v1/admin/orders", Some(body)).await.status, 201);
    let case = hub.get("/v1/admin/oversells").await["items"][0].clone();
    assert_eq!(case["candidates"][0]["marketplace"], "olx");
    let path = format!("/v1/admin/oversells/{}/resolve", case["id"].as_str().unwrap());
    let decision = json!({"decision": "bought one more across the street"});
    let answer = hub.admin("POST", &path, Some(decision.clone())).await;
    assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("resolved")));
    assert_eq!(hub.admin("POST", &path, Some(decision.clone())).await.status, 409);
    let nobody = format!("/v1/admin/oversells/{}/resolve", uuid::Uuid::nil());
    assert_eq!(hub.admin("POST", &nobody, Some(decision)).await.status, 404);
    // It gets worse: that is a new case.
    webhook(&hub, "uzum", &event("order.created", "u1", "2026-01-09T10:00:00Z", &[item("1", "A", 1)])).await;
    let cases = hub.get("/v1/admin/oversells").await;
    assert_eq!((&cases["items"][0]["state"], &cases["items"][0]["units"]), (&json!("open"), &json!(2)));
    sound(&hub).await;
    hub.stop().await;
}

/// One request at a time, and two listings behind at once: the one that must show nothing goes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zeros_are_told_first() {
    // Time stands still but for the steps made here: the gap is not over before both are behind.
    let sections = "[push]\nconcurrency = 1\nbatch_max = 1\nmin_gap_ms = 60000\nlease_ms = 3600000\n".into();
    let clock = Clock::manual(Clock::system().now());
    let hub = Hub::with(Plan { sections, clock: clock.clone(), ..orders_feed(vec![("A", 5), ("B", 2)]) }).await;
    hub.settled(LONG).await;
    let pushes = || {
        let market = hub.shop("uzum").market().clone();
        let shop = market.shop();
        let body = |body: &str| serde_json::from_str::<Value>(body).unwrap()["stock"].as_i64().unwrap();
        let list: Vec<i64> = shop
            .journal()
            .records()
            .filter_map(|record| if let ShopEvent::Push { body: text, .. } = &record.event { Some(body(text)) } else { None })
            .collect();
        list
    };
    let before = pushes().len();
    // A grows and waits for its gap; B is oversold meanwhile, and does not wait.
    let more = json!({"delta": 3, "reason": "received"});
    assert_eq!(hub.admin("PATCH", "/v1/admin/products/A/inventory", Some(more)).await.status, 200);
    let body = json!({"marketplace": "olx", "items": [{"sku": "B", "quantity": 4}], "force": true});
    assert_eq!(hub.admin("POST", "/v1/admin/orders", Some(body)).await.status, 201);
    becomes("the pushes", 1, async || pushes().len() - before).await;
    clock.advance(Duration::from_secs(60));
    let another = async || {
        clock.advance(Duration::from_millis(100));
        pushes().len() - before
    };
    becomes("the pushes", 2, another).await;
    assert_eq!(pushes()[before..], [0, 8]);
    hub.stop().await;
}
