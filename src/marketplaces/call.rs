//! What may be asked of a marketplace and what its answers tell: plain values between the adapters, which describe, and the core,
//! which sends, limits, retries and stores.

use std::time::Duration;

use super::Reading;
use super::wire::{Outcome, PushItem, Request};
use crate::domain::time::Timestamp;
use crate::settings::Secret;

/// A request, and the names of the budgets it draws from (`Adapter::limits`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub request: Request,
    pub limits: Vec<&'static str>,
}

/// What a request may hold that is neither settings nor data.
#[derive(Clone, Debug)]
pub struct Moment {
    pub now: Timestamp,
    /// Of marketplaces that lend access tokens out.
    pub access_token: Option<Secret>,
    /// The refresh token that came with the last access token, where they change with every use; else the one in the settings.
    pub refresh_token: Option<Secret>,
}

/// How a message came into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Webhook,
    /// From a page of orders, or fetched one by one.
    Poll,
}

/// What can be asked of a marketplace at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// It lists its listings with their numbers, page by page (`Ask::Stock`).
    pub stock: bool,
    /// It tells the numbers of named listings, so many per request (`Ask::StockOf`).
    pub stock_of: Option<usize>,
    pub orders: Option<OrderFeed>,
    /// One order can be fetched by its id (`Ask::Order`).
    pub order: bool,
    /// There is a cheap question that proves the credentials (`Ask::Check`).
    pub check: bool,
}

/// How orders are polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderFeed {
    /// How many lists make up the feed; each is asked by its number, the first with a window.
    pub lists: usize,
    /// How far a window reaches back behind the last one's end: clocks differ and rows come late.
    pub overlap: Duration,
    /// The longest window it takes.
    pub span_max: Option<Duration>,
    /// How often, where no setting says otherwise.
    pub every: Duration,
    pub statuses: Option<StatusFeed>,
}

/// A marketplace whose order list tells no status: open orders are asked for theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusFeed {
    pub every: Duration,
    /// An order is asked about no longer than this.
    pub open_for: Duration,
    pub per_request: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// Where in a paged answer we are. Opaque to the core, which keeps it to go on after a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Page {
    /// Pages before this one.
    pub index: u32,
    /// What the page before gave: a cursor, the last id, or a whole address.
    pub after: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    Stock {
        page: Page,
    },
    /// `abilities.stock_of` items at most, all of one `Adapter::push_group`. Also how accepted pushes are read back.
    StockOf {
        items: Vec<PushItem>,
    },
    Orders {
        list: usize,
        window: Window,
        page: Page,
    },
    OrderStatuses {
        orders: Vec<String>,
    },
    Order {
        id: String,
    },
    Check,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Stock {
        rows: Vec<StockRow>,
        next: Option<Page>,
    },
    /// Also the answer to `Order` and `OrderStatuses`.
    Orders {
        orders: Vec<OrderRow>,
        next: Option<Page>,
    },
    Fine {
        /// When the credentials run out, where it says so.
        expires_at: Option<Timestamp>,
    },
}

/// A listing as its marketplace shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StockRow {
    /// What the listing is called there, by the names its adapter gives (`offer_id`, `chrt_id` …), the surest first.
    pub names: Vec<(String, String)>,
    /// What a push must say again of it as it was read, such as the ways in which it is sold. Nothing is found by these.
    pub refs: Vec<(String, String)>,
    pub market: Option<String>,
    /// Its own SKU of the thing, and its title, where the list tells them: for mapping.
    pub sku: Option<String>,
    pub title: Option<String>,
    /// `None`: listed, but without a number. Unknown is not zero.
    pub quantity: Option<i64>,
    pub at: Option<Timestamp>,
}

/// An order on a page, as it is logged.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRow {
    pub order_id: String,
    /// What `Adapter::read` reads with `Door::Poll`, now and at a replay.
    pub body: Vec<u8>,
    pub reading: Reading,
}

/// What an answer to a push says.
#[derive(Clone, Debug, PartialEq)]
pub enum Pushed {
    /// One per item, in order.
    Each(Vec<Outcome>),
    /// Of the request as a whole. One bad item may be the reason: a permanent refusal of several is tried in halves.
    Whole(Outcome),
}

impl Pushed {
    /// One outcome per item.
    pub fn each(self, items: usize) -> Vec<Outcome> {
        match self {
            Self::Each(outcomes) => outcomes,
            Self::Whole(outcome) => vec![outcome; items],
        }
    }
}

/// What a marketplace lent us.
#[derive(Clone, Debug)]
pub struct AccessToken {
    pub token: Secret,
    pub valid_for: Duration,
    /// The next refresh token, where each is good for one use.
    pub refresh: Option<Secret>,
}
