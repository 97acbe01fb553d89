//! The world outside the hub: marketplaces with numbers of their own, and the delays between them and us. One unit of time is ten
//! seconds; nothing here waits for any.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Seconds in a unit of time.
pub const UNIT: f64 = 10.0;
pub const CHANNELS: usize = 3;
/// More events than this in one run: it does not come to rest.
const EVENTS_MAX: usize = 20_000;
const WEBHOOK_DELAY: f64 = 0.5;
const PUSH_DELAY: f64 = 0.25;
const ACK_DELAY: f64 = 0.2;
const TIMEOUT: f64 = 1.0;
/// How long after its time-out a push may still arrive; less than the window after which the hub confirms again.
const LATE: f64 = 1.4;
/// How long after the last sale the hub gets to come to rest, where pushes fail.
const AFTERWARDS: f64 = 40.0;
const LOOK_EVERY: f64 = 0.5;
/// As short as a webhook's way, so that cancels often overtake their creates.
const CANCEL_DELAY: f64 = 0.5;
const SALES_RATE: f64 = 0.5;
const DUPLICATES: f64 = 0.15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    Delta,
    Orders,
}

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub feed: Feed,
    pub stock: i64,
    pub buffer: i64,
    pub length: f64,
    /// The part of sales that is cancelled later.
    pub cancels: f64,
    pub cancel_restock: Option<bool>,
    /// How far a marketplace's clock may be off, in units.
    pub clock_error: f64,
    pub tolerance: f64,
    pub timestamps: bool,
    /// The part of pushes that goes wrong in one of four ways.
    pub faults: f64,
}

impl Plan {
    pub fn standard(feed: Feed) -> Self {
        Self {
            feed,
            stock: 2_000,
            buffer: 0,
            length: 100.0,
            cancels: 0.0,
            cancel_restock: Some(true),
            clock_error: 0.0,
            tolerance: 0.2,
            timestamps: true,
            faults: 0.0,
        }
    }

    /// Much is cancelled, and the run is short: a later sale elsewhere would push again and hide what went wrong.
    pub fn with_cancels(cancel_restock: Option<bool>) -> Self {
        Self { cancels: 0.5, cancel_restock, length: 5.0, ..Self::standard(Feed::Orders) }
    }
}

/// What a webhook says.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    pub event: u64,
    pub kind: Kind,
    pub order: u64,
    pub quantity: i64,
    pub previous: i64,
    pub current: i64,
    /// By the marketplace's own clock, in units.
    pub at: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sold,
    Cancelled,
    /// Its number changed because we told it to.
    Echo,
}

/// How a push ended, where it was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Refused,
    /// No answer within [`TIMEOUT`]. It may have been lost, and it may come late.
    Unanswered,
}

/// The hub as the world sees it.
pub trait Hub {
    type Push: Clone;
    async fn webhook(&mut self, now: f64, channel: usize, message: Message);
    /// Pushes that leave now: the number, and what the acknowledgement must bring back.
    async fn leaving(&mut self, now: f64, channel: usize) -> Vec<(i64, Self::Push)>;
    async fn acknowledged(&mut self, now: f64, channel: usize, push: Self::Push);
    async fn failed(&mut self, now: f64, channel: usize, push: Self::Push, failure: Failure);
    /// Whoever pushed to this channel is gone, and somebody else takes over.
    async fn taken_over(&mut self, channel: usize);
    async fn central(&mut self) -> i64;
}

#[derive(Clone, Debug)]
enum Event<P> {
    Try,
    /// So many more, and so many in all.
    Cancel {
        order: u64,
        more: i64,
        total: i64,
    },
    Webhook(Message),
    /// With what is to be acknowledged, if anybody still listens.
    Arrives(i64, Option<P>),
    Acknowledged(P),
    Failed(P, Failure),
    TakenOver,
    /// Time passes: what was put off may be due.
    Look,
}

struct Due<P> {
    at: f64,
    number: usize,
    channel: usize,
    event: Event<P>,
}

impl<P> PartialEq for Due<P> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl<P> Eq for Due<P> {}
impl<P> PartialOrd for Due<P> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<P> Ord for Due<P> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.total_cmp(&other.at).then(self.number.cmp(&other.number))
    }
}

struct Channel {
    shown: i64,
    clock_error: f64,
}

pub struct Report {
    pub settled: bool,
    pub central: i64,
    pub truth: i64,
    pub listings_wrong: usize,
    pub oversold: i64,
    pub pushes: usize,
    pub sold: i64,
}

struct World<P> {
    plan: Plan,
    rng: fastrand::Rng,
    due: BinaryHeap<Reverse<Due<P>>>,
    channels: Vec<Channel>,
    number: usize,
    events: u64,
    sold: i64,
    pushes: usize,
}

impl<P> World<P> {
    fn delay(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.rng.f64()).ln()
    }

    fn later(&mut self, at: f64, channel: usize, event: Event<P>) {
        self.number += 1;
        self.due.push(Reverse(Due { at, number: self.number, channel, event }));
    }

    /// Tells the hub what happened here, sometimes twice, each copy with a delay of its own: so they overtake one another.
    fn tell(&mut self, now: f64, channel: usize, kind: Kind, order: u64, quantity: i64, previous: i64) {
        self.events += 1;
        let clock = now + self.channels[channel].clock_error;
        let (event, current) = (self.events, self.channels[channel].shown);
        let message = Message { event, kind, order, quantity, previous, current, at: self.plan.timestamps.then_some(clock) };
        let copies = if self.rng.f64() < DUPLICATES { 2 } else { 1 };
        for _ in 0..copies {
            let at = now + self.delay(WEBHOOK_DELAY);
            self.later(at, channel, Event::Webhook(message));
        }
    }

    fn try_to_sell(&mut self, now: f64, channel: usize) {
        let next = now + self.delay(1.0 / SALES_RATE);
        if next < self.plan.length {
            self.later(next, channel, Event::Try);
        }
        let quantity = self.rng.i64(1..=3);
        let previous = self.channels[channel].shown;
        if previous < quantity {
            return;
        }
        self.channels[channel].shown -= quantity;
        self.sold += quantity;
        let order = self.events + 1;
        self.tell(now, channel, Kind::Sold, order, quantity, previous);
        if self.rng.f64() < self.plan.cancels {
            let mut at = now + self.delay(CANCEL_DELAY);
            let mut cancelled = 0;
            // In one go, or one piece first and the rest later.
            if quantity > 1 && self.rng.bool() {
                cancelled = 1;
                self.later(at, channel, Event::Cancel { order, more: 1, total: 1 });
                at += self.delay(CANCEL_DELAY);
            }
            self.later(at, channel, Event::Cancel { order, more: quantity - cancelled, total: quantity });
        }
    }

    fn cancel(&mut self, now: f64, channel: usize, order: u64, more: i64, total: i64) {
        let previous = self.channels[channel].shown;
        // Where nobody says what a marketplace does, it may do either.
        if self.plan.cancel_restock.unwrap_or(order.is_multiple_of(2)) {
            self.channels[channel].shown += more;
        }
        self.sold -= more;
        self.tell(now, channel, Kind::Cancelled, order, total, previous);
    }

    fn arrives(&mut self, now: f64, channel: usize, quantity: i64, push: Option<P>) {
        let previous = self.channels[channel].shown;
        self.channels[channel].shown = quantity;
        self.tell(now, channel, Kind::Echo, 0, quantity - previous, previous);
        if let Some(push) = push {
            let at = now + self.delay(ACK_DELAY);
            self.later(at, channel, Event::Acknowledged(push));
        }
    }

    fn leaves(&mut self, now: f64, channel: usize, quantity: i64, push: P) {
        self.pushes += 1;
        let arrives = now + self.delay(PUSH_DELAY);
        if self.rng.f64() >= self.plan.faults {
            return self.later(arrives, channel, Event::Arrives(quantity, Some(push)));
        }
        let late = now + TIMEOUT + self.rng.f64() * LATE;
        match self.rng.u8(0..4) {
            0 => self.later(arrives, channel, Event::Failed(push, Failure::Refused)),
            1 => self.later(now + TIMEOUT, channel, Event::Failed(push, Failure::Unanswered)),
            2 => {
                self.later(now + TIMEOUT, channel, Event::Failed(push, Failure::Unanswered));
                self.later(late, channel, Event::Arrives(quantity, None));
            }
            // Its sender is thought to be dead, is not, and comes back with an answer.
            _ => {
                self.later(now, channel, Event::TakenOver);
                self.later(arrives, channel, Event::Arrives(quantity, Some(push)));
            }
        }
    }
}

/// Runs until nothing is under way any more, or until it is plain that this never comes.
pub async fn run<H: Hub>(plan: Plan, seed: u64, hub: &mut H) -> Report {
    let mut rng = fastrand::Rng::with_seed(seed);
    let shown = (plan.stock - plan.buffer).max(0);
    let error = |rng: &mut fastrand::Rng| (rng.f64() * 2.0 - 1.0) * plan.clock_error;
    let channels = (0..CHANNELS).map(|_| Channel { shown, clock_error: error(&mut rng) }).collect();
    let mut world = World { plan, rng, due: BinaryHeap::new(), channels, number: 0, events: 0, sold: 0, pushes: 0 };
    for channel in 0..CHANNELS {
        let at = world.delay(1.0 / SALES_RATE);
        world.later(at, channel, Event::Try);
    }
    if plan.faults > 0.0 {
        let looks = ((plan.length + AFTERWARDS) / LOOK_EVERY) as usize;
        for n in 0..looks * CHANNELS {
            world.later((n / CHANNELS) as f64 * LOOK_EVERY, n % CHANNELS, Event::Look);
        }
    }
    let mut settled = true;
    while let Some(Reverse(Due { at: now, channel, event, number })) = world.due.pop() {
        if number > EVENTS_MAX {
            settled = false;
            break;
        }
        match event {
            Event::Try => world.try_to_sell(now, channel),
            Event::Cancel { order, more, total } => world.cancel(now, channel, order, more, total),
            Event::Arrives(quantity, push) => world.arrives(now, channel, quantity, push),
            Event::Webhook(message) => {
                hub.webhook(now, channel, message).await;
                for other in 0..CHANNELS {
                    send(&mut world, hub, now, other).await;
                }
            }
            Event::Acknowledged(push) => {
                hub.acknowledged(now, channel, push).await;
                send(&mut world, hub, now, channel).await;
            }
            Event::Failed(push, failure) => {
                hub.failed(now, channel, push, failure).await;
                send(&mut world, hub, now, channel).await;
            }
            Event::TakenOver => {
                hub.taken_over(channel).await;
                send(&mut world, hub, now, channel).await;
            }
            Event::Look => send(&mut world, hub, now, channel).await,
        }
    }
    let truth = plan.stock - world.sold;
    let wanted = (truth - plan.buffer).max(0);
    Report {
        settled,
        central: hub.central().await,
        truth,
        listings_wrong: world.channels.iter().filter(|channel| channel.shown != wanted).count(),
        oversold: (-truth).max(0),
        pushes: world.pushes,
        sold: world.sold,
    }
}

async fn send<H: Hub>(world: &mut World<H::Push>, hub: &mut H, now: f64, channel: usize) {
    for (quantity, push) in hub.leaving(now, channel).await {
        world.leaves(now, channel, quantity, push);
    }
}
