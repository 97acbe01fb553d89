//! Sinks and what is on its way to them; the dead letters of every kind.

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_one, fetch_optional, row};
use super::error::DbError;
use super::sql::{Rows, statements};
use crate::domain::ids::MarketplaceId;
use crate::domain::time::Timestamp;
use uuid::Uuid;

statements! {
    SINK_INSERT = both("INSERT INTO sinks (id, kind, name, url, secret, recipients, kinds, created_by, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    SINKS_LIVE = both("SELECT id, kind, name, url, secret, recipients, kinds, failures, resume_at, created_at FROM sinks \
        WHERE removed_at IS NULL ORDER BY id");
    SINK_BY_ID = both("SELECT id, kind, name, url, secret, recipients, kinds, failures, resume_at, created_at FROM sinks \
        WHERE id = $1 AND removed_at IS NULL");
    SINK_REMOVE = both("UPDATE sinks SET removed_at = $2 WHERE id = $1 AND removed_at IS NULL");
    DELIVERIES_DROP = both("UPDATE event_deliveries SET status = 'discarded', finished_at = $2 \
        WHERE sink_id = $1 AND status IN ('pending', 'dead')");
    SINKS_DUE = both("SELECT s.id FROM sinks s WHERE s.removed_at IS NULL AND s.resume_at <= $1 AND EXISTS \
        (SELECT 1 FROM event_deliveries d WHERE d.sink_id = s.id AND d.status = 'pending' AND d.next_attempt_at <= $1)");
    SINK_PACE = both("UPDATE sinks SET failures = $2, resume_at = $3 WHERE id = $1");
    DELIVERIES_INSERT = both("INSERT INTO event_deliveries (id, sink_id, event_id, alert_id, stream, sequence, next_attempt_at, created_at) \
        SELECT {id 0}, {id 1}, {id 2}, {id 3}, {id 4}, {int 5}, {int 6}, {int 7} FROM {rows} WHERE TRUE ON CONFLICT DO NOTHING");
    // A stream whose first one waits for its next try waits as a whole.
    DELIVERIES_DUE = both("SELECT d.id, d.event_id, d.alert_id, d.stream, d.attempts, e.event_type, e.payload, e.created_at AS event_at, \
            a.kind AS alert_kind, a.severity, a.message, a.opened_at \
        FROM event_deliveries d LEFT JOIN events e ON e.id = d.event_id LEFT JOIN alerts a ON a.id = d.alert_id \
        WHERE d.sink_id = $1 AND d.status = 'pending' AND d.stream NOT IN (SELECT w.stream FROM event_deliveries w \
            WHERE w.sink_id = $1 AND w.status = 'pending' AND w.next_attempt_at > $2) \
        ORDER BY d.created_at, d.sequence, d.id LIMIT $3");
    DELIVERIES_SETTLE = both("UPDATE event_deliveries AS d SET status = {text 1}, attempts = d.attempts + {int 2}, \
            next_attempt_at = {int 3}, last_status = {int 4}, last_error = {text 5}, finished_at = {int 6} \
        FROM {rows} WHERE d.id = {id 0} AND d.status = 'pending'");
    DEAD_PAGE = both("SELECT x.id, x.kind, x.name, x.target, x.reason, x.attempts, x.at FROM ( \
            SELECT d.id, CASE WHEN d.alert_id IS NULL THEN 'event' ELSE 'mail' END AS kind, COALESCE(e.event_type, a.kind) AS name, \
                s.name AS target, d.last_error AS reason, d.attempts, d.created_at AS at \
            FROM event_deliveries d JOIN sinks s ON s.id = d.sink_id LEFT JOIN events e ON e.id = d.event_id \
                LEFT JOIN alerts a ON a.id = d.alert_id WHERE d.status = 'dead' \
            UNION ALL SELECT w.id, 'webhook', w.event_type, m.code, w.error_message, w.retry_count, w.created_at \
            FROM marketplace_webhooks w JOIN marketplaces m ON m.id = w.marketplace_id WHERE w.status IN ('failed', 'unmapped') AND w.status = 'failed' \
            UNION ALL SELECT l.id, 'push', l.marketplace_product_id, m.code, l.last_error, l.attempts, l.updated_at \
            FROM marketplace_products l JOIN marketplaces m ON m.id = l.marketplace_id WHERE l.push_state IN ('new', 'unknown', 'blocked', 'paused', 'task') AND l.push_state = 'blocked' \
                AND m.archived_at IS NULL) x \
        WHERE x.id < $1 AND ($2 = '' OR x.kind = $2) ORDER BY x.id DESC LIMIT $3");
    DEAD_DELIVERIES_COUNT = both("SELECT COUNT(*) FROM event_deliveries WHERE status = 'dead'");
    DEAD_DELIVERY_RETRY = both("UPDATE event_deliveries SET status = 'pending', attempts = 0, next_attempt_at = $2, finished_at = NULL \
        WHERE id = $1 AND status = 'dead' RETURNING sink_id");
    // The sink is believed to be well again: what is put back in line does not wait for its pace.
    SINK_WAKE = both("UPDATE sinks SET failures = 0, resume_at = 0 WHERE id = $1");
    DEAD_DELIVERY_DISCARD = both("UPDATE event_deliveries SET status = 'discarded', finished_at = $2 WHERE id = $1 AND status = 'dead' \
        RETURNING sink_id");
    DEAD_WEBHOOK_RETRY = both("UPDATE marketplace_webhooks SET status = 'pending', retry_count = 0, next_attempt_at = NULL \
        WHERE id = $1 AND status = 'failed'");
    DEAD_WEBHOOK_DISCARD = both("UPDATE marketplace_webhooks SET status = 'ignored', processed_at = $2 WHERE id = $1 AND status = 'failed'");
    // A new version: a marketplace that remembers keys must not take it for the refused one.
    BLOCKED_PUSH_RETRY = both("UPDATE marketplace_products SET push_state = 'dirty', attempts = 0, next_push_at = $2, wanted_at = $2, \
            wanted_version = wanted_version + 1, expected = NULL, version = version + 1, updated_at = $2 \
        WHERE id = $1 AND push_state = 'blocked' RETURNING marketplace_id");
    BLOCKED_PUSH_EXISTS = both("SELECT COUNT(*) FROM marketplace_products WHERE id = $1 AND push_state = 'blocked'");
}

row! {
    #[derive(Clone, Debug)]
    pub struct SinkRow {
        pub id: Uuid,
        pub kind: String,
        pub name: String,
        pub url: Option<String>,
        /// Sealed.
        pub secret: Option<Vec<u8>>,
        /// JSON list of addresses.
        pub recipients: String,
        /// JSON list of event types or alert kinds; empty = all.
        pub kinds: String,
        pub failures: i64,
        pub resume_at: Timestamp,
        pub created_at: Timestamp,
    }
}

impl SinkRow {
    pub fn list(text: &str) -> Vec<String> {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub fn wants(&self, kind: &str) -> bool {
        let kinds = Self::list(&self.kinds);
        kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind)
    }
}

pub async fn insert(conn: &mut Conn<'_>, s: &SinkRow, created_by: &str) -> Result<(), DbError> {
    execute_exactly!(
        1,
        conn,
        SINK_INSERT,
        s.id,
        s.kind.as_str(),
        s.name.as_str(),
        s.url.as_deref(),
        s.secret.as_deref(),
        s.recipients.as_str(),
        s.kinds.as_str(),
        created_by,
        s.created_at
    )
}

pub async fn live(conn: &mut Conn<'_>) -> Result<Vec<SinkRow>, DbError> {
    fetch_all!(conn, SINKS_LIVE, SinkRow)
}

pub async fn get(conn: &mut Conn<'_>, id: Uuid) -> Result<Option<SinkRow>, DbError> {
    fetch_optional!(conn, SINK_BY_ID, SinkRow, id)
}

/// Takes a sink out of service; what was on its way to it goes with it.
pub async fn remove(conn: &mut Conn<'_>, id: Uuid, now: Timestamp) -> Result<bool, DbError> {
    if execute!(conn, SINK_REMOVE, id, now)? == 0 {
        return Ok(false);
    }
    execute!(conn, DELIVERIES_DROP, id, now)?;
    Ok(true)
}

/// Sinks that may be sent to now and have something waiting.
pub async fn due(conn: &mut Conn<'_>, now: Timestamp) -> Result<Vec<Uuid>, DbError> {
    Ok(fetch_all!(conn, SINKS_DUE, (Uuid,), now)?.into_iter().map(|row| row.0).collect())
}

pub async fn set_pace(conn: &mut Conn<'_>, id: Uuid, failures: i64, resume_at: Timestamp) -> Result<(), DbError> {
    execute!(conn, SINK_PACE, id, failures, resume_at).map(drop)
}

pub struct NewDelivery {
    pub id: Uuid,
    pub sink_id: Uuid,
    pub event_id: Option<Uuid>,
    pub alert_id: Option<Uuid>,
    pub stream: Uuid,
    pub sequence: i64,
    /// When its event was made.
    pub created_at: Timestamp,
}

pub async fn insert_deliveries(conn: &mut Conn<'_>, new: &[NewDelivery], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for d in new {
        rows.push(|r| {
            r.id(d.id).id(d.sink_id).opt_id(d.event_id).opt_id(d.alert_id).id(d.stream).int(d.sequence);
            r.int(now.micros()).int(d.created_at.micros());
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, DELIVERIES_INSERT, rows.finish()).map(drop)
}

row! {
    /// One to send: of an event or of an alert.
    #[derive(Clone, Debug)]
    pub struct DueDelivery {
        pub id: Uuid,
        pub event_id: Option<Uuid>,
        pub alert_id: Option<Uuid>,
        pub stream: Uuid,
        pub attempts: i64,
        pub event_type: Option<String>,
        pub payload: Option<String>,
        pub event_at: Option<Timestamp>,
        pub alert_kind: Option<String>,
        pub severity: Option<String>,
        pub message: Option<String>,
        pub opened_at: Option<Timestamp>,
    }
}

/// What may be sent to a sink now, in order.
pub async fn due_deliveries(conn: &mut Conn<'_>, sink: Uuid, now: Timestamp, limit: i64) -> Result<Vec<DueDelivery>, DbError> {
    fetch_all!(conn, DELIVERIES_DUE, DueDelivery, sink, now, limit)
}

pub struct SettledDelivery {
    pub id: Uuid,
    pub status: &'static str,
    pub next_attempt_at: Timestamp,
    pub last_status: Option<i64>,
    pub last_error: Option<String>,
}

pub async fn settle(conn: &mut Conn<'_>, settled: &[SettledDelivery], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for s in settled {
        let finished = (s.status != "pending").then_some(now.micros());
        rows.push(|r| {
            r.id(s.id).text(s.status).int(1).int(s.next_attempt_at.micros()).opt_int(s.last_status);
            r.opt_text(s.last_error.as_deref()).opt_int(finished);
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, DELIVERIES_SETTLE, rows.finish()).map(drop)
}

row! {
    pub struct DeadLetter {
        pub id: Uuid,
        pub kind: String,
        pub name: String,
        pub target: String,
        pub reason: Option<String>,
        pub attempts: i64,
        pub at: Timestamp,
    }
}

/// What gave up, of every kind, newest first; an empty kind means all.
pub async fn dead_letters(conn: &mut Conn<'_>, kind: &str, before: Option<Uuid>, limit: i64) -> Result<Vec<DeadLetter>, DbError> {
    fetch_all!(conn, DEAD_PAGE, DeadLetter, before.unwrap_or(Uuid::max()), kind, limit)
}

pub async fn count_dead(conn: &mut Conn<'_>) -> Result<i64, DbError> {
    Ok(fetch_one!(conn, DEAD_DELIVERIES_COUNT, (i64,))?.0)
}

/// Puts a dead delivery back in line; gives whose it is.
pub async fn retry_delivery(conn: &mut Conn<'_>, id: Uuid, now: Timestamp) -> Result<Option<Uuid>, DbError> {
    let sink = fetch_optional!(conn, DEAD_DELIVERY_RETRY, (Uuid,), id, now)?.map(|row| row.0);
    if let Some(sink) = sink {
        execute!(conn, SINK_WAKE, sink)?;
    }
    Ok(sink)
}

pub async fn discard_delivery(conn: &mut Conn<'_>, id: Uuid, now: Timestamp) -> Result<Option<Uuid>, DbError> {
    Ok(fetch_optional!(conn, DEAD_DELIVERY_DISCARD, (Uuid,), id, now)?.map(|row| row.0))
}

pub async fn retry_webhook(conn: &mut Conn<'_>, id: Uuid) -> Result<bool, DbError> {
    Ok(execute!(conn, DEAD_WEBHOOK_RETRY, id)? == 1)
}

pub async fn discard_webhook(conn: &mut Conn<'_>, id: Uuid, now: Timestamp) -> Result<bool, DbError> {
    Ok(execute!(conn, DEAD_WEBHOOK_DISCARD, id, now)? == 1)
}

/// Puts a blocked listing back in line; gives whose it is.
pub async fn retry_push(conn: &mut Conn<'_>, id: Uuid, now: Timestamp) -> Result<Option<MarketplaceId>, DbError> {
    Ok(fetch_optional!(conn, BLOCKED_PUSH_RETRY, (MarketplaceId,), id, now)?.map(|row| row.0))
}

pub async fn is_blocked_push(conn: &mut Conn<'_>, id: Uuid) -> Result<bool, DbError> {
    Ok(fetch_one!(conn, BLOCKED_PUSH_EXISTS, (i64,), id)?.0 == 1)
}
