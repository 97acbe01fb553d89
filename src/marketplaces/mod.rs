//! What differs per marketplace, and nothing else: pure functions that describe how one signs, what its webhooks mean, how a new
//! quantity is told and how its answer reads. No I/O, no clock, no database: the client, limits, retries and spans are shared.
//!
//! An adapter only describes. Verification happens in `pipeline/verify` alone; no method here has a default, so forgetting one
//! does not compile.

pub mod connection;
pub mod json;
pub mod scheme;
pub mod schemes;
pub mod wire;

pub mod generic;
pub mod manual;
pub mod storefront;

pub mod registry;

use crate::domain::fact::Fact;
use crate::domain::time::Timestamp;

pub use connection::{Connection, Kind, StockFeed};
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

/// What an adapter may look at of a webhook. The body is the raw bytes that were verified.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    pub body: &'a [u8],
    pub limits: json::Limits,
}

pub trait Adapter: Send + Sync {
    fn id(&self) -> &'static str;
    fn traits(&self) -> &Traits;
    /// How it signs, strongest first. The first one whose header is present decides; a weaker one never rescues it. Empty: it
    /// sends no webhooks.
    fn schemes(&self) -> &[Scheme];
    /// The names of the secrets it needs to push and to be heard; anything else in the settings is an error.
    fn secrets(&self) -> &[&'static str];
    fn read(&self, incoming: Incoming<'_>) -> Reading;
    /// The request that tells these quantities; as many items as `batch_max` at most.
    fn push(&self, connection: &Connection, items: &[PushItem]) -> Result<Request, Unreadable>;
    /// One outcome per item, in order.
    fn read_push(&self, items: &[PushItem], answer: &Answer) -> Vec<Outcome>;
}
