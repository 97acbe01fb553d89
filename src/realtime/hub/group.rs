//! Connections with one flush gap, and the index from a SKU to those that want it. A change costs the connections that want it,
//! not the connections there are.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::conn::{Conn, ConnId};
use crate::domain::sku::Sku;
use crate::realtime::table::SkuIndex;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) gap_ms: u64,
    /// Every synced member has everything up to here.
    pub(super) cursor: u64,
    pub(super) last_flush: Option<Instant>,
    pub(super) members: usize,
    pub(super) all: HashSet<ConnId>,
    pub(super) by_sku: HashMap<SkuIndex, HashSet<ConnId>>,
    pub(super) waiting: HashMap<Sku, HashSet<ConnId>>,
}

impl Group {
    pub(super) fn new(gap_ms: u64) -> Self {
        Self {
            gap_ms,
            cursor: 0,
            last_flush: None,
            members: 0,
            all: HashSet::new(),
            by_sku: HashMap::new(),
            waiting: HashMap::new(),
        }
    }

    /// When the next flush may leave: at once after quiet, otherwise a gap after the last one.
    pub(super) fn due(&self, now: Instant) -> Instant {
        self.last_flush.map_or(now, |last| last + Duration::from_millis(self.gap_ms))
    }

    /// The connection wants nothing any more.
    pub(super) fn forget_all(&mut self, id: ConnId, conn: &Conn) {
        self.all.remove(&id);
        for index in &conn.held.skus {
            self.forget(id, *index);
        }
        for sku in &conn.held.waiting {
            self.stop_waiting(id, sku);
        }
    }

    pub(super) fn forget(&mut self, id: ConnId, index: SkuIndex) {
        if let Some(readers) = self.by_sku.get_mut(&index) {
            readers.remove(&id);
            if readers.is_empty() {
                self.by_sku.remove(&index);
            }
        }
    }

    pub(super) fn stop_waiting(&mut self, id: ConnId, sku: &Sku) {
        if let Some(readers) = self.waiting.get_mut(sku) {
            readers.remove(&id);
            if readers.is_empty() {
                self.waiting.remove(sku);
            }
        }
    }
}
