//! What was sold, and everything that happened to a product on one axis.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use stockhub::chance::Chance;
use stockhub::clock::Clock;
use stockhub::domain::time::Timestamp;

use super::webhook;
use crate::support::hub::{ADMIN_TOKEN, Hub, Plan, STORE_KEY};

/// At noon: all of it happens on one day.
async fn hub() -> Hub {
    let clock = Clock::manual(Timestamp::parse_rfc3339("2026-06-01T12:00:00Z").unwrap());
    let plan = Plan {
        shops: vec!["uzum", "ozon"],
        products: vec![("A-1", 50), ("B-1", 9)],
        stock_feed: "orders",
        sections: "[push]\nlease_ms = 3600000\n".into(),
        clock: clock.clone(),
        ..Plan::default()
    };
    let hub = Hub::with(plan).await;
    let told = async || {
        hub.until("all is told", async || {
            clock.advance(Duration::from_millis(100));
            let metrics = hub.http.send("GET", "/metrics", &[], None).await.text();
            !metrics.lines().any(|line| line.starts_with("dirty_listings{") && !line.ends_with(" 0"))
        })
        .await;
    };
    told().await;
    let order = |event: &str, quantity: i64, price: &str| {
        clock.advance(Duration::from_secs(1));
        json!({"event": event, "order_id": "1", "timestamp": clock.now().to_string(),
            "items": [{"order_item_id": "1", "sku": "A-1", "quantity": quantity, "price": price}]})
    };
    webhook(&hub, "uzum", &order("order.created", 3, "100.50")).await;
    webhook(&hub, "uzum", &order("order.returned", 1, "100.50")).await;
    let body = json!({"items": [{"sku": "A-1", "quantity": 2}, {"sku": "B-1", "quantity": 1}]});
    let answer = hub.http.send("POST", "/v1/store/orders", &[("x-storefront-key", STORE_KEY)], Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    told().await;
    hub
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sales_add_up_per_marketplace_and_sku() {
    let hub = hub().await;
    let found = hub.get("/v1/admin/analytics?group_by=marketplace,sku").await;
    let row = |marketplace: &str, sku: &str| -> Value {
        let rows = found["rows"].as_array().unwrap();
        rows.iter().find(|row| row["marketplace"] == marketplace && row["sku"] == sku).unwrap().clone()
    };
    let uzum = row("uzum", "A-1");
    assert_eq!(
        (&uzum["units"], &uzum["revenue"], &uzum["cost"], &uzum["profit"]),
        (&json!(2), &json!("201.00"), &json!("160.00"), &json!("41.00"))
    );
    assert_eq!(
        (&uzum["orders"], &uzum["returned"], &uzum["currency"], &uzum["fees"]),
        (&json!(1), &json!(1), &json!("USD"), &json!(null))
    );
    assert_eq!(row("store", "A-1")["revenue"], "259.80");
    let totals = found["totals"].as_array().unwrap();
    assert_eq!((totals.len(), &totals[0]["units"], &totals[0]["revenue"]), (1, &json!(5), &json!("590.70")));
    assert_eq!(
        (&found["deliveries"]["total"], &found["deliveries"]["webhook_share"], &found["deliveries"]["success"]),
        (&json!(2), &json!(1.0), &json!(1.0))
    );
    let calls = &found["api_calls"];
    assert!(
        calls["made"].as_i64().unwrap() >= 4 && calls["listing_changes"].as_i64().unwrap() >= calls["made"].as_i64().unwrap(),
        "{calls}"
    );
    assert_eq!(found["exposure"]["available"], 54);
    let days = hub.get("/v1/admin/analytics?group_by=day").await;
    assert_eq!(days["rows"].as_array().unwrap().len(), 1);
    assert!(days["rows"][0]["day"].is_string() && days["rows"][0].get("sku").is_none());
    let old = hub.get("/v1/admin/analytics?from=2020-01-01&to=2020-12-31").await;
    assert_eq!((&old["rows"], &old["deliveries"]["total"]), (&json!([]), &json!(0)));
    for bad in ["from=yesterday", "from=2026-02-01&to=2026-01-01", "group_by=colour", "to=2026-1-9"] {
        assert_eq!(hub.admin("GET", &format!("/v1/admin/analytics?{bad}"), None).await.status, 422, "{bad}");
    }
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("accept", "text/csv")];
    let table = hub.http.send("GET", "/v1/admin/analytics?group_by=marketplace,sku", &headers, None).await;
    assert!(table.header("content-type").unwrap().starts_with("text/csv"));
    assert!(table.text().contains("\r\n,uzum,A-1,USD,2,201.00,160.00,,41.00,1,0,1\r\n"), "{}", table.text());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_happened_is_on_one_axis() {
    let hub = hub().await;
    let all = hub.get("/v1/admin/products/A-1/timeline?limit=500").await;
    let items = all["items"].as_array().unwrap();
    for kind in ["movement", "listing", "push", "webhook"] {
        assert!(items.iter().any(|item| item["kind"] == kind), "no {kind} in {all}");
    }
    let ids: Vec<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a > b), "newest first, each once: {ids:?}");
    assert_eq!(items.iter().filter(|item| item["kind"] == "webhook").count(), 2);
    // Page by page it is the same list.
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = hub.get(&format!("/v1/admin/products/A-1/timeline?limit=3{cursor}")).await;
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(&paged, items);
    assert_eq!(hub.admin("GET", "/v1/admin/products/NONE/timeline", None).await.status, 404);
    hub.stop().await;
}

/// Figures by their names, as `keys` of a row tell them apart.
fn figures(answer: &Value, keys: &[&str]) -> BTreeMap<Vec<String>, [i64; 5]> {
    let mut sums = BTreeMap::<_, [i64; 5]>::new();
    for row in answer["rows"].as_array().unwrap() {
        let key = keys.iter().map(|key| row[key].as_str().unwrap_or("").to_owned()).collect();
        let cents = |name: &str| row[name].as_str().map_or(0, |text| text.replace('.', "").parse::<i64>().unwrap());
        let whole = |name: &str| row[name].as_i64().unwrap();
        let figures = [whole("units"), cents("revenue"), whole("orders"), whole("cancelled"), whole("returned")];
        sums.entry(key).or_default().iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
    }
    sums
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_are_the_sum_of_every_products_rows_and_of_the_ledger_whatever_came_when() {
    let products = vec![("A-1", 500), ("B-1", 500), ("C-1", 500)];
    let plan = Plan { shops: vec!["uzum", "ozon"], products, stock_feed: "orders", ..Plan::default() };
    let hub = Hub::with(plan).await;
    let chance = Chance::seeded(41);
    let now = Clock::system().now();
    // Orders that come in any order of their days, some twice, some cancelled or returned, in part or before they were heard of.
    for _ in 0..120 {
        let (order, days) = (chance.below(40), chance.below(20));
        let at = now.minus(Duration::from_secs(days * 86_400)).to_string();
        let sku = ["A-1", "B-1", "C-1"][(order % 3) as usize];
        let quantity = 1 + chance.below(4);
        let event = ["order.created", "order.created", "order.cancelled", "order.returned"][chance.below(4) as usize];
        let body = json!({"event": event, "order_id": order.to_string(), "timestamp": at,
            "items": [{"order_item_id": "1", "sku": sku, "quantity": quantity, "price": format!("{}.50", order + 1)}]});
        webhook(&hub, if order % 2 == 0 { "uzum" } else { "ozon" }, &body).await;
    }
    let from = now.minus(Duration::from_secs(40 * 86_400)).day();
    let ask = async |query: &str| hub.get(&format!("/v1/admin/analytics?from={from}&only=sales&{query}")).await;
    let each = ask("group_by=day,marketplace,sku").await;
    let of_each = |keys: &[&str]| figures(&each, keys);
    assert!(of_each(&["day", "marketplace", "sku"]).len() > 30, "spread over days: {each}");
    for keys in [&["day", "marketplace", "currency"][..], &["day", "currency"], &["marketplace", "currency"], &["currency"]] {
        let by = keys[..keys.len() - 1].join(",");
        assert_eq!(figures(&ask(&format!("group_by={by}")).await, keys), of_each(keys), "by {by}");
    }
    assert_eq!(figures(&ask("group_by=sku").await, &["sku"]), of_each(&["sku"]));
    let best = ask("group_by=sku&top=2").await;
    let mut sold: Vec<_> = of_each(&["sku"]).into_iter().map(|(key, figures)| (figures, key)).collect();
    sold.sort_by_key(|(figures, key)| (-figures[0], key.clone()));
    let expected: BTreeMap<_, _> = sold.into_iter().take(2).map(|(figures, key)| (key, figures)).collect();
    assert_eq!(figures(&best, &["sku"]), expected);
    assert_eq!(best["totals"], ask("").await["totals"]);
    // And of the ledger: what was sold is what left, by the day it happened.
    let mut ledger = BTreeMap::<Vec<String>, i64>::new();
    for movement in hub.get("/v1/admin/movements?limit=500").await["items"].as_array().unwrap() {
        let Some(marketplace) = movement["marketplace"].as_str() else { continue };
        let whole = |name: &str| movement[name].as_i64().unwrap();
        let day = movement["occurred_at"].as_str().unwrap()[..10].to_owned();
        let sold = whole("committed_change") - whole("on_hand_change");
        *ledger.entry(vec![day, marketplace.to_owned()]).or_default() += sold;
    }
    let units: BTreeMap<_, _> = of_each(&["day", "marketplace"]).into_iter().map(|(key, figures)| (key, figures[0])).collect();
    assert_eq!(units, ledger);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_that_take_long_are_told_again_and_found_anew_behind_an_answer() {
    let clock = Clock::manual(Timestamp::parse_rfc3339("2026-06-01T12:00:00Z").unwrap());
    let sections = "[analytics]\nkeep_s = 60\nkeep_from_rows = 1\n".to_owned();
    let hub = Hub::with(Plan { shops: vec!["uzum"], clock: clock.clone(), sections, ..Plan::default() }).await;
    let order = |n: usize| {
        json!({"event": "order.created", "order_id": n.to_string(), "timestamp": clock.now().to_string(),
            "items": [{"order_item_id": "1", "sku": "PHONE-001", "quantity": 1}]})
    };
    let path = "/v1/admin/analytics?group_by=marketplace";
    let deliveries = |answer: &Value| answer["deliveries"]["total"].as_i64().unwrap();
    webhook(&hub, "uzum", &order(1)).await;
    let first = hub.get(path).await;
    assert_eq!((deliveries(&first), &first["counted_at"]), (1, &json!(clock.now())));
    webhook(&hub, "uzum", &order(2)).await;
    assert_eq!(hub.get(path).await["deliveries"], first["deliveries"], "within a minute it is told again");
    let other = hub.get(&format!("{path}&from=2026-01-01")).await;
    assert_eq!(deliveries(&other), 2, "another span is another answer");
    clock.advance(Duration::from_secs(61));
    let stale = hub.get(path).await;
    assert_eq!((&stale["deliveries"], &stale["counted_at"]), (&first["deliveries"], &first["counted_at"]), "and once more");
    hub.until("found anew behind that answer", async || deliveries(&hub.get(path).await) == 2).await;
    webhook(&hub, "uzum", &order(3)).await;
    clock.advance(Duration::from_secs(601));
    let late = hub.get(path).await;
    assert_eq!((deliveries(&late), &late["counted_at"]), (3, &json!(clock.now())), "what is that old is not told");
    hub.stop().await;
}

/// A price that cannot be is the sender's mistake: pieces are booked all the same, and figures can still be asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_of_absurd_prices_keep_nothing_from_being_sold() {
    let plan = Plan { shops: vec!["uzum"], products: vec![("A-1", 50)], stock_feed: "orders", ..Plan::default() };
    let hub = Hub::with(plan).await;
    for n in 0..3 {
        let order = json!({"event": "order.created", "order_id": n.to_string(), "timestamp": Clock::system().now().to_string(),
            "items": [{"order_item_id": "1", "sku": "A-1", "quantity": 100_000, "price": "9999999999999.00"}]});
        let row = hub.delivered("uzum", order.to_string().as_bytes()).await;
        assert_eq!(row["status"], "processed", "{row}");
    }
    assert_eq!(hub.available("A-1").await, 50 - 300_000);
    for group in ["", "day", "marketplace,sku", "day,marketplace,sku"] {
        let found = hub.get(&format!("/v1/admin/analytics?group_by={group}")).await;
        assert_eq!(found["totals"][0]["units"], 300_000, "{found}");
    }
    hub.stop().await;
}

/// More rows than an answer holds go out as a table, each once; as JSON they are refused and the way out is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_sales_has_as_many_rows_as_there_are() {
    let hub = Hub::with(Plan { shops: vec!["uzum"], products: vec![], stock_feed: "orders", ..Plan::default() }).await;
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let csv = [("authorization", bearer.as_str()), ("content-type", "text/csv")];
    let rows = |line: &dyn Fn(usize) -> String| (0..900).map(line).collect::<String>();
    let products = format!("sku,name,stock,price,currency\n{}", rows(&|n| format!("P-{n:03},Product,1000,1.50,USD\n")));
    let listings = format!("marketplace,sku,state\n{}", rows(&|n| format!("uzum,P-{n:03},paused\n")));
    for (path, table) in [("products", products), ("listings", listings)] {
        let answer = hub.http.send_bytes("POST", &format!("/v1/admin/{path}/import"), &csv, table.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let now = Clock::system().now();
    for day in 0..12_u64 {
        let items: Vec<Value> = (0..900)
            .map(|n| json!({"order_item_id": n.to_string(), "sku": format!("P-{n:03}"), "quantity": 1 + n % 3, "price": "1.50"}))
            .collect();
        let at = now.minus(Duration::from_secs(day * 86_400)).to_string();
        webhook(&hub, "uzum", &json!({"event": "order.created", "order_id": day.to_string(), "timestamp": at, "items": items}))
            .await;
    }
    let whole = hub.get("/v1/admin/analytics?only=sales").await["totals"][0].clone();
    assert_eq!((&whole["units"], &whole["orders"]), (&json!(12 * 1_800), &json!(12 * 900)));
    let refused = hub.admin("GET", "/v1/admin/analytics?group_by=day,sku", None).await;
    assert_eq!((refused.status, refused.fields()), (422, vec!["from".to_owned()]));
    assert!(refused.text().contains("CSV"), "{}", refused.text());
    let headers = [("authorization", bearer.as_str()), ("accept", "text/csv")];
    for (by, keys, count) in [
        ("day,marketplace,sku", &["day", "marketplace", "sku"][..], 10_800),
        ("day,sku", &["day", "sku"], 10_800),
        ("marketplace,sku", &["marketplace", "sku"], 900),
        ("sku", &["sku"], 900),
        ("day", &["day"], 12),
        ("", &["currency"], 1),
    ] {
        let table = hub.http.send("GET", &format!("/v1/admin/analytics?group_by={by}"), &headers, None).await;
        let (head, rows) = stockhub::http::read_table(&table.text()).expect("a table");
        let place = |name: &str| head.iter().position(|column| column == name).unwrap();
        let of = |row: &Vec<String>| keys.iter().map(|key| row[place(key)].clone()).collect::<Vec<_>>();
        let names: std::collections::BTreeSet<_> = rows.iter().map(of).collect();
        assert_eq!((rows.len(), names.len()), (count, count), "by {by}: each once");
        let sum = |name: &str| rows.iter().map(|row| row[place(name)].replace('.', "").parse::<i64>().unwrap()).sum::<i64>();
        assert_eq!((sum("units"), sum("revenue"), sum("orders")), (12 * 1_800, 12 * 1_800 * 150, 12 * 900), "by {by}");
        assert!(rows.iter().all(|row| row[place("day")].is_empty() != by.contains("day")), "by {by}");
    }
    let best = hub.http.send("GET", "/v1/admin/analytics?group_by=sku&top=3", &headers, None).await.text();
    assert_eq!(best.lines().count(), 4, "{best}");
    hub.stop().await;
}
