//! A marketplace that is nothing but a TOML file in a directory: signed webhooks in, stock moved, quantities out, read back.

use serde_json::{Value, json};
use stockhub::domain::time::Timestamp;

use crate::support::hub::{Hub, Plan, SECRET};
use crate::support::scripted::ScriptedShop;
use crate::support::signing::base64_tag;

/// A made-up marketplace: articles, a signature of its own, one verdict per row.
const CORNER: &str = r#"
[adapter]
id = "corner-shop"
version = 1
verified_on = "2026-11-26"
base_url = "https://api.corner.example"
account = ["seller"]
secrets = ["key", "webhook_secret?"]
refs = { required = ["article"], optional = ["variant"] }
auth = { kind = "headers", headers = { X-Corner-Key = "{{secret.key}}" } }

[limit]
all = { requests = 50, per = "1s", concurrency = 2 }

[stock.push]
request = "POST /stocks"
batch_max = 10
unique_by = ["article"]
body = '{"seller":"{{account.seller}}","stocks":[{"$each":"items","sku":"{{item.ref.article}}","stock":"{{item.qty}}"}]}'
result = { mode = "by_key", items = "/results", key = [["article", "/sku"]], ok = "/code", ok_absent = true, code = "/code", retry_codes = ["busy"] }

[status]
sale = ["paid"]
cancel = ["void"]

[webhook]
verify = { kind = "hmac", header = "X-Corner-Signature", encoding = "base64", signed = "{body}", secret = "{{secret.webhook_secret}}", require = [{ pointer = "/seller", equals = "{{account.seller}}" }] }
ping = { pointer = "/hello", equals = "there?", body = '{"here":"{{now|rfc3339}}"}' }

[[webhook.event]]
match = { header = "X-Corner-Topic", equals = "order" }
kind = "order"
map = { order_id = "/number", status = "/state", updated_at = "/at", lines = "/rows", line_id = "/row", sku = [["variant", "/variant"], ["article", "/article"]], qty = "/pieces" }
"#;

struct Corner {
    hub: Hub,
    left: ScriptedShop,
    right: ScriptedShop,
    /// In whose world the shops stand.
    outside: Hub,
    _files: tempfile::TempDir,
}

/// Two accounts of it; the product is sold on both.
async fn start() -> Corner {
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("corner-shop.toml"), CORNER).unwrap();
    let outside = Hub::with(Plan { shops: Vec::new(), products: Vec::new(), ..Plan::default() }).await;
    let (left, right) = (ScriptedShop::start(outside.world.clone()), ScriptedShop::start(outside.world.clone()));
    let account = |code: &str, shop: &ScriptedShop| {
        format!(
            "[[marketplaces]]\ncode = \"{code}\"\nadapter = \"corner-shop\"\nbase_url = \"{}\"\n[marketplaces.account]\nseller = \"{code}\"\n\
             [marketplaces.secrets]\nkey = \"env:T_TOKEN\"\nwebhook_secret = [\"env:T_SECRET\"]\n",
            shop.base_url()
        )
    };
    let plan = Plan {
        shops: Vec::new(),
        sections: format!("[adapters]\ndir = {}\n", Value::from(files.path().to_str().unwrap())),
        marketplaces: account("left", &left) + &account("right", &right),
        ..Plan::default()
    };
    let hub = Hub::with(plan).await;
    Corner { hub, left, right, outside, _files: files }
}

async fn list(hub: &Hub, code: &str, refs: Value) -> crate::support::http::Answer {
    let body = json!({"marketplace": code, "sku": "PHONE-001", "refs": refs});
    hub.admin("POST", "/v1/admin/listings", Some(body)).await
}

fn order(at: Timestamp, number: &str, state: &str, article: &str, pieces: i64) -> Vec<u8> {
    json!({"seller": "left", "number": number, "state": state, "at": at.to_string(),
        "rows": [{"row": 1, "article": article, "variant": null, "pieces": pieces}]})
    .to_string()
    .into_bytes()
}

async fn deliver(hub: &Hub, body: &[u8]) -> Value {
    let signature = base64_tag(SECRET, body);
    let headers = [("x-corner-signature", signature.as_str()), ("x-corner-topic", "order")];
    let answer = hub.http.send_bytes("POST", "/webhooks/left", &headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    hub.log_row(&answer).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_alone_makes_a_marketplace() {
    let Corner { hub, left, right, outside, _files } = start().await;
    let missing = list(&hub, "left", json!({})).await;
    assert_eq!((missing.status, missing.fields()), (422, vec!["/refs/article".to_owned()]), "{}", missing.text());
    for code in ["left", "right"] {
        let answer = list(&hub, code, json!({"article": "A-77"})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(answer.json()["marketplace_product_id"], "A-77", "named as it is there");
    }
    hub.until("both show the opening stock", async || left.shows("A-77") == Some(50) && right.shows("A-77") == Some(50)).await;
    assert_eq!(left.pushes()[0].body["seller"], "left");

    let at = hub.context.kit.clock.now();
    let row = deliver(&hub, &order(at, "N-1", "paid", "A-77", 3)).await;
    assert_eq!((row["status"].as_str(), row["event_type"].as_str()), (Some("processed"), Some("order")), "{row}");
    assert_eq!(hub.available("PHONE-001").await, 47);
    hub.until("the other account is told", async || right.shows("A-77") == Some(47)).await;

    let later = at.plus(std::time::Duration::from_secs(1));
    deliver(&hub, &order(later, "N-1", "void", "A-77", 3)).await;
    assert_eq!(hub.available("PHONE-001").await, 50);
    hub.until("the other account is told again", async || right.shows("A-77") == Some(50)).await;

    let hello = json!({"hello": "there?"}).to_string();
    let signature = base64_tag(SECRET, hello.as_bytes());
    let headers = [("x-corner-signature", signature.as_str())];
    let here = hub.http.send_bytes("POST", "/webhooks/left", &headers, hello.as_bytes()).await;
    let said = here.json()["here"].as_str().and_then(Timestamp::parse_rfc3339);
    assert!(here.status == 200 && said.is_some_and(|said| said >= at), "{}", here.text());

    let forged = order(at, "N-2", "paid", "A-77", 9);
    let headers = [("x-corner-signature", "AAAA"), ("x-corner-topic", "order")];
    assert_eq!(hub.http.send_bytes("POST", "/webhooks/left", &headers, &forged).await.status, 401);
    let unknown = deliver(&hub, &order(later, "N-3", "lost", "A-77", 1)).await;
    assert_eq!(
        (unknown["status"].as_str(), unknown["error_code"].as_str()),
        (Some("failed"), Some("unknown-status")),
        "{unknown}"
    );
    assert_eq!(hub.available("PHONE-001").await, 50);

    let all = hub.get("/v1/admin/adapters").await;
    let corner = all["items"].as_array().unwrap().iter().find(|adapter| adapter["id"] == "corner-shop").unwrap().clone();
    assert_eq!(corner["refs"], json!({"required": ["article"], "optional": ["variant"]}));
    assert_eq!((corner["webhooks"].as_bool(), corner["polls_orders"].as_bool()), (Some(true), Some(false)));
    hub.stop().await;
    outside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_for_a_name_nobody_knows_waits_and_is_mapped_by_that_name() {
    let Corner { hub, left, right: _right, outside, _files } = start().await;
    let at = hub.context.kit.clock.now();
    let row = deliver(&hub, &order(at, "N-9", "paid", "B-5", 2)).await;
    assert_eq!(row["status"], "unmapped", "{row}");
    assert!(row["error_message"].as_str().unwrap().contains("article=B-5"), "{row}");
    let waiting = hub.get("/v1/admin/unmapped").await;
    let id = waiting["items"][0]["id"].as_str().unwrap().to_owned();
    let mapped = hub.admin("POST", &format!("/v1/admin/unmapped/{id}/map"), Some(json!({"sku": "PHONE-001"}))).await;
    assert!([200, 201].contains(&mapped.status), "{}", mapped.text());
    let listing = hub.listing("PHONE-001", "left").await;
    assert_eq!(listing["refs"], json!({"article": "B-5"}), "{listing}");
    assert_eq!(hub.available("PHONE-001").await, 48);
    hub.until("it is told under that name", async || left.shows("B-5") == Some(48)).await;
    hub.stop().await;
    outside.stop().await;
}
