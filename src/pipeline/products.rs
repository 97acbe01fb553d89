//! Changing what is known of a product. Its stock is not part of that: only movements change it.

use std::collections::BTreeSet;

use super::Tx;
use super::catalogue::{CatalogueError, by_hand};
use super::working::Working;
use super::writer::Command;
use crate::db::DbError;
use crate::db::inventory::{self, LevelRow};
use crate::db::products::{self, ProductRow};
use crate::domain::money::Money;
use crate::domain::sku::Sku;

/// What is to change; `None` stays as it is, `Some(None)` is taken away.
#[derive(Default)]
pub struct UpdateProduct {
    pub name: Option<String>,
    pub price: Option<Option<Money>>,
    pub cost_price: Option<Option<Money>>,
    pub low_stock_threshold: Option<i64>,
    pub oversell_policy: Option<&'static str>,
    pub archived: Option<bool>,
}

pub struct ChangeProduct {
    pub sku: Sku,
    pub update: UpdateProduct,
    /// The version that whoever changes it has seen.
    pub expected_version: Option<i64>,
    pub actor: String,
}

impl Command for ChangeProduct {
    type Output = (ProductRow, Vec<LevelRow>);
    type Error = CatalogueError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Self::Output, CatalogueError> {
        let sku = self.sku.as_str();
        let id = products::find_any(&mut tx.conn, sku).await?.ok_or(CatalogueError::UnknownSku)?;
        Working::hold(tx, BTreeSet::from([id])).await?;
        let (_, archived_at) = products::lock_any(&mut tx.conn, sku).await?.ok_or(CatalogueError::UnknownSku)?;
        let row = products::list_by_id(&mut tx.conn, [id]).await?.pop();
        let mut row = row.ok_or_else(|| DbError::inconsistent("products", "id", id.to_string()))?;
        let levels = inventory::lock(&mut tx.conn, [id]).await?;
        let version = row.version;
        if self.expected_version.is_some_and(|expected| expected != version) {
            return Err(CatalogueError::StaleProduct(version));
        }
        self.merge(&mut row)?;
        let archived_at = match self.update.archived {
            Some(true) if archived_at.is_none() => {
                // An archived product is not looked at any more: nothing may still wait to be sold, shipped or released.
                if levels.iter().any(|l| l.on_hand != 0 || l.committed != 0 || l.reserved != 0 || l.unsellable != 0) {
                    return Err(CatalogueError::StillInStock);
                }
                Some(tx.now)
            }
            Some(false) => None,
            _ => archived_at,
        };
        products::update(&mut tx.conn, &row, archived_at, tx.now).await?;
        // Another threshold may make it low, or low no more.
        let mut working = Working::of_products(tx, BTreeSet::from([id])).await?;
        let cause = by_hand(tx, "manual", "manual", &self.actor, String::new());
        working.touch(id, cause);
        working.flush(tx).await?;
        let row = products::list_by_id(&mut tx.conn, [id]).await?.pop();
        let row = row.ok_or_else(|| DbError::inconsistent("products", "id", id.to_string()))?;
        Ok((row, levels))
    }
}

impl ChangeProduct {
    fn merge(&self, row: &mut ProductRow) -> Result<(), CatalogueError> {
        let update = &self.update;
        if let Some(name) = &update.name {
            row.name.clone_from(name);
        }
        if let Some(threshold) = update.low_stock_threshold {
            row.low_stock_threshold = threshold;
        }
        if let Some(policy) = update.oversell_policy {
            policy.clone_into(&mut row.oversell_policy);
        }
        // One currency for both: what is not named keeps its own, and must agree with what is.
        let named = [update.price, update.cost_price].into_iter().flatten().flatten();
        let named: BTreeSet<String> = named.map(|money| money.currency.to_string()).collect();
        if let Some(price) = update.price {
            row.price_minor = price.map(|money| money.minor);
        }
        if let Some(cost) = update.cost_price {
            row.cost_price_minor = cost.map(|money| money.minor);
        }
        let kept = (update.price.is_none() && row.price_minor.is_some())
            || (update.cost_price.is_none() && row.cost_price_minor.is_some());
        match (named.first(), named.len()) {
            (_, 2..) => return Err(CatalogueError::TwoCurrencies),
            (Some(code), _) if kept && row.currency.as_ref() != Some(code) => return Err(CatalogueError::TwoCurrencies),
            (Some(code), _) => row.currency = Some(code.clone()),
            (None, _) => {}
        }
        Ok(())
    }
}
