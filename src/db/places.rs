//! Locations, and what counting needs: what moved at a level since a time, and when it was counted last.

use std::collections::BTreeMap;

use super::conn::{Conn, execute_exactly, fetch_all, row};
use super::error::DbError;
use super::sql::{Rows, statements};
use crate::domain::ids::{LocationId, ProductId};
use crate::domain::time::Timestamp;

statements! {
    PLACES_LIST = both("SELECT l.id, l.code, l.name, l.kind, l.sellable, l.priority, l.created_at, \
            CAST(COALESCE((SELECT SUM(i.on_hand) FROM inventory i WHERE i.location_id = l.id), 0) AS BIGINT) AS on_hand \
        FROM locations l WHERE l.archived_at IS NULL ORDER BY l.priority, l.code");
    PLACE_INSERT = both("INSERT INTO locations (id, code, name, kind, sellable, priority, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7)");
    // By when it happened, not when it was written: a sale of before the count that comes late is replayed on nothing. What lay there
    // when the product was made was counted too.
    MOVED_SINCE = both("SELECT {int 0} AS item, \
            (SELECT CAST(COALESCE(MAX(m.occurred_at), 0) AS BIGINT) FROM inventory_movements m WHERE m.product_id = {id 1} \
                AND m.location_id = {id 2} AND m.movement_type IN ('adjusted', 'opening')) AS counted, \
            (SELECT CAST(COALESCE(SUM(m.on_hand_change), 0) AS BIGINT) FROM inventory_movements m WHERE m.product_id = {id 1} \
                AND m.location_id = {id 2} AND m.occurred_at > {int 3}) AS on_hand, \
            (SELECT CAST(COALESCE(SUM(m.committed_change), 0) AS BIGINT) FROM inventory_movements m WHERE m.product_id = {id 1} \
                AND m.location_id = {id 2} AND m.occurred_at > {int 3}) AS committed \
        FROM {rows} ORDER BY item");
    PRODUCTS_COUNTED = both("UPDATE products SET last_counted_at = (CASE WHEN COALESCE(last_counted_at, 0) > {int 1} \
            THEN last_counted_at ELSE {int 1} END) FROM {rows} WHERE products.id = {id 0}");
}

row! {
    #[derive(Clone, Debug)]
    pub struct PlaceRow {
        pub id: LocationId,
        pub code: String,
        pub name: String,
        pub kind: String,
        pub sellable: bool,
        pub priority: i64,
        pub created_at: Timestamp,
        pub on_hand: i64,
    }
}

pub async fn list(conn: &mut Conn<'_>) -> Result<Vec<PlaceRow>, DbError> {
    fetch_all!(conn, PLACES_LIST, PlaceRow)
}

/// `DbError::Exists` when the code is taken.
pub async fn insert(conn: &mut Conn<'_>, p: &PlaceRow) -> Result<(), DbError> {
    let (code, name, kind) = (p.code.as_str(), p.name.as_str(), p.kind.as_str());
    execute_exactly!(1, conn, PLACE_INSERT, p.id, code, name, kind, p.sellable, p.priority, p.created_at)
}

row! {
    /// What a count of a level is held against.
    #[derive(Clone, Copy, Debug)]
    pub struct Since {
        /// Which of the counts.
        pub item: i64,
        /// When the level was last set to a count; the epoch where it never was.
        pub counted: Timestamp,
        /// What moved after the time of this count.
        pub on_hand: i64,
        pub committed: i64,
    }
}

/// One for each of these levels and times, in their order.
pub async fn since(conn: &mut Conn<'_>, counts: &[(ProductId, LocationId, Timestamp)]) -> Result<Vec<Since>, DbError> {
    let mut rows = Rows::new();
    for (n, (product, location, at)) in counts.iter().enumerate() {
        rows.push(|r| {
            r.int(n as i64).id(*product).id(*location).int(at.micros());
        });
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    fetch_all!(conn, MOVED_SINCE, Since, rows.finish())
}

/// When each of these products was counted, once each. A count of earlier than the last one does not turn the clock back.
pub async fn set_all_counted(conn: &mut Conn<'_>, counted: &BTreeMap<ProductId, Timestamp>) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for (product, at) in counted {
        rows.push(|r| {
            r.id(*product).int(at.micros());
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute_exactly!(counted.len(), conn, PRODUCTS_COUNTED, rows.finish())
}

/// A count of earlier than the last one does not turn the clock back.
pub async fn set_counted(conn: &mut Conn<'_>, product: ProductId, at: Timestamp) -> Result<(), DbError> {
    set_all_counted(conn, &BTreeMap::from([(product, at)])).await
}
