//! Telling marketplaces their new quantity. Desired state, not a queue: a listing is dirty while its wanted version is ahead of
//! the acknowledged one, so five hundred sales cost a handful of requests, and a crash needs no queue to recover.
//!
//! One pusher per connection: claim what is due (a short transaction), send (no transaction, no connection held), settle each
//! answer (a short transaction). One slow or dead marketplace holds up nobody else.

mod circuit;
mod outcome;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::writer::{Command, WriteError, Writer};
use super::{Kit, Tx};
use crate::breakage::{self, Breakage};
use crate::db::pushes::{self, DueRow};
use crate::db::{DbError, leases};
use crate::domain::ids::MarketplaceId;
use crate::domain::retry::{Breaker, BreakerLimits, Permit, RETRY_AFTER_MAX, RETRY_AFTER_MIN};
use crate::domain::time::Timestamp;
use crate::marketplaces::connection::Status;
use crate::marketplaces::wire::Headers;
use crate::marketplaces::{Answer, Call, Connection, Moment, Outcome, PushItem};
use crate::outbound::Outbound;

pub use circuit::Circuit;
pub use outcome::{Ended, Settle};

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
    /// No other process can hold this database: what an earlier one left behind is ours at once.
    pub alone: bool,
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

/// Takes what is due of one marketplace, if it is ours to push.
pub struct Claim {
    pub marketplace: MarketplaceId,
    pub owner: String,
    pub limit: i64,
    /// True until this process has pushed for this marketplace: whatever is in flight was left by somebody else.
    pub fresh: bool,
    pub limits: PushLimits,
}

pub enum Claimed {
    /// Another node pushes for this marketplace.
    NotOurs,
    /// A person paused it, or its credentials were refused.
    Resting,
    Items {
        items: Vec<DueRow>,
        sent_at: Timestamp,
        next_due: Option<Timestamp>,
    },
}

impl Command for Claim {
    type Output = Claimed;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Claimed, DbError> {
        let until = tx.now.plus(self.limits.lease);
        // Whoever held it before us on a database of one process has ended, and nobody can take it from us.
        let free_before = if self.fresh && self.limits.alone { until.plus(self.limits.lease) } else { tx.now };
        let held = self.limits.alone && !self.fresh;
        if !held && leases::take(&mut tx.conn, &lease(self.marketplace), &self.owner, until, free_before).await?.is_none() {
            return Ok(Claimed::NotOurs);
        }
        // Ours that are still in flight after a whole lease were forgotten; somebody else's are all up for taking.
        let abandoned = if self.fresh { tx.now.plus(Duration::from_secs(1)) } else { tx.now.minus(self.limits.lease) };
        let Some(outlook) = pushes::outlook(&mut tx.conn, self.marketplace, abandoned, tx.now).await? else {
            return Ok(Claimed::Resting);
        };
        if outlook.abandoned && !breakage::is(Breakage::ForgetInFlight) {
            let confirm_at = tx.now.plus(self.limits.zombie_window);
            let taken = pushes::take_over(&mut tx.conn, self.marketplace, tx.now, confirm_at, abandoned).await?;
            tracing::warn!(marketplace.id = %self.marketplace, taken, "pushes of unknown end are made again");
        }
        if outlook.to_confirm {
            pushes::confirm_due(&mut tx.conn, self.marketplace, tx.now).await?;
        }
        if outlook.status != Status::Active.as_str() {
            return Ok(Claimed::Resting);
        }
        let due = pushes::due(&mut tx.conn, self.marketplace, tx.now, self.limit, !outlook.unapplied).await?;
        let mut items = Vec::new();
        if !due.is_empty() {
            let claimed = pushes::claim(&mut tx.conn, &due, tx.now).await?;
            items = due.into_iter().filter(|row| claimed.contains(&row.id)).collect();
        }
        let next_due = pushes::next_due(&mut tx.conn, self.marketplace).await?;
        Ok(Claimed::Items { items, sent_at: tx.now, next_due })
    }
}

/// How long what is due but held back waits until it is looked at again.
const HELD_BACK: Duration = Duration::from_millis(100);

fn lease(marketplace: MarketplaceId) -> String {
    format!("push:{marketplace}")
}

/// Gives a marketplace free for another node, instead of letting the lease run out.
struct Release {
    marketplace: MarketplaceId,
    owner: String,
}

impl Command for Release {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        leases::release(&mut tx.conn, &lease(self.marketplace), &self.owner).await
    }
}

/// Between two tries to write an answer down.
const WRITE_AGAIN: Duration = Duration::from_millis(250);

/// The pusher of one connection.
pub struct Pusher {
    pub kit: Kit,
    pub writer: Writer,
    pub outbound: Outbound,
    pub connection: Arc<Connection>,
    pub owner: String,
    pub limits: PushLimits,
    pub pushers: Pushers,
}

/// What one look at the table found.
struct Look {
    /// Whether the lease is ours.
    ours: bool,
    batches: Vec<Vec<DueRow>>,
    sent_at: Timestamp,
    /// When to look again, if nobody rings before.
    again: Option<Duration>,
}

/// Whether anything may be sent to a marketplace now.
struct Road {
    breaker: Breaker,
    /// It asked to be left alone until then; that holds for all its listings, not just the one it answered so.
    shut_until: Option<Timestamp>,
    /// Something was applied since the start, or since our credentials were refused: a restart forgets what went wrong, an open
    /// alert does not.
    proven: bool,
}

impl Road {
    fn may_send(&mut self, now: Timestamp) -> Permit {
        match self.shut_until {
            Some(until) if now < until => Permit::No { until },
            _ => self.breaker.may_send(now),
        }
    }

    fn note(&mut self, now: Timestamp, outcome: &Outcome, unit_random: f64) {
        match outcome {
            Outcome::Applied | Outcome::Accepted | Outcome::Permanent { .. } => self.breaker.on_success(now),
            Outcome::Retry { throttled: true, after, .. } => {
                self.breaker.on_throttled(now);
                let asked = after.map(|after| now.plus(after.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)));
                self.shut_until = self.shut_until.max(asked);
            }
            Outcome::Retry { .. } | Outcome::Conflict { .. } | Outcome::Unknown { .. } | Outcome::Auth { .. } => {
                self.breaker.on_failure(now, unit_random)
            }
        }
    }
}

impl Pusher {
    /// Pushes until told to stop; then finishes what is under way.
    pub async fn run(&self, stop: CancellationToken) {
        let bell = self.pushers.bell(self.connection.id);
        let mut road = Road { breaker: Breaker::new(self.limits.breaker), shut_until: None, proven: false };
        let mut under_way: FuturesUnordered<_> = FuturesUnordered::new();
        let mut fresh = true;
        let mut wait = Duration::ZERO;
        // Until when a claim may stand that we know nothing of: its commit failed, or so we were told.
        let mut doubtful_until = None;
        loop {
            // Registered before looking, so that a bell between the look and the wait is not lost.
            let rung = bell.notified();
            tokio::select! {
                biased;
                Some(ended) = under_way.next(), if !under_way.is_empty() => {
                    let healed = self.note(&mut road, ended).await;
                    // What the answer made due has rung the bell. A full house has to look for itself, and so has one that was shut.
                    if under_way.len() + 1 < self.limits.concurrency && !healed {
                        continue;
                    }
                }
                () = stop.cancelled() => break,
                () = rung => {}
                () = tokio::time::sleep(wait) => {}
            }
            let slots = self.limits.concurrency.saturating_sub(under_way.len());
            if slots == 0 {
                wait = self.limits.idle;
                continue;
            }
            let now = self.kit.clock.now();
            let permit = road.may_send(now);
            let slots = match permit {
                Permit::Yes => slots,
                Permit::OneProbe => 1,
                Permit::No { until } => {
                    wait = until.since(now).max(Duration::from_millis(10));
                    continue;
                }
            };
            match self.look(slots, fresh).await {
                Ok(look) => {
                    fresh &= !look.ours;
                    if permit == Permit::OneProbe && look.batches.is_empty() {
                        // Nothing was due yet, so nothing was tried: the next that is due may.
                        road.breaker.on_throttled(now);
                    }
                    let doubt = doubtful_until.is_some_and(|until| now < until);
                    let idle = if doubt { self.limits.idle.min(self.limits.lease / 3) } else { self.limits.idle };
                    wait = look.again.unwrap_or(idle).min(idle);
                    for batch in look.batches {
                        under_way.push(self.send(batch, look.sent_at));
                    }
                }
                Err(error) => {
                    tracing::warn!(marketplace = %self.connection.code, %error, "cannot look for pushes");
                    wait = Duration::from_millis(500);
                    doubtful_until = Some(now.plus(self.limits.lease * 2));
                }
            }
        }
        while let Some(ended) = under_way.next().await {
            self.note(&mut road, ended).await;
        }
        let release = Release { marketplace: self.connection.id, owner: self.owner.clone() };
        if let Err(error) = self.writer.run_patiently(release).await {
            tracing::debug!(marketplace = %self.connection.code, %error, "the lease was not given back and will run out");
        }
    }

    /// One bounded pass: claim, send, settle. What a test calls, and what `run` does piece by piece.
    pub async fn step(&self, fresh: bool) -> Result<usize, WriteError<DbError>> {
        let look = self.look(self.limits.concurrency, fresh).await?;
        let count = look.batches.len();
        let sends: FuturesUnordered<_> = look.batches.into_iter().map(|batch| self.send(batch, look.sent_at)).collect();
        sends.collect::<Vec<_>>().await;
        Ok(count)
    }

    async fn look(&self, slots: usize, fresh: bool) -> Result<Look, WriteError<DbError>> {
        let per_request = self.connection.adapter.traits().batch_max.min(self.limits.batch_max).max(1);
        let limit = i64::try_from(slots * per_request).unwrap_or(i64::MAX);
        let claim = Claim { marketplace: self.connection.id, owner: self.owner.clone(), limit, fresh, limits: self.limits };
        match self.writer.run_patiently(claim).await? {
            // Its owner may be gone: asked again before long, whatever database this is.
            Claimed::NotOurs => Ok(self.nothing(false, Some(self.limits.lease / 3))),
            Claimed::Resting => Ok(self.nothing(true, None)),
            Claimed::Items { items, sent_at, next_due } => {
                let batches: Vec<Vec<DueRow>> = items.chunks(per_request).map(<[DueRow]>::to_vec).collect();
                // A full claim means there may be more at once; otherwise the next is known. What is due but was not given (an
                // increase that waits for the log) is not asked for again at once.
                let soonest = if items.is_empty() { HELD_BACK } else { Duration::from_millis(1) };
                let full = items.len() as i64 == limit;
                let again = if full { Some(Duration::ZERO) } else { next_due.map(|due| due.since(sent_at).max(soonest)) };
                Ok(Look { ours: true, batches, sent_at, again })
            }
        }
    }

    fn nothing(&self, ours: bool, again: Option<Duration>) -> Look {
        Look { ours, batches: Vec::new(), sent_at: self.kit.clock.now(), again }
    }

    fn moment(&self) -> Moment {
        Moment { now: self.kit.clock.now(), access_token: None, refresh_token: None }
    }

    async fn send(&self, batch: Vec<DueRow>, sent_at: Timestamp) -> Vec<Outcome> {
        let items: Vec<PushItem> = batch.iter().map(item).collect();
        for row in &batch {
            self.kit.metrics.push_left(&self.connection.code, sent_at.since(row.wanted_at));
        }
        let started = self.kit.clock.elapsed();
        let (answer, outcomes) = match self.connection.adapter.push(&self.connection, &self.moment(), &items) {
            Ok(Call { request, .. }) => {
                let answer = match breakage::is(Breakage::PushLost) {
                    false => self.outbound.send(request).await,
                    true => lost(),
                };
                let outcomes = self.connection.adapter.read_push(&items, &answer).each(items.len());
                (Some(answer), outcomes)
            }
            Err(error) => {
                let refused = |_: &PushItem| Outcome::Permanent { code: Some(error.code.into()), message: error.message.clone() };
                (None, items.iter().map(refused).collect())
            }
        };
        let took = self.kit.clock.elapsed().saturating_sub(started);
        let status = answer.as_ref().and_then(|a| if let Answer::Response { status, .. } = a { Some(*status) } else { None });
        let ended: Vec<Ended> = batch
            .into_iter()
            .zip(items)
            .zip(&outcomes)
            .map(|((row, item), outcome)| Ended { row, key: item.idempotency_key(), outcome: outcome.clone(), status })
            .collect();
        self.settle(ended, sent_at).await;
        // Counted once it is written down.
        for outcome in &outcomes {
            self.kit.metrics.pushed(&self.connection.code, outcome.name(), took);
        }
        outcomes
    }

    /// The answer is written down even if the database has to be waited for: an unwritten one is an unknown outcome.
    async fn settle(&self, ended: Vec<Ended>, sent_at: Timestamp) {
        let settle = Settle { connection: self.connection.clone(), ended, sent_at, limits: self.limits };
        // Somebody else takes the listing over after a lease, so there is no use in trying for longer.
        let mut left = self.limits.lease;
        while let Err(error) = self.writer.run_patiently(settle.clone()).await {
            if matches!(error, WriteError::Stopping) || left.is_zero() {
                tracing::error!(marketplace = %self.connection.code, %error, "an answer to a push could not be written; it counts as unknown");
                return;
            }
            left = left.saturating_sub(WRITE_AGAIN);
            tokio::time::sleep(WRITE_AGAIN).await;
        }
    }

    /// Gives whether the circuit closed by this.
    async fn note(&self, road: &mut Road, outcomes: Vec<Outcome>) -> bool {
        let now = self.kit.clock.now();
        let was_closed = road.breaker.is_closed();
        let first = !road.proven && outcomes.contains(&Outcome::Applied);
        // Refused credentials have to prove themselves anew.
        road.proven = (road.proven || first) && !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Auth { .. }));
        let mut why = String::new();
        for outcome in outcomes {
            road.note(now, &outcome, self.kit.chance.unit());
            if let Outcome::Retry { throttled: false, message, .. } | Outcome::Unknown { message } | Outcome::Auth { message } =
                outcome
            {
                why = message;
            }
        }
        let closed = road.breaker.is_closed();
        let changed = was_closed != closed;
        if changed {
            self.kit.metrics.circuit(&self.connection.code, !closed);
            tracing::warn!(marketplace = %self.connection.code, open = !closed, "the circuit changed");
        }
        if changed || (first && closed) {
            let circuit = Circuit { connection: self.connection.clone(), open: !closed, why };
            if let Err(error) = self.writer.run_patiently(circuit).await {
                tracing::warn!(marketplace = %self.connection.code, %error, "the change of the circuit could not be written");
            }
        }
        changed && closed
    }
}

/// The answer of a breakage: nothing was sent.
fn lost() -> Answer {
    Answer::Response { status: 204, retry_after: None, headers: Headers::default(), body: Vec::new() }
}

fn item(row: &DueRow) -> PushItem {
    PushItem {
        listing_id: row.id,
        version: row.wanted_version,
        quantity: row.listed_stock,
        marketplace_product_id: row.marketplace_product_id.clone(),
        sku: row.sku.clone(),
        refs: serde_json::from_str(&row.refs).unwrap_or_default(),
        expected: None,
        changed_at: row.wanted_at,
    }
}
