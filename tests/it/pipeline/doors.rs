//! Marketplaces that sign in other ways than ours, through real sockets; and what people do with the log.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::hub::{Hub, PATH, Plan, SECRET};
use crate::support::signing::{base64_tag, hex_tag};

const SECOND: Duration = Duration::from_secs(1);

fn marketplace(code: &str, account: &str, secrets: &str) -> String {
    let policy = "[marketplaces.policy]\npush_enabled = false\n";
    format!(
        "[[marketplaces]]\ncode = \"{code}\"\nadapter = \"generic\"\n[marketplaces.account]\n{account}\n[marketplaces.secrets]\n{secrets}\n{policy}"
    )
}

async fn start() -> Hub {
    let signed = "webhook_secret = \"env:T_SECRET\"";
    let path = "path_secret = \"env:T_PATH\"";
    let url = "webhook_url = \"https://hub.example/webhooks/it\"";
    let marketplaces = [
        marketplace("striped", "scheme = \"stripe\"", signed),
        marketplace("squared", &format!("scheme = \"square\"\n{url}"), signed),
        marketplace("woo", "scheme = \"woocommerce\"", signed),
        marketplace("ozone", "scheme = \"ozon\"\nseller_id = 4711\ntrust = \"full\"\nallowed_ips = [\"203.0.113.0/24\"]", path),
        marketplace("hinted", "scheme = \"mercado-libre\"\nuser_id = 7\nallowed_ips = [\"127.0.0.1\"]", path),
        marketplace("bay", &format!("scheme = \"ebay\"\n{url}"), "verification_token = \"env:T_TOKEN\""),
    ];
    let plan = Plan { shops: vec![], marketplaces: marketplaces.concat(), ..Plan::default() };
    let hub = Hub::with(plan).await;
    for code in ["striped", "squared", "woo", "ozone", "hinted"] {
        let body = json!({"marketplace": code, "sku": "PHONE-001", "marketplace_product_id": format!("{code}-1")});
        let answer = hub.admin("POST", "/v1/admin/listings", Some(body)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    hub
}

fn sale(previous: i64, change: i64, more: &Value) -> Vec<u8> {
    let mut body = json!({"event": "stock.updated", "sku": "PHONE-001", "previous_stock": previous, "current_stock": previous + change,
        "change": change, "timestamp": format!("2026-01-09T10:{previous:02}:00Z"), "reason": "sold"});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string().into_bytes()
}

async fn available(hub: &Hub) -> i64 {
    hub.get("/v1/admin/products/PHONE-001").await["available"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn named_schemes_are_heard_and_answered_as_their_senders_expect() {
    let hub = start().await;
    // Stripe: the time stands in the header, the id in the body.
    let body = sale(50, -1, &json!({"id": "evt_1"}));
    let at = hub.context.kit.clock.now().seconds();
    let header = format!("t={at},v1={}", hex_tag(SECRET, &[format!("{at}.").as_bytes(), &body].concat()));
    for duplicate in [false, true] {
        let answer = hub.http.send_bytes("POST", "/webhooks/striped", &[("stripe-signature", &header)], &body).await;
        assert_eq!((answer.status, answer.json()["duplicate"].as_bool()), (200, Some(duplicate)), "{}", answer.text());
    }
    assert_eq!(available(&hub).await, 49);
    let old = format!("t={},v1=00", at - 301);
    let answer = hub.http.send_bytes("POST", "/webhooks/striped", &[("stripe-signature", &old)], &body).await;
    assert_eq!((answer.status, answer.problem().as_str()), (401, "invalid-signature"));
    // Square signs the address it was given.
    let body = sale(49, -1, &json!({"event_id": "sq-1"}));
    let signature = base64_tag(SECRET, &[b"https://hub.example/webhooks/it", &body[..]].concat());
    let answer = hub.http.send_bytes("POST", "/webhooks/squared", &[("x-square-hmacsha256-signature", &signature)], &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(available(&hub).await, 48);
    // WooCommerce cannot save a webhook before its unsigned form is answered; anything else unsigned is refused.
    let answer = hub.http.send_bytes("POST", "/webhooks/woo", &[], b"webhook_id=12").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for forged in [&b"webhook_id=12&x=1"[..], b"webhook_id=", b"webhook_id=1x", &body] {
        assert_eq!(hub.http.send_bytes("POST", "/webhooks/woo", &[], forged).await.status, 401);
    }
    // eBay asks who we are.
    let answer = hub.http.send("GET", "/webhooks/bay?challenge_code=abc", &[], None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["challengeResponse"].as_str().map(str::len), Some(64));
    assert_eq!(hub.http.send("GET", "/webhooks/bay", &[], None).await.status, 405);
    assert_eq!(hub.http.send("GET", "/webhooks/striped?challenge_code=abc", &[], None).await.status, 405);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_nothing_needs_path_address_and_account() {
    let hub = start().await;
    let body = sale(50, -2, &json!({"seller_id": 4711}));
    let path = format!("/webhooks/ozone/{PATH}");
    let ours = ("x-forwarded-for", "198.51.100.1, 203.0.113.9");
    let others = [
        ("/webhooks/ozone".to_owned(), ours, body.clone()),
        ("/webhooks/ozone/guess".to_owned(), ours, body.clone()),
        (path.clone(), ("x-forwarded-for", "203.0.113.9, 198.51.100.1"), body.clone()),
        (path.clone(), ("x-other", "1"), body.clone()),
        (path.clone(), ours, sale(50, -2, &json!({"seller_id": 4712}))),
        (path.clone(), ours, sale(50, -2, &json!({}))),
        (path.clone(), ours, b"not json".to_vec()),
    ];
    for (path, header, body) in &others {
        let answer = hub.http.send_bytes("POST", path, &[*header], body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (401, "invalid-signature"), "{path} {header:?}");
    }
    let answer = hub.http.send_bytes("POST", &path, &[ours], &body).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "{\"result\":true}"));
    assert_eq!(available(&hub).await, 48);
    let ping = br#"{"message_type":"TYPE_PING","time":"2026-01-09T10:30:00Z"}"#;
    let answer = hub.http.send_bytes("POST", &path, &[ours], ping).await;
    assert_eq!((answer.status, answer.json()["name"].as_str()), (200, Some("stockhub")));
    // What was refused is shown to admins, newest first, with its reason and no values.
    let list = hub.get("/v1/admin/webhooks/rejected").await;
    let reasons: Vec<&str> = list["items"].as_array().unwrap().iter().map(|item| item["reason"].as_str().unwrap()).collect();
    let wanted = ["other_account", "other_account", "other_account", "wrong_client", "wrong_client", "wrong_path", "wrong_path"];
    assert_eq!(reasons, wanted);
    assert_eq!(list["items"][4]["client"], "198.51.100.1");
    // A hint moves nothing by itself.
    let hint = sale(48, -1, &json!({"user_id": 7}));
    let answer = hub.http.send_bytes("POST", &format!("/webhooks/hinted/{PATH}"), &[], &hint).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(available(&hub).await, 48);
    let log = hub.get("/v1/admin/webhooks?marketplace=hinted").await;
    assert_eq!((&log["items"][0]["status"], &log["items"][0]["error_code"]), (&json!("failed"), &json!("hint-only")));
    hub.stop().await;
}

async fn status(hub: &Hub, id: &str, wanted: &str) -> Value {
    let begun = tokio::time::Instant::now();
    loop {
        let row = hub.get(&format!("/v1/admin/webhooks/{id}")).await;
        if row["status"] == wanted {
            return row;
        }
        assert!(begun.elapsed() < 60 * SECOND, "not {wanted} in time: {row}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logged_rows_go_through_once_more_and_apply_once() {
    let hub = start().await;
    let send = async |body: &[u8]| {
        let at = hub.context.kit.clock.now().seconds();
        let header = format!("t={at},v1={}", hex_tag(SECRET, &[format!("{at}.").as_bytes(), body].concat()));
        let answer = hub.http.send_bytes("POST", "/webhooks/striped", &[("stripe-signature", &header)], body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let good = send(&sale(50, -3, &json!({"id": "evt_1"}))).await;
    let broken = send(b"{\"id\": \"evt_2\"").await;
    let unknown = send(&sale(50, -1, &json!({"id": "evt_3", "sku": "NOBODY"}))).await;
    assert_eq!(status(&hub, &good, "processed").await["key_id"].as_str().map(str::len), Some(8));
    assert_eq!(status(&hub, &broken, "failed").await["error_code"], "invalid-json");
    status(&hub, &unknown, "unmapped").await;
    // Processed once more: it implies what is posted already.
    let answer = hub.admin("POST", &format!("/v1/admin/webhooks/{good}/replay"), None).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    status(&hub, &good, "processed").await;
    assert_eq!(available(&hub).await, 47);
    // Still broken: it stays failed, and is not called done.
    let answer = hub.admin("POST", &format!("/v1/admin/webhooks/{broken}/replay"), None).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(status(&hub, &broken, "failed").await["error_code"], "invalid-json");
    let nobody = hub.admin("POST", &format!("/v1/admin/webhooks/{}/replay", uuid::Uuid::nil()), None).await;
    assert_eq!(nobody.status, 404);
    // In bulk: counted first, then done.
    let product = json!({"sku": "NOBODY", "name": "Somebody", "initial_stock": 5});
    assert_eq!(hub.admin("POST", "/v1/admin/products", Some(product)).await.status, 201);
    let count = hub.admin("POST", "/v1/admin/webhooks/replay", Some(json!({"status": "unmapped", "dry_run": true}))).await;
    assert_eq!((count.status, &count.json()["matched"]), (200, &json!(1)), "{}", count.text());
    let listing = json!({"marketplace": "striped", "sku": "NOBODY", "marketplace_product_id": "striped-2"});
    assert_eq!(hub.admin("POST", "/v1/admin/listings", Some(listing)).await.status, 201);
    let bulk = json!({"status": "processed", "marketplace": "striped"});
    let answer = hub.admin("POST", "/v1/admin/webhooks/replay", Some(bulk)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    status(&hub, &unknown, "processed").await;
    let wrong = hub.admin("POST", "/v1/admin/webhooks/replay", Some(json!({"status": "failed", "marketplace": "zzz"}))).await;
    assert_eq!(wrong.status, 422);
    // Old bodies go, keys stay: the same event is still known, and cannot be replayed.
    let purge = || stockhub::pipeline::retention::PurgeOld { keep: Duration::ZERO };
    status(&hub, &good, "processed").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    while hub.context.writer.run_patiently(purge()).await.unwrap() {}
    assert_eq!(hub.get(&format!("/v1/admin/webhooks/{good}")).await["payload"], "");
    assert_ne!(hub.get(&format!("/v1/admin/webhooks/{broken}")).await["payload"], "", "nobody has handled it yet");
    assert_eq!(send(&sale(50, -3, &json!({"id": "evt_1"}))).await, good);
    let answer = hub.admin("POST", &format!("/v1/admin/webhooks/{good}/replay"), None).await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "body-purged"));
    assert_eq!(available(&hub).await, 47);
    hub.stop().await;
}
