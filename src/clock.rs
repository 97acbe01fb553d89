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

    #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
            }
            Source::Manual(manual) => Timestamp::from_micros(manual.micros.load(Ordering::SeqCst)),
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
        let Source::Manual(manual) = &self.source else { return tokio::time::sleep(span).await };
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
