//! One value of the tree → one typed value, or what is wrong with it in words. Messages name what was expected.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::duration::parse_duration;
use super::tree::{Node, Value};

fn expected<T>(what: &str, node: &Node) -> Result<T, String> {
    Err(format!("expected {what}, found {}", node.value.kind()))
}

pub(crate) fn text(node: &Node) -> Result<String, String> {
    match (&node.value, &node.raw) {
        (Value::Text(text), _) => Ok(text.clone()),
        // From the environment `1234` is text where text is asked for.
        (_, Some(raw)) => Ok(raw.clone()),
        _ => expected("text", node),
    }
}

pub(crate) fn boolean(node: &Node) -> Result<bool, String> {
    match node.value {
        Value::Boolean(flag) => Ok(flag),
        _ => expected("true or false", node),
    }
}

/// A whole number within `range`.
pub(crate) fn whole<T: TryFrom<i64>>(range: RangeInclusive<i64>) -> impl Fn(&Node) -> Result<T, String> {
    move |node| {
        let Value::Integer(number) = node.value else { return expected("a whole number", node) };
        let fits = range.contains(&number).then(|| T::try_from(number).ok()).flatten();
        fits.ok_or_else(|| format!("must be from {} to {}, is {number}", range.start(), range.end()))
    }
}

/// A whole number within `range`, or `"none"`.
pub(crate) fn whole_or_none<T: TryFrom<i64>>(range: RangeInclusive<i64>) -> impl Fn(&Node) -> Result<Option<T>, String> {
    move |node| match &node.value {
        Value::Text(word) if word == "none" => Ok(None),
        Value::Integer(_) => whole(range.clone())(node).map(Some),
        _ => expected("a whole number or \"none\"", node),
    }
}

/// `true`, `false` or `"auto"`.
pub(crate) fn boolean_or_auto(node: &Node) -> Result<Option<bool>, String> {
    match &node.value {
        Value::Boolean(flag) => Ok(Some(*flag)),
        Value::Text(word) if word == "auto" => Ok(None),
        _ => expected("true, false or \"auto\"", node),
    }
}

/// A span of time as text, at least `least`.
pub(crate) fn duration(least: Duration) -> impl Fn(&Node) -> Result<Duration, String> {
    move |node| {
        let Value::Text(text) = &node.value else { return expected("text with a unit, like \"30s\"", node) };
        let span = parse_duration(text).map_err(|error| error.to_string())?;
        if span < least { Err(format!("must be at least {}ms", least.as_millis())) } else { Ok(span) }
    }
}

/// A list; every item that `item` refuses is named.
pub(crate) fn list<T>(item: impl Fn(&str) -> Result<T, String>) -> impl Fn(&Node) -> Result<Vec<T>, String> {
    move |node| {
        let texts: Vec<&str> = match (&node.value, &node.raw) {
            (Value::List(items), _) => items.iter().map(text_in_list).collect::<Result<_, _>>()?,
            (_, Some(raw)) if raw.is_empty() => Vec::new(),
            (_, Some(raw)) if raw.trim_start().starts_with('[') => {
                return Err("is not a TOML list, like [\"a\", \"b\"]".to_owned());
            }
            (Value::Text(one), Some(_)) => vec![one],
            (_, Some(raw)) => vec![raw],
            _ => return expected("a list of texts", node),
        };
        let (good, bad): (Vec<_>, Vec<_>) =
            texts.into_iter().map(|text| item(text).map_err(|message| format!("{text:?} {message}"))).partition(Result::is_ok);
        if bad.is_empty() {
            Ok(good.into_iter().filter_map(Result::ok).collect())
        } else {
            Err(bad.into_iter().filter_map(Result::err).collect::<Vec<_>>().join("; "))
        }
    }
}

fn text_in_list(node: &Node) -> Result<&str, String> {
    match &node.value {
        Value::Text(text) => Ok(text),
        _ => expected("a list of texts", node).map_err(|message| format!("{message} in it")),
    }
}

/// Where the server listens when the setting is faulty: loopback, so that no check adds a fault of its own.
pub(crate) const BIND_PLACEHOLDER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// `127.0.0.1:8080`, `[::1]:8080`. Names are not resolved: what a hub listens on must not depend on a name server.
pub(crate) fn bind(node: &Node) -> Result<SocketAddr, String> {
    let text = text(node)?;
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("{text:?} has no port; write an address and a port, like 127.0.0.1:8080 or [::1]:8080"));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("{text:?} has no port; write an address and a port, like 127.0.0.1:8080"));
    };
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{text:?} has no port; write an address and a port, like 127.0.0.1:8080"));
    }
    if port.parse::<u16>().is_err() {
        return Err(format!("port {port} does not exist; ports are 0 (any free one) to 65535"));
    }
    Err(match host {
        "" => {
            format!("{text:?} has no address; write 0.0.0.0:{port} for all interfaces or 127.0.0.1:{port} for this machine alone")
        }
        "localhost" => format!("names are not resolved; write 127.0.0.1:{port}"),
        host => format!("{host:?} is not an IP address (names are not resolved); write one like 127.0.0.1:{port}"),
    })
}
