//! One seller account on one marketplace: its adapter, secrets and policy, as the pipeline works with them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::scheme::{Part, Scheme};
use super::{Adapter, schemes};
use crate::domain::ids::{LocationId, MarketplaceId};
use crate::domain::order::Fulfilment;
use crate::domain::rule::Rule;
use crate::domain::time::Timestamp;
use crate::settings::{DriftPolicy, Secret};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Api,
    Polling,
    Storefront,
    Manual,
}

/// Which of a marketplace's feeds moves stock. The others only refresh what we observe: some send both an order and a stock
/// event for one sale, and counting both is a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StockFeed {
    Orders,
    Delta,
    Absolute,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Active,
    Paused,
    AuthError,
    Archived,
}

macro_rules! named {
    ($type:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        impl $type {
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            pub fn parse(text: &str) -> Option<Self> {
                match text { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

named!(Kind { Api = "api", Polling = "polling", Storefront = "storefront", Manual = "manual" });
named!(StockFeed { Orders = "orders", Delta = "delta", Absolute = "absolute", None = "none" });
named!(Status { Active = "active", Paused = "paused", AuthError = "auth_error", Archived = "archived" });

/// How this seller wants this account treated; what is unset comes from the adapter.
#[derive(Clone, Debug)]
pub struct Policy {
    pub clock_tolerance: Duration,
    pub fulfilment: Fulfilment,
    pub own_sales_decrement: bool,
    /// `None`: nobody says.
    pub own_cancel_restock: Option<bool>,
    pub min_gap: Duration,
    pub push_enabled: bool,
    /// Whether an unpaid order takes stock; `None`: as the adapter has it.
    pub count_unpaid: Option<bool>,
    /// Who is right when it shows another number than expected.
    pub drift_policy: DriftPolicy,
    /// How often its orders (of one that only tells its numbers: those) are read, where the seller says so.
    pub poll_every: Option<Duration>,
    /// Instead of the hub's schedule.
    pub reconcile_every: Option<Duration>,
    pub rule: Rule,
}

pub struct Connection {
    pub id: MarketplaceId,
    pub code: String,
    pub name: String,
    pub kind: Kind,
    pub adapter: Arc<dyn Adapter>,
    pub base_url: Option<String>,
    pub account: serde_json::Map<String, serde_json::Value>,
    /// By the name the adapter gives them; several are live during a rotation.
    pub secrets: BTreeMap<String, Vec<Secret>>,
    pub stock_feed: StockFeed,
    /// From when on this feed moves stock: what happened before was counted by another.
    pub feed_since: Timestamp,
    pub currency: Option<String>,
    pub status: Status,
    pub webhook_enabled: bool,
    pub policy: Policy,
    /// In which order its sales take from which locations; never empty.
    pub locations: Vec<LocationId>,
}

impl Connection {
    pub fn secrets(&self, name: &str) -> &[Secret] {
        self.secrets.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether something is of before the feed that moves stock was chosen. What carries no time is of now.
    pub fn is_historic(&self, at: Option<Timestamp>) -> bool {
        at.is_some_and(|at| at < self.feed_since)
    }

    /// How its webhooks prove themselves, strongest first: the scheme its account names, else its adapter's own.
    pub fn schemes(&self) -> &[Scheme] {
        match scheme_name(&*self.adapter, &self.account) {
            Some(name) => schemes::named(name).unwrap_or(&[]),
            None => self.adapter.schemes(),
        }
    }

    /// Whether every secret is there without which nothing could be believed.
    pub fn can_verify(&self) -> bool {
        self.schemes().iter().any(|scheme| {
            let by_key_id = matches!(scheme.key, super::scheme::KeyForm::Remote { .. });
            by_key_id || !self.secrets(scheme.needed_secret()).is_empty()
        })
    }

    /// The name of the secret that ends the address of its webhooks, where they have one.
    pub fn secret_in_address(&self) -> Option<&'static str> {
        self.schemes().iter().map(|scheme| scheme.path_secret).find(|name| !self.secrets(name).is_empty())
    }

    /// Whether what it sends is signed together with an address that nobody has told us.
    pub fn lacks_address(&self) -> bool {
        let signs = self.schemes().iter().any(|scheme| scheme.content.contains(&Part::Url));
        signs && !self.account.contains_key(Scheme::WEBHOOK_URL)
    }

    /// Whether pushes to it leave by themselves.
    pub fn pushes(&self) -> bool {
        self.adapter.traits().push == super::PushStyle::Request && self.policy.push_enabled && self.status == Status::Active
    }

    /// Put away: it is told and asked nothing. What it sends is believed all the same.
    pub fn is_archived(&self) -> bool {
        self.status == Status::Archived
    }

    /// Least time between two pushes of one listing, as the seller and the adapter want it.
    pub fn min_gap(&self) -> Duration {
        self.policy.min_gap.max(self.adapter.traits().min_gap)
    }

    pub fn is_storefront(&self) -> bool {
        self.code == STORE
    }
}

/// The scheme that the account's settings name. Only our own schema can be signed in any way: another adapter's sender signs as
/// it does.
pub fn scheme_name<'a>(adapter: &dyn Adapter, account: &'a serde_json::Map<String, serde_json::Value>) -> Option<&'a str> {
    if adapter.id() != "generic" {
        return None;
    }
    account.get("scheme").and_then(serde_json::Value::as_str)
}

/// The code of the own storefront, which always exists.
pub const STORE: &str = "store";

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("code", &self.code).field("adapter", &self.adapter.id()).finish_non_exhaustive()
    }
}
