use serde_json::{Value, json};

use super::super::{Kind, Say};
use super::Trial;

const STOCKS: &str = "/api/v3/stocks/658434";

fn trial() -> Trial {
    let trial = Trial::new(Kind::Wildberries, &[("A", 5), ("B", 7), ("C", 9)]);
    let token = trial.secret("token");
    trial.with("Authorization", token)
}

fn rows(rows: &[(i64, i64)]) -> Value {
    let rows = rows.iter().map(|(n, amount)| json!({ "chrtId": 120_000_000 + n, "amount": amount }));
    json!({ "stocks": rows.collect::<Vec<_>>() })
}

#[test]
fn a_misspelt_field_gets_its_204_and_changes_nothing() {
    let mut trial = trial();
    for stocks in [json!([{ "chrtID": 120_000_001, "amount": 1 }]), json!([{ "sku": "2000040000001", "amount": 1 }])] {
        assert_eq!(trial.call("PUT", STOCKS, json!({ "stocks": stocks })), Say::empty(204));
    }
    assert_eq!(trial.shop.shown("A"), 5);
    assert_eq!(trial.call("PUT", STOCKS, rows(&[(1, 1), (2, 0)])), Say::empty(204));
    assert_eq!((trial.shop.shown("A"), trial.shop.shown("B")), (1, 0));
}

#[test]
fn rows_that_cannot_be_taken_are_named_and_the_others_are_anybodys_guess() {
    let mut trial = trial();
    let answer = trial.call("PUT", STOCKS, rows(&[(1, 1), (9, 4), (8, 4)]));
    assert_eq!(answer.status, 409);
    let body = answer.body.unwrap();
    assert_eq!((&body[0]["code"], body[0]["data"].as_array().unwrap().len()), (&json!("NotFound"), 2));
    assert_eq!(body[0]["data"][0]["chrtId"], 120_000_009);
    assert_eq!(trial.shop.shown("A"), 1, "this time the others were taken");
    trial.wait_seconds(10);
    trial.call("PUT", STOCKS, rows(&[(1, 2), (9, 4)]));
    assert_eq!(trial.shop.shown("A"), 1, "and this time they were not");
    trial.wait_seconds(10);
    trial.luck.poison = vec!["C".into()];
    let lasting = trial.call("PUT", STOCKS, rows(&[(3, 1)])).body.unwrap();
    assert_eq!(lasting[0]["code"], "SubjectFBSRestriction");
    assert_eq!(trial.call("PUT", STOCKS, rows(&[(1, 100_001)])).status, 400);
}

#[test]
fn a_refusal_costs_ten() {
    let mut trial = trial();
    assert_eq!(trial.call("PUT", STOCKS, rows(&[(9, 1)])).status, 409);
    assert_eq!(trial.call("PUT", STOCKS, rows(&[(9, 1)])).status, 409);
    for _ in 0..1 {
        trial.post(STOCKS, json!({ "chrtIds": [120_000_001] }));
    }
    let refused = trial.call("PUT", STOCKS, rows(&[(1, 1)]));
    assert_eq!((refused.status, trial.breaches("stock"), trial.shop.shown("A")), (429, 1, 5));
    assert!(refused.headers.iter().any(|(name, _)| *name == "X-Ratelimit-Retry"));
    trial.wait_seconds(1);
    assert_eq!(trial.call("PUT", STOCKS, rows(&[(1, 1)])).status, 204);
}

#[test]
fn quantities_are_read_by_their_keys_alone() {
    let mut trial = trial();
    let answer = trial.post(STOCKS, json!({ "chrtIds": [120_000_002, 7, 120_000_003] }));
    assert_eq!(answer, json!({ "stocks": [{ "chrtId": 120_000_002, "amount": 7 }, { "chrtId": 120_000_003, "amount": 9 }] }));
    assert_eq!(trial.call("POST", STOCKS, json!({ "skus": ["1"] })).status, 400);
    assert_eq!(trial.call("POST", "/api/v3/stocks/1", json!({ "chrtIds": [1] })).status, 404);
    assert_eq!(trial.get("/api/v3/warehouses")[0]["id"], 658_434);
    let mut stranger = Trial::new(Kind::Wildberries, &[]).with("Authorization", "Bearer x");
    assert_eq!(stranger.call("GET", "/api/v3/warehouses", Value::Null).status, 401);
}

#[test]
fn one_order_is_one_unit_and_its_state_is_another_call() {
    let mut trial = trial();
    let purchase = trial.sell("B", 3).order_id;
    trial.wait_seconds(5);
    trial.sell("A", 1);
    let fresh = trial.get("/api/v3/orders/new");
    assert_eq!(fresh["orders"].as_array().unwrap().len(), 4);
    assert!(fresh["orders"][0].get("supplierStatus").is_none());
    let page = trial.get("/api/v3/orders?limit=2&next=0&dateFrom=1767954000&dateTo=1767954700");
    assert_eq!((&page["orders"][0]["chrtId"], page["orders"].as_array().unwrap().len()), (&json!(120_000_002), 2));
    let rest = trial.get(&format!("/api/v3/orders?limit=9&next={}&dateFrom=1767954000&dateTo=1767954700", page["next"]));
    assert_eq!(rest["orders"].as_array().unwrap().len(), 2);
    assert_eq!(trial.call("GET", "/api/v3/orders?limit=1&next=0&dateFrom=0", Value::Null).status, 400);
    trial.wait_seconds(5);
    assert_eq!(trial.cancel(&purchase, Some(1)).after, 4, "the number is the seller's: a cancel does not raise it");
    let first: u64 = purchase.parse().unwrap();
    let states = trial.post("/api/v3/orders/status", json!({ "orders": [first, first + 1, first + 3, 12] }));
    let states: Vec<_> = states["orders"].as_array().unwrap().iter().map(|row| row["wbStatus"].as_str().unwrap()).collect();
    assert_eq!(states, ["canceled_by_client", "waiting"]);
    assert_eq!(trial.get("/api/v3/orders/new")["orders"].as_array().unwrap().len(), 3);
    trial.give_back(&purchase);
    let states = trial.post("/api/v3/orders/status", json!({ "orders": [first + 1] }));
    assert_eq!(states["orders"][0]["supplierStatus"], "complete");
}
