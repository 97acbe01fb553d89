//! Tables of rules: what goes out comes in again, all of it or nothing, by whoever may, and a shop is not emptied unasked.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::pipeline::import::{Accept, Kind, Stage};

use crate::support::http::Answer;
use crate::support::hub::{ADMIN_TOKEN, Hub, Plan};

const HEAD: &str = "scope,marketplace,sku,marketplace_product_id,market,buffer,stop_below,fixed,share_percent,rounding,quota,max_listed,\
    priority,paused\r\n";

fn plan() -> Plan {
    Plan { shops: vec!["ozon", "uzum"], products: vec![("A-1", 50), ("B-1", 30), ("C-1", 9)], ..Plan::default() }
}

async fn send_as(hub: &Hub, token: &str, query: &str, table: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "text/csv")];
    hub.http.send_bytes("POST", &format!("/v1/admin/rules/import{query}"), &headers, table.as_bytes()).await
}

async fn send(hub: &Hub, query: &str, table: &str) -> Answer {
    send_as(hub, ADMIN_TOKEN, query, table).await
}

async fn done(hub: &Hub, table: &str) -> Value {
    let answer = send(hub, "", table).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn export(hub: &Hub) -> String {
    let answer = hub.admin("GET", "/v1/admin/rules/export", None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

fn counts(done: &Value) -> [i64; 4] {
    ["created", "updated", "unchanged", "skipped"].map(|name| done[name].as_i64().unwrap())
}

async fn wanted(hub: &Hub, sku: &str, marketplace: &str) -> i64 {
    let product = hub.get(&format!("/v1/admin/products/{sku}")).await;
    let listings = product["listings"].as_array().unwrap();
    listings.iter().find(|l| l["marketplace"] == marketplace).unwrap()["wanted"].as_i64().unwrap()
}

/// Every level, every key, a bundle, a market, and cells that a spreadsheet would take for something else.
fn table() -> String {
    format!(
        "{HEAD}hub,,,,,1,,,,,,,,\r\nmarketplace,olx,,,,,,,,,,,,\r\nmarketplace,ozon,,,,2,3,,50,ceil,,40,-5,\r\n\
         marketplace,store,,,,,,,,,,,,\r\nmarketplace,uzum,,,,,,,,,,,,false\r\n\
         product,,B-1,,,0,,,,,,12,1000,\r\nlisting,ozon,A-1,OZON-A-1,,,,7,,nearest,,,,\r\nlisting,olx,,SET,kz,,,,,,1,,,false\r\n"
    )
}

async fn with_bundle(hub: &Hub) {
    let body = json!({"marketplace": "olx", "marketplace_product_id": "SET", "market": "kz",
        "components": [{"sku": "A-1", "units": 1}, {"sku": "B-1", "units": 2}]});
    let listed = hub.admin("POST", "/v1/admin/listings", Some(body)).await;
    assert_eq!(listed.status, 201, "{}", listed.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_out_comes_in_again_and_changes_nothing() {
    let hub = Hub::with(plan()).await;
    hub.settled(Duration::from_secs(20)).await;
    with_bundle(&hub).await;
    let empty = export(&hub).await;
    assert_eq!(empty.lines().count(), 6, "the hub's and each marketplace's, also where they say nothing: {empty}");
    assert_eq!(counts(&done(&hub, &empty).await), [0, 0, 5, 0]);

    let planned = send(&hub, "?dry_run=true", &table()).await.json();
    assert_eq!((counts(&planned), planned.get("confirm_needed")), ([0, 6, 2, 0], None), "{planned}");
    assert_eq!(export(&hub).await, empty, "a dry run does nothing");
    assert_eq!(counts(&done(&hub, &table()).await), [0, 6, 2, 0]);
    assert_eq!(export(&hub).await, table(), "export is the import's form");
    assert_eq!(counts(&done(&hub, &table()).await), [0, 0, 8, 0], "the same again is nothing");

    // It holds, at every level: a product's and a listing's at once, the broad ones as soon as the pass went by.
    assert_eq!(hub.get("/v1/admin/marketplaces/ozon/rule").await["rule"]["priority"], -5);
    hub.until("the hub's buffer", async || wanted(&hub, "A-1", "uzum").await == 48).await;
    hub.until("ozon's half of what is left", async || wanted(&hub, "C-1", "ozon").await == 4).await;
    assert_eq!((wanted(&hub, "A-1", "ozon").await, wanted(&hub, "B-1", "uzum").await), (7, 12));
    hub.shows("ozon", "A-1", 7).await;
    hub.shows("uzum", "A-1", 48).await;

    // Another hub with the same products, marketplaces and listings has the same rules after it.
    let other = Hub::with(plan()).await;
    with_bundle(&other).await;
    assert_eq!(counts(&done(&other, &export(&hub).await).await), [0, 6, 2, 0]);
    assert_eq!(export(&other).await, table());
    other.stop().await;

    let audit = hub.get("/v1/admin/audit?action=rules.import").await["items"].clone();
    assert_eq!((audit.as_array().unwrap().len(), &audit[0]["details"]["rows"]), (3, &json!(8)), "{audit}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_cell_takes_away_and_a_column_that_is_missing_leaves() {
    let hub = Hub::with(plan()).await;
    done(&hub, "scope,sku,buffer,max_listed\nproduct,A-1,4,20\nproduct,B-1,1,\n").await;
    assert_eq!(hub.get("/v1/admin/products/A-1/rule").await["rule"], json!({"buffer": 4, "max_listed": 20}));
    assert_eq!(counts(&done(&hub, "scope,sku,buffer\nproduct,A-1,\n").await), [0, 1, 0, 0]);
    assert_eq!(hub.get("/v1/admin/products/A-1/rule").await["rule"], json!({"max_listed": 20}));
    assert_eq!(hub.get("/v1/admin/products/B-1/rule").await["rule"], json!({"buffer": 1}), "rules without a line stay");
    assert_eq!(wanted(&hub, "A-1", "uzum").await, 20);
    assert_eq!(counts(&done(&hub, "scope,sku,max_listed\nproduct,A-1,\n").await), [0, 1, 0, 0]);
    assert_eq!(wanted(&hub, "A-1", "uzum").await, 50);
    assert!(!export(&hub).await.contains("product,,A-1"), "a rule that says nothing is none");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_not_good_changes_nothing_and_says_where() {
    let hub = Hub::with(plan()).await;
    let before = export(&hub).await;
    for (row, field) in [
        ("nobody,,,,,1,,,,,,,,", "scope"),
        (",,,,,1,,,,,,,,", "scope"),
        ("hub,uzum,,,,1,,,,,,,,", "marketplace"),
        ("hub,,A-1,,,1,,,,,,,,", "sku"),
        ("marketplace,,,,,1,,,,,,,,", "marketplace"),
        ("marketplace,none,,,,1,,,,,,,,", "marketplace"),
        ("product,,,,,1,,,,,,,,", "sku"),
        ("product,,NOPE,,,1,,,,,,,,", "sku"),
        ("product,uzum,A-1,,,1,,,,,,,,", "marketplace"),
        ("listing,uzum,,,,1,,,,,,,,", "marketplace_product_id"),
        ("listing,none,,UZUM-A-1,,1,,,,,,,,", "marketplace"),
        ("listing,uzum,,UZUM-NOPE,,1,,,,,,,,", "marketplace_product_id"),
        ("listing,uzum,,UZUM-A-1,kz,1,,,,,,,,", "marketplace_product_id"),
        ("listing,uzum,B-1,UZUM-A-1,,1,,,,,,,,", "sku"),
        ("product,,A-1,,,-1,,,,,,,,", "buffer"),
        ("product,,A-1,,,\"1,000\",,,,,,,,", "buffer"),
        ("product,,A-1,,,1e3,,,,,,,,", "buffer"),
        ("product,,A-1,,,,1000000001,,,,,,,", "stop_below"),
        ("product,,A-1,,,,,,101,,,,,", "share_percent"),
        ("product,,A-1,,,,,,,up,,,,", "rounding"),
        ("product,,A-1,,,,,,,,,,-1001,", "priority"),
        ("product,,A-1,,,,,,,,,,,yes", "paused"),
    ] {
        // A good line before it, so that its number counts.
        let refused = send(&hub, "", &format!("{HEAD}product,,B-1,,,1,,,,,,,,\r\n{row}\r\n")).await;
        let said = refused.json();
        assert_eq!((refused.status, refused.problem().as_str()), (422, "import-refused"), "{row}: {said}");
        assert_eq!((&said["errors"][0]["line"], &said["errors"][0]["field"]), (&json!(3), &json!(field)), "{row}: {said}");
        assert!(!said["errors"][0]["message"].as_str().unwrap().is_empty());
    }
    let twice = send(&hub, "", "scope,sku,buffer\nproduct,A-1,1\nproduct,B-1,1\nproduct,A-1,2\n").await.json();
    assert_eq!(twice["errors"][0], json!({"line": 4, "field": "scope", "message": "stands twice: first on line 2"}));
    for table in ["", "sku,buffer\nA-1,1\n", "scope,colour\nhub,red\n", "scope,sku,sku\nhub,,\n"] {
        let refused = send(&hub, "", table).await;
        assert_eq!((refused.status, refused.problem().as_str()), (422, "csv-header"), "{table}: {}", refused.text());
    }
    let dry = send(&hub, "?dry_run=true", "scope,sku,buffer\nproduct,A-1,1\nproduct,NOPE,1\n").await.json();
    assert_eq!((&dry["error_count"], &dry["updated"], &dry["errors"][0]["line"]), (&json!(1), &json!(1), &json!(3)));
    assert_eq!(export(&hub).await, before, "nothing was changed");
    assert_eq!(hub.get("/v1/admin/audit?action=rules.import").await["items"], json!([]));
    hub.stop().await;
}

/// An operator sets rules of products and listings; a whole table with the broad ones in it is fine while those stay as they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_holds_for_all_is_the_admins() {
    let hub = Hub::with(plan()).await;
    let made = hub.admin("POST", "/v1/admin/tokens", Some(json!({"name": "op", "role": "operator"}))).await.json();
    let operator = made["token"].as_str().unwrap();
    let whole = format!("{}product,,A-1,,,2,,,,,,,,\r\n", export(&hub).await);
    let taken = send_as(&hub, operator, "", &whole).await;
    assert_eq!((taken.status, counts(&taken.json())), (200, [0, 1, 5, 0]), "{}", taken.text());
    for row in ["hub,,,,,1,,,,,,,,", "marketplace,uzum,,,,1,,,,,,,,"] {
        let refused = send_as(&hub, operator, "", &format!("{HEAD}{row}\r\n")).await;
        let said = refused.json();
        assert_eq!((refused.status, &said["errors"][0]["field"]), (422, &json!("scope")), "{said}");
        assert!(said["errors"][0]["message"].as_str().unwrap().contains("admin"), "{said}");
    }
    // Checked once more when it is applied: what was unchanged when it was checked is not set back later.
    let staged = json!({"scope": "hub", "marketplace": "", "sku": "", "marketplace_product_id": "", "market": "",
        "rule": {"buffer": 9}, "may_all": false});
    let stage = Stage { id: None, kind: Kind::Rules, rows: vec![(2, staged.to_string())], actor: "op".into() };
    let id = hub.context.writer.run(stage).await.unwrap();
    let accept = Accept { id, actor: "op".into(), action: Kind::Rules.action(), rows: 1, request_id: "r".into(), key: None };
    hub.context.writer.run(accept).await.unwrap();
    let applied = async || hub.context.writer.run(stockhub::pipeline::import::ApplyNext(id)).await.unwrap();
    let counts = loop {
        if let Some(counts) = applied().await {
            break counts;
        }
    };
    assert_eq!((counts.updated, counts.skipped), (0, 1));
    assert_eq!(hub.get("/v1/admin/rules").await["rule"], json!({}));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptying_the_shop_needs_a_second_look() {
    let products = vec![("A-1", 50), ("B-1", 30), ("C-1", 9), ("D-1", 9), ("E-1", 9), ("F-1", 9)];
    let hub = Hub::with(Plan { products, ..plan() }).await;
    hub.settled(Duration::from_secs(20)).await;
    assert_eq!(counts(&done(&hub, "scope,sku,paused\nproduct,A-1,true\n").await)[1], 1, "one by one is how things are put away");
    // Two of six products, over both shops and the store.
    let two = "scope,sku,paused\nproduct,B-1,true\nproduct,C-1,true\n";
    let planned = send(&hub, "?dry_run=true", two).await.json();
    let asked = send(&hub, "", two).await;
    let said = asked.json();
    assert_eq!((asked.status, asked.problem().as_str()), (409, "needs-confirmation"), "{said}");
    assert_eq!((&said["affected"], &said["preview"]["shown"]), (&json!(2), &json!(5)));
    assert_eq!(said["preview"]["examples"][0]["after"], 0);
    assert_eq!(
        (&planned["confirm_needed"]["confirm"], &planned["confirm_needed"]["detail"]),
        (&said["confirm"], &said["detail"])
    );
    assert_eq!(wanted(&hub, "B-1", "uzum").await, 30, "nothing was changed");
    // The token is of this table and no other.
    let other = format!("?confirm={}", said["confirm"].as_str().unwrap());
    assert_eq!(send(&hub, &other, "scope,sku,paused\nproduct,B-1,true\nproduct,D-1,true\n").await.status, 409);
    assert_eq!(send(&hub, &other, two).await.status, 200);
    assert_eq!((wanted(&hub, "B-1", "uzum").await, wanted(&hub, "C-1", "store").await), (0, 0));
    // A marketplace that would show nothing is held against what it shows, however much the others do.
    let rows: String = ["D-1", "E-1", "F-1"].map(|sku| format!("listing,ozon,OZON-{sku},true\n")).concat();
    let asked = send(&hub, "", &format!("scope,marketplace,marketplace_product_id,paused\n{rows}")).await;
    assert_eq!(asked.status, 409, "{}", asked.text());
    // A rule of the hub is looked at even where it empties one.
    let hubs = send(&hub, "", "scope,buffer\nhub,9\n").await;
    assert_eq!((hubs.status, &hubs.json()["preview"]["to_zero"]), (409, &json!(3)), "{}", hubs.text());
    hub.stop().await;
}

/// A table of many rules is applied a stretch at a time, and to the end by the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_table_is_applied_to_the_end() {
    let hub = Hub::with(Plan { products: vec![], ..plan() }).await;
    let rows: String = (0..1_200).map(|n| format!("P-{n:04},Product,5\n")).collect();
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "text/csv")];
    let table = format!("sku,name,stock\n{rows}");
    assert_eq!(hub.http.send_bytes("POST", "/v1/admin/products/import", &headers, table.as_bytes()).await.status, 200);
    let rows: String = (0..1_200).map(|n| format!("product,P-{n:04},2\n")).collect();
    assert_eq!(counts(&done(&hub, &format!("scope,sku,buffer\n{rows}")).await), [0, 1_200, 0, 0]);
    assert_eq!(export(&hub).await.lines().filter(|line| line.starts_with("product,")).count(), 1_200);
    assert_eq!((wanted(&hub, "P-0000", "store").await, wanted(&hub, "P-1199", "store").await), (3, 3));

    let cells = |n: i64| {
        json!({"scope": "product", "marketplace": "", "sku": format!("P-{:04}", n - 1), "marketplace_product_id": "", "market": "",
            "rule": {"buffer": 4}, "may_all": true})
        .to_string()
    };
    let stage = Stage { id: None, kind: Kind::Rules, rows: (1..=1_200).map(|n| (n, cells(n))).collect(), actor: "test".into() };
    let id = hub.context.writer.run(stage).await.unwrap();
    let accept =
        Accept { id, actor: "test".into(), action: Kind::Rules.action(), rows: 1_200, request_id: "r".into(), key: None };
    hub.context.writer.run(accept).await.unwrap();
    let database = hub.stop().await;
    let hub = Hub::on(database, Plan { products: vec![], ..plan() }).await;
    hub.until("all of it is applied", async || wanted(&hub, "P-1199", "store").await == 1).await;
    assert_eq!(wanted(&hub, "P-0000", "store").await, 1);
    hub.stop().await;
}
