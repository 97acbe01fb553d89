//! Runs that read from marketplaces: asked for, taken up, followed and finished here, with what they found.

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_optional, row};
use super::error::DbError;
use super::span::Ids;
use super::sql::{Rows, statements};
use crate::domain::ids::{ListingId, MarketplaceId, MovementId};
use crate::domain::time::Timestamp;
use uuid::Uuid;

statements! {
    // An hour of a schedule is asked for once, whichever node comes first.
    RUN_INSERT_ONCE = both("INSERT INTO sync_logs (id, marketplace_id, kind, direction, trigger_type, status, dry_run, request, actor, slot, \
            started_at) VALUES ($1, $2, $3, 'pull', $4, 'queued', $5, $6, $7, $8, $9) ON CONFLICT (slot) DO NOTHING RETURNING id");
    // What was refused or found outside a run: finished as it is written.
    RUN_INSERT_DONE = both("INSERT INTO sync_logs (id, marketplace_id, kind, direction, trigger_type, status, counts, api_calls, error_message, \
            actor, started_at, finished_at, duration_ms) VALUES ($1, $2, $3, 'pull', $4, $5, $6, $7, $8, 'system', $9, $10, $11)");
    RUNS_OPEN = both("SELECT id, marketplace_id, kind, trigger_type, status, dry_run, request, cursor, counts, api_calls, actor, resume_at, \
            started_at FROM sync_logs WHERE status IN ('queued', 'running') \
            AND kind IN ('bulk_read', 'refresh', 'reconciliation', 'doctor') ORDER BY id LIMIT $1");
    RUN_START = both("UPDATE sync_logs SET status = 'running', owner = $2, heartbeat_at = $3 WHERE id = $1 AND status IN ('queued', 'running')");
    RUN_PROGRESS = both("UPDATE sync_logs SET cursor = $2, counts = $3, api_calls = $4, heartbeat_at = $5, resume_at = $6 \
        WHERE id = $1 AND status = 'running'");
    RUN_FINISH = both("UPDATE sync_logs SET status = $2, counts = $3, api_calls = $4, error_message = $5, result = $6, resume_at = NULL, \
            finished_at = $7, heartbeat_at = $7, duration_ms = $8 WHERE id = $1 AND status IN ('queued', 'running')");
    RUNS_END = both("UPDATE sync_logs SET status = 'failed', error_message = $2, resume_at = NULL, finished_at = $3, heartbeat_at = $3 \
        WHERE marketplace_id = $1 AND status IN ('queued', 'running')");
    RUN_BY_ID = both("SELECT s.id, m.code AS marketplace, s.kind, s.trigger_type, s.status, s.dry_run, s.counts, s.result, s.api_calls, \
            s.error_message, s.actor, s.resume_at, s.started_at, s.finished_at, s.duration_ms \
        FROM sync_logs s JOIN marketplaces m ON m.id = s.marketplace_id WHERE s.id = $1");
    RUNS_PAGE = both("SELECT s.id, m.code AS marketplace, s.kind, s.trigger_type, s.status, s.dry_run, s.counts, s.result, s.api_calls, \
            s.error_message, s.actor, s.resume_at, s.started_at, s.finished_at, s.duration_ms \
        FROM sync_logs s JOIN marketplaces m ON m.id = s.marketplace_id \
        WHERE s.id < $1 AND s.id >= $5 AND ($2 = '' OR m.code = $2) AND ($3 = '' OR s.kind = $3) ORDER BY s.id DESC LIMIT $4");
    // The newest of a kind that did something, or is about to.
    RUN_LAST = both("SELECT id, status, started_at FROM sync_logs WHERE marketplace_id = $1 AND kind = $2 AND status <> 'failed' \
        AND dry_run = FALSE AND trigger_type = $3 ORDER BY id DESC LIMIT 1");
    RUN_EVER = both("SELECT id FROM sync_logs WHERE marketplace_id = $1 AND kind = $2 AND status IN ('succeeded', 'partial') \
        AND dry_run = FALSE LIMIT 1");
    RUN_NEWEST = both("SELECT status, started_at, error_message FROM sync_logs WHERE marketplace_id = $1 AND kind = $2 ORDER BY id DESC LIMIT 1");
    RUN_NEWEST_FAILED = both("SELECT id, counts FROM sync_logs WHERE marketplace_id = $1 AND kind = $2 AND status = 'failed' ORDER BY id DESC LIMIT 1");
    RUN_AGAIN = both("UPDATE sync_logs SET counts = $2, error_message = $3, finished_at = $4 WHERE id = $1");
    ITEMS_UPSERT = both("INSERT INTO sync_items (sync_log_id, listing_id, external_id, market, sku, local, expected, remote, difference, cause, \
            decision, reason, strike, movement_id, created_at, updated_at) \
        SELECT {id 0}, {id 1}, {text 2}, {text 3}, {text 4}, {int 5}, {int 6}, {int 7}, {int 8}, {text 9}, {text 10}, {text 11}, {int 12}, \
            {id 13}, {int 14}, {int 14} FROM {rows} WHERE TRUE \
        ON CONFLICT (sync_log_id, external_id, market) DO UPDATE SET local = excluded.local, expected = excluded.expected, \
            remote = excluded.remote, difference = excluded.difference, cause = COALESCE(sync_items.cause, excluded.cause), \
            decision = excluded.decision, reason = excluded.reason, strike = excluded.strike, movement_id = excluded.movement_id, \
            updated_at = excluded.updated_at");
    ITEMS_OF = both("SELECT listing_id, external_id, market, sku, local, expected, remote, difference, cause, decision, reason, strike, \
            movement_id, decided_by, updated_at FROM sync_items WHERE sync_log_id = $1 ORDER BY external_id, market LIMIT $2");
    ITEM_DECIDED = both("UPDATE sync_items SET decision = $4, reason = $5, movement_id = $6, decided_by = $7, updated_at = $8 \
        WHERE sync_log_id = $1 AND external_id = $2 AND market = $3");
    CALLS_ADD = both("INSERT INTO api_calls (day, marketplace_id, purpose, calls) \
        SELECT {text 0}, {id 1}, {text 2}, {int 3} FROM {rows} WHERE TRUE \
        ON CONFLICT (day, marketplace_id, purpose) DO UPDATE SET calls = api_calls.calls + excluded.calls");
}

pub struct NewRun<'a> {
    pub id: Uuid,
    pub marketplace_id: MarketplaceId,
    pub kind: &'a str,
    pub trigger_type: &'a str,
    pub dry_run: bool,
    pub request: &'a str,
    pub actor: &'a str,
    /// The hour of a schedule that asks for it.
    pub slot: Option<&'a str>,
}

/// Puts a run in line; false where its slot was taken before.
pub async fn enqueue(conn: &mut Conn<'_>, run: &NewRun<'_>, now: Timestamp) -> Result<bool, DbError> {
    let row = fetch_optional!(
        conn,
        RUN_INSERT_ONCE,
        (Uuid,),
        run.id,
        run.marketplace_id,
        run.kind,
        run.trigger_type,
        run.dry_run,
        run.request,
        run.actor,
        run.slot,
        now
    )?;
    Ok(row.is_some())
}

/// Something that is over when it is written down.
pub struct DoneRun<'a> {
    pub id: Uuid,
    pub marketplace_id: MarketplaceId,
    pub kind: &'a str,
    pub trigger_type: &'a str,
    pub status: &'a str,
    pub counts: &'a str,
    pub api_calls: i64,
    pub error: Option<&'a str>,
    pub started_at: Timestamp,
}

pub async fn insert_done(conn: &mut Conn<'_>, run: &DoneRun<'_>, now: Timestamp) -> Result<(), DbError> {
    let took = millis(run.started_at, now);
    execute_exactly!(
        1,
        conn,
        RUN_INSERT_DONE,
        run.id,
        run.marketplace_id,
        run.kind,
        run.trigger_type,
        run.status,
        run.counts,
        run.api_calls,
        run.error,
        run.started_at,
        now,
        took
    )
}

/// One more failure of the same kind, on the row of the first.
pub async fn failed_again(conn: &mut Conn<'_>, id: Uuid, counts: &str, error: &str, now: Timestamp) -> Result<(), DbError> {
    execute!(conn, RUN_AGAIN, id, counts, error, now).map(drop)
}

fn millis(from: Timestamp, to: Timestamp) -> i64 {
    i64::try_from(to.since(from).as_millis()).unwrap_or(i64::MAX)
}

row! {
    /// A run that is not over.
    #[derive(Clone, Debug)]
    pub struct OpenRun {
        pub id: Uuid,
        pub marketplace_id: MarketplaceId,
        pub kind: String,
        pub trigger_type: String,
        pub status: String,
        pub dry_run: bool,
        pub request: String,
        pub cursor: Option<String>,
        pub counts: String,
        pub api_calls: i64,
        pub actor: String,
        pub resume_at: Option<Timestamp>,
        pub started_at: Timestamp,
    }
}

pub async fn open(conn: &mut Conn<'_>, limit: i64) -> Result<Vec<OpenRun>, DbError> {
    fetch_all!(conn, RUNS_OPEN, OpenRun, limit)
}

/// False where it is over meanwhile. `DbError::Exists`: another of its kind runs for this account.
pub async fn start(conn: &mut Conn<'_>, id: Uuid, owner: &str, now: Timestamp) -> Result<bool, DbError> {
    Ok(execute!(conn, RUN_START, id, owner, now)? == 1)
}

/// False where it was ended by somebody else.
pub async fn progress(
    conn: &mut Conn<'_>,
    id: Uuid,
    cursor: Option<&str>,
    counts: &str,
    api_calls: i64,
    resume_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<bool, DbError> {
    Ok(execute!(conn, RUN_PROGRESS, id, cursor, counts, api_calls, now, resume_at)? == 1)
}

pub struct Finished<'a> {
    pub id: Uuid,
    pub status: &'a str,
    pub counts: &'a str,
    pub api_calls: i64,
    pub error: Option<&'a str>,
    pub result: Option<&'a str>,
    pub started_at: Timestamp,
}

pub async fn finish(conn: &mut Conn<'_>, f: &Finished<'_>, now: Timestamp) -> Result<(), DbError> {
    let took = millis(f.started_at, now);
    execute!(conn, RUN_FINISH, f.id, f.status, f.counts, f.api_calls, f.error, f.result, now, took).map(drop)
}

/// Ends all that waits or runs of an account.
pub async fn end_all(conn: &mut Conn<'_>, id: MarketplaceId, why: &str, now: Timestamp) -> Result<(), DbError> {
    execute!(conn, RUNS_END, id, why, now).map(drop)
}

row! {
    #[derive(Clone, Debug)]
    pub struct RunView {
        pub id: Uuid,
        pub marketplace: String,
        pub kind: String,
        pub trigger_type: String,
        pub status: String,
        pub dry_run: bool,
        pub counts: String,
        pub result: Option<String>,
        pub api_calls: i64,
        pub error_message: Option<String>,
        pub actor: String,
        pub resume_at: Option<Timestamp>,
        pub started_at: Timestamp,
        pub finished_at: Option<Timestamp>,
        pub duration_ms: Option<i64>,
    }
}

pub async fn get(conn: &mut Conn<'_>, id: Uuid) -> Result<Option<RunView>, DbError> {
    fetch_optional!(conn, RUN_BY_ID, RunView, id)
}

/// Newest first; an empty marketplace or kind means any.
pub async fn page(conn: &mut Conn<'_>, marketplace: &str, kind: &str, ids: Ids, limit: i64) -> Result<Vec<RunView>, DbError> {
    fetch_all!(conn, RUNS_PAGE, RunView, ids.before, marketplace, kind, limit, ids.from)
}

row! {
    pub struct LastRun {
        pub id: Uuid,
        pub status: String,
        pub started_at: Timestamp,
    }
}

/// The newest run of a kind that was started that way and did not fail.
pub async fn last(conn: &mut Conn<'_>, id: MarketplaceId, kind: &str, trigger: &str) -> Result<Option<LastRun>, DbError> {
    fetch_optional!(conn, RUN_LAST, LastRun, id, kind, trigger)
}

/// Whether one of this kind ever came to its end.
pub async fn ever(conn: &mut Conn<'_>, id: MarketplaceId, kind: &str) -> Result<bool, DbError> {
    Ok(fetch_optional!(conn, RUN_EVER, (Uuid,), id, kind)?.is_some())
}

/// The newest failure of a kind, and its counts.
pub async fn newest_failed(conn: &mut Conn<'_>, id: MarketplaceId, kind: &str) -> Result<Option<(Uuid, String)>, DbError> {
    fetch_optional!(conn, RUN_NEWEST_FAILED, (Uuid, String), id, kind)
}

row! {
    pub struct NewestRun {
        pub status: String,
        pub started_at: Timestamp,
        pub error_message: Option<String>,
    }
}

/// The newest of a kind, however it ended.
pub async fn newest(conn: &mut Conn<'_>, id: MarketplaceId, kind: &str) -> Result<Option<NewestRun>, DbError> {
    fetch_optional!(conn, RUN_NEWEST, NewestRun, id, kind)
}

#[derive(Clone, Debug)]
pub struct NewItem {
    pub listing_id: Option<ListingId>,
    pub external_id: String,
    pub market: String,
    pub sku: Option<String>,
    pub local: Option<i64>,
    pub expected: Option<i64>,
    pub remote: Option<i64>,
    pub cause: Option<&'static str>,
    pub decision: &'static str,
    pub reason: Option<String>,
    pub strike: i64,
    pub movement_id: Option<MovementId>,
}

impl NewItem {
    pub fn difference(&self) -> Option<i64> {
        self.remote.zip(self.expected).map(|(remote, expected)| remote.saturating_sub(expected))
    }
}

/// Writes what a run found; a second look replaces the first, but for the cause it saw.
pub async fn put_items(conn: &mut Conn<'_>, run: Uuid, items: &[NewItem], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for i in items {
        rows.push(|r| {
            r.id(run).opt_id(i.listing_id).text(&i.external_id).text(&i.market).opt_text(i.sku.as_deref()).opt_int(i.local);
            r.opt_int(i.expected).opt_int(i.remote).opt_int(i.difference()).opt_text(i.cause).text(i.decision);
            r.opt_text(i.reason.as_deref()).int(i.strike).opt_id(i.movement_id).int(now.micros());
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, ITEMS_UPSERT, rows.finish()).map(drop)
}

row! {
    #[derive(Clone, Debug)]
    pub struct ItemView {
        pub listing_id: Option<ListingId>,
        pub external_id: String,
        pub market: String,
        pub sku: Option<String>,
        pub local: Option<i64>,
        pub expected: Option<i64>,
        pub remote: Option<i64>,
        pub difference: Option<i64>,
        pub cause: Option<String>,
        pub decision: String,
        pub reason: Option<String>,
        pub strike: i64,
        pub movement_id: Option<MovementId>,
        pub decided_by: Option<String>,
        pub updated_at: Timestamp,
    }
}

pub async fn items(conn: &mut Conn<'_>, run: Uuid, limit: i64) -> Result<Vec<ItemView>, DbError> {
    fetch_all!(conn, ITEMS_OF, ItemView, run, limit)
}

/// What a person decided about an item.
pub struct Decided<'a> {
    pub run: Uuid,
    pub external_id: &'a str,
    pub market: &'a str,
    pub decision: &'a str,
    pub reason: Option<&'a str>,
    pub movement_id: Option<MovementId>,
    pub by: &'a str,
}

pub async fn decide_item(conn: &mut Conn<'_>, d: &Decided<'_>, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, ITEM_DECIDED, d.run, d.external_id, d.market, d.decision, d.reason, d.movement_id, d.by, now)
}

/// Counts requests, each by the marketplace they were made to and the purpose. A pair may come once.
pub async fn add_calls<'a>(
    conn: &mut Conn<'_>,
    calls: impl IntoIterator<Item = (MarketplaceId, &'a str, i64)>,
    now: Timestamp,
) -> Result<(), DbError> {
    let day = now.day();
    let mut rows = Rows::new();
    for (marketplace, purpose, calls) in calls.into_iter().filter(|(.., calls)| *calls > 0) {
        rows.push(|r| {
            r.text(&day).id(marketplace).text(purpose).int(calls);
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, CALLS_ADD, rows.finish()).map(drop)
}
