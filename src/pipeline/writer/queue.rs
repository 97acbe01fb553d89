//! Who waits for the writer: a line per source, served in turn.
//!
//! A marketplace that floods the hub fills its own line and is told to come back; the others' lines stay short, and each gets one
//! of every round of places in the next group. Within a line the first is served first, so the events of one order keep theirs.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::domain::ids::MarketplaceId;

/// Whose work it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Marketplace(MarketplaceId),
    /// Commands of people, of the storefront and of our own workers.
    Command,
}

/// Why something was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Webhooks of all marketplaces together; and as many commands.
    pub all: usize,
    /// Webhooks of one marketplace.
    pub each: usize,
}

struct Entry<J> {
    job: J,
    /// The place it takes among the commands, given back when it leaves.
    _place: Option<OwnedSemaphorePermit>,
}

struct Lines<J> {
    lines: HashMap<Source, VecDeque<Entry<J>>>,
    /// The sources with something waiting; the first is next.
    turns: VecDeque<Source>,
    webhooks: usize,
    closed: bool,
}

struct Shared<J> {
    lines: Mutex<Lines<J>>,
    room: Room,
    commands: Arc<Semaphore>,
    filled: Notify,
}

/// Both ends of it; cheap to clone. One task takes, anybody puts in.
pub(super) struct Queue<J>(Arc<Shared<J>>);

impl<J> Clone for Queue<J> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<J> Queue<J> {
    pub fn new(room: Room) -> Self {
        let lines = Lines { lines: HashMap::new(), turns: VecDeque::new(), webhooks: 0, closed: false };
        let commands = Arc::new(Semaphore::new(room.all.max(1)));
        Self(Arc::new(Shared { lines: Mutex::new(lines), room, commands, filled: Notify::new() }))
    }

    fn lines(&self) -> MutexGuard<'_, Lines<J>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a webhook in, or says at once that there is no room for this source.
    pub fn put(&self, marketplace: MarketplaceId, job: J) -> Result<(), Refused> {
        let source = Source::Marketplace(marketplace);
        let mut lines = self.lines();
        let own = lines.lines.get(&source).map_or(0, VecDeque::len);
        match (lines.closed, lines.webhooks >= self.0.room.all || own >= self.0.room.each) {
            (true, _) => return Err(Refused::Closed),
            (false, true) => return Err(Refused::Full),
            (false, false) => {}
        }
        lines.webhooks += 1;
        lines.add(source, Entry { job, _place: None });
        drop(lines);
        self.0.filled.notify_one();
        Ok(())
    }

    /// Puts a command in, if there is room now.
    pub fn put_command(&self, job: J) -> Result<(), Refused> {
        let place = self.0.commands.clone().try_acquire_owned().map_err(|_| Refused::Full)?;
        self.put_at(place, job)
    }

    /// Waits until there is room.
    pub async fn put_command_patiently(&self, job: J) -> Result<(), Refused> {
        let place = self.0.commands.clone().acquire_owned().await.map_err(|_| Refused::Closed)?;
        self.put_at(place, job)
    }

    fn put_at(&self, place: OwnedSemaphorePermit, job: J) -> Result<(), Refused> {
        let mut lines = self.lines();
        if lines.closed {
            return Err(Refused::Closed);
        }
        lines.add(Source::Command, Entry { job, _place: Some(place) });
        drop(lines);
        self.0.filled.notify_one();
        Ok(())
    }

    /// The next in turn, if any waits.
    pub fn take(&self) -> Option<J> {
        self.lines().take()
    }

    /// Waits for the next in turn; `None` once it is closed and empty.
    pub async fn next(&self) -> Option<J> {
        loop {
            // Registered before looking, so that what comes between the look and the wait is not missed.
            let filled = self.0.filled.notified();
            let closed = {
                let mut lines = self.lines();
                if let Some(job) = lines.take() {
                    return Some(job);
                }
                lines.closed
            };
            if closed {
                return None;
            }
            filled.await;
        }
    }

    /// Nobody new gets in; what is in is still taken.
    pub fn close(&self) {
        self.lines().closed = true;
        self.0.commands.close();
        self.0.filled.notify_one();
    }

    pub fn len(&self) -> usize {
        self.lines().lines.values().map(VecDeque::len).sum()
    }
}

impl<J> Lines<J> {
    fn add(&mut self, source: Source, entry: Entry<J>) {
        let line = self.lines.entry(source).or_default();
        line.push_back(entry);
        if line.len() == 1 {
            self.turns.push_back(source);
        }
    }

    fn take(&mut self) -> Option<J> {
        let source = self.turns.pop_front()?;
        let line = self.lines.get_mut(&source)?;
        let entry = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&source);
        } else {
            self.turns.push_back(source);
        }
        if matches!(source, Source::Marketplace(_)) {
            self.webhooks -= 1;
        }
        Some(entry.job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marketplace(n: u128) -> MarketplaceId {
        MarketplaceId::new(uuid::Uuid::from_u128(n))
    }

    fn all(queue: &Queue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.take()).collect()
    }

    #[test]
    fn a_flood_fills_its_own_line_only() {
        let queue = Queue::new(Room { all: 10, each: 4 });
        let (flood, quiet) = (marketplace(1), marketplace(2));
        let flooded: Vec<Result<(), Refused>> = (0..6).map(|n| queue.put(flood, n)).collect();
        assert_eq!(flooded.iter().filter(|put| put.is_ok()).count(), 4);
        assert_eq!(queue.put(flood, 9), Err(Refused::Full));
        assert_eq!(queue.put(quiet, 100), Ok(()), "another source still has its place");
        assert_eq!(queue.put_command(200), Ok(()), "and so has a person");
        assert_eq!(all(&queue), [0, 100, 200, 1, 2, 3], "in turn, and in each line first come, first served");
        assert_eq!(queue.put(flood, 5), Ok(()), "what left makes room");
    }

    #[test]
    fn all_sources_together_are_bounded_too() {
        let queue = Queue::new(Room { all: 3, each: 2 });
        let put: Vec<bool> = (1..=4).map(|n| queue.put(marketplace(n), 0).is_ok()).collect();
        assert_eq!(put, [true, true, true, false]);
        assert_eq!(queue.len(), 3);
    }

    #[tokio::test]
    async fn a_patient_command_waits_for_room_and_a_closed_queue_is_emptied() {
        let queue = Queue::new(Room { all: 1, each: 1 });
        queue.put_command(1).unwrap();
        assert_eq!(queue.put_command(2), Err(Refused::Full));
        let (waited, taken) = tokio::join!(queue.put_command_patiently(3), async {
            tokio::task::yield_now().await;
            queue.take()
        });
        assert_eq!((waited, taken), (Ok(()), Some(1)));
        queue.close();
        assert_eq!(queue.put(marketplace(1), 4), Err(Refused::Closed));
        assert_eq!(queue.put_command_patiently(5).await, Err(Refused::Closed));
        assert_eq!((queue.next().await, queue.next().await), (Some(3), None));
    }
}
