//! Whether anything may be sent to a marketplace now.

use crate::domain::retry::{Breaker, BreakerLimits, Permit};
use crate::domain::time::Timestamp;
use crate::marketplaces::Outcome;

pub(super) struct Road {
    pub breaker: Breaker,
    /// Something was applied since the start, or since our credentials were refused: a restart forgets what went wrong, an open
    /// alert does not.
    pub proven: bool,
}

impl Road {
    pub fn new(limits: BreakerLimits) -> Self {
        Self { breaker: Breaker::new(limits), proven: false }
    }

    pub fn may_send(&mut self, now: Timestamp) -> Permit {
        self.breaker.may_send(now)
    }

    pub fn note(&mut self, now: Timestamp, outcome: &Outcome, unit_random: f64) {
        match outcome {
            // An answer about a listing is an answer: the marketplace is there.
            Outcome::Applied | Outcome::Accepted | Outcome::Permanent { .. } | Outcome::Conflict { .. } => {
                self.breaker.on_success(now);
            }
            // Patience is the budgets' business.
            Outcome::Retry { throttled: true, .. } => self.breaker.on_throttled(now),
            Outcome::Retry { .. } | Outcome::Unknown { .. } | Outcome::Auth { .. } => self.breaker.on_failure(now, unit_random),
        }
    }
}
