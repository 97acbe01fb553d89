//! One value of an adapter file → one typed value, or what is wrong with it in words.

use std::time::Duration;

use serde_json::Value as Json;

use super::intern::intern;
use super::pointer::{Elements, Match, Pick, Pointer, Test, TimeForm, TimePick, Where};
use super::template::{Place, Template};
use crate::marketplaces::wire::Method;
use crate::settings::finding::{join, nearest};
use crate::settings::parse;
use crate::settings::section::Section;
use crate::settings::tree::{Node, Table, Value};

pub type In<'t, 'c, 'e> = Section<'t, 'c, 'e>;

pub fn text(node: &Node) -> Result<String, String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        other => Err(format!("expected text, found {}", other.kind())),
    }
}

pub fn kept(node: &Node) -> Result<&'static str, String> {
    text(node).map(|text| intern(&text))
}

/// `[a-z0-9_]+`, as names of accounts, secrets and refs are written.
fn name(text: &str) -> Result<String, String> {
    let bare = text.strip_suffix('?').unwrap_or(text);
    let good = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if good { Ok(text.to_owned()) } else { Err("must be of a-z, 0-9 and _".to_owned()) }
}

pub fn names(node: &Node) -> Result<Vec<String>, String> {
    parse::list(name)(node)
}

pub fn texts(node: &Node) -> Result<Vec<String>, String> {
    parse::list(|text| Ok(text.to_owned()))(node)
}

/// Texts, numbers or both, as text.
pub fn words(node: &Node) -> Result<Vec<String>, String> {
    let Value::List(items) = &node.value else { return Err(format!("expected a list, found {}", node.value.kind())) };
    items.iter().map(word).collect()
}

pub fn word(node: &Node) -> Result<String, String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        other => Err(format!("expected text or a number, found {}", other.kind())),
    }
}

/// One of a few words.
pub fn choice<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Node) -> Result<T, String> {
    move |node| {
        let said = text(node)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == said) {
            return Ok(*value);
        }
        let all = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        match nearest(&said, words.iter().map(|(word, _)| *word)) {
            Some(meant) => Err(format!("is {said:?}; did you mean {meant}? (one of {all})")),
            None => Err(format!("must be one of {all}, is {said:?}")),
        }
    }
}

pub fn span(node: &Node) -> Result<Duration, String> {
    parse::duration(Duration::ZERO)(node)
}

pub fn template(place: Place) -> impl Fn(&Node) -> Result<Template, String> {
    move |node| Template::parse(&text(node)?, place)
}

/// A table of templates under names of the file's own.
pub fn templates(s: &mut In<'_, '_, '_>, key: &'static str, place: Place) -> Vec<(String, Template)> {
    let path = join(&s.path, key);
    let Some(table) = s.free_table(key) else { return Vec::new() };
    let mut all = Vec::new();
    for (name, node) in table {
        let said = match &node.value {
            Value::Integer(number) => Ok(number.to_string()),
            _ => text(node),
        };
        match said.and_then(|text| Template::parse(&text, place)) {
            Ok(template) => all.push((name.clone(), template)),
            Err(message) => s.context.faults.push(node.at.fault(join(&path, name), message)),
        }
    }
    all
}

pub fn pointer(node: &Node) -> Result<Pointer, String> {
    Pointer::parse(&text(node)?)
}

pub fn pointers(node: &Node) -> Result<Vec<Pointer>, String> {
    match &node.value {
        Value::List(items) => items.iter().map(pointer).collect(),
        _ => pointer(node).map(|one| vec![one]),
    }
}

pub fn place(node: &Node) -> Result<Where, String> {
    place_of(&text(node)?)
}

fn place_of(text: &str) -> Result<Where, String> {
    match text.strip_prefix("header:") {
        Some(name) => Ok(Where::Header(intern(&name.to_ascii_lowercase()))),
        None => Pointer::parse(text).map(Where::Pointer),
    }
}

pub fn places(node: &Node) -> Result<Vec<Where>, String> {
    let Value::List(items) = &node.value else { return Err(format!("expected a list, found {}", node.value.kind())) };
    items.iter().map(place).collect()
}

/// A JSON value.
pub fn json(node: &Node) -> Result<Json, String> {
    Ok(match &node.value {
        Value::Text(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Boolean(flag) => (*flag).into(),
        other => return Err(format!("expected text, a number or true/false, found {}", other.kind())),
    })
}

/// What one table may hold, and nothing else.
fn only(table: &Table, known: &[&'static str]) -> Result<(), String> {
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(match nearest(key, known.iter().copied()) {
            Some(meant) => format!("unknown key {key:?}; did you mean {meant}?"),
            None => format!("unknown key {key:?}; there are {}", known.join(", ")),
        }),
    }
}

/// A pointer, a list of them (joined), `{const}`, `{pointer, minus}` or `{pointer, when_null, otherwise}`.
pub fn pick(node: &Node) -> Result<Pick, String> {
    match &node.value {
        Value::Text(text) => place_of(text).map(Pick::At),
        Value::List(_) => places(node).map(Pick::Joined),
        Value::Table(table) => {
            only(table, &["const", "pointer", "minus", "when_null", "otherwise", "tail", "as"])?;
            pick_table(table)
        }
        other => Err(format!("expected a pointer or a table, found {}", other.kind())),
    }
}

fn pick_table(table: &Table) -> Result<Pick, String> {
    let get = |key: &str| table.get(key);
    match (get("const"), get("pointer"), get("minus"), get("when_null"), get("otherwise")) {
        (Some(value), None, None, None, None) => json(value).map(Pick::Const),
        (None, Some(from), Some(less), None, None) => Ok(Pick::Minus(pointer(from)?, pointer(less)?)),
        (None, Some(at), None, Some(null), Some(otherwise)) => {
            Ok(Pick::WhenNull { at: pointer(at)?, null: json(null)?, otherwise: json(otherwise)? })
        }
        (None, Some(at), None, None, None) => {
            let tail = get("tail").map(parse::boolean).transpose()?.unwrap_or(false);
            place(at).map(if tail { Pick::Tail } else { Pick::At })
        }
        _ => Err("must be {const}, {pointer}, {pointer, tail}, {pointer, minus} or {pointer, when_null, otherwise}".to_owned()),
    }
}

/// A time: as `pick`, with `as` for how it is written.
pub fn time(node: &Node) -> Result<TimePick, String> {
    const FORMS: &[(&str, TimeForm)] = &[
        ("rfc3339", TimeForm::Rfc3339),
        ("utc", TimeForm::Utc),
        ("unix_s", TimeForm::UnixSeconds),
        ("unix_ms", TimeForm::UnixMillis),
    ];
    let form = match &node.value {
        Value::Table(table) => table.get("as").map(choice(FORMS)).transpose()?,
        _ => None,
    };
    Ok(TimePick { pick: pick(node)?, form: form.unwrap_or(TimeForm::Rfc3339) })
}

/// `[["offer_id", "/offer_id"], …]`: names, and where they stand.
pub fn named_picks(node: &Node) -> Result<Vec<(&'static str, Pick)>, String> {
    let Value::List(pairs) = &node.value else { return Err(format!("expected a list of pairs, found {}", node.value.kind())) };
    let pair = |node: &Node| match &node.value {
        Value::List(two) => match &two[..] {
            [name, at] => Ok((kept(name)?, pick(at)?)),
            _ => Err("each pair is a name and a pointer".to_owned()),
        },
        other => Err(format!("expected pairs of a name and a pointer, found {}", other.kind())),
    };
    pairs.iter().map(pair).collect()
}

/// The keys that say which elements are meant.
pub fn elements(s: &mut In<'_, '_, '_>) -> Elements {
    Elements {
        items: s.opt("items", pointer),
        explode: s.opt("explode", pointers).unwrap_or_default(),
        only: s.table("only", matcher).flatten(),
    }
}

/// `{pointer|header, equals|in|not}`.
pub fn matcher(s: &mut In<'_, '_, '_>) -> Option<Match> {
    let at = s.opt("pointer", pointer).map(Where::Pointer);
    let header = s.opt("header", |node| text(node).map(|name| Where::Header(intern(&name.to_ascii_lowercase()))));
    let equals = s.opt("equals", word).map(|one| Test::In(vec![one]));
    let within = s.opt("in", words).map(Test::In);
    let not = s.opt("not", word).map(Test::Not);
    let place = s.at.clone();
    match (at.xor(header), [equals, within, not].into_iter().flatten().collect::<Vec<_>>()) {
        (Some(at), mut tests) if tests.len() == 1 => tests.pop().map(|test| Match { at, test }),
        _ => {
            s.fault("", &place, "needs pointer or header, and one of equals, in, not");
            None
        }
    }
}

/// First and last status of a class: 409, "4xx".
pub fn statuses(node: &Node) -> Result<(u16, u16), String> {
    status_of(&word(node)?)
}

pub fn status_of(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("{text:?} is no HTTP status (like 409 or 4xx)");
    if let Some(hundred) = text.strip_suffix("xx") {
        let hundred: u16 = hundred.parse().map_err(|_| wrong())?;
        return if (1..=5).contains(&hundred) { Ok((hundred * 100, hundred * 100 + 99)) } else { Err(wrong()) };
    }
    let status: u16 = text.parse().map_err(|_| wrong())?;
    if (100..=599).contains(&status) { Ok((status, status)) } else { Err(wrong()) }
}

pub fn status_list(node: &Node) -> Result<Vec<(u16, u16)>, String> {
    match &node.value {
        Value::List(items) => items.iter().map(statuses).collect(),
        _ => statuses(node).map(|one| vec![one]),
    }
}

pub fn is_one_of(status: u16, ranges: &[(u16, u16)]) -> bool {
    ranges.iter().any(|(from, to)| (*from..=*to).contains(&status))
}

/// `POST /v2/stocks`: the method, and the text of the path.
pub fn request_line(line: &str) -> Result<(Method, String), String> {
    let (method, path) = line.split_once(' ').ok_or("must be a method and a path, like \"GET /v1/stocks\"")?;
    let method = match method {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        other => return Err(format!("{other:?} is no method; there are GET, POST, PUT, PATCH, DELETE")),
    };
    let bad = !path.starts_with('/') || path.contains("//") || path.split('/').any(|part| part == "." || part == "..");
    if bad || path.contains(['?', '#', ' ']) {
        return Err("the path must begin with one /, and hold no ?, # or space (there is query for that)".to_owned());
    }
    Ok((method, path.to_owned()))
}
