//! The sections of `config/default.toml`, which documents every key; here are their types and the ranges that make sense.
//! Units are part of the names; an accessor gives each span as a `Duration`.

use std::net::SocketAddr;

use super::choice::{LogFormat, choice};
use super::cidr::Cidr;
use super::duration::durations;
use super::marketplace::public_url;
use super::parse::{self, boolean_or_auto, list, text, whole};
use super::secret::{ConnectionUrl, Secret};
use super::section::Section;

/// Milliseconds of an hour: the upper end of what a pause may be.
const HOUR_MS: i64 = 3_600_000;

#[derive(Clone, Debug)]
pub struct ServerSettings {
    pub bind: SocketAddr,
    /// 0 = one per core.
    pub workers: usize,
    pub max_connections_per_worker: usize,
    pub backlog: u32,
    pub keep_alive_s: u64,
    pub head_timeout_ms: u64,
    pub shutdown_timeout_s: u64,
    pub trusted_proxies: Vec<Cidr>,
    /// Where the world reaches the hub, without a trailing slash; may be empty.
    pub public_url: String,
    pub live_tick_ms: u64,
    pub live_buffer: usize,
}

durations!(ServerSettings {
    keep_alive = from_secs(keep_alive_s),
    head_timeout = from_millis(head_timeout_ms),
    shutdown_timeout = from_secs(shutdown_timeout_s),
    live_tick = from_millis(live_tick_ms),
});

impl ServerSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        Self {
            bind: s.need_or("bind", parse::BIND_PLACEHOLDER, parse::bind),
            workers: s.need("workers", whole(0..=1_024)),
            max_connections_per_worker: s.need("max_connections_per_worker", whole(1..=1_000_000)),
            backlog: s.need("backlog", whole(16..=65_535)),
            keep_alive_s: s.need("keep_alive_s", whole(0..=3_600)),
            head_timeout_ms: s.need("head_timeout_ms", whole(100..=HOUR_MS)),
            shutdown_timeout_s: s.need("shutdown_timeout_s", whole(1..=600)),
            trusted_proxies: s.need("trusted_proxies", list(|text| Cidr::parse(text).map_err(|error| error.to_string()))),
            public_url: s.need("public_url", public_url),
            live_tick_ms: s.need("live_tick_ms", whole(20..=60_000)),
            live_buffer: s.need("live_buffer", whole(16..=1_000_000)),
        }
    }

    /// Whether only this machine can reach the hub.
    pub fn is_loopback(&self) -> bool {
        self.bind.ip().to_canonical().is_loopback()
    }
}

#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// `sqlite://…` or `postgres://…`, never empty.
    pub url: ConnectionUrl,
    pub readers: u32,
    pub write_queue: usize,
    pub group_max: usize,
    pub group_max_bytes: usize,
    pub busy_timeout_ms: u64,
    pub wal_autocheckpoint_pages: u32,
    pub connect_timeout_ms: u64,
}

durations!(DatabaseSettings { busy_timeout = from_millis(busy_timeout_ms), connect_timeout = from_millis(connect_timeout_ms) });

impl DatabaseSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        Self {
            url: s.url("url", &["sqlite", "postgres", "postgresql"], false),
            readers: s.need("readers", whole(1..=1_000)),
            write_queue: s.need("write_queue", whole(1..=1_000_000)),
            group_max: s.need("group_max", whole(1..=10_000)),
            group_max_bytes: s.need("group_max_bytes", whole(65_536..=268_435_456)),
            busy_timeout_ms: s.need("busy_timeout_ms", whole(0..=HOUR_MS)),
            wal_autocheckpoint_pages: s.need("wal_autocheckpoint_pages", whole(100..=1_000_000)),
            connect_timeout_ms: s.need("connect_timeout_ms", whole(100..=HOUR_MS)),
        }
    }
}

#[derive(Clone, Debug)]
pub struct AuthSettings {
    pub bootstrap_admin_token: Option<Secret>,
    pub storefront_keys: Vec<Secret>,
    pub telegram_bots: Vec<Secret>,
    pub telegram_max_age_s: u64,
    pub session_lifetime_s: u64,
    pub session_idle_s: u64,
    pub login_failures_max: u32,
    pub login_failures_per_ip_max: u32,
    pub login_window_s: u64,
    pub password_min_chars: usize,
    pub password_memory_kib: u32,
    pub password_passes: u32,
    pub password_hashing_max: usize,
    pub password_waiting_max: usize,
}

durations!(AuthSettings {
    telegram_max_age = from_secs(telegram_max_age_s),
    session_lifetime = from_secs(session_lifetime_s),
    session_idle = from_secs(session_idle_s),
    login_window = from_secs(login_window_s),
});

impl AuthSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        Self {
            bootstrap_admin_token: s.secret("bootstrap_admin_token"),
            storefront_keys: s.secrets("storefront_keys"),
            telegram_bots: s.secrets("telegram_bots"),
            telegram_max_age_s: s.need("telegram_max_age_s", whole(60..=604_800)),
            session_lifetime_s: s.need("session_lifetime_s", whole(300..=31_536_000)),
            session_idle_s: s.need("session_idle_s", whole(60..=31_536_000)),
            login_failures_max: s.need("login_failures_max", whole(1..=10_000)),
            login_failures_per_ip_max: s.need("login_failures_per_ip_max", whole(1..=1_000_000)),
            login_window_s: s.need("login_window_s", whole(1..=86_400)),
            password_min_chars: s.need("password_min_chars", whole(8..=128)),
            password_memory_kib: s.need("password_memory_kib", whole(8_192..=1_048_576)),
            password_passes: s.need("password_passes", whole(1..=64)),
            password_hashing_max: s.need("password_hashing_max", whole(1..=256)),
            password_waiting_max: s.need("password_waiting_max", whole(0..=10_000)),
        }
    }
}

#[derive(Clone, Debug)]
pub struct ImportSettings {
    pub bytes_max: usize,
    pub rows_max: i64,
}

impl ImportSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        Self { bytes_max: s.need("bytes_max", whole(1_024..=4_294_967_296)), rows_max: s.need("rows_max", whole(1..=10_000_000)) }
    }
}

#[derive(Clone, Debug)]
pub struct ListSettings {
    pub look_rows: i64,
}

impl ListSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        Self { look_rows: s.need("look_rows", whole(1..=10_000_000)) }
    }
}

#[derive(Clone, Debug)]
pub struct AnalyticsSettings {
    keep_s: u64,
    pub keep_from_rows: i64,
}

impl AnalyticsSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        Self { keep_s: s.need("keep_s", whole(0..=86_400)), keep_from_rows: s.need("keep_from_rows", whole(0..=1_000_000_000)) }
    }

    pub fn keep(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.keep_s)
    }
}

#[derive(Clone, Debug)]
pub struct SecuritySettings {
    /// As written, or decided by where the server listens.
    pub allow_private_targets: bool,
    pub master_key: Option<Secret>,
    pub(super) private_on_purpose: bool,
}

impl SecuritySettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>, is_loopback: bool) -> Self {
        let written = s.need("allow_private_targets", boolean_or_auto);
        Self {
            allow_private_targets: written.unwrap_or(is_loopback),
            master_key: s.secret("master_key"),
            private_on_purpose: written == Some(true),
        }
    }

    /// The 32 bytes of the master key, where one is set (`load` has checked its form).
    pub fn master_key_bytes(&self) -> Option<[u8; 32]> {
        self.master_key.as_ref().and_then(|key| decode_key(key.expose()))
    }
}

/// 64 hexadecimal characters, or base64 of 32 bytes.
pub(super) fn decode_key(text: &str) -> Option<[u8; 32]> {
    use base64::Engine;
    let bytes = hex::decode(text).or_else(|_| base64::engine::general_purpose::STANDARD.decode(text)).ok()?;
    bytes.try_into().ok()
}

#[derive(Clone, Debug)]
pub struct IngestSettings {
    pub body_max_bytes: usize,
    pub body_deadline_ms: u64,
    pub header_max_bytes: usize,
    pub json_depth_max: usize,
    pub json_nodes_max: usize,
    pub timestamp_tolerance_s: u64,
    pub rejected_kept: usize,
    pub retention_days: u64,
    pub retry_base_ms: u64,
    pub retry_cap_ms: u64,
    pub attempts_max: u32,
    pub per_connection_in_flight: usize,
    pub silence_factor: u32,
    pub silence_min_s: u64,
}

durations!(IngestSettings {
    body_deadline = from_millis(body_deadline_ms),
    timestamp_tolerance = from_secs(timestamp_tolerance_s),
    retry_base = from_millis(retry_base_ms),
    retry_cap = from_millis(retry_cap_ms),
    silence_min = from_secs(silence_min_s),
});

impl IngestSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        Self {
            body_max_bytes: s.need("body_max_bytes", whole(1_024..=16_777_216)),
            body_deadline_ms: s.need("body_deadline_ms", whole(100..=600_000)),
            header_max_bytes: s.need("header_max_bytes", whole(256..=65_536)),
            json_depth_max: s.need("json_depth_max", whole(4..=100)),
            json_nodes_max: s.need("json_nodes_max", whole(100..=1_000_000)),
            timestamp_tolerance_s: s.need("timestamp_tolerance_s", whole(1..=86_400)),
            rejected_kept: s.need("rejected_kept", whole(0..=10_000)),
            retention_days: s.need("retention_days", whole(1..=3_650)),
            retry_base_ms: s.need("retry_base_ms", whole(1..=HOUR_MS)),
            retry_cap_ms: s.need("retry_cap_ms", whole(1..=24 * HOUR_MS)),
            attempts_max: s.need("attempts_max", whole(1..=1_000)),
            per_connection_in_flight: s.need("per_connection_in_flight", whole(1..=100_000)),
            silence_factor: s.need("silence_factor", whole(2..=10_000)),
            silence_min_s: s.need("silence_min_s", whole(60..=2_592_000)),
        }
    }

    pub const fn retention(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.retention_days * 86_400)
    }
}

#[derive(Clone, Debug)]
pub struct PushSettings {
    pub min_gap_ms: u64,
    pub timeout_ms: u64,
    pub connect_timeout_ms: u64,
    /// Requests in flight per marketplace connection.
    pub concurrency: usize,
    pub backoff_base_ms: u64,
    pub backoff_cap_ms: u64,
    pub breaker_failures: u32,
    pub breaker_open_ms: u64,
    pub zombie_window_ms: u64,
    pub response_max_bytes: usize,
    pub read_max_bytes: usize,
    pub penalty_ms: u64,
    pub lease_ms: u64,
    pub batch_max: usize,
    pub join_ms: u64,
    pub verify_cap_ms: u64,
}

durations!(PushSettings {
    min_gap = from_millis(min_gap_ms),
    timeout = from_millis(timeout_ms),
    connect_timeout = from_millis(connect_timeout_ms),
    backoff_base = from_millis(backoff_base_ms),
    backoff_cap = from_millis(backoff_cap_ms),
    breaker_open = from_millis(breaker_open_ms),
    zombie_window = from_millis(zombie_window_ms),
    lease = from_millis(lease_ms),
    penalty = from_millis(penalty_ms),
    join = from_millis(join_ms),
    verify_cap = from_millis(verify_cap_ms),
});

impl PushSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        Self {
            min_gap_ms: s.need("min_gap_ms", whole(0..=HOUR_MS)),
            timeout_ms: s.need("timeout_ms", whole(100..=600_000)),
            connect_timeout_ms: s.need("connect_timeout_ms", whole(50..=600_000)),
            concurrency: s.need("concurrency", whole(1..=1_000)),
            backoff_base_ms: s.need("backoff_base_ms", whole(1..=HOUR_MS)),
            backoff_cap_ms: s.need("backoff_cap_ms", whole(1..=HOUR_MS)),
            breaker_failures: s.need("breaker_failures", whole(1..=1_000)),
            breaker_open_ms: s.need("breaker_open_ms", whole(1..=HOUR_MS)),
            zombie_window_ms: s.need("zombie_window_ms", whole(0..=HOUR_MS)),
            response_max_bytes: s.need("response_max_bytes", whole(1_024..=67_108_864)),
            read_max_bytes: s.need("read_max_bytes", whole(1_024..=268_435_456)),
            penalty_ms: s.need("penalty_ms", whole(0..=HOUR_MS)),
            lease_ms: s.need("lease_ms", whole(500..=HOUR_MS)),
            batch_max: s.need("batch_max", whole(1..=10_000)),
            join_ms: s.need("join_ms", whole(0..=60_000)),
            verify_cap_ms: s.need("verify_cap_ms", whole(1..=HOUR_MS)),
        }
    }
}

#[derive(Clone, Debug)]
pub struct InventorySettings {
    /// Units.
    pub low_stock_threshold: i64,
    pub reservation_ttl_s: u64,
    pub reservation_ttl_max_s: u64,
    pub sweep_ms: u64,
}

durations!(InventorySettings {
    reservation_ttl = from_secs(reservation_ttl_s),
    reservation_ttl_max = from_secs(reservation_ttl_max_s),
    sweep = from_millis(sweep_ms),
});

impl InventorySettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        Self {
            low_stock_threshold: s.need("low_stock_threshold", whole(0..=crate::domain::quantity::QUANTITY_MAX)),
            reservation_ttl_s: s.need("reservation_ttl_s", whole(1..=2_592_000)),
            reservation_ttl_max_s: s.need("reservation_ttl_max_s", whole(1..=2_592_000)),
            sweep_ms: s.need("sweep_ms", whole(10..=HOUR_MS)),
        }
    }
}

#[derive(Clone, Debug)]
pub struct LogSettings {
    pub format: LogFormat,
    /// A level, or comma-separated `module=level`.
    pub level: String,
}

impl LogSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        Self { format: s.need_or("format", LogFormat::Auto, choice), level: s.need("level", log_level) }
    }
}

fn log_level(node: &super::tree::Node) -> Result<String, String> {
    let text = text(node)?;
    for directive in text.split(',') {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level).trim();
        if !["off", "error", "warn", "info", "debug", "trace"].contains(&level) {
            return Err(format!("{level:?} is no level; levels are off, error, warn, info, debug, trace"));
        }
    }
    Ok(text)
}

#[derive(Clone, Debug)]
pub struct BusSettings {
    /// `None` = off.
    pub url: Option<ConnectionUrl>,
    pub prefix: String,
}

impl BusSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        let url = s.url("url", &["nats", "tls"], true);
        Self { url: Some(url).filter(|url| !url.is_empty()), prefix: s.need("prefix", subject_word) }
    }
}

fn subject_word(node: &super::tree::Node) -> Result<String, String> {
    let word = text(node)?;
    let plain = (1..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if plain { Ok(word) } else { Err("must be 1 to 64 letters, digits, - or _".to_owned()) }
}

#[derive(Clone, Debug)]
pub struct EventSettings {
    pub retention_days: u64,
    pub timeout_ms: u64,
    pub retry_base_ms: u64,
    pub retry_cap_ms: u64,
    pub attempts_max: u32,
    pub batch_max: usize,
    /// Requests under way per sink.
    pub concurrency: usize,
}

durations!(EventSettings {
    timeout = from_millis(timeout_ms),
    retry_base = from_millis(retry_base_ms),
    retry_cap = from_millis(retry_cap_ms),
});

impl EventSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        Self {
            retention_days: s.need("retention_days", whole(1..=3_650)),
            timeout_ms: s.need("timeout_ms", whole(100..=600_000)),
            retry_base_ms: s.need("retry_base_ms", whole(1..=HOUR_MS)),
            retry_cap_ms: s.need("retry_cap_ms", whole(1..=24 * HOUR_MS)),
            attempts_max: s.need("attempts_max", whole(1..=1_000)),
            batch_max: s.need("batch_max", whole(1..=10_000)),
            concurrency: s.need("concurrency", whole(1..=1_000)),
        }
    }

    pub const fn retention(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.retention_days * 86_400)
    }
}
