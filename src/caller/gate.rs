//! The gate of one account: who may send now, who waits, and in what order. Pushes go before polls before bulk reads, but nobody
//! waits for ever: each class has so much patience, and whoever's runs out first is first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Purpose;
use super::budget::{Budget, Wait};
use crate::clock::Clock;
use crate::domain::time::Timestamp;
use crate::marketplaces::Limit;
use crate::marketplaces::wire::Headers;

/// The budget every request of an account draws from, whatever its adapter names.
pub(super) const ACCOUNT: &str = "account";

pub(super) struct Gate {
    clock: Clock,
    state: Mutex<State>,
    moved: Notify,
}

#[derive(Default)]
struct State {
    budgets: HashMap<&'static str, Budget>,
    waiting: Vec<Waiting>,
    next: u64,
}

struct Waiting {
    id: u64,
    names: Vec<&'static str>,
    /// Whose patience ends first is first.
    patient_until: Timestamp,
}

impl Gate {
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::default(), moved: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins anew, as an owner that knows only what was stored.
    pub fn reset(&self, limits: Vec<Limit>, blocked: &[(String, Timestamp)]) {
        let now = self.clock.now();
        let until = |name: &str| blocked.iter().find(|(known, _)| known == name).map(|(_, until)| *until);
        let budgets = limits.into_iter().map(|limit| (limit.name, Budget::empty(limit.clone(), until(limit.name), now)));
        self.state().budgets = budgets.collect();
        self.moved.notify_waiters();
    }

    /// Up to `most` requests that draw from these budgets, at least one: waits for it.
    pub async fn admit(self: &Arc<Self>, purpose: Purpose, names: &[&'static str], most: usize) -> Vec<Ticket> {
        let queue = Queue::join(self, purpose, names);
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // From here on no ring is missed.
            moved.as_mut().enable();
            match queue.try_draw(most) {
                Ok(tickets) => return tickets,
                Err(Wait::ForAnswer) => moved.await,
                Err(Wait::Until(until)) => {
                    tokio::select! {
                        () = moved => {}
                        () = self.clock.sleep(until.since(self.clock.now())) => {}
                    }
                }
            }
        }
    }

    /// What an answer says of the budgets a request drew from. Gives which of them nothing may draw from until when, if that is
    /// news; `true` beside it when the answer asked for patience.
    pub fn learn(
        &self,
        names: &[&'static str],
        status: u16,
        headers: &Headers,
        retry_after: Option<Duration>,
    ) -> (Vec<(&'static str, Timestamp)>, bool) {
        let now = self.clock.now();
        let mut state = self.state();
        let throttled_by = |state: &State, name: &&'static str| {
            state.budgets.get(name).is_some_and(|budget: &Budget| budget.is_throttled_by(status))
        };
        let named: Vec<&'static str> = names.iter().copied().filter(|name| *name != ACCOUNT).collect();
        let mut learning = named.clone();
        let of_named = named.iter().any(|name| throttled_by(&state, name));
        // Where a named budget is meant, the others of the account go on.
        if !of_named {
            learning.push(ACCOUNT);
        }
        let throttled = of_named || throttled_by(&state, &ACCOUNT);
        let mut news = Vec::new();
        for name in learning {
            let Some(budget) = state.budgets.get_mut(name) else { continue };
            news.extend(budget.learn(now, status, headers, retry_after).map(|until| (name, until)));
        }
        (news, throttled)
    }

    /// Closes budgets until then, because the answer's own words ask for it.
    pub fn close(&self, names: &[&'static str], until: Timestamp) -> Vec<&'static str> {
        let mut state = self.state();
        let named: Vec<&'static str> = names.iter().copied().filter(|name| state.budgets.contains_key(name)).collect();
        let closed = if named.is_empty() { vec![ACCOUNT] } else { named };
        for name in &closed {
            if let Some(budget) = state.budgets.get_mut(name) {
                budget.close(until);
            }
        }
        closed
    }

    /// What is left of each budget, and until when one is closed.
    pub fn left(&self) -> Vec<(&'static str, Option<i64>, Option<Timestamp>)> {
        let now = self.clock.now();
        let mut state = self.state();
        let mut left: Vec<_> =
            state.budgets.values_mut().map(|budget| (budget.name(), budget.left(now), budget.blocked_until(now))).collect();
        left.sort_unstable();
        left
    }

    fn end(&self, ticket: &mut Ticket) {
        let mut state = self.state();
        for name in std::mem::take(&mut ticket.names) {
            let Some(budget) = state.budgets.get_mut(name) else { continue };
            if ticket.used { budget.ended() } else { budget.give_back(ticket.drawn_at) }
        }
        drop(state);
        self.moved.notify_waiters();
    }
}

/// A place in the queue, left when dropped: a waiter that goes away must not hold the others up.
struct Queue<'a> {
    gate: &'a Arc<Gate>,
    id: u64,
    names: Vec<&'static str>,
}

impl<'a> Queue<'a> {
    fn join(gate: &'a Arc<Gate>, purpose: Purpose, names: &[&'static str]) -> Self {
        let mut all = vec![ACCOUNT];
        all.extend(names.iter().copied().filter(|name| *name != ACCOUNT));
        let mut state = gate.state();
        state.next += 1;
        let id = state.next;
        let patient_until = gate.clock.now().plus(purpose.patience());
        state.waiting.push(Waiting { id, names: all.clone(), patient_until });
        drop(state);
        Self { gate, id, names: all }
    }

    fn try_draw(&self, most: usize) -> Result<Vec<Ticket>, Wait> {
        let now = self.gate.clock.now();
        let mut state = self.gate.state();
        if !state.is_first(self.id) {
            return Err(Wait::ForAnswer);
        }
        let mut room = most.max(1);
        let mut wait: Option<Wait> = None;
        for name in &self.names {
            // A budget that its adapter does not list limits nothing.
            let Some(budget) = state.budgets.get_mut(name) else { continue };
            match budget.room(now) {
                Ok(free) => room = room.min(free),
                Err(longer) => wait = Some(wait.map_or(longer, |wait| wait.max(longer))),
            }
        }
        if let Some(wait) = wait {
            return Err(wait);
        }
        for name in &self.names {
            let Some(budget) = state.budgets.get_mut(name) else { continue };
            (0..room).for_each(|_| budget.draw(now));
        }
        let ticket = || Ticket { gate: self.gate.clone(), names: self.names.clone(), drawn_at: now, used: false };
        Ok((0..room).map(|_| ticket()).collect())
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        self.gate.state().waiting.retain(|waiting| waiting.id != self.id);
        self.gate.moved.notify_waiters();
    }
}

impl State {
    /// Whether nobody who wants one of the same budgets comes before. All share the account's own, which only counts what is under
    /// way: it does not hold back those who want nothing else in common.
    fn is_first(&self, id: u64) -> bool {
        let Some(own) = self.waiting.iter().find(|waiting| waiting.id == id) else { return true };
        let alone = own.names.len() == 1;
        !self.waiting.iter().any(|other| {
            let before = (other.patient_until, other.id) < (own.patient_until, own.id);
            before && other.names.iter().any(|name| (alone || *name != ACCOUNT) && own.names.contains(name))
        })
    }
}

/// The right to send one request. Dropped unused, it is given back.
pub struct Ticket {
    gate: Arc<Gate>,
    names: Vec<&'static str>,
    drawn_at: Timestamp,
    used: bool,
}

impl Ticket {
    pub(super) fn is_for(&self, names: &[&'static str]) -> bool {
        let named = |name: &&&'static str| **name != ACCOUNT;
        let mine: Vec<_> = self.names.iter().filter(named).collect();
        let theirs: Vec<_> = names.iter().filter(named).collect();
        mine == theirs
    }

    /// From now on it is spent, whatever becomes of the request.
    pub(super) fn spend(&mut self) {
        self.used = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let gate = self.gate.clone();
        gate.end(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marketplaces::limit::LimitHeaders;

    fn limit(name: &'static str, min_interval_ms: u64, concurrency: Option<usize>) -> Limit {
        Limit {
            name,
            requests: None,
            per: Duration::ZERO,
            burst: 1,
            concurrency,
            min_interval: Duration::from_millis(min_interval_ms),
            throttle_status: Vec::new(),
            costs: Vec::new(),
            penalty: Duration::from_secs(1),
            reads: LimitHeaders::default(),
        }
    }

    fn gate() -> (Clock, Arc<Gate>) {
        let clock = Clock::manual(Timestamp::from_seconds(1_700_000_000));
        let gate = Gate::new(clock.clone());
        gate.reset(vec![limit(ACCOUNT, 0, Some(4)), limit("stock", 1_000, None)], &[]);
        (clock, gate)
    }

    /// Lets every task that can go on do so.
    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn pushes_go_before_polls_before_bulk_reads_until_patience_ends() {
        let (clock, gate) = gate();
        let order = Arc::new(Mutex::new(Vec::new()));
        let set = tokio::task::LocalSet::new();
        for (purpose, name) in [(Purpose::Bulk, "bulk"), (Purpose::Poll, "poll"), (Purpose::Push, "push")] {
            let (gate, order) = (gate.clone(), order.clone());
            set.spawn_local(async move {
                let mut ticket = gate.admit(purpose, &["stock"], 1).await;
                ticket[0].spend();
                order.lock().unwrap().push(name);
            });
        }
        set.run_until(async {
            settle().await;
            for _ in 0..3 {
                clock.advance(Duration::from_millis(1_000));
                settle().await;
            }
        })
        .await;
        assert_eq!(*order.lock().unwrap(), ["push", "poll", "bulk"]);
        // A bulk read that has waited for longer than its patience is before a push that just came.
        let bulk = Queue::join(&gate, Purpose::Bulk, &["stock"]);
        clock.advance(Purpose::Bulk.patience() + Duration::from_secs(1));
        let push = Queue::join(&gate, Purpose::Push, &["stock"]);
        assert!(push.try_draw(1).is_err());
        assert!(bulk.try_draw(1).is_ok());
    }

    #[tokio::test]
    async fn one_who_goes_away_holds_nobody_up_and_an_unused_ticket_comes_back() {
        let (clock, gate) = gate();
        clock.advance(Duration::from_secs(5));
        let first = gate.admit(Purpose::Push, &["stock"], 1).await;
        let waiting = gate.admit(Purpose::Push, &["stock"], 1);
        assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err());
        assert!(gate.state().waiting.is_empty());
        drop(first);
        assert_eq!(gate.state().budgets[ACCOUNT].clone().room(clock.now()), Ok(4));
    }

    #[tokio::test]
    async fn the_account_bounds_what_is_under_way_for_all() {
        let (_, gate) = gate();
        let tickets = gate.admit(Purpose::Push, &[], 10).await;
        assert_eq!(tickets.len(), 4);
        let more = gate.admit(Purpose::Poll, &[], 1);
        tokio::pin!(more);
        assert!(tokio::time::timeout(Duration::from_millis(20), more.as_mut()).await.is_err());
        drop(tickets);
        assert_eq!(more.await.len(), 1);
    }

    #[tokio::test]
    async fn patience_asked_of_one_budget_leaves_the_others_alone() {
        let (clock, gate) = gate();
        clock.advance(Duration::from_secs(5));
        let (news, throttled) = gate.learn(&["stock"], 429, &Headers::default(), Some(Duration::from_secs(30)));
        assert!(throttled);
        assert_eq!(news, [("stock", clock.now().plus(Duration::from_secs(30)))]);
        assert_eq!(gate.admit(Purpose::Poll, &[], 1).await.len(), 1);
        let (news, _) = gate.learn(&[], 429, &Headers::default(), None);
        assert_eq!(news, [(ACCOUNT, clock.now().plus(Duration::from_secs(1)))]);
    }
}
