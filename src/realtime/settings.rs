//! Every limit of the room, with its unit in its name. The defaults are those of `config/default.toml`.

use std::time::Duration;

use serde::Deserialize;

use crate::settings::Cidr;

/// What an operator may set under `[realtime]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RealtimeSettings {
    /// Changes that follow one another within this window leave in one frame. The first after quiet never waits.
    pub window_ms: u64,
    pub ping_ms: u64,
    pub pong_timeout_ms: u64,
    /// A comment on an idle event stream, so that proxies keep it open.
    pub heartbeat_ms: u64,
    /// How long a browser may refuse to read before it is closed with 4101.
    pub slow_close_ms: u64,
    pub max_connections: usize,
    /// Per IPv4 address or IPv6 /64; loopback is exempt.
    pub max_connections_per_ip: usize,
    pub max_skus: usize,
    pub commands_per_second: u32,
    pub max_frame_bytes: usize,
    pub max_subscribe_frame_bytes: usize,
    /// How many changes a cursor may be behind and still resume without a snapshot.
    pub ring: usize,
    /// The largest number a storefront shows; above it an item says `"more":true`.
    pub public_cap: Option<i64>,
    /// Origins besides the hub's own host; `"*"` allows all.
    pub allowed_origins: Vec<String>,
    /// A socket older than this is asked to reconnect (4202), so that a deploy looks like ordinary churn. 0 = never.
    pub lifetime_s: u64,
    pub shutdown_drain_ms: u64,
    /// Bytes the kernel may hold unsent per socket (`TCP_NOTSENT_LOWAT`): stale numbers must not pile up there.
    pub unsent_bytes: u32,
    /// Proxies whose `X-Forwarded-For` is believed: the limit per address is for browsers, not for them.
    #[serde(skip)]
    pub trusted_proxies: Vec<Cidr>,
    /// Sends every message back instead of reading it: for tests of the WebSocket protocol. Release builds do not have it.
    #[cfg(debug_assertions)]
    #[serde(skip)]
    pub echo: bool,
}

impl Default for RealtimeSettings {
    fn default() -> Self {
        Self {
            window_ms: 20,
            ping_ms: 25_000,
            pong_timeout_ms: 10_000,
            heartbeat_ms: 15_000,
            slow_close_ms: 30_000,
            max_connections: 50_000,
            max_connections_per_ip: 256,
            max_skus: 5_000,
            commands_per_second: 20,
            max_frame_bytes: 4_096,
            max_subscribe_frame_bytes: 65_536,
            ring: 65_536,
            public_cap: None,
            allowed_origins: Vec::new(),
            lifetime_s: 14_400,
            shutdown_drain_ms: 10_000,
            unsent_bytes: 16_384,
            trusted_proxies: Vec::new(),
            #[cfg(debug_assertions)]
            echo: false,
        }
    }
}

/// What the engine itself needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealtimeLimits {
    pub ring: usize,
    pub public_cap: Option<i64>,
}

impl Default for RealtimeLimits {
    fn default() -> Self {
        RealtimeSettings::default().limits()
    }
}

impl RealtimeSettings {
    pub fn limits(&self) -> RealtimeLimits {
        RealtimeLimits { ring: self.ring, public_cap: self.public_cap }
    }

    pub(crate) fn ping(&self) -> Duration {
        Duration::from_millis(self.ping_ms.max(1))
    }

    pub(crate) fn pong_timeout(&self) -> Duration {
        Duration::from_millis(self.pong_timeout_ms)
    }

    pub(crate) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms.max(1))
    }

    pub(crate) fn slow_close(&self) -> Duration {
        Duration::from_millis(self.slow_close_ms)
    }

    #[cfg(debug_assertions)]
    pub(crate) const fn echoes(&self) -> bool {
        self.echo
    }

    #[cfg(not(debug_assertions))]
    #[expect(clippy::unused_self, reason = "as in debug builds")]
    pub(crate) const fn echoes(&self) -> bool {
        false
    }

    /// The flush gap a connection gets that asked for `asked` ms: a few steps only, because connections with one gap share
    /// their flushes.
    pub(crate) fn granted_gap(&self, asked: Option<u64>) -> u64 {
        const STEPS: [u64; 9] = [0, 5, 10, 20, 50, 100, 250, 500, 1_000];
        match asked {
            None => self.window_ms.min(1_000),
            Some(asked) => STEPS.into_iter().find(|step| *step >= asked).unwrap_or(1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_rounded_up_to_a_shared_step() {
        let settings = RealtimeSettings::default();
        let granted: Vec<u64> = [None, Some(0), Some(1), Some(21), Some(1_000), Some(9_999)]
            .into_iter()
            .map(|asked| settings.granted_gap(asked))
            .collect();
        assert_eq!(granted, [20, 0, 5, 50, 1_000, 1_000]);
    }
}
