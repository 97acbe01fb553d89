//! What goes out as a table comes in again as what it was: on the same hub it changes nothing, on another it makes the same. What only
//! goes out says what the lists say.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::Answer;
use crate::support::hub::{ADMIN_TOKEN, Hub, Plan};
use crate::support::webhook::sold;

async fn hub(products: Vec<(&'static str, i64)>) -> Hub {
    let hub = Hub::with(Plan { shops: vec!["uzum", "ozon"], products, ..Plan::default() }).await;
    let made = hub.admin("POST", "/v1/admin/locations", Some(json!({"code": "annex", "name": "Annex"}))).await;
    assert_eq!(made.status, 201, "{}", made.text());
    hub
}

async fn table(hub: &Hub, path: &str) -> String {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("accept", "text/csv")];
    let answer = hub.http.send("GET", path, &headers, None).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

async fn send(hub: &Hub, path: &str, table: &str) -> Answer {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "text/csv")];
    hub.http.send_bytes("POST", path, &headers, table.as_bytes()).await
}

async fn import(hub: &Hub, what: &str, table: &str) -> [i64; 4] {
    let answer = send(hub, &format!("/v1/admin/{what}/import"), table).await;
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    ["created", "updated", "unchanged", "skipped"].map(|name| answer.json()[name].as_i64().unwrap())
}

/// Names with everything that a table or a spreadsheet treats specially.
const PRODUCTS: &str = "sku,name,price,cost_price,currency,low_stock_threshold,oversell_policy,stock\r\n\
    '-D,'''=not a formula,1.00,,EUR,0,preorder,4\r\n'=C,'+Formula,,,,3,block,0\r\n\
    A-1,\"Phone, \"\"black\"\"\",129.90,80.00,USD,5,block,50\r\nB-2,'Case',1500,,JPY,3,allow,7\r\nü,Тарелка,,3.50,EUR,1,block,9\r\n";

const LISTINGS: &str = "marketplace,marketplace_product_id,market,sku,units,components,marketplace_sku,refs,price,currency,state\r\n\
    uzum,U-1,,A-1,1,,A-1,,119.90,USD,active\r\nuzum,U-1,kz,A-1,1,,,,,,paused\r\nuzum,U-6,,B-2,6,,PACK,\"{\"\"k\"\":1}\",,,ended\r\n\
    olx,SET,,,,\"[{\"\"sku\"\":\"\"A-1\"\",\"\"units\"\":1},{\"\"sku\"\":\"\"B-2\"\",\"\"units\"\":2}]\",SET,,,,active\r\nozon,O-C,,'=C,1,,'=C,,,,active\r\n";

const RULES: &str = "scope,marketplace,sku,buffer,max_listed\nhub,,,1,\nmarketplace,ozon,,,40\nproduct,,'=C,2,\n";

/// The lines of a table; what marketplaces and moments do not change the sense of may stand in another order.
fn lines(table: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = table.lines().collect();
    lines.sort_unstable();
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_come_in_as_they_went_out_here_and_elsewhere() {
    let one = hub(vec![]).await;
    assert_eq!(import(&one, "products", PRODUCTS).await, [5, 0, 0, 0]);
    assert_eq!(import(&one, "listings", LISTINGS).await, [5, 0, 0, 0]);
    assert_eq!(import(&one, "rules", RULES).await, [0, 3, 0, 0]);
    let moved = json!({"sku": "A-1", "from": "main", "to": "annex", "quantity": 20, "reason": "more room"});
    let moved = one.admin("POST", "/v1/admin/transfers", Some(moved)).await;
    assert_eq!(moved.status, 201, "{}", moved.text());
    let listings = table(&one, "/v1/admin/listings/export").await;
    assert_eq!(lines(&listings), lines(LISTINGS));

    // Here nothing changes.
    let names = ["products", "listings", "rules"];
    let mut tables = BTreeMap::new();
    for name in names {
        let text = table(&one, &format!("/v1/admin/{name}/export")).await;
        let rows = text.lines().count() as i64 - 1;
        assert_eq!(import(&one, name, &text).await, [0, 0, rows, 0], "{name}: {text}");
        tables.insert(name, text);
    }
    let counts = table(&one, "/v1/admin/counts/export").await;
    assert!(counts.contains("\r\nA-1,annex,20,,true,") && counts.contains("\r\n'=C,main,0,,true,"), "{counts}");
    for path in ["/v1/admin/counts?dry_run=true", "/v1/admin/counts"] {
        let counted = send(&one, path, &counts).await;
        assert_eq!(counted.status, 200, "{}", counted.text());
        let found = counted.json()["counts"].as_array().unwrap().clone();
        assert_eq!(found.len(), counts.lines().count() - 1);
        assert!(found.iter().all(|count| count["change"] == 0), "{found:?}");
    }
    // It is held to the stock it was made of: what was sold since is not undone by it.
    let counts = table(&one, "/v1/admin/counts/export").await;
    one.store_sells("B-2", 1).await;
    let stale = send(&one, "/v1/admin/counts", &counts).await;
    assert_eq!((stale.status, one.available("B-2").await), (409, 6), "{}", stale.text());

    // Elsewhere it makes the same.
    let other = hub(vec![]).await;
    for name in names {
        import(&other, name, &tables[name]).await;
        let there = table(&other, &format!("/v1/admin/{name}/export")).await;
        assert_eq!(lines(&there), lines(&tables[name]), "{name}");
    }
    other.stop().await;

    // What is oversold does not keep the rest from coming in again.
    let order = json!({"marketplace": "olx", "items": [{"sku": "B-2", "quantity": 9}], "force": true});
    assert_eq!(one.admin("POST", "/v1/admin/orders", Some(order)).await.status, 201);
    assert_eq!(one.available("B-2").await, -3);
    let products = table(&one, "/v1/admin/products/export").await;
    assert_eq!(import(&one, "products", &products).await, [0, 0, 5, 0], "{products}");
    assert_eq!(one.available("B-2").await, -3);
    assert!(!table(&one, "/v1/admin/counts/export").await.contains("B-2,main"), "a count is never below 0");
    one.stop().await;
}

/// A table's rows by the names of its columns.
fn records(text: &str) -> Vec<BTreeMap<String, String>> {
    let (head, rows) = stockhub::http::read_table(text).expect("a table");
    rows.into_iter().map(|cells| head.iter().cloned().zip(cells).collect()).collect()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_and_movements_go_out_as_the_lists_have_them() {
    let hub = hub(vec![("A-1", 50), ("=B", 30)]).await;
    assert_eq!(hub.deliver("uzum", &sold("UZUM-A-1", 50, 3, "2026-02-01T10:00:00Z")).await.status, 200);
    let order = json!({"marketplace": "olx", "customer_name": "=Anna", "items": [{"sku": "A-1", "quantity": 1}, {"sku": "=B", "quantity": 2}]});
    assert_eq!(hub.admin("POST", "/v1/admin/orders", Some(order)).await.status, 201);
    hub.settled(Duration::from_secs(30)).await;

    let movements = hub.get("/v1/admin/movements?limit=500").await["items"].clone();
    let rows = records(&table(&hub, "/v1/admin/movements").await);
    assert_eq!(rows.len(), movements.as_array().unwrap().len());
    for (row, movement) in rows.iter().zip(movements.as_array().unwrap()) {
        for (column, text) in row {
            assert_eq!(*text, cell(&movement[column]), "{column} of {movement}");
        }
    }

    // Orders go out line by line; the customer does not.
    let orders = hub.get("/v1/admin/orders?limit=500").await["items"].clone();
    let text = table(&hub, "/v1/admin/orders").await;
    assert!(!text.contains("Anna"));
    let rows = records(&text);
    let lines: usize = orders.as_array().unwrap().iter().map(|order| order["lines"].as_array().unwrap().len()).sum();
    assert_eq!((rows.len(), lines), (3, 3), "{text}");
    for order in orders.as_array().unwrap() {
        let of: Vec<_> = rows.iter().filter(|row| row["id"] == order["id"].as_str().unwrap()).collect();
        let sold = |lines: Vec<(String, String)>| lines.into_iter().collect::<BTreeMap<_, _>>();
        let there = sold(of.iter().map(|row| (row["sku"].clone(), row["quantity"].clone())).collect());
        let listed = order["lines"].as_array().unwrap().iter();
        assert_eq!(there, sold(listed.map(|line| (cell(&line["sku"]), cell(&line["quantity"]))).collect()), "{text}");
        assert!(of.iter().all(|row| row["status"] == order["status"].as_str().unwrap()));
    }
    hub.stop().await;
}
