//! The first reading of an account fills what is empty: listings for products we know by SKU, products nobody knew, and the opening
//! stock of products that have no ledger yet. A dry run says what it would do.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::Owner;
use super::page::{PageError, own};
use crate::db::listings::{self, NewListing};
use crate::db::observations;
use crate::db::products;
use crate::db::sync::{self, NewItem};
use crate::db::{DbError, webhooks};
use crate::domain::ids::{ListingId, ProductId};
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::marketplaces::Connection;
use crate::marketplaces::call::StockRow;
use crate::pipeline::Tx;
use crate::pipeline::catalogue::{CatalogueError, CreateProduct};
use crate::pipeline::working::{Cause, Change, Working};
use crate::pipeline::writer::Command;

pub(super) struct Populate {
    pub connection: Arc<Connection>,
    pub store: Arc<Connection>,
    pub owner: Owner,
    pub run: Uuid,
    pub actor: String,
    pub dry_run: bool,
    /// Listings that are known, and what they show.
    pub known: Vec<(ListingId, i64)>,
    /// Rows of nobody we know.
    pub rows: Vec<StockRow>,
}

#[derive(Default)]
pub(super) struct Made {
    pub listings: i64,
    pub products: i64,
    pub opened: i64,
    /// Without a SKU nothing can be made of a row.
    pub left: Vec<StockRow>,
}

impl Command for Populate {
    type Output = Made;
    type Error = PageError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Made, PageError> {
        own(tx, self.connection.id, &self.owner).await?;
        let mut made = Made::default();
        let mut items = Vec::new();
        self.open_known(tx, &mut made, &mut items).await?;
        for row in &self.rows {
            let sku = row.sku.as_deref().and_then(|sku| Sku::parse(sku).ok());
            let external = row.names.first().map(|(_, value)| value.clone()).or_else(|| row.sku.clone());
            let (Some(sku), Some(external)) = (sku, external) else {
                made.left.push(row.clone());
                continue;
            };
            self.make(tx, row, &sku, &external, &mut made, &mut items).await?;
        }
        if made.listings > 0 && !self.dry_run {
            webhooks::retry_unmapped(&mut tx.conn, self.connection.id).await?;
        }
        sync::put_items(&mut tx.conn, self.run, &items, tx.now).await?;
        Ok(made)
    }
}

impl Populate {
    /// Products that are listed already and have no ledger yet.
    async fn open_known(&self, tx: &mut Tx<'_>, made: &mut Made, items: &mut Vec<NewItem>) -> Result<(), DbError> {
        let listings: Vec<ListingId> = self.known.iter().map(|(listing, _)| *listing).collect();
        let rows = observations::fenced(&mut tx.conn, &listings).await?;
        let products: Vec<ProductId> = rows.iter().map(|row| row.product_id).collect();
        let mut opened: BTreeSet<ProductId> = observations::ever_moved(&mut tx.conn, &products).await?.into_iter().collect();
        for (listing, quantity) in &self.known {
            let Some(row) = rows.iter().find(|row| row.id == *listing && row.parts == 1 && row.units == 1) else { continue };
            if *quantity == 0 || !opened.insert(row.product_id) {
                continue;
            }
            made.opened += 1;
            items.push(self.item(Some(row.id), &row.marketplace_product_id, &row.market, &row.sku, *quantity, "opened"));
            if !self.dry_run {
                self.open(tx, row.product_id, row.id, *quantity, true).await?;
            }
        }
        Ok(())
    }

    async fn make(
        &self,
        tx: &mut Tx<'_>,
        row: &StockRow,
        sku: &Sku,
        external: &str,
        made: &mut Made,
        items: &mut Vec<NewItem>,
    ) -> Result<(), DbError> {
        let known = products::get(&mut tx.conn, sku.as_str()).await?;
        let quantity = row.quantity.unwrap_or(0).max(0);
        let market = row.market.clone().unwrap_or_default();
        let decision = if known.is_some() { "listing_created" } else { "product_created" };
        items.push(self.item(None, external, &market, sku.as_str(), quantity, decision));
        made.listings += 1;
        made.products += i64::from(known.is_none());
        let opens = match &known {
            Some(product) => observations::ever_moved(&mut tx.conn, &[product.id]).await?.is_empty(),
            None => true,
        } && quantity > 0;
        made.opened += i64::from(opens);
        if self.dry_run {
            return Ok(());
        }
        let product = match known {
            Some(product) => product.id,
            None => self.product(tx, sku, row).await?,
        };
        // The list may name it twice.
        if observations::exists(&mut tx.conn, self.connection.id, external, &market).await? {
            return Ok(());
        }
        let refs = row.names.iter().chain(&row.refs).map(|(name, value)| (name.clone(), serde_json::Value::from(value.as_str())));
        let refs = serde_json::Value::Object(refs.collect()).to_string();
        let id: ListingId = tx.id();
        let listing = NewListing {
            id,
            marketplace_id: self.connection.id,
            marketplace_product_id: external,
            market: &market,
            marketplace_sku: Some(sku.as_str()),
            refs: &refs,
            price_minor: None,
            currency: None,
            rule: "{}",
            actor: &self.actor,
        };
        listings::insert(&mut tx.conn, &listing, &[(product, 1)], tx.now).await?;
        self.open(tx, product, id, quantity, opens).await
    }

    async fn product(&self, tx: &mut Tx<'_>, sku: &Sku, row: &StockRow) -> Result<ProductId, DbError> {
        let title = row.title.as_deref().map(str::trim).filter(|title| !title.is_empty()).unwrap_or(sku.as_str());
        let mut create = CreateProduct {
            sku: sku.clone(),
            name: title.chars().filter(|c| !c.is_control()).take(200).collect(),
            price: None,
            cost_price: None,
            low_stock_threshold: None,
            oversell_policy: "block",
            initial_stock: Quantity::ZERO,
            store: self.store.clone(),
            actor: self.actor.clone(),
        };
        match create.run(tx).await {
            Ok(product) => Ok(product.id),
            Err(CatalogueError::Database(error)) => Err(error),
            Err(error) => Err(DbError::inconsistent("products", "sku", format!("{sku}: {error}"))),
        }
    }

    /// What it shows is what we believe it shows; for a product without a ledger it is the stock too.
    async fn open(
        &self,
        tx: &mut Tx<'_>,
        product: ProductId,
        listing: ListingId,
        shown: i64,
        opens: bool,
    ) -> Result<(), DbError> {
        let location = self.connection.locations.first().copied();
        let mut working = Working::of_products(tx, BTreeSet::from([product])).await?;
        if let Some(listing) = working.listings.get_mut(&listing) {
            listing.row.expected = Some(shown);
            listing.changed = true;
        }
        let cause = Cause {
            movement_type: "opening",
            change_type: "api_sync",
            marketplace_id: Some(self.connection.id),
            order_id: None,
            line_id: None,
            webhook_id: None,
            reference_type: Some("sync"),
            reference_id: Some(self.run.to_string()),
            actor: self.actor.clone(),
            reason: None,
            note: Some("the number its marketplace showed when it was first read".into()),
            source_key: format!("populate:{product}"),
            occurred_at: tx.now,
        };
        match location.filter(|_| opens && shown > 0) {
            Some(location) => {
                working.ensure_level(tx, (product, location)).await?;
                let change = Change { on_hand: shown, ..Change::default() };
                working
                    .post(tx, (product, location), change, cause)
                    .map_err(|error| DbError::inconsistent("inventory", "on_hand", error.to_string()))?;
            }
            None => working.touch(product, cause),
        }
        working.flush(tx).await
    }

    fn item(
        &self,
        listing: Option<ListingId>,
        external: &str,
        market: &str,
        sku: &str,
        remote: i64,
        what: &'static str,
    ) -> NewItem {
        NewItem {
            listing_id: listing,
            external_id: external.to_owned(),
            market: market.to_owned(),
            sku: Some(sku.to_owned()),
            local: None,
            expected: None,
            remote: Some(remote),
            cause: None,
            decision: what,
            reason: self.dry_run.then(|| "a dry run: nothing was made".to_owned()),
            strike: 1,
            movement_id: None,
        }
    }
}
