//! What is wrong or doubtful in a configuration, and where it was written. All of it is collected before anything is said:
//! a person who fixes one fault should not meet the next one only at the next start.

use std::fmt;
use std::sync::Arc;

/// Faults printed at most; a machine-made file may hold a hundred thousand.
const SHOWN_MAX: usize = 100;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) source: Arc<str>,
    pub(crate) line: Option<u32>,
}

/// One reason why the configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, or `environment variable NAME`.
    pub source: String,
    /// Line in the file, counted from 1.
    pub line: Option<u32>,
    /// Dotted path like `server.bind`; empty where the whole source is meant.
    pub key: String,
    pub message: String,
}

/// Something that works but is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub source: String,
    pub line: Option<u32>,
    pub key: String,
    pub message: String,
}

/// Every fault of a configuration, never just the first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.faults))]
pub struct SettingsError {
    pub faults: Vec<Fault>,
}

impl Origin {
    pub(crate) fn of(source: &str, line: Option<u32>) -> Self {
        Self { source: source.into(), line }
    }

    pub(crate) fn fault(&self, key: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault { source: self.source.to_string(), line: self.line, key: key.into(), message: message.into() }
    }

    pub(crate) fn warning(&self, key: impl Into<String>, message: impl Into<String>) -> Warning {
        Warning { source: self.source.to_string(), line: self.line, key: key.into(), message: message.into() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.source),
            None => f.write_str(&self.source),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_finding(f, &self.source, self.line, &self.key, &self.message)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_finding(f, &self.source, self.line, &self.key, &self.message)
    }
}

fn write_finding(f: &mut fmt::Formatter<'_>, source: &str, line: Option<u32>, key: &str, message: &str) -> fmt::Result {
    f.write_str(source)?;
    if let Some(line) = line {
        write!(f, ":{line}")?;
    }
    if !key.is_empty() {
        write!(f, ": {key}")?;
    }
    write!(f, ": {message}")
}

fn lines(faults: &[Fault]) -> String {
    let mut text: Vec<String> = faults.iter().take(SHOWN_MAX).map(Fault::to_string).collect();
    if faults.len() > SHOWN_MAX {
        text.push(format!("and {} more", faults.len() - SHOWN_MAX));
    }
    text.join("\n")
}

/// A key as it may be printed: a quoted TOML key can hold line ends and terminal escapes.
pub(crate) fn shown_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if bare { key.to_owned() } else { format!("\"{}\"", key.escape_debug()) }
}

/// `server` + `bind` → `server.bind`.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { shown_key(key) } else { format!("{path}.{}", shown_key(key)) }
}

/// The candidate that was probably meant, if any is near enough not to mislead.
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    // Measuring the distance of a very long word costs time and never finds anything.
    if word.len() > 64 {
        return None;
    }
    let allowed = (word.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed || (word.len() >= 4 && candidate.starts_with(&word)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
