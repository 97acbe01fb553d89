//! Locations, and what counting needs: what moved at a level since a time, and when it was counted last.

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_one, row};
use super::error::DbError;
use super::sql::statements;
use crate::domain::ids::{LocationId, ProductId};
use crate::domain::time::Timestamp;

statements! {
    PLACES_LIST = both("SELECT l.id, l.code, l.name, l.kind, l.sellable, l.priority, l.created_at, \
            CAST(COALESCE((SELECT SUM(i.on_hand) FROM inventory i WHERE i.location_id = l.id), 0) AS BIGINT) AS on_hand \
        FROM locations l WHERE l.archived_at IS NULL ORDER BY l.priority, l.code");
    PLACE_INSERT = both("INSERT INTO locations (id, code, name, kind, sellable, priority, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7)");
    // By when it happened, not when it was written: a sale of before the count that comes late is replayed on nothing.
    MOVED_SINCE = both("SELECT CAST(COALESCE(SUM(on_hand_change), 0) AS BIGINT) AS on_hand, \
            CAST(COALESCE(SUM(committed_change), 0) AS BIGINT) AS committed FROM inventory_movements \
        WHERE product_id = $1 AND location_id = $2 AND occurred_at > $3");
    // What lay there when the product was made was counted too.
    LAST_COUNT = both("SELECT CAST(COALESCE(MAX(occurred_at), 0) AS BIGINT) FROM inventory_movements \
        WHERE product_id = $1 AND location_id = $2 AND movement_type IN ('adjusted', 'opening')");
    PRODUCT_COUNTED = both("UPDATE products SET last_counted_at = (CASE WHEN COALESCE(last_counted_at, 0) > $2 \
            THEN last_counted_at ELSE $2 END) WHERE id = $1");
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

/// What moved at a level after a time: (on hand, committed).
pub async fn moved_since(
    conn: &mut Conn<'_>,
    product: ProductId,
    location: LocationId,
    since: Timestamp,
) -> Result<(i64, i64), DbError> {
    fetch_one!(conn, MOVED_SINCE, (i64, i64), product, location, since)
}

/// When the level was last set to a count; the epoch where it never was.
pub async fn last_count(conn: &mut Conn<'_>, product: ProductId, location: LocationId) -> Result<Timestamp, DbError> {
    Ok(fetch_one!(conn, LAST_COUNT, (Timestamp,), product, location)?.0)
}

/// A count of earlier than the last one does not turn the clock back.
pub async fn set_counted(conn: &mut Conn<'_>, product: ProductId, at: Timestamp) -> Result<(), DbError> {
    execute!(conn, PRODUCT_COUNTED, product, at).map(drop)
}
