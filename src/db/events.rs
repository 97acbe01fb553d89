//! The outbox: events of a transaction, and what becomes of them.

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_one, fetch_optional, row};
use super::error::DbError;
use super::span::Ids;
use super::sql::{Rows, ids, statements};
use crate::domain::events::EventType;
use crate::domain::ids::ProductId;
use crate::domain::time::Timestamp;
use uuid::Uuid;

statements! {
    // Where nobody listens there is nothing to route: such an event is only kept to be looked at.
    EVENTS_INSERT = both("INSERT INTO events (id, event_type, product_id, stream, sequence, source_key, payload, status, created_at) \
        SELECT {id 0}, {text 1}, {id 2}, {id 3}, {int 4}, {text 5}, {text 6}, \
            CASE WHEN EXISTS (SELECT 1 FROM sinks WHERE kind = 'webhook' AND removed_at IS NULL) THEN 'pending' ELSE 'routed' END, {int 7} \
        FROM {rows} WHERE TRUE ON CONFLICT (source_key) DO NOTHING");
    EVENTS_UNROUTED = both("SELECT id, event_type, stream, sequence, created_at FROM events WHERE status = 'pending' \
        ORDER BY created_at, sequence, id LIMIT $1 {for update}");
    EVENTS_SET_ROUTED = both("UPDATE events SET status = 'routed' WHERE id IN {ids $1}");
    EVENTS_WAITING = both("SELECT CAST((CASE WHEN EXISTS (SELECT 1 FROM events WHERE status = 'pending') \
        OR EXISTS (SELECT 1 FROM alerts WHERE routed = FALSE) THEN 1 ELSE 0 END) AS BIGINT)");
    EVENTS_PAGE = both("SELECT e.id, e.event_type, p.sku, e.payload, e.created_at, e.status, \
            (SELECT COUNT(*) FROM event_deliveries d WHERE d.event_id = e.id AND d.status = 'pending') AS waiting, \
            (SELECT COUNT(*) FROM event_deliveries d WHERE d.event_id = e.id AND d.status = 'delivered') AS delivered, \
            (SELECT COUNT(*) FROM event_deliveries d WHERE d.event_id = e.id AND d.status = 'dead') AS dead \
        FROM events e LEFT JOIN products p ON p.id = e.product_id \
        WHERE e.id < $1 AND e.id >= $2 AND ($3 = '' OR e.event_type = $3) ORDER BY e.id DESC LIMIT $4");
    EVENTS_PAGE_OF_SKU = both("SELECT e.id, e.event_type, p.sku, e.payload, e.created_at, e.status, \
            (SELECT COUNT(*) FROM event_deliveries d WHERE d.event_id = e.id AND d.status = 'pending') AS waiting, \
            (SELECT COUNT(*) FROM event_deliveries d WHERE d.event_id = e.id AND d.status = 'delivered') AS delivered, \
            (SELECT COUNT(*) FROM event_deliveries d WHERE d.event_id = e.id AND d.status = 'dead') AS dead \
        FROM events e LEFT JOIN products p ON p.id = e.product_id \
        WHERE e.id < $1 AND e.id >= $2 AND ($3 = '' OR e.event_type = $3) AND e.product_id = (SELECT id FROM products WHERE sku = $4) ORDER BY e.id DESC LIMIT $5");
    // How far so many rows reach: read from an index alone.
    EVENTS_REACH = both("SELECT id FROM events WHERE id < $1 AND id >= $2 ORDER BY id DESC LIMIT 1 OFFSET $3");
    // What somebody still waits for stays, however old.
    EVENTS_PURGE = both("DELETE FROM events WHERE id IN (SELECT e.id FROM events e WHERE e.created_at < $1 AND e.status = 'routed' \
        AND NOT EXISTS (SELECT 1 FROM event_deliveries d WHERE d.event_id = e.id AND d.status IN ('pending', 'dead')) \
        ORDER BY e.created_at LIMIT $2)");
    ALERTS_UNROUTED = both("SELECT id, kind, opened_at FROM alerts WHERE routed = FALSE ORDER BY id LIMIT $1 {for update}");
    ALERTS_SET_ROUTED = both("UPDATE alerts SET routed = TRUE WHERE id IN {ids $1}");
}

/// An event on its way into the outbox.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub id: Uuid,
    pub event_type: EventType,
    pub product_id: Option<ProductId>,
    /// What its order is kept within.
    pub stream: Uuid,
    pub sequence: i64,
    /// Unique for ever: one cause, one event.
    pub source_key: String,
    /// JSON.
    pub payload: String,
}

/// Writes events in one statement; those whose cause has one already are left out.
pub async fn insert_once(conn: &mut Conn<'_>, events: &[NewEvent], now: Timestamp) -> Result<u64, DbError> {
    let mut rows = Rows::new();
    for e in events {
        rows.push(|r| {
            r.id(e.id).text(e.event_type.as_str()).opt_id(e.product_id).id(e.stream).int(e.sequence);
            r.text(&e.source_key).text(&e.payload).int(now.micros());
        });
    }
    if rows.is_empty() {
        return Ok(0);
    }
    execute!(conn, EVENTS_INSERT, rows.finish())
}

row! {
    pub struct UnroutedEvent {
        pub id: Uuid,
        pub event_type: String,
        pub stream: Uuid,
        pub sequence: i64,
        pub created_at: Timestamp,
    }
}

row! {
    pub struct UnroutedAlert {
        pub id: Uuid,
        pub kind: String,
        pub opened_at: Timestamp,
    }
}

/// Whether anything waits to be routed.
pub async fn any_unrouted(conn: &mut Conn<'_>) -> Result<bool, DbError> {
    Ok(fetch_one!(conn, EVENTS_WAITING, (i64,))?.0 == 1)
}

pub async fn unrouted(conn: &mut Conn<'_>, limit: i64) -> Result<Vec<UnroutedEvent>, DbError> {
    fetch_all!(conn, EVENTS_UNROUTED, UnroutedEvent, limit)
}

pub async fn set_routed(conn: &mut Conn<'_>, events: &[UnroutedEvent]) -> Result<(), DbError> {
    execute_exactly!(events.len(), conn, EVENTS_SET_ROUTED, ids(events.iter().map(|event| event.id)))
}

pub async fn unrouted_alerts(conn: &mut Conn<'_>, limit: i64) -> Result<Vec<UnroutedAlert>, DbError> {
    fetch_all!(conn, ALERTS_UNROUTED, UnroutedAlert, limit)
}

pub async fn set_alerts_routed(conn: &mut Conn<'_>, alerts: &[UnroutedAlert]) -> Result<(), DbError> {
    execute_exactly!(alerts.len(), conn, ALERTS_SET_ROUTED, ids(alerts.iter().map(|alert| alert.id)))
}

row! {
    pub struct EventView {
        pub id: Uuid,
        pub event_type: String,
        pub sku: Option<String>,
        pub payload: String,
        pub created_at: Timestamp,
        pub status: String,
        pub waiting: i64,
        pub delivered: i64,
        pub dead: i64,
    }
}

/// Newest first; an empty filter means all.
pub async fn page(conn: &mut Conn<'_>, event_type: &str, sku: &str, ids: Ids, limit: i64) -> Result<Vec<EventView>, DbError> {
    match sku {
        "" => fetch_all!(conn, EVENTS_PAGE, EventView, ids.before, ids.from, event_type, limit),
        sku => fetch_all!(conn, EVENTS_PAGE_OF_SKU, EventView, ids.before, ids.from, event_type, sku, limit),
    }
}

/// The last of the newest `rows` events; `None` where there are fewer.
pub async fn reach(conn: &mut Conn<'_>, ids: Ids, rows: i64) -> Result<Option<Uuid>, DbError> {
    let last: Option<(Uuid,)> = fetch_optional!(conn, EVENTS_REACH, (Uuid,), ids.before, ids.from, rows - 1)?;
    Ok(last.map(|row| row.0))
}

/// Forgets events made before a time, at most `limit`, with their deliveries.
pub async fn purge(conn: &mut Conn<'_>, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    execute!(conn, EVENTS_PURGE, before, limit)
}
