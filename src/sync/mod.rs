//! Reading from marketplaces: their orders, their numbers, and what to do where they differ from ours. A tour:
//!
//! | File | What |
//! |---|---|
//! | `schedule` | what is due when: polls, statuses, reconciliations |
//! | `way` | the way out: one question, one answer |
//! | `cursor`, `page`, `poll` | orders, page by page: rows and cursor in one transaction |
//! | `statuses`, `hints` | what a list does not tell, and messages that only say where to look |
//! | `runs` | work that is asked for in a table and taken up by whoever owns the account |
//! | `matching`, `read`, `bulk`, `populate` | what a marketplace shows: in bulk, of single listings, for the first time |
//! | `judge`, `compare`, `settle`, `reconcile` | fence, two looks, drift policy, breaker |
//! | `doctor` | is this account well, and what is to be done |
//! | `report`, `bells` | what is written down of polls; who asks for one now |
//!
//! One task looks at what is due and starts what is; nothing here runs for an account that another node owns. Transactions are
//! visible in the commands of this room, and none is open while a marketplace is asked.

pub mod bells;
mod bulk;
mod compare;
pub mod cursor;
pub mod doctor;
mod hints;
mod judge;
mod matching;
pub mod page;
mod poll;
mod populate;
pub mod read;
mod reconcile;
mod report;
pub mod runs;
mod schedule;
mod settle;
mod statuses;
pub mod way;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ask;
use crate::context::Question;
use crate::db::sync::OpenRun;
use crate::db::{self, Db, DbError};
use crate::domain::ids::MarketplaceId;
use crate::domain::retry;
use crate::domain::time::Timestamp;
use crate::marketplaces::connection::Status;
use crate::marketplaces::{Connection, PushStyle, StockFeed};
use crate::pipeline::Kit;
use crate::pipeline::writer::{WriteError, Writer};
use crate::settings::SyncSettings;
use crate::workers::Workers;

pub use bells::Bells;
pub use poll::PollEnd;
pub use settle::{Approve, ApproveError, Approved};
pub use way::Way;

use runs::{Enqueue, EnqueueError, Kind, Request};

/// This process, as it stands on the leases of accounts.
#[derive(Clone, Debug)]
pub struct Owner {
    pub name: String,
    /// No other process can hold this database: there is nobody else.
    pub alone: bool,
}

/// Everything this room works with.
pub struct Sync {
    pub kit: Kit,
    pub db: Db,
    pub writer: Writer,
    pub way: Way,
    pub workers: Workers,
    pub owner: Owner,
    pub limits: SyncSettings,
    lanes: Mutex<Lanes>,
}

#[derive(Default)]
struct Lanes {
    by_id: HashMap<MarketplaceId, Lane>,
    under_way: usize,
}

/// What this process knows of one account.
struct Lane {
    poll_due: Timestamp,
    statuses_due: Timestamp,
    /// Until when its schedules were looked at while it was ours: what was due while nobody had it is made up for.
    scheduled: Timestamp,
    failures: u32,
    last_poll: Option<Timestamp>,
    /// Another node calls this account; until then it is not asked for it again.
    others_until: Timestamp,
    busy: BTreeSet<Job>,
    /// One poll at a time, whoever asks for it.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    Poll,
    Statuses,
    Hints,
    Quick,
    Long,
}

/// Runs looked at in one go.
const OPEN_MAX: i64 = 500;
/// How long an account that is another node's is not looked at.
const OTHERS: Duration = Duration::from_secs(1);
/// A schedule that was missed for so long (the hub was off, the account between two owners) is made up for; what is older is not.
const CATCH_UP: Duration = Duration::from_secs(3_600);
/// Webhooks of an account come while one came within this: nights and Sundays are quiet.
const WEBHOOKS_COME: Duration = Duration::from_secs(86_400);

impl Sync {
    pub fn new(kit: Kit, db: Db, writer: Writer, way: Way, workers: Workers, limits: SyncSettings) -> Self {
        let owner = Owner { name: way.callers.owner().to_owned(), alone: way.callers.is_alone() };
        Self { kit, db, writer, way, workers, owner, limits, lanes: Mutex::default() }
    }

    /// A question to the database, asked on a task of its own.
    pub async fn ask<Q: Question>(&self, question: Q) -> Result<Q::Answer, DbError> {
        let db = self.db.clone();
        let asked = self.workers.finish(async move {
            let mut reader = db.read().await?;
            question.ask(&mut reader.conn()).await
        });
        asked.await.unwrap_or_else(|| Err(DbError::inconsistent("task", "read", "stopped")))
    }

    /// Looks at what is due until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.clone().tick().await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.kit.bells.rung(self.limits.tick()) => {}
            }
        }
    }

    /// One look: starts what is due and not under way.
    pub async fn tick(self: Arc<Self>) {
        let now = self.kit.clock.now();
        let live = self.live();
        self.ask_for_scheduled(&live, now).await;
        self.start_runs().await;
        self.start_hints(now).await;
        for connection in live {
            let Some(feed) = connection.adapter.traits().abilities.orders else { continue };
            if self.is_poll_due(&connection, now) {
                let sync = self.clone();
                let polled = connection.clone();
                self.start(connection.id, Job::Poll, async move { sync.poll_in_turn(&polled).await });
            }
            if let Some(statuses) = feed.statuses.filter(|_| self.is_statuses_due(connection.id, now)) {
                let sync = self.clone();
                self.start(connection.id, Job::Statuses, async move {
                    let ended = sync.ask_statuses(&connection, statuses).await;
                    let slower = if matches!(ended, PollEnd::Failed(_)) { 2 } else { 1 };
                    let due = now.plus(statuses.every * slower);
                    sync.lane(connection.id, |lane| lane.statuses_due = due);
                });
            }
        }
    }

    /// Accounts that this process calls, the paused ones too: what they sold is sold. Whoever can be asked anything is asked for
    /// here, so that its lease is taken. Refused credentials are not tried again and again.
    fn live(&self) -> Vec<Arc<Connection>> {
        let taken_in = |one: &Arc<Connection>| matches!(one.status, Status::Active | Status::Paused);
        let live = self.kit.registry.all().into_iter().filter(taken_in);
        live.filter(|one| {
            let abilities = one.adapter.traits().abilities;
            let asked = abilities.orders.is_some() || abilities.order || read::can_be_read(one);
            asked && self.way.callers.of(one.id).owned().is_some()
        })
        .collect()
    }

    /// Runs a job as a task, unless the same one runs or too many do.
    fn start(self: &Arc<Self>, id: MarketplaceId, job: Job, work: impl Future<Output = ()> + Send + 'static) {
        {
            let now = self.kit.clock.now();
            let mut lanes = self.lanes();
            let full = lanes.under_way >= self.limits.concurrency;
            let lane = lanes.lane(id);
            if full || now < lane.others_until || !lane.busy.insert(job) {
                return;
            }
            lanes.under_way += 1;
        }
        let sync = self.clone();
        self.workers.start(async move {
            let _busy = Busy { sync, id, job };
            work.await;
        });
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane<T>(&self, id: MarketplaceId, look: impl FnOnce(&mut Lane) -> T) -> T {
        look(self.lanes().lane(id))
    }

    /// Waits for the turn to poll an account.
    async fn turn(&self, id: MarketplaceId) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = self.lane(id, |lane| lane.turn.clone());
        turn.lock_owned().await
    }

    /// Another node has the account: it is looked at again before long.
    fn leave_to_others(&self, id: MarketplaceId) {
        let until = self.kit.clock.now().plus(OTHERS);
        self.lane(id, |lane| lane.others_until = until);
    }

    /// Takes the account for what follows. False: it is another node's.
    async fn owns(&self, id: MarketplaceId) -> bool {
        let begin = page::Begin { marketplace: id, owner: self.owner.clone() };
        match self.writer.run_patiently(begin).await {
            Ok(_) => true,
            Err(WriteError::Refused(page::PageError::NotOurs)) => {
                self.leave_to_others(id);
                false
            }
            Err(error) => {
                tracing::warn!(marketplace.id = %id, %error, "an account could not be taken");
                false
            }
        }
    }

    fn is_poll_due(&self, connection: &Connection, now: Timestamp) -> bool {
        let asked = self.kit.bells.asked(connection.id);
        self.lane(connection.id, |lane| {
            // A marketplace that fails is left alone, whoever waits.
            let waited_for = asked.is_some() && lane.failures == 0;
            let apart = lane.last_poll.is_none_or(|last| now >= last.plus(self.limits.poll_again()));
            now >= lane.poll_due || waited_for && apart
        })
    }

    fn is_statuses_due(&self, id: MarketplaceId, now: Timestamp) -> bool {
        self.lane(id, |lane| now >= lane.statuses_due)
    }

    /// One poll, and when the next one is due.
    async fn poll_in_turn(&self, connection: &Arc<Connection>) {
        let started = self.kit.clock.now();
        let ended = self.poll_alone(connection).await;
        let Some(feed) = connection.adapter.traits().abilities.orders else { return };
        let every = self.poll_every(connection, feed.every);
        let now = self.kit.clock.now();
        let jitter = self.kit.chance.unit();
        let attempt = self.lane(connection.id, |lane| {
            lane.last_poll = Some(started);
            lane.failures = if matches!(ended, PollEnd::Failed(_) | PollEnd::NotWritten(_)) { lane.failures + 1 } else { 0 };
            lane.failures
        });
        let due = match &ended {
            PollEnd::Drained { began, .. } => {
                self.kit.bells.answered(connection.id, *began);
                schedule::next_poll(started, every, self.way.budget_left(connection, every), jitter)
            }
            PollEnd::NotOurs => {
                self.leave_to_others(connection.id);
                now
            }
            PollEnd::Stopped => now,
            PollEnd::Failed(why) => {
                let cap = self.limits.poll_backoff_cap().max(every);
                now.plus(retry::delay(attempt, every.min(Duration::from_secs(5)), cap, why.retry_after(), jitter))
            }
            PollEnd::NotWritten(why) => {
                tracing::warn!(marketplace = %connection.code, %why, "orders that were read could not be written");
                now.plus(Duration::from_secs(1))
            }
        };
        self.lane(connection.id, |lane| lane.poll_due = due);
    }

    /// How often an account's orders are read. Where webhooks come a poll is only a net; that they are set up here does not mean that
    /// they are there.
    pub(crate) fn poll_every(&self, connection: &Connection, adapters: Duration) -> Duration {
        let come = self.expects_webhooks(connection)
            && self.kit.pulse.last(connection.id).is_some_and(|last| self.kit.clock.now().since(last) < WEBHOOKS_COME);
        connection.policy.poll_every.unwrap_or(if come { self.limits.poll_net().max(adapters) } else { adapters })
    }

    /// Puts in line what schedules ask for; the table makes sure that it is asked for once.
    async fn ask_for_scheduled(&self, live: &[Arc<Connection>], now: Timestamp) {
        for connection in live.iter().filter(|one| one.status == Status::Active && read::can_be_read(one)) {
            let after = self.lane(connection.id, |lane| {
                let after = lane.scheduled.max(now.minus(CATCH_UP));
                lane.scheduled = after.max(now);
                after
            });
            let policy = &connection.policy;
            let reconcile = schedule::reconcile_due(policy.reconcile_every, &self.limits.reconcile, after, now);
            // What is never told anything cannot have lost it.
            let told = connection.adapter.traits().push == PushStyle::Request;
            if let Some(at) = reconcile.filter(|_| told) {
                self.ask_by_schedule(connection, Kind::Reconciliation, at, Duration::ZERO).await;
            }
            // Nothing else tells of the sales of these.
            if connection.stock_feed == StockFeed::Absolute {
                let every = policy.poll_every.unwrap_or_else(|| self.limits.legacy_every());
                if let Some(at) = schedule::last_multiple(every, after, now) {
                    let cooldown = self.limits.cooldown_scheduled().min(every / 2);
                    self.ask_by_schedule(connection, Kind::BulkRead, at, cooldown).await;
                }
            }
        }
    }

    async fn ask_by_schedule(&self, connection: &Arc<Connection>, kind: Kind, at: Timestamp, cooldown: Duration) {
        let enqueue = Enqueue {
            connection: connection.clone(),
            kind,
            trigger: "scheduled",
            dry_run: false,
            request: Request::default(),
            actor: "schedule".to_owned(),
            slot: Some(format!("{}:{}:{}", kind.as_str(), connection.id, at.micros())),
            cooldown,
        };
        match self.writer.run_patiently(enqueue).await {
            Ok(_)
            | Err(WriteError::Refused(
                EnqueueError::SlotTaken | EnqueueError::Cooling(..) | EnqueueError::NotReadable | EnqueueError::Archived,
            )) => {}
            Err(error) => {
                tracing::warn!(marketplace = %connection.code, kind = kind.as_str(), %error, "a schedule could not be kept");
                // Looked at again at the next tick.
                self.lane(connection.id, |lane| lane.scheduled = lane.scheduled.min(at.minus(Duration::from_micros(1))));
            }
        }
    }

    /// Takes up runs that wait, the quick ones beside the long ones.
    async fn start_runs(self: &Arc<Self>) {
        let open = match ask!(self, Vec<OpenRun>, [] | conn | db::sync::open(conn, OPEN_MAX).await) {
            Ok(open) => open,
            Err(error) => {
                tracing::warn!(%error, "runs cannot be looked for");
                return;
            }
        };
        let now = self.kit.clock.now();
        // Of each kind one at a time; one that waits for its second look is under way too.
        let running: BTreeSet<(MarketplaceId, String)> =
            open.iter().filter(|run| run.status == "running").map(|run| (run.marketplace_id, run.kind.clone())).collect();
        let stands_behind = |run: &OpenRun| {
            run.status == "queued" && running.contains(&(run.marketplace_id, run.kind.clone())) && !is_quick(&run.kind)
        };
        let due = |run: &OpenRun| run.resume_at.is_none_or(|at| at <= now) && !stands_behind(run);
        for run in open.into_iter().filter(due) {
            let found = self.kit.registry.by_id(run.marketplace_id);
            let Some(connection) = found.filter(|connection| !connection.is_archived()) else { continue };
            // Asking for its caller is asking for its lease.
            if self.way.callers.of(connection.id).owned().is_none() {
                continue;
            }
            let quick = is_quick(&run.kind);
            let sync = self.clone();
            let job = if quick { Job::Quick } else { Job::Long };
            self.start(connection.id, job, async move { sync.work(connection, run).await });
        }
    }

    async fn start_hints(self: &Arc<Self>, now: Timestamp) {
        let hinted = ask!(self, Vec<MarketplaceId>, [now: Timestamp = now] |conn| db::polls::hinted(conn, now).await);
        let hinted = match hinted {
            Ok(hinted) => hinted,
            Err(error) => {
                tracing::warn!(%error, "hints cannot be looked for");
                return;
            }
        };
        for id in hinted {
            // Of an archived one they wait until it is back.
            let found = self.kit.registry.by_id(id);
            let Some(connection) = found.filter(|connection| !connection.is_archived()) else { continue };
            if self.way.callers.of(id).owned().is_none() {
                continue;
            }
            let sync = self.clone();
            self.start(id, Job::Hints, async move {
                if sync.owns(id).await {
                    while sync.follow_hints(&connection).await {}
                }
            });
        }
    }
}

fn is_quick(kind: &str) -> bool {
    Kind::parse(kind).is_some_and(Kind::is_quick)
}

impl Lanes {
    fn lane(&mut self, id: MarketplaceId) -> &mut Lane {
        self.by_id.entry(id).or_insert_with(|| Lane {
            poll_due: Timestamp::default(),
            statuses_due: Timestamp::default(),
            scheduled: Timestamp::default(),
            failures: 0,
            last_poll: None,
            others_until: Timestamp::default(),
            busy: BTreeSet::new(),
            turn: Arc::default(),
        })
    }
}

/// Gives a job's place back, however it ended.
struct Busy {
    sync: Arc<Sync>,
    id: MarketplaceId,
    job: Job,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut lanes = self.sync.lanes();
        lanes.under_way = lanes.under_way.saturating_sub(1);
        lanes.lane(self.id).busy.remove(&self.job);
    }
}
