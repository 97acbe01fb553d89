//! Lists: filters, stretches of time, cursors, tables; listings that change; heads and pages.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::http::Answer;
use crate::support::hub::{ADMIN_TOKEN, Hub, Plan};
use crate::support::webhook::sold;

async fn hub() -> Hub {
    let hub = Hub::with(Plan { shops: vec!["uzum", "ozon"], products: vec![("A-1", 50), ("=B", 30)], ..Plan::default() }).await;
    assert_eq!(hub.deliver("uzum", &sold("UZUM-A-1", 50, 3, "2026-02-01T10:00:00Z")).await.status, 200);
    assert_eq!(hub.deliver("ozon", &sold("OZON-=B", 30, 2, "2026-02-01T10:00:01Z")).await.status, 200);
    hub.store_sells("A-1", 1).await;
    hub.settled(Duration::from_secs(20)).await;
    hub
}

async fn table(hub: &Hub, path: &str) -> Vec<String> {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("accept", "text/csv")];
    let answer: Answer = hub.http.send("GET", path, &headers, None).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/csv; charset=utf-8")),
        "{path}: {}",
        answer.text()
    );
    assert!(answer.header("content-disposition").unwrap().starts_with("attachment"));
    answer.text().lines().map(str::to_owned).collect()
}

fn of(list: &Value, field: &str) -> Vec<Value> {
    list["items"].as_array().unwrap().iter().map(|item| item[field].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_find_what_they_name_and_nothing_else() {
    let hub = hub().await;
    let get = async |path: &str| hub.get(path).await;
    assert_eq!(of(&get("/v1/admin/movements?marketplace=uzum").await, "sku"), ["A-1"]);
    assert_eq!(of(&get("/v1/admin/movements?sku=A-1&type=sale").await, "quantity_change"), [-1]);
    assert_eq!(of(&get("/v1/admin/orders?marketplace=store").await, "source"), ["store"]);
    assert_eq!(of(&get("/v1/admin/orders?sku=%3DB").await, "marketplace"), ["ozon"]);
    assert_eq!(of(&get("/v1/admin/orders?status=cancelled").await, "id"), Vec::<Value>::new());
    assert_eq!(of(&get("/v1/admin/webhooks?marketplace=ozon&status=processed").await, "event_type"), ["stock.updated"]);
    assert_eq!(get("/v1/admin/webhooks?event_type=order.created").await["items"], json!([]));
    let pushes = get("/v1/admin/pushes?marketplace=ozon&sku=A-1&outcome=applied").await;
    assert!(!of(&pushes, "id").is_empty() && of(&pushes, "marketplace").iter().all(|code| code == "ozon"));
    assert_eq!(of(&get("/v1/admin/listings?marketplace=uzum&sku=A-1").await, "marketplace_product_id"), ["UZUM-A-1"]);
    assert_eq!(get("/v1/admin/listings?state=blocked").await["items"], json!([]));
    assert_eq!(of(&get("/v1/admin/audit?action=listing.create&limit=2").await, "actor").len(), 2);
    assert_eq!(get("/v1/admin/alerts?state=open&kind=nothing").await["items"], json!([]));
    assert_eq!(get("/v1/admin/oversells?state=open").await["items"], json!([]));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stretch_of_time_and_a_cursor_cut_the_same_list() {
    let hub = hub().await;
    let all = of(&hub.get("/v1/admin/movements").await, "id");
    for path in ["movements", "orders", "webhooks", "pushes", "events", "alerts", "audit", "oversells"] {
        let none = hub.get(&format!("/v1/admin/{path}?to=2020-01-01T00:00:00Z")).await;
        assert_eq!(none["items"], json!([]), "{path}");
        let none = hub.get(&format!("/v1/admin/{path}?from=2100-01-01T00:00:00Z")).await;
        assert_eq!(none["items"], json!([]), "{path}");
    }
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = hub.get(&format!("/v1/admin/movements?from=2020-01-01T00:00:00Z&limit=2{cursor}")).await;
        paged.extend(of(&page, "id"));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, all);
    for bad in ["from=yesterday", "to=1", "limit=0", "limit=501", "cursor=x", "sort=password", "sku=a&sku=b"] {
        assert_eq!(hub.admin("GET", &format!("/v1/admin/movements?{bad}"), None).await.status, 422, "{bad}");
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_is_a_table_too_and_nothing_in_it_runs() {
    let hub = hub().await;
    for (path, first) in [
        ("movements", "id,recorded_at,"),
        ("orders", "id,created_at,"),
        ("webhooks", "id,created_at,"),
        ("pushes", "id,sent_at,"),
        ("events", "eventId,"),
        ("alerts", "id,opened_at,"),
        ("audit", "id,created_at,"),
        ("oversells", "id,opened_at,"),
    ] {
        let lines = table(&hub, &format!("/v1/admin/{path}")).await;
        assert!(lines[0].starts_with(first), "{path}: {}", lines[0]);
        let count = hub.get(&format!("/v1/admin/{path}?limit=500")).await["items"].as_array().unwrap().len();
        assert_eq!(lines.len() - 1, count, "{path}");
    }
    let movements = table(&hub, "/v1/admin/movements?sku=%3DB").await;
    assert!(movements.len() > 1 && movements[1..].iter().all(|line| line.contains(",'=B,")), "{movements:?}");
    assert_eq!(table(&hub, "/v1/admin/movements?limit=1").await.len(), 2);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_under_another_name_is_told_anew_and_a_paused_one_is_not() {
    let hub = Hub::with(Plan { shops: vec!["uzum"], ..Plan::default() }).await;
    hub.settled(Duration::from_secs(20)).await;
    let listing = hub.listing("PHONE-001", "uzum").await;
    let path = format!("/v1/admin/listings/{}", listing["id"].as_str().unwrap());
    let mark = hub.mark("uzum");
    let changed = hub
        .admin("PATCH", &path, Some(json!({"marketplace_sku": "OTHER", "price": {"amount": "9.90", "currency": "USD"}})))
        .await;
    assert_eq!((changed.status, &changed.json()["marketplace_sku"]), (200, &json!("OTHER")), "{}", changed.text());
    hub.until("told under the new name", async || {
        hub.told("uzum", mark).iter().any(|told| told.sku == "OTHER" && told.stock == 50)
    })
    .await;
    assert_eq!(hub.admin("PATCH", &path, Some(json!({"state": "paused"}))).await.json()["state"], "paused");
    let mark = hub.mark("uzum");
    hub.store_sells("PHONE-001", 5).await;
    let back = hub.admin("PATCH", &path, Some(json!({"marketplace_sku": null, "state": "active"}))).await;
    assert_eq!(back.status, 200, "{}", back.text());
    hub.shows("uzum", "PHONE-001", 45).await;
    assert!(hub.told("uzum", mark).iter().all(|told| told.stock == 45), "nothing while it was paused");
    for (body, field) in [
        (json!({"state": "gone"}), "/state"),
        (json!({"sku": "X"}), "/sku"),
        (json!({"marketplace_sku": ""}), "/marketplace_sku"),
    ] {
        let answer = hub.admin("PATCH", &path, Some(body)).await;
        assert_eq!((answer.status, answer.fields()), (422, vec![field.to_owned()]));
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_are_answered_and_the_description_is_a_page() {
    let hub = Hub::with(Plan { shops: vec![], ..Plan::default() }).await;
    for path in ["/healthz", "/readyz", "/v1/stock", "/openapi.json", "/docs", "/store"] {
        let (mut text, request) = (String::new(), format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        let mut socket = tokio::net::TcpStream::connect(hub.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        socket.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("\r\n\r\n"), "a head and no body: {path}: {text}");
    }
    let page = hub.http.send("GET", "/docs", &[], None).await;
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'self'"));
    for part in ["/docs/docs.js", "/docs/docs.css"] {
        let text = hub.http.send("GET", part, &[], None).await.text();
        assert!(!text.contains("//") || !text.contains("http"), "no other host: {part}");
    }
    for (method, path, status) in [("PUT", "/docs", 405), ("TRACE", "/v1/admin/users", 405), ("GET", "/docs/none", 404)] {
        let answer = hub.http.send(method, path, &[], None).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/problem+json")), "{method} {path}");
    }
    hub.stop().await;
}

/// Every page of a search, by its cursors: the values of a field, and on how many pages it was said how far back was looked.
async fn searched(hub: &Hub, path: &str, field: &str) -> (Vec<Value>, usize) {
    let (mut found, mut cursor, mut said) = (Vec::new(), String::new(), 0);
    loop {
        let page = hub.get(&format!("{path}{cursor}")).await;
        found.extend(of(&page, field));
        said += usize::from(page["looked_back_to"].is_string());
        let Some(next) = page["next_cursor"].as_str() else { return (found, said) };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_looks_at_so_many_rows_and_its_cursor_goes_on_from_there() {
    let sections = "[lists]\nlook_rows = 3\n".to_owned();
    let products = vec![("A-1", 50), ("B-1", 50)];
    let hub = Hub::with(Plan { shops: vec!["uzum", "ozon"], products, sections, ..Plan::default() }).await;
    let order = |n: usize| {
        json!({"event": "order.created", "order_id": format!("O-{n}"), "timestamp": "2026-02-01T10:00:00Z",
            "items": [{"order_item_id": "1", "sku": "A-1", "quantity": 1}]})
    };
    assert_eq!(hub.deliver("ozon", order(100).to_string().as_bytes()).await.status, 200);
    for n in 0..8 {
        assert_eq!(hub.deliver("uzum", &sold("UZUM-B-1", 50 - n, 1, &format!("2026-02-01T10:00:0{n}Z"))).await.status, 200);
    }
    assert_eq!(hub.deliver("ozon", order(101).to_string().as_bytes()).await.status, 200);
    // Ten rows, three a page; the last page came to the end and says so.
    let path = "/v1/admin/webhooks?q=ORDER.created";
    let (found, said) = searched(&hub, path, "marketplace").await;
    assert_eq!((found, said), (vec![json!("ozon"), json!("ozon")], 3));
    let page = hub.get(path).await;
    assert_eq!(of(&page, "marketplace"), ["ozon"], "the newest three rows hold one of them");
    let stretch = format!("/v1/admin/webhooks?q=order.created&to={}", page["looked_back_to"].as_str().unwrap());
    assert!(searched(&hub, &stretch, "marketplace").await.0.len() <= 1, "what was looked at is not older than it says");
    assert_eq!(searched(&hub, &format!("{path}&limit=1"), "marketplace").await.0.len(), 2, "a full page is cut as ever");
    assert_eq!(searched(&hub, "/v1/admin/webhooks?q=nothing-has-this", "id").await, (vec![], 3));
    assert_eq!(searched(&hub, "/v1/admin/webhooks?event_type=order.created", "id").await.0.len(), 2);
    assert_eq!(searched(&hub, "/v1/admin/webhooks?status=ignored", "id").await, (vec![], 3));
    // Only the rows of the marketplace count.
    assert_eq!(searched(&hub, "/v1/admin/webhooks?marketplace=ozon&q=order", "id").await.1, 0);
    assert_eq!(searched(&hub, "/v1/admin/webhooks?marketplace=uzum&q=order.created", "id").await, (vec![], 2));
    // What needs no search looks at no more than it shows, and what an index finds is found at once.
    assert!(hub.get("/v1/admin/webhooks?limit=2").await.get("looked_back_to").is_none());
    assert!(hub.get("/v1/admin/webhooks?status=failed&q=x").await.get("looked_back_to").is_none());
    let skus = async |path: &str| {
        let payloads = searched(&hub, path, "payload").await;
        (payloads.0.iter().map(|payload| payload["sku"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), payloads.1)
    };
    let (all, said) = skus("/v1/admin/events?limit=4").await;
    assert_eq!(said, 0, "nothing is looked for");
    let of_a = all.iter().filter(|sku| *sku == "A-1").count();
    let (found, said) = skus("/v1/admin/events?sku=A-1").await;
    assert!(of_a >= 2 && found.len() == of_a && found.iter().all(|sku| sku == "A-1") && said >= 2, "{all:?} {found:?} {said}");
    assert_eq!(skus("/v1/admin/events?sku=B-1&type=back-in-stock").await.0, Vec::<String>::new());
    // As a table it is all of it.
    assert_eq!(table(&hub, path).await.len(), 3);
    assert_eq!(table(&hub, "/v1/admin/events?sku=A-1").await.len(), of_a + 1);
    hub.stop().await;
}
