//! Holds: stock set aside for a cart, for a while.

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_optional, row};
use super::error::DbError;
use super::sql::{Rows, ids, statements};
use crate::domain::ids::{LocationId, MarketplaceId, ProductId, ReservationId};
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

statements! {
    // The unique external id decides who was first.
    RESERVATION_INSERT_ONCE = both("INSERT INTO reservations (id, marketplace_id, external_id, state, items_hash, actor, expires_at, created_at) \
        VALUES ($1, $2, $3, 'held', $4, $5, $6, $7) ON CONFLICT (marketplace_id, external_id) DO NOTHING");
    RESERVATION_ITEMS_INSERT = both("INSERT INTO reservation_items (reservation_id, product_id, location_id, quantity) \
        SELECT {id 0}, {id 1}, {id 2}, {int 3} FROM {rows}");
    RESERVATION_LOCK = both("SELECT id, marketplace_id, external_id, state, items_hash, actor, expires_at, version, created_at, ended_at \
        FROM reservations WHERE id = $1 {for update}");
    RESERVATION_BY_ID = both("SELECT id, marketplace_id, external_id, state, items_hash, actor, expires_at, version, created_at, ended_at \
        FROM reservations WHERE id = $1");
    RESERVATION_LOCK_EXTERNAL = both("SELECT id, marketplace_id, external_id, state, items_hash, actor, expires_at, version, created_at, \
            ended_at FROM reservations WHERE marketplace_id = $1 AND external_id = $2 {for update}");
    RESERVATIONS_DUE = both("SELECT id, marketplace_id, external_id, state, items_hash, actor, expires_at, version, created_at, ended_at \
        FROM reservations WHERE state = 'held' AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2 {for update}");
    RESERVATION_ITEMS = both("SELECT i.reservation_id, i.product_id, i.location_id, i.quantity, i.consumed, p.sku \
        FROM reservation_items i JOIN products p ON p.id = i.product_id WHERE i.reservation_id IN {ids $1} \
        ORDER BY i.reservation_id, p.sku, i.location_id");
    RESERVATION_ITEMS_CONSUME = both("UPDATE reservation_items AS i SET consumed = {int 3} FROM {rows} \
        WHERE i.reservation_id = {id 0} AND i.product_id = {id 1} AND i.location_id = {id 2}");
    // Only what is held can change: a terminal state is for ever.
    RESERVATION_EXTEND = both("UPDATE reservations SET expires_at = $2, version = version + 1 WHERE id = $1 AND state = 'held'");
    RESERVATION_END = both("UPDATE reservations SET state = $2, ended_at = $3, version = version + 1 WHERE id = $1 AND state = 'held'");
    RESERVATION_TOUCH = both("UPDATE reservations SET version = version + 1 WHERE id = $1 AND state = 'held'");
}

pub struct NewReservation<'a> {
    pub id: ReservationId,
    pub marketplace_id: MarketplaceId,
    pub external_id: &'a str,
    pub items_hash: &'a [u8],
    pub actor: &'a str,
    pub expires_at: Timestamp,
}

/// False when the marketplace has one of that external id.
pub async fn insert_once(conn: &mut Conn<'_>, r: &NewReservation<'_>, now: Timestamp) -> Result<bool, DbError> {
    let inserted =
        execute!(conn, RESERVATION_INSERT_ONCE, r.id, r.marketplace_id, r.external_id, r.items_hash, r.actor, r.expires_at, now)?;
    Ok(inserted == 1)
}

row! {
    #[derive(Clone, Debug)]
    pub struct ReservationRow {
        pub id: ReservationId,
        pub marketplace_id: MarketplaceId,
        pub external_id: Option<String>,
        pub state: String,
        pub items_hash: Option<Vec<u8>>,
        pub actor: String,
        pub expires_at: Timestamp,
        pub version: i64,
        pub created_at: Timestamp,
        pub ended_at: Option<Timestamp>,
    }
}

row! {
    #[derive(Clone, Debug)]
    pub struct ItemRow {
        pub reservation_id: ReservationId,
        pub product_id: ProductId,
        pub location_id: LocationId,
        pub quantity: i64,
        pub consumed: i64,
        pub sku: Sku,
    }
}

pub async fn lock(conn: &mut Conn<'_>, id: ReservationId) -> Result<Option<ReservationRow>, DbError> {
    fetch_optional!(conn, RESERVATION_LOCK, ReservationRow, id)
}

pub async fn get(conn: &mut Conn<'_>, id: ReservationId) -> Result<Option<ReservationRow>, DbError> {
    fetch_optional!(conn, RESERVATION_BY_ID, ReservationRow, id)
}

pub async fn lock_external(
    conn: &mut Conn<'_>,
    marketplace: MarketplaceId,
    external_id: &str,
) -> Result<Option<ReservationRow>, DbError> {
    fetch_optional!(conn, RESERVATION_LOCK_EXTERNAL, ReservationRow, marketplace, external_id)
}

/// Held ones whose time is over, the oldest first.
pub async fn due(conn: &mut Conn<'_>, now: Timestamp, limit: i64) -> Result<Vec<ReservationRow>, DbError> {
    fetch_all!(conn, RESERVATIONS_DUE, ReservationRow, now, limit)
}

pub async fn items(conn: &mut Conn<'_>, of: impl IntoIterator<Item = ReservationId>) -> Result<Vec<ItemRow>, DbError> {
    fetch_all!(conn, RESERVATION_ITEMS, ItemRow, ids(of.into_iter().map(ReservationId::uuid)))
}

pub async fn insert_items(conn: &mut Conn<'_>, id: ReservationId, items: &[(ProductId, LocationId, i64)]) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for (product, location, quantity) in items {
        rows.push(|r| {
            r.id(id).id(*product).id(*location).int(*quantity);
        });
    }
    execute_exactly!(items.len(), conn, RESERVATION_ITEMS_INSERT, rows.finish())
}

/// Writes back how much of each item is consumed by now.
pub async fn set_consumed(conn: &mut Conn<'_>, items: &[ItemRow]) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for i in items {
        rows.push(|r| {
            r.id(i.reservation_id).id(i.product_id).id(i.location_id).int(i.consumed);
        });
    }
    execute_exactly!(items.len(), conn, RESERVATION_ITEMS_CONSUME, rows.finish())
}

pub async fn extend(conn: &mut Conn<'_>, id: ReservationId, until: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, RESERVATION_EXTEND, id, until)
}

/// A version more: part of it was consumed.
pub async fn touch(conn: &mut Conn<'_>, id: ReservationId) -> Result<(), DbError> {
    execute_exactly!(1, conn, RESERVATION_TOUCH, id)
}

pub async fn end(conn: &mut Conn<'_>, id: ReservationId, state: &'static str, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, RESERVATION_END, id, state, now)
}
