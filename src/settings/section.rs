//! Typed reading of one table. Every getter records its key, so what nobody asked for is unknown; a faulty value is recorded
//! and replaced by a placeholder, so that reading goes on to the next fault. Placeholders never leave `load`.

use std::collections::BTreeSet;

use super::finding::{Fault, Origin, Warning, join, nearest};
use super::secret::{ConnectionUrl, Secret, SecretRef};
use super::source::Env;
use super::tree::{Node, Table, Value};

/// A secret that the configuration names, remembered for the checks and for printing.
pub(crate) struct SecretUse {
    /// Like `marketplaces.uzum.secrets.webhook_secret[0]`.
    pub(crate) path: String,
    pub(crate) at: Origin,
    /// Written in a file as it is, rather than referred to.
    pub(crate) is_literal: bool,
    /// The reference, without the value.
    pub(crate) reference: String,
    pub(crate) secret: Secret,
}

/// What reading needs and what it finds.
pub(crate) struct Context<'e> {
    pub(crate) env: &'e Env,
    pub(crate) faults: Vec<Fault>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) secrets: Vec<SecretUse>,
    /// Dotted keys of the built-in defaults, to say where a misplaced key belongs.
    pub(crate) known: BTreeSet<String>,
}

/// One table being read.
pub(crate) struct Section<'t, 'c, 'e> {
    pub(crate) context: &'c mut Context<'e>,
    pub(crate) path: String,
    pub(crate) at: Origin,
    table: &'t Table,
    asked: Vec<&'static str>,
}

impl<'e> Context<'e> {
    pub(crate) fn new(env: &'e Env, faults: Vec<Fault>, known: BTreeSet<String>) -> Self {
        Self { env, faults, warnings: Vec::new(), secrets: Vec::new(), known }
    }

    /// Reads `table`, then reports the keys that `read` did not ask for.
    pub(crate) fn read<'t, T>(
        &mut self,
        path: &str,
        at: &Origin,
        table: &'t Table,
        read: impl FnOnce(&mut Section<'t, '_, 'e>) -> T,
    ) -> T {
        let mut section = Section { context: self, path: path.to_owned(), at: at.clone(), table, asked: Vec::new() };
        let result = read(&mut section);
        let asked = section.asked;
        for (key, node) in table.iter().filter(|(key, _)| !asked.contains(&key.as_str())) {
            let fault = node.at.fault(join(path, key), self.unknown(path, key, &asked));
            self.faults.push(fault);
        }
        result
    }

    fn unknown(&self, path: &str, key: &str, asked: &[&'static str]) -> String {
        if let Some(meant) = nearest(key, asked.iter().copied()) {
            return format!("unknown key; did you mean {meant}?");
        }
        // The last word of a dotted default: a key under the wrong heading.
        let elsewhere = |dotted: &&String| dotted.rsplit_once('.').is_some_and(|(_, last)| last == key);
        match self.known.iter().find(elsewhere) {
            Some(dotted) if dotted.starts_with("rule.") && path.starts_with("marketplaces") => {
                format!("unknown key; did you mean policy.{key}?")
            }
            Some(dotted) => format!("unknown key; did you mean {dotted}?"),
            None if path.is_empty() => "unknown section".to_owned(),
            None => "unknown key".to_owned(),
        }
    }
}

impl<'t, 'e> Section<'t, '_, 'e> {
    pub(crate) fn node(&mut self, key: &'static str) -> Option<&'t Node> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// All of the table, asked for or not.
    pub(super) fn whole(&self) -> &'t Table {
        self.table
    }

    pub(crate) fn fault(&mut self, key: &str, at: &Origin, message: impl Into<String>) {
        let fault = at.fault(join(&self.path, key), message);
        self.context.faults.push(fault);
    }

    /// A key that may be left out.
    pub(crate) fn opt<T>(&mut self, key: &'static str, parse: impl FnOnce(&Node) -> Result<T, String>) -> Option<T> {
        let node = self.node(key)?;
        match parse(node) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(key, &node.at, message);
                None
            }
        }
    }

    /// A key that the defaults hold.
    pub(crate) fn need<T: Default>(&mut self, key: &'static str, parse: impl FnOnce(&Node) -> Result<T, String>) -> T {
        self.need_or(key, T::default(), parse)
    }

    pub(crate) fn need_or<T>(&mut self, key: &'static str, placeholder: T, parse: impl FnOnce(&Node) -> Result<T, String>) -> T {
        if !self.table.contains_key(key) {
            let at = self.at.clone();
            self.fault(key, &at, "is missing");
        }
        self.opt(key, parse).unwrap_or(placeholder)
    }

    /// A table below this one. Where the source has something else there, the fault is recorded and nothing is read.
    pub(crate) fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'t, '_, 'e>) -> T) -> Option<T> {
        let node = self.node(key)?;
        let Value::Table(table) = &node.value else {
            self.fault(key, &node.at, format!("expected a table, found {}", node.value.kind()));
            return None;
        };
        Some(self.context.read(&join(&self.path, key), &node.at, table, read))
    }

    /// A table whose keys are the user's own.
    pub(crate) fn free_table(&mut self, key: &'static str) -> Option<&'t Table> {
        let node = self.node(key)?;
        match &node.value {
            Value::Table(table) => Some(table),
            other => {
                self.fault(key, &node.at, format!("expected a table, found {}", other.kind()));
                None
            }
        }
    }

    /// A list of tables below this one; each is read by itself.
    pub(crate) fn tables<T>(&mut self, key: &'static str, read: impl Fn(&mut Section<'t, '_, 'e>) -> T) -> Vec<T> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Value::List(items) = &node.value else {
            self.fault(key, &node.at, format!("expected a list of tables, found {}", node.value.kind()));
            return Vec::new();
        };
        let mut all = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", join(&self.path, key));
            match &item.value {
                Value::Table(table) => all.push(self.context.read(&path, &item.at, table, &read)),
                other => {
                    let fault = item.at.fault(path, format!("expected a table, found {}", other.kind()));
                    self.context.faults.push(fault);
                }
            }
        }
        all
    }

    /// One secret; "" stands for none.
    pub(crate) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        let node = self.node(key)?;
        let path = join(&self.path, key);
        match super::parse::text(node) {
            Ok(text) if text.is_empty() => None,
            Ok(text) => self.context.resolve(&path, node, &text),
            Err(message) => {
                self.fault(key, &node.at, message);
                None
            }
        }
    }

    /// A list of secrets.
    pub(crate) fn secrets(&mut self, key: &'static str) -> Vec<Secret> {
        let path = join(&self.path, key);
        self.node(key).map(|node| self.context.secret_list(&path, node, false)).unwrap_or_default()
    }

    /// A URL that may be given by reference, because it may hold a password.
    pub(crate) fn url(&mut self, key: &'static str, schemes: &[&str], may_be_empty: bool) -> ConnectionUrl {
        let url = self.need(key, super::parse::text);
        let at = self.table.get(key).map_or_else(|| self.at.clone(), |node| node.at.clone());
        let url = match SecretRef::parse(&url) {
            SecretRef::Literal(url) => url,
            reference => match reference.resolve(self.context.env) {
                Ok(secret) => secret.expose().to_owned(),
                Err(error) => {
                    self.fault(key, &at, error.to_string());
                    return ConnectionUrl::new("");
                }
            },
        };
        let url = ConnectionUrl::new(url);
        let is_fine = schemes.contains(&url.scheme()) || (may_be_empty && url.is_empty());
        if !is_fine {
            self.fault(
                key,
                &at,
                format!("must begin with {}", schemes.iter().map(|s| format!("{s}://")).collect::<Vec<_>>().join(" or ")),
            );
        }
        url
    }
}

impl Context<'_> {
    /// A secret or a list of them. Values are never part of a message.
    pub(crate) fn secret_list(&mut self, path: &str, node: &Node, single_allowed: bool) -> Vec<Secret> {
        let expected = if single_allowed { "a reference or a list of them" } else { "a list of references" };
        match (&node.value, &node.raw) {
            (Value::List(items), _) => {
                let mut secrets = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    match &item.value {
                        Value::Text(text) => secrets.extend(self.resolve(&path, item, text)),
                        other => self.faults.push(item.at.fault(path, format!("expected a reference, found {}", other.kind()))),
                    }
                }
                secrets
            }
            (Value::Text(text), None) if single_allowed => self.resolve(path, node, text).into_iter().collect(),
            (_, Some(raw)) if raw.trim_start().starts_with('[') => {
                self.faults.push(node.at.fault(path, "is not a TOML list, like [\"env:NAME\"]"));
                Vec::new()
            }
            (Value::Text(text), Some(_)) => self.resolve(path, node, text).into_iter().collect(),
            (_, Some(raw)) => self.resolve(path, node, raw).into_iter().collect(),
            (other, None) => {
                self.faults.push(node.at.fault(path, format!("expected {expected}, found {}", other.kind())));
                Vec::new()
            }
        }
    }

    fn resolve(&mut self, path: &str, node: &Node, text: &str) -> Option<Secret> {
        let reference = SecretRef::parse(text);
        match reference.resolve(self.env) {
            Ok(secret) => {
                self.secrets.push(SecretUse {
                    path: path.to_owned(),
                    at: node.at.clone(),
                    // A value in a variable is where references lead anyway.
                    is_literal: matches!(reference, SecretRef::Literal(_)) && node.at.line.is_some(),
                    reference: reference.to_string(),
                    secret: secret.clone(),
                });
                Some(secret)
            }
            Err(error) => {
                self.faults.push(node.at.fault(path, error.to_string()));
                None
            }
        }
    }
}
