//! The one place that reads time. Everything else is told what time it is, so that a test can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use crate::domain::time::Timestamp;

#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    started: Instant,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    /// Microseconds since 1970, moved by hand.
    Manual(Arc<Manual>),
    /// So many times as fast as the system's, since then.
    Hurried {
        since: Timestamp,
        times: u32,
    },
}

#[derive(Debug)]
struct Manual {
    micros: AtomicI64,
    moved: Notify,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
    pub fn system() -> Self {
        Self { source: Source::System, started: Instant::now() }
    }

    /// A clock that stands still until it is moved.
    #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
    pub fn manual(start: Timestamp) -> Self {
        let manual = Manual { micros: AtomicI64::new(start.micros()), moved: Notify::new() };
        Self { source: Source::Manual(Arc::new(manual)), started: Instant::now() }
    }

    /// A clock that runs so many times as fast as the system's from now on: what takes a marketplace minutes is then seen in
    /// seconds, with every limit as it is. Timeouts of sockets stay real.
    pub fn hurried(times: u32) -> Self {
        let system = Self::system();
        Self { source: Source::Hurried { since: system.now(), times: times.max(1) }, ..system }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
            }
            Source::Manual(manual) => Timestamp::from_micros(manual.micros.load(Ordering::SeqCst)),
            Source::Hurried { since, times } => since.plus(self.started.elapsed().saturating_mul(*times)),
        }
    }

    /// Time that never steps back, for measuring how long something took.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Moves a manual clock; the system's is not ours to move.
    pub fn advance(&self, span: Duration) {
        if let Source::Manual(manual) = &self.source {
            manual.micros.fetch_add(i64::try_from(span.as_micros()).unwrap_or(0), Ordering::SeqCst);
            manual.moved.notify_waiters();
        }
    }

    /// Waits until this clock shows so much more: a manual one until it was moved so far.
    pub async fn sleep(&self, span: Duration) {
        let manual = match &self.source {
            Source::System => return tokio::time::sleep(span).await,
            Source::Hurried { times, .. } => return tokio::time::sleep(span / *times).await,
            Source::Manual(manual) => manual,
        };
        let until = self.now().plus(span);
        loop {
            let moved = manual.moved.notified();
            if self.now() >= until {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hurried_clock_shows_what_was_slept_and_more() {
        let clock = Clock::hurried(1_000);
        let (before, begun) = (clock.now(), Clock::system());
        clock.sleep(Duration::from_secs(60)).await;
        assert!(clock.now().since(before) >= Duration::from_secs(60));
        // A sixtieth of a second and what the machine makes of it; a minute it is not.
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
