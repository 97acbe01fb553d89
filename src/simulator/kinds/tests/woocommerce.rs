use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::super::webhooks::{Feed, Reason};
use super::super::{Kind, shopify};
use super::Trial;

const API: &str = "/wp-json/wc/v3";

fn trial() -> Trial {
    // The third is a variation.
    let trial = Trial::new(Kind::WooCommerce, &[("A", 5), ("B", 7), ("C", 9)]);
    let pair = format!("{}:{}", trial.secret("consumer_key"), trial.secret("consumer_secret"));
    trial.with("Authorization", format!("Basic {}", STANDARD.encode(pair)))
}

fn rows(rows: &[(i64, i64)]) -> Value {
    let row = |(id, quantity): &(i64, i64)| json!({ "id": id, "manage_stock": true, "stock_quantity": quantity });
    json!({ "update": rows.iter().map(row).collect::<Vec<_>>() })
}

#[test]
fn a_batch_is_a_200_with_an_error_in_it() {
    let mut trial = trial();
    trial.luck.poison = vec!["B".into()];
    let answer = trial.post(&format!("{API}/products/batch"), rows(&[(1_001, 3), (77, 1), (1_002, 1)]));
    assert_eq!(
        (&answer["update"][0]["stock_quantity"], &answer["update"][1]["error"]["data"]["status"]),
        (&json!(3), &json!(400))
    );
    assert_eq!(answer["update"][2]["error"]["code"], "woocommerce_rest_product_not_editable");
    let large = trial.call("POST", &format!("{API}/products/batch"), rows(&[(1_001, 1); 101]));
    assert_eq!((large.status, trial.shop.shown("A"), trial.shop.shown("B")), (413, 3, 7));
}

#[test]
fn a_variation_is_told_behind_its_parent_and_nowhere_else() {
    let mut trial = trial();
    let answer = trial.post(&format!("{API}/products/batch"), rows(&[(1_003, 1)]));
    assert_eq!((&answer["update"][0]["type"], trial.shop.shown("C")), (&json!("variable"), 9));
    let answer = trial.post(&format!("{API}/products/1003/variations/batch"), rows(&[(500_003, 1)]));
    assert_eq!((&answer["update"][0]["stock_quantity"], trial.shop.shown("C")), (&json!(1), 1));
    let astray = trial.post(&format!("{API}/products/1001/variations/batch"), rows(&[(500_003, 8)]));
    assert!(astray["update"][0]["error"].is_object());
    assert_eq!(trial.get(&format!("{API}/products/1003/variations"))[0]["stock_quantity"], 1);
}

#[test]
fn pages_are_counted_in_headers() {
    let mut trial = trial();
    let say = trial.call("GET", &format!("{API}/products?per_page=2&page=2&orderby=id&order=asc"), Value::Null);
    assert!(say.headers.contains(&("X-WP-TotalPages", "2".to_owned())), "{say:?}");
    assert_eq!(say.body.unwrap()[0]["type"], "variable");
    assert_eq!(trial.call("GET", &format!("{API}/products?per_page=101"), Value::Null).status, 400);
    assert_eq!(Trial::new(Kind::WooCommerce, &[]).call("GET", &format!("{API}/products"), Value::Null).status, 401);
}

#[test]
fn orders_by_their_last_change() {
    let mut trial = trial();
    let gone = trial.sell("A", 2).order_id;
    trial.wait_seconds(10);
    trial.sell("C", 1);
    trial.wait_seconds(10);
    let list = format!("{API}/orders?per_page=100&page=1&dates_are_gmt=true&orderby=modified&order=asc&modified_after=");
    let all = trial.get(&format!("{list}2026-01-09T10:29:59Z"));
    assert_eq!((all.as_array().unwrap().len(), &all[0]["line_items"][0]["variation_id"]), (2, &json!(0)));
    assert_eq!(all[1]["line_items"][0]["variation_id"], 500_003);
    assert_eq!(all[0]["date_modified_gmt"], "2026-01-09T10:30:00");
    assert_eq!(trial.cancel(&gone, None).after, 5);
    let late = trial.get(&format!("{list}2026-01-09T10:30:10"));
    assert_eq!((late.as_array().unwrap().len(), &late[0]["status"]), (1, &json!("cancelled")));
    assert_eq!(trial.get(&format!("{API}/orders/{gone}"))["line_items"][0]["quantity"], 2);
}

#[test]
fn the_first_ping_is_a_form_and_the_rest_is_signed() {
    let mut trial = trial();
    let ping = Kind::WooCommerce.dialect().unwrap().greeting(trial.shop.account(), trial.at).unwrap();
    let delivery = trial.delivered(&ping);
    assert_eq!(delivery.headers, [("Content-Type", "application/x-www-form-urlencoded".to_owned())]);
    let trade = trial.sell("A", 2);
    let told = trial.notices(&trade, Reason::Sold, Feed::Orders);
    let delivery = trial.delivered(&told[0]);
    let signed = shopify::signature(&trial.secret("webhook_secret"), told[0].body.as_bytes());
    assert!(delivery.headers.contains(&("X-WC-Webhook-Signature", signed)));
    assert!(delivery.headers.contains(&("X-WC-Webhook-Topic", "order.created".to_owned())));
    assert!(!Kind::WooCommerce.dialect().unwrap().habits().webhooks_again);
}
