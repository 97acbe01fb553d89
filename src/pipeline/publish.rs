//! Carrying events and alerts to their sinks: at least once, in order per product, and one bad consumer delays nobody else.
//!
//! Route (every sink that wants it gets its delivery), claim (a lease per sink, so that one node at a time serves it), send
//! (nothing held), settle. What fails waits longer each time and is a dead letter in the end; a sink that takes nothing at all
//! is left alone as a whole, so that a day without a consumer costs a few tries and not every event its last one.

mod commands;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Kit;
use super::outbox::Bell;
use super::writer::{WriteError, Writer};
use crate::alerts::{Message, Messenger, Sent};
use crate::db::sinks::{self, DueDelivery, SinkRow};
use crate::db::{Db, DbError, events};

use commands::{Claim, Settle};
pub use commands::{Purge, Route};

#[derive(Clone, Copy, Debug)]
pub struct PublishLimits {
    /// One request.
    pub timeout: Duration,
    pub retry_base: Duration,
    pub retry_cap: Duration,
    pub attempts_max: u32,
    pub batch_max: usize,
    pub concurrency: usize,
    pub retention: Duration,
}

impl PublishLimits {
    /// How long a node may hold a sink without a word. With the default timeout 15 s: after that a killed node's work is taken over.
    fn lease(&self) -> Duration {
        self.timeout + SENDING + Duration::from_secs(1)
    }
}

/// Nothing new is sent later than this after a claim, so that the last request ends before the lease does.
const SENDING: Duration = Duration::from_secs(4);

/// Between two looks when no bell rings: other nodes' events ring none here, and retries become due by themselves.
const PAUSE: Duration = Duration::from_millis(250);

/// A sink that had nothing for us after all is not asked again before this.
const QUIET: Duration = Duration::from_millis(1_000);

pub struct Publisher {
    pub kit: Kit,
    pub db: Db,
    pub writer: Writer,
    pub messenger: Messenger,
    pub bell: Bell,
    /// Who holds the leases.
    pub owner: String,
    pub limits: PublishLimits,
}

/// Sinks that are not to be served just now: those being served, and those that had nothing a moment ago.
#[derive(Default)]
struct Held(HashMap<Uuid, Until>);

#[derive(Clone, Copy, PartialEq)]
enum Until {
    Done,
    Time(Duration),
}

impl Held {
    /// Whether the sink is free; then it is held until released.
    fn take(&mut self, sink: Uuid, now: Duration) -> bool {
        let free = self.0.get(&sink).is_none_or(|until| matches!(until, Until::Time(time) if *time <= now));
        if free {
            self.0.insert(sink, Until::Done);
        }
        free
    }

    fn release(&mut self, sink: Uuid, quiet: Option<Duration>) {
        match quiet {
            Some(until) => self.0.insert(sink, Until::Time(until)),
            None => self.0.remove(&sink),
        };
    }
}

/// One delivery and how it ended.
pub struct Ended {
    pub due: DueDelivery,
    pub sent: Sent,
}

impl Publisher {
    /// Carries until told to stop; then finishes what is under way.
    pub async fn run(&self, stop: CancellationToken) {
        let mut under_way = FuturesUnordered::new();
        let mut held = Held::default();
        loop {
            tokio::select! {
                biased;
                Some(done) = under_way.next(), if !under_way.is_empty() => {
                    let (sink, progress): (Uuid, bool) = done;
                    held.release(sink, (!progress).then(|| self.kit.clock.elapsed() + QUIET));
                }
                () = stop.cancelled() => break,
                () = self.bell.rung() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
            let now = self.kit.clock.elapsed();
            match self.look().await {
                Ok(due) => {
                    for sink in due {
                        if held.take(sink, now) {
                            let stop = &stop;
                            under_way.push(async move { (sink, made_progress(self.serve(sink, stop).await)) });
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot look for events to carry out"),
            }
        }
        while under_way.next().await.is_some() {}
    }

    /// One bounded pass over all sinks: what a test calls. Gives how many deliveries were tried.
    pub async fn step(&self) -> Result<usize, WriteError<DbError>> {
        let mut tried = 0;
        for sink in self.look().await? {
            tried += self.serve(sink, &CancellationToken::new()).await?;
        }
        Ok(tried)
    }

    /// Routes what is new; gives the sinks with something to send.
    async fn look(&self) -> Result<Vec<Uuid>, WriteError<DbError>> {
        let refused = WriteError::Refused;
        let mut reader = self.db.read().await.map_err(refused)?;
        if events::any_unrouted(&mut reader.conn()).await.map_err(refused)? {
            let limit = self.batch();
            while self.writer.run_patiently(Route { limit }).await? == limit {}
        }
        sinks::due(&mut reader.conn(), self.kit.clock.now()).await.map_err(refused)
    }

    fn batch(&self) -> i64 {
        i64::try_from(self.limits.batch_max).unwrap_or(i64::MAX)
    }

    /// One claim of one sink: sends what it may take, writes down how it went.
    async fn serve(&self, sink: Uuid, stop: &CancellationToken) -> Result<usize, WriteError<DbError>> {
        let claim = Claim { sink, owner: self.owner.clone(), limit: self.batch(), lease: self.limits.lease() };
        let Some((sink, due)) = self.writer.run_patiently(claim).await? else { return Ok(0) };
        let until = self.kit.clock.elapsed() + SENDING;
        let mut streams: BTreeMap<Uuid, Vec<DueDelivery>> = BTreeMap::new();
        for delivery in due {
            streams.entry(delivery.stream).or_default().push(delivery);
        }
        let sends = streams.into_values().map(|list| self.send_in_order(&sink, list, until, stop));
        let ended: Vec<Vec<Ended>> = stream::iter(sends).buffer_unordered(self.limits.concurrency.max(1)).collect().await;
        let ended: Vec<Ended> = ended.into_iter().flatten().collect();
        let count = ended.len();
        self.writer.run_patiently(Settle { sink, owner: self.owner.clone(), ended, limits: self.limits }).await?;
        Ok(count)
    }

    /// What belongs to one product goes one after the other, and stops where one did not get through.
    async fn send_in_order(
        &self,
        sink: &SinkRow,
        list: Vec<DueDelivery>,
        until: Duration,
        stop: &CancellationToken,
    ) -> Vec<Ended> {
        let mut ended = Vec::new();
        for due in list {
            if stop.is_cancelled() || self.kit.clock.elapsed() >= until {
                break;
            }
            let sent = match Message::of(&due) {
                Some(message) => self.messenger.send(sink, &message, self.kit.clock.now()).await,
                None => Sent::Refused { status: None, why: "its event is gone".into() },
            };
            let stuck = matches!(sent, Sent::Retry { .. });
            ended.push(Ended { due, sent });
            if stuck {
                break;
            }
        }
        ended
    }
}

/// Whether something was tried; a failure is logged, and tried again after a while.
fn made_progress(served: Result<usize, WriteError<DbError>>) -> bool {
    match served {
        Ok(tried) => tried > 0,
        Err(error) => {
            tracing::warn!(%error, "a sink could not be served");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_is_served_once_at_a_time_and_free_again_after_its_quiet() {
        let (mut held, sink) = (Held::default(), Uuid::nil());
        let at = Duration::from_secs;
        assert!(held.take(sink, at(0)));
        assert!(!held.take(sink, at(100)), "it is being served");
        held.release(sink, Some(at(5)));
        // To ask in between must not hold it for ever.
        assert!(!held.take(sink, at(3)) && !held.take(sink, at(4)));
        assert!(held.take(sink, at(5)));
        held.release(sink, None);
        assert!(held.take(sink, at(5)));
    }
}
