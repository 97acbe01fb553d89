//! The catalogue of bad inputs, B69 to B84 (the admin's API; B93 to B101 are in `import`), and B85 to B91 (settings): what is
//! answered, and that nothing was changed by it. Not here, because they cannot happen: B72 and B74 (writes may carry `If-Match` and
//! `Idempotency-Key`, none has to), B91 and B92 (the hub serves no TLS of its own, and reads its settings at start only).

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::http::Answer;
use crate::support::hub::{ADMIN_TOKEN, Hub, Plan};

struct Case {
    name: &'static str,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    status: u16,
    problem: &'static str,
}

fn case(name: &'static str, request: &str, body: impl ToString, status: u16, problem: &'static str) -> Case {
    let (method, path) = request.split_once(' ').unwrap();
    let method = ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().find(|known| *known == method).unwrap();
    let headers = vec![("authorization", format!("Bearer {ADMIN_TOKEN}")), ("content-type", "application/json".into())];
    Case { name, method, path: path.into(), headers, body: body.to_string().into_bytes(), status, problem }
}

impl Case {
    fn with(mut self, header: &'static str, value: &str) -> Self {
        self.headers.retain(|(name, _)| *name != header);
        if !value.is_empty() {
            self.headers.push((header, value.to_owned()));
        }
        self
    }
}

fn cases() -> Vec<Case> {
    const PRODUCTS: &str = "POST /v1/admin/products";
    const STOCK: &str = "PATCH /v1/admin/products/PHONE-001/inventory";
    const SHOP: &str = "POST /v1/admin/marketplaces";
    let product = |extra: Value| {
        let mut body = json!({"sku": "NEW-1", "name": "New"});
        body.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
        body
    };
    let shop = |url: &str| json!({"code": "new", "adapter": "generic", "base_url": url});
    let mut cases = vec![
        case("B69 none", PRODUCTS, product(json!({})), 401, "unauthorized").with("authorization", ""),
        case("B69 malformed", PRODUCTS, product(json!({})), 401, "unauthorized").with("authorization", "Bearer"),
        case("B69 unknown", PRODUCTS, product(json!({})), 401, "unauthorized").with("authorization", "Bearer shk_00"),
        case("B70 unknown field", PRODUCTS, product(json!({"colour": "red"})), 422, "invalid-request"),
        case("B70 wrong type", PRODUCTS, product(json!({"name": 5})), 422, "invalid-request"),
        case("B70 missing", PRODUCTS, json!({"sku": "NEW-1"}), 422, "invalid-request"),
        case("B71 comma", PRODUCTS, r#"{"sku": "NEW-1", "name": "x",}"#, 400, "invalid-json"),
        case("B71 two", PRODUCTS, r#"{"sku": "NEW-1", "name": "x"} {}"#, 400, "invalid-json"),
        case("B71 comment", PRODUCTS, "{\"sku\": \"NEW-1\", // new\n\"name\": \"x\"}", 400, "invalid-json"),
        case("B71 nothing", PRODUCTS, "", 400, "invalid-json"),
        case("B73 stale", "PATCH /v1/admin/products/PHONE-001", json!({"name": "x"}), 409, "stale-version")
            .with("if-match", "\"99\""),
        case("B73 garbage", "PATCH /v1/admin/products/PHONE-001", json!({"name": "x"}), 422, "invalid-request")
            .with("if-match", "yes"),
        case("B75 long key", STOCK, json!({"delta": 1, "reason": "r"}), 422, "invalid-request")
            .with("idempotency-key", &"k".repeat(256)),
        case("B76 zero", STOCK, json!({"delta": 0, "reason": "r"}), 422, "invalid-request"),
        case("B76 beyond", STOCK, json!({"delta": 2_000_000_000_i64, "reason": "r"}), 422, "invalid-request"),
        case("B76 negative", STOCK, json!({"count": -1, "reason": "r"}), 422, "invalid-request"),
        case("B76 both", STOCK, json!({"count": 1, "delta": 1, "reason": "r"}), 422, "invalid-request"),
        case(
            "B79 unknown",
            "POST /v1/admin/dead-letters/00000000-0000-7000-8000-000000000000/retry",
            "",
            404,
            "unknown-dead-letter",
        )
        .with("content-type", ""),
        case("B80 size 0", "GET /v1/admin/products?limit=0", "", 422, "invalid-request"),
        case("B80 size -1", "GET /v1/admin/products?limit=-1", "", 422, "invalid-request"),
        case("B80 size 1e9", "GET /v1/admin/products?limit=1000000000", "", 422, "invalid-request"),
        case("B80 cursor", "GET /v1/admin/products?cursor=zzz", "", 422, "invalid-request"),
        case("B80 foreign cursor", "GET /v1/admin/orders?cursor=s_50484f4e45", "", 422, "invalid-request"),
        case("B80 sort", "GET /v1/admin/products?sort=password", "", 422, "invalid-request"),
        case("B81", "GET /v1/admin/movements?sku=a&sku=b", "", 422, "invalid-request"),
        case("B82 form", PRODUCTS, "sku=NEW-1&name=x", 415, "unsupported-media-type")
            .with("content-type", "application/x-www-form-urlencoded"),
        case("B82 text", PRODUCTS, product(json!({})), 415, "unsupported-media-type").with("content-type", "text/plain"),
        case("B82 packed", PRODUCTS, product(json!({})), 415, "unsupported-encoding").with("content-encoding", "gzip"),
        case("B82 multipart import", "POST /v1/admin/products/import", "sku", 415, "unsupported-media-type")
            .with("content-type", "multipart/form-data; boundary=x"),
    ];
    for url in [
        "http://10.0.0.1",
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00::1]",
        "http://[::ffff:127.0.0.1]",
        "http://localhost:22",
        "http://127.1/",
        "http://2130706433/",
        "file:///etc/passwd",
        "https://user:pw@example.com",
        "javascript:alert(1)",
        "//example.com",
    ] {
        cases.push(case("B77", SHOP, shop(url), 422, "invalid-request"));
    }
    cases
}

/// Everything that a request could have changed.
async fn everything(hub: &Hub) -> Vec<String> {
    let mut all = Vec::new();
    for path in ["products", "listings", "orders", "movements", "marketplaces", "tokens", "users", "rules"] {
        all.push(hub.admin("GET", &format!("/v1/admin/{path}"), None).await.text());
    }
    all
}

async fn send(hub: &Hub, case: &Case) -> Answer {
    let headers: Vec<(&str, &str)> = case.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    hub.http.send_bytes(case.method, &case.path, &headers, &case.body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let sections = format!("[security]\nallow_private_targets = false\nmaster_key = \"{}\"\n", "ab".repeat(32));
    let hub = Hub::with(Plan { shops: vec![], sections, ..Plan::default() }).await;
    let before = everything(&hub).await;
    for case in cases() {
        let answer = send(&hub, &case).await;
        let what = format!("{} {} {}: {}", case.name, case.method, case.path, answer.text());
        assert_eq!((answer.status, answer.problem().as_str()), (case.status, case.problem), "{what}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        if case.status == 422 && case.problem == "invalid-request" {
            assert!(!answer.fields().is_empty(), "names the field: {what}");
        }
        assert!(!answer.text().contains(ADMIN_TOKEN) && !answer.text().contains("sqlx"), "{what}");
    }
    assert_eq!(everything(&hub).await, before);
    hub.stop().await;
}

/// B75, B78, B79, B83, B84: what needs a state before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_because_of_what_came_before() {
    let products: Vec<(&'static str, i64)> = vec![("PHONE-001", 5), ("A-1", 5), ("A-2", 5), ("A-3", 5)];
    let hub = Hub::with(Plan { shops: vec!["uzum"], products, ..Plan::default() }).await;
    let stock = |delta: i64| {
        let body = json!({"delta": delta, "reason": "found"});
        case("B75", "PATCH /v1/admin/products/PHONE-001/inventory", body, 0, "").with("idempotency-key", "once")
    };
    assert_eq!(send(&hub, &stock(1)).await.status, 200);
    let again = send(&hub, &stock(1)).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")));
    let other = send(&hub, &stock(2)).await;
    assert_eq!((other.status, other.problem().as_str()), (422, "idempotency-key-reused"));
    assert_eq!(hub.available("PHONE-001").await, 6, "the first effect stands, once");
    let delete = hub.admin("DELETE", "/v1/admin/marketplaces/uzum", None).await;
    assert_eq!((delete.status, delete.header("allow")), (405, Some("GET, PATCH")), "B78: a marketplace is never deleted");
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let html = hub.http.send("GET", "/v1/admin/products", &[("authorization", &bearer), ("accept", "text/html")], None).await;
    assert_eq!((html.status, html.header("content-type")), (200, Some("application/json")), "B83: JSON all the same");
    let rule = json!({"rule": {"paused": true}});
    let asked = hub.admin("PUT", "/v1/admin/rules", Some(rule)).await;
    assert_eq!((asked.status, asked.problem().as_str()), (409, "needs-confirmation"), "B84: {}", asked.text());
    let counts: Vec<Value> = ["A-1", "A-2", "A-3"].iter().map(|sku| json!({"sku": sku, "count": 0})).collect();
    let asked = hub.admin("POST", "/v1/admin/counts", Some(json!({"counts": counts}))).await;
    assert_eq!((asked.status, asked.problem().as_str()), (409, "needs-confirmation"), "B84: {}", asked.text());
    assert_eq!(hub.available("A-1").await, 5);
    let confirm = asked.json()["confirm"].clone();
    let done = hub.admin("POST", "/v1/admin/counts", Some(json!({"counts": counts, "confirm": confirm}))).await;
    assert_eq!((done.status, hub.available("A-1").await), (200, 0), "{}", done.text());
    hub.stop().await;
}

/// Gives the exit code and what was said.
async fn check_config(text: &[u8]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    std::fs::write(&file, text).unwrap();
    run(&["check-config", "--config", file.to_str().unwrap()]).await
}

async fn run(arguments: &[&str]) -> (i32, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stockhub"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    let done = command.output().await.unwrap();
    (done.status.code().unwrap(), String::from_utf8_lossy(&done.stderr).into_owned())
}

/// B85 to B90: bad settings end with 2, and say where and why.
#[tokio::test]
async fn settings_that_cannot_be_are_refused_with_their_place() {
    let long = format!("[log]\nlevel = \"{}\"\n", "x".repeat(100));
    let cases: [(&str, &[u8], &str); 9] = [
        ("B85 not UTF-8", b"[log]\nlevel = \"\xff\"\n", "hub.toml"),
        ("B86 unknown key", b"[server]\nbimd = \"127.0.0.1:1\"\n", "did you mean bind?"),
        ("B86 twice", b"[server]\nworkers = 1\nworkers = 2\n", "hub.toml:3"),
        ("B86 type", b"[server]\nworkers = \"many\"\n", "hub.toml:2"),
        (
            "B86 unit",
            b"[[marketplaces]]\ncode = \"uzum\"\nadapter = \"manual\"\n[marketplaces.policy]\npoll_every = \"30\"\n",
            "poll_every",
        ),
        ("B87 port", b"[server]\nbind = \"127.0.0.1:70000\"\n", "server.bind"),
        (
            "B88 sample",
            b"[server]\nbind = \"0.0.0.0:8080\"\n[auth]\nbootstrap_admin_token = \"changeme-changeme-changeme-changeme\"\n",
            "sample secret",
        ),
        ("B90 rules", b"[rule]\nfixed = 5\nshare_percent = 50\n", "exclude each other"),
        ("B86 level", long.as_bytes(), "log.level"),
    ];
    for (name, text, wanted) in cases {
        let (code, said) = check_config(text).await;
        assert!(code == 2 && said.contains(wanted), "{name}: exit {code}, {wanted:?} is not in {said}");
    }
    let (code, said) = run(&["check-config", "--config", "/nowhere/hub.toml"]).await;
    assert!(code == 2 && said.contains("/nowhere/hub.toml"), "B85 missing: {code} {said}");
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = run(&["check-config", "--config", folder.path().to_str().unwrap()]).await;
    assert!(code == 2 && !said.is_empty(), "B85 directory: {code} {said}");
    // B89: a file that is no database stays as it is.
    let (file, config) = (folder.path().join("hub.db"), folder.path().join("c.toml"));
    std::fs::write(&file, "this is no database at all, but some text that is long enough").unwrap();
    std::fs::write(&config, format!("[database]\nurl = \"sqlite://{}\"\n", file.display())).unwrap();
    let (code, said) = run(&["migrate", "--config", config.to_str().unwrap()]).await;
    assert!(code == 1 && said.contains("hub.db"), "B89: {code} {said}");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("this is no database"));
}
