//! The hub in memory: the pure rules of the domain, put together as the pipeline does it. The wrong ways replace one rule each.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use stockhub::domain::allocation::{self, Component, ListingInput, Pool};
use stockhub::domain::ids::ListingId;
use stockhub::domain::listing::{OwnChange, OwnHabits, Position, PushWindow, Target, expected_after, own_change};
use stockhub::domain::order::{Fulfilment, LineState, LineUpdate, Posting, implied, merge};
use stockhub::domain::quantity::{Delta, Quantity};
use stockhub::domain::rule::Rule;
use stockhub::domain::time::Timestamp;

use super::world::{CHANNELS, Failure, Feed, Hub, Kind, Message, Plan, UNIT};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Right,
    /// The central stock becomes whatever number a webhook carries.
    AbsoluteFromWebhook,
    /// Stock never goes below zero.
    ClampAtZero,
    /// An echo is what carries a number we pushed; any other change is a sale.
    EchoByEqualNumbers,
    /// A sale always counts on top of what we believe, wherever our push was.
    NoWindowRule,
    /// A cancel changes nothing of what we believe but by its effect on the ledger.
    CancelsAsTheyAre,
}

struct Listing {
    target: Target,
    acked_version: i64,
    window: PushWindow,
    pushed: HashSet<i64>,
}

pub struct RulesHub {
    plan: Plan,
    way: Way,
    available: i64,
    listings: Vec<Listing>,
    seen: HashSet<(usize, u64)>,
    lines: HashMap<(usize, u64), (LineState, Posting)>,
}

fn time(units: f64) -> Timestamp {
    Timestamp::from_micros(1_767_950_000_000_000 + (units * UNIT * 1e6) as i64)
}

impl RulesHub {
    pub fn new(plan: Plan, way: Way) -> Self {
        let shown = (plan.stock - plan.buffer).max(0);
        let listing = || Listing {
            target: Target { wanted: shown, wanted_version: 1, sent_version: 1, expected: Some(shown) },
            acked_version: 1,
            window: PushWindow::default(),
            pushed: HashSet::from([shown]),
        };
        let listings = (0..CHANNELS).map(|_| listing()).collect();
        Self { plan, way, available: plan.stock, listings, seen: HashSet::new(), lines: HashMap::new() }
    }

    fn targets(&self) -> Vec<i64> {
        let mut pool = Pool::default();
        pool.set(0, 0, self.available);
        let input = |n: usize| ListingInput {
            id: ListingId::new(uuid::Uuid::from_u128(n as u128)),
            components: vec![Component { product: 0, units: 1 }],
            locations: vec![0],
            rule: Rule { buffer: Some(self.plan.buffer), ..Rule::default() },
            quota_left: None,
        };
        allocation::quantities(&pool, &(0..CHANNELS).map(input).collect::<Vec<_>>())
    }

    fn post(&mut self, change: i64) {
        self.available += change;
        if self.way == Way::ClampAtZero {
            self.available = self.available.max(0);
        }
    }

    fn expect(&mut self, channel: usize, own: OwnChange, at: Option<Timestamp>) {
        let position = match self.way {
            Way::NoWindowRule => Position::After,
            _ => self.position(channel, at),
        };
        let target = &mut self.listings[channel].target;
        target.expected = expected_after(target.expected, own, position);
    }

    fn position(&self, channel: usize, at: Option<Timestamp>) -> Position {
        let tolerance = Duration::from_secs_f64(self.plan.tolerance * UNIT);
        self.listings[channel].window.position(at, tolerance)
    }

    fn delta(&mut self, channel: usize, message: Message, at: Option<Timestamp>) {
        let change = message.current - message.previous;
        let expected = self.listings[channel].target.expected;
        if expected.is_some_and(|e| e != message.previous) && self.position(channel, at) != Position::Before {
            self.listings[channel].target.expected = None;
        }
        let line = LineState::from_delta(Delta::parse(change).unwrap());
        self.post(implied(&line, 1, Fulfilment::Instant).unwrap().available().unwrap());
        self.expect(channel, OwnChange::By(change), at);
    }

    fn order(&mut self, channel: usize, message: Message, at: Option<Timestamp>) {
        let quantity = Some(Quantity::parse(message.quantity).unwrap());
        let update = match message.kind {
            Kind::Cancelled => LineUpdate { cancelled: quantity, at, ..LineUpdate::default() },
            _ => LineUpdate { ordered: quantity, at, ..LineUpdate::default() },
        };
        let (before, posted) = self.lines.get(&(channel, message.order)).cloned().unwrap_or_default();
        let after = merge(&before, &update);
        let wanted = implied(&after, 1, Fulfilment::Instant).unwrap();
        let due = wanted.checked_sub(posted).unwrap();
        let own = if self.way == Way::CancelsAsTheyAre {
            OwnChange::By(due.on_hand.min(0))
        } else {
            let habits = OwnHabits { sales_decrement: true, cancel_restock: self.plan.cancel_restock };
            own_change(habits, &before, &after, &update)
        };
        self.expect(channel, own, at);
        self.post(due.available().unwrap());
        self.lines.insert((channel, message.order), (after, wanted));
    }

    fn apply(&mut self, channel: usize, message: Message) {
        let at = message.at.map(time);
        let change = message.current - message.previous;
        match (self.way, self.plan.feed) {
            (Way::AbsoluteFromWebhook, _) => self.available = message.current,
            // What it takes for an echo it skips; what it does not, it counts.
            (Way::EchoByEqualNumbers, _) => {
                if !self.listings[channel].pushed.contains(&message.current) {
                    self.post(change);
                    self.expect(channel, OwnChange::By(change), at);
                }
            }
            (_, _) if message.kind == Kind::Echo => {}
            (_, Feed::Delta) => self.delta(channel, message, at),
            (_, Feed::Orders) => self.order(channel, message, at),
        }
    }
}

impl Hub for RulesHub {
    type Push = i64;

    async fn webhook(&mut self, _now: f64, channel: usize, message: Message) {
        if !self.seen.insert((channel, message.event)) {
            return;
        }
        self.apply(channel, message);
        let targets = self.targets();
        for (listing, target) in self.listings.iter_mut().zip(targets) {
            if self.way == Way::AbsoluteFromWebhook {
                // Everybody is told, also who told us.
                listing.target.expected = None;
            }
            listing.target = listing.target.retarget(target);
        }
    }

    async fn leaving(&mut self, now: f64, channel: usize) -> Vec<(i64, i64)> {
        let listing = &mut self.listings[channel];
        if listing.window.in_flight || listing.target.wanted_version <= listing.acked_version {
            return Vec::new();
        }
        let (quantity, version) = (listing.target.wanted, listing.target.wanted_version);
        listing.target.sent_version = version;
        listing.target.expected = Some(quantity);
        listing.window = PushWindow { sent_at: Some(time(now)), in_flight: true, ..listing.window };
        listing.pushed.insert(quantity);
        vec![(quantity, version)]
    }

    async fn acknowledged(&mut self, now: f64, channel: usize, version: i64) {
        let listing = &mut self.listings[channel];
        listing.acked_version = version;
        listing.window = PushWindow { acked_at: Some(time(now)), in_flight: false, ..listing.window };
        listing.target = listing.target.retarget(listing.target.wanted);
    }

    async fn failed(&mut self, _now: f64, _channel: usize, _push: i64, _failure: Failure) {
        unreachable!("what follows a failed push is the pusher's, not a rule of the domain");
    }

    async fn taken_over(&mut self, _channel: usize) {
        unreachable!("leases are not a rule of the domain");
    }

    async fn central(&mut self) -> i64 {
        self.available
    }
}
