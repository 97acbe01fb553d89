//! What was told to marketplaces and how it ended, newest first.

use super::conn::{Conn, fetch_all, row};
use super::error::DbError;
use super::span::Ids;
use super::sql::statements;
use crate::domain::time::Timestamp;
use uuid::Uuid;

statements! {
    ATTEMPTS_PAGE = both("SELECT a.id, m.code AS marketplace, l.marketplace_product_id, a.version, a.quantity, a.idempotency_key, \
            a.trigger_type, a.sent_at, a.finished_at, a.outcome, a.status_code, a.code, a.message \
        FROM push_attempts a JOIN marketplaces m ON m.id = a.marketplace_id JOIN marketplace_products l ON l.id = a.listing_id \
        WHERE a.id < $1 AND a.id >= $2 AND ($3 = '' OR m.code = $3) AND ($4 = '' OR a.outcome = $4) ORDER BY a.id DESC LIMIT $5");
    ATTEMPTS_PAGE_OF_MARKETPLACE = both("SELECT a.id, m.code AS marketplace, l.marketplace_product_id, a.version, a.quantity, \
            a.idempotency_key, a.trigger_type, a.sent_at, a.finished_at, a.outcome, a.status_code, a.code, a.message \
        FROM marketplaces m CROSS JOIN push_attempts a JOIN marketplace_products l ON l.id = a.listing_id \
        WHERE m.code = $3 AND a.marketplace_id = m.id AND a.id < $1 AND a.id >= $2 AND ($4 = '' OR a.outcome = $4) \
        ORDER BY a.id DESC LIMIT $5");
    // What did not simply succeed: an index holds only these, and is used where its own words are said.
    ATTEMPTS_UNUSUAL = both("SELECT a.id, m.code AS marketplace, l.marketplace_product_id, a.version, a.quantity, a.idempotency_key, \
            a.trigger_type, a.sent_at, a.finished_at, a.outcome, a.status_code, a.code, a.message \
        FROM push_attempts a JOIN marketplaces m ON m.id = a.marketplace_id JOIN marketplace_products l ON l.id = a.listing_id \
        WHERE a.outcome <> 'applied' AND a.outcome = $4 AND a.id < $1 AND a.id >= $2 AND ($3 = '' OR m.code = $3) \
        ORDER BY a.id DESC LIMIT $5");
    ATTEMPTS_PAGE_OF_SKU = both("SELECT a.id, m.code AS marketplace, l.marketplace_product_id, a.version, a.quantity, a.idempotency_key, \
            a.trigger_type, a.sent_at, a.finished_at, a.outcome, a.status_code, a.code, a.message \
        FROM push_attempts a JOIN marketplaces m ON m.id = a.marketplace_id JOIN marketplace_products l ON l.id = a.listing_id \
        WHERE a.listing_id IN (SELECT c.listing_id FROM listing_components c JOIN products p ON p.id = c.product_id WHERE p.sku = $6) \
            AND a.id < $1 AND a.id >= $2 AND ($3 = '' OR m.code = $3) AND ($4 = '' OR a.outcome = $4) ORDER BY a.id DESC LIMIT $5");
}

row! {
    pub struct AttemptView {
        pub id: Uuid,
        pub marketplace: String,
        pub marketplace_product_id: String,
        pub version: i64,
        pub quantity: i64,
        pub idempotency_key: String,
        pub trigger_type: String,
        pub sent_at: Timestamp,
        pub finished_at: Timestamp,
        pub outcome: String,
        pub status_code: Option<i64>,
        pub code: Option<String>,
        pub message: Option<String>,
    }
}

/// Which pushes; empty means any.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub sku: String,
    pub marketplace: String,
    pub outcome: String,
}

/// Newest first.
pub async fn page(conn: &mut Conn<'_>, which: &Filter, ids: Ids, limit: i64) -> Result<Vec<AttemptView>, DbError> {
    let Ids { from, before } = ids;
    let (code, outcome) = (which.marketplace.as_str(), which.outcome.as_str());
    match (which.sku.as_str(), code, outcome) {
        ("", "", "" | "applied") => fetch_all!(conn, ATTEMPTS_PAGE, AttemptView, before, from, code, outcome, limit),
        ("", code, "" | "applied") => {
            fetch_all!(conn, ATTEMPTS_PAGE_OF_MARKETPLACE, AttemptView, before, from, code, outcome, limit)
        }
        ("", ..) => fetch_all!(conn, ATTEMPTS_UNUSUAL, AttemptView, before, from, code, outcome, limit),
        (sku, ..) => fetch_all!(conn, ATTEMPTS_PAGE_OF_SKU, AttemptView, before, from, code, outcome, limit, sku),
    }
}
