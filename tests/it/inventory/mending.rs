//! `stockhub verify --repair` and `stockhub explain`, beside a running hub and without one.

use std::process::Output;

use serde_json::json;

use crate::support::database::TestDatabase;
use crate::support::hub::{ADMIN_TOKEN, Hub, Plan, SECRET, STORE_KEY, settings_text};

fn plan() -> Plan {
    Plan { shops: vec![], products: vec![("A-1", 50)], ..Plan::default() }
}

/// Changes rows past the hub, as a hand in the database would.
async fn damage(database: &TestDatabase, statement: &str) {
    let done = if database.is_sqlite() {
        let path = database.url.trim_start_matches("sqlite://");
        let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], timeout=20)\nc.execute(sys.argv[2])\nc.commit()\n";
        tokio::process::Command::new("python3").args(["-c", script, path, statement]).status().await
    } else {
        tokio::process::Command::new("psql").args([&database.url, "-q", "-v", "ON_ERROR_STOP=1", "-c", statement]).status().await
    };
    assert!(done.expect("it runs").success(), "{statement}");
}

/// Runs the program with this database's settings; `address` is where its hub listens, if one runs.
async fn stockhub(database: &TestDatabase, address: &str, arguments: &[&str]) -> Output {
    let text = settings_text(database, &plan(), &[]).replace("127.0.0.1:0", address);
    let file = database.folder.path().join("settings.toml");
    std::fs::write(&file, text).expect("the settings are written");
    tokio::process::Command::new(env!("CARGO_BIN_EXE_stockhub"))
        .args(arguments)
        .args(["--config".as_ref(), file.as_os_str()])
        .envs([("T_ADMIN", ADMIN_TOKEN), ("T_STORE", STORE_KEY), ("T_SECRET", SECRET)])
        .output()
        .await
        .expect("it runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_level_is_brought_back_by_movements() {
    let hub = Hub::with(plan()).await;
    let address = hub.address.to_string();
    damage(&hub.database, "UPDATE inventory SET on_hand = on_hand - 7").await;
    let found = stockhub(&hub.database, &address, &["verify"]).await;
    assert_eq!(found.status.code(), Some(1), "{}", text(&found));
    assert!(text(&found).contains("found 43, wanted 50"), "{}", text(&found));

    // Beside a running hub it is the hub that mends.
    let mended = stockhub(&hub.database, &address, &["verify", "--repair"]).await;
    assert_eq!(mended.status.code(), Some(0), "{}", text(&mended));
    assert!(text(&mended).contains("repaired A-1 at main: on hand 43 → 50"), "{}", text(&mended));
    assert_eq!(hub.get("/v1/admin/products/A-1").await["on_hand"], 50);
    let movements = hub.get("/v1/admin/movements?sku=A-1").await;
    let changes: Vec<_> =
        movements["items"].as_array().unwrap().iter().map(|m| (m["quantity_change"].clone(), m["reason"].clone())).collect();
    let why = json!("verify-repair");
    assert_eq!(changes, [(json!(7), why.clone()), (json!(-7), why), (json!(50), json!(null))]);
    let again = hub.admin("POST", "/v1/admin/verify/repair", None).await;
    assert_eq!((again.status, again.json()), (200, json!({"repaired": []})), "there is nothing left to mend");
    // Business goes on where it was.
    let count = hub.admin("POST", "/v1/admin/counts", Some(json!({"counts": [{"sku": "A-1", "count": 49}]}))).await;
    assert_eq!(count.status, 200, "{}", count.text());
    let database = hub.stop().await;

    // Without a hub, by itself; also where the version was damaged with it.
    damage(&database, "UPDATE inventory SET on_hand = on_hand + 3, version = version + 5").await;
    let mended = stockhub(&database, &address, &["verify", "--repair", "--json"]).await;
    assert_eq!(mended.status.code(), Some(0), "{}", text(&mended));
    let said: serde_json::Value = serde_json::from_slice(&mended.stdout).expect("JSON");
    assert_eq!(
        (&said["clean"], &said["repaired"][0]["on_hand_found"], &said["repaired"][0]["on_hand"]),
        (&json!(true), &json!(52), &json!(49))
    );
    let hub = Hub::on(database, plan()).await;
    assert_eq!(hub.get("/v1/stock/A-1").await["stock"], 49);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_explained_beside_the_hub() {
    let hub = Hub::with(plan()).await;
    let rule = json!({"rule": {"buffer": 3}});
    assert_eq!(hub.admin("PUT", "/v1/admin/products/A-1/rule", Some(rule)).await.status, 200);
    let address = hub.address.to_string();
    let said = stockhub(&hub.database, &address, &["explain", "A-1", "store"]).await;
    assert_eq!(said.status.code(), Some(0), "{}", text(&said));
    assert!(text(&said).contains("shows 47") && text(&said).contains("3 kept back"), "{}", text(&said));
    let json = stockhub(&hub.database, &address, &["explain", "A-1", "--json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json, hub.get("/v1/admin/products/A-1/explain").await);
    assert_eq!(stockhub(&hub.database, &address, &["explain", "NONE"]).await.status.code(), Some(1));
    hub.stop().await;
}
