//! A large catalogue with its past, made by the database itself: what `stockhub bench catalogue` measures on. Every row is one that
//! the hub could have written: `stockhub verify` finds nothing wrong with it.
//!
//! Products are numbered from 0. A season is a hundred of them: their movements lie mixed in time, one season after the other, so
//! that what one product needs is spread over many pages, as it is after months. `i` numbers movements in the order of time.

use super::conn::{Conn, execute};
use super::error::DbError;
use super::sql::{Sql, statements};
use crate::domain::time::Timestamp;

/// Products whose movements lie mixed.
pub const SEASON: i64 = 100;
statements! {
    FILL_PRODUCTS = both("WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $2) \
        INSERT INTO products (id, sku, name, price_minor, cost_price_minor, currency, is_available, stock_state, created_at, updated_at) \
        SELECT {made 1, $3, i}, 'SKU-' || CAST(1000000 + i AS TEXT), \
            (CASE i % 5 WHEN 0 THEN 'Phone' WHEN 1 THEN 'Lamp' WHEN 2 THEN 'Kettle' WHEN 3 THEN 'Chair' ELSE 'Bag' END) \
                || ' no. ' || CAST(i AS TEXT), \
            1999 + i % 5000, 999 + i % 2000, 'USD', i % 50 > 0, \
            (CASE WHEN i % 50 = 0 THEN 'out' WHEN i % 50 <= 3 THEN 'low' ELSE 'ok' END), $3, $3 FROM n");
    FILL_LEVELS = both("WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $2) \
        INSERT INTO inventory (product_id, location_id, on_hand, version, updated_at) \
        SELECT {made 1, $3, i}, (SELECT id FROM locations WHERE code = 'main'), i % 50, $4, $3 FROM n");
    // Every number was told and taken; a few were refused for good, so that there is something rare to find.
    FILL_LISTINGS = both("WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $2) \
        INSERT INTO marketplace_products (id, marketplace_id, marketplace_product_id, marketplace_sku, listed_stock, available_stock, \
            wanted_version, wanted_at, sent_quantity, sent_version, sent_at, acked_quantity, acked_version, acked_at, expected, \
            last_synced_at, push_state, created_at, updated_at) \
        SELECT {made 2, $3, i * 100 + $5}, m.id, m.code || '-' || CAST(1000000 + i AS TEXT), 'SKU-' || CAST(1000000 + i AS TEXT), \
            i % 50, i % 50, 1, $3, i % 50, 1, $3, i % 50, 1, $3, i % 50, $3, \
            (CASE WHEN m.code <> 'store' AND i % 20000 = 7 THEN 'blocked' ELSE 'synced' END), $3, $3 \
        FROM n JOIN marketplaces m ON m.code = $4");
    FILL_COMPONENTS = both("WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $2) \
        INSERT INTO listing_components (listing_id, product_id, units) SELECT {made 2, $3, i * 100 + $4}, {made 1, $3, i}, 1 FROM n");
    // $4 movements of each product, $5 microseconds between two movements, $6 marketplaces, $7 the first whose delivery is in the log.
    // The first counts what is there, the others sell one each.
    FILL_MOVEMENTS = both("WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $2), \
            f(i, p, k, at) AS (SELECT i, (i / (100 * $4)) * 100 + i % 100, (i % (100 * $4)) / 100 + 1, $3 + i * $5 FROM n) \
        INSERT INTO inventory_movements (id, product_id, location_id, level_version, previous_version, movement_type, on_hand_change, \
            on_hand_after, committed_after, reserved_after, unsellable_after, incoming_after, marketplace_id, order_line_id, webhook_id, \
            reference_type, reference_id, actor, source_key, occurred_at, recorded_at) \
        SELECT {made 3, at, i}, {made 1, $3, p}, l.id, k, (CASE WHEN k > 1 THEN k - 1 END), \
            (CASE WHEN k = 1 THEN 'opening' WHEN k % 10 = 0 THEN 'marketplace_sale' ELSE 'sale' END), \
            (CASE WHEN k = 1 THEN $4 - 1 + p % 50 ELSE -1 END), $4 - k + p % 50, 0, 0, 0, 0, m.id, \
            (CASE WHEN k % 10 = 0 THEN {made 5, at, i} END), (CASE WHEN k % 10 = 0 AND i >= $7 THEN {made 6, at, i} END), \
            (CASE WHEN k % 10 = 0 THEN 'order' END), (CASE WHEN k % 10 = 0 THEN 'O-' || CAST(i AS TEXT) END), 'bench', \
            'bench:' || CAST(i AS TEXT), at, at \
        FROM f CROSS JOIN locations l LEFT JOIN marketplaces m ON m.code = (CASE WHEN k > 1 THEN 'm' || CAST(1 + (p + k) % $6 AS TEXT) END) \
        WHERE l.code = 'main'");
    FILL_ORDERS = both("WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $2), \
            f(i, p, k, at) AS (SELECT i, (i / (100 * $4)) * 100 + i % 100, (i % (100 * $4)) / 100 + 1, $3 + i * $5 FROM n) \
        INSERT INTO orders (id, marketplace_id, external_id, source, status, placed_at, actor, created_at, updated_at) \
        SELECT {made 4, at, i}, m.id, 'O-' || CAST(i AS TEXT), 'webhook', 'shipped', at, 'bench', at, at \
        FROM f JOIN marketplaces m ON m.code = 'm' || CAST(1 + (p + k) % $6 AS TEXT) WHERE k % 10 = 0 AND i >= $7");
    FILL_LINES = both("WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $2), \
            f(i, p, k, at) AS (SELECT i, (i / (100 * $4)) * 100 + i % 100, (i % (100 * $4)) / 100 + 1, $3 + i * $5 FROM n) \
        INSERT INTO order_lines (id, order_id, line_key, external_sku, listing_id, product_id, location_id, ordered, shipped, \
            posted_on_hand, posting, price_minor, cost_price_minor, currency, occurred_at, created_at, updated_at) \
        SELECT {made 5, at, i}, {made 4, at, i}, '1', 'SKU-' || CAST(1000000 + p AS TEXT), {made 2, $3, p * 100 + 1 + (p + k) % $6}, \
            {made 1, $3, p}, l.id, 1, 1, -1, 1, 1999, 999, 'USD', at, at, at FROM f CROSS JOIN locations l \
        WHERE k % 10 = 0 AND i >= $7 AND l.code = 'main'");
    FILL_LOG = both("WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $2), \
            f(i, p, k, at) AS (SELECT i, (i / (100 * $4)) * 100 + i % 100, (i % (100 * $4)) / 100 + 1, $3 + i * $5 FROM n) \
        INSERT INTO marketplace_webhooks (id, marketplace_id, source, event_type, event_key, explicit_id, body_hash, payload, status, \
            occurred_at, created_at, processed_at) \
        SELECT {made 6, at, i}, m.id, (CASE WHEN i % 20 = 0 THEN 'poll' ELSE 'webhook' END), 'order.created', \
            CAST(at AS TEXT) || ':O-' || CAST(i AS TEXT), TRUE, CAST($8 AS {blob}), CAST($9 AS {blob}), \
            (CASE WHEN (i / 100) % 5000 = 49 THEN 'failed' ELSE 'processed' END), at, at, at \
        FROM f JOIN marketplaces m ON m.code = 'm' || CAST(1 + (p + k) % $6 AS TEXT) WHERE k % 10 = 0 AND i >= $7");
    // What each listing of the product was wanted to show after a sale, and the one call that told the next marketplace.
    FILL_HISTORY = both("WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $2), \
            f(i, p, k, at) AS (SELECT i, (i / (100 * $4)) * 100 + i % 100, (i % (100 * $4)) / 100 + 1, $3 + i * $5 FROM n) \
        INSERT INTO marketplace_stock_history (id, listing_id, product_id, marketplace_id, quantity_before, quantity_after, \
            quantity_change, change_type, order_id, created_at) \
        SELECT {made 7, at, i * 100 + x.number}, {made 2, $3, p * 100 + x.number}, {made 1, $3, p}, m.id, \
            $4 - k + p % 50 + 1, $4 - k + p % 50, -1, 'sale', {made 4, at, i}, at \
        FROM f CROSS JOIN (SELECT 1 AS number UNION ALL SELECT 2 UNION ALL SELECT 3) x \
            JOIN marketplaces m ON m.code = 'm' || CAST(x.number AS TEXT) WHERE k % 10 = 0 AND i >= $7 AND x.number <= $6");
    FILL_PUSHES = both("WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $2), \
            f(i, p, k, at) AS (SELECT i, (i / (100 * $4)) * 100 + i % 100, (i % (100 * $4)) / 100 + 1, $3 + i * $5 FROM n) \
        INSERT INTO push_attempts (id, listing_id, marketplace_id, version, quantity, idempotency_key, sent_at, finished_at, outcome) \
        SELECT {made 8, at, i}, {made 2, $3, p * 100 + 1 + p % $6}, m.id, k, $4 - k + p % 50, 'bench:' || CAST(i AS TEXT), at, at, \
            (CASE WHEN (i / 100) % 5000 = 49 THEN 'permanent' ELSE 'applied' END) \
        FROM f JOIN marketplaces m ON m.code = 'm' || CAST(1 + p % $6 AS TEXT) WHERE k % 10 = 0 AND i >= $7");
    FILL_EVENTS = both("WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $2), \
            f(i, p, k, at) AS (SELECT i, (i / (100 * $4)) * 100 + i % 100, (i % (100 * $4)) / 100 + 1, $3 + i * $5 FROM n) \
        INSERT INTO events (id, event_type, product_id, stream, sequence, source_key, payload, status, created_at) \
        SELECT {made 9, at, i}, 'stock.changed', {made 1, $3, p}, {made 1, $3, p}, k, 'bench:' || CAST(i AS TEXT), '{}', 'routed', at \
        FROM f WHERE k % 10 = 0 AND i >= $7 AND $6 > 0");
    // What one in forty products sold on a day, at one marketplace each.
    FILL_SALES = both("WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 40 FROM n WHERE i + 40 < $2) \
        INSERT INTO daily_sales (day, marketplace_id, product_id, currency, units, revenue_minor, cost_minor, orders) \
        SELECT $4, m.id, {made 1, $3, i}, 'USD', 1 + i % 3, (1 + i % 3) * 1999, (1 + i % 3) * 999, 1 \
        FROM n JOIN marketplaces m ON m.code = 'm' || CAST(1 + (i / 40 + $5) % $6 AS TEXT)");
    // A server looks at tables that grew by itself, some time; this bench does not wait for it. SQLite plans without looking.
    FILL_LOOK = split("SELECT 1", "ANALYZE");
}

/// The shape of what is made.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub products: i64,
    pub marketplaces: i64,
    /// Of each product.
    pub movements: i64,
    /// When the first product was made.
    pub start: Timestamp,
    /// Microseconds from one movement to the next.
    pub step: i64,
    /// The first movement whose delivery, calls and changes are still kept.
    pub kept_from: i64,
    /// The first movement whose event is still kept.
    pub events_from: i64,
}

/// Products from one number up to another, with their levels and listings; no movement yet.
pub async fn products(conn: &mut Conn<'_>, shape: &Shape, from: i64, to: i64) -> Result<(), DbError> {
    execute!(conn, FILL_PRODUCTS, from, to, shape.start)?;
    execute!(conn, FILL_LEVELS, from, to, shape.start, shape.movements)?;
    for n in 0..=shape.marketplaces {
        let code = if n == 0 { "store".to_owned() } else { format!("m{n}") };
        execute!(conn, FILL_LISTINGS, from, to, shape.start, code.as_str(), n)?;
        execute!(conn, FILL_COMPONENTS, from, to, shape.start, n)?;
    }
    Ok(())
}

/// All movements of a season and what belongs to them.
pub async fn season(conn: &mut Conn<'_>, shape: &Shape, number: i64) -> Result<(), DbError> {
    let each = SEASON * shape.movements;
    let (from, to) = (number * each, (number + 1) * each);
    run_past(conn, &FILL_MOVEMENTS, shape, from, to, shape.kept_from).await?;
    run_past(conn, &FILL_ORDERS, shape, from, to, 0).await?;
    run_past(conn, &FILL_LINES, shape, from, to, 0).await?;
    if to > shape.kept_from {
        let kept = shape.kept_from;
        let (hash, body) = (&[0_u8; 32][..], &br#"{"event":"order.created"}"#[..]);
        let s = shape;
        execute!(conn, FILL_LOG, from, to, s.start, s.movements, s.step, s.marketplaces, kept, hash, body)?;
        run_past(conn, &FILL_HISTORY, shape, from, to, kept).await?;
        run_past(conn, &FILL_PUSHES, shape, from, to, kept).await?;
    }
    if to > shape.events_from {
        run_past(conn, &FILL_EVENTS, shape, from, to, shape.events_from).await?;
    }
    Ok(())
}

async fn run_past(conn: &mut Conn<'_>, sql: &'static Sql, s: &Shape, from: i64, to: i64, kept: i64) -> Result<(), DbError> {
    execute!(conn, *sql, from, to, s.start, s.movements, s.step, s.marketplaces, kept).map(drop)
}

/// What was sold on a day, `back` days ago: something of one product in forty.
pub async fn sales(conn: &mut Conn<'_>, shape: &Shape, day: &str, back: i64) -> Result<(), DbError> {
    execute!(conn, FILL_SALES, back % 40, shape.products, shape.start, day, back, shape.marketplaces).map(drop)
}

/// What the database would have found out about its tables by itself.
pub async fn look(conn: &mut Conn<'_>) -> Result<(), DbError> {
    execute!(conn, FILL_LOOK).map(drop)
}
