//! Where settings come from: files, and the environment as a value that a test can make up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::path::Path;

use super::finding::{Fault, Origin, join};
use super::tree::{self, Node, Table, Value};

/// Bytes of a configuration file that are read at most. A thousand marketplaces need less.
const FILE_MAX_BYTES: u64 = 1_048_576;

const PREFIX: &str = "STOCKHUB__";

/// Environment variables. Values may be secrets, so it prints only names.
#[derive(Clone, Default)]
pub struct Env {
    values: BTreeMap<String, String>,
    /// Set, but not UTF-8.
    unreadable: BTreeSet<String>,
}

impl Env {
    /// The environment of this process. For `main` alone; everything below takes an `Env`.
    pub fn of_process() -> Self {
        let mut env = Self::default();
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            match value.into_string() {
                Ok(value) => drop(env.values.insert(name, value)),
                Err(_) => drop(env.unreadable.insert(name)),
            }
        }
        env
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(super) fn is_unreadable(&self, name: &str) -> bool {
        self.unreadable.contains(name)
    }
}

impl From<BTreeMap<String, String>> for Env {
    fn from(values: BTreeMap<String, String>) -> Self {
        Self { values, unreadable: BTreeSet::new() }
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect::<BTreeMap<_, _>>().into()
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// The text of a configuration file, or why there is none.
pub(super) fn read_file(path: &Path) -> Result<String, Fault> {
    let name = path.to_string_lossy();
    let fault = |message: String| Origin::of(&name, None).fault("", message);
    let unreadable = |error: std::io::Error| {
        fault(match error.kind() {
            std::io::ErrorKind::NotFound => "no such file".to_owned(),
            std::io::ErrorKind::IsADirectory => "is a directory, not a file".to_owned(),
            std::io::ErrorKind::PermissionDenied => "may not be read by this user".to_owned(),
            kind => format!("cannot be read: {kind}"),
        })
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(fault(format!("is larger than {FILE_MAX_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1;
        Origin::of(&name, u32::try_from(line).ok()).fault("", "is not UTF-8 text")
    })
}

/// The settings that the environment makes, as a table to lay over the files.
pub(super) fn from_env(env: &Env, faults: &mut Vec<Fault>) -> Table {
    let mut table = Table::new();
    for name in env.unreadable.iter().filter(|name| name.starts_with(PREFIX)) {
        faults.push(env_origin(name).fault("", "is not UTF-8 text"));
    }
    for (name, raw) in &env.values {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let at = env_origin(name);
        let lower = path.to_ascii_lowercase();
        if path != path.to_ascii_uppercase() {
            faults.push(at.fault("", format!("is written {PREFIX}{}", path.to_ascii_uppercase().escape_debug())));
        } else if path == "MARKETPLACES" {
            table.insert(lower, tree::parse_value(at, "marketplaces", raw));
        } else if path.starts_with("MARKETPLACES_") {
            faults.push(at.fault("", "marketplaces are set in a file, or all at once as a TOML list in STOCKHUB__MARKETPLACES"));
        } else if let Some((section, key)) =
            lower.split_once("__").filter(|(s, k)| !s.is_empty() && !k.is_empty() && !k.contains("__"))
        {
            let node = tree::parse_value(at.clone(), &join(section, key), raw);
            let section =
                table.entry(section.to_owned()).or_insert_with(|| Node { value: Value::Table(Table::new()), at, raw: None });
            if let Value::Table(entries) = &mut section.value {
                entries.insert(key.to_owned(), node);
            }
        } else {
            faults.push(at.fault("", "must have the form STOCKHUB__SECTION__KEY, like STOCKHUB__SERVER__BIND"));
        }
    }
    table
}

fn env_origin(name: &str) -> Origin {
    Origin::of(&format!("environment variable {}", name.escape_debug()), None)
}
