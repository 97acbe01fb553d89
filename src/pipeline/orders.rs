//! Orders that come through our own doors: the own storefront's, and those people type in. Unlike a marketplace's, which has
//! happened already, these may be refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::holds::Hold;
use super::orders_book::{Book, OrderKey, TYPED, blank};
use super::outbox;
use super::posting::{self, LinePosting};
use super::working::{Cause, Working};
use super::writer::Command;
use super::{CommandError, Tx};
use crate::db::DbError;
use crate::db::orders::{self, LineView, NewOrder, OrderRow, OrderView};
use crate::db::products::{self, ProductRow};
use crate::domain::events::Payload;
use crate::domain::ids::{LocationId, OrderId, ProductId, ReservationId};
use crate::domain::order::{self, LineState, LineUpdate};
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::marketplaces::{Connection, Kind};

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
    /// Takes from this hold first, the rest from what is free.
    pub reservation_id: Option<ReservationId>,
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
    #[error("a hold with this external_id has other items")]
    OtherHoldItems,
    #[error("unknown hold")]
    UnknownReservation,
    /// Its one terminal state.
    #[error("the hold is {0}")]
    ReservationEnded(String),
    #[error("more than the hold has left")]
    NotHeld(Vec<Short>),
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
        let hash = items_hash(&self.items);
        let id: OrderId = tx.id();
        let external_id = self.external_id.clone().unwrap_or_else(|| id.to_string());
        // Holds are locked before orders, everywhere.
        let hold = match self.reservation_id {
            Some(id) => Some(Hold::lock(tx, id, self.connection.id).await?),
            None => None,
        };
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
            reservation_id: self.reservation_id,
        };
        if orders::insert_once(&mut tx.conn, &[order], tx.now).await? == 0 {
            return self.existing(tx, &external_id, &hash).await;
        }
        let mut hold = hold.map(|hold| hold.open(tx.now)).transpose()?;
        let products = products_of(tx, &self.items).await?;
        let ids: BTreeSet<ProductId> = products.iter().map(|p| p.id).collect();
        let mut working = Working::of_products(tx, ids).await?;
        let held = |product| hold.as_ref().map_or(0, |hold: &Hold| hold.left(product));
        let short = short(&working, &self.connection, &self.items, &products, held);
        if !short.is_empty() && !self.force {
            return Err(OrderError::Insufficient(short));
        }
        let mut book = Book::of_new(self.connection.id, &external_id, id);
        for (number, (item, product)) in self.items.iter().zip(&products).enumerate() {
            let spot = self.take_from(tx, hold.as_mut(), &mut working, (item, product))?;
            self.sell(tx, &mut working, &mut book, (number, item, product), (id, &external_id, spot)).await?;
        }
        book.flush(tx).await?;
        working.flush(tx).await?;
        if let Some(hold) = hold {
            hold.settle(tx).await?;
        }
        placed(tx, id, false).await
    }

    /// Whoever sent an order that may be refused learns of it also by an event. A person at a form has the answer.
    async fn refused(&self, tx: &mut Tx<'_>, error: &OrderError) -> Result<(), DbError> {
        let OrderError::Insufficient(short) = error else { return Ok(()) };
        if !matches!(self.source, "store" | "bus") {
            return Ok(());
        }
        let products = products::list_by_sku(&mut tx.conn, short.iter().map(|short| short.sku.as_str())).await?;
        let event = |short: &Short| {
            let product = products.iter().find(|product| product.sku == short.sku).map(|product| product.id);
            let payload = Payload::InventoryUpdateFailed {
                sku: short.sku.to_string(),
                requested: short.requested,
                available: short.available,
                order_id: self.external_id.clone(),
                reason: "insufficient-stock",
            };
            outbox::refused(tx, product, &payload)
        };
        let events: Vec<_> = short.iter().map(event).collect();
        outbox::write(tx, &events).await
    }
}

/// Of what was asked for, whatever the order of the items.
pub(super) fn items_hash(items: &[OrderItem]) -> [u8; 32] {
    let mut items: Vec<(&str, i64)> = items.iter().map(|item| (item.sku.as_str(), item.quantity.get())).collect();
    items.sort_unstable();
    Sha256::digest(format!("{items:?}").as_bytes()).into()
}

/// The product of each item, in their order.
pub(super) async fn products_of(tx: &mut Tx<'_>, items: &[OrderItem]) -> Result<Vec<ProductRow>, OrderError> {
    let found = products::list_by_sku(&mut tx.conn, items.iter().map(|item| item.sku.as_str())).await?;
    let find = |sku: &Sku| found.iter().find(|p| p.sku == *sku).cloned();
    let numbered = items.iter().enumerate();
    let unknown: Vec<(usize, Sku)> =
        numbered.filter(|(_, item)| find(&item.sku).is_none()).map(|(n, item)| (n, item.sku.clone())).collect();
    if !unknown.is_empty() {
        return Err(OrderError::UnknownSku(unknown));
    }
    Ok(items.iter().filter_map(|item| find(&item.sku)).collect())
}

/// What there is not enough of. The store sells what it is allotted, people what is available; what the asker holds is his.
pub(super) fn short(
    working: &Working,
    connection: &Connection,
    items: &[OrderItem],
    products: &[ProductRow],
    held: impl Fn(ProductId) -> i64,
) -> Vec<Short> {
    let left = |product: &ProductRow| {
        let available = working.available(product.id, &connection.locations);
        let shown = working.listing_of(connection.id, product.id).map(|listing| listing.listed_stock);
        if connection.is_storefront() { shown.unwrap_or(0).min(available.max(0)) } else { available }
    };
    let each = items.iter().zip(products).enumerate();
    each.filter(|(_, (_, product))| product.oversell_policy == "block")
        .map(|(index, (item, product))| Short {
            index,
            sku: item.sku.clone(),
            requested: item.quantity.get(),
            available: left(product).max(0) + held(product.id),
        })
        .filter(|short| short.requested > short.available)
        .collect()
}

impl PlaceOrder {
    pub(super) async fn existing(&self, tx: &mut Tx<'_>, external_id: &str, hash: &[u8]) -> Result<Placed, OrderError> {
        let rows = orders::lock(&mut tx.conn, &[(self.connection.id, external_id)]).await?;
        let row = rows.first().ok_or_else(|| DbError::inconsistent("orders", "external_id", external_id))?;
        match &row.items_hash {
            Some(known) if known == hash => placed(tx, row.id, true).await,
            // It came by another door, as facts; the person says the same thing again, or more.
            None if matches!(self.connection.kind, Kind::Api | Kind::Polling) => self.join(tx, row.clone()).await,
            _ => Err(OrderError::OtherItems),
        }
    }

    /// Adds to a marketplace's order what it is not known to hold. It has happened already, so it is not refused.
    async fn join(&self, tx: &mut Tx<'_>, row: OrderRow) -> Result<Placed, OrderError> {
        let (id, external_id) = (row.id, row.external_id.clone());
        let products = products_of(tx, &self.items).await?;
        let key = OrderKey::of_known(&row, &self.actor);
        let mut book = Book::of_known(tx, row).await?;
        let ids: BTreeSet<ProductId> = products.iter().map(|p| p.id).chain(book.products()).collect();
        let mut working = Working::of_products(tx, ids).await?;
        for (number, (item, product)) in self.items.iter().zip(&products).enumerate() {
            let same = |row: &orders::LineRow| match row.product_id {
                Some(known) => known == product.id && row.component == 0,
                None => row.external_sku.as_deref() == Some(item.sku.as_str()),
            };
            let known = book.all_lines(&key).into_iter().find(|place| same(book.row(*place)));
            let Some(place) = known else {
                let spot = self.take_from(tx, None, &mut working, (item, product))?;
                self.sell(tx, &mut working, &mut book, (number, item, product), (id, &external_id, spot)).await?;
                continue;
            };
            let state = order::merge(&book.state(place), &LineUpdate { ordered: Some(item.quantity), ..LineUpdate::default() });
            book.set_state(place, &state);
            let location = book.row(place).location_id.or(self.connection.locations.first().copied());
            if let (Some(product), Some(location)) = (book.row(place).product_id, location) {
                working.ensure_level(tx, (product, location)).await?;
                self.post(tx, &mut working, &mut book, (place, location, state), (id, &external_id))?;
            }
        }
        book.flush(tx).await?;
        working.flush(tx).await?;
        placed(tx, id, true).await
    }

    /// Lets go what is held of an item, and chooses where the whole line is taken from: where it was held, if there is enough.
    fn take_from(
        &self,
        tx: &Tx<'_>,
        hold: Option<&mut Hold>,
        working: &mut Working,
        (item, product): (&OrderItem, &ProductRow),
    ) -> Result<LocationId, OrderError> {
        let quantity = item.quantity.get();
        let held_at = match hold {
            Some(hold) => hold.take(tx, working, product.id, quantity, &self.actor)?,
            None => None,
        };
        let enough = |location: &_| working.level((product.id, *location)).is_some_and(|level| level.available() >= quantity);
        let location =
            held_at.filter(enough).or_else(|| working.choose_location(product.id, quantity, &self.connection.locations));
        location.ok_or_else(|| OrderError::NotPostable("the product has no location to be sold from".into()))
    }

    async fn sell(
        &self,
        tx: &mut Tx<'_>,
        working: &mut Working,
        book: &mut Book,
        (number, item, product): (usize, &OrderItem, &ProductRow),
        (order_id, external_id, location): (OrderId, &str, LocationId),
    ) -> Result<(), OrderError> {
        let state = LineState { ordered: Some(item.quantity.get()), ..LineState::default() };
        // A marketplace that tells of its own orders will name the line itself, later.
        let names_itself = matches!(self.connection.kind, Kind::Api | Kind::Polling);
        let line_key = if names_itself { format!("{TYPED}{}", tx.id::<uuid::Uuid>()) } else { (number + 1).to_string() };
        let mut line = blank(tx, order_id, &line_key);
        line.external_sku = Some(item.sku.to_string());
        line.listing_id = working.listing_of(self.connection.id, product.id).map(|listing| listing.id);
        line.product_id = Some(product.id);
        line.price_minor = product.price_minor;
        line.cost_price_minor = product.cost_price_minor;
        line.currency = product.currency.clone();
        line.occurred_at = Some(tx.now);
        let place = book.own_line((self.connection.id, external_id), line);
        let place = place.ok_or_else(|| DbError::inconsistent("orders", "external_id", external_id))?;
        book.set_state(place, &state);
        working.ensure_level(tx, (product.id, location)).await?;
        self.post(tx, working, book, (place, location, state), (order_id, external_id))
    }

    fn post(
        &self,
        tx: &Tx<'_>,
        working: &mut Working,
        book: &mut Book,
        (place, location, state): (super::orders_book::LinePlace, LocationId, LineState),
        (order_id, external_id): (OrderId, &str),
    ) -> Result<(), OrderError> {
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

pub(super) async fn placed(tx: &mut Tx<'_>, id: OrderId, existing: bool) -> Result<Placed, OrderError> {
    let order = orders::get(&mut tx.conn, id).await?.ok_or_else(|| DbError::inconsistent("orders", "id", id.to_string()))?;
    let lines = orders::line_views(&mut tx.conn, [id]).await?;
    Ok(Placed { order, lines, existing })
}
