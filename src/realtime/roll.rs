//! The roll call: every worker's hub answers through the same task that sends to browsers, and says what it has. A worker that
//! hangs does not answer, however well the rest of the process looks.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

/// What a worker's connections amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub websockets: usize,
    pub event_streams: usize,
    pub polls: usize,
    /// SKUs asked for by name, and once per connection that asked for all.
    pub subscriptions: usize,
    /// Connections that do not take their bytes.
    pub slow: usize,
    /// Connections that still lack something: newcomers, the resumed, the slow.
    pub behind: usize,
}

impl Tally {
    fn plus(self, other: &Self) -> Self {
        Self {
            websockets: self.websockets + other.websockets,
            event_streams: self.event_streams + other.event_streams,
            polls: self.polls + other.polls,
            subscriptions: self.subscriptions + other.subscriptions,
            slow: self.slow + other.slow,
            behind: self.behind + other.behind,
        }
    }
}

/// Workers that did not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} of {1} workers that serve browsers did not answer")]
pub struct Silent(pub usize, pub usize);

#[derive(Debug, Default)]
pub(crate) struct Roll {
    call: watch::Sender<u64>,
    places: Mutex<Vec<Weak<Place>>>,
}

/// One worker's place on the roll; it is struck off when the worker ends.
#[derive(Debug, Default)]
pub(crate) struct Place {
    answered: watch::Sender<u64>,
    tally: Mutex<Tally>,
}

impl Place {
    pub(crate) fn answer(&self, call: u64, tally: Tally) {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner) = tally;
        self.answered.send_replace(call);
    }

    fn tally(&self) -> Tally {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Roll {
    /// A new worker: what it listens to, and where it answers.
    pub(crate) fn join(&self) -> (watch::Receiver<u64>, Arc<Place>) {
        let place = Arc::new(Place::default());
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|place| place.strong_count() > 0);
        places.push(Arc::downgrade(&place));
        (self.call.subscribe(), place)
    }

    fn places(&self) -> Vec<Arc<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }

    /// What the workers said last.
    pub(crate) fn last(&self) -> Tally {
        self.places().iter().fold(Tally::default(), |sum, place| sum.plus(&place.tally()))
    }

    /// Asks all, and waits until all have answered.
    pub(crate) async fn call(&self, patience: Duration) -> Result<Tally, Silent> {
        let places = self.places();
        let mut call = 0;
        self.call.send_modify(|last| {
            *last += 1;
            call = *last;
        });
        let until = tokio::time::Instant::now() + patience;
        let mut silent = 0;
        for place in &places {
            let mut answered = place.answered.subscribe();
            let heard = tokio::time::timeout_at(until, answered.wait_for(|answered| *answered >= call)).await;
            silent += usize::from(heard.is_err());
        }
        if silent > 0 { Err(Silent(silent, places.len())) } else { Ok(self.last()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_hangs_is_missed_and_one_that_ended_is_not() {
        let roll = Roll::default();
        let (mut calls, quick) = roll.join();
        let (_, hanging) = roll.join();
        drop(roll.join());
        let answering = async move {
            calls.changed().await.unwrap();
            quick.answer(*calls.borrow(), Tally { polls: 2, ..Tally::default() });
            quick
        };
        let (called, _quick) = tokio::join!(roll.call(Duration::from_millis(100)), answering);
        assert_eq!(called, Err(Silent(1, 2)));
        drop(hanging);
        assert_eq!(roll.last().polls, 2);
    }
}
