//! What must stand before anything runs: the generation, the location `main`, the own store, and every marketplace the settings
//! declare. Then the live connections are made of it.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::connections;
use super::rules::Book;
use super::writer::Command;
use super::{CommandError, Kit, Tx};
use crate::db::marketplaces::{self, Declared, MarketplaceRow};
use crate::db::products;
use crate::db::{Conn, DbError, hub};
use crate::domain::ids::{LocationId, MarketplaceId};
use crate::domain::order::Fulfilment;
use crate::domain::rule::{Rounding, Rule};
use crate::domain::time::Timestamp;
use crate::marketplaces::catalogue::{self, Catalogue};
use crate::marketplaces::connection::{Policy, STORE, Status, scheme_name};
use crate::marketplaces::scheme::{KeyForm, Scheme};
use crate::marketplaces::{Adapter, Connection, Kind, PushStyle, StockFeed, schemes};
use crate::settings::{
    self, Fault, MarketplaceSettings, OwnCancelRestock, OwnSalesDecrement, PolicySettings, RuleOverride, Settings,
};

/// Writes down what the settings declare, and makes the live connections.
pub struct Declare {
    pub marketplaces: Vec<MarketplaceSettings>,
    pub min_gap: Duration,
    pub allow_private: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("marketplaces.{code}.adapter: {why}")]
    UnknownAdapter { code: String, why: String },
    /// Of a value of its account or of a secret.
    #[error("marketplaces.{code}.{key}: {why}")]
    UnknownName { code: String, key: String, why: String },
    #[error("marketplaces.{code}.account.scheme: there is no scheme {name:?}; there are {known}")]
    UnknownScheme { code: String, name: String, known: String },
    #[error("marketplaces.{code}: base_url is needed to push to it")]
    NoBaseUrl { code: String },
    #[error("marketplaces.{code}: there is no location {location:?}")]
    UnknownLocation { code: String, location: String },
    #[error("{code}: what the API stored does not hold any more: {}", .faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Stored { code: String, faults: Vec<Fault> },
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for SetupError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

pub struct Standing {
    /// Changes when a backup is restored; clients then take nothing for granted.
    pub generation: Uuid,
    /// What is stored; the settings' part is not in it.
    pub rules: Book,
}

impl Command for Declare {
    type Output = Standing;
    type Error = SetupError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Standing, SetupError> {
        let fresh: Uuid = tx.id();
        // Time was turned back: what browsers know of later versions must not count.
        if hub::get(&mut tx.conn, hub::IS_BACKUP).await?.is_some() {
            hub::set(&mut tx.conn, "generation", &fresh.to_string()).await?;
            hub::remove(&mut tx.conn, hub::IS_BACKUP).await?;
        }
        let generation = hub::get_or_insert(&mut tx.conn, "generation", &fresh.to_string()).await?;
        let generation = Uuid::parse_str(&generation).map_err(|_| DbError::inconsistent("hub_meta", "value", generation))?;
        let id = tx.id();
        products::insert_location_once(&mut tx.conn, id, "main", "Main", tx.now).await?;
        let places = products::locations(&mut tx.conn).await?;
        let all = with_store(&self.marketplaces);
        for settings in &all {
            if let Some(row) = marketplaces::lock(&mut tx.conn, &settings.code).await?.filter(|row| row.archived_at.is_some()) {
                // A name that stands in a file brings nothing back, and another marketplace must not slip in under it.
                let adapter = settings.adapter.as_deref().unwrap_or(&row.adapter);
                tracing::warn!(marketplace = %row.code, was = %row.adapter, %adapter, "is declared and archived: restore it to use it");
                continue;
            }
            let stored = marketplaces::api_settings(&mut tx.conn, &settings.code).await?;
            let whole = settings.over(&super::connections::stored(&stored)?, self.allow_private);
            let whole = whole.map_err(|faults| SetupError::Stored { code: settings.code.clone(), faults })?;
            self.declare(tx, &whole, &places).await?;
        }
        self.warn_of_others(tx, &all).await?;
        let mut rules = Book::default();
        rules.load(&mut tx.conn).await?;
        Ok(Standing { generation, rules })
    }
}

/// What the settings declare, the own store first.
pub(super) fn with_store(declared: &[MarketplaceSettings]) -> Vec<MarketplaceSettings> {
    let store = MarketplaceSettings { adapter: Some("storefront".into()), ..MarketplaceSettings::named(STORE) };
    let adjusted = declared.iter().find(|m| m.code == STORE);
    let store = adjusted.map_or(store.clone(), |m| MarketplaceSettings { adapter: store.adapter.clone(), ..m.clone() });
    let mut all = vec![store];
    all.extend(declared.iter().filter(|m| m.code != STORE).cloned());
    all
}

/// The connections and rules as a running hub has them, for commands beside it that only look: nothing is written. What is
/// declared but was never started is left out.
pub async fn look(kit: &Kit, conn: &mut Conn<'_>, settings: &Settings) -> Result<(), SetupError> {
    connections::look(kit, conn, settings).await?;
    let mut book = (*kit.rules.get()).clone();
    book.load(conn).await?;
    kit.rules.replace(book);
    Ok(())
}

pub(super) fn connection(
    catalogue: &Catalogue,
    settings: &MarketplaceSettings,
    places: &[(LocationId, String)],
    min_gap: Duration,
    (id, feed_since): (MarketplaceId, Timestamp),
) -> Result<Connection, SetupError> {
    let code = settings.code.clone();
    let name = settings.adapter.clone().unwrap_or_default();
    let adapter = catalogue
        .for_account(&name, &settings.account)
        .ok_or_else(|| SetupError::UnknownAdapter { code: code.clone(), why: catalogue.unknown(&name) })?;
    let traits = adapter.traits().clone();
    let secrets = settings.secrets.keys().map(String::as_str);
    if let Some((key, why)) = catalogue::unknown_names(&*adapter, &settings.account, secrets).into_iter().next() {
        return Err(SetupError::UnknownName { code, key, why });
    }
    let policy = policy(&settings.policy, &traits, min_gap);
    if traits.push == PushStyle::Request
        && policy.push_enabled
        && settings.base_url.is_none()
        && adapter.about().base_url.is_none()
    {
        return Err(SetupError::NoBaseUrl { code });
    }
    let schemes = schemes(settings, &*adapter)?;
    let by_key_id = |scheme: &Scheme| matches!(scheme.key, KeyForm::Remote { .. });
    let heard = schemes.iter().any(|s| by_key_id(s) || settings.secrets.contains_key(s.needed_secret()));
    let webhook_enabled = !schemes.is_empty() && settings.webhook_enabled.unwrap_or(heard);
    Ok(Connection {
        id,
        name: settings.name.as_deref().unwrap_or(&code).to_owned(),
        kind: traits.kind,
        base_url: settings.base_url.clone(),
        account: settings.account.clone(),
        secrets: settings.secrets.clone().into_iter().collect::<BTreeMap<_, _>>(),
        stock_feed: settings.stock_feed.map_or(traits.stock_feed, feed),
        feed_since,
        currency: settings.currency.map(|c| c.to_string()),
        status: if settings.enabled == Some(false) { Status::Paused } else { Status::Active },
        webhook_enabled,
        policy,
        locations: locations(settings, places)?,
        adapter,
        code,
    })
}

impl Declare {
    async fn declare(
        &self,
        tx: &mut Tx<'_>,
        settings: &MarketplaceSettings,
        places: &[(LocationId, String)],
    ) -> Result<(), SetupError> {
        let id = tx.id();
        let made = connection(tx.kit.registry.catalogue(), settings, places, self.min_gap, (id, Timestamp::default()))?;
        let account = serde_json::Value::Object(settings.account.clone()).to_string();
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
            declared_in: if made.code == STORE { "builtin" } else { "file" },
            supports_webhooks: !made.schemes().is_empty(),
            webhook_enabled: made.webhook_enabled,
            webhook_url: None,
            rule: "{}",
        };
        let (id, _) = marketplaces::upsert(&mut tx.conn, &declared, tx.now).await?;
        marketplaces::set_sales_locations(&mut tx.conn, id, &made.locations).await?;
        Ok(())
    }

    /// A marketplace that was declared once and is not any more keeps its history; it just is not served.
    async fn warn_of_others(&self, tx: &mut Tx<'_>, declared: &[MarketplaceSettings]) -> Result<(), DbError> {
        let gone = |row: &MarketplaceRow| {
            row.declared_in == "file" && row.archived_at.is_none() && declared.iter().all(|m| m.code != row.code)
        };
        for row in marketplaces::list(&mut tx.conn).await?.into_iter().filter(gone) {
            tracing::warn!(marketplace = %row.code, "no longer declared in the settings: not served; its history is kept");
        }
        Ok(())
    }
}

/// How its webhooks prove themselves; a scheme that is not known would mean that nothing ever gets in.
fn schemes<'a>(settings: &MarketplaceSettings, adapter: &'a dyn Adapter) -> Result<&'a [Scheme], SetupError> {
    let Some(name) = scheme_name(adapter, &settings.account) else { return Ok(adapter.schemes()) };
    schemes::named(name).ok_or_else(|| SetupError::UnknownScheme {
        code: settings.code.clone(),
        name: name.to_owned(),
        known: schemes::names().collect::<Vec<_>>().join(", "),
    })
}

fn locations(settings: &MarketplaceSettings, places: &[(LocationId, String)]) -> Result<Vec<LocationId>, SetupError> {
    let wanted = settings.policy.locations.clone().unwrap_or_else(|| vec!["main".into()]);
    let find = |code: &String| {
        let found = places.iter().find(|(_, known)| known == code).map(|(id, _)| *id);
        found.ok_or_else(|| SetupError::UnknownLocation { code: settings.code.clone(), location: code.clone() })
    };
    wanted.iter().map(find).collect()
}

fn feed(feed: settings::StockFeed) -> StockFeed {
    match feed {
        settings::StockFeed::Orders => StockFeed::Orders,
        settings::StockFeed::Delta => StockFeed::Delta,
        settings::StockFeed::Absolute => StockFeed::Absolute,
        settings::StockFeed::None => StockFeed::None,
    }
}

fn policy(set: &PolicySettings, traits: &crate::marketplaces::Traits, min_gap: Duration) -> Policy {
    Policy {
        clock_tolerance: set.clock_tolerance.unwrap_or(Duration::from_secs(2)),
        fulfilment: match set.fulfilment {
            Some(settings::Fulfilment::Shipment) => Fulfilment::Shipment,
            Some(settings::Fulfilment::Instant) | None => Fulfilment::Instant,
        },
        own_sales_decrement: match set.own_sales_decrement {
            Some(OwnSalesDecrement::AtOrder) => true,
            Some(OwnSalesDecrement::None) => false,
            None => traits.own_sales_decrement,
        },
        own_cancel_restock: match set.own_cancel_restock {
            Some(OwnCancelRestock::Yes) => Some(true),
            Some(OwnCancelRestock::No) => Some(false),
            Some(OwnCancelRestock::Unknown) => None,
            None => traits.own_cancel_restock,
        },
        // The adapter's own minimum counts where it is longer.
        min_gap: set.min_gap_ms.map_or(min_gap, Duration::from_millis).max(traits.min_gap),
        push_enabled: set.push_enabled.unwrap_or(true) && traits.kind != Kind::Storefront,
        count_unpaid: set.count_unpaid,
        drift_policy: set.drift_policy.unwrap_or(settings::DriftPolicy::HubWins),
        poll_every: set.poll_every,
        reconcile_every: set.reconcile_every,
        rule: rule(&set.rule),
    }
}

/// The keys of `[rule]` that say something: what the built-in settings leave as it is, a stored rule may still set.
pub fn hub_rule(rule: &settings::RuleSettings) -> Rule {
    let number = |value: i64| (value != 0).then_some(value);
    Rule {
        buffer: number(rule.buffer),
        stop_below: number(rule.stop_below),
        fixed: rule.fixed,
        share_percent: rule.share_percent.map(i64::from),
        rounding: Some(rounding(rule.rounding)).filter(|rounding| *rounding != Rounding::default()),
        quota: rule.quota,
        max_listed: rule.max_listed,
        priority: number(rule.priority),
        paused: rule.paused.then_some(true),
    }
}

fn rule(set: &RuleOverride) -> Rule {
    Rule {
        buffer: set.buffer,
        stop_below: set.stop_below,
        fixed: set.fixed.and_then(settings::Bound::get),
        share_percent: set.share_percent.and_then(settings::Bound::get).map(i64::from),
        rounding: set.rounding.map(rounding),
        quota: set.quota.and_then(settings::Bound::get),
        max_listed: set.max_listed.and_then(settings::Bound::get),
        priority: set.priority,
        paused: set.paused,
    }
}

pub fn rounding(rounding: settings::Rounding) -> Rounding {
    match rounding {
        settings::Rounding::Down => Rounding::Floor,
        settings::Rounding::Up => Rounding::Ceil,
        settings::Rounding::Nearest => Rounding::Nearest,
    }
}
