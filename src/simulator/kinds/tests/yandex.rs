use serde_json::{Value, json};

use super::super::super::chaos::Fault;
use super::super::super::webhooks::{Feed, Reason};
use super::super::Kind;
use super::Trial;

const STOCKS: &str = "/v2/campaigns/21000111/offers/stocks";
const ORDERS: &str = "/v1/businesses/900222/orders";

fn trial() -> Trial {
    let trial = Trial::new(Kind::YandexMarket, &[("A", 5), ("B", 7), ("C", 9)]);
    let key = trial.secret("api_key");
    trial.with("Api-Key", key)
}

fn rows(rows: &[(&str, i64, &str)]) -> Value {
    let row = |(sku, count, at): &(&str, i64, &str)| json!({ "sku": sku, "items": [{ "count": count, "updatedAt": at }] });
    json!({ "skus": rows.iter().map(row).collect::<Vec<_>>() })
}

#[test]
fn one_bad_row_and_none_is_taken() {
    let mut trial = trial();
    let at = "2026-01-09T10:30:00Z";
    assert_eq!(trial.call("PUT", STOCKS, rows(&[("A", 1, at), ("NOPE", 1, at)])).status, 400);
    assert_eq!(trial.call("PUT", STOCKS, rows(&[("A", 1, at), ("A", 2, at)])).status, 400);
    trial.luck.poison = vec!["B".into()];
    assert_eq!(trial.call("PUT", STOCKS, rows(&[("A", 1, at), ("B", 1, at)])).status, 400);
    assert_eq!((trial.shop.shown("A"), trial.shop.shown("B")), (5, 7));
    assert_eq!(trial.call("PUT", STOCKS, rows(&[("A", 1, at), ("C", 2, at)])).body, Some(json!({ "status": "OK" })));
    assert_eq!((trial.shop.shown("A"), trial.shop.shown("C")), (1, 2));
    assert_eq!(trial.call("PUT", "/v2/campaigns/1/offers/stocks", rows(&[("A", 1, at)])).status, 403);
}

#[test]
fn the_later_writer_wins_and_the_earlier_is_told_ok() {
    let mut trial = trial();
    assert_eq!(trial.call("PUT", STOCKS, rows(&[("A", 4, "2026-01-09T10:30:05+03:00")])).status, 200);
    assert_eq!(trial.call("PUT", STOCKS, rows(&[("A", 3, "2026-01-09T10:30:04+03:00")])).status, 200);
    assert_eq!(trial.shop.shown("A"), 4);
    trial.fault = Some(Fault::DidNothing);
    assert_eq!(trial.call("PUT", STOCKS, rows(&[("A", 2, "2026-01-09T10:30:06+03:00")])).status, 200);
    assert_eq!(trial.shop.shown("A"), 4);
}

#[test]
fn a_new_number_is_shown_after_a_while() {
    let mut trial = trial();
    trial.call("PUT", STOCKS, rows(&[("A", 1, "2026-01-09T10:30:00Z")]));
    let read = |trial: &mut Trial| {
        let said = trial.post(STOCKS, json!({ "offerIds": ["A"] }));
        said["result"]["warehouses"][0]["offers"][0]["stocks"][0]["count"].clone()
    };
    assert_eq!(read(&mut trial), 5);
    trial.wait_seconds(1);
    assert_eq!(read(&mut trial), 1);
    let page = trial.post(&format!("{STOCKS}?limit=2"), json!({}));
    let token = page["result"]["paging"]["nextPageToken"].as_str().unwrap().to_owned();
    let rest = trial.post(&format!("{STOCKS}?limit=2&pageToken={token}"), json!({}));
    assert_eq!((&rest["result"]["warehouses"][0]["offers"][0]["offerId"], &rest["result"]["paging"]), (&json!("C"), &json!({})));
}

#[test]
fn four_at_once_and_a_420_for_the_fifth() {
    let mut trial = trial();
    for gauge in trial.shop.gauges.iter_mut().filter(|gauge| gauge.limit.name == "parallel") {
        for _ in 0..4 {
            gauge.take(1, trial.at).unwrap();
        }
    }
    let refused = trial.call("GET", "/v2/campaigns", Value::Null);
    assert_eq!((refused.status, trial.breaches("parallel")), (420, 1));
    let until = refused.headers.iter().find(|(name, _)| *name == "X-RateLimit-Resource-Until").unwrap();
    assert_eq!(until.1, "Fri, 09 Jan 2026 10:30:01 GMT");
    trial.shop.release(&["parallel"]);
    assert_eq!(trial.get("/v2/campaigns")["campaigns"][0]["id"], 21_000_111);
    assert_eq!(Trial::new(Kind::YandexMarket, &[]).call("GET", "/v2/campaigns", Value::Null).status, 401);
}

#[test]
fn orders_by_their_last_change_and_notices_without_a_signature() {
    let mut trial = trial();
    let trade = trial.sell("A", 2);
    let told = trial.notices(&trade, Reason::Sold, Feed::Orders);
    let body: Value = serde_json::from_str(&told[0].body).unwrap();
    assert_eq!((&body["notificationType"], &body["items"][0]["count"]), (&json!("ORDER_CREATED"), &json!(2)));
    let delivery = trial.delivered(&told[0]);
    assert_eq!((delivery.path, delivery.headers.len()), (format!("/webhooks/yandex-market/{}", trial.secret("hook_path")), 1));
    trial.wait_seconds(10);
    trial.sell("B", 1);
    assert_eq!(trial.cancel(&trade.order_id, None).after, 5);
    let ask = json!({ "dates": { "updateDateFrom": "2026-01-09T10:30:05Z", "updateDateTo": "2026-01-10T00:00:00Z" } });
    let page = trial.post(&format!("{ORDERS}?limit=1"), ask.clone());
    let token = page["paging"]["nextPageToken"].as_str().unwrap().to_owned();
    let rest = trial.post(&format!("{ORDERS}?limit=1&pageToken={token}"), ask);
    let mut statuses = [page["orders"][0]["status"].as_str().unwrap(), rest["orders"][0]["status"].as_str().unwrap()];
    statuses.sort_unstable();
    assert_eq!(statuses, ["CANCELLED", "PROCESSING"]);
    let one = trial.post(ORDERS, json!({ "campaignIds": [21_000_111], "orderIds": [trade.order_id.parse::<u64>().unwrap()] }));
    assert_eq!((one["orders"].as_array().unwrap().len(), &one["orders"][0]["status"]), (1, &json!("CANCELLED")));
    let dialect = Kind::YandexMarket.dialect().unwrap();
    assert!(dialect.taken(200, br#"{"version":"1","name":"hub","time":"t"}"#) && !dialect.taken(200, b"{}"));
}
