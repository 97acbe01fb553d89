//! What a fake marketplace writes down: every request with its answer and effect, every sale, every webhook and what it was
//! answered. An auditor recomputes the truth from these records without trusting the hub, so nothing here comes from it but
//! the bytes it sent.

use std::collections::VecDeque;
use std::io::Write;

use serde::Serialize;

use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

use super::chaos::Fault;

#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Counts up by one per shop, without gaps.
    pub seq: u64,
    pub at: Timestamp,
    pub shop: String,
    #[serde(flatten)]
    pub event: ShopEvent,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ShopEvent {
    Opened {
        sku: Sku,
        product_id: String,
        stock: i64,
    },
    /// A `POST /stock`, whatever became of it.
    Push {
        received_at: Timestamp,
        idempotency_key: Option<String>,
        authorization: Option<String>,
        body: String,
        fault: Option<Fault>,
        answered: Answered,
        outcome: PushOutcome,
        change: Option<Change>,
    },
    /// The second half of a push that met `late_write`.
    LateWrite {
        idempotency_key: Option<String>,
        outcome: PushOutcome,
        change: Option<Change>,
    },
    Read {
        received_at: Timestamp,
        sku: String,
        authorization: Option<String>,
        fault: Option<Fault>,
        answered: Answered,
        stock: Option<i64>,
    },
    /// A call to a shop of a real kind, whatever became of it.
    Call {
        received_at: Timestamp,
        /// Method and path as the marketplace's documents name them.
        call: &'static str,
        target: String,
        /// The beginning of it, where quantities were told.
        body: String,
        fault: Option<Fault>,
        answered: Answered,
        writes: Vec<ItemWrite>,
    },
    /// The second half of a call that met `late_write`.
    LateCall {
        call: &'static str,
        writes: Vec<ItemWrite>,
    },
    /// A call, or a quantity in it, that broke a limit and was refused for it.
    Breach {
        limit: String,
        call: &'static str,
    },
    /// A call before the time that a refusal named.
    Early {
        call: &'static str,
        until: Timestamp,
    },
    /// Somebody set a number in the marketplace's own cabinet.
    Edited(Change),
    /// Left the warehouse.
    Shipped {
        order_id: String,
    },
    /// A path or method the shop does not have.
    Stray {
        request: String,
    },
    Sold(Trade),
    Cancelled(Trade),
    Returned(Trade),
    /// A shopper wanted more than the shop shows.
    SaleRefused {
        sku: String,
        quantity: i64,
        shown: i64,
    },
    WebhookQueued {
        number: u64,
        webhook: &'static str,
        body: String,
        copies: u8,
        held_back: bool,
    },
    /// Chaos swallowed it, or nobody could take it: `why` says which.
    WebhookLost {
        number: u64,
        webhook: &'static str,
        body: String,
        why: &'static str,
    },
    WebhookSent {
        number: u64,
        attempt: u32,
        copy: bool,
        answer: WebhookAnswer,
    },
    WebhookGivenUp {
        number: u64,
        attempts: u32,
    },
}

/// A sale, or the taking back of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trade {
    pub order_id: String,
    pub sku: Sku,
    pub product_id: String,
    /// Units of this trade.
    pub quantity: i64,
    /// Units of this kind on the order line so far, this trade included.
    pub cumulative: i64,
    /// What the shop showed before and after.
    pub before: i64,
    pub after: i64,
    pub price: Option<String>,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub sku: Sku,
    pub before: i64,
    pub after: i64,
}

/// One quantity of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ItemWrite {
    /// The SKU; for what is not sold here, what the caller called it.
    pub sku: String,
    pub told: i64,
    pub outcome: PushOutcome,
    pub change: Option<Change>,
}

/// What the other side saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    Status(u16),
    Cut,
    Nothing,
    NotHttp,
    /// The answer up to its middle.
    Half,
    /// A body without an end.
    Drip,
    /// A body of many megabytes.
    Huge,
    /// 403 and a riddle.
    Wall,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PushOutcome {
    Applied,
    /// The key was seen before with the same content: answered like the first time, not applied again.
    Duplicate,
    /// The key was seen before with other content: refused. A hub that does this has a bug.
    KeyConflict,
    /// Not authorised, not readable, or not sold here.
    Refused,
    /// A fault kept it from being looked at.
    Faulted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookAnswer {
    Status(u16),
    Error(String),
}

/// The records, newest kept, each also written as a line of JSON where a file was given.
pub struct Journal {
    shop: String,
    kept: VecDeque<Record>,
    keep: usize,
    next: u64,
    file: Option<Box<dyn Write + Send>>,
}

impl Journal {
    pub fn new(shop: &str, keep: usize, file: Option<Box<dyn Write + Send>>) -> Self {
        Self { shop: shop.to_owned(), kept: VecDeque::new(), keep, next: 0, file }
    }

    pub fn write(&mut self, at: Timestamp, event: ShopEvent) {
        let record = Record { seq: self.next, at, shop: self.shop.clone(), event };
        self.next += 1;
        if let Some(file) = &mut self.file
            && let Err(error) = write_line(file, &record)
        {
            // An oracle with a hole proves nothing: say so loudly once and stop writing it.
            tracing::error!(%error, shop = %self.shop, "the oracle log cannot be written and ends here");
            self.file = None;
        }
        if self.kept.len() >= self.keep {
            self.kept.pop_front();
        }
        self.kept.push_back(record);
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.kept.iter()
    }

    /// How many were written, kept or not.
    pub fn written(&self) -> u64 {
        self.next
    }
}

fn write_line(file: &mut Box<dyn Write + Send>, record: &Record) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    // One write per line, unbuffered: a reader beside a running simulation sees whole lines, and a crash loses none.
    file.write_all(&line)
}
