//! What was not believed, for people who connect a shop. In memory and capped: strangers cannot fill a disk with it, and it is
//! gone after a restart.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::verify::{Inbound, Rejection};
use crate::domain::time::Timestamp;

/// One refused request. Header names are kept, their values are not: they may be somebody's secret.
#[derive(Clone, Debug)]
pub struct Rejected {
    pub at: Timestamp,
    pub marketplace: String,
    pub reason: Rejection,
    pub client: Option<IpAddr>,
    pub header_names: Vec<String>,
    pub body_bytes: usize,
}

/// Names of headers kept of one request.
const NAMES_MAX: usize = 32;

#[derive(Clone)]
pub struct RejectedList {
    kept: Arc<Mutex<VecDeque<Rejected>>>,
    cap: usize,
}

impl RejectedList {
    pub fn new(cap: usize) -> Self {
        Self { kept: Arc::default(), cap }
    }

    pub fn push(&self, inbound: &Inbound, reason: Rejection) {
        if self.cap == 0 {
            return;
        }
        let header_names = inbound.headers.iter().take(NAMES_MAX).map(|(name, _)| name.chars().take(64).collect()).collect();
        let rejected = Rejected {
            at: inbound.received_at,
            marketplace: inbound.connection.code.clone(),
            reason,
            client: inbound.door.client,
            header_names,
            body_bytes: inbound.body.len(),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(self.cap - 1);
        kept.push_front(rejected);
    }

    /// Newest first.
    pub fn newest(&self) -> Vec<Rejected> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
