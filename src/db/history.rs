//! What waits for a mapping, and what was only recorded because it is older than the product's count.

use std::collections::HashMap;

use super::conn::{Conn, execute_exactly, fetch_all, fetch_optional, row};
use super::error::DbError;
use super::sql::{ids, statements};
use crate::domain::ids::{LineId, MarketplaceId, OrderId, ProductId};
use crate::domain::time::Timestamp;
use uuid::Uuid;

statements! {
    WAITING_OF = both("SELECT COUNT(*) FROM order_lines l JOIN orders o ON o.id = l.order_id \
        WHERE l.product_id IS NULL AND o.marketplace_id = $1");
    PRODUCTS_COUNTED_AT = both("SELECT id, CASE WHEN last_counted_at > created_at THEN last_counted_at ELSE created_at END AS counted_at \
        FROM products WHERE id IN {ids $1}");
    PRODUCT_COUNTED = both("UPDATE products SET last_counted_at = $2 WHERE id = $1");
    // Lines and log rows that wait, newest first, under one kind of cursor: both have ids that grow with time.
    UNMAPPED_LINES = both("SELECT l.id, m.code AS marketplace, o.id AS order_id, o.external_id AS order_external_id, l.line_key, \
            l.external_product, l.external_sku, l.ordered, l.cancelled, l.occurred_at, l.created_at, l.historic_on_hand, p.sku \
        FROM order_lines l JOIN orders o ON o.id = l.order_id JOIN marketplaces m ON m.id = o.marketplace_id \
            LEFT JOIN products p ON p.id = l.product_id \
        WHERE l.product_id IS NULL AND l.id < $1 ORDER BY l.id DESC LIMIT $2");
    HISTORIC_LINES = both("SELECT l.id, m.code AS marketplace, o.id AS order_id, o.external_id AS order_external_id, l.line_key, \
            l.external_product, l.external_sku, l.ordered, l.cancelled, l.occurred_at, l.created_at, l.historic_on_hand, p.sku \
        FROM order_lines l JOIN orders o ON o.id = l.order_id JOIN marketplaces m ON m.id = o.marketplace_id \
            LEFT JOIN products p ON p.id = l.product_id \
        WHERE (l.historic_on_hand <> 0 OR l.historic_unsellable <> 0) AND l.id < $1 ORDER BY l.id DESC LIMIT $2");
    UNMAPPED_WEBHOOKS = both("SELECT w.id, m.code AS marketplace, w.source, w.event_type, w.error_message, w.occurred_at, w.created_at \
        FROM marketplace_webhooks w JOIN marketplaces m ON m.id = w.marketplace_id \
        WHERE w.status IN ('failed', 'unmapped') AND w.status = 'unmapped' \
            AND (CASE WHEN w.id < $1 THEN 1 ELSE 0 END) = 1 ORDER BY w.id DESC LIMIT $2");
    LINE_PLACE = both("SELECT l.id, l.order_id, o.marketplace_id, o.external_id, l.line_key, l.external_product, l.external_sku, \
            l.product_id FROM order_lines l JOIN orders o ON o.id = l.order_id WHERE l.id = $1");
}

/// When each of these was counted last, its opening included.
pub async fn counted(
    conn: &mut Conn<'_>,
    products: impl IntoIterator<Item = ProductId>,
) -> Result<HashMap<ProductId, Timestamp>, DbError> {
    let rows = fetch_all!(conn, PRODUCTS_COUNTED_AT, (ProductId, Timestamp), ids(products.into_iter().map(ProductId::uuid)))?;
    Ok(rows.into_iter().collect())
}

/// Somebody counted it: what happened before this is in the count.
pub async fn set_counted(conn: &mut Conn<'_>, product: ProductId, at: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, PRODUCT_COUNTED, product, at)
}

row! {
    /// A line that waits for its mapping, or one that was recorded without moving stock.
    pub struct ParkedLine {
        pub id: Uuid,
        pub marketplace: String,
        pub order_id: OrderId,
        pub order_external_id: String,
        pub line_key: String,
        pub external_product: Option<String>,
        pub external_sku: Option<String>,
        pub ordered: Option<i64>,
        pub cancelled: i64,
        pub occurred_at: Option<Timestamp>,
        pub created_at: Timestamp,
        pub historic_on_hand: i64,
        pub sku: Option<String>,
    }
}

row! {
    pub struct ParkedWebhook {
        pub id: Uuid,
        pub marketplace: String,
        pub source: String,
        pub event_type: String,
        pub error_message: Option<String>,
        pub occurred_at: Option<Timestamp>,
        pub created_at: Timestamp,
    }
}

pub async fn waiting_lines(conn: &mut Conn<'_>, before: Option<Uuid>, limit: i64) -> Result<Vec<ParkedLine>, DbError> {
    fetch_all!(conn, UNMAPPED_LINES, ParkedLine, before.unwrap_or(Uuid::max()), limit)
}

pub async fn historic_lines(conn: &mut Conn<'_>, before: Option<Uuid>, limit: i64) -> Result<Vec<ParkedLine>, DbError> {
    fetch_all!(conn, HISTORIC_LINES, ParkedLine, before.unwrap_or(Uuid::max()), limit)
}

pub async fn waiting_webhooks(conn: &mut Conn<'_>, before: Option<Uuid>, limit: i64) -> Result<Vec<ParkedWebhook>, DbError> {
    fetch_all!(conn, UNMAPPED_WEBHOOKS, ParkedWebhook, before.unwrap_or(Uuid::max()), limit)
}

row! {
    /// Where a line stands, and how its item is named outside.
    pub struct LinePlaceRow {
        pub id: LineId,
        pub order_id: OrderId,
        pub marketplace_id: MarketplaceId,
        pub external_id: String,
        pub line_key: String,
        pub external_product: Option<String>,
        pub external_sku: Option<String>,
        pub product_id: Option<ProductId>,
    }
}

pub async fn line(conn: &mut Conn<'_>, id: LineId) -> Result<Option<LinePlaceRow>, DbError> {
    fetch_optional!(conn, LINE_PLACE, LinePlaceRow, id)
}

/// How many order lines of a marketplace wait for their mapping.
pub async fn count_waiting(conn: &mut Conn<'_>, marketplace: MarketplaceId) -> Result<i64, DbError> {
    Ok(super::conn::fetch_one!(conn, WAITING_OF, (i64,), marketplace)?.0)
}
