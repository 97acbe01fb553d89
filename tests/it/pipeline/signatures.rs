//! Who is believed, and what becomes of what he says: the whole page of the spec on ingest, over real sockets.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::Answer;
use crate::support::hub::{Hub, Plan};
use crate::support::webhook::{plain, sold, stamped, standard};

const AT: &str = "2026-01-09T10:30:00Z";

/// One shop of the older schema; `mute` has no secret, `deaf` has its webhooks turned off.
fn plan() -> Plan {
    let silent = |code: &str, lines: &str| {
        format!(
            "[[marketplaces]]\ncode = \"{code}\"\nadapter = \"generic\"\n{lines}[marketplaces.policy]\npush_enabled = false\n"
        )
    };
    let deaf = "webhook_enabled = false\n[marketplaces.secrets]\nwebhook_secret = [\"env:T_SECRET\"]\n";
    Plan { shops: vec!["uzum"], marketplaces: silent("mute", "") + &silent("deaf", deaf), ..Plan::default() }
}

fn orders_plan() -> Plan {
    Plan { stock_feed: "orders", ..plan() }
}

fn now(hub: &Hub) -> String {
    hub.context.kit.clock.now().to_string()
}

fn seconds_from_now(hub: &Hub, seconds: i64) -> String {
    (hub.context.kit.clock.now().seconds() + seconds).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_authentic_leaves_nothing_but_a_count() {
    let hub = Hub::with(plan()).await;
    let body = sold("UZUM-PHONE-001", 50, 3, AT);
    let (good, now) = (plain(&body), seconds_from_now(&hub, 0));
    let (stamp, std) = (hex::encode(stamped("e1", &now, &body)), standard("e1", &now, &body));
    let mut changed = body.clone();
    changed[10] ^= 1;
    let spaced = serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(&body).unwrap()).unwrap();
    let (mut wrong, other) =
        (good.clone(), hex::encode(crate::support::webhook::mac("another-secret-of-the-same-length-00", &[&body])));
    wrong.replace_range(0..1, if wrong.starts_with('0') { "1" } else { "0" });
    let (short, long, huge) = (good[..62].to_owned(), format!("{good}00"), "a".repeat(4_000));
    let (old, new) = (seconds_from_now(&hub, -400), seconds_from_now(&hub, 400));
    let (old_stamp, new_stamp) = (hex::encode(stamped("e1", &old, &body)), hex::encode(stamped("e1", &new, &body)));
    let (old_std, new_std) = (standard("e1", &old, &body), standard("e1", &new, &body));
    let (sig, id, at) = ("x-webhook-signature", "x-webhook-id", "x-webhook-timestamp");
    let (wsig, wid, wat) = ("webhook-signature", "webhook-id", "webhook-timestamp");
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a [u8]);
    let cases: Vec<Case<'_>> = vec![
        ("no signature", vec![], &body),
        ("empty", vec![(sig, "")], &body),
        ("one digit wrong", vec![(sig, &wrong)], &body),
        ("another secret", vec![(sig, &other)], &body),
        ("cut short", vec![(sig, &short)], &body),
        ("too long", vec![(sig, &long)], &body),
        ("far too long", vec![(sig, &huge)], &body),
        ("no hex", vec![(sig, "not a signature")], &body),
        ("a byte of the body changed", vec![(sig, &good)], &changed),
        ("the same JSON written anew", vec![(sig, &good)], &spaced),
        ("an empty body", vec![(sig, &good)], b""),
        ("two signatures, the good one first", vec![(sig, &good), (sig, &wrong)], &body),
        ("two signatures, both good", vec![(sig, &good), (sig, &good)], &body),
        ("an id and a time alone", vec![(id, "e1"), (at, &now)], &body),
        ("an id that is not signed", vec![(sig, &good), (id, "e1")], &body),
        ("a time that is not signed", vec![(sig, &good), (at, &now)], &body),
        ("an id and a time that are not signed", vec![(sig, &good), (id, "e1"), (at, &now)], &body),
        ("another id than the signed", vec![(sig, &stamp), (id, "e2"), (at, &now)], &body),
        ("an id with a dot", vec![(sig, &stamp), (id, "e.1"), (at, &now)], &body),
        ("two ids", vec![(sig, &stamp), (id, "e1"), (id, "e1"), (at, &now)], &body),
        ("a stamped signature without its stamp", vec![(sig, &stamp)], &body),
        ("too old", vec![(sig, &old_stamp), (id, "e1"), (at, &old)], &body),
        ("too new", vec![(sig, &new_stamp), (id, "e1"), (at, &new)], &body),
        ("a time that is none", vec![(sig, &stamp), (id, "e1"), (at, "soon")], &body),
        ("standard: another id", vec![(wsig, &std), (wid, "e2"), (wat, &now)], &body),
        ("standard: another body", vec![(wsig, &std), (wid, "e1"), (wat, &now)], &changed),
        ("standard: no id", vec![(wsig, &std), (wat, &now)], &body),
        ("standard: too old", vec![(wsig, &old_std), (wid, "e1"), (wat, &old)], &body),
        ("standard: too new", vec![(wsig, &new_std), (wid, "e1"), (wat, &new)], &body),
        ("standard: another version", vec![(wsig, "v1a,AAAA"), (wid, "e1"), (wat, &now)], &body),
        ("a weaker one does not rescue it", vec![(wsig, "v1,AAAA"), (wid, "e1"), (wat, &now), (sig, &good)], &body),
    ];
    let counted = rejected(&hub).await;
    for (what, headers, body) in &cases {
        let answer = hub.http.send_bytes("POST", "/webhooks/uzum", headers, body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (401, "invalid-signature"), "{what}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        assert!(answer.json()["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{what}: {}", answer.text());
    }
    assert_eq!(rejected(&hub).await - counted, cases.len() as f64, "each is counted");
    assert_eq!((hub.log_rows().await.len(), hub.available("PHONE-001").await), (0, 50), "and none is stored");
    hub.stop().await;
}

/// Rejections of `uzum`, whatever the reason.
async fn rejected(hub: &Hub) -> f64 {
    let reasons = ["no_signature", "bad_format", "bad_signature", "too_old", "too_new", "bad_timestamp", "no_secret"];
    let mut sum = 0.0;
    for reason in reasons {
        sum += hub.metric(&format!("webhooks_total{{marketplace=\"uzum\",verdict=\"{reason}\"}}")).await;
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_good_way_to_sign_is_taken() {
    let hub = Hub::with(plan()).await;
    let now = seconds_from_now(&hub, 0);
    let body = |n: i64| sold("UZUM-PHONE-001", 50 - n, 1, &format!("2026-01-09T10:30:{n:02}Z"));
    let upper = plain(&body(0)).to_uppercase();
    let prefixed = format!("sha256={}", plain(&body(1)));
    let stamp = hex::encode(stamped("one", &now, &body(2)));
    let std = format!("v1,AAAA v2,else {}", standard("two", &now, &body(3)));
    let sig = "x-webhook-signature";
    let older = plain(&body(4));
    let ways: [(&str, Vec<(&str, &str)>); 5] = [
        ("/webhooks/uzum", vec![(sig, &upper)]),
        ("/webhooks/uzum", vec![(sig, &prefixed)]),
        ("/webhooks/uzum", vec![(sig, &stamp), ("x-webhook-id", "one"), ("x-webhook-timestamp", &now)]),
        ("/webhooks/uzum", vec![("webhook-signature", &std), ("webhook-id", "two"), ("webhook-timestamp", &now)]),
        ("/webhooks/marketplaces/stock-update", vec![(sig, &older), ("x-marketplace-id", "UZUM")]),
    ];
    for (n, (path, headers)) in ways.iter().enumerate() {
        let answer = hub.http.send_bytes("POST", path, headers, &body(n as i64)).await;
        let receipt = answer.json();
        assert_eq!(
            (answer.status, &receipt["received"], &receipt["duplicate"]),
            (200, &json!(true), &json!(false)),
            "{n}: {receipt}"
        );
        assert_eq!(hub.log_row(&answer).await["status"], "processed", "{n}");
    }
    let last = [("x-webhook-signature", &*plain(&body(5))), ("x-marketplace-id", "uzum")];
    let answer = hub.http.send_bytes("POST", "/api/webhooks/marketplaces/stock-update", &last, &body(5)).await;
    assert_eq!((answer.status, hub.available("PHONE-001").await), (200, 44));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_doors_are_named() {
    let hub = Hub::with(plan()).await;
    let body = sold("UZUM-PHONE-001", 50, 3, AT);
    let signature = plain(&body);
    let send = async |path: &str, headers: &[(&str, &str)]| {
        let mut all = vec![("x-webhook-signature", &*signature)];
        all.extend_from_slice(headers);
        let answer = hub.http.send_bytes("POST", path, &all, &body).await;
        (answer.status, answer.problem())
    };
    let expect = |status: u16, slug: &str| (status, slug.to_owned());
    for path in ["/webhooks/nobody", "/webhooks/store", "/webhooks/deaf", "/webhooks/UZUM%00"] {
        assert_eq!(send(path, &[]).await, expect(404, "unknown-marketplace"), "{path}");
    }
    assert_eq!(send("/webhooks/mute", &[]).await, expect(503, "webhook-not-configured"));
    let older = "/webhooks/marketplaces/stock-update";
    assert_eq!(send(older, &[]).await, expect(404, "unknown-marketplace"));
    assert_eq!(send(older, &[("x-marketplace-id", "nobody")]).await, expect(404, "unknown-marketplace"));
    for encoding in ["gzip", "identity", "br"] {
        assert_eq!(send("/webhooks/uzum", &[("content-encoding", encoding)]).await, expect(415, "unsupported-encoding"));
    }
    for method in ["GET", "PUT", "DELETE"] {
        for path in ["/webhooks/uzum", older] {
            let answer = hub.http.send(method, path, &[], None).await;
            // An address of its own may be asked for a challenge, by the marketplaces that send one.
            let allow = if path == older || method == "GET" { "POST" } else { "GET, POST" };
            assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
            assert_eq!(answer.problem(), "method-not-allowed");
        }
    }
    assert_eq!((hub.log_rows().await.len(), hub.available("PHONE-001").await), (0, 50));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_end_in_size_and_in_time() {
    let hub = Hub::with(plan()).await;
    let max = 256 * 1024;
    let just = [&b"{\"event\":\"price.updated\",\"x\":\""[..], &vec![b'a'; max - 32], b"\"}"].concat();
    assert_eq!(just.len(), max);
    assert_eq!(hub.delivered("uzum", &just).await["status"], "ignored", "256 KiB are taken");

    let over = [&just[..], b" "].concat();
    let answer = hub.deliver("uzum", &over).await;
    assert_eq!((answer.status, answer.problem().as_str()), (413, "payload-too-large"));

    let head = |length: &str| {
        format!("POST /webhooks/uzum HTTP/1.1\r\nhost: hub\r\nx-webhook-signature: {}\r\n{length}\r\n", plain(&over))
    };
    let declared = head("content-length: 300000\r\n");
    assert_eq!(hub.http.raw(&[declared.as_bytes()]).await.status, 413, "before a byte of it is read");

    let chunk = [format!("{:x}\r\n", 30_000).as_bytes(), &vec![b' '; 30_000], b"\r\n"].concat();
    let chunked = head("transfer-encoding: chunked\r\n");
    let pieces: Vec<&[u8]> = std::iter::once(chunked.as_bytes()).chain(std::iter::repeat_n(&chunk[..], 10)).collect();
    let answer = hub.http.raw(&pieces).await;
    assert_eq!((answer.status, answer.problem().as_str()), (413, "payload-too-large"), "chunked too");

    let impatient = Hub::with(Plan { sections: "[ingest]\nbody_deadline_ms = 400\n".into(), ..plan() }).await;
    for stalled in [head("content-length: 50\r\n") + "{", head("transfer-encoding: chunked\r\n") + "5\r\n{\"a\""] {
        let begun = std::time::Instant::now();
        let answered = tokio::time::timeout(Duration::from_secs(60), impatient.http.raw(&[stalled.as_bytes()])).await;
        let answer = answered.expect("an answer");
        assert_eq!((answer.status, answer.problem().as_str()), (408, "payload-too-large"), "{}", answer.text());
        assert!(begun.elapsed() >= Duration::from_millis(390));
    }
    impatient.stop().await;
    // A whole body in chunks is read like any other.
    let body = sold("UZUM-PHONE-001", 50, 3, AT);
    let mut text = format!(
        "POST /webhooks/uzum HTTP/1.1\r\nhost: hub\r\nx-webhook-signature: {}\r\ntransfer-encoding: chunked\r\n\r\n",
        plain(&body)
    )
    .into_bytes();
    for part in body.chunks(7) {
        text.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        text.extend_from_slice(part);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"0\r\n\r\n");
    let answer = hub.http.raw(&[&text]).await;
    assert_eq!(hub.stored_bytes(&answer).await, body);
    assert_eq!((hub.log_rows().await.len(), hub.available("PHONE-001").await), (2, 47));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_times_at_once_is_once() {
    let hub = Hub::with(plan()).await;
    let body = sold("UZUM-PHONE-001", 50, 3, AT);
    let signature = plain(&body);
    let sending = (0..100).map(|_| {
        let (http, body, signature) = (hub.http, body.clone(), signature.clone());
        tokio::spawn(
            async move { http.send_bytes("POST", "/webhooks/uzum", &[("x-webhook-signature", &signature)], &body).await },
        )
    });
    let mut answers: Vec<Answer> = Vec::new();
    for task in sending.collect::<Vec<_>>() {
        answers.push(task.await.unwrap());
    }
    assert!(answers.iter().all(|answer| answer.status == 200));
    let ids: HashSet<String> = answers.iter().map(|answer| answer.json()["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "all are told the one row");
    assert_eq!(answers.iter().filter(|answer| answer.json()["duplicate"] == false).count(), 1);
    let rows = hub.log_rows().await;
    assert_eq!((rows.len(), &rows[0]["status"], &rows[0]["duplicates"]), (1, &json!("processed"), &json!(99)));
    assert_eq!((hub.sales("PHONE-001").await.len(), hub.available("PHONE-001").await), (1, 47));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_id_with_two_bodies_is_a_conflict_to_look_at() {
    let hub = Hub::with(plan()).await;
    let now = seconds_from_now(&hub, 0);
    let (first, second) = (sold("UZUM-PHONE-001", 50, 3, AT), sold("UZUM-PHONE-001", 50, 9, AT));
    let send = async |body: &[u8]| {
        let signature = hex::encode(stamped("event-1", &now, body));
        let headers = [("x-webhook-signature", &*signature), ("x-webhook-id", "event-1"), ("x-webhook-timestamp", &*now)];
        let answer = hub.http.send_bytes("POST", "/webhooks/uzum", &headers, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["duplicate"] == true
    };
    assert!(!send(&first).await);
    assert!(send(&first).await, "the same again is a repeat");
    assert!(hub.alerts().await.is_empty());
    assert!(send(&second).await);
    assert!(send(&second).await, "and the conflict is kept once");
    assert_eq!(hub.available("PHONE-001").await, 47, "what came first stands");
    let rows = hub.log_rows().await;
    let conflicts: Vec<&Value> = rows.iter().filter(|row| row["error_code"] == "id-conflict").collect();
    assert_eq!((rows.len(), conflicts.len(), &conflicts[0]["status"]), (2, 1, &json!("failed")));
    let whole = hub.get(&format!("/v1/admin/webhooks/{}", conflicts[0]["id"].as_str().unwrap())).await;
    assert_eq!(whole["payload"].as_str().unwrap().as_bytes(), second);
    assert_eq!(hub.alerts().await, ["id-conflict"]);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_cannot_be_told_from_its_repeat_is_not_guessed_at() {
    let hub = Hub::with(plan()).await;
    let body = json!({"event": "stock.updated", "marketplace_product_id": "UZUM-PHONE-001", "previous_stock": 50,
        "current_stock": 47, "change": -3, "reason": "sold"});
    let row = hub.delivered("uzum", body.to_string().as_bytes()).await;
    assert_eq!((&row["status"], &row["error_code"]), (&json!("failed"), &json!("no-id")));
    assert_eq!((hub.available("PHONE-001").await, hub.alerts().await), (50, vec!["no-id".to_owned()]));
    // Signed with an id, the same is clear.
    let (bytes, now) = (body.to_string().into_bytes(), seconds_from_now(&hub, 0));
    let signature = hex::encode(stamped("event-7", &now, &bytes));
    let headers = [("x-webhook-signature", &*signature), ("x-webhook-id", "event-7"), ("x-webhook-timestamp", &*now)];
    let answer = hub.http.send_bytes("POST", "/webhooks/uzum", &headers, &bytes).await;
    assert_eq!((answer.status, hub.available("PHONE-001").await), (200, 47));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_kept_with_the_reason() {
    let hub = Hub::with(plan()).await;
    let good = || serde_json::from_slice::<Value>(&sold("UZUM-PHONE-001", 50, 3, AT)).unwrap();
    let with = |field: &str, value: Value| {
        let mut body = good();
        body[field] = value;
        body.to_string().into_bytes()
    };
    let whole = sold("UZUM-PHONE-001", 50, 3, AT);
    let order = |items: Value| {
        json!({"event": "order.created", "order_id": "1", "timestamp": AT, "items": items}).to_string().into_bytes()
    };
    let deep = [vec![b'['; 200], vec![b']'; 200]].concat();
    let many = format!("[{}0]", "0,".repeat(20_000)).into_bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty-body", Vec::new()),
        ("invalid-json", b"event=stock.updated".to_vec()),
        ("invalid-json", whole[..whole.len() - 5].to_vec()),
        ("invalid-json", [&whole[..], b"{}"].concat()),
        ("invalid-utf8", b"{\"event\":\"\xff\xfe\"}".to_vec()),
        ("duplicate-key", b"{\"event\":\"stock.updated\",\"change\":-1,\"change\":-9}".to_vec()),
        ("too-deep", deep),
        ("too-many-items", many),
        ("invalid-field", b"[]".to_vec()),
        ("invalid-field", b"{}".to_vec()),
        ("invalid-field", with("change", json!("-3"))),
        ("invalid-field", with("change", json!(-2.5))),
        ("invalid-field", with("previous_stock", Value::Null)),
        ("invalid-field", with("marketplace_product_id", json!({"a": 1}))),
        ("out-of-range", with("previous_stock", json!(-50))),
        ("out-of-range", with("change", json!(-9_000_000_000_i64))),
        ("out-of-range", with("current_stock", json!(1e30))),
        ("inconsistent-change", with("current_stock", json!(46))),
        ("invalid-field", order(json!("none"))),
        ("invalid-field", order(json!([{"sku": "PHONE-001"}]))),
        ("invalid-field", order(json!([{"quantity": 1}]))),
        ("out-of-range", order(json!([{"sku": "PHONE-001", "quantity": -1}]))),
        ("out-of-range", order(json!([{"sku": "PHONE-001", "quantity": 0}]))),
        ("duplicate-line", order(json!([{"sku": "PHONE-001", "quantity": 1}, {"sku": "PHONE-001", "quantity": 1}]))),
    ];
    for (code, body) in &cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        let answer = hub.deliver("uzum", body).await;
        assert_eq!((answer.status, &answer.json()["duplicate"]), (200, &json!(false)), "{shown}: {}", answer.text());
        let row = hub.log_row(&answer).await;
        assert_eq!((&row["status"], &row["error_code"]), (&json!("failed"), &json!(code)), "{shown}: {row}");
        assert!(row["error_message"].as_str().is_some_and(|text| !text.is_empty()), "{shown}");
        assert_eq!(&hub.stored_bytes(&answer).await, body, "{shown}");
        assert_eq!(hub.deliver("uzum", body).await.json()["duplicate"], true, "{shown}: the same again is one row");
    }
    assert_eq!(hub.log_rows().await.len(), cases.len());
    let failed = hub.metric("dlq_message_count{status=\"failed\"}").await;
    assert_eq!((failed, hub.available("PHONE-001").await), (cases.len() as f64, 50));
    let row = hub.delivered("uzum", br#"{"event":"price.updated","sku":"PHONE-001"}"#).await;
    assert_eq!(
        (&row["status"], &row["event_type"], &row["error_code"]),
        (&json!("ignored"), &json!("price.updated"), &Value::Null)
    );
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_product_waits_for_its_listing() {
    let hub = Hub::with(plan()).await;
    hub.unlisted("CASE-9", 8).await;
    let body = sold("UZUM-CASE-9", 8, 2, &now(&hub));
    let row = hub.delivered("uzum", &body).await;
    assert_eq!((&row["status"], &row["error_code"]), (&json!("unmapped"), &json!("unmapped")));
    assert_eq!(hub.deliver("uzum", &body).await.json()["duplicate"], true);
    hub.list("CASE-9").await;
    let row = becomes(&hub, &row, "processed").await;
    assert_eq!(row["effect"]["movements"].as_array().map(Vec::len), Some(1), "{row}");
    assert_eq!((hub.available("CASE-9").await, hub.available("PHONE-001").await), (6, 50));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mapped_lines_of_an_order_do_not_wait_for_the_others() {
    let hub = Hub::with(orders_plan()).await;
    hub.unlisted("CASE-9", 10).await;
    let order = json!({"event": "order.created", "order_id": "A-1", "timestamp": now(&hub), "items": [
        {"order_item_id": "1", "sku": "PHONE-001", "quantity": 2},
        {"order_item_id": "2", "sku": "CASE-9", "quantity": 3},
        {"order_item_id": "3", "marketplace_product_id": "UZUM-PHONE-001", "quantity": 1},
    ]});
    let row = hub.delivered("uzum", order.to_string().as_bytes()).await;
    assert_eq!((&row["status"], hub.available("PHONE-001").await), (&json!("unmapped"), 47), "{row}");
    assert!(row["error_message"].as_str().unwrap().contains("CASE-9"));
    assert_eq!(row["effect"]["movements"].as_array().map(Vec::len), Some(2));
    hub.list("CASE-9").await;
    becomes(&hub, &row, "processed").await;
    assert_eq!((hub.available("CASE-9").await, hub.available("PHONE-001").await), (7, 47), "and nothing twice");
    assert_eq!((hub.sales("PHONE-001").await.len(), hub.sales("CASE-9").await.len()), (2, 1));
    hub.stop().await;
}

/// Waits until a row of the log has this status; gives the row.
async fn becomes(hub: &Hub, row: &Value, status: &str) -> Value {
    let path = format!("/v1/admin/webhooks/{}", row["id"].as_str().unwrap());
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let row = hub.get(&path).await;
        if row["status"] == status {
            return row;
        }
        assert!(std::time::Instant::now() < deadline, "still {row}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
