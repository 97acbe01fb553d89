//! What stands around the hub and survives its kills: a database, four simulated marketplaces, an observer, and the oracle.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stockhub::clock::Clock;
use stockhub::domain::quantity::Quantity;
use stockhub::domain::sku::Sku;
use stockhub::simulator::World as Simulated;
use stockhub::simulator::chaos::Chaos;
use stockhub::simulator::http_client::Target;
use stockhub::simulator::marketplace::{Marketplace, MarketplaceSettings};
use stockhub::simulator::server::ShopServer;
use stockhub::simulator::shop::Opening;
use stockhub::simulator::webhooks::{Door, Feed};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::checker::{self, Evidence, Finding};
use super::observer::Observer;
use super::oracle::Oracle;
use super::power::Power;
use super::process::{Process, free_address};
use super::senders::{Load, Sender};
use crate::support::database::TestDatabase;
use crate::support::hub::ADMIN_TOKEN;

/// Milliseconds after which a push of unknown end is confirmed: short here, so that a run's end is soon quiet.
const ZOMBIE_MS: u64 = 1_500;
const SKUS: [&str; 6] = ["PHONE-001", "PHONE-002", "BUDS-010", "WATCH-003", "CABLE-100", "CASE-042"];
const OPENING: i64 = 9_000;
pub const READY_AT_MOST: Duration = Duration::from_secs(120);

/// A marketplace: its code, its stock feed, what it sends, whether with ids, and through which door. All three ways of telling one
/// event from another are among them: by id, by content and time, by order line.
const SHOPS: [(&str, &str, Feed, bool, Door); 4] = [
    ("uzum", "delta", Feed::Stock, false, Door::Older),
    ("wildberries", "delta", Feed::Stock, true, Door::Own),
    ("ozon", "orders", Feed::Orders, true, Door::Own),
    ("kaufland", "orders", Feed::Orders, false, Door::Older),
];

pub struct World {
    pub process: Process,
    pub database: TestDatabase,
    pub shops: Vec<ShopServer>,
    pub oracle: Arc<Oracle>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl World {
    /// Shops open, the hub's configuration is written, and the hub is not started.
    pub async fn new(seed: u64, breakage: Option<&'static str>) -> Self {
        Self::on(TestDatabase::new().await, seed, breakage)
    }

    pub fn on(database: TestDatabase, seed: u64, breakage: Option<&'static str>) -> Self {
        let (stop, tasks, clock) = (CancellationToken::new(), TaskTracker::new(), Clock::system());
        let simulated = Simulated::new(Arc::new(move || clock.now()), tasks.clone(), stop.clone());
        let shelf: Vec<Opening> =
            SKUS.iter().map(|sku| Opening::new(Sku::parse(sku).unwrap(), Quantity::parse(OPENING).unwrap())).collect();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let shops = SHOPS.map(|(code, ..)| {
            ShopServer::start(simulated.clone(), any, MarketplaceSettings::new(code, shelf.clone())).expect("a shop opens")
        });
        let shops = Vec::from(shops);
        // Slow enough that a kill meets pushes on their way, both before and after the shop took them.
        let slow = Chaos { latency_ms: (0, 15), answer_delay_ms: (0, 15), ..Chaos::default() };
        for shop in &shops {
            shop.market().set_chaos(slow.clone()).expect("good chaos");
        }
        // Every run takes another port, whatever its seed: two tests of one binary run side by side.
        let address = free_address(&mut fastrand::Rng::with_seed(seed ^ (u64::from(shops[0].address().port()) << 32)));
        let process = Process::new(database.folder.path().to_owned(), address, &config(&database, address, &shops), breakage);
        Self { process, database, shops, oracle: Arc::default(), stop, tasks }
    }

    /// Starts the hub for the first time, with products on its shelves and listings in every shop.
    pub async fn open(&mut self) {
        self.process.spawn();
        self.process.ready(READY_AT_MOST).await;
        for sku in SKUS {
            self.post("/v1/admin/products", json!({"sku": sku, "name": format!("Product {sku}"), "initial_stock": OPENING}))
                .await;
            for (code, ..) in SHOPS {
                let id = format!("{}-{sku}", code.to_uppercase());
                self.post("/v1/admin/listings", json!({"marketplace": code, "sku": sku, "marketplace_product_id": id})).await;
            }
        }
    }

    /// From now on what is synced is kept, so that the power can be cut.
    pub fn on_mains(&mut self) {
        self.process.power = Some(Power::prepare(self.database.folder.path()).expect("the shim compiles"));
    }

    /// Ends the hub without warning: by SIGKILL, and where it is on mains by cutting the power.
    pub async fn end(&mut self, dice: &mut fastrand::Rng) {
        self.process.kill().await;
        if let Some(power) = &self.process.power {
            power.cut(&self.database.folder.path().join("hub.db"), dice);
        }
    }

    async fn post(&self, path: &str, body: Value) {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        let answer = self.process.http().send("POST", path, &[("authorization", &bearer)], Some(body)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    pub fn observer(&self) -> Observer {
        Observer::open(self.process.address, &skus())
    }

    pub fn load(&self, seed: u64, events: Range<usize>, connections: usize, pause: Duration) -> Load {
        let senders = SHOPS.iter().zip(self.markets()).map(|((code, _, feed, identified, door), market)| Sender {
            code,
            market,
            feed: *feed,
            identified: *identified,
            door: *door,
        });
        Load { hub: self.target(), senders: senders.collect(), skus: skus(), events, connections, seed, pause }
    }

    fn target(&self) -> Target {
        Target::parse(&format!("http://{}", self.process.address)).expect("a loopback address")
    }

    pub fn markets(&self) -> Vec<Arc<Marketplace>> {
        self.shops.iter().map(|shop| shop.market().clone()).collect()
    }

    /// Pushes received by all shops together.
    pub fn pushes(&self) -> u64 {
        self.markets().iter().map(|market| market.state().totals.pushes_received).sum()
    }

    /// Whether every shop shows what must be left.
    pub fn all_told(&self) -> bool {
        let expected = checker::expected(&opening(), &self.oracle);
        self.markets().iter().all(|market| expected.iter().all(|(sku, stock)| market.shown(sku) == *stock))
    }

    /// Waits until every shop and the observer show what must be left, and then until nothing has been sent for a whole while.
    /// Gives how long each took; a hub that never gets there is left after `at_most`, and the checker says what is wrong.
    pub async fn settle(&self, observer: &Observer, at_most: Duration) -> (Duration, bool) {
        let begun = Instant::now();
        let expected = checker::expected(&opening(), &self.oracle);
        let right = || {
            let seen = observer.seen();
            let by_observer = expected.iter().all(|(sku, stock)| seen.shown.get(sku).map(|(stock, _)| stock) == Some(stock));
            by_observer && self.all_told()
        };
        while !right() && begun.elapsed() < at_most {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let converged = begun.elapsed();
        // What was under way at a kill is confirmed once more after the zombie window; then nobody has a reason to speak.
        let quiet = Duration::from_millis(ZOMBIE_MS + 1_000);
        let (mut pushes, mut since) = (self.pushes(), Instant::now());
        while since.elapsed() < quiet && begun.elapsed() < at_most + 4 * quiet {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if self.pushes() != pushes {
                (pushes, since) = (self.pushes(), Instant::now());
            }
        }
        (converged, since.elapsed() >= quiet)
    }

    pub async fn check(&self, observer: &Observer) -> Vec<Finding> {
        let markets = self.markets();
        let evidence = Evidence {
            oracle: &self.oracle,
            markets: &markets,
            observed: observer.seen(),
            opening: opening(),
            http: self.process.http(),
            hub: self.target(),
        };
        checker::check(&evidence).await
    }

    /// `stockhub verify` must say "clean" and end with 0.
    pub async fn verify(&self, when: &str) -> Option<Finding> {
        let (well, said) = self.process.verify().await;
        let clean = said.lines().any(|line| line == "clean");
        (!well || !clean).then(|| Finding { kind: "verify", detail: format!("{when}: {said}") })
    }

    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

pub fn skus() -> Vec<String> {
    SKUS.iter().map(|sku| (*sku).to_owned()).collect()
}

fn opening() -> BTreeMap<String, i64> {
    skus().into_iter().map(|sku| (sku, OPENING)).collect()
}

fn config(database: &TestDatabase, address: SocketAddr, shops: &[ShopServer]) -> String {
    let mut text = format!(
        "[server]\nbind = \"{address}\"\nworkers = 1\nshutdown_timeout_s = 8\n[database]\nurl = \"{}\"\nreaders = 4\nwal_autocheckpoint_pages = 4000\n\
         [security]\nmaster_key = \"env:T_MASTER\"\n[auth]\nbootstrap_admin_token = \"env:T_ADMIN\"\nstorefront_keys = [\"env:T_STORE\"]\n\
         [push]\nmin_gap_ms = 100\nzombie_window_ms = {ZOMBIE_MS}\ntimeout_ms = 400\nconnect_timeout_ms = 200\nlease_ms = 1000\n\
         [realtime]\nshutdown_drain_ms = 2000\n[log]\nlevel = \"warn\"\nformat = \"json\"\n",
        database.url
    );
    for ((code, feed, ..), shop) in SHOPS.iter().zip(shops) {
        text += &format!(
            "\n[[marketplaces]]\ncode = \"{code}\"\nadapter = \"generic\"\nbase_url = \"{}\"\nstock_feed = \"{feed}\"\n\
             [marketplaces.secrets]\nwebhook_secret = [\"env:T_SECRET\"]\n",
            shop.base_url()
        );
    }
    text
}
