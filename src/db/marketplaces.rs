//! Marketplaces: the sales channel accounts.

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_one, fetch_optional, row};
use super::error::DbError;
use super::sql::statements;
use crate::domain::ids::{LocationId, MarketplaceId};
use crate::domain::time::Timestamp;

statements! {
    // What the configuration file names, it decides; status, cursors, history and the rule that was set here stay. Credentials that
    // were refused may be new ones now: they are tried again.
    MARKETPLACE_UPSERT = both("INSERT INTO marketplaces (id, code, name, kind, adapter, base_url, account, policy, stock_feed, currency, \
            declared_in, supports_webhooks, webhook_enabled, webhook_url, rule, created_at, updated_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16) \
        ON CONFLICT (code) DO UPDATE SET name = excluded.name, kind = excluded.kind, adapter = excluded.adapter, \
            base_url = excluded.base_url, account = excluded.account, policy = excluded.policy, stock_feed = excluded.stock_feed, \
            currency = excluded.currency, declared_in = excluded.declared_in, supports_webhooks = excluded.supports_webhooks, \
            webhook_enabled = excluded.webhook_enabled, webhook_url = excluded.webhook_url, \
            feed_since = (CASE WHEN marketplaces.stock_feed = excluded.stock_feed THEN marketplaces.feed_since \
                ELSE excluded.updated_at END), \
            version = marketplaces.version + 1, updated_at = excluded.updated_at, \
            status = (CASE WHEN marketplaces.status = 'auth_error' THEN 'active' ELSE marketplaces.status END)");
    // Archived ones too: what they sold is sold, and their past is looked at.
    MARKETPLACES_ALL = both("SELECT id, code, name, kind, adapter, base_url, account, policy, stock_feed, feed_since, currency, status, \
            declared_in, webhook_enabled, rule, last_webhook_at, version, created_at, api_settings, archived_at, restored_as \
        FROM marketplaces ORDER BY code");
    MARKETPLACE_LOCK = both("SELECT id, code, name, kind, adapter, base_url, account, policy, stock_feed, feed_since, currency, status, \
            declared_in, webhook_enabled, rule, last_webhook_at, version, created_at, api_settings, archived_at, restored_as \
        FROM marketplaces WHERE code = $1 {for update}");
    MARKETPLACE_API_SETTINGS = both("SELECT api_settings FROM marketplaces WHERE code = $1");
    MARKETPLACE_API_SETTINGS_SET = both("UPDATE marketplaces SET api_settings = $2 WHERE code = $1");
    MARKETPLACE_ID_ANY = both("SELECT id FROM marketplaces WHERE code = $1");
    // Changes with every change of a connection, on any node.
    CONNECTIONS_MARK = both("SELECT COUNT(*), CAST(COALESCE(SUM(version), 0) AS BIGINT) FROM marketplaces");
    MARKETPLACE_ID = both("SELECT id, feed_since FROM marketplaces WHERE code = $1");
    MARKETPLACE_STATUS_OF = both("SELECT status FROM marketplaces WHERE id = $1");
    MARKETPLACE_STATUS = both("UPDATE marketplaces SET status = $2, version = version + 1, updated_at = $3 WHERE id = $1");
    // One that a person has paused is remembered as that: bringing it back does not say that it may go on.
    MARKETPLACE_ARCHIVE = both("UPDATE marketplaces SET archived_at = $2, \
            restored_as = (CASE WHEN COALESCE(restored_as, status) = 'paused' THEN 'paused' END), status = 'archived', \
            version = version + 1, updated_at = $2 WHERE id = $1 AND archived_at IS NULL");
    MARKETPLACE_RESTORE = both("UPDATE marketplaces SET status = 'paused', archived_at = NULL, \
            restored_as = COALESCE(restored_as, 'active'), \
            version = version + 1, updated_at = $2 WHERE id = $1 AND archived_at IS NOT NULL");
    MARKETPLACE_RESTORE_AS = both("UPDATE marketplaces SET restored_as = $2, version = version + 1, updated_at = $3 \
        WHERE id = $1 AND restored_as IS NOT NULL");
    MARKETPLACES_RESTORED = both("UPDATE marketplaces SET status = restored_as, restored_as = NULL, version = version + 1, \
            updated_at = $1 WHERE restored_as IS NOT NULL AND archived_at IS NULL RETURNING id");
    // What somebody should know before it is archived. What it shows: as far as it is known.
    MARKETPLACE_STANDING = both("SELECT \
            (SELECT COUNT(*) FROM marketplace_products l WHERE l.marketplace_id = m.id AND l.state <> 'ended') AS listings, \
            (SELECT COUNT(*) FROM marketplace_products l WHERE l.marketplace_id = m.id AND l.state <> 'ended' \
                AND COALESCE(l.expected, l.acked_quantity, l.marketplace_stock, 0) > 0) AS shown, \
            (SELECT COUNT(DISTINCT o.id) FROM orders o JOIN order_lines n ON n.order_id = o.id \
                WHERE o.marketplace_id = m.id AND n.posted_committed > 0) AS open_orders, \
            CAST((SELECT COALESCE(SUM(n.posted_committed), 0) FROM orders o JOIN order_lines n ON n.order_id = o.id \
                WHERE o.marketplace_id = m.id) AS BIGINT) AS committed \
        FROM marketplaces m WHERE m.code = $1");
    SALES_LOCATIONS = both("SELECT marketplace_id, location_id FROM marketplace_locations ORDER BY marketplace_id, position");
    SALES_LOCATION_ADD = both("INSERT INTO marketplace_locations (marketplace_id, position, location_id) VALUES ($1, $2, $3)");
    SALES_LOCATIONS_CLEAR = both("DELETE FROM marketplace_locations WHERE marketplace_id = $1");
}

row! {
    #[derive(Clone, Debug)]
    pub struct MarketplaceRow {
        pub id: MarketplaceId,
        pub code: String,
        pub name: String,
        pub kind: String,
        pub adapter: String,
        pub base_url: Option<String>,
        pub account: String,
        pub policy: String,
        pub stock_feed: String,
        pub feed_since: Timestamp,
        pub currency: Option<String>,
        pub status: String,
        pub declared_in: String,
        pub webhook_enabled: bool,
        pub rule: String,
        pub last_webhook_at: Option<Timestamp>,
        pub version: i64,
        pub created_at: Timestamp,
        pub api_settings: String,
        pub archived_at: Option<Timestamp>,
        /// It is being brought back, and will have this status then. While it is archived: it was paused, and will be.
        pub restored_as: Option<String>,
    }
}

row! {
    /// What hangs on a marketplace.
    #[derive(Clone, Copy, Debug)]
    pub struct Standing {
        pub listings: i64,
        /// Of these, the ones that show something there.
        pub shown: i64,
        /// Orders with pieces that are not shipped yet.
        pub open_orders: i64,
        /// Those pieces.
        pub committed: i64,
    }
}

pub struct Declared<'a> {
    pub id: MarketplaceId,
    pub code: &'a str,
    pub name: &'a str,
    pub kind: &'a str,
    pub adapter: &'a str,
    pub base_url: Option<&'a str>,
    pub account: &'a str,
    pub policy: &'a str,
    pub stock_feed: &'a str,
    pub currency: Option<&'a str>,
    pub declared_in: &'a str,
    pub supports_webhooks: bool,
    pub webhook_enabled: bool,
    pub webhook_url: Option<&'a str>,
    pub rule: &'a str,
}

/// Writes what a file or the program itself declares; gives the marketplace's id, old or new, and since when its stock feed
/// counts: another feed than before counts from now on.
pub async fn upsert(conn: &mut Conn<'_>, d: &Declared<'_>, now: Timestamp) -> Result<(MarketplaceId, Timestamp), DbError> {
    execute!(
        conn,
        MARKETPLACE_UPSERT,
        d.id,
        d.code,
        d.name,
        d.kind,
        d.adapter,
        d.base_url,
        d.account,
        d.policy,
        d.stock_feed,
        d.currency,
        d.declared_in,
        d.supports_webhooks,
        d.webhook_enabled,
        d.webhook_url,
        d.rule,
        now
    )?;
    fetch_one!(conn, MARKETPLACE_ID, (MarketplaceId, Timestamp), d.code)
}

/// What was set through the API, as JSON; `{}` where nothing was.
pub async fn api_settings(conn: &mut Conn<'_>, code: &str) -> Result<String, DbError> {
    Ok(fetch_optional!(conn, MARKETPLACE_API_SETTINGS, (String,), code)?.map_or_else(|| "{}".into(), |row| row.0))
}

pub async fn set_api_settings(conn: &mut Conn<'_>, code: &str, text: &str) -> Result<(), DbError> {
    execute_exactly!(1, conn, MARKETPLACE_API_SETTINGS_SET, code, text)
}

/// Whether the code is taken, by an archived one too.
pub async fn is_taken(conn: &mut Conn<'_>, code: &str) -> Result<bool, DbError> {
    let found: Option<(MarketplaceId,)> = fetch_optional!(conn, MARKETPLACE_ID_ANY, (MarketplaceId,), code)?;
    Ok(found.is_some())
}

pub async fn lock(conn: &mut Conn<'_>, code: &str) -> Result<Option<MarketplaceRow>, DbError> {
    fetch_optional!(conn, MARKETPLACE_LOCK, MarketplaceRow, code)
}

/// Another value than before: some connection changed.
pub async fn mark(conn: &mut Conn<'_>) -> Result<(i64, i64), DbError> {
    fetch_one!(conn, CONNECTIONS_MARK, (i64, i64))
}

pub async fn list(conn: &mut Conn<'_>) -> Result<Vec<MarketplaceRow>, DbError> {
    fetch_all!(conn, MARKETPLACES_ALL, MarketplaceRow)
}

/// `active`, `paused`, `auth_error` or `archived`.
pub async fn status(conn: &mut Conn<'_>, id: MarketplaceId) -> Result<Option<String>, DbError> {
    Ok(fetch_optional!(conn, MARKETPLACE_STATUS_OF, (String,), id)?.map(|row| row.0))
}

pub async fn set_status(conn: &mut Conn<'_>, id: MarketplaceId, status: &str, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, MARKETPLACE_STATUS, id, status, now)
}

pub async fn archive(conn: &mut Conn<'_>, id: MarketplaceId, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, MARKETPLACE_ARCHIVE, id, now)
}

/// Paused until its listings are worked out anew.
pub async fn restore(conn: &mut Conn<'_>, id: MarketplaceId, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, MARKETPLACE_RESTORE, id, now)
}

/// Which status one that is being brought back will have.
pub async fn restore_as(conn: &mut Conn<'_>, id: MarketplaceId, status: &str, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, MARKETPLACE_RESTORE_AS, id, status, now)
}

/// Those that were being brought back are back.
pub async fn restored(conn: &mut Conn<'_>, now: Timestamp) -> Result<Vec<MarketplaceId>, DbError> {
    Ok(fetch_all!(conn, MARKETPLACES_RESTORED, (MarketplaceId,), now)?.into_iter().map(|row| row.0).collect())
}

pub async fn standing(conn: &mut Conn<'_>, code: &str) -> Result<Option<Standing>, DbError> {
    fetch_optional!(conn, MARKETPLACE_STANDING, Standing, code)
}

/// In which order each marketplace sells from which locations.
pub async fn sales_locations(conn: &mut Conn<'_>) -> Result<Vec<(MarketplaceId, LocationId)>, DbError> {
    fetch_all!(conn, SALES_LOCATIONS, (MarketplaceId, LocationId))
}

pub async fn set_sales_locations(conn: &mut Conn<'_>, id: MarketplaceId, locations: &[LocationId]) -> Result<(), DbError> {
    execute!(conn, SALES_LOCATIONS_CLEAR, id)?;
    for (position, location) in locations.iter().enumerate() {
        execute_exactly!(1, conn, SALES_LOCATION_ADD, id, position as i64, *location)?;
    }
    Ok(())
}
