use std::time::Duration;

use serde_json::{Value, json};

use super::super::super::chaos::Fault;
use super::super::super::webhooks::{Feed, Reason};
use super::super::{Kind, shopify};
use super::Trial;

const API: &str = "/admin/api/2026-07";
const SET: &str = "/admin/api/2026-07/inventory_levels/set.json";

fn trial() -> Trial {
    let trial = Trial::new(Kind::Shopify, &[("A", 5), ("B", 7), ("C", 9)]);
    let token = trial.secret("access_token");
    trial.with("X-Shopify-Access-Token", token).with("Host", "shop")
}

fn level(n: i64, available: i64) -> Value {
    json!({ "location_id": 65_000_000_001_i64, "inventory_item_id": 49_000_000_000_i64 + n, "available": available })
}

#[test]
fn rest_sets_one_level_and_repeats_it() {
    let mut trial = trial();
    assert_eq!(trial.post(SET, level(1, 3))["inventory_level"]["available"], 3);
    trial.fault = Some(Fault::DidNothing);
    assert_eq!(trial.post(SET, level(1, 1))["inventory_level"]["available"], 3, "the number it shows");
    trial.fault = None;
    let elsewhere = json!({ "location_id": 1, "inventory_item_id": 49_000_000_001_i64, "available": 1 });
    assert_eq!(trial.call("POST", SET, elsewhere).status, 404);
    trial.luck.poison = vec!["B".into()];
    assert_eq!(trial.call("POST", SET, level(2, 1)).status, 422);
}

#[test]
fn the_bucket_holds_forty_and_says_how_full_it_is() {
    let mut trial = trial();
    let say = trial.call("POST", SET, level(1, 3));
    assert!(say.headers.contains(&("X-Shopify-Shop-Api-Call-Limit", "0/40".to_owned())), "{say:?}");
    for _ in 1..41 {
        trial.post(SET, level(1, 3));
    }
    let refused = trial.call("POST", SET, level(1, 1));
    assert_eq!((refused.status, trial.breaches("rest"), trial.shop.shown("A")), (429, 1, 3));
    assert!(refused.headers.contains(&("Retry-After", "2.0".to_owned())));
    trial.wait(Duration::from_millis(500));
    trial.post(SET, level(1, 1));
}

#[test]
fn levels_and_orders_come_with_a_link_to_the_next_page() {
    let mut trial = trial();
    let first = trial.call("GET", &format!("{API}/inventory_levels.json?location_ids=65000000001&limit=2"), Value::Null);
    let link = first.headers.iter().find(|(name, _)| *name == "Link").unwrap().1.clone();
    assert!(link.starts_with("<http://shop/admin/api/2026-07/inventory_levels.json?limit=2&page_info="), "{link}");
    let target = link.trim_start_matches("<http://shop").split('>').next().unwrap().to_owned();
    assert_eq!(trial.get(&target)["inventory_levels"][0]["inventory_item_id"], 49_000_000_003_i64);
    assert_eq!(trial.call("GET", &format!("{API}/inventory_levels.json"), Value::Null).status, 422);
    let some = trial.get(&format!("{API}/inventory_levels.json?inventory_item_ids=49000000002"));
    assert_eq!(some["inventory_levels"][0]["available"], 7);

    let gone = trial.sell("A", 2).order_id;
    trial.wait_seconds(10);
    let back = trial.sell("B", 1).order_id;
    trial.wait_seconds(10);
    assert_eq!(trial.cancel(&gone, None).after, 5);
    trial.give_back(&back);
    let page = trial.get(&format!("{API}/orders.json?status=any&updated_at_min=2026-01-09T10:30:15Z&limit=250"));
    assert_eq!(page["orders"].as_array().unwrap().len(), 2);
    assert!(page["orders"][0]["cancelled_at"].is_string() && page["orders"][1]["cancelled_at"].is_null());
    assert_eq!(page["orders"][1]["refunds"][0]["refund_line_items"][0]["restock_type"], "no_restock");
    assert_eq!(trial.get(&format!("{API}/orders.json"))["orders"].as_array().unwrap().len(), 1, "open ones by default");
    assert_eq!(trial.get(&format!("{API}/orders/{gone}.json"))["order"]["line_items"][0]["current_quantity"], 0);
    assert_eq!(trial.get(&format!("{API}/shop.json"))["shop"]["myshopify_domain"], "simulated.myshopify.com");
    assert_eq!(Trial::new(Kind::Shopify, &[]).call("GET", &format!("{API}/shop.json"), Value::Null).status, 401);
}

fn mutation(key: &str, rows: Value) -> Value {
    json!({ "query": "mutation Set($input: InventorySetQuantitiesInput!, $key: String!) { inventorySetQuantities(input: $input) @idempotent(key: $key) { userErrors { code field message } } }",
        "variables": { "key": key, "input": { "name": "available", "reason": "correction", "quantities": rows } } })
}

fn row(n: i64, quantity: i64, from: Value) -> Value {
    json!({ "inventoryItemId": format!("gid://shopify/InventoryItem/{}", 49_000_000_000_i64 + n),
        "locationId": "gid://shopify/Location/65000000001", "quantity": quantity, "changeFromQuantity": from })
}

#[test]
fn graphql_compares_sets_all_or_nothing_and_remembers_keys() {
    let mut trial = trial();
    let graphql = format!("{API}/graphql.json");
    let ask = |trial: &mut Trial, key: &str, rows: Value| trial.post(&graphql, mutation(key, rows));
    let codes = |said: &Value| {
        let errors = said["data"]["inventorySetQuantities"]["userErrors"].as_array().unwrap().iter();
        errors.map(|error| error["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let done = ask(&mut trial, "k1", json!([row(1, 3, json!(5)), row(2, 4, Value::Null)]));
    assert!(codes(&done).is_empty());
    assert_eq!(done["extensions"]["cost"]["throttleStatus"]["currentlyAvailable"], 1_991);
    trial.sell("A", 1);
    let stale = ask(&mut trial, "k2", json!([row(1, 5, json!(3)), row(2, 1, json!(4))]));
    assert_eq!(
        (codes(&stale), trial.shop.shown("A"), trial.shop.shown("B")),
        (vec!["CHANGE_FROM_QUANTITY_STALE".to_owned()], 2, 4)
    );
    let again = ask(&mut trial, "k1", json!([row(1, 3, json!(5)), row(2, 4, Value::Null)]));
    assert_eq!((codes(&again).len(), trial.shop.shown("A"), trial.shop.totals().pushes_duplicate), (0, 2, 2));
    assert_eq!(codes(&ask(&mut trial, "k1", json!([row(1, 9, json!(2))]))), ["IDEMPOTENCY_KEY_PARAMETER_MISMATCH"]);
    let bare = json!({ "query": "mutation { inventorySetQuantities }", "variables": { "input": { "quantities": [row(1, 1, json!(2))] } } });
    assert!(trial.post(&graphql, bare)["errors"][0]["message"].as_str().unwrap().contains("@idempotent"));
    let unknown =
        json!([json!({ "inventoryItemId": "1", "locationId": "65000000001", "quantity": 1, "changeFromQuantity": null })]);
    assert_eq!(codes(&ask(&mut trial, "k3", unknown)), ["INVALID_INVENTORY_ITEM"]);
}

#[test]
fn graphql_costs_points_and_throttles_inside_a_200() {
    let mut trial = trial();
    let query = json!({ "query": "query($first: Int!, $after: String) { location(id: \"x\") { inventoryLevels(first: $first, after: $after) { nodes { item { id } } } } }",
        "variables": { "first": 2 } });
    let levels = trial.post(&format!("{API}/graphql.json"), query);
    assert_eq!(levels["data"]["location"]["inventoryLevels"]["pageInfo"]["hasNextPage"], true);
    let mut asked = 0;
    loop {
        asked += 1;
        let said = trial.post(&format!("{API}/graphql.json"), mutation(&format!("k{asked}"), json!([row(1, 3, Value::Null)])));
        if said["errors"][0]["extensions"]["code"] == "THROTTLED" {
            break;
        }
        assert!(asked < 300, "never throttled");
    }
    assert_eq!((asked, trial.breaches("points")), (200, 1));
}

#[test]
fn webhooks_are_signed_over_the_raw_body() {
    let mut trial = trial();
    let trade = trial.sell("A", 2);
    let told = trial.notices(&trade, Reason::Sold, Feed::Both);
    assert_eq!(told.iter().map(|notice| notice.name).collect::<Vec<_>>(), ["orders/create", "inventory_levels/update"]);
    let delivery = trial.delivered(&told[0]);
    let header = |name: &str| delivery.headers.iter().find(|(known, _)| *known == name).unwrap().1.clone();
    assert_eq!(header("X-Shopify-Hmac-Sha256"), shopify::signature(&trial.secret("app_secret"), told[0].body.as_bytes()));
    assert_eq!((header("X-Shopify-Topic").as_str(), delivery.path.as_str()), ("orders/create", "/webhooks/shopify"));
    assert_eq!(header("X-Shopify-Shop-Domain"), "simulated.myshopify.com");
    // A published vector: RFC 4231, test case 2, in base64.
    assert_eq!(shopify::signature("Jefe", b"what do ya want for nothing?"), "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
    let trade = trial.cancel(&trade.order_id, None);
    let told = trial.notices(&trade, Reason::Cancelled, Feed::Orders);
    let body: Value = serde_json::from_str(&told[0].body).unwrap();
    assert_eq!((told[0].name, body["line_items"][0]["quantity"].as_i64()), ("orders/cancelled", Some(2)));
}
