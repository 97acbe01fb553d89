//! Counting: what was on the shelf when it was counted, with the day's movements on top.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::clock::Clock;

use crate::support::http::Answer;
use crate::support::hub::{ADMIN_TOKEN, Hub, Plan, STORE_KEY};

async fn hub(products: Vec<(&'static str, i64)>) -> Hub {
    Hub::with(Plan { shops: vec![], products, ..Plan::default() }).await
}

async fn count(hub: &Hub, counts: Value) -> Answer {
    hub.admin("POST", "/v1/admin/counts", Some(json!({ "counts": counts }))).await
}

async fn count_csv(hub: &Hub, path: &str, text: &str) -> Answer {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "text/csv")];
    hub.http.send_bytes("POST", path, &headers, text.as_bytes()).await
}

async fn sell(hub: &Hub, sku: &str, quantity: i64) {
    let body = json!({"items": [{"sku": sku, "quantity": quantity}]});
    let answer = hub.http.send("POST", "/v1/store/orders", &[("x-storefront-key", STORE_KEY)], Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

async fn on_hand(hub: &Hub, sku: &str) -> i64 {
    hub.get(&format!("/v1/admin/products/{sku}")).await["on_hand"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moved_after_the_count_is_replayed_on_it() {
    let hub = hub(vec![("A-1", 50)]).await;
    sell(&hub, "A-1", 5).await;
    let at = Clock::system().now();
    // The next sale must be later than the count, by the clock that stamps it.
    tokio::time::sleep(Duration::from_millis(5)).await;
    sell(&hub, "A-1", 3).await;
    // At that time 44 lay there (one was missing); three were sold since.
    let answer = count(&hub, json!([{"sku": "A-1", "count": 44, "counted_at": at.to_string()}])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let done = &answer.json()["counts"][0];
    assert_eq!((&done["moved_since"], &done["on_hand_before"], &done["on_hand_after"]), (&json!(-3), &json!(42), &json!(41)));
    assert_eq!(on_hand(&hub, "A-1").await, 41);
    let newest = &hub.get("/v1/admin/movements?sku=A-1").await["items"][0];
    assert_eq!((&newest["movement_type"], &newest["reason"]), (&json!("adjusted"), &json!("cycle_count")));
    // The same list once more finds the shelf as it is; an older one does not turn the clock back.
    let again = count(&hub, json!([{"sku": "A-1", "count": 44, "counted_at": at.to_string()}])).await;
    assert_eq!((again.status, &again.json()["counts"][0]["change"]), (200, &json!(0)));
    let older = at.minus(Duration::from_secs(60)).to_string();
    let refused = count(&hub, json!([{"sku": "A-1", "count": 50, "counted_at": older}])).await;
    assert_eq!((refused.status, on_hand(&hub, "A-1").await), (422, 41), "{}", refused.text());
    assert_eq!(refused.json()["errors"][0]["field"], "/counts/0/counted_at");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_orders_may_be_off_the_shelf_already() {
    // This marketplace ships later: its sale commits, and the goods stay on hand.
    let marketplaces =
        "[[marketplaces]]\ncode = \"olx\"\nadapter = \"manual\"\n[marketplaces.policy]\nfulfilment = \"shipment\"\n";
    let plan = Plan { shops: vec![], marketplaces: marketplaces.into(), products: vec![("A-1", 20)], ..Plan::default() };
    let hub = Hub::with(plan).await;
    let body = json!({"marketplace": "olx", "items": [{"sku": "A-1", "quantity": 4}]});
    let order = hub.admin("POST", "/v1/admin/orders", Some(body)).await;
    assert_eq!(order.status, 201, "{}", order.text());
    let product = hub.get("/v1/admin/products/A-1").await;
    assert_eq!((&product["on_hand"], &product["committed"], &product["available"]), (&json!(20), &json!(4), &json!(16)));
    // Sixteen on the shelf, the four packed ones not counted: nothing is missing.
    let answer = count(&hub, json!([{"sku": "A-1", "count": 16, "includes_open_orders": false}])).await;
    assert_eq!((answer.status, &answer.json()["counts"][0]["change"]), (200, &json!(0)), "{}", answer.text());
    // Counted with them, sixteen means that four are gone.
    let answer = count(&hub, json!([{"sku": "A-1", "count": 16}])).await;
    assert_eq!((answer.status, &answer.json()["counts"][0]["change"]), (200, &json!(-4)), "{}", answer.text());
    assert_eq!(hub.get("/v1/admin/products/A-1").await["available"], 12);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_posted_whole_or_not_at_all() {
    let hub = hub(vec![("A-1", 1), ("B-1", 2)]).await;
    let bad = count(&hub, json!([{"sku": "A-1", "count": 9}, {"sku": "NONE", "count": 1}, {"sku": "A-1", "count": 8}])).await;
    let fields: Vec<_> = bad.json()["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!((bad.status, fields), (422, vec![json!("/counts/1/sku"), json!("/counts/2/sku")]));
    let stale = count(&hub, json!([{"sku": "A-1", "count": 9}, {"sku": "B-1", "count": 1, "expected_version": 7}])).await;
    assert_eq!((stale.status, stale.problem().as_str(), &stale.json()["index"]), (409, "stale-version", &json!(1)));
    assert_eq!((on_hand(&hub, "A-1").await, on_hand(&hub, "B-1").await), (1, 2));
    let good = count(&hub, json!([{"sku": "A-1", "count": 9, "expected_version": 1}, {"sku": "B-1", "count": 0}])).await;
    assert_eq!(good.status, 200, "{}", good.text());
    assert_eq!((on_hand(&hub, "A-1").await, on_hand(&hub, "B-1").await), (9, 0));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_names_its_bad_lines_and_can_be_tried_first() {
    let hub = hub(vec![("A-1", 1), ("B,\"2\"", 2)]).await;
    let text =
        "sku,location,count,counted_at,includes_open_orders\nA-1,main,5,,\n\"B,\"\"2\"\"\",,x,,\nNONE,main,1,yesterday,maybe\n";
    let bad = count_csv(&hub, "/v1/admin/counts", text).await;
    let fields: Vec<_> = bad.json()["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!(bad.status, 422);
    assert_eq!(fields, ["line 3: count", "line 4: counted_at", "line 4: includes_open_orders"]);
    let unknown = count_csv(&hub, "/v1/admin/counts", "sku,count\nA-1,5\nNONE,1\n").await;
    assert_eq!((unknown.status, &unknown.json()["errors"][0]["field"]), (422, &json!("line 3: sku")));
    let text = "sku,location,count,counted_at,includes_open_orders\r\nA-1,main,5,,true\r\n\"B,\"\"2\"\"\",,7,,\r\n";
    let tried = count_csv(&hub, "/v1/admin/counts?dry_run=true", text).await;
    assert_eq!((tried.status, &tried.json()["counts"][1]["change"]), (200, &json!(5)), "{}", tried.text());
    assert_eq!(on_hand(&hub, "A-1").await, 1, "tried only");
    let done = count_csv(&hub, "/v1/admin/counts", text).await;
    assert_eq!((done.status, &done.json()["dry_run"], on_hand(&hub, "A-1").await), (200, &json!(false), 5));
    let other =
        hub.http.send_bytes("POST", "/v1/admin/counts", &[("authorization", &format!("Bearer {ADMIN_TOKEN}"))], b"x").await;
    assert_eq!(other.status, 415);
    hub.stop().await;
}

/// What lay there when the product was made is a count too: movements before it are in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_from_before_the_opening_is_older_than_what_stands() {
    let hub = hub(vec![("A-1", 50)]).await;
    let early = Clock::system().now().minus(Duration::from_secs(3_600)).to_string();
    let refused = count(&hub, json!([{"sku": "A-1", "count": 44, "counted_at": early}])).await;
    assert_eq!((refused.status, refused.fields()), (422, vec!["/counts/0/counted_at".to_owned()]), "{}", refused.text());
    assert_eq!(on_hand(&hub, "A-1").await, 50);
    hub.stop().await;
}

/// A table of counts: as long as any other table, of the time each line says or came, all of it or nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_table_of_counts_is_posted_stretch_by_stretch() {
    let hub = hub(vec![]).await;
    let rows = 2_600;
    let products: String = (0..rows).map(|n| format!("P-{n:04},Product,7\n")).collect();
    let made = count_csv(&hub, "/v1/admin/products/import", &format!("sku,name,stock\n{products}")).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let shelves: String = (0..rows).map(|n| format!("P-{n:04},main,{}\n", 7 + n % 2)).collect();
    let table = format!("SKU,location,count\n{shelves}");
    let told = |answer: &Answer| {
        ["created", "updated", "unchanged", "skipped", "error_count"].map(|name| answer.json()[name].as_i64().unwrap())
    };
    let planned = count_csv(&hub, "/v1/admin/counts/import?dry_run=true", &table).await;
    assert_eq!((planned.status, told(&planned)), (200, [0, 1_300, 1_300, 0, 0]), "{}", planned.text());
    assert_eq!(on_hand(&hub, "P-0001").await, 7, "tried only");
    let done = count_csv(&hub, "/v1/admin/counts/import", &table).await;
    assert_eq!((done.status, told(&done)), (200, [0, 1_300, 1_300, 0, 0]), "{}", done.text());
    assert_eq!((on_hand(&hub, "P-0000").await, on_hand(&hub, "P-2599").await), (7, 8));
    let newest = &hub.get("/v1/admin/movements?sku=P-2599").await["items"][0];
    assert_eq!(
        (&newest["movement_type"], &newest["reason"], &newest["reference_type"]),
        (&json!("adjusted"), &json!("cycle_count"), &json!("import"))
    );
    // What goes out comes in, and changes nothing; held to the stock it was made of, it does not undo a sale.
    let out = hub.admin("GET", "/v1/admin/counts/export", None).await.text();
    let same = count_csv(&hub, "/v1/admin/counts/import", &out).await;
    assert_eq!(told(&same), [0, 0, 2_600, 0, 0], "{}", same.text());
    let out = hub.admin("GET", "/v1/admin/counts/export", None).await.text();
    sell(&hub, "P-0005", 1).await;
    let stale = count_csv(&hub, "/v1/admin/counts/import", &out).await;
    assert_eq!((stale.status, stale.problem().as_str()), (422, "import-refused"), "{}", stale.text());
    assert_eq!(stale.json()["errors"][0]["field"], "expected_version");
    assert_eq!(stale.json()["errors"][0]["line"], 7);
    // Emptying the shop is asked for, and every mistake is named by line and column.
    let zeros: String = (0..rows).map(|n| format!("P-{n:04},0\n")).collect();
    let zeros = format!("sku,count\n{zeros}");
    let asked = count_csv(&hub, "/v1/admin/counts/import", &zeros).await;
    assert_eq!((asked.status, asked.problem().as_str(), &asked.json()["affected"]), (409, "needs-confirmation", &json!(2_600)));
    for (row, field) in [
        ("NONE,main,1,,,", "sku"),
        ("P-0000,nowhere,1,,,", "location"),
        ("P-0000,main,,,,", "count"),
        ("P-0000,main,-1,,,", "count"),
        ("P-0000,main,1,yesterday,,", "counted_at"),
        ("P-0000,main,1,2999-01-01T00:00:00Z,,", "counted_at"),
        ("P-0000,main,1,2001-01-01T00:00:00Z,,", "counted_at"),
        ("P-0000,main,1,,perhaps,", "includes_open_orders"),
        ("P-0000,main,1,,,99", "expected_version"),
        ("P-0001,,8,,,", "sku"),
    ] {
        let head = "sku,location,count,counted_at,includes_open_orders,expected_version\nP-0001,main,9,,,\n";
        let refused = count_csv(&hub, "/v1/admin/counts/import", &format!("{head}{row}\n")).await;
        let error = refused.json()["errors"][0].clone();
        assert_eq!(
            (refused.status, &error["line"], &error["field"]),
            (422, &json!(3), &json!(field)),
            "{row}: {}",
            refused.text()
        );
    }
    assert_eq!((on_hand(&hub, "P-0001").await, on_hand(&hub, "P-0005").await), (8, 7), "nothing was changed");
    hub.stop().await;
}

/// Between its arrival and its turn a line may be overtaken: what is sold is replayed on it, what somebody counted anew stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_that_waits_for_its_turn_undoes_nothing() {
    use stockhub::pipeline::import::{Accept, ApplyNext, Kind, Stage};
    let hub = hub(vec![("A-1", 50), ("B-1", 50), ("C-1", 50)]).await;
    let at = Clock::system().now();
    let cells = |sku: &str, version: Option<i64>| {
        json!({"sku": sku, "location": "main", "count": 40, "counted_at": at, "includes_open_orders": true, "expected_version": version})
            .to_string()
    };
    let rows = vec![(2, cells("A-1", None)), (3, cells("B-1", None)), (4, cells("C-1", Some(1)))];
    let stage = Stage { id: None, kind: Kind::Counts, rows, actor: "test".into() };
    let id = hub.context.writer.run(stage).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    sell(&hub, "A-1", 3).await;
    assert_eq!(count(&hub, json!([{"sku": "B-1", "count": 45}])).await.status, 200);
    sell(&hub, "C-1", 1).await;
    let accept = Accept { id, actor: "test".into(), action: Kind::Counts.action(), rows: 3, request_id: "r".into(), key: None };
    hub.context.writer.run(accept).await.unwrap();
    let done = loop {
        if let Some(done) = hub.context.writer.run(ApplyNext(id)).await.unwrap() {
            break done;
        }
    };
    assert_eq!((done.updated, done.skipped), (1, 2));
    assert_eq!((on_hand(&hub, "A-1").await, on_hand(&hub, "B-1").await, on_hand(&hub, "C-1").await), (37, 45, 49));
    // Once more is once.
    assert_eq!(hub.context.writer.run(ApplyNext(id)).await.unwrap(), Some(done));
    assert_eq!(on_hand(&hub, "A-1").await, 37);
    hub.stop().await;
}
