//! `[[marketplaces]]`: the seller accounts that the file declares. What it leaves out stays as the API or the adapter has it,
//! so everything but the code and the adapter is optional.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::api::plain;
use super::choice::{StockFeed, choice};
use super::finding::{Fault, join};
use super::parse::{boolean, text};
use super::policy::PolicySettings;
use super::secret::Secret;
use super::section::{Context, Section};
use super::tree::{Node, Table, Value};
use crate::domain::money::Currency;

/// The marketplace that always exists: the seller's own storefront.
pub const STORE: &str = "store";

#[derive(Clone, Debug)]
pub struct MarketplaceSettings {
    /// `[a-z0-9-]{2,32}`, unique.
    pub code: String,
    /// Always present but for `store`.
    pub adapter: Option<String>,
    pub name: Option<String>,
    /// http or https, without a trailing slash, user, query or fragment.
    pub base_url: Option<String>,
    pub stock_feed: Option<StockFeed>,
    pub enabled: Option<bool>,
    pub webhook_enabled: Option<bool>,
    pub currency: Option<Currency>,
    /// What the adapter's `[account]` names.
    pub account: serde_json::Map<String, serde_json::Value>,
    /// In the order written; several = rotation.
    pub secrets: BTreeMap<String, Vec<Secret>>,
    pub policy: PolicySettings,
    /// The entry as it was written, without its secrets: what it names, the API may not change.
    pub source: serde_json::Map<String, serde_json::Value>,
}

impl MarketplaceSettings {
    /// One of which nothing but the code is said.
    pub fn named(code: &str) -> Self {
        Self {
            code: code.to_owned(),
            adapter: None,
            name: None,
            base_url: None,
            stock_feed: None,
            enabled: None,
            webhook_enabled: None,
            currency: None,
            account: serde_json::Map::new(),
            secrets: BTreeMap::new(),
            policy: PolicySettings::default(),
            source: serde_json::Map::new(),
        }
    }

    /// The first secret of that name, for what is sent rather than verified.
    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name).and_then(|secrets| secrets.first())
    }
}

/// Reads the whole list.
pub(super) fn read_all(s: &mut Section<'_, '_, '_>, allow_private: bool) -> Vec<MarketplaceSettings> {
    let Some(node) = s.node("marketplaces") else { return Vec::new() };
    let Value::List(entries) = &node.value else {
        s.fault("marketplaces", &node.at, format!("expected a list of tables ([[marketplaces]]), found {}", node.value.kind()));
        return Vec::new();
    };
    let mut all = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let Value::Table(table) = &entry.value else {
            s.fault("marketplaces", &entry.at, format!("expected a table, found {}", entry.value.kind()));
            continue;
        };
        let path = match table.get("code") {
            Some(Node { value: Value::Text(code), .. }) if is_code(code) => format!("marketplaces.{code}"),
            _ => format!("marketplaces[{index}]"),
        };
        all.push(s.context.read(&path, &entry.at, table, |s| read_one(s, allow_private)));
    }
    all
}

/// Codes that one source declares twice. Across sources the same code means the same marketplace.
pub(super) fn duplicates(table: &Table) -> Vec<Fault> {
    let Some(Node { value: Value::List(entries), .. }) = table.get("marketplaces") else { return Vec::new() };
    let mut seen: BTreeMap<&str, &Node> = BTreeMap::new();
    let mut faults = Vec::new();
    for entry in entries {
        let Value::Table(fields) = &entry.value else { continue };
        let Some(node @ Node { value: Value::Text(code), .. }) = fields.get("code") else { continue };
        if let Some(first) = seen.get(code.as_str()) {
            faults.push(node.at.fault("marketplaces.code", format!("{code:?} is declared twice, first at {}", first.at)));
        } else {
            seen.insert(code, node);
        }
    }
    faults
}

pub(super) fn read_one(s: &mut Section<'_, '_, '_>, allow_private: bool) -> MarketplaceSettings {
    let code = s.need("code", code);
    let is_store = code == STORE;
    let marketplace = MarketplaceSettings {
        adapter: s.opt("adapter", adapter),
        name: s.opt("name", name),
        base_url: base_url(s, allow_private),
        stock_feed: s.opt("stock_feed", choice),
        enabled: s.opt("enabled", boolean),
        webhook_enabled: s.opt("webhook_enabled", boolean),
        currency: s.opt("currency", |node| Currency::parse(&text(node)?).map_err(|error| error.to_string())),
        account: account(s),
        secrets: secrets(s),
        policy: s.table("policy", PolicySettings::read).unwrap_or_default(),
        source: plain(s.whole()),
        code,
    };
    if is_store {
        for key in ["adapter", "base_url", "stock_feed", "webhook_enabled", "account", "secrets"] {
            if let Some(node) = s.node(key) {
                s.fault(key, &node.at, "the built-in store has none; its name, currency, enabled and policy may be set");
            }
        }
    } else if s.node("adapter").is_none() {
        let at = s.at.clone();
        s.fault("adapter", &at, "is missing; `stockhub adapters list` names them");
    }
    marketplace
}

fn is_code(code: &str) -> bool {
    (2..=32).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn code(node: &Node) -> Result<String, String> {
    let code = text(node)?;
    match code.as_str() {
        "marketplaces" => Err("\"marketplaces\" is reserved: /webhooks/marketplaces/… is an address of its own".to_owned()),
        plain if is_code(plain) => Ok(code),
        other => Err(format!("must be 2 to 32 of a-z, 0-9 and -, is {other:?}")),
    }
}

fn adapter(node: &Node) -> Result<String, String> {
    let id = text(node)?;
    if is_code(&id) { Ok(id) } else { Err(format!("must be an adapter's id (a-z, 0-9 and -), is {id:?}")) }
}

fn name(node: &Node) -> Result<String, String> {
    let name = text(node)?;
    let plain = (1..=100).contains(&name.chars().count()) && name.trim() == name && !name.chars().any(char::is_control);
    if plain { Ok(name) } else { Err("must have 1 to 100 characters without outer space or control characters".to_owned()) }
}

fn base_url(s: &mut Section<'_, '_, '_>, allow_private: bool) -> Option<String> {
    let url = s.opt("base_url", http_url)?;
    let at = s.node("base_url").map_or_else(|| s.at.clone(), |node| node.at.clone());
    let is_private = is_private(&url);
    if is_private && !allow_private {
        s.fault("base_url", &at, "leads to a private or loopback address; security.allow_private_targets = true permits that");
    }
    if url.scheme() == "http" && !is_private {
        let warning = at.warning(join(&s.path, "base_url"), "is not encrypted; secrets and orders can be read on the way");
        s.context.warnings.push(warning);
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

fn http_url(node: &Node) -> Result<url::Url, String> {
    // The text is not repeated in a message: it may hold a password.
    let url = url::Url::parse(&text(node)?).map_err(|_| "must be a URL, like https://api.example.com".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("must begin with https:// or http://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password; those are secrets of the adapter".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path; ? and # have no place in it".to_owned());
    }
    Ok(url)
}

/// An address of the hub itself, or "".
pub(super) fn public_url(node: &Node) -> Result<String, String> {
    if text(node)?.is_empty() {
        return Ok(String::new());
    }
    Ok(http_url(node)?.as_str().trim_end_matches('/').to_owned())
}

/// What can be said without asking a name server; names are checked again when the connection is made.
fn is_private(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => is_private_address(address.into()),
        Some(url::Host::Ipv6(address)) => is_private_address(address.into()),
        None => false,
    }
}

fn is_private_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || a == 0 || is_shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn secrets(s: &mut Section<'_, '_, '_>) -> BTreeMap<String, Vec<Secret>> {
    let path = join(&s.path, "secrets");
    let Some(table) = s.free_table("secrets") else { return BTreeMap::new() };
    table
        .iter()
        .map(|(name, node)| {
            let path = join(&path, name);
            let values = s.context.secret_list(&path, node, true);
            if matches!(&node.value, Value::List(items) if items.is_empty()) {
                s.context.faults.push(node.at.fault(path, "is an empty list; leave the key out"));
            }
            (name.clone(), values)
        })
        .collect()
}

fn account(s: &mut Section<'_, '_, '_>) -> serde_json::Map<String, serde_json::Value> {
    let path = join(&s.path, "account");
    let Some(table) = s.free_table("account") else { return serde_json::Map::new() };
    json_map(s.context, &path, table)
}

fn json_map(context: &mut Context<'_>, path: &str, table: &Table) -> serde_json::Map<String, serde_json::Value> {
    table.iter().map(|(key, node)| (key.clone(), json(context, &join(path, key), node))).collect()
}

fn json(context: &mut Context<'_>, path: &str, node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Text(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Boolean(flag) => (*flag).into(),
        Value::List(items) => items.iter().map(|item| json(context, path, item)).collect(),
        Value::Table(table) => json_map(context, path, table).into(),
        Value::Moment => {
            context.faults.push(node.at.fault(path, "a date or time must be written as text"));
            serde_json::Value::Null
        }
    }
}
