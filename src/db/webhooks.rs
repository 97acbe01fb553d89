//! The log of everything that came in, whatever door it came through.

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_one, fetch_optional, row};
use super::error::DbError;
use super::span::Ids;
use super::sql::{Rows, holding, ids, statements};
use crate::domain::ids::{MarketplaceId, WebhookId};
use crate::domain::time::Timestamp;
use uuid::Uuid;

statements! {
    // The unique key decides who was first; the rows that come back are the new ones.
    WEBHOOKS_INSERT_ONCE = both("INSERT INTO marketplace_webhooks (id, marketplace_id, source, event_type, event_key, explicit_id, \
            body_hash, payload, headers, signature, key_id, status, error_code, error_message, occurred_at, created_at, initial) \
        SELECT {id 0}, {id 1}, {text 2}, {text 3}, {text 4}, {bool 5}, {bytes 6}, {bytes 7}, {text 8}, {text 9}, {text 10}, {text 11}, \
            {text 12}, {text 13}, {int 14}, {int 15}, {bool 16} FROM {rows} WHERE TRUE \
        ON CONFLICT (marketplace_id, event_key) DO NOTHING RETURNING id");
    // One row per key: of several that match, an update takes only one.
    WEBHOOKS_COUNT_DUPLICATES = both("UPDATE marketplace_webhooks AS w SET duplicates = w.duplicates + {int 2} \
        FROM {rows} WHERE w.marketplace_id = {id 0} AND w.event_key = {text 1} \
        RETURNING marketplace_id, event_key, id, body_hash, explicit_id");
    WEBHOOKS_SETTLE = both("UPDATE marketplace_webhooks AS w SET status = {text 1}, error_code = {text 2}, error_message = {text 3}, \
            effect = {text 4}, retry_count = w.retry_count + {int 5}, next_attempt_at = {int 6}, processed_at = {int 7} \
        FROM {rows} WHERE w.id = {id 0}");
    // What was written as processed a moment ago and is: its state, and so every index over states, stays as it is.
    WEBHOOKS_DONE = both("UPDATE marketplace_webhooks AS w SET effect = {text 1}, processed_at = {int 2} FROM {rows} WHERE w.id = {id 0}");
    // Oldest first within a marketplace. Hints wait for their order to be fetched, which is another's work.
    WEBHOOKS_DUE = both("SELECT id, marketplace_id, source, event_type, event_key, payload, headers, status, error_code, initial, retry_count, \
            occurred_at, created_at FROM marketplace_webhooks \
        WHERE status IN ('pending', 'retry') AND error_code IS DISTINCT FROM 'hint' AND (next_attempt_at IS NULL OR next_attempt_at <= $1) ORDER BY created_at, id LIMIT $2 {for update}");
    // One is enough to know.
    WEBHOOKS_WAITING = both("SELECT id FROM marketplace_webhooks WHERE status IN ('pending', 'retry') AND marketplace_id = $1 LIMIT 1");
    WEBHOOKS_PAGE = both("SELECT w.id, m.code AS marketplace, w.source, w.event_type, w.event_key, w.status, w.retry_count, w.error_code, \
            w.error_message, w.effect, w.duplicates, w.key_id, w.occurred_at, w.created_at, w.processed_at \
        FROM marketplace_webhooks w JOIN marketplaces m ON m.id = w.marketplace_id \
        WHERE w.id < $1 AND w.id >= $2 AND ($3 = '' OR w.status = $3) AND ($4 = '' OR m.code = $4) \
            AND ($5 = '' OR w.event_type = $5) \
            AND ($7 = '%%' OR w.event_key {like} $7 ESCAPE '!' OR w.event_type {like} $7 ESCAPE '!' OR w.error_message {like} $7 ESCAPE '!') \
        ORDER BY w.id DESC LIMIT $6");
    WEBHOOKS_PAGE_OF_MARKETPLACE = both("SELECT w.id, m.code AS marketplace, w.source, w.event_type, w.event_key, w.status, \
            w.retry_count, w.error_code, w.error_message, w.effect, w.duplicates, w.key_id, w.occurred_at, w.created_at, w.processed_at \
        FROM marketplaces m CROSS JOIN marketplace_webhooks w \
        WHERE m.code = $4 AND w.marketplace_id = m.id AND w.id < $1 AND w.id >= $2 AND ($3 = '' OR w.status = $3) \
            AND ($5 = '' OR w.event_type = $5) \
            AND ($7 = '%%' OR w.event_key {like} $7 ESCAPE '!' OR w.event_type {like} $7 ESCAPE '!' OR w.error_message {like} $7 ESCAPE '!') \
        ORDER BY w.id DESC LIMIT $6");
    // How far so many rows reach: read from an index alone.
    WEBHOOKS_REACH = both("SELECT id FROM marketplace_webhooks WHERE id < $1 AND id >= $2 ORDER BY id DESC LIMIT 1 OFFSET $3");
    WEBHOOKS_REACH_OF_MARKETPLACE = both("SELECT w.id FROM marketplaces m CROSS JOIN marketplace_webhooks w \
        WHERE m.code = $4 AND w.marketplace_id = m.id AND w.id < $1 AND w.id >= $2 ORDER BY w.id DESC LIMIT 1 OFFSET $3");
    // What waits for a person, or for its next try: indexes hold only these, and are used where their own words are said.
    WEBHOOKS_TO_HANDLE = both("SELECT w.id, m.code AS marketplace, w.source, w.event_type, w.event_key, w.status, w.retry_count, \
            w.error_code, w.error_message, w.effect, w.duplicates, w.key_id, w.occurred_at, w.created_at, w.processed_at \
        FROM marketplace_webhooks w JOIN marketplaces m ON m.id = w.marketplace_id \
        WHERE w.status IN ('failed', 'unmapped') AND w.status = $3 AND (CASE WHEN w.id < $1 AND w.id >= $2 THEN 1 ELSE 0 END) = 1 \
            AND ($4 = '' OR m.code = $4) AND ($5 = '' OR w.event_type = $5) \
            AND ($7 = '%%' OR w.event_key {like} $7 ESCAPE '!' OR w.event_type {like} $7 ESCAPE '!' OR w.error_message {like} $7 ESCAPE '!') \
        ORDER BY w.id DESC LIMIT $6");
    WEBHOOKS_UNDER_WAY = both("SELECT w.id, m.code AS marketplace, w.source, w.event_type, w.event_key, w.status, w.retry_count, \
            w.error_code, w.error_message, w.effect, w.duplicates, w.key_id, w.occurred_at, w.created_at, w.processed_at \
        FROM marketplaces m CROSS JOIN marketplace_webhooks w \
        WHERE w.marketplace_id = m.id AND w.status IN ('pending', 'retry') AND w.status = $3 \
            AND (CASE WHEN w.id < $1 AND w.id >= $2 THEN 1 ELSE 0 END) = 1 AND ($4 = '' OR m.code = $4) \
            AND ($5 = '' OR w.event_type = $5) \
            AND ($7 = '%%' OR w.event_key {like} $7 ESCAPE '!' OR w.event_type {like} $7 ESCAPE '!' OR w.error_message {like} $7 ESCAPE '!') \
        ORDER BY w.id DESC LIMIT $6");
    WEBHOOK_BY_ID = both("SELECT w.id, m.code AS marketplace, w.source, w.event_type, w.event_key, w.status, w.retry_count, w.error_code, \
            w.error_message, w.effect, w.duplicates, w.key_id, w.occurred_at, w.created_at, w.processed_at \
        FROM marketplace_webhooks w JOIN marketplaces m ON m.id = w.marketplace_id WHERE w.id = $1");
    // One row that waits for a mapping, as it would be tried again.
    WEBHOOK_UNMAPPED = both("SELECT id, marketplace_id, source, event_type, event_key, payload, headers, status, error_code, initial, retry_count, \
            occurred_at, created_at FROM marketplace_webhooks WHERE id = $1 AND error_code = 'unmapped' AND status IN ('unmapped', 'pending')");
    WEBHOOK_BODY = both("SELECT payload, headers FROM marketplace_webhooks WHERE id = $1");
    WEBHOOKS_BY_STATUS = both("SELECT status, COUNT(*) FROM marketplace_webhooks WHERE status IN ('failed', 'unmapped') GROUP BY status");
    // What was purged has nothing to be read again. What it did stays until it has done it again.
    WEBHOOKS_REQUEUE = both("UPDATE marketplace_webhooks SET status = 'pending', next_attempt_at = NULL, retry_count = 0 \
        WHERE id IN {ids $1} AND length(payload) > 0");
    WEBHOOKS_SELECTED = both("SELECT w.id FROM marketplace_webhooks w JOIN marketplaces m ON m.id = w.marketplace_id \
        WHERE w.status = $1 AND ($2 = '' OR m.code = $2) AND w.created_at >= $3 AND w.created_at < $4 AND w.id > $5 \
            AND w.id < $7 ORDER BY w.id LIMIT $6");
    WEBHOOKS_COUNT_SELECTED = both("SELECT COUNT(*) FROM marketplace_webhooks w JOIN marketplaces m ON m.id = w.marketplace_id \
        WHERE w.status = $1 AND ($2 = '' OR m.code = $2) AND w.created_at >= $3 AND w.created_at < $4 AND w.id >= $5 AND w.id < $6");
    // Ids begin with their time: a range of them is a range of time, and needs no index of its own.
    WEBHOOKS_AGED = both("SELECT id FROM marketplace_webhooks WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3");
    WEBHOOKS_EMPTY = both("UPDATE marketplace_webhooks SET payload = $2, headers = '{}', signature = NULL \
        WHERE id IN {ids $1} AND status IN ('processed', 'ignored')");
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
    /// Read by the account's first look at its past.
    pub initial: bool,
}

pub async fn insert_once(conn: &mut Conn<'_>, new: &[NewWebhook<'_>], now: Timestamp) -> Result<Vec<WebhookId>, DbError> {
    let mut rows = Rows::new();
    for w in new {
        rows.push(|r| {
            r.id(w.id).id(w.marketplace_id).text(w.source).text(w.event_type).text(w.event_key).bool(w.explicit_id);
            r.bytes(w.body_hash).bytes(w.payload).text(w.headers).opt_text(w.signature).opt_text(w.key_id).text(w.status);
            r.opt_text(w.error_code).opt_text(w.error_message).opt_int(w.occurred_at.map(Timestamp::micros)).int(now.micros());
            r.bool(w.initial);
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

/// Counts so many repeats of each of these keys, each named once; gives what stands in the log under their keys.
pub async fn count_duplicates(conn: &mut Conn<'_>, keys: &[(MarketplaceId, &str, i64)]) -> Result<Vec<KnownWebhook>, DbError> {
    let mut rows = Rows::new();
    for (marketplace, key, times) in keys {
        rows.push(|r| {
            r.id(*marketplace).text(key).int(*times);
        });
    }
    fetch_all!(conn, WEBHOOKS_COUNT_DUPLICATES, KnownWebhook, rows.finish())
}

/// What became of a logged row.
#[derive(Clone, Debug)]
pub struct WebhookResult {
    pub id: WebhookId,
    /// Written by this transaction, as processed.
    pub fresh: bool,
    pub status: &'static str,
    pub error_code: Option<&'static str>,
    pub error_message: Option<String>,
    pub effect: Option<String>,
    pub failed_attempts: i64,
    pub next_attempt_at: Option<Timestamp>,
}

pub async fn settle(conn: &mut Conn<'_>, results: &[WebhookResult], now: Timestamp) -> Result<(), DbError> {
    let (mut done, mut rows) = (Rows::new(), Rows::new());
    for w in results {
        if w.fresh && w.status == "processed" {
            done.push(|r| {
                r.id(w.id).opt_text(w.effect.as_deref()).int(now.micros());
            });
            continue;
        }
        rows.push(|r| {
            r.id(w.id).text(w.status).opt_text(w.error_code).opt_text(w.error_message.as_deref()).opt_text(w.effect.as_deref());
            r.int(w.failed_attempts).opt_int(w.next_attempt_at.map(Timestamp::micros)).int(now.micros());
        });
    }
    if !done.is_empty() {
        execute_exactly!(done.len(), conn, WEBHOOKS_DONE, done.finish())?;
    }
    if rows.is_empty() { Ok(()) } else { execute_exactly!(rows.len(), conn, WEBHOOKS_SETTLE, rows.finish()) }
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
        pub error_code: Option<String>,
        pub initial: bool,
        pub retry_count: i64,
        pub occurred_at: Option<Timestamp>,
        pub created_at: Timestamp,
    }
}

pub async fn due(conn: &mut Conn<'_>, now: Timestamp, limit: i64) -> Result<Vec<PendingWebhook>, DbError> {
    fetch_all!(conn, WEBHOOKS_DUE, PendingWebhook, now, limit)
}

/// A row that waits for a mapping.
pub async fn unmapped(conn: &mut Conn<'_>, id: WebhookId) -> Result<Option<PendingWebhook>, DbError> {
    fetch_optional!(conn, WEBHOOK_UNMAPPED, PendingWebhook, id)
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

/// Which rows of the log; empty means any.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub status: String,
    pub marketplace: String,
    pub event_type: String,
    /// Held by the event's key, its type or its error.
    pub text: String,
}

/// Newest first.
pub async fn page(conn: &mut Conn<'_>, which: &Filter, ids: Ids, limit: i64) -> Result<Vec<WebhookView>, DbError> {
    let Ids { from, before } = ids;
    let (code, kind) = (which.marketplace.as_str(), which.event_type.as_str());
    let (status, text) = (which.status.as_str(), holding(&which.text));
    match (status, code) {
        ("failed" | "unmapped", _) => {
            fetch_all!(conn, WEBHOOKS_TO_HANDLE, WebhookView, before, from, status, code, kind, limit, text.as_str())
        }
        ("pending" | "retry", _) => {
            fetch_all!(conn, WEBHOOKS_UNDER_WAY, WebhookView, before, from, status, code, kind, limit, text.as_str())
        }
        (_, "") => fetch_all!(conn, WEBHOOKS_PAGE, WebhookView, before, from, status, code, kind, limit, text.as_str()),
        _ => fetch_all!(conn, WEBHOOKS_PAGE_OF_MARKETPLACE, WebhookView, before, from, status, code, kind, limit, text.as_str()),
    }
}

/// The last of the newest `rows` rows, where [`page`] finds what it looks for by reading them; `None` where there are fewer, or an
/// index finds it.
pub async fn reach(conn: &mut Conn<'_>, which: &Filter, ids: Ids, rows: i64) -> Result<Option<Uuid>, DbError> {
    let (status, code, skipped) = (which.status.as_str(), which.marketplace.as_str(), rows - 1);
    let last: Option<(Uuid,)> = match (status, code) {
        ("failed" | "unmapped" | "pending" | "retry", _) => None,
        ("", _) if which.text.is_empty() && which.event_type.is_empty() => None,
        (_, "") => fetch_optional!(conn, WEBHOOKS_REACH, (Uuid,), ids.before, ids.from, skipped)?,
        _ => fetch_optional!(conn, WEBHOOKS_REACH_OF_MARKETPLACE, (Uuid,), ids.before, ids.from, skipped, code)?,
    };
    Ok(last.map(|row| row.0))
}

pub async fn get(conn: &mut Conn<'_>, id: WebhookId) -> Result<Option<WebhookView>, DbError> {
    fetch_optional!(conn, WEBHOOK_BY_ID, WebhookView, id)
}

/// The raw bytes as they came, and the kept headers.
pub async fn body(conn: &mut Conn<'_>, id: WebhookId) -> Result<Option<(Vec<u8>, String)>, DbError> {
    fetch_optional!(conn, WEBHOOK_BODY, (Vec<u8>, String), id)
}

/// Which logged rows are meant: of one status, perhaps of one marketplace, received within a span.
#[derive(Clone, Debug)]
pub struct Selection {
    pub status: &'static str,
    /// Empty: any.
    pub marketplace: String,
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Selection {
    /// Ids begin with the millisecond they were made in: nothing of the span has another.
    fn ids(&self) -> Ids {
        Ids::between(Some(self.from), Some(self.to.plus(std::time::Duration::from_millis(1))), None)
    }
}

pub async fn selected(
    conn: &mut Conn<'_>,
    which: &Selection,
    after: Option<WebhookId>,
    limit: i64,
) -> Result<Vec<WebhookId>, DbError> {
    let ids = which.ids();
    let after = after.map_or(ids.from, WebhookId::uuid);
    let code = which.marketplace.as_str();
    let rows =
        fetch_all!(conn, WEBHOOKS_SELECTED, (WebhookId,), which.status, code, which.from, which.to, after, limit, ids.before)?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

pub async fn count_selected(conn: &mut Conn<'_>, which: &Selection) -> Result<i64, DbError> {
    let (code, ids) = (which.marketplace.as_str(), which.ids());
    Ok(fetch_one!(conn, WEBHOOKS_COUNT_SELECTED, (i64,), which.status, code, which.from, which.to, ids.from, ids.before)?.0)
}

/// Puts rows back in line; gives how many still have a body.
pub async fn requeue(conn: &mut Conn<'_>, rows: &[WebhookId]) -> Result<u64, DbError> {
    execute!(conn, WEBHOOKS_REQUEUE, ids(rows.iter().map(|id| id.uuid())))
}

/// The oldest rows in a range of ids.
pub async fn aged(conn: &mut Conn<'_>, after: Uuid, before: Uuid, limit: i64) -> Result<Vec<WebhookId>, DbError> {
    let rows = fetch_all!(conn, WEBHOOKS_AGED, (WebhookId,), after, before, limit)?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Empties those of them that were handled.
pub async fn empty(conn: &mut Conn<'_>, rows: &[WebhookId]) -> Result<u64, DbError> {
    let nothing: &[u8] = &[];
    execute!(conn, WEBHOOKS_EMPTY, ids(rows.iter().map(|id| id.uuid())), nothing)
}

/// How many are failed, how many unmapped.
pub async fn count_to_handle(conn: &mut Conn<'_>) -> Result<Vec<(String, i64)>, DbError> {
    fetch_all!(conn, WEBHOOKS_BY_STATUS, (String, i64))
}
