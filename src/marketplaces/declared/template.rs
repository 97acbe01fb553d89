//! Templates: text with `{{name}}` in it, and JSON whose texts are templates. Names are looked up in a fixed list while the file
//! is read, so a misspelt one is a fault of the file and never a strange request.

use serde_json::Value;

use super::values::{Values, plain};
use crate::marketplaces::Unreadable;
use crate::settings::finding::nearest;

/// What a placeholder stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Var {
    Account(String),
    Secret(String),
    /// A name the marketplace gave the thing; of the listing, else of the account.
    Ref(String),
    /// The same, of the group that shares the request.
    Group(String),
    Sku,
    ProductId,
    Quantity,
    Expected,
    ChangedAt,
    PushId,
    Now,
    PageNumber,
    PageOffset,
    PageLimit,
    PageCursor,
    WindowFrom,
    WindowTo,
    Lookback,
    Keys,
    OrderId,
    ListValue,
    Parent,
    Timestamp,
}

/// Where a template stands, which decides what it may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Addresses and plain headers.
    Settings,
    /// Headers and bodies that prove who we are: the only place for secrets.
    Auth,
    /// A request that tells quantities; items stand in it.
    Push,
    /// The parts of a push that are shared by its items.
    PushShared,
    /// A page of stock.
    Stock,
    /// A page below an element of another one.
    Children,
    /// A page of orders.
    Orders,
    /// A request for named things.
    Keys,
    /// A request for one listing.
    One,
    Order,
    Check,
}

const FIXED: &[(&str, Var)] = &[
    ("item.sku", Var::Sku),
    ("item.product_id", Var::ProductId),
    ("item.qty", Var::Quantity),
    ("item.expected", Var::Expected),
    ("item.changed_at", Var::ChangedAt),
    ("push.id", Var::PushId),
    ("now", Var::Now),
    ("page.number", Var::PageNumber),
    ("page.offset", Var::PageOffset),
    ("page.limit", Var::PageLimit),
    ("page.cursor", Var::PageCursor),
    ("window.from", Var::WindowFrom),
    ("window.to", Var::WindowTo),
    ("window.lookback", Var::Lookback),
    ("keys", Var::Keys),
    ("order.id", Var::OrderId),
    ("list.value", Var::ListValue),
    ("parent.id", Var::Parent),
    ("timestamp", Var::Timestamp),
];

const FAMILIES: &[&str] = &["account.", "secret.", "item.ref.", "group."];

impl Var {
    fn parse(name: &str) -> Result<Self, String> {
        for family in FAMILIES {
            if let Some(rest) = name.strip_prefix(family).filter(|rest| is_name(rest)).map(str::to_owned) {
                return Ok(match *family {
                    "account." => Self::Account(rest),
                    "secret." => Self::Secret(rest),
                    "item.ref." => Self::Ref(rest),
                    _ => Self::Group(rest),
                });
            }
        }
        if let Some((_, var)) = FIXED.iter().find(|(known, _)| *known == name) {
            return Ok(var.clone());
        }
        let candidates = FIXED.iter().map(|(known, _)| *known).chain(FAMILIES.iter().copied());
        let meant = nearest(name, candidates).map_or(String::new(), |meant| format!("; did you mean {meant}?"));
        Err(format!("there is no {{{{{name}}}}}{meant}"))
    }

    fn is_allowed(&self, place: Place) -> bool {
        use Place as P;
        let any = |places: &[Place]| places.contains(&place);
        match self {
            Self::Account(_) => true,
            Self::Now => place != P::Settings,
            Self::Secret(_) | Self::Timestamp => place == P::Auth,
            Self::Ref(_) | Self::Sku | Self::ProductId => any(&[P::Push, P::One]),
            Self::Quantity | Self::Expected | Self::ChangedAt => place == P::Push,
            Self::Group(_) => any(&[P::Push, P::PushShared, P::Keys]),
            Self::PushId => any(&[P::Push, P::PushShared]),
            Self::PageNumber | Self::PageOffset | Self::PageLimit | Self::PageCursor => {
                any(&[P::Stock, P::Children, P::Orders, P::Keys])
            }
            Self::WindowFrom | Self::WindowTo | Self::Lookback | Self::ListValue => place == P::Orders,
            Self::Keys => place == P::Keys,
            Self::OrderId => place == P::Order,
            Self::Parent => place == P::Children,
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    Text,
    Int,
    Base64,
    Rfc3339,
    UnixSeconds,
    UnixMillis,
    Bool,
}

const FILTERS: &[(&str, Filter)] = &[
    ("string", Filter::Text),
    ("int", Filter::Int),
    ("b64", Filter::Base64),
    ("rfc3339", Filter::Rfc3339),
    ("unix_s", Filter::UnixSeconds),
    ("unix_ms", Filter::UnixMillis),
    ("bool", Filter::Bool),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    pub var: Var,
    /// Written `{{name?}}`: what holds it is left out when it is unset.
    pub optional: bool,
    pub filter: Option<Filter>,
}

impl Hole {
    fn parse(text: &str, place: Place) -> Result<Self, String> {
        let (name, filter) = match text.split_once('|') {
            None => (text, None),
            Some((name, filter)) => {
                let known = FILTERS.iter().find(|(known, _)| *known == filter).map(|(_, filter)| *filter);
                let names = || FILTERS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
                (name, Some(known.ok_or_else(|| format!("there is no filter {filter:?}; there are {}", names()))?))
            }
        };
        let (name, optional) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
        let var = Var::parse(name)?;
        if var.is_allowed(place) {
            return Ok(Self { var, optional, filter });
        }
        Err(match var {
            Var::Secret(_) => "secrets may stand in auth only".to_owned(),
            _ => format!("{{{{{name}}}}} means nothing here"),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole(Hole),
}

/// Text with placeholders; the default is the empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// How a value is written into text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    Plain,
    /// In a path or a query: everything but letters, digits, `-`, `_`, `.` and `~` is encoded.
    Encoded,
    /// In the name of a host: nothing that would end it.
    Host,
}

impl Template {
    pub fn parse(text: &str, place: Place) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (hole, after) = after.split_once("}}").ok_or_else(|| format!("{{{{ is never closed in {text:?}"))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Hole(Hole::parse(hole.trim(), place)?));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.parts.iter().filter_map(|part| if let Part::Hole(hole) = part { Some(hole) } else { None })
    }

    /// Whether it is one placeholder and nothing else.
    pub fn is_single(&self) -> bool {
        matches!(&self.parts[..], [Part::Hole(_)])
    }

    /// The text; `None` where an optional name is unset.
    pub fn text(&self, values: &Values<'_>, writing: Writing) -> Result<Option<String>, Unreadable> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Hole(hole) => match values.of(hole)? {
                    None => return Ok(None),
                    Some(value) => text.push_str(&written(&value, hole, writing)?),
                },
            }
        }
        Ok(Some(text))
    }

    /// The value: of its own type where the template is one placeholder.
    pub fn value(&self, values: &Values<'_>) -> Result<Option<Value>, Unreadable> {
        match &self.parts[..] {
            [Part::Hole(hole)] => values.of(hole),
            _ => Ok(self.text(values, Writing::Plain)?.map(Value::String)),
        }
    }
}

fn written(value: &Value, hole: &Hole, writing: Writing) -> Result<String, Unreadable> {
    let text = plain(value);
    match writing {
        Writing::Plain => Ok(text),
        Writing::Encoded if text == "." || text == ".." || (text.is_empty() && !matches!(hole.var, Var::PageCursor)) => {
            Err(Unreadable::new("invalid-value", format!("{text:?} cannot stand in an address")))
        }
        Writing::Encoded => Ok(encoded(&text)),
        Writing::Host if text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) => Ok(text),
        Writing::Host => Err(Unreadable::new("invalid-value", format!("{text:?} cannot be part of a host's name"))),
    }
}

pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A JSON body whose texts are templates.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Plain(Value),
    Text(Template),
    List(Vec<Shape>),
    Object(Vec<(String, Shape)>),
    /// Once for each item of the batch.
    Each(Vec<(String, Shape)>),
}

impl Shape {
    pub fn parse(text: &str, place: Place) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
        Self::of(value, place, place == Place::Push)
    }

    fn of(value: Value, place: Place, may_repeat: bool) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) if text.contains("{{") => Self::Text(Template::parse(&text, place)?),
            Value::Array(items) => {
                Self::List(items.into_iter().map(|item| Self::of(item, place, may_repeat)).collect::<Result<_, _>>()?)
            }
            Value::Object(mut fields) => {
                let each = match fields.remove("$each") {
                    None => false,
                    Some(Value::String(what)) if what == "items" && may_repeat => true,
                    Some(_) if may_repeat => return Err("\"$each\" can only be \"items\"".to_owned()),
                    Some(_) => return Err("\"$each\" means nothing here".to_owned()),
                };
                let inner = |(key, value)| Self::of(value, place, may_repeat && !each).map(|shape| (key, shape));
                let fields = fields.into_iter().map(inner).collect::<Result<_, _>>()?;
                if each { Self::Each(fields) } else { Self::Object(fields) }
            }
            plain => Self::Plain(plain),
        })
    }

    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Text(template) => vec![template],
            Self::List(items) => items.iter().flat_map(Self::templates).collect(),
            Self::Object(fields) | Self::Each(fields) => fields.iter().flat_map(|(_, shape)| shape.templates()).collect(),
        }
    }

    /// `None` where an optional name is unset.
    pub fn render(&self, values: &Values<'_>) -> Result<Option<Value>, Unreadable> {
        match self {
            Self::Plain(value) => Ok(Some(value.clone())),
            Self::Text(template) => template.value(values),
            Self::List(items) => {
                let mut list = Vec::new();
                for item in items {
                    match item {
                        Self::Each(fields) => {
                            for each in values.each() {
                                list.push(object(fields, &each)?);
                            }
                        }
                        other => list.extend(other.render(values)?),
                    }
                }
                Ok(Some(Value::Array(list)))
            }
            Self::Object(fields) | Self::Each(fields) => object(fields, values).map(Some),
        }
    }
}

fn object(fields: &[(String, Shape)], values: &Values<'_>) -> Result<Value, Unreadable> {
    let mut object = serde_json::Map::new();
    for (key, shape) in fields {
        if let Some(value) = shape.render(values)? {
            object.insert(key.clone(), value);
        }
    }
    Ok(Value::Object(object))
}
