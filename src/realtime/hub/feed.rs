//! One code path for everybody who is not simply at the group's cursor: newcomers, the resumed, the slow. It asks the table what
//! the connection lacks, a bounded piece at a time, and only while the connection can take it.

use std::task::{Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use tokio::time::Instant;

use super::conn::{ConnId, Feed, Pages, Wire};
use super::{Drive, State};
use crate::realtime::protocol::{GapWhy, Message, PAGE_ITEMS};
use crate::realtime::stats::SnapshotWhy;
use crate::realtime::table::Entry;

/// Pieces a connection may have in a row before the others' turn.
const STEPS_PER_TURN: usize = 8;
/// Pieces are joined up to about this size before they are written.
const WRITE_BYTES: usize = 16 * 1_024;

impl State {
    /// Sends `out` and whatever the connection lacks. The connection must be writable.
    pub(super) fn advance(&mut self, id: ConnId, mut out: BytesMut, now: Instant) {
        for _ in 0..STEPS_PER_TURN {
            let more = self.conns.get(id).is_some_and(|conn| conn.writable() && !conn.ending()) && self.step(id, &mut out);
            if !more || out.len() >= WRITE_BYTES {
                self.put(id, out.split().freeze(), now);
            }
            if !more {
                return;
            }
        }
        self.put(id, out.freeze(), now);
        if let Some(conn) = self.conns.get(id) {
            conn.wake();
        }
    }

    /// Adds the next piece to `out`. `false`: there is none.
    fn step(&mut self, id: ConnId, out: &mut BytesMut) -> bool {
        let Some(conn) = self.conns.get_mut(id) else { return false };
        if matches!(conn.wire, Wire::Poll(_)) {
            return false;
        }
        match conn.feed.take() {
            Feed::Synced { at } => {
                conn.feed = Feed::Synced { at };
                false
            }
            Feed::Behind { from, slow } => self.step_behind(id, from, slow, out),
            Feed::Snapshot { from, pages } => self.step_snapshot(id, from, pages, out),
        }
    }

    fn step_behind(&mut self, id: ConnId, from: u64, slow: bool, out: &mut BytesMut) -> bool {
        let Some(conn) = self.conns.get_mut(id) else { return false };
        let held = &conn.held;
        let (appeared, answer, head, len) = self.engine.read(|table| {
            let appeared = held.waiting.iter().any(|sku| table.index_of(sku.as_str()).is_some());
            (appeared, table.since(from, held.scope(), PAGE_ITEMS), table.head(), table.len())
        });
        if appeared {
            // The cursor told below may be ahead of the group's, so what was waited for and exists by now must be in it.
            self.find_waited(id);
            return self.step_behind(id, from, slow, out);
        }
        let Some(conn) = self.conns.get_mut(id) else { return false };
        let epoch = self.engine.epoch();
        let Some(answer) = answer else {
            let why = if slow { GapWhy::Slow } else { GapWhy::Ring };
            conn.format.write(out, &Message::Gap { from: &epoch.cursor(from), to: &epoch.cursor(head), why });
            self.engine.counters().gap(why);
            let named = if conn.held.all { Vec::new() } else { conn.held.skus.to_vec() };
            let pages = Pages::new(named, conn.held.all.then_some(len), SnapshotWhy::Gap(why));
            conn.feed = Feed::Snapshot { from: head, pages };
            return true;
        };
        conn.feed = Feed::Synced { at: answer.upto };
        if !answer.changes.is_empty() {
            let items: Vec<Bytes> = answer.changes.into_iter().map(|change| change.json).collect();
            conn.format.write(out, &Message::Update { cursor: &epoch.cursor(answer.upto), items: &items });
            self.sent.frame(items.len());
            if items.len() == PAGE_ITEMS {
                conn.feed = Feed::Behind { from: answer.upto, slow };
                return true;
            }
        }
        false
    }

    fn step_snapshot(&mut self, id: ConnId, from: u64, mut pages: Pages, out: &mut BytesMut) -> bool {
        let Some(conn) = self.conns.get_mut(id) else { return false };
        let held = &conn.held;
        let items = self.engine.read(|table| {
            let mut items = Vec::new();
            while items.len() < PAGE_ITEMS
                && let Some(index) = pages.named.pop()
            {
                // It may have been unsubscribed while its page was waiting.
                items.extend(table.entry(index).filter(|_| held.all || held.has(index)).map(|entry| entry.json.clone()));
            }
            while items.len() < PAGE_ITEMS
                && let Some((at, end)) = pages.all
            {
                pages.all = (at < end).then_some((at + 1, end));
                let told = |entry: &&Entry| at < end && held.all && !entry.hidden && (pages.removed_too || !entry.removed);
                let entry = table.entry(at).filter(told);
                items.extend(entry.map(|entry| entry.json.clone()));
            }
            items
        });
        let last = pages.named.is_empty() && pages.all.is_none();
        let (cursor, why) = (last.then(|| self.engine.epoch().cursor(from)), pages.why);
        conn.format.write(out, &Message::Snapshot { cursor: cursor.as_deref(), items: &items });
        conn.feed = if last { Feed::Behind { from, slow: true } } else { Feed::Snapshot { from, pages } };
        self.sent.frame(items.len());
        if last {
            self.engine.counters().snapshot(why);
        }
        true
    }

    /// Hands bytes to a writable connection.
    pub(super) fn put(&mut self, id: ConnId, bytes: Bytes, now: Instant) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if bytes.is_empty() {
            return;
        }
        self.sent.bytes += bytes.len() as u64;
        match &conn.wire {
            Wire::Poll(_) => return,
            Wire::Body => {
                conn.pending = bytes;
                conn.pending_since = Some(now);
                conn.wake();
            }
            Wire::Socket(_) => {
                conn.pending = bytes;
                if !self.write_pending(id, now) {
                    return;
                }
            }
        }
        self.watch_slow(id, now);
    }

    /// Writes what is pending to the socket. `true`: something is left over.
    fn write_pending(&mut self, id: ConnId, now: Instant) -> bool {
        let Some(conn) = self.conns.get_mut(id) else { return false };
        let Wire::Socket(socket) = &conn.wire else { return !conn.pending.is_empty() };
        while !conn.pending.is_empty() {
            // Straight to the socket: nearly always it takes everything, and tokio's record of whether it would is memory to fetch.
            let written = match socket2::SockRef::from(&**socket).send(&conn.pending) {
                // That record must learn of it, or nobody is woken when there is room again.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => socket.try_write(&conn.pending),
                written => written,
            };
            match written {
                Ok(written) if written > 0 => conn.pending.advance(written),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    conn.pending_since.get_or_insert(now);
                    // Its task must now wait for the socket to be writable.
                    conn.wake();
                    return true;
                }
                _ => {
                    self.remove(id);
                    return false;
                }
            }
        }
        conn.pending = Bytes::new();
        conn.pending_since = None;
        false
    }

    /// For a body: what to send next.
    pub(super) fn take(&mut self, id: ConnId, waker: &Waker, now: Instant) -> Poll<Option<Bytes>> {
        let Some(conn) = self.conns.get_mut(id) else { return Poll::Ready(None) };
        conn.pending_since = None;
        remember(&mut conn.waker, waker);
        if conn.writable() && !conn.ending() {
            self.hear(id, now);
            self.advance(id, BytesMut::new(), now);
        }
        let Some(conn) = self.conns.get_mut(id) else { return Poll::Ready(None) };
        if !conn.writable() {
            let bytes = std::mem::take(&mut conn.pending);
            // There is more to send: it counts as slow from now until it asks for that.
            conn.pending_since = (!conn.up_to_date()).then_some(now);
            self.watch_slow(id, now);
            return Poll::Ready(Some(bytes));
        }
        match &mut conn.last_words {
            None => Poll::Pending,
            Some(words) if words.is_empty() => Poll::Ready(None),
            Some(words) => Poll::Ready(Some(std::mem::take(words))),
        }
    }

    /// For a socket: writes what can be written.
    pub(super) fn drive(&mut self, id: ConnId, waker: &Waker, now: Instant) -> Drive {
        let Some(conn) = self.conns.get_mut(id) else { return Drive::Gone };
        remember(&mut conn.waker, waker);
        if !conn.writable() && self.write_pending(id, now) {
            return Drive::Blocked;
        }
        let Some(conn) = self.conns.get_mut(id) else { return Drive::Gone };
        if let Some(words) = conn.last_words.as_mut().filter(|words| !words.is_empty()) {
            let words = std::mem::take(words);
            self.put(id, words, now);
        } else if !conn.ending() {
            self.hear(id, now);
            if self.conns.get(id).is_some_and(|conn| !conn.up_to_date()) {
                self.advance(id, BytesMut::new(), now);
            }
        }
        match self.conns.get(id) {
            None => Drive::Gone,
            Some(conn) if !conn.writable() => Drive::Blocked,
            Some(conn) if conn.ending() => Drive::Finished,
            Some(_) => Drive::Idle,
        }
    }
}

fn remember(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(known) if known.will_wake(waker) => {}
        _ => *place = Some(waker.clone()),
    }
}
