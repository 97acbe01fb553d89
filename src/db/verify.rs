//! The questions `stockhub verify` asks. Each gives the rows that break a promise; none is the answer wanted.

use super::conn::{Conn, fetch_all, fetch_one, row};
use super::error::DbError;
use super::inventory::LevelRow;
use super::sql::statements;
use crate::domain::ids::{LocationId, ProductId};

statements! {
    LEDGER_SUMS = both("SELECT p.sku AS subject, l.code AS place, 'the sum of its movements differs from the level' AS wrong, \
            CAST(i.on_hand AS BIGINT) AS found, CAST(COALESCE(s.on_hand, 0) AS BIGINT) AS wanted \
        FROM inventory i JOIN products p ON p.id = i.product_id JOIN locations l ON l.id = i.location_id LEFT JOIN ( \
            SELECT product_id, location_id, SUM(on_hand_change) AS on_hand, SUM(committed_change) AS committed, \
                SUM(reserved_change) AS reserved, SUM(unsellable_change) AS unsellable, SUM(incoming_change) AS incoming \
            FROM inventory_movements GROUP BY product_id, location_id) s \
            ON s.product_id = i.product_id AND s.location_id = i.location_id \
        WHERE i.on_hand <> COALESCE(s.on_hand, 0) OR i.committed <> COALESCE(s.committed, 0) OR i.reserved <> COALESCE(s.reserved, 0) \
            OR i.unsellable <> COALESCE(s.unsellable, 0) OR i.incoming <> COALESCE(s.incoming, 0) LIMIT 100");
    // The same, with everything that is needed to mend it.
    LEVELS_BROKEN = both("SELECT i.product_id, i.location_id, i.version, i.on_hand, i.committed, i.reserved, i.unsellable, i.incoming, \
            CAST(COALESCE(s.top, 0) AS BIGINT) AS top, CAST(COALESCE(s.on_hand, 0) AS BIGINT) AS ledger_on_hand, \
            CAST(COALESCE(s.committed, 0) AS BIGINT) AS ledger_committed, CAST(COALESCE(s.reserved, 0) AS BIGINT) AS ledger_reserved, \
            CAST(COALESCE(s.unsellable, 0) AS BIGINT) AS ledger_unsellable, CAST(COALESCE(s.incoming, 0) AS BIGINT) AS ledger_incoming \
        FROM inventory i LEFT JOIN ( \
            SELECT product_id, location_id, MAX(level_version) AS top, SUM(on_hand_change) AS on_hand, SUM(committed_change) AS committed, \
                SUM(reserved_change) AS reserved, SUM(unsellable_change) AS unsellable, SUM(incoming_change) AS incoming \
            FROM inventory_movements GROUP BY product_id, location_id) s \
            ON s.product_id = i.product_id AND s.location_id = i.location_id \
        WHERE i.on_hand <> COALESCE(s.on_hand, 0) OR i.committed <> COALESCE(s.committed, 0) OR i.reserved <> COALESCE(s.reserved, 0) \
            OR i.unsellable <> COALESCE(s.unsellable, 0) OR i.incoming <> COALESCE(s.incoming, 0) \
        ORDER BY i.product_id, i.location_id LIMIT $1");
    LEDGER_GAPS = both("SELECT p.sku AS subject, l.code AS place, 'its versions are not 1 to n without a gap' AS wrong, \
            i.version AS found, CAST(COALESCE(s.n, 0) AS BIGINT) AS wanted \
        FROM inventory i JOIN products p ON p.id = i.product_id JOIN locations l ON l.id = i.location_id LEFT JOIN ( \
            SELECT product_id, location_id, COUNT(*) AS n, MAX(level_version) AS top FROM inventory_movements \
            GROUP BY product_id, location_id) s ON s.product_id = i.product_id AND s.location_id = i.location_id \
        WHERE i.version <> COALESCE(s.n, 0) OR COALESCE(s.n, 0) <> COALESCE(s.top, 0) LIMIT 100");
    LEDGER_CHAIN = both("SELECT p.sku AS subject, l.code AS place, 'a movement does not start where the one before ended' AS wrong, \
            m.quantity_after - m.quantity_change AS found, b.quantity_after AS wanted \
        FROM inventory_movements m JOIN inventory_movements b ON b.product_id = m.product_id AND b.location_id = m.location_id \
            AND b.level_version = m.previous_version JOIN products p ON p.id = m.product_id JOIN locations l ON l.id = m.location_id \
        WHERE m.on_hand_after - m.on_hand_change <> b.on_hand_after OR m.committed_after - m.committed_change <> b.committed_after \
            OR m.reserved_after - m.reserved_change <> b.reserved_after \
            OR m.unsellable_after - m.unsellable_change <> b.unsellable_after LIMIT 100");
    OPEN_LINES = both("SELECT p.sku AS subject, l.code AS place, 'open order lines differ from committed' AS wrong, \
            i.committed AS found, CAST(COALESCE(s.open, 0) AS BIGINT) AS wanted \
        FROM inventory i JOIN products p ON p.id = i.product_id JOIN locations l ON l.id = i.location_id LEFT JOIN ( \
            SELECT product_id, location_id, SUM(posted_committed) AS open FROM order_lines WHERE location_id IS NOT NULL \
            GROUP BY product_id, location_id) s ON s.product_id = i.product_id AND s.location_id = i.location_id \
        WHERE i.committed <> COALESCE(s.open, 0) LIMIT 100");
    HELD = both("SELECT p.sku AS subject, l.code AS place, 'held reservations differ from reserved' AS wrong, \
            i.reserved AS found, CAST(COALESCE(s.held, 0) AS BIGINT) AS wanted \
        FROM inventory i JOIN products p ON p.id = i.product_id JOIN locations l ON l.id = i.location_id LEFT JOIN ( \
            SELECT t.product_id, t.location_id, SUM(t.quantity - t.consumed) AS held FROM reservation_items t \
            JOIN reservations r ON r.id = t.reservation_id WHERE r.state = 'held' GROUP BY t.product_id, t.location_id) s \
            ON s.product_id = i.product_id AND s.location_id = i.location_id \
        WHERE i.reserved <> COALESCE(s.held, 0) LIMIT 100");
    LINES_POSTED = both("SELECT o.external_id AS subject, l.line_key AS place, 'what was posted for the line differs from its movements' AS wrong, \
            l.posted_on_hand - l.historic_on_hand AS found, CAST(COALESCE(s.on_hand, 0) AS BIGINT) AS wanted \
        FROM order_lines l JOIN orders o ON o.id = l.order_id LEFT JOIN ( \
            SELECT order_line_id, SUM(on_hand_change) AS on_hand, SUM(committed_change) AS committed FROM inventory_movements \
            WHERE order_line_id IS NOT NULL GROUP BY order_line_id) s ON s.order_line_id = l.id \
        WHERE l.posted_on_hand - l.historic_on_hand <> COALESCE(s.on_hand, 0) OR l.posted_committed <> COALESCE(s.committed, 0) LIMIT 100");
    UNTRACED = both("SELECT m.source_key AS subject, COALESCE(m.reference_id, '') AS place, \
            'a movement names a delivery that is not in the log' AS wrong, m.quantity_change AS found, CAST(0 AS BIGINT) AS wanted \
        FROM inventory_movements m WHERE m.webhook_id IS NOT NULL \
            AND NOT EXISTS (SELECT 1 FROM marketplace_webhooks w WHERE w.id = m.webhook_id) LIMIT 100");
    LISTING_VERSIONS = both("SELECT m.code AS subject, l.marketplace_product_id AS place, 'listing versions are out of order' AS wrong, \
            l.acked_version AS found, l.wanted_version AS wanted FROM marketplace_products l JOIN marketplaces m ON m.id = l.marketplace_id \
        WHERE l.acked_version > l.sent_version OR l.sent_version > l.wanted_version OR l.listed_stock < 0 LIMIT 100");
    // Each total less what its products add up to: all of it is nothing.
    SALES_TOTALS = both("SELECT g.day AS subject, m.code AS place, 'the total of a day differs from the sum of its products' AS wrong, \
            CAST(g.found AS BIGINT) AS found, CAST(g.wanted AS BIGINT) AS wanted \
        FROM (SELECT day, marketplace_id, currency, SUM(found) AS found, SUM(wanted) AS wanted FROM ( \
                SELECT day, marketplace_id, currency, units AS found, 0 AS wanted, units, revenue_minor, cost_minor, fee_minor, orders, \
                    cancelled, returned FROM daily_totals \
                UNION ALL SELECT day, marketplace_id, currency, 0, units, -units, -revenue_minor, -cost_minor, -fee_minor, -orders, \
                    -cancelled, -returned FROM daily_sales) AS d \
            GROUP BY day, marketplace_id, currency HAVING SUM(units) <> 0 OR SUM(revenue_minor) <> 0 OR SUM(cost_minor) <> 0 \
                OR SUM(fee_minor) <> 0 OR SUM(orders) <> 0 OR SUM(cancelled) <> 0 OR SUM(returned) <> 0) AS g \
        JOIN marketplaces m ON m.id = g.marketplace_id LIMIT 100");
    COUNTS = both("SELECT (SELECT COUNT(*) FROM products) AS products, (SELECT COUNT(*) FROM inventory_movements) AS movements, \
            (SELECT COUNT(*) FROM marketplace_webhooks) AS webhooks, \
            (SELECT COUNT(*) FROM marketplace_webhooks WHERE status = 'processed') AS processed, \
            (SELECT COUNT(*) FROM marketplace_webhooks WHERE status IN ('pending', 'retry')) AS waiting, \
            (SELECT COUNT(*) FROM marketplace_webhooks WHERE status IN ('failed', 'unmapped')) AS to_handle");
}

row! {
    /// One broken promise.
    #[derive(Clone, Debug, serde::Serialize)]
    pub struct Finding {
        pub subject: String,
        pub place: String,
        pub wrong: String,
        pub found: i64,
        pub wanted: i64,
    }
}

row! {
    #[derive(Clone, Debug, serde::Serialize)]
    pub struct Counts {
        pub products: i64,
        pub movements: i64,
        pub webhooks: i64,
        pub processed: i64,
        pub waiting: i64,
        pub to_handle: i64,
    }
}

row! {
    /// A level that does not hold what its movements add up to.
    #[derive(Clone, Copy, Debug)]
    pub struct BrokenLevel {
        pub product_id: ProductId,
        pub location_id: LocationId,
        pub version: i64,
        pub on_hand: i64,
        pub committed: i64,
        pub reserved: i64,
        pub unsellable: i64,
        pub incoming: i64,
        /// The version of its last movement.
        pub top: i64,
        pub ledger_on_hand: i64,
        pub ledger_committed: i64,
        pub ledger_reserved: i64,
        pub ledger_unsellable: i64,
        pub ledger_incoming: i64,
    }
}

impl BrokenLevel {
    /// As it was found, under a version.
    pub fn found(&self, version: i64) -> LevelRow {
        let (product_id, location_id) = (self.product_id, self.location_id);
        let (on_hand, committed, reserved) = (self.on_hand, self.committed, self.reserved);
        let (unsellable, incoming) = (self.unsellable, self.incoming);
        LevelRow { product_id, location_id, on_hand, committed, reserved, unsellable, incoming, version }
    }

    /// As its movements say, under a version.
    pub fn ledger(&self, version: i64) -> LevelRow {
        LevelRow {
            on_hand: self.ledger_on_hand,
            committed: self.ledger_committed,
            reserved: self.ledger_reserved,
            unsellable: self.ledger_unsellable,
            incoming: self.ledger_incoming,
            ..self.found(version)
        }
    }
}

pub async fn broken_levels(conn: &mut Conn<'_>, limit: i64) -> Result<Vec<BrokenLevel>, DbError> {
    fetch_all!(conn, LEVELS_BROKEN, BrokenLevel, limit)
}

pub async fn findings(conn: &mut Conn<'_>) -> Result<Vec<Finding>, DbError> {
    let mut all = fetch_all!(conn, LEDGER_SUMS, Finding)?;
    all.extend(fetch_all!(conn, LEDGER_GAPS, Finding)?);
    all.extend(fetch_all!(conn, LEDGER_CHAIN, Finding)?);
    all.extend(fetch_all!(conn, OPEN_LINES, Finding)?);
    all.extend(fetch_all!(conn, HELD, Finding)?);
    all.extend(fetch_all!(conn, LINES_POSTED, Finding)?);
    all.extend(fetch_all!(conn, UNTRACED, Finding)?);
    all.extend(fetch_all!(conn, LISTING_VERSIONS, Finding)?);
    all.extend(fetch_all!(conn, SALES_TOTALS, Finding)?);
    Ok(all)
}

pub async fn counts(conn: &mut Conn<'_>) -> Result<Counts, DbError> {
    fetch_one!(conn, COUNTS, Counts)
}
