//! What others will be told, written in the transaction of its cause. Here events are made; `publish` carries them out.

use std::sync::Arc;

use tokio::sync::Notify;
use uuid::Uuid;

use super::Tx;
use super::working::Cause;
use crate::db::DbError;
use crate::db::events::{self, NewEvent};
use crate::db::inventory::LevelRow;
use crate::db::products::ProductRow;
use crate::domain::events::{Drift, EventType, Payload, trigger, updated_by};
use crate::domain::ids::{MarketplaceId, ProductId};

/// Wakes whoever carries events out.
#[derive(Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    pub fn ring(&self) {
        self.0.notify_one();
    }

    pub(super) async fn rung(&self) {
        self.0.notified().await;
    }
}

/// A product's numbers at one moment, over all its locations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub available: i64,
    /// How many movements it ever had.
    pub movements: i64,
}

impl Totals {
    pub fn of<'a>(levels: impl Iterator<Item = &'a LevelRow>) -> Self {
        levels.fold(Self::default(), |sum, level| Self {
            available: sum.available.saturating_add(level.available()),
            movements: sum.movements.saturating_add(level.version),
        })
    }
}

/// Writes events, in one statement.
pub(crate) async fn write(tx: &mut Tx<'_>, new: &[NewEvent]) -> Result<(), DbError> {
    if events::insert_once(&mut tx.conn, new, tx.now).await? > 0 {
        tx.effects.events = true;
    }
    Ok(())
}

/// A movement, where it changed what can be sold.
pub(super) fn moved(tx: &Tx<'_>, product: &ProductRow, before: Totals, after: Totals, cause: &Cause) -> Option<NewEvent> {
    let trigger = trigger(cause.movement_type).filter(|_| before.available != after.available)?;
    let payload = Payload::InventoryUpdated {
        product_id: product.id,
        sku: product.sku.to_string(),
        previous_quantity: before.available,
        new_quantity: after.available,
        trigger,
        order_id: cause.reference_id.clone().filter(|_| cause.reference_type == Some("order")),
        updated_by: updated_by(&cause.actor).to_owned(),
    };
    let key = format!("movement:{}", cause.source_key);
    Some(of_product(tx, product.id, EventType::InventoryUpdated, after, Some(key), &payload))
}

/// Low, out or back: an edge that was crossed.
pub(super) fn edge(tx: &Tx<'_>, product: &ProductRow, kind: EventType, now: Totals) -> NewEvent {
    let payload = Payload::Stock {
        product_id: product.id,
        sku: product.sku.to_string(),
        available: now.available,
        threshold: product.low_stock_threshold,
    };
    of_product(tx, product.id, kind, now, None, &payload)
}

/// It can be bought again, or no more.
pub(super) fn availability(tx: &Tx<'_>, product: &ProductRow, now: Totals) -> NewEvent {
    let payload = Payload::ProductUpdated {
        product_id: product.id,
        sku: product.sku.to_string(),
        changed_fields: vec!["isAvailable", "stockQuantity"],
        is_available: now.available > 0,
        updated_at: tx.now,
    };
    of_product(tx, product.id, EventType::ProductUpdated, now, None, &payload)
}

/// More was sold than there is.
pub(super) fn oversold(tx: &Tx<'_>, product: &ProductRow, level: &LevelRow, now: Totals, orders: &[&str]) -> NewEvent {
    let payload = Payload::Oversold {
        product_id: product.id,
        sku: product.sku.to_string(),
        available: level.available(),
        units: level.available().saturating_neg(),
        orders: orders.iter().filter(|order| !order.is_empty()).map(|order| (*order).to_owned()).collect(),
    };
    let key = format!("oversold:{}:{}:{}", product.id, level.location_id, level.version);
    of_product(tx, product.id, EventType::Oversold, now, Some(key), &payload)
}

/// An order that was refused for one of its lines. Its transaction is undone: this is written after that.
pub(super) fn refused(tx: &Tx<'_>, product: Option<ProductId>, payload: &Payload) -> NewEvent {
    let id = tx.id();
    // No movement, so no place in the product's order: it stands by itself.
    new(id, EventType::InventoryUpdateFailed, product, id, 0, None, payload)
}

/// A listing that shows another number than we believed.
pub(crate) fn drift(tx: &Tx<'_>, drift: Drift, now: Totals, key: String) -> NewEvent {
    let product = drift.product_id;
    of_product(tx, product, EventType::ListingDrift, now, Some(key), &Payload::Drift(drift))
}

/// A marketplace that can, or can no more, be reached.
pub(super) fn marketplace(tx: &Tx<'_>, kind: EventType, id: MarketplaceId, code: &str, reason: &str) -> NewEvent {
    let payload = Payload::Marketplace { marketplace: code.to_owned(), reason: reason.to_owned() };
    new(tx.id(), kind, None, id.uuid(), tx.now.micros(), None, &payload)
}

fn of_product(tx: &Tx<'_>, product: ProductId, kind: EventType, at: Totals, key: Option<String>, payload: &Payload) -> NewEvent {
    new(tx.id(), kind, Some(product), product.uuid(), kind.sequence(at.movements), key, payload)
}

/// Without a key of its cause an event is its own: whoever makes it makes sure that it is made once (an edge is stored with its
/// product).
fn new(
    id: Uuid,
    event_type: EventType,
    product_id: Option<ProductId>,
    stream: Uuid,
    sequence: i64,
    key: Option<String>,
    payload: &Payload,
) -> NewEvent {
    let source_key = key.unwrap_or_else(|| format!("{}:{id}", event_type.as_str()));
    // Plain structs of texts and numbers always have a JSON form.
    let payload = serde_json::to_string(payload).unwrap_or_else(|_| "{}".into());
    NewEvent { id, event_type, product_id, stream, sequence, source_key, payload }
}
