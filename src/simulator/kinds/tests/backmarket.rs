use serde_json::{Value, json};

use super::super::super::chaos::Fault;
use super::super::Kind;
use super::Trial;

fn trial(products: &[(&str, i64)]) -> Trial {
    let trial = Trial::new(Kind::BackMarket, products);
    let token = trial.secret("token");
    let agent = "BM-Simulated-stockhub;ops@example.com";
    trial
        .with("User-Agent", agent)
        .with("Authorization", format!("Basic {token}"))
        .with("Accept-Language", "fr-fr")
        .with("Host", "bm")
}

fn uuid(n: u64) -> String {
    format!("/ws/listings/0196d9b2-0000-7000-8000-{n:012x}")
}

#[test]
fn a_push_is_answered_with_the_listing() {
    let mut trial = trial(&[("A", 5), ("B", 7)]);
    let listing = trial.post(&uuid(1), json!({ "quantity": 3 }));
    assert_eq!((&listing["quantity"], &listing["sku"], &listing["listing_id"]), (&json!(3), &json!("A"), &json!(7_700_001)));
    assert_eq!(trial.post("/ws/listings/7700002", json!({ "quantity": 1 }))["sku"], "B");
    assert_eq!(trial.call("POST", &uuid(9), json!({ "quantity": 1 })).status, 404);
    assert_eq!(trial.call("POST", &uuid(1), json!({ "quantity": -1 })).status, 400);
    trial.fault = Some(Fault::DidNothing);
    assert_eq!(trial.post(&uuid(1), json!({ "quantity": 0 }))["quantity"], 3, "the number it shows, not the one it was told");
    trial.fault = None;
    trial.luck.poison = vec!["A".into()];
    assert_eq!(trial.call("POST", &uuid(1), json!({ "quantity": 1 })).status, 400);
    assert_eq!(trial.shop.shown("A"), 3);
}

#[test]
fn pages_have_fifty_at_most_and_name_the_next() {
    let names: Vec<String> = (0..120).map(|n| format!("P-{n:03}")).collect();
    let products: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 5)).collect();
    let mut trial = trial(&products);
    let first = trial.get("/ws/listings?page=1&page-size=500");
    assert_eq!((&first["count"], first["results"].as_array().unwrap().len()), (&json!(120), 50));
    assert_eq!(first["next"], "http://bm/ws/listings?page-size=500&page=2");
    let last = trial.get("/ws/listings?page=3&page-size=50");
    assert_eq!((last["results"].as_array().unwrap().len(), &last["next"]), (20, &Value::Null));
    assert_eq!(trial.get("/ws/listings")["results"].as_array().unwrap().len(), 10, "ten by default");
    assert_eq!(trial.call("GET", "/ws/listings?page=4&page-size=50", Value::Null).status, 404);
    assert_eq!(trial.get("/ws/listings/detail?sku=P-007")["quantity"], 5);
    assert_eq!(trial.get(&uuid(8))["sku"], "P-007");
}

#[test]
fn a_wall_stands_before_the_door() {
    let mut nameless = Trial::new(Kind::BackMarket, &[("A", 5)]);
    let token = nameless.secret("token");
    nameless = nameless.with("Authorization", format!("Basic {token}")).with("Accept-Language", "fr-fr");
    let say = nameless.call("GET", "/ws/listings", Value::Null);
    assert_eq!(say.status, 403);
    assert!(say.body.unwrap().as_str().unwrap().contains("challenge"));
    let mut guess = trial(&[]);
    guess.headers.retain(|(name, _)| name != "authorization");
    assert_eq!(guess.call("GET", "/ws/listings", Value::Null).status, 401);
}

#[test]
fn two_hundred_in_ten_seconds_and_then_ten_seconds_of_silence() {
    let mut trial = trial(&[("A", 5)]);
    for _ in 0..200 {
        trial.get(&uuid(1));
    }
    assert_eq!(trial.call("GET", &uuid(1), Value::Null).status, 429);
    trial.wait_seconds(9);
    assert_eq!(trial.call("POST", &uuid(1), json!({ "quantity": 1 })).status, 429);
    trial.wait_seconds(1);
    trial.get(&uuid(1));
    assert_eq!((trial.breaches("all"), trial.shop.shown("A")), (2, 5));
}

#[test]
fn orders_are_asked_for_by_their_last_change() {
    let mut trial = trial(&[("A", 5), ("B", 7)]);
    let first = trial.sell("A", 2).order_id;
    trial.wait_seconds(10);
    trial.sell("B", 1);
    let all = trial.get("/ws/orders?date_modification=2026-01-09T10:30:00Z&page=1&page-size=50");
    assert_eq!(all["count"], 2);
    let line = &all["results"][0]["orderlines"][0];
    assert_eq!(
        (&line["listing"], &line["listing_id"], &line["quantity"], &line["state"]),
        (&json!("A"), &json!(7_700_001), &json!(2), &json!(1))
    );
    trial.wait_seconds(10);
    assert_eq!(trial.cancel(&first, None).after, 3, "what was not sent does not go back on sale by itself");
    let late = trial.get("/ws/orders?date_modification=2026-01-09T10:30:15Z");
    assert_eq!((&late["count"], &late["results"][0]["orderlines"][0]["state"]), (&json!(1), &json!(4)));
    assert_eq!(trial.get(&format!("/ws/orders/{first}"))["orderlines"][0]["quantity"], 2);
    assert_eq!(trial.call("GET", "/ws/orders?date_modification=yesterday", Value::Null).status, 400);
}
