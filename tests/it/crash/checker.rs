//! Recomputes everything from what the shops, the senders and the observer wrote down, and holds it against what the hub shows at
//! its public doors. None of the hub's own code judges here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use stockhub::simulator::http_client::{Client, Target};
use stockhub::simulator::marketplace::Marketplace;

use super::observer::Observed;
use super::oracle::{Event, Line, Oracle};
use crate::support::http::Http;
use crate::support::hub::ADMIN_TOKEN;

/// Connections that fetch the log's bodies.
const READERS: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: &'static str,
    pub detail: String,
}

/// All there is to judge by.
pub struct Evidence<'a> {
    pub oracle: &'a Oracle,
    pub markets: &'a [Arc<Marketplace>],
    pub observed: Observed,
    /// SKU → stock before the first sale.
    pub opening: BTreeMap<String, i64>,
    pub http: Http,
    pub hub: Target,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, kind: &'static str, detail: String) {
        self.0.push(Finding { kind, detail });
    }

    fn unless(&mut self, right: bool, kind: &'static str, detail: impl FnOnce() -> String) {
        if !right {
            self.add(kind, detail());
        }
    }
}

/// SKU → what must be left.
pub fn expected(opening: &BTreeMap<String, i64>, oracle: &Oracle) -> BTreeMap<String, i64> {
    let sold = oracle.sold();
    opening.iter().map(|(sku, stock)| (sku.clone(), stock - sold.get(sku).copied().unwrap_or(0))).collect()
}

pub async fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = Findings::default();
    answers(evidence.oracle, &mut findings);
    let log = read_log(evidence).await;
    let movements = all(&evidence.http, "/v1/admin/movements").await;
    let claimed = log_rows(evidence.oracle, &log, &movements, &mut findings);
    ledger(evidence, &movements, &claimed, &mut findings);
    let expected = expected(&evidence.opening, evidence.oracle);
    for (sku, wanted) in &expected {
        let product = get(&evidence.http, &format!("/v1/admin/products/{sku}")).await;
        let (on_hand, available) = (product["on_hand"].as_i64(), product["available"].as_i64());
        findings.unless((on_hand, available) == (Some(*wanted), Some(*wanted)), "inventory", || {
            format!("{sku} has {on_hand:?} on hand and {available:?} available, {wanted} must be left")
        });
    }
    shown(evidence, &expected, &mut findings);
    findings.0
}

/// Nothing was refused for good, everything was answered in the end, and a new event is new once.
fn answers(oracle: &Oracle, findings: &mut Findings) {
    for line in oracle.lines() {
        if let Line::Refused { event, status, body } = line
            && status != 503
        {
            findings.add("refused", format!("event {event} was answered {status}: {body}"));
        }
    }
    let receipts = oracle.receipts();
    for event in oracle.events() {
        let Some(given) = receipts.get(&event.number) else {
            findings.add("unanswered", format!("event {} was never answered 200", event.number));
            continue;
        };
        let new = given.iter().filter(|receipt| !receipt.duplicate).count();
        findings.unless(new <= 1, "new-twice", || format!("event {} was taken as new {new} times", event.number));
        let ids: HashSet<&str> = given.iter().map(|receipt| receipt.id.as_str()).collect();
        findings.unless(ids.len() == 1, "two-ids", || format!("event {} was given the ids {ids:?}", event.number));
    }
}

/// A row of the log with the bytes it holds.
struct Row {
    view: Value,
    payload: Vec<u8>,
}

/// Every acked event stands there once, byte for byte, processed, with one movement. Gives movement → event.
fn log_rows(oracle: &Oracle, log: &[Row], movements: &[Value], findings: &mut Findings) -> HashMap<String, Arc<Event>> {
    let events = oracle.events();
    let by_body: HashMap<&[u8], &Arc<Event>> = events.iter().map(|event| (&event.body[..], event)).collect();
    let known: HashSet<&str> = movements.iter().filter_map(|movement| movement["id"].as_str()).collect();
    let receipts = oracle.receipts();
    let mut rows: HashMap<usize, usize> = HashMap::new();
    let mut claimed = HashMap::new();
    for row in log {
        let view = &row.view;
        let Some(event) = by_body.get(&row.payload[..]) else {
            findings.add("invented", format!("the log holds what nobody sent: {view}"));
            continue;
        };
        let number = event.number;
        *rows.entry(number).or_default() += 1;
        findings.unless(view["status"] == "processed", "not-processed", || format!("event {number}: {view}"));
        findings.unless(view["marketplace"] == event.code, "wrong-marketplace", || format!("event {number}: {view}"));
        let given = receipts.get(&number).and_then(|given| given.first()).map(|receipt| receipt.id.as_str());
        findings
            .unless(given == view["id"].as_str(), "wrong-id", || format!("event {number} was given {given:?}, stands as {view}"));
        let made: Vec<&str> = view["effect"]["movements"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        findings.unless(made.len() == 1, "not-once", || format!("event {number} made the movements {made:?}"));
        for id in made {
            findings
                .unless(known.contains(id), "no-movement", || format!("event {number} names movement {id}, which is not there"));
            let before = claimed.insert(id.to_owned(), Arc::clone(event));
            findings.unless(before.is_none(), "shared-movement", || format!("movement {id} stands for two events"));
        }
    }
    for event in events.iter().filter(|event| receipts.contains_key(&event.number)) {
        match rows.get(&event.number) {
            Some(1) => {}
            Some(n) => findings.add("logged-twice", format!("event {} stands in the log {n} times", event.number)),
            None => {
                findings.add("lost", format!("event {} of {} was answered 200 and is not in the log", event.number, event.code))
            }
        }
    }
    claimed
}

/// Every movement is an opening or one event's; each product's chain is whole; nothing else moved.
fn ledger(evidence: &Evidence<'_>, movements: &[Value], claimed: &HashMap<String, Arc<Event>>, findings: &mut Findings) {
    let mut chains: HashMap<&str, Vec<&Value>> = HashMap::new();
    for movement in movements {
        let (id, sku) = (movement["id"].as_str().unwrap_or(""), movement["sku"].as_str().unwrap_or(""));
        chains.entry(sku).or_default().push(movement);
        if let Some(event) = claimed.get(id) {
            let right =
                movement["quantity_change"] == -event.quantity && sku == event.sku && movement["marketplace"] == event.code;
            findings.unless(right, "wrong-movement", || format!("event {} made {movement}", event.number));
        } else {
            let opening =
                movement["level_version"] == 1 && movement["quantity_after"].as_i64() == evidence.opening.get(sku).copied();
            findings.unless(opening, "untraced", || format!("no event explains {movement}"));
        }
    }
    let expected = expected(&evidence.opening, evidence.oracle);
    for (sku, mut chain) in chains {
        chain.sort_by_key(|movement| movement["level_version"].as_i64());
        let mut stock = 0;
        for (n, movement) in chain.iter().enumerate() {
            let change = movement["quantity_change"].as_i64().unwrap_or(i64::MIN);
            let whole = movement["level_version"] == n + 1 && movement["quantity_before"] == stock;
            stock += change;
            findings.unless(whole && movement["quantity_after"] == stock, "broken-chain", || {
                format!("{sku}, step {}: {movement}", n + 1)
            });
        }
        findings.unless(expected.get(sku) == Some(&stock), "ledger-sum", || {
            format!("the movements of {sku} sum to {stock}, not {:?}", expected.get(sku))
        });
    }
}

/// What everybody else shows.
fn shown(evidence: &Evidence<'_>, expected: &BTreeMap<String, i64>, findings: &mut Findings) {
    for market in evidence.markets {
        let state = market.state();
        for (sku, wanted) in expected {
            let shown = market.shown(sku);
            findings.unless(shown == *wanted, "shop-stale", || format!("{} shows {shown} of {sku}, not {wanted}", state.code));
        }
        let totals = state.totals;
        findings.unless(totals.key_conflicts == 0, "key-conflict", || {
            format!("{}: {} keys came with another body", state.code, totals.key_conflicts)
        });
        findings.unless(totals.strays + totals.pushes_refused == 0, "bad-push", || format!("{}: {totals:?}", state.code));
    }
    for (sku, wanted) in expected {
        let seen = evidence.observed.shown.get(sku);
        findings.unless(seen.map(|(stock, _)| stock) == Some(wanted), "observer-stale", || {
            format!("the observer sees {seen:?} of {sku}, not {wanted}")
        });
    }
    for fault in &evidence.observed.faults {
        findings.add("observer", fault.clone());
    }
}

// ---- reading the hub ----------------------------------------------------------------------------------------------------

fn bearer() -> String {
    format!("Bearer {ADMIN_TOKEN}")
}

async fn get(http: &Http, path: &str) -> Value {
    let answer = http.send("GET", path, &[("authorization", &bearer())], None).await;
    assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
    answer.json()
}

/// Every page of a list.
async fn all(http: &Http, path: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(http, &format!("{path}?limit=500{cursor}")).await;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

async fn read_log(evidence: &Evidence<'_>) -> Vec<Row> {
    let views = all(&evidence.http, "/v1/admin/webhooks").await;
    let share = views.len().div_ceil(READERS).max(1);
    let readers = views.chunks(share).map(|views| {
        let mut client = Client::new(evidence.hub.clone(), Duration::from_secs(20));
        async move {
            let mut rows = Vec::with_capacity(views.len());
            for view in views {
                let path = format!("/v1/admin/webhooks/{}", view["id"].as_str().unwrap_or(""));
                let answer = client.send("GET", &path, &[("authorization", &bearer())], b"").await.expect("an answer");
                let whole: Value = serde_json::from_slice(&answer.body).expect("JSON");
                let payload = whole["payload"].as_str().unwrap_or("").as_bytes().to_vec();
                rows.push(Row { view: view.clone(), payload });
            }
            rows
        }
    });
    futures_util::future::join_all(readers).await.into_iter().flatten().collect()
}
