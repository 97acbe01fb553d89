//! The flush: one look at what changed, one encoding per distinct frame, one write per connection that wants it.
//!
//! Planning and sending are two steps because sending thousands of frames yields to other tasks in between. A planned connection
//! is marked with the cursor it had, so that whatever happens to it meanwhile is judged by what it truly has.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::State;
use super::conn::{ConnId, Feed, Wire};
use super::group::AudienceId;
use crate::domain::sku::Sku;
use crate::realtime::cursor::Epoch;
use crate::realtime::frame::Format;
use crate::realtime::protocol::{Message, PAGE_ITEMS};
use crate::realtime::table::{Change, Changes, Scope, Table};

/// Distinct combinations of changes whose frame is kept during one flush.
const SHARED_FRAMES: usize = 1_024;

#[derive(Debug)]
pub(super) struct Send {
    id: ConnId,
    /// `None`: it lost its place and is served on its own.
    frame: Option<Bytes>,
    items: usize,
}

/// The frames of one flush, each encoded when first needed.
struct Frames<'a> {
    epoch: &'a Epoch,
    changes: &'a Changes,
    everything: HashMap<Format, Bytes>,
    one: HashMap<(Format, u32), Bytes>,
    some: HashMap<(Format, Box<[u32]>), Bytes>,
}

impl Frames<'_> {
    fn of(&mut self, format: Format, wanted: &[u32]) -> Bytes {
        // By far the most common: one change that many want.
        if let [at] = wanted {
            let (epoch, changes) = (self.epoch, self.changes);
            let encoded =
                || encode(format, epoch, &changes.changes.get(*at as usize).into_iter().collect::<Vec<_>>(), changes.upto);
            return self.one.entry((format, *at)).or_insert_with(encoded).clone();
        }
        if let Some(frame) = self.some.get(&(format, wanted.into())) {
            return frame.clone();
        }
        let changes: Vec<&Change> = wanted.iter().filter_map(|at| self.changes.changes.get(*at as usize)).collect();
        let frame = encode(format, self.epoch, &changes, self.changes.upto);
        if self.some.len() < SHARED_FRAMES {
            self.some.insert((format, wanted.into()), frame.clone());
        }
        frame
    }

    fn of_everything(&mut self, format: Format) -> Bytes {
        let shown = || self.changes.changes.iter().filter(|change| !change.hidden).collect::<Vec<_>>();
        let encoded = || encode(format, self.epoch, &shown(), self.changes.upto);
        self.everything.entry(format).or_insert_with(encoded).clone()
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

    /// Who gets what of the changes since the group's last flush, and since when the oldest of them waits. Moves the group's cursor.
    pub(super) fn plan(&mut self, at: usize, now: Instant) -> (Vec<Send>, Option<Instant>) {
        let group = &mut self.groups[at];
        let from = group.cursor;
        group.last_flush = Some(now);
        let (changes, head, since) =
            self.engine.read(|table| (table.since(from, Scope::Every, usize::MAX), table.head(), table.moved_after(from)));
        self.engine.counters().flushes.add(1);
        let Some(changes) = changes else {
            group.cursor = head;
            return (self.everybody_on_their_own(at, from), since);
        };
        group.cursor = changes.upto;
        self.engine.counters().conflated.add((changes.upto - from).saturating_sub(changes.changes.len() as u64));
        self.stop_waiting(at, &changes);
        let group = &self.groups[at];
        let mut wanted: Vec<(AudienceId, u32)> = Vec::new();
        for (n, change) in (0_u32..).zip(&changes.changes) {
            wanted.extend(group.audiences_of(change.index).map(|audience| (audience, n)));
        }
        wanted.sort_unstable();
        let all: Vec<ConnId> = group.all.iter().copied().collect();
        let engine = self.engine.clone();
        let mut frames = Frames {
            epoch: engine.epoch(),
            changes: &changes,
            everything: HashMap::new(),
            one: HashMap::new(),
            some: HashMap::new(),
        };
        let mut sends = Vec::with_capacity(all.len());
        let shown = changes.changes.iter().filter(|change| !change.hidden).count();
        if shown > 0 {
            sends.extend(all.into_iter().filter_map(|id| self.plan_one(id, from, shown, |format| frames.of_everything(format))));
        }
        for mine in wanted.chunk_by(|(a, _), (b, _)| a == b) {
            let picked: Vec<u32> = mine.iter().map(|(_, n)| *n).collect();
            let mut encoded: [Option<Bytes>; 2] = [None, None];
            for id in self.groups[at].members_of(mine[0].0) {
                // Who wants everything is served as such, also for SKUs that it named besides.
                if self.conns.get(id).is_some_and(|conn| conn.held.all) {
                    continue;
                }
                sends.extend(self.plan_one(id, from, picked.len(), |format| {
                    encoded[format as usize].get_or_insert_with(|| frames.of(format, &picked)).clone()
                }));
            }
        }
        (sends, since)
    }

    fn plan_one(&mut self, id: ConnId, from: u64, items: usize, frame: impl FnOnce(Format) -> Bytes) -> Option<Send> {
        let conn = self.conns.get_mut(id)?;
        if matches!(conn.wire, Wire::Poll(_)) {
            conn.wake();
            return None;
        }
        if conn.ending() || !matches!(conn.feed, Feed::Synced) {
            return None;
        }
        if !conn.writable() {
            // Marked, not queued: when it can take more, it gets the latest.
            conn.feed = Feed::Behind { from, slow: true };
            self.engine.counters().held_back.add(1);
            return None;
        }
        conn.feed = Feed::Planned { from };
        Some(Send { id, frame: Some(frame(conn.format)), items })
    }

    /// More changed since the last flush than the ring holds.
    fn everybody_on_their_own(&mut self, at: usize, from: u64) -> Vec<Send> {
        let members: Vec<ConnId> =
            self.conns.ids().into_iter().filter(|id| self.conns.get(*id).is_some_and(|conn| conn.group == at)).collect();
        let mut sends = Vec::new();
        for id in members {
            let Some(conn) = self.conns.get_mut(id) else { continue };
            conn.wake();
            self.find_waited(id);
            let Some(conn) = self.conns.get_mut(id) else { continue };
            if matches!(conn.feed, Feed::Synced) && !conn.held.is_empty() {
                conn.feed = Feed::Behind { from, slow: false };
                sends.push(Send { id, frame: None, items: 0 });
            }
        }
        sends
    }

    pub(super) fn send(&mut self, send: &Send, now: Instant) {
        let Some(conn) = self.conns.get_mut(send.id) else { return };
        match (&send.frame, &conn.feed) {
            (Some(frame), Feed::Planned { from }) => {
                if conn.ending() {
                    return;
                }
                if conn.writable() {
                    conn.feed = Feed::Synced;
                    self.sent.frame(send.items);
                    self.put(send.id, frame.clone(), now);
                } else {
                    conn.feed = Feed::Behind { from: *from, slow: true };
                    self.engine.counters().held_back.add(1);
                }
            }
            (None, Feed::Behind { .. }) if conn.writable() => self.advance(send.id, BytesMut::new(), now),
            // It was served otherwise in the meantime.
            _ => {}
        }
    }

    /// SKUs that somebody waits for and that exist now.
    fn stop_waiting(&mut self, at: usize, changes: &Changes) {
        if self.groups[at].waiting.is_empty() {
            return;
        }
        let appeared = |change: &Change| self.engine.read(|table| table.entry(change.index).map(|entry| entry.sku.clone()));
        let appeared: Vec<Sku> = changes.changes.iter().filter_map(appeared).collect();
        for sku in appeared {
            let readers = self.groups[at].waiting.get(&sku).cloned().unwrap_or_default();
            for id in readers {
                self.found(id, &sku);
            }
        }
    }

    /// All that `id` waits for and that exists by now.
    fn find_waited(&mut self, id: ConnId) {
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
