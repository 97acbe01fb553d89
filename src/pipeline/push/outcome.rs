//! What an answer to a push means for its listing.

use std::time::Duration;

use super::send::REFUSED_TOGETHER;
use super::settle::Settle;
use crate::db::pushes::{DueRow, InFlightRow, Settled};
use crate::domain::retry;
use crate::domain::time::Timestamp;
use crate::marketplaces::Outcome;
use crate::pipeline::Tx;
use crate::pipeline::apply::gap;

impl Settle {
    pub(super) fn end(&self, tx: &Tx<'_>, row: &InFlightRow, outcome: &Outcome) -> Settled {
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
}

/// What is over now that a listing was told: a gap, too, and the next one is told anew.
pub(super) fn ended_alerts(before: &InFlightRow, row: &DueRow, end: &Settled) -> Vec<String> {
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

pub(super) fn refusal_key(row: &DueRow) -> String {
    format!("listing-refused:{}", row.id)
}

/// A number that was told after a gap was seen, and taken, ends it; one that was under way then does not. Until it is over the plan to
/// read it stands.
pub(super) fn known_again(row: &InFlightRow, end: Settled) -> Settled {
    let told_before = row.gap_since.is_some_and(|since| row.sent_at.is_none_or(|sent| sent < since));
    let gap_over = end.last_synced_at.is_some() && !told_before;
    let planned = row.verify_at.filter(|_| row.raise_held_since.is_some() && !gap_over);
    Settled { gap_over, verify_at: end.verify_at.or(planned), ..end }
}

/// No time at which it would be tried by itself: out of the way of those that wait.
const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

pub(super) fn message(outcome: &Outcome) -> Option<String> {
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
pub(super) fn stale(tx: &Tx<'_>, row: &InFlightRow) -> Settled {
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
