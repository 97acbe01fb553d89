//! What a browser says: subscribe, unsubscribe, pong, and everything that is none of these.

use bytes::BytesMut;
use tokio::time::Instant;

use super::State;
use super::conn::{ConnId, Feed, Pages};
use crate::domain::sku::Sku;
use crate::realtime::engine::positions;
use crate::realtime::frame::{self, Incoming};
use crate::realtime::protocol::{BadFrame, ClientFrame, CloseCode, GapWhy, Message};
use crate::realtime::stats::SnapshotWhy;
use crate::realtime::table::SkuIndex;

/// Bad or refused frames in a row before the connection is closed.
const PATIENCE_FRAMES: u8 = 10;

/// A wish for SKUs, from a frame or a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) id: Option<u64>,
    pub(crate) skus: Vec<Sku>,
    pub(crate) all: bool,
    /// The cursor up to which the client already holds these SKUs.
    pub(crate) since: Option<String>,
}

impl State {
    pub(super) fn receive(&mut self, id: ConnId, bytes: &[u8], now: Instant) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.reader.push(bytes);
        }
        self.hear(id, now);
    }

    /// Acts on what was received, message by message, as long as the answers can leave.
    pub(super) fn hear(&mut self, id: ConnId, now: Instant) {
        let max_bytes = self.settings.max_subscribe_frame_bytes.max(self.settings.max_frame_bytes);
        while let Some(conn) = self.conns.get_mut(id) {
            if !conn.writable() && !conn.ending() {
                return;
            }
            match conn.reader.next(max_bytes) {
                Ok(None) => return,
                Ok(Some(Incoming::Close)) | Err(_) if conn.ending() => return self.remove(id),
                Ok(Some(_)) if conn.ending() => {}
                Ok(Some(incoming)) => self.message(id, incoming, now),
                Err(code) => return self.close(id, code, now),
            }
        }
    }

    fn message(&mut self, id: ConnId, incoming: Incoming, now: Instant) {
        match incoming {
            Incoming::Close => self.close(id, CloseCode::Normal, now),
            Incoming::Pong => {
                self.within_budget(id, now);
            }
            Incoming::Ping(payload) => {
                if self.within_budget(id, now) {
                    let mut out = BytesMut::new();
                    frame::write_pong(&mut out, &payload);
                    self.put(id, out.freeze(), now);
                }
            }
            Incoming::Binary(bytes) if self.settings.echoes() => self.echo(id, 2, &bytes, now),
            Incoming::Text(text) if self.settings.echoes() => self.echo(id, 1, text.as_bytes(), now),
            Incoming::Binary(bytes) if bytes.len() > self.settings.max_frame_bytes => self.close(id, CloseCode::TooBig, now),
            Incoming::Binary(_) => self.bad(id, &BadFrame::Binary, now),
            Incoming::Text(text) => {
                let frame = ClientFrame::parse(&text);
                // Only a subscribe has a reason to be long.
                let may_be_long = matches!(frame, Ok(ClientFrame::Subscribe { .. }));
                match frame {
                    _ if !may_be_long && text.len() > self.settings.max_frame_bytes => self.close(id, CloseCode::TooBig, now),
                    Ok(command) => self.command(id, command, now),
                    Err(bad) => self.bad(id, &bad, now),
                }
            }
        }
    }

    fn command(&mut self, id: ConnId, command: ClientFrame, now: Instant) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.bad_frames = 0;
        // An awaited pong is free; everything else is counted.
        if let ClientFrame::Pong { cursor } = &command
            && let Some(pinged) = conn.pinged.take()
        {
            return self.applied(id, cursor.as_deref(), pinged, now);
        }
        if !self.within_budget(id, now) {
            return;
        }
        match command {
            ClientFrame::Pong { .. } => {}
            ClientFrame::Unsubscribe { skus, all } => self.unsubscribe(id, &skus, all),
            ClientFrame::Subscribe { id: command, skus, all, since } => {
                let mut out = BytesMut::new();
                match skus.iter().map(|sku| Sku::parse(sku)).collect::<Result<Vec<_>, _>>() {
                    Ok(skus) => self.subscribe(id, &Subscription { id: command, skus, all, since }, &mut out),
                    Err(error) => self.write_error(id, command, "bad-sku", &format!("a SKU {error}"), &mut out),
                }
                self.advance(id, out, now);
            }
        }
    }

    /// What an answer to a ping tells: since when the browser lacks something it wants. Where it lacks nothing, what was sent just
    /// before the ping reached it within the round trip.
    fn applied(&mut self, id: ConnId, cursor: Option<&str>, pinged: Instant, now: Instant) {
        let Some(conn) = self.conns.get(id) else { return };
        let Some(offset) = cursor.and_then(|cursor| self.engine.epoch().offset_of(cursor)) else { return };
        let (covered, lacking) = self.engine.read(|table| (table.covers(offset), table.behind_since(offset, conn.held.scope())));
        if covered {
            self.engine.counters().applied.observe(now.saturating_duration_since(lacking.unwrap_or(pinged)));
        }
    }

    fn echo(&mut self, id: ConnId, opcode: u8, payload: &[u8], now: Instant) {
        let mut out = BytesMut::new();
        frame::write_frame(&mut out, opcode, payload);
        self.put(id, out.freeze(), now);
    }

    fn within_budget(&mut self, id: ConnId, now: Instant) -> bool {
        let per_second = self.settings.commands_per_second;
        let Some(conn) = self.conns.get_mut(id) else { return false };
        if conn.budget.take(per_second, now) {
            return true;
        }
        if conn.budget.refused >= PATIENCE_FRAMES {
            self.close(id, CloseCode::RateLimited, now);
        } else {
            self.say_error(id, None, "rate-limited", "too many commands a second; this one was not carried out", now);
        }
        false
    }

    fn bad(&mut self, id: ConnId, bad: &BadFrame, now: Instant) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.bad_frames += 1;
        if conn.bad_frames >= PATIENCE_FRAMES {
            return self.close(id, CloseCode::BadRequest, now);
        }
        self.say_error(id, bad.id(), bad.code(), &bad.to_string(), now);
    }

    fn say_error(&mut self, id: ConnId, command: Option<u64>, code: &str, message: &str, now: Instant) {
        let mut out = BytesMut::new();
        self.write_error(id, command, code, message, &mut out);
        self.put(id, out.freeze(), now);
    }

    fn write_error(&self, id: ConnId, command: Option<u64>, code: &str, message: &str, out: &mut BytesMut) {
        if let Some(conn) = self.conns.get(id) {
            conn.format.write(out, &Message::Error { id: command, code, message });
        }
    }

    fn unsubscribe(&mut self, id: ConnId, skus: &[String], all: bool) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let group = &mut self.groups[conn.group];
        if all {
            return group.forget_all(id, conn);
        }
        let gone: Vec<SkuIndex> = self.engine.read(|table| skus.iter().filter_map(|name| table.index_of(name)).collect());
        let kept: Vec<SkuIndex> = conn.held.skus.iter().copied().filter(|index| !gone.contains(index)).collect();
        if kept.len() < conn.held.skus.len() {
            group.seat(id, conn, kept);
        }
        for name in skus {
            if let Some(place) = conn.held.waiting.iter().position(|sku| sku.as_str() == name) {
                group.stop_waiting(id, &conn.held.waiting.swap_remove(place));
            }
        }
    }

    /// Adds to what a connection wants, writes the outcome, and sets its feed so that `advance` sends what it lacks.
    pub(super) fn subscribe(&mut self, id: ConnId, wanted: &Subscription, out: &mut BytesMut) {
        let (found, unknown, head, listed, len) = self.engine.read(|table| {
            let (found, unknown) = positions(table, &wanted.skus);
            (found, unknown, table.head(), table.listed(), table.len())
        });
        let max = self.settings.max_skus;
        let Some(conn) = self.conns.get_mut(id) else { return };
        let new = found.iter().filter(|index| !conn.held.has(**index)).count()
            + unknown.iter().filter(|sku| !conn.held.waiting.contains(sku)).count();
        if conn.held.count() + new > max {
            let message = format!("a connection may follow {max} SKUs; nothing was added");
            return self.write_error(id, wanted.id, "too-many-skus", &message, out);
        }
        let had_any = !conn.held.is_empty();
        self.hold(id, &found, &unknown, wanted.all);
        let from = if had_any { self.cursor_for_resume(id).unwrap_or(head) } else { head };
        let since = wanted.since.as_deref().map(|text| (text, self.engine.epoch().offset_of(text)));
        let resumed = since.and_then(|(_, offset)| offset).filter(|offset| self.engine.read(|table| table.covers(*offset)));
        let Some(conn) = self.conns.get_mut(id) else { return };
        let names: Vec<&str> = unknown.iter().map(Sku::as_str).collect();
        let outcome = Message::Subscribed {
            id: wanted.id,
            resumed: resumed.is_some(),
            cursor: wanted.since.as_deref(),
            count: if wanted.all { listed } else { found.len() },
            unknown: &names,
        };
        // An event stream has no such event: it answers by what it sends.
        if conn.format == frame::Format::WebSocket {
            conn.format.write(out, &outcome);
        }
        if let Some(offset) = resumed {
            self.engine.counters().resumed.add(1);
            return self.resume_from(id, offset.min(from));
        }
        if let Some((text, offset)) = since {
            let why = if offset.is_some() { GapWhy::Ring } else { GapWhy::Epoch };
            conn.format.write(out, &Message::Gap { from: text, to: &self.engine.epoch().cursor(head), why });
            self.engine.counters().gap(why);
            return self.snapshot_of(id, from, Pages::new(found, wanted.all.then_some(len), SnapshotWhy::Gap(why)));
        }
        self.snapshot_of(id, from, Pages::new(found, wanted.all.then_some(len), SnapshotWhy::New));
    }

    fn hold(&mut self, id: ConnId, found: &[SkuIndex], unknown: &[Sku], all: bool) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let group = &mut self.groups[conn.group];
        if all {
            conn.held.all = true;
            group.all.insert(id);
        }
        if found.iter().any(|index| !conn.held.has(*index)) {
            let mut skus = [&conn.held.skus, found].concat();
            skus.sort_unstable();
            skus.dedup();
            group.seat(id, conn, skus);
        }
        for sku in unknown {
            if group.waiting.entry(sku.clone()).or_default().insert(id) {
                conn.held.waiting.push(sku.clone());
            }
        }
    }

    /// Up to where the connection has everything it wants.
    fn cursor_for_resume(&self, id: ConnId) -> Option<u64> {
        self.conns.get(id).map(|conn| match &conn.feed {
            Feed::Synced { at } => self.groups[conn.group].cursor.max(*at),
            Feed::Behind { from, .. } | Feed::Snapshot { from, .. } => *from,
        })
    }

    /// The cursor to tell in a ping: none while a snapshot is incomplete.
    pub(super) fn cursor_told(&self, id: ConnId) -> Option<u64> {
        let conn = self.conns.get(id)?;
        if matches!(conn.feed, Feed::Snapshot { .. }) { None } else { self.cursor_for_resume(id) }
    }

    fn resume_from(&mut self, id: ConnId, from: u64) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.feed = match conn.feed.take() {
            Feed::Snapshot { from: other, pages } => Feed::Snapshot { from: from.min(other), pages },
            _ => Feed::Behind { from, slow: false },
        };
    }

    fn snapshot_of(&mut self, id: ConnId, from: u64, wanted: Pages) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.feed = match conn.feed.take() {
            Feed::Snapshot { from: other, mut pages } => {
                pages.join(wanted);
                Feed::Snapshot { from: from.min(other), pages }
            }
            _ => Feed::Snapshot { from, pages: wanted },
        };
    }
}
