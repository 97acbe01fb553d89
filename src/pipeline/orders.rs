//! Orders that come through our own doors: the own storefront's, and those people type in. Unlike a marketplace's, which has
//! happened already, these may be refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::orders_book::{Book, blank};
use super::posting::{self, LinePosting};
use super::working::{Cause, Working};
use super::writer::Command;
use super::{CommandError, Tx};
use crate::db::DbError;
use crate::db::orders::{self, LineView, NewOrder, OrderView};
use crate::db::products::{self, ProductRow};
use crate::domain::ids::{OrderId, ProductId};
use crate::domain::order::LineState;
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::marketplaces::Connection;

/// Sells these items now, all or none.
pub struct PlaceOrder {
    pub connection: Arc<Connection>,
    /// The caller's own name of the order: the same again is the same order.
    pub external_id: Option<String>,
    pub items: Vec<OrderItem>,
    pub customer_name: Option<Vec<u8>>,
    pub customer_phone: Option<Vec<u8>>,
    pub actor: String,
    /// Sells what is not there: a manual order of an operator who knows better.
    pub force: bool,
    pub source: &'static str,
}

#[derive(Clone, Debug)]
pub struct OrderItem {
    pub sku: Sku,
    pub quantity: Quantity,
}

pub struct Placed {
    pub order: OrderView,
    pub lines: Vec<LineView>,
    /// It was there already, with the same items.
    pub existing: bool,
}

/// What is left of an item that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// Index in the request's items.
    pub index: usize,
    pub sku: Sku,
    pub requested: i64,
    pub available: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error("unknown SKU")]
    UnknownSku(Vec<(usize, Sku)>),
    #[error("not enough stock")]
    Insufficient(Vec<Short>),
    #[error("an order with this external_id has other items")]
    OtherItems,
    #[error("the stock cannot move that way: {0}")]
    NotPostable(String),
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for OrderError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

impl Command for PlaceOrder {
    type Output = Placed;
    type Error = OrderError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Placed, OrderError> {
        let hash = self.items_hash();
        let id: OrderId = tx.id();
        let external_id = self.external_id.clone().unwrap_or_else(|| id.to_string());
        let order = NewOrder {
            id,
            marketplace_id: self.connection.id,
            external_id: &external_id,
            source: self.source,
            status: "created",
            placed_at: Some(tx.now),
            items_hash: Some(&hash),
            customer_name: self.customer_name.as_deref(),
            customer_phone: self.customer_phone.as_deref(),
            actor: &self.actor,
        };
        if orders::insert_once(&mut tx.conn, &[order], tx.now).await? == 0 {
            return self.existing(tx, &external_id, &hash).await;
        }
        let products = self.products(tx).await?;
        let ids: BTreeSet<ProductId> = products.iter().map(|p| p.id).collect();
        let mut working = Working::of_products(tx, ids).await?;
        let short = self.short(&working, &products);
        if !short.is_empty() && !self.force {
            return Err(OrderError::Insufficient(short));
        }
        let mut book = Book::of_new(self.connection.id, &external_id, id);
        for (number, (item, product)) in self.items.iter().zip(&products).enumerate() {
            self.sell(tx, &mut working, &mut book, (number, item, product), (id, &external_id)).await?;
        }
        book.flush(tx).await?;
        working.flush(tx).await?;
        placed(tx, id, false).await
    }
}

impl PlaceOrder {
    /// Of what was asked for, whatever the order of the items.
    fn items_hash(&self) -> [u8; 32] {
        let mut items: Vec<(&str, i64)> = self.items.iter().map(|item| (item.sku.as_str(), item.quantity.get())).collect();
        items.sort_unstable();
        Sha256::digest(format!("{items:?}").as_bytes()).into()
    }

    async fn existing(&self, tx: &mut Tx<'_>, external_id: &str, hash: &[u8]) -> Result<Placed, OrderError> {
        let rows = orders::lock(&mut tx.conn, &[(self.connection.id, external_id)]).await?;
        let row = rows.first().ok_or_else(|| DbError::inconsistent("orders", "external_id", external_id))?;
        if row.items_hash.as_deref() == Some(hash) { placed(tx, row.id, true).await } else { Err(OrderError::OtherItems) }
    }

    /// The product of each item, in their order.
    async fn products(&self, tx: &mut Tx<'_>) -> Result<Vec<ProductRow>, OrderError> {
        let found = products::list_by_sku(&mut tx.conn, self.items.iter().map(|item| item.sku.as_str())).await?;
        let find = |sku: &Sku| found.iter().find(|p| p.sku == *sku).cloned();
        let unknown: Vec<(usize, Sku)> = self
            .items
            .iter()
            .enumerate()
            .filter(|(_, item)| find(&item.sku).is_none())
            .map(|(n, item)| (n, item.sku.clone()))
            .collect();
        if !unknown.is_empty() {
            return Err(OrderError::UnknownSku(unknown));
        }
        Ok(self.items.iter().filter_map(|item| find(&item.sku)).collect())
    }

    /// The store sells what it is allotted, people what is available.
    fn short(&self, working: &Working, products: &[ProductRow]) -> Vec<Short> {
        let left = |product: &ProductRow| {
            let available = working.available(product.id, &self.connection.locations);
            let shown = working.listing_of(self.connection.id, product.id).map(|listing| listing.listed_stock);
            if self.connection.is_storefront() { shown.unwrap_or(0).min(available.max(0)) } else { available }
        };
        let each = self.items.iter().zip(products).enumerate();
        each.filter(|(_, (_, product))| product.oversell_policy == "block")
            .map(|(index, (item, product))| Short {
                index,
                sku: item.sku.clone(),
                requested: item.quantity.get(),
                available: left(product).max(0),
            })
            .filter(|short| short.requested > short.available)
            .collect()
    }

    async fn sell(
        &self,
        tx: &mut Tx<'_>,
        working: &mut Working,
        book: &mut Book,
        (number, item, product): (usize, &OrderItem, &ProductRow),
        (order_id, external_id): (OrderId, &str),
    ) -> Result<(), OrderError> {
        let state = LineState { ordered: Some(item.quantity.get()), ..LineState::default() };
        let mut line = blank(tx, order_id, &(number + 1).to_string());
        line.external_sku = Some(item.sku.to_string());
        line.listing_id = working.listing_of(self.connection.id, product.id).map(|listing| listing.id);
        line.product_id = Some(product.id);
        line.price_minor = product.price_minor;
        line.cost_price_minor = product.cost_price_minor;
        line.currency = product.currency.clone();
        line.occurred_at = Some(tx.now);
        let not_there = || OrderError::NotPostable("the product has no location to be sold from".into());
        let place = book.own_line((self.connection.id, external_id), line).ok_or_else(not_there)?;
        book.set_state(place, &state);
        let location =
            working.choose_location(product.id, item.quantity.get(), &self.connection.locations).ok_or_else(not_there)?;
        working.ensure_level(tx, (product.id, location)).await?;
        let cause = Cause {
            movement_type: "sale",
            change_type: "order_created",
            marketplace_id: Some(self.connection.id),
            order_id: Some(order_id),
            line_id: None,
            webhook_id: None,
            reference_type: Some("order"),
            reference_id: Some(external_id.to_owned()),
            actor: self.actor.clone(),
            reason: None,
            note: None,
            source_key: String::new(),
            occurred_at: tx.now,
        };
        let fulfilment = self.connection.policy.fulfilment;
        let posting = LinePosting { place, location, state, fulfilment, sale_type: "sale", returned: false, historic: false };
        posting::post_line(tx, working, book, posting, cause)
            .map(drop)
            .map_err(|error| OrderError::NotPostable(error.to_string()))
    }
}

async fn placed(tx: &mut Tx<'_>, id: OrderId, existing: bool) -> Result<Placed, OrderError> {
    let order = orders::get(&mut tx.conn, id).await?.ok_or_else(|| DbError::inconsistent("orders", "id", id.to_string()))?;
    let lines = orders::line_views(&mut tx.conn, [id]).await?;
    Ok(Placed { order, lines, existing })
}
