//! What runs once per connection: started when a connection appears, ended when it goes, ended and started again when it changes.
//! One of a kind never runs twice at once for a connection: the next waits for the one before to have ended.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::ids::MarketplaceId;
use crate::marketplaces::Connection;
use crate::marketplaces::registry::Registry;
use crate::pipeline::connections::Connections;
use crate::workers::Workers;

pub type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// `None`: the connection needs no such worker.
pub type Make = Box<dyn Fn(&Arc<Connection>, CancellationToken) -> Option<Job> + Send>;

/// A kind of worker: whether a connection needs one, and what it does until it is told to stop.
pub struct Kind {
    pub name: &'static str,
    pub make: Make,
}

pub struct Supervisor {
    pub connections: Connections,
    pub registry: Registry,
    pub workers: Workers,
    pub kinds: Vec<Kind>,
    /// How often to look whether another node changed something; alone, only what this one does changes anything.
    pub look_every: Duration,
}

struct Running {
    /// What it was started with.
    connection: Arc<Connection>,
    stop: CancellationToken,
    ended: CancellationToken,
    /// Told to stop: kept so that the next one waits for it.
    stopping: bool,
}

type Place = (&'static str, MarketplaceId);

impl Supervisor {
    /// Until told to stop; what runs then is told too.
    pub async fn run(self, stop: CancellationToken) {
        let mut running: HashMap<Place, Running> = HashMap::new();
        loop {
            self.arrange(&mut running);
            let wait = self.connections.quiet_for(self.look_every).await;
            let changed = tokio::select! {
                () = stop.cancelled() => return,
                () = self.connections.rung() => true,
                () = tokio::time::sleep(wait) => false,
            };
            // What rang has been read already, or is a change in the database that has not.
            let read = self.connections.refresh_if_changed().await;
            if let Err(error) = read {
                tracing::warn!(%error, changed, "the connections could not be read; tried again");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }

    fn arrange(&self, running: &mut HashMap<Place, Running>) {
        running.retain(|_, one| !one.ended.is_cancelled());
        let live: HashMap<MarketplaceId, Arc<Connection>> = self.registry.all().into_iter().map(|c| (c.id, c)).collect();
        for ((kind, id), one) in running.iter_mut() {
            let same = live.get(id).is_some_and(|connection| Arc::ptr_eq(connection, &one.connection));
            if !same && !one.stopping {
                tracing::info!(marketplace = %one.connection.code, kind, "stopped: its connection changed");
                one.stop.cancel();
                one.stopping = true;
            }
        }
        for connection in live.values() {
            for kind in &self.kinds {
                let place = (kind.name, connection.id);
                let before = running.get(&place);
                if before.is_none_or(|one| one.stopping)
                    && let Some(started) = self.start(kind, connection, before.map(|one| one.ended.clone()))
                {
                    running.insert(place, started);
                }
            }
        }
    }

    fn start(&self, kind: &Kind, connection: &Arc<Connection>, after: Option<CancellationToken>) -> Option<Running> {
        let (stop, ended) = (self.workers.stopping().child_token(), CancellationToken::new());
        let job = (kind.make)(connection, stop.clone())?;
        // Also when it panics: nobody shall wait for it for ever.
        let guard = ended.clone().drop_guard();
        self.workers.start(async move {
            let _ended = guard;
            if let Some(before) = after {
                before.cancelled().await;
            }
            job.await;
        });
        Some(Running { connection: connection.clone(), stop, ended, stopping: false })
    }
}
