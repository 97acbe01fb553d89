//! Telling marketplaces their new quantity. Desired state, not a queue: a listing is dirty while its wanted version is ahead of
//! the acknowledged one, so five hundred sales cost a handful of requests, and a crash needs no queue to recover.
//!
//! One pusher per connection: get the right to send (`caller`), claim what is due (a short transaction), send (no transaction, no
//! connection held), settle each answer (a short transaction), read back what was only accepted. What a request says is chosen
//! after its turn has come, so it is the newest. One slow or dead marketplace holds up nobody else.

mod batch;
mod circuit;
mod claim;
mod outcome;
mod readback;
mod road;
mod send;
mod settle;
pub mod tasks;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Kit;
use super::writer::{WriteError, Writer};
use crate::caller::{Caller, Callers, Fence, Purpose, Ticket, lease_name};
use crate::db::{Db, DbError};
use crate::domain::ids::MarketplaceId;
use crate::domain::retry::{BreakerLimits, Permit};
use crate::domain::time::Timestamp;
use crate::marketplaces::{Connection, Outcome};

pub use batch::{Round, round};
pub use circuit::Circuit;
pub use claim::{Again, Claim, Claimed};
use road::Road;
pub use settle::{Ended, Settle};

#[derive(Clone, Copy, Debug)]
pub struct PushLimits {
    /// Requests under way per connection.
    pub concurrency: usize,
    pub backoff_base: Duration,
    pub backoff_cap: Duration,
    pub zombie_window: Duration,
    /// A lease outlives two request timeouts, so that a push is over before somebody else may take its place.
    pub lease: Duration,
    pub breaker: BreakerLimits,
    /// Items per request, whatever the adapter would allow.
    pub batch_max: usize,
    /// How long changes wait for each other after a request that could have held more. The first after quiet leaves at once.
    pub join: Duration,
    /// The longest wait between two readings of a number that does not agree.
    pub verify_cap: Duration,
    /// How long to wait before looking again where nothing says so earlier: other nodes' changes ring no bell here.
    pub idle: Duration,
}

/// The bells of all pushers.
#[derive(Clone, Default)]
pub struct Pushers(Arc<Mutex<HashMap<MarketplaceId, Arc<Notify>>>>);

impl Pushers {
    pub fn wake(&self, marketplace: MarketplaceId) {
        self.bell(marketplace).notify_one();
    }

    fn bell(&self, marketplace: MarketplaceId) -> Arc<Notify> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(marketplace).or_default().clone()
    }
}

/// How long what is due but may not be raised yet waits until it is looked at again; doubles while nothing changes.
const HELD_BACK: Duration = Duration::from_millis(100);
const HELD_BACK_MAX: Duration = Duration::from_secs(2);
/// Listings of one connection that may be under way at once, from their claim until their answer is written down; but two requests
/// always. Without this bound a thousand connections with much to tell would claim all of it before any of it is told.
const UNDER_WAY_ROWS: usize = 400;
/// Before the database is asked again that did not answer.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// The pusher of one connection.
pub struct Pusher {
    pub kit: Kit,
    pub db: Db,
    pub writer: Writer,
    pub callers: Callers,
    pub connection: Arc<Connection>,
    pub limits: PushLimits,
    pub pushers: Pushers,
}

/// How something that was under way ended.
enum Done {
    Pushed(Vec<Outcome>),
    /// Whether everything could be read.
    ReadBack(Result<(), Outcome>),
}

type UnderWay<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send + 'a>>>;

/// A pusher at work: what it knows between two looks at the table.
struct Work<'a> {
    pusher: &'a Pusher,
    caller: Arc<Caller>,
    stop: &'a CancellationToken,
    under_way: UnderWay<'a>,
    road: Road,
    /// The budgets the last push drew from: the next is let in for the same.
    names: Arc<Mutex<Vec<&'static str>>>,
    wait: Duration,
    held_for: Duration,
    verify_at: Option<Timestamp>,
    reading_back: bool,
    /// The last look left some behind.
    more: bool,
    /// Until when changes are joined.
    join_until: Option<Timestamp>,
    /// Until when pushes may turn out to be forgotten in flight.
    doubtful_until: Option<Timestamp>,
}

impl Pusher {
    /// Pushes until told to stop; then finishes what is under way.
    pub async fn run(&self, stop: CancellationToken) {
        let mut work = Work {
            pusher: self,
            caller: self.callers.of(self.connection.id),
            stop: &stop,
            under_way: FuturesUnordered::new(),
            road: Road::new(self.limits.breaker),
            names: Arc::default(),
            wait: Duration::ZERO,
            held_for: HELD_BACK,
            verify_at: None,
            reading_back: false,
            more: false,
            join_until: None,
            doubtful_until: None,
        };
        let bell = self.pushers.bell(self.connection.id);
        // One that ended with its circuit open (paused, set up anew) leaves it to us.
        self.kit.metrics.circuit(&self.connection.code, false);
        work.caller.health.circuit(false);
        loop {
            // Registered before looking, so that a bell between the look and the wait is not lost.
            let rung = bell.notified();
            let wait = self.kit.clock.sleep(work.wait.min(self.limits.idle));
            let woken = async {
                tokio::select! {
                    () = rung => {}
                    () = wait => {}
                }
            };
            if work.meanwhile(woken).await.is_none() || work.look().await.is_none() {
                break;
            }
        }
        while let Some(done) = work.under_way.next().await {
            work.note(done).await;
        }
    }

    pub(super) fn lease(&self) -> Option<(String, String)> {
        let alone = self.callers.is_alone();
        (!alone).then(|| (lease_name(self.connection.id), self.callers.owner().to_owned()))
    }
}

impl<'a> Work<'a> {
    /// Waits for something while what is under way goes on; `None` when told to stop.
    async fn meanwhile<T>(&mut self, something: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(something);
        loop {
            tokio::select! {
                biased;
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => self.note(done).await,
                () = self.stop.cancelled() => return None,
                out = &mut something => return Some(out),
            }
        }
    }

    /// Waits until fewer than this are under way; `None` when told to stop.
    async fn until_fewer(&mut self, than: usize) -> Option<()> {
        while self.under_way.len() >= than {
            tokio::select! {
                biased;
                Some(done) = self.under_way.next() => self.note(done).await,
                () = self.stop.cancelled() => return None,
            }
        }
        Some(())
    }

    /// One look: reads back what is due for it, and pushes what may be pushed. `None` when told to stop.
    async fn look(&mut self) -> Option<()> {
        let clock = self.pusher.kit.clock.clone();
        let caller = self.caller.clone();
        let fence = self.meanwhile(async { caller.until_owned().await }).await?;
        let per_request = self.pusher.connection.adapter.traits().batch_max.min(self.pusher.limits.batch_max).max(1);
        let room = (UNDER_WAY_ROWS / per_request).max(2);
        self.until_fewer(room).await?;
        let now = clock.now();
        self.read_back(now);
        if let Some(until) = self.join_until.filter(|until| now < *until) {
            self.wait = until.since(now);
            return Some(());
        }
        let permit = self.road.may_send(now);
        let most = match permit {
            Permit::Yes => self.pusher.limits.concurrency.min(room.saturating_sub(self.under_way.len()).max(1)),
            Permit::OneProbe => 1,
            Permit::No { until } => {
                self.wait = until.since(now).max(Duration::from_millis(10));
                return Some(());
            }
        };
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let admitted = self.meanwhile(async { caller.admit(Purpose::Push, &names, most).await }).await?;
        match admitted {
            Ok(tickets) => self.push(fence, permit == Permit::OneProbe, tickets).await,
            Err(refused) => {
                tracing::debug!(marketplace = %self.pusher.connection.code, ?refused, "may not push now");
                self.wait = TRY_AGAIN;
            }
        }
        Some(())
    }

    /// Claims what so many requests may say, and sends it.
    async fn push(&mut self, fence: Fence, probe: bool, tickets: Vec<Ticket>) {
        let pusher = self.pusher;
        let now = pusher.kit.clock.now();
        let fresh = self.caller.taken_over() != Some(fence);
        let claim = Claim {
            connection: pusher.connection.clone(),
            lease: pusher.lease(),
            requests: tickets.len(),
            probe,
            more: self.more,
            fresh,
            limits: pusher.limits,
        };
        match pusher.writer.run_together(claim).await {
            Ok(Claimed::Round { round, sent_at, again }) => {
                self.caller.note_taken_over(fence);
                if probe && round.batches.is_empty() {
                    // Nothing was due yet, so nothing was tried: the next that is due may.
                    self.road.breaker.on_throttled(now);
                }
                self.plan(&round, again, sent_at);
                self.start(round, sent_at, tickets);
            }
            // Its owner may be gone: asked again before long.
            Ok(Claimed::NotOurs) => self.wait = pusher.limits.lease / 3,
            Ok(Claimed::Resting) => self.wait = pusher.limits.idle,
            Err(error) => {
                tracing::warn!(marketplace = %pusher.connection.code, %error, "cannot look for pushes");
                self.wait = TRY_AGAIN;
                // A claim may stand that we know nothing of: its commit failed, or so we were told.
                self.doubtful_until = Some(now.plus(pusher.limits.lease * 2));
            }
        }
    }

    /// When to look again.
    fn plan(&mut self, round: &Round, again: Again, now: Timestamp) {
        let limits = &self.pusher.limits;
        self.verify_at = again.verify;
        self.more = again.more;
        let joins = self.pusher.connection.adapter.traits().batch_max > 1 && !limits.join.is_zero();
        self.join_until = (joins && !again.more && !round.batches.is_empty()).then(|| now.plus(limits.join));
        if again.more {
            self.wait = Duration::ZERO;
            return;
        }
        // What is being read back rings when it is done.
        let verify = again.verify.filter(|_| !self.reading_back);
        let mut soonest = again.confirm.into_iter().chain(verify).min();
        if again.held {
            self.caller.want_poll();
            self.held_for = if round.batches.is_empty() { (self.held_for * 2).min(HELD_BACK_MAX) } else { HELD_BACK };
            soonest = Some(soonest.map_or(now.plus(self.held_for), |at| at.min(now.plus(self.held_for))));
        } else {
            self.held_for = HELD_BACK / 2;
            soonest = soonest.into_iter().chain(again.next).min();
        }
        let doubt = self.doubtful_until.is_some_and(|until| now < until);
        let idle = if doubt { limits.idle.min(limits.lease / 3) } else { limits.idle };
        self.wait = soonest.map_or(idle, |at| at.since(now).max(Duration::from_millis(1))).min(idle);
    }

    fn start(&mut self, round: Round, sent_at: Timestamp, tickets: Vec<Ticket>) {
        let pusher = self.pusher;
        if !round.nameless.is_empty() {
            let nameless = round.nameless;
            self.under_way.push(Box::pin(async move { Done::Pushed(pusher.refuse(nameless, sent_at).await) }));
        }
        for (batch, ticket) in round.batches.into_iter().zip(tickets) {
            let (caller, names) = (self.caller.clone(), self.names.clone());
            self.under_way
                .push(Box::pin(async move { Done::Pushed(pusher.send(&caller, batch, ticket, sent_at, &names).await) }));
        }
    }

    /// Starts reading back what was only accepted, one request at a time.
    fn read_back(&mut self, now: Timestamp) {
        if self.reading_back || self.verify_at.is_none_or(|at| now < at) {
            return;
        }
        let (pusher, caller) = (self.pusher, self.caller.clone());
        self.reading_back = true;
        self.verify_at = None;
        self.under_way.push(Box::pin(async move { Done::ReadBack(pusher.read_back(&caller).await) }));
    }

    async fn note(&mut self, done: Done) {
        match done {
            Done::Pushed(outcomes) => self.note_pushed(outcomes).await,
            Done::ReadBack(ended) => {
                self.reading_back = false;
                if let Err(outcome) = ended {
                    self.caller.health.note(self.pusher.kit.clock.now(), &outcome);
                }
                // Whatever was found, the table says what follows.
                self.pusher.pushers.wake(self.pusher.connection.id);
            }
        }
    }

    async fn note_pushed(&mut self, outcomes: Vec<Outcome>) {
        let pusher = self.pusher;
        let now = pusher.kit.clock.now();
        let was_closed = self.road.breaker.is_closed();
        let good = |outcome: &Outcome| matches!(outcome, Outcome::Applied | Outcome::Accepted);
        let first = !self.road.proven && outcomes.iter().any(good);
        // Refused credentials have to prove themselves anew.
        let refused = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Auth { .. }));
        self.road.proven = (self.road.proven || first) && !refused;
        let mut why = String::new();
        for outcome in outcomes {
            self.road.note(now, &outcome, pusher.kit.chance.unit());
            self.caller.health.note(now, &outcome);
            if let Outcome::Retry { throttled: false, message, .. } | Outcome::Unknown { message } | Outcome::Auth { message } =
                outcome
            {
                why = message;
            }
        }
        let closed = self.road.breaker.is_closed();
        let changed = was_closed != closed;
        if changed {
            pusher.kit.metrics.circuit(&pusher.connection.code, !closed);
            self.caller.health.circuit(!closed);
            tracing::warn!(marketplace = %pusher.connection.code, open = !closed, "the circuit changed");
        }
        if changed || (first && closed) {
            let circuit = Circuit { connection: pusher.connection.clone(), open: !closed, why };
            if let Err(error) = pusher.writer.run_patiently(circuit).await {
                tracing::warn!(marketplace = %pusher.connection.code, %error, "the change of the circuit could not be written");
            }
        }
        if changed && closed {
            // One that was shut has to look for itself.
            pusher.pushers.wake(pusher.connection.id);
        }
    }
}

impl Pusher {
    /// Writes something down even if the database has to be waited for; somebody else takes the listing over after a lease, so
    /// there is no use in trying for longer.
    pub(super) async fn write_patiently<T, F>(&self, write: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, WriteError<DbError>>>,
    {
        const WRITE_AGAIN: Duration = Duration::from_millis(250);
        let mut left = self.limits.lease;
        loop {
            match write().await {
                Ok(output) => return Some(output),
                Err(error) if matches!(error, WriteError::Stopping) || left.is_zero() => {
                    tracing::error!(marketplace = %self.connection.code, %error, "an answer could not be written; it counts as unknown");
                    return None;
                }
                Err(_) => {
                    left = left.saturating_sub(WRITE_AGAIN);
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
        }
    }
}
