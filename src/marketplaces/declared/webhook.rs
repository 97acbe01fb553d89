//! Webhooks as a file describes them: how they are signed, which events mean what.

use std::collections::BTreeMap;

use serde_json::Value;

use super::order_map::{OrderMap, StatusMap};
use super::pointer::{Element, Elements, Match, Pick, TimePick, Where};
use super::read::{self, In};
use super::signing;
use super::stock::named;
use super::values::plain;
use crate::domain::fact::{DeltaReason, Fact, Item, StockDelta, StockObservation};
use crate::domain::quantity::QUANTITY_MAX;
use crate::domain::time::Timestamp;
use crate::marketplaces::scheme::Trust;
use crate::marketplaces::{Connection, Incoming, Reading, Scheme, Unreadable, Verdict, json};

#[derive(Clone, Debug)]
pub struct Webhook {
    pub schemes: Vec<Scheme>,
    /// What must be the account's own and the scheme does not check: templates of `account.*`.
    require: Vec<(Where, super::template::Template)>,
    pub events: Vec<Event>,
}

#[derive(Clone, Debug)]
pub struct Event {
    matches: Match,
    kind: EventKind,
    id: Vec<Where>,
    order: OrderMap,
    stock: StockEvent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventKind {
    /// The order as it is by now.
    Order,
    /// Only that an order changed: it is fetched.
    OrderHint,
    /// "I show so many": a report.
    StockAbsolute,
    /// "My number changed by so many."
    StockDelta,
    Ignore,
}

const KINDS: &[(&str, EventKind)] = &[
    ("order", EventKind::Order),
    ("order_hint", EventKind::OrderHint),
    ("stock_absolute", EventKind::StockAbsolute),
    ("stock_delta", EventKind::StockDelta),
    ("ignore", EventKind::Ignore),
];

#[derive(Clone, Debug, Default)]
struct StockEvent {
    rows: Elements,
    names: Vec<(&'static str, Pick)>,
    quantity: Option<Pick>,
    previous: Option<Pick>,
    change: Option<Pick>,
    reason: Option<Pick>,
    sold: Vec<String>,
    cancelled: Vec<String>,
    returned: Vec<String>,
    updated_at: Option<TimePick>,
}

impl Webhook {
    pub fn read(s: &mut In<'_, '_, '_>, listed: Option<&OrderMap>) -> Self {
        let mut schemes = signing::read(s);
        let require = schemes.1;
        let events = s.tables("event", |s| Event::read(s, listed));
        let events: Vec<Event> = events.into_iter().flatten().collect();
        // What the events are told apart by must be there when they are read, now and at a replay.
        let headers = events.iter().flat_map(Event::headers).chain(require.iter().filter_map(|(at, _)| header(at)));
        let keeps = super::intern::intern_all(headers.collect::<std::collections::BTreeSet<_>>());
        for scheme in &mut schemes.0 {
            scheme.keeps = keeps;
        }
        Self { schemes: schemes.0, require, events }
    }

    pub fn order_maps(&self) -> impl Iterator<Item = &OrderMap> {
        self.events.iter().filter(|event| event.kind == EventKind::Order).map(|event| &event.order)
    }

    /// What a verified message says.
    pub fn read_message(&self, statuses: &StatusMap, connection: &Connection, incoming: &Incoming<'_>) -> Reading {
        let reading = |event_type: String, natural_key, verdict| Reading { event_type, natural_key, occurred_at: None, verdict };
        let value = match json::parse(incoming.body, incoming.limits) {
            Ok(value) => value,
            Err(error) => return reading("unreadable".into(), None, Verdict::Failed(error)),
        };
        let headers: BTreeMap<String, String> = serde_json::from_str(incoming.headers).unwrap_or_default();
        let element = Element::with_headers(&value, &headers);
        if let Err(error) = self.check_account(connection, &element) {
            return reading("foreign".into(), None, Verdict::Failed(error));
        }
        let Some(event) = self.events.iter().find(|event| event.matches.holds(&element)) else {
            let name = self.events.iter().find_map(|event| event.matches.at.text(&element));
            return reading(event_name(name), None, Verdict::Ignored);
        };
        event.read_message(statuses, connection, &element)
    }

    fn check_account(&self, connection: &Connection, element: &Element<'_>) -> Result<(), Unreadable> {
        for (at, template) in &self.require {
            let values = super::values::Values::new(connection, Timestamp::default());
            let own = template.text(&values, super::template::Writing::Plain)?;
            if at.text(element) != own {
                return Err(Unreadable::new("other-account", "it speaks of another account"));
            }
        }
        Ok(())
    }
}

fn header(at: &Where) -> Option<&'static str> {
    if let Where::Header(name) = at { Some(*name) } else { None }
}

/// Names of events go into tables and metrics: short, and without control characters.
fn event_name(name: Option<String>) -> String {
    let name = name.unwrap_or_else(|| "unknown".to_owned());
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// Whether nobody signed it, and the account does not say that it is to be believed all the same.
fn is_hint_only(connection: &Connection) -> bool {
    let schemes = connection.schemes();
    let unsigned = !schemes.is_empty() && schemes.iter().all(|scheme| scheme.trust == Trust::Hint);
    unsigned && connection.account.get("trust").and_then(Value::as_str) != Some("full")
}

impl Event {
    fn read(s: &mut In<'_, '_, '_>, listed: Option<&OrderMap>) -> Option<Self> {
        let matches = s.table("match", read::matcher).flatten();
        let at = s.at.clone();
        if matches.is_none() {
            s.fault("match", &at, "is missing: which messages are meant");
        }
        let kind = s.need_or("kind", EventKind::Ignore, read::choice(KINDS));
        let id = s.opt("event_id", read::places).unwrap_or_default();
        let (mut order, mut stock) = (OrderMap::default(), StockEvent::default());
        match kind {
            EventKind::Order | EventKind::OrderHint => {
                order = s.table("map", |s| OrderMap::read(s, listed)).unwrap_or_default();
            }
            EventKind::StockAbsolute | EventKind::StockDelta => {
                stock = s.table("map", |s| StockEvent::read(s, kind)).unwrap_or_default();
            }
            EventKind::Ignore => {}
        }
        Some(Self { matches: matches?, kind, id, order, stock })
    }

    fn headers(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(&self.matches.at).chain(&self.id).filter_map(header)
    }

    fn read_message(&self, statuses: &StatusMap, connection: &Connection, element: &Element<'_>) -> Reading {
        let event_type = event_name(self.matches.at.text(element));
        let id = self.event_id(&event_type, element);
        let read = self.verdict(statuses, connection, element);
        match read {
            Ok(reading) => Reading { event_type, natural_key: id.or(reading.natural_key), ..reading },
            Err(error) => Reading { event_type, natural_key: id, occurred_at: None, verdict: Verdict::Failed(error) },
        }
    }

    /// `None` unless all of its parts are there.
    fn event_id(&self, event_type: &str, element: &Element<'_>) -> Option<String> {
        if self.id.is_empty() {
            return None;
        }
        let parts: Option<Vec<String>> = self.id.iter().map(|at| at.text(element)).collect();
        parts.map(|parts| format!("event:{event_type}:{}", parts.join(":"))).filter(|key| key.len() <= 512)
    }

    fn verdict(&self, statuses: &StatusMap, connection: &Connection, element: &Element<'_>) -> Result<Reading, Unreadable> {
        let plain_reading = |natural_key, verdict| Reading { event_type: String::new(), natural_key, occurred_at: None, verdict };
        let hint = |order_id| Ok(plain_reading(None, Verdict::Hint { order_id }));
        match self.kind {
            EventKind::Ignore => Ok(plain_reading(None, Verdict::Ignored)),
            EventKind::OrderHint => hint(self.order.order_id(element)?),
            EventKind::Order if is_hint_only(connection) => hint(self.order.order_id(element)?),
            EventKind::Order => self.order.read_order(statuses, element, connection.policy.count_unpaid),
            // A number that nobody signed is no evidence; what it shows is asked.
            EventKind::StockAbsolute | EventKind::StockDelta if is_hint_only(connection) => {
                Ok(plain_reading(None, Verdict::Ignored))
            }
            EventKind::StockAbsolute | EventKind::StockDelta => self.stock.read_facts(self.kind, element),
        }
    }
}

impl StockEvent {
    fn read(s: &mut In<'_, '_, '_>, kind: EventKind) -> Self {
        let rows = read::elements(s);
        let words = |s: &mut In<'_, '_, '_>, key| s.opt(key, read::words).unwrap_or_default();
        let reasons = s.table("reasons", |s| (words(s, "sold"), words(s, "cancelled"), words(s, "returned")));
        let (sold, cancelled, returned) = reasons.unwrap_or_default();
        let event = Self {
            rows,
            names: s.opt("sku", read::named_picks).unwrap_or_default(),
            quantity: s.opt("qty", read::pick),
            previous: s.opt("previous", read::pick),
            change: s.opt("change", read::pick),
            reason: s.opt("reason", read::pick),
            sold,
            cancelled,
            returned,
            updated_at: s.opt("updated_at", read::time),
        };
        let at = s.at.clone();
        if event.quantity.is_none() {
            s.fault("qty", &at, "is missing: where the new number stands");
        }
        if kind == EventKind::StockDelta && event.change.is_none() && event.previous.is_none() {
            s.fault("change", &at, "is missing: how much it changed by (or previous)");
        }
        event
    }

    fn read_facts(&self, kind: EventKind, root: &Element<'_>) -> Result<Reading, Unreadable> {
        let rows = self.rows.of(root.clone()).map_err(|why| Unreadable::new("invalid-field", why))?;
        let mut facts = Vec::new();
        let (mut newest, mut key) = (None, String::from("stock"));
        for row in &rows {
            let item = self.item(row).ok_or_else(|| Unreadable::new("invalid-field", "a row names nothing"))?;
            let at = self.updated_at.as_ref().and_then(|time| time.at(row));
            let quantity = whole(self.quantity.as_ref(), row, "quantity")?;
            let quantity = quantity.filter(|quantity| *quantity >= 0);
            let quantity = quantity.ok_or_else(|| Unreadable::new("invalid-field", "a row has no quantity"))?;
            newest = newest.max(at);
            key.push_str(&format!(":{}:{quantity}:{}", item.name(), at.map_or(0, Timestamp::micros)));
            facts.push(match kind {
                EventKind::StockDelta => Fact::Delta(self.delta(row, item, quantity, at)?),
                _ => Fact::Observation(StockObservation { item, quantity, at, sequence: None }),
            });
        }
        let verdict = if facts.is_empty() { Verdict::Ignored } else { Verdict::Facts(facts) };
        // Without a time the same number may come back: nothing tells a repeat from news.
        let natural_key = newest.map(|_| key.chars().take(512).collect());
        Ok(Reading { event_type: String::new(), natural_key, occurred_at: newest, verdict })
    }

    fn delta(&self, row: &Element<'_>, item: Item, current: i64, at: Option<Timestamp>) -> Result<StockDelta, Unreadable> {
        let (previous, change) = (whole(self.previous.as_ref(), row, "previous")?, whole(self.change.as_ref(), row, "change")?);
        let missing = || Unreadable::new("invalid-field", "a row does not say how much it changed by");
        let change = change.or(previous.map(|previous| current - previous)).ok_or_else(missing)?;
        let previous = previous.unwrap_or(current - change);
        if previous + change != current {
            return Err(Unreadable::new("inconsistent-change", format!("{current} is not {previous} with change {change}")));
        }
        let said = self.reason.as_ref().and_then(|pick| pick.value(row)).map(|value| plain(&value)).unwrap_or_default();
        let reason = match () {
            () if self.sold.contains(&said) => DeltaReason::Sold,
            () if self.cancelled.contains(&said) => DeltaReason::Cancelled,
            () if self.returned.contains(&said) => DeltaReason::Returned,
            () => DeltaReason::Other,
        };
        Ok(StockDelta { item, previous, current, change, reason, at })
    }

    fn item(&self, row: &Element<'_>) -> Option<Item> {
        let mut item = Item::default();
        for (name, value) in named(row, &self.names) {
            match name {
                "id" => item.product_id = Some(value),
                "sku" => item.sku = Some(value),
                name => item.refs.push((name.to_owned(), value)),
            }
        }
        (item != Item::default()).then_some(item)
    }
}

fn whole(pick: Option<&Pick>, row: &Element<'_>, what: &str) -> Result<Option<i64>, Unreadable> {
    let Some(value) = pick.and_then(|pick| pick.value(row)) else { return Ok(None) };
    match super::pointer::whole(&value) {
        Some(number) if (-QUANTITY_MAX..=QUANTITY_MAX).contains(&number) => Ok(Some(number)),
        Some(_) => Err(Unreadable::new("out-of-range", format!("{what} is out of range"))),
        None => Err(Unreadable::new("invalid-field", format!("{what} must be a whole number"))),
    }
}
