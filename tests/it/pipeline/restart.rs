//! The same hub, stopped and started on the same database: nothing is lost, nothing is told twice without need.

use std::time::Duration;

use serde_json::json;
use stockhub::simulator::chaos::{Chaos, Fault};

use crate::support::hub::{Hub, Plan};
use crate::support::webhook::sold;

const SECOND: Duration = Duration::from_secs(1);
const AT: &str = "2026-01-09T10:30:00Z";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_where_it_stopped() {
    let plan = || Plan { sections: "[push]\nlease_ms = 3600000\n".into(), ..Plan::default() };
    let hub = Hub::with(plan()).await;
    if hub.database.is_sqlite() {
        assert!(hub.database.folder.path().join("hub.db").exists());
    }
    let body = sold("UZUM-PHONE-001", 50, 3, AT);
    hub.delivered("uzum", &body).await;
    let order = json!({"external_id": "web-1", "items": [{"sku": "PHONE-001", "quantity": 2}]});
    let store = [("x-storefront-key", crate::support::hub::STORE_KEY)];
    let placed = hub.http.send("POST", "/v1/store/orders", &store, Some(order.clone())).await.json();
    hub.settled(30 * SECOND).await;
    let shown = hub.get("/v1/stock/PHONE-001").await;
    assert_eq!(shown["stock"], 45);
    let listing = hub.listing("PHONE-001", "ozon").await;
    let ledger = hub.get("/v1/admin/movements?sku=PHONE-001").await;
    let database = hub.stop().await;

    let hub = Hub::on(database, plan()).await;
    assert_eq!(hub.get("/v1/stock/PHONE-001").await, shown, "the window is filled before the first answer, with its version");
    assert_eq!(hub.get("/v1/admin/movements?sku=PHONE-001").await, ledger);
    let again = hub.listing("PHONE-001", "ozon").await;
    for kept in ["wanted", "wanted_version", "acknowledged_version", "expected", "state", "id"] {
        assert_eq!(again[kept], listing[kept], "{kept}");
    }
    // The shops are new, yet what was acknowledged is not told again.
    assert!(hub.told("ozon", 0).is_empty(), "{:?}", hub.told("ozon", 0));
    assert_eq!(hub.deliver("uzum", &body).await.json()["duplicate"], true, "a webhook of before is known");
    let answer = hub.http.send("POST", "/v1/store/orders", &store, Some(order)).await;
    assert_eq!((answer.status, &answer.json()["id"]), (200, &placed["id"]), "an order of before too");

    // The lease was given back: the first push does not wait an hour for it to run out.
    hub.store_sells("PHONE-001", 1).await;
    for code in ["uzum", "wildberries", "ozon"] {
        hub.shows(code, "PHONE-001", 44).await;
    }
    let newer = hub.get("/v1/stock/PHONE-001").await;
    assert!(newer["version"].as_i64() > shown["version"].as_i64(), "{newer} after {shown}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_cut_off_in_flight_is_taken_over() {
    // The stop is shorter than a push may take, so the one that hangs is left as a crash would leave it.
    let plan = || Plan {
        sections: "[push]\ntimeout_ms = 10000\nconnect_timeout_ms = 5000\nzombie_window_ms = 4000\nlease_ms = 21000\n\
            [realtime]\nshutdown_drain_ms = 500\n"
            .into(),
        ..Plan::default()
    };
    let short = Plan { shutdown_timeout_s: 1, ..plan() };
    let hub = Hub::with(short).await;
    hub.settled(30 * SECOND).await;
    hub.shop("ozon").market().set_chaos(Chaos::always(Fault::Hang)).unwrap();
    let mark = hub.mark("ozon");
    hub.store_sells("PHONE-001", 3).await;
    hub.until("the push is under way", async || hub.told("ozon", mark).len() == 1).await;
    let sent = hub.listing("PHONE-001", "ozon").await;
    assert_eq!((&sent["state"], &sent["sent"]), (&json!("in_flight"), &json!(47)));
    let database = hub.stop().await;

    let hub = Hub::on(database, plan()).await;
    let begun = tokio::time::Instant::now();
    hub.shows("ozon", "PHONE-001", 47).await;
    println!("taken over after {:?}", begun.elapsed());
    let first = hub.told("ozon", 0);
    assert_eq!(first[0].stock, 47, "{first:?}");
    // Once more when the old one can no longer arrive; then nothing.
    hub.until("the second look", async || hub.told("ozon", 0).len() == 2).await;
    hub.settled(30 * SECOND).await;
    let now = hub.listing("PHONE-001", "ozon").await;
    assert!(now["acknowledged_version"].as_i64() > sent["wanted_version"].as_i64(), "another key than the old: {now}");
    assert_eq!((&now["state"], &now["expected"]), (&json!("synced"), &json!(47)));
    hub.stop().await;
}
