//! The keyed table: the latest state of every SKU, and a ring of the last changes.
//!
//! Nothing here is a queue of messages. A reader holds an offset and asks what changed since; the answer is the *latest* item of
//! each SKU, so a reader that missed a hundred changes of one SKU gets one item, and drops, duplicates and reordering do no harm.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;

/// A SKU that the hub publishes to itself, to see that it comes back. No SKU may begin with a space, so nobody can ask for it.
pub(crate) const CANARY: &str = " canary";

/// Position of a SKU in the table. Positions are given once and never reused.
pub(crate) type SkuIndex = u32;

/// One published state of one SKU, as the rest of the hub hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub sku: Sku,
    /// What the storefront may sell. Negative is shown as 0.
    pub quantity: i64,
    /// The listing's own counter; an older or equal version is ignored.
    pub version: i64,
    /// The SKU is no longer listed.
    pub removed: bool,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) sku: Sku,
    pub(crate) version: i64,
    /// The offset of its last change.
    pub(crate) offset: u64,
    pub(crate) removed: bool,
    /// The hub's own canary: no browser is told.
    pub(crate) hidden: bool,
    /// The item as browsers see it, encoded once per change.
    pub(crate) json: Bytes,
}

/// Whose changes are asked for. Positions are sorted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope<'a> {
    /// Whatever the hub shows.
    All,
    /// The canary too.
    Every,
    Some(&'a [SkuIndex]),
}

/// One change, as the ring remembers it.
#[derive(Clone, Copy, Debug)]
struct Moved {
    offset: u64,
    index: SkuIndex,
    /// When it was taken in, which is right after its commit.
    at: Instant,
}

#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) index: SkuIndex,
    pub(crate) offset: u64,
    pub(crate) hidden: bool,
    pub(crate) json: Bytes,
}

/// What changed, each SKU once, oldest change first. Having `changes` is having everything up to `upto`.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) upto: u64,
    pub(crate) changes: Vec<Change>,
}

#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    by_sku: BTreeMap<Sku, SkuIndex>,
    ring: VecDeque<Moved>,
    ring_max: usize,
    /// Changes up to here have left the ring.
    floor: u64,
    head: u64,
    public_cap: Option<i64>,
    listed: usize,
}

#[derive(Serialize)]
struct Item<'a> {
    sku: &'a str,
    stock: i64,
    version: i64,
    in_stock: bool,
    #[serde(skip_serializing_if = "is_false")]
    more: bool,
    #[serde(skip_serializing_if = "is_false")]
    removed: bool,
    /// A load client's own time, given back to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<&'a serde_json::Number>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Table {
    pub(crate) fn new(ring_max: usize, public_cap: Option<i64>) -> Self {
        Self {
            entries: Vec::new(),
            by_sku: BTreeMap::new(),
            ring: VecDeque::new(),
            ring_max: ring_max.max(1),
            floor: 0,
            head: 0,
            public_cap,
            listed: 0,
        }
    }

    /// Takes a state in under the next offset. `false`: the table already holds this version or a later one.
    pub(crate) fn publish(&mut self, published: &Published, now: Instant) -> bool {
        self.take(self.head + 1, published, None, now)
    }

    /// Takes a number in as the SKU's next version: for load clients, who keep no versions.
    pub(crate) fn publish_next(&mut self, sku: Sku, quantity: i64, ts: Option<&serde_json::Number>, now: Instant) {
        let known = self.by_sku.get(&sku).and_then(|index| self.entries.get(*index as usize));
        let version = known.map_or(1, |entry| entry.version + 1);
        self.take(self.head + 1, &Published { sku, quantity, version, removed: false }, ts, now);
    }

    /// Takes the canary's next version in; says which.
    pub(crate) fn publish_canary(&mut self, now: Instant) -> i64 {
        self.publish_next(Sku::from_storage(CANARY), 1, None, now);
        self.index_of(CANARY).and_then(|index| self.entry(index)).map_or(0, |entry| entry.version)
    }

    /// Takes a state in under an offset that another stream gave. Offsets must rise; they may have holes.
    pub(crate) fn follow(&mut self, offset: u64, published: &Published, now: Instant) -> bool {
        if offset <= self.head {
            return false;
        }
        let taken = self.take(offset, published, None, now);
        // An ignored message still moves the stream on: a reader at this offset has missed nothing.
        self.head = offset;
        taken
    }

    fn take(&mut self, offset: u64, published: &Published, ts: Option<&serde_json::Number>, at: Instant) -> bool {
        let known = self.by_sku.get(&published.sku).copied();
        if let Some(entry) = known.map(|index| &self.entries[index as usize])
            && entry.version >= published.version
        {
            return false;
        }
        let json = self.encode(published, ts);
        let index = match known {
            Some(index) => {
                let entry = &mut self.entries[index as usize];
                self.listed -= usize::from(!entry.removed && !entry.hidden);
                (entry.json, entry.offset, entry.version, entry.removed) = (json, offset, published.version, published.removed);
                index
            }
            None => {
                let Ok(index) = SkuIndex::try_from(self.entries.len()) else { return false };
                let Published { sku, version, removed, .. } = published.clone();
                self.by_sku.insert(sku.clone(), index);
                let hidden = sku.as_str() == CANARY;
                self.entries.push(Entry { sku, version, offset, removed, hidden, json });
                index
            }
        };
        let hidden = self.entries.get(index as usize).is_some_and(|entry| entry.hidden);
        self.listed += usize::from(!published.removed && !hidden);
        if self.ring.len() == self.ring_max
            && let Some(left) = self.ring.pop_front()
        {
            self.floor = left.offset;
        }
        self.ring.push_back(Moved { offset, index, at });
        self.head = offset;
        true
    }

    fn encode(&self, published: &Published, ts: Option<&serde_json::Number>) -> Bytes {
        let real = if published.removed { 0 } else { Quantity::shown(published.quantity).get() };
        let stock = self.public_cap.map_or(real, |cap| real.min(cap.max(0)));
        let item = Item {
            sku: published.sku.as_str(),
            stock,
            version: published.version,
            in_stock: real > 0,
            more: stock < real,
            removed: published.removed,
            ts,
        };
        // A struct of text, numbers and flags always serialises.
        serde_json::to_vec(&item).unwrap_or_default().into()
    }

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// How many SKUs are listed now.
    pub(crate) fn listed(&self) -> usize {
        self.listed
    }

    /// How many positions are given, removed SKUs included.
    pub(crate) fn len(&self) -> SkuIndex {
        SkuIndex::try_from(self.entries.len()).unwrap_or(SkuIndex::MAX)
    }

    pub(crate) fn index_of(&self, sku: &str) -> Option<SkuIndex> {
        self.by_sku.get(sku).copied()
    }

    pub(crate) fn entry(&self, index: SkuIndex) -> Option<&Entry> {
        self.entries.get(index as usize)
    }

    /// SKUs in their own order, after `after`.
    pub(crate) fn sorted_after<'a>(&'a self, after: Option<&'a str>) -> impl Iterator<Item = &'a Entry> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.by_sku.range::<str, _>((from, Bound::Unbounded)).filter_map(|(_, index)| self.entry(*index));
        entries.filter(|entry| !entry.hidden)
    }

    /// Can a reader at `offset` be told what it missed, without a snapshot? A future offset cannot be ours.
    pub(crate) fn covers(&self, offset: u64) -> bool {
        (self.floor..=self.head).contains(&offset)
    }

    /// How many offsets back a cursor may be and still resume.
    pub(crate) fn span(&self) -> u64 {
        self.head - self.floor
    }

    /// When the first change after `offset` was taken in, if the ring still knows.
    pub(crate) fn moved_after(&self, offset: u64) -> Option<Instant> {
        let next = self.ring.partition_point(|moved| moved.offset <= offset);
        self.ring.get(next).filter(|_| self.covers(offset)).map(|moved| moved.at)
    }

    /// When the oldest current state after `offset` was taken in, of those in `scope`: since then a reader at `offset` is behind.
    pub(crate) fn behind_since(&self, offset: u64, scope: Scope<'_>) -> Option<Instant> {
        let oldest = self.since(offset, scope, 1)?.changes.first()?.offset;
        self.moved_after(oldest - 1)
    }

    /// What changed after `offset`, at most `limit` SKUs of it; `None` when the ring no longer reaches back that far.
    pub(crate) fn since(&self, offset: u64, scope: Scope<'_>, limit: usize) -> Option<Changes> {
        if !self.covers(offset) {
            return None;
        }
        let limit = limit.max(1);
        let mut hits = match scope {
            Scope::Some(indices) if indices.len() < self.ring.len() => self.hits_by_interest(offset, indices),
            scope => self.hits_by_ring(offset, scope, limit),
        };
        // Oldest first: then a part of the answer is complete up to its own last offset.
        hits.sort_unstable();
        let upto = if hits.len() > limit { hits[limit - 1].0 } else { self.head };
        let changes = hits.iter().take(limit).filter_map(|(offset, index)| {
            let of = |entry: &Entry| Change { index: *index, offset: *offset, hidden: entry.hidden, json: entry.json.clone() };
            self.entry(*index).map(of)
        });
        Some(Changes { upto, changes: changes.collect() })
    }

    fn is_hidden(&self, index: SkuIndex) -> bool {
        self.entry(index).is_some_and(|entry| entry.hidden)
    }

    fn hits_by_interest(&self, offset: u64, indices: &[SkuIndex]) -> Vec<(u64, SkuIndex)> {
        let hit = |index: &SkuIndex| self.entry(*index).filter(|entry| entry.offset > offset).map(|entry| (entry.offset, *index));
        indices.iter().filter_map(hit).collect()
    }

    fn hits_by_ring(&self, offset: u64, scope: Scope<'_>, limit: usize) -> Vec<(u64, SkuIndex)> {
        let start = self.ring.partition_point(|moved| moved.offset <= offset);
        let wanted = |moved: &&Moved| {
            // Only the last change of a SKU counts; the earlier ones are no longer its state.
            self.entry(moved.index).is_some_and(|entry| entry.offset == moved.offset)
                && match scope {
                    Scope::All => !self.is_hidden(moved.index),
                    Scope::Every => true,
                    Scope::Some(indices) => indices.binary_search(&moved.index).is_ok(),
                }
        };
        // One more than the limit tells the caller that there is more.
        let hits = self.ring.range(start..).filter(wanted).take(limit.saturating_add(1));
        hits.map(|moved| (moved.offset, moved.index)).collect()
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
