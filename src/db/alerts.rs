//! Alerts and oversell cases: one open per cause, opened by the transaction that found it.

use std::collections::HashSet;

use super::conn::{Conn, execute, fetch_all, fetch_optional, row};
use super::error::DbError;
use super::span::Ids;
use super::sql::{Rows, statements};
use crate::domain::ids::{LineId, LocationId, MarketplaceId, OrderId, ProductId};
use crate::domain::time::Timestamp;
use uuid::Uuid;

statements! {
    ALERTS_OPEN_ONCE = both("INSERT INTO alerts (id, kind, severity, dedup_key, product_id, marketplace_id, message, opened_at) \
        SELECT {id 0}, {text 1}, {text 2}, {text 3}, {id 4}, {id 5}, {text 6}, {int 7} FROM {rows} \
        WHERE NOT EXISTS (SELECT 1 FROM marketplaces m WHERE m.id = {id 5} AND m.archived_at IS NOT NULL) \
        ON CONFLICT (dedup_key) WHERE state <> 'resolved' DO NOTHING");
    ALERTS_RESOLVE = both("UPDATE alerts SET state = 'resolved', resolved_at = $2 WHERE state <> 'resolved' AND dedup_key IN {texts $1}");
    ALERTS_RESOLVE_OF_MARKETPLACE = both("UPDATE alerts SET state = 'resolved', resolved_at = $2 \
        WHERE marketplace_id = $1 AND state <> 'resolved'");
    ALERT_ACK = both("UPDATE alerts SET state = 'acknowledged', acknowledged_at = $2, acknowledged_by = $3 \
        WHERE id = $1 AND state = 'open'");
    ALERT_STATE = both("SELECT state FROM alerts WHERE id = $1");
    ALERTS_PAGE = both("SELECT a.id, a.kind, a.severity, a.state, p.sku, m.code AS marketplace, a.message, a.opened_at, a.acknowledged_at, \
            a.resolved_at FROM alerts a LEFT JOIN products p ON p.id = a.product_id LEFT JOIN marketplaces m ON m.id = a.marketplace_id \
        WHERE a.id < $1 AND a.id >= $2 AND ($3 = '' OR a.state = $3) AND ($4 = '' OR a.kind = $4) AND ($5 = '' OR m.code = $5) \
            AND ($6 = '' OR p.sku = $6) ORDER BY a.id DESC LIMIT $7");
    OVERSELLS_OPEN = both("INSERT INTO oversell_cases (id, product_id, location_id, units, candidates, opened_at) \
        SELECT {id 0}, {id 1}, {id 2}, {int 3}, {text 4}, {int 5} FROM {rows} WHERE TRUE \
        ON CONFLICT (product_id, location_id) WHERE state = 'open' DO UPDATE SET units = excluded.units, \
            candidates = excluded.candidates");
    // It got better, but not good.
    OVERSELLS_EASE = both("UPDATE oversell_cases AS c SET units = {int 2} FROM {rows} \
        WHERE c.product_id = {id 0} AND c.location_id = {id 1} AND c.state = 'open'");
    OVERSELLS_END = both("UPDATE oversell_cases AS c SET state = 'resolved', units = 0, decision = 'the stock is back', actor = 'system', \
            resolved_at = {int 2} FROM {rows} WHERE c.product_id = {id 0} AND c.location_id = {id 1} AND c.state = 'open'");
    OVERSELL_RESOLVE = both("UPDATE oversell_cases SET state = 'resolved', decision = $2, actor = $3, resolved_at = $4 \
        WHERE id = $1 AND state = 'open'");
    // What was sold of a product and not shipped yet: these can still be cancelled. Newest first as they moved stock, which the
    // ledger's index gives: while a hot product is oversold this runs with every sale. A line stands there once per movement.
    OVERSELL_CANDIDATES = both("SELECT l.id AS line_id, o.id AS order_id, o.external_id, m.code AS marketplace, l.line_key, \
            l.posted_committed - l.posted_on_hand + l.historic_on_hand - l.shipped * l.units AS quantity, \
            COALESCE(l.occurred_at, l.created_at) AS occurred_at \
        FROM inventory_movements v JOIN order_lines l ON l.id = v.order_line_id JOIN orders o ON o.id = l.order_id \
            JOIN marketplaces m ON m.id = o.marketplace_id \
        WHERE v.product_id = $1 AND l.posted_committed - l.posted_on_hand + l.historic_on_hand - l.shipped * l.units > 0 \
        ORDER BY v.id DESC LIMIT $2");
    OVERSELL_BY_ID = both("SELECT c.id, p.sku, l.code AS location, c.units, c.candidates, c.state, c.decision, c.actor, c.opened_at, \
            c.resolved_at FROM oversell_cases c JOIN products p ON p.id = c.product_id JOIN locations l ON l.id = c.location_id \
        WHERE c.id = $1");
    OVERSELLS_PAGE = both("SELECT c.id, p.sku, l.code AS location, c.units, c.candidates, c.state, c.decision, c.actor, c.opened_at, \
            c.resolved_at \
        FROM oversell_cases c JOIN products p ON p.id = c.product_id JOIN locations l ON l.id = c.location_id \
        WHERE c.id < $1 AND c.id >= $2 AND ($3 = '' OR c.state = $3) AND ($4 = '' OR p.sku = $4) ORDER BY c.id DESC LIMIT $5");
}

#[derive(Clone, Debug)]
pub struct NewAlert {
    pub id: Uuid,
    pub kind: &'static str,
    pub severity: &'static str,
    pub dedup_key: String,
    pub product_id: Option<ProductId>,
    pub marketplace_id: Option<MarketplaceId>,
    pub message: String,
}

/// Opens those that are not open already; gives how many are new.
pub async fn open_once(conn: &mut Conn<'_>, alerts: &[NewAlert], now: Timestamp) -> Result<u64, DbError> {
    let mut rows = Rows::new();
    for a in alerts {
        rows.push(|r| {
            r.id(a.id).text(a.kind).text(a.severity).text(&a.dedup_key).opt_id(a.product_id).opt_id(a.marketplace_id);
            r.text(&a.message).int(now.micros());
        });
    }
    if rows.is_empty() {
        return Ok(0);
    }
    execute!(conn, ALERTS_OPEN_ONCE, rows.finish())
}

/// All that stand of a marketplace.
pub async fn resolve_of_marketplace(conn: &mut Conn<'_>, id: MarketplaceId, now: Timestamp) -> Result<(), DbError> {
    execute!(conn, ALERTS_RESOLVE_OF_MARKETPLACE, id, now).map(drop)
}

pub async fn resolve<'a>(conn: &mut Conn<'_>, keys: impl IntoIterator<Item = &'a str>, now: Timestamp) -> Result<u64, DbError> {
    execute!(conn, ALERTS_RESOLVE, super::sql::texts(keys), now)
}

/// Somebody has seen it: it stays until its cause is gone. Gives the state before, `None` where there is no such alert.
pub async fn acknowledge(conn: &mut Conn<'_>, id: Uuid, by: &str, now: Timestamp) -> Result<Option<String>, DbError> {
    let state = fetch_optional!(conn, ALERT_STATE, (String,), id)?.map(|row| row.0);
    execute!(conn, ALERT_ACK, id, now, by)?;
    Ok(state)
}

pub struct NewOversell {
    pub id: Uuid,
    pub product_id: ProductId,
    pub location_id: LocationId,
    pub units: i64,
    /// Which orders compete for what is not there, as JSON.
    pub candidates: String,
}

pub async fn open_oversells(conn: &mut Conn<'_>, cases: &[NewOversell], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for c in cases {
        rows.push(|r| {
            r.id(c.id).id(c.product_id).id(c.location_id).int(c.units).text(&c.candidates).int(now.micros());
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, OVERSELLS_OPEN, rows.finish()).map(drop)
}

row! {
    pub struct AlertView {
        pub id: Uuid,
        pub kind: String,
        pub severity: String,
        pub state: String,
        pub sku: Option<String>,
        pub marketplace: Option<String>,
        pub message: String,
        pub opened_at: Timestamp,
        pub acknowledged_at: Option<Timestamp>,
        pub resolved_at: Option<Timestamp>,
    }
}

/// Which alerts; empty means any.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub state: String,
    pub kind: String,
    pub marketplace: String,
    pub sku: String,
}

/// Newest first.
pub async fn page(conn: &mut Conn<'_>, which: &Filter, ids: Ids, limit: i64) -> Result<Vec<AlertView>, DbError> {
    let (state, kind, code, sku) = (which.state.as_str(), which.kind.as_str(), which.marketplace.as_str(), which.sku.as_str());
    fetch_all!(conn, ALERTS_PAGE, AlertView, ids.before, ids.from, state, kind, code, sku, limit)
}

row! {
    pub struct OversellView {
        pub id: Uuid,
        pub sku: String,
        pub location: String,
        pub units: i64,
        pub candidates: String,
        pub state: String,
        pub decision: Option<String>,
        pub actor: Option<String>,
        pub opened_at: Timestamp,
        pub resolved_at: Option<Timestamp>,
    }
}

row! {
    /// An order line that could be cancelled to make good.
    #[derive(Clone, Debug, serde::Serialize)]
    pub struct Candidate {
        #[serde(skip)]
        pub line_id: LineId,
        pub order_id: OrderId,
        pub external_id: String,
        pub marketplace: String,
        pub line_key: String,
        /// Pieces of the product.
        pub quantity: i64,
        pub occurred_at: Timestamp,
    }
}

/// Movements looked at per line that is wanted: a sale, a change of it, and something else.
const MOVEMENTS_PER_LINE: i64 = 3;

pub async fn candidates(conn: &mut Conn<'_>, product: ProductId, limit: i64) -> Result<Vec<Candidate>, DbError> {
    let looked_at = limit.saturating_mul(MOVEMENTS_PER_LINE);
    let mut candidates = fetch_all!(conn, OVERSELL_CANDIDATES, Candidate, product, looked_at)?;
    let mut seen = HashSet::new();
    candidates.retain(|candidate| seen.insert(candidate.line_id));
    candidates.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(candidates)
}

/// Sets the missing units of those cases that are open.
pub async fn ease_oversells(conn: &mut Conn<'_>, cases: &[(ProductId, LocationId, i64)]) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for (product, location, units) in cases {
        rows.push(|r| {
            r.id(*product).id(*location).int(*units);
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, OVERSELLS_EASE, rows.finish()).map(drop)
}

/// Closes the open cases of these levels: there is enough again.
pub async fn end_oversells(conn: &mut Conn<'_>, levels: &[(ProductId, LocationId)], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for (product, location) in levels {
        rows.push(|r| {
            r.id(*product).id(*location).int(now.micros());
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, OVERSELLS_END, rows.finish()).map(drop)
}

/// False when it is not open.
pub async fn resolve_oversell(
    conn: &mut Conn<'_>,
    id: Uuid,
    decision: &str,
    actor: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    Ok(execute!(conn, OVERSELL_RESOLVE, id, decision, actor, now)? == 1)
}

pub async fn oversell(conn: &mut Conn<'_>, id: Uuid) -> Result<Option<OversellView>, DbError> {
    fetch_optional!(conn, OVERSELL_BY_ID, OversellView, id)
}

/// Newest first; an empty filter means any.
pub async fn oversells(conn: &mut Conn<'_>, state: &str, sku: &str, ids: Ids, limit: i64) -> Result<Vec<OversellView>, DbError> {
    fetch_all!(conn, OVERSELLS_PAGE, OversellView, ids.before, ids.from, state, sku, limit)
}
