//! How a connection is doing, for people to see.

use std::sync::{Mutex, PoisonError};

use crate::domain::time::Timestamp;
use crate::marketplaces::Outcome;

/// As whoever calls out for it sees it.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Health {
    /// Nothing but a probe is sent until it answers again.
    pub circuit_open: bool,
    pub last_success_at: Option<Timestamp>,
    pub last_failure_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

/// Shared between a pusher and who looks at it.
#[derive(Default)]
pub struct HealthBoard(Mutex<Health>);

impl HealthBoard {
    pub fn read(&self) -> Health {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn note(&self, now: Timestamp, outcome: &Outcome) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Outcome::Applied | Outcome::Accepted => health.last_success_at = Some(now),
            Outcome::Conflict { message, .. }
            | Outcome::Retry { message, .. }
            | Outcome::Permanent { message, .. }
            | Outcome::Unknown { message }
            | Outcome::Auth { message } => {
                health.last_failure_at = Some(now);
                health.last_error = Some(message.clone());
            }
        }
    }

    pub fn circuit(&self, open: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).circuit_open = open;
    }
}
