//! Taking what is due: a short transaction in which the newest numbers are chosen, marked as sent, and written down before they
//! leave.

use std::sync::Arc;
use std::time::Duration;

use super::PushLimits;
use super::batch::{self, Round};
use crate::breakage::{self, Breakage};
use crate::db::DbError;
use crate::db::pushes::{self, DueRow, Gate};
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::marketplaces::connection::Status;
use crate::pipeline::Tx;
use crate::pipeline::writer::Command;

/// Takes what is due of one marketplace, if it is ours to push.
pub struct Claim {
    pub connection: Arc<Connection>,
    /// The lease that must be ours, and who we are; `None` where no other process can be.
    pub lease: Option<(String, String)>,
    /// Requests that may leave now.
    pub requests: usize,
    /// One listing only: whether the marketplace lives is to be found out.
    pub probe: bool,
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

impl Command for Claim {
    type Output = Claimed;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Claimed, DbError> {
        let id = self.connection.id;
        let lease = self.lease.as_ref().map_or("", |(name, _)| name);
        // Ours that are still in flight after a whole lease were forgotten; somebody else's are all up for taking.
        let abandoned = if self.fresh { tx.now.plus(Duration::from_secs(1)) } else { tx.now.minus(self.limits.lease) };
        let Some(gate) = pushes::gate(&mut tx.conn, id, lease, tx.now, abandoned).await? else { return Ok(Claimed::Resting) };
        if self.lease.as_ref().is_some_and(|(_, owner)| gate.owner.as_ref() != Some(owner)) {
            return Ok(Claimed::NotOurs);
        }
        if gate.abandoned && !breakage::is(Breakage::ForgetInFlight) {
            let confirm_at = tx.now.plus(self.limits.zombie_window);
            let taken = pushes::take_over(&mut tx.conn, id, tx.now, confirm_at, abandoned).await?;
            tracing::warn!(marketplace = %self.connection.code, taken, "pushes of unknown end are made again");
        }
        if gate.to_confirm {
            pushes::confirm_due(&mut tx.conn, id, tx.now).await?;
        }
        if gate.status != Status::Active.as_str() {
            return Ok(Claimed::Resting);
        }
        let per_request = self.connection.adapter.traits().batch_max.min(self.limits.batch_max).max(1);
        let (requests, per_request) = if self.probe { (1, 1) } else { (self.requests, per_request) };
        let limit = i64::try_from(requests * per_request).unwrap_or(i64::MAX);
        let due = pushes::due(&mut tx.conn, id, tx.now, limit, self.raised_before(&gate)).await?;
        let full = due.len() as i64 >= limit;
        let mut round = batch::round(&self.connection, due, requests, per_request);
        self.take_keys(tx, &mut round).await?;
        self.mark_sent(tx, &mut round).await?;
        let next = pushes::next(&mut tx.conn, id).await?;
        let more = full || round.more;
        let held = !more && next.push.is_some_and(|at| at <= tx.now);
        let again = Again { more, next: next.push, confirm: next.confirm, verify: next.verify, held };
        Ok(Claimed::Round { round, sent_at: tx.now, again })
    }
}

impl Claim {
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

    /// Leaves out what its marketplace was told too short a while ago.
    async fn take_keys(&self, tx: &mut Tx<'_>, round: &mut Round) -> Result<(), DbError> {
        let interval = self.connection.adapter.traits().key_interval;
        if interval.is_zero() || round.batches.is_empty() {
            return Ok(());
        }
        let key = |row: &DueRow| self.connection.adapter.push_key(&self.connection, &batch::item(row));
        let mut keys: Vec<String> = round.batches.iter().flatten().map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        let (mut free, told) = pushes::take_keys(&mut tx.conn, self.connection.id, &keys, tx.now, tx.now.minus(interval)).await?;
        let mut postponed = Vec::new();
        for batch in &mut round.batches {
            batch.retain(|row| {
                let key = key(row);
                // Taken for one listing, it is not free for another of the same key in this round.
                if let Some(place) = free.iter().position(|free| *free == key) {
                    free.swap_remove(place);
                    return true;
                }
                let at = told.iter().find(|(known, _)| *known == key).map_or(tx.now, |(_, at)| *at);
                postponed.push((row.id, at.plus(interval)));
                false
            });
        }
        round.batches.retain(|batch| !batch.is_empty());
        pushes::postpone(&mut tx.conn, &postponed).await
    }

    async fn mark_sent(&self, tx: &mut Tx<'_>, round: &mut Round) -> Result<(), DbError> {
        let chosen = round.batches.iter().flatten().chain(round.nameless.iter().map(|(row, _)| row));
        let chosen: Vec<DueRow> = chosen.cloned().collect();
        if chosen.is_empty() {
            return Ok(());
        }
        let claimed = pushes::claim(&mut tx.conn, chosen.iter(), tx.now).await?;
        let claimed: std::collections::HashSet<_> = claimed.into_iter().collect();
        round.nameless.retain(|(row, _)| claimed.contains(&row.id));
        for batch in &mut round.batches {
            batch.retain(|row| claimed.contains(&row.id));
        }
        round.batches.retain(|batch| !batch.is_empty());
        Ok(())
    }
}
