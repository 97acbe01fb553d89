//! What an answer to a push means for its listing.

use std::sync::Arc;
use std::time::Duration;

use super::PushLimits;
use super::circuit::auth_key;
use crate::db::alerts::{self, NewAlert};
use crate::db::pushes::{self, Attempt, DueRow, InFlightRow, Settled};
use crate::db::{DbError, marketplaces};
use crate::domain::retry;
use crate::domain::time::Timestamp;
use crate::marketplaces::{Connection, Outcome};
use crate::pipeline::Tx;
use crate::pipeline::writer::Command;

/// One pushed item and its end.
#[derive(Clone, Debug)]
pub struct Ended {
    pub row: DueRow,
    pub key: String,
    pub outcome: Outcome,
    pub status: Option<u16>,
}

/// Writes down how pushes ended. A listing whose row moved on since (another owner, a take-over) is left as it is, but what we
/// believed of it is gone.
#[derive(Clone)]
pub struct Settle {
    pub connection: Arc<Connection>,
    pub ended: Vec<Ended>,
    pub sent_at: Timestamp,
    pub limits: PushLimits,
}

impl Command for Settle {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let rows = pushes::lock(&mut tx.conn, self.ended.iter().map(|ended| ended.row.id)).await?;
        let mut settled = Vec::with_capacity(rows.len());
        let mut told_again = Vec::new();
        for row in rows {
            let Some(ended) = self.ended.iter().find(|ended| ended.row.id == row.id) else { continue };
            let ours = row.push_state == "in_flight" && row.sent_version == ended.row.wanted_version;
            if ours {
                settled.push(self.end(tx, &row, &ended.outcome));
            } else {
                settled.push(stale(tx, &row));
            }
            // It shows our number again: a gap is over, and the next one is told anew.
            if ended.outcome == Outcome::Applied && row.gap_since.is_some() {
                told_again.push(format!("listing-gap:{}", row.id));
            }
        }
        pushes::settle(&mut tx.conn, &settled, tx.now).await?;
        let attempts: Vec<Attempt> = self.ended.iter().map(|ended| self.attempt(tx, ended)).collect();
        pushes::insert_attempts(&mut tx.conn, &attempts, tx.now).await?;
        if !told_again.is_empty() {
            alerts::resolve(&mut tx.conn, told_again.iter().map(String::as_str), tx.now).await?;
        }
        self.auth(tx).await?;
        if settled.iter().any(|s| s.push_state == "dirty" || s.push_state == "unknown") {
            tx.effects.to_push.insert(self.connection.id);
        }
        Ok(())
    }
}

impl Settle {
    fn end(&self, tx: &Tx<'_>, row: &InFlightRow, outcome: &Outcome) -> Settled {
        let attempts = row.attempts + 1;
        let backoff = |after: Option<Duration>| {
            let attempt = u32::try_from(attempts).unwrap_or(u32::MAX);
            let wait = retry::delay(attempt, self.limits.backoff_base, self.limits.backoff_cap, after, tx.kit.chance.unit());
            tx.now.plus(wait)
        };
        let again = Settled { push_state: "dirty", expected: None, attempts, last_error: message(outcome), ..kept(row, tx.now) };
        match outcome {
            Outcome::Applied | Outcome::Accepted => self.applied(row, tx.now),
            Outcome::Conflict { .. } => Settled { next_push_at: backoff(None), ..again },
            Outcome::Retry { after, .. } => Settled { next_push_at: backoff(*after), ..again },
            Outcome::Auth { .. } => Settled { next_push_at: backoff(None), ..again },
            // A late write of the old number may still land: told again at once, and once more when it no longer can.
            Outcome::Unknown { .. } => Settled {
                push_state: "unknown",
                wanted_version: row.wanted_version.max(row.sent_version) + 1,
                next_push_at: backoff(None),
                confirm_at: Some(tx.now.plus(self.limits.zombie_window)),
                ..again
            },
            Outcome::Permanent { .. } => {
                // Left out until its number changes; then it is tried again.
                let newer = row.wanted_version > row.sent_version;
                Settled { push_state: if newer { "dirty" } else { "blocked" }, next_push_at: backoff(None), ..again }
            }
        }
    }

    fn applied(&self, row: &InFlightRow, now: Timestamp) -> Settled {
        let newer = row.wanted_version > row.sent_version;
        // A fact that came while the push was under way may have made the number unknown: then it is told again.
        let confirm = row.expected.is_none() && !newer;
        let wanted_version = if confirm { row.wanted_version + 1 } else { row.wanted_version };
        let dirty = newer || confirm;
        let urgent = confirm || row.listed_stock == 0;
        Settled {
            push_state: if dirty { "dirty" } else { "synced" },
            acked_version: row.sent_version,
            acked_quantity: row.sent_quantity,
            acked_at: Some(now),
            wanted_version,
            attempts: 0,
            next_push_at: if urgent { now } else { self.sent_at.plus(self.connection.policy.min_gap) },
            last_error: None,
            last_synced_at: Some(now),
            marketplace_stock: row.sent_quantity,
            ..kept(row, now)
        }
    }

    fn attempt(&self, tx: &Tx<'_>, ended: &Ended) -> Attempt {
        let code = match &ended.outcome {
            Outcome::Retry { code, .. } | Outcome::Permanent { code, .. } => code.clone(),
            _ => None,
        };
        Attempt {
            id: tx.id(),
            listing_id: ended.row.id,
            marketplace_id: self.connection.id,
            version: ended.row.wanted_version,
            quantity: ended.row.listed_stock,
            idempotency_key: ended.key.clone(),
            trigger_type: "webhook",
            sent_at: self.sent_at,
            outcome: ended.outcome.name(),
            status_code: ended.status.map(i64::from),
            code,
            message: message(&ended.outcome),
        }
    }

    /// Refused credentials do not get better by asking again: say so. Its webhooks are still taken.
    async fn auth(&self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let Some(why) =
            self.ended.iter().find_map(|e| if let Outcome::Auth { message } = &e.outcome { Some(message) } else { None })
        else {
            return Ok(());
        };
        marketplaces::set_status(&mut tx.conn, self.connection.id, "auth_error", tx.now).await?;
        tx.effects.connections_changed = true;
        let code = &self.connection.code;
        let alert = NewAlert {
            id: tx.id(),
            kind: "marketplace-auth",
            severity: "critical",
            dedup_key: auth_key(code),
            product_id: None,
            marketplace_id: Some(self.connection.id),
            message: format!("{code} refuses our credentials, pushes to it are paused: {why}"),
        };
        alerts::open_once(&mut tx.conn, &[alert], tx.now).await.map(drop)
    }
}

fn message(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Applied | Outcome::Accepted => None,
        Outcome::Retry { message, .. }
        | Outcome::Conflict { message, .. }
        | Outcome::Permanent { message, .. }
        | Outcome::Unknown { message }
        | Outcome::Auth { message } => Some(message.clone()),
    }
}

/// The row as it stands, to be changed where the answer says so.
fn kept(row: &InFlightRow, now: Timestamp) -> Settled {
    Settled {
        id: row.id,
        push_state: "dirty",
        acked_version: row.acked_version,
        acked_quantity: None,
        acked_at: None,
        expected: row.expected,
        wanted_version: row.wanted_version,
        attempts: row.attempts,
        next_push_at: now,
        confirm_at: row.confirm_at,
        last_error: None,
        last_synced_at: None,
        marketplace_stock: None,
    }
}

/// Our answer came after somebody else had taken the listing over: only what we believed of it goes.
fn stale(tx: &Tx<'_>, row: &InFlightRow) -> Settled {
    let state = match row.push_state.as_str() {
        "in_flight" => "in_flight",
        "blocked" => "blocked",
        "unknown" => "unknown",
        "paused" => "paused",
        _ => "dirty",
    };
    let wanted_version = if row.wanted_version > row.sent_version { row.wanted_version } else { row.wanted_version + 1 };
    Settled { push_state: state, expected: None, wanted_version, ..kept(row, tx.now) }
}
