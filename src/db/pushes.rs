//! Pushing: claim what is due, settle what was answered. A listing is dirty while its wanted version is ahead of the acknowledged.

use super::conn::{Conn, execute, fetch_all, row};
use super::error::DbError;
use super::sql::{Rows, ids, statements};
use crate::domain::ids::{ListingId, MarketplaceId};
use crate::domain::time::Timestamp;
use uuid::Uuid;

macro_rules! due {
    () => {
        "SELECT l.marketplace_id, l.id, l.marketplace_product_id, l.market, l.marketplace_sku, l.refs, l.listed_stock, \
            l.wanted_version, l.sent_version, l.sent_quantity, l.acked_quantity, l.expected, l.attempts, l.wanted_at, l.refusals, \
            l.mismatches, l.push_trigger, l.push_log_id, \
            COALESCE(l.marketplace_sku, (SELECT p.sku FROM listing_components c JOIN products p ON p.id = c.product_id \
                WHERE c.listing_id = l.id ORDER BY p.sku LIMIT 1)) AS sku"
    };
}

/// Zeros first; of those that have waited longest, decreases first. Both are looked for within a bound, each along an index of its
/// own, so that a claim costs the same however many listings are behind. The conditions are written as the indexes have them.
///
/// A number may be raised when nothing of this marketplace is unprocessed and its orders were looked at since; one it never had
/// waits for nothing. What is to be read back is not told again meanwhile, unless its number changed. Where events of a listing
/// were missed, its number is not raised above what it was last seen to show.
macro_rules! chosen {
    () => {
        "SELECT id FROM (SELECT e.id, row_number() OVER (ORDER BY \
                (CASE WHEN e.listed_stock = 0 THEN 0 WHEN e.listed_stock < COALESCE(e.acked_quantity, 0) THEN 1 ELSE 2 END), \
                e.next_push_at, e.id) AS place \
            FROM marketplace_products e WHERE e.id IN ( \
                SELECT id FROM (SELECT z.id FROM marketplace_products z WHERE z.marketplace_id = {id 0} \
                    AND z.wanted_version > z.acked_version AND z.listed_stock = 0 AND z.next_push_at <= $2 \
                    AND z.push_state NOT IN ('in_flight', 'blocked', 'paused') AND z.state = 'active' \
                    AND (z.verify_at IS NULL OR z.wanted_version > z.sent_version) \
                    ORDER BY z.next_push_at LIMIT $3) AS emptied \
                UNION SELECT id FROM (SELECT d.id FROM marketplace_products d WHERE d.marketplace_id = {id 0} \
                    AND d.wanted_version > d.acked_version AND d.next_push_at <= $2 \
                    AND d.push_state NOT IN ('in_flight', 'blocked', 'paused') AND d.state = 'active' \
                    AND (d.verify_at IS NULL OR d.wanted_version > d.sent_version) \
                    AND (d.listed_stock = 0 OR d.listed_stock <= COALESCE(d.expected, d.acked_quantity, 0) \
                        OR d.wanted_at < {int 2} OR d.acked_version = 0) \
                    AND (d.raise_held_since IS NULL OR d.listed_stock <= COALESCE(d.marketplace_stock, 0)) \
                    ORDER BY d.next_push_at LIMIT $4) AS waiting)) AS ranked \
        WHERE place <= {int 1}"
    };
}

macro_rules! urgency {
    () => {
        " ORDER BY (CASE WHEN l.listed_stock = 0 THEN 0 WHEN l.listed_stock < COALESCE(l.acked_quantity, 0) THEN 1 ELSE 2 END), \
            l.next_push_at, l.id"
    };
}

statements! {
    // What a claim has to know first, in one look for all of them: most of it is false most of the time.
    PUSHES_GATES = both("SELECT m.id, m.status, m.orders_drained_at, \
            EXISTS (SELECT 1 FROM marketplace_webhooks w WHERE w.status IN ('pending', 'retry') AND w.marketplace_id = m.id) AS unapplied, \
            EXISTS (SELECT 1 FROM marketplace_products l WHERE l.marketplace_id = m.id AND l.push_state = 'in_flight' \
                AND l.sent_at < {int 2}) AS abandoned, \
            EXISTS (SELECT 1 FROM marketplace_products l WHERE l.marketplace_id = m.id AND l.confirm_at IS NOT NULL \
                AND l.confirm_at <= $2 AND l.push_state <> 'in_flight') AS to_confirm, \
            (SELECT o.owner FROM leases o WHERE o.name = {text 1} AND o.until > $2) AS owner \
        FROM {rows} CROSS JOIN marketplaces m WHERE m.id = {id 0}");
    // For each marketplace as many as it asks for; the bounds $3 and $4 are those of whoever asks for most. What is chosen for a
    // marketplace is joined to it by IN in SQLite, which has no LATERAL; PostgreSQL would choose anew for every listing there.
    PUSHES_DUE = split(
        concat!(due!(), " FROM {rows} CROSS JOIN marketplace_products l WHERE l.id IN (", chosen!(), ")", urgency!()),
        concat!(due!(), " FROM {rows} CROSS JOIN LATERAL (", chosen!(), ") AS taken JOIN marketplace_products l ON l.id = taken.id", urgency!()),
    );
    // When to look again: for a push, for a second telling, for reading back. Each along an index of its own.
    PUSHES_NEXT = both("SELECT {id 0} AS id, (SELECT MIN(l.next_push_at) FROM marketplace_products l WHERE l.marketplace_id = {id 0} \
                AND l.wanted_version > l.acked_version AND l.push_state NOT IN ('in_flight', 'blocked', 'paused') \
                AND (l.verify_at IS NULL OR l.wanted_version > l.sent_version) AND l.state = 'active') AS push, \
            (SELECT MIN(l.confirm_at) FROM marketplace_products l WHERE l.marketplace_id = {id 0} AND l.confirm_at IS NOT NULL) AS confirm, \
            (SELECT MIN(l.verify_at) FROM marketplace_products l WHERE l.marketplace_id = {id 0} AND l.verify_at IS NOT NULL) AS verify \
        FROM {rows}");
    // From now on the marketplace is believed to show what is sent.
    PUSHES_CLAIM = both("UPDATE marketplace_products AS l SET push_state = 'in_flight', sent_version = {int 1}, sent_quantity = {int 2}, \
            sent_at = {int 3}, expected = {int 2}, \
            verify_at = (CASE WHEN l.raise_held_since IS NULL THEN NULL ELSE l.verify_at END), version = l.version + 1, updated_at = {int 3} \
        FROM {rows} WHERE l.id = {id 0} AND l.push_state <> 'in_flight' AND l.wanted_version = {int 1} RETURNING id");
    // Where one key may be told only so often: taken before it is sent, so that a kill makes nobody send too early.
    PUSH_KEYS_TAKE = both("INSERT INTO push_keys (marketplace_id, key, sent_at) SELECT {id 0}, {text 1}, {int 2} FROM {rows} WHERE TRUE \
        ON CONFLICT (marketplace_id, key) DO UPDATE SET sent_at = excluded.sent_at \
            WHERE push_keys.sent_at <= $2 OR push_keys.sent_at > excluded.sent_at RETURNING marketplace_id, key");
    PUSH_KEYS_OF = both("SELECT k.marketplace_id, k.key, k.sent_at FROM {rows} CROSS JOIN push_keys k \
        WHERE k.marketplace_id = {id 0} AND k.key = {text 1}");
    PUSHES_POSTPONE = both("UPDATE marketplace_products AS l SET next_push_at = {int 1} FROM {rows} WHERE l.id = {id 0}");
    PUSHES_LOCK = both("SELECT l.id, l.listed_stock, l.wanted_version, l.sent_version, l.sent_quantity, l.sent_at, l.acked_version, \
            l.expected, l.attempts, l.confirm_at, l.verify_at, l.mismatches, l.refusals, l.push_state, l.gap_since, \
            l.raise_held_since \
        FROM marketplace_products l WHERE l.id IN {ids $1} ORDER BY l.id {for update}");
    PUSHES_SETTLE = both("UPDATE marketplace_products AS l SET push_state = {text 1}, acked_version = {int 2}, \
            acked_quantity = COALESCE({int 3}, l.acked_quantity), acked_at = COALESCE({int 4}, l.acked_at), expected = {int 5}, \
            wanted_version = {int 6}, attempts = {int 7}, next_push_at = {int 8}, \
            confirm_at = {int 9}, last_error = {text 10}, last_synced_at = COALESCE({int 11}, l.last_synced_at), \
            previous_stock = (CASE WHEN {int 12} IS DISTINCT FROM l.marketplace_stock AND {int 12} IS NOT NULL \
                THEN l.marketplace_stock ELSE l.previous_stock END), \
            marketplace_stock = COALESCE({int 12}, l.marketplace_stock), \
            stock_last_synced_at = COALESCE({int 11}, l.stock_last_synced_at), \
            gap_since = (CASE WHEN {int 18} = 0 THEN l.gap_since ELSE NULL END), \
            raise_held_since = (CASE WHEN {int 18} = 0 THEN l.raise_held_since ELSE NULL END), \
            gap_read_at = COALESCE({int 19}, l.gap_read_at), verify_at = {int 13}, mismatches = {int 14}, \
            refusals = {int 15}, wanted_at = COALESCE({int 16}, l.wanted_at), \
            push_trigger = (CASE WHEN {int 6} > l.wanted_version THEN 'scheduled' ELSE l.push_trigger END), \
            version = l.version + 1, updated_at = {int 17} \
        FROM {rows} WHERE l.id = {id 0}");
    ATTEMPTS_INSERT = both("INSERT INTO push_attempts (id, listing_id, marketplace_id, version, quantity, idempotency_key, trigger_type, \
            sent_at, finished_at, outcome, status_code, code, message, sync_log_id) \
        SELECT {id 0}, {id 1}, {id 2}, {int 3}, {int 4}, {text 5}, {text 6}, {int 7}, {int 8}, {text 9}, {int 10}, {text 11}, {text 12}, \
            {id 13} FROM {rows}");
    // A push that another process (or we, before a crash) left in flight: nobody knows whether it arrived.
    PUSHES_ABANDONED = both("UPDATE marketplace_products SET push_state = 'unknown', expected = NULL, \
            wanted_version = wanted_version + 1, confirm_at = $3, next_push_at = 0, push_trigger = 'startup', \
            version = version + 1, updated_at = $2 \
        WHERE marketplace_id = $1 AND push_state = 'in_flight' AND sent_at < $4");
    // The second look after an unknown outcome, once a late write can no longer be on its way.
    PUSHES_CONFIRM_DUE = both("UPDATE marketplace_products SET wanted_version = wanted_version + 1, expected = NULL, confirm_at = NULL, \
            push_state = 'dirty', next_push_at = 0, wanted_at = $2, push_trigger = 'scheduled', version = version + 1, updated_at = $2 \
        WHERE marketplace_id = $1 AND confirm_at IS NOT NULL AND confirm_at <= $2 AND push_state <> 'in_flight'");
}

row! {
    /// What decides about pushing to a marketplace at all.
    #[derive(Clone, Debug)]
    pub struct Gate {
        pub id: MarketplaceId,
        pub status: String,
        /// When the newest poll of its orders that is committed began.
        pub orders_drained_at: Option<Timestamp>,
        /// Something of this marketplace is logged but not applied yet.
        pub unapplied: bool,
        /// A push was left in flight.
        pub abandoned: bool,
        /// A push of unknown end is to be confirmed.
        pub to_confirm: bool,
        /// Who holds its lease.
        pub owner: Option<String>,
    }
}

row! {
    /// A listing that is due to be told.
    #[derive(Clone, Debug)]
    pub struct DueRow {
        pub marketplace_id: MarketplaceId,
        pub id: ListingId,
        pub marketplace_product_id: String,
        pub market: String,
        pub marketplace_sku: Option<String>,
        pub refs: String,
        pub listed_stock: i64,
        pub wanted_version: i64,
        pub sent_version: i64,
        pub sent_quantity: Option<i64>,
        pub acked_quantity: Option<i64>,
        pub expected: Option<i64>,
        pub attempts: i64,
        pub wanted_at: Timestamp,
        pub refusals: i64,
        pub mismatches: i64,
        pub push_trigger: String,
        pub push_log_id: Option<Uuid>,
        pub sku: String,
    }
}

row! {
    /// When to look again at what one marketplace is to be told.
    #[derive(Clone, Copy, Debug)]
    pub struct Next {
        pub id: MarketplaceId,
        pub push: Option<Timestamp>,
        pub confirm: Option<Timestamp>,
        pub verify: Option<Timestamp>,
    }
}

row! {
    #[derive(Clone, Debug)]
    pub struct InFlightRow {
        pub id: ListingId,
        pub listed_stock: i64,
        pub wanted_version: i64,
        pub sent_version: i64,
        pub sent_quantity: Option<i64>,
        pub sent_at: Option<Timestamp>,
        pub acked_version: i64,
        pub expected: Option<i64>,
        pub attempts: i64,
        pub confirm_at: Option<Timestamp>,
        pub verify_at: Option<Timestamp>,
        pub mismatches: i64,
        pub refusals: i64,
        pub push_state: String,
        pub gap_since: Option<Timestamp>,
        pub raise_held_since: Option<Timestamp>,
    }
}

/// Of so many that wait longest (and never fewer than are asked for) those that lower a number go first.
const LOOKED_AT: i64 = 64;

/// Whose gate is asked for.
#[derive(Clone, Copy, Debug)]
pub struct GateOf<'a> {
    pub id: MarketplaceId,
    /// The lease whose owner is wanted; empty where no other process can be.
    pub lease: &'a str,
    /// What was sent before this and is still in flight was left.
    pub abandoned_before: Timestamp,
}

/// Those of the marketplaces that there are.
pub async fn gates(conn: &mut Conn<'_>, of: impl Iterator<Item = GateOf<'_>>, now: Timestamp) -> Result<Vec<Gate>, DbError> {
    let mut rows = Rows::new();
    for gate in of {
        rows.push(|r| {
            r.id(gate.id).text(gate.lease).int(gate.abandoned_before.micros());
        });
    }
    fetch_all!(conn, PUSHES_GATES, Gate, rows.finish(), now)
}

/// What may be taken for a marketplace: at most `limit`, and a number may be raised that was wanted before `raised_before`.
#[derive(Clone, Copy, Debug)]
pub struct DueOf {
    pub id: MarketplaceId,
    pub limit: i64,
    pub raised_before: Timestamp,
}

/// What is due, of each marketplace in the order of its urgency.
pub async fn due(conn: &mut Conn<'_>, of: &[DueOf], now: Timestamp) -> Result<Vec<DueRow>, DbError> {
    let most = of.iter().map(|due| due.limit).max().unwrap_or(0);
    let mut rows = Rows::new();
    for due in of {
        rows.push(|r| {
            r.id(due.id).int(due.limit).int(due.raised_before.micros());
        });
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    fetch_all!(conn, PUSHES_DUE, DueRow, rows.finish(), now, most, most.saturating_mul(2).max(LOOKED_AT))
}

pub async fn next(conn: &mut Conn<'_>, of: impl Iterator<Item = MarketplaceId>) -> Result<Vec<Next>, DbError> {
    let mut rows = Rows::new();
    for id in of {
        rows.push(|r| {
            r.id(id);
        });
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    fetch_all!(conn, PUSHES_NEXT, Next, rows.finish())
}

/// Marks these as sent now; gives back those that still were as read.
pub async fn claim(conn: &mut Conn<'_>, due: &[&DueRow], now: Timestamp) -> Result<Vec<ListingId>, DbError> {
    let mut rows = Rows::new();
    for d in due {
        rows.push(|r| {
            r.id(d.id).int(d.wanted_version).int(d.listed_stock).int(now.micros());
        });
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let claimed = fetch_all!(conn, PUSHES_CLAIM, (ListingId,), rows.finish())?;
    Ok(claimed.into_iter().map(|row| row.0).collect())
}

/// What a marketplace may be told of only so often.
pub type PushKey = (MarketplaceId, String);

/// Takes the right to tell these keys now; gives those that were not told after `told_before`.
pub async fn take_keys(
    conn: &mut Conn<'_>,
    keys: &[PushKey],
    now: Timestamp,
    told_before: Timestamp,
) -> Result<Vec<PushKey>, DbError> {
    let mut rows = Rows::new();
    for (marketplace, key) in keys {
        rows.push(|r| {
            r.id(*marketplace).text(key).int(now.micros());
        });
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    fetch_all!(conn, PUSH_KEYS_TAKE, PushKey, rows.finish(), told_before)
}

/// When these keys were told.
pub async fn keys_told<'a>(
    conn: &mut Conn<'_>,
    keys: impl Iterator<Item = &'a PushKey>,
) -> Result<Vec<(MarketplaceId, String, Timestamp)>, DbError> {
    let mut rows = Rows::new();
    for (marketplace, key) in keys {
        rows.push(|r| {
            r.id(*marketplace).text(key);
        });
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    fetch_all!(conn, PUSH_KEYS_OF, (MarketplaceId, String, Timestamp), rows.finish())
}

pub async fn postpone(conn: &mut Conn<'_>, listings: &[(ListingId, Timestamp)]) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for (id, until) in listings {
        rows.push(|r| {
            r.id(*id).int(until.micros());
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, PUSHES_POSTPONE, rows.finish()).map(drop)
}

pub async fn lock(conn: &mut Conn<'_>, listings: impl IntoIterator<Item = ListingId>) -> Result<Vec<InFlightRow>, DbError> {
    fetch_all!(conn, PUSHES_LOCK, InFlightRow, ids(listings.into_iter().map(ListingId::uuid)))
}

#[derive(Clone, Debug)]
pub struct Settled {
    pub id: ListingId,
    pub push_state: &'static str,
    pub acked_version: i64,
    pub acked_quantity: Option<i64>,
    pub acked_at: Option<Timestamp>,
    pub expected: Option<i64>,
    pub wanted_version: i64,
    pub attempts: i64,
    pub next_push_at: Timestamp,
    pub confirm_at: Option<Timestamp>,
    pub last_error: Option<String>,
    pub last_synced_at: Option<Timestamp>,
    pub marketplace_stock: Option<i64>,
    pub verify_at: Option<Timestamp>,
    pub mismatches: i64,
    pub refusals: i64,
    /// Where the number became wanted anew: it may be raised only once orders were looked at since.
    pub wanted_at: Option<Timestamp>,
    /// It is known again what the marketplace shows: a gap, if there was one, is over.
    pub gap_over: bool,
    /// When it was read because of a gap, where it was.
    pub gap_read_at: Option<Timestamp>,
}

pub async fn settle(conn: &mut Conn<'_>, settled: &[Settled], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for s in settled {
        rows.push(|r| {
            r.id(s.id)
                .text(s.push_state)
                .int(s.acked_version)
                .opt_int(s.acked_quantity)
                .opt_int(s.acked_at.map(Timestamp::micros));
            r.opt_int(s.expected).int(s.wanted_version).int(s.attempts).int(s.next_push_at.micros());
            r.opt_int(s.confirm_at.map(Timestamp::micros)).opt_text(s.last_error.as_deref());
            r.opt_int(s.last_synced_at.map(Timestamp::micros)).opt_int(s.marketplace_stock);
            r.opt_int(s.verify_at.map(Timestamp::micros)).int(s.mismatches).int(s.refusals);
            r.opt_int(s.wanted_at.map(Timestamp::micros)).int(now.micros());
            r.int(i64::from(s.gap_over)).opt_int(s.gap_read_at.map(Timestamp::micros));
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, PUSHES_SETTLE, rows.finish()).map(drop)
}

#[derive(Clone, Debug)]
pub struct Attempt {
    pub id: Uuid,
    pub listing_id: ListingId,
    pub marketplace_id: MarketplaceId,
    pub version: i64,
    pub quantity: i64,
    pub idempotency_key: String,
    pub trigger_type: String,
    pub sync_log_id: Option<Uuid>,
    pub sent_at: Timestamp,
    pub outcome: &'static str,
    pub status_code: Option<i64>,
    pub code: Option<String>,
    pub message: Option<String>,
}

pub async fn insert_attempts(conn: &mut Conn<'_>, attempts: &[Attempt], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for a in attempts {
        rows.push(|r| {
            r.id(a.id).id(a.listing_id).id(a.marketplace_id).int(a.version).int(a.quantity).text(&a.idempotency_key);
            r.text(&a.trigger_type).int(a.sent_at.micros()).int(now.micros()).text(a.outcome).opt_int(a.status_code);
            r.opt_text(a.code.as_deref()).opt_text(a.message.as_deref()).opt_id(a.sync_log_id);
        });
    }
    execute!(conn, ATTEMPTS_INSERT, rows.finish()).map(drop)
}

/// Takes over pushes left in flight that were sent before `before`. Each is told again at once, and once more at `confirm_at`.
pub async fn take_over(
    conn: &mut Conn<'_>,
    marketplace: MarketplaceId,
    now: Timestamp,
    confirm_at: Timestamp,
    before: Timestamp,
) -> Result<u64, DbError> {
    execute!(conn, PUSHES_ABANDONED, marketplace, now, confirm_at, before)
}

pub async fn confirm_due(conn: &mut Conn<'_>, marketplace: MarketplaceId, now: Timestamp) -> Result<u64, DbError> {
    execute!(conn, PUSHES_CONFIRM_DUE, marketplace, now)
}
