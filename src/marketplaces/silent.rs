//! Channels with no API to talk to. `manual`: only people can change it (OLX, the telephone), so a push becomes a task and orders
//! are typed in. `storefront`: the own shop, whose shoppers learn the stock by broadcast and whose orders come through our API.

use super::call::AccessToken;
use super::{
    About, Adapter, Answer, Ask, Call, Connection, Incoming, Kind, Limit, Moment, Outcome, PushItem, PushStyle, Pushed, Reading,
    Refs, Request, Scheme, StockFeed, Told, Traits, Unreadable, Verdict,
};

pub struct Silent {
    id: &'static str,
    traits: Traits,
    /// Why nothing is sent.
    why: &'static str,
}

impl Silent {
    pub fn manual() -> Self {
        let traits = Self::traits_of(Kind::Manual, StockFeed::None, PushStyle::Task);
        Self { id: "manual", traits, why: "a manual channel is changed by people" }
    }

    pub fn storefront() -> Self {
        let traits = Self::traits_of(Kind::Storefront, StockFeed::Orders, PushStyle::Nothing);
        Self { id: "storefront", traits, why: "the own storefront is broadcast to, not pushed" }
    }

    fn traits_of(kind: Kind, stock_feed: StockFeed, push: PushStyle) -> Traits {
        Traits {
            kind,
            stock_feed,
            push,
            own_sales_decrement: false,
            own_cancel_restock: Some(false),
            batch_max: 1,
            ..Traits::plain()
        }
    }
}

impl Adapter for Silent {
    fn id(&self) -> &'static str {
        self.id
    }

    fn traits(&self) -> &Traits {
        &self.traits
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
        Err(Unreadable::new("no-push", self.why))
    }

    fn read_push(&self, _: &[PushItem], _: &Answer) -> Pushed {
        Pushed::Whole(Outcome::Permanent { code: None, message: self.why.into() })
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
