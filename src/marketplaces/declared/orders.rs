//! Polling orders: lists with a window, lists beside them, statuses asked apart, one order by its id. Every order becomes a row of the
//! log that reads the same for ever, so it carries which of these it came from.

use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::answer::{self, unreadable};
use super::file::AdapterFile;
use super::order_map::OrderMap;
use super::paging::Paging;
use super::pointer::Element;
use super::read::{self, In};
use super::request::{self, RequestSpec, base};
use super::template::Place;
use super::values::Values;
use crate::marketplaces::call::{OrderFeed, OrderRow, Page, StatusFeed, Window};
use crate::marketplaces::{Answer, Call, Connection, Moment, Outcome, Reading, Told, Unreadable, Verdict, cannot_be_asked};
use crate::settings::finding::{Origin, join};
use crate::settings::tree::Value as TomlValue;

#[derive(Clone, Debug, Default)]
pub struct Orders {
    pub list: Option<OrderList>,
    pub get: Option<OneOrder>,
    pub status: Option<Statuses>,
}

#[derive(Clone, Debug)]
pub struct OrderList {
    pub only_if: Option<String>,
    request: RequestSpec,
    pub map: OrderMap,
    page: Paging,
    overlap: Duration,
    lookback: Duration,
    span_max: Option<Duration>,
    every: Option<Duration>,
    /// The list is asked once for each of these (`{{list.value}}`).
    each: Vec<String>,
    also: Vec<Beside>,
}

/// A further list that is part of the feed, read alike.
#[derive(Clone, Debug)]
struct Beside {
    request: RequestSpec,
    page: Paging,
}

#[derive(Clone, Debug)]
pub struct OneOrder {
    request: RequestSpec,
    map: OrderMap,
}

#[derive(Clone, Debug)]
pub struct Statuses {
    request: RequestSpec,
    map: OrderMap,
    page: Paging,
    every: Duration,
    open_for: Duration,
}

/// Which part of the file reads a logged order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    List,
    Get,
    Status,
}

impl From {
    const fn name(self) -> &'static str {
        match self {
            Self::List => "orders.list",
            Self::Get => "orders.get",
            Self::Status => "orders.status",
        }
    }
}

/// How often orders are asked for where the file does not say: as a net under webhooks, or as the only source.
const EVERY_WITH_WEBHOOKS: Duration = Duration::from_secs(15 * 60);
const EVERY_ALONE: Duration = Duration::from_secs(30);

impl Orders {
    pub fn read(s: &mut In<'_, '_, '_>) -> Self {
        let list = s.table("list", OrderList::read).flatten();
        let listed = list.as_ref().map(|list| &list.map);
        let get = s.table("get", |s| {
            let request = RequestSpec::read(s, Place::Order);
            let map = s.table("map", |s| OrderMap::read(s, listed)).unwrap_or_default();
            request.map(|request| OneOrder { request, map })
        });
        let status = s.table("status", |s| Statuses::read(s, listed)).flatten();
        Self { list, get: get.flatten(), status }
    }

    pub fn requests(&self) -> Vec<(String, &RequestSpec)> {
        let mut all = Vec::new();
        if let Some(list) = &self.list {
            all.push(("orders.list".to_owned(), &list.request));
            let also = list.also.iter().enumerate();
            all.extend(also.map(|(n, list)| (format!("orders.list.also[{n}]"), &list.request)));
        }
        all.extend(self.get.iter().map(|get| ("orders.get".to_owned(), &get.request)));
        all.extend(self.status.iter().map(|status| ("orders.status".to_owned(), &status.request)));
        all
    }

    pub fn maps(&self) -> impl Iterator<Item = &OrderMap> {
        let (list, get, status) = (self.list.iter(), self.get.iter(), self.status.iter());
        list.map(|l| &l.map).chain(get.map(|g| &g.map)).chain(status.map(|s| &s.map))
    }

    pub fn feed(&self, webhooks: bool) -> Option<OrderFeed> {
        let list = self.list.as_ref()?;
        Some(OrderFeed {
            lists: list.each.len().max(1) + list.also.len(),
            overlap: list.overlap,
            span_max: list.span_max,
            every: list.every.unwrap_or(if webhooks { EVERY_WITH_WEBHOOKS } else { EVERY_ALONE }),
            statuses: self.status.as_ref().map(|status| StatusFeed {
                every: status.every,
                open_for: status.open_for,
                per_request: usize::try_from(status.page.limit).unwrap_or(1),
            }),
        })
    }

    pub fn ask(
        &self,
        file: &AdapterFile,
        connection: &Connection,
        moment: &Moment,
        (list, window, page): (usize, &Window, &Page),
    ) -> Result<Call, Unreadable> {
        let spec = self.list.as_ref().ok_or_else(cannot_be_asked)?;
        let (request, paging, value) = spec.part(list).ok_or_else(cannot_be_asked)?;
        let values = Values {
            page: Some(paging.values(page)),
            window: Some((window.from, window.to)),
            lookback: Some(moment.now.minus(spec.lookback).min(window.from)),
            list_value: value,
            ..Values::new(connection, moment.now)
        };
        match paging.address(page) {
            Some(next) => request::follow(file, moment, request, &values, next),
            None => request::build(file, moment, request, &values),
        }
    }

    pub fn told(
        &self,
        file: &AdapterFile,
        connection: &Connection,
        (list, page): (usize, &Page),
        answer: &Answer,
    ) -> Result<Told, Outcome> {
        let spec = self.list.as_ref().ok_or_else(|| unreadable("there is no list"))?;
        let (request, paging, _) = spec.part(list).ok_or_else(|| unreadable("there is no such list"))?;
        let value = answer::json(answer::body(file, answer, &[])?)?;
        let Answer::Response { headers, .. } = answer else { return Err(Outcome::of_status(answer)) };
        let orders = spec.map.elements.of(Element::root(&value)).map_err(unreadable)?;
        let orders = orders.iter().map(|order| self.row(file, connection, From::List, order.value)).collect();
        let items = spec.map.elements.items.as_ref().and_then(|items| Element::root(&value).find(items));
        let raw = items.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let base = base(file, connection, request.host.as_deref(), crate::domain::time::Timestamp::default());
        let base = base.map_err(|error| unreadable(error.message))?;
        let next = paging.next(page, &value, headers, raw, &base)?;
        Ok(Told::Orders { orders, next })
    }

    pub fn ask_one(&self, file: &AdapterFile, connection: &Connection, moment: &Moment, id: &str) -> Result<Call, Unreadable> {
        let get = self.get.as_ref().ok_or_else(cannot_be_asked)?;
        let values = Values { order_id: Some(id), ..Values::new(connection, moment.now) };
        request::build(file, moment, &get.request, &values)
    }

    pub fn told_one(&self, file: &AdapterFile, connection: &Connection, answer: &Answer) -> Result<Told, Outcome> {
        let get = self.get.as_ref().ok_or_else(|| unreadable("there is no such question"))?;
        let value = answer::json(answer::body(file, answer, &[])?)?;
        let root = Element::root(&value);
        let orders = match &get.map.item {
            Some(item) => vec![root.find(item).ok_or_else(|| unreadable("the order is missing in the answer"))?.clone()],
            // Some list the one that was asked for.
            None if get.map.elements.items.is_some() => {
                let found = get.map.elements.of(root).map_err(unreadable)?;
                found.iter().map(|element| element.value.clone()).collect()
            }
            None => vec![value.clone()],
        };
        let orders = orders.iter().map(|order| self.row(file, connection, From::Get, order)).collect();
        Ok(Told::Orders { orders, next: None })
    }

    pub fn ask_statuses(
        &self,
        file: &AdapterFile,
        connection: &Connection,
        moment: &Moment,
        orders: &[String],
    ) -> Result<Call, Unreadable> {
        let status = self.status.as_ref().ok_or_else(cannot_be_asked)?;
        if i64::try_from(orders.len()).is_ok_and(|count| count > status.page.limit) {
            let message = format!("{} orders, where a request names {}", orders.len(), status.page.limit);
            return Err(Unreadable::new("batch-size", message));
        }
        let key = |id: &String| match id.parse::<i64>() {
            Ok(number) if status.page.key_is_number => Ok(Value::from(number)),
            Err(_) if status.page.key_is_number => {
                Err(Unreadable::new("invalid-value", format!("the order {id:?} has no number here")))
            }
            _ => Ok(Value::from(id.as_str())),
        };
        let keys = orders.iter().map(key).collect::<Result<_, _>>()?;
        let page = Some(status.page.values(&Page::default()));
        let values = Values { keys, page, ..Values::new(connection, moment.now) };
        request::build(file, moment, &status.request, &values)
    }

    pub fn told_statuses(&self, file: &AdapterFile, connection: &Connection, answer: &Answer) -> Result<Told, Outcome> {
        let status = self.status.as_ref().ok_or_else(|| unreadable("there is no such question"))?;
        let value = answer::json(answer::body(file, answer, &[])?)?;
        let orders = status.map.elements.of(Element::root(&value)).map_err(unreadable)?;
        let orders = orders.iter().map(|order| self.row(file, connection, From::Status, order.value)).collect();
        Ok(Told::Orders { orders, next: None })
    }

    fn row(&self, file: &AdapterFile, connection: &Connection, from: From, order: &Value) -> OrderRow {
        let body = serde_json::json!({ "from": from.name(), "order": order }).to_string().into_bytes();
        let order_id = self.map(from).and_then(|map| map.order_id(&Element::root(order)).ok()).unwrap_or_default();
        OrderRow { order_id, reading: self.read_value(file, connection, from, order, &body), body }
    }

    fn map(&self, from: From) -> Option<&OrderMap> {
        match from {
            From::List => self.list.as_ref().map(|list| &list.map),
            From::Get => self.get.as_ref().map(|get| &get.map),
            From::Status => self.status.as_ref().map(|status| &status.map),
        }
    }

    /// A logged order, as `row` wrote it.
    pub fn read_logged(&self, file: &AdapterFile, connection: &Connection, body: &[u8]) -> Reading {
        let failed = |error: Unreadable| Reading {
            event_type: "order".into(),
            natural_key: Some(body_key(body)),
            occurred_at: None,
            verdict: Verdict::Failed(error),
        };
        let value: Value = match serde_json::from_slice(body) {
            Ok(value) => value,
            Err(error) => return failed(Unreadable::new("invalid-json", error.to_string())),
        };
        let from = value.get("from").and_then(Value::as_str);
        let from = [From::List, From::Get, From::Status].into_iter().find(|known| from == Some(known.name()));
        match (from, value.get("order")) {
            (Some(from), Some(order)) => self.read_value(file, connection, from, order, body),
            _ => failed(Unreadable::new("invalid-field", "it does not say where the order was read")),
        }
    }

    fn read_value(&self, file: &AdapterFile, connection: &Connection, from: From, order: &Value, body: &[u8]) -> Reading {
        let read = match self.map(from) {
            Some(map) => map.read_order(&file.status, &Element::root(order), connection.policy.count_unpaid),
            None => Err(Unreadable::new("not-readable", format!("the adapter has no {} any more", from.name()))),
        };
        read.unwrap_or_else(|error| Reading {
            event_type: "order".into(),
            natural_key: Some(body_key(body)),
            occurred_at: None,
            verdict: Verdict::Failed(error),
        })
    }
}

/// What cannot be read is the same again when its bytes are.
fn body_key(body: &[u8]) -> String {
    format!("order-body:{}", hex::encode(&Sha256::digest(body)[..16]))
}

impl OrderList {
    fn read(s: &mut In<'_, '_, '_>) -> Option<Self> {
        let only_if = s.opt("only_if", read::text);
        let request = RequestSpec::read(s, Place::Orders);
        let at = s.at.clone();
        if request.is_none() {
            s.fault("request", &at, "is missing");
        }
        let map = s.table("map", |s| OrderMap::read(s, None));
        let page = s.table("page", Paging::read).unwrap_or_default();
        let window =
            s.table("window", |s| (s.opt("overlap", read::span), s.opt("lookback", read::span), s.opt("max_span", read::span)));
        let (overlap, lookback, span_max) = window.unwrap_or_default();
        let every = s.opt("every", read::span);
        let each = s.opt("each", read::texts).unwrap_or_default();
        let also = Beside::read_all(s, request.as_ref());
        Some(Self {
            only_if,
            request: request?,
            map: map.unwrap_or_default(),
            page,
            overlap: overlap.unwrap_or(super::file::built_in_span("5m")),
            lookback: lookback.unwrap_or(super::file::built_in_span("30d")),
            span_max,
            every,
            each,
            also,
        })
    }

    /// The list of this number: its request, its pages, and the value it is asked for.
    fn part(&self, list: usize) -> Option<(&RequestSpec, &Paging, Option<&str>)> {
        let own = self.each.len().max(1);
        if list < own {
            return Some((&self.request, &self.page, self.each.get(list).map(String::as_str)));
        }
        self.also.get(list - own).map(|beside| (&beside.request, &beside.page, None))
    }
}

impl Beside {
    /// `also`: request lines, or tables with `request`, `query`, `body` and `page`.
    fn read_all(s: &mut In<'_, '_, '_>, list: Option<&RequestSpec>) -> Vec<Self> {
        let Some(node) = s.node("also") else { return Vec::new() };
        let TomlValue::List(entries) = &node.value else {
            s.fault("also", &node.at, format!("expected a list, found {}", node.value.kind()));
            return Vec::new();
        };
        let mut all = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            let path = format!("{}[{n}]", join(&s.path, "also"));
            match &entry.value {
                TomlValue::Text(line) => match list.map(|list| list.beside(line)) {
                    Some(Ok(request)) => all.push(Self { request, page: Paging::default() }),
                    Some(Err(message)) => Self::fault(s, &entry.at, path, message),
                    None => {}
                },
                TomlValue::Table(table) => all.extend(s.context.read(&path, &entry.at, table, |s| {
                    let mut request = RequestSpec::read(s, Place::Orders)?;
                    request.limits = request.limits.take().or_else(|| list.and_then(|list| list.limits.clone()));
                    let page = s.table("page", Paging::read).unwrap_or_default();
                    Some(Self { request, page })
                })),
                other => Self::fault(s, &entry.at, path, format!("expected a request or a table, found {}", other.kind())),
            }
        }
        all
    }

    fn fault(s: &mut In<'_, '_, '_>, at: &Origin, path: String, message: String) {
        s.context.faults.push(at.fault(path, message));
    }
}

impl Statuses {
    fn read(s: &mut In<'_, '_, '_>, listed: Option<&OrderMap>) -> Option<Self> {
        let request = RequestSpec::read(s, Place::Keys);
        let map = s.table("map", |s| OrderMap::read(s, listed)).unwrap_or_default();
        let page = s.table("page", Paging::read).unwrap_or_default();
        Some(Self {
            map,
            page,
            every: s.opt("every", read::span).unwrap_or(super::file::built_in_span("60s")),
            open_for: s.opt("open_for", read::span).unwrap_or(super::file::built_in_span("30d")),
            request: request?,
        })
    }
}
