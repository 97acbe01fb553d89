//! What the room counts. Workers add once per flush, not once per frame, so that the counters are not a shared hot spot.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

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
    closes: Mutex<BTreeMap<u16, u64>>,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

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
            closes: self.closes.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ..RealtimeStats::default()
        }
    }
}
