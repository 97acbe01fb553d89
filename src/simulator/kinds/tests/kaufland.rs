use serde_json::{Value, json};

use super::super::super::webhooks::{Feed, Reason};
use super::super::{Kind, Say, kaufland};
use super::Trial;

struct Seller(Trial);

impl Seller {
    fn new() -> Self {
        let trial = Trial::new(Kind::Kaufland, &[("A", 5), ("B", 7), ("C", 9)]);
        let key = trial.shop.account().text("client_key");
        Self(trial.with("Shop-Client-Key", key).with("User-Agent", "stockhub").with("Host", "shop"))
    }

    fn call(&mut self, method: &str, target: &str, body: Value) -> Say {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let stamp = self.0.at.seconds().to_string();
        let signed =
            kaufland::signature(&self.0.secret("secret_key"), method, &format!("http://shop{target}"), text.as_bytes(), &stamp);
        self.0.headers.retain(|(name, _)| !["shop-timestamp", "shop-signature"].contains(&name.as_str()));
        self.0.headers.push(("shop-timestamp".into(), stamp));
        self.0.headers.push(("shop-signature".into(), signed));
        self.0.call_bytes(method, target, text.into_bytes())
    }

    fn get(&mut self, target: &str) -> Value {
        let say = self.call("GET", target, Value::Null);
        assert_eq!(say.status, 200, "{target}: {say:?}");
        say.body.unwrap()
    }
}

fn rows(rows: &[(u64, i64)]) -> Value {
    rows.iter().map(|(n, amount)| json!({ "id_unit": 3_500_000_000_u64 + n, "unit_data": { "amount": amount } })).collect()
}

#[test]
fn a_batch_is_a_207_with_a_status_for_each() {
    let mut seller = Seller::new();
    seller.0.luck.poison = vec!["C".into()];
    let say = seller.call("POST", "/v2/units/bulk?storefront=de", rows(&[(1, 3), (9, 1), (3, 1), (2, -1)]));
    assert_eq!(say.status, 207);
    let codes: Vec<_> =
        say.body.as_ref().unwrap()["data"].as_array().unwrap().iter().map(|row| row["status_code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [200, 404, 400, 400]);
    assert_eq!((seller.0.shop.shown("A"), seller.0.shop.shown("C")), (3, 9));
    let twice = seller.call("POST", "/v2/units/bulk?storefront=de", rows(&[(1, 1), (2, 1), (1, 2)]));
    assert_eq!((twice.status, seller.0.shop.shown("A"), seller.0.shop.shown("B")), (400, 3, 7));
    assert_eq!(seller.call("PATCH", "/v2/units/3500000002?storefront=de", json!({ "amount": 4 })).status, 200);
    assert_eq!(seller.0.shop.shown("B"), 4);
}

#[test]
fn every_request_is_signed() {
    let mut seller = Seller::new();
    assert_eq!(seller.get("/v2/status/ping")["data"]["message"], "pong");
    let body = rows(&[(1, 1)]).to_string();
    seller.call("POST", "/v2/units/bulk?storefront=de", rows(&[(1, 3)]));
    // The signature of another body, then of another time.
    assert_eq!(seller.0.call_bytes("POST", "/v2/units/bulk?storefront=de", body.into_bytes()).status, 401);
    seller.0.wait_seconds(301);
    assert_eq!(seller.0.call("GET", "/v2/units", Value::Null).status, 401);
    assert_eq!(seller.0.shop.shown("A"), 3);
}

#[test]
fn units_and_order_units_come_page_by_page() {
    let mut seller = Seller::new();
    assert_eq!(seller.call("GET", "/v2/units?limit=2&offset=2", Value::Null).status, 400, "of which storefront?");
    let page = seller.get("/v2/units?storefront=de&limit=2&offset=2");
    assert_eq!((&page["data"][0]["id_offer"], &page["pagination"]["total"]), (&json!("C"), &json!(3)));
    let order = seller.0.sell("A", 3).order_id;
    seller.0.wait_seconds(10);
    seller.0.cancel(&order, Some(1));
    assert_eq!(seller.0.shop.shown("A"), 2, "nobody raises it");
    let list = seller.get("/v2/order-units?ts_updated_from_iso=2026-01-09T10%3A30%3A05Z&limit=100&offset=0");
    let states: Vec<_> = list["data"].as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["cancelled", "need_to_be_sent", "need_to_be_sent"]);
    assert_eq!(seller.get("/v2/order-units?status=cancelled")["data"].as_array().unwrap().len(), 1);
    let second: u64 = order.parse::<u64>().unwrap() + 1;
    assert_eq!(seller.get(&format!("/v2/order-units/{second}"))["data"]["id_offer"], "A");
    assert_eq!(seller.call("GET", &format!("/v2/order-units/{}", second + 5), Value::Null).status, 404);
}

#[test]
fn messages_are_signed_and_name_the_piece() {
    let mut seller = Seller::new();
    let trade = seller.0.sell("A", 2);
    let told = seller.0.notices(&trade, Reason::Sold, Feed::Orders);
    assert_eq!(told.len(), 2);
    let body: Value = serde_json::from_str(&told[1].body).unwrap();
    assert_eq!(body["resource"], format!("/order-units/{}", trade.order_id.parse::<u64>().unwrap() + 1));
    let delivery = seller.0.delivered(&told[0]);
    let stamp = seller.0.at.seconds().to_string();
    let url = "http://127.0.0.1:8080/webhooks/kaufland";
    let right = kaufland::signature(&seller.0.secret("secret_key"), "POST", url, told[0].body.as_bytes(), &stamp);
    assert!(delivery.headers.contains(&("Shop-Signature", right)));
    let trade = seller.0.cancel(&trade.order_id, Some(1));
    let told = seller.0.notices(&trade, Reason::Cancelled, Feed::Orders);
    assert_eq!((told.len(), told[0].name), (1, "order_unit_status_changed"));
}
