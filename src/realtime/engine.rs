//! The engine: one table per process, and the signal that it moved.
//!
//! Publishing takes a short lock, bumps the head and is done: it never waits for a browser. Each server worker listens to the
//! head, reads what changed once, and does its own sending.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::canary::Canaries;
use super::cursor::Epoch;
use super::gate::Gate;
use super::roll::{Roll, Silent, Tally};
use super::settings::RealtimeLimits;
use super::stats::{RealtimeStats, Stats};
use super::table::{Published, Scope, SkuIndex, Table};
use crate::domain::sku::Sku;

/// The real-time engine. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Tells engines of one process apart (tests run several).
    id: u64,
    generation: Uuid,
    epoch: Epoch,
    table: RwLock<Table>,
    head: watch::Sender<u64>,
    gate: Gate,
    stats: Stats,
    closing: CancellationToken,
    stream: Uuid,
    /// Requests that were answered before the App saw them.
    requests: AtomicU64,
    roll: Roll,
    canaries: Canaries,
}

/// Which SKUs a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    All,
    Skus(Vec<Sku>),
}

/// Current items. Having them is having everything up to `cursor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub cursor: String,
    /// Encoded items.
    pub items: Vec<Bytes>,
    /// The highest offset among them: what an `ETag` is made of.
    pub newest: u64,
    pub unknown: Vec<Sku>,
}

/// The answer to "what changed since my cursor".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// Only what changed, each SKU once.
    Resumed { cursor: String, items: Vec<Bytes> },
    /// The cursor is of another epoch or older than the ring: everything anew.
    Snapshot(Snapshot),
}

impl Engine {
    pub fn new(generation: Uuid, stream: Uuid, limits: RealtimeLimits) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            inner: Arc::new(Inner {
                id: NEXT.fetch_add(1, Ordering::Relaxed),
                generation,
                epoch: Epoch::new(generation, stream),
                table: RwLock::new(Table::new(limits.ring, limits.public_cap)),
                head: watch::Sender::new(0),
                gate: Gate::default(),
                stats: Stats::default(),
                closing: CancellationToken::new(),
                stream,
                requests: AtomicU64::new(0),
                roll: Roll::default(),
                canaries: Canaries::default(),
            }),
        }
    }

    /// Names a request that the App's middleware, which names all others, does not see.
    pub(crate) fn request_id(&self) -> String {
        format!("{}-{}", self.inner.stream.simple(), self.inner.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Loads the table at start, before browsers are let in.
    pub fn fill(&self, items: impl IntoIterator<Item = Published>) {
        let items: Vec<Published> = items.into_iter().collect();
        self.publish(items);
    }

    /// Takes states in. One that is not newer than what the table holds is ignored.
    pub fn publish(&self, items: Vec<Published>) {
        let now = Instant::now();
        let mut table = self.inner.table.write().unwrap_or_else(PoisonError::into_inner);
        let taken = items.iter().filter(|item| table.publish(item, now)).count();
        self.moved(table.head(), taken);
    }

    /// Takes a number in as the SKU's next version, for load clients; `ts` comes back in the item.
    pub(crate) fn publish_next(&self, sku: Sku, quantity: i64, ts: Option<&serde_json::Number>) {
        let mut table = self.inner.table.write().unwrap_or_else(PoisonError::into_inner);
        table.publish_next(sku, quantity, ts, Instant::now());
        self.moved(table.head(), 1);
    }

    /// Takes in a state that another stream already numbered (a node that follows). Offsets must rise.
    pub fn follow(&self, offset: u64, item: &Published) {
        let mut table = self.inner.table.write().unwrap_or_else(PoisonError::into_inner);
        let taken = table.follow(offset, item, Instant::now());
        self.moved(table.head(), usize::from(taken));
    }

    /// Takes the canary's next version in; says which.
    pub(crate) fn publish_canary(&self) -> i64 {
        let mut table = self.inner.table.write().unwrap_or_else(PoisonError::into_inner);
        let version = table.publish_canary(Instant::now());
        self.moved(table.head(), 1);
        version
    }

    fn moved(&self, head: u64, taken: usize) {
        self.inner.stats.updates.add(taken as u64);
        self.inner.head.send_if_modified(|known| std::mem::replace(known, head) != head);
    }

    /// The current items of `interest`. Removed SKUs are told only to those who ask for them by name.
    pub fn snapshot(&self, interest: &Interest) -> Snapshot {
        self.read(|table| self.snapshot_of(table, interest))
    }

    /// What changed since `cursor`; everything, when the hub cannot tell.
    pub fn since(&self, cursor: &str, interest: &Interest) -> Since {
        self.read(|table| {
            let changes = self.inner.epoch.offset_of(cursor).and_then(|offset| match interest {
                Interest::All => table.since(offset, Scope::All, usize::MAX),
                Interest::Skus(skus) => table.since(offset, Scope::Some(&positions(table, skus).0), usize::MAX),
            });
            match changes {
                Some(changes) => Since::Resumed {
                    cursor: self.inner.epoch.cursor(changes.upto),
                    items: changes.changes.into_iter().map(|change| change.json).collect(),
                },
                None => Since::Snapshot(self.snapshot_of(table, interest)),
            }
        })
    }

    fn snapshot_of(&self, table: &Table, interest: &Interest) -> Snapshot {
        let cursor = self.inner.epoch.cursor(table.head());
        let (mut items, mut newest, mut missing) = (Vec::new(), 0, Vec::new());
        match interest {
            Interest::All => {
                for entry in table.sorted_after(None) {
                    newest = newest.max(entry.offset);
                    if !entry.removed {
                        items.push(entry.json.clone());
                    }
                }
            }
            Interest::Skus(skus) => {
                let (found, unknown) = positions(table, skus);
                for entry in found.into_iter().filter_map(|index| table.entry(index)) {
                    newest = newest.max(entry.offset);
                    items.push(entry.json.clone());
                }
                missing = unknown;
            }
        }
        Snapshot { cursor, items, newest, unknown: missing }
    }

    /// The head offset, as it moves.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.inner.head.subscribe()
    }

    pub fn generation(&self) -> Uuid {
        self.inner.generation
    }

    pub fn epoch(&self) -> &Epoch {
        &self.inner.epoch
    }

    /// Cancelled when the hub shuts down: every browser is told goodbye.
    pub fn closing(&self) -> &CancellationToken {
        &self.inner.closing
    }

    pub fn stats(&self) -> RealtimeStats {
        let (listed, head, ring_span) = self.read(|table| (table.listed(), table.head(), table.span()));
        let tally = self.inner.roll.last();
        RealtimeStats { connections: self.inner.gate.total(), listed, head, ring_span, tally, ..self.inner.stats.read() }
    }

    pub(crate) fn counters(&self) -> &Stats {
        &self.inner.stats
    }

    /// Asks every worker what it has.
    pub async fn roll_call(&self, patience: Duration) -> Result<Tally, Silent> {
        self.inner.roll.call(patience).await
    }

    pub(crate) fn roll(&self) -> &Roll {
        &self.inner.roll
    }

    pub(crate) fn canaries(&self) -> &Canaries {
        &self.inner.canaries
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    pub(crate) fn id(&self) -> u64 {
        self.inner.id
    }

    pub(crate) fn read<R>(&self, question: impl FnOnce(&Table) -> R) -> R {
        question(&self.inner.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The positions of `skus`, sorted and each once, and the names the table does not know.
pub(crate) fn positions(table: &Table, skus: &[Sku]) -> (Vec<SkuIndex>, Vec<Sku>) {
    let (mut found, mut unknown) = (Vec::with_capacity(skus.len()), Vec::new());
    for sku in skus {
        match table.index_of(sku.as_str()) {
            Some(index) => found.push(index),
            None => unknown.push(sku.clone()),
        }
    }
    found.sort_unstable();
    found.dedup();
    (found, unknown)
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
