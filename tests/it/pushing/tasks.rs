//! Channels that people change: a new number is a task, done when a person says so.

use serde_json::{Value, json};

use super::plan;
use crate::support::hub::Hub;

async fn tasks(hub: &Hub) -> Vec<Value> {
    hub.get("/v1/admin/tasks").await["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_number_of_an_ad_is_a_task_until_somebody_says_it_is_done() {
    let hub = Hub::with(plan("", "")).await;
    hub.unlisted("BIKE", 45).await;
    let body = json!({"marketplace": "olx", "sku": "BIKE", "marketplace_product_id": "AD-7"});
    assert_eq!(hub.admin("POST", "/v1/admin/listings", Some(body)).await.status, 201);
    let all = tasks(&hub).await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((&all[0]["marketplace"], &all[0]["set_to"], &all[0]["shows"]), (&"olx".into(), &45.into(), &Value::Null));
    let id = all[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/admin/listings/{id}/pushed");
    let told = async |quantity: i64| hub.admin("POST", &path, Some(json!({ "quantity": quantity }))).await;
    assert_eq!(told(45).await.json()["done"], true);
    assert!(tasks(&hub).await.is_empty());
    // A sale elsewhere: the ad is to be edited to 44.
    hub.store_sells("BIKE", 1).await;
    let all = tasks(&hub).await;
    assert_eq!((&all[0]["set_to"], &all[0]["shows"], &all[0]["sku"]), (&44.into(), &45.into(), &"BIKE".into()));
    // While it is edited another one is sold: the task stays, with the newer number.
    hub.store_sells("BIKE", 1).await;
    assert_eq!(told(44).await.json()["done"], false);
    let all = tasks(&hub).await;
    assert_eq!((&all[0]["set_to"], &all[0]["shows"]), (&43.into(), &44.into()));
    // It comes back to what the ad says by itself: nothing is left to do.
    hub.top_up("BIKE", 1).await;
    assert!(tasks(&hub).await.is_empty());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_people_tell_can_be_marked_as_told() {
    let hub = Hub::with(plan("", "")).await;
    hub.sell_at_shop("A", 5, None, json!({})).await;
    let id = hub.listing("A", "shop").await["id"].as_str().unwrap().to_owned();
    let post = async |id: &str, body: Value| hub.admin("POST", &format!("/v1/admin/listings/{id}/pushed"), Some(body)).await;
    assert_eq!(post(&id, json!({"quantity": 5})).await.status, 409);
    assert_eq!(post("0198b5c0-0000-7000-8000-000000000000", json!({"quantity": 5})).await.status, 404);
    assert_eq!(post("x", json!({"quantity": 5})).await.status, 422);
    assert_eq!(post(&id, json!({"quantity": -1})).await.status, 422);
    assert_eq!(post(&id, json!({"quantity": 5, "more": 1})).await.status, 422);
    hub.stop().await;
}
