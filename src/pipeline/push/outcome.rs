//! What an answer to a push means for its listing.

use std::sync::Arc;
use std::time::Duration;

use super::PushLimits;
use super::circuit::auth_key;
use super::send::REFUSED_TOGETHER;
use crate::db::alerts::{self, NewAlert};
use crate::db::pushes::{self, Attempt, DueRow, InFlightRow, Settled};
use crate::db::{DbError, accounts, marketplaces, sync};
use crate::domain::retry;
use crate::domain::time::Timestamp;
use crate::marketplaces::{Connection, Outcome};
use crate::pipeline::Tx;
use crate::pipeline::apply::gap;
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
    /// Requests that left for them.
    pub calls: i64,
    pub limits: PushLimits,
    /// The lease that must still be ours, and who we are; `None` where no other process can be.
    pub lease: Option<(String, String)>,
}

impl Command for Settle {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let rows = pushes::lock(&mut tx.conn, self.ended.iter().map(|ended| ended.row.id)).await?;
        let owner = match &self.lease {
            Some((name, owner)) => accounts::owner(&mut tx.conn, name, tx.now).await?.as_ref() == Some(owner),
            None => true,
        };
        let mut settled = Vec::with_capacity(rows.len());
        let mut over = Vec::new();
        let mut opened = Vec::new();
        for row in rows {
            let Some(ended) = self.ended.iter().find(|ended| ended.row.id == row.id) else { continue };
            let ours = owner && row.push_state == "in_flight" && row.sent_version == ended.row.wanted_version;
            if !ours {
                settled.push(stale(tx, &row));
                continue;
            }
            let end = known_again(&row, self.end(tx, &row, &ended.outcome));
            over.extend(ended_alerts(&row, &ended.row, &end));
            opened.extend(self.refusal(tx, ended));
            settled.push(end);
        }
        pushes::settle(&mut tx.conn, &settled, tx.now).await?;
        let attempts: Vec<Attempt> = self.ended.iter().map(|ended| self.attempt(tx, ended)).collect();
        pushes::insert_attempts(&mut tx.conn, &attempts, tx.now).await?;
        sync::add_calls(&mut tx.conn, self.connection.id, "push", self.calls, tx.now).await?;
        if !over.is_empty() {
            alerts::resolve(&mut tx.conn, over.iter().map(String::as_str), tx.now).await?;
        }
        if !opened.is_empty() {
            alerts::open_once(&mut tx.conn, &opened, tx.now).await?;
        }
        self.keep_keys(tx).await?;
        self.auth(tx).await?;
        // Also what is to be read back: the pusher has to learn when.
        if settled.iter().any(|s| matches!(s.push_state, "dirty" | "unknown")) {
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
            tx.now.plus(wait).max(self.key_free_at(tx.now))
        };
        let again = Settled { push_state: "dirty", expected: None, attempts, last_error: message(outcome), ..kept(row, tx.now) };
        let newer = row.wanted_version > row.sent_version;
        match outcome {
            Outcome::Accepted if self.can_be_read() => self.accepted(row, tx.now),
            Outcome::Applied | Outcome::Accepted => self.applied(row, tx.now),
            Outcome::Conflict { shown, .. } => self.conflict(row, *shown, again, backoff(None), tx.now),
            Outcome::Retry { after, code, .. } => {
                let alone = i64::from(code.as_deref() == Some(REFUSED_TOGETHER));
                Settled { next_push_at: backoff(*after), refusals: row.refusals.max(alone), ..again }
            }
            Outcome::Auth { .. } => Settled { next_push_at: backoff(None), ..again },
            // A late write of the old number may still land: told again at once, and once more when it no longer can. Where it
            // can be read, that tells what to believe until then.
            Outcome::Unknown { .. } => Settled {
                push_state: "unknown",
                wanted_version: row.wanted_version.max(row.sent_version) + 1,
                next_push_at: backoff(None),
                confirm_at: Some(tx.now.plus(self.limits.zombie_window)),
                verify_at: self.can_be_read().then(|| tx.now.plus(self.connection.adapter.traits().verify_after)),
                ..again
            },
            // Left out until its number changes; then it is tried again, alone.
            Outcome::Permanent { .. } => Settled {
                push_state: if newer { "dirty" } else { "blocked" },
                next_push_at: if newer { backoff(None) } else { NEVER },
                refusals: row.refusals + 1,
                ..again
            },
        }
    }

    fn can_be_read(&self) -> bool {
        self.connection.adapter.traits().abilities.stock_of.is_some()
    }

    /// What was claimed may have waited for its turn: a marketplace counts from when it was told, which is at most now.
    async fn keep_keys(&self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        if self.connection.adapter.traits().key_interval.is_zero() {
            return Ok(());
        }
        let key = |ended: &Ended| self.connection.adapter.push_key(&self.connection, &super::batch::item(&ended.row));
        let mut keys: Vec<String> = self.ended.iter().map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        pushes::take_keys(&mut tx.conn, self.connection.id, &keys, tx.now, tx.now).await.map(drop)
    }

    /// When its marketplace may be told of this key again.
    fn key_free_at(&self, now: Timestamp) -> Timestamp {
        let interval = self.connection.adapter.traits().key_interval;
        if interval.is_zero() { Timestamp::default() } else { now.plus(interval) }
    }

    /// When a newer number may follow. The gap is ours, and zeros and confirmations ignore it; the interval is the marketplace's.
    fn follows_at(&self, row: &InFlightRow, confirms: bool, now: Timestamp) -> Timestamp {
        let gap = self.connection.min_gap();
        let own = if confirms || row.listed_stock == 0 { now } else { self.sent_at.plus(gap) };
        own.max(self.key_free_at(now))
    }

    fn applied(&self, row: &InFlightRow, now: Timestamp) -> Settled {
        let newer = row.wanted_version > row.sent_version;
        // A fact that came while the push was under way may have made the number unknown: then it is told again.
        let confirm = row.expected.is_none() && !newer;
        let wanted_version = if confirm { row.wanted_version + 1 } else { row.wanted_version };
        let dirty = newer || confirm;
        Settled {
            push_state: if dirty { "dirty" } else { "synced" },
            acked_version: row.sent_version,
            acked_quantity: row.sent_quantity,
            acked_at: Some(now),
            wanted_version,
            attempts: 0,
            next_push_at: self.follows_at(row, confirm, now),
            last_synced_at: Some(now),
            marketplace_stock: row.sent_quantity,
            mismatches: 0,
            refusals: 0,
            ..kept(row, now)
        }
    }

    /// It said yes and may not mean it: acknowledged once it was read back.
    fn accepted(&self, row: &InFlightRow, now: Timestamp) -> Settled {
        // A fact that came meanwhile may have made the number unknown: then it is told again.
        let confirm = row.expected.is_none();
        let wanted_version = if confirm { row.wanted_version.max(row.sent_version + 1) } else { row.wanted_version };
        Settled {
            push_state: if wanted_version > row.sent_version { "dirty" } else { "unknown" },
            wanted_version,
            attempts: 0,
            next_push_at: self.follows_at(row, confirm, now),
            verify_at: Some(now.plus(self.connection.adapter.traits().verify_after)),
            refusals: 0,
            ..kept(row, now)
        }
    }

    /// It shows another number than we compared with: something happened there that we have not heard of. Its orders are asked for,
    /// and no number is raised before they were.
    fn conflict(&self, row: &InFlightRow, shown: Option<i64>, again: Settled, at: Timestamp, now: Timestamp) -> Settled {
        let newer = row.wanted_version > row.sent_version;
        if !newer && shown == Some(row.listed_stock) {
            let applied = self.applied(&InFlightRow { expected: shown, ..row.clone() }, now);
            return Settled { expected: shown, last_error: again.last_error, ..applied };
        }
        let read_at = now.plus(self.connection.adapter.traits().verify_after);
        Settled {
            expected: shown,
            marketplace_stock: shown,
            // Another version, or it would be the same request with other contents.
            wanted_version: row.wanted_version.max(row.sent_version + 1),
            wanted_at: Some(now),
            verify_at: (shown.is_none() && self.can_be_read()).then_some(read_at),
            next_push_at: at,
            ..again
        }
    }

    fn refusal(&self, tx: &Tx<'_>, ended: &Ended) -> Option<NewAlert> {
        let Outcome::Permanent { message, .. } = &ended.outcome else { return None };
        let (code, name) = (&self.connection.code, &ended.row.marketplace_product_id);
        Some(NewAlert {
            id: tx.id(),
            kind: "listing-refused",
            severity: "warning",
            dedup_key: refusal_key(&ended.row),
            product_id: None,
            marketplace_id: Some(self.connection.id),
            message: format!("{code} refuses the number of {name}: {message}"),
        })
    }

    fn attempt(&self, tx: &Tx<'_>, ended: &Ended) -> Attempt {
        let code = match &ended.outcome {
            Outcome::Retry { code, .. } | Outcome::Permanent { code, .. } => code.clone(),
            Outcome::Conflict { .. } => Some("conflict".into()),
            _ => None,
        };
        Attempt {
            id: tx.id(),
            listing_id: ended.row.id,
            marketplace_id: self.connection.id,
            version: ended.row.wanted_version,
            quantity: ended.row.listed_stock,
            idempotency_key: ended.key.clone(),
            trigger_type: ended.row.push_trigger.clone(),
            sync_log_id: ended.row.push_log_id,
            sent_at: self.sent_at,
            outcome: ended.outcome.name(),
            status_code: ended.status.map(i64::from),
            code,
            message: message(&ended.outcome),
        }
    }

    async fn auth(&self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let why = self.ended.iter().find_map(|e| if let Outcome::Auth { message } = &e.outcome { Some(message) } else { None });
        match why {
            Some(why) => pause(tx, &self.connection, why).await,
            None => Ok(()),
        }
    }
}

/// Refused credentials do not get better by asking again: say so. Its webhooks are still taken.
pub(super) async fn pause(tx: &mut Tx<'_>, connection: &Connection, why: &str) -> Result<(), DbError> {
    marketplaces::set_status(&mut tx.conn, connection.id, "auth_error", tx.now).await?;
    tx.effects.connections_changed = true;
    let code = &connection.code;
    let alert = NewAlert {
        id: tx.id(),
        kind: "marketplace-auth",
        severity: "critical",
        dedup_key: auth_key(code),
        product_id: None,
        marketplace_id: Some(connection.id),
        message: format!("{code} refuses our credentials, pushes to it are paused: {why}"),
    };
    alerts::open_once(&mut tx.conn, &[alert], tx.now).await.map(drop)
}

/// What is over now that a listing was told: a gap, too, and the next one is told anew.
fn ended_alerts(before: &InFlightRow, row: &DueRow, end: &Settled) -> Vec<String> {
    let mut over = Vec::new();
    if end.last_synced_at.is_none() {
        return over;
    }
    if before.gap_since.is_some() && end.gap_over {
        over.push(gap::alert_key(row.id));
    }
    if before.refusals > 0 {
        over.push(refusal_key(row));
    }
    if before.mismatches > 0 {
        over.push(super::readback::alert_key(row.id));
    }
    over
}

fn refusal_key(row: &DueRow) -> String {
    format!("listing-refused:{}", row.id)
}

/// A number that was told after a gap was seen, and taken, ends it; one that was under way then does not. Until it is over the plan to
/// read it stands.
fn known_again(row: &InFlightRow, end: Settled) -> Settled {
    let told_before = row.gap_since.is_some_and(|since| row.sent_at.is_none_or(|sent| sent < since));
    let gap_over = end.last_synced_at.is_some() && !told_before;
    let planned = row.verify_at.filter(|_| row.raise_held_since.is_some() && !gap_over);
    Settled { gap_over, verify_at: end.verify_at.or(planned), ..end }
}

/// No time at which it would be tried by itself: out of the way of those that wait.
const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

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
pub(super) fn kept(row: &InFlightRow, now: Timestamp) -> Settled {
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
        verify_at: None,
        mismatches: row.mismatches,
        refusals: row.refusals,
        wanted_at: None,
        gap_over: false,
        gap_read_at: None,
    }
}

/// Our answer came after somebody else had taken the listing over: only what we believed of it goes.
fn stale(tx: &Tx<'_>, row: &InFlightRow) -> Settled {
    let state = match row.push_state.as_str() {
        "in_flight" => "in_flight",
        "blocked" => "blocked",
        "unknown" => "unknown",
        "paused" => "paused",
        "task" => "task",
        _ => "dirty",
    };
    // What we do not know is told again (rule 4): by a version that nobody has sent yet.
    let wanted_version = if row.wanted_version > row.sent_version { row.wanted_version } else { row.wanted_version + 1 };
    let verify_at = row.verify_at.filter(|_| row.raise_held_since.is_some());
    Settled { push_state: state, expected: None, wanted_version, verify_at, ..kept(row, tx.now) }
}
