//! Settings: what `config/default.toml` documents, laid over by files and then by the environment.
//!
//! The compiled-in defaults are also the schema: a key that they do not have (or that is no marketplace's) is a fault with the
//! nearest known key. All faults are reported at once, each with its file and line. Reading goes
//! `source` (text) → `tree` (values that know where they came from) → `section` and `parse` (types) → `check` (what only
//! several values together show). The environment is a parameter, so a test needs no process of its own.
//!
//! A list of marketplaces in a later file adds to the earlier ones; an entry with a known code adjusts that marketplace. Every
//! other list is replaced as a whole.

mod adapters;
mod api;
mod check;
mod choice;
mod cidr;
mod duration;
pub(crate) mod finding;
mod limits;
mod mail;
mod marketplace;
pub(crate) mod parse;
mod policy;
mod print;
mod realtime;
mod secret;
pub(crate) mod section;
mod sections;
mod source;
mod sync;
#[cfg(test)]
mod tests;
pub(crate) mod tree;

use std::collections::BTreeSet;
use std::path::Path;

pub use adapters::{AdapterSettings, read_directory as read_adapters};
pub use check::weak_secret;
pub use choice::{DriftPolicy, Fulfilment, LogFormat, MailTls, OwnCancelRestock, OwnSalesDecrement, Rounding, StockFeed};
pub use cidr::{Cidr, CidrError};
pub use duration::{DurationError, parse_duration};
pub use finding::{Fault, SettingsError, Warning};
pub use mail::MailSettings;
pub use marketplace::{MarketplaceSettings, STORE};
pub use policy::{Bound, PolicySettings, RuleOverride, RuleSettings};
pub use realtime::RealtimeSettings;
pub use secret::{ConnectionUrl, Secret, SecretError, SecretRef};
pub use sections::{
    AnalyticsSettings, AuthSettings, BusSettings, DatabaseSettings, EventSettings, ImportSettings, IngestSettings,
    InventorySettings, ListSettings, LogSettings, PushSettings, SecuritySettings, ServerSettings,
};
pub use source::Env;
pub use sync::SyncSettings;

use crate::marketplaces::catalogue::Catalogue;
use section::{Context, Section};
use tree::{Table, Value};

/// `config/default.toml` as it was compiled in.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

const DEFAULTS_NAME: &str = "built-in defaults";

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    pub server: ServerSettings,
    pub database: DatabaseSettings,
    pub auth: AuthSettings,
    pub security: SecuritySettings,
    pub ingest: IngestSettings,
    pub import: ImportSettings,
    pub lists: ListSettings,
    pub analytics: AnalyticsSettings,
    pub push: PushSettings,
    pub sync: SyncSettings,
    pub realtime: RealtimeSettings,
    pub inventory: InventorySettings,
    pub rule: RuleSettings,
    pub log: LogSettings,
    pub bus: BusSettings,
    pub events: EventSettings,
    pub mail: MailSettings,
    pub adapters: AdapterSettings,
    pub marketplaces: Vec<MarketplaceSettings>,
    /// The adapters there are: the program's own and those of `adapters.dir`.
    pub catalogue: Catalogue,
    effective: String,
}

impl Settings {
    /// Defaults, then `files` in their order, then the environment.
    pub fn load(files: &[impl AsRef<Path>], env: &Env) -> Result<(Self, Vec<Warning>), SettingsError> {
        let mut layers = Layers::new();
        for path in files.iter().map(AsRef::as_ref) {
            match source::read_file(path) {
                Ok(text) => layers.lay(&path.to_string_lossy(), &text),
                Err(fault) => layers.faults.push(fault),
            }
        }
        layers.finish(env)
    }

    /// As `load`, from named texts instead of files.
    pub fn from_texts(texts: &[(&str, &str)], env: &Env) -> Result<(Self, Vec<Warning>), SettingsError> {
        let mut layers = Layers::new();
        for (name, text) in texts {
            layers.lay(name, text);
        }
        layers.finish(env)
    }

    /// The configuration as it was loaded, in TOML: secrets as `***` with a fingerprint, each value that is not a default with
    /// its source.
    pub fn effective_toml(&self) -> &str {
        &self.effective
    }

    fn read(s: &mut Section<'_, '_, '_>) -> Option<Self> {
        let server = s.table("server", ServerSettings::read);
        // A faulty bind reads as loopback, so that it is not followed by faults it did not cause.
        let is_loopback = server.as_ref().is_none_or(ServerSettings::is_loopback);
        let database = s.table("database", DatabaseSettings::read);
        let auth = s.table("auth", AuthSettings::read);
        let security = s.table("security", |s| SecuritySettings::read(s, is_loopback));
        let ingest = s.table("ingest", IngestSettings::read);
        let import = s.table("import", ImportSettings::read);
        let lists = s.table("lists", ListSettings::read);
        let analytics = s.table("analytics", AnalyticsSettings::read);
        let push = s.table("push", PushSettings::read);
        let sync = s.table("sync", SyncSettings::read);
        let realtime = s.table("realtime", RealtimeSettings::read);
        let inventory = s.table("inventory", InventorySettings::read);
        let rule = s.table("rule", RuleSettings::read);
        let log = s.table("log", LogSettings::read);
        let bus = s.table("bus", BusSettings::read);
        let events = s.table("events", EventSettings::read);
        let mail = s.table("mail", MailSettings::read);
        let adapters = s.table("adapters", AdapterSettings::read);
        let allow_private = security.as_ref().is_none_or(|security| security.allow_private_targets);
        let marketplaces = marketplace::read_all(s, allow_private);
        Some(Self {
            server: server?,
            database: database?,
            auth: auth?,
            security: security?,
            ingest: ingest?,
            import: import?,
            lists: lists?,
            analytics: analytics?,
            push: push?,
            sync: sync?,
            realtime: realtime?,
            inventory: inventory?,
            rule: rule?,
            log: log?,
            bus: bus?,
            events: events?,
            mail: mail?,
            adapters: adapters?,
            marketplaces,
            catalogue: Catalogue::built_in(),
            effective: String::new(),
        })
    }
}

/// The sources so far, merged, and what was wrong with them.
struct Layers {
    tree: Table,
    known: BTreeSet<String>,
    faults: Vec<Fault>,
}

impl Layers {
    fn new() -> Self {
        let mut faults = Vec::new();
        let tree = tree::parse(DEFAULTS_NAME, DEFAULTS, &mut faults);
        let mut known = BTreeSet::new();
        for (section, node) in &tree {
            if let Value::Table(entries) = &node.value {
                known.extend(entries.keys().map(|key| format!("{section}.{key}")));
            }
        }
        Self { tree, known, faults }
    }

    fn lay(&mut self, name: &str, text: &str) {
        let layer = tree::parse(name, text, &mut self.faults);
        self.faults.extend(marketplace::duplicates(&layer));
        tree::merge(&mut self.tree, layer);
    }

    fn finish(mut self, env: &Env) -> Result<(Settings, Vec<Warning>), SettingsError> {
        let layer = source::from_env(env, &mut self.faults);
        self.faults.extend(marketplace::duplicates(&layer));
        tree::merge(&mut self.tree, layer);
        let mut context = Context::new(env, self.faults, self.known);
        let nowhere = finding::Origin::of(DEFAULTS_NAME, None);
        let mut settings = context.read("", &nowhere, &self.tree, Settings::read);
        if let Some(settings) = &mut settings {
            adapters::check(settings, &self.tree, &mut context);
            check::check(settings, &self.tree, &mut context);
            limits::check(settings, &self.tree, &mut context);
        }
        match settings {
            Some(mut settings) if context.faults.is_empty() => {
                settings.effective = print::effective(&self.tree, DEFAULTS_NAME, &context.secrets);
                Ok((settings, context.warnings))
            }
            _ => Err(SettingsError { faults: in_order(context.faults) }),
        }
    }
}

/// Faults by source and line. A line that is no TOML has been recovered from by guessing, so what else is wrong there is noise.
fn in_order(mut faults: Vec<Fault>) -> Vec<Fault> {
    let broken: BTreeSet<(String, u32)> = faults
        .iter()
        .filter(|fault| fault.key.is_empty())
        .filter_map(|fault| Some((fault.source.clone(), fault.line?)))
        .collect();
    faults.retain(|fault| fault.key.is_empty() || fault.line.is_none_or(|line| !broken.contains(&(fault.source.clone(), line))));
    faults.sort_by(|a, b| (&a.source, a.line).cmp(&(&b.source, b.line)));
    faults.dedup();
    faults
}
