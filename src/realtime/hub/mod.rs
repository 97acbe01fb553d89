//! The hub of one server worker: its connections, and the one task that sends to them.
//!
//! Everything here belongs to one thread, so nothing locks. The task wakes once per change of the head, however many connections
//! there are: `flush` plans who gets what, `feed` serves those who are not at the group's cursor, `commands` hears what browsers
//! say, `timers` pings and closes.

mod commands;
mod conn;
mod feed;
mod flush;
mod group;
mod timers;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub(crate) use self::commands::Subscription;
use self::conn::{Arena, Budget, Conn, Feed, Held};
pub(crate) use self::conn::{ConnId, Wire};
use self::group::Group;
pub(crate) use self::timers::farewell;
use super::engine::Engine;
use super::frame::{Format, Reader};
use super::gate::Permit;
use super::protocol::{CloseCode, Message};
use super::roll::{Place, Tally};
use super::settings::RealtimeSettings;
use super::stats::Stats;

/// Writes before other tasks of the worker get a turn.
const WRITES_PER_TURN: usize = 256;

thread_local! {
    /// This worker's hubs: one, except in tests that run several engines on one thread.
    static HUBS: RefCell<Vec<Rc<Hub>>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
pub(crate) struct Hub {
    state: RefCell<State>,
    /// Rung when something became due earlier than the task knows.
    bell: Rc<Notify>,
    task: RefCell<Option<tokio::task::JoinHandle<()>>>,
}

#[derive(Debug)]
pub(super) struct State {
    engine: Engine,
    settings: RealtimeSettings,
    conns: Arena,
    groups: Vec<Group>,
    timers: BTreeSet<(Instant, ConnId)>,
    bell: Rc<Notify>,
    started: Instant,
    sessions: u64,
    sent: Sent,
    place: Arc<Place>,
}

/// What was sent since the counters were told: they are shared by all workers, and not touched once per frame.
#[derive(Debug, Default)]
struct Sent {
    frames: u64,
    items: u64,
    bytes: u64,
}

impl Sent {
    fn frame(&mut self, items: usize) {
        self.frames += 1;
        self.items += items as u64;
    }

    fn settle(&mut self, counters: &Stats) {
        if self.bytes > 0 {
            let Self { frames, items, bytes } = std::mem::take(self);
            counters.frames.add(frames);
            counters.items.add(items);
            counters.bytes.add(bytes);
        }
    }
}

/// A connection to take in.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) wire: Wire,
    pub(crate) format: Format,
    pub(crate) permit: Permit,
    pub(crate) gap_ms: Option<u64>,
    pub(crate) subscription: Option<Result<Subscription, String>>,
    /// What must leave before the first frame, in the same write.
    pub(crate) lead: BytesMut,
}

/// The hub of this thread for `engine`; its task is started with the first call.
pub(crate) fn local(engine: &Engine, settings: &RealtimeSettings) -> Rc<Hub> {
    HUBS.with_borrow_mut(|hubs| {
        hubs.retain(|hub| hub.task.borrow().as_ref().is_some_and(|task| !task.is_finished()));
        if let Some(hub) = hubs.iter().find(|hub| hub.state.borrow().engine.id() == engine.id()) {
            return Rc::clone(hub);
        }
        let bell = Rc::new(Notify::new());
        let (calls, place) = engine.roll().join();
        let state = State {
            engine: engine.clone(),
            settings: settings.clone(),
            conns: Arena::default(),
            groups: Vec::new(),
            timers: BTreeSet::new(),
            bell: Rc::clone(&bell),
            started: Instant::now(),
            sessions: 0,
            sent: Sent::default(),
            place,
        };
        let hub = Rc::new(Hub { state: RefCell::new(state), bell, task: RefCell::new(None) });
        *hub.task.borrow_mut() = Some(actix_web::rt::spawn(Rc::clone(&hub).run(calls)));
        hubs.push(Rc::clone(&hub));
        hub
    })
}

impl Hub {
    async fn run(self: Rc<Self>, mut calls: watch::Receiver<u64>) {
        let (mut head, closing) = self.with(|state, _| (state.engine.head(), state.engine.closing().clone()));
        let (mut said_goodbye, mut answered) = (false, 0);
        loop {
            let next = self.with(State::next_due);
            tokio::select! {
                () = closing.cancelled(), if !said_goodbye => {
                    said_goodbye = true;
                    self.say_goodbye().await;
                }
                _ = head.changed() => {}
                _ = calls.changed() => {}
                () = self.bell.notified() => {}
                () = sleep_until(next) => {}
            }
            self.flush().await;
            self.fire_timers().await;
            // After the work, so that a worker whose work hangs does not answer.
            let call = *calls.borrow();
            if call > answered {
                answered = call;
                self.with(|state, _| state.place.answer(call, state.tally()));
            }
        }
    }

    async fn flush(&self) {
        let due = self.with(State::due_groups);
        for group in due {
            let begun = Instant::now();
            let mut flush = self.with(|state, now| state.plan(group, now));
            let targets = std::mem::take(&mut flush.targets);
            for part in targets.chunks(WRITES_PER_TURN) {
                self.with(|state, now| part.iter().for_each(|target| state.send(&mut flush, *target, now)));
                if part.len() == WRITES_PER_TURN {
                    tokio::task::yield_now().await;
                }
            }
            self.with(|state, now| {
                state.flushed(&flush);
                let counters = state.engine.counters();
                counters.tick.observe(now.saturating_duration_since(begun));
                if let Some(since) = flush.since.filter(|_| !targets.is_empty()) {
                    counters.lag.observe(now.saturating_duration_since(since));
                }
            });
        }
    }

    async fn fire_timers(&self) {
        while self.with(|state, now| state.fire_some(WRITES_PER_TURN, now)) {
            tokio::task::yield_now().await;
        }
    }

    async fn say_goodbye(&self) {
        let ids = self.with(|state, _| state.conns.ids());
        for part in ids.chunks(WRITES_PER_TURN) {
            self.with(|state, now| part.iter().for_each(|id| state.close(*id, CloseCode::ShuttingDown, now)));
            tokio::task::yield_now().await;
        }
    }

    fn with<R>(&self, act: impl FnOnce(&mut State, Instant) -> R) -> R {
        let mut state = self.state.borrow_mut();
        let result = act(&mut state, Instant::now());
        let State { engine, sent, .. } = &mut *state;
        sent.settle(engine.counters());
        result
    }

    pub(crate) fn attach(&self, arrival: Arrival) -> ConnId {
        self.with(|state, now| state.attach(arrival, now))
    }

    pub(crate) fn detach(&self, id: ConnId) {
        self.with(|state, _| state.remove(id));
    }

    /// Bytes from the browser.
    pub(crate) fn receive(&self, id: ConnId, bytes: &[u8]) {
        self.with(|state, now| state.receive(id, bytes, now));
    }

    /// May more be read from this browser? Not while it does not read itself: then its commands would have to be queued.
    pub(crate) fn listens(&self, id: ConnId) -> bool {
        self.with(|state, _| state.conns.get(id).is_some_and(|conn| conn.writable() || conn.ending()))
    }

    /// For a body: what to send next. `Ready(None)` ends it.
    pub(crate) fn take(&self, id: ConnId, waker: &Waker) -> Poll<Option<Bytes>> {
        self.with(|state, now| state.take(id, waker, now))
    }

    /// For a socket: does what the connection needs next. `true`: wake me when it is writable.
    pub(crate) fn drive(&self, id: ConnId, waker: &Waker) -> Drive {
        self.with(|state, now| state.drive(id, waker, now))
    }
}

/// What the owner of a socket should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drive {
    /// Nothing to write.
    Idle,
    /// The socket did not take everything.
    Blocked,
    /// Everything is said: end the sending side and wait for the browser's.
    Finished,
    /// The connection is no more.
    Gone,
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl State {
    fn attach(&mut self, arrival: Arrival, now: Instant) -> ConnId {
        let Arrival { wire, format, permit, gap_ms, subscription, lead, .. } = arrival;
        let gap_ms = self.settings.granted_gap(gap_ms);
        let group = self.group_of(gap_ms);
        let polls = matches!(wire, Wire::Poll(_));
        let conn = Conn {
            wire,
            format,
            group,
            held: Held::default(),
            feed: Feed::Synced { at: 0 },
            pending: Bytes::new(),
            pending_since: None,
            last_words: None,
            linger_until: None,
            pinged: None,
            next_ping: now,
            expires: None,
            deadline: None,
            budget: Budget::new(self.settings.commands_per_second, now),
            bad_frames: 0,
            reader: Reader::default(),
            waker: None,
            _permit: permit,
        };
        let id = self.conns.insert(conn);
        self.groups[group].members += 1;
        if !polls {
            self.start_clock(id, now);
        }
        self.welcome(id, lead, gap_ms, subscription, now);
        id
    }

    /// hello, the outcome of the URL's subscription and the first data: one write.
    fn welcome(
        &mut self,
        id: ConnId,
        mut out: BytesMut,
        gap_ms: u64,
        subscription: Option<Result<Subscription, String>>,
        now: Instant,
    ) {
        self.sessions += 1;
        let Some(conn) = self.conns.get(id) else { return };
        if conn.format == Format::WebSocket && !matches!(conn.wire, Wire::Poll(_)) && !self.settings.echoes() {
            let session = format!("{:x}-{:x}", self.engine.id(), self.sessions);
            let hello = Message::Hello {
                session: &session,
                generation: &self.engine.generation().to_string(),
                cursor: subscription.as_ref().and_then(|wanted| wanted.as_ref().ok()?.since.as_deref()),
                ping_ms: self.settings.ping_ms,
                max_skus: self.settings.max_skus,
                min_gap_ms: gap_ms,
            };
            Format::WebSocket.write(&mut out, &hello);
        }
        match subscription {
            Some(Ok(wanted)) => self.subscribe(id, &wanted, &mut out),
            Some(Err(message)) => {
                Format::WebSocket.write(&mut out, &Message::Error { id: Some(0), code: "bad-request", message: &message });
            }
            None => {}
        }
        self.advance(id, out, now);
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for conn in self.conns.iter() {
            let place = match (&conn.wire, conn.format) {
                (Wire::Poll(_), _) => &mut tally.polls,
                (_, Format::EventStream) => &mut tally.event_streams,
                (_, Format::WebSocket) => &mut tally.websockets,
            };
            *place += 1;
            tally.subscriptions += conn.held.count() + usize::from(conn.held.all);
            tally.slow += usize::from(!conn.writable());
            tally.behind += usize::from(!conn.up_to_date());
        }
        tally
    }

    fn group_of(&mut self, gap_ms: u64) -> usize {
        let at = self.groups.iter().position(|group| group.gap_ms == gap_ms).unwrap_or_else(|| {
            self.groups.push(Group::new(gap_ms));
            self.groups.len() - 1
        });
        // An empty group is not flushed, so its cursor stands still.
        if self.groups[at].members == 0 {
            self.groups[at].cursor = self.engine.read(super::table::Table::head);
        }
        at
    }

    fn remove(&mut self, id: ConnId) {
        let Some(mut conn) = self.conns.remove(id) else { return };
        let group = &mut self.groups[conn.group];
        group.forget_all(id, &mut conn);
        group.members -= 1;
        if let Some(deadline) = conn.deadline {
            self.timers.remove(&(deadline, id));
        }
        conn.wake();
    }
}
