//! What was sold, and everything that happened to a product on one axis.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::clock::Clock;

use super::webhook;
use crate::support::hub::{ADMIN_TOKEN, Hub, Plan, STORE_KEY};

async fn hub() -> Hub {
    let plan =
        Plan { shops: vec!["uzum", "ozon"], products: vec![("A-1", 50), ("B-1", 9)], stock_feed: "orders", ..Plan::default() };
    let hub = Hub::with(plan).await;
    hub.settled(Duration::from_secs(20)).await;
    let order = |event: &str, quantity: i64, price: &str| {
        json!({"event": event, "order_id": "1", "timestamp": Clock::system().now().to_string(),
            "items": [{"order_item_id": "1", "sku": "A-1", "quantity": quantity, "price": price}]})
    };
    webhook(&hub, "uzum", &order("order.created", 3, "100.50")).await;
    webhook(&hub, "uzum", &order("order.returned", 1, "100.50")).await;
    let body = json!({"items": [{"sku": "A-1", "quantity": 2}, {"sku": "B-1", "quantity": 1}]});
    let answer = hub.http.send("POST", "/v1/store/orders", &[("x-storefront-key", STORE_KEY)], Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    hub.settled(Duration::from_secs(20)).await;
    hub
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sales_add_up_per_marketplace_and_sku() {
    let hub = hub().await;
    let found = hub.get("/v1/admin/analytics?group_by=marketplace,sku").await;
    let row = |marketplace: &str, sku: &str| -> Value {
        let rows = found["rows"].as_array().unwrap();
        rows.iter().find(|row| row["marketplace"] == marketplace && row["sku"] == sku).unwrap().clone()
    };
    let uzum = row("uzum", "A-1");
    assert_eq!(
        (&uzum["units"], &uzum["revenue"], &uzum["cost"], &uzum["profit"]),
        (&json!(2), &json!("201.00"), &json!("160.00"), &json!("41.00"))
    );
    assert_eq!(
        (&uzum["orders"], &uzum["returned"], &uzum["currency"], &uzum["fees"]),
        (&json!(1), &json!(1), &json!("USD"), &json!(null))
    );
    assert_eq!(row("store", "A-1")["revenue"], "259.80");
    let totals = found["totals"].as_array().unwrap();
    assert_eq!((totals.len(), &totals[0]["units"], &totals[0]["revenue"]), (1, &json!(5), &json!("590.70")));
    assert_eq!(
        (&found["deliveries"]["total"], &found["deliveries"]["webhook_share"], &found["deliveries"]["success"]),
        (&json!(2), &json!(1.0), &json!(1.0))
    );
    let calls = &found["api_calls"];
    assert!(
        calls["made"].as_i64().unwrap() >= 4 && calls["listing_changes"].as_i64().unwrap() >= calls["made"].as_i64().unwrap(),
        "{calls}"
    );
    assert_eq!(found["exposure"]["available"], 54);
    let days = hub.get("/v1/admin/analytics?group_by=day").await;
    assert_eq!(days["rows"].as_array().unwrap().len(), 1);
    assert!(days["rows"][0]["day"].is_string() && days["rows"][0].get("sku").is_none());
    let old = hub.get("/v1/admin/analytics?from=2020-01-01&to=2020-12-31").await;
    assert_eq!((&old["rows"], &old["deliveries"]["total"]), (&json!([]), &json!(0)));
    for bad in ["from=yesterday", "from=2026-02-01&to=2026-01-01", "group_by=colour", "to=2026-1-9"] {
        assert_eq!(hub.admin("GET", &format!("/v1/admin/analytics?{bad}"), None).await.status, 422, "{bad}");
    }
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("accept", "text/csv")];
    let table = hub.http.send("GET", "/v1/admin/analytics?group_by=marketplace,sku", &headers, None).await;
    assert!(table.header("content-type").unwrap().starts_with("text/csv"));
    assert!(table.text().contains("\r\n,uzum,A-1,USD,2,201.00,160.00,,41.00,1,0,1\r\n"), "{}", table.text());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_happened_is_on_one_axis() {
    let hub = hub().await;
    let all = hub.get("/v1/admin/products/A-1/timeline?limit=500").await;
    let items = all["items"].as_array().unwrap();
    for kind in ["movement", "listing", "push", "webhook"] {
        assert!(items.iter().any(|item| item["kind"] == kind), "no {kind} in {all}");
    }
    let ids: Vec<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a > b), "newest first, each once: {ids:?}");
    assert_eq!(items.iter().filter(|item| item["kind"] == "webhook").count(), 2);
    // Page by page it is the same list.
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = hub.get(&format!("/v1/admin/products/A-1/timeline?limit=3{cursor}")).await;
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(&paged, items);
    assert_eq!(hub.admin("GET", "/v1/admin/products/NONE/timeline", None).await.status, 404);
    hub.stop().await;
}
