//! Locations, and stock on its way between them.

use serde_json::json;

use crate::support::hub::{Hub, Plan};

async fn hub() -> Hub {
    let plan = Plan { shops: vec![], products: vec![("A-1", 10)], ..Plan::default() };
    let hub = Hub::with(plan).await;
    let body = json!({"code": "annex", "name": "The annex", "priority": 5});
    let answer = hub.admin("POST", "/v1/admin/locations", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    hub
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_moves_stock_and_loses_none() {
    let hub = hub().await;
    let twice = hub.admin("POST", "/v1/admin/locations", Some(json!({"code": "annex", "name": "Again"}))).await;
    assert_eq!((twice.status, twice.problem().as_str()), (409, "location-taken"));
    let bad = hub.admin("POST", "/v1/admin/locations", Some(json!({"code": "Annex 2", "name": "x"}))).await;
    assert_eq!(bad.status, 422, "{}", bad.text());

    let body = json!({"sku": "A-1", "from": "main", "to": "annex", "quantity": 4, "reason": "space", "note": "shelf 3"});
    let answer = hub.admin("POST", "/v1/admin/transfers", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.json()["available"], 10);
    let product = hub.get("/v1/admin/products/A-1").await;
    let at = |code: &str| {
        let levels = product["locations"].as_array().unwrap();
        levels.iter().find(|level| level["location"] == code).map(|level| level["on_hand"].clone())
    };
    assert_eq!((at("main"), at("annex")), (Some(json!(6)), Some(json!(4))));
    let movements = hub.get("/v1/admin/movements?sku=A-1").await;
    let moved: Vec<_> = movements["items"].as_array().unwrap().iter().filter(|m| m["movement_type"] == "moved").collect();
    assert_eq!(moved.len(), 2);
    assert_eq!(moved[0]["reference_id"], moved[1]["reference_id"]);
    assert_eq!(moved[0]["quantity_change"].as_i64().unwrap() + moved[1]["quantity_change"].as_i64().unwrap(), 0);
    let places = hub.get("/v1/admin/locations").await;
    assert_eq!(places["items"].as_array().unwrap().len(), 2, "{places}");
    // The own store sells from `main` alone: it shows what lies there.
    assert_eq!(hub.get("/v1/stock/A-1").await["stock"], 6);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_there_is_does_not_move_unless_forced() {
    let hub = hub().await;
    let mut body = json!({"sku": "A-1", "from": "main", "to": "annex", "quantity": 11, "reason": "space"});
    let refused = hub.admin("POST", "/v1/admin/transfers", Some(body.clone())).await;
    assert_eq!((refused.status, refused.problem().as_str()), (409, "insufficient-stock"));
    assert_eq!(refused.json()["available"], 10);
    for (field, value) in [("from", json!("nowhere")), ("to", json!("main")), ("quantity", json!(0)), ("sku", json!("NONE"))] {
        let mut bad = body.clone();
        bad[field] = value;
        let answer = hub.admin("POST", "/v1/admin/transfers", Some(bad)).await;
        assert_eq!(answer.status, 422, "{field}: {}", answer.text());
        assert_eq!(answer.json()["errors"][0]["field"], format!("/{field}"));
    }
    assert_eq!(hub.get("/v1/admin/movements?sku=A-1").await["items"].as_array().unwrap().len(), 1, "nothing was changed");
    body["force"] = json!(true);
    let forced = hub.admin("POST", "/v1/admin/transfers", Some(body)).await;
    assert_eq!(forced.status, 201, "{}", forced.text());
    assert_eq!(forced.json()["available"], 10);
    hub.stop().await;
}
