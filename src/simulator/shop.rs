//! One marketplace as a value: what it shows, what it sold, what it was told, and the journal of all that. No waiting, no
//! network, no chance: whoever calls it brings the time and the fault.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::quantity::{QUANTITY_MAX, Quantity};
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

use super::kinds::desk::Memory;
use super::kinds::limits::Gauge;
use super::kinds::{Account, Dialect, Kind, hash, plain};
use super::orders::{Book, Order};
use super::record::{Change, Journal, ShopEvent, Trade};

/// Units of one order where each of them is an order, or a line, of its own.
const UNITS_MAX: i64 = 999;

/// What a shop has on its shelf when it opens.
#[derive(Clone, Debug)]
pub struct Opening {
    pub sku: Sku,
    pub stock: Quantity,
    /// `None`: the shop makes one up, `UZUM-PHONE-001`.
    pub product_id: Option<String>,
    /// Decimal text, sent with order webhooks.
    pub price: Option<String>,
    /// The marketplace's own names of it; what is missing is made up, the same in every run.
    pub refs: Map<String, Value>,
}

impl Opening {
    pub fn new(sku: Sku, stock: Quantity) -> Self {
        Self { sku, stock, product_id: None, price: None, refs: Map::new() }
    }
}

/// Which marketplace a shop pretends to be, and whose account this is there.
#[derive(Clone, Debug)]
pub struct Speech {
    pub kind: Kind,
    pub account: Account,
    /// How many times faster than the real one's the clock of its limits runs.
    pub hurry: u32,
}

impl Speech {
    pub fn generic() -> Self {
        Self { kind: Kind::Generic, account: Account::default(), hurry: 1 }
    }
}

/// What the hub must know of a thing to list it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    pub sku: Sku,
    pub marketplace_product_id: String,
    pub refs: Map<String, Value>,
}

/// What a shop is, apart from its shelf.
#[derive(Clone, Debug)]
pub struct Identity {
    pub code: String,
    /// The beginning of every order id. Two runs against one hub need two of these: a hub rightly takes an order id it knows
    /// for the order it knows.
    pub run: String,
    /// With one set, pushes and reads need `Authorization: Bearer …`.
    pub api_key: Option<String>,
    /// Whether the shop raises its own number on a cancel or a return.
    pub own_restock: bool,
}

/// A product as the shop shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    pub sku: Sku,
    pub product_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub refs: Map<String, Value>,
    pub opening: i64,
    pub stock: i64,
    /// Units of orders that are neither shipped nor cancelled: reserved, in some marketplaces' words.
    pub open: i64,
    pub sold: i64,
    pub cancelled: i64,
    pub returned: i64,
    pub pushes_applied: u64,
}

/// Everything counted, so that a long run can be audited without its whole journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// To a shop of a real kind.
    pub calls: u64,
    pub calls_faulted: u64,
    pub calls_refused: u64,
    /// Calls and quantities that broke a limit.
    pub limit_breaches: u64,
    /// Calls before the time that a refusal named.
    pub early_calls: u64,
    pub pushes_received: u64,
    pub pushes_applied: u64,
    pub pushes_duplicate: u64,
    pub pushes_refused: u64,
    pub pushes_faulted: u64,
    pub key_conflicts: u64,
    pub late_writes: u64,
    pub reads: u64,
    pub strays: u64,
    pub sales: u64,
    pub sales_refused: u64,
    pub webhooks_queued: u64,
    pub webhooks_lost: u64,
    pub webhook_copies: u64,
    pub webhook_attempts: u64,
    pub webhooks_answered: u64,
    pub webhooks_given_up: u64,
}

/// A picture of a shop at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct ShopState {
    pub code: String,
    pub kind: Kind,
    pub items: Vec<Item>,
    pub totals: Totals,
    /// How often each page was asked for.
    pub calls: BTreeMap<&'static str, u64>,
    /// How often each limit was broken.
    pub breaches: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeBack {
    Cancel,
    Return,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShopError {
    #[error("{0} is not sold here")]
    NotSoldHere(String),
    #[error("the shop shows {shown}, not {quantity}")]
    NotEnough { quantity: i64, shown: i64 },
    #[error("a quantity must be between 1 and {QUANTITY_MAX}")]
    Quantity,
    #[error("no order {0}")]
    NoOrder(String),
    #[error("the order has {left} units left to take back")]
    TooMany { left: i64 },
    #[error("an order is cancelled as a whole here")]
    WholeOnly,
    #[error("the order has left the warehouse: it can only come back")]
    Shipped,
}

pub struct Shop {
    pub(super) identity: Identity,
    pub(super) kind: Kind,
    pub(super) account: Account,
    /// `None`: the generic schema.
    pub(super) dialect: Option<&'static dyn Dialect>,
    pub(super) hurry: u32,
    pub(super) shown_after: Duration,
    pub(super) items: BTreeMap<Sku, Item>,
    skus: Vec<Sku>,
    /// As they were put there.
    pub(super) shelf: Vec<Sku>,
    /// By the marketplace's own names.
    pub(super) index: HashMap<(String, String), Sku>,
    pub(super) book: Book,
    next_webhook: u64,
    pub(super) keys: HashMap<String, (String, i64)>,
    pub(super) keys_by_age: VecDeque<String>,
    pub(super) gauges: Vec<Gauge>,
    /// A refusal that named a time: when it was, and that time.
    pub(super) quiet: Option<(Timestamp, Timestamp)>,
    pub(super) memory: Memory,
    pub(super) called: BTreeMap<&'static str, u64>,
    pub(super) breaches: BTreeMap<String, u64>,
    pub(super) totals: Totals,
    pub(super) journal: Journal,
}

impl Shop {
    pub fn open(identity: Identity, opening: Vec<Opening>, journal: Journal, at: Timestamp) -> Self {
        Self::open_as(Speech::generic(), identity, opening, journal, at)
    }

    pub fn open_as(speech: Speech, identity: Identity, opening: Vec<Opening>, journal: Journal, at: Timestamp) -> Self {
        let Speech { kind, account, hurry } = speech;
        let dialect = kind.dialect();
        let mut shop = Self {
            identity,
            kind,
            account,
            dialect,
            hurry: hurry.max(1),
            shown_after: dialect.map_or(Duration::ZERO, |dialect| dialect.habits().shown_after) / hurry.max(1),
            items: BTreeMap::new(),
            skus: Vec::new(),
            shelf: Vec::new(),
            index: HashMap::new(),
            book: Book::default(),
            next_webhook: 1,
            keys: HashMap::new(),
            keys_by_age: VecDeque::new(),
            gauges: dialect.map_or(Vec::new(), |dialect| dialect.limits()).into_iter().map(|l| Gauge::new(l, hurry)).collect(),
            quiet: None,
            memory: Memory::default(),
            called: BTreeMap::new(),
            breaches: BTreeMap::new(),
            totals: Totals::default(),
            journal,
        };
        for (n, opening) in (1..).zip(opening) {
            shop.put(n, opening, at);
        }
        shop.skus = shop.items.keys().cloned().collect();
        shop
    }

    /// Puts the n-th thing on the shelf.
    fn put(&mut self, n: u64, opening: Opening, at: Timestamp) {
        let Opening { sku, stock, product_id, price, refs: given } = opening;
        let mut refs = self.dialect.map_or_else(Map::new, |dialect| dialect.refs(n, &sku, &self.account));
        refs.extend(given);
        let main = self.dialect.and_then(|dialect| refs.get(dialect.main_ref())).map(plain);
        let product_id = product_id.or(main).unwrap_or_else(|| format!("{}-{sku}", self.identity.code.to_uppercase()));
        let stock = stock.get();
        self.journal.write(at, ShopEvent::Opened { sku: sku.clone(), product_id: product_id.clone(), stock });
        let names = refs.iter().map(|(name, value)| ((name.clone(), plain(value)), sku.clone()));
        self.index.extend(names);
        let (sold, cancelled, returned, open) = (0, 0, 0, 0);
        let (opening, pushes_applied) = (stock, 0);
        let item =
            Item { sku: sku.clone(), product_id, price, refs, opening, stock, open, sold, cancelled, returned, pushes_applied };
        if self.items.insert(sku.clone(), item).is_none() {
            self.shelf.push(sku);
        }
    }

    pub fn code(&self) -> &str {
        &self.identity.code
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn account(&self) -> &Account {
        &self.account
    }

    pub fn skus(&self) -> &[Sku] {
        &self.skus
    }

    pub fn item(&self, sku: &str) -> Option<&Item> {
        self.items.get(sku)
    }

    pub fn orders(&self) -> &Book {
        &self.book
    }

    /// What is sold here, as the hub must be told to list it.
    pub fn listed(&self) -> Vec<Listed> {
        let listed = self.shelf.iter().filter_map(|sku| self.items.get(sku)).map(|item| Listed {
            sku: item.sku.clone(),
            marketplace_product_id: item.product_id.clone(),
            refs: item.refs.clone(),
        });
        listed.collect()
    }

    /// What a shopper sees; 0 for what is not sold here.
    pub fn shown(&self, sku: &str) -> i64 {
        self.item(sku).map_or(0, |item| item.stock)
    }

    /// The first product in stock from the `from`-th on, around the shelf, and how many it shows.
    pub fn in_stock(&self, from: usize) -> Option<(Sku, i64)> {
        let (before, after) = self.skus.split_at(from.min(self.skus.len()));
        let mut shelf = after.iter().chain(before).filter_map(|sku| self.items.get(sku));
        shelf.find(|item| item.stock > 0).map(|item| (item.sku.clone(), item.stock))
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    pub fn state(&self) -> ShopState {
        ShopState {
            code: self.identity.code.clone(),
            kind: self.kind,
            items: self.items.values().cloned().collect(),
            totals: self.totals,
            calls: self.called.clone(),
            breaches: self.breaches.clone(),
        }
    }

    pub(super) fn number_webhook(&mut self) -> u64 {
        let number = self.next_webhook;
        self.next_webhook += 1;
        number
    }

    /// A shopper buys. The shop lowers its own number at once, as real ones do.
    pub fn sell(&mut self, sku: &str, quantity: i64, at: Timestamp) -> Result<Trade, ShopError> {
        let most = if self.dialect.is_some() { UNITS_MAX } else { QUANTITY_MAX };
        if !(1..=most).contains(&quantity) {
            return Err(ShopError::Quantity);
        }
        let number = self.book.next_number();
        let id = match self.dialect {
            None => format!("{}-{number}", self.identity.run),
            Some(dialect) => dialect.order_id(100_000 + hash(&self.identity.run) % 900_000, number),
        };
        let item = self.items.get_mut(sku).ok_or_else(|| ShopError::NotSoldHere(sku.to_owned()))?;
        let before = item.stock;
        if before < quantity {
            self.totals.sales_refused += 1;
            self.journal.write(at, ShopEvent::SaleRefused { sku: sku.to_owned(), quantity, shown: before });
            return Err(ShopError::NotEnough { quantity, shown: before });
        }
        item.stock -= quantity;
        item.sold += quantity;
        item.open += quantity;
        let trade = Trade {
            order_id: id.clone(),
            sku: item.sku.clone(),
            product_id: item.product_id.clone(),
            quantity,
            cumulative: quantity,
            before,
            after: item.stock,
            price: item.price.clone(),
            at,
        };
        let (sku, price) = (item.sku.clone(), item.price.clone());
        let (cancelled, returned, shipped) = (0, 0, false);
        self.book.place(Order { number, id, sku, quantity, cancelled, returned, shipped, price, placed_at: at, changed_at: at });
        self.totals.sales += 1;
        self.journal.write(at, ShopEvent::Sold(trade.clone()));
        Ok(trade)
    }

    /// The order leaves the warehouse.
    pub fn ship(&mut self, order_id: &str, at: Timestamp) -> Result<(), ShopError> {
        let order = self.book.get(order_id).ok_or_else(|| ShopError::NoOrder(order_id.to_owned()))?;
        if !order.shipped {
            let (sku, left) = (order.sku.clone(), order.left());
            if let Some(item) = self.items.get_mut(&sku) {
                item.open -= left;
            }
            self.book.change(order_id, at, |order| order.shipped = true);
            self.journal.write(at, ShopEvent::Shipped { order_id: order_id.to_owned() });
        }
        Ok(())
    }

    /// Somebody sets a number in the marketplace's own cabinet, behind the hub's back.
    pub fn edit(&mut self, sku: &str, stock: i64, at: Timestamp) -> Result<Change, ShopError> {
        if !(0..=QUANTITY_MAX).contains(&stock) {
            return Err(ShopError::Quantity);
        }
        let item = self.items.get_mut(sku).ok_or_else(|| ShopError::NotSoldHere(sku.to_owned()))?;
        let change = Change { sku: item.sku.clone(), before: item.stock, after: stock };
        item.stock = stock;
        self.journal.write(at, ShopEvent::Edited(change.clone()));
        Ok(change)
    }

    /// Cancels or returns `quantity` units of an order; all that is left where `None`.
    pub fn take_back(&mut self, order_id: &str, quantity: Option<i64>, how: TakeBack, at: Timestamp) -> Result<Trade, ShopError> {
        let no_order = || ShopError::NoOrder(order_id.to_owned());
        let order = self.book.get(order_id).ok_or_else(no_order)?;
        let (sku, left, whole, shipped) = (order.sku.clone(), order.left(), order.quantity, order.shipped);
        let quantity = quantity.unwrap_or(left);
        if !(1..=left).contains(&quantity) {
            return Err(ShopError::TooMany { left });
        }
        let mut restocks = self.identity.own_restock;
        if let Some(dialect) = self.dialect {
            if dialect.habits().whole_orders && quantity != whole {
                return Err(ShopError::WholeOnly);
            }
            match how {
                TakeBack::Cancel if shipped => return Err(ShopError::Shipped),
                TakeBack::Cancel => {}
                // Goods on their way back are nobody's to sell yet.
                TakeBack::Return => {
                    self.ship(order_id, at)?;
                    restocks = false;
                }
            }
        }
        let item = self.items.get_mut(&sku).ok_or_else(no_order)?;
        if how == TakeBack::Cancel {
            item.open -= quantity;
        }
        let on_item = match how {
            TakeBack::Cancel => &mut item.cancelled,
            TakeBack::Return => &mut item.returned,
        };
        *on_item += quantity;
        let cumulative = self.book.change(order_id, at, |order| {
            let on_order = match how {
                TakeBack::Cancel => &mut order.cancelled,
                TakeBack::Return => &mut order.returned,
            };
            *on_order += quantity;
            *on_order
        });
        let before = item.stock;
        if restocks {
            item.stock = (item.stock + quantity).min(QUANTITY_MAX);
        }
        let trade = Trade {
            order_id: order_id.to_owned(),
            sku: item.sku.clone(),
            product_id: item.product_id.clone(),
            quantity,
            cumulative: cumulative.unwrap_or(quantity),
            before,
            after: item.stock,
            price: item.price.clone(),
            at,
        };
        let event = match how {
            TakeBack::Cancel => ShopEvent::Cancelled(trade.clone()),
            TakeBack::Return => ShopEvent::Returned(trade.clone()),
        };
        self.journal.write(at, event);
        Ok(trade)
    }
}
