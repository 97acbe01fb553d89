//! Stock levels. Only the pipeline's apply stage changes them, always together with a movement.

use super::conn::{Conn, execute, fetch_all, row};
use super::error::DbError;
use super::sql::{Rows, ids, statements};
use crate::domain::ids::{LocationId, ProductId};
use crate::domain::time::Timestamp;

statements! {
    LEVELS_LOCK = both("SELECT product_id, location_id, on_hand, committed, reserved, unsellable, incoming, version FROM inventory \
        WHERE product_id IN {ids $1} ORDER BY product_id, location_id {for update}");
    LEVELS_LIST = both("SELECT product_id, location_id, on_hand, committed, reserved, unsellable, incoming, version FROM inventory \
        WHERE product_id IN {ids $1} ORDER BY product_id, location_id");
    LEVELS_INSERT_ONCE = both("INSERT INTO inventory (product_id, location_id, updated_at) SELECT {id 0}, {id 1}, {int 2} FROM {rows} \
        WHERE TRUE ON CONFLICT (product_id, location_id) DO NOTHING");
    // Relative, so that whatever else happened to the row stays; the values after come back to be written into the ledger.
    LEVELS_APPLY = both("UPDATE inventory AS i SET on_hand = i.on_hand + {int 2}, committed = i.committed + {int 3}, \
            reserved = i.reserved + {int 4}, unsellable = i.unsellable + {int 5}, incoming = i.incoming + {int 6}, \
            version = i.version + {int 7}, updated_at = {int 8} \
        FROM {rows} WHERE i.product_id = {id 0} AND i.location_id = {id 1} \
        RETURNING product_id, location_id, on_hand, committed, reserved, unsellable, incoming, version");
}

row! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct LevelRow {
        pub product_id: ProductId,
        pub location_id: LocationId,
        pub on_hand: i64,
        pub committed: i64,
        pub reserved: i64,
        pub unsellable: i64,
        pub incoming: i64,
        pub version: i64,
    }
}

impl LevelRow {
    pub fn available(&self) -> i64 {
        self.on_hand - self.committed - self.reserved - self.unsellable
    }
}

/// The levels of these products, locked until the transaction ends, in one order everywhere.
pub async fn lock(conn: &mut Conn<'_>, products: impl IntoIterator<Item = ProductId>) -> Result<Vec<LevelRow>, DbError> {
    fetch_all!(conn, LEVELS_LOCK, LevelRow, ids(products.into_iter().map(ProductId::uuid)))
}

pub async fn list(conn: &mut Conn<'_>, products: impl IntoIterator<Item = ProductId>) -> Result<Vec<LevelRow>, DbError> {
    fetch_all!(conn, LEVELS_LIST, LevelRow, ids(products.into_iter().map(ProductId::uuid)))
}

pub async fn insert_once(
    conn: &mut Conn<'_>,
    levels: impl IntoIterator<Item = (ProductId, LocationId)>,
    now: Timestamp,
) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for (product, location) in levels {
        rows.push(|r| {
            r.id(product).id(location).int(now.micros());
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, LEVELS_INSERT_ONCE, rows.finish()).map(drop)
}

/// The sum of several movements of one level; `movements` is how many, and so by how much the version grows.
#[derive(Clone, Copy, Debug)]
pub struct LevelChange {
    pub product_id: ProductId,
    pub location_id: LocationId,
    pub on_hand: i64,
    pub committed: i64,
    pub reserved: i64,
    pub unsellable: i64,
    pub incoming: i64,
    pub movements: i64,
}

pub async fn apply(conn: &mut Conn<'_>, changes: &[LevelChange], now: Timestamp) -> Result<Vec<LevelRow>, DbError> {
    let mut rows = Rows::new();
    for c in changes {
        rows.push(|r| {
            r.id(c.product_id).id(c.location_id).int(c.on_hand).int(c.committed).int(c.reserved).int(c.unsellable);
            r.int(c.incoming).int(c.movements).int(now.micros());
        });
    }
    let after = fetch_all!(conn, LEVELS_APPLY, LevelRow, rows.finish())?;
    if after.len() == changes.len() {
        Ok(after)
    } else {
        Err(DbError::RowCount { statement: LEVELS_APPLY.name, changed: after.len() as u64, wanted: changes.len() as u64 })
    }
}
