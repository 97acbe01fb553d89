//! "Poll this one now": for who waits until its orders are read. What is asked for within a moment is one poll.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::ids::MarketplaceId;
use crate::domain::time::Timestamp;

#[derive(Clone, Default)]
pub struct Bells(Arc<Inner>);

#[derive(Default)]
struct Inner {
    asked: Mutex<HashMap<MarketplaceId, Timestamp>>,
    rung: Notify,
}

impl Bells {
    /// Asks for a poll that starts after this moment.
    pub fn poll_now(&self, marketplace: MarketplaceId, now: Timestamp) {
        let mut asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = asked.entry(marketplace).or_insert(now);
        *latest = (*latest).max(now);
        drop(asked);
        self.0.rung.notify_one();
    }

    /// Something was put in line: look now.
    pub fn look(&self) {
        self.0.rung.notify_one();
    }

    /// When a poll was last asked for that none has answered yet.
    pub(super) fn asked(&self, marketplace: MarketplaceId) -> Option<Timestamp> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner).get(&marketplace).copied()
    }

    /// A poll that began then is over: it answers all who asked before.
    pub(super) fn answered(&self, marketplace: MarketplaceId, began: Timestamp) {
        let mut asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.get(&marketplace).is_some_and(|at| *at <= began) {
            asked.remove(&marketplace);
        }
    }

    /// Returns when somebody rings, or after so long.
    pub(super) async fn rung(&self, at_most: Duration) {
        tokio::select! {
            () = self.0.rung.notified() => {}
            () = tokio::time::sleep(at_most) => {}
        }
    }
}
