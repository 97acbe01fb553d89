//! When to try again, and when not to try at all. Both are pure: the time and the random number come from the caller, so a test
//! says "a minute later" instead of waiting one.

use std::time::Duration;

use super::time::Timestamp;

/// A Retry-After below this is taken as this: "0" would be a tight loop.
pub const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
/// A Retry-After above this is taken as this: one wrong header must not silence a marketplace for a day.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// How long to wait after the `attempt`-th failure in a row (the first is 1): anywhere between nothing and
/// `base` × 2^(attempt − 1), at most `cap`. Full jitter, because senders that failed together must not come back together.
/// A Retry-After replaces all that: the marketplace knows better.
///
/// `unit_random` is in 0..=1; anything else counts as the nearest end, and no number at all as the longest wait.
pub fn delay(attempt: u32, base: Duration, cap: Duration, retry_after: Option<Duration>, unit_random: f64) -> Duration {
    match retry_after {
        Some(asked) => asked.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX),
        None => part_of(doubled(base, attempt.saturating_sub(1), cap), unit_random),
    }
}

fn doubled(base: Duration, times: u32, cap: Duration) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    base.checked_mul(factor).map_or(cap, |span| span.min(cap))
}

fn part_of(span: Duration, unit_random: f64) -> Duration {
    let part = if unit_random.is_nan() { 1.0 } else { unit_random.clamp(0.0, 1.0) };
    // Rounding may end a hair above the span, or above what a Duration holds.
    Duration::try_from_secs_f64(span.as_secs_f64() * part).map_or(span, |waited| waited.min(span))
}

/// When a connection's breaker opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Failures in a row that open it; 0 counts as 1.
    pub failures: u32,
    /// How long it stays open the first time. Each failed probe doubles it.
    pub open_for: Duration,
    /// The longest it stays open.
    pub open_cap: Duration,
}

/// Keeps a dead marketplace from costing a time-out per listing: after some failures in a row nothing is sent for a while, then
/// one probe decides.
///
/// Tell it how each call ended: `on_success`, `on_failure` (no answer, 5xx), or `on_throttled` for a 429, which is no failure.
/// It lives in memory; a restart begins closed and learns again within `failures` calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    limits: BreakerLimits,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Timestamp,
        openings: u32,
    },
    /// A probe is out. Should its end never be told (the task was dropped), another may leave at `until`.
    HalfOpen {
        until: Timestamp,
        openings: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    Yes,
    /// One call with one item. The permit is taken: the next caller is told No.
    OneProbe,
    No {
        until: Timestamp,
    },
}

impl Breaker {
    pub const fn new(limits: BreakerLimits) -> Self {
        Self { limits, state: State::Closed { failures: 0 } }
    }

    /// Asks right before sending, and means it: a `OneProbe` that is not used blocks the others for a while.
    pub fn may_send(&mut self, now: Timestamp) -> Permit {
        match self.state {
            State::Closed { .. } => Permit::Yes,
            State::Open { until, .. } | State::HalfOpen { until, .. } if now < until => Permit::No { until },
            State::Open { openings, .. } | State::HalfOpen { openings, .. } => {
                let until = now.plus(self.span(openings));
                self.state = State::HalfOpen { until, openings };
                Permit::OneProbe
            }
        }
    }

    /// Closes it, unless it is open: an answer that was under way when it opened says nothing about now.
    pub fn on_success(&mut self, now: Timestamp) {
        match self.state {
            State::Open { until, .. } if now < until => {}
            _ => self.state = State::Closed { failures: 0 },
        }
    }

    pub fn on_failure(&mut self, now: Timestamp, unit_random: f64) {
        match self.state {
            State::Closed { failures } if failures.saturating_add(1) < self.limits.failures => {
                self.state = State::Closed { failures: failures.saturating_add(1) };
            }
            State::Closed { .. } => self.open(now, 1, unit_random),
            State::HalfOpen { openings, .. } => self.open(now, openings.saturating_add(1), unit_random),
            // A call that left before it opened: already counted in the decision to open.
            State::Open { .. } => {}
        }
    }

    /// The marketplace answered and asked for patience, which is the limiter's business. A probe so answered proved nothing:
    /// the next may leave as soon as the limiter lets it.
    pub fn on_throttled(&mut self, now: Timestamp) {
        if let State::HalfOpen { openings, .. } = self.state {
            self.state = State::Open { until: now, openings };
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Between half of the span and all of it: jittered, yet never so short that it was no break.
    fn open(&mut self, now: Timestamp, openings: u32, unit_random: f64) {
        let half = self.span(openings) / 2;
        self.state = State::Open { until: now.plus(half.saturating_add(part_of(half, unit_random))), openings };
    }

    fn span(&self, openings: u32) -> Duration {
        doubled(self.limits.open_for, openings.saturating_sub(1), self.limits.open_cap)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAP: Duration = Duration::from_millis(4_000);
    const LIMITS: BreakerLimits = BreakerLimits { failures: 3, open_for: Duration::from_millis(1_000), open_cap: CAP };

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(LIMITS);
        (0..3).for_each(|_| breaker.on_failure(at(0), 1.0));
        breaker
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let longest = |attempt| delay(attempt, ms(100), ms(1_500), None, 1.0);
        assert_eq!([0, 1, 2, 3, 4, 5, 33, u32::MAX].map(longest), [100, 100, 200, 400, 800, 1_500, 1_500, 1_500].map(ms));
        assert_eq!(delay(3, ms(100), ms(1_500), None, 0.25), ms(100));
        assert_eq!(delay(3, ms(100), ms(1_500), None, 0.0), Duration::ZERO);
        assert_eq!(delay(3, ms(100), ms(1_500), None, f64::NAN), ms(400));
        assert_eq!(delay(9, Duration::MAX, Duration::MAX, None, 1.0), Duration::MAX);
    }

    #[test]
    fn retry_after_is_honoured_within_reason() {
        for (asked, wanted) in [(0, 1), (1, 1), (30, 30), (3_600, 3_600), (86_400, 3_600)] {
            let waited = delay(1, ms(100), ms(1_500), Some(Duration::from_secs(asked)), 0.5);
            assert_eq!(waited, Duration::from_secs(wanted));
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not_let_them() {
        let mut breaker = Breaker::new(LIMITS);
        for _ in 0..5 {
            breaker.on_failure(at(0), 0.5);
            breaker.on_failure(at(0), 0.5);
            breaker.on_success(at(0));
        }
        assert_eq!(breaker.may_send(at(0)), Permit::Yes);
        assert_eq!(opened().may_send(at(999)), Permit::No { until: at(1_000) });
    }

    #[test]
    fn one_probe_decides() {
        let mut breaker = opened();
        assert_eq!(breaker.may_send(at(1_000)), Permit::OneProbe);
        assert_eq!(breaker.may_send(at(1_001)), Permit::No { until: at(2_000) });
        breaker.on_failure(at(1_100), 1.0);
        assert_eq!(breaker.may_send(at(3_099)), Permit::No { until: at(3_100) }, "twice as long");
        assert_eq!(breaker.may_send(at(3_100)), Permit::OneProbe);
        breaker.on_success(at(3_150));
        assert!(breaker.is_closed());
        assert_eq!(breaker.may_send(at(3_150)), Permit::Yes);
    }

    #[test]
    fn a_probe_that_never_ends_is_replaced() {
        let mut breaker = opened();
        assert_eq!(breaker.may_send(at(1_000)), Permit::OneProbe);
        assert_eq!(breaker.may_send(at(2_000)), Permit::OneProbe);
    }

    #[test]
    fn answers_from_before_it_opened_change_nothing() {
        let mut breaker = opened();
        let before = breaker.clone();
        breaker.on_success(at(10));
        breaker.on_failure(at(20), 1.0);
        breaker.on_throttled(at(30));
        assert_eq!(breaker, before);
    }

    #[test]
    fn being_throttled_is_no_failure() {
        let mut breaker = Breaker::new(LIMITS);
        (0..100).for_each(|_| breaker.on_throttled(at(0)));
        assert_eq!(breaker.may_send(at(0)), Permit::Yes);
        let mut breaker = opened();
        assert_eq!(breaker.may_send(at(1_000)), Permit::OneProbe);
        breaker.on_failure(at(1_000), 1.0);
        assert_eq!(breaker.may_send(at(3_000)), Permit::OneProbe);
        breaker.on_throttled(at(3_050));
        assert_eq!(breaker.may_send(at(3_050)), Permit::OneProbe);
        breaker.on_failure(at(3_100), 1.0);
        assert_eq!(breaker.may_send(at(3_100)), Permit::No { until: at(7_100) }, "the count of openings was kept");
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Ask,
        Success,
        Failure(f64),
        Throttled,
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Ask),
            Just(Event::Success),
            (0.0..=1.0).prop_map(Event::Failure),
            (0.0..=1.0).prop_map(Event::Failure),
            Just(Event::Throttled)
        ]
    }

    proptest! {
        #[test]
        fn a_delay_stays_in_its_bounds(
            attempt: u32,
            base in 0_u64..100_000,
            cap in 0_u64..100_000,
            chance: f64,
            asked in proptest::option::of(0_u64..10_000),
        ) {
            let waited = delay(attempt, ms(base), ms(cap), asked.map(Duration::from_secs), chance);
            let later = delay(attempt.saturating_add(1), ms(base), ms(cap), None, 1.0);
            match asked {
                Some(_) => prop_assert!((RETRY_AFTER_MIN..=RETRY_AFTER_MAX).contains(&waited)),
                None => prop_assert!(waited <= later && later <= ms(cap)),
            }
        }

        #[test]
        fn a_breaker_never_hangs_and_lets_one_probe_out_at_a_time(
            events in proptest::collection::vec((any_event(), 0_i64..1_500), 0..60),
        ) {
            let mut breaker = Breaker::new(LIMITS);
            let mut now = 0;
            let mut probe_until = None;
            for (event, pause) in events {
                now += pause;
                match event {
                    Event::Ask => match breaker.may_send(at(now)) {
                        Permit::OneProbe => {
                            prop_assert!(probe_until.is_none_or(|until| at(now) >= until), "two probes at once");
                            probe_until = match breaker.state { State::HalfOpen { until, .. } => Some(until), _ => None };
                        }
                        Permit::Yes => prop_assert!(breaker.is_closed()),
                        Permit::No { until } => prop_assert!(at(now) < until && until <= at(now).plus(CAP)),
                    },
                    Event::Success => { breaker.on_success(at(now)); probe_until = None; }
                    Event::Failure(chance) => { breaker.on_failure(at(now), chance); probe_until = None; }
                    Event::Throttled => { breaker.on_throttled(at(now)); probe_until = None; }
                }
            }
            // Whatever happened: once the cap has passed, something may be sent again.
            let blocked = matches!(breaker.may_send(at(now + 4_000)), Permit::No { .. });
            prop_assert!(!blocked);
        }
    }
}
