//! How many requests may still leave: one budget of a marketplace, as a pure value that is told what time it is.
//!
//! A bucket that fills evenly and holds `burst`. Where that is no more than a whole `per`, the last `per` is counted as well: a
//! bucket alone lets a burst and all the requests of a `per` into one window. A larger `burst` means that the marketplace has such
//! a bucket itself. What it says of itself only ever makes us slower, but for a larger plan that it states as a limit.

use std::time::Duration;

use crate::domain::retry::{RETRY_AFTER_MAX, RETRY_AFTER_MIN};
use crate::domain::time::Timestamp;
use crate::marketplaces::Limit;
use crate::marketplaces::wire::Headers;

/// Parts a window is counted in. More are exacter and cost memory; a window is then too long by one part in so many.
const PARTS: usize = 20;

/// Why nothing may leave now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Until(Timestamp),
    /// Until something that is under way has ended.
    ForAnswer,
}

impl Wait {
    /// The longer of two waits. Who waits for an answer looks again when it is there.
    pub fn max(self, other: Wait) -> Wait {
        match (self, other) {
            (Wait::Until(a), Wait::Until(b)) => Wait::Until(a.max(b)),
            _ => Wait::ForAnswer,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Budget {
    limit: Limit,
    /// Requests that may leave; below nothing after an answer that cost more than one.
    tokens: f64,
    reckoned_at: Timestamp,
    /// How many times the declared limit this account has.
    scale: f64,
    last_sent: Option<Timestamp>,
    under_way: usize,
    blocked_until: Option<Timestamp>,
    window: Window,
}

impl Budget {
    /// As a new owner has it: nothing saved up, as if the one before had just spent it all.
    pub fn empty(limit: Limit, blocked_until: Option<Timestamp>, now: Timestamp) -> Self {
        let mut window = Window::of(limit.per);
        if let Some(requests) = limit.requests {
            window.fill_evenly(now, requests);
        }
        let last_sent = (!limit.min_interval.is_zero()).then_some(now);
        Self { limit, tokens: 0.0, reckoned_at: now, scale: 1.0, last_sent, under_way: 0, blocked_until, window }
    }

    pub fn name(&self) -> &'static str {
        self.limit.name
    }

    /// How many may leave at this moment, at least one.
    pub fn room(&mut self, now: Timestamp) -> Result<usize, Wait> {
        let mut room = usize::MAX;
        if let Some(concurrency) = self.limit.concurrency {
            room = concurrency.max(1).saturating_sub(self.under_way);
            if room == 0 {
                return Err(Wait::ForAnswer);
            }
        }
        if let Some(until) = self.blocked_until {
            if now < until {
                return Err(Wait::Until(until));
            }
            self.blocked_until = None;
        }
        if !self.limit.min_interval.is_zero() {
            room = 1;
            if let Some(free) = self.last_sent.map(|sent| sent.plus(self.limit.min_interval)).filter(|free| now < *free) {
                return Err(Wait::Until(free));
            }
        }
        let Some(requests) = self.requests() else { return Ok(room) };
        self.reckon(now);
        if self.tokens < 1.0 {
            // A hair later rather than a hair too early: rounding must not make somebody look twice.
            let missing = (1.0 - self.tokens) / self.rate();
            return Err(Wait::Until(now.plus(span(missing) + Duration::from_micros(1))));
        }
        room = room.min(self.tokens as usize);
        if self.limit.burst > self.limit.requests.unwrap_or(0) {
            return Ok(room);
        }
        let counted = self.window.count(now);
        if counted >= requests {
            return Err(Wait::Until(self.window.next_part_gone(now)));
        }
        Ok(room.min((requests - counted) as usize))
    }

    /// One request is about to leave.
    pub fn draw(&mut self, now: Timestamp) {
        self.reckon(now);
        self.under_way += 1;
        self.last_sent = Some(now);
        if self.limit.requests.is_some() {
            self.tokens -= 1.0;
            self.window.add(now, 1);
        }
    }

    /// It did not leave after all.
    pub fn give_back(&mut self, drawn_at: Timestamp) {
        self.under_way = self.under_way.saturating_sub(1);
        if self.limit.requests.is_some() {
            self.tokens += 1.0;
            self.window.take_back(drawn_at);
        }
    }

    pub fn ended(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Whether an answer of this status asks for patience.
    pub fn is_throttled_by(&self, status: u16) -> bool {
        if self.limit.throttle_status.is_empty() { status == 429 } else { self.limit.throttle_status.contains(&status) }
    }

    /// What an answer says of the budget. Gives until when nothing may leave, where that is news that must outlive us.
    pub fn learn(&mut self, now: Timestamp, status: u16, headers: &Headers, retry_after: Option<Duration>) -> Option<Timestamp> {
        self.reckon(now);
        let before = self.blocked_until;
        let cost = self.limit.costs.iter().find(|cost| (cost.from..=cost.to).contains(&status));
        let more = cost.map_or(0, |cost| cost.requests.saturating_sub(1));
        if self.limit.requests.is_some() && more > 0 {
            self.tokens -= f64::from(more);
            self.window.add(now, more);
            if self.tokens < 0.0 {
                self.block(now.plus(span(-self.tokens / self.rate())));
            }
        }
        let told = self.told(headers);
        let throttled = self.is_throttled_by(status);
        let asked = told.retry_after.or(retry_after.filter(|_| throttled || status == 503));
        if let Some(asked) = asked {
            self.block(now.plus(asked.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)));
        } else if throttled {
            let date = headers.get("retry-after").and_then(Timestamp::parse_rfc2822);
            let reset = told.reset.or(date).filter(|reset| *reset > now).map(|reset| reset.since(now).min(RETRY_AFTER_MAX));
            self.block(now.plus(reset.unwrap_or(self.limit.penalty)));
        } else if let (Some(0), Some(reset)) = (told.remaining, told.reset) {
            self.block(reset.min(now.plus(RETRY_AFTER_MAX)));
        }
        if throttled {
            self.tokens = self.tokens.min(0.0);
        }
        if let Some(limit) = told.limit {
            self.rescale(limit, told.is_burst);
        }
        if let (Some(remaining), Some(_)) = (told.remaining, self.limit.requests) {
            // What is under way besides is not in that number yet.
            let others = self.under_way.saturating_sub(1) as f64;
            self.tokens = self.tokens.min(f64::from(remaining) - others);
        }
        self.blocked_until.filter(|until| before.is_none_or(|before| *until > before) && *until > now)
    }

    /// A larger or smaller plan than the declared one: everything in proportion.
    fn rescale(&mut self, limit: u32, is_burst: bool) {
        let declared = if is_burst { self.limit.burst } else { self.limit.requests.unwrap_or(0) };
        if declared > 0 && limit > 0 {
            self.scale = (f64::from(limit) / f64::from(declared)).clamp(0.01, 10.0);
        }
    }

    /// Nothing leaves before then.
    pub fn close(&mut self, until: Timestamp) {
        self.block(until);
    }

    fn block(&mut self, until: Timestamp) {
        self.blocked_until = self.blocked_until.max(Some(until));
    }

    /// Requests that may leave now, for people to see; `None` where there is no such number.
    pub fn left(&mut self, now: Timestamp) -> Option<i64> {
        self.limit.requests?;
        self.reckon(now);
        Some(if self.blocked_until.is_some_and(|until| now < until) { 0 } else { self.tokens.max(0.0) as i64 })
    }

    pub fn blocked_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.blocked_until.filter(|until| now < *until)
    }

    fn requests(&self) -> Option<u32> {
        self.limit.requests.map(|requests| ((f64::from(requests) * self.scale) as u32).max(1))
    }

    /// Requests per second.
    fn rate(&self) -> f64 {
        let per = self.limit.per.as_secs_f64().max(0.001);
        (f64::from(self.limit.requests.unwrap_or(1)) * self.scale / per).max(1e-6)
    }

    fn reckon(&mut self, now: Timestamp) {
        let gained = now.since(self.reckoned_at).as_secs_f64() * self.rate();
        let most = (f64::from(self.limit.burst) * self.scale).max(1.0);
        self.tokens = (self.tokens + gained).min(most);
        self.reckoned_at = now;
    }

    fn told(&self, headers: &Headers) -> Said {
        let reads = &self.limit.reads;
        let text = |name: Option<&'static str>| name.and_then(|name| headers.get(name)).map(str::trim);
        let number = |name| text(name).and_then(|text| text.parse::<f64>().ok()).filter(|number| *number >= 0.0);
        let whole = |name| number(name).map(|number| number.min(f64::from(u32::MAX)) as u32);
        let mut said = Said {
            retry_after: number(reads.retry_after_s).map(|seconds| Duration::from_secs_f64(seconds.min(86_400.0))),
            remaining: whole(reads.remaining),
            limit: whole(reads.limit),
            is_burst: false,
            reset: number(reads.reset_unix)
                .map(|seconds| Timestamp::from_seconds(seconds as i64))
                .or_else(|| text(reads.reset_rfc822).and_then(Timestamp::parse_rfc2822)),
        };
        let fraction = text(reads.fraction).and_then(|text| text.split_once('/'));
        let parts =
            fraction.and_then(|(used, limit)| Some((used.trim().parse::<u32>().ok()?, limit.trim().parse::<u32>().ok()?)));
        if let Some((used, limit)) = parts {
            (said.remaining, said.limit, said.is_burst) = (Some(limit.saturating_sub(used)), Some(limit), true);
        }
        said
    }
}

/// What the headers of an answer said.
struct Said {
    retry_after: Option<Duration>,
    remaining: Option<u32>,
    limit: Option<u32>,
    /// The limit is of what may leave at once, not of a whole `per`.
    is_burst: bool,
    reset: Option<Timestamp>,
}

fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(RETRY_AFTER_MAX).min(RETRY_AFTER_MAX)
}

/// What left in the last `per`, in parts of it.
#[derive(Clone, Debug)]
struct Window {
    part: i64,
    /// Which part of time the newest count is of.
    newest: i64,
    counts: [u32; PARTS + 1],
}

impl Window {
    fn of(per: Duration) -> Self {
        let part = i64::try_from(per.as_micros().div_ceil(PARTS as u128)).unwrap_or(i64::MAX / 64);
        Self { part: part.max(1), newest: i64::MIN, counts: [0; PARTS + 1] }
    }

    fn fill_evenly(&mut self, now: Timestamp, requests: u32) {
        self.turn(now);
        let each = requests / (PARTS as u32 + 1);
        self.counts = [each; PARTS + 1];
        let mut rest = requests - each * (PARTS as u32 + 1);
        for count in self.counts.iter_mut() {
            *count += u32::from(rest > 0);
            rest = rest.saturating_sub(1);
        }
        // What this part may still hold is let out by the bucket, evenly: an hour's window is not shut for its first minutes.
        self.counts[Self::index(self.newest)] = 0;
    }

    fn index(part: i64) -> usize {
        part.rem_euclid(PARTS as i64 + 1) as usize
    }

    /// Forgets the parts that are over.
    fn turn(&mut self, now: Timestamp) {
        let current = now.micros().div_euclid(self.part);
        if self.newest == i64::MIN || current.saturating_sub(self.newest) > PARTS as i64 {
            self.counts = [0; PARTS + 1];
            self.newest = current;
            return;
        }
        while self.newest < current {
            self.newest += 1;
            self.counts[Self::index(self.newest)] = 0;
        }
    }

    fn count(&mut self, now: Timestamp) -> u32 {
        self.turn(now);
        self.counts.iter().sum()
    }

    fn add(&mut self, now: Timestamp, requests: u32) {
        self.turn(now);
        let index = Self::index(self.newest);
        self.counts[index] = self.counts[index].saturating_add(requests);
    }

    fn take_back(&mut self, drawn_at: Timestamp) {
        let part = drawn_at.micros().div_euclid(self.part);
        if part <= self.newest && self.newest - part <= PARTS as i64 {
            let index = Self::index(part);
            self.counts[index] = self.counts[index].saturating_sub(1);
        }
    }

    /// When the oldest part that counts something is over.
    fn next_part_gone(&mut self, now: Timestamp) -> Timestamp {
        self.turn(now);
        let oldest = self.newest - PARTS as i64;
        let counting = (oldest..=self.newest).find(|part| self.counts[Self::index(*part)] > 0).unwrap_or(oldest);
        Timestamp::from_micros((counting + PARTS as i64 + 1).saturating_mul(self.part))
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
