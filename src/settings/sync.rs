//! `[sync]`: how often and how carefully marketplaces are read.

use std::time::Duration;

use super::duration::durations;
use super::parse::{list, whole};
use super::section::Section;
use crate::domain::cron::Cron;

const HOUR_S: i64 = 3_600;

#[derive(Clone, Debug)]
pub struct SyncSettings {
    pub tick_ms: u64,
    pub concurrency: usize,
    pub poll_net_s: u64,
    pub poll_again_ms: u64,
    pub poll_backoff_cap_s: u64,
    pub poll_missing_after_s: u64,
    pub first_poll_days: u64,
    pub legacy_every_s: u64,
    /// Rows of a page that are written in one transaction.
    pub rows_per_write: usize,
    pub pages_max: u32,
    pub cooldown_manual_s: u64,
    pub cooldown_scheduled_s: u64,
    pub reconcile: Vec<Cron>,
    pub second_look_s: u64,
    pub breaker_min: i64,
    pub mismatch_max_percent: i64,
    pub zeros_max_percent: i64,
    pub absent_max_percent: i64,
    pub drift_alert_percent: i64,
    pub answer_wait_ms: u64,
}

durations!(SyncSettings {
    tick = from_millis(tick_ms),
    poll_net = from_secs(poll_net_s),
    poll_again = from_millis(poll_again_ms),
    poll_backoff_cap = from_secs(poll_backoff_cap_s),
    poll_missing_after = from_secs(poll_missing_after_s),
    legacy_every = from_secs(legacy_every_s),
    cooldown_manual = from_secs(cooldown_manual_s),
    cooldown_scheduled = from_secs(cooldown_scheduled_s),
    second_look = from_secs(second_look_s),
    answer_wait = from_millis(answer_wait_ms),
});

impl SyncSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        Self {
            tick_ms: s.need("tick_ms", whole(10..=60_000)),
            concurrency: s.need("concurrency", whole(1..=1_000)),
            poll_net_s: s.need("poll_net_s", whole(1..=24 * HOUR_S)),
            poll_again_ms: s.need("poll_again_ms", whole(0..=60_000)),
            poll_backoff_cap_s: s.need("poll_backoff_cap_s", whole(1..=24 * HOUR_S)),
            poll_missing_after_s: s.need("poll_missing_after_s", whole(0..=24 * HOUR_S)),
            first_poll_days: s.need("first_poll_days", whole(0..=365)),
            legacy_every_s: s.need("legacy_every_s", whole(1..=7 * 24 * HOUR_S)),
            rows_per_write: s.need("rows_per_write", whole(1..=1_000)),
            pages_max: s.need("pages_max", whole(1..=1_000_000)),
            cooldown_manual_s: s.need("cooldown_manual_s", whole(0..=7 * 24 * HOUR_S)),
            cooldown_scheduled_s: s.need("cooldown_scheduled_s", whole(0..=7 * 24 * HOUR_S)),
            reconcile: s.need_or("reconcile", Vec::new(), list(cron)),
            second_look_s: s.need("second_look_s", whole(1..=HOUR_S)),
            breaker_min: s.need("breaker_min", whole(1..=1_000_000)),
            mismatch_max_percent: s.need("mismatch_max_percent", whole(0..=100)),
            zeros_max_percent: s.need("zeros_max_percent", whole(0..=100)),
            absent_max_percent: s.need("absent_max_percent", whole(0..=100)),
            drift_alert_percent: s.need("drift_alert_percent", whole(0..=100)),
            answer_wait_ms: s.need("answer_wait_ms", whole(100..=600_000)),
        }
    }

    pub const fn first_poll(&self) -> Duration {
        Duration::from_secs(self.first_poll_days * 86_400)
    }
}

fn cron(text: &str) -> Result<Cron, String> {
    Cron::parse(text).map_err(|error| error.to_string())
}
