use serde_json::{Value, json};

use super::super::super::chaos::Fault;
use super::super::Kind;
use super::Trial;

const SET: &str = "/api/seller-openapi/v2/fbs/sku/stocks";
const READ: &str = "/api/seller-openapi/v3/fbs/sku/stocks";

fn trial() -> Trial {
    let trial = Trial::new(Kind::Uzum, &[("A", 5), ("B", 7), ("C", 9)]);
    let token = trial.secret("token");
    trial.with("Authorization", token)
}

fn rows(rows: &[(i64, i64)]) -> Value {
    let row = |(n, amount): &(i64, i64)| json!({ "skuId": 3_300_000 + n, "barcode": "", "amount": amount, "fbsLinked": true, "dbsLinked": false });
    json!({ "skuAmountList": rows.iter().map(row).collect::<Vec<_>>() })
}

#[test]
fn says_how_many_it_took_and_not_which() {
    let mut trial = trial();
    assert_eq!(trial.post(SET, rows(&[(1, 3), (2, 4)]))["payload"], json!({ "totalRecords": 2, "updatedRecords": 2 }));
    assert_eq!(trial.post(SET, rows(&[(1, 2), (9, 4)]))["payload"], json!({ "totalRecords": 2, "updatedRecords": 1 }));
    trial.luck.poison = vec!["C".into()];
    assert_eq!(trial.post(SET, rows(&[(3, 1)]))["payload"]["updatedRecords"], 0);
    assert_eq!((trial.shop.shown("A"), trial.shop.shown("C")), (2, 9));
    trial.fault = Some(Fault::DidNothing);
    assert_eq!(trial.post(SET, rows(&[(1, 1)]))["payload"]["updatedRecords"], 1);
    assert_eq!(trial.shop.shown("A"), 2);
    assert_eq!(trial.call("POST", SET, rows(&[(1, 100_001)])).status, 400);
}

#[test]
fn whoever_leaves_the_scheme_out_takes_the_thing_off_sale() {
    let mut trial = trial();
    let bare = json!({ "skuAmountList": [{ "barcode": "1000052000002", "amount": 3 }] });
    assert_eq!(trial.post(SET, bare)["payload"]["updatedRecords"], 1);
    let read = trial.get(&format!("{READ}?page=0&size=2"));
    let rows_read = read["payload"]["skuAmountList"].as_array().unwrap();
    assert_eq!((&rows_read[1]["amount"], &rows_read[1]["fbsLinked"]), (&json!(3), &json!(false)));
    assert_eq!((&rows_read[0]["fbsLinked"], rows_read.len(), &read["payload"]["totalElements"]), (&json!(true), 2, &json!(3)));
    assert_eq!(trial.call("POST", SET, rows(&[(2, 4)])).status, 400, "not linked any more");
    assert_eq!(trial.get(&format!("{READ}?page=1&size=2"))["payload"]["skuAmountList"][0]["sellerSkuCode"], "C");
}

#[test]
fn orders_are_asked_for_by_status_and_in_seconds() {
    let mut trial = trial();
    let order = trial.sell("A", 2).order_id;
    let returned = trial.sell("B", 1).order_id;
    let list = |trial: &mut Trial, more: &str| {
        let answer = trial.get(&format!("/api/seller-openapi/v2/fbs/orders?shopIds=4321&page=0&size=50{more}"));
        trial.wait_seconds(1);
        answer["payload"]["orders"].as_array().unwrap().clone()
    };
    let fresh = list(&mut trial, "");
    assert_eq!((fresh.len(), &fresh[0]["orderItems"][0]["amount"]), (2, &json!(2)));
    assert_eq!(fresh[0]["dateCreated"], 1_767_954_600_000_i64);
    assert_eq!(list(&mut trial, "&dateFrom=1767954600&dateTo=1767954700").len(), 2);
    assert_eq!(list(&mut trial, "&dateFrom=1767954600000&dateTo=1767954700000").len(), 0, "milliseconds find nothing");
    assert_eq!(trial.cancel(&order, None).after, 5);
    trial.give_back(&returned);
    assert_eq!(list(&mut trial, "&status=CREATED").len(), 0);
    assert_eq!(list(&mut trial, "&status=CANCELED")[0]["id"], json!(order.parse::<u64>().unwrap()));
    assert_eq!(list(&mut trial, "&status=RETURNED").len(), 1);
    assert_eq!(trial.get(&format!("/api/seller-openapi/v1/fbs/order/{order}"))["payload"]["status"], "CANCELED");
}

#[test]
fn three_a_second_and_a_token_without_a_word_before_it() {
    let mut trial = trial();
    for _ in 0..6 {
        trial.get("/api/seller-openapi/v1/shops");
    }
    assert_eq!(trial.call("GET", "/api/seller-openapi/v1/shops", Value::Null).status, 429);
    assert_eq!(trial.breaches("all"), 1);
    let mut stranger = Trial::new(Kind::Uzum, &[]).with("Authorization", "Bearer x");
    assert_eq!(stranger.call("GET", READ, Value::Null).status, 401);
}
