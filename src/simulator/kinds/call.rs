//! A request as a dialect sees it, the table by which it finds what it is about, and what is said in return.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

use crate::domain::time::Timestamp;

use super::super::http_server::Request;

#[derive(Clone, Debug, Default)]
pub struct Call {
    pub received_at: Timestamp,
    pub method: String,
    pub path: String,
    /// Path and query as they came: signatures go over them.
    pub raw_target: String,
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// What stood between the braces of the route, in order.
    pub parts: Vec<String>,
}

impl Call {
    pub fn of(request: &Request, received_at: Timestamp) -> Option<Self> {
        let (method, target) = request.head.request_line().ok()?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Some(Self {
            received_at,
            method: method.to_owned(),
            path: path.to_owned(),
            raw_target: target.to_owned(),
            query: url::form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into(), value.into())).collect(),
            headers: request.head.headers().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
            body: request.body.clone(),
            parts: Vec::new(),
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A number of the query; `otherwise` where there is none.
    pub fn number(&self, name: &str, otherwise: i64) -> i64 {
        self.query(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    }

    pub fn part(&self, index: usize) -> &str {
        self.parts.get(index).map_or("", String::as_str)
    }

    /// `Null` for what is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Tells quantities.
    Write,
    /// Asks for quantities.
    Read,
    /// Asks for orders.
    Orders,
    /// Asks who one is.
    Account,
}

/// One thing a marketplace can be asked. The name is its method and path, `{…}` standing for one segment.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub name: &'static str,
    pub class: Class,
    /// Names of the limits it takes from.
    pub limits: &'static [&'static str],
}

impl Route {
    pub const fn new(name: &'static str, class: Class, limits: &'static [&'static str]) -> Self {
        Self { name, class, limits }
    }

    /// The parts of the path that stand in the braces; `None` where it is another route.
    fn fits(&self, call: &Call) -> Option<Vec<String>> {
        let (method, pattern) = self.name.split_once(' ')?;
        if method != call.method {
            return None;
        }
        let (wanted, given): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), call.path.split('/').collect());
        if wanted.len() != given.len() {
            return None;
        }
        let mut parts = Vec::new();
        for (wanted, given) in wanted.into_iter().zip(given) {
            if wanted.starts_with('{') && !given.is_empty() {
                parts.push(unescaped(given));
            } else if wanted != given {
                return None;
            }
        }
        Some(parts)
    }

    /// The first that fits, with its parts.
    pub(in crate::simulator) fn find(routes: &'static [Route], call: &Call) -> Option<(&'static Route, Vec<String>)> {
        routes.iter().find_map(|route| route.fits(call).map(|parts| (route, parts)))
    }
}

/// A segment of a path with its `%xx` read.
fn unescaped(segment: &str) -> String {
    let escaped = segment.replace('+', "%2B");
    url::form_urlencoded::parse(escaped.as_bytes()).next().map_or(Cow::Borrowed(segment), |(text, _)| text).into_owned()
}

/// What is said in return.
#[derive(Clone, Debug, PartialEq)]
pub struct Say {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<Value>,
}

impl Say {
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body: Some(body) }
    }

    pub fn ok(body: Value) -> Self {
        Self::json(200, body)
    }

    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: None }
    }

    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static ROUTES: [Route; 2] =
        [Route::new("GET /ws/listings", Class::Read, &[]), Route::new("POST /ws/listings/{uuid}", Class::Write, &["all"])];

    #[test]
    fn a_route_is_found_by_method_and_path() {
        let call = |method: &str, path: &str| Call { method: method.into(), path: path.into(), ..Call::default() };
        let found = |method, path| Route::find(&ROUTES, &call(method, path)).map(|(route, parts)| (route.class, parts));
        assert_eq!(found("GET", "/ws/listings"), Some((Class::Read, vec![])));
        assert_eq!(found("POST", "/ws/listings/a%2Fb+c"), Some((Class::Write, vec!["a/b+c".to_owned()])));
        assert_eq!(
            (found("POST", "/ws/listings"), found("POST", "/ws/listings/"), found("PUT", "/ws/listings")),
            (None, None, None)
        );
    }
}
