//! Which adapters there are: those written in Rust, those read from the files compiled in, and those read from a directory of the
//! seller's own, which win. Made once, while the settings are read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use super::Adapter;
use super::connection::scheme_name;
use super::declared::Declared;
use super::generic::Generic;
use super::scheme::Scheme;
use super::shopify::Shopify;
use super::silent::Silent;
use crate::settings::finding::{Fault, Origin, nearest};

/// The files of `config/adapters`, as they were compiled in.
pub const FILES: &[(&str, &str)] = &[
    ("config/adapters/backmarket.toml", include_str!("../../config/adapters/backmarket.toml")),
    ("config/adapters/kaufland.toml", include_str!("../../config/adapters/kaufland.toml")),
    ("config/adapters/ozon.toml", include_str!("../../config/adapters/ozon.toml")),
    ("config/adapters/polling-generic.toml", include_str!("../../config/adapters/polling-generic.toml")),
    ("config/adapters/refurbed.toml", include_str!("../../config/adapters/refurbed.toml")),
    ("config/adapters/shopify.toml", include_str!("../../config/adapters/shopify.toml")),
    ("config/adapters/uzum.toml", include_str!("../../config/adapters/uzum.toml")),
    ("config/adapters/wildberries.toml", include_str!("../../config/adapters/wildberries.toml")),
    ("config/adapters/woocommerce.toml", include_str!("../../config/adapters/woocommerce.toml")),
    ("config/adapters/yandex-market.toml", include_str!("../../config/adapters/yandex-market.toml")),
];

#[derive(Clone)]
pub struct Catalogue(Arc<BTreeMap<&'static str, Entry>>);

/// Makes a coded adapter for one account.
type Make = fn(&Map<String, Value>) -> Arc<dyn Adapter>;

#[derive(Clone)]
enum Entry {
    /// Written in Rust; what it can do may depend on what the account asks for.
    Coded(Make),
    /// From a file, and the file's text.
    Declared(Arc<Declared>, Arc<str>),
    /// The same, with a part of it in Rust.
    Partly(Arc<Declared>, Arc<str>),
}

static BUILT_IN: LazyLock<(Catalogue, Vec<Fault>)> = LazyLock::new(|| {
    let coded: [(&'static str, Make); 3] = [
        ("generic", |account| Arc::new(Generic::for_account(account))),
        ("manual", |_| Arc::new(Silent::manual())),
        ("storefront", |_| Arc::new(Silent::storefront())),
    ];
    let mut entries: BTreeMap<&'static str, Entry> = coded.into_iter().map(|(id, make)| (id, Entry::Coded(make))).collect();
    let mut faults = Vec::new();
    for (name, text) in FILES {
        match Declared::of_file(name, text) {
            Ok(adapter) => drop(entries.insert(adapter.id(), entry(adapter, text))),
            Err(found) => faults.extend(found),
        }
    }
    (Catalogue(Arc::new(entries)), faults)
});

/// Shopify is data but for telling quantities; every other file is all there is.
fn entry(adapter: Declared, text: &str) -> Entry {
    let adapter = Arc::new(adapter);
    if adapter.id() == "shopify" { Entry::Partly(adapter, text.into()) } else { Entry::Declared(adapter, text.into()) }
}

/// Account values that the hub itself reads, whatever the adapter.
pub const SHARED_ACCOUNT: &[&str] = &[Scheme::ALLOWED_IPS, Scheme::WEBHOOK_URL, Scheme::PUBLIC_KEYS, "trust"];

impl Catalogue {
    /// What the program itself brings.
    pub fn built_in() -> Self {
        BUILT_IN.0.clone()
    }

    /// What is wrong with the files that were compiled in: nothing, in a program that was tested.
    pub fn built_in_faults() -> &'static [Fault] {
        &BUILT_IN.1
    }

    /// With these files too; one with a known id takes the place of that adapter.
    pub fn with_files(&self, files: &[(String, String)]) -> Result<Self, Vec<Fault>> {
        let mut entries = (*self.0).clone();
        let mut faults = Vec::new();
        let mut from: BTreeMap<&'static str, &str> = BTreeMap::new();
        for (name, text) in files {
            let adapter = match Declared::of_file(name, text) {
                Ok(adapter) => adapter,
                Err(found) => {
                    faults.extend(found);
                    continue;
                }
            };
            let fault = |message: String| Origin::of(name, None).fault("adapter.id", message);
            if let Some(first) = from.insert(adapter.id(), name) {
                faults.push(fault(format!("{:?} stands in {first} too", adapter.id())));
            }
            if matches!(entries.get(adapter.id()), Some(Entry::Coded(_) | Entry::Partly(..))) {
                faults.push(fault(format!("{:?} is part of the program and cannot be replaced by a file", adapter.id())));
            }
            entries.insert(adapter.id(), Entry::Declared(Arc::new(adapter), text.as_str().into()));
        }
        if faults.is_empty() { Ok(Self(Arc::new(entries))) } else { Err(faults) }
    }

    pub fn ids(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }

    /// The adapter as it is for an account of which nothing is known.
    pub fn get(&self, id: &str) -> Option<Arc<dyn Adapter>> {
        self.0.get(id).map(|entry| match entry {
            Entry::Coded(make) => make(&Map::new()),
            Entry::Declared(adapter, _) => adapter.clone(),
            Entry::Partly(adapter, _) => Arc::new(Shopify::new((**adapter).clone())),
        })
    }

    /// The adapter as this account asks for it.
    pub fn for_account(&self, id: &str, account: &Map<String, Value>) -> Option<Arc<dyn Adapter>> {
        self.0.get(id).map(|entry| -> Arc<dyn Adapter> {
            match entry {
                Entry::Coded(make) => make(account),
                Entry::Declared(adapter, _) => Arc::new(adapter.for_account(account)),
                Entry::Partly(adapter, _) => Arc::new(Shopify::new(adapter.for_account(account))),
            }
        })
    }

    pub fn all(&self) -> Vec<Arc<dyn Adapter>> {
        self.0.keys().filter_map(|id| self.get(id)).collect()
    }

    pub fn declared(&self, id: &str) -> Option<&Declared> {
        match self.0.get(id)? {
            Entry::Coded(_) => None,
            Entry::Declared(adapter, _) | Entry::Partly(adapter, _) => Some(adapter),
        }
    }

    /// The file an adapter was read from.
    pub fn text(&self, id: &str) -> Option<&str> {
        match self.0.get(id)? {
            Entry::Coded(_) => None,
            Entry::Declared(_, text) | Entry::Partly(_, text) => Some(text),
        }
    }

    /// Why there is no adapter of this id.
    pub fn unknown(&self, id: &str) -> String {
        let ids = self.ids();
        match nearest(id, ids.iter().copied()) {
            Some(meant) => format!("there is no adapter {id:?}; did you mean {meant}?"),
            None => format!("there is no adapter {id:?}; there are {}", ids.join(", ")),
        }
    }
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What is wrong with one name of an account or one secret: its key like `account.warehouse`, and the words.
pub type NameFault = (String, String);

/// The names in a connection's settings that its adapter does not know.
pub fn unknown_names<'n>(
    adapter: &dyn Adapter,
    account: &'n Map<String, Value>,
    secrets: impl IntoIterator<Item = &'n str>,
) -> Vec<NameFault> {
    let scheme = scheme_name(adapter, account).and_then(super::schemes::named).unwrap_or_default();
    let mut known_account: Vec<&str> = adapter.account().to_vec();
    known_account.extend(SHARED_ACCOUNT);
    if adapter.id() == "generic" {
        known_account.push("scheme");
        known_account.extend(scheme.iter().flat_map(Scheme::account_names));
    }
    let fault = |kind: &str, name: &str, known: &[&str]| {
        let why = match nearest(name, known.iter().copied()) {
            Some(meant) => format!("the adapter {} has none of that name; did you mean {meant}?", adapter.id()),
            None if known.is_empty() => format!("the adapter {} has none", adapter.id()),
            None => format!("the adapter {} has none of that name; it has {}", adapter.id(), known.join(", ")),
        };
        (format!("{kind}.{name}"), why)
    };
    let account = account.keys().map(String::as_str).filter(|name| !known_account.contains(name));
    let mut faults: Vec<NameFault> = account.map(|name| fault("account", name, &known_account)).collect();
    let secrets = secrets.into_iter().filter(|name| !adapter.secrets().contains(name));
    faults.extend(secrets.map(|name| fault("secrets", name, adapter.secrets())));
    faults
}
