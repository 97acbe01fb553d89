//! What the sources say, as one tree in which every value knows the file and line it came from. Typed reading comes after
//! merging, so that a fault names the source that is really in force.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::finding::{Fault, Origin, join};

pub(crate) type Table = BTreeMap<String, Node>;

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// A date or time: no setting is one, so its value is not kept.
    Moment,
    List(Vec<Node>),
    Table(Table),
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Origin,
    /// The text of an environment variable as it was given: `1234` may be meant as text, which only the reader of the key knows.
    pub(crate) raw: Option<String>,
}

impl Value {
    /// The kind, as people call it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a decimal number",
            Self::Boolean(_) => "true or false",
            Self::Moment => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Parses one TOML document. Faults are added to `faults`; what could be read is returned all the same.
pub(crate) fn parse(source: &str, text: &str, faults: &mut Vec<Fault>) -> Table {
    let lines = Lines::of(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Converter { source: Origin::of(source, None), lines, faults: Vec::new() };
    let broken: Vec<Fault> = errors
        .iter()
        .map(|error| {
            let at = error.span().map_or_else(|| reader.source.clone(), |span| reader.origin(span.start));
            at.fault("", error.message().replace('\n', " "))
        })
        .collect();
    let table = reader.table("", document.into_inner());
    faults.extend(broken);
    faults.append(&mut reader.faults);
    table
}

/// Reads the value of an environment variable: TOML where it is TOML, else text.
pub(crate) fn parse_value(at: Origin, key: &str, raw: &str) -> Node {
    let mut reader = Converter { source: at.clone(), lines: Lines::none(), faults: Vec::new() };
    let value = DeValue::parse(raw).ok().and_then(|value| reader.value(key, value.into_inner()));
    // What is TOML but not a value of ours (a number of forty digits) is text: it may be a token.
    let value = value.filter(|_| reader.faults.is_empty()).unwrap_or_else(|| Value::Text(raw.to_owned()));
    Node { value, at, raw: Some(raw.to_owned()) }
}

/// Where the value of `section.key` came from.
pub(crate) fn origin(tree: &Table, dotted: &str) -> Origin {
    let (section, key) = dotted.split_once('.').unwrap_or((dotted, ""));
    let section = tree.get(section);
    let node = match section.map(|node| &node.value) {
        Some(Value::Table(entries)) => entries.get(key),
        _ => None,
    };
    node.or(section).map_or_else(|| Origin::of("configuration", None), |node| node.at.clone())
}

/// Lays `over` on `base`: tables by key, marketplaces by code, everything else as a whole.
pub(crate) fn merge(base: &mut Table, over: Table) {
    for (key, node) in over {
        match (base.get_mut(&key), node) {
            (Some(Node { value: Value::Table(below), .. }), Node { value: Value::Table(above), .. }) => merge(below, above),
            (Some(Node { value: Value::List(below), .. }), Node { value: Value::List(above), .. }) if key == "marketplaces" => {
                merge_by_code(below, above);
            }
            (_, node) => {
                base.insert(key, node);
            }
        }
    }
}

fn merge_by_code(below: &mut Vec<Node>, above: Vec<Node>) {
    let known: BTreeMap<String, usize> =
        below.iter().enumerate().rev().filter_map(|(i, node)| code_of(node).map(|code| (code.to_owned(), i))).collect();
    for node in above {
        let place = code_of(&node).and_then(|code| known.get(code)).and_then(|i| below.get_mut(*i));
        match (place, node) {
            (Some(Node { value: Value::Table(entry), .. }), Node { value: Value::Table(more), .. }) => merge(entry, more),
            (_, node) => below.push(node),
        }
    }
}

fn code_of(node: &Node) -> Option<&str> {
    let Value::Table(entry) = &node.value else { return None };
    match entry.get("code") {
        Some(Node { value: Value::Text(code), .. }) => Some(code),
        _ => None,
    }
}

struct Converter {
    source: Origin,
    lines: Lines,
    faults: Vec<Fault>,
}

impl Converter {
    fn origin(&self, offset: usize) -> Origin {
        Origin { source: self.source.source.clone(), line: self.lines.line(offset) }
    }

    fn table(&mut self, path: &str, table: DeTable<'_>) -> Table {
        let mut entries = Table::new();
        for (key, value) in table {
            let name = key.get_ref().clone().into_owned();
            let at = self.origin(key.span().start);
            if let Some(value) = self.spanned(&join(path, &name), value) {
                entries.insert(name, Node { value, at, raw: None });
            }
        }
        entries
    }

    fn spanned(&mut self, path: &str, value: Spanned<DeValue<'_>>) -> Option<Value> {
        let offset = value.span().start;
        let before = self.faults.len();
        let value = self.value(path, value.into_inner());
        let line = self.lines.line(offset);
        for fault in self.faults.iter_mut().skip(before).filter(|fault| fault.line.is_none()) {
            fault.line = line;
        }
        value
    }

    fn value(&mut self, path: &str, value: DeValue<'_>) -> Option<Value> {
        match value {
            DeValue::String(text) => Some(Value::Text(text.into_owned())),
            DeValue::Boolean(flag) => Some(Value::Boolean(flag)),
            DeValue::Datetime(_) => Some(Value::Moment),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::Integer);
                if parsed.is_none() {
                    self.faults.push(self.source.fault(path, "number is too large"));
                }
                parsed
            }
            DeValue::Float(number) => {
                let parsed = number.as_str().parse().ok().map(Value::Float);
                if parsed.is_none() {
                    self.faults.push(self.source.fault(path, "is not a number"));
                }
                parsed
            }
            DeValue::Array(items) => {
                let mut list = Vec::new();
                for (index, item) in items.into_iter().enumerate() {
                    let at = self.origin(item.span().start);
                    let Some(value) = self.spanned(&format!("{path}[{index}]"), item) else { continue };
                    list.push(Node { value, at, raw: None });
                }
                Some(Value::List(list))
            }
            DeValue::Table(table) => Some(Value::Table(self.table(path, table))),
        }
    }
}

/// Where lines begin, so that a byte offset becomes a line number without reading the text again.
struct Lines(Option<Vec<usize>>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(Some(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i).collect()))
    }

    const fn none() -> Self {
        Self(None)
    }

    fn line(&self, offset: usize) -> Option<u32> {
        let ends = self.0.as_ref()?;
        u32::try_from(ends.partition_point(|end| *end < offset) + 1).ok()
    }
}
