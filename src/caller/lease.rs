//! Who calls out for an account: the holder of its lease. One task takes and renews the leases of all accounts of this process with
//! one statement, so that a push pays nothing for it; a killed process's leases run out and another takes them, with a higher fence.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Callers, Inner};
use crate::db::{DbError, accounts};
use crate::domain::ids::MarketplaceId;
use crate::domain::time::Timestamp;
use crate::pipeline::Tx;
use crate::pipeline::writer::{Command, WriteError};

/// Which ownership of an account this is: another number means that somebody else may have called out in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence(i64);

/// The name of an account's lease.
pub fn name(id: MarketplaceId) -> String {
    format!("account:{id}")
}

/// What this process knows of one lease.
#[derive(Default)]
pub(super) struct Lease {
    until: AtomicI64,
    fence: AtomicI64,
    pub changed: Notify,
}

impl Lease {
    /// Of a database no other process can hold: ours for good.
    pub fn for_good() -> Self {
        Self { until: AtomicI64::new(i64::MAX), fence: AtomicI64::new(1), changed: Notify::new() }
    }

    /// Ours, and for that much longer.
    pub fn held(&self, now: Timestamp, at_least: Duration) -> Option<Fence> {
        let until = Timestamp::from_micros(self.until.load(Ordering::Acquire));
        (now.plus(at_least) < until).then(|| Fence(self.fence.load(Ordering::Acquire)))
    }

    fn note(&self, ours: Option<(Timestamp, i64)>) {
        let (until, fence) = ours.map_or((0, 0), |(until, fence)| (until.micros(), fence));
        // The fence of a lease that was lost stays: it is compared with, not held.
        if ours.is_some() {
            self.fence.store(fence, Ordering::Release);
        }
        self.until.store(until, Ordering::Release);
        // Every time: one that ran out (the database was away for longer than a lease) and is ours again has the fence it had, and
        // whoever waits for it would wait for ever.
        self.changed.notify_waiters();
    }
}

struct Take {
    names: Vec<String>,
    owner: String,
    lease: Duration,
}

impl Command for Take {
    type Output = (Timestamp, Vec<(String, i64)>);
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Self::Output, DbError> {
        let until = tx.now.plus(self.lease);
        Ok((until, accounts::take(&mut tx.conn, &self.names, &self.owner, until, tx.now).await?))
    }
}

struct Release {
    names: Vec<String>,
    owner: String,
}

impl Command for Release {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        accounts::release(&mut tx.conn, &self.names, &self.owner).await
    }
}

/// Something is under way that needs its account's lease, and whose end is still to be written down.
pub struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Inner {
    pub(super) fn busy(&self) -> Busy<'_> {
        self.busy.fetch_add(1, Ordering::AcqRel);
        Busy(&self.busy)
    }
}

/// How often a stopping process looks whether its last request has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Callers {
    /// Keeps the leases until told to stop; then gives them back once nothing needs them any more.
    pub async fn keep(&self, stop: CancellationToken) {
        if self.is_alone() {
            return;
        }
        let pause = self.0.limits.lease / 3;
        while !stop.is_cancelled() {
            if let Err(error) = self.renew().await {
                tracing::warn!(%error, "the leases of marketplace accounts could not be renewed");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.0.wanted.notified() => {}
                () = self.0.kit.clock.sleep(pause) => {}
            }
        }
        while self.0.busy.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let names = self.all().iter().map(|caller| name(caller.id())).collect();
        let release = Release { names, owner: self.owner().to_owned() };
        if let Err(error) = self.0.writer.run_patiently(release).await {
            tracing::debug!(%error, "the leases were not given back and will run out");
        }
    }

    /// One pass: whatever is ours or nobody's is ours for another lease.
    pub async fn renew(&self) -> Result<(), WriteError<DbError>> {
        let callers = self.all();
        if callers.is_empty() || self.is_alone() {
            return Ok(());
        }
        let names = callers.iter().map(|caller| name(caller.id())).collect();
        let take = Take { names, owner: self.owner().to_owned(), lease: self.0.limits.lease };
        let (until, ours) = self.0.writer.run_patiently(take).await?;
        let ours: std::collections::HashMap<String, i64> = ours.into_iter().collect();
        for caller in callers {
            let fence = ours.get(&name(caller.id()));
            caller.lease.note(fence.map(|fence| (until, *fence)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn a_lease_that_ends_too_soon_is_not_held() {
        let lease = Lease::default();
        let now = Timestamp::from_seconds(100);
        assert_eq!(lease.held(now, Duration::ZERO), None);
        lease.note(Some((Timestamp::from_seconds(110), 3)));
        assert_eq!(lease.held(now, Duration::from_secs(5)), Some(Fence(3)));
        assert_eq!(lease.held(now, Duration::from_secs(10)), None);
        lease.note(None);
        assert_eq!(lease.held(now, Duration::ZERO), None);
        lease.note(Some((Timestamp::from_seconds(110), 3)));
        let waits = lease.changed.notified();
        tokio::pin!(waits);
        waits.as_mut().enable();
        assert_eq!(lease.held(Timestamp::from_seconds(200), Duration::ZERO), None);
        lease.note(Some((Timestamp::from_seconds(300), 3)));
        assert_eq!(waits.now_or_never(), Some(()), "who waits for one that ran out is rung when it is ours again");
        assert!(Lease::for_good().held(Timestamp::from_seconds(i64::from(u32::MAX)), Duration::from_secs(60)).is_some());
    }
}
