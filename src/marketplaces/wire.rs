//! Plain values that cross between adapters (which describe) and `outbound` (which sends).

use std::time::Duration;

use crate::domain::ids::ListingId;
use crate::domain::time::Timestamp;

/// A listing and the quantity its marketplace is to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct PushItem {
    pub listing_id: ListingId,
    pub version: i64,
    pub quantity: i64,
    pub marketplace_product_id: String,
    pub sku: String,
    /// The marketplace's own names of the thing, by the names its adapter gives them.
    pub refs: serde_json::Map<String, serde_json::Value>,
    /// What we believe it shows now: for marketplaces that compare before they set.
    pub expected: Option<i64>,
    /// When the quantity became what it is.
    pub changed_at: Timestamp,
}

impl PushItem {
    /// The same for every retry of one value, another for the next: a marketplace that remembers keys never swallows a new value
    /// that equals an old one.
    pub fn idempotency_key(&self) -> String {
        format!("{}:{}", self.listing_id, self.version)
    }
}

/// An HTTP request as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    pub url: String,
    /// Values may hold secrets: never logged.
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// The headers of an answer, as far as they are kept. Names are looked up in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl FromIterator<(String, String)> for Headers {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// What came back, or why nothing did.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Response {
        status: u16,
        retry_after: Option<Duration>,
        headers: Headers,
        /// At most `push.response_max_bytes`.
        body: Vec<u8>,
    },
    /// The request did not leave: connection refused, no such host, TLS refused. Surely not applied.
    NotSent(String),
    /// It left, and no full answer came: it may have been applied, or be applied later.
    NoAnswer(String),
    /// The same, and the line was cut before the first byte of an answer: often only because it had been idle for too long. A
    /// question may be asked again at once.
    Cut(String),
}

/// How one item of a push ended. Data, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The marketplace shows it now.
    Applied,
    /// It said yes, which from this marketplace may mean nothing: to be read back before it is believed.
    Accepted,
    /// Not applied, because it shows another number than the one we gave to compare with.
    Conflict { shown: Option<i64>, message: String },
    /// Not applied; may be later.
    Retry { after: Option<Duration>, throttled: bool, code: Option<String>, message: String },
    /// Never, as it stands: a person or a new version is needed.
    Permanent { code: Option<String>, message: String },
    /// Nobody knows.
    Unknown { message: String },
    /// The credentials are refused: pause the connection and say so.
    Auth { message: String },
}

impl Outcome {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Accepted => "accepted",
            Self::Conflict { .. } => "retry",
            Self::Retry { .. } => "retry",
            Self::Permanent { .. } => "permanent",
            Self::Unknown { .. } => "unknown",
            Self::Auth { .. } => "auth",
        }
    }

    /// The meaning of an answer where the marketplace says no more than HTTP does.
    pub fn of_status(answer: &Answer) -> Outcome {
        match answer {
            Answer::NotSent(why) => Outcome::Retry { after: None, throttled: false, code: None, message: why.clone() },
            Answer::NoAnswer(why) | Answer::Cut(why) => Outcome::Unknown { message: why.clone() },
            Answer::Response { status, retry_after, body, .. } => {
                let message = || format!("answered {status}: {}", excerpt(body));
                let code = Some(status.to_string());
                match *status {
                    200..=299 => Outcome::Applied,
                    401 | 403 => Outcome::Auth { message: message() },
                    429 => Outcome::Retry { after: *retry_after, throttled: true, code, message: message() },
                    408 | 425 | 500..=599 => Outcome::Retry { after: *retry_after, throttled: false, code, message: message() },
                    // A redirect is not followed: the quantity was not taken.
                    _ => Outcome::Permanent { code, message: message() },
                }
            }
        }
    }
}

/// The beginning of an answer, fit for a log line.
pub fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}
