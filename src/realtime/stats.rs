//! What the room counts. Workers add once per flush or per frame without a lock; `metrics` writes it down.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::protocol::GapWhy;
use super::roll::Tally;

#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) updates: Count,
    pub(crate) flushes: Count,
    pub(crate) frames: Count,
    pub(crate) items: Count,
    pub(crate) bytes: Count,
    pub(crate) conflated: Count,
    pub(crate) held_back: Count,
    pub(crate) resumed: Count,
    pub(crate) lag: Histogram,
    pub(crate) applied: Histogram,
    pub(crate) tick: Histogram,
    snapshots: [Count; SnapshotWhy::ALL.len()],
    gaps: [Count; GapWhy::ALL.len()],
    handshakes: [Count; Handshake::ALL.len()],
    closes: Mutex<BTreeMap<u16, u64>>,
}

/// Why current values were sent instead of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SnapshotWhy {
    /// Asked for without a cursor.
    New,
    Gap(GapWhy),
}

impl SnapshotWhy {
    const ALL: [Self; 4] = [Self::New, Self::Gap(GapWhy::Ring), Self::Gap(GapWhy::Epoch), Self::Gap(GapWhy::Slow)];

    const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Gap(why) => why.name(),
        }
    }
}

/// What became of somebody who knocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    LetIn,
    ForeignOrigin,
    Malformed,
    Full,
    Address,
    Closing,
}

impl Handshake {
    const ALL: [Self; 6] = [Self::LetIn, Self::ForeignOrigin, Self::Malformed, Self::Full, Self::Address, Self::Closing];

    const fn name(self) -> &'static str {
        match self {
            Self::LetIn => "accepted",
            Self::ForeignOrigin => "foreign_origin",
            Self::Malformed => "malformed",
            Self::Full => "over_capacity",
            Self::Address => "over_capacity_of_address",
            Self::Closing => "shutting_down",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets of a time, in milliseconds.
pub(crate) const BOUNDS_MS: [u64; 11] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000];

#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// How many fell into each bucket; the last is for what is above every bound.
    buckets: [Count; BOUNDS_MS.len() + 1],
    sum_us: Count,
}

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.iter().position(|bound| micros <= bound * 1_000).unwrap_or(BOUNDS_MS.len());
        self.buckets[bucket].add(1);
        self.sum_us.add(micros);
    }

    fn read(&self) -> Times {
        Times { counts: self.buckets.iter().map(Count::get).collect(), sum_us: self.sum_us.get() }
    }
}

/// A reading of a histogram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// One count per bucket, the last without a bound.
    pub counts: Vec<u64>,
    pub sum_us: u64,
}

/// A reading of every counter, for `/metrics`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealtimeStats {
    pub connections: usize,
    pub listed: usize,
    pub head: u64,
    /// How many offsets back a cursor may be and still resume.
    pub ring_span: u64,
    /// As of the last roll call.
    pub tally: Tally,
    /// States taken into the table.
    pub updates: u64,
    pub flushes: u64,
    /// Writes of stock data to a client.
    pub frames: u64,
    /// Items in them.
    pub items: u64,
    pub bytes: u64,
    /// Changes that a later one of the same SKU overtook before they were told, once per worker and window.
    pub conflated: u64,
    /// Times a client was not writable and its update was left for later.
    pub held_back: u64,
    /// Subscriptions with a cursor that were served by changes.
    pub resumes: u64,
    /// Subscriptions with a cursor, and clients that stopped reading, that were served by current values; by reason.
    pub gaps: BTreeMap<&'static str, u64>,
    pub snapshots: BTreeMap<&'static str, u64>,
    pub handshakes: BTreeMap<&'static str, u64>,
    /// By close code.
    pub closes: BTreeMap<u16, u64>,
    /// Committed → written to the sockets of all of a worker who want it. One look per flush.
    pub lag: Times,
    /// Committed → applied by the browser, as its answers to pings tell.
    pub applied: Times,
    /// How long a flush took, from the look at what changed to the last write.
    pub tick: Times,
}

impl Stats {
    pub(crate) fn closed(&self, code: u16) {
        *self.closes.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    pub(crate) fn gap(&self, why: GapWhy) {
        count(&self.gaps, &GapWhy::ALL, why);
    }

    pub(crate) fn snapshot(&self, why: SnapshotWhy) {
        count(&self.snapshots, &SnapshotWhy::ALL, why);
    }

    pub(crate) fn handshake(&self, result: Handshake) {
        count(&self.handshakes, &Handshake::ALL, result);
    }

    pub(crate) fn read(&self) -> RealtimeStats {
        RealtimeStats {
            updates: self.updates.get(),
            flushes: self.flushes.get(),
            frames: self.frames.get(),
            items: self.items.get(),
            bytes: self.bytes.get(),
            conflated: self.conflated.get(),
            held_back: self.held_back.get(),
            resumes: self.resumed.get(),
            gaps: GapWhy::ALL.map(GapWhy::name).into_iter().zip(self.gaps.iter().map(Count::get)).collect(),
            snapshots: SnapshotWhy::ALL.map(SnapshotWhy::name).into_iter().zip(self.snapshots.iter().map(Count::get)).collect(),
            handshakes: Handshake::ALL.map(Handshake::name).into_iter().zip(self.handshakes.iter().map(Count::get)).collect(),
            closes: self.closes.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            lag: self.lag.read(),
            applied: self.applied.read(),
            tick: self.tick.read(),
            ..RealtimeStats::default()
        }
    }
}

fn count<T: PartialEq>(counts: &[Count], all: &[T], one: T) {
    if let Some(count) = all.iter().position(|known| *known == one).and_then(|at| counts.get(at)) {
        count.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        let stats = Stats::default();
        for micros in [900, 1_000, 1_001, 20_000, 6_000_000] {
            stats.lag.observe(Duration::from_micros(micros));
        }
        let read = stats.read();
        assert_eq!(read.lag.counts, [2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(read.lag.sum_us, 6_022_901);
    }

    #[test]
    fn every_reason_has_its_own_count() {
        let stats = Stats::default();
        stats.gap(GapWhy::Slow);
        stats.snapshot(SnapshotWhy::Gap(GapWhy::Slow));
        stats.handshake(Handshake::Closing);
        let read = stats.read();
        let counted =
            |counts: BTreeMap<&'static str, u64>| counts.into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>();
        assert_eq!(counted(read.gaps), [("slow", 1)]);
        assert_eq!(counted(read.snapshots), [("slow", 1)]);
        assert_eq!(counted(read.handshakes), [("shutting_down", 1)]);
    }
}
