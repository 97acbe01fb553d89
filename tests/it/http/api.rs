//! What the API refuses, and how: every field named, nothing changed.

use serde_json::{Value, json};

use crate::support::hub::{ADMIN_TOKEN, Hub, STORE_KEY};

const LISTS: [&str; 11] = [
    "/v1/admin/products",
    "/v1/admin/listings",
    "/v1/admin/orders",
    "/v1/admin/movements",
    "/v1/admin/webhooks",
    "/v1/admin/pushes",
    "/v1/admin/alerts",
    "/v1/admin/oversells",
    "/v1/admin/audit",
    "/v1/admin/marketplaces",
    "/v1/admin/tokens",
];

/// Everything a refused request might have touched.
async fn everything(hub: &Hub) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/v1/admin/products", "/v1/admin/orders", "/v1/admin/movements", "/v1/admin/listings", "/v1/admin/audit"] {
        all.push(hub.get(path).await);
    }
    all
}

/// Method and address, body, and the field that is wrong with it.
type Bad = ((&'static str, &'static str), Value, &'static str);

/// Products that cannot be.
fn bad_products() -> Vec<Bad> {
    let product = |field: &str, value: Value| {
        let mut body = json!({"sku": "NEW-1", "name": "New", "price": {"amount": "1.00", "currency": "USD"}, "initial_stock": 5});
        body[field] = value;
        body
    };
    let products = ("POST", "/v1/admin/products");
    vec![
        (products, product("colour", json!("red")), "/colour"),
        (products, product("sku", json!(5)), "/sku"),
        (products, product("sku", json!("")), "/sku"),
        (products, product("sku", json!(" A")), "/sku"),
        (products, product("sku", json!("A\u{0}")), "/sku"),
        (products, product("sku", json!("A".repeat(129))), "/sku"),
        (products, product("name", json!("")), "/name"),
        (products, product("initial_stock", json!(-1)), "/initial_stock"),
        (products, product("initial_stock", json!(1.5)), "/initial_stock"),
        (products, product("initial_stock", json!("5")), "/initial_stock"),
        (products, product("initial_stock", json!(1_000_000_001)), "/initial_stock"),
        (products, product("initial_stock", json!(1e30)), "/initial_stock"),
        (products, product("initial_stock", json!(u64::MAX)), "/initial_stock"),
        (products, product("low_stock_threshold", json!(-1)), "/low_stock_threshold"),
        (products, product("oversell_policy", json!("maybe")), "/oversell_policy"),
        (products, product("price", json!({"amount": "1,00", "currency": "USD"})), "/price"),
        (products, product("price", json!({"amount": "-1.00", "currency": "USD"})), "/price"),
        (products, product("price", json!({"amount": "1.00", "currency": "usd"})), "/price"),
        (products, product("price", json!({"amount": 1.0, "currency": "USD"})), "/price/amount"),
        (products, product("price", json!({"amount": "1.00", "currency": "USD", "vat": 7})), "/price/vat"),
        (products, product("cost_price", json!({"amount": "1.00", "currency": "EUR"})), "/cost_price/currency"),
        (products, json!([]), "/"),
        (products, json!({"name": "No SKU"}), "/sku"),
    ]
}

/// Orders that cannot be.
fn bad_orders() -> Vec<Bad> {
    let orders = ("POST", "/v1/admin/orders");
    let order = |items: Value| json!({"marketplace": "olx", "items": items});
    let one = |quantity: Value| order(json!([{"sku": "PHONE-001", "quantity": quantity}]));
    vec![
        (orders, one(json!(0)), "/items/0/quantity"),
        (orders, one(json!(-1)), "/items/0/quantity"),
        (orders, one(json!(1.5)), "/items/0/quantity"),
        (orders, one(json!("1")), "/items/0/quantity"),
        (orders, one(json!(1_000_000_001)), "/items/0/quantity"),
        (orders, one(json!(1e300)), "/items/0/quantity"),
        (orders, order(json!([])), "/items"),
        (orders, order(json!([{"sku": "PHONE-001", "quantity": 1}, {"sku": "PHONE-001", "quantity": 1}])), "/items/1/sku"),
        (orders, order(json!([{"sku": "PHONE-001", "quantity": 1}, {"sku": "NONE", "quantity": 1}])), "/items/1/sku"),
        (orders, order(json!([{"sku": "PHONE-001", "quantity": 1, "price": 1}])), "/items/0/price"),
        (orders, json!({"marketplace": "nobody", "items": [{"sku": "PHONE-001", "quantity": 1}]}), "/marketplace"),
        (orders, json!({"marketplace": "uzum", "items": [{"sku": "PHONE-001", "quantity": 1}]}), "/marketplace"),
    ]
}

/// Changes of stock, and listings, that cannot be.
fn bad_changes() -> Vec<Bad> {
    let stock = ("PATCH", "/v1/admin/products/PHONE-001/inventory");
    let top_up = ("POST", "/v1/admin/products/PHONE-001/topup");
    let listings = ("POST", "/v1/admin/listings");
    vec![
        (stock, json!({"delta": 0, "reason": "x"}), "/delta"),
        (stock, json!({"delta": 1, "count": 1, "reason": "x"}), "/"),
        (stock, json!({"reason": "x"}), "/"),
        (stock, json!({"delta": 1}), "/reason"),
        (stock, json!({"delta": 1_000_000_001, "reason": "x"}), "/delta"),
        (stock, json!({"delta": 1, "expected_version": 1, "reason": "x"}), "/expected_version"),
        (stock, json!({"count": -1, "reason": "x"}), "/count"),
        (stock, json!({"count": 1.5, "reason": "x"}), "/count"),
        (stock, json!({"delta": 1, "reason": "x", "location": "nowhere"}), "/location"),
        (stock, json!({"delta": 1, "reason": "x", "nonsense": 1}), "/nonsense"),
        (top_up, json!({"quantity": 0}), "/quantity"),
        (top_up, json!({"quantity": -5}), "/quantity"),
        (top_up, json!({"quantity": 1, "marketplace": "nobody"}), "/marketplace"),
        (listings, json!({"marketplace": "uzum", "sku": "NONE"}), "/sku"),
        (listings, json!({"marketplace": "nobody", "sku": "PHONE-001"}), "/marketplace"),
        (listings, json!({"marketplace": "uzum", "sku": "PHONE-001", "units": 0}), "/units"),
        (listings, json!({"marketplace": "uzum", "sku": "PHONE-001", "rule": {"share_percent": 101}}), "/rule/share_percent"),
        (listings, json!({"marketplace": "uzum", "sku": "PHONE-001", "rule": {"nonsense": 1}}), "/rule/nonsense"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_field_is_named_and_nothing_changes() {
    let hub = Hub::start().await;
    hub.settled(std::time::Duration::from_secs(30)).await;
    let before = everything(&hub).await;
    for ((method, path), body, field) in bad_products().into_iter().chain(bad_orders()).chain(bad_changes()) {
        let answer = hub.admin(method, path, Some(body.clone())).await;
        assert_eq!((answer.status, answer.problem().as_str()), (422, "invalid-request"), "{path} {body}: {}", answer.text());
        assert_eq!(answer.fields(), [field], "{path} {body}: {}", answer.text());
    }
    assert_eq!(everything(&hub).await, before);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_request_is_told_at_once() {
    let hub = Hub::start().await;
    let items: Vec<Value> =
        [("A ", 1), ("B", 0), ("PHONE-001", -3)].iter().map(|(sku, n)| json!({"sku": sku, "quantity": n})).collect();
    let answer = hub.admin("POST", "/v1/admin/orders", Some(json!({"marketplace": "olx", "items": items}))).await;
    assert_eq!(
        (answer.status, answer.fields()),
        (422, ["/items/0/sku", "/items/1/quantity", "/items/2/quantity"].map(String::from).to_vec())
    );
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_already_is_a_conflict() {
    let hub = Hub::start().await;
    let before = everything(&hub).await;
    let answer =
        hub.admin("POST", "/v1/admin/products", Some(json!({"sku": "PHONE-001", "name": "Again", "initial_stock": 9}))).await;
    assert_eq!((answer.status, answer.problem().as_str(), answer.fields()), (409, "sku-taken", vec!["/sku".to_owned()]));
    let body = json!({"marketplace": "uzum", "sku": "PHONE-001", "marketplace_product_id": "UZUM-PHONE-001"});
    let answer = hub.admin("POST", "/v1/admin/listings", Some(body)).await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "listing-taken"));
    assert_eq!(everything(&hub).await[..3], before[..3]);
    // Many at once: one is made.
    let making = (0..10).map(|_| {
        let (http, bearer) = (hub.http, format!("Bearer {ADMIN_TOKEN}"));
        let body = json!({"sku": "RACE", "name": "Race", "initial_stock": 3});
        tokio::spawn(
            async move { http.send("POST", "/v1/admin/products", &[("authorization", &bearer)], Some(body)).await.status },
        )
    });
    let mut statuses = Vec::new();
    for task in making.collect::<Vec<_>>() {
        statuses.push(task.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (201, &[409; 9][..]));
    assert_eq!(hub.available("RACE").await, 3);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_none_is_told_so() {
    let hub = Hub::start().await;
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let send = async |kind: Option<&str>, encoding: Option<&str>, body: &[u8]| {
        let mut headers = vec![("authorization", &*bearer)];
        headers.extend(kind.map(|kind| ("content-type", kind)));
        headers.extend(encoding.map(|encoding| ("content-encoding", encoding)));
        let answer = hub.http.send_bytes("POST", "/v1/admin/products", &headers, body).await;
        (answer.status, answer.problem())
    };
    let json = Some("application/json");
    let good = br#"{"sku":"B-1","name":"B"}"#;
    for body in
        [&b""[..], b"{", b"sku=B-1", b"\xff\xfe", b"{\"sku\":\"B-1\",\"name\":\"B\"} {}", b"{\"sku\":\"B-1\",\"name\":\"\xff\"}"]
    {
        assert_eq!(send(json, None, body).await, (400, "invalid-json".into()), "{}", String::from_utf8_lossy(body));
    }
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonx"), Some("")] {
        assert_eq!(send(kind, None, good).await, (415, "unsupported-media-type".into()), "{kind:?}");
    }
    assert_eq!(send(json, Some("gzip"), good).await, (415, "unsupported-encoding".into()));
    let large = [&b"{\"sku\":\""[..], &vec![b'x'; 300 * 1024], b"\"}"].concat();
    assert_eq!(send(json, None, &large).await, (413, "payload-too-large".into()));
    assert_eq!(send(json, None, b"{\"sku\":\"B-1\",\"sku\":\"B-2\",\"name\":\"B\"}").await.0, 422, "a field twice");
    assert_eq!(hub.get("/v1/admin/products").await["items"].as_array().map(Vec::len), Some(1));
    let answer = hub
        .http
        .send_bytes(
            "POST",
            "/v1/admin/products",
            &[("authorization", &bearer), ("content-type", "Application/JSON; charset=utf-8")],
            good,
        )
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_take_their_parameters_and_no_others() {
    let hub = Hub::start().await;
    for list in LISTS {
        let paged = !list.ends_with("marketplaces") && !list.ends_with("tokens");
        let mut bad = vec![("nonsense=1", "nonsense")];
        if paged {
            let numbers = [
                ("limit=0", "limit"),
                ("limit=501", "limit"),
                ("limit=-1", "limit"),
                ("limit=abc", "limit"),
                ("limit=1.5", "limit"),
                ("limit=", "limit"),
            ];
            bad.extend(numbers);
            bad.extend([
                ("cursor=abc", "cursor"),
                ("cursor=c_zz", "cursor"),
                ("cursor=", "cursor"),
                ("cursor=c_00000000000000000000000000000000", "cursor"),
                ("cursor=s_zz", "cursor"),
            ]);
            bad.extend([("limit=5&limit=6", "limit"), ("limit=5&nonsense=1", "nonsense")]);
        }
        for (query, field) in bad {
            let answer = hub.admin("GET", &format!("{list}?{query}"), None).await;
            assert_eq!((answer.status, answer.problem().as_str()), (422, "invalid-request"), "{list}?{query}: {}", answer.text());
            assert_eq!(answer.fields(), [field], "{list}?{query}: {}", answer.text());
        }
        if paged {
            for query in ["limit=1", "limit=500"] {
                assert_eq!(hub.admin("GET", &format!("{list}?{query}"), None).await.status, 200, "{list}?{query}");
            }
        }
    }
    for n in 0..5 {
        hub.product(&format!("PAGE-{n}"), n).await;
    }
    hub.until("all is told, or refused", async || {
        let listings = hub.get("/v1/admin/listings?limit=500").await;
        let states = listings["items"].as_array().unwrap().iter().map(|listing| listing["state"].clone());
        states.into_iter().all(|state| state == "synced" || state == "blocked" || state == "task")
    })
    .await;
    // Page by page is the same as all at once.
    for list in ["/v1/admin/products", "/v1/admin/movements", "/v1/admin/listings", "/v1/admin/audit"] {
        let all = hub.get(&format!("{list}?limit=500")).await;
        let (mut paged, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let next = cursor.map_or(String::new(), |cursor| format!("&cursor={cursor}"));
            let page = hub.get(&format!("{list}?limit=2{next}")).await;
            paged.extend(page["items"].as_array().unwrap().clone());
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(&paged, all["items"].as_array().unwrap(), "{list}");
        assert!(all["next_cursor"].is_null() && paged.len() > 4);
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_is_a_problem_with_the_requests_id() {
    let hub = Hub::start().await;
    let upgrade = [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let foreign: Vec<(&str, &str)> = upgrade.into_iter().chain([("origin", "https://evil.example")]).collect();
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u16, &'a str);
    let cases: [Case<'_>; 14] = [
        ("GET", "/nowhere", &[], 404, "not-found"),
        ("GET", "/v1/admin/nowhere", &[], 404, "not-found"),
        ("GET", "/webhooks/a/b/c", &[], 404, "not-found"),
        ("DELETE", "/v1/admin/products", &[], 405, "method-not-allowed"),
        ("GET", "/v1/store/orders", &[], 405, "method-not-allowed"),
        ("POST", "/v1/stock", &[], 405, "method-not-allowed"),
        ("POST", "/v1/stock/PHONE-001", &[], 405, "method-not-allowed"),
        ("GET", "/v1/stock/NONE", &[], 404, "unknown-sku"),
        ("GET", "/v1/stock?limit=0", &[], 422, "invalid-request"),
        ("GET", "/v1/stock/poll", &[], 422, "invalid-request"),
        ("GET", "/v1/stock/stream", &[], 422, "invalid-request"),
        ("GET", "/v1/stock/ws", &[], 426, "bad-handshake"),
        ("GET", "/v1/stock/ws", &foreign, 403, "foreign-origin"),
        ("GET", "/v1/admin/products", &[], 401, "unauthorized"),
    ];
    let mut ids = std::collections::HashSet::new();
    for (method, path, headers, status, slug) in cases {
        let answer = hub.http.send(method, path, headers, None).await;
        let what = format!("{method} {path}: {}", answer.text());
        assert_eq!((answer.status, answer.problem().as_str()), (status, slug), "{what}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        let document = answer.json();
        assert_eq!(document["status"], status, "{what}");
        assert!(document["title"].is_string() && document["detail"].is_string(), "{what}");
        let id = document["request_id"].as_str().unwrap_or_else(|| panic!("no request_id: {what}")).to_owned();
        assert_eq!(answer.header("x-request-id"), Some(&*id), "{what}");
        assert!(!id.is_empty() && ids.insert(id), "another id each time: {what}");
        if status == 405 {
            assert!(answer.header("allow").is_some_and(|allow| !allow.contains(method)), "{what} {:?}", answer.headers);
        }
    }
    for (path, slug) in [
        ("/v1/admin/products/NONE", "unknown-sku"),
        ("/v1/admin/products/NONE/explain", "unknown-sku"),
        ("/v1/admin/orders/00000000-0000-7000-8000-000000000000", "unknown-order"),
        ("/v1/admin/webhooks/00000000-0000-7000-8000-000000000000", "unknown-webhook"),
    ] {
        let answer = hub.admin("GET", path, None).await;
        assert_eq!((answer.status, answer.problem().as_str()), (404, slug), "{path}");
    }
    let answer = hub.admin("PATCH", "/v1/products/NONE/inventory", Some(json!({"delta": 1, "reason": "x"}))).await;
    assert_eq!((answer.status, answer.problem().as_str()), (404, "unknown-sku"));
    assert_eq!(hub.admin("GET", "/v1/admin/orders/abc", None).await.status, 422);
    let answer = hub.admin("GET", "/v1/admin/products/PHONE-001/explain?marketplace=amazon", None).await;
    assert_eq!((answer.status, &answer.json()["errors"][0]["field"]), (422, &json!("marketplace")), "{}", answer.text());
    let answer = hub.admin("POST", "/v1/admin/products", Some(json!([]))).await;
    let message = &answer.json()["errors"][0]["message"];
    assert_eq!((answer.status, message), (422, &json!("must be an object")), "no names of ours");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_version_changes_nothing() {
    let hub = Hub::start().await;
    let product = hub.admin("GET", "/v1/admin/products/PHONE-001", None).await;
    let (version, etag) = (product.json()["version"].as_i64().unwrap(), product.header("etag").unwrap().to_owned());
    assert_eq!(etag, format!("\"{version}\""));
    let path = "/v1/admin/products/PHONE-001/inventory";
    let count =
        |count: i64, expected: Option<i64>| json!({"count": count, "reason": "cycle_count", "expected_version": expected});
    let done = hub.admin("PATCH", path, Some(count(40, Some(version)))).await;
    assert_eq!((done.status, &done.json()["available"]), (200, &json!(40)), "{}", done.text());
    let newer = done.json()["version"].as_i64().unwrap();
    assert!(newer > version);

    let stale = hub.admin("PATCH", path, Some(count(30, Some(version)))).await;
    assert_eq!((stale.status, stale.problem().as_str(), &stale.json()["version"]), (409, "stale-version", &json!(newer)));
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let matching = async |tag: &str| {
        let headers = [("authorization", &*bearer), ("if-match", tag)];
        hub.http.send("PATCH", path, &headers, Some(json!({"count": 30, "reason": "cycle_count"}))).await
    };
    assert_eq!(matching(&etag).await.status, 409);
    assert_eq!(matching("soon").await.fields(), ["If-Match"]);
    assert_eq!(hub.available("PHONE-001").await, 40);
    assert_eq!(matching(&format!("\"{newer}\"")).await.status, 200);
    assert_eq!(hub.available("PHONE-001").await, 30);
    // Without a version the count simply holds; a difference adds.
    assert_eq!(
        hub.admin("PATCH", "/v1/products/PHONE-001/inventory", Some(json!({"delta": -5, "reason": "broken"}))).await.status,
        200
    );
    assert_eq!(
        hub.admin("POST", "/v1/admin/products/PHONE-001/topup", Some(json!({"quantity": 10, "reference": "PO-7"}))).await.status,
        200
    );
    assert_eq!(hub.available("PHONE-001").await, 35);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_makes_a_write_happen_once() {
    let hub = Hub::start().await;
    let body = |n: i64| json!({"quantity": n});
    let send = async |key: &str, path: &str, body: Value| {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        hub.http.send("POST", path, &[("authorization", &bearer), ("idempotency-key", key)], Some(body)).await
    };
    let path = "/v1/admin/products/PHONE-001/topup";
    let first = send("k-1", path, body(5)).await;
    let second = send("k-1", path, body(5)).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None));
    assert_eq!((second.status, second.header("idempotency-replayed")), (200, Some("true")));
    assert_eq!((first.json(), hub.available("PHONE-001").await), (second.json(), 55), "the same answer, one effect");
    let other = send("k-1", path, body(6)).await;
    assert_eq!((other.status, other.problem().as_str()), (422, "idempotency-key-reused"));
    assert_eq!(send("k-2", path, body(5)).await.header("idempotency-replayed"), None, "another key is another write");
    let order = json!({"marketplace": "olx", "items": [{"sku": "PHONE-001", "quantity": 1}]});
    assert_eq!(send("k-1", "/v1/admin/orders", order).await.status, 201, "and another route");
    for key in ["", &"k".repeat(256)] {
        assert_eq!(send(key, path, body(5)).await.fields(), ["Idempotency-Key"]);
    }
    assert_eq!(hub.available("PHONE-001").await, 59);
    // A refusal is not remembered: the same key may succeed later.
    let large = json!({"marketplace": "olx", "items": [{"sku": "PHONE-001", "quantity": 60}]});
    assert_eq!(send("k-3", "/v1/admin/orders", large.clone()).await.status, 409);
    assert_eq!(send("k-4", path, body(1)).await.status, 200);
    assert_eq!(send("k-3", "/v1/admin/orders", large).await.status, 201);
    assert_eq!(hub.available("PHONE-001").await, 0);
    // Many at once are one.
    let sending = (0..20).map(|_| {
        let (http, body) = (hub.http, json!({"quantity": 7}));
        tokio::spawn(async move {
            let bearer = format!("Bearer {ADMIN_TOKEN}");
            http.send(
                "POST",
                "/v1/admin/products/PHONE-001/topup",
                &[("authorization", &bearer), ("idempotency-key", "k-5")],
                Some(body),
            )
            .await
            .status
        })
    });
    for task in sending.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap(), 200);
    }
    assert_eq!(hub.available("PHONE-001").await, 7);
    // Of two callers the key is not the same.
    let as_store = [("x-storefront-key", STORE_KEY), ("idempotency-key", "k-1")];
    let body = json!({"items": [{"sku": "PHONE-001", "quantity": 1}]});
    assert_eq!(hub.http.send("POST", "/v1/store/orders", &as_store, Some(body)).await.status, 201);
    hub.stop().await;
}
