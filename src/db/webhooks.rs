//! The log of everything that came in, whatever door it came through.

use super::conn::{Conn, execute_exactly, fetch_all, fetch_optional, row};
use super::error::DbError;
use super::sql::{Rows, statements};
use crate::domain::ids::{MarketplaceId, WebhookId};
use crate::domain::time::Timestamp;
use uuid::Uuid;

statements! {
    // The unique key decides who was first; the rows that come back are the new ones.
    WEBHOOKS_INSERT_ONCE = both("INSERT INTO marketplace_webhooks (id, marketplace_id, source, event_type, event_key, explicit_id, \
            body_hash, payload, headers, signature, key_id, status, error_code, error_message, occurred_at, created_at) \
        SELECT {id 0}, {id 1}, {text 2}, {text 3}, {text 4}, {bool 5}, {bytes 6}, {bytes 7}, {text 8}, {text 9}, {text 10}, {text 11}, \
            {text 12}, {text 13}, {int 14}, {int 15} FROM {rows} WHERE TRUE \
        ON CONFLICT (marketplace_id, event_key) DO NOTHING RETURNING id");
    WEBHOOKS_COUNT_DUPLICATES = both("UPDATE marketplace_webhooks AS w SET duplicates = w.duplicates + 1 \
        FROM {rows} WHERE w.marketplace_id = {id 0} AND w.event_key = {text 1} \
        RETURNING marketplace_id, event_key, id, body_hash, explicit_id");
    WEBHOOKS_SETTLE = both("UPDATE marketplace_webhooks AS w SET status = {text 1}, error_code = {text 2}, error_message = {text 3}, \
            effect = {text 4}, retry_count = w.retry_count + {int 5}, next_attempt_at = {int 6}, processed_at = {int 7} \
        FROM {rows} WHERE w.id = {id 0}");
    // Oldest first within a marketplace.
    WEBHOOKS_DUE = both("SELECT id, marketplace_id, source, event_type, event_key, payload, headers, status, retry_count, occurred_at, \
            created_at FROM marketplace_webhooks \
        WHERE status IN ('pending', 'retry') AND (next_attempt_at IS NULL OR next_attempt_at <= $1) ORDER BY created_at, id LIMIT $2 {for update}");
    // One is enough to know.
    WEBHOOKS_WAITING = both("SELECT id FROM marketplace_webhooks WHERE status IN ('pending', 'retry') AND marketplace_id = $1 LIMIT 1");
    WEBHOOKS_PAGE = both("SELECT w.id, m.code AS marketplace, w.source, w.event_type, w.event_key, w.status, w.retry_count, w.error_code, \
            w.error_message, w.effect, w.duplicates, w.key_id, w.occurred_at, w.created_at, w.processed_at \
        FROM marketplace_webhooks w JOIN marketplaces m ON m.id = w.marketplace_id \
        WHERE w.id < $1 AND ($2 = '' OR w.status = $2) AND ($3 = '' OR m.code = $3) ORDER BY w.id DESC LIMIT $4");
    WEBHOOK_BY_ID = both("SELECT w.id, m.code AS marketplace, w.source, w.event_type, w.event_key, w.status, w.retry_count, w.error_code, \
            w.error_message, w.effect, w.duplicates, w.key_id, w.occurred_at, w.created_at, w.processed_at \
        FROM marketplace_webhooks w JOIN marketplaces m ON m.id = w.marketplace_id WHERE w.id = $1");
    WEBHOOK_BODY = both("SELECT payload, headers FROM marketplace_webhooks WHERE id = $1");
    WEBHOOKS_BY_STATUS = both("SELECT status, COUNT(*) FROM marketplace_webhooks WHERE status IN ('failed', 'unmapped') GROUP BY status");
    WEBHOOKS_REMAP = both("UPDATE marketplace_webhooks SET status = 'pending', next_attempt_at = NULL \
        WHERE status = 'unmapped' AND marketplace_id = $1 RETURNING id");
}

/// A verified request, on its way into the log.
pub struct NewWebhook<'a> {
    pub id: WebhookId,
    pub marketplace_id: MarketplaceId,
    pub source: &'static str,
    pub event_type: &'a str,
    pub event_key: &'a str,
    pub explicit_id: bool,
    pub body_hash: &'a [u8],
    pub payload: &'a [u8],
    pub headers: &'a str,
    pub signature: Option<&'a str>,
    pub key_id: Option<&'a str>,
    pub status: &'static str,
    pub error_code: Option<&'a str>,
    pub error_message: Option<&'a str>,
    pub occurred_at: Option<Timestamp>,
}

pub async fn insert_once(conn: &mut Conn<'_>, new: &[NewWebhook<'_>], now: Timestamp) -> Result<Vec<WebhookId>, DbError> {
    let mut rows = Rows::new();
    for w in new {
        rows.push(|r| {
            r.id(w.id).id(w.marketplace_id).text(w.source).text(w.event_type).text(w.event_key).bool(w.explicit_id);
            r.bytes(w.body_hash).bytes(w.payload).text(w.headers).opt_text(w.signature).opt_text(w.key_id).text(w.status);
            r.opt_text(w.error_code).opt_text(w.error_message).opt_int(w.occurred_at.map(Timestamp::micros)).int(now.micros());
        });
    }
    let inserted = fetch_all!(conn, WEBHOOKS_INSERT_ONCE, (WebhookId,), rows.finish())?;
    Ok(inserted.into_iter().map(|row| row.0).collect())
}

row! {
    pub struct KnownWebhook {
        pub marketplace_id: MarketplaceId,
        pub event_key: String,
        pub id: WebhookId,
        pub body_hash: Vec<u8>,
        pub explicit_id: bool,
    }
}

/// Counts a repeat of each of these; gives what stands in the log under their keys.
pub async fn count_duplicates(conn: &mut Conn<'_>, keys: &[(MarketplaceId, &str)]) -> Result<Vec<KnownWebhook>, DbError> {
    let mut rows = Rows::new();
    for (marketplace, key) in keys {
        rows.push(|r| {
            r.id(*marketplace).text(key);
        });
    }
    fetch_all!(conn, WEBHOOKS_COUNT_DUPLICATES, KnownWebhook, rows.finish())
}

/// What became of a logged row.
#[derive(Clone, Debug)]
pub struct WebhookResult {
    pub id: WebhookId,
    pub status: &'static str,
    pub error_code: Option<&'static str>,
    pub error_message: Option<String>,
    pub effect: Option<String>,
    pub failed_attempts: i64,
    pub next_attempt_at: Option<Timestamp>,
}

pub async fn settle(conn: &mut Conn<'_>, results: &[WebhookResult], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for w in results {
        rows.push(|r| {
            r.id(w.id).text(w.status).opt_text(w.error_code).opt_text(w.error_message.as_deref()).opt_text(w.effect.as_deref());
            r.int(w.failed_attempts).opt_int(w.next_attempt_at.map(Timestamp::micros)).int(now.micros());
        });
    }
    execute_exactly!(results.len(), conn, WEBHOOKS_SETTLE, rows.finish())
}

row! {
    /// A logged row that waits to be applied.
    #[derive(Clone, Debug)]
    pub struct PendingWebhook {
        pub id: WebhookId,
        pub marketplace_id: MarketplaceId,
        pub source: String,
        pub event_type: String,
        pub event_key: String,
        pub payload: Vec<u8>,
        pub headers: String,
        pub status: String,
        pub retry_count: i64,
        pub occurred_at: Option<Timestamp>,
        pub created_at: Timestamp,
    }
}

pub async fn due(conn: &mut Conn<'_>, now: Timestamp, limit: i64) -> Result<Vec<PendingWebhook>, DbError> {
    fetch_all!(conn, WEBHOOKS_DUE, PendingWebhook, now, limit)
}

/// Whether anything of a marketplace is logged but not applied yet.
pub async fn any_waiting(conn: &mut Conn<'_>, marketplace: MarketplaceId) -> Result<bool, DbError> {
    Ok(fetch_optional!(conn, WEBHOOKS_WAITING, (WebhookId,), marketplace)?.is_some())
}

/// Puts every unmapped row of a marketplace back in line, after its mapping changed.
pub async fn retry_unmapped(conn: &mut Conn<'_>, marketplace: MarketplaceId) -> Result<u64, DbError> {
    let rows = fetch_all!(conn, WEBHOOKS_REMAP, (WebhookId,), marketplace)?;
    Ok(rows.len() as u64)
}

row! {
    pub struct WebhookView {
        pub id: WebhookId,
        pub marketplace: String,
        pub source: String,
        pub event_type: String,
        pub event_key: String,
        pub status: String,
        pub retry_count: i64,
        pub error_code: Option<String>,
        pub error_message: Option<String>,
        pub effect: Option<String>,
        pub duplicates: i64,
        pub key_id: Option<String>,
        pub occurred_at: Option<Timestamp>,
        pub created_at: Timestamp,
        pub processed_at: Option<Timestamp>,
    }
}

/// Newest first; an empty status or marketplace means any.
pub async fn page(
    conn: &mut Conn<'_>,
    status: &str,
    marketplace: &str,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<WebhookView>, DbError> {
    fetch_all!(conn, WEBHOOKS_PAGE, WebhookView, before.unwrap_or(Uuid::max()), status, marketplace, limit)
}

pub async fn get(conn: &mut Conn<'_>, id: WebhookId) -> Result<Option<WebhookView>, DbError> {
    fetch_optional!(conn, WEBHOOK_BY_ID, WebhookView, id)
}

/// The raw bytes as they came, and the kept headers.
pub async fn body(conn: &mut Conn<'_>, id: WebhookId) -> Result<Option<(Vec<u8>, String)>, DbError> {
    fetch_optional!(conn, WEBHOOK_BODY, (Vec<u8>, String), id)
}

/// How many are failed, how many unmapped.
pub async fn count_to_handle(conn: &mut Conn<'_>) -> Result<Vec<(String, i64)>, DbError> {
    fetch_all!(conn, WEBHOOKS_BY_STATUS, (String, i64))
}
