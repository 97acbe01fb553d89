//! A bounded load of signed webhooks: so many, over so many connections, each a different sale. What is sent is settled by
//! the seed before the first byte leaves, so two servers can be given the same work.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

use super::chaos::Dice;
use super::http_client::{Client, Target};
use super::webhooks::{Door, Reason, Signer, StockUpdated, headers};
use super::{SimulatorError, World};

pub const SENDERS_MAX: usize = 4_096;
pub const TOTAL_MAX: usize = 10_000_000;

#[derive(Clone, Debug)]
pub struct LoadSettings {
    pub hub: Target,
    pub code: String,
    pub secret: String,
    pub door: Door,
    pub identified: bool,
    /// Goes into the ids: two runs against one hub need two of these.
    pub run: String,
    /// The product id sent with each is the one a fake shop makes up: `UZUM-PHONE-001`.
    pub skus: Vec<Sku>,
    /// What every SKU shows before its first sale here. Each event sells one unit of it.
    pub opening: i64,
    /// Units sold here before, by position in `skus`; what is missing counts as none. So that one run can follow another.
    pub sold: Vec<u64>,
    /// `stock.updated`, or a word the hub logs and makes nothing of.
    pub event: &'static str,
    /// Connections, each with one request at a time.
    pub senders: usize,
    pub total: usize,
    /// `None`: as fast as answers come. Otherwise events leave on a fixed beat, and latency counts from the beat, so that a
    /// stalled server cannot hide behind requests that were never sent.
    pub rate_per_second: Option<f64>,
    pub seed: u64,
    pub timeout: Duration,
}

impl LoadSettings {
    pub fn new(hub: Target, code: &str, secret: &str, skus: Vec<Sku>) -> Self {
        Self {
            hub,
            code: code.to_owned(),
            secret: secret.to_owned(),
            door: Door::Own,
            identified: false,
            run: "load".to_owned(),
            skus,
            opening: 1_000_000,
            sold: Vec::new(),
            event: "stock.updated",
            senders: 64,
            total: 1_000,
            rate_per_second: None,
            seed: 1,
            timeout: Duration::from_secs(30),
        }
    }

    fn check(&self) -> Result<(), SimulatorError> {
        let wrong = if self.skus.is_empty() {
            "a load needs at least one SKU"
        } else if !(1..=SENDERS_MAX).contains(&self.senders) {
            "a load needs 1 to 4096 senders"
        } else if self.total > TOTAL_MAX {
            "a load has at most 10000000 events"
        } else if self.rate_per_second.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            "a rate must be above 0"
        } else {
            return Ok(());
        };
        Err(SimulatorError::Settings(wrong))
    }
}

/// One planned sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Planned {
    sku: usize,
    previous: i64,
}

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub event: usize,
    pub sku: usize,
    /// What the shop shows of the SKU after this sale.
    pub shown: i64,
    /// When it was sent, or was to be sent where there is a beat.
    pub sent_at: Timestamp,
    /// `None`: no whole answer came. The hub may have it or not.
    pub status: Option<u16>,
    pub latency: Duration,
}

#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    pub seed: u64,
    pub sent: usize,
    pub by_status: BTreeMap<u16, usize>,
    pub unanswered: usize,
    pub elapsed_ms: u128,
    pub answers_per_second: f64,
    pub p50_us: u128,
    pub p99_us: u128,
    pub longest_us: u128,
    /// Every event by number, for a checker that must know which were acknowledged.
    #[serde(skip)]
    pub outcomes: Vec<Outcome>,
}

impl LoadReport {
    /// Units answered with a 2xx, by position in the SKU list.
    pub fn acknowledged(&self) -> BTreeMap<usize, u64> {
        let mut counts = BTreeMap::new();
        for outcome in self.outcomes.iter().filter(|outcome| matches!(outcome.status, Some(200..=299))) {
            *counts.entry(outcome.sku).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statuses: Vec<_> = self.by_status.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        write!(
            f,
            "seed {}: {} sent, {} answers/s, {} | unanswered {} | p50 {} us, p99 {} us, longest {} us",
            self.seed,
            self.sent,
            self.answers_per_second.round(),
            statuses.join(", "),
            self.unanswered,
            self.p50_us,
            self.p99_us,
            self.longest_us
        )
    }
}

/// Sends it all and waits for every answer, or for the world to stop.
pub async fn run(world: &World, settings: LoadSettings) -> Result<LoadReport, SimulatorError> {
    settings.check()?;
    let plan = plan(&settings)?;
    tracing::info!(seed = settings.seed, total = settings.total, senders = settings.senders, "load begins");
    let shared = Arc::new(Shared {
        start: world.now(),
        beat: tokio::time::Instant::now(),
        signer: Signer::new(&settings.secret),
        path: settings.door.path(&settings.code),
        next: AtomicUsize::new(0),
        world: world.clone(),
        plan,
        settings,
    });
    let senders = shared.settings.senders.min(shared.settings.total);
    let handles: Vec<_> = (0..senders).map(|_| world.tasks.spawn(send(Arc::clone(&shared)))).collect();
    let mut outcomes = Vec::with_capacity(shared.settings.total);
    for handle in handles {
        outcomes.extend(handle.await.map_err(|_| SimulatorError::Task)?);
    }
    Ok(report(shared.settings.seed, world.now().since(shared.start), outcomes))
}

struct Shared {
    settings: LoadSettings,
    plan: Vec<Planned>,
    start: Timestamp,
    beat: tokio::time::Instant,
    signer: Signer,
    path: String,
    next: AtomicUsize,
    world: World,
}

/// Which SKU is sold by each event, and what it showed before: the numbers of one SKU go down one by one, as a shop's would.
fn plan(settings: &LoadSettings) -> Result<Vec<Planned>, SimulatorError> {
    let mut dice = Dice::new(settings.seed);
    let sold = settings.sold.iter().map(|units| i64::try_from(*units).unwrap_or(i64::MAX)).chain(std::iter::repeat(0));
    let mut stock: Vec<i64> = settings.skus.iter().zip(sold).map(|(_, sold)| settings.opening.saturating_sub(sold)).collect();
    let next = |_| {
        let sku = dice.below(stock.len());
        let left = stock.get_mut(sku).filter(|left| **left > 0)?;
        *left -= 1;
        Some(Planned { sku, previous: *left + 1 })
    };
    let planned: Option<Vec<_>> = (0..settings.total).map(next).collect();
    planned.ok_or(SimulatorError::Settings("a load sells more than its opening stock"))
}

async fn send(shared: Arc<Shared>) -> Vec<Outcome> {
    let settings = &shared.settings;
    let mut client = Client::new(settings.hub.clone(), settings.timeout);
    let mut body = Vec::with_capacity(512);
    let mut outcomes = Vec::with_capacity(settings.total / settings.senders + 1);
    while !shared.world.stop.is_cancelled() {
        let event = shared.next.fetch_add(1, Ordering::Relaxed);
        let Some(planned) = shared.plan.get(event) else { break };
        let due = settings.rate_per_second.map(|rate| Duration::from_secs_f64(event as f64 / rate));
        if let Some(due) = due {
            tokio::time::sleep_until(shared.beat + due).await;
        }
        let from = due.map_or_else(|| shared.world.now(), |due| shared.start.plus(due));
        write_body(&shared, event, planned, &mut body);
        let id = settings.identified.then(|| format!("{}-{event}", settings.run));
        let made = headers(&shared.signer, settings.door, &settings.code, id.as_deref(), &body, shared.world.now());
        let status = {
            let mut pairs = [("", ""); 4];
            for (pair, (name, value)) in pairs.iter_mut().zip(&made) {
                *pair = (name, value);
            }
            client.post(&shared.path, pairs.get(..made.len()).unwrap_or(&[]), &body).await.map(|answer| answer.status)
        };
        let latency = shared.world.now().since(from);
        let shown = planned.previous - 1;
        outcomes.push(Outcome { event, sku: planned.sku, shown, sent_at: from, status: status.ok(), latency });
    }
    outcomes
}

/// What one event of a load looks like.
pub fn body(product: &str, sku: &str, at: Timestamp) -> Vec<u8> {
    serde_json::to_vec(&StockUpdated::new(product, sku, 50, -1, at, Reason::Sold)).unwrap_or_default()
}

fn write_body(shared: &Shared, event: usize, planned: &Planned, body: &mut Vec<u8>) {
    let sku = shared.settings.skus.get(planned.sku).map_or("", Sku::as_str);
    // A microsecond apart: without an id it is the time that tells two equal sales from one sale told twice.
    let at = shared.start.plus(Duration::from_micros(event as u64));
    let product = format!("{}-{sku}", shared.settings.code.to_uppercase());
    body.clear();
    let event = shared.settings.event;
    let sale = StockUpdated { event, ..StockUpdated::new(&product, sku, planned.previous, -1, at, Reason::Sold) };
    // Plain fields into a Vec: this cannot fail.
    let _ = serde_json::to_writer(&mut *body, &sale);
}

fn report(seed: u64, elapsed: Duration, mut outcomes: Vec<Outcome>) -> LoadReport {
    outcomes.sort_unstable_by_key(|outcome| outcome.event);
    let mut by_status = BTreeMap::new();
    for status in outcomes.iter().filter_map(|outcome| outcome.status) {
        *by_status.entry(status).or_default() += 1;
    }
    let mut latencies: Vec<_> =
        outcomes.iter().filter(|outcome| outcome.status.is_some()).map(|outcome| outcome.latency.as_micros()).collect();
    latencies.sort_unstable();
    // The nearest rank: the smallest latency that so many of a hundred do not exceed.
    let rank = |percent: usize| {
        let rank = (latencies.len() * percent).div_ceil(100).saturating_sub(1);
        latencies.get(rank).copied().unwrap_or(0)
    };
    LoadReport {
        seed,
        sent: outcomes.len(),
        by_status,
        unanswered: outcomes.len() - latencies.len(),
        elapsed_ms: elapsed.as_millis(),
        answers_per_second: latencies.len() as f64 / elapsed.as_secs_f64().max(1e-6),
        p50_us: rank(50),
        p99_us: rank(99),
        longest_us: rank(100),
        outcomes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> LoadSettings {
        let skus = vec![Sku::parse("A").unwrap(), Sku::parse("B").unwrap()];
        let hub = Target::parse("http://127.0.0.1:1").unwrap();
        LoadSettings { total: 100, opening: 80, ..LoadSettings::new(hub, "uzum", "secret", skus) }
    }

    #[test]
    fn the_plan_follows_the_seed_and_counts_each_product_down() {
        let first = plan(&settings()).unwrap();
        assert_eq!(first, plan(&settings()).unwrap());
        assert_ne!(first, plan(&LoadSettings { seed: 2, ..settings() }).unwrap());
        let of_a: Vec<_> = first.iter().filter(|event| event.sku == 0).map(|event| event.previous).collect();
        assert!(of_a.iter().zip((1..=80).rev()).all(|(previous, wanted)| *previous == wanted));
        assert!(plan(&LoadSettings { opening: 10, ..settings() }).is_err());
        let later = plan(&LoadSettings { sold: vec![5], ..settings() }).unwrap();
        assert_eq!(later.iter().find(|event| event.sku == 0).map(|event| event.previous), Some(75));
        assert!(LoadSettings { senders: 0, ..settings() }.check().is_err());
    }

    #[test]
    fn latencies_are_ranked_over_answers_only() {
        let outcome = |event: usize, status, ms| Outcome {
            event,
            sku: 0,
            shown: 0,
            sent_at: Timestamp::from_micros(0),
            status,
            latency: Duration::from_millis(ms),
        };
        let mut outcomes: Vec<_> = (1..=100).map(|n| outcome(n, Some(200), n as u64)).collect();
        outcomes.push(outcome(101, None, 9_999));
        outcomes.push(outcome(102, Some(503), 1));
        let report = report(1, Duration::from_secs(2), outcomes);
        assert_eq!((report.p50_us, report.longest_us, report.unanswered), (50_000, 100_000, 1));
        assert_eq!(report.by_status, BTreeMap::from([(200, 100), (503, 1)]));
        assert_eq!(report.acknowledged(), BTreeMap::from([(0, 100)]));
        assert!(report.to_string().contains("200: 100, 503: 1"));
    }
}
