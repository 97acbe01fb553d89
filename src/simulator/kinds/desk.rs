//! What a dialect may do with its shop while it answers one call: look things up, tell quantities, go through orders. It notes
//! what became of each quantity, for the journal, and deals out the partial failures that chaos asks for.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use crate::domain::quantity::QUANTITY_MAX;
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

use super::super::chaos::{Chaos, Dice};
use super::super::orders::Book;
use super::super::record::{Change, ItemWrite, PushOutcome};
use super::super::shop::{Item, Shop};
use super::{Account, plain};

/// What some marketplaces remember of a listing beside its quantity, and of the calls that were made.
#[derive(Default)]
pub struct Memory {
    /// When a thing was last told a quantity, where that may not be done too often.
    pub(super) told: HashMap<String, Timestamp>,
    /// What else is set with the quantity (the schemes of sale at Uzum).
    pub(super) flags: HashMap<Sku, (bool, bool)>,
    /// The writer's own time of the last quantity.
    pub(super) stamps: HashMap<Sku, Timestamp>,
    /// Answers by idempotency key, with the body they belong to.
    pub(super) answers: HashMap<String, (String, Value)>,
    /// The number a reader sees until then.
    pub(super) lag: HashMap<Sku, (i64, Timestamp)>,
    pub(super) turns: u64,
}

/// A refusal of one quantity that the dialect has to put into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// May be tried again.
    Passing,
    /// Not as things stand.
    Lasting,
}

/// What chaos has in store for the items of a call.
#[derive(Clone, Debug, Default)]
pub struct Luck {
    pub seed: u64,
    pub item_error_percent: u8,
    pub poison: Vec<String>,
    /// Everything is answered as if it were done, and nothing is.
    pub pretend: bool,
}

impl Luck {
    pub fn of(chaos: &Chaos, seed: u64) -> Self {
        Self { seed, item_error_percent: chaos.item_error_percent, poison: chaos.poison.clone(), pretend: false }
    }
}

pub struct Desk<'a> {
    pub now: Timestamp,
    /// When the call came in: limits are held against that, also where it takes effect later.
    arrived: Timestamp,
    shop: &'a mut Shop,
    luck: &'a Luck,
    dice: Dice,
    writes: Vec<ItemWrite>,
    breaches: Vec<&'static str>,
}

impl<'a> Desk<'a> {
    pub(in crate::simulator) fn new(shop: &'a mut Shop, luck: &'a Luck, arrived: Timestamp, now: Timestamp) -> Self {
        Self { now, arrived, shop, luck, dice: Dice::new(luck.seed), writes: Vec::new(), breaches: Vec::new() }
    }

    /// What became of each quantity, and the limits per thing that were broken.
    pub(in crate::simulator) fn close(self) -> (Vec<ItemWrite>, Vec<&'static str>) {
        (self.writes, self.breaches)
    }

    pub fn account(&self) -> &Account {
        &self.shop.account
    }

    /// Nothing that is told now is really done.
    pub fn pretends(&self) -> bool {
        self.luck.pretend
    }

    pub fn book(&self) -> &Book {
        &self.shop.book
    }

    pub fn memory(&mut self) -> &mut Memory {
        &mut self.shop.memory
    }

    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.shop.items.values()
    }

    /// By the order in which they were put on the shelf, from the `from`-th (counted from zero) on.
    pub fn shelf(&self, from: usize, most: usize) -> Vec<Item> {
        let named = self.shop.shelf.iter().skip(from).take(most);
        named.filter_map(|sku| self.shop.items.get(sku)).cloned().collect()
    }

    pub fn shelf_size(&self) -> usize {
        self.shop.shelf.len()
    }

    pub fn item(&self, sku: &Sku) -> Option<&Item> {
        self.shop.items.get(sku)
    }

    /// The thing that has this value under this name.
    pub fn find(&self, name: &str, value: &Value) -> Option<Sku> {
        if value.is_null() {
            return None;
        }
        self.shop.index.get(&(name.to_owned(), plain(value))).cloned()
    }

    /// What a reader sees of it now.
    pub fn seen(&self, item: &Item) -> i64 {
        match self.shop.memory.lag.get(&item.sku) {
            Some((old, until)) if *until > self.now => *old,
            _ => item.stock,
        }
    }

    /// What goes wrong with this item, by the knobs.
    pub fn trouble(&mut self, sku: &Sku) -> Option<Trouble> {
        let unlucky = self.dice.percent(self.luck.item_error_percent);
        if self.luck.poison.iter().any(|poison| poison == sku.as_str()) {
            return Some(Trouble::Lasting);
        }
        unlucky.then_some(Trouble::Passing)
    }

    /// Puts a number on the shelf; gives what is shown now. A quantity nothing could be sold of is the caller's to refuse.
    pub fn set(&mut self, sku: &Sku, quantity: i64) -> i64 {
        let (pretend, quantity) = (self.luck.pretend, quantity.clamp(0, QUANTITY_MAX));
        let Some(item) = self.shop.items.get_mut(sku) else { return 0 };
        let (before, after) = (item.stock, if pretend { item.stock } else { quantity });
        item.stock = after;
        item.pushes_applied += u64::from(!pretend);
        let lag = self.shop.shown_after;
        if !lag.is_zero() && before != after {
            self.shop.memory.lag.insert(sku.clone(), (before, self.now.plus(lag)));
        }
        let outcome = if pretend { PushOutcome::Faulted } else { PushOutcome::Applied };
        let change = (!pretend).then(|| Change { sku: sku.clone(), before, after });
        self.writes.push(ItemWrite { sku: sku.to_string(), told: quantity, outcome, change });
        after
    }

    /// Notes a quantity that was not taken. `named` is whatever the caller called the thing.
    pub fn refuse(&mut self, named: impl ToString, told: i64) {
        self.writes.push(ItemWrite { sku: named.to_string(), told, outcome: PushOutcome::Refused, change: None });
    }

    /// Notes a quantity that was taken before under the same key.
    pub fn repeat(&mut self, sku: &Sku, told: i64) {
        self.writes.push(ItemWrite { sku: sku.to_string(), told, outcome: PushOutcome::Duplicate, change: None });
    }

    /// `false`, and a breach, where this thing was told a quantity less than `gap` ago.
    pub fn rested(&mut self, limit: &'static str, thing: &str, gap: Duration) -> bool {
        let gap = gap / self.shop.hurry.max(1);
        let (told, arrived) = (self.shop.memory.told.get(thing).copied(), self.arrived);
        // One that takes effect late came before what was told in the meantime.
        let rested = told.is_none_or(|told| arrived < told || arrived.since(told) >= gap);
        if !rested {
            self.breaches.push(limit);
        } else if !self.luck.pretend {
            self.shop.memory.told.insert(thing.to_owned(), told.map_or(arrived, |told| told.max(arrived)));
        }
        rested
    }

    /// Takes of a limit whose cost only the dialect can tell.
    pub fn spend(&mut self, limit: &'static str, cost: u32) -> Result<(), Duration> {
        let now = self.now;
        let Some(gauge) = self.shop.gauges.iter_mut().find(|gauge| gauge.limit.name == limit) else { return Ok(()) };
        gauge.take(cost, now).inspect_err(|_| self.breaches.push(limit))
    }

    /// What is left of a limit and how large it is.
    pub fn left(&self, limit: &str) -> (u32, u32) {
        self.shop.gauges.iter().find(|gauge| gauge.limit.name == limit).map_or((0, 0), super::limits::Gauge::left)
    }

    /// 0, 1, 2 …: for what is done one way one time and another way the next.
    pub fn turn(&mut self) -> u64 {
        self.shop.memory.turns += 1;
        self.shop.memory.turns - 1
    }
}
