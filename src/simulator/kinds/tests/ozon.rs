use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::time::Timestamp;

use super::super::super::chaos::Fault;
use super::super::super::webhooks::{Feed, Reason};
use super::super::desk::Luck;
use super::super::{Dialect as _, Kind, ozon::Ozon};
use super::Trial;

fn trial() -> Trial {
    let trial = Trial::new(Kind::Ozon, &[("A-1", 5), ("B-2", 7), ("C-3", 9)]);
    let key = trial.secret("api_key");
    trial.with("Client-Id", "1234567").with("Api-Key", key)
}

fn rows(rows: &[(&str, i64)]) -> Value {
    let rows =
        rows.iter().map(|(offer, stock)| json!({ "offer_id": offer, "stock": stock, "warehouse_id": 22_142_605_386_000_i64 }));
    json!({ "stocks": rows.collect::<Vec<_>>() })
}

fn codes(answer: &Value) -> Vec<String> {
    let results = answer["result"].as_array().unwrap().iter();
    results.map(|row| row["errors"][0]["code"].as_str().unwrap_or("ok").to_owned()).collect()
}

#[test]
fn answers_each_quantity_by_itself() {
    let mut trial = trial();
    let answer = trial.post("/v2/products/stocks", rows(&[("A-1", 3), ("NOPE", 1), ("B-2", -1), ("C-3", 1_000_000)]));
    assert_eq!(codes(&answer), ["ok", "NOT_FOUND", "INVALID_STOCK", "INVALID_STOCK"]);
    assert_eq!(answer["result"][0]["updated"], true);
    assert_eq!((trial.shop.shown("A-1"), trial.shop.shown("B-2")), (3, 7));
    let elsewhere = json!({ "stocks": [{ "offer_id": "B-2", "stock": 1, "warehouse_id": 1 }] });
    assert_eq!(codes(&trial.post("/v2/products/stocks", elsewhere)), ["WAREHOUSE_NOT_FOUND"]);
    assert_eq!(trial.call("POST", "/v2/products/stocks", rows(&[("A-1", 1); 101])).status, 400);
    assert_eq!(trial.call("POST", "/v2/products/stocks", rows(&[])).status, 400);
    assert_eq!((trial.shop.totals().pushes_applied, trial.shop.totals().pushes_refused), (1, 4));
}

#[test]
fn a_pair_may_be_told_once_in_thirty_seconds() {
    let mut trial = trial();
    assert_eq!(codes(&trial.post("/v2/products/stocks", rows(&[("A-1", 4), ("A-1", 3)]))), ["ok", "TOO_MANY_REQUESTS"]);
    trial.wait_seconds(29);
    assert_eq!(codes(&trial.post("/v2/products/stocks", rows(&[("A-1", 2), ("B-2", 2)]))), ["TOO_MANY_REQUESTS", "ok"]);
    assert_eq!((trial.breaches("pair"), trial.shop.shown("A-1")), (2, 4));
    trial.wait_seconds(1);
    assert_eq!(codes(&trial.post("/v2/products/stocks", rows(&[("A-1", 1)]))), ["ok"]);
}

#[test]
fn eighty_pushes_a_minute_and_fifty_calls_a_second() {
    let mut trial = trial();
    for _ in 0..80 {
        trial.post("/v2/products/stocks", rows(&[("NOPE", 1)]));
        trial.wait(Duration::from_millis(100));
    }
    let refused = trial.call("POST", "/v2/products/stocks", rows(&[("A-1", 1)]));
    assert_eq!((refused.status, trial.breaches("stock"), trial.shop.shown("A-1")), (429, 1, 5));
    assert!(refused.headers.iter().any(|(name, value)| *name == "Retry-After" && value.parse::<u64>().unwrap() > 40));
    let mut trial = self::trial();
    for _ in 0..50 {
        trial.post("/v1/roles", json!({}));
    }
    assert_eq!(trial.call("POST", "/v1/roles", json!({})).status, 429);
}

#[test]
fn asks_who_one_is() {
    let mut stranger = Trial::new(Kind::Ozon, &[("A-1", 5)]);
    assert_eq!(stranger.call("POST", "/v1/roles", json!({})).status, 401);
    let mut wrong = stranger.with("Client-Id", "1234567").with("Api-Key", "guessed");
    assert_eq!(wrong.call("POST", "/v2/products/stocks", rows(&[("A-1", 1)])).status, 403);
    assert_eq!(wrong.shop.shown("A-1"), 5);
    let answer = trial().post("/v1/roles", json!({}));
    assert!(answer["roles"][0]["methods"].as_array().unwrap().contains(&json!("/v2/products/stocks")));
}

#[test]
fn shows_free_and_reserved_page_by_page() {
    let mut trial = trial();
    trial.sell("B-2", 2);
    let ask = |cursor: &str| json!({ "warehouse_id": 22_142_605_386_000_i64, "limit": 2, "cursor": cursor });
    let first = trial.post("/v1/product/info/warehouse/stocks", ask(""));
    let numbers: Vec<(i64, i64, i64)> = first["stocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| ["present", "reserved", "free_stock"].map(|name| row[name].as_i64().unwrap()).into())
        .collect();
    assert_eq!(numbers, [(5, 0, 5), (7, 2, 5)]);
    assert_eq!(first["has_next"], true);
    let second = trial.post("/v1/product/info/warehouse/stocks", ask(first["cursor"].as_str().unwrap()));
    assert_eq!((&second["stocks"][0]["offer_id"], &second["has_next"]), (&json!("C-3"), &json!(false)));
    let named = trial.post("/v2/product/info/stocks-by-warehouse/fbs", json!({ "offer_id": ["C-3", "NOPE"], "limit": 100 }));
    assert_eq!(named["products"].as_array().unwrap().len(), 1);
    let all = trial.post("/v4/product/info/stocks", json!({ "filter": { "offer_id": ["B-2"] }, "limit": 100, "cursor": "" }));
    assert_eq!(all["items"][0]["stocks"][0]["present"], 7);
}

#[test]
fn postings_are_listed_by_their_last_change() {
    let mut trial = trial();
    let first = trial.sell("A-1", 2).order_id;
    trial.wait_seconds(60);
    let second = trial.sell("B-2", 1).order_id;
    trial.wait_seconds(60);
    assert_eq!(trial.cancel(&first, None).after, 5, "the reserve is free again");
    trial.give_back(&second);
    assert_eq!(trial.shop.shown("B-2"), 6, "what travels back is nobody's to sell");
    let ask = |from: i64, statuses: Value, limit: i64, cursor: &str| {
        json!({ "filter": { "since": "2025-12-01T00:00:00Z", "to": "2026-02-01T00:00:00Z", "statuses": statuses,
            "last_changed_status_date": { "from": Timestamp::from_seconds(1_767_954_600 + from), "to": "2026-02-01T00:00:00Z" } },
            "limit": limit, "cursor": cursor, "sort_dir": "ASC" })
    };
    let page = trial.post("/v4/posting/fbs/list", ask(90, json!([]), 1, ""));
    assert_eq!((&page["postings"][0]["posting_number"], &page["has_next"]), (&json!(first), &json!(true)));
    assert_eq!(page["postings"][0]["status"], "cancelled");
    assert_eq!(page["postings"][0]["cancellation"]["cancelled_after_ship"], false);
    let next = trial.post("/v4/posting/fbs/list", ask(90, json!([]), 1, page["cursor"].as_str().unwrap()));
    assert_eq!(next["postings"][0]["cancellation"]["cancelled_after_ship"], true);
    assert_eq!(trial.post("/v4/posting/fbs/list", ask(121, json!([]), 10, ""))["postings"], json!([]));
    assert_eq!(trial.call("POST", "/v4/posting/fbs/list", json!({ "filter": {}, "limit": 10 })).status, 400);
    let one = trial.post("/v3/posting/fbs/get", json!({ "posting_number": second }));
    assert_eq!(
        (&one["result"]["products"][0]["offer_id"], &one["result"]["products"][0]["quantity"]),
        (&json!("B-2"), &json!(1))
    );
    assert_eq!(trial.call("POST", "/v3/posting/fbs/get", json!({ "posting_number": "1" })).status, 404);
}

#[test]
fn tells_postings_unsigned_at_a_secret_path() {
    let mut trial = trial();
    let trade = trial.sell("A-1", 2);
    let told = trial.notices(&trade, Reason::Sold, Feed::Both);
    assert_eq!(told.iter().map(|notice| notice.name).collect::<Vec<_>>(), ["TYPE_NEW_POSTING", "TYPE_STOCKS_CHANGED"]);
    let body: Value = serde_json::from_str(&told[0].body).unwrap();
    assert_eq!((&body["seller_id"], &body["products"][0]["quantity"]), (&json!(1_234_567), &json!(2)));
    let stocks: Value = serde_json::from_str(&told[1].body).unwrap();
    assert_eq!(
        (&stocks["items"][0]["stocks"][0]["present"], &stocks["items"][0]["stocks"][0]["reserved"]),
        (&json!(5), &json!(2))
    );
    let delivery = trial.delivered(&told[0]);
    assert_eq!(delivery.path, format!("/webhooks/ozon/{}", trial.secret("hook_path")));
    assert_eq!(delivery.headers, [("X-Forwarded-For", "195.34.21.7".to_owned())]);
    let trade = trial.cancel(&trade.order_id, None);
    let told = trial.notices(&trade, Reason::Cancelled, Feed::Orders);
    let body: Value = serde_json::from_str(&told[0].body).unwrap();
    assert_eq!((told.len(), body["products"][0].get("offer_id")), (1, None), "found by Ozon's own number alone");
    assert!(Ozon.taken(200, br#"{"result":true}"#) && !Ozon.taken(200, b"ok") && !Ozon.taken(500, br#"{"result":true}"#));
}

#[test]
fn refuses_in_part_where_it_is_asked_to() {
    let mut trial = trial();
    trial.luck.poison = vec!["B-2".into()];
    assert_eq!(codes(&trial.post("/v2/products/stocks", rows(&[("A-1", 1), ("B-2", 1)]))), ["ok", "product_is_not_created"]);
    trial.luck.item_error_percent = 100;
    assert_eq!(codes(&trial.post("/v2/products/stocks", rows(&[("C-3", 1)]))), ["TOO_MANY_REQUESTS"]);
    assert_eq!(trial.breaches("pair"), 0, "not the caller's fault");
    trial.luck = Luck::default();
    trial.fault = Some(Fault::DidNothing);
    assert_eq!(trial.post("/v2/products/stocks", rows(&[("C-3", 1)])), json!({ "result": [] }));
    assert_eq!(trial.shop.shown("C-3"), 9);
}
