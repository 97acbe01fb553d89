//! What differs per marketplace, and nothing else: pure functions that describe how one signs, what its webhooks mean, how a new
//! quantity is told and how its answer reads. No I/O, no clock, no database: the client, limits, retries and spans are shared.
//!
//! An adapter only describes. Verification happens in `pipeline/verify` alone; no method here has a default, so forgetting one
//! does not compile.

pub mod call;
pub mod connection;
pub mod json;
pub mod limit;
pub mod scheme;
pub mod schemes;
pub mod wire;

pub mod catalogue;
pub mod declared;
pub mod generic;
mod generic_asked;
pub mod shopify;
pub mod silent;

pub mod registry;

use std::time::Duration;

use crate::domain::fact::Fact;
use crate::domain::time::Timestamp;

pub use call::{Abilities, Ask, Call, Door, Moment, Pushed, Told};
pub use connection::{Connection, Kind, StockFeed};
pub use limit::Limit;
pub use scheme::Scheme;
pub use wire::{Answer, Outcome, PushItem, Request};

/// What a marketplace can do and how it behaves, as far as no setting says otherwise.
#[derive(Clone, Debug)]
pub struct Traits {
    pub kind: Kind,
    pub stock_feed: StockFeed,
    /// How a push is made; `Nothing` for the own storefront, which is broadcast instead.
    pub push: PushStyle,
    /// Whether the marketplace lowers its own number when it sells.
    pub own_sales_decrement: bool,
    /// Whether it raises its own number when an order is cancelled; `None`: nobody says.
    pub own_cancel_restock: Option<bool>,
    /// Items per push request.
    pub batch_max: usize,
    /// The largest quantity it takes; more is told as this many.
    pub quantity_max: i64,
    /// How long two pushes of one key (`Adapter::push_key`) must lie apart.
    pub key_interval: Duration,
    /// Least time between two pushes of one listing, where the adapter asks for more than the hub's own gap.
    pub min_gap: Duration,
    /// When an accepted push is read back for the first time.
    pub verify_after: Duration,
    /// How long it has to answer, and how much of an answer is read, where it differs from what the settings say.
    pub timeout: Option<Duration>,
    pub response_max_bytes: Option<usize>,
    pub abilities: Abilities,
}

impl Traits {
    /// A marketplace of which nothing special is known: one item a request, at any pace, nothing to ask.
    pub const fn plain() -> Self {
        Self {
            kind: Kind::Api,
            stock_feed: StockFeed::Orders,
            push: PushStyle::Request,
            own_sales_decrement: true,
            own_cancel_restock: None,
            batch_max: 1,
            quantity_max: crate::domain::quantity::QUANTITY_MAX,
            key_interval: Duration::ZERO,
            min_gap: Duration::ZERO,
            verify_after: Duration::from_secs(2),
            timeout: None,
            response_max_bytes: None,
            abilities: Abilities { stock: false, stock_of: None, orders: None, order: false, check: false },
        }
    }
}

/// Why a question has no request.
pub fn cannot_be_asked() -> Unreadable {
    Unreadable::new("not-readable", "this marketplace cannot be asked that")
}

/// What must be known of a listing before anything about it can be told or asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refs {
    /// Each stands on the listing, or under the same name in the connection's account.
    pub required: &'static [&'static str],
    pub optional: &'static [&'static str],
}

/// What people and the check of the settings want to know of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct About {
    /// Of the file it was read from; 0: it is part of the program.
    pub version: i64,
    /// When somebody last held it against the marketplace's documents.
    pub verified_on: Option<&'static str>,
    /// Where it asks, where the settings name no other address; may hold `{{account.…}}`.
    pub base_url: Option<&'static str>,
    /// Of `Adapter::account`: those without which nothing can be asked.
    pub account_needed: &'static [&'static str],
    /// Of `Adapter::secrets`: the same.
    pub secrets_needed: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushStyle {
    /// By an HTTP request.
    Request,
    /// A person is asked to do it.
    Task,
    Nothing,
}

/// A verified webhook as its adapter reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub event_type: String,
    /// The natural key of the event: what makes it the same event again. An explicit id of the delivery wins over it.
    pub natural_key: Option<String>,
    pub occurred_at: Option<Timestamp>,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Facts(Vec<Fact>),
    /// It only says which order changed: that order is to be fetched and applied.
    Hint {
        order_id: String,
    },
    /// Understood, and nothing to do with stock.
    Ignored,
    /// Authentic, but not usable as it is: kept, with the reason, for replay after a fix.
    Failed(Unreadable),
}

/// Why an authentic body cannot be used. `code` is stable; `message` names the field and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub code: &'static str,
    pub message: String,
}

impl Unreadable {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What an adapter may look at of a logged message.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Of a webhook the raw bytes that were verified; of a poll the order as it stood on its page.
    pub body: &'a [u8],
    /// The kept headers of a webhook, as a JSON object of texts; parsed by whoever needs one.
    pub headers: &'a str,
    pub door: Door,
    pub limits: json::Limits,
}

impl Incoming<'_> {
    /// A kept header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<String> {
        let kept: serde_json::Map<String, serde_json::Value> = serde_json::from_str(self.headers).ok()?;
        kept.get(name).and_then(serde_json::Value::as_str).map(str::to_owned)
    }
}

pub trait Adapter: Send + Sync {
    fn id(&self) -> &'static str;
    fn traits(&self) -> &Traits;
    fn about(&self) -> About;
    /// How it signs, strongest first. The first one whose header is present decides; a weaker one never rescues it. Empty: it
    /// sends no webhooks.
    fn schemes(&self) -> &[Scheme];
    /// The names of the secrets by which it pushes and is heard; anything else in the settings is an error.
    fn secrets(&self) -> &[&'static str];
    /// The names of the account's own values (`[marketplaces.account]`) that it knows, beside those that every marketplace has
    /// (`catalogue::SHARED_ACCOUNT`).
    fn account(&self) -> &[&'static str];
    fn refs(&self) -> Refs;
    /// The budgets its requests draw from, by the names that `Call::limits` uses.
    fn limits(&self) -> &[Limit];
    /// What a logged message says: a webhook, or an order from a page. The same bytes always read the same, so a replay does too.
    fn read(&self, connection: &Connection, incoming: Incoming<'_>) -> Reading;

    /// Items with the same group may share a request (the same warehouse, the same parent product).
    fn push_group(&self, connection: &Connection, item: &PushItem) -> String;
    /// What its limit per key counts; two items of one key never share a request.
    fn push_key(&self, connection: &Connection, item: &PushItem) -> String;
    /// The request that tells these quantities; of one group, `batch_max` items at most.
    fn push(&self, connection: &Connection, moment: &Moment, items: &[PushItem]) -> Result<Call, Unreadable>;
    fn read_push(&self, items: &[PushItem], answer: &Answer) -> Pushed;

    /// The request that asks this, or why it cannot be asked here. What can be asked stands in `Traits::abilities`.
    fn ask(&self, connection: &Connection, moment: &Moment, ask: &Ask) -> Result<Call, Unreadable>;
    /// What the answer tells. `Err` is how the request ended, never `Applied`.
    fn told(&self, connection: &Connection, ask: &Ask, answer: &Answer) -> Result<Told, Outcome>;

    /// The request for an access token, where this marketplace lends them out (OAuth 2). `None`: its secrets go as they are.
    fn token_request(&self, connection: &Connection, moment: &Moment) -> Option<Result<Request, Unreadable>>;
    fn read_token(&self, answer: &Answer) -> Result<call::AccessToken, Outcome>;
}
