//! The working set of one transaction: the levels, listings and products it touches, locked, and everything that follows from a
//! change of stock. The only way by which stock changes: whoever has a reason to move some loads a `Working`, posts, and flushes.
//!
//! Rows are locked in one order everywhere (orders, then levels, then listings and products, each sorted), so two writers wait but
//! never deadlock; the mark of a pass over all products comes before all of them. Updates are relative; the values after each movement are worked out under the lock and held against what the
//! database says came out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::outbox::{self, Totals};
use super::{Tx, oversells, retarget};
use crate::db::DbError;
use crate::db::alerts::{self, NewAlert};
use crate::db::events::NewEvent;
use crate::db::inventory::{self, LevelChange, LevelRow};
use crate::db::listings::{self, ListingRow};
use crate::db::movements::{self, Movement};
use crate::db::products::{self, ProductRow, StateChange};
use crate::db::sales::{self, SalesDelta, SalesKey};
use crate::domain::alerts::{Edge, StockState, edge};
use crate::domain::events::EventType;
use crate::domain::ids::{LineId, ListingId, LocationId, MarketplaceId, MovementId, OrderId, ProductId, WebhookId};
use crate::domain::order::Posting;
use crate::domain::time::Timestamp;

pub type LevelKey = (ProductId, LocationId);

/// What each counter of a level changes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub on_hand: i64,
    pub committed: i64,
    pub reserved: i64,
    pub unsellable: i64,
    pub incoming: i64,
}

impl From<Posting> for Change {
    fn from(posting: Posting) -> Self {
        Self { on_hand: posting.on_hand, committed: posting.committed, unsellable: posting.unsellable, ..Self::default() }
    }
}

/// Why stock moves: what the ledger and the listings' history will say of it.
#[derive(Clone, Debug)]
pub struct Cause {
    pub movement_type: &'static str,
    /// The word for the same thing in the listings' history.
    pub change_type: &'static str,
    pub marketplace_id: Option<MarketplaceId>,
    pub order_id: Option<OrderId>,
    pub line_id: Option<LineId>,
    pub webhook_id: Option<WebhookId>,
    pub reference_type: Option<&'static str>,
    pub reference_id: Option<String>,
    pub actor: String,
    pub reason: Option<String>,
    pub note: Option<String>,
    /// Unique for ever: the same cause cannot be posted twice.
    pub source_key: String,
    pub occurred_at: Timestamp,
}

pub(super) struct Level {
    pub row: LevelRow,
    pub before: LevelRow,
    pub movements: i64,
}

pub(crate) struct Listing {
    pub row: ListingRow,
    pub changed: bool,
}

#[derive(Default)]
pub struct Working {
    pub(super) products: HashMap<ProductId, ProductRow>,
    pub(super) levels: BTreeMap<LevelKey, Level>,
    pub(crate) listings: BTreeMap<ListingId, Listing>,
    pub(crate) components: HashMap<ListingId, Vec<(ProductId, i64)>>,
    /// The listings each product is part of: the same facts, found from the other end.
    listed: HashMap<ProductId, Vec<ListingId>>,
    /// Products whose stock moved or whose listings must be looked at again, with the last cause.
    pub(super) touched: BTreeMap<ProductId, Cause>,
    movements: Vec<Movement>,
    events: Vec<NewEvent>,
    sales: BTreeMap<SalesKey, SalesDelta>,
}

/// A movement that cannot be: the level does not exist, or a counter would leave its range.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    #[error("the product has no stock record at that location")]
    NoLevel,
    #[error("{0} would fall below zero")]
    Negative(&'static str),
    #[error("the stock would leave the range of 64 bits")]
    Overflow,
}

impl Working {
    /// Loads and locks all that these products touch, bundles and their other parts included.
    pub async fn of_products(tx: &mut Tx<'_>, list: BTreeSet<ProductId>) -> Result<Self, DbError> {
        Self::load(tx, list, true).await
    }

    /// The same, without a lock, for who only wants to see.
    pub(super) async fn to_look_at(tx: &mut Tx<'_>, list: BTreeSet<ProductId>) -> Result<Self, DbError> {
        Self::load(tx, list, false).await
    }

    /// Locks the stock of these products and of what is sold with them, and loads nothing: for who changes something else of a product
    /// or of its listings first. Stock comes before both, everywhere.
    pub(super) async fn hold(tx: &mut Tx<'_>, list: BTreeSet<ProductId>) -> Result<(), DbError> {
        let mut related = list;
        let components = listings::components_around(&mut tx.conn, related.iter().copied()).await?;
        related.extend(components.iter().map(|c| c.product_id));
        inventory::lock(&mut tx.conn, related).await.map(drop)
    }

    async fn load(tx: &mut Tx<'_>, list: BTreeSet<ProductId>, lock: bool) -> Result<Self, DbError> {
        let mut related = list;
        let components = listings::components_around(&mut tx.conn, related.iter().copied()).await?;
        related.extend(components.iter().map(|c| c.product_id));
        let mut working = Self::default();
        let levels = if lock {
            inventory::lock(&mut tx.conn, related.iter().copied()).await?
        } else {
            inventory::list(&mut tx.conn, related.iter().copied()).await?
        };
        for row in levels {
            working.levels.insert((row.product_id, row.location_id), Level { row, before: row, movements: 0 });
        }
        // After the locks: another node may have moved the same stock while we waited, and changed the product's state with it.
        for row in products::list_by_id(&mut tx.conn, related.iter().copied()).await? {
            working.products.insert(row.id, row);
        }
        let rows = if lock {
            listings::lock_of_products(&mut tx.conn, related.iter().copied()).await?
        } else {
            listings::list_of_products(&mut tx.conn, related.iter().copied()).await?
        };
        for row in rows {
            working.listings.insert(row.id, Listing { row, changed: false });
        }
        for c in components {
            working.components.entry(c.listing_id).or_default().push((c.product_id, c.units));
            working.listed.entry(c.product_id).or_default().push(c.listing_id);
        }
        Ok(working)
    }

    /// Makes sure a stock record exists where stock is about to move.
    pub async fn ensure_level(&mut self, tx: &mut Tx<'_>, key: LevelKey) -> Result<(), DbError> {
        if self.levels.contains_key(&key) {
            return Ok(());
        }
        inventory::insert_once(&mut tx.conn, [key], tx.now).await?;
        for row in inventory::lock(&mut tx.conn, [key.0]).await? {
            self.levels.entry((row.product_id, row.location_id)).or_insert(Level { row, before: row, movements: 0 });
        }
        Ok(())
    }

    pub fn level(&self, key: LevelKey) -> Option<&LevelRow> {
        self.levels.get(&key).map(|level| &level.row)
    }

    /// The products a listing is made of.
    pub fn parts(&self, listing: ListingId) -> Vec<ProductId> {
        self.components.get(&listing).into_iter().flatten().map(|(product, _)| *product).collect()
    }

    pub fn product(&self, id: ProductId) -> Option<&ProductRow> {
        self.products.get(&id)
    }

    /// What can be sold of a product over some locations.
    pub fn available(&self, product: ProductId, locations: &[LocationId]) -> i64 {
        locations.iter().filter_map(|location| self.level((product, *location))).map(LevelRow::available).sum()
    }

    /// Since when a listing has been ours to tell.
    pub fn listed_since(&self, listing: ListingId) -> Option<Timestamp> {
        self.listings.get(&listing).map(|listing| listing.row.created_at)
    }

    /// The marketplace's listing of just this product.
    pub fn listing_of(&self, marketplace: MarketplaceId, product: ProductId) -> Option<&ListingRow> {
        let alone = |id: &ListingId| self.components.get(id).is_some_and(|parts| matches!(&parts[..], [(p, 1)] if *p == product));
        self.listings.values().map(|l| &l.row).find(|row| row.marketplace_id == marketplace && alone(&row.id))
    }

    pub(crate) fn totals(&self, product: ProductId) -> Totals {
        Totals::of(self.levels_of(product))
    }

    /// A product's levels, found without passing by those of all others.
    pub(super) fn levels_of(&self, product: ProductId) -> impl Iterator<Item = &LevelRow> {
        let (first, last) = (LocationId::new(Uuid::nil()), LocationId::new(Uuid::max()));
        self.levels.range((product, first)..=(product, last)).map(|(_, level)| &level.row)
    }

    /// The listings a product is part of, in no order.
    pub(super) fn listed(&self, product: ProductId) -> &[ListingId] {
        self.listed.get(&product).map_or(&[], Vec::as_slice)
    }

    /// A sale takes its whole line from the first location with enough, else from the first.
    pub fn choose_location(&self, product: ProductId, pieces: i64, locations: &[LocationId]) -> Option<LocationId> {
        let enough = |location: &&LocationId| self.level((product, **location)).is_some_and(|level| level.available() >= pieces);
        locations.iter().find(enough).or(locations.first()).copied()
    }

    /// Moves stock and writes the ledger's row for it. Nothing reaches the database before [`Working::flush`].
    pub fn post(&mut self, tx: &Tx<'_>, key: LevelKey, change: Change, cause: Cause) -> Result<MovementId, PostError> {
        let totals_before = self.totals(key.0);
        let level = self.levels.get_mut(&key).ok_or(PostError::NoLevel)?;
        let after = added(level.row, change)?;
        level.row = after;
        level.movements += 1;
        let totals = self.totals(key.0);
        if let Some(product) = self.products.get(&key.0) {
            self.events.extend(outbox::moved(tx, product, totals_before, totals, &cause));
        }
        let id = tx.id();
        self.movements.push(Movement {
            id,
            after,
            on_hand: change.on_hand,
            committed: change.committed,
            reserved: change.reserved,
            unsellable: change.unsellable,
            incoming: change.incoming,
            movement_type: cause.movement_type,
            marketplace_id: cause.marketplace_id,
            order_line_id: cause.line_id,
            webhook_id: cause.webhook_id,
            reference_type: cause.reference_type,
            reference_id: cause.reference_id.clone(),
            actor: cause.actor.clone(),
            reason: cause.reason.clone(),
            note: cause.note.clone(),
            source_key: cause.source_key.clone(),
            occurred_at: cause.occurred_at,
        });
        self.touched.insert(key.0, cause);
        Ok(id)
    }

    /// Looks at a product's listings again although its stock did not move.
    pub fn touch(&mut self, product: ProductId, cause: Cause) {
        self.touched.entry(product).or_insert(cause);
    }

    pub fn record_sale(&mut self, key: SalesKey, delta: &SalesDelta) {
        let sum = self.sales.entry(key).or_default();
        sum.units += delta.units;
        sum.revenue_minor += delta.revenue_minor;
        sum.cost_minor += delta.cost_minor;
        sum.orders += delta.orders;
        sum.cancelled += delta.cancelled;
        sum.returned += delta.returned;
    }

    /// Writes it all: levels, ledger, listing targets with their history, product states, alerts, figures, events.
    pub async fn flush(mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        self.write_levels(tx).await?;
        if !self.movements.is_empty() {
            movements::insert(&mut tx.conn, &self.movements, tx.now).await?;
        }
        retarget::listings(tx, &mut self).await?;
        self.write_states(tx).await?;
        let oversold = oversells::write(tx, &self).await?;
        self.events.extend(oversold);
        sales::add(&mut tx.conn, &self.sales).await?;
        outbox::write(tx, &self.events).await
    }

    async fn write_levels(&self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let moved = self.levels.values().filter(|level| level.movements > 0);
        let changes: Vec<LevelChange> = moved
            .map(|Level { row, before, movements }| LevelChange {
                product_id: row.product_id,
                location_id: row.location_id,
                on_hand: row.on_hand - before.on_hand,
                committed: row.committed - before.committed,
                reserved: row.reserved - before.reserved,
                unsellable: row.unsellable - before.unsellable,
                incoming: row.incoming - before.incoming,
                movements: *movements,
            })
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        for after in inventory::apply(&mut tx.conn, &changes, tx.now).await? {
            let thought = self.level((after.product_id, after.location_id));
            if thought != Some(&after) {
                // The rows are locked: this cannot be, and if it is, nothing of the group may stand.
                return Err(DbError::inconsistent("inventory", "version", format!("{after:?} where {thought:?} was worked out")));
            }
        }
        Ok(())
    }

    /// Low, out and back in stock are edges: told when crossed, not while they last.
    async fn write_states(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let mut states = States::default();
        for (id, cause) in &self.touched {
            let Some(product) = self.products.get(id) else { continue };
            states.judge(tx, product, self.totals(*id), cause.movement_type == "opening")?;
        }
        if !states.changes.is_empty() {
            products::set_states(&mut tx.conn, &states.changes, tx.now).await?;
        }
        alerts::open_once(&mut tx.conn, &states.opened, tx.now).await?;
        if !states.ended.is_empty() {
            alerts::resolve(&mut tx.conn, states.ended.iter().map(String::as_str), tx.now).await?;
        }
        self.events.extend(states.events);
        Ok(())
    }
}

/// What crossing an edge brings with it, for all products of a flush.
#[derive(Default)]
struct States {
    changes: Vec<StateChange>,
    opened: Vec<NewAlert>,
    ended: Vec<String>,
    events: Vec<NewEvent>,
}

impl States {
    fn judge(&mut self, tx: &Tx<'_>, product: &ProductRow, totals: Totals, is_new: bool) -> Result<(), DbError> {
        let available = totals.available;
        let was = StockState::parse(&product.stock_state)
            .ok_or_else(|| DbError::inconsistent("products", "stock_state", product.stock_state.clone()))?;
        let (now, crossed) = edge(was, available, product.low_stock_threshold);
        let is_available = available > 0;
        if now != was || is_available != product.is_available {
            self.changes.push(StateChange { id: product.id, is_available, stock_state: now.as_str() });
        }
        if is_available != product.is_available {
            self.events.push(outbox::availability(tx, product, totals));
        }
        let mut cross = |kind: EventType| {
            self.opened.push(stock_alert(tx, product, kind.as_str(), available));
            self.events.push(outbox::edge(tx, product, kind, totals));
        };
        match crossed {
            Some(Edge::Low) => cross(EventType::LowStock),
            Some(Edge::Out) => cross(EventType::OutOfStock),
            // What was never there is not back.
            Some(Edge::Back) if was == StockState::Out && !is_new => cross(EventType::BackInStock),
            Some(Edge::Back) | None => {}
        }
        if crossed == Some(Edge::Back) {
            self.ended.push(format!("out-of-stock:{}", product.sku));
            // Good news does not wait for anybody: it is over as soon as it is told.
            self.ended.push(format!("back-in-stock:{}", product.sku));
            if now == StockState::Ok {
                self.ended.push(format!("low-stock:{}", product.sku));
            }
        }
        Ok(())
    }
}

fn added(row: LevelRow, change: Change) -> Result<LevelRow, PostError> {
    let add = |a: i64, b: i64| a.checked_add(b).ok_or(PostError::Overflow);
    let counted = |name, a: i64, b: i64| match add(a, b)? {
        negative if negative < 0 => Err(PostError::Negative(name)),
        fine => Ok(fine),
    };
    let after = LevelRow {
        on_hand: add(row.on_hand, change.on_hand)?,
        committed: counted("committed", row.committed, change.committed)?,
        reserved: counted("reserved", row.reserved, change.reserved)?,
        unsellable: counted("unsellable", row.unsellable, change.unsellable)?,
        incoming: counted("incoming", row.incoming, change.incoming)?,
        version: row.version + 1,
        ..row
    };
    let taken = add(after.committed, after.reserved).and_then(|sum| add(sum, after.unsellable))?;
    after.on_hand.checked_sub(taken).ok_or(PostError::Overflow)?;
    Ok(after)
}

pub(super) fn stock_alert(tx: &Tx<'_>, product: &ProductRow, kind: &'static str, available: i64) -> NewAlert {
    let (severity, words) = match kind {
        "oversold" => ("critical", format!("{} is oversold: available is {available}", product.sku)),
        "out-of-stock" => ("warning", format!("{} is out of stock", product.sku)),
        "back-in-stock" => ("info", format!("{} is back in stock: {available} available", product.sku)),
        _ => ("info", format!("{} is low: {available} left, threshold {}", product.sku, product.low_stock_threshold)),
    };
    NewAlert {
        id: tx.id(),
        kind,
        severity,
        dedup_key: format!("{kind}:{}", product.sku),
        product_id: Some(product.id),
        marketplace_id: None,
        message: words,
    }
}
