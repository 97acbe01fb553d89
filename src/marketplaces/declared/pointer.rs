//! Where a value stands in an answer: RFC 6901 pointers, with `^` for the element that holds this one, and the few ways in which a
//! value is made of what stands there.

use std::collections::BTreeMap;

use serde_json::Value;

use super::values::plain;
use crate::domain::time::Timestamp;

/// `/a/0/b`; `^/a` begins one element further out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointer {
    up: usize,
    path: String,
}

impl Pointer {
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = text.trim_start_matches('^');
        if !path.is_empty() && !path.starts_with('/') {
            return Err(format!("is not a JSON pointer: {text:?} (like /items/0/id)"));
        }
        let bad_escape = path.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1']));
        if bad_escape {
            return Err(format!("is not a JSON pointer: {text:?} (~ is written ~0, / is written ~1)"));
        }
        Ok(Self { up: text.len() - path.len(), path: path.to_owned() })
    }
}

/// A value, and what holds it.
#[derive(Clone, Debug)]
pub struct Element<'v> {
    pub value: &'v Value,
    /// The nearest last.
    parents: Vec<&'v Value>,
    /// Of a webhook.
    headers: Option<&'v BTreeMap<String, String>>,
}

impl<'v> Element<'v> {
    pub fn root(value: &'v Value) -> Self {
        Self { value, parents: Vec::new(), headers: None }
    }

    pub fn with_headers(value: &'v Value, headers: &'v BTreeMap<String, String>) -> Self {
        Self { value, parents: Vec::new(), headers: Some(headers) }
    }

    pub fn find(&self, pointer: &Pointer) -> Option<&'v Value> {
        let base = match pointer.up {
            0 => self.value,
            up => self.parents.get(self.parents.len().checked_sub(up)?).copied()?,
        };
        base.pointer(&pointer.path)
    }

    /// The elements of the list that stands there.
    pub fn list(&self, pointer: &Pointer) -> Option<Vec<Element<'v>>> {
        let list = self.find(pointer)?.as_array()?;
        let mut parents = self.parents.clone();
        parents.push(self.value);
        Some(list.iter().map(|value| Element { value, parents: parents.clone(), headers: self.headers }).collect())
    }

    pub fn header(&self, name: &str) -> Option<&'v str> {
        self.headers?.get(name).map(String::as_str)
    }
}

/// Where elements stand: a list, nested lists in it, and which of them count.
#[derive(Clone, Debug, Default)]
pub struct Elements {
    /// `None`: the document itself is the one element.
    pub items: Option<Pointer>,
    pub explode: Vec<Pointer>,
    pub only: Option<Match>,
}

impl Elements {
    pub fn of<'v>(&self, root: Element<'v>) -> Result<Vec<Element<'v>>, String> {
        let mut elements = match &self.items {
            None => vec![root],
            Some(items) => root.list(items).ok_or_else(|| format!("there is no list at {:?}", items.path))?,
        };
        for inner in &self.explode {
            // An element without the inner list has nothing to tell.
            elements = elements.iter().filter_map(|element| element.list(inner)).flatten().collect();
        }
        elements.retain(|element| self.only.as_ref().is_none_or(|only| only.holds(element)));
        Ok(elements)
    }
}

/// Whether an element, or the message it is in, is meant.
#[derive(Clone, Debug)]
pub struct Match {
    pub at: Where,
    pub test: Test,
}

#[derive(Clone, Debug)]
pub enum Where {
    Pointer(Pointer),
    /// In lower case.
    Header(&'static str),
}

#[derive(Clone, Debug)]
pub enum Test {
    In(Vec<String>),
    Not(String),
}

impl Where {
    pub fn text(&self, element: &Element<'_>) -> Option<String> {
        match self {
            Self::Pointer(pointer) => element.find(pointer).filter(|value| !value.is_null()).map(plain),
            Self::Header(name) => element.header(name).map(str::to_owned),
        }
    }
}

impl Match {
    pub fn holds(&self, element: &Element<'_>) -> bool {
        let said = self.at.text(element);
        match &self.test {
            Test::In(values) => said.is_some_and(|said| values.contains(&said)),
            Test::Not(value) => said.as_ref() != Some(value),
        }
    }
}

/// How a value is made.
#[derive(Clone, Debug)]
pub enum Pick {
    At(Where),
    /// Joined with `:`.
    Joined(Vec<Where>),
    Const(Value),
    Minus(Pointer, Pointer),
    /// What stands behind the last slash of an address.
    Tail(Where),
    WhenNull {
        at: Pointer,
        null: Value,
        otherwise: Value,
    },
}

impl Pick {
    pub fn value(&self, element: &Element<'_>) -> Option<Value> {
        match self {
            Self::At(Where::Pointer(pointer)) => element.find(pointer).filter(|value| !value.is_null()).cloned(),
            Self::At(header) => header.text(element).map(Value::String),
            Self::Joined(list) => {
                let parts: Option<Vec<String>> = list.iter().map(|at| at.text(element)).collect();
                parts.map(|parts| parts.join(":").into())
            }
            Self::Const(value) => Some(value.clone()),
            Self::Minus(from, less) => {
                let number = |pointer| element.find(pointer).and_then(whole);
                number(from)?.checked_sub(number(less)?).map(Into::into)
            }
            Self::Tail(at) => {
                let text = at.text(element)?;
                text.trim_end_matches('/').rsplit('/').next().map(Value::from)
            }
            Self::WhenNull { at, null, otherwise } => {
                let is_null = element.find(at).is_none_or(Value::is_null);
                Some(if is_null { null } else { otherwise }.clone())
            }
        }
    }

    pub fn text(&self, element: &Element<'_>) -> Option<String> {
        self.value(element).map(|value| plain(&value))
    }

    pub fn whole(&self, element: &Element<'_>) -> Option<i64> {
        self.value(element).as_ref().and_then(whole)
    }
}

/// A whole number, also where it is written as text or with a zero fraction.
pub fn whole(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < EXACT)?;
            #[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^53")]
            Some(float as i64)
        }),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A time, and how it is written.
#[derive(Clone, Debug)]
pub struct TimePick {
    pub pick: Pick,
    pub form: TimeForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeForm {
    Rfc3339,
    /// RFC 3339 without a zone, meant as UTC.
    Utc,
    UnixSeconds,
    UnixMillis,
}

impl TimePick {
    /// A time that cannot be read is no time: it is not guessed.
    pub fn at(&self, element: &Element<'_>) -> Option<Timestamp> {
        match self.form {
            TimeForm::Rfc3339 => Timestamp::parse_rfc3339(&self.pick.text(element)?),
            TimeForm::Utc => {
                let text = self.pick.text(element)?.replace(' ', "T");
                Timestamp::parse_rfc3339(&text).or_else(|| Timestamp::parse_rfc3339(&format!("{text}Z")))
            }
            TimeForm::UnixSeconds => self.pick.whole(element).map(Timestamp::from_seconds),
            TimeForm::UnixMillis => self.pick.whole(element).map(Timestamp::from_millis),
        }
    }
}
