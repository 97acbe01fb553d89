//! What the API says of a marketplace, read by the rules that hold for a file: one reader, one set of messages. The file wins for
//! what it names, key by key; the rest is the API's.

use serde_json::{Map, Value as Json};

use super::finding::{Fault, Origin};
use super::marketplace::{MarketplaceSettings, read_one};
use super::section::Context;
use super::source::Env;
use super::tree::{Node, Table, Value};

/// Keys of an entry that hold more keys, each of which is set by itself.
const TABLES: [&str; 2] = ["account", "policy"];

impl MarketplaceSettings {
    /// Reads a JSON object as a file's entry would be. Secrets are no part of it.
    pub fn from_json(entry: &Map<String, Json>, allow_private: bool) -> Result<Self, Vec<Fault>> {
        let env: Env = std::iter::empty::<(String, String)>().collect();
        let at = Origin::of("request", None);
        let table = table(entry, &at);
        let mut context =
            Context { env: &env, faults: Vec::new(), warnings: Vec::new(), secrets: Vec::new(), known: Default::default() };
        let read = context.read("", &at, &table, |s| read_one(s, allow_private));
        if context.faults.is_empty() { Ok(read) } else { Err(context.faults) }
    }

    /// This entry with the API's laid beneath: what this one does not name is taken from there. Secrets stay this one's.
    pub fn over(&self, below: &Map<String, Json>, allow_private: bool) -> Result<Self, Vec<Fault>> {
        if below.is_empty() {
            return Ok(self.clone());
        }
        let mut whole = below.clone();
        for (key, value) in &self.source {
            match (whole.get_mut(key), value) {
                (Some(Json::Object(below)), Json::Object(above)) if TABLES.contains(&key.as_str()) => {
                    below.extend(above.clone());
                }
                _ => drop(whole.insert(key.clone(), value.clone())),
            }
        }
        let read = Self::from_json(&whole, allow_private)?;
        Ok(Self { adapter: self.adapter.clone().or(read.adapter), secrets: self.secrets.clone(), enabled: self.enabled, ..read })
    }

    /// Which of these keys this entry names, dotted: the API may not change them.
    pub fn named_in(&self, change: &Map<String, Json>) -> Vec<String> {
        let mut named = Vec::new();
        for (key, value) in change {
            match (self.source.get(key), value) {
                (Some(Json::Object(mine)), Json::Object(theirs)) if TABLES.contains(&key.as_str()) => {
                    named.extend(theirs.keys().filter(|name| mine.contains_key(*name)).map(|name| format!("{key}.{name}")));
                }
                (Some(_), _) => named.push(key.clone()),
                (None, _) => {}
            }
        }
        named
    }

    /// All keys this entry names, dotted.
    pub fn names(&self) -> Vec<String> {
        let inner = |key: &String, value: &Json| match value {
            Json::Object(table) if TABLES.contains(&key.as_str()) => table.keys().map(|name| format!("{key}.{name}")).collect(),
            _ => vec![key.clone()],
        };
        let named = self.source.iter().filter(|(key, _)| *key != "code").flat_map(|(key, value)| inner(key, value));
        named.chain(self.secrets.keys().map(|name| format!("secrets.{name}"))).collect()
    }
}

/// A table as JSON, without its secrets.
pub(super) fn plain(table: &Table) -> Map<String, Json> {
    table.iter().filter(|(key, _)| *key != "secrets").map(|(key, node)| (key.clone(), json(node))).collect()
}

fn json(node: &Node) -> Json {
    match &node.value {
        Value::Text(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Boolean(flag) => (*flag).into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Table(table) => Json::Object(table.iter().map(|(key, node)| (key.clone(), json(node))).collect()),
        // Refused where it is read.
        Value::Moment => Json::Null,
    }
}

fn table(object: &Map<String, Json>, at: &Origin) -> Table {
    object.iter().filter_map(|(key, value)| Some((key.clone(), node(value, at)?))).collect()
}

/// `None`: null, which is as if it were left out.
fn node(value: &Json, at: &Origin) -> Option<Node> {
    let value = match value {
        Json::Null => return None,
        Json::Bool(flag) => Value::Boolean(*flag),
        Json::String(text) => Value::Text(text.clone()),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Integer(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::Array(items) => Value::List(items.iter().filter_map(|item| node(item, at)).collect()),
        Json::Object(object) => Value::Table(table(object, at)),
    };
    Some(Node { value, at: at.clone(), raw: None })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(value: Json) -> Map<String, Json> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_request_is_read_as_a_file_is() {
        let good = entry(json!({"code": "uzum", "adapter": "generic", "base_url": "https://api.example.com/",
            "policy": {"clock_tolerance": "3s", "push_enabled": false}, "account": {"shop_id": 7}}));
        let read = MarketplaceSettings::from_json(&good, false).unwrap();
        assert_eq!((read.base_url.as_deref(), read.policy.push_enabled), (Some("https://api.example.com"), Some(false)));
        assert_eq!(read.account["shop_id"], 7);
        let bad = entry(json!({"code": "uzum", "adapter": "generic", "base_url": "http://169.254.169.254/", "colour": 1,
            "policy": {"clock_tolerance": 3}}));
        let faults = MarketplaceSettings::from_json(&bad, false).unwrap_err();
        let mut keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["base_url", "colour", "policy.clock_tolerance"]);
    }

    #[test]
    fn the_file_wins_key_by_key() {
        let file = entry(json!({"code": "uzum", "adapter": "generic", "name": "File", "policy": {"push_enabled": false}}));
        let file = MarketplaceSettings::from_json(&file, false).unwrap();
        let below = entry(json!({"code": "uzum", "name": "Api", "currency": "USD",
            "policy": {"push_enabled": true, "min_gap_ms": 9}}));
        let both = file.over(&below, false).unwrap();
        assert_eq!(
            (both.name.as_deref(), both.policy.push_enabled, both.policy.min_gap_ms),
            (Some("File"), Some(false), Some(9))
        );
        assert!(both.currency.is_some());
        assert_eq!(file.named_in(&below), ["code", "name", "policy.push_enabled"]);
        assert_eq!(file.names(), ["adapter", "name", "policy.push_enabled"]);
    }
}
