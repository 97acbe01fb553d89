//! Changing what is known of a listing. Under another name its number is told anew; one that is paused or has ended is told nothing.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::catalogue::by_hand;
use super::working::Working;
use super::writer::Command;
use super::{CommandError, Tx};
use crate::db::listings::{self, ListingNames, ListingView};
use crate::db::{DbError, webhooks};
use crate::domain::ids::ListingId;
use crate::domain::money::Money;
use crate::marketplaces::connection::STORE;

/// What is to change; `None` stays as it is, `Some(None)` is taken away.
#[derive(Default)]
pub struct UpdateListing {
    pub marketplace_sku: Option<Option<String>>,
    pub refs: Option<Map<String, Value>>,
    pub price: Option<Option<Money>>,
    /// active, paused or ended.
    pub state: Option<&'static str>,
}

#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    #[error("there is no such listing")]
    Unknown,
    #[error("it changed meanwhile: its version is {0}")]
    Stale(i64),
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for ListingError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

pub struct ChangeListing {
    pub id: ListingId,
    pub update: UpdateListing,
    pub expected_version: Option<i64>,
    pub actor: String,
}

impl Command for ChangeListing {
    type Output = ListingView;
    type Error = ListingError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<ListingView, ListingError> {
        hold(tx, [self.id]).await?;
        let old = listings::lock_names(&mut tx.conn, self.id).await?.ok_or(ListingError::Unknown)?;
        if tx.kit.registry.by_id(old.marketplace_id).is_some_and(|connection| connection.code == STORE) {
            return Err(ListingError::Unknown);
        }
        if self.expected_version.is_some_and(|expected| expected != old.version) {
            return Err(ListingError::Stale(old.version));
        }
        change(tx, &old, &self.update, &self.actor).await?;
        listings::get(&mut tx.conn, self.id).await?.ok_or(ListingError::Unknown)
    }
}

/// Holds the stock of what these are made of, before anything of them is changed.
pub(crate) async fn hold(tx: &mut Tx<'_>, of: impl IntoIterator<Item = ListingId>) -> Result<(), DbError> {
    let parts = listings::components(&mut tx.conn, of).await?;
    Working::hold(tx, parts.into_iter().map(|part| part.product_id).collect()).await
}

/// A listing as it would be.
pub(super) fn updated(old: &ListingNames, update: &UpdateListing) -> ListingNames {
    let mut new = old.clone();
    if let Some(sku) = &update.marketplace_sku {
        new.marketplace_sku.clone_from(sku);
    }
    if let Some(refs) = &update.refs {
        new.refs = Value::Object(refs.clone()).to_string();
    }
    if let Some(price) = update.price {
        new.marketplace_price = price.map(|money| money.minor);
        new.currency = price.map(|money| money.currency.to_string());
    }
    if let Some(state) = update.state {
        state.clone_into(&mut new.state);
    }
    new
}

/// Whether anything was to be changed. The stock of what it is made of is held.
pub(crate) async fn change(tx: &mut Tx<'_>, old: &ListingNames, update: &UpdateListing, actor: &str) -> Result<bool, DbError> {
    let new = updated(old, update);
    if new == *old {
        return Ok(false);
    }
    let renamed = new.marketplace_sku != old.marketplace_sku || new.refs != old.refs;
    let woken = new.state == "active" && old.state != "active";
    // Nobody knows what it shows under that name, or what it showed meanwhile.
    listings::set_names(&mut tx.conn, &new, renamed || woken, tx.now).await?;
    let parts: BTreeSet<_> =
        listings::components(&mut tx.conn, [old.id]).await?.into_iter().map(|part| part.product_id).collect();
    let mut working = Working::of_products(tx, parts.clone()).await?;
    for product in parts {
        let cause = by_hand(tx, "manual", "manual", actor, String::new());
        working.touch(product, cause);
    }
    working.flush(tx).await?;
    tx.effects.to_push.insert(old.marketplace_id);
    if renamed || woken {
        webhooks::retry_unmapped(&mut tx.conn, old.marketplace_id).await?;
    }
    Ok(true)
}
