//! Taking what is due: a short transaction in which the newest numbers are chosen, marked as sent, and written down before they
//! leave. Claims that wait for the writer at the same time are one claim to the database.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::PushLimits;
use super::batch::{self, Round};
use crate::breakage::{self, Breakage};
use crate::db::DbError;
use crate::db::pushes::{self, DueOf, DueRow, Gate, GateOf, Next, PushKey};
use crate::domain::ids::{ListingId, MarketplaceId};
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::marketplaces::connection::Status;
use crate::pipeline::Tx;
use crate::pipeline::writer::{ROWS_MAX, Together};

/// Takes what is due of one marketplace, if it is ours to push.
pub struct Claim {
    pub connection: Arc<Connection>,
    /// The lease that must be ours, and who we are; `None` where no other process can be.
    pub lease: Option<(String, String)>,
    /// Requests that may leave now.
    pub requests: usize,
    /// One listing only: whether the marketplace lives is to be found out.
    pub probe: bool,
    /// The last one left some behind: as much as there is room for is likely to be due.
    pub more: bool,
    /// The first claim of this ownership: whatever is in flight was left by somebody else.
    pub fresh: bool,
    pub limits: PushLimits,
}

pub enum Claimed {
    /// Another node pushes for this marketplace.
    NotOurs,
    /// A person paused it, or its credentials were refused.
    Resting,
    Round {
        round: Round,
        sent_at: Timestamp,
        again: Again,
    },
}

/// When there may be more to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Again {
    /// Now.
    pub more: bool,
    /// The earliest of what waits for its time.
    pub next: Option<Timestamp>,
    /// The earliest that is to be told a second time.
    pub confirm: Option<Timestamp>,
    /// The earliest that is to be read back.
    pub verify: Option<Timestamp>,
    /// Something is due that may not be raised yet.
    pub held: bool,
}

/// A claim that may take something, and what it takes.
struct Taking<'a> {
    claim: &'a Claim,
    /// Which of the claims it is.
    place: usize,
    raised_before: Timestamp,
    round: Round,
    more: bool,
}

impl Together for Claim {
    type Output = Claimed;

    fn rows(&self) -> usize {
        if self.more { self.most() } else { 1 }
    }

    async fn run(claims: &[&Self], tx: &mut Tx<'_>) -> Result<Vec<Claimed>, DbError> {
        let mut ends: Vec<Claimed> = Vec::with_capacity(claims.len());
        let mut takings: Vec<Taking<'_>> = Vec::with_capacity(claims.len());
        let gates = pushes::gates(&mut tx.conn, claims.iter().map(|claim| claim.gate_of(tx.now)), tx.now).await?;
        let gates: HashMap<MarketplaceId, Gate> = gates.into_iter().map(|gate| (gate.id, gate)).collect();
        for (place, claim) in claims.iter().enumerate() {
            let gate = gates.get(&claim.connection.id);
            let open = claim.open(tx, gate).await?;
            if let (Claimed::Round { .. }, Some(gate)) = (&open, gate) {
                let (raised_before, round) = (claim.raised_before(gate), Round::default());
                takings.push(Taking { claim, place, raised_before, round, more: false });
            }
            ends.push(open);
        }
        choose(tx, &mut takings).await?;
        take_keys(tx, &mut takings).await?;
        mark_sent(tx, &mut takings).await?;
        let nexts = pushes::next(&mut tx.conn, takings.iter().map(|taking| taking.claim.connection.id)).await?;
        let nexts: HashMap<MarketplaceId, Next> = nexts.into_iter().map(|next| (next.id, next)).collect();
        for Taking { claim, place, round, more, .. } in takings {
            let again = nexts.get(&claim.connection.id).map(|next| again(next, more, tx.now)).unwrap_or_default();
            ends[place] = Claimed::Round { round, sent_at: tx.now, again };
        }
        Ok(ends)
    }
}

fn again(next: &Next, more: bool, now: Timestamp) -> Again {
    let held = !more && next.push.is_some_and(|at| at <= now);
    Again { more, next: next.push, confirm: next.confirm, verify: next.verify, held }
}

impl Claim {
    /// How many requests there may be, and of how many listings each: no more than one transaction should touch.
    fn room(&self) -> (usize, usize) {
        if self.probe {
            return (1, 1);
        }
        let per_request = self.connection.adapter.traits().batch_max.min(self.limits.batch_max).max(1);
        (self.requests.min((ROWS_MAX / per_request).max(1)), per_request)
    }

    fn most(&self) -> usize {
        let (requests, per_request) = self.room();
        requests * per_request
    }

    /// Ours that are still in flight after a whole lease were forgotten; somebody else's are all up for taking.
    fn abandoned_before(&self, now: Timestamp) -> Timestamp {
        if self.fresh { now.plus(Duration::from_secs(1)) } else { now.minus(self.limits.lease) }
    }

    fn gate_of(&self, now: Timestamp) -> GateOf<'_> {
        let lease = self.lease.as_ref().map_or("", |(name, _)| name);
        GateOf { id: self.connection.id, lease, abandoned_before: self.abandoned_before(now) }
    }

    /// Whether something may be taken; then an empty round to begin with.
    async fn open(&self, tx: &mut Tx<'_>, gate: Option<&Gate>) -> Result<Claimed, DbError> {
        let id = self.connection.id;
        let Some(gate) = gate else { return Ok(Claimed::Resting) };
        if self.lease.as_ref().is_some_and(|(_, owner)| gate.owner.as_ref() != Some(owner)) {
            return Ok(Claimed::NotOurs);
        }
        if gate.abandoned && !breakage::is(Breakage::ForgetInFlight) {
            let confirm_at = tx.now.plus(self.limits.zombie_window);
            let taken = pushes::take_over(&mut tx.conn, id, tx.now, confirm_at, self.abandoned_before(tx.now)).await?;
            tracing::warn!(marketplace = %self.connection.code, taken, "pushes of unknown end are made again");
        }
        if gate.to_confirm {
            pushes::confirm_due(&mut tx.conn, id, tx.now).await?;
        }
        if gate.status != Status::Active.as_str() {
            return Ok(Claimed::Resting);
        }
        Ok(Claimed::Round { round: Round::default(), sent_at: tx.now, again: Again::default() })
    }

    /// Numbers wanted before this may be raised. Nothing received from the marketplace may be unprocessed; where it has a list of
    /// orders, that was looked at since: or a piece would be offered that a sale nobody told us of has taken.
    fn raised_before(&self, gate: &Gate) -> Timestamp {
        if gate.unapplied {
            return Timestamp::from_micros(0);
        }
        match self.connection.adapter.traits().abilities.orders {
            Some(_) => gate.orders_drained_at.unwrap_or(Timestamp::from_micros(0)),
            None => Timestamp::from_micros(i64::MAX),
        }
    }

    fn key(&self, row: &DueRow) -> PushKey {
        (self.connection.id, self.connection.adapter.push_key(&self.connection, &batch::item(row)))
    }
}

/// Finds what is due of each. A marketplace that two claims are for is the first one's. Once as much is taken as one transaction
/// may touch, the others are to ask again: everything may have become due at once.
async fn choose(tx: &mut Tx<'_>, takings: &mut [Taking<'_>]) -> Result<(), DbError> {
    let limit = |claim: &Claim| i64::try_from(claim.most()).unwrap_or(i64::MAX);
    let mut of: Vec<DueOf> = Vec::with_capacity(takings.len());
    for Taking { claim, raised_before, .. } in takings.iter() {
        let id = claim.connection.id;
        if !of.iter().any(|due| due.id == id) {
            of.push(DueOf { id, limit: limit(claim), raised_before: *raised_before });
        }
    }
    let mut due: HashMap<MarketplaceId, Vec<DueRow>> = HashMap::with_capacity(of.len());
    for row in pushes::due(&mut tx.conn, &of, tx.now).await? {
        due.entry(row.marketplace_id).or_default().push(row);
    }
    let mut left = ROWS_MAX;
    for taking in takings {
        let claim = taking.claim;
        let rows = due.remove(&claim.connection.id).unwrap_or_default();
        if left == 0 && !rows.is_empty() {
            taking.more = true;
            continue;
        }
        left = left.saturating_sub(rows.len());
        let full = rows.len() as i64 >= limit(claim);
        let (requests, per_request) = claim.room();
        taking.round = batch::round(&claim.connection, rows, requests, per_request);
        taking.more = full || taking.round.more;
    }
    Ok(())
}

/// Leaves out what its marketplace was told too short a while ago.
async fn take_keys(tx: &mut Tx<'_>, takings: &mut [Taking<'_>]) -> Result<(), DbError> {
    let mut wanted: HashMap<Duration, Vec<PushKey>> = HashMap::new();
    for Taking { claim, round, .. } in takings.iter() {
        let interval = claim.connection.adapter.traits().key_interval;
        if !interval.is_zero() {
            wanted.entry(interval).or_default().extend(round.batches.iter().flatten().map(|row| claim.key(row)));
        }
    }
    let (mut free, mut refused) = (HashSet::new(), HashSet::new());
    for (interval, mut keys) in wanted {
        keys.sort_unstable();
        keys.dedup();
        let taken = pushes::take_keys(&mut tx.conn, &keys, tx.now, tx.now.minus(interval)).await?;
        free.extend(taken);
        refused.extend(keys.into_iter().filter(|key| !free.contains(key)));
    }
    let told = pushes::keys_told(&mut tx.conn, refused.iter()).await?;
    let told: HashMap<PushKey, Timestamp> = told.into_iter().map(|(id, key, at)| ((id, key), at)).collect();
    let mut postponed = Vec::new();
    for Taking { claim, round, .. } in takings {
        let interval = claim.connection.adapter.traits().key_interval;
        if interval.is_zero() {
            continue;
        }
        for batch in &mut round.batches {
            batch.retain(|row| {
                let key = claim.key(row);
                // Taken for one listing, it is not free for another of the same key in this round.
                if free.remove(&key) {
                    return true;
                }
                postponed.push((row.id, told.get(&key).copied().unwrap_or(tx.now).plus(interval)));
                false
            });
        }
        round.batches.retain(|batch| !batch.is_empty());
    }
    pushes::postpone(&mut tx.conn, &postponed).await
}

async fn mark_sent(tx: &mut Tx<'_>, takings: &mut [Taking<'_>]) -> Result<(), DbError> {
    let mut chosen: Vec<&DueRow> = Vec::new();
    for Taking { round, .. } in takings.iter() {
        chosen.extend(round.batches.iter().flatten());
        chosen.extend(round.nameless.iter().map(|(row, _)| row));
    }
    let claimed: HashSet<ListingId> = pushes::claim(&mut tx.conn, &chosen, tx.now).await?.into_iter().collect();
    for Taking { round, .. } in takings {
        round.nameless.retain(|(row, _)| claimed.contains(&row.id));
        for batch in &mut round.batches {
            batch.retain(|row| claimed.contains(&row.id));
        }
        round.batches.retain(|batch| !batch.is_empty());
    }
    Ok(())
}
