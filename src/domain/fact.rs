//! Facts: what happened outside, in our words. Adapters translate into these and nothing more; only `pipeline/apply` turns a
//! fact into stock.

use super::order::LineUpdate;
use super::time::Timestamp;

#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    Order(OrderFact),
    Delta(StockDelta),
    Observation(StockObservation),
}

/// How a marketplace names what it sells: its own product id, a SKU, names of its own kind, or several of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Item {
    pub product_id: Option<String>,
    pub sku: Option<String>,
    /// By the names its adapter gives them (`offer_id`, `chrt_id` …), the surest first: the first that a listing bears decides.
    pub refs: Vec<(String, String)>,
}

impl Item {
    /// What a line that waits for its mapping keeps beside the SKU: the id, else the surest name as `name=value`.
    pub fn external_product(&self) -> Option<String> {
        let by_ref = || self.refs.first().map(|(name, value)| format!("{name}={value}"));
        self.product_id.clone().or_else(by_ref)
    }

    /// The item of such a line again; `is_name` knows the names that its marketplace gives.
    pub fn of_external(product: Option<String>, sku: Option<String>, is_name: impl Fn(&str) -> bool) -> Self {
        match product.as_deref().and_then(|text| text.split_once('=')).filter(|(name, _)| is_name(name)) {
            Some((name, value)) => Self { product_id: None, sku, refs: vec![(name.to_owned(), value.to_owned())] },
            None => Self { product_id: product, sku, refs: Vec::new() },
        }
    }

    /// For people: which thing is meant.
    pub fn name(&self) -> &str {
        let by_ref = || self.refs.first().map(|(_, value)| value.as_str());
        self.sku.as_deref().or(self.product_id.as_deref()).or_else(by_ref).unwrap_or("(nothing)")
    }
}

/// The state of an order as its marketplace tells it, cumulative per line.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderFact {
    pub order_id: String,
    /// When the marketplace says this became true.
    pub at: Option<Timestamp>,
    /// When it was ordered, where the marketplace says so apart from its last change.
    pub placed_at: Option<Timestamp>,
    pub lines: Vec<LineFact>,
    /// Everything still open is cancelled, also lines that are not known yet.
    pub cancel_all: bool,
    pub status: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LineFact {
    pub line_key: String,
    pub item: Item,
    pub update: LineUpdate,
    /// Decimal text; what cannot be read as money is left out, it never blocks stock.
    pub price: Option<String>,
}

/// "My number went from previous to current, by change, because of reason."
#[derive(Clone, Debug, PartialEq)]
pub struct StockDelta {
    pub item: Item,
    pub previous: i64,
    pub current: i64,
    pub change: i64,
    pub reason: DeltaReason,
    pub at: Option<Timestamp>,
}

/// Only these move stock. Any other reason (our own push, a hand in the marketplace's back office) is an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeltaReason {
    Sold,
    Cancelled,
    Returned,
    Other,
}

impl DeltaReason {
    pub const fn moves_stock(self) -> bool {
        !matches!(self, Self::Other)
    }
}

/// "My number is quantity." A report, never a command.
#[derive(Clone, Debug, PartialEq)]
pub struct StockObservation {
    pub item: Item,
    pub quantity: i64,
    pub at: Option<Timestamp>,
    pub sequence: Option<String>,
}
