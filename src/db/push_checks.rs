//! Around pushing: what is to be read back, what is to be told again because somebody asked, and what people are asked to do.

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_optional, row};
use super::error::DbError;
use super::sql::{Rows, statements};
use crate::domain::ids::{ListingId, MarketplaceId};
use crate::domain::time::Timestamp;
use uuid::Uuid;

statements! {
    PUSHES_TO_VERIFY = both("SELECT l.id, l.marketplace_product_id, l.refs, l.wanted_version, l.sent_version, \
            COALESCE(l.sent_quantity, l.listed_stock) AS quantity, l.expected, l.wanted_at, \
            COALESCE(l.marketplace_sku, (SELECT p.sku FROM listing_components c JOIN products p ON p.id = c.product_id \
                WHERE c.listing_id = l.id ORDER BY p.sku LIMIT 1)) AS sku \
        FROM marketplace_products l WHERE l.marketplace_id = $1 AND l.verify_at IS NOT NULL AND l.verify_at <= $2 \
            AND l.push_state <> 'in_flight' ORDER BY l.verify_at LIMIT $3");
    // It could not be read: later again.
    VERIFY_LATER = both("UPDATE marketplace_products AS l SET verify_at = {int 1} FROM {rows} \
        WHERE l.id = {id 0} AND l.verify_at IS NOT NULL");
    // Told again because somebody or something asked; one that waits already is only hurried.
    PUSHES_REQUEST = both("UPDATE marketplace_products AS l SET expected = {int 1}, push_trigger = {text 2}, push_log_id = {id 3}, \
            wanted_version = (CASE WHEN l.wanted_version > l.sent_version THEN l.wanted_version ELSE l.wanted_version + 1 END), \
            push_state = (CASE WHEN l.push_state IN ('in_flight', 'paused', 'task') THEN l.push_state ELSE 'dirty' END), \
            next_push_at = {int 4}, wanted_at = {int 4}, version = l.version + 1, updated_at = {int 4} \
        FROM {rows} WHERE l.id = {id 0}");
    TASKS_PAGE = both("SELECT l.id, m.code AS marketplace, l.marketplace_product_id, l.marketplace_sku, \
            (SELECT p.sku FROM listing_components c JOIN products p ON p.id = c.product_id WHERE c.listing_id = l.id \
                ORDER BY p.sku LIMIT 1) AS sku, \
            (SELECT p.name FROM listing_components c JOIN products p ON p.id = c.product_id WHERE c.listing_id = l.id \
                ORDER BY p.sku LIMIT 1) AS name, \
            l.listed_stock, l.expected, l.wanted_at \
        FROM marketplace_products l JOIN marketplaces m ON m.id = l.marketplace_id \
        WHERE l.push_state IN ('new', 'unknown', 'blocked', 'paused', 'task') AND l.push_state = 'task' AND l.state = 'active' \
            AND m.archived_at IS NULL AND l.id > $1 ORDER BY l.id LIMIT $2");
    TASK_LOCK = both("SELECT l.marketplace_id, l.listed_stock, l.wanted_version, l.acked_version, l.state FROM marketplace_products l \
        WHERE l.id = $1 {for update}");
    TASK_DONE = both("UPDATE marketplace_products SET push_state = $2, sent_version = $3, acked_version = $3, sent_quantity = $4, \
            acked_quantity = $4, sent_at = $5, acked_at = $5, expected = $4, last_synced_at = $5, stock_last_synced_at = $5, \
            previous_stock = marketplace_stock, marketplace_stock = $4, admin_id = $6, version = version + 1, updated_at = $5 \
        WHERE id = $1");
}

row! {
    /// A listing whose number is to be read back.
    #[derive(Clone, Debug)]
    pub struct VerifyRow {
        pub id: ListingId,
        pub marketplace_product_id: String,
        pub refs: String,
        pub wanted_version: i64,
        pub sent_version: i64,
        pub quantity: i64,
        pub expected: Option<i64>,
        pub wanted_at: Timestamp,
        pub sku: String,
    }
}

row! {
    /// What a person is asked to do: edit an ad to a number.
    #[derive(Clone, Debug)]
    pub struct TaskView {
        pub id: ListingId,
        pub marketplace: String,
        pub marketplace_product_id: String,
        pub marketplace_sku: Option<String>,
        pub sku: Option<String>,
        pub name: Option<String>,
        pub listed_stock: i64,
        pub expected: Option<i64>,
        pub wanted_at: Timestamp,
    }
}

row! {
    #[derive(Clone, Debug)]
    pub struct TaskRow {
        pub marketplace_id: MarketplaceId,
        pub listed_stock: i64,
        pub wanted_version: i64,
        pub acked_version: i64,
        pub state: String,
    }
}

pub async fn to_verify(
    conn: &mut Conn<'_>,
    marketplace: MarketplaceId,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<VerifyRow>, DbError> {
    fetch_all!(conn, PUSHES_TO_VERIFY, VerifyRow, marketplace, now, limit)
}

pub async fn verify_later(conn: &mut Conn<'_>, ids: impl Iterator<Item = ListingId>, at: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for id in ids {
        rows.push(|r| {
            r.id(id).int(at.micros());
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, VERIFY_LATER, rows.finish()).map(drop)
}

/// Why a listing is told again: `webhook`, `manual`, `scheduled` or `startup`, and the run that asks.
#[derive(Clone, Copy, Debug)]
pub struct Reason {
    pub trigger: &'static str,
    pub sync_log_id: Option<Uuid>,
}

/// Asks for these to be told again, each with what it is now believed to show. The caller wakes the pusher (`Effects::to_push`).
pub async fn request(
    conn: &mut Conn<'_>,
    listings: &[(ListingId, Option<i64>)],
    reason: Reason,
    now: Timestamp,
) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for (id, expected) in listings {
        rows.push(|r| {
            r.id(*id).opt_int(*expected).text(reason.trigger).opt_id(reason.sync_log_id).int(now.micros());
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute_exactly!(listings.len(), conn, PUSHES_REQUEST, rows.finish())
}

/// The next tasks after an id.
pub async fn tasks(conn: &mut Conn<'_>, after: Uuid, limit: i64) -> Result<Vec<TaskView>, DbError> {
    fetch_all!(conn, TASKS_PAGE, TaskView, after, limit)
}

pub async fn lock_task(conn: &mut Conn<'_>, id: ListingId) -> Result<Option<TaskRow>, DbError> {
    fetch_optional!(conn, TASK_LOCK, TaskRow, id)
}

/// A person told the marketplace this number. `acked`: the version that is done with, `state` what the listing is in now.
pub async fn done(
    conn: &mut Conn<'_>,
    id: ListingId,
    state: &str,
    acked: i64,
    quantity: i64,
    actor: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    execute_exactly!(1, conn, TASK_DONE, id, state, acked, quantity, now, actor)
}
