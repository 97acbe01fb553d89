//! One timer per connection, in one ordered set: its ping, its answer, its patience with a slow reader, its lifetime. Nothing
//! ticks while nothing is due.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::State;
use super::conn::{ConnId, Wire};
use crate::realtime::frame::{self, Format};
use crate::realtime::protocol::{CloseCode, Message};

/// How long a closed connection may take to read its last words.
const LINGER: Duration = Duration::from_secs(2);

impl State {
    pub(super) fn start_clock(&mut self, id: ConnId, now: Instant) {
        let period = self.period(id);
        let lifetime = Duration::from_secs(self.settings.lifetime_s);
        let Some(conn) = self.conns.get_mut(id) else { return };
        // The first ping comes somewhere in the second half of the period: thousands who connected together drift apart.
        conn.next_ping = now + period.mul_f64(0.5 + id.spread() / 2.0);
        conn.expires = (!lifetime.is_zero()).then(|| now + lifetime.mul_f64(0.9 + id.spread() / 5.0));
        self.arm(id);
    }

    fn period(&self, id: ConnId) -> Duration {
        match self.conns.get(id).map(|conn| conn.format) {
            Some(Format::EventStream) => self.settings.heartbeat(),
            _ => self.settings.ping(),
        }
    }

    /// The timer must look at a connection that does not take its bytes. It mostly looks soon enough anyway.
    pub(super) fn watch_slow(&mut self, id: ConnId, now: Instant) {
        let slow = now + self.settings.slow_close();
        if self.conns.get(id).is_some_and(|conn| conn.deadline.is_some_and(|at| at > slow)) {
            self.arm(id);
        }
    }

    fn arm(&mut self, id: ConnId) {
        let (pong, slow) = (self.settings.pong_timeout(), self.settings.slow_close());
        let Some(conn) = self.conns.get_mut(id) else { return };
        let next = match conn.linger_until {
            Some(until) => until,
            None => [
                Some(conn.next_ping),
                // Silence is judged only while the connection can be written to; see `look_at`.
                conn.pinged.filter(|_| conn.writable()).map(|at| at + pong),
                conn.pending_since.map(|at| at + slow),
                conn.expires,
            ]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(conn.next_ping),
        };
        if let Some(old) = conn.deadline.replace(next) {
            self.timers.remove(&(old, id));
        }
        let earliest = self.timers.first().is_none_or(|(first, _)| next < *first);
        self.timers.insert((next, id));
        if earliest {
            self.bell.notify_one();
        }
    }

    /// Looks at up to `limit` connections that are due. `true`: there may be more.
    pub(super) fn fire_some(&mut self, limit: usize, now: Instant) -> bool {
        for _ in 0..limit {
            let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) else { return false };
            self.timers.remove(&(at, id));
            if let Some(conn) = self.conns.get_mut(id) {
                conn.deadline = None;
                self.look_at(id, now);
            }
        }
        true
    }

    fn look_at(&mut self, id: ConnId, now: Instant) {
        let (pong, slow) = (self.settings.pong_timeout(), self.settings.slow_close());
        let Some(conn) = self.conns.get(id) else { return };
        let passed = |since: Option<Instant>, limit: Duration| since.is_some_and(|since| since + limit <= now);
        if let Some(until) = conn.linger_until {
            if until <= now {
                return self.remove(id);
            }
        } else if passed(conn.pending_since, slow) {
            self.close(id, CloseCode::TooSlow, now);
        } else if conn.writable() && passed(conn.pinged, pong) {
            self.close(id, CloseCode::NoPong, now);
        } else if conn.expires.is_some_and(|at| at <= now) {
            self.close(id, CloseCode::Lifetime, now);
        } else if conn.next_ping <= now {
            self.ping(id, now);
        }
        self.arm(id);
    }

    fn ping(&mut self, id: ConnId, now: Instant) {
        let period = self.period(id);
        let cursor = self.cursor_told(id).map(|offset| self.engine.epoch().cursor(offset));
        let head = self.engine.epoch().cursor(self.engine.read(crate::realtime::table::Table::head));
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.next_ping = now + period;
        // Who does not read is judged by that, not by its silence.
        if !conn.writable() || conn.pinged.is_some() {
            return;
        }
        let bytes = match conn.format {
            Format::EventStream => Bytes::from_static(b":\n\n"),
            Format::WebSocket => {
                conn.pinged = Some(now);
                // The hub's own clock: a client only sends it back.
                let ts = u64::try_from((now - self.started).as_millis()).unwrap_or(u64::MAX);
                Format::WebSocket.bytes(&Message::Ping { ts, cursor: cursor.as_deref(), head: &head })
            }
        };
        self.put(id, bytes, now);
    }

    /// Says goodbye and ends the connection. Nothing more is sent to it after that.
    pub(super) fn close(&mut self, id: ConnId, code: CloseCode, now: Instant) {
        let connections = self.engine.gate().total();
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.ending() {
            return;
        }
        self.engine.counters().closed(code.code());
        conn.linger_until = Some(now + LINGER);
        conn.last_words = Some(farewell(conn.format, code, connections));
        if matches!(conn.wire, Wire::Socket(_)) && conn.writable() {
            let words = conn.last_words.replace(Bytes::new()).unwrap_or_default();
            self.put(id, words, now);
        }
        if let Some(conn) = self.conns.get(id) {
            conn.wake();
        }
        self.arm(id);
    }
}

/// `bye`, for the codes that are the hub's own, and the close frame.
pub(crate) fn farewell(format: Format, code: CloseCode, connections: usize) -> Bytes {
    let mut out = BytesMut::new();
    if code.is_ours() {
        format.write(&mut out, &Message::Bye { code, reconnect_after_ms: code.reconnect_after_ms(connections) });
    }
    if format == Format::WebSocket {
        frame::write_close(&mut out, code);
    }
    out.freeze()
}
