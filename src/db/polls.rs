//! How far each account's orders were read, which of them are still open, and which hints wait for their order.

use super::conn::{Conn, execute, fetch_all, fetch_optional, row};
use super::error::DbError;
use super::sql::{ids, statements};
use super::webhooks::PendingWebhook;
use crate::domain::ids::{MarketplaceId, WebhookId};
use crate::domain::time::Timestamp;

statements! {
    POLL_STATE = both("SELECT order_cursor, orders_drained_at FROM marketplaces WHERE id = $1");
    // Only from where it was read: two who read the same pages cannot both move it.
    POLL_MOVE = both("UPDATE marketplaces SET order_cursor = $2 WHERE id = $1 AND order_cursor IS NOT DISTINCT FROM $3");
    POLL_DRAINED = both("UPDATE marketplaces SET orders_drained_at = $2 WHERE id = $1 \
        AND (orders_drained_at IS NULL OR orders_drained_at < $2)");
    ORDERS_OPEN = both("SELECT external_id FROM orders WHERE marketplace_id = $1 AND external_id > $2 \
            AND status NOT IN ('cancelled', 'returned') AND source IN ('webhook', 'poll', 'import', 'bus') \
            AND COALESCE(placed_at, created_at) >= $3 ORDER BY external_id LIMIT $4");
    HINTS_WAITING = both("SELECT DISTINCT marketplace_id FROM marketplace_webhooks \
        WHERE status IN ('pending', 'retry') AND error_code = 'hint' AND (next_attempt_at IS NULL OR next_attempt_at <= $1)");
    HINTS_DUE = both("SELECT id, marketplace_id, source, event_type, event_key, payload, headers, status, error_code, initial, retry_count, \
            occurred_at, created_at FROM marketplace_webhooks \
        WHERE status IN ('pending', 'retry') AND error_code = 'hint' AND marketplace_id = $1 \
            AND (next_attempt_at IS NULL OR next_attempt_at <= $2) ORDER BY created_at, id LIMIT $3");
    LOG_EFFECTS = both("SELECT id, effect, occurred_at FROM marketplace_webhooks WHERE id IN {ids $1}");
}

row! {
    #[derive(Clone, Debug, Default)]
    pub struct PollState {
        pub order_cursor: Option<String>,
        /// Every order until then was read and committed.
        pub orders_drained_at: Option<Timestamp>,
    }
}

pub async fn state(conn: &mut Conn<'_>, id: MarketplaceId) -> Result<PollState, DbError> {
    Ok(fetch_optional!(conn, POLL_STATE, PollState, id)?.unwrap_or_default())
}

/// False where somebody else moved it meanwhile.
pub async fn move_cursor(conn: &mut Conn<'_>, id: MarketplaceId, from: Option<&str>, to: &str) -> Result<bool, DbError> {
    Ok(execute!(conn, POLL_MOVE, id, to, from)? == 1)
}

pub async fn drained(conn: &mut Conn<'_>, id: MarketplaceId, at: Timestamp) -> Result<(), DbError> {
    execute!(conn, POLL_DRAINED, id, at).map(drop)
}

/// The next orders after a name that may still change.
pub async fn open_orders(
    conn: &mut Conn<'_>,
    id: MarketplaceId,
    after: &str,
    since: Timestamp,
    limit: i64,
) -> Result<Vec<String>, DbError> {
    let rows = fetch_all!(conn, ORDERS_OPEN, (String,), id, after, since, limit)?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Accounts with hints whose order is to be fetched now.
pub async fn hinted(conn: &mut Conn<'_>, now: Timestamp) -> Result<Vec<MarketplaceId>, DbError> {
    Ok(fetch_all!(conn, HINTS_WAITING, (MarketplaceId,), now)?.into_iter().map(|row| row.0).collect())
}

/// The oldest of them.
pub async fn hints(conn: &mut Conn<'_>, id: MarketplaceId, now: Timestamp, limit: i64) -> Result<Vec<PendingWebhook>, DbError> {
    fetch_all!(conn, HINTS_DUE, PendingWebhook, id, now, limit)
}

row! {
    pub struct Effect {
        pub id: WebhookId,
        pub effect: Option<String>,
        pub occurred_at: Option<Timestamp>,
    }
}

/// What these log rows did.
pub async fn effects(conn: &mut Conn<'_>, rows: &[WebhookId]) -> Result<Vec<Effect>, DbError> {
    fetch_all!(conn, LOG_EFFECTS, Effect, ids(rows.iter().map(|id| id.uuid())))
}
