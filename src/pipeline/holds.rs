//! Holds: stock set aside for a cart, for a while. A hold ends in exactly one way: consumed by an order, released, or expired.
//!
//! Its time is the server's. Whether it is over is decided by the clock wherever a hold is looked at, so that an expired one is
//! dead before anybody sweeps it up; the sweep only gives the stock back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::orders::{OrderError, OrderItem, PlaceOrder, Placed, Short, items_hash, placed, products_of, short};
use super::working::{Cause, Change, Working};
use super::writer::{Command, Writer};
use super::{Tx, retarget};
use crate::db::reservations::{self, ItemRow, NewReservation, ReservationRow};
use crate::db::{DbError, orders};
use crate::domain::ids::{LocationId, MarketplaceId, ProductId, ReservationId};
use crate::domain::quantity::Quantity;
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::workers::More;

pub const HELD: &str = "held";
pub const EXPIRED: &str = "expired";

/// A hold as it stands, locked.
pub struct Hold {
    pub row: ReservationRow,
    pub items: Vec<ItemRow>,
    changed: bool,
}

/// A hold, and whether it was there before.
pub struct Shown {
    pub row: ReservationRow,
    pub items: Vec<ItemRow>,
    pub existing: bool,
    pub now: Timestamp,
}

/// What a hold is called at a time: one whose time is over is expired, swept or not.
pub fn state_at(row: &ReservationRow, now: Timestamp) -> &str {
    if row.state == HELD && row.expires_at <= now { EXPIRED } else { &row.state }
}

impl Hold {
    /// A hold of this marketplace, whatever its state.
    pub(super) async fn lock(tx: &mut Tx<'_>, id: ReservationId, marketplace: MarketplaceId) -> Result<Self, OrderError> {
        let row = reservations::lock(&mut tx.conn, id).await?;
        let row = row.filter(|row| row.marketplace_id == marketplace).ok_or(OrderError::UnknownReservation)?;
        let items = reservations::items(&mut tx.conn, [id]).await?;
        Ok(Self { row, items, changed: false })
    }

    /// The same, if it still holds.
    pub(super) fn open(self, now: Timestamp) -> Result<Self, OrderError> {
        match state_at(&self.row, now) {
            HELD => Ok(self),
            ended => Err(OrderError::ReservationEnded(ended.to_owned())),
        }
    }

    pub(super) fn left(&self, product: ProductId) -> i64 {
        self.items.iter().filter(|item| item.product_id == product).map(|item| item.quantity - item.consumed).sum()
    }

    /// Gives up to `most` pieces of a product over to an order; says where they lay.
    pub(super) fn take(
        &mut self,
        tx: &Tx<'_>,
        working: &mut Working,
        product: ProductId,
        most: i64,
        actor: &str,
    ) -> Result<Option<LocationId>, OrderError> {
        let (mut rest, mut first) = (most, None);
        for item in self.items.iter_mut().filter(|item| item.product_id == product) {
            let pieces = rest.min(item.quantity - item.consumed);
            if pieces <= 0 {
                continue;
            }
            rest -= pieces;
            item.consumed += pieces;
            self.changed = true;
            first = first.or(Some(item.location_id));
            let key = format!("hold:{}:{}:{}:taken:{}", self.row.id, product, item.location_id, item.consumed);
            let cause = cause(tx, &self.row, "released", "consumed", actor, key);
            set_aside(tx, working, self.row.marketplace_id, (product, item.location_id), -pieces, cause)?;
        }
        Ok(first)
    }

    /// Writes down what was taken; with nothing left the hold is consumed.
    pub(super) async fn settle(self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        if !self.changed {
            return Ok(());
        }
        reservations::set_consumed(&mut tx.conn, &self.items).await?;
        if self.items.iter().all(|item| item.consumed == item.quantity) {
            reservations::end(&mut tx.conn, self.row.id, "consumed", tx.now).await
        } else {
            reservations::touch(&mut tx.conn, self.row.id).await
        }
    }

    /// Gives back what is left.
    fn give_back(&self, tx: &Tx<'_>, working: &mut Working, how: &'static str, actor: &str) -> Result<(), OrderError> {
        for item in self.items.iter().filter(|item| item.consumed < item.quantity) {
            let key = format!("hold:{}:{}:{}:end", self.row.id, item.product_id, item.location_id);
            let cause = cause(tx, &self.row, "released", how, actor, key);
            let pieces = item.quantity - item.consumed;
            set_aside(tx, working, self.row.marketplace_id, (item.product_id, item.location_id), -pieces, cause)?;
        }
        Ok(())
    }
}

/// Moves the `reserved` counter; held units use up the quota of the store's listing as sold ones do.
fn set_aside(
    tx: &Tx<'_>,
    working: &mut Working,
    marketplace: MarketplaceId,
    level: (ProductId, LocationId),
    pieces: i64,
    cause: Cause,
) -> Result<(), OrderError> {
    let change = Change { reserved: pieces, ..Change::default() };
    working.post(tx, level, change, cause).map_err(|error| OrderError::NotPostable(error.to_string()))?;
    if let Some(listing) = working.listing_of(marketplace, level.0).map(|listing| listing.id) {
        retarget::use_quota(tx, working, listing, pieces)?;
    }
    Ok(())
}

fn cause(tx: &Tx<'_>, row: &ReservationRow, movement_type: &'static str, reason: &str, actor: &str, source_key: String) -> Cause {
    Cause {
        movement_type,
        change_type: movement_type,
        marketplace_id: Some(row.marketplace_id),
        order_id: None,
        line_id: None,
        webhook_id: None,
        reference_type: Some("reservation"),
        reference_id: Some(row.external_id.clone().unwrap_or_else(|| row.id.to_string())),
        actor: actor.to_owned(),
        reason: Some(reason.to_owned()),
        note: None,
        source_key,
        occurred_at: tx.now,
    }
}

/// Sets these items aside, all or none.
pub struct PlaceHold {
    pub connection: Arc<Connection>,
    pub external_id: Option<String>,
    pub items: Vec<OrderItem>,
    pub ttl: Duration,
    pub actor: String,
}

impl Command for PlaceHold {
    type Output = Shown;
    type Error = OrderError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Shown, OrderError> {
        let hash = items_hash(&self.items);
        let id: ReservationId = tx.id();
        let external_id = self.external_id.clone().unwrap_or_else(|| id.to_string());
        let expires_at = tx.now.plus(self.ttl);
        let marketplace_id = self.connection.id;
        let new =
            NewReservation { id, marketplace_id, external_id: &external_id, items_hash: &hash, actor: &self.actor, expires_at };
        if !reservations::insert_once(&mut tx.conn, &new, tx.now).await? {
            return self.existing(tx, &external_id, &hash).await;
        }
        let products = products_of(tx, &self.items).await?;
        let ids: BTreeSet<ProductId> = products.iter().map(|p| p.id).collect();
        let mut working = Working::of_products(tx, ids).await?;
        let short = short(&working, &self.connection, &self.items, &products, |_| 0);
        if !short.is_empty() {
            return Err(OrderError::Insufficient(short));
        }
        let row = reservations::get(&mut tx.conn, id).await?.ok_or(OrderError::UnknownReservation)?;
        let mut placed = Vec::with_capacity(products.len());
        for (item, product) in self.items.iter().zip(&products) {
            let quantity = item.quantity.get();
            let location = working.choose_location(product.id, quantity, &self.connection.locations);
            let location = location.ok_or_else(|| OrderError::NotPostable("the product has no location to be held at".into()))?;
            working.ensure_level(tx, (product.id, location)).await?;
            let key = format!("hold:{id}:{}:{location}:held", product.id);
            let cause = cause(tx, &row, "reserved", HELD, &self.actor, key);
            set_aside(tx, &mut working, marketplace_id, (product.id, location), quantity, cause)?;
            placed.push((product.id, location, quantity));
        }
        reservations::insert_items(&mut tx.conn, id, &placed).await?;
        working.flush(tx).await?;
        let items = reservations::items(&mut tx.conn, [id]).await?;
        Ok(Shown { row, items, existing: false, now: tx.now })
    }
}

impl PlaceHold {
    async fn existing(&self, tx: &mut Tx<'_>, external_id: &str, hash: &[u8]) -> Result<Shown, OrderError> {
        let row = reservations::lock_external(&mut tx.conn, self.connection.id, external_id).await?;
        let row = row.ok_or_else(|| DbError::inconsistent("reservations", "external_id", external_id))?;
        if row.items_hash.as_deref() != Some(hash) {
            return Err(OrderError::OtherHoldItems);
        }
        let items = reservations::items(&mut tx.conn, [row.id]).await?;
        Ok(Shown { row, items, existing: true, now: tx.now })
    }
}

/// More time from now on, never less than it had, and at most `life_max` since it began.
pub struct ExtendHold {
    pub id: ReservationId,
    pub connection: Arc<Connection>,
    pub ttl: Duration,
    pub life_max: Duration,
}

impl Command for ExtendHold {
    type Output = Shown;
    type Error = OrderError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Shown, OrderError> {
        let mut hold = Hold::lock(tx, self.id, self.connection.id).await?.open(tx.now)?;
        let until = tx.now.plus(self.ttl).min(hold.row.created_at.plus(self.life_max)).max(hold.row.expires_at);
        if until != hold.row.expires_at {
            reservations::extend(&mut tx.conn, self.id, until).await?;
            hold.row.expires_at = until;
        }
        Ok(Shown { row: hold.row, items: hold.items, existing: true, now: tx.now })
    }
}

/// Lets go what is held. A hold that was released already stays released: asking again changes nothing.
pub struct ReleaseHold {
    pub id: ReservationId,
    pub connection: Arc<Connection>,
    pub actor: String,
}

impl Command for ReleaseHold {
    type Output = Shown;
    type Error = OrderError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Shown, OrderError> {
        let hold = Hold::lock(tx, self.id, self.connection.id).await?;
        if hold.row.state != "released" {
            let hold = hold.open(tx.now)?;
            end(tx, vec![hold], "released", &self.actor).await?;
        }
        let row = reservations::get(&mut tx.conn, self.id).await?.ok_or(OrderError::UnknownReservation)?;
        let items = reservations::items(&mut tx.conn, [self.id]).await?;
        Ok(Shown { row, items, existing: true, now: tx.now })
    }
}

async fn end(tx: &mut Tx<'_>, holds: Vec<Hold>, how: &'static str, actor: &str) -> Result<(), OrderError> {
    let products: BTreeSet<ProductId> = holds.iter().flat_map(|hold| hold.items.iter().map(|item| item.product_id)).collect();
    let mut working = Working::of_products(tx, products).await?;
    for hold in &holds {
        hold.give_back(tx, &mut working, how, actor)?;
        reservations::end(&mut tx.conn, hold.row.id, how, tx.now).await?;
    }
    working.flush(tx).await?;
    Ok(())
}

/// Turns what is held into an order: all that is left, or some of it.
pub struct ConsumeHold {
    pub id: ReservationId,
    pub connection: Arc<Connection>,
    pub items: Option<Vec<OrderItem>>,
    pub external_id: Option<String>,
    pub actor: String,
}

impl Command for ConsumeHold {
    type Output = Placed;
    type Error = OrderError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Placed, OrderError> {
        let hold = Hold::lock(tx, self.id, self.connection.id).await?;
        if let Some(known) = self.repeated(tx).await? {
            return Ok(known);
        }
        let hold = hold.open(tx.now)?;
        let items = match &self.items {
            Some(items) => items.clone(),
            None => rest(&hold)?,
        };
        let beyond = beyond(&hold, &items);
        if !beyond.is_empty() {
            return Err(OrderError::NotHeld(beyond));
        }
        self.order(items).run(tx).await
    }
}

impl ConsumeHold {
    fn order(&self, items: Vec<OrderItem>) -> PlaceOrder {
        PlaceOrder {
            connection: self.connection.clone(),
            external_id: self.external_id.clone(),
            items,
            customer_name: None,
            customer_phone: None,
            actor: self.actor.clone(),
            force: false,
            source: "store",
            reservation_id: Some(self.id),
        }
    }

    /// The order of that name, where it was placed from this hold before.
    async fn repeated(&self, tx: &mut Tx<'_>) -> Result<Option<Placed>, OrderError> {
        let Some(external_id) = &self.external_id else { return Ok(None) };
        let known = orders::lock(&mut tx.conn, &[(self.connection.id, external_id)]).await?;
        let Some(row) = known.first() else { return Ok(None) };
        let same = self.items.as_ref().is_none_or(|items| row.items_hash.as_deref() == Some(&items_hash(items)[..]));
        if row.reservation_id != Some(self.id) || !same {
            return Err(OrderError::OtherItems);
        }
        placed(tx, row.id, true).await.map(Some)
    }
}

/// What is left of a hold, as items: several places of one product are one item.
fn rest(hold: &Hold) -> Result<Vec<OrderItem>, OrderError> {
    let mut items: Vec<OrderItem> = Vec::new();
    for row in &hold.items {
        let left = hold.left(row.product_id);
        if left == 0 || items.iter().any(|item| item.sku == row.sku) {
            continue;
        }
        let quantity = Quantity::parse_positive(left).map_err(|error| OrderError::NotPostable(error.to_string()))?;
        items.push(OrderItem { sku: row.sku.clone(), quantity });
    }
    Ok(items)
}

/// Items of which more is asked for than the hold has left.
fn beyond(hold: &Hold, items: &[OrderItem]) -> Vec<Short> {
    let held = |item: &OrderItem| {
        let product = hold.items.iter().find(|row| row.sku == item.sku).map(|row| row.product_id);
        product.map_or(0, |product| hold.left(product))
    };
    let each = items.iter().enumerate().map(|(index, item)| Short {
        index,
        sku: item.sku.clone(),
        requested: item.quantity.get(),
        available: held(item),
    });
    each.filter(|short| short.requested > short.available).collect()
}

/// Gives back the stock of holds whose time is over.
pub struct ExpireHolds {
    pub limit: i64,
}

impl Command for ExpireHolds {
    /// How many were over.
    type Output = usize;
    type Error = OrderError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<usize, OrderError> {
        let due = reservations::due(&mut tx.conn, tx.now, self.limit).await?;
        let count = due.len();
        if count == 0 {
            return Ok(0);
        }
        let mut items = reservations::items(&mut tx.conn, due.iter().map(|row| row.id)).await?;
        let own = |row: ReservationRow| {
            let items = items.extract_if(.., |item| item.reservation_id == row.id).collect();
            Hold { row, items, changed: false }
        };
        let holds: Vec<Hold> = due.into_iter().map(own).collect();
        end(tx, holds, EXPIRED, "system").await?;
        Ok(count)
    }
}

/// Holds swept up in one transaction.
const SWEEP_MAX: i64 = 100;

/// One bounded pass over the holds whose time is over.
pub async fn sweep(writer: &Writer) -> More {
    match writer.run_patiently(ExpireHolds { limit: SWEEP_MAX }).await {
        Ok(count) if count as i64 == SWEEP_MAX => More::Now,
        Ok(_) => More::Later,
        Err(error) => {
            tracing::warn!(%error, "expired holds could not be swept up");
            More::Later
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_instant_of_a_hold_is_over_and_a_terminal_state_is_for_ever() {
        let at = Timestamp::from_seconds;
        let row = |state: &str| ReservationRow {
            id: ReservationId::new(uuid::Uuid::nil()),
            marketplace_id: MarketplaceId::new(uuid::Uuid::nil()),
            external_id: None,
            state: state.into(),
            items_hash: None,
            actor: "test".into(),
            expires_at: at(10),
            version: 1,
            created_at: at(0),
            ended_at: None,
        };
        assert_eq!(state_at(&row(HELD), at(9)), HELD);
        assert_eq!(state_at(&row(HELD), at(10)), EXPIRED);
        assert_eq!(state_at(&row("consumed"), at(99)), "consumed");
    }
}
