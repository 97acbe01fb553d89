//! The command line: beside a running hub it asks that one, without one it does the work itself.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use stockhub::simulator::kinds::Kind;

use crate::support::hub::{ADMIN_TOKEN, Hub, Plan};

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("not JSON: {} {}", self.out, self.err))
    }
}

async fn run(config: &Path, arguments: &[&str]) -> Ran {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stockhub"));
    command.args(arguments).arg("--config").arg(config).env("T_ADMIN", ADMIN_TOKEN).stdin(Stdio::null());
    let done = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: done.status.code().unwrap(), out: text(done.stdout), err: text(done.stderr) }
}

/// Settings of a hub on its own file, at an address.
fn config(folder: &Path, bind: &str) -> std::path::PathBuf {
    let file = folder.join("hub.toml");
    let text = format!(
        "[server]\nbind = \"{bind}\"\n[database]\nurl = \"sqlite://{}\"\n[auth]\nbootstrap_admin_token = \"env:T_ADMIN\"\n\
         password_memory_kib = 8192\npassword_passes = 1\n[log]\nlevel = \"error\"\n",
        folder.join("own.db").display()
    );
    std::fs::write(&file, text).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_work_without_a_running_hub() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "127.0.0.1:0");
    let made = run(&config, &["user", "add", "Ann@example.com", "--role", "admin", "--json"]).await;
    assert_eq!((made.code, &made.json()["email"]), (0, &json!("ann@example.com")), "{}", made.err);
    assert_eq!(made.json()["password"].as_str().unwrap().len(), 24, "made, as none was given");
    let again = run(&config, &["user", "add", "ann@example.com"]).await;
    assert!(again.code == 1 && again.err.contains("somebody has this e-mail address"), "{} {}", again.code, again.err);
    let listed = run(&config, &["user", "list"]).await;
    assert!(listed.out.contains("ann@example.com") && listed.out.contains("admin"), "{}", listed.out);
    let last = run(&config, &["user", "remove", "ann@example.com"]).await;
    assert!(last.code == 1 && last.err.contains("last admin"), "{}", last.err);

    let table = folder.path().join("stock.csv");
    std::fs::write(&table, "sku,name,stock\nA,Phone,5\nB,Case,\n").unwrap();
    let table = table.to_str().unwrap();
    let planned = run(&config, &["products", "import", table, "--dry-run"]).await;
    assert!(planned.code == 0 && planned.out.contains("would be 2 created"), "{} {}", planned.out, planned.err);
    let done = run(&config, &["products", "import", table, "--json"]).await;
    assert_eq!((done.code, &done.json()["created"]), (0, &json!(2)), "{}", done.err);
    let out = run(&config, &["products", "export"]).await;
    assert!(out.out.starts_with("sku,name,") && out.out.contains("\r\nA,Phone,,,,3,block,5\r\n"), "{}", out.out);
    let first = run(&config, &["products", "export", "--json"]).await.out.lines().next().map(str::to_owned).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&first).unwrap()["stock"], "5");
    let rules = folder.path().join("rules.csv");
    std::fs::write(&rules, "scope,sku,buffer\nproduct,A,2\n").unwrap();
    let done = run(&config, &["rules", "import", rules.to_str().unwrap()]).await;
    assert!(done.code == 0 && done.out.contains("1 rules: 0 created, 1 updated"), "{} {}", done.out, done.err);
    let out = run(&config, &["rules", "export"]).await;
    assert!(out.out.contains("\r\nproduct,,A,,,2,,,,,,,,\r\n"), "{}", out.out);
    std::fs::write(&rules, "scope,stop_below\nhub,100\n").unwrap();
    let asked = run(&config, &["rules", "import", rules.to_str().unwrap(), "--dry-run"]).await;
    assert!(asked.code == 0 && asked.err.contains("1 of 1 products shown would go to zero: it will ask"), "{}", asked.err);
    let asked = run(&config, &["rules", "import", rules.to_str().unwrap()]).await;
    assert!(asked.code == 1 && asked.err.contains("run it again with --confirm"), "{}", asked.err);
    std::fs::write(folder.path().join("bad.csv"), "sku,stock\nA,x\n").unwrap();
    let bad = run(&config, &["products", "import", folder.path().join("bad.csv").to_str().unwrap()]).await;
    assert!(bad.code != 0 && bad.err.contains("line 2: stock:"), "{}", bad.err);

    let copy = folder.path().join("copy.db");
    let made = run(&config, &["backup", copy.to_str().unwrap(), "--json"]).await;
    assert!(made.code == 0 && made.json()["bytes"].as_u64().unwrap() > 0, "{}", made.err);
    let twice = run(&config, &["backup", copy.to_str().unwrap()]).await;
    assert!(twice.code == 1 && twice.err.contains("overwrites nothing"), "{}", twice.err);
    let script = run(&config, &["completions", "bash"]).await;
    assert!(script.code == 0 && script.out.contains("_stockhub"), "{}", script.err);
    let help = run(&config, &["products", "import", "--help"]).await;
    assert!(help.out.contains("Examples:"), "{}", help.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_ask_the_hub_that_runs() {
    let hub = Hub::with(Plan { shops: vec!["uzum"], ..Plan::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    // Another file than the hub's: what is found must have come from the hub.
    let config = config(folder.path(), &hub.address.to_string());
    let out = run(&config, &["products", "export"]).await;
    assert!(out.out.contains("PHONE-001"), "{} {}", out.out, out.err);
    let token = hub.admin("POST", "/v1/admin/tokens", Some(json!({"name": "t", "role": "viewer"}))).await.json();
    let id = token["id"].as_str().unwrap();
    let revoked = run(&config, &["token", "revoke", id]).await;
    assert!(revoked.code == 0 && revoked.out.contains("is revoked"), "{}", revoked.err);
    assert_eq!(run(&config, &["token", "revoke", id]).await.code, 2, "there is no such live token any more");
    let rotated = run(&config, &["secret", "rotate", "uzum", "api_key", "--json"]).await;
    assert!(rotated.code == 0 && rotated.json()["secret"].as_str().unwrap().len() == 64, "{}", rotated.err);
    let filed = run(&config, &["secret", "rotate", "uzum", "webhook_secret"]).await;
    assert!(filed.code == 1 && filed.err.contains("settings file"), "{}", filed.err);
    let typed = run(&config, &["secret", "rotate", "uzum", "api_key", "--secret", "typed-in-plain-sight"]).await;
    assert!(typed.code == 1 && typed.err.contains("env:NAME"), "{}", typed.err);
    let counted = run(&config, &["replay", "--status", "failed", "--dry-run", "--json"]).await;
    assert_eq!(counted.code, 0, "{}", counted.err);
    assert!(run(&config, &["replay"]).await.code == 2, "an id or a status is needed");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_comparing_and_examining_say_what_is_wrong() {
    let hub = Hub::with(Plan { shops: vec!["uzum"], kinds: vec![("bm", Kind::BackMarket)], ..Plan::default() }).await;
    hub.settled(std::time::Duration::from_secs(30)).await;
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &hub.address.to_string());
    let read = run(&config, &["sync", "--marketplace", "bm"]).await;
    assert!(read.code == 0 && read.out.contains("succeeded: 1 listings matched"), "{} {}", read.out, read.err);
    assert!(read.err.contains("reading bm: 1 of 1 listings"), "{}", read.err);
    let soon = run(&config, &["sync", "--marketplace", "bm"]).await;
    assert!(soon.code == 1 && soon.err.contains("or with --force"), "{}", soon.err);
    assert_eq!(run(&config, &["sync", "--marketplace", "bm", "--force", "--json"]).await.json()["status"], "succeeded");
    let nowhere = run(&config, &["sync", "--marketplace", "bn"]).await;
    assert!(nowhere.code == 2 && nowhere.err.contains("no marketplace \"bn\"; there are: bm, olx, uzum"), "{}", nowhere.err);
    let unread = run(&config, &["reconcile", "--marketplace", "uzum"]).await;
    assert!(unread.code == 2 && unread.err.contains("uzum: cannot be asked what it shows"), "{}", unread.err);
    let typed = run(&config, &["sync", "--marketplace", "bm", "--sku", "PHONE-001", "--sku", "FONE-001"]).await;
    assert!(typed.out.contains("PHONE-001") && typed.err.contains("FONE-001: bm shows no number of it"), "{}", typed.err);
    let compared = run(&config, &["reconcile", "--marketplace", "bm", "--dry-run", "--json"]).await;
    assert_eq!((compared.code, &compared.json()["accuracy"]), (0, &json!(1.0)), "{} {}", compared.out, compared.err);
    let well = run(&config, &["doctor", "bm"]).await;
    assert!(well.code == 0 && well.out.contains("credentials"), "{} {}", well.out, well.err);
    let nobody = run(&config, &["doctor", "bn"]).await;
    assert!(nobody.code == 2 && nobody.err.contains("there are: bm, olx, uzum"), "{}", nobody.err);
    hub.stop().await;
}

/// What a browser knows of the time after the backup must not count any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_is_whole_and_another_generation() {
    let hub = Hub::with(Plan { shops: vec![], ..Plan::default() }).await;
    if !hub.database.is_sqlite() {
        return;
    }
    hub.store_sells("PHONE-001", 5).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    let copy = hub.database.folder.path().join("copy.db");
    std::fs::write(&file, format!("[database]\nurl = \"{}\"\n", hub.database.url)).unwrap();
    let made = run(&file, &["backup", copy.to_str().unwrap()]).await;
    assert_eq!(made.code, 0, "while the hub runs: {}", made.err);
    hub.store_sells("PHONE-001", 5).await;
    let before = hub.context.engine.generation();
    let mut database = hub.stop().await;
    database.url = format!("sqlite://{}", copy.display());
    let hub = Hub::on(database, Plan { shops: vec![], ..Plan::default() }).await;
    assert_eq!(hub.available("PHONE-001").await, 45, "as it was when it was copied");
    assert_ne!(hub.context.engine.generation(), before);
    let after = hub.context.engine.generation();
    let database = hub.stop().await;
    let hub = Hub::on(database, Plan { shops: vec![], ..Plan::default() }).await;
    assert_eq!(hub.context.engine.generation(), after, "once restored it is a database like any other");
    hub.stop().await;
}
