//! Channels that only people can change (OLX, the telephone): a push becomes a task, orders are typed in.

use super::call::AccessToken;
use super::{
    About, Adapter, Answer, Ask, Call, Connection, Incoming, Kind, Limit, Moment, Outcome, PushItem, PushStyle, Pushed, Reading,
    Refs, Request, Scheme, StockFeed, Told, Traits, Unreadable, Verdict,
};

/// Why nothing is sent.
const WHY: &str = "a manual channel is changed by people";

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
            ..Traits::plain()
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

    fn about(&self) -> About {
        About::default()
    }

    fn schemes(&self) -> &[Scheme] {
        &[]
    }

    fn secrets(&self) -> &[&'static str] {
        &[]
    }

    fn account(&self) -> &[&'static str] {
        &[]
    }

    fn refs(&self) -> Refs {
        Refs::default()
    }

    fn limits(&self) -> &[Limit] {
        &[]
    }

    fn read(&self, _: &Connection, _: Incoming<'_>) -> Reading {
        Reading { event_type: "unknown".into(), natural_key: None, occurred_at: None, verdict: Verdict::Ignored }
    }

    fn push_group(&self, _: &Connection, _: &PushItem) -> String {
        String::new()
    }

    fn push_key(&self, _: &Connection, item: &PushItem) -> String {
        item.sku.clone()
    }

    fn push(&self, _: &Connection, _: &Moment, _: &[PushItem]) -> Result<Call, Unreadable> {
        Err(Unreadable::new("no-push", WHY))
    }

    fn read_push(&self, _: &[PushItem], _: &Answer) -> Pushed {
        Pushed::Whole(Outcome::Permanent { code: None, message: WHY.into() })
    }

    fn ask(&self, _: &Connection, _: &Moment, _: &Ask) -> Result<Call, Unreadable> {
        Err(super::cannot_be_asked())
    }

    fn told(&self, _: &Connection, _: &Ask, answer: &Answer) -> Result<Told, Outcome> {
        Err(Outcome::of_status(answer))
    }

    fn token_request(&self, _: &Connection, _: &Moment) -> Option<Result<Request, Unreadable>> {
        None
    }

    fn read_token(&self, answer: &Answer) -> Result<AccessToken, Outcome> {
        Err(Outcome::of_status(answer))
    }
}
