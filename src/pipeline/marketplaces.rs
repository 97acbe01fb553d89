//! Marketplaces made and changed through the API. The file wins for what it names; everything else may change while the hub runs,
//! and is live as soon as it is committed. A marketplace is never deleted with its history.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::connections::{effective, stored};
use super::setup::{SetupError, connection};
use super::writer::Command;
use super::{CommandError, Tx};
use crate::db::marketplaces::{self, Declared, MarketplaceRow};
use crate::db::secrets::{self, SecretRow};
use crate::db::{DbError, products};
use crate::domain::ids::{LocationId, MarketplaceId};
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::marketplaces::connection::{STORE, Status};
use crate::seal::Sealer;
use crate::settings::{Fault, MarketplaceSettings, Secret, Settings};

#[derive(Debug, thiserror::Error)]
pub enum MarketplaceError {
    #[error("there is no such marketplace")]
    Unknown,
    #[error("the code is taken")]
    Taken,
    /// The file names it, and wins.
    #[error("the settings file declares {0}")]
    InFile(String),
    #[error("it changed meanwhile: its version is {0}")]
    Stale(i64),
    /// To be brought back first.
    #[error("it is archived")]
    Archived,
    /// The names of its listings and orders are those of another kind of marketplace.
    #[error("it was of the adapter {was}, and is declared with {now}")]
    OtherAdapter { was: String, now: String },
    /// What is wrong with which key, dotted.
    #[error("it cannot be as described")]
    Invalid(Vec<(String, String)>),
    #[error("the own store has no secrets and is not paused")]
    Builtin,
    #[error("the secret could not be sealed")]
    NotSealed,
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for MarketplaceError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

impl From<SetupError> for MarketplaceError {
    fn from(error: SetupError) -> Self {
        let one = |key: &str, message: String| Self::Invalid(vec![(key.to_owned(), message)]);
        match error {
            SetupError::UnknownAdapter { why, .. } => one("adapter", why),
            SetupError::UnknownName { key, why, .. } => one(&key, why),
            SetupError::UnknownScheme { known, .. } => {
                one("account.scheme", format!("there is no such scheme; there are {known}"))
            }
            SetupError::NoBaseUrl { .. } => one("base_url", "is needed to push to it".into()),
            SetupError::UnknownLocation { location, .. } => one("policy.locations", format!("there is no location {location:?}")),
            SetupError::Stored { faults, .. } => faults.into(),
            SetupError::Database(error) => Self::Database(error),
        }
    }
}

impl From<Vec<Fault>> for MarketplaceError {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Invalid(faults.into_iter().map(|fault| (fault.key, fault.message)).collect())
    }
}

/// Rule keys have an address of their own, which looks before it empties a shop.
const RULE_KEYS: [&str; 9] =
    ["buffer", "stop_below", "fixed", "share_percent", "rounding", "quota", "max_listed", "priority", "paused"];

fn refuse_rules(entry: &Map<String, Value>) -> Result<(), MarketplaceError> {
    let policy = entry.get("policy").and_then(Value::as_object);
    let named = policy.into_iter().flat_map(Map::keys).filter(|key| RULE_KEYS.contains(&key.as_str()));
    let faults: Vec<(String, String)> = named
        .map(|key| (format!("policy.{key}"), "is a rule: PUT /v1/admin/marketplaces/{code}/rule sets it".to_owned()))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(MarketplaceError::Invalid(faults)) }
}

fn text(entry: &Map<String, Value>) -> String {
    Value::Object(entry.clone()).to_string()
}

/// Makes a connection of an entry, to see whether it could stand, and writes it down.
pub(super) async fn store(
    tx: &mut Tx<'_>,
    id: MarketplaceId,
    entry: &MarketplaceSettings,
    settings: &Settings,
    declared_in: &str,
) -> Result<(), MarketplaceError> {
    let places = products::locations(&mut tx.conn).await?;
    let made = connection(tx.kit.registry.catalogue(), entry, &places, settings.push.min_gap(), (id, Timestamp::default()))?;
    let account = Value::Object(made.account.clone()).to_string();
    let declared = Declared {
        id,
        code: &made.code,
        name: &made.name,
        kind: made.kind.as_str(),
        adapter: made.adapter.id(),
        base_url: made.base_url.as_deref(),
        account: &account,
        policy: "{}",
        stock_feed: made.stock_feed.as_str(),
        currency: made.currency.as_deref(),
        declared_in,
        supports_webhooks: !made.schemes().is_empty(),
        webhook_enabled: made.webhook_enabled,
        webhook_url: None,
        rule: "{}",
    };
    let (id, _) = marketplaces::upsert(&mut tx.conn, &declared, tx.now).await?;
    marketplaces::set_sales_locations(&mut tx.conn, id, &made.locations).await?;
    tx.effects.connections_changed = true;
    tx.effects.to_push.insert(id);
    Ok(())
}

/// A secret on its way into the database.
pub struct NewSecret {
    pub name: String,
    pub secret: Secret,
}

/// Only what the adapter knows by that name.
fn known_secret(made: &Connection, name: &str) -> Result<(), MarketplaceError> {
    if made.adapter.secrets().contains(&name) {
        return Ok(());
    }
    let known = if made.adapter.secrets().is_empty() { "none".to_owned() } else { made.adapter.secrets().join(", ") };
    Err(MarketplaceError::Invalid(vec![("name".into(), format!("the adapter has no such secret; it has {known}"))]))
}

async fn keep(
    tx: &mut Tx<'_>,
    of: MarketplaceId,
    new: &NewSecret,
    sealer: &Sealer,
    by: &str,
) -> Result<SecretRow, MarketplaceError> {
    let sealed = sealer.seal(new.secret.expose()).map_err(|_| MarketplaceError::NotSealed)?;
    let row = SecretRow {
        id: tx.id(),
        marketplace_id: of,
        name: new.name.clone(),
        key_id: new.secret.fingerprint(),
        sealed,
        not_before: tx.now,
        expires_at: None,
        created_by: by.to_owned(),
    };
    secrets::insert(&mut tx.conn, &row).await?;
    Ok(row)
}

pub struct CreateMarketplace {
    pub entry: Map<String, Value>,
    pub secrets: Vec<NewSecret>,
    pub settings: Arc<Settings>,
    pub sealer: Sealer,
    pub actor: String,
}

impl Command for CreateMarketplace {
    type Output = String;
    type Error = MarketplaceError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<String, MarketplaceError> {
        refuse_rules(&self.entry)?;
        let mut read = MarketplaceSettings::from_json(&self.entry, self.settings.security.allow_private_targets)?;
        if read.code == STORE || marketplaces::is_taken(&mut tx.conn, &read.code).await? {
            return Err(MarketplaceError::Taken);
        }
        // For the check of names, and to know whether it can be heard.
        for new in &self.secrets {
            read.secrets.entry(new.name.clone()).or_default().push(new.secret.clone());
        }
        let id: MarketplaceId = tx.id();
        store(tx, id, &read, &self.settings, "api").await?;
        marketplaces::set_api_settings(&mut tx.conn, &read.code, &text(&self.entry)).await?;
        for new in &self.secrets {
            keep(tx, id, new, &self.sealer, &self.actor).await?;
        }
        Ok(read.code)
    }
}

pub struct ChangeMarketplace {
    pub code: String,
    /// Laid over what was set before: null takes a key away, `account` and `policy` change key by key.
    pub change: Map<String, Value>,
    pub expected_version: Option<i64>,
    pub settings: Arc<Settings>,
}

impl Command for ChangeMarketplace {
    type Output = String;
    type Error = MarketplaceError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<String, MarketplaceError> {
        refuse_rules(&self.change)?;
        let row = found(tx, &self.code).await?;
        if self.expected_version.is_some_and(|expected| expected != row.version) {
            return Err(MarketplaceError::Stale(row.version));
        }
        let file = self.settings.marketplaces.iter().find(|entry| entry.code == self.code);
        if let Some(key) = file.and_then(|file| file.named_in(&self.change).into_iter().next()) {
            return Err(MarketplaceError::InFile(key));
        }
        if file.is_none() && row.declared_in == "file" {
            return Err(MarketplaceError::InFile("no longer this marketplace, and it is not served".into()));
        }
        let mut entry = stored(&row.api_settings)?;
        lay(&mut entry, &self.change);
        // The file's own entries carry these; beneath them they must stand too.
        entry.insert("code".into(), self.code.as_str().into());
        if self.code != STORE {
            entry.entry("adapter").or_insert_with(|| row.adapter.as_str().into());
        }
        let text = text(&entry);
        let mut read = effective(&self.code, file, &text, &self.settings)?;
        if self.code == STORE {
            read.adapter = Some("storefront".into());
        }
        store(tx, row.id, &read, &self.settings, &row.declared_in).await?;
        marketplaces::set_api_settings(&mut tx.conn, &self.code, &text).await?;
        Ok(self.code.clone())
    }
}

/// RFC 7396, two levels deep.
fn lay(entry: &mut Map<String, Value>, change: &Map<String, Value>) {
    for (key, value) in change {
        match (entry.get_mut(key), value) {
            (_, Value::Null) => drop(entry.remove(key)),
            (Some(Value::Object(below)), Value::Object(above)) => lay(below, above),
            (None, Value::Object(above)) => {
                let mut below = Map::new();
                lay(&mut below, above);
                entry.insert(key.clone(), Value::Object(below));
            }
            (_, value) => drop(entry.insert(key.clone(), value.clone())),
        }
    }
}

async fn found(tx: &mut Tx<'_>, code: &str) -> Result<MarketplaceRow, MarketplaceError> {
    let row = marketplaces::lock(&mut tx.conn, code).await?.ok_or(MarketplaceError::Unknown)?;
    if row.archived_at.is_some() { Err(MarketplaceError::Archived) } else { Ok(row) }
}

/// Pauses pushes and polls, or lets them go on; webhooks are taken all the time. Going on tries refused credentials again.
pub struct SetPaused {
    pub code: String,
    pub paused: bool,
    pub settings: Arc<Settings>,
}

impl Command for SetPaused {
    type Output = String;
    type Error = MarketplaceError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<String, MarketplaceError> {
        if self.code == STORE {
            return Err(MarketplaceError::Builtin);
        }
        let row = found(tx, &self.code).await?;
        let file = self.settings.marketplaces.iter().find(|entry| entry.code == self.code);
        if file.is_some_and(|file| file.enabled == Some(false)) {
            return Err(MarketplaceError::InFile("enabled".into()));
        }
        let status = if self.paused { Status::Paused } else { Status::Active };
        if row.restored_as.is_some() {
            // It rests until its listings are worked out anew; what it is then is what was asked for last.
            marketplaces::restore_as(&mut tx.conn, row.id, status.as_str(), tx.now).await?;
        } else if row.status != status.as_str() {
            marketplaces::set_status(&mut tx.conn, row.id, status.as_str(), tx.now).await?;
        }
        tx.effects.connections_changed = true;
        tx.effects.to_push.insert(row.id);
        Ok(self.code.clone())
    }
}

pub struct RotateSecret {
    pub code: String,
    pub new: NewSecret,
    /// How long the old ones are still believed.
    pub overlap: Duration,
    pub settings: Arc<Settings>,
    pub sealer: Sealer,
    pub actor: String,
}

pub struct Rotated {
    pub name: String,
    pub key_id: String,
    /// `None`: there was no other.
    pub old_valid_until: Option<Timestamp>,
}

impl Command for RotateSecret {
    type Output = Rotated;
    type Error = MarketplaceError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Rotated, MarketplaceError> {
        if self.code == STORE {
            return Err(MarketplaceError::Builtin);
        }
        let row = found(tx, &self.code).await?;
        let file = self.settings.marketplaces.iter().find(|entry| entry.code == self.code);
        if file.is_some_and(|file| file.secrets.contains_key(&self.new.name)) {
            return Err(MarketplaceError::InFile(format!("secrets.{}", self.new.name)));
        }
        let entry = effective(&self.code, file, &row.api_settings, &self.settings)?;
        let places: Vec<(LocationId, String)> = products::locations(&mut tx.conn).await?;
        let made =
            connection(tx.kit.registry.catalogue(), &entry, &places, self.settings.push.min_gap(), (row.id, row.feed_since))?;
        known_secret(&made, &self.new.name)?;
        let kept = keep(tx, row.id, &self.new, &self.sealer, &self.actor).await?;
        let until = tx.now.plus(self.overlap);
        let old = secrets::unexpired(&mut tx.conn, tx.now).await?;
        let others = |s: &SecretRow| s.marketplace_id == row.id && s.name == self.new.name && s.id != kept.id;
        let any = old.iter().any(others);
        secrets::end(&mut tx.conn, row.id, &self.new.name, until, kept.id).await?;
        secrets::touch(&mut tx.conn, row.id, tx.now).await?;
        tx.effects.connections_changed = true;
        tx.effects.to_push.insert(row.id);
        Ok(Rotated { name: kept.name, key_id: kept.key_id, old_valid_until: any.then_some(until) })
    }
}

/// Forgets secrets that ended a day ago.
pub struct PurgeSecrets;

impl Command for PurgeSecrets {
    type Output = u64;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<u64, DbError> {
        secrets::purge(&mut tx.conn, tx.now.minus(Duration::from_secs(86_400))).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_laid_over_key_by_key() {
        let mut entry = json!({"name": "A", "policy": {"min_gap_ms": 5, "push_enabled": true}}).as_object().cloned().unwrap();
        let change = json!({"name": null, "currency": "USD", "policy": {"min_gap_ms": null, "count_unpaid": false},
            "account": {"shop": 1, "none": null}});
        lay(&mut entry, change.as_object().unwrap());
        assert_eq!(
            Value::Object(entry),
            json!({"currency": "USD", "policy": {"push_enabled": true, "count_unpaid": false}, "account": {"shop": 1}})
        );
    }

    #[test]
    fn rules_have_their_own_address() {
        let entry = json!({"policy": {"buffer": 1, "min_gap_ms": 5}}).as_object().cloned().unwrap();
        let Err(MarketplaceError::Invalid(faults)) = refuse_rules(&entry) else { panic!("refused") };
        assert_eq!(faults[0].0, "policy.buffer");
    }
}
