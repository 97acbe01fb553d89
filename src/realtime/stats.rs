//! What the room counts. Workers add once per flush, not once per frame, so that the counters are not a shared hot spot.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) updates: Count,
    pub(crate) flushes: Count,
    pub(crate) frames: Count,
    pub(crate) bytes: Count,
    pub(crate) snapshots: Count,
    pub(crate) resumes: Count,
    pub(crate) gaps: Count,
    pub(crate) held_back: Count,
    pub(crate) lag: Lag,
    closes: Mutex<BTreeMap<u16, u64>>,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

/// Upper bounds of the lag's buckets, in milliseconds.
pub(crate) const LAG_BOUNDS_MS: [u64; 11] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000];

/// From the moment a worker knows of a change until it is written to the sockets of all who want it: the window that joins
/// changes is part of it. One look per flush, not one per socket.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    /// How many fell into each bucket; the last is for what is above every bound.
    buckets: [Count; LAG_BOUNDS_MS.len() + 1],
    sum_us: Count,
}

impl Lag {
    pub(crate) fn observe(&self, lag: Duration) {
        let micros = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
        let bucket = LAG_BOUNDS_MS.iter().position(|bound| micros <= bound * 1_000).unwrap_or(LAG_BOUNDS_MS.len());
        self.buckets[bucket].add(1);
        self.sum_us.add(micros);
    }
}

/// A reading of every counter, for `/metrics`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealtimeStats {
    pub connections: usize,
    pub listed: usize,
    pub head: u64,
    /// States taken into the table.
    pub updates: u64,
    pub flushes: u64,
    /// Writes of stock data to a client.
    pub frames: u64,
    pub bytes: u64,
    pub snapshots: u64,
    pub resumes: u64,
    pub gaps: u64,
    /// Times a client was not writable and its update was left for later.
    pub held_back: u64,
    /// Flushes by how long their changes had waited: one count per bucket of `/metrics`, the last without a bound.
    pub lag_counts: Vec<u64>,
    pub lag_sum_us: u64,
    /// By close code.
    pub closes: BTreeMap<u16, u64>,
}

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Stats {
    pub(crate) fn closed(&self, code: u16) {
        *self.closes.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    pub(crate) fn read(&self) -> RealtimeStats {
        RealtimeStats {
            updates: self.updates.get(),
            flushes: self.flushes.get(),
            frames: self.frames.get(),
            bytes: self.bytes.get(),
            snapshots: self.snapshots.get(),
            resumes: self.resumes.get(),
            gaps: self.gaps.get(),
            held_back: self.held_back.get(),
            lag_counts: self.lag.buckets.iter().map(Count::get).collect(),
            lag_sum_us: self.lag.sum_us.get(),
            closes: self.closes.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ..RealtimeStats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_falls_into_the_first_bucket_that_holds_it() {
        let stats = Stats::default();
        for micros in [900, 1_000, 1_001, 20_000, 6_000_000] {
            stats.lag.observe(Duration::from_micros(micros));
        }
        let read = stats.read();
        assert_eq!(read.lag_counts, [2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(read.lag_sum_us, 6_022_901);
    }
}
