//! Plain values that cross between adapters (which describe) and `outbound` (which sends).

use std::time::Duration;

use crate::domain::ids::ListingId;

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
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
}

/// What came back, or why nothing did.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Response {
        status: u16,
        retry_after: Option<Duration>,
        /// At most `push.response_max_bytes`.
        body: Vec<u8>,
    },
    /// The request did not leave: connection refused, no such host, TLS refused. Surely not applied.
    NotSent(String),
    /// It left, and no full answer came: it may have been applied, or be applied later.
    NoAnswer(String),
}

/// How one item of a push ended. Data, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The marketplace shows it now.
    Applied,
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
            Answer::NoAnswer(why) => Outcome::Unknown { message: why.clone() },
            Answer::Response { status, retry_after, body } => {
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
