use serde_json::{Value, json};

use super::super::Kind;
use super::Trial;

const SET: &str = "/refb.merchant.v1.OfferService/BatchUpdateOffers";
const LIST: &str = "/refb.merchant.v1.OfferService/ListOffers";
const ORDERS: &str = "/refb.merchant.v1.OrderService/ListOrders";

fn trial() -> Trial {
    let trial = Trial::new(Kind::Refurbed, &[("A", 5), ("B", 7), ("C", 9)]);
    let token = trial.secret("token");
    trial.with("Authorization", format!("Plain {token}"))
}

fn rows(rows: &[(&str, i64)]) -> Value {
    let row = |(sku, stock): &(&str, i64)| json!({ "identifier": { "sku": sku }, "stock": stock });
    json!({ "offers": rows.iter().map(row).collect::<Vec<_>>() })
}

#[test]
fn answers_in_the_order_it_was_asked_and_leaves_a_zero_out() {
    let mut trial = trial();
    trial.luck.poison = vec!["C".into()];
    let answer = trial.post(SET, rows(&[("B", 1), ("NOPE", 1), ("C", 1), ("A", -1)]));
    let results = answer["results"].as_array().unwrap();
    assert_eq!((&results[0]["status"], &results[0]["offer"]["stock"]), (&json!({}), &json!(1)));
    let codes: Vec<_> = results.iter().map(|row| row["status"]["code"].as_i64()).collect();
    assert_eq!(codes, [None, Some(5), Some(3), Some(3)]);
    assert_eq!((trial.shop.shown("B"), trial.shop.shown("A"), trial.shop.shown("C")), (1, 5, 9));
    trial.luck.item_error_percent = 100;
    assert_eq!(trial.post(SET, rows(&[("A", 1)]))["results"][0]["status"]["code"], 14);
    assert_eq!(trial.call("POST", SET, rows(&[("A", 1); 51])).status, 400);
}

#[test]
fn offers_come_page_by_page_after_the_last_one() {
    let mut trial = trial();
    let first = trial.post(LIST, json!({ "pagination": { "limit": 2 }, "sort": { "by": "ID" } }));
    assert_eq!((&first["offers"][1]["id"], &first["has_more"]), (&json!("8800002"), &json!(true)));
    let second = trial.post(LIST, json!({ "pagination": { "limit": 2, "starting_after": "8800002" } }));
    assert_eq!((&second["offers"][0]["sku"], &second["has_more"]), (&json!("C"), &json!(false)));
    let one = trial.post("/refb.merchant.v1.OfferService/GetOffer", json!({ "identifier": { "sku": "B" } }));
    assert_eq!(one["offer"]["stock"], 7);
    let many =
        trial.post("/refb.merchant.v1.OfferService/BatchGetOffers", json!({ "identifiers": [{ "sku": "B" }, { "sku": "X" }] }));
    assert_eq!(many["results"][1]["status"]["code"], 5);
}

#[test]
fn one_item_is_one_unit_and_orders_stay_where_they_were_released() {
    let mut trial = trial();
    let order = trial.sell("A", 3).order_id;
    trial.wait_seconds(10);
    trial.sell("B", 1);
    trial.cancel(&order, Some(1));
    let ask = |from: &str, after: &str| json!({ "filter": { "released_at": { "ge": from } }, "pagination": { "limit": 1, "starting_after": after } });
    let page = trial.post(ORDERS, ask("2026-01-09T10:30:00Z", ""));
    let states: Vec<&str> =
        page["orders"][0]["items"].as_array().unwrap().iter().map(|item| item["state"].as_str().unwrap()).collect();
    assert_eq!((states.as_slice(), &page["has_more"]), (["CANCELLED", "NEW", "NEW"].as_slice(), &json!(true)));
    assert_eq!(trial.shop.shown("A"), 2);
    let rest = trial.post(ORDERS, ask("2026-01-09T10:30:00Z", &order));
    assert_eq!((&rest["orders"][0]["items"][0]["sku"], &rest["has_more"]), (&json!("B"), &json!(false)));
    assert_eq!(
        trial.post(ORDERS, ask("2026-01-09T10:30:05Z", ""))["orders"][0]["items"][0]["sku"],
        "B",
        "the cancel moved nothing"
    );
    trial.give_back(&order);
    let one = trial.post("/refb.merchant.v1.OrderService/GetOrder", json!({ "id": order }));
    assert_eq!(one["order"]["items"][2]["state"], "RETURNED");
}

#[test]
fn what_is_left_stands_in_the_headers() {
    let mut trial = trial();
    let say = trial.call("POST", LIST, json!({}));
    assert!(say.headers.contains(&("X-RateLimit-Remaining", "599".to_owned())), "{say:?}");
    for _ in 1..600 {
        trial.post(LIST, json!({}));
    }
    let refused = trial.call("POST", LIST, json!({}));
    assert_eq!((refused.status, trial.breaches("all")), (429, 1));
    assert_eq!(Trial::new(Kind::Refurbed, &[]).with("Authorization", "Bearer x").call("POST", LIST, json!({})).status, 401);
}
