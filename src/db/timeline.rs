//! All that happened to a product, on one axis: its ledger, what its listings were wanted to show, what they were told, and the
//! deliveries that moved it. Ids grow with time in every table, so the newest rows of each are the newest of all.

use super::conn::{Conn, fetch_all, row};
use super::error::DbError;
use super::sql::statements;
use crate::domain::ids::ProductId;
use crate::domain::time::Timestamp;
use uuid::Uuid;

statements! {
    // Each part brings at most as many as are asked for in all, so none is sorted whole. The changes of a bundle stand under one of
    // its parts; the others find them by it.
    TIMELINE = both("SELECT kind, id, at, marketplace, what, quantity_before, quantity_after, reference, actor, detail FROM ( \
        SELECT * FROM (SELECT 'movement' AS kind, m.id, m.occurred_at AS at, k.code AS marketplace, m.movement_type AS what, \
                m.quantity_after - m.quantity_change AS quantity_before, m.quantity_after AS quantity_after, \
                m.reference_id AS reference, m.actor AS actor, m.reason AS detail \
            FROM inventory_movements m LEFT JOIN marketplaces k ON k.id = m.marketplace_id \
            WHERE m.product_id = $1 AND m.id < $2 ORDER BY m.id DESC LIMIT $3) AS a \
        UNION ALL SELECT * FROM (SELECT 'listing', h.id, h.created_at, k.code, h.change_type, h.quantity_before, h.quantity_after, \
                h.reference_id, h.admin_id, l.marketplace_product_id \
            FROM marketplace_stock_history h JOIN marketplaces k ON k.id = h.marketplace_id \
                JOIN marketplace_products l ON l.id = h.listing_id \
            WHERE h.product_id = $1 AND h.id < $2 ORDER BY h.id DESC LIMIT $3) AS b \
        UNION ALL SELECT * FROM (SELECT 'listing', h.id, h.created_at, k.code, h.change_type, h.quantity_before, h.quantity_after, \
                h.reference_id, h.admin_id, l.marketplace_product_id \
            FROM listing_components mine JOIN listing_components other ON other.listing_id = mine.listing_id AND other.product_id <> $1 \
                JOIN marketplace_stock_history h ON h.product_id = other.product_id AND h.listing_id = mine.listing_id \
                JOIN marketplaces k ON k.id = h.marketplace_id JOIN marketplace_products l ON l.id = h.listing_id \
            WHERE mine.product_id = $1 AND h.id < $2 ORDER BY h.id DESC LIMIT $3) AS bundles \
        UNION ALL SELECT * FROM (SELECT 'push', a.id, a.sent_at, k.code, a.outcome, CAST(NULL AS BIGINT), a.quantity, \
                a.idempotency_key, CAST(NULL AS TEXT), a.message \
            FROM push_attempts a JOIN marketplaces k ON k.id = a.marketplace_id \
            WHERE a.listing_id IN (SELECT listing_id FROM listing_components WHERE product_id = $1) AND a.id < $2 \
            ORDER BY a.id DESC LIMIT $3) AS c \
        UNION ALL SELECT * FROM (SELECT 'webhook', w.id, w.created_at, k.code, w.event_type, CAST(NULL AS BIGINT), \
                CAST(NULL AS BIGINT), w.event_key, CAST(NULL AS TEXT), w.status \
            FROM marketplace_webhooks w JOIN marketplaces k ON k.id = w.marketplace_id \
            WHERE w.id IN (SELECT webhook_id FROM inventory_movements WHERE product_id = $1) AND w.id < $2 \
            ORDER BY w.id DESC LIMIT $3) AS d) AS together \
        ORDER BY id DESC LIMIT $3");
}

row! {
    pub struct Happening {
        pub kind: String,
        pub id: Uuid,
        pub at: Timestamp,
        pub marketplace: Option<String>,
        pub what: String,
        pub quantity_before: Option<i64>,
        pub quantity_after: Option<i64>,
        pub reference: Option<String>,
        pub actor: Option<String>,
        pub detail: Option<String>,
    }
}

/// Newest first.
pub async fn page(conn: &mut Conn<'_>, product: ProductId, before: Option<Uuid>, limit: i64) -> Result<Vec<Happening>, DbError> {
    fetch_all!(conn, TIMELINE, Happening, product, before.unwrap_or(Uuid::max()), limit)
}
