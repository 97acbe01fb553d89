//! What runs in the background. The only place that starts tasks: every one is counted, told when to stop, and waited for.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The hub's tasks. They run on the runtime this was made on, whoever starts them: a request handler may be dropped when its
/// client leaves, a task started here is not.
#[derive(Clone)]
pub struct Workers {
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Workers {
    pub fn new(runtime: Handle, stop: CancellationToken) -> Self {
        Self { runtime, tracker: TaskTracker::new(), stop }
    }

    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Runs a task to its end; it must watch `stopping` itself.
    pub fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn_on(task, &self.runtime);
    }

    /// Runs something to its end and gives what came out, even if the asker stops waiting.
    pub async fn finish<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.tracker.spawn_on(work, &self.runtime).await.ok()
    }

    /// Runs what keeps a processor busy or waits for a disk, on a thread of its own.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.tracker.spawn_blocking_on(work, &self.runtime).await.ok()
    }

    /// Calls a step again and again: at once while it says there is more, else after a pause.
    pub fn every<S, F>(&self, pause: Duration, mut step: S)
    where
        S: FnMut() -> F + Send + 'static,
        F: Future<Output = More> + Send,
    {
        let stop = self.stop.clone();
        self.start(async move {
            while !stop.is_cancelled() {
                if step().await == More::Now {
                    continue;
                }
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        });
    }

    /// Waits for all tasks, at most so long; false when some had to be left.
    pub async fn join(&self, at_most: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(at_most, self.tracker.wait()).await.is_ok()
    }
}

/// What a step says when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    Now,
    Later,
}
