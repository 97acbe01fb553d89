//! Connections with one flush gap, and the index from a SKU to those that want it. A change costs the connections that want it,
//! not the connections there are.
//!
//! Connections that want the same SKUs are one audience: they get the same bytes, so what they get is worked out once for all of
//! them, and the list of SKUs is held once. A thousand visitors of one page are one audience; a visitor with a list of its own is
//! an audience of one.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::conn::{Conn, ConnId};
use crate::domain::sku::Sku;
use crate::realtime::table::SkuIndex;

/// A place in the list of audiences.
pub(super) type AudienceId = u32;

/// Which SKUs an audience wants, sorted.
pub(super) type Wanted = Rc<[SkuIndex]>;

#[derive(Debug)]
struct Audience {
    wanted: Wanted,
    members: HashSet<ConnId>,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) gap_ms: u64,
    /// Every synced member has everything up to here.
    pub(super) cursor: u64,
    pub(super) last_flush: Option<Instant>,
    pub(super) members: usize,
    pub(super) all: HashSet<ConnId>,
    pub(super) waiting: HashMap<Sku, HashSet<ConnId>>,
    audiences: Vec<Option<Audience>>,
    free: Vec<AudienceId>,
    by_wanted: HashMap<Wanted, AudienceId>,
    by_sku: HashMap<SkuIndex, HashSet<AudienceId>>,
}

impl Group {
    pub(super) fn new(gap_ms: u64) -> Self {
        Self {
            gap_ms,
            cursor: 0,
            last_flush: None,
            members: 0,
            all: HashSet::new(),
            waiting: HashMap::new(),
            audiences: Vec::new(),
            free: Vec::new(),
            by_wanted: HashMap::new(),
            by_sku: HashMap::new(),
        }
    }

    /// When the next flush may leave: at once after quiet, otherwise a gap after the last one.
    pub(super) fn due(&self, now: Instant) -> Instant {
        self.last_flush.map_or(now, |last| last + Duration::from_millis(self.gap_ms))
    }

    /// The audiences that want this SKU.
    pub(super) fn audiences_of(&self, index: SkuIndex) -> impl Iterator<Item = AudienceId> {
        self.by_sku.get(&index).into_iter().flatten().copied()
    }

    pub(super) fn members_of(&self, audience: AudienceId) -> impl Iterator<Item = ConnId> {
        let audience = self.audiences.get(audience as usize).and_then(Option::as_ref);
        audience.into_iter().flat_map(|audience| audience.members.iter().copied())
    }

    /// The connection wants exactly these from now on; they are sorted.
    pub(super) fn seat(&mut self, id: ConnId, conn: &mut Conn, skus: Vec<SkuIndex>) {
        self.unseat(id, conn);
        if skus.is_empty() {
            return;
        }
        let known = self.by_wanted.get(&skus[..]).copied();
        let at = known.unwrap_or_else(|| self.open(skus.into()));
        if let Some(Some(audience)) = self.audiences.get_mut(at as usize) {
            audience.members.insert(id);
            (conn.held.audience, conn.held.skus) = (Some(at), Rc::clone(&audience.wanted));
        }
    }

    fn unseat(&mut self, id: ConnId, conn: &mut Conn) {
        conn.held.skus = Rc::default();
        let Some(at) = conn.held.audience.take() else { return };
        let Some(place) = self.audiences.get_mut(at as usize) else { return };
        let Some(audience) = place else { return };
        audience.members.remove(&id);
        if audience.members.is_empty()
            && let Some(audience) = place.take()
        {
            self.close(at, &audience.wanted);
        }
    }

    fn open(&mut self, wanted: Wanted) -> AudienceId {
        let at = self.free.pop().unwrap_or_else(|| {
            self.audiences.push(None);
            AudienceId::try_from(self.audiences.len() - 1).unwrap_or(AudienceId::MAX)
        });
        for index in wanted.iter() {
            self.by_sku.entry(*index).or_default().insert(at);
        }
        self.by_wanted.insert(Rc::clone(&wanted), at);
        self.audiences[at as usize] = Some(Audience { wanted, members: HashSet::new() });
        at
    }

    fn close(&mut self, at: AudienceId, wanted: &Wanted) {
        for index in wanted.iter() {
            if let Some(readers) = self.by_sku.get_mut(index) {
                readers.remove(&at);
                if readers.is_empty() {
                    self.by_sku.remove(index);
                }
            }
        }
        self.by_wanted.remove(wanted);
        self.free.push(at);
    }

    /// The connection wants nothing any more.
    pub(super) fn forget_all(&mut self, id: ConnId, conn: &mut Conn) {
        self.all.remove(&id);
        conn.held.all = false;
        self.unseat(id, conn);
        for sku in std::mem::take(&mut conn.held.waiting) {
            self.stop_waiting(id, &sku);
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
