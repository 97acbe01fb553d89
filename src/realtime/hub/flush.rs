//! The flush: one look at what changed, one encoding per distinct frame, one write per connection that wants it.
//!
//! Planning and sending are two steps because sending thousands of frames yields to other tasks in between. Planning touches no
//! connection: with thousands of them each look costs as much as a good part of a write. The group's cursor moves when the last frame
//! is sent; until then a connection is taken to have what the group had before, or what it says itself.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::State;
use super::conn::{ConnId, Feed, Wire};
use super::group::AudienceId;
use crate::domain::sku::Sku;
use crate::realtime::cursor::Epoch;
use crate::realtime::engine::Engine;
use crate::realtime::frame::Format;
use crate::realtime::protocol::{Message, PAGE_ITEMS};
use crate::realtime::table::{Change, Changes, Scope, Table};

/// A connection and which frame is for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    id: ConnId,
    share: Share,
}

#[derive(Clone, Copy, Debug)]
enum Share {
    Everything,
    /// A place among the picks.
    Picked(usize),
    /// It lost its place and is served on its own.
    Own,
}

/// Some of the changes, and their frame per format, encoded when first needed.
#[derive(Debug)]
struct Pick {
    changes: Vec<u32>,
    users: usize,
    frames: [Option<Bytes>; 2],
}

/// One flush of one group on its way.
#[derive(Debug)]
pub(super) struct Flush {
    group: usize,
    /// What the group had before, and has after.
    from: u64,
    upto: u64,
    /// Since when the oldest of the changes waits.
    pub(super) since: Option<Instant>,
    pub(super) targets: Vec<Target>,
    engine: Engine,
    changes: Vec<Change>,
    /// How many of them are for everybody.
    shown: usize,
    everything: [Option<Bytes>; 2],
    picks: Vec<Pick>,
}

impl Flush {
    fn frame(&mut self, share: Share, format: Format) -> Option<(Bytes, usize)> {
        let (epoch, upto) = (self.engine.epoch(), self.upto);
        match share {
            Share::Own => None,
            Share::Everything => {
                let shown = || self.changes.iter().filter(|change| !change.hidden).collect::<Vec<_>>();
                let frame = self.everything[format as usize].get_or_insert_with(|| encode(format, epoch, &shown(), upto));
                Some((frame.clone(), self.shown))
            }
            Share::Picked(at) => {
                let pick = self.picks.get_mut(at)?;
                let changes = || pick.changes.iter().filter_map(|at| self.changes.get(*at as usize)).collect::<Vec<_>>();
                let items = pick.changes.len();
                if pick.users == 1 {
                    return Some((encode(format, epoch, &changes(), upto), items));
                }
                let frame = pick.frames[format as usize].get_or_insert_with(|| encode(format, epoch, &changes(), upto));
                Some((frame.clone(), items))
            }
        }
    }
}

/// `stock_update` frames, back to back. All but the last say only how far they themselves reach.
fn encode(format: Format, epoch: &Epoch, changes: &[&Change], upto: u64) -> Bytes {
    let mut out = BytesMut::new();
    let pages = changes.chunks(PAGE_ITEMS);
    let last = pages.len().saturating_sub(1);
    for (n, page) in pages.enumerate() {
        let reaches = if n == last { upto } else { page.last().map_or(upto, |change| change.offset) };
        let items: Vec<Bytes> = page.iter().map(|change| change.json.clone()).collect();
        format.write(&mut out, &Message::Update { cursor: &epoch.cursor(reaches), items: &items });
    }
    out.freeze()
}

impl State {
    /// When the task has something to do next.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<Instant> {
        let head = self.engine.read(Table::head);
        let flushes = self.groups.iter().filter(|group| group.members > 0 && group.cursor < head).map(|group| group.due(now));
        flushes.chain(self.timers.first().map(|(at, _)| *at)).min()
    }

    pub(super) fn due_groups(&mut self, now: Instant) -> Vec<usize> {
        let head = self.engine.read(Table::head);
        let due = |group: &super::Group| group.members > 0 && group.cursor < head && group.due(now) <= now;
        (0..self.groups.len()).filter(|at| due(&self.groups[*at])).collect()
    }

    /// Who gets what of the changes since the group's last flush.
    pub(super) fn plan(&mut self, at: usize, now: Instant) -> Flush {
        let group = &mut self.groups[at];
        let from = group.cursor;
        group.last_flush = Some(now);
        let (changes, head, since) =
            self.engine.read(|table| (table.since(from, Scope::Every, usize::MAX), table.head(), table.moved_after(from)));
        self.engine.counters().flushes.add(1);
        let found = changes.is_some();
        let Changes { upto, changes } = changes.unwrap_or(Changes { upto: head, changes: Vec::new() });
        let shown = changes.iter().filter(|change| !change.hidden).count();
        let (engine, targets, picks) = (self.engine.clone(), Vec::new(), Vec::new());
        let mut flush = Flush { group: at, from, upto, since, targets, engine, changes, shown, everything: [None, None], picks };
        if found {
            self.engine.counters().conflated.add((upto - from).saturating_sub(flush.changes.len() as u64));
            self.stop_waiting(at, &flush.changes);
            self.aim(&mut flush);
        } else {
            flush.targets = self.everybody_on_their_own(at, from);
        }
        flush
    }

    fn aim(&self, flush: &mut Flush) {
        let group = &self.groups[flush.group];
        if flush.shown > 0 {
            flush.targets.extend(group.all.iter().map(|id| Target { id: *id, share: Share::Everything }));
        }
        let mut wanted: Vec<(AudienceId, u32)> = Vec::new();
        for (n, change) in (0_u32..).zip(&flush.changes) {
            wanted.extend(group.audiences_of(change.index).map(|audience| (audience, n)));
        }
        wanted.sort_unstable();
        let mut known: HashMap<Vec<u32>, usize> = HashMap::new();
        for mine in wanted.chunk_by(|(a, _), (b, _)| a == b) {
            let changes: Vec<u32> = mine.iter().map(|(_, n)| *n).collect();
            let at = *known.entry(changes).or_insert_with_key(|changes| {
                flush.picks.push(Pick { changes: changes.clone(), users: 0, frames: [None, None] });
                flush.picks.len() - 1
            });
            for id in group.members_of(mine[0].0) {
                // Who wants everything is served as such, also for SKUs that it named besides.
                if group.all.is_empty() || !group.all.contains(&id) {
                    flush.picks[at].users += 1;
                    flush.targets.push(Target { id, share: Share::Picked(at) });
                }
            }
        }
    }

    /// More changed since the last flush than the ring holds.
    fn everybody_on_their_own(&mut self, at: usize, from: u64) -> Vec<Target> {
        let members: Vec<ConnId> =
            self.conns.ids().into_iter().filter(|id| self.conns.get(*id).is_some_and(|conn| conn.group == at)).collect();
        let mut targets = Vec::new();
        for id in members {
            let Some(conn) = self.conns.get_mut(id) else { continue };
            conn.wake();
            self.find_waited(id);
            let Some(conn) = self.conns.get_mut(id) else { continue };
            if let Feed::Synced { at } = conn.feed
                && !conn.held.is_empty()
            {
                conn.feed = Feed::Behind { from: from.max(at), slow: false };
                targets.push(Target { id, share: Share::Own });
            }
        }
        targets
    }

    pub(super) fn send(&mut self, flush: &mut Flush, target: Target, now: Instant) {
        let Some(conn) = self.conns.get_mut(target.id) else { return };
        if matches!(conn.wire, Wire::Poll(_)) {
            return conn.wake();
        }
        match conn.feed {
            // It caught up by itself meanwhile: this frame would be older than what it has.
            Feed::Synced { at } if at >= flush.upto => {}
            Feed::Synced { .. } if conn.ending() => {}
            Feed::Synced { at } if !conn.writable() => {
                // Marked, not queued: when it can take more, it gets the latest.
                conn.feed = Feed::Behind { from: flush.from.max(at), slow: true };
                self.engine.counters().held_back.add(1);
            }
            Feed::Synced { .. } => {
                if let Some((frame, items)) = flush.frame(target.share, conn.format) {
                    conn.feed = Feed::Synced { at: flush.upto };
                    self.sent.frame(items);
                    self.put(target.id, frame, now);
                }
            }
            Feed::Behind { .. } if matches!(target.share, Share::Own) && conn.writable() => {
                self.advance(target.id, BytesMut::new(), now);
            }
            // It is served otherwise.
            Feed::Behind { .. } | Feed::Snapshot { .. } => {}
        }
    }

    /// The last frame is sent: whoever is with the group has everything up to here.
    pub(super) fn flushed(&mut self, flush: &Flush) {
        let cursor = &mut self.groups[flush.group].cursor;
        *cursor = flush.upto.max(*cursor);
    }

    /// SKUs that somebody waits for and that exist now.
    fn stop_waiting(&mut self, at: usize, changes: &[Change]) {
        if self.groups[at].waiting.is_empty() {
            return;
        }
        let appeared = |change: &Change| self.engine.read(|table| table.entry(change.index).map(|entry| entry.sku.clone()));
        let appeared: Vec<Sku> = changes.iter().filter_map(appeared).collect();
        for sku in appeared {
            let readers = self.groups[at].waiting.get(&sku).cloned().unwrap_or_default();
            for id in readers {
                self.found(id, &sku);
            }
        }
    }

    /// All that `id` waits for and that exists by now.
    pub(super) fn find_waited(&mut self, id: ConnId) {
        let waiting = self.conns.get(id).map(|conn| conn.held.waiting.clone()).unwrap_or_default();
        for sku in waiting {
            self.found(id, &sku);
        }
    }

    /// A SKU that was waited for moves from the names to the numbers.
    fn found(&mut self, id: ConnId, sku: &Sku) {
        let Some(index) = self.engine.read(|table| table.index_of(sku.as_str())) else { return };
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.held.waiting.retain(|waited| waited != sku);
        let group = &mut self.groups[conn.group];
        group.stop_waiting(id, sku);
        if let Err(place) = conn.held.skus.binary_search(&index) {
            let mut skus = conn.held.skus.to_vec();
            skus.insert(place, index);
            group.seat(id, conn, skus);
        }
    }
}
