//! What the senders know: every webhook, byte for byte, written down before it leaves and again when it is answered. It lives in the
//! test, so it survives every kill of the hub, and nothing in it comes from the hub but the answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

/// One sale and the webhook that tells it.
#[derive(Debug)]
pub struct Event {
    pub number: usize,
    pub code: &'static str,
    pub sku: String,
    pub quantity: i64,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// What the hub promised with a 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub id: String,
    pub duplicate: bool,
}

#[derive(Clone, Debug)]
pub enum Line {
    Sent,
    Acked {
        event: usize,
        receipt: Receipt,
    },
    Refused {
        event: usize,
        status: u16,
        body: String,
    },
    /// No whole answer: it may have been stored or not.
    Unknown,
}

#[derive(Default)]
pub struct Oracle {
    events: Mutex<BTreeMap<usize, std::sync::Arc<Event>>>,
    lines: Mutex<Vec<Line>>,
    /// Events answered 200 at least once.
    acked: AtomicUsize,
}

impl Oracle {
    pub fn made(&self, event: &std::sync::Arc<Event>) {
        self.events.lock().unwrap().insert(event.number, event.clone());
    }

    pub fn sent(&self) {
        self.write(Line::Sent);
    }

    /// The first whole answer of 200 to an event counts it as acked.
    pub fn acked(&self, event: usize, body: &[u8], first: bool) {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let id = answer["id"].as_str().unwrap_or("").to_owned();
        let receipt = Receipt { id, duplicate: answer["duplicate"] == true };
        self.write(Line::Acked { event, receipt });
        if first {
            self.acked.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn refused(&self, event: usize, status: u16, body: &[u8]) {
        self.write(Line::Refused { event, status, body: String::from_utf8_lossy(body).into_owned() });
    }

    pub fn unknown(&self) {
        self.write(Line::Unknown);
    }

    fn write(&self, line: Line) {
        self.lines.lock().unwrap().push(line);
    }

    pub fn count_acked(&self) -> usize {
        self.acked.load(Ordering::Relaxed)
    }

    pub fn events(&self) -> Vec<std::sync::Arc<Event>> {
        self.events.lock().unwrap().values().cloned().collect()
    }

    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap().clone()
    }

    /// Event → the receipts it was given.
    pub fn receipts(&self) -> HashMap<usize, Vec<Receipt>> {
        let mut receipts: HashMap<usize, Vec<Receipt>> = HashMap::new();
        for line in self.lines() {
            if let Line::Acked { event, receipt } = line {
                receipts.entry(event).or_default().push(receipt);
            }
        }
        receipts
    }

    /// SKU → units sold, over all events.
    pub fn sold(&self) -> BTreeMap<String, i64> {
        let mut sold = BTreeMap::new();
        for event in self.events.lock().unwrap().values() {
            *sold.entry(event.sku.clone()).or_default() += event.quantity;
        }
        sold
    }
}
