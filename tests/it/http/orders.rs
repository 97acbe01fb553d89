//! Orders through our own doors: all or nothing, once, and refused with what is left.

use serde_json::{Value, json};

use crate::support::http::Answer;
use crate::support::hub::{Hub, Plan, STORE_KEY};

async fn place(hub: &Hub, external_id: Option<&str>, items: &[(&str, i64)]) -> Answer {
    let items: Vec<Value> = items.iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect();
    let mut body = json!({"items": items});
    if let Some(id) = external_id {
        body["external_id"] = id.into();
    }
    hub.http.send("POST", "/v1/store/orders", &[("x-storefront-key", STORE_KEY)], Some(body)).await
}

fn two_products() -> Plan {
    Plan { products: vec![("A", 10), ("B", 3)], ..Plan::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_of_one_name_is_one_order() {
    let hub = Hub::with(two_products()).await;
    let first = place(&hub, Some("web-1"), &[("A", 2), ("B", 1)]).await;
    assert_eq!(first.status, 201, "{}", first.text());
    for items in [&[("A", 2), ("B", 1)][..], &[("B", 1), ("A", 2)]] {
        let again = place(&hub, Some("web-1"), items).await;
        assert_eq!((again.status, &again.json()["id"]), (200, &first.json()["id"]), "{items:?}");
    }
    for items in [&[("A", 2)][..], &[("A", 2), ("B", 2)]] {
        let other = place(&hub, Some("web-1"), items).await;
        assert_eq!((other.status, other.problem().as_str()), (409, "order-differs"), "{items:?}");
    }
    assert_eq!((hub.available("A").await, hub.available("B").await), (8, 2));
    // Without a name of the store's own, two are two.
    assert_eq!((place(&hub, None, &[("A", 1)]).await.status, place(&hub, None, &[("A", 1)]).await.status), (201, 201));
    assert_eq!(hub.available("A").await, 6);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_refused_whole_and_not_remembered() {
    let hub = Hub::with(two_products()).await;
    let refused = place(&hub, Some("web-2"), &[("A", 1), ("B", 5)]).await;
    assert_eq!((refused.status, refused.problem().as_str()), (409, "insufficient-stock"));
    assert_eq!(refused.json()["lines"], json!([{"index": 1, "sku": "B", "requested": 5, "available": 3}]));
    assert_eq!((hub.available("A").await, hub.available("B").await), (10, 3), "not even the line that was there");
    assert_eq!(hub.get("/v1/admin/orders").await["items"], json!([]));
    hub.admin("POST", "/v1/admin/products/B/topup", Some(json!({"quantity": 2}))).await;
    assert_eq!(place(&hub, Some("web-2"), &[("A", 1), ("B", 5)]).await.status, 201);
    assert_eq!((hub.available("A").await, hub.available("B").await), (9, 0));
    let none = place(&hub, None, &[("A", 1), ("B", 1)]).await.json();
    assert_eq!(none["lines"][0]["available"], 0);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_units_are_sold_once() {
    let hub = Hub::with(two_products()).await;
    let buying = (0..40).map(|_| {
        let http = hub.http;
        tokio::spawn(async move {
            let body = json!({"items": [{"sku": "A", "quantity": 1}]});
            http.send("POST", "/v1/store/orders", &[("x-storefront-key", STORE_KEY)], Some(body)).await.status
        })
    });
    let mut statuses = Vec::new();
    for task in buying.collect::<Vec<_>>() {
        statuses.push(task.await.unwrap());
    }
    let count = |status: u16| statuses.iter().filter(|known| **known == status).count();
    assert_eq!((count(201), count(409)), (10, 30));
    assert_eq!(hub.available("A").await, 0);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_knows_better_may_sell_what_is_not_there() {
    let hub = Hub::with(two_products()).await;
    let order = |force: bool| {
        json!({"marketplace": "olx", "customer_name": "Alisher", "customer_phone": "+998901234567", "force": force,
            "items": [{"sku": "B", "quantity": 5}]})
    };
    let refused = hub.admin("POST", "/v1/admin/orders", Some(order(false))).await;
    assert_eq!((refused.status, refused.problem().as_str(), hub.available("B").await), (409, "insufficient-stock", 3));
    let forced = hub.admin("POST", "/v1/admin/orders", Some(order(true))).await;
    assert_eq!((forced.status, hub.available("B").await), (201, -2), "{}", forced.text());
    let cases = hub.get("/v1/admin/oversells").await;
    assert_eq!((&cases["items"][0]["sku"], &cases["items"][0]["units"]), (&json!("B"), &json!(2)), "{cases}");
    // Every marketplace is told that there is nothing left.
    for code in ["uzum", "wildberries", "ozon"] {
        hub.shows(code, "B", 0).await;
    }
    // The customer is sealed: neither the order nor the audit log shows him.
    let id = forced.json()["id"].as_str().unwrap().to_owned();
    for path in [format!("/v1/admin/orders/{id}"), "/v1/admin/orders".into(), "/v1/admin/audit".into()] {
        assert!(!hub.get(&path).await.to_string().contains("Alisher"), "{path}");
    }
    // The store's own door does not force.
    let body = json!({"items": [{"sku": "B", "quantity": 1}], "force": true});
    let answer = hub.http.send("POST", "/v1/store/orders", &[("x-storefront-key", STORE_KEY)], Some(body)).await;
    assert_eq!((answer.status, answer.fields()), (422, vec!["/force".to_owned()]));
    hub.stop().await;
}
