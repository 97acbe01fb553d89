//! Tables of products and listings: what goes out comes in again, all of it or nothing, and B93 to B101 of the bad inputs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::Answer;
use crate::support::hub::{ADMIN_TOKEN, Hub, Plan};

async fn hub() -> Hub {
    Hub::with(Plan { shops: vec!["uzum"], products: vec![], ..Plan::default() }).await
}

async fn send(hub: &Hub, path: &str, table: &[u8]) -> Answer {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "text/csv")];
    hub.http.send_bytes("POST", &format!("/v1/admin/{path}"), &headers, table).await
}

async fn import(hub: &Hub, table: &str) -> Value {
    let answer = send(hub, "products/import", table.as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn export(hub: &Hub, what: &str) -> String {
    let answer = hub.admin("GET", &format!("/v1/admin/{what}/export"), None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

fn counts(done: &Value) -> [i64; 3] {
    ["created", "updated", "unchanged"].map(|name| done[name].as_i64().unwrap())
}

const TABLE: &str = "sku,name,price,cost_price,currency,low_stock_threshold,oversell_policy,stock\r\n\
    '=C,'+Formula,,,,3,block,0\r\nA-1,\"Phone, black\",129.90,80.00,USD,5,block,50\r\nB-2,Case,9.90,,USD,3,allow,7\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_out_comes_in_again_and_changes_nothing() {
    let hub = hub().await;
    let planned = send(&hub, "products/import?dry_run=true", TABLE.as_bytes()).await.json();
    assert_eq!((counts(&planned), &planned["dry_run"]), ([3, 0, 0], &json!(true)));
    assert_eq!(hub.get("/v1/admin/products").await["items"], json!([]), "a dry run does nothing");
    let done = import(&hub, TABLE).await;
    assert_eq!((counts(&done), &done["rows"], &done["errors"]), ([3, 0, 0], &json!(3), &json!([])));
    let phone = hub.get("/v1/admin/products/A-1").await;
    assert_eq!(
        (&phone["available"], &phone["price"]["amount"], &phone["is_available"]),
        (&json!(50), &json!("129.90"), &json!(true))
    );
    assert_eq!(hub.get("/v1/admin/products/%3DC").await["name"], "+Formula", "kept as text");
    let movement = hub.get("/v1/admin/movements?sku=A-1").await["items"][0].clone();
    assert_eq!((&movement["movement_type"], &movement["reference_type"]), (&json!("opening"), &json!("import")));
    assert_eq!(export(&hub, "products").await, TABLE, "export is the import's form, and escapes");
    assert_eq!(counts(&import(&hub, &export(&hub, "products").await).await), [0, 0, 3]);
    // What is named changes, what is left empty stays.
    let done = import(&hub, "sku,stock,price,currency\nA-1,45,,\nB-2,,10.50,USD\n").await;
    assert_eq!(counts(&done), [0, 2, 0]);
    assert_eq!(hub.available("A-1").await, 45);
    assert_eq!(hub.get("/v1/admin/products/B-2").await["price"]["amount"], "10.50");
    assert_eq!(hub.get("/v1/stock/A-1").await["stock"], 45, "shoppers see it");
    assert_eq!(hub.get("/v1/admin/audit?action=products.import").await["items"].as_array().unwrap().len(), 3);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_come_in_and_go_out_too() {
    let hub = hub().await;
    import(&hub, TABLE).await;
    let table = "marketplace,marketplace_product_id,market,sku,units,components,marketplace_sku,refs,price,currency,state\r\n\
        uzum,U-1,,A-1,1,,A-1,,119.90,USD,active\r\nuzum,U-6,,B-2,6,,PACK,\"{\"\"k\"\":1}\",,,active\r\n\
        olx,SET,,,,\"[{\"\"sku\"\":\"\"A-1\"\",\"\"units\"\":1},{\"\"sku\"\":\"\"B-2\"\",\"\"units\"\":2}]\",SET,,,,active\r\n";
    let done = send(&hub, "listings/import", table.as_bytes()).await;
    assert_eq!((done.status, counts(&done.json())), (200, [3, 0, 0]), "{}", done.text());
    assert_eq!(export(&hub, "listings").await, table);
    assert_eq!(counts(&send(&hub, "listings/import", table.as_bytes()).await.json()), [0, 0, 3]);
    // The shop knows none of them, and says so; under another name it is asked again.
    let pushes = async || hub.get("/v1/admin/pushes?sku=A-1&marketplace=uzum").await["items"].as_array().unwrap().len();
    hub.until("refused", async || hub.get("/v1/admin/listings?state=blocked").await["items"].as_array().unwrap().len() == 2)
        .await;
    let before = pushes().await;
    let changed = "marketplace,marketplace_product_id,sku,marketplace_sku\nuzum,U-1,A-1,A-NEW\n";
    assert_eq!(counts(&send(&hub, "listings/import", changed.as_bytes()).await.json()), [0, 1, 0]);
    hub.until("told under the new name", async || pushes().await > before).await;
    let bad = "marketplace,marketplace_product_id,sku\nnone,X,A-1\nuzum,Y,NOPE\nuzum,U-9,\n";
    let refused = send(&hub, "listings/import", bad.as_bytes()).await;
    let errors = refused.json()["errors"].clone();
    let named: Vec<_> =
        errors.as_array().unwrap().iter().map(|e| (e["line"].as_i64().unwrap(), e["field"].as_str().unwrap())).collect();
    assert_eq!((refused.status, named), (422, vec![(2, "marketplace"), (3, "sku"), (4, "sku")]));
    hub.stop().await;
}

/// B93 to B97, and what is no number; each names its line, and nothing is changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_not_good_changes_nothing() {
    let hub = hub().await;
    import(&hub, TABLE).await;
    let before = export(&hub, "products").await;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("B93 empty", b"".to_vec(), "csv-header"),
        ("B93 no header", b"A-1,Phone\n".to_vec(), "csv-header"),
        ("B93 wrong header", b"sku,colour\nA-1,red\n".to_vec(), "csv-header"),
        ("B93 twice", b"sku,name,sku\nA-1,x,A-1\n".to_vec(), "csv-header"),
        ("B93 without sku", b"name,stock\nx,1\n".to_vec(), "csv-header"),
        ("B94 utf-16", b"\xff\xfes\0k\0u\0".to_vec(), "csv-syntax"),
        ("B94 latin-1", b"sku,name\nA-1,caf\xe9\n".to_vec(), "csv-encoding"),
        ("B95 ragged", b"sku,name\nA-1\n".to_vec(), "csv-syntax"),
        ("B95 quote", b"sku,name\nA-1,\"open\n".to_vec(), "csv-syntax"),
        ("B95 nul", b"sku,name\nA-1,\0\n".to_vec(), "csv-syntax"),
        ("B95 cell", [b"sku,name\nA-1,".to_vec(), vec![b'x'; 1_000_000]].concat(), "csv-syntax"),
    ];
    for (name, table, slug) in cases {
        let answer = send(&hub, "products/import", &table).await;
        assert_eq!((answer.status, answer.problem().as_str()), (422, slug), "{name}: {}", answer.text());
        assert!(slug == "csv-header" || answer.json()["errors"][0]["line"].is_number(), "{name}: {}", answer.text());
    }
    for (name, cell) in [
        ("B96", "\"1,000\""),
        ("B96", "1.000"),
        ("B96", "1e3"),
        ("B96", " 5"),
        ("B96", "+5"),
        ("B96", "=5"),
        ("B96", "-1"),
        ("B96", "99999999999"),
        ("B96", "١٢"),
    ] {
        let answer = send(&hub, "products/import", format!("sku,stock\nA-1,{cell}\n").as_bytes()).await;
        let document = answer.json();
        assert_eq!(
            (answer.status, &document["errors"][0]["field"], &document["errors"][0]["line"]),
            (422, &json!("stock"), &json!(2)),
            "{name} {cell}: {document}"
        );
    }
    let twice = send(&hub, "products/import", b"sku,stock\nA-1,1\nB-2,1\nA-1,2\n").await.json();
    assert_eq!(
        (&twice["errors"][0]["line"], twice["errors"][0]["message"].as_str().unwrap().contains("line 2")),
        (&json!(4), true),
        "B97: {twice}"
    );
    let many: String = (0..120).map(|n| format!("N-{n},,\n")).collect();
    let refused = send(&hub, "products/import", format!("sku,name,stock\n{many}").as_bytes()).await.json();
    assert_eq!((refused["errors"].as_array().unwrap().len(), &refused["error_count"]), (50, &json!(120)), "at most 50 are shown");
    let money = send(&hub, "products/import", b"sku,price,currency\nA-1,1.999,USD\nB-2,1,usd\n").await.json();
    assert_eq!((&money["errors"][0]["field"], &money["errors"][1]["field"]), (&json!("price"), &json!("currency")), "{money}");
    assert_eq!(export(&hub, "products").await, before, "nothing was changed");
    hub.stop().await;
}

/// B98 and B99: too much is refused with the limit, and what would empty the shop has to be confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_and_a_shop_is_not_emptied_unasked() {
    let sections = "[import]\nrows_max = 20\nbytes_max = 4096\n".to_owned();
    let hub = Hub::with(Plan { shops: vec![], products: vec![], sections, ..Plan::default() }).await;
    let rows: String = (0..21).map(|n| format!("S-{n},x\n")).collect();
    let many = send(&hub, "products/import", format!("sku,name\n{rows}").as_bytes()).await;
    assert_eq!((many.status, many.problem().as_str()), (413, "payload-too-large"), "{}", many.text());
    let large = send(&hub, "products/import", format!("sku,name\nA,{}\n", "x".repeat(5_000)).as_bytes()).await;
    assert_eq!(large.status, 413);
    assert_eq!(hub.get("/v1/admin/products").await["items"], json!([]));

    let full: String = (0..10).map(|n| format!("P-{n},Product,9\n")).collect();
    import(&hub, &format!("sku,name,stock\n{full}")).await;
    let one: String = "sku,stock\nP-0,0\n".into();
    assert_eq!(counts(&import(&hub, &one).await), [0, 1, 0], "one is how a shop sells out");
    let zeros: String = (1..10).map(|n| format!("P-{n},0\n")).collect();
    let zeros = format!("sku,stock\n{zeros}");
    let planned = send(&hub, "products/import?dry_run=true", zeros.as_bytes()).await.json();
    let asked = send(&hub, "products/import", zeros.as_bytes()).await;
    assert_eq!((asked.status, asked.problem().as_str(), &asked.json()["affected"]), (409, "needs-confirmation", &json!(9)));
    assert_eq!(planned["confirm_needed"]["confirm"], asked.json()["confirm"]);
    assert_eq!(hub.available("P-5").await, 9);
    assert_eq!(send(&hub, "products/import?confirm=0000", zeros.as_bytes()).await.status, 409);
    let token = asked.json()["confirm"].as_str().unwrap().to_owned();
    let done = send(&hub, &format!("products/import?confirm={token}"), zeros.as_bytes()).await;
    assert_eq!((done.status, counts(&done.json())), (200, [0, 9, 0]));
    assert_eq!(hub.available("P-5").await, 0);
    hub.stop().await;
}

/// B100: what was not accepted is as if it had never come; what was is applied to the end, also by the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_upload_is_nothing_and_an_accepted_one_is_everything() {
    use stockhub::pipeline::import::{Accept, Kind, Stage};
    let hub = hub().await;
    let head = format!(
        "POST /v1/admin/products/import HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN_TOKEN}\r\ncontent-type: text/csv\r\n\
         content-length: 100000\r\n\r\nsku,name\n"
    );
    let rows: String = (0..700).map(|n| format!("X-{n},x\n")).collect();
    {
        use tokio::io::AsyncWriteExt as _;
        let mut socket = tokio::net::TcpStream::connect(hub.address).await.unwrap();
        socket.write_all(format!("{head}{rows}").as_bytes()).await.unwrap();
        // Gone in the middle.
        drop(socket);
    }
    let cells = |n: i64| {
        json!({"sku": format!("R-{n}"), "name": "Restarted", "price": null, "cost_price": null, "currency": null,
            "low_stock_threshold": null, "oversell_policy": null, "stock": n})
        .to_string()
    };
    let stage = Stage { id: None, kind: Kind::Products, rows: (1..=600).map(|n| (n, cells(n))).collect(), actor: "test".into() };
    let id = hub.context.writer.run(stage).await.unwrap();
    let accept =
        Accept { id, actor: "test".into(), action: Kind::Products.action(), rows: 600, request_id: "r".into(), key: None };
    hub.context.writer.run(accept).await.unwrap();
    let database = hub.stop().await;
    let hub = Hub::on(database, Plan { shops: vec!["uzum"], products: vec![], ..Plan::default() }).await;
    hub.until("all of it is applied", async || hub.admin("GET", "/v1/admin/products/R-600", None).await.status == 200).await;
    assert_eq!((hub.available("R-1").await, hub.available("R-600").await), (1, 600));
    assert_eq!(hub.admin("GET", "/v1/admin/products/X-1", None).await.status, 404);
    hub.settled(Duration::from_secs(20)).await;
    hub.stop().await;
}

/// What a listing is made of does not change: a line that says otherwise is a mistake, not a wish that is passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_is_there_is_not_made_of_something_else() {
    let hub = hub().await;
    import(&hub, TABLE).await;
    let head = "marketplace,marketplace_product_id,sku,units,components,price,currency\n";
    let good = format!(
        "{head}uzum,U-1,A-1,,,9.00,USD\nuzum,SET,,,\"[{{\"\"sku\"\":\"\"A-1\"\",\"\"units\"\":1}},{{\"\"sku\"\":\"\"B-2\"\",\"\"units\"\":2}}]\",,\n"
    );
    assert_eq!(counts(&send(&hub, "listings/import", good.as_bytes()).await.json()), [2, 0, 0]);
    for (row, says) in [
        ("uzum,U-1,B-2,,,9.00,USD", "A-1 × 1"),
        ("uzum,U-1,A-1,6,,9.00,USD", "A-1 × 1"),
        ("uzum,SET,A-1,,,,", "A-1 × 1, B-2 × 2"),
    ] {
        let refused = send(&hub, "listings/import", format!("{head}{row}\n").as_bytes()).await;
        let error = refused.json()["errors"][0].clone();
        assert_eq!((refused.status, &error["field"]), (422, &json!("sku")), "{row}: {error}");
        assert!(error["message"].as_str().unwrap().contains(says), "{row}: {error}");
    }
    // A dry run tells what changes from what stays.
    let plan = format!("{good}uzum,U-9,B-2,,,,\n").replace("9.00", "8.00");
    let planned = send(&hub, "listings/import?dry_run=true", plan.as_bytes()).await.json();
    assert_eq!(counts(&planned), [1, 1, 1], "{planned}");
    // Its product is put away, and the table that goes out still comes in.
    assert_eq!(hub.admin("PATCH", "/v1/admin/products/%3DC", Some(json!({"archived": false}))).await.status, 200);
    let listed = format!("{head}uzum,U-C,=C,,,,\n");
    assert_eq!(counts(&send(&hub, "listings/import", listed.as_bytes()).await.json()), [1, 0, 0]);
    let archived = hub.admin("PATCH", "/v1/admin/products/%3DC", Some(json!({"archived": true}))).await;
    assert_eq!(archived.status, 200, "{}", archived.text());
    let again = send(&hub, "listings/import", export(&hub, "listings").await.as_bytes()).await;
    assert_eq!((again.status, counts(&again.json())), (200, [0, 0, 3]), "{}", again.text());
    let new = send(&hub, "listings/import", format!("{head}uzum,U-D,=C,,,,\n").as_bytes()).await;
    assert_eq!(new.status, 422, "a product that is put away is not listed anew");
    hub.stop().await;
}

/// Names that no database takes, or that no order could be looked up by, are told to whoever writes them, and stop no other table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_on_a_marketplace_are_texts_of_some_length() {
    let hub = hub().await;
    import(&hub, TABLE).await;
    let long = "x".repeat(3_000);
    for refs in [
        json!({"k": "a\u{0}b"}),
        json!({"k": {"deep": ["\u{0}"]}}),
        json!({"a\u{0}": 1}),
        json!({"k": long}),
        json!({long.as_str(): 1}),
    ] {
        let cell = refs.to_string().replace('"', "\"\"");
        let table = format!("marketplace,marketplace_product_id,sku,refs\nuzum,U-1,A-1,\"{cell}\"\n");
        let refused = send(&hub, "listings/import", table.as_bytes()).await;
        assert_eq!((refused.status, &refused.json()["errors"][0]["field"]), (422, &json!("refs")), "{}", refused.text());
        let body = json!({"marketplace": "uzum", "sku": "A-1", "marketplace_product_id": "U-1", "refs": refs});
        let refused = hub.admin("POST", "/v1/admin/listings", Some(body)).await;
        assert_eq!((refused.status, refused.fields()), (422, vec!["/refs".to_owned()]), "{}", refused.text());
    }
    let body = json!({"marketplace": "uzum", "sku": "A-1", "marketplace_product_id": "U-1", "refs": {"k": "good"}});
    let made = hub.admin("POST", "/v1/admin/listings", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let path = format!("/v1/admin/listings/{}", made.json()["id"].as_str().unwrap());
    let refused = hub.admin("PATCH", &path, Some(json!({"refs": {"k": "\u{0}"}}))).await;
    assert_eq!((refused.status, refused.fields()), (422, vec!["/refs".to_owned()]), "{}", refused.text());
    hub.stop().await;
}

/// An adapter that cannot name a listing without a ref says so of each line, as it does of a single one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_needs_the_names_that_its_marketplace_goes_by() {
    use stockhub::simulator::kinds::Kind;
    let plan = Plan { shops: vec![], kinds: vec![("wb", Kind::Wildberries)], products: vec![], ..Plan::default() };
    let hub = Hub::with(plan).await;
    import(&hub, TABLE).await;
    let table = "marketplace,marketplace_product_id,sku,refs\nwb,W-1,A-1,\nwb,W-2,B-2,\"{\"\"chrt_id\"\":7}\"\n";
    let refused = send(&hub, "listings/import", table.as_bytes()).await;
    let errors = refused.json()["errors"].clone();
    assert_eq!(
        (refused.status, errors.as_array().unwrap().len(), &errors[0]["line"], &errors[0]["field"]),
        (422, 1, &json!(2), &json!("refs")),
        "{errors}"
    );
    assert!(errors[0]["message"].as_str().unwrap().contains("chrt_id"), "{errors}");
    hub.stop().await;
}

/// What is said of a cell is as long as is good to read, however large the cell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_a_table_is_short() {
    let hub = hub().await;
    let long = "9".repeat(60_000);
    let rows: String = (0..60).map(|n| format!("S-{n},{long}\n")).collect();
    let refused = send(&hub, "products/import", format!("sku,stock\n{rows}").as_bytes()).await;
    assert_eq!(refused.json()["error_count"], 60);
    assert!(refused.body.len() < 50_000, "{} bytes", refused.body.len());
    let refused = send(&hub, "products/import", format!("sku,{long}\n").as_bytes()).await;
    assert_eq!(refused.problem(), "csv-header");
    assert!(refused.body.len() < 5_000, "{} bytes", refused.body.len());
    hub.stop().await;
}

/// A hub that stops sends a table that somebody reads to its end; one that ends early must not look whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_looks_whole_only_where_it_is() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let hub = Hub::with(Plan { shops: vec![], products: vec![], ..Plan::default() }).await;
    // More than sockets hold of their own.
    let name = "\u{1f4e6}".repeat(250);
    let rows: String = (0..8_000).map(|n| format!("S-{n},{name}\n")).collect();
    import(&hub, &format!("sku,name\n{rows}")).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut socket = socket.connect(hub.address).await.unwrap();
    let head = format!("GET /v1/admin/products/export HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut begun = [0; 64];
    socket.read_exact(&mut begun).await.unwrap();
    let mut stop = Box::pin(hub.stop());
    // It is told to stop before anybody reads on.
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut stop).await.is_err(), "it waits for the table");
    let read = async {
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        rest
    };
    let (rest, _) = tokio::join!(read, stop);
    let lines = rest.windows(4).filter(|bytes| bytes == b"\r\nS-").count();
    assert!(!rest.ends_with(b"0\r\n\r\n") || lines == 8_000, "{lines} lines came, and looked whole");
}

/// A table that is sent again because its answer was lost is done once: what was sold in between is not undone by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_table_under_the_same_key_is_done_once() {
    let hub = hub().await;
    import(&hub, TABLE).await;
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let send = async |path: &str, key: &str, table: &str| {
        let headers = [("authorization", bearer.as_str()), ("content-type", "text/csv"), ("idempotency-key", key)];
        hub.http.send_bytes("POST", &format!("/v1/admin/{path}"), &headers, table.as_bytes()).await
    };
    for (path, table, reused) in [
        ("products/import", "sku,stock\nA-1,40\n", "sku,stock\nA-1,41\n"),
        ("counts/import", "sku,count\nA-1,30\n", "sku,count\nA-1,31\n"),
    ] {
        let planned = send(&format!("{path}?dry_run=true"), "one", table).await;
        assert_eq!((planned.status, counts(&planned.json())), (200, [0, 1, 0]), "{path}: {}", planned.text());
        let first = send(path, "one", table).await;
        assert_eq!((first.status, counts(&first.json()), first.header("idempotency-replayed")), (200, [0, 1, 0], None), "{path}");
        let left = hub.available("A-1").await - 2;
        hub.store_sells("A-1", 2).await;
        let again = send(path, "one", table).await;
        assert_eq!(
            (again.status, again.json(), again.header("idempotency-replayed")),
            (200, first.json(), Some("true")),
            "{path}"
        );
        assert_eq!(hub.available("A-1").await, left, "{path}");
        let other = send(path, "one", reused).await;
        assert_eq!((other.status, other.problem().as_str()), (422, "idempotency-key-reused"), "{path}: {}", other.text());
        assert_eq!(hub.available("A-1").await, left, "{path}");
        assert_eq!(send(path, "two", table).await.json(), first.json(), "another key, another time");
        assert_eq!(hub.available("A-1").await, left + 2, "{path}");
    }
    hub.stop().await;
}
