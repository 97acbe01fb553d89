//! The rates a real marketplace grants, really enforced: what goes over one is refused, and counted, so that a test can say that
//! the hub never broke one.
//!
//! A shop forgives what the way between two machines may do to a well-paced caller: one request above a bucket's size, and a
//! fiftieth of a window. Nothing else.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::time::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// At most `max` in any stretch of `per`; who asks for more is shut out for `block`.
    Window { max: u32, per: Duration, block: Duration },
    /// A bucket of `size` tokens that gets one back every `every`.
    Bucket { size: u32, every: Duration },
    /// At most so many at the same time.
    Parallel { max: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    pub name: &'static str,
    pub rule: Rule,
    /// What a request costs that is answered with a 4xx; 1 where errors cost no more than successes.
    pub error_cost: u32,
}

impl Limit {
    pub const fn window(name: &'static str, max: u32, per: Duration, block: Duration) -> Self {
        Self { name, rule: Rule::Window { max, per, block }, error_cost: 1 }
    }

    pub const fn bucket(name: &'static str, size: u32, every: Duration) -> Self {
        Self { name, rule: Rule::Bucket { size, every }, error_cost: 1 }
    }

    pub const fn parallel(name: &'static str, max: u32) -> Self {
        Self { name, rule: Rule::Parallel { max }, error_cost: 1 }
    }

    pub const fn errors_cost(self, error_cost: u32) -> Self {
        Self { error_cost, ..self }
    }
}

/// A limit and how much of it is used.
#[derive(Debug)]
pub struct Gauge {
    pub limit: Limit,
    /// How many times faster than the real one's this clock runs.
    hurry: u32,
    taken: VecDeque<Timestamp>,
    /// May fall below zero: debts of errors are paid back by waiting.
    tokens: f64,
    filled_at: Option<Timestamp>,
    in_flight: u32,
    blocked_until: Option<Timestamp>,
}

impl Gauge {
    pub fn new(limit: Limit, hurry: u32) -> Self {
        let tokens = match limit.rule {
            Rule::Bucket { size, .. } => f64::from(size) + 1.0,
            _ => 0.0,
        };
        let hurry = hurry.max(1);
        Self { limit, hurry, taken: VecDeque::new(), tokens, filled_at: None, in_flight: 0, blocked_until: None }
    }

    /// Takes `cost`; else says how long to wait.
    pub fn take(&mut self, cost: u32, now: Timestamp) -> Result<(), Duration> {
        if let Some(until) = self.blocked_until.filter(|until| *until > now) {
            return Err(until.since(now));
        }
        match self.limit.rule {
            Rule::Window { max, per, block } => self.take_of_window(max, per / self.hurry, block / self.hurry, now),
            Rule::Bucket { size, every } => {
                self.fill(size, every / self.hurry, now);
                if self.tokens < f64::from(cost) {
                    return Err((every / self.hurry).mul_f64(f64::from(cost) - self.tokens));
                }
                self.tokens -= f64::from(cost);
                Ok(())
            }
            Rule::Parallel { max } if self.in_flight >= max => Err(Duration::from_millis(100)),
            Rule::Parallel { .. } => {
                self.in_flight += 1;
                Ok(())
            }
        }
    }

    fn take_of_window(&mut self, max: u32, per: Duration, block: Duration, now: Timestamp) -> Result<(), Duration> {
        let since = now.minus(per * 49 / 50);
        while self.taken.front().is_some_and(|taken| *taken <= since) {
            self.taken.pop_front();
        }
        if self.taken.len() >= max as usize {
            let first = self.taken.front().copied().unwrap_or(now);
            let wait = first.plus(per).since(now).max(block);
            if !block.is_zero() {
                self.blocked_until = Some(now.plus(block));
            }
            return Err(wait);
        }
        self.taken.push_back(now);
        Ok(())
    }

    fn fill(&mut self, size: u32, every: Duration, now: Timestamp) {
        let gained = self.filled_at.map_or(0.0, |then| now.since(then).as_secs_f64() / every.as_secs_f64().max(1e-9));
        self.filled_at = Some(now);
        self.tokens = (self.tokens + gained).min(f64::from(size) + 1.0);
    }

    /// The answer turned out to be a 4xx.
    pub fn charge_error(&mut self, now: Timestamp) {
        let more = self.limit.error_cost.saturating_sub(1);
        match self.limit.rule {
            Rule::Bucket { .. } => self.tokens -= f64::from(more),
            Rule::Window { .. } => self.taken.extend(std::iter::repeat_n(now, more as usize)),
            Rule::Parallel { .. } => {}
        }
    }

    /// A request that took of a parallel limit is over.
    pub fn release(&mut self) {
        if matches!(self.limit.rule, Rule::Parallel { .. }) {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }

    /// How many are left and how many there are, for the headers some marketplaces send.
    pub fn left(&self) -> (u32, u32) {
        match self.limit.rule {
            Rule::Window { max, .. } => (max.saturating_sub(u32::try_from(self.taken.len()).unwrap_or(u32::MAX)), max),
            Rule::Bucket { size, .. } => (whole(self.tokens).min(size), size),
            Rule::Parallel { max } => (max.saturating_sub(self.in_flight), max),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range first")]
fn whole(tokens: f64) -> u32 {
    tokens.clamp(0.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_767_954_600_000 + ms)
    }

    fn granted(gauge: &mut Gauge, times: impl IntoIterator<Item = i64>) -> usize {
        times.into_iter().filter(|ms| gauge.take(1, at(*ms)).is_ok()).count()
    }

    #[test]
    fn a_window_grants_its_number_in_any_stretch_and_then_blocks() {
        let mut gauge = Gauge::new(Limit::window("all", 3, SECOND, Duration::ZERO), 1);
        assert_eq!(granted(&mut gauge, [0, 1, 2, 3, 500, 975]), 3);
        assert_eq!(granted(&mut gauge, [1000, 1001, 1002, 1003]), 3);
        let mut strict = Gauge::new(Limit::window("all", 1, SECOND, 10 * SECOND), 1);
        assert_eq!(granted(&mut strict, [0, 10, 2_000, 9_000, 10_011]), 2);
        assert_eq!(strict.left(), (0, 1));
    }

    #[test]
    fn a_bucket_refills_and_errors_cost_more() {
        let mut gauge = Gauge::new(Limit::bucket("stock", 20, Duration::from_millis(200)).errors_cost(10), 1);
        assert_eq!(granted(&mut gauge, std::iter::repeat_n(0, 30)), 21, "the size and the one that is forgiven");
        assert_eq!(gauge.take(1, at(0)), Err(Duration::from_millis(200)));
        assert_eq!(granted(&mut gauge, [200, 201, 400]), 2);
        gauge.charge_error(at(400));
        assert_eq!(granted(&mut gauge, [600, 1_000, 2_000, 2_199]), 0, "nine tokens of debt are 1.8 seconds");
        assert_eq!(granted(&mut gauge, [2_401]), 1);
    }

    #[test]
    fn a_hurried_clock_and_parallel_requests() {
        let mut gauge = Gauge::new(Limit::window("all", 1, 60 * SECOND, Duration::ZERO), 60);
        assert_eq!(granted(&mut gauge, [0, 500, 1_000]), 2);
        let mut parallel = Gauge::new(Limit::parallel("campaign", 2), 1);
        assert_eq!(granted(&mut parallel, [0, 0, 0]), 2);
        parallel.release();
        assert_eq!(granted(&mut parallel, [1, 1]), 1);
    }
}
