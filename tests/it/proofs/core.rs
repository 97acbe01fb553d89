//! The hub without its doors and its timers: the writer, its commands and a database, with a clock that is moved by hand. Webhooks
//! go in signed; pushes are claimed and settled by the test, which plays the marketplace.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use stockhub::app::{App, Surroundings};
use stockhub::chance::Chance;
use stockhub::clock::Clock;
use stockhub::db::Ids;
use stockhub::db::inventory::{self, LevelRow};
use stockhub::db::listings::{self, ListingView};
use stockhub::db::movements::{self, MovementRow};
use stockhub::db::pushes::DueRow;
use stockhub::db::{Reader, products};
use stockhub::domain::quantity::Quantity;
use stockhub::domain::retry::BreakerLimits;
use stockhub::domain::rule::Rule;
use stockhub::domain::sku::Sku;
use stockhub::domain::time::Timestamp;
use stockhub::marketplaces::{Connection, Outcome};
use stockhub::pipeline::catalogue::{CreateListing, CreateProduct};
use stockhub::pipeline::intake::{self, Receipt};
use stockhub::pipeline::push::{Claim, Claimed, Ended, PushLimits, Settle};
use stockhub::pipeline::verify::{self, Inbound};
use stockhub::simulator::webhooks::{Door, Signer, headers};

use crate::support::database::TestDatabase;
use crate::support::hub::{Plan, SECRET, settings};

pub struct Core {
    app: App,
    pub clock: Clock,
    signer: Signer,
    database: TestDatabase,
}

/// A push under way: what was claimed, and when.
#[derive(Clone, Debug)]
pub struct Sent {
    pub row: DueRow,
    at: Timestamp,
}

const LIMITS: PushLimits = PushLimits {
    concurrency: 4,
    backoff_base: Duration::from_secs(1),
    backoff_cap: Duration::from_secs(60),
    zombie_window: Duration::from_secs(15),
    lease: Duration::from_secs(3_600),
    breaker: BreakerLimits { failures: 5, open_for: Duration::from_secs(1), open_cap: Duration::from_secs(60) },
    batch_max: 1,
    join: Duration::ZERO,
    verify_cap: Duration::from_secs(30),
    idle: Duration::from_secs(1),
};

impl Core {
    /// With marketplaces of these codes; `policy` is TOML inside each one's `[marketplaces.policy]`.
    pub async fn new(codes: &[&str], stock_feed: &str, policy: &str) -> Self {
        let database = TestDatabase::new().await;
        let declared = |code: &&str| {
            format!(
                "\n[[marketplaces]]\ncode = \"{code}\"\nadapter = \"generic\"\nbase_url = \"http://127.0.0.1:9\"\n\
                 stock_feed = \"{stock_feed}\"\n[marketplaces.secrets]\nwebhook_secret = [\"env:T_SECRET\"]\n\
                 [marketplaces.policy]\n{policy}\n"
            )
        };
        let marketplaces = codes.iter().map(declared).collect();
        let plan = Plan { shops: Vec::new(), marketplaces, ..Plan::default() };
        let clock = Clock::manual(Timestamp::from_seconds(1_767_950_000));
        let surroundings = Surroundings { clock: clock.clone(), chance: Chance::seeded(11) };
        let app = App::build(settings(&database, &plan, &[]), surroundings).await.expect("the hub is built");
        Self { app, clock, signer: Signer::new(SECRET), database }
    }

    pub fn connection(&self, code: &str) -> Arc<Connection> {
        self.app.context.kit.registry.by_code(code).expect("a marketplace of that code")
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn advance(&self, seconds: f64) {
        self.clock.advance(Duration::from_secs_f64(seconds));
    }

    pub async fn product(&self, sku: &str, stock: i64) {
        let command = CreateProduct {
            sku: Sku::parse(sku).unwrap(),
            name: sku.into(),
            price: None,
            cost_price: None,
            low_stock_threshold: None,
            oversell_policy: "block",
            initial_stock: Quantity::parse(stock).unwrap(),
            store: self.connection("store"),
            actor: "test".into(),
        };
        self.app.context.writer.run_patiently(command).await.unwrap();
    }

    pub async fn listing(&self, code: &str, sku: &str, external: &str) {
        let command = CreateListing {
            connection: self.connection(code),
            components: vec![(Sku::parse(sku).unwrap(), 1)],
            marketplace_product_id: Some(external.into()),
            marketplace_sku: None,
            market: String::new(),
            refs: serde_json::Map::new(),
            price: None,
            rule: Rule::default(),
            actor: "test".into(),
        };
        self.app.context.writer.run_patiently(command).await.unwrap();
    }

    /// Applies what waits in the log, as the hub's timer would.
    pub async fn apply_due(&self) {
        self.app.context.writer.run_patiently(stockhub::pipeline::apply::ApplyDue { limit: 64 }).await.unwrap();
    }

    /// Delivers a webhook, signed, by the way every webhook takes after the socket.
    pub async fn send(&self, code: &str, id: Option<&str>, body: &Value) -> Receipt {
        let body = body.to_string();
        let made = headers(&self.signer, Door::Own, code, id, body.as_bytes(), self.now());
        let inbound = Inbound {
            connection: self.connection(code),
            headers: made.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.into_bytes())).collect(),
            body: Bytes::from(body),
            received_at: self.now(),
            door: verify::Door { method: "POST", path_query: format!("/webhooks/{code}"), client: None, path_secret: None },
        };
        match intake::receive(&self.app.context.kit, &self.app.context.writer, inbound).await.expect("it is taken") {
            intake::Taken::Logged(receipt, _) => receipt,
            intake::Taken::Ping(_) => panic!("it is no ping"),
        }
    }

    /// What the pusher would send now; from here on it is under way.
    pub async fn claim(&self, code: &str) -> Vec<Sent> {
        self.claim_as(code, false).await
    }

    /// `fresh`: the first claim of a process that has just taken over.
    pub async fn claim_as(&self, code: &str, fresh: bool) -> Vec<Sent> {
        let connection = self.connection(code);
        let claim = Claim { connection, lease: None, requests: 500, probe: false, more: true, fresh, limits: LIMITS };
        match self.app.context.writer.run_together(claim).await.unwrap() {
            Claimed::Round { round, sent_at, .. } => {
                round.batches.into_iter().flatten().map(|row| Sent { row, at: sent_at }).collect()
            }
            Claimed::NotOurs | Claimed::Resting => panic!("nobody else pushes here"),
        }
    }

    pub async fn settle(&self, code: &str, sent: Sent, outcome: Outcome) {
        let key = format!("{}:{}", sent.row.id, sent.row.wanted_version);
        let ended = vec![Ended { row: sent.row, key, outcome, status: None }];
        let settle = Settle { connection: self.connection(code), ended, sent_at: sent.at, calls: 1, limits: LIMITS, lease: None };
        self.app.context.writer.run_together(settle).await.unwrap();
    }

    /// Pushes whatever is due until nothing is, each acknowledged at once. Gives what was sent.
    pub async fn push_all(&self, code: &str) -> Vec<i64> {
        let mut quantities = Vec::new();
        loop {
            let due = self.claim(code).await;
            if due.is_empty() {
                return quantities;
            }
            for sent in due {
                quantities.push(sent.row.listed_stock);
                self.settle(code, sent, Outcome::Applied).await;
            }
        }
    }

    pub async fn reader(&self) -> Reader {
        self.app.context.db.read().await.unwrap()
    }

    pub async fn shown(&self, external: &str) -> ListingView {
        let mut reader = self.reader().await;
        let all = listings::page(&mut reader.conn(), &Default::default(), uuid::Uuid::nil(), 1_000).await.unwrap();
        all.into_iter().find(|listing| listing.marketplace_product_id == external).expect("a listing of that id")
    }

    pub async fn level(&self, sku: &str) -> LevelRow {
        let mut reader = self.reader().await;
        let product = products::get(&mut reader.conn(), sku).await.unwrap().expect("a product").id;
        inventory::list(&mut reader.conn(), [product]).await.unwrap()[0]
    }

    /// Oldest first.
    pub async fn movements(&self, sku: &str) -> Vec<MovementRow> {
        let mut reader = self.reader().await;
        let mut rows = movements::page(
            &mut reader.conn(),
            &movements::Filter { sku: sku.into(), ..Default::default() },
            Ids::default(),
            100_000,
        )
        .await
        .unwrap();
        rows.sort_by_key(|row| row.level_version);
        rows
    }

    pub async fn alerts(&self, kind: &str) -> usize {
        let mut reader = self.reader().await;
        let all = stockhub::db::alerts::page(&mut reader.conn(), &Default::default(), Ids::default(), 1_000).await.unwrap();
        all.iter().filter(|alert| alert.kind == kind && alert.resolved_at.is_none()).count()
    }

    pub async fn assert_verified(&self) {
        let mut reader = self.reader().await;
        let findings = stockhub::db::verify::findings(&mut reader.conn()).await.unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
    }

    /// How many log rows have this status.
    pub async fn logged(&self, status: &str) -> usize {
        let mut reader = self.reader().await;
        stockhub::db::webhooks::page(
            &mut reader.conn(),
            &stockhub::db::webhooks::Filter { status: status.into(), ..Default::default() },
            Ids::default(),
            1_000,
        )
        .await
        .unwrap()
        .len()
    }

    /// The database goes with its folder, once nothing uses it.
    pub async fn close(self) {
        let Self { app, database, .. } = self;
        app.context.db.close().await;
        drop(app);
        drop(database);
    }
}

pub fn sold(external: &str, previous: i64, change: i64, at: Option<Timestamp>) -> Value {
    let mut body = serde_json::json!({"event": "stock.updated", "marketplace_product_id": external, "previous_stock": previous,
        "current_stock": previous + change, "change": change, "reason": "sold"});
    if let Some(at) = at {
        body["timestamp"] = at.to_string().into();
    }
    body
}
