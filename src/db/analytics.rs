//! Figures of a span of days. Sales come from the daily rows and their totals, which are kept live; the rest is counted where it
//! happened.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::conn::{Conn, fetch_all, fetch_one, row};
use super::error::DbError;
use super::span::Ids;
use super::sql::{ids, statements};
use crate::domain::ids::ProductId;
use crate::domain::time::Timestamp;

statements! {
    // What is not grouped by is one empty word. Currencies are never added up. Names are looked up for what is left of the rows, and
    // the best sellers come first where only these are wanted.
    SALES_GROUPED = both("SELECT g.day, COALESCE(m.code, '') AS marketplace, COALESCE(p.sku, '') AS sku, g.currency, g.units, \
            g.revenue_minor, g.cost_minor, g.fee_minor, g.orders, g.cancelled, g.returned FROM ( \
            SELECT (CASE WHEN $3 = TRUE THEN s.day ELSE '' END) AS day, (CASE WHEN $4 = TRUE THEN s.marketplace_id END) AS marketplace_id, \
                (CASE WHEN $5 = TRUE THEN s.product_id END) AS product_id, s.currency, CAST(SUM(s.units) AS BIGINT) AS units, \
                CAST(SUM(s.revenue_minor) AS BIGINT) AS revenue_minor, CAST(SUM(s.cost_minor) AS BIGINT) AS cost_minor, \
                CAST(SUM(s.fee_minor) AS BIGINT) AS fee_minor, CAST(SUM(s.orders) AS BIGINT) AS orders, \
                CAST(SUM(s.cancelled) AS BIGINT) AS cancelled, CAST(SUM(s.returned) AS BIGINT) AS returned \
            FROM daily_sales s WHERE s.day >= $1 AND s.day <= $2 GROUP BY 1, 2, 3, 4 \
            ORDER BY (CASE WHEN $7 = TRUE THEN 0 - SUM(s.units) ELSE 0 END), 1, 2, 3, 4 LIMIT $6) AS g \
        LEFT JOIN marketplaces m ON m.id = g.marketplace_id LEFT JOIN products p ON p.id = g.product_id \
        ORDER BY (CASE WHEN $7 = TRUE THEN 0 - g.units ELSE 0 END), g.day, marketplace, sku, g.currency LIMIT $6");
    // The same where products are not kept apart.
    SALES_TOGETHER = both("SELECT g.day, COALESCE(m.code, '') AS marketplace, '' AS sku, g.currency, g.units, g.revenue_minor, \
            g.cost_minor, g.fee_minor, g.orders, g.cancelled, g.returned FROM ( \
            SELECT (CASE WHEN $3 = TRUE THEN t.day ELSE '' END) AS day, (CASE WHEN $4 = TRUE THEN t.marketplace_id END) AS marketplace_id, \
                t.currency, CAST(SUM(t.units) AS BIGINT) AS units, CAST(SUM(t.revenue_minor) AS BIGINT) AS revenue_minor, \
                CAST(SUM(t.cost_minor) AS BIGINT) AS cost_minor, CAST(SUM(t.fee_minor) AS BIGINT) AS fee_minor, \
                CAST(SUM(t.orders) AS BIGINT) AS orders, CAST(SUM(t.cancelled) AS BIGINT) AS cancelled, \
                CAST(SUM(t.returned) AS BIGINT) AS returned \
            FROM daily_totals t WHERE t.day >= $1 AND t.day <= $2 GROUP BY 1, 2, 3 \
            ORDER BY (CASE WHEN $6 = TRUE THEN 0 - SUM(t.units) ELSE 0 END), 1, 2, 3 LIMIT $5) AS g \
        LEFT JOIN marketplaces m ON m.id = g.marketplace_id \
        ORDER BY (CASE WHEN $6 = TRUE THEN 0 - g.units ELSE 0 END), g.day, marketplace, g.currency LIMIT $5");
    // Of some products, each found by its own index: so all of them can be gone through, some at a time.
    SALES_OF_PRODUCTS = both("SELECT '' AS day, COALESCE(m.code, '') AS marketplace, p.sku, g.currency, g.units, g.revenue_minor, \
            g.cost_minor, g.fee_minor, g.orders, g.cancelled, g.returned FROM ( \
            SELECT s.product_id, (CASE WHEN $4 = TRUE THEN s.marketplace_id END) AS marketplace_id, s.currency, \
                CAST(SUM(s.units) AS BIGINT) AS units, CAST(SUM(s.revenue_minor) AS BIGINT) AS revenue_minor, \
                CAST(SUM(s.cost_minor) AS BIGINT) AS cost_minor, CAST(SUM(s.fee_minor) AS BIGINT) AS fee_minor, \
                CAST(SUM(s.orders) AS BIGINT) AS orders, CAST(SUM(s.cancelled) AS BIGINT) AS cancelled, \
                CAST(SUM(s.returned) AS BIGINT) AS returned \
            FROM daily_sales s WHERE s.product_id IN {ids $1} AND s.day >= $2 AND s.day <= $3 GROUP BY 1, 2, 3) AS g \
        JOIN products p ON p.id = g.product_id LEFT JOIN marketplaces m ON m.id = g.marketplace_id \
        ORDER BY p.sku, marketplace, g.currency");
    SALES_DAYS = both("SELECT DISTINCT day FROM daily_totals WHERE day >= $1 AND day <= $2 ORDER BY day");
    // What of the best sellers is to be added up. SQLite sorts what it groups, which is dear for a catalogue of products that sell
    // now and then: it hands over each day's units as they lie there, packed. PostgreSQL adds up by itself, and hands over the best.
    UNITS_SOLD = split(
        "SELECT group_concat(hex(u.product_id) || u.currency || ' ' || u.units, ';') AS packed FROM daily_sales u \
            WHERE u.day >= $1 AND u.day <= $2 AND $3 > 0 GROUP BY u.day, u.marketplace_id",
        "SELECT string_agg(replace(CAST(g.product_id AS TEXT), '-', '') || g.currency || ' ' || g.units, ';') AS packed \
            FROM (SELECT u.product_id, u.currency, SUM(u.units) AS units FROM daily_sales u WHERE u.day >= $1 AND u.day <= $2 \
                GROUP BY u.product_id, u.currency ORDER BY SUM(u.units) DESC, u.product_id, u.currency LIMIT $3) AS g HAVING COUNT(*) > 0",
    );
    // Requests are counted by the day as they are made; what they told, by listing.
    CALLS = both("SELECT m.code AS marketplace, (SELECT CAST(COALESCE(SUM(c.calls), 0) AS BIGINT) FROM api_calls c \
                WHERE c.marketplace_id = m.id AND c.day >= $3 AND c.day <= $4 AND c.purpose IN ('push', 'verify')) AS calls, \
            COUNT(CASE WHEN a.outcome = 'applied' THEN 1 END) AS applied \
        FROM marketplaces m LEFT JOIN push_attempts a ON a.marketplace_id = m.id AND a.id >= $1 AND a.id < $2 \
        WHERE m.kind <> 'storefront' GROUP BY m.id, m.code ORDER BY m.code");
    CHANGES = both("SELECT m.code AS marketplace, g.changes FROM (SELECT h.marketplace_id, COUNT(*) AS changes \
            FROM marketplace_stock_history h WHERE h.id >= $1 AND h.id < $2 AND (h.notes IS NULL OR h.notes <> 'observed') \
            GROUP BY h.marketplace_id) AS g JOIN marketplaces m ON m.id = g.marketplace_id");
    READS = both("SELECT m.code AS marketplace, c.purpose, CAST(SUM(c.calls) AS BIGINT) AS calls FROM api_calls c \
            JOIN marketplaces m ON m.id = c.marketplace_id WHERE c.day >= $1 AND c.day <= $2 \
            AND c.purpose NOT IN ('push', 'verify') GROUP BY m.code, c.purpose ORDER BY m.code, c.purpose");
    RECONCILED = both("SELECT m.code AS marketplace, s.counts FROM sync_logs s JOIN marketplaces m ON m.id = s.marketplace_id \
        WHERE s.kind = 'reconciliation' AND s.status IN ('succeeded', 'partial') AND s.dry_run = FALSE \
            AND s.started_at >= $1 AND s.started_at < $2 ORDER BY m.code LIMIT 10000");
    DELIVERIES = both("SELECT source, status, COUNT(*) AS count FROM marketplace_webhooks WHERE id >= $1 AND id < $2 \
        GROUP BY source, status ORDER BY source, status");
    EXPOSURE = both("SELECT s.shown, s.listings, (SELECT CAST(COALESCE(SUM(i.available), 0) AS BIGINT) FROM inventory i \
            WHERE i.available > 0) AS available \
        FROM (SELECT CAST(COALESCE(SUM(l.listed_stock), 0) AS BIGINT) AS shown, COUNT(*) AS listings FROM marketplace_products l \
            WHERE l.state = 'active') AS s");
}

row! {
    #[derive(Clone, Debug, Default)]
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

/// What one marketplace was told.
#[derive(Clone, Debug)]
pub struct Calls {
    pub marketplace: String,
    /// Requests that told numbers or read them back, however many listings each was about.
    pub calls: i64,
    /// Listings whose number was taken.
    pub applied: i64,
    /// How often a listing's number changed: one call each, if nothing were joined or skipped.
    pub changes: i64,
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
        /// How many were looked at.
        pub listings: i64,
    }
}

/// What to keep apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupBy {
    pub day: bool,
    pub marketplace: bool,
    pub sku: bool,
}

/// By day, marketplace and SKU; `best`: those of which most was sold, and only so many.
pub async fn sales(
    conn: &mut Conn<'_>,
    from: &str,
    to: &str,
    by: GroupBy,
    limit: i64,
    best: bool,
) -> Result<Vec<SalesGroup>, DbError> {
    match (by, best) {
        (GroupBy { sku: false, .. }, _) => {
            fetch_all!(conn, SALES_TOGETHER, SalesGroup, from, to, by.day, by.marketplace, limit, best)
        }
        (GroupBy { sku: true, day: false, marketplace: false }, true) => best_sellers(conn, from, to, limit).await,
        _ => fetch_all!(conn, SALES_GROUPED, SalesGroup, from, to, by.day, by.marketplace, by.sku, limit, best),
    }
}

/// Of these products, by SKU, and by marketplace where that is wanted.
pub async fn sales_of(
    conn: &mut Conn<'_>,
    products: impl IntoIterator<Item = ProductId>,
    from: &str,
    to: &str,
    by_marketplace: bool,
) -> Result<Vec<SalesGroup>, DbError> {
    let products = ids(products.into_iter().map(ProductId::uuid));
    fetch_all!(conn, SALES_OF_PRODUCTS, SalesGroup, products, from, to, by_marketplace)
}

/// The days on which anything was sold.
pub async fn days(conn: &mut Conn<'_>, from: &str, to: &str) -> Result<Vec<String>, DbError> {
    Ok(fetch_all!(conn, SALES_DAYS, (String,), from, to)?.into_iter().map(|row| row.0).collect())
}

/// Only the units of all products are added up to find the best; the other figures of these few are found by product.
async fn best_sellers(conn: &mut Conn<'_>, from: &str, to: &str, limit: i64) -> Result<Vec<SalesGroup>, DbError> {
    let packed: Vec<(String,)> = fetch_all!(conn, UNITS_SOLD, (String,), from, to, limit)?;
    let mut sold: HashMap<(Uuid, &str), i64> = HashMap::new();
    for (packed,) in &packed {
        for entry in packed.split(';') {
            let (key, units) = unpacked(entry).ok_or_else(|| DbError::inconsistent("daily_sales", "units", entry))?;
            *sold.entry(key).or_default() += units;
        }
        // Others are to have their turn: this may be all that was sold in a year.
        tokio::task::yield_now().await;
    }
    let mut best: Vec<(Reverse<i64>, Uuid, &str)> =
        sold.into_iter().map(|((id, currency), units)| (Reverse(units), id, currency)).collect();
    let most = usize::try_from(limit).unwrap_or(0);
    if best.len() > most {
        best.select_nth_unstable(most);
        best.truncate(most);
    }
    let products: BTreeSet<ProductId> = best.into_iter().map(|(_, id, _)| ProductId::new(id)).collect();
    // With the currencies of these products that are not among the best.
    let mut rows = sales_of(conn, products, from, to, false).await?;
    rows.sort_by_key(|row| Reverse(row.units));
    rows.truncate(most);
    Ok(rows)
}

/// `<32 hexadecimal digits><currency> <units>`.
fn unpacked(entry: &str) -> Option<((Uuid, &str), i64)> {
    let (key, units) = entry.rsplit_once(' ')?;
    let (id, currency) = key.split_at_checked(32)?;
    Some(((Uuid::try_parse(id).ok()?, currency), units.parse().ok()?))
}

pub async fn calls(conn: &mut Conn<'_>, span: Ids, (first, last): (&str, &str)) -> Result<Vec<Calls>, DbError> {
    let changes: Vec<(String, i64)> = fetch_all!(conn, CHANGES, (String, i64), span.from, span.before)?;
    let changes: HashMap<String, i64> = changes.into_iter().collect();
    let told: Vec<(String, i64, i64)> = fetch_all!(conn, CALLS, (String, i64, i64), span.from, span.before, first, last)?;
    let of = |(marketplace, calls, applied): (String, i64, i64)| {
        let changes = changes.get(&marketplace).copied().unwrap_or(0);
        Calls { marketplace, calls, applied, changes }
    };
    Ok(told.into_iter().map(of).collect())
}

pub async fn deliveries(conn: &mut Conn<'_>, span: Ids) -> Result<Vec<Deliveries>, DbError> {
    fetch_all!(conn, DELIVERIES, Deliveries, span.from, span.before)
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
