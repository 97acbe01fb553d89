//! Products and listings: making them, and correcting stock by hand.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::working::{Cause, Change, Working};
use super::writer::Command;
use super::{CommandError, Tx};
use crate::db::DbError;
use crate::db::history;
use crate::db::listings::{self, ListingView, NewListing};
use crate::db::products::{self, ProductRow};
use crate::db::webhooks;
use crate::domain::ids::{ListingId, LocationId, ProductId};
use crate::domain::money::Money;
use crate::domain::quantity::{Delta, Quantity};
use crate::domain::rule::Rule;
use crate::domain::sku::Sku;
use crate::marketplaces::Connection;

#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("a product with this SKU exists")]
    SkuTaken,
    #[error("the marketplace has a listing with this id and market")]
    ListingTaken,
    /// The adapter cannot name the listing without it, and the account does not say it for all of them.
    #[error("the listing needs the ref {0:?}")]
    MissingRef(&'static str),
    #[error("unknown SKU")]
    UnknownSku,
    /// The same, of one part of a listing, by its position.
    #[error("unknown SKU of component {0}")]
    UnknownComponent(usize),
    #[error("unknown location")]
    UnknownLocation,
    /// The same, where a request names several.
    #[error("unknown location in {0}")]
    UnknownPlace(&'static str),
    #[error("a location with this code exists")]
    LocationTaken,
    /// Fewer are free to be moved than asked for.
    #[error("{available} are available there, {wanted} were asked for")]
    NotThere { available: i64, wanted: i64 },
    /// Somebody else changed the product first.
    #[error("the product changed meanwhile: its version is {0}")]
    StaleProduct(i64),
    #[error("the product still has stock")]
    StillInStock,
    #[error("the price and the cost must have one currency")]
    TwoCurrencies,
    /// Somebody else changed the stock first.
    #[error("the stock changed meanwhile: its version is {0}")]
    StaleVersion(i64),
    #[error("the stock cannot move that way: {0}")]
    NotPostable(String),
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for CatalogueError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

/// A new product, on sale in the own store at once, with its opening stock at `main`.
pub struct CreateProduct {
    pub sku: Sku,
    pub name: String,
    pub price: Option<Money>,
    pub cost_price: Option<Money>,
    pub low_stock_threshold: Option<i64>,
    pub oversell_policy: &'static str,
    pub initial_stock: Quantity,
    pub store: Arc<Connection>,
    pub actor: String,
}

impl Command for CreateProduct {
    type Output = ProductRow;
    type Error = CatalogueError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<ProductRow, CatalogueError> {
        if products::get(&mut tx.conn, self.sku.as_str()).await?.is_some() {
            return Err(CatalogueError::SkuTaken);
        }
        let currency = self.price.or(self.cost_price).map(|money| money.currency.to_string());
        let product = ProductRow {
            id: tx.id(),
            sku: self.sku.clone(),
            name: self.name.clone(),
            price_minor: self.price.map(|money| money.minor),
            cost_price_minor: self.cost_price.map(|money| money.minor),
            currency,
            low_stock_threshold: self.low_stock_threshold.unwrap_or(tx.kit.limits.low_stock_threshold),
            oversell_policy: self.oversell_policy.to_owned(),
            is_available: false,
            stock_state: "out".into(),
            rule: "{}".into(),
            version: 1,
            created_at: tx.now,
            updated_at: tx.now,
        };
        // Two nodes at once: the unique key decides.
        products::insert(&mut tx.conn, &product).await.map_err(|error| taken(error, CatalogueError::SkuTaken))?;
        let main = *self.store.locations.first().ok_or(CatalogueError::UnknownLocation)?;
        let listing = NewListing {
            id: tx.id(),
            marketplace_id: self.store.id,
            marketplace_product_id: self.sku.as_str(),
            market: "",
            marketplace_sku: Some(self.sku.as_str()),
            refs: "{}",
            price_minor: product.price_minor,
            currency: product.currency.as_deref(),
            rule: "{}",
            actor: &self.actor,
        };
        listings::insert(&mut tx.conn, &listing, &[(product.id, 1)], tx.now).await?;
        crate::db::inventory::insert_once(&mut tx.conn, [(product.id, main)], tx.now).await?;
        let mut working = Working::of_products(tx, BTreeSet::from([product.id])).await?;
        let cause = by_hand(tx, "opening", "manual", &self.actor, format!("opening:{}", product.id));
        if self.initial_stock == Quantity::ZERO {
            working.touch(product.id, cause);
        } else {
            let change = Change { on_hand: self.initial_stock.get(), ..Change::default() };
            working.post(tx, (product.id, main), change, cause).map_err(not_postable)?;
        }
        working.flush(tx).await?;
        products::get(&mut tx.conn, self.sku.as_str()).await?.ok_or(CatalogueError::UnknownSku)
    }
}

/// A new listing of products on a marketplace. What waited for this mapping is applied by itself.
pub struct CreateListing {
    pub connection: Arc<Connection>,
    /// What one unit of it is made of: usually one product once. Never empty, each product once.
    pub components: Vec<(Sku, i64)>,
    pub marketplace_product_id: Option<String>,
    pub marketplace_sku: Option<String>,
    pub market: String,
    pub refs: Map<String, Value>,
    pub price: Option<Money>,
    pub rule: Rule,
    pub actor: String,
}

impl Command for CreateListing {
    type Output = ListingView;
    type Error = CatalogueError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<ListingView, CatalogueError> {
        if let Some(name) = missing_ref(&self.connection, &self.refs) {
            return Err(CatalogueError::MissingRef(name));
        }
        let needed = self.connection.adapter.refs().required;
        let parts = self.parts(tx).await?;
        let id: ListingId = tx.id();
        let only = self.components.first().map_or("", |(sku, _)| sku.as_str());
        let by_ref = needed.iter().find_map(|name| self.refs.get(*name)).map(crate::marketplaces::declared::plain);
        let external = self.marketplace_product_id.as_deref().or(by_ref.as_deref());
        let external = external.or(self.marketplace_sku.as_deref()).unwrap_or(only);
        // A pack or a bundle is told under a name of its own: the SKU of a part would set that part's number.
        let single = matches!(&self.components[..], [(_, 1)]);
        let told_as = self.marketplace_sku.as_deref().or(if single { None } else { Some(external) });
        let refs = Value::Object(self.refs.clone()).to_string();
        let rule = serde_json::to_string(&self.rule).unwrap_or_else(|_| "{}".into());
        let currency = self.price.map(|money| money.currency.to_string());
        let listing = NewListing {
            id,
            marketplace_id: self.connection.id,
            marketplace_product_id: external,
            market: &self.market,
            marketplace_sku: told_as,
            refs: &refs,
            price_minor: self.price.map(|money| money.minor),
            currency: currency.as_deref(),
            rule: &rule,
            actor: &self.actor,
        };
        let inserted = listings::insert(&mut tx.conn, &listing, &parts, tx.now).await;
        inserted.map_err(|error| taken(error, CatalogueError::ListingTaken))?;
        let mut working = Working::of_products(tx, parts.iter().map(|(product, _)| *product).collect()).await?;
        for (product, _) in parts {
            let cause = by_hand(tx, "manual", "manual", &self.actor, String::new());
            working.touch(product, cause);
        }
        working.flush(tx).await?;
        webhooks::retry_unmapped(&mut tx.conn, self.connection.id).await?;
        listings::get(&mut tx.conn, id).await?.ok_or(CatalogueError::UnknownSku)
    }
}

/// A name that the marketplace goes by, and that neither the listing nor the account has.
pub(super) fn missing_ref(connection: &Connection, refs: &Map<String, Value>) -> Option<&'static str> {
    let is_said = |values: &Map<String, Value>, name: &str| {
        values.get(name).is_some_and(|value| !crate::marketplaces::declared::is_nothing(value))
    };
    let needed = connection.adapter.refs().required.iter().copied();
    needed.into_iter().find(|name| !is_said(refs, name) && !is_said(&connection.account, name))
}

impl CreateListing {
    async fn parts(&self, tx: &mut Tx<'_>) -> Result<Vec<(ProductId, i64)>, CatalogueError> {
        let known = products::list_by_sku(&mut tx.conn, self.components.iter().map(|(sku, _)| sku.as_str())).await?;
        let mut parts = Vec::with_capacity(self.components.len());
        for (n, (sku, units)) in self.components.iter().enumerate() {
            let found = known.iter().find(|row| row.sku == *sku);
            parts.push((found.ok_or(CatalogueError::UnknownComponent(n))?.id, *units));
        }
        Ok(parts)
    }
}

/// How a person corrects stock.
#[derive(Clone, Copy, Debug)]
pub enum Correction {
    By(Delta),
    /// What was counted, and the stock's version it was counted against.
    To {
        count: Quantity,
        expected_version: Option<i64>,
    },
}

pub struct ChangeStock {
    pub sku: Sku,
    pub location: String,
    pub correction: Correction,
    pub movement_type: &'static str,
    pub reason: Option<String>,
    pub note: Option<String>,
    pub reference: Option<String>,
    pub actor: String,
}

impl Command for ChangeStock {
    type Output = ProductId;
    type Error = CatalogueError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<ProductId, CatalogueError> {
        let product = products::get(&mut tx.conn, self.sku.as_str()).await?.ok_or(CatalogueError::UnknownSku)?.id;
        let locations = products::locations(&mut tx.conn).await?;
        let found = locations.iter().find(|(_, code)| *code == self.location);
        let location: LocationId = found.map(|(id, _)| *id).ok_or(CatalogueError::UnknownLocation)?;
        let mut working = Working::of_products(tx, BTreeSet::from([product])).await?;
        working.ensure_level(tx, (product, location)).await?;
        let level = *working.level((product, location)).ok_or(CatalogueError::UnknownLocation)?;
        let by = match self.correction {
            Correction::By(delta) => delta.get(),
            Correction::To { expected_version: Some(version), .. } if version != level.version => {
                return Err(CatalogueError::StaleVersion(level.version));
            }
            Correction::To { count, .. } => count.get() - level.on_hand,
        };
        let change_type = if self.movement_type == "topup" { "topup" } else { "manual" };
        let key = format!("manual:{}", tx.id::<uuid::Uuid>());
        let mut cause = by_hand(tx, self.movement_type, change_type, &self.actor, key);
        cause.reason = self.reason.clone();
        cause.note = self.note.clone();
        cause.reference_type = self.reference.is_some().then_some("document");
        cause.reference_id = self.reference.clone();
        if by != 0 || self.movement_type == "adjusted" {
            working.post(tx, (product, location), Change { on_hand: by, ..Change::default() }, cause).map_err(not_postable)?;
        }
        if self.movement_type == "adjusted" {
            crate::db::places::set_counted(&mut tx.conn, product, tx.now).await?;
        }
        working.flush(tx).await?;
        if matches!(self.correction, Correction::To { .. }) {
            history::set_counted(&mut tx.conn, product, tx.now).await?;
        }
        Ok(product)
    }
}

pub(super) fn by_hand(
    tx: &Tx<'_>,
    movement_type: &'static str,
    change_type: &'static str,
    actor: &str,
    source_key: String,
) -> Cause {
    Cause {
        movement_type,
        change_type,
        marketplace_id: None,
        order_id: None,
        line_id: None,
        webhook_id: None,
        reference_type: None,
        reference_id: None,
        actor: actor.to_owned(),
        reason: None,
        note: None,
        source_key,
        occurred_at: tx.now,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
pub(super) fn not_postable(error: super::working::PostError) -> CatalogueError {
    CatalogueError::NotPostable(error.to_string())
}

pub(super) fn taken(error: DbError, meaning: CatalogueError) -> CatalogueError {
    if matches!(error, DbError::Exists { .. }) { meaning } else { error.into() }
}
