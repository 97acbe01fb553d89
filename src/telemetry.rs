//! Logs and figures. The registry is a value: several hubs can live in one test process.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WebhookLabels {
    marketplace: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PushLabels {
    marketplace: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MarketplaceLabels {
    marketplace: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BudgetLabels {
    marketplace: String,
    limit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    marketplace: String,
    purpose: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabels {
    status: String,
}

pub struct Metrics {
    registry: Registry,
    webhooks: Family<WebhookLabels, Counter>,
    pushes: Family<PushLabels, Counter>,
    api_calls: Family<CallLabels, Counter>,
    push_seconds: Family<PushLabels, Histogram>,
    push_leaves_seconds: Family<MarketplaceLabels, Histogram>,
    circuit_open: Family<MarketplaceLabels, Gauge>,
    rate_budget_left: Family<BudgetLabels, Gauge>,
    polls: Family<MarketplaceLabels, Counter>,
    poll_orders: Family<MarketplaceLabels, Counter>,
    poll_found_missing: Family<MarketplaceLabels, Counter>,
    accuracy: Family<MarketplaceLabels, Gauge<f64, AtomicU64>>,
    drift_rate: Family<MarketplaceLabels, Gauge<f64, AtomicU64>>,
    dirty_listings: Family<MarketplaceLabels, Gauge>,
    dirty_oldest_seconds: Family<MarketplaceLabels, Gauge>,
    dead_letters: Family<StatusLabels, Gauge>,
    out_of_stock: Gauge,
    writer_waiting: Gauge,
    group_size: Histogram,
    /// Verified → answered, seconds.
    pub ack_seconds: Histogram,
    /// Received → committed, milliseconds.
    pub update_lag_ms: Histogram,
    pub write_failures: Counter,
    pub gaps: Counter,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            webhooks: Family::default(),
            pushes: Family::default(),
            api_calls: Family::default(),
            push_seconds: Family::new_with_constructor(seconds),
            push_leaves_seconds: Family::new_with_constructor(seconds),
            circuit_open: Family::default(),
            rate_budget_left: Family::default(),
            polls: Family::default(),
            poll_orders: Family::default(),
            poll_found_missing: Family::default(),
            accuracy: Family::default(),
            drift_rate: Family::default(),
            dirty_listings: Family::default(),
            dirty_oldest_seconds: Family::default(),
            dead_letters: Family::default(),
            out_of_stock: Gauge::default(),
            writer_waiting: Gauge::default(),
            group_size: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            ack_seconds: seconds(),
            update_lag_ms: Histogram::new(exponential_buckets(0.5, 2.0, 16)),
            write_failures: Counter::default(),
            gaps: Counter::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("webhooks", "Webhooks by verdict", self.webhooks.clone());
        r.register("webhook_ack_seconds", "Verified to answered", self.ack_seconds.clone());
        r.register("inventory_update_lag_ms", "Received to committed, in milliseconds", self.update_lag_ms.clone());
        r.register("inventory_update_failures", "Groups of writes that failed", self.write_failures.clone());
        r.register("write_group_size", "Jobs in one transaction", self.group_size.clone());
        r.register("writer_waiting", "Jobs that wait for the writer", self.writer_waiting.clone());
        r.register("pushes", "Pushed items by outcome", self.pushes.clone());
        r.register("api_calls", "Requests to marketplaces by what they were for", self.api_calls.clone());
        r.register("push_seconds", "Request to answer", self.push_seconds.clone());
        r.register("push_leaves_seconds", "Wanted to sent", self.push_leaves_seconds.clone());
        r.register("rate_budget_left", "Requests that may leave now, by budget", self.rate_budget_left.clone());
        r.register("circuit_open", "1 while a marketplace is given rest", self.circuit_open.clone());
        r.register("polls", "Polls of orders", self.polls.clone());
        r.register("poll_orders", "Orders or changes of orders that a poll found", self.poll_orders.clone());
        r.register("poll_found_missing", "Of these, how many a webhook should have told", self.poll_found_missing.clone());
        r.register("reconciliation_accuracy", "Share of compared listings that showed what was expected", self.accuracy.clone());
        r.register("reconciliation_drift_rate", "Share of compared listings that did not", self.drift_rate.clone());
        r.register("dirty_listings", "Listings that are to be told", self.dirty_listings.clone());
        r.register("dirty_oldest_seconds", "How long the oldest of them waits", self.dirty_oldest_seconds.clone());
        r.register("dlq_message_count", "Webhooks (by status) and events that need a person", self.dead_letters.clone());
        // Prometheus adds `_total` to counters only; this gauge has the name its alert is known by.
        r.register("out_of_stock_products_total", "Products with nothing to sell", self.out_of_stock.clone());
        r.register("listing_gaps", "Stock events that did not follow the one before", self.gaps.clone());
    }

    pub fn webhook(&self, marketplace: &str, verdict: &'static str) {
        self.webhooks.get_or_create(&WebhookLabels { marketplace: marketplace.into(), verdict }).inc();
    }

    pub fn group_size(&self, jobs: usize) {
        self.group_size.observe(jobs as f64);
    }

    pub fn push_left(&self, marketplace: &str, after: Duration) {
        self.push_leaves_seconds
            .get_or_create(&MarketplaceLabels { marketplace: marketplace.into() })
            .observe(after.as_secs_f64());
    }

    pub fn pushed(&self, marketplace: &str, outcome: &'static str, took: Duration) {
        self.pushes.get_or_create(&PushLabels { marketplace: marketplace.into(), outcome }).inc();
        self.push_seconds.get_or_create(&PushLabels { marketplace: marketplace.into(), outcome }).observe(took.as_secs_f64());
    }

    pub fn polled(&self, marketplace: &str, new: usize, missing: usize) {
        let labels = || MarketplaceLabels { marketplace: marketplace.into() };
        self.polls.get_or_create(&labels()).inc();
        self.poll_orders.get_or_create(&labels()).inc_by(new as u64);
        self.poll_found_missing.get_or_create(&labels()).inc_by(missing as u64);
    }

    pub fn reconciled(&self, marketplace: &str, equal: i64, different: i64) {
        let all = equal + different;
        let share = |part: i64| if all == 0 { 0.0 } else { part as f64 / all as f64 };
        let labels = || MarketplaceLabels { marketplace: marketplace.into() };
        self.accuracy.get_or_create(&labels()).set(if all == 0 { 1.0 } else { share(equal) });
        self.drift_rate.get_or_create(&labels()).set(share(different));
    }

    pub fn is_circuit_open(&self, marketplace: &str) -> bool {
        self.circuit_open.get_or_create(&MarketplaceLabels { marketplace: marketplace.into() }).get() == 1
    }

    pub fn api_call(&self, marketplace: &str, purpose: &'static str) {
        self.api_calls.get_or_create(&CallLabels { marketplace: marketplace.into(), purpose }).inc();
    }

    pub fn circuit(&self, marketplace: &str, open: bool) {
        self.circuit_open.get_or_create(&MarketplaceLabels { marketplace: marketplace.into() }).set(i64::from(open));
    }

    /// What is left of the budgets, set before it is shown.
    pub fn set_budgets<'a>(&self, left: impl Iterator<Item = (&'a str, &'static str, i64)>) {
        self.rate_budget_left.clear();
        for (marketplace, limit, left) in left {
            self.rate_budget_left.get_or_create(&BudgetLabels { marketplace: marketplace.into(), limit }).set(left);
        }
    }

    /// Figures that are read from the database, set before they are shown.
    pub fn set_state(&self, state: &HubState) {
        self.dirty_listings.clear();
        self.dirty_oldest_seconds.clear();
        for (marketplace, count, oldest) in &state.dirty {
            let labels = MarketplaceLabels { marketplace: marketplace.clone() };
            self.dirty_listings.get_or_create(&labels).set(*count);
            self.dirty_oldest_seconds.get_or_create(&labels).set(i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX));
        }
        self.dead_letters.clear();
        for (status, count) in &state.to_handle {
            self.dead_letters.get_or_create(&StatusLabels { status: status.clone() }).set(*count);
        }
        self.out_of_stock.set(state.out_of_stock);
        self.writer_waiting.set(i64::try_from(state.writer_waiting).unwrap_or(i64::MAX));
    }

    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[derive(Default)]
pub struct HubState {
    pub dirty: Vec<(String, i64, Duration)>,
    pub to_handle: Vec<(String, i64)>,
    pub out_of_stock: i64,
    pub writer_waiting: usize,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Pretty,
    Json,
}

/// A log line that cannot be written (a full disk, a reader that left) is dropped. The logging library would complain about it to
/// the same standard error, fail again, and panic in whichever task wanted to log: on a full disk that was the writer.
struct Lenient<W>(W);

impl<W: std::io::Write> std::io::Write for Lenient<W> {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// Starts logging to standard error. A second call in one process (tests) changes nothing.
pub fn start_logging(format: LogFormat, level: &str) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Lenient(std::io::stderr()));
    let started = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Pretty => builder.with_target(false).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging was started before");
    }
}
