//! The configuration in force, as TOML that can be read back but for its secrets, each value that is not a default with the
//! place it came from.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::finding::join;
use super::secret::{ConnectionUrl, SecretRef};
use super::section::SecretUse;
use super::tree::{Node, Table, Value};

pub(super) fn effective(tree: &Table, defaults: &str, secrets: &[SecretUse]) -> String {
    let labels = secrets.iter().map(|used| (used.path.as_str(), label(used))).collect();
    let mut printer = Printer { defaults, labels, out: String::new() };
    for (name, node) in tree {
        match &node.value {
            Value::List(entries) if name == "marketplaces" => entries.iter().for_each(|entry| printer.marketplace(entry)),
            Value::Table(table) => printer.section(name, name, table),
            _ => {}
        }
    }
    printer.out
}

fn label(used: &SecretUse) -> String {
    format!("*** ({}, sha256 {})", used.reference, used.secret.fingerprint())
}

struct Printer<'p> {
    defaults: &'p str,
    labels: BTreeMap<&'p str, String>,
    out: String,
}

impl Printer<'_> {
    fn marketplace(&mut self, entry: &Node) {
        let Value::Table(table) = &entry.value else { return };
        let code = match table.get("code") {
            Some(Node { value: Value::Text(code), .. }) => code.as_str(),
            _ => "",
        };
        self.line("\n[[marketplaces]]");
        self.entries(&join("marketplaces", code), table);
        for (name, node) in table {
            if let Value::Table(below) = &node.value {
                self.section(&join("marketplaces", name), &join(&join("marketplaces", code), name), below);
            }
        }
    }

    fn section(&mut self, heading: &str, path: &str, table: &Table) {
        self.line(&format!("\n[{heading}]"));
        self.entries(path, table);
        for (name, node) in table {
            if let Value::Table(below) = &node.value {
                self.section(&join(heading, name), &join(path, name), below);
            }
        }
    }

    fn entries(&mut self, path: &str, table: &Table) {
        for (name, node) in table.iter().filter(|(_, node)| !matches!(node.value, Value::Table(_))) {
            let value = self.value(&join(path, name), node);
            let from =
                if *node.at.source == *self.defaults { String::new() } else { format!("  # {}", one_line(&node.at.to_string())) };
            self.line(&format!("{} = {value}{from}", super::finding::shown_key(name)));
        }
    }

    fn value(&self, path: &str, node: &Node) -> toml::Value {
        match &node.value {
            Value::List(items) => {
                toml::Value::Array(items.iter().enumerate().map(|(i, item)| self.value(&format!("{path}[{i}]"), item)).collect())
            }
            Value::Table(table) => {
                toml::Value::Table(table.iter().map(|(key, node)| (key.clone(), self.value(&join(path, key), node))).collect())
            }
            _ if is_secret(path) => self.secret(path, node),
            Value::Text(text) if path == "database.url" || path == "bus.url" => toml::Value::String(shown_url(text)),
            Value::Text(text) => toml::Value::String(text.clone()),
            Value::Integer(number) => toml::Value::Integer(*number),
            Value::Float(number) => toml::Value::Float(*number),
            Value::Boolean(flag) => toml::Value::Boolean(*flag),
            // No setting is a date, so loading has refused it.
            Value::Moment => toml::Value::String(String::new()),
        }
    }

    fn secret(&self, path: &str, node: &Node) -> toml::Value {
        let is_empty = matches!(&node.value, Value::Text(text) if text.is_empty());
        let label = if is_empty { "" } else { self.labels.get(path).map_or("***", String::as_str) };
        toml::Value::String(label.to_owned())
    }

    fn line(&mut self, text: &str) {
        let skip = if self.out.is_empty() { text.trim_start() } else { text };
        // Writing to a String does not fail.
        let _ = writeln!(self.out, "{skip}");
    }
}

/// Decided by where a value stands, not by whether it was resolved: what is forgotten elsewhere stays hidden here.
fn is_secret(path: &str) -> bool {
    path.starts_with("auth.")
        || path == "security.master_key"
        || (path.starts_with("marketplaces.") && path.contains(".secrets."))
}

fn shown_url(text: &str) -> String {
    match SecretRef::parse(text) {
        SecretRef::Literal(url) => ConnectionUrl::new(url).to_string(),
        reference => reference.to_string(),
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
