//! What a shop of a real kind does with a call: finds what it is about, holds it against the limits, checks who asks, lets the
//! dialect answer, and writes all of it down. The counterpart of `requests`, which does this for the generic schema.

use crate::domain::time::Timestamp;

use super::chaos::Fault;
use super::kinds::desk::Luck;
use super::kinds::{Call, Class, Desk, Route, Say};
use super::record::{Answered, ItemWrite, PushOutcome, ShopEvent};
use super::shop::Shop;

/// Bytes of a body that the journal keeps; the quantities in it are written down one by one anyway.
const BODY_KEPT_BYTES: usize = 4 * 1024;
/// A call this soon after a refusal was already on its way.
const ON_ITS_WAY: std::time::Duration = std::time::Duration::from_millis(200);

/// What the other side is to see of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Spoken {
    pub answered: Answered,
    pub say: Say,
    pub garbage: bool,
}

impl Shop {
    /// Finds the route of a call and takes of its limits; the refusal where one is broken. `None`: no such page.
    pub(super) fn gate(&mut self, call: &mut Call, at: Timestamp) -> Option<(&'static Route, Option<Say>)> {
        let dialect = self.dialect?;
        let Some((route, parts)) = Route::find(dialect.routes(), call) else {
            self.receive_stray(format!("{} {}", call.method, call.raw_target), at);
            return None;
        };
        call.parts = parts;
        self.totals.calls += 1;
        *self.called.entry(route.name).or_default() += 1;
        if let Some((since, until)) = self.quiet
            && at < until
            && at > since.plus(ON_ITS_WAY)
        {
            self.totals.early_calls += 1;
            self.journal.write(at, ShopEvent::Early { call: route.name, until });
        }
        let mut refusal = None;
        for (index, limit) in route.limits.iter().enumerate() {
            let gauge = self.gauges.iter_mut().find(|gauge| gauge.limit.name == *limit);
            if let Some(Err(wait)) = gauge.map(|gauge| gauge.take(1, at)) {
                self.breach(limit, route.name, at);
                self.quiet = Some((at, at.plus(wait)));
                refusal = Some(dialect.throttled(limit, wait, at));
                // What was taken of a limit of parallel calls is given back at the end of a call; this one has ended.
                self.release(route.limits.get(..index).unwrap_or_default());
                break;
            }
        }
        Some((route, refusal))
    }

    /// A call that passed the gate is over.
    pub(super) fn release(&mut self, limits: &[&'static str]) {
        for gauge in self.gauges.iter_mut().filter(|gauge| limits.contains(&gauge.limit.name)) {
            gauge.release();
        }
    }

    fn breach(&mut self, limit: &str, call: &'static str, at: Timestamp) {
        self.totals.limit_breaches += 1;
        *self.breaches.entry(limit.to_owned()).or_default() += 1;
        self.journal.write(at, ShopEvent::Breach { limit: limit.to_owned(), call });
    }

    /// `refusal` is the gate's.
    pub(super) fn receive_call(
        &mut self,
        route: &'static Route,
        call: &Call,
        refusal: Option<Say>,
        fault: Option<Fault>,
        luck: &Luck,
        at: Timestamp,
    ) -> Spoken {
        use Fault::{CutAfterApply, Drip, GarbageBody, HalfBody, HugeBody};
        let write = route.class == Class::Write;
        // A read has nothing to apply: these two faults have no meaning for it.
        let fault = fault.filter(|fault| write || !matches!(fault, Fault::DidNothing | Fault::LateWrite { .. }));
        let fault = if refusal.is_some() { None } else { fault };
        let pretend = matches!(fault, Some(Fault::DidNothing));
        let looked_at = pretend || matches!(fault, None | Some(CutAfterApply | GarbageBody | HalfBody | Drip | HugeBody));
        let (say, writes) = match refusal {
            Some(say) => (say, Vec::new()),
            None if looked_at => self.answer(route, call, &Luck { pretend, ..luck.clone() }, at),
            None => (Say::empty(0), Vec::new()),
        };
        let spoken = spoken(fault.as_ref(), say);
        if let Answered::Status(429) = spoken.answered
            && let Some(Fault::Status { retry_after_seconds: Some(seconds), .. }) = &fault
        {
            self.quiet = Some((at, at.plus(std::time::Duration::from_secs(*seconds))));
        }
        self.totals.calls_faulted += u64::from(fault.is_some());
        self.count(&writes);
        self.totals.reads += u64::from(route.class == Class::Read);
        let kept = call.body.get(..BODY_KEPT_BYTES).unwrap_or(&call.body);
        let event = ShopEvent::Call {
            received_at: call.received_at,
            call: route.name,
            target: call.raw_target.clone(),
            body: if write { String::from_utf8_lossy(kept).into_owned() } else { String::new() },
            fault,
            answered: spoken.answered,
            writes,
        };
        self.journal.write(at, event);
        spoken
    }

    /// A call whose connection was cut long ago takes effect now.
    pub(super) fn call_late(&mut self, route: &'static Route, call: &Call, luck: &Luck, at: Timestamp) {
        let (_, writes) = self.answer(route, call, luck, at);
        self.totals.late_writes += 1;
        self.journal.write(at, ShopEvent::LateCall { call: route.name, writes });
    }

    fn answer(&mut self, route: &'static Route, call: &Call, luck: &Luck, at: Timestamp) -> (Say, Vec<ItemWrite>) {
        let Some(dialect) = self.dialect else { return (Say::empty(404), Vec::new()) };
        if let Err(say) = dialect.authorise(call, &self.account, at) {
            self.totals.calls_refused += 1;
            return (say, Vec::new());
        }
        let mut desk = Desk::new(self, luck, call.received_at, at);
        let say = dialect.answer(route.name, call, &mut desk);
        let (writes, broken) = desk.close();
        for limit in broken {
            self.breach(limit, route.name, at);
        }
        if (400..500).contains(&say.status) && say.status != 429 && say.status != 420 {
            self.totals.calls_refused += 1;
            for gauge in self.gauges.iter_mut().filter(|gauge| route.limits.contains(&gauge.limit.name)) {
                gauge.charge_error(at);
            }
        }
        (say, writes)
    }

    fn count(&mut self, writes: &[ItemWrite]) {
        self.totals.pushes_received += writes.len() as u64;
        for write in writes {
            match write.outcome {
                PushOutcome::Applied => self.totals.pushes_applied += 1,
                PushOutcome::Duplicate => self.totals.pushes_duplicate += 1,
                PushOutcome::KeyConflict => self.totals.key_conflicts += 1,
                PushOutcome::Refused => self.totals.pushes_refused += 1,
                PushOutcome::Faulted => self.totals.pushes_faulted += 1,
            }
        }
    }
}

fn spoken(fault: Option<&Fault>, say: Say) -> Spoken {
    let plain = |answered, say| Spoken { answered, say, garbage: false };
    match fault {
        None | Some(Fault::DidNothing) => plain(Answered::Status(say.status), say),
        Some(Fault::Hang) => plain(Answered::Nothing, say),
        Some(Fault::Status { status, retry_after_seconds }) => {
            let mut said = Say::json(*status, serde_json::json!({ "message": "the marketplace has a bad day" }));
            if let Some(seconds) = retry_after_seconds {
                said = said.with("retry-after", seconds);
            }
            plain(Answered::Status(*status), said)
        }
        Some(Fault::CutAfterApply | Fault::CutBeforeApply | Fault::LateWrite { .. }) => plain(Answered::Cut, say),
        Some(Fault::GarbageBody) => Spoken { garbage: true, ..plain(Answered::Status(200), Say::empty(200)) },
        Some(Fault::NotHttp) => plain(Answered::NotHttp, say),
        Some(Fault::HalfBody) => plain(Answered::Half, say),
        Some(Fault::Drip) => plain(Answered::Drip, say),
        Some(Fault::HugeBody) => plain(Answered::Huge, say),
        Some(Fault::Wall) => plain(Answered::Wall, say),
    }
}
