//! What the names in templates stand for, at one moment and for one request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::template::{Filter, Hole, Var};
use crate::domain::time::Timestamp;
use crate::marketplaces::{Connection, PushItem, Unreadable};

#[derive(Clone)]
pub struct Values<'a> {
    pub connection: &'a Connection,
    pub now: Timestamp,
    /// The items of a push, or the listing that is asked for.
    pub items: &'a [PushItem],
    /// The one whose turn it is; a request for one item has it from the start.
    pub item: Option<&'a PushItem>,
    /// More is told as this many, less as that.
    pub quantity: (i64, i64),
    pub page: Option<PageValues>,
    pub window: Option<(Timestamp, Timestamp)>,
    pub lookback: Option<Timestamp>,
    pub keys: Vec<Value>,
    pub order_id: Option<&'a str>,
    pub list_value: Option<&'a str>,
    pub parent: Option<&'a str>,
}

const ALMOST_A_SECOND: std::time::Duration = std::time::Duration::from_micros(999_999);

#[derive(Clone, Debug)]
pub struct PageValues {
    pub number: i64,
    pub offset: i64,
    pub limit: i64,
    pub cursor: Value,
}

impl<'a> Values<'a> {
    pub fn new(connection: &'a Connection, now: Timestamp) -> Self {
        Self {
            connection,
            now,
            items: &[],
            item: None,
            quantity: (0, i64::MAX),
            page: None,
            window: None,
            lookback: None,
            keys: Vec::new(),
            order_id: None,
            list_value: None,
            parent: None,
        }
    }

    /// The same, once per item of the batch.
    pub fn each(&self) -> impl Iterator<Item = Values<'a>> {
        let (all, items) = (self.clone(), self.items);
        items.iter().map(move |item| Values { item: Some(item), ..all.clone() })
    }

    pub fn told(&self, item: &PushItem) -> i64 {
        item.quantity.clamp(self.quantity.0, self.quantity.1)
    }

    /// What a placeholder stands for; `None` where it may be left out.
    pub fn of(&self, hole: &Hole) -> Result<Option<Value>, Unreadable> {
        let value = self.raw(&hole.var)?.filter(|value| !value.is_null());
        match (value, hole.filter) {
            (None, _) if hole.optional => Ok(None),
            (None, _) => Err(self.missing(&hole.var)),
            (Some(value), None) => Ok(Some(value)),
            (Some(value), Some(filter)) => filtered(filter, value, &hole.var, || self.time(&hole.var)).map(Some),
        }
    }

    fn raw(&self, var: &Var) -> Result<Option<Value>, Unreadable> {
        let page = || self.page.as_ref();
        Ok(match var {
            Var::Account(name) => self.connection.account.get(name).cloned(),
            Var::Secret(name) => self.connection.secrets(name).first().map(|secret| secret.expose().into()),
            Var::Ref(name) => self.item.and_then(|item| reference(self.connection, item, name)),
            Var::Group(name) => self.item.or(self.items.first()).and_then(|item| reference(self.connection, item, name)),
            Var::Sku => self.item.map(|item| item.sku.as_str().into()),
            Var::ProductId => self.item.map(|item| item.marketplace_product_id.as_str().into()),
            Var::Quantity => self.item.map(|item| self.told(item).into()),
            Var::Expected => self.item.and_then(|item| item.expected).map(Into::into),
            Var::PushId => Some(push_id(self.items).into()),
            Var::PageNumber => page().map(|page| page.number.into()),
            Var::PageOffset => page().map(|page| page.offset.into()),
            Var::PageLimit => page().map(|page| page.limit.into()),
            Var::PageCursor => page().map(|page| page.cursor.clone()),
            Var::Keys => Some(Value::Array(self.keys.clone())),
            Var::OrderId => self.order_id.map(Into::into),
            Var::ListValue => self.list_value.map(Into::into),
            Var::Parent => self.parent.map(Into::into),
            Var::ChangedAt | Var::Now | Var::WindowFrom | Var::WindowTo | Var::Lookback => {
                self.time(var).map(|at| rfc3339(at, *var == Var::ChangedAt).into())
            }
            Var::Timestamp => Some(self.now.seconds().into()),
        })
    }

    fn time(&self, var: &Var) -> Option<Timestamp> {
        match var {
            Var::ChangedAt => self.item.map(|item| item.changed_at),
            Var::Timestamp => Some(self.now),
            Var::WindowFrom => self.window.map(|(from, _)| from),
            // Times are told in whole seconds: the end of a window is rounded up, or its last second would be left out.
            Var::Now => Some(self.now.plus(ALMOST_A_SECOND)),
            Var::WindowTo => self.window.map(|(_, to)| to.plus(ALMOST_A_SECOND)),
            Var::Lookback => self.lookback,
            _ => None,
        }
    }

    fn missing(&self, var: &Var) -> Unreadable {
        match var {
            Var::Account(name) => Unreadable::new("missing-account", format!("account.{name} is not set")),
            Var::Secret(name) => Unreadable::new("missing-secret", format!("secrets.{name} is not set")),
            Var::Ref(name) | Var::Group(name) => missing_ref(name),
            other => Unreadable::new("missing-value", format!("{other:?} is not known here")),
        }
    }
}

pub fn missing_ref(name: &str) -> Unreadable {
    let message = format!("the listing has no ref {name:?}, and the account has no value of that name either");
    Unreadable::new("missing-ref", message)
}

/// A name of the thing: of its listing, else of the account.
pub fn reference(connection: &Connection, item: &PushItem, name: &str) -> Option<Value> {
    let own = item.refs.get(name).filter(|value| !is_nothing(value));
    own.or_else(|| connection.account.get(name)).filter(|value| !is_nothing(value)).cloned()
}

/// Whether a value names nothing: marketplaces write "no variation" as null, as "" or as 0.
pub fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        _ => false,
    }
}

/// A value as it stands in text.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The same for every retry of one batch, another for the next.
fn push_id(items: &[PushItem]) -> String {
    let mut hash = Sha256::new();
    for item in items {
        hash.update(item.idempotency_key());
        hash.update("\n");
    }
    let bytes: [u8; 32] = hash.finalize().into();
    let mut id = [0_u8; 16];
    id.copy_from_slice(&bytes[..16]);
    uuid::Builder::from_custom_bytes(id).into_uuid().to_string()
}

/// To the second, as every API takes it; `exact` where the time orders two writers.
pub fn rfc3339(at: Timestamp, exact: bool) -> String {
    let text = at.to_string();
    let head = text.split('.').next().unwrap_or(&text).trim_end_matches('Z').to_owned();
    if exact { format!("{head}.{:03}Z", at.millis().rem_euclid(1_000)) } else { format!("{head}Z") }
}

fn name_of(var: &Var) -> &str {
    match var {
        Var::Ref(name) | Var::Group(name) | Var::Account(name) => name,
        _ => "a value",
    }
}

fn filtered(filter: Filter, value: Value, var: &Var, time: impl Fn() -> Option<Timestamp>) -> Result<Value, Unreadable> {
    let at = || time().ok_or_else(|| Unreadable::new("invalid-value", format!("{var:?} is not a time")));
    Ok(match filter {
        Filter::Text => plain(&value).into(),
        Filter::Base64 => STANDARD.encode(plain(&value)).into(),
        Filter::Rfc3339 => match time() {
            Some(at) => rfc3339(at, *var == Var::ChangedAt).into(),
            None => value,
        },
        Filter::UnixSeconds => at()?.seconds().into(),
        Filter::UnixMillis => at()?.millis().into(),
        Filter::Bool => match plain(&value).as_str() {
            "true" | "1" => true.into(),
            "false" | "0" => false.into(),
            text => return Err(Unreadable::new("invalid-ref", format!("{} must be true or false, is {text:?}", name_of(var)))),
        },
        Filter::Int => match &value {
            Value::Number(number) if number.is_i64() || number.is_u64() => value,
            other => {
                let text = plain(other);
                let number = text.parse::<i64>().map_err(|_| {
                    let name = name_of(var);
                    Unreadable::new("invalid-ref", format!("{name} must be a whole number, is {text:?}"))
                })?;
                number.into()
            }
        },
    })
}
