//! What a shop does with the hub's requests: pushes and reads, with the fault each one meets. The other half of `shop`, as
//! pure as it is.

use serde::Deserialize;

use crate::domain::quantity::QUANTITY_MAX;
use crate::domain::time::Timestamp;

use super::chaos::Fault;
use super::record::{Answered, Change, PushOutcome, ShopEvent};
use super::shop::Shop;

/// Idempotency keys a shop remembers; the oldest are forgotten, as by real ones.
const KEYS_MAX: usize = 100_000;

/// A push as it came.
#[derive(Clone, Debug, Default)]
pub struct Push {
    pub received_at: Timestamp,
    pub idempotency_key: Option<String>,
    pub authorization: Option<String>,
    pub body: String,
}

/// What to tell the other side.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub answered: Answered,
    pub retry_after_seconds: Option<u64>,
    pub body: Option<serde_json::Value>,
    pub garbage: bool,
}

#[derive(Deserialize)]
struct StockBody {
    sku: String,
    stock: i64,
}

impl Shop {
    /// `POST /stock`.
    pub fn receive_push(&mut self, push: &Push, fault: Option<Fault>, at: Timestamp) -> Verdict {
        self.totals.pushes_received += 1;
        use Fault::{CutAfterApply, Drip, GarbageBody, HalfBody, HugeBody};
        let looked_at = matches!(fault, None | Some(CutAfterApply | GarbageBody | HalfBody | Drip | HugeBody));
        let (status, problem, outcome, change) =
            if looked_at { self.apply(push, at) } else { (204, None, PushOutcome::Faulted, None) };
        match outcome {
            PushOutcome::Applied => self.totals.pushes_applied += 1,
            PushOutcome::Duplicate => self.totals.pushes_duplicate += 1,
            PushOutcome::KeyConflict => self.totals.key_conflicts += 1,
            PushOutcome::Refused => self.totals.pushes_refused += 1,
            PushOutcome::Faulted => self.totals.pushes_faulted += 1,
        }
        let honest = problem.map(|text| serde_json::json!({ "error": text }));
        let verdict = verdict(fault.as_ref(), status, honest);
        let event = ShopEvent::Push {
            received_at: push.received_at,
            idempotency_key: push.idempotency_key.clone(),
            authorization: push.authorization.clone(),
            body: push.body.clone(),
            fault,
            answered: verdict.answered,
            outcome,
            change,
        };
        self.journal.write(at, event);
        verdict
    }

    /// A push whose connection was cut long ago takes effect now.
    pub fn write_late(&mut self, push: &Push, at: Timestamp) {
        let (_, _, outcome, change) = self.apply(push, at);
        self.totals.late_writes += 1;
        self.journal.write(at, ShopEvent::LateWrite { idempotency_key: push.idempotency_key.clone(), outcome, change });
    }

    /// `GET /stock?sku=`.
    pub fn receive_read(
        &mut self,
        sku: &str,
        authorization: Option<String>,
        received_at: Timestamp,
        fault: Option<Fault>,
        at: Timestamp,
    ) -> Verdict {
        self.totals.reads += 1;
        // A read has nothing to apply: these two faults have no meaning for it.
        let fault = fault.filter(|fault| !matches!(fault, Fault::DidNothing | Fault::LateWrite { .. }));
        let stock = self.item(sku).map(|item| item.stock).filter(|_| self.authorised(authorization.as_deref()));
        let (status, body) = match stock {
            _ if !self.authorised(authorization.as_deref()) => (401, serde_json::json!({ "error": "who are you?" })),
            Some(stock) => (200, serde_json::json!({ "sku": sku, "stock": stock })),
            None => (404, serde_json::json!({ "error": "not sold here" })),
        };
        let verdict = verdict(fault.as_ref(), status, Some(body));
        let (answered, sku) = (verdict.answered, sku.to_owned());
        self.journal.write(at, ShopEvent::Read { received_at, sku, authorization, fault, answered, stock });
        verdict
    }

    pub fn receive_stray(&mut self, request: String, at: Timestamp) {
        self.totals.strays += 1;
        self.journal.write(at, ShopEvent::Stray { request });
    }

    fn authorised(&self, authorization: Option<&str>) -> bool {
        match &self.identity.api_key {
            None => true,
            Some(key) => authorization.and_then(|value| value.strip_prefix("Bearer ")) == Some(key),
        }
    }

    /// Status, what was wrong, outcome, effect.
    fn apply(&mut self, push: &Push, at: Timestamp) -> (u16, Option<&'static str>, PushOutcome, Option<Change>) {
        let refused = |status, why| (status, Some(why), PushOutcome::Refused, None);
        if !self.authorised(push.authorization.as_deref()) {
            return refused(401, "who are you?");
        }
        let Ok(StockBody { sku, stock }) = serde_json::from_str(&push.body) else {
            return refused(422, "body must be {\"sku\",\"stock\"}");
        };
        if !(0..=QUANTITY_MAX).contains(&stock) {
            return refused(422, "stock must be between 0 and 1000000000");
        }
        if !self.items.contains_key(sku.as_str()) {
            return refused(404, "not sold here");
        }
        if let Some(key) = &push.idempotency_key {
            match self.keys.get(key) {
                Some(seen) if *seen == (sku.clone(), stock) => return (204, None, PushOutcome::Duplicate, None),
                Some(_) => return (409, Some("this key came with another body"), PushOutcome::KeyConflict, None),
                None => self.remember_key(key.clone(), (sku.clone(), stock)),
            }
        }
        let Some(item) = self.items.get_mut(sku.as_str()) else { return refused(404, "not sold here") };
        let change = Change { sku: item.sku.clone(), before: item.stock, after: stock };
        item.stock = stock;
        item.pushes_applied += 1;
        tracing::trace!(shop = %self.identity.code, %sku, stock, %at, "push applied");
        (204, None, PushOutcome::Applied, Some(change))
    }

    fn remember_key(&mut self, key: String, content: (String, i64)) {
        if self.keys_by_age.len() >= KEYS_MAX
            && let Some(oldest) = self.keys_by_age.pop_front()
        {
            self.keys.remove(&oldest);
        }
        self.keys_by_age.push_back(key.clone());
        self.keys.insert(key, content);
    }
}

fn verdict(fault: Option<&Fault>, status: u16, body: Option<serde_json::Value>) -> Verdict {
    let plain = |answered| Verdict { answered, retry_after_seconds: None, body: None, garbage: false };
    match fault {
        None => Verdict { answered: Answered::Status(status), retry_after_seconds: None, body, garbage: false },
        Some(Fault::Hang) => plain(Answered::Nothing),
        Some(Fault::Status { status, retry_after_seconds }) => {
            Verdict { retry_after_seconds: *retry_after_seconds, ..plain(Answered::Status(*status)) }
        }
        Some(Fault::CutAfterApply | Fault::CutBeforeApply | Fault::LateWrite { .. }) => plain(Answered::Cut),
        Some(Fault::DidNothing) => plain(Answered::Status(204)),
        Some(Fault::GarbageBody) => Verdict { garbage: true, ..plain(Answered::Status(200)) },
        Some(Fault::NotHttp) => plain(Answered::NotHttp),
        Some(Fault::HalfBody) => Verdict { body, ..plain(Answered::Half) },
        Some(Fault::Drip) => plain(Answered::Drip),
        Some(Fault::HugeBody) => plain(Answered::Huge),
        Some(Fault::Wall) => plain(Answered::Wall),
    }
}
