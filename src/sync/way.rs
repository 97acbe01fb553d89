//! The way out to one marketplace, for questions. Pushes go by `pipeline/push`; both belong to whoever owns the account's lease.

use std::time::Duration;

use crate::domain::time::Timestamp;
use crate::marketplaces::call::{Ask, Told};
use crate::marketplaces::wire::{Answer, Outcome};
use crate::marketplaces::{Call, Connection, Moment, Unreadable};
use crate::outbound::Outbound;
use crate::pipeline::Kit;

#[derive(Clone)]
pub struct Way {
    pub kit: Kit,
    pub outbound: Outbound,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum NotTold {
    /// This marketplace has no request for it, or something is missing from the account.
    CannotAsk(Unreadable),
    Failed(Outcome),
}

impl NotTold {
    pub fn message(&self) -> String {
        match self {
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
        matches!(self, Self::Failed(Outcome::Retry { .. } | Outcome::Unknown { .. }))
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

impl Way {
    /// The share of the marketplace's request budget that is left, where that is known.
    pub fn budget_left(&self, _: &Connection) -> Option<f64> {
        None
    }

    /// Asks, and says what was told. No transaction may be open meanwhile.
    pub async fn ask(&self, connection: &Connection, ask: &Ask) -> Asked {
        let moment = Moment { now: self.kit.clock.now(), access_token: None, refresh_token: None };
        let started = self.kit.clock.elapsed();
        let Call { request, .. } = match connection.adapter.ask(connection, &moment, ask) {
            Ok(call) => call,
            Err(why) => return Asked { told: Err(NotTold::CannotAsk(why)), date: None, took: Duration::ZERO, calls: 0 },
        };
        let answer = self.outbound.send(request).await;
        let told = connection.adapter.told(connection, ask, &answer).map_err(NotTold::Failed);
        let date = match &answer {
            Answer::Response { headers, .. } => headers.get("date").and_then(Timestamp::parse_rfc2822),
            Answer::NotSent(_) | Answer::NoAnswer(_) => None,
        };
        let took = self.kit.clock.elapsed().saturating_sub(started);
        Asked { told, date, took, calls: i64::from(!matches!(answer, Answer::NotSent(_))) }
    }
}
