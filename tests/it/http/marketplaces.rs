//! Marketplaces through the API: live without a restart, secrets rotated with an overlap, and what the file names stays the file's.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::clock::Clock;

use crate::support::http::Answer;
use crate::support::hub::{Hub, Plan, SECRET};
use crate::support::signing::hex_tag;
use crate::support::webhook::sold;

const OWN_SECRET: &str = "an-own-webhook-secret-0123456789abcdef";

fn plan() -> Plan {
    Plan { shops: vec!["uzum"], ..Plan::default() }
}

async fn make(hub: &Hub, code: &str) -> Value {
    let body = json!({"code": code, "adapter": "generic", "base_url": hub.shop("uzum").base_url(), "stock_feed": "delta",
        "name": "Extra", "policy": {"min_gap_ms": 10}, "secrets": {"webhook_secret": OWN_SECRET}});
    let made = hub.admin("POST", "/v1/admin/marketplaces", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()
}

async fn list(hub: &Hub, code: &str) {
    let body = json!({"marketplace": code, "sku": "PHONE-001", "marketplace_product_id": format!("{code}-1"), "marketplace_sku": "PHONE-001"});
    let listed = hub.admin("POST", "/v1/admin/listings", Some(body)).await;
    assert_eq!(listed.status, 201, "{}", listed.text());
}

async fn deliver(hub: &Hub, code: &str, secret: &str, units: i64, timestamp: &str) -> Answer {
    let body = sold(&format!("{code}-1"), 50, units, timestamp);
    let tag = hex_tag(secret, &body);
    hub.http.send_bytes("POST", &format!("/webhooks/{code}"), &[("x-webhook-signature", &tag)], &body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_made_works_at_once_and_after_a_restart() {
    let hub = Hub::with(plan()).await;
    // Only the new one shall tell the shop anything.
    assert_eq!(hub.admin("POST", "/v1/admin/marketplaces/uzum/pause", None).await.json()["status"], "paused");
    let made = make(&hub, "extra").await;
    assert_eq!(
        (&made["declared_in"], &made["status"], &made["webhook_url"]),
        (&json!("api"), &json!("active"), &json!("/webhooks/extra"))
    );
    assert!(!made.to_string().contains(OWN_SECRET));
    assert_eq!(made["secrets"][0]["name"], "webhook_secret");
    let mark = hub.mark("uzum");
    list(&hub, "extra").await;
    hub.until("the new pusher told it", async || hub.told("uzum", mark).iter().any(|told| told.stock == 50)).await;
    let taken = deliver(&hub, "extra", OWN_SECRET, 3, "2026-02-01T10:00:00Z").await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    let row = hub.log_row(&taken).await;
    assert_eq!((&row["status"], &row["key_id"]), (&json!("processed"), &made["secrets"][0]["key_id"]));
    assert_eq!(hub.available("PHONE-001").await, 47);
    assert_eq!(deliver(&hub, "extra", SECRET, 1, "2026-02-01T10:00:01Z").await.status, 401);

    let database = hub.stop().await;
    let hub = Hub::on(database, plan()).await;
    assert_eq!(deliver(&hub, "extra", OWN_SECRET, 2, "2026-02-01T10:00:02Z").await.status, 200);
    assert_eq!(hub.available("PHONE-001").await, 45);
    assert_eq!(hub.get("/v1/admin/marketplaces/uzum").await["status"], "paused", "a pause outlives a restart");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_stops_pushes_and_a_change_is_live() {
    let hub = Hub::with(plan()).await;
    hub.settled(Duration::from_secs(20)).await;
    let path = "/v1/admin/marketplaces/uzum";
    assert_eq!(hub.admin("POST", &format!("{path}/pause"), None).await.status, 200);
    let mark = hub.mark("uzum");
    hub.store_sells("PHONE-001", 5).await;
    assert_eq!(deliver(&hub, "uzum", SECRET, 1, "2026-02-01T10:00:00Z").await.status, 200, "webhooks are taken all the time");
    assert_eq!(hub.admin("POST", &format!("{path}/resume"), None).await.json()["status"], "active");
    hub.shows("uzum", "PHONE-001", hub.available("PHONE-001").await).await;
    assert!(hub.told("uzum", mark).iter().all(|told| told.stock < 50), "what was sold meanwhile is one number");

    let changed = hub.admin("PATCH", path, Some(json!({"webhook_enabled": false, "policy": {"clock_tolerance": "5s"}}))).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.json()["policy"]["clock_tolerance"], "5s");
    assert_eq!(deliver(&hub, "uzum", SECRET, 1, "2026-02-01T10:00:01Z").await.status, 404);
    let again = hub.admin("PATCH", path, Some(json!({"webhook_enabled": null}))).await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(deliver(&hub, "uzum", SECRET, 1, "2026-02-01T10:00:02Z").await.status, 200);
    let bearer = format!("Bearer {}", crate::support::hub::ADMIN_TOKEN);
    let stale = [("authorization", bearer.as_str()), ("if-match", "\"1\"")];
    let stale = hub.http.send("PATCH", path, &stale, Some(json!({"name": "X"}))).await;
    assert_eq!((stale.status, stale.problem().as_str()), (409, "stale-version"));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_secret_and_the_old_one_are_both_believed_for_a_while() {
    let clock = Clock::manual(Clock::system().now());
    let hub = Hub::with(Plan { clock: clock.clone(), ..plan() }).await;
    make(&hub, "extra").await;
    list(&hub, "extra").await;
    let body = json!({"name": "webhook_secret", "overlap_seconds": 600});
    let rotated = hub.admin("POST", "/v1/admin/marketplaces/extra/rotate-secret", Some(body)).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    let rotated = rotated.json();
    let fresh = rotated["secret"].as_str().unwrap().to_owned();
    assert!(fresh.len() == 64 && rotated["old_valid_until"].is_string());
    let of = async |secret: &str, n: u32| {
        let taken = deliver(&hub, "extra", secret, 1, &format!("2026-02-01T10:00:{n:02}Z")).await;
        assert_eq!(taken.status, 200, "{}", taken.text());
        hub.log_row(&taken).await["key_id"].as_str().unwrap().to_owned()
    };
    let (old_key, new_key) = (of(OWN_SECRET, 1).await, of(&fresh, 2).await);
    assert_eq!(json!(new_key), rotated["key_id"]);
    assert_ne!(old_key, new_key, "the log says which one verified");
    clock.advance(Duration::from_secs(601));
    hub.context.connections.refresh_if_changed().await.unwrap();
    assert_eq!(deliver(&hub, "extra", OWN_SECRET, 1, "2026-02-01T10:00:03Z").await.status, 401);
    of(&fresh, 4).await;
    let shown = hub.get("/v1/admin/marketplaces/extra").await;
    assert_eq!(shown["secrets"].as_array().unwrap().len(), 1, "{shown}");
    assert!(!shown.to_string().contains(&fresh));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_file_names_is_the_files() {
    let hub = Hub::with(plan()).await;
    for (method, path, body) in [
        ("PATCH", "/v1/admin/marketplaces/uzum", json!({"base_url": "http://127.0.0.1:1"})),
        ("PATCH", "/v1/admin/marketplaces/uzum", json!({"stock_feed": "orders"})),
        ("POST", "/v1/admin/marketplaces/uzum/rotate-secret", json!({"name": "webhook_secret"})),
    ] {
        let answer = hub.admin(method, path, Some(body.clone())).await;
        assert_eq!((answer.status, answer.problem().as_str()), (409, "declared-in-file"), "{body}: {}", answer.text());
    }
    let in_file = hub.get("/v1/admin/marketplaces/uzum").await["in_file"].clone();
    assert_eq!(in_file, json!(["adapter", "base_url", "stock_feed", "secrets.webhook_secret"]));
    let other = hub.admin("POST", "/v1/admin/marketplaces/uzum/rotate-secret", Some(json!({"name": "api_key"}))).await;
    assert_eq!(other.status, 200, "the file does not name this one: {}", other.text());
    for path in ["/v1/admin/marketplaces/store/pause", "/v1/admin/marketplaces/none/pause"] {
        assert!([404, 409].contains(&hub.admin("POST", path, None).await.status), "{path}");
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_by_field_and_nothing_is_made() {
    let sections = "[security]\nallow_private_targets = false\n".to_owned() + &format!("master_key = \"{}\"\n", "ab".repeat(32));
    let hub = Hub::with(Plan { shops: vec![], sections, ..Plan::default() }).await;
    let good = json!({"code": "extra", "adapter": "generic", "base_url": "https://api.example.com"});
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    let urls = [
        "http://127.0.0.1:9",
        "http://localhost",
        "http://169.254.169.254/latest",
        "http://10.0.0.1",
        "http://[::1]/",
        "http://0.0.0.0",
        "http://2130706433/",
        "http://0x7f.1/",
        "file:///etc/passwd",
        "ftp://example.com",
        "https://user:pass@example.com",
        "gopher://x",
        "https://example.com/?a=b",
        "not a url",
    ];
    let mut cases: Vec<(Value, String)> = urls.iter().map(|url| (with("base_url", json!(url)), "/base_url".into())).collect();
    for (key, value, field) in [
        ("code", json!("X"), "/code"),
        ("code", json!("marketplaces"), "/code"),
        ("adapter", json!("no-such"), "/adapter"),
        ("colour", json!("red"), "/colour"),
        ("stock_feed", json!("guesses"), "/stock_feed"),
        ("currency", json!("dollars"), "/currency"),
        ("policy", json!({"min_gap": 3}), "/policy/min_gap"),
        ("policy", json!({"buffer": 3}), "/policy/buffer"),
        ("policy", json!({"locations": ["nowhere"]}), "/policy/locations"),
        ("account", json!({"scheme": "no-such"}), "/account/scheme"),
        ("secrets", json!({"webhook_secret": "short"}), "/secrets/webhook_secret"),
        ("secrets", json!({"no_such": "0123456789abcdef0123456789abcdef"}), "/secrets/no_such"),
    ] {
        cases.push((with(key, value), field.into()));
    }
    for (body, field) in cases {
        let answer = hub.admin("POST", "/v1/admin/marketplaces", Some(body.clone())).await;
        assert_eq!((answer.status, answer.fields()), (422, vec![field]), "{body}: {}", answer.text());
    }
    let taken = hub.admin("POST", "/v1/admin/marketplaces", Some(with("code", json!("olx")))).await;
    assert_eq!((taken.status, taken.problem().as_str()), (409, "marketplace-taken"));
    let odd = hub.admin("PATCH", "/v1/admin/marketplaces/olx", Some(json!({"code": "x", "enabled": true}))).await;
    assert_eq!((odd.status, odd.fields()), (422, vec!["/code".to_owned(), "/enabled".to_owned()]));
    let codes: Vec<Value> =
        hub.get("/v1/admin/marketplaces").await["items"].as_array().unwrap().iter().map(|m| m["code"].clone()).collect();
    assert_eq!(codes, ["olx", "store"]);
    hub.stop().await;
}
