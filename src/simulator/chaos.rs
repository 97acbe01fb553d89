//! How a fake marketplace may misbehave, and the dice that decide when. A run is repeated by its seed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SimulatorError;

/// The longest delay anyone may ask for: ten minutes.
pub const DELAY_MAX_MS: u64 = 600_000;

/// `[least, most]` milliseconds, drawn evenly, both ends included.
pub type Span = (u64, u64);

/// The knobs. Left out in JSON means off, so `{}` heals everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chaos {
    /// Before a request is looked at.
    pub latency_ms: Span,
    /// After it was applied and before the answer leaves: a sale may fall in between.
    pub answer_delay_ms: Span,
    pub fault: Option<Fault>,
    /// More of them: each request that meets one meets one of all these, drawn evenly.
    pub faults: Vec<Fault>,
    /// How many requests of a hundred meet a fault.
    pub fault_percent: u8,
    /// After so many, the fault is gone.
    pub fault_times: Option<u32>,
    /// Faults meet pushes only; reading back still works.
    pub spare_reads: bool,
    /// Leave the port for so long, then come back to it.
    pub refuse_ms: Option<u64>,
    pub webhook_delay_ms: Span,
    /// Webhooks of a hundred that are delivered twice, are overtaken by the next one, or never leave.
    pub duplicate_percent: u8,
    pub reorder_percent: u8,
    pub lost_percent: u8,
    /// Quantities of a hundred that are refused for now within an answer that is otherwise good, in the marketplace's own words.
    pub item_error_percent: u8,
    /// SKUs whose quantities are always refused, as for a product that is not ready to be sold.
    pub poison: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Takes the request and never answers; nothing is applied.
    Hang,
    /// Answers this status; nothing is applied.
    Status {
        status: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_seconds: Option<u64>,
    },
    /// Applies, then drops the connection without a byte.
    CutAfterApply,
    /// Drops the connection without a byte; nothing is applied.
    CutBeforeApply,
    /// Drops the connection, and applies later all the same, over whatever came in the meantime.
    LateWrite { after_ms: u64 },
    /// Answers like a success; nothing is applied. A marketplace that repeats the number in its answer repeats the old one.
    DidNothing,
    /// Applies and answers 200 with a body that is no JSON.
    GarbageBody,
    /// Answers bytes that are no HTTP; nothing is applied.
    NotHttp,
    /// Applies, and drops the connection in the middle of the answer.
    HalfBody,
    /// Applies, and sends its answer a byte at a time, without an end.
    Drip,
    /// Applies, and answers with fifty megabytes.
    HugeBody,
    /// A wall before the shop takes the caller for a robot: 403 with a page that asks to solve a riddle; nothing is applied.
    Wall,
}

impl Default for Chaos {
    fn default() -> Self {
        Self {
            latency_ms: (0, 0),
            answer_delay_ms: (0, 0),
            fault: None,
            faults: Vec::new(),
            fault_percent: 100,
            fault_times: None,
            spare_reads: false,
            refuse_ms: None,
            webhook_delay_ms: (0, 0),
            duplicate_percent: 0,
            reorder_percent: 0,
            lost_percent: 0,
            item_error_percent: 0,
            poison: Vec::new(),
        }
    }
}

impl Chaos {
    /// Only this fault, on every request.
    pub fn always(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }

    /// Only this fault, on the next `times` requests.
    pub fn times(fault: Fault, times: u32) -> Self {
        Self { fault: Some(fault), fault_times: Some(times), ..Self::default() }
    }

    pub fn check(&self) -> Result<(), SimulatorError> {
        let webhooks = [self.duplicate_percent, self.reorder_percent, self.lost_percent];
        let percents = [self.fault_percent, self.item_error_percent].into_iter().chain(webhooks).collect::<Vec<_>>();
        if percents.iter().any(|percent| *percent > 100) {
            return Err(SimulatorError::Settings("a percentage is above 100"));
        }
        let spans = [self.latency_ms, self.answer_delay_ms, self.webhook_delay_ms];
        let late = self.pool().map(|fault| match fault {
            Fault::LateWrite { after_ms } => *after_ms,
            _ => 0,
        });
        let longest = spans.iter().map(|span| span.1).chain(late).chain(self.refuse_ms).max().unwrap_or(0);
        if longest > DELAY_MAX_MS {
            return Err(SimulatorError::Settings("a delay is above 600000 ms"));
        }
        if spans.iter().any(|(least, most)| least > most) {
            return Err(SimulatorError::Settings("a span has its least above its most"));
        }
        let odd = |fault: &Fault| matches!(fault, Fault::Status { status, .. } if !(200..=599).contains(status));
        if self.pool().any(odd) {
            return Err(SimulatorError::Settings("a status must be between 200 and 599"));
        }
        Ok(())
    }

    /// All faults of which one may be met.
    fn pool(&self) -> impl Iterator<Item = &Fault> {
        self.fault.iter().chain(&self.faults)
    }

    /// One of the faults; no chance is spent where there is no choice.
    pub fn pick(&self, dice: &mut Dice) -> Option<Fault> {
        match self.pool().count() {
            0 | 1 => self.pool().next().cloned(),
            many => self.pool().nth(dice.below(many)).cloned(),
        }
    }

    /// A bad hour of a real marketplace: a little of most things, nothing that lasts.
    pub fn mild() -> Self {
        Self {
            latency_ms: (5, 60),
            answer_delay_ms: (0, 20),
            faults: vec![
                Fault::Status { status: 500, retry_after_seconds: None },
                Fault::Status { status: 503, retry_after_seconds: Some(1) },
                Fault::CutAfterApply,
            ],
            fault_percent: 3,
            webhook_delay_ms: (0, 200),
            duplicate_percent: 5,
            reorder_percent: 5,
            ..Self::default()
        }
    }

    /// Everything at once but the wall, which only some have, and which the others' callers rightly take for a lost right to call.
    pub fn all() -> Self {
        Self {
            latency_ms: (0, 120),
            answer_delay_ms: (0, 40),
            faults: vec![
                Fault::Status { status: 429, retry_after_seconds: Some(1) },
                Fault::Status { status: 500, retry_after_seconds: None },
                Fault::Status { status: 502, retry_after_seconds: None },
                Fault::CutAfterApply,
                Fault::CutBeforeApply,
                Fault::LateWrite { after_ms: 1_500 },
                Fault::DidNothing,
                Fault::GarbageBody,
                Fault::NotHttp,
                Fault::HalfBody,
                Fault::Drip,
                Fault::HugeBody,
                Fault::Hang,
            ],
            fault_percent: 15,
            webhook_delay_ms: (0, 800),
            duplicate_percent: 20,
            reorder_percent: 20,
            lost_percent: 5,
            item_error_percent: 5,
            ..Self::default()
        }
    }
}

/// Seeded chance.
#[derive(Debug)]
pub struct Dice(fastrand::Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    pub fn percent(&mut self, percent: u8) -> bool {
        // The draw is made even where the answer is known, so that turning one knob does not shift every later draw.
        self.0.u8(0..100) < percent
    }

    pub fn span(&mut self, (least, most): Span) -> Duration {
        Duration::from_millis(self.0.u64(least..=most.max(least)))
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0.usize(0..bound.max(1))
    }

    /// Between 1 and `most`, both included.
    pub fn quantity(&mut self, most: i64) -> i64 {
        self.0.i64(1..=most.max(1))
    }

    /// The gap to the next of events that happen `rate` times a second on average, independent of each other.
    pub fn gap(&mut self, rate: f64) -> Duration {
        Duration::try_from_secs_f64(-(1.0 - self.0.f64()).ln() / rate).unwrap_or(Duration::from_secs(3600))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knobs_are_read_from_json_and_checked() {
        let text = r#"{"fault":{"kind":"status","status":429,"retry_after_seconds":2},"latency_ms":[5,20],"fault_times":3}"#;
        let chaos: Chaos = serde_json::from_str(text).unwrap();
        assert_eq!(chaos.fault, Some(Fault::Status { status: 429, retry_after_seconds: Some(2) }));
        assert_eq!((chaos.fault_percent, chaos.latency_ms), (100, (5, 20)));
        assert!(chaos.check().is_ok());
        assert_eq!(serde_json::from_str::<Chaos>("{}").unwrap(), Chaos::default());
        assert!(serde_json::from_str::<Chaos>(r#"{"latency":1}"#).is_err());
        assert!(Chaos::all().check().is_ok() && Chaos::mild().check().is_ok());
        for bad in [r#"{"lost_percent":101}"#, r#"{"latency_ms":[2,1]}"#, r#"{"fault":{"kind":"status","status":99}}"#] {
            assert!(serde_json::from_str::<Chaos>(bad).unwrap().check().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let draw = |seed| {
            let mut dice = Dice::new(seed);
            (0..50).map(|_| (dice.percent(30), dice.span((0, 9)), dice.below(7), dice.gap(10.0))).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let mut dice = Dice::new(1);
        assert!((0..1000).all(|_| !dice.percent(0) && dice.percent(100)));
    }
}
