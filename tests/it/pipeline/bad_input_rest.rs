//! What the catalogue of bad inputs holds beside `bad_input`: times, repeats, order, overflow, locks, stops and odd addresses.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection as _;
use stockhub::clock::Clock;
use stockhub::domain::time::Timestamp;
use stockhub::pipeline::silence::{ListenForSilence, Patience};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::database::TestDatabase;
use crate::support::hub::{Hub, Plan, TOKEN as OLD};
use crate::support::webhook::{mac, plain, stamped, standard};

/// `uzum` tells orders and `own` changes of its own number, both under two live secrets; `seen` tells absolute numbers.
fn marketplaces() -> String {
    let marketplace = |code: &str, feed: &str| {
        format!(
            "[[marketplaces]]\ncode = \"{code}\"\nadapter = \"generic\"\nstock_feed = \"{feed}\"\n\
             [marketplaces.secrets]\nwebhook_secret = [\"env:T_SECRET\", \"env:T_TOKEN\"]\n[marketplaces.policy]\npush_enabled = false\n"
        )
    };
    marketplace("uzum", "orders") + &marketplace("own", "delta") + &marketplace("seen", "absolute")
}

async fn start() -> Hub {
    listed(Hub::with(Plan { shops: vec![], marketplaces: marketplaces(), ..Plan::default() }).await).await
}

async fn listed(hub: Hub) -> Hub {
    for code in ["uzum", "own", "seen"] {
        let body = json!({"marketplace": code, "sku": "PHONE-001", "marketplace_product_id": format!("{code}-1")});
        assert_eq!(hub.admin("POST", "/v1/admin/listings", Some(body)).await.status, 201);
    }
    hub
}

fn order(id: &str, event: &str, quantity: i64) -> Vec<u8> {
    json!({"event": event, "order_id": id, "timestamp": "2026-01-09T10:30:00Z",
        "items": [{"order_item_id": "1", "sku": "PHONE-001", "quantity": quantity}]})
    .to_string()
    .into_bytes()
}

/// B5 to B7: live secrets, and times.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_times() {
    let now = 1_800_000_000;
    let clock = Clock::manual(Timestamp::from_seconds(now));
    let hub = listed(Hub::with(Plan { shops: vec![], marketplaces: marketplaces(), clock, ..Plan::default() }).await).await;
    let body = order("b5", "order.created", 1);
    let at = now.to_string();
    let by_old = {
        use base64::Engine as _;
        let tag = mac(OLD, &[b"b5.", at.as_bytes(), b".", &body]);
        format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(tag))
    };
    let both = format!("{} {by_old}", standard("b5", &at, &body));
    for list in [&both, &by_old] {
        let headers = [("webhook-signature", list.as_str()), ("webhook-id", "b5"), ("webhook-timestamp", &at)];
        let answer = hub.http.send_bytes("POST", "/webhooks/uzum", &headers, &body).await;
        assert_eq!(answer.status, 200, "B5: {}", answer.text());
    }
    let beyond = i64::MAX.to_string();
    let far = format!("{}0", i64::MAX);
    let (past, future) = ((now - 301).to_string(), (now + 301).to_string());
    for time in ["abc", "1e9", "-1", "", " ", "1.5", beyond.as_str(), far.as_str(), past.as_str(), future.as_str()] {
        let tag = hex::encode(stamped("b6", time, &body));
        let headers = [("x-webhook-signature", tag.as_str()), ("x-webhook-id", "b6"), ("x-webhook-timestamp", time)];
        let answer = hub.http.send_bytes("POST", "/webhooks/uzum", &headers, &body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (401, "invalid-signature"), "B6, B7 {time:?}: {}", answer.text());
    }
    let tag = hex::encode(stamped("b7", "", &body));
    let answer =
        hub.http.send_bytes("POST", "/webhooks/uzum", &[("x-webhook-signature", &tag), ("x-webhook-id", "b7")], &body).await;
    assert_eq!(answer.status, 401, "B7, no time at all");
    assert_eq!(hub.log_rows().await.len(), 1, "one event, and nothing of the others");
    hub.stop().await;
}

/// B23, B24: numbers at the edge of what is one.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_at_the_edge() {
    let hub = start().await;
    let cases = [
        ("null", "failed"),
        ("5.0", "failed"),
        ("-0", "failed"),
        ("0", "failed"),
        ("1000000001", "failed"),
        ("1e2", "failed"),
        ("\"\"", "failed"),
        ("9223372036854775807", "failed"),
        ("-9223372036854775808", "failed"),
    ];
    let mut wrong = Vec::new();
    for (n, (quantity, status)) in cases.iter().enumerate() {
        let body = format!(
            "{{\"event\":\"order.created\",\"order_id\":\"n{n}\",\"items\":[{{\"sku\":\"PHONE-001\",\"quantity\":{quantity}}}]}}"
        );
        let row = hub.delivered("uzum", body.as_bytes()).await;
        if row["status"] != *status {
            wrong.push(format!("{quantity}: {} {} {}, not {status}", row["status"], row["error_code"], row["error_message"]));
        }
    }
    assert!(wrong.is_empty(), "B23, B24:\n{}", wrong.join("\n"));
    assert_eq!(hub.available("PHONE-001").await, 50, "none of it moved anything");
    hub.stop().await;
}

/// Sets a number in the database itself: no door lets one in that is so far out.
async fn plant(database: &TestDatabase, on_hand: i64) {
    let sql = sqlx::AssertSqlSafe(format!("UPDATE inventory SET on_hand = {on_hand}"));
    let changed = if database.is_sqlite() {
        let mut conn = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
        sqlx::query(sql).execute(&mut conn).await.unwrap().rows_affected()
    } else {
        let mut conn = sqlx::PgConnection::connect(&database.url).await.unwrap();
        sqlx::query(sql).execute(&mut conn).await.unwrap().rows_affected()
    };
    assert_eq!(changed, 1);
}

/// B26: a sum beyond 64 bits is no sum: the event waits for somebody, and counts once there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_sum_beyond_all_numbers() {
    let hub = start().await;
    plant(&hub.database, i64::MIN + 10).await;
    let row = hub.delivered("uzum", &order("b26", "order.created", 20)).await;
    assert_eq!((&row["status"], &row["error_code"]), (&json!("failed"), &json!("arithmetic-overflow")), "B26: {row}");
    let row = hub.delivered("uzum", &order("b26-next", "order.created", 4)).await;
    assert_eq!(row["status"], "processed", "B26, the next one is not held up: {row}");
    plant(&hub.database, 50).await;
    let failed = hub.log_rows().await.into_iter().find(|row| row["status"] == "failed").expect("the failed one");
    let id = failed["id"].as_str().unwrap();
    let answer = hub.admin("POST", &format!("/v1/admin/webhooks/{id}/replay"), None).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    hub.until("the replayed one counts", async || hub.available("PHONE-001").await == 30).await;
    hub.stop().await;
}

/// Who normally sends and has stopped is missed, also across a restart, and the alert ends with the next webhook.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fell_silent() {
    let clock = Clock::manual(Timestamp::from_seconds(1_800_000_000));
    let plan = || Plan { shops: vec![], marketplaces: marketplaces(), clock: clock.clone(), ..Plan::default() };
    let patience = Patience { factor: 20, at_least: Duration::from_secs(600) };
    let listen = async |hub: &Hub| hub.context.writer.run_patiently(ListenForSilence(patience)).await.unwrap();
    let hub = listed(Hub::with(plan()).await).await;
    for n in 0..30 {
        hub.delivered("uzum", &order(&format!("s{n}"), "order.created", 1)).await;
        clock.advance(Duration::from_secs(60));
    }
    listen(&hub).await;
    assert_eq!(silences(&hub).await, Vec::<String>::new(), "a minute is usual");
    let database = hub.stop().await;
    clock.advance(Duration::from_secs(1_500));
    let hub = Hub::on(database, plan()).await;
    listen(&hub).await;
    assert_eq!(silences(&hub).await, ["uzum: no webhook for 26 minutes, which is unusual for it"], "and `own` never sent one");
    hub.delivered("uzum", &order("back", "order.created", 1)).await;
    listen(&hub).await;
    assert_eq!(silences(&hub).await, Vec::<String>::new());
    hub.stop().await;
}

async fn silences(hub: &Hub) -> Vec<String> {
    let alerts = hub.get("/v1/admin/alerts?state=open").await;
    let of = alerts["items"].as_array().expect("a list").iter().filter(|alert| alert["kind"] == "webhook-silence");
    of.map(|alert| alert["message"].as_str().unwrap().to_owned()).collect()
}

/// B32 to B35: what comes without an id, too early, too late, or back from ourselves.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_out_of_turn() {
    let hub = start().await;
    let change = |reason: &str, at: Option<&str>| {
        let mut body = json!({"event": "stock.updated", "sku": "PHONE-001", "previous_stock": 50, "current_stock": 49, "change": -1,
            "reason": reason});
        at.into_iter().for_each(|at| body["timestamp"] = at.into());
        body.to_string().into_bytes()
    };
    let row = hub.delivered("own", &change("sold", None)).await;
    assert_eq!((&row["status"], &row["error_code"]), (&json!("failed"), &json!("no-id")), "B32: two equal sales are real");
    assert_eq!(hub.alerts().await, ["no-id"], "B32: and somebody is told");
    let row = hub.delivered("own", &change("api", Some("2026-01-09T10:30:01Z"))).await;
    assert_eq!((&row["status"], hub.available("PHONE-001").await), (&json!("processed"), 50), "B35: our own echo moves nothing");
    let row = hub.delivered("uzum", &order("b33", "order.cancelled", 2)).await;
    assert!(row["status"] == "processed" && hub.available("PHONE-001").await == 50, "B33, the cancel first: {row}");
    let row = hub.delivered("uzum", &order("b33", "order.created", 2)).await;
    assert!(row["status"] == "processed" && hub.available("PHONE-001").await == 50, "B33, then its create: {row}");
    let seen = |quantity: i64, at: &str| {
        json!({"event": "stock.updated", "sku": "PHONE-001", "previous_stock": 50, "current_stock": quantity, "change": quantity - 50,
            "timestamp": at, "reason": "sold"})
        .to_string()
        .into_bytes()
    };
    hub.delivered("seen", &seen(45, "2026-01-09T10:32:00Z")).await;
    let after = hub.available("PHONE-001").await;
    hub.delivered("seen", &seen(48, "2026-01-09T10:31:00Z")).await;
    assert_eq!(hub.available("PHONE-001").await, after, "B34: an older number after a newer one");
    hub.stop().await;
}

/// Writes bytes and gives the status of what comes back; nothing where it was closed without an answer.
async fn raw(hub: &Hub, bytes: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(hub.address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "it neither answers nor closes");
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

/// B10, B44, B46, B50: addresses and lines that no client writes.
#[tokio::test(flavor = "multi_thread")]
async fn odd_lines_and_addresses() {
    let hub = start().await;
    let long = "a".repeat(8_192);
    let post =
        |path: &str| format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").into_bytes();
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("B44 folded", b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\nconnection: close\r\n\r\n".to_vec(), &[400]),
        ("B44 no host", b"GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(), &[400]),
        ("B46", b"GET /healthz HTTP/1.1\nhost: x\nconnection: close\n\n".to_vec(), &[200, 400]),
        ("B50 long", post(&format!("/webhooks/{long}")), &[404, 414]),
        ("B50 percent", post("/webhooks/%zz"), &[400, 404]),
        ("B50 half a percent", post("/webhooks/%f"), &[400, 404]),
        ("B50 not UTF-8", post("/webhooks/%ff%fe"), &[400, 404]),
        ("B50 absolute", post("http://elsewhere/webhooks/uzum"), &[401, 404, 400]),
        ("B10 CONNECT", b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\nconnection: close\r\n\r\n".to_vec(), &[400, 404, 405]),
        ("B10 invented", b"BREW /webhooks/uzum HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_vec(), &[400, 405]),
    ];
    let mut wrong = Vec::new();
    for (name, bytes, wanted) in cases {
        let status = raw(&hub, &bytes).await;
        if !status.is_some_and(|status| wanted.contains(&status)) {
            wrong.push(format!("{name}: {status:?}, not one of {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(hub.log_rows().await.len(), 0, "nothing was kept");
    hub.stop().await;
}

/// B41, B42: a database or a hub that cannot take it now says so, keeps nothing, and the sender's next try is a new event.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_cannot_says_so() {
    let hub = start().await;
    let body = order("b42", "order.created", 1);
    let (address, tag) = (hub.address, plain(&body));
    let mut waiting = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /webhooks/uzum HTTP/1.1\r\nhost: x\r\nx-webhook-signature: {tag}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // Half of it, then the hub is told to stop: what is under way is finished or refused, never half done.
    waiting.write_all(head.as_bytes()).await.unwrap();
    waiting.write_all(&body[..10]).await.unwrap();
    let stopping = tokio::spawn(hub.stop());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let _ = waiting.write_all(&body[10..]).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), waiting.read_to_end(&mut answer)).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    let database = stopping.await.expect("the hub stops");
    assert!(matches!(status, None | Some(200 | 503)), "B42: {text}");
    let plan = Plan { shops: vec![], marketplaces: String::new(), products: vec![], ..Plan::default() };
    let again = Hub::on(database, plan).await;
    let rows = again.get("/v1/admin/webhooks").await["items"].as_array().map_or(0, Vec::len);
    // A line that was cut may have left the row behind: its sender asks again and is told that it is known.
    let fits = if status.is_none() { rows <= 1 } else { rows == usize::from(status == Some(200)) };
    assert!(fits, "B42: answered {status:?}, {rows} rows");
    let _: Value = again.get("/v1/admin/products/PHONE-001").await;
    again.stop().await;
}

/// Whatever bytes stand in headers and body: 4xx where it is not authentic, 200 where it is, and never a fault of ours.
#[tokio::test(flavor = "multi_thread")]
async fn no_bytes_are_our_fault() {
    const REQUESTS: usize = 600;
    let hub = start().await;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut authentic = 0;
    for n in 0..REQUESTS {
        let mut body: Vec<u8> = match dice.u8(..3) {
            0 => (0..dice.usize(..400)).map(|_| dice.u8(..)).collect(),
            _ => order(&format!("p{n}"), "order.created", 1),
        };
        for _ in 0..dice.usize(..4) {
            if !body.is_empty() {
                let at = dice.usize(..body.len());
                body[at] = dice.u8(..);
            }
        }
        let good = dice.bool();
        let tag = if good { plain(&body).into_bytes() } else { bytes(&mut dice, 80) };
        let mut request = b"POST /webhooks/uzum HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-webhook-signature: ".to_vec();
        request.extend(tag);
        let names = ["x-webhook-id", "x-webhook-timestamp", "webhook-signature", "content-type", "x-odd", "accept", "forwarded"];
        if !good {
            for _ in 0..dice.usize(..4) {
                request.extend(format!("\r\n{}: ", names[dice.usize(..names.len())]).as_bytes());
                request.extend(bytes(&mut dice, 40));
            }
        }
        request.extend(format!("\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend(&body);
        let status = raw(&hub, &request).await;
        let fine = if good { status == Some(200) } else { status.is_none_or(|status| (400..500).contains(&status)) };
        assert!(fine, "seed {seed}, request {n}: {status:?} to {:?}", String::from_utf8_lossy(&request));
        authentic += usize::from(good);
    }
    let log = hub.get("/v1/admin/webhooks?limit=500").await["items"].as_array().expect("a list").len();
    assert!(log <= authentic, "{log} rows of {authentic} authentic requests: nothing else is kept");
    hub.stop().await;
}

/// Header bytes: no line ends, or it would be another header.
fn bytes(dice: &mut fastrand::Rng, at_most: usize) -> Vec<u8> {
    (0..dice.usize(..at_most)).map(|_| dice.u8(..)).filter(|byte| !matches!(byte, b'\r' | b'\n')).collect()
}
