//! The same with the shapes of real marketplaces: their lists, pages, names and limits, as the simulated shops have them.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use stockhub::clock::Clock;
use stockhub::domain::quantity::Quantity;
use stockhub::domain::sku::Sku;
use stockhub::simulator::World;
use stockhub::simulator::kinds::{Kind, connection};
use stockhub::simulator::marketplace::MarketplaceSettings;
use stockhub::simulator::server::ShopServer;
use stockhub::simulator::shop::Opening;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::database::TestDatabase;
use crate::support::hub::{Hub, Plan};

const STOCK: i64 = 60;
const SKUS: [&str; 3] = ["PHONE-001", "PHONE-002", "PHONE-003"];

/// Every shop that tells its orders when it is asked, in one hub; none of them sends a webhook.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shop_that_can_be_asked_is_asked() {
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Generic).collect();
    let clock = Clock::system();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let time = clock.clone();
    let world = World::new(Arc::new(move || time.now()), tasks.clone(), stop.clone());
    let database = TestDatabase::new().await;
    let shelf = || SKUS.map(|sku| Opening::new(Sku::parse(sku).unwrap(), Quantity::parse(STOCK).unwrap())).to_vec();
    let start = |kind: &Kind| {
        let settings = MarketplaceSettings::of_kind(*kind, kind.id(), shelf());
        ShopServer::start(world.clone(), "127.0.0.1:0".parse().unwrap(), settings).unwrap()
    };
    let shops: Vec<ShopServer> = kinds.iter().map(start).collect();
    let mut marketplaces = String::new();
    for (kind, shop) in kinds.iter().zip(&shops) {
        let side = connection::hub_side(*kind, kind.id(), &shop.base_url(), &shop.market().account(), "");
        let mut toml = side.toml;
        for (name, secret) in side.environment {
            let path = database.folder.path().join(&name);
            std::fs::write(&path, secret).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            toml = toml.replace(&format!("env:{name}\""), &format!("file:{}\"", path.display()));
        }
        marketplaces += &format!("{toml}[marketplaces.policy]\npoll_every = \"1s\"\n");
    }
    let sections = "[sync]\ntick_ms = 50\nreconcile = []\n".to_owned();
    let plan = Plan { shops: Vec::new(), products: Vec::new(), sections, marketplaces, clock, ..Plan::default() };
    let hub = Hub::on(database, plan).await;
    for sku in SKUS {
        assert!(hub.unlisted(sku, STOCK).await);
    }
    for (kind, shop) in kinds.iter().zip(&shops) {
        for listed in shop.market().listed() {
            let answer = hub.admin("POST", "/v1/admin/listings", Some(connection::listing(kind.id(), &listed))).await;
            assert_eq!(answer.status, 201, "{}: {}", kind.id(), answer.text());
        }
    }
    for kind in &kinds {
        hub.until(&format!("the orders of {} are known", kind.id()), async || drained(&hub, kind.id()).await).await;
    }
    for shop in &shops {
        shop.market().sell(SKUS[0], 1).await.unwrap();
    }
    let wanted = STOCK - kinds.len() as i64;
    hub.until("every sale is in", async || {
        hub.get(&format!("/v1/admin/products/{}", SKUS[0])).await["on_hand"].as_i64() == Some(wanted)
    })
    .await;
    for kind in &kinds {
        let answer = hub.admin("POST", "/v1/admin/sync", Some(json!({"marketplace": kind.id()}))).await;
        if answer.status == 422 {
            // It tells its numbers to nobody.
            continue;
        }
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let mut run = json!(null);
        hub.until(&format!("{} is read", kind.id()), async || {
            run = hub.get(&format!("/v1/admin/sync-logs/{id}")).await;
            !run["finished_at"].is_null()
        })
        .await;
        assert_eq!((&run["counts"]["matched"], &run["counts"]["unmapped"]), (&json!(3), &json!(0)), "{}: {run}", kind.id());
        println!("{:<16} {} calls for its numbers", kind.id(), run["api_calls"]);
    }
    hub.stop().await;
    stop.cancel();
    tasks.close();
    tokio::time::timeout(Duration::from_secs(10), tasks.wait()).await.unwrap();
}

async fn drained(hub: &Hub, code: &str) -> bool {
    let id = hub.context.kit.registry.by_code(code).unwrap().id;
    let mut reader = hub.context.db.read().await.unwrap();
    stockhub::db::polls::state(&mut reader.conn(), id).await.unwrap().orders_drained_at.is_some()
}
