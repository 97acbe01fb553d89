use serde_json::{Value, json};

use super::super::Kind;
use super::Trial;

fn trial() -> Trial {
    let trial = Trial::new(Kind::Polling, &[("A", 5), ("B", 7), ("C", 9)]);
    let key = trial.secret("api_key");
    trial.with("Authorization", format!("Bearer {key}"))
}

#[test]
fn can_be_read_and_not_told() {
    let mut trial = trial();
    let page = trial.get("/listings?page=2&limit=2");
    assert_eq!((&page["items"][0]["id"], &page["items"][0]["stock"], &page["pages"]), (&json!("73"), &json!(9), &json!(2)));
    assert_eq!(trial.call("POST", "/listings/71/stock", json!({ "stock": 1 })).status, 405);
    trial.shop.account.values.insert("push".into(), true.into());
    assert_eq!(trial.post("/listings/71/stock", json!({ "stock": 1 })), json!({ "id": "71", "stock": 1 }));
    assert_eq!(trial.call("POST", "/listings/99/stock", json!({ "stock": 1 })).status, 404);
    assert_eq!(trial.call("POST", "/listings/71/stock", json!({ "stock": "1" })).status, 422);
    assert_eq!(Trial::new(Kind::Polling, &[]).call("GET", "/listings", Value::Null).status, 401);
}

#[test]
fn tells_orders_since_a_time() {
    let mut trial = trial();
    let order = trial.sell("A", 2).order_id;
    trial.wait_seconds(10);
    trial.sell("B", 1);
    let all = trial.get("/orders?since=2026-01-09T10:30:00Z&page=1&limit=100");
    assert_eq!((&all["orders"][0]["lines"][0]["listing_id"], &all["orders"][0]["status"]), (&json!("71"), &json!("paid")));
    assert_eq!(all["orders"].as_array().unwrap().len(), 2);
    trial.wait_seconds(10);
    assert_eq!(trial.cancel(&order, None).after, 5);
    let late = trial.get("/orders?since=2026-01-09T10:30:15Z");
    assert_eq!(
        (&late["orders"][0]["id"], &late["orders"][0]["status"], &late["pages"]),
        (&json!(order), &json!("cancelled"), &json!(1))
    );
    assert_eq!(trial.call("GET", "/orders?since=yesterday", Value::Null).status, 400);
}
