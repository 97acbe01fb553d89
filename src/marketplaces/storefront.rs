//! The own storefront: its shoppers learn the stock by broadcast, its orders come through our own API.

use super::{
    Adapter, Answer, Connection, Incoming, Kind, Outcome, PushItem, PushStyle, Reading, Request, Scheme, StockFeed, Traits,
    Unreadable, Verdict,
};

pub struct Storefront(Traits);

impl Storefront {
    pub fn new() -> Self {
        Self(Traits {
            kind: Kind::Storefront,
            stock_feed: StockFeed::Orders,
            push: PushStyle::Nothing,
            own_sales_decrement: false,
            own_cancel_restock: Some(false),
            batch_max: 1,
        })
    }
}

impl Default for Storefront {
    fn default() -> Self {
        Self::new()
    }
}

impl Adapter for Storefront {
    fn id(&self) -> &'static str {
        "storefront"
    }

    fn traits(&self) -> &Traits {
        &self.0
    }

    fn schemes(&self) -> &[Scheme] {
        &[]
    }

    fn secrets(&self) -> &[&'static str] {
        &[]
    }

    fn read(&self, _: Incoming<'_>) -> Reading {
        Reading { event_type: "unknown".into(), natural_key: None, occurred_at: None, verdict: Verdict::Ignored }
    }

    fn push(&self, _: &Connection, _: &[PushItem]) -> Result<Request, Unreadable> {
        Err(Unreadable::new("no-push", "the own storefront is broadcast to, not pushed"))
    }

    fn read_push(&self, items: &[PushItem], _: &Answer) -> Vec<Outcome> {
        items
            .iter()
            .map(|_| Outcome::Permanent { code: None, message: "the own storefront is broadcast to, not pushed".into() })
            .collect()
    }
}
