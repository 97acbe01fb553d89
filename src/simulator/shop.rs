//! One marketplace as a value: what it shows, what it sold, what it was told, and the journal of all that. No waiting, no
//! network, no chance: whoever calls it brings the time and the fault.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Serialize;

use crate::domain::quantity::{QUANTITY_MAX, Quantity};
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

use super::record::{Journal, ShopEvent, Trade};

/// Orders that can still be cancelled or returned.
const ORDERS_MAX: usize = 100_000;

/// What a shop has on its shelf when it opens.
#[derive(Clone, Debug)]
pub struct Opening {
    pub sku: Sku,
    pub stock: Quantity,
    /// `None`: the shop makes one up, `UZUM-PHONE-001`.
    pub product_id: Option<String>,
    /// Decimal text, sent with order webhooks.
    pub price: Option<String>,
}

impl Opening {
    pub fn new(sku: Sku, stock: Quantity) -> Self {
        Self { sku, stock, product_id: None, price: None }
    }
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
    pub opening: i64,
    pub stock: i64,
    pub sold: i64,
    pub cancelled: i64,
    pub returned: i64,
    pub pushes_applied: u64,
}

/// Everything counted, so that a long run can be audited without its whole journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
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
    pub items: Vec<Item>,
    pub totals: Totals,
}

struct Order {
    sku: Sku,
    quantity: i64,
    cancelled: i64,
    returned: i64,
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
}

pub struct Shop {
    pub(super) identity: Identity,
    pub(super) items: BTreeMap<Sku, Item>,
    skus: Vec<Sku>,
    orders: BTreeMap<u64, Order>,
    next_order: u64,
    next_webhook: u64,
    pub(super) keys: HashMap<String, (String, i64)>,
    pub(super) keys_by_age: VecDeque<String>,
    pub(super) totals: Totals,
    pub(super) journal: Journal,
}

impl Shop {
    pub fn open(identity: Identity, opening: Vec<Opening>, mut journal: Journal, at: Timestamp) -> Self {
        let mut items = BTreeMap::new();
        for Opening { sku, stock, product_id, price } in opening {
            let product_id = product_id.unwrap_or_else(|| format!("{}-{sku}", identity.code.to_uppercase()));
            let stock = stock.get();
            journal.write(at, ShopEvent::Opened { sku: sku.clone(), product_id: product_id.clone(), stock });
            let counts = (0, 0, 0, 0);
            let (sold, cancelled, returned, pushes_applied) = counts;
            let item =
                Item { sku: sku.clone(), product_id, price, opening: stock, stock, sold, cancelled, returned, pushes_applied };
            items.insert(sku, item);
        }
        let skus = items.keys().cloned().collect();
        Self {
            identity,
            items,
            skus,
            orders: BTreeMap::new(),
            next_order: 1,
            next_webhook: 1,
            keys: HashMap::new(),
            keys_by_age: VecDeque::new(),
            totals: Totals::default(),
            journal,
        }
    }

    pub fn code(&self) -> &str {
        &self.identity.code
    }

    pub fn skus(&self) -> &[Sku] {
        &self.skus
    }

    pub fn item(&self, sku: &str) -> Option<&Item> {
        self.items.get(sku)
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
        ShopState { code: self.identity.code.clone(), items: self.items.values().cloned().collect(), totals: self.totals }
    }

    pub(super) fn number_webhook(&mut self) -> u64 {
        let number = self.next_webhook;
        self.next_webhook += 1;
        number
    }

    /// A shopper buys. The shop lowers its own number at once, as real ones do.
    pub fn sell(&mut self, sku: &str, quantity: i64, at: Timestamp) -> Result<Trade, ShopError> {
        if !(1..=QUANTITY_MAX).contains(&quantity) {
            return Err(ShopError::Quantity);
        }
        let item = self.items.get_mut(sku).ok_or_else(|| ShopError::NotSoldHere(sku.to_owned()))?;
        let before = item.stock;
        if before < quantity {
            self.totals.sales_refused += 1;
            self.journal.write(at, ShopEvent::SaleRefused { sku: sku.to_owned(), quantity, shown: before });
            return Err(ShopError::NotEnough { quantity, shown: before });
        }
        item.stock -= quantity;
        item.sold += quantity;
        let number = self.next_order;
        self.next_order += 1;
        let trade = Trade {
            order_id: format!("{}-{number}", self.identity.run),
            sku: item.sku.clone(),
            product_id: item.product_id.clone(),
            quantity,
            cumulative: quantity,
            before,
            after: item.stock,
            price: item.price.clone(),
            at,
        };
        self.orders.insert(number, Order { sku: item.sku.clone(), quantity, cancelled: 0, returned: 0 });
        if self.orders.len() > ORDERS_MAX {
            self.orders.pop_first();
        }
        self.totals.sales += 1;
        self.journal.write(at, ShopEvent::Sold(trade.clone()));
        Ok(trade)
    }

    /// Cancels or returns `quantity` units of an order; all that is left where `None`.
    pub fn take_back(&mut self, order_id: &str, quantity: Option<i64>, how: TakeBack, at: Timestamp) -> Result<Trade, ShopError> {
        let no_order = || ShopError::NoOrder(order_id.to_owned());
        let number = order_id.strip_prefix(self.identity.run.as_str()).and_then(|rest| rest.strip_prefix('-'));
        let number: u64 = number.and_then(|digits| digits.parse().ok()).ok_or_else(no_order)?;
        let order = self.orders.get_mut(&number).ok_or_else(no_order)?;
        let item = self.items.get_mut(&order.sku).ok_or_else(no_order)?;
        let left = order.quantity - order.cancelled - order.returned;
        let quantity = quantity.unwrap_or(left);
        if !(1..=left).contains(&quantity) {
            return Err(ShopError::TooMany { left });
        }
        let (on_order, on_item) = match how {
            TakeBack::Cancel => (&mut order.cancelled, &mut item.cancelled),
            TakeBack::Return => (&mut order.returned, &mut item.returned),
        };
        *on_order += quantity;
        *on_item += quantity;
        let cumulative = *on_order;
        let before = item.stock;
        if self.identity.own_restock {
            item.stock = (item.stock + quantity).min(QUANTITY_MAX);
        }
        let trade = Trade {
            order_id: order_id.to_owned(),
            sku: item.sku.clone(),
            product_id: item.product_id.clone(),
            quantity,
            cumulative,
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
