//! One connection: what it wants, how far it got, and whether it can take more. No queue of messages, whatever its speed.

use std::rc::Rc;
use std::task::Waker;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::group::{AudienceId, Wanted};
use crate::domain::sku::Sku;
use crate::realtime::frame::{Format, Reader};
use crate::realtime::gate::Permit;
use crate::realtime::stats::SnapshotWhy;
use crate::realtime::table::{Scope, SkuIndex};

/// A place in the worker's arena. The turn tells a connection from a later one in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnId {
    slot: u32,
    turn: u32,
}

/// How its bytes leave.
#[derive(Debug)]
pub(crate) enum Wire {
    /// The hub writes to the socket itself.
    Socket(Rc<TcpStream>),
    /// A response body takes what is pending when its socket has room.
    Body,
    /// A long-poll: told that there is something, it looks for itself.
    Poll(Rc<Notify>),
}

/// How far the connection got.
#[derive(Debug)]
pub(super) enum Feed {
    /// With its group: it gets the group's frames, but for those that reach no further than `at`, which it has.
    Synced { at: u64 },
    /// On its own: it has everything up to `from`. `slow`: because it did not read.
    Behind { from: u64, slow: bool },
    /// Being sent current values, page by page. Afterwards it has everything up to `from`.
    Snapshot { from: u64, pages: Pages },
}

/// What is left of a snapshot.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) named: Vec<SkuIndex>,
    /// All SKUs of the table from one position up to another.
    pub(super) all: Option<(SkuIndex, SkuIndex)>,
    /// Tell removed SKUs too: the client may still hold them.
    pub(super) removed_too: bool,
    /// Why: for the counters.
    pub(super) why: SnapshotWhy,
}

impl Feed {
    /// Takes it out, to be replaced.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Synced { at: 0 })
    }
}

impl Pages {
    /// `named`, and all SKUs of a table of that length.
    pub(super) fn new(mut named: Vec<SkuIndex>, all: Option<SkuIndex>, why: SnapshotWhy) -> Self {
        // Pages take from the end.
        named.reverse();
        Self { named, all: all.map(|len| (0, len)), removed_too: why != SnapshotWhy::New, why }
    }

    pub(super) fn join(&mut self, more: Self) {
        self.named.extend(more.named);
        self.all = more.all.or(self.all);
        self.removed_too |= more.removed_too;
    }
}

#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) all: bool,
    /// Sorted, and shared with all who want the same.
    pub(super) skus: Wanted,
    pub(super) audience: Option<AudienceId>,
    /// Asked for, but not in the table yet.
    pub(super) waiting: Vec<Sku>,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        !self.all && self.skus.is_empty() && self.waiting.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.skus.len() + self.waiting.len()
    }

    pub(super) fn has(&self, index: SkuIndex) -> bool {
        self.skus.binary_search(&index).is_ok()
    }

    pub(super) fn scope(&self) -> Scope<'_> {
        if self.all { Scope::All } else { Scope::Some(&self.skus) }
    }
}

/// A bucket of commands: full at first, refilled at a steady rate.
#[derive(Debug)]
pub(super) struct Budget {
    left: f32,
    at: Instant,
    pub(super) refused: u8,
}

impl Budget {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Self { left: per_second as f32, at: now, refused: 0 }
    }

    pub(super) fn take(&mut self, per_second: u32, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.at).as_secs_f32() * per_second as f32;
        self.left = (self.left + earned).min(per_second as f32);
        self.at = now;
        if self.left < 1.0 {
            self.refused = self.refused.saturating_add(1);
            return false;
        }
        self.left -= 1.0;
        self.refused = 0;
        true
    }
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) wire: Wire,
    pub(super) format: Format,
    pub(super) group: usize,
    pub(super) held: Held,
    pub(super) feed: Feed,
    /// What the socket did not take yet: the rest of one write, a slice of shared bytes.
    pub(super) pending: Bytes,
    pub(super) pending_since: Option<Instant>,
    /// The connection ends: what is still to be said after `pending`.
    pub(super) last_words: Option<Bytes>,
    pub(super) linger_until: Option<Instant>,
    pub(super) pinged: Option<Instant>,
    pub(super) next_ping: Instant,
    pub(super) expires: Option<Instant>,
    /// When the timer looks at it next.
    pub(super) deadline: Option<Instant>,
    pub(super) budget: Budget,
    pub(super) bad_frames: u8,
    pub(super) reader: Reader,
    pub(super) waker: Option<Waker>,
    /// Held for its drop.
    pub(super) _permit: Permit,
}

impl Conn {
    pub(super) fn writable(&self) -> bool {
        self.pending.is_empty()
    }

    /// It lacks nothing that its group's next frame does not bring.
    pub(super) fn up_to_date(&self) -> bool {
        matches!(self.feed, Feed::Synced { .. })
    }

    pub(super) fn ending(&self) -> bool {
        self.last_words.is_some()
    }

    pub(super) fn wake(&self) {
        if let Wire::Poll(bell) = &self.wire {
            bell.notify_one();
        }
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// The worker's connections.
#[derive(Debug, Default)]
pub(super) struct Arena {
    slots: Vec<(u32, Option<Box<Conn>>)>,
    free: Vec<u32>,
}

impl Arena {
    pub(super) fn insert(&mut self, conn: Conn) -> ConnId {
        let conn = Some(Box::new(conn));
        if let Some(slot) = self.free.pop() {
            let place = &mut self.slots[slot as usize];
            place.0 = place.0.wrapping_add(1);
            place.1 = conn;
            return ConnId { slot, turn: place.0 };
        }
        self.slots.push((0, conn));
        ConnId { slot: u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX), turn: 0 }
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.slots.get(id.slot as usize).filter(|(turn, _)| *turn == id.turn).and_then(|(_, conn)| conn.as_deref())
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slots.get_mut(id.slot as usize).filter(|(turn, _)| *turn == id.turn).and_then(|(_, conn)| conn.as_deref_mut())
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Box<Conn>> {
        let place = self.slots.get_mut(id.slot as usize).filter(|(turn, _)| *turn == id.turn)?;
        let conn = place.1.take()?;
        self.free.push(id.slot);
        Some(conn)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Conn> {
        self.slots.iter().filter_map(|(_, conn)| conn.as_deref())
    }

    pub(super) fn ids(&self) -> Vec<ConnId> {
        let id = |(slot, (turn, conn)): (usize, &(u32, Option<Box<Conn>>))| {
            conn.is_some().then(|| ConnId { slot: u32::try_from(slot).unwrap_or(u32::MAX), turn: *turn })
        };
        self.slots.iter().enumerate().filter_map(id).collect()
    }
}

impl ConnId {
    /// A fraction from 0 to 1 that spreads neighbours far apart: pings and lifetimes must not fall on one moment.
    pub(super) fn spread(self) -> f64 {
        (f64::from(self.slot) * 0.618_033_988_749_895 + f64::from(self.turn) * 0.381_966).fract()
    }
}
