//! The story of a stock change, a file a stage. Transactions are visible here (and in `sync`) only.
//!
//! ```text
//! marketplace ──POST──▶ intake ─▶ verify ─▶ normalise ─▶ writer ┬▶ log        one transaction,
//!                                  (401)     (facts)     (group)├▶ apply      answered only
//! own store, people ──▶ orders, stock_change ──────────────────▶├▶ working    after COMMIT
//!                                                               └▶ retarget
//!                                    after the commit: ├▶ broadcast ─▶ every browser
//!                                                      ├▶ push ─────▶ every other marketplace
//!                                     outbox (in the commit) └▶ publish ▶ sinks: webhooks, e-mail
//! ```
//!
//! The types carry the order: only `verify` can make a `Verified`, only `log` a `Logged`.

pub mod intake;
pub mod verify;
pub mod challenge;
pub mod keys;
pub mod rejected;
pub mod replay;
pub mod retention;
pub mod silence;
pub mod normalise;
pub mod writer;
pub mod log;
pub mod polled;
pub mod apply;
pub mod orders_book;
mod posting;
pub mod working;
pub mod retarget;
pub mod orders;
pub mod order_changes;
pub mod holds;
pub mod unmapped;
pub mod oversells;
pub mod catalogue;
pub mod import;
pub mod listings;
pub mod products;
pub mod places;
pub mod repair;
pub mod archive;
pub mod rules;
pub mod counts;
pub mod explain;
pub mod push;
pub mod broadcast;
pub mod outbox;
pub mod publish;
pub mod dead_letters;
pub mod setup;
pub mod connections;
pub mod marketplaces;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::db::{Conn, DbError};
use crate::domain::ids::MarketplaceId;
use crate::domain::time::Timestamp;
use crate::marketplaces::json;
use crate::marketplaces::registry::Registry;
use crate::realtime::Published;
use crate::telemetry::Metrics;
use rules::{RuleBook, RuleChange};

/// What every stage may use; made once, by `app`.
#[derive(Clone)]
pub struct Kit {
    pub clock: Clock,
    pub chance: Chance,
    pub registry: Registry,
    pub metrics: Arc<Metrics>,
    pub keys: keys::Keys,
    pub rejected: rejected::RejectedList,
    pub pulse: silence::Pulse,
    /// Who asks that an account's orders be read now.
    pub bells: crate::sync::Bells,
    /// Whether a bulk replay is under way: one at a time.
    pub replaying: Arc<std::sync::atomic::AtomicBool>,
    pub limits: Limits,
    /// The allocation rules above products and listings.
    pub rules: RuleBook,
}

/// The limits the stages keep; their reasons stand in `config/default.toml`.
#[derive(Clone, Debug)]
pub struct Limits {
    pub json: json::Limits,
    pub timestamp_tolerance: Duration,
    pub retry_base: Duration,
    pub retry_cap: Duration,
    pub attempts_max: u32,
    pub low_stock_threshold: i64,
}

/// One transaction under way: the connection, the time it counts as, and what is to happen once it is committed.
pub struct Tx<'c> {
    pub conn: Conn<'c>,
    pub kit: &'c Kit,
    pub now: Timestamp,
    pub effects: Effects,
}

impl Tx<'_> {
    pub fn id<T: From<uuid::Uuid>>(&self) -> T {
        self.kit.chance.id(self.now).into()
    }
}

/// What follows a commit. Losing it in a crash loses nothing: all of it can be found again in the database.
#[derive(Default)]
pub struct Effects {
    /// New numbers for shoppers, in the order they were committed.
    pub published: Vec<Published>,
    /// Marketplaces with something to be told.
    pub to_push: BTreeSet<MarketplaceId>,
    /// Rules stored, in the order they were.
    pub rules: Vec<RuleChange>,
    /// Connections changed: read them anew.
    pub connections_changed: bool,
    /// Something is in the outbox.
    pub events: bool,
}

impl Effects {
    pub fn absorb(&mut self, later: Effects) {
        self.published.extend(later.published);
        self.to_push.extend(later.to_push);
        self.rules.extend(later.rules);
        self.connections_changed |= later.connections_changed;
        self.events |= later.events;
    }
}

/// A refusal that is part of the rules, or a failure of the database.
pub trait CommandError: From<DbError> + Send + Sync + 'static {
    /// The database's failure, when that is what it was.
    fn database(&self) -> Option<&DbError>;
}

impl CommandError for DbError {
    fn database(&self) -> Option<&DbError> {
        Some(self)
    }
}
