//! `[realtime]`: the limits of browser connections.

use super::duration::durations;
use super::parse::{list, whole};
use super::section::Section;

#[derive(Clone, Debug)]
pub struct RealtimeSettings {
    pub window_ms: u64,
    pub ping_ms: u64,
    pub pong_timeout_ms: u64,
    pub slow_close_ms: u64,
    /// Per process.
    pub max_connections: usize,
    pub max_connections_per_ip: usize,
    /// Per connection.
    pub max_skus: usize,
    /// Per connection.
    pub commands_per_second: u32,
    pub max_frame_bytes: usize,
    pub max_subscribe_frame_bytes: usize,
    /// Changes remembered.
    pub ring: usize,
    /// 0 = the exact number is shown.
    pub public_cap: i64,
    /// Lower case, without a trailing slash: compare with the header as it is sent by browsers.
    pub allowed_origins: Vec<String>,
    /// 0 = for ever.
    pub lifetime_s: u64,
    pub shutdown_drain_ms: u64,
    pub heartbeat_ms: u64,
    /// Per socket, in the kernel.
    pub unsent_bytes: u32,
}

durations!(RealtimeSettings {
    window = from_millis(window_ms),
    ping = from_millis(ping_ms),
    pong_timeout = from_millis(pong_timeout_ms),
    slow_close = from_millis(slow_close_ms),
    shutdown_drain = from_millis(shutdown_drain_ms),
});

impl RealtimeSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        Self {
            window_ms: s.need("window_ms", whole(0..=1_000)),
            ping_ms: s.need("ping_ms", whole(100..=600_000)),
            pong_timeout_ms: s.need("pong_timeout_ms", whole(50..=600_000)),
            slow_close_ms: s.need("slow_close_ms", whole(100..=600_000)),
            max_connections: s.need("max_connections", whole(1..=10_000_000)),
            max_connections_per_ip: s.need("max_connections_per_ip", whole(1..=10_000_000)),
            max_skus: s.need("max_skus", whole(1..=1_000_000)),
            commands_per_second: s.need("commands_per_second", whole(1..=10_000)),
            max_frame_bytes: s.need("max_frame_bytes", whole(256..=1_048_576)),
            max_subscribe_frame_bytes: s.need("max_subscribe_frame_bytes", whole(256..=16_777_216)),
            ring: s.need("ring", whole(16..=16_777_216)),
            public_cap: s.need("public_cap", whole(0..=crate::domain::quantity::QUANTITY_MAX)),
            allowed_origins: s.need("allowed_origins", list(origin)),
            lifetime_s: s.need("lifetime_s", whole(0..=2_592_000)),
            heartbeat_ms: s.need("heartbeat_ms", whole(100..=600_000)),
            unsent_bytes: s.need("unsent_bytes", whole(1_024..=16_777_216)),
            shutdown_drain_ms: s.need("shutdown_drain_ms", whole(0..=600_000)),
        }
    }

    /// How long a connection lives; `None` = for ever.
    pub fn lifetime(&self) -> Option<std::time::Duration> {
        (self.lifetime_s > 0).then(|| std::time::Duration::from_secs(self.lifetime_s))
    }
}

/// An origin exactly as a browser sends it. `*` is refused: it would let any page read with a visitor's session.
fn origin(text: &str) -> Result<String, String> {
    const FORM: &str = "must be an origin, like https://shop.example (scheme, host, port, nothing else)";
    let url = url::Url::parse(text).map_err(|_| FORM.to_owned())?;
    let origin = url.origin().ascii_serialization();
    if matches!(url.scheme(), "http" | "https") && (text == origin || text == format!("{origin}/")) {
        Ok(origin)
    } else if matches!(url.scheme(), "http" | "https") {
        Err(format!("{FORM}; its origin is {origin}"))
    } else {
        Err(FORM.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn takes_origins_as_browsers_send_them() {
        assert_eq!(origin("https://shop.example"), Ok("https://shop.example".to_owned()));
        assert_eq!(origin("http://127.0.0.1:8080/"), Ok("http://127.0.0.1:8080".to_owned()));
        for bad in
            ["*", "null", "shop.example", "https://shop.example/page", "https://Shop.example", "https://a@b", "ftp://a", ""]
        {
            assert!(origin(bad).is_err(), "{bad:?}");
        }
    }
}
