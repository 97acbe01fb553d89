//! Telling marketplaces their new quantity. Desired state, not a queue: a listing is dirty while its wanted version is ahead of
//! the acknowledged one, so five hundred sales cost a handful of requests, and a crash needs no queue to recover.
//!
//! One pusher per connection: claim what is due (a short transaction), send (no transaction, no connection held), settle each
//! answer (a short transaction). One slow or dead marketplace holds up nobody else.

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
use crate::db::pushes::{self, DueRow};
use crate::db::{DbError, leases, webhooks};
use crate::domain::ids::MarketplaceId;
use crate::domain::retry::{Breaker, BreakerLimits, Permit};
use crate::domain::time::Timestamp;
use crate::marketplaces::{Answer, Connection, Outcome, PushItem};
use crate::outbound::Outbound;

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
        let lease = format!("push:{}", self.marketplace);
        let until = tx.now.plus(self.limits.lease);
        if leases::take(&mut tx.conn, &lease, &self.owner, until, tx.now).await?.is_none() {
            return Ok(Claimed::NotOurs);
        }
        // Ours that are still in flight after a whole lease were forgotten; somebody else's are all up for taking.
        let abandoned = if self.fresh { tx.now.plus(Duration::from_secs(1)) } else { tx.now.minus(self.limits.lease) };
        let confirm_at = tx.now.plus(self.limits.zombie_window);
        let taken = pushes::take_over(&mut tx.conn, self.marketplace, tx.now, confirm_at, abandoned).await?;
        if taken > 0 {
            tracing::warn!(marketplace.id = %self.marketplace, taken, "pushes of unknown end are made again");
        }
        pushes::confirm_due(&mut tx.conn, self.marketplace, tx.now).await?;
        let settled = !webhooks::any_waiting(&mut tx.conn, self.marketplace).await?;
        let due = pushes::due(&mut tx.conn, self.marketplace, tx.now, self.limit, settled).await?;
        let mut items = Vec::new();
        if !due.is_empty() {
            let claimed = pushes::claim(&mut tx.conn, &due, tx.now).await?;
            items = due.into_iter().filter(|row| claimed.contains(&row.id)).collect();
        }
        let next_due = pushes::next_due(&mut tx.conn, self.marketplace).await?;
        Ok(Claimed::Items { items, sent_at: tx.now, next_due })
    }
}

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
    batches: Vec<Vec<DueRow>>,
    sent_at: Timestamp,
    /// When to look again, if nobody rings before.
    again: Option<Duration>,
}

impl Pusher {
    /// Pushes until told to stop; then finishes what is under way.
    pub async fn run(&self, stop: CancellationToken) {
        let bell = self.pushers.bell(self.connection.id);
        let mut breaker = Breaker::new(self.limits.breaker);
        let mut under_way: FuturesUnordered<_> = FuturesUnordered::new();
        let mut fresh = true;
        let mut wait = Duration::ZERO;
        loop {
            // Registered before looking, so that a bell between the look and the wait is not lost.
            let rung = bell.notified();
            tokio::select! {
                biased;
                Some(ended) = under_way.next(), if !under_way.is_empty() => {
                    self.note(&mut breaker, ended);
                    // What the answer made due has rung the bell; only a full house has to look for itself.
                    if under_way.len() + 1 < self.limits.concurrency {
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
            let slots = match breaker.may_send(now) {
                Permit::Yes => slots,
                Permit::OneProbe => 1,
                Permit::No { until } => {
                    wait = until.since(now).max(Duration::from_millis(10));
                    continue;
                }
            };
            match self.look(slots, fresh).await {
                Ok(look) => {
                    fresh = false;
                    wait = look.again.unwrap_or(self.limits.idle).min(self.limits.idle);
                    for batch in look.batches {
                        under_way.push(self.send(batch, look.sent_at));
                    }
                }
                Err(error) => {
                    tracing::warn!(marketplace = %self.connection.code, %error, "cannot look for pushes");
                    wait = Duration::from_millis(500);
                }
            }
        }
        while let Some(ended) = under_way.next().await {
            self.note(&mut breaker, ended);
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
            Claimed::NotOurs => Ok(Look { batches: Vec::new(), sent_at: self.kit.clock.now(), again: None }),
            Claimed::Items { items, sent_at, next_due } => {
                let batches: Vec<Vec<DueRow>> = items.chunks(per_request).map(<[DueRow]>::to_vec).collect();
                // A full claim means there may be more at once; otherwise the next is known.
                let full = items.len() as i64 == limit;
                let again = if full {
                    Some(Duration::ZERO)
                } else {
                    next_due.map(|due| due.since(sent_at).max(Duration::from_millis(1)))
                };
                Ok(Look { batches, sent_at, again })
            }
        }
    }

    async fn send(&self, batch: Vec<DueRow>, sent_at: Timestamp) -> Vec<Outcome> {
        let items: Vec<PushItem> = batch.iter().map(item).collect();
        for row in &batch {
            self.kit.metrics.push_left(&self.connection.code, sent_at.since(row.wanted_at));
        }
        let started = self.kit.clock.elapsed();
        let (answer, outcomes) = match self.connection.adapter.push(&self.connection, &items) {
            Ok(request) => {
                let answer = self.outbound.send(request).await;
                let outcomes = self.connection.adapter.read_push(&items, &answer);
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
        for outcome in &outcomes {
            self.kit.metrics.pushed(&self.connection.code, outcome.name(), took);
        }
        self.settle(ended, sent_at).await;
        outcomes
    }

    /// The answer is written down even if the database has to be waited for: an unwritten one is an unknown outcome.
    async fn settle(&self, ended: Vec<Ended>, sent_at: Timestamp) {
        let settle = Settle { connection: self.connection.clone(), ended, sent_at, limits: self.limits };
        if let Err(error) = self.writer.run_patiently(settle).await {
            tracing::error!(marketplace = %self.connection.code, %error, "an answer to a push could not be written; it counts as unknown");
        }
    }

    fn note(&self, breaker: &mut Breaker, outcomes: Vec<Outcome>) {
        let now = self.kit.clock.now();
        let was_closed = breaker.is_closed();
        for outcome in outcomes {
            match outcome {
                Outcome::Applied | Outcome::Permanent { .. } => breaker.on_success(now),
                Outcome::Retry { throttled: true, .. } => breaker.on_throttled(now),
                Outcome::Retry { .. } | Outcome::Unknown { .. } | Outcome::Auth { .. } => {
                    breaker.on_failure(now, self.kit.chance.unit());
                }
            }
        }
        if was_closed != breaker.is_closed() {
            let open = !breaker.is_closed();
            self.kit.metrics.circuit(&self.connection.code, open);
            tracing::warn!(marketplace = %self.connection.code, open, "the circuit changed");
        }
    }
}

fn item(row: &DueRow) -> PushItem {
    PushItem {
        listing_id: row.id,
        version: row.wanted_version,
        quantity: row.listed_stock,
        marketplace_product_id: row.marketplace_product_id.clone(),
        sku: row.sku.clone(),
        refs: serde_json::from_str(&row.refs).unwrap_or_default(),
    }
}
