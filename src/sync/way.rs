//! The way out to one marketplace, for questions. Everything that leaves passes the account's caller: its budgets, tokens and lease.

use std::time::Duration;

use super::schedule::share_left;
use crate::caller::{Callers, Purpose, Refused};
use crate::domain::time::Timestamp;
use crate::marketplaces::call::{Ask, Told};
use crate::marketplaces::wire::{Answer, Outcome};
use crate::marketplaces::{Connection, Unreadable};
use crate::pipeline::Kit;

#[derive(Clone)]
pub struct Way {
    pub kit: Kit,
    pub callers: Callers,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum NotTold {
    /// Another node calls this account.
    NotOurs,
    /// This marketplace has no request for it, or something is missing from the account.
    CannotAsk(Unreadable),
    Failed(Outcome),
}

impl NotTold {
    pub fn message(&self) -> String {
        match self {
            Self::NotOurs => "another node calls this account".to_owned(),
            Self::CannotAsk(why) => why.message.clone(),
            Self::Failed(
                Outcome::Conflict { message, .. }
                | Outcome::Retry { message, .. }
                | Outcome::Permanent { message, .. }
                | Outcome::Unknown { message }
                | Outcome::Auth { message },
            ) => message.clone(),
            Self::Failed(Outcome::Applied | Outcome::Accepted) => "the answer says nothing".to_owned(),
        }
    }

    /// How long it asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed(Outcome::Retry { after, .. }) => *after,
            _ => None,
        }
    }

    /// Asking the same again later may help.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NotOurs | Self::Failed(Outcome::Retry { .. } | Outcome::Unknown { .. }))
    }
}

/// An answer, and what it took.
#[derive(Clone, Debug)]
pub struct Asked {
    pub told: Result<Told, NotTold>,
    /// What the marketplace's clock says, where its answer carries a date.
    pub date: Option<Timestamp>,
    pub took: Duration,
    /// Requests that left.
    pub calls: i64,
}

impl Asked {
    fn not(why: NotTold) -> Self {
        Self { told: Err(why), date: None, took: Duration::ZERO, calls: 0 }
    }
}

impl Way {
    /// Asks, waiting for its turn, and says what was told. No transaction may be open meanwhile.
    pub async fn ask(&self, connection: &Connection, purpose: Purpose, ask: &Ask) -> Asked {
        let caller = self.callers.of(connection.id);
        let sent = caller.call(purpose, None, |connection, moment| connection.adapter.ask(connection, moment, ask)).await;
        let sent = match sent {
            Ok(sent) => sent,
            Err(Refused::NotOurs) => return Asked::not(NotTold::NotOurs),
            Err(Refused::Unbuildable(why)) => return Asked::not(NotTold::CannotAsk(why)),
            Err(refused) => return Asked::not(NotTold::Failed(refused.outcome())),
        };
        let date = match &sent.answer {
            Answer::Response { headers, .. } => headers.get("date").and_then(Timestamp::parse_rfc2822),
            Answer::NotSent(_) | Answer::NoAnswer(_) | Answer::Cut(_) => None,
        };
        let calls = i64::from(!matches!(sent.answer, Answer::NotSent(_)));
        let told = connection.adapter.told(connection, ask, &sent.answer).map_err(NotTold::Failed);
        Asked { told, date, took: sent.took, calls }
    }

    /// The share of the marketplace's request budget that will be left after so long, where that is known: of several the smallest.
    pub fn budget_left(&self, connection: &Connection, after: Duration) -> Option<f64> {
        let left = self.callers.of(connection.id).left();
        let now = self.kit.clock.now();
        let share = |(name, left, closed): (&'static str, Option<i64>, Option<Timestamp>)| {
            let limit = connection.adapter.limits().iter().find(|limit| limit.name == name)?;
            share_left(limit, left?, closed, now, after)
        };
        left.into_iter().filter_map(share).min_by(f64::total_cmp)
    }
}
