//! The order book of a fake marketplace: what was bought, what of it was taken back, and when each order last changed, which is
//! what a poller asks for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

/// Orders kept; the oldest are forgotten, and can then be neither listed nor taken back.
const ORDERS_MAX: usize = 100_000;

/// One order of one product, as most purchases are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// 1, 2, 3 … in this shop.
    pub number: u64,
    pub id: String,
    pub sku: Sku,
    pub quantity: i64,
    pub cancelled: i64,
    pub returned: i64,
    /// Has left the warehouse: what is taken back now is a return, not a cancel.
    pub shipped: bool,
    pub price: Option<String>,
    pub placed_at: Timestamp,
    pub changed_at: Timestamp,
}

impl Order {
    /// Units that can still be taken back.
    pub fn left(&self) -> i64 {
        self.quantity - self.cancelled - self.returned
    }
}

#[derive(Default)]
pub struct Book {
    orders: BTreeMap<u64, Order>,
    by_id: HashMap<String, u64>,
    by_change: BTreeSet<(Timestamp, u64)>,
    numbered: u64,
}

impl Book {
    /// The number the next order will have.
    pub fn next_number(&self) -> u64 {
        self.numbered + 1
    }

    pub fn place(&mut self, order: Order) {
        self.numbered = self.numbered.max(order.number);
        self.by_id.insert(order.id.clone(), order.number);
        self.by_change.insert((order.changed_at, order.number));
        self.orders.insert(order.number, order);
        if self.orders.len() > ORDERS_MAX
            && let Some((number, oldest)) = self.orders.pop_first()
        {
            self.by_id.remove(&oldest.id);
            self.by_change.remove(&(oldest.changed_at, number));
        }
    }

    pub fn get(&self, id: &str) -> Option<&Order> {
        self.by_number(*self.by_id.get(id)?)
    }

    pub fn by_number(&self, number: u64) -> Option<&Order> {
        self.orders.get(&number)
    }

    /// Changes an order and notes when.
    pub fn change<R>(&mut self, id: &str, at: Timestamp, how: impl FnOnce(&mut Order) -> R) -> Option<R> {
        let number = *self.by_id.get(id)?;
        let order = self.orders.get_mut(&number)?;
        let result = how(order);
        self.by_change.remove(&(order.changed_at, number));
        order.changed_at = at;
        self.by_change.insert((at, number));
        Some(result)
    }

    /// In the order they were placed.
    pub fn placed(&self) -> impl DoubleEndedIterator<Item = &Order> {
        self.orders.values()
    }

    /// Changed in `[from, to]`, in the order of the change.
    pub fn changed(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = &Order> {
        let range = (from <= to).then_some((from, 0)..=(to, u64::MAX));
        range.into_iter().flat_map(|range| self.by_change.range(range)).filter_map(|(_, number)| self.orders.get(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_seconds(1_767_954_600 + second)
    }

    #[test]
    fn lists_by_change_and_finds_by_id() {
        let mut book = Book::default();
        for n in 1..=3 {
            let (number, id, sku) = (book.next_number(), format!("o-{n}"), Sku::parse("A").unwrap());
            let (cancelled, returned, shipped, price) = (0, 0, false, None);
            let (placed_at, changed_at) = (at(n), at(n));
            book.place(Order { number, id, sku, quantity: n, cancelled, returned, shipped, price, placed_at, changed_at });
        }
        book.change("o-1", at(9), |order| order.cancelled = 1).unwrap();
        let ids = |from, to| book.changed(at(from), at(to)).map(|order| order.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(0, 99), ["o-2", "o-3", "o-1"]);
        assert_eq!(ids(3, 8), ["o-3"]);
        assert!(ids(8, 3).is_empty());
        assert_eq!(book.get("o-1").unwrap().left(), 0);
        assert!(book.get("o-4").is_none() && book.placed().next_back().unwrap().number == 3);
    }
}
