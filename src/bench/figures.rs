//! The numbers of a run, and how they are shown: a table for people, JSON for machines.

use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::verification::Verification;

/// The middle and the end of a set of times, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Spread {
    pub count: usize,
    pub p50_us: u64,
    pub p99_us: u64,
}

impl Spread {
    /// Nearest rank: the smallest value that so many of a hundred do not exceed.
    pub(super) fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut micros: Vec<u64> = times.into_iter().map(|t| u64::try_from(t.as_micros()).unwrap_or(u64::MAX)).collect();
        micros.sort_unstable();
        let rank = |percent: usize| micros.get((micros.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0);
        Self { count: micros.len(), p50_us: rank(50), p99_us: rank(99) }
    }
}

/// One closed-loop round: so many senders, each with one webhook on its way.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Round {
    /// `applied`: a sale that moves stock. `logged`: an event the hub keeps and makes nothing of.
    pub kind: &'static str,
    pub senders: usize,
    pub webhooks: usize,
    /// Webhooks this hub had logged before.
    pub log_before: usize,
    pub not_2xx: usize,
    pub per_second: f64,
    pub ack: Spread,
    pub transactions: u64,
    pub webhooks_per_transaction: f64,
    pub largest_group_at_most: u64,
    pub gaps: u64,
    pub pushes: u64,
    pub hub_cpu_us_per_webhook: Option<f64>,
    pub sender_cpu_us_per_webhook: Option<f64>,
    pub written_bytes_per_webhook: Option<f64>,
    pub hub_resident_bytes: Option<u64>,
    /// Until every marketplace had been told the last number.
    pub settled_after_ms: u128,
}

/// A steady beat with browsers watching and marketplaces listening.
#[derive(Clone, Debug, Serialize)]
pub(super) struct EndToEnd {
    pub per_second: f64,
    pub browsers: usize,
    pub ack: Spread,
    pub browser: Spread,
    /// All changes, those included that wait for `push.min_gap_ms` because the listing was told a moment ago.
    pub push: Spread,
    /// Only changes of listings that had been quiet for longer than that.
    pub push_after_quiet: Spread,
    /// Of these, from the answer to the webhook, which comes after its commit; a push that was there before it counts as 0.
    pub push_after_answer: Spread,
    /// Pushes of this part, and the connections that were made for them.
    pub pushes: usize,
    pub connections: u64,
    pub hub_cpu_percent: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Syncs {
    pub senders: usize,
    pub webhooks: usize,
    pub syncs: u64,
    pub transactions: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Start {
    pub products: usize,
    pub listings: usize,
    pub ready_ms: f64,
    pub resident_bytes: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub database: &'static str,
    pub skus: usize,
    pub listings_per_sku: usize,
    pub binary_bytes: u64,
    pub rounds: Vec<Round>,
    pub end_to_end: Option<EndToEnd>,
    pub syncs: Option<Syncs>,
    pub start: Option<Start>,
    pub verification: Verification,
    /// What `stockhub verify` said of the database afterwards.
    pub ledger_is_clean: bool,
}

pub(super) fn print_line(line: &str) {
    // A reader that goes away is not an error.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

pub(super) const HEADINGS: &str = "kind     senders  webhooks     log/s  ack p50 ms  ack p99 ms  group  tx/webhook  \
     hub µs/wh  sender µs/wh  KiB/wh  MiB held  gaps  pushes  not 2xx";

impl Round {
    pub(super) fn line(&self) -> String {
        let number = |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
        format!(
            "{:<8} {:>7} {:>9} {:>9.0} {:>11.2} {:>11.2} {:>6.1} {:>11.3} {:>10} {:>13} {:>7} {:>9} {:>5} {:>7} {:>8}",
            self.kind,
            self.senders,
            self.webhooks,
            self.per_second,
            millis(self.ack.p50_us),
            millis(self.ack.p99_us),
            self.webhooks_per_transaction,
            self.transactions as f64 / self.webhooks.max(1) as f64,
            number(self.hub_cpu_us_per_webhook, 0),
            number(self.sender_cpu_us_per_webhook, 0),
            number(self.written_bytes_per_webhook.map(|b| b / 1024.0), 1),
            number(self.hub_resident_bytes.map(|b| b as f64 / 1_048_576.0), 1),
            self.gaps,
            self.pushes,
            self.not_2xx,
        )
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

impl Report {
    /// What stands below the rounds, which were printed as they ended.
    pub(super) fn rest(&self) -> String {
        let mut lines = Vec::new();
        if let Some(e) = &self.end_to_end {
            let spread =
                |s: Spread| format!("p50 {:.2} ms, p99 {:.2} ms ({} measured)", millis(s.p50_us), millis(s.p99_us), s.count);
            lines.push(format!("at {:.0} webhooks/s, {} browsers:", e.per_second, e.browsers));
            lines.push(format!("  webhook -> answered                  {}", spread(e.ack)));
            lines.push(format!("  webhook -> browser has it            {}", spread(e.browser)));
            lines.push(format!("  webhook -> push reaches marketplace  {}", spread(e.push)));
            lines.push(format!("  the same, listing quiet before       {}", spread(e.push_after_quiet)));
            lines.push(format!("  its answer -> that push              {}", spread(e.push_after_answer)));
            lines.push(format!(
                "  pushes                               {}, {} connections made for them: {:.1} % used one that was there",
                e.pushes,
                e.connections,
                100.0 * (1.0 - e.connections as f64 / e.pushes.max(1) as f64)
            ));
            lines.push(format!("  hub                                  {} % of a core", percent(e.hub_cpu_percent)));
        }
        match &self.syncs {
            Some(s) => lines.push(format!(
                "file syncs (strace, {} senders): {} for {} webhooks in {} transactions = {:.3} per webhook",
                s.senders,
                s.syncs,
                s.webhooks,
                s.transactions,
                s.syncs as f64 / s.webhooks.max(1) as f64
            )),
            None => lines.push(
                "file syncs: not counted (no strace here); one per transaction and one per checkpoint is what SQLite does".into(),
            ),
        }
        if let Some(s) = &self.start {
            let rss = s.resident_bytes.map_or("-".into(), mebi);
            lines.push(format!(
                "start: ready in {:.0} ms with {} products, {} listings; {rss} resident",
                s.ready_ms, s.products, s.listings
            ));
        }
        let v = self.verification;
        lines.push(format!(
            "verification: {:.2} µs of CPU for a body of {} bytes, of which the bare MAC {:.2} µs",
            v.whole_us, v.body_bytes, v.mac_us
        ));
        if let Some(bytes) = self.rounds.last().and_then(|round| round.hub_resident_bytes) {
            lines.push(format!("hub resident after the rounds: {}", mebi(bytes)));
        }
        lines.push(format!(
            "binary: {}; ledger afterwards: {}",
            mebi(self.binary_bytes),
            if self.ledger_is_clean { "clean" } else { "NOT CLEAN" }
        ));
        lines.join("\n")
    }
}

fn percent(value: Option<f64>) -> String {
    value.map_or("-".into(), |v| format!("{v:.0}"))
}

fn mebi(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_takes_the_nearest_rank() {
        let spread = Spread::of((1..=200).map(Duration::from_millis));
        assert_eq!(spread, Spread { count: 200, p50_us: 100_000, p99_us: 198_000 });
        assert_eq!(Spread::of([]), Spread::default());
    }
}
