//! The wire: what a browser may say, what the hub says, and with which code it goes.

use std::borrow::Cow;
use std::io::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;

/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "stockhub.v1.json";

/// Items in one frame, at most.
pub(crate) const PAGE_ITEMS: usize = 500;

/// Why a connection ends, banded by what the client should do: 4000–4099 stay away, 4100–4199 back off, 4200–4299 come back
/// now. 1002, 1007 and 1009 are the WebSocket standard's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    Normal = 1000,
    Protocol = 1002,
    NotUtf8 = 1007,
    TooBig = 1009,
    BadRequest = 4000,
    BadToken = 4001,
    Revoked = 4009,
    OverCapacity = 4100,
    TooSlow = 4101,
    RateLimited = 4102,
    ShuttingDown = 4200,
    NoPong = 4201,
    Lifetime = 4202,
}

impl CloseCode {
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// When to come back, in milliseconds: a window, so that many clients do not come at once. `None`: no `bye` is said, or the
    /// client should not come back.
    pub(crate) fn reconnect_after_ms(self, connections: usize) -> Option<[u64; 2]> {
        // A millisecond per connection: a thousand handshakes a second is what one core does with ease.
        let crowd = (connections as u64).clamp(1_000, 60_000);
        match self {
            Self::OverCapacity | Self::TooSlow => Some([2_000, 20_000]),
            Self::RateLimited => Some([5_000, 30_000]),
            Self::ShuttingDown | Self::Lifetime => Some([0, crowd]),
            Self::NoPong => Some([0, 1_000]),
            _ => None,
        }
    }

    /// Standard codes speak of the transport; only the hub's own are announced in a `bye`.
    pub(crate) const fn is_ours(self) -> bool {
        self.code() >= 4000
    }
}

/// What a browser said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClientFrame {
    Subscribe {
        id: Option<u64>,
        skus: Vec<String>,
        all: bool,
        since: Option<String>,
    },
    Unsubscribe {
        skus: Vec<String>,
        all: bool,
    },
    /// With the last cursor that the client applied.
    Pong {
        cursor: Option<String>,
    },
}

/// What is wrong with what it said. The connection stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFrame {
    #[error("not JSON")]
    Json,
    #[error("unknown type")]
    UnknownType(Option<u64>),
    #[error("{0}")]
    Shape(String),
    #[error("text frames only")]
    Binary,
}

impl BadFrame {
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Json => "bad-json",
            Self::UnknownType(_) => "unknown-type",
            Self::Shape(_) => "bad-message",
            Self::Binary => "binary",
        }
    }

    pub(crate) const fn id(&self) -> Option<u64> {
        match self {
            Self::UnknownType(id) => *id,
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    id: Option<u64>,
    skus: Option<Vec<String>>,
    all: Option<bool>,
    since: Option<String>,
    #[serde(borrow)]
    cursor: Option<Cow<'a, str>>,
}

impl ClientFrame {
    pub(crate) fn parse(text: &str) -> Result<Self, BadFrame> {
        let raw: Raw<'_> = serde_json::from_str(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => BadFrame::Shape(error.to_string()),
            _ => BadFrame::Json,
        })?;
        let Raw { kind, id, skus, all, since, cursor } = raw;
        let (skus, all) = (skus.unwrap_or_default(), all.unwrap_or_default());
        let named = !skus.is_empty() || all;
        match &*kind {
            "subscribe" | "unsubscribe" if !named => Err(BadFrame::Shape("name skus, or all".to_owned())),
            "subscribe" => Ok(Self::Subscribe { id, skus, all, since: since.filter(|s| !s.is_empty()) }),
            "unsubscribe" => Ok(Self::Unsubscribe { skus, all }),
            "pong" => Ok(Self::Pong { cursor: cursor.map(Cow::into_owned) }),
            _ => Err(BadFrame::UnknownType(id)),
        }
    }
}

/// Why a reader gets a snapshot instead of the changes it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GapWhy {
    /// The cursor is older than the last changes kept.
    Ring,
    /// The cursor is of another stream.
    Epoch,
    /// The connection did not read for so long that its place was lost.
    Slow,
}

impl GapWhy {
    pub(crate) const ALL: [Self; 3] = [Self::Ring, Self::Epoch, Self::Slow];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Epoch => "epoch",
            Self::Slow => "slow",
        }
    }
}

/// A message of the hub. It is encoded per transport, and once for all who get the same bytes.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Hello { session: &'a str, generation: &'a str, cursor: Option<&'a str>, ping_ms: u64, max_skus: usize, min_gap_ms: u64 },
    Subscribed { id: Option<u64>, resumed: bool, cursor: Option<&'a str>, count: usize, unknown: &'a [&'a str] },
    Snapshot { cursor: Option<&'a str>, items: &'a [Bytes] },
    Update { cursor: &'a str, items: &'a [Bytes] },
    Gap { from: &'a str, to: &'a str, why: GapWhy },
    Ping { ts: u64, cursor: Option<&'a str>, head: &'a str },
    Error { id: Option<u64>, code: &'a str, message: &'a str },
    Bye { code: CloseCode, reconnect_after_ms: Option<[u64; 2]> },
}

impl Message<'_> {
    pub(crate) const fn event(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Subscribed { .. } => "subscribed",
            Self::Snapshot { .. } => "snapshot",
            Self::Update { .. } => "stock_update",
            Self::Gap { .. } => "gap",
            Self::Ping { .. } => "ping",
            Self::Error { .. } => "error",
            Self::Bye { .. } => "bye",
        }
    }

    /// The cursor that a reader who has this message may resume from: an event stream's `id`.
    pub(crate) const fn resume_from(&self) -> Option<&str> {
        match self {
            Self::Snapshot { cursor, .. } => *cursor,
            Self::Update { cursor, .. } => Some(cursor),
            _ => None,
        }
    }

    pub(crate) fn json(&self) -> BytesMut {
        let mut out = Json::open(self.event());
        match self {
            Self::Hello { session, generation, cursor, ping_ms, max_skus, min_gap_ms } => {
                out.raw("protocol", 1).text("session", session).text("generation", generation).maybe("cursor", *cursor);
                out.raw("ping_ms", ping_ms).raw("max_skus", max_skus).raw("min_gap_ms", min_gap_ms);
            }
            Self::Subscribed { id, resumed, cursor, count, unknown } => {
                out.maybe_raw("id", *id).text("mode", if *resumed { "resumed" } else { "snapshot" });
                out.maybe("cursor", *cursor).raw("count", count).texts("unknown", unknown);
            }
            Self::Snapshot { cursor, items } => {
                out.maybe("cursor", *cursor).items(items).raw("more", cursor.is_none());
            }
            Self::Update { cursor, items } => {
                out.text("cursor", cursor).items(items);
            }
            Self::Gap { from, to, why } => {
                out.text("from", from).text("to", to).text("why", why.name());
            }
            Self::Ping { ts, cursor, head } => {
                out.raw("ts", ts).maybe("cursor", *cursor).text("head", head);
            }
            Self::Error { id, code, message } => {
                out.maybe_raw("id", *id).text("code", code).text("message", message);
            }
            Self::Bye { code, reconnect_after_ms } => {
                out.raw("code", code.code());
                if let Some([from, to]) = reconnect_after_ms {
                    out.raw("reconnect_after_ms", format_args!("[{from},{to}]"));
                }
            }
        }
        out.close()
    }
}

/// Writes one flat JSON object. By hand, because items come ready-made and are only copied.
struct Json(BytesMut);

impl Json {
    fn open(kind: &str) -> Self {
        let mut out = Self(BytesMut::with_capacity(256));
        out.0.put_slice(b"{\"type\":\"");
        out.0.put_slice(kind.as_bytes());
        out.0.put_u8(b'"');
        out
    }

    fn key(&mut self, key: &str) -> &mut Self {
        self.0.put_slice(b",\"");
        self.0.put_slice(key.as_bytes());
        self.0.put_slice(b"\":");
        self
    }

    // Writing to a growing buffer cannot fail, so the results of these writes carry nothing.
    fn raw(&mut self, key: &str, value: impl std::fmt::Display) -> &mut Self {
        self.key(key);
        let _ = write!((&mut self.0).writer(), "{value}");
        self
    }

    fn string(&mut self, value: &str) {
        let _ = serde_json::to_writer((&mut self.0).writer(), value);
    }

    fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key).string(value);
        self
    }

    fn maybe(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.text(key, value);
        }
        self
    }

    fn maybe_raw(&mut self, key: &str, value: Option<u64>) -> &mut Self {
        if let Some(value) = value {
            self.raw(key, value);
        }
        self
    }

    fn texts(&mut self, key: &str, values: &[&str]) -> &mut Self {
        self.key(key);
        let _ = serde_json::to_writer((&mut self.0).writer(), values);
        self
    }

    fn items(&mut self, items: &[Bytes]) -> &mut Self {
        self.key("items");
        self.0.reserve(items.iter().map(|item| item.len() + 1).sum::<usize>() + 2);
        join(&mut self.0, items);
        self
    }

    fn close(mut self) -> BytesMut {
        self.0.put_u8(b'}');
        self.0
    }
}

/// A JSON array of ready-made items.
pub(crate) fn join(out: &mut BytesMut, items: &[Bytes]) {
    out.put_u8(b'[');
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.put_u8(b',');
        }
        out.put_slice(item);
    }
    out.put_u8(b']');
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
