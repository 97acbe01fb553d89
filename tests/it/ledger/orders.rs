//! An order's life, whoever tells of it: cancelled, shipped, taken back, each once.

use serde_json::{Value, json};

use super::{event, item, order, orders_feed, sound, stock, store, webhook};
use crate::support::hub::{Hub, Plan};

fn path(order: &Value, action: &str) -> String {
    format!("/v1/admin/orders/{}/{action}", order["id"].as_str().unwrap())
}

async fn change(hub: &Hub, order: &Value, action: &str, body: Option<Value>) -> Value {
    let answer = hub.admin("POST", &path(order, action), body).await;
    assert_eq!(answer.status, 200, "{action}: {}", answer.text());
    answer.json()
}

fn lines(lines: &[(&str, i64)]) -> Value {
    let lines: Vec<Value> = lines.iter().map(|(line, quantity)| json!({"line": line, "quantity": quantity})).collect();
    json!({"lines": lines})
}

async fn typed(hub: &Hub, body: Value) -> Value {
    let answer = hub.admin("POST", "/v1/admin/orders", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancels_and_returns_are_totals_and_come_out_right_together() {
    let hub = Hub::with(Plan { shops: Vec::new(), products: vec![("A", 10), ("B", 10)], ..Plan::default() }).await;
    let items = json!([{"sku": "A", "quantity": 5}, {"sku": "B", "quantity": 1}]);
    let sold = typed(&hub, json!({"marketplace": "olx", "items": items})).await;
    assert_eq!(sold["status"], "created");
    let part = change(&hub, &sold, "cancel", Some(lines(&[("1", 2)]))).await;
    assert_eq!((&part["status"], &part["lines"][0]["cancelled"]), (&json!("partly_cancelled"), &json!(2)));
    change(&hub, &sold, "cancel", Some(lines(&[("1", 2)]))).await;
    assert_eq!(stock(&hub, "A").await[0], 7, "the same total twice is one cancel");

    let mut back = lines(&[("1", 1)]);
    assert_eq!(change(&hub, &sold, "return", Some(back.clone())).await["status"], "partly_returned");
    assert_eq!(stock(&hub, "A").await, [8, 0, 0, 0, 8]);
    back["sellable"] = json!(false);
    change(&hub, &sold, "return", Some(back)).await;
    assert_eq!(stock(&hub, "A").await, [9, 0, 0, 1, 8], "it is here, but not for sale");
    // Cancelled as a whole after some of it came back: what came back is not given twice.
    let all = change(&hub, &sold, "cancel", None).await;
    assert_eq!(all["status"], "cancelled");
    assert_eq!((stock(&hub, "A").await, stock(&hub, "B").await[0]), ([10, 0, 0, 0, 10], 10));

    for (action, body, field) in [
        ("cancel", lines(&[("9", 1)]), "/lines/0/line"),
        ("cancel", lines(&[("1", 6)]), "/lines/0/quantity"),
        ("cancel", lines(&[("1", 1), ("1", 1)]), "/lines/1/line"),
        ("return", lines(&[("1", 1)]), "/lines/0/quantity"),
        ("ship", lines(&[("1", 0)]), "/lines/0/quantity"),
        ("cancel", json!({"lines": []}), "/lines"),
    ] {
        let answer = hub.admin("POST", &path(&sold, action), Some(body)).await;
        assert_eq!((answer.status, &answer.json()["errors"][0]["field"]), (422, &json!(field)), "{action}");
    }
    let nobody = json!({"id": uuid::Uuid::nil()});
    assert_eq!(hub.admin("POST", &path(&nobody, "cancel"), None).await.status, 404);
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storefront_cancels_its_own_orders_only() {
    let hub = Hub::with(Plan { shops: Vec::new(), products: vec![("A", 10)], ..Plan::default() }).await;
    let body = json!({"external_id": "web-1", "items": [{"sku": "A", "quantity": 3}]});
    let sold = store(&hub, "POST", "/v1/store/orders", Some(body)).await.json();
    let cancel = |order: &Value| format!("/v1/store/orders/{}/cancel", order["id"].as_str().unwrap());
    let answer = store(&hub, "POST", &cancel(&sold), Some(lines(&[("1", 1)]))).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("partly_cancelled")));
    assert_eq!(store(&hub, "POST", &cancel(&sold), None).await.json()["status"], "cancelled");
    assert_eq!(store(&hub, "POST", &cancel(&sold), None).await.status, 200, "it stays cancelled");
    assert_eq!(stock(&hub, "A").await[0], 10);
    let other = typed(&hub, json!({"marketplace": "olx", "items": [{"sku": "A", "quantity": 1}]})).await;
    assert_eq!(store(&hub, "POST", &cancel(&other), None).await.status, 404);
    assert_eq!(hub.http.send("POST", &cancel(&sold), &[], None).await.status, 401);
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_goods_ship_later_a_sale_commits_and_shipping_takes() {
    let plan = Plan { policy: "fulfilment = \"shipment\"".into(), ..orders_feed(vec![("A", 10)]) };
    let hub = Hub::with(plan).await;
    webhook(&hub, "uzum", &event("order.created", "o1", "2026-01-09T10:00:00Z", &[item("l1", "A", 4)])).await;
    assert_eq!(stock(&hub, "A").await, [10, 4, 0, 0, 6]);
    let sold = order(&hub, "o1").await;
    assert_eq!(change(&hub, &sold, "ship", Some(lines(&[("l1", 1)]))).await["status"], "partly_shipped");
    assert_eq!(stock(&hub, "A").await, [9, 3, 0, 0, 6]);
    change(&hub, &sold, "cancel", Some(lines(&[("l1", 1)]))).await;
    assert_eq!(stock(&hub, "A").await, [9, 2, 0, 0, 7]);
    assert_eq!(change(&hub, &sold, "ship", None).await["status"], "shipped");
    assert_eq!(stock(&hub, "A").await, [7, 0, 0, 0, 7]);
    let late = hub.admin("POST", &path(&sold, "ship"), Some(lines(&[("l1", 4)]))).await;
    assert_eq!(late.status, 422, "one of them is cancelled");
    let more = hub.admin("POST", &path(&sold, "cancel"), Some(lines(&[("l1", 2)]))).await;
    assert_eq!(more.status, 422, "what is shipped only comes back");
    assert_eq!(change(&hub, &sold, "return", Some(lines(&[("l1", 3)]))).await["status"], "returned");
    assert_eq!(stock(&hub, "A").await, [10, 0, 0, 0, 10]);

    webhook(&hub, "uzum", &event("order.created", "o2", "2026-01-09T11:00:00Z", &[item("l1", "A", 2)])).await;
    let sold = order(&hub, "o2").await;
    change(&hub, &sold, "ship", None).await;
    let answer = hub.admin("POST", &path(&sold, "cancel"), None).await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "order-shipped"));
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_one_whoever_tells_of_it() {
    let hub = Hub::with(orders_feed(vec![("A", 10), ("B", 10)])).await;
    let said = |id: &str, sku: &str, quantity: i64| json!({"marketplace": "uzum", "external_id": id, "items": [{"sku": sku, "quantity": quantity}]});
    // The webhook first: the person says the same, then that there was a second item.
    webhook(&hub, "uzum", &event("order.created", "w1", "2026-01-09T10:00:00Z", &[item("77", "A", 2)])).await;
    for _ in 0..2 {
        let answer = hub.admin("POST", "/v1/admin/orders", Some(said("w1", "A", 2))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(stock(&hub, "A").await[0], 8);
    assert_eq!(hub.admin("POST", "/v1/admin/orders", Some(said("w1", "B", 1))).await.status, 200);
    assert_eq!((stock(&hub, "B").await[0], order(&hub, "w1").await["lines"].as_array().unwrap().len()), (9, 2));
    // The line typed in is the one the marketplace tells of later, under its own name.
    webhook(&hub, "uzum", &event("order.created", "w1", "2026-01-09T10:01:00Z", &[item("77", "A", 2), item("78", "B", 1)])).await;
    assert_eq!((stock(&hub, "B").await[0], order(&hub, "w1").await["lines"].as_array().unwrap().len()), (9, 2));

    // The person first.
    typed(&hub, said("w2", "A", 3)).await;
    assert_eq!(stock(&hub, "A").await[0], 5);
    webhook(&hub, "uzum", &event("order.created", "w2", "2026-01-09T10:00:00Z", &[item("91", "A", 3)])).await;
    assert_eq!(stock(&hub, "A").await[0], 5);
    // A cancel typed in, and the marketplace's own message of it: once.
    let sold = order(&hub, "w2").await;
    assert_eq!(change(&hub, &sold, "cancel", Some(lines(&[("91", 1)]))).await["status"], "partly_cancelled");
    webhook(&hub, "uzum", &event("order.cancelled", "w2", "2026-01-09T10:05:00Z", &[item("91", "A", 1)])).await;
    assert_eq!(stock(&hub, "A").await[0], 6);
    webhook(&hub, "uzum", &event("order.cancelled", "w2", "2026-01-09T10:06:00Z", &[])).await;
    assert_eq!((stock(&hub, "A").await[0], &order(&hub, "w2").await["status"]), (8, &json!("cancelled")));
    // A create that comes after does not bring it back.
    webhook(&hub, "uzum", &event("order.created", "w2", "2026-01-09T10:07:00Z", &[item("91", "A", 3)])).await;
    assert_eq!((stock(&hub, "A").await[0], &order(&hub, "w2").await["status"]), (8, &json!("cancelled")));

    let nameless = json!({"marketplace": "uzum", "items": [{"sku": "A", "quantity": 1}]});
    let answer = hub.admin("POST", "/v1/admin/orders", Some(nameless)).await;
    assert_eq!((answer.status, &answer.json()["errors"][0]["field"]), (422, &json!("/external_id")));
    sound(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_goes_down_with_its_sales_and_up_with_its_cancels() {
    let hub = Hub::with(orders_feed(vec![("A", 10)])).await;
    let body = json!({"marketplace": "olx", "sku": "A", "marketplace_product_id": "OLX-A", "rule": {"quota": 4}});
    assert_eq!(hub.admin("POST", "/v1/admin/listings", Some(body)).await.status, 201);
    let wanted = async || {
        let product = hub.get("/v1/admin/products/A").await;
        let listings = product["listings"].as_array().unwrap().clone();
        ["olx", "uzum", "store"].map(|code| listings.iter().find(|l| l["marketplace"] == code).unwrap()["wanted"].clone())
    };
    assert_eq!(wanted().await, [4, 6, 6].map(|n| json!(n)));
    let sold = typed(&hub, json!({"marketplace": "olx", "items": [{"sku": "A", "quantity": 3}]})).await;
    assert_eq!(wanted().await, [1, 6, 6].map(|n| json!(n)), "it sold its own units, nobody else's");
    change(&hub, &sold, "cancel", Some(lines(&[("1", 2)]))).await;
    assert_eq!(wanted().await, [3, 6, 6].map(|n| json!(n)));
    webhook(&hub, "uzum", &event("order.created", "u1", "2026-01-09T10:00:00Z", &[item("1", "A", 2)])).await;
    assert_eq!(wanted().await, [3, 4, 4].map(|n| json!(n)), "others sell what is not set aside");
    change(&hub, &sold, "cancel", None).await;
    assert_eq!(wanted().await, [4, 4, 4].map(|n| json!(n)));
    sound(&hub).await;
    hub.stop().await;
}
