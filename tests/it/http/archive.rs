//! A marketplace that is put away: told nothing, asked nothing, alerting nobody, with all its past and its sales still booked; and
//! how it comes back.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::pipeline::archive::Restore;

use crate::support::database::TestDatabase;
use crate::support::hub::{Hub, Plan};
use crate::support::webhook::sold;

const WAIT: Duration = Duration::from_secs(20);
const UZUM: &str = "/v1/admin/marketplaces/uzum";

fn plan() -> Plan {
    Plan { shops: vec!["uzum", "ozon"], ..Plan::default() }
}

async fn archive(hub: &Hub, code: &str) -> Value {
    let path = format!("/v1/admin/marketplaces/{code}/archive");
    let asked = hub.admin("POST", &path, Some(json!({}))).await;
    let confirm = asked.json()["confirm"].clone();
    assert_eq!((asked.status, asked.problem().as_str()), (409, "needs-confirmation"), "{}", asked.text());
    let done = hub.admin("POST", &path, Some(json!({"confirm": confirm}))).await;
    assert_eq!((done.status, &done.json()["status"]), (200, &json!("archived")), "{}", done.text());
    asked.json()
}

async fn is_back(hub: &Hub, code: &str) {
    hub.until(&format!("{code} is back"), async || {
        hub.get(&format!("/v1/admin/marketplaces/{code}")).await["status"] == "active"
    })
    .await;
}

async fn restore(hub: &Hub, code: &str) {
    let answer = hub.admin("POST", &format!("/v1/admin/marketplaces/{code}/restore"), None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    is_back(hub, code).await;
}

async fn codes(hub: &Hub, path: &str) -> Vec<String> {
    let items = hub.get(path).await["items"].clone();
    let code = |item: &Value| item["code"].as_str().or(item["marketplace"].as_str()).unwrap().to_owned();
    items.as_array().unwrap().iter().map(code).collect()
}

async fn count(hub: &Hub, path: &str) -> usize {
    hub.get(path).await["items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_told_nothing_and_what_it_sells_is_booked_and_it_comes_back_with_todays_numbers() {
    let hub = Hub::with(plan()).await;
    hub.settled(WAIT).await;
    let listing = hub.listing("PHONE-001", "uzum").await["id"].as_str().unwrap().to_owned();
    let quota = hub.admin("PUT", &format!("/v1/admin/listings/{listing}/rule"), Some(json!({"rule": {"quota": 10}}))).await;
    assert_eq!(quota.status, 200, "{}", quota.text());
    hub.shows("ozon", "PHONE-001", 40).await;
    hub.shows("uzum", "PHONE-001", 10).await;

    let asked = archive(&hub, "uzum").await;
    assert_eq!(asked["hangs_on_it"], json!({"listings": 1, "still_shown": 1, "open_orders": 0, "committed": 0}));
    let shown = hub.get(UZUM).await;
    assert!(shown["archived_at"].is_string() && shown["health"].is_null(), "{shown}");
    let again = hub.admin("POST", &format!("{UZUM}/archive"), Some(json!({}))).await;
    assert_eq!(again.json()["version"], shown["version"], "twice is once");

    // It is gone from the lists, and there for who asks for it.
    assert_eq!(codes(&hub, "/v1/admin/marketplaces").await, ["olx", "ozon", "store"]);
    assert_eq!(codes(&hub, "/v1/admin/marketplaces?archived=true").await, ["olx", "ozon", "store", "uzum"]);
    assert_eq!(codes(&hub, "/v1/admin/listings").await, ["ozon"]);
    assert_eq!(codes(&hub, "/v1/admin/listings?sku=PHONE-001").await, ["ozon"]);
    assert_eq!(codes(&hub, "/v1/admin/listings?marketplace=uzum").await, ["uzum"]);
    assert!(!hub.get("/v1/admin/products/PHONE-001").await["listings"].to_string().contains("uzum"));
    assert!(!hub.admin("GET", "/v1/admin/listings/export", None).await.text().contains("uzum"));
    assert!(!hub.admin("GET", "/v1/admin/rules/export", None).await.text().contains("uzum"));

    // What it had for itself is everybody's, and it is told of nothing.
    let mark = hub.mark("uzum");
    hub.shows("ozon", "PHONE-001", 50).await;
    hub.store_sells("PHONE-001", 5).await;
    hub.shows("ozon", "PHONE-001", 45).await;

    // Signed is believed, unsigned is not; what was sold is sold, and told to the others.
    let row = hub.delivered("uzum", &sold("UZUM-PHONE-001", 10, 3, "2026-02-01T10:00:00Z")).await;
    assert_eq!(row["status"], "processed", "{row}");
    hub.shows("ozon", "PHONE-001", 42).await;
    let forged = [("x-webhook-signature", "00".repeat(32))];
    let forged: Vec<(&str, &str)> = forged.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = sold("UZUM-PHONE-001", 7, 1, "2026-02-01T10:00:01Z");
    assert_eq!(hub.http.send_bytes("POST", "/webhooks/uzum", &forged, &body).await.status, 401);
    hub.settled(WAIT).await;
    assert_eq!(hub.told("uzum", mark), [], "nothing was said to it");

    // Its past is there.
    for list in ["movements", "webhooks", "pushes", "orders"] {
        assert!(count(&hub, &format!("/v1/admin/{list}?marketplace=uzum")).await > 0, "{list}");
    }

    // A file that names it does not bring it back.
    let database = hub.stop().await;
    let hub = Hub::on(database, plan()).await;
    assert_eq!(hub.get(UZUM).await["status"], "archived");
    let row = hub.delivered("uzum", &sold("UZUM-PHONE-001", 7, 2, "2026-02-01T10:00:02Z")).await;
    assert_eq!(row["status"], "processed", "{row}");
    hub.shows("ozon", "PHONE-001", 40).await;

    let mark = hub.mark("uzum");
    restore(&hub, "uzum").await;
    hub.shows("uzum", "PHONE-001", 5).await;
    hub.shows("ozon", "PHONE-001", 35).await;
    hub.settled(WAIT).await;
    assert!(hub.told("uzum", mark).iter().all(|told| told.stock == 5), "{:?}", hub.told("uzum", mark));
    assert_eq!(hub.listing("PHONE-001", "uzum").await["wanted"], 5, "listed again");
    hub.store_sells("PHONE-001", 34).await;
    hub.shows("ozon", "PHONE-001", 1).await;
    assert_eq!(hub.listing("PHONE-001", "uzum").await["wanted"], 5, "its own are its own again");
    let actions = hub.get("/v1/admin/audit?target=uzum").await["items"].clone();
    let actions: Vec<&str> = actions.as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["marketplace.restore", "marketplace.archive", "marketplace.archive"]);
    hub.stop().await;
}

/// A number that waited when it was put away is of another day: it must not be the first thing said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_from_before_leaves_when_it_comes_back_also_after_a_crash() {
    let hub = Hub::with(plan()).await;
    hub.settled(WAIT).await;
    assert_eq!(hub.admin("POST", &format!("{UZUM}/pause"), None).await.status, 200);
    hub.store_sells("PHONE-001", 5).await;
    assert_eq!(hub.listing("PHONE-001", "uzum").await["state"], "dirty", "45 waits to be told");
    archive(&hub, "uzum").await;
    assert_eq!(hub.metric("dirty_listings{marketplace=\"uzum\"}").await, 0.0, "nobody waits for it");
    hub.store_sells("PHONE-001", 42).await;
    hub.shows("ozon", "PHONE-001", 3).await;

    // Brought back, and the process ends before its listings were worked out: the pass stands in the database.
    let command = Restore { code: "uzum".into(), settings: hub.context.settings.clone() };
    let mark = hub.mark("uzum");
    hub.context.writer.run(command).await.unwrap();
    let told = |hub: &Hub, mark| hub.told("uzum", mark).iter().map(|told| told.stock).collect::<Vec<_>>();
    assert!(told(&hub, mark).iter().all(|stock| *stock == 3), "{:?}", told(&hub, mark));
    let database = hub.stop().await;
    let hub = Hub::on(database, plan()).await;
    // It was paused when it was put away.
    assert_eq!(hub.admin("POST", &format!("{UZUM}/resume"), None).await.status, 200);
    is_back(&hub, "uzum").await;
    hub.shows("uzum", "PHONE-001", 3).await;
    hub.settled(WAIT).await;
    assert!(told(&hub, 0).iter().all(|stock| *stock == 3), "{:?}", told(&hub, 0));

    // One that is paused while it comes back stays so.
    archive(&hub, "uzum").await;
    let command = Restore { code: "uzum".into(), settings: hub.context.settings.clone() };
    hub.context.writer.run(command).await.unwrap();
    assert_eq!(hub.admin("POST", &format!("{UZUM}/pause"), None).await.status, 200);
    hub.until("it rests", async || hub.get(UZUM).await["status"] == "paused").await;
    assert_eq!(hub.admin("POST", &format!("{UZUM}/resume"), None).await.json()["status"], "active");
    hub.stop().await;
}

/// Who paused it did not say that it may go on, by archiving it or by bringing it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_paused_comes_back_paused() {
    let hub = Hub::with(plan()).await;
    hub.settled(WAIT).await;
    assert_eq!(hub.admin("POST", &format!("{UZUM}/pause"), None).await.status, 200);
    let mark = hub.mark("uzum");
    for _ in 0..2 {
        archive(&hub, "uzum").await;
        // A pass that goes by wakes nothing that is put away.
        assert_eq!(hub.admin("PUT", "/v1/admin/rules", Some(json!({"rule": {"buffer": 0}}))).await.status, 200);
        hub.store_sells("PHONE-001", 1).await;
        assert_eq!(hub.admin("POST", &format!("{UZUM}/restore"), None).await.status, 200);
        hub.until("its listings are worked out", async || hub.get(UZUM).await["status"] != "restoring").await;
        assert_eq!(hub.get(UZUM).await["status"], "paused");
    }
    assert_eq!(hub.told("uzum", mark), [], "nothing was said to it");
    assert_eq!(hub.admin("POST", &format!("{UZUM}/resume"), None).await.json()["status"], "active");
    hub.shows("uzum", "PHONE-001", 48).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_use_it_is_refused_and_its_name_is_kept() {
    let hub = Hub::with(plan()).await;
    hub.settled(WAIT).await;
    archive(&hub, "uzum").await;
    let order = json!({"marketplace": "uzum", "external_id": "X", "items": [{"sku": "PHONE-001", "quantity": 1}]});
    let listing = json!({"marketplace": "uzum", "sku": "PHONE-001", "marketplace_product_id": "NEW"});
    for (method, path, body) in [
        ("POST", format!("{UZUM}/pause"), json!({})),
        ("POST", format!("{UZUM}/resume"), json!({})),
        ("POST", format!("{UZUM}/doctor"), json!({})),
        ("POST", format!("{UZUM}/rotate-secret"), json!({"name": "api_key"})),
        ("PATCH", UZUM.to_owned(), json!({"name": "Other"})),
        ("PUT", format!("{UZUM}/rule"), json!({"rule": {"buffer": 1}})),
        ("POST", "/v1/admin/orders".into(), order),
        ("POST", "/v1/admin/listings".into(), listing),
    ] {
        let answer = hub.admin(method, &path, Some(body)).await;
        assert_eq!((answer.status, answer.problem().as_str()), (409, "archived"), "{method} {path}: {}", answer.text());
    }
    let same = json!({"code": "uzum", "adapter": "generic", "base_url": hub.shop("uzum").base_url()});
    let taken = hub.admin("POST", "/v1/admin/marketplaces", Some(same)).await;
    assert_eq!((taken.status, taken.problem().as_str()), (409, "marketplace-taken"), "{}", taken.text());
    for path in ["store", "none"].map(|code| format!("/v1/admin/marketplaces/{code}/archive")) {
        let answer = hub.admin("POST", &path, Some(json!({}))).await;
        assert!([404, 409].contains(&answer.status) && answer.problem() != "needs-confirmation", "{path}: {}", answer.text());
    }
    // One with nothing on it needs no second look.
    let bare = json!({"code": "bare", "adapter": "generic", "base_url": hub.shop("uzum").base_url()});
    assert_eq!(hub.admin("POST", "/v1/admin/marketplaces", Some(bare)).await.status, 201);
    let done = hub.admin("POST", "/v1/admin/marketplaces/bare/archive", Some(json!({}))).await;
    assert_eq!(done.json()["status"], "archived", "{}", done.text());

    // Under the name of one that was put away no other kind of marketplace comes in by a file.
    let database = hub.stop().await;
    let marketplaces = "[[marketplaces]]\ncode = \"bare\"\nadapter = \"manual\"\n".to_owned();
    let hub = Hub::on(database, Plan { marketplaces, ..plan() }).await;
    assert_eq!(hub.get("/v1/admin/marketplaces/bare").await["adapter"], "generic");
    let refused = hub.admin("POST", "/v1/admin/marketplaces/bare/restore", None).await;
    assert_eq!((refused.status, refused.problem().as_str()), (409, "other-adapter"), "{}", refused.text());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_open_orders_stay_and_its_alerts_end() {
    let policy = "fulfilment = \"shipment\"\n".to_owned();
    let hub = Hub::with(Plan { stock_feed: "orders", policy, ..plan() }).await;
    hub.settled(WAIT).await;
    let order = |id: &str, event: &str| {
        json!({"event": event, "order_id": id, "timestamp": "2026-02-01T10:00:00Z",
            "items": [{"order_item_id": "1", "sku": "PHONE-001", "quantity": 2}]})
        .to_string()
        .into_bytes()
    };
    for id in ["A", "B"] {
        assert_eq!(hub.delivered("uzum", &order(id, "order.created")).await["status"], "processed");
    }
    hub.shows("ozon", "PHONE-001", 46).await;
    // One message under another's id: somebody has to look.
    let conflict = async |n: i64| {
        let body = json!({"event": "order.created", "order_id": "C", "timestamp": "2026-02-01T10:00:00Z",
            "items": [{"order_item_id": "1", "sku": "PHONE-001", "quantity": n}]})
        .to_string();
        let at = hub.context.kit.clock.now().micros() / 1_000_000;
        let (id, at) = ("same-id", at.to_string());
        let tag = hex::encode(crate::support::webhook::stamped(id, &at, body.as_bytes()));
        let headers = [("x-webhook-id", id), ("x-webhook-timestamp", at.as_str()), ("x-webhook-signature", tag.as_str())];
        hub.http.send_bytes("POST", "/webhooks/uzum", &headers, body.as_bytes()).await.status
    };
    assert_eq!((conflict(1).await, conflict(2).await), (200, 200));
    assert_eq!(hub.alerts().await, ["id-conflict"]);

    let asked = archive(&hub, "uzum").await;
    assert_eq!((&asked["hangs_on_it"]["open_orders"], &asked["hangs_on_it"]["committed"]), (&json!(3), &json!(5)));
    assert_eq!(hub.alerts().await, Vec::<String>::new());
    assert_eq!(conflict(3).await, 200);
    assert_eq!(hub.alerts().await, Vec::<String>::new(), "it rings no bell");

    // What is sold is still to be sent: the pieces stay committed, and people go on with it; so does the marketplace's own word.
    let product = hub.get("/v1/admin/products/PHONE-001").await;
    assert_eq!((&product["committed"], &product["available"]), (&json!(5), &json!(45)));
    let orders = hub.get("/v1/admin/orders?marketplace=uzum").await["items"].clone();
    let id = orders.as_array().unwrap().iter().find(|order| order["external_id"] == "A").unwrap()["id"].clone();
    let shipped = hub.admin("POST", &format!("/v1/admin/orders/{}/ship", id.as_str().unwrap()), Some(json!({}))).await;
    assert_eq!((shipped.status, &shipped.json()["status"]), (200, &json!("shipped")), "{}", shipped.text());
    assert_eq!(hub.delivered("uzum", &order("B", "order.cancelled")).await["status"], "processed");
    let product = hub.get("/v1/admin/products/PHONE-001").await;
    assert_eq!((&product["committed"], &product["on_hand"], &product["available"]), (&json!(1), &json!(48), &json!(47)));
    hub.shows("ozon", "PHONE-001", 47).await;
    hub.stop().await;
}

/// Two hubs on one database: what one of them puts away or brings back holds for both, whoever owns the account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_holds_on_every_node() {
    let database = TestDatabase::new().await;
    if database.is_sqlite() {
        // One process holds the file.
        return;
    }
    let second = TestDatabase { url: database.url.clone(), folder: tempfile::tempdir().unwrap() };
    let one = Hub::on(database, plan()).await;
    // Its settings name no marketplace of their own; those are of the first node's shops.
    let two = Hub::on(second, Plan { shops: vec![], products: vec![], marketplaces: String::new(), ..Plan::default() }).await;
    let own =
        json!({"code": "extra", "adapter": "generic", "base_url": one.shop("uzum").base_url(), "policy": {"min_gap_ms": 10}});
    assert_eq!(two.admin("POST", "/v1/admin/marketplaces", Some(own)).await.status, 201);
    assert_eq!(one.admin("POST", &format!("{UZUM}/pause"), None).await.status, 200);
    one.until("the first knows it", async || one.context.kit.registry.by_code("extra").is_some()).await;
    let body =
        json!({"marketplace": "extra", "sku": "PHONE-001", "marketplace_product_id": "E-1", "marketplace_sku": "PHONE-001"});
    assert_eq!(one.admin("POST", "/v1/admin/listings", Some(body)).await.status, 201);
    one.shows("uzum", "PHONE-001", 50).await;

    archive(&two, "extra").await;
    let mark = one.mark("uzum");
    // Sold on the other node at once, whatever that has read of it by now.
    one.store_sells("PHONE-001", 5).await;
    one.shows("ozon", "PHONE-001", 45).await;
    one.until("the first knows", async || {
        one.context.kit.registry.by_code("extra").is_some_and(|connection| connection.is_archived())
    })
    .await;
    one.store_sells("PHONE-001", 5).await;
    one.shows("ozon", "PHONE-001", 40).await;
    assert_eq!(one.told("uzum", mark), [], "nothing was said to it");

    // Brought back on one while the other sells: the number that is told in the end is today's.
    let (restored, ()) =
        tokio::join!(async { two.admin("POST", "/v1/admin/marketplaces/extra/restore", None).await.status }, async {
            for _ in 0..10 {
                one.store_sells("PHONE-001", 1).await;
            }
        });
    assert_eq!(restored, 200);
    is_back(&one, "extra").await;
    is_back(&two, "extra").await;
    one.shows("uzum", "PHONE-001", 30).await;
    assert!(one.told("uzum", mark).iter().all(|told| told.stock <= 40), "{:?}", one.told("uzum", mark));
    two.stop().await;
    one.stop().await;
}
