//! How often a marketplace may be called, as data. The core counts, waits and learns from the answers; nothing here does.

use std::time::Duration;

/// One budget. A request may draw from several.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    pub name: &'static str,
    /// So many requests in each `per`; `None`: only the rest holds.
    pub requests: Option<u32>,
    pub per: Duration,
    /// How many may leave at once after a pause.
    pub burst: u32,
    /// Under way at once.
    pub concurrency: Option<usize>,
    pub min_interval: Duration,
    /// Answers that mean "slower".
    pub throttle_status: Vec<u16>,
    /// What an answer of a kind costs instead of one.
    pub costs: Vec<Cost>,
    /// How long nothing is sent after a throttling answer that names no time.
    pub penalty: Duration,
    pub reads: LimitHeaders,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// First and last status it is about.
    pub from: u16,
    pub to: u16,
    pub requests: u32,
}

/// The names of the headers in which a marketplace tells what is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitHeaders {
    /// Seconds to wait.
    pub retry_after_s: Option<&'static str>,
    pub remaining: Option<&'static str>,
    pub limit: Option<&'static str>,
    /// `used/limit` in one.
    pub fraction: Option<&'static str>,
    /// When the budget is whole again: seconds since 1970.
    pub reset_unix: Option<&'static str>,
    /// The same as a date like `Tue, 15 Nov 1994 08:12:31 GMT`.
    pub reset_rfc822: Option<&'static str>,
}
