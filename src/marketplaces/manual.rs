//! Channels that only people can change (OLX, the telephone): a push becomes a task, orders are typed in.

use super::{
    Adapter, Answer, Connection, Incoming, Kind, Outcome, PushItem, PushStyle, Reading, Request, Scheme, StockFeed, Traits,
    Unreadable, Verdict,
};

pub struct Manual(Traits);

impl Manual {
    pub fn new() -> Self {
        Self(Traits {
            kind: Kind::Manual,
            stock_feed: StockFeed::None,
            push: PushStyle::Task,
            own_sales_decrement: false,
            own_cancel_restock: Some(false),
            batch_max: 1,
        })
    }
}

impl Default for Manual {
    fn default() -> Self {
        Self::new()
    }
}

impl Adapter for Manual {
    fn id(&self) -> &'static str {
        "manual"
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
        Err(Unreadable::new("no-push", "a manual channel is changed by people"))
    }

    fn read_push(&self, items: &[PushItem], _: &Answer) -> Vec<Outcome> {
        items.iter().map(|_| Outcome::Permanent { code: None, message: "a manual channel is changed by people".into() }).collect()
    }
}
