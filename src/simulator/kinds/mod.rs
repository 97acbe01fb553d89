//! The marketplaces a shop can pretend to be. A *dialect* is what differs between them: paths, bodies, credentials, limits, how
//! one refuses, what one tells by webhook. Stock, orders, shoppers, chaos and the journal are the shop's, the same for all.
//!
//! Read `ozon` first. Shapes, limits and words are those of the vendors' own documents where they are known; where they are not,
//! the dialect says so and takes the stricter reading.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

use super::orders::Order;
use super::record::Trade;
use super::shop::Item;
use super::webhooks::{Feed, Reason};

pub mod call;
pub mod connection;
pub mod desk;
pub mod limits;

mod ozon;
mod wildberries;
mod uzum;
mod yandex;
mod backmarket;
mod refurbed;
mod shopify;
mod shopify_graphql;
mod woocommerce;
mod kaufland;
mod polling;

#[cfg(test)]
mod tests;

pub use call::{Call, Class, Route, Say};
pub use desk::Desk;
pub use limits::Limit;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The own store, and any partner with our signed schema.
    #[default]
    Generic,
    Ozon,
    Wildberries,
    Uzum,
    YandexMarket,
    BackMarket,
    Refurbed,
    Shopify,
    WooCommerce,
    Kaufland,
    /// Can only be asked.
    Polling,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Generic,
        Self::Ozon,
        Self::Wildberries,
        Self::Uzum,
        Self::YandexMarket,
        Self::BackMarket,
        Self::Refurbed,
        Self::Shopify,
        Self::WooCommerce,
        Self::Kaufland,
        Self::Polling,
    ];

    /// The id of the adapter that speaks with it.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Ozon => "ozon",
            Self::Wildberries => "wildberries",
            Self::Uzum => "uzum",
            Self::YandexMarket => "yandex-market",
            Self::BackMarket => "backmarket",
            Self::Refurbed => "refurbed",
            Self::Shopify => "shopify",
            Self::WooCommerce => "woocommerce",
            Self::Kaufland => "kaufland",
            Self::Polling => "polling-generic",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == text)
    }

    /// `None`: the generic schema, which `requests` and `webhooks` speak.
    pub(super) fn dialect(self) -> Option<&'static dyn Dialect> {
        match self {
            Self::Generic => None,
            Self::Ozon => Some(&ozon::Ozon),
            Self::Wildberries => Some(&wildberries::Wildberries),
            Self::Uzum => Some(&uzum::Uzum),
            Self::YandexMarket => Some(&yandex::Yandex),
            Self::BackMarket => Some(&backmarket::BackMarket),
            Self::Refurbed => Some(&refurbed::Refurbed),
            Self::Shopify => Some(&shopify::Shopify),
            Self::WooCommerce => Some(&woocommerce::WooCommerce),
            Self::Kaufland => Some(&kaufland::Kaufland),
            Self::Polling => Some(&polling::Polling),
        }
    }

    /// Whether it can tell the hub of a sale; else it must be asked.
    pub fn sends_webhooks(self) -> bool {
        self.dialect().is_none_or(|dialect| dialect.habits().webhooks)
    }

    /// The credentials a shop of this kind makes up for itself: the same for the same code.
    pub fn account(self, code: &str) -> Account {
        self.dialect().map_or_else(Account::default, |dialect| dialect.account(code))
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

/// A seller account: what stands in `account` and `secrets` of the hub's connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    pub values: Map<String, Value>,
    pub secrets: BTreeMap<String, String>,
}

impl Account {
    pub fn new(values: Value, secrets: &[(&str, String)]) -> Self {
        let values = match values {
            Value::Object(values) => values,
            _ => Map::new(),
        };
        Self { values, secrets: secrets.iter().map(|(name, secret)| ((*name).to_owned(), secret.clone())).collect() }
    }

    /// A value as it is written in a path or a header.
    pub fn text(&self, name: &str) -> String {
        self.values.get(name).map(plain).unwrap_or_default()
    }

    pub fn value(&self, name: &str) -> Value {
        self.values.get(name).cloned().unwrap_or(Value::Null)
    }

    pub fn secret(&self, name: &str) -> &str {
        self.secrets.get(name).map_or("", String::as_str)
    }
}

/// A name of a thing as text, whether it came as a number or in quotes.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A secret that is the same in every run and as long as a real one.
pub fn made_up_secret(code: &str, name: &str) -> String {
    format!("simulated-{code}-{name}-{:016x}{:016x}", hash(code), hash(name))
}

/// The same in every run, unlike the standard library's.
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// How a marketplace behaves, apart from its words.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    pub webhooks: bool,
    /// Whether a webhook that was not taken is sent again.
    pub webhooks_again: bool,
    /// Whether a cancel before shipping raises its own number.
    pub cancel_restocks: bool,
    /// Whether an order can only be cancelled as a whole.
    pub whole_orders: bool,
    /// Whether an answer to reading shows a new number only after a while.
    pub shown_after: Duration,
}

/// A webhook before it is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub name: &'static str,
    pub body: String,
}

/// What a delivery is made of, whatever the attempt.
#[derive(Clone, Copy, Debug)]
pub struct Posting<'a> {
    /// The hub's own address, without a trailing slash.
    pub hub: &'a str,
    pub code: &'a str,
    pub account: &'a Account,
    pub name: &'a str,
    /// The same for every attempt and copy.
    pub id: &'a str,
    pub body: &'a [u8],
    pub now: Timestamp,
}

/// One attempt: where it goes and under which headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
}

/// What a webhook may tell of.
#[derive(Clone, Copy)]
pub struct News<'a> {
    pub feed: Feed,
    pub reason: Reason,
    pub trade: &'a Trade,
    pub order: &'a Order,
    pub item: &'a Item,
    pub account: &'a Account,
}

pub(super) trait Dialect: Send + Sync {
    fn habits(&self) -> Habits;
    fn account(&self, code: &str) -> Account;
    /// The marketplace's names of the n-th thing on the shelf, as its adapter calls them.
    fn refs(&self, n: u64, sku: &Sku, account: &Account) -> Map<String, Value>;
    /// The one of them that a listing carries as `marketplace_product_id`.
    fn main_ref(&self) -> &'static str;
    /// `base` differs between runs, `number` between the orders of one.
    fn order_id(&self, base: u64, number: u64) -> String;
    fn limits(&self) -> Vec<Limit>;
    fn routes(&self) -> &'static [Route];
    fn authorise(&self, call: &Call, account: &Account, now: Timestamp) -> Result<(), Say>;
    /// How it refuses what goes over a limit.
    fn throttled(&self, limit: &'static str, wait: Duration, now: Timestamp) -> Say;
    fn answer(&self, route: &'static str, call: &Call, desk: &mut Desk<'_>) -> Say;
    /// The webhook an operator's address is tried with when it is entered.
    fn greeting(&self, account: &Account, now: Timestamp) -> Option<Notice>;
    fn notices(&self, news: News<'_>) -> Vec<Notice>;
    fn deliver(&self, posting: Posting<'_>) -> Delivery;
    /// Whether the hub's answer counts as taken.
    fn taken(&self, status: u16, body: &[u8]) -> bool;
}
