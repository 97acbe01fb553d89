//! A hub beside a shelf, under a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stockhub::clock::Clock;
use stockhub::domain::time::Timestamp;
use stockhub::marketplaces::{Abilities, Connection, Limit, StockFeed};
use stockhub::simulator::webhooks::Signer;

use super::adapter::ShelfAdapter;
use super::shelf::Shelf;
use crate::support::database::TestDatabase;
use crate::support::hub::{Hub, Plan, SECRET};

pub struct Stand {
    pub hub: Hub,
    pub shelf: Shelf,
    pub clock: Clock,
}

const START: &str = "2026-01-09T10:00:00Z";

/// How a stand differs from the plain one.
pub struct Set {
    pub abilities: Abilities,
    pub feed: StockFeed,
    /// Lines of the marketplace's policy.
    pub policy: &'static str,
    /// Whether its account says that single numbers can be read: its pusher goes by what is declared.
    pub reads_back: bool,
    /// Whether it is declared with a secret, so that webhooks are expected.
    pub webhooks: bool,
    pub products: Vec<(&'static str, i64)>,
    /// Lines of `[sync]`.
    pub sync: &'static str,
    /// Long, because tests move the clock faster than any lease is renewed.
    pub lease_ms: u32,
    /// What the marketplace allows.
    pub limits: Vec<Limit>,
}

impl Default for Set {
    fn default() -> Self {
        Self {
            abilities: super::adapter::everything(),
            feed: StockFeed::Orders,
            policy: "",
            reads_back: false,
            webhooks: false,
            products: vec![("A-1", 50)],
            sync: "",
            lease_ms: 3_600_000,
            limits: Vec::new(),
        }
    }
}

impl Stand {
    pub async fn new(set: Set) -> Self {
        Self::on(TestDatabase::new().await, Shelf::start().await, Clock::manual(Timestamp::parse_rfc3339(START).unwrap()), set)
            .await
    }

    /// Each product is listed as `L-SKU`, here and there.
    pub async fn on(database: TestDatabase, shelf: Shelf, clock: Clock, set: Set) -> Self {
        let secrets = if set.webhooks { "[marketplaces.secrets]\nwebhook_secret = [\"env:T_SECRET\"]\n" } else { "" };
        let account = if set.reads_back { "[marketplaces.account]\nread = true\n" } else { "" };
        let marketplaces = format!(
            "[[marketplaces]]\ncode = \"shelf\"\nadapter = \"generic\"\nstock_feed = \"orders\"\nbase_url = \"{}\"\n{account}{secrets}\
             [marketplaces.policy]\nclock_tolerance = \"1ms\"\nmin_gap_ms = 0\n{}\n",
            shelf.url(),
            set.policy
        );
        let lines = if set.sync.is_empty() { "reconcile = []" } else { set.sync };
        let sections = format!("[push]\nlease_ms = {}\n[sync]\ntick_ms = 10\n{lines}\n", set.lease_ms);
        let plan =
            Plan { shops: Vec::new(), sections, marketplaces, products: Vec::new(), clock: clock.clone(), ..Plan::default() };
        let hub = Hub::on(database, plan).await;
        for (sku, stock) in &set.products {
            let id = format!("L-{sku}");
            if !shelf.state().listings.contains_key(&id) {
                shelf.put(&id, sku, *stock);
            }
            if hub.unlisted(sku, *stock).await {
                let body = json!({"marketplace": "shelf", "sku": sku, "marketplace_product_id": id});
                assert_eq!(hub.admin("POST", "/v1/admin/listings", Some(body)).await.status, 201);
            }
        }
        let stand = Self { hub, shelf, clock };
        stand.told().await;
        stand.clock.advance(Duration::from_secs(1));
        stand.speak(set.abilities, set.feed, set.limits);
        stand
    }

    /// Another hub has declared the same marketplaces: this one reads them anew, and is then spoken with as before.
    pub async fn reread(&self) {
        let registry = &self.hub.context.kit.registry;
        let read = async || registry.by_code("shelf").is_some_and(|one| one.adapter.id() != "shelf");
        self.hub.until("the other's declaration is read", read).await;
        self.speak(super::adapter::everything(), StockFeed::Orders, Vec::new());
    }

    /// From here on the marketplace is spoken with as the shelf understands.
    fn speak(&self, abilities: Abilities, stock_feed: StockFeed, limits: Vec<Limit>) {
        let registry = &self.hub.context.kit.registry;
        let copies = registry.all().into_iter().map(|one| {
            let of_shelf = one.code == "shelf";
            Connection {
                id: one.id,
                code: one.code.clone(),
                name: one.name.clone(),
                kind: one.kind,
                adapter: if of_shelf {
                    Arc::new(ShelfAdapter::new(abilities, stock_feed).within(limits.clone()))
                } else {
                    one.adapter.clone()
                },
                base_url: one.base_url.clone(),
                account: one.account.clone(),
                secrets: one.secrets.clone(),
                stock_feed: if of_shelf { stock_feed } else { one.stock_feed },
                feed_since: one.feed_since,
                currency: one.currency.clone(),
                status: one.status,
                webhook_enabled: one.webhook_enabled,
                policy: one.policy.clone(),
                locations: one.locations.clone(),
            }
        });
        registry.replace(copies.collect());
    }

    pub fn now(&self) -> i64 {
        self.clock.now().micros()
    }

    /// So much time passes, and as in a running hub the leases are renewed meanwhile: on several nodes an account that nobody kept
    /// is let go, and what was under way begins anew.
    pub async fn lasts(&self, span: Duration) {
        self.clock.advance(span);
        self.hub.context.callers.renew().await.unwrap();
    }

    /// Waits until every listing was told what it should show.
    pub async fn told(&self) {
        self.hub
            .until("every listing is told", async || {
                self.clock.advance(Duration::from_millis(20));
                let metrics = self.hub.http.send("GET", "/metrics", &[], None).await.text();
                !metrics.lines().any(|line| line.starts_with("dirty_listings{") && !line.ends_with(" 0"))
            })
            .await;
    }

    /// Lets so much time pass and waits until orders were read after it.
    pub async fn polled_after(&self, span: Duration) {
        let before = self.shelf.count("GET /orders");
        self.clock.advance(span);
        self.asked_since("GET /orders", before).await;
        self.drained().await;
    }

    /// Waits until it was asked more often than that; time passes meanwhile.
    pub async fn asked_since(&self, start: &str, before: usize) {
        self.hub
            .until("it is asked", async || {
                self.clock.advance(Duration::from_millis(20));
                self.shelf.count(start) > before
            })
            .await;
    }

    /// Waits until a poll that began now or later is over.
    pub async fn drained(&self) {
        let now = self.clock.now();
        let id = self.hub.context.kit.registry.by_code("shelf").unwrap().id;
        self.hub.context.kit.bells.poll_now(id, now);
        self.clock.advance(Duration::from_secs(3));
        self.hub
            .until("the orders are known", async || {
                // A poll that was under way is followed by another, a moment later.
                self.clock.advance(Duration::from_millis(20));
                let mut reader = self.hub.context.db.read().await.unwrap();
                let state = stockhub::db::polls::state(&mut reader.conn(), id).await.unwrap();
                state.orders_drained_at.is_some_and(|at| at >= now)
            })
            .await;
    }

    pub async fn on_hand(&self, sku: &str) -> i64 {
        self.hub.get(&format!("/v1/admin/products/{sku}")).await["on_hand"].as_i64().unwrap()
    }

    /// Sends what the shelf would send, signed.
    pub async fn webhook(&self, body: &Value) {
        let body = body.to_string().into_bytes();
        let signature = Signer::new(SECRET).sign(&body);
        let headers = [("x-webhook-signature", signature.as_str()), ("content-type", "application/json")];
        let answer = self.hub.http.send_bytes("POST", "/webhooks/shelf", &headers, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Asks for a run and waits for its end; time passes meanwhile.
    pub async fn run(&self, path: &str, body: Value) -> Value {
        let answer = self.hub.admin("POST", path, Some(body)).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        self.ended(&id).await
    }

    pub async fn ended(&self, id: &str) -> Value {
        let mut run = Value::Null;
        self.hub
            .until("the run is over", async || {
                self.clock.advance(Duration::from_secs(5));
                run = self.hub.get(&format!("/v1/admin/sync-logs/{id}")).await;
                !run["finished_at"].is_null()
            })
            .await;
        run
    }

    pub async fn reconciled(&self, dry_run: bool) -> Value {
        let run = self.run("/v1/admin/reconciliations", json!({"marketplace": "shelf", "dry_run": dry_run})).await;
        self.hub.get(&format!("/v1/admin/reconciliations/{}", run["id"].as_str().unwrap())).await
    }

    pub async fn synced(&self, body: Value) -> Value {
        let mut all = json!({"marketplace": "shelf"});
        body.as_object().unwrap().iter().for_each(|(name, value)| all[name] = value.clone());
        self.run("/v1/admin/sync", all).await
    }

    pub async fn alerts(&self, kind: &str) -> Vec<Value> {
        let all = self.hub.get("/v1/admin/alerts").await;
        let open = all["items"].as_array().unwrap().iter().filter(|one| one["kind"] == kind && one["state"] != "resolved");
        open.cloned().collect()
    }

    pub async fn metric(&self, start: &str) -> f64 {
        let metrics = self.hub.http.send("GET", "/metrics", &[], None).await.text();
        let line = metrics.lines().find(|line| line.starts_with(start)).map(str::to_owned);
        line.map_or(0.0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
    }
}
