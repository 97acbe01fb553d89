//! Figures of a span of days. Sales come from the daily rows, which are kept live; the rest is counted where it happened.

use super::conn::{Conn, fetch_all, fetch_one, row};
use super::error::DbError;
use super::sql::statements;
use crate::domain::time::Timestamp;

statements! {
    // What is not grouped by is one empty word. Currencies are never added up.
    SALES_GROUPED = both("SELECT g.day, g.marketplace, g.sku, g.currency, CAST(SUM(g.units) AS BIGINT) AS units, \
            CAST(SUM(g.revenue_minor) AS BIGINT) AS revenue_minor, CAST(SUM(g.cost_minor) AS BIGINT) AS cost_minor, \
            CAST(SUM(g.fee_minor) AS BIGINT) AS fee_minor, CAST(SUM(g.orders) AS BIGINT) AS orders, \
            CAST(SUM(g.cancelled) AS BIGINT) AS cancelled, CAST(SUM(g.returned) AS BIGINT) AS returned FROM ( \
            SELECT (CASE WHEN $3 = TRUE THEN s.day ELSE '' END) AS day, (CASE WHEN $4 = TRUE THEN m.code ELSE '' END) AS marketplace, \
                (CASE WHEN $5 = TRUE THEN p.sku ELSE '' END) AS sku, s.currency, s.units, s.revenue_minor, s.cost_minor, s.fee_minor, \
                s.orders, s.cancelled, s.returned FROM daily_sales s JOIN marketplaces m ON m.id = s.marketplace_id \
                JOIN products p ON p.id = s.product_id WHERE s.day >= $1 AND s.day <= $2) AS g \
        GROUP BY g.day, g.marketplace, g.sku, g.currency ORDER BY g.day, g.marketplace, g.sku, g.currency LIMIT $6");
    API_CALLS = both("SELECT m.code AS marketplace, \
            (SELECT CAST(COALESCE(SUM(c.calls), 0) AS BIGINT) FROM api_calls c WHERE c.marketplace_id = m.id AND c.day >= $3 \
                AND c.day <= $4 AND c.purpose IN ('push', 'verify')) AS calls, \
            (SELECT COUNT(*) FROM push_attempts a WHERE a.marketplace_id = m.id AND a.finished_at >= $1 AND a.finished_at < $2 \
                AND a.outcome = 'applied') AS applied, \
            (SELECT COUNT(*) FROM marketplace_stock_history h WHERE h.marketplace_id = m.id AND h.created_at >= $1 \
                AND h.created_at < $2 AND (h.notes IS NULL OR h.notes <> 'observed')) AS changes \
        FROM marketplaces m WHERE m.kind <> 'storefront' ORDER BY m.code");
    READS = both("SELECT m.code AS marketplace, c.purpose, CAST(SUM(c.calls) AS BIGINT) AS calls FROM api_calls c \
            JOIN marketplaces m ON m.id = c.marketplace_id WHERE c.day >= $1 AND c.day <= $2 \
            AND c.purpose NOT IN ('push', 'verify') GROUP BY m.code, c.purpose ORDER BY m.code, c.purpose");
    RECONCILED = both("SELECT m.code AS marketplace, s.counts FROM sync_logs s JOIN marketplaces m ON m.id = s.marketplace_id \
        WHERE s.kind = 'reconciliation' AND s.status IN ('succeeded', 'partial') AND s.dry_run = FALSE \
            AND s.started_at >= $1 AND s.started_at < $2 ORDER BY m.code LIMIT 10000");
    DELIVERIES = both("SELECT source, status, COUNT(*) AS count FROM marketplace_webhooks WHERE created_at >= $1 AND created_at < $2 \
        GROUP BY source, status ORDER BY source, status");
    EXPOSURE = both("SELECT (SELECT CAST(COALESCE(SUM(l.listed_stock), 0) AS BIGINT) FROM marketplace_products l \
            WHERE l.state = 'active') AS shown, (SELECT CAST(COALESCE(SUM(i.available), 0) AS BIGINT) FROM inventory i \
            WHERE i.available > 0) AS available");
}

row! {
    #[derive(Clone, Debug)]
    pub struct SalesGroup {
        pub day: String,
        pub marketplace: String,
        pub sku: String,
        pub currency: String,
        pub units: i64,
        pub revenue_minor: i64,
        pub cost_minor: i64,
        pub fee_minor: i64,
        pub orders: i64,
        pub cancelled: i64,
        pub returned: i64,
    }
}

row! {
    #[derive(Clone, Debug)]
    pub struct Calls {
        pub marketplace: String,
        /// Requests, however many listings each told.
        pub calls: i64,
        /// Listings whose number was taken.
        pub applied: i64,
        /// How often a listing's number changed: one call each, if nothing were joined or skipped.
        pub changes: i64,
    }
}

row! {
    #[derive(Clone, Debug)]
    pub struct Deliveries {
        pub source: String,
        pub status: String,
        pub count: i64,
    }
}

row! {
    #[derive(Clone, Copy, Debug)]
    pub struct Exposure {
        pub shown: i64,
        pub available: i64,
    }
}

/// What to keep apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupBy {
    pub day: bool,
    pub marketplace: bool,
    pub sku: bool,
}

pub async fn sales(conn: &mut Conn<'_>, from: &str, to: &str, by: GroupBy, limit: i64) -> Result<Vec<SalesGroup>, DbError> {
    fetch_all!(conn, SALES_GROUPED, SalesGroup, from, to, by.day, by.marketplace, by.sku, limit)
}

/// Requests that told numbers or read them back, of these days.
pub async fn calls(
    conn: &mut Conn<'_>,
    (from, before): (Timestamp, Timestamp),
    (first, last): (&str, &str),
) -> Result<Vec<Calls>, DbError> {
    fetch_all!(conn, API_CALLS, Calls, from, before, first, last)
}

pub async fn deliveries(conn: &mut Conn<'_>, from: Timestamp, before: Timestamp) -> Result<Vec<Deliveries>, DbError> {
    fetch_all!(conn, DELIVERIES, Deliveries, from, before)
}

pub async fn exposure(conn: &mut Conn<'_>) -> Result<Exposure, DbError> {
    fetch_one!(conn, EXPOSURE, Exposure)
}

row! {
    #[derive(Clone, Debug)]
    pub struct Reads {
        pub marketplace: String,
        pub purpose: String,
        pub calls: i64,
    }
}

/// Requests made to read something, by what for.
pub async fn reads(conn: &mut Conn<'_>, first: &str, last: &str) -> Result<Vec<Reads>, DbError> {
    fetch_all!(conn, READS, Reads, first, last)
}

/// The counts of every reconciliation that came to its end.
pub async fn reconciled(conn: &mut Conn<'_>, from: Timestamp, before: Timestamp) -> Result<Vec<(String, String)>, DbError> {
    fetch_all!(conn, RECONCILED, (String, String), from, before)
}
