//! What calling out to a marketplace must remember: who may, until when it wants to be left alone, what it lent us, and when each
//! thing was told last.

use super::conn::{Conn, execute, fetch_all, fetch_optional, row};
use super::error::DbError;
use super::sql::{Rows, statements, texts};
use crate::domain::ids::MarketplaceId;
use crate::domain::time::Timestamp;

statements! {
    // Ours already, or nobody's any more. All at once: a thousand accounts are one statement.
    LEASES_TAKE = both("INSERT INTO leases (name, owner, until, fence) \
        SELECT {text 0}, {text 1}, {int 2}, CAST(1 AS BIGINT) FROM {rows} WHERE TRUE \
        ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until, \
            fence = leases.fence + (CASE WHEN leases.owner = excluded.owner THEN 0 ELSE 1 END) \
        WHERE leases.owner = excluded.owner OR leases.until < $2 \
        RETURNING name, fence");
    LEASES_RELEASE = both("UPDATE leases SET until = 0 WHERE owner = $2 AND name IN {texts $1}");
    LEASE_OWNERS = both("SELECT name, owner FROM leases WHERE name IN {texts $1} AND until > $2");
    ACCOUNT_LIMITS_OF = both("SELECT name, blocked_until FROM account_limits WHERE marketplace_id = $1");
    ACCOUNT_LIMIT_SET = both("INSERT INTO account_limits (marketplace_id, name, blocked_until) VALUES ($1, $2, $3) \
        ON CONFLICT (marketplace_id, name) DO UPDATE SET blocked_until = excluded.blocked_until \
        WHERE account_limits.blocked_until < excluded.blocked_until");
    ACCOUNT_TOKEN_OF = both("SELECT access, refresh, made_from, expires_at FROM account_tokens WHERE marketplace_id = $1");
    ACCOUNT_TOKEN_SET = both("INSERT INTO account_tokens (marketplace_id, access, refresh, made_from, expires_at, updated_at) \
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (marketplace_id) DO UPDATE SET access = excluded.access, \
            refresh = excluded.refresh, made_from = excluded.made_from, expires_at = excluded.expires_at, \
            updated_at = excluded.updated_at");
}

/// Takes or keeps these leases; gives those that are ours now, with the fence that grows with each new owner.
pub async fn take(
    conn: &mut Conn<'_>,
    names: &[String],
    owner: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<Vec<(String, i64)>, DbError> {
    let mut rows = Rows::new();
    for name in names {
        rows.push(|r| {
            r.text(name).text(owner).int(until.micros());
        });
    }
    fetch_all!(conn, LEASES_TAKE, (String, i64), rows.finish(), now)
}

pub async fn release(conn: &mut Conn<'_>, names: &[String], owner: &str) -> Result<(), DbError> {
    execute!(conn, LEASES_RELEASE, texts(names.iter().map(String::as_str)), owner).map(drop)
}

/// Who holds these leases, where somebody does.
pub async fn owners<'a>(
    conn: &mut Conn<'_>,
    names: impl Iterator<Item = &'a str>,
    now: Timestamp,
) -> Result<Vec<(String, String)>, DbError> {
    fetch_all!(conn, LEASE_OWNERS, (String, String), texts(names), now)
}

pub async fn blocked(conn: &mut Conn<'_>, id: MarketplaceId) -> Result<Vec<(String, Timestamp)>, DbError> {
    fetch_all!(conn, ACCOUNT_LIMITS_OF, (String, Timestamp), id)
}

/// A later end replaces an earlier one, never the other way round.
pub async fn block(conn: &mut Conn<'_>, id: MarketplaceId, name: &str, until: Timestamp) -> Result<(), DbError> {
    execute!(conn, ACCOUNT_LIMIT_SET, id, name, until).map(drop)
}

row! {
    /// Sealed, as it is stored.
    #[derive(Clone)]
    pub struct TokenRow {
        pub access: Vec<u8>,
        pub refresh: Option<Vec<u8>>,
        pub made_from: Vec<u8>,
        pub expires_at: Timestamp,
    }
}

pub async fn token(conn: &mut Conn<'_>, id: MarketplaceId) -> Result<Option<TokenRow>, DbError> {
    fetch_optional!(conn, ACCOUNT_TOKEN_OF, TokenRow, id)
}

pub async fn set_token(conn: &mut Conn<'_>, id: MarketplaceId, token: &TokenRow, now: Timestamp) -> Result<(), DbError> {
    let (access, refresh) = (token.access.as_slice(), token.refresh.as_deref());
    execute!(conn, ACCOUNT_TOKEN_SET, id, access, refresh, token.made_from.as_slice(), token.expires_at, now).map(drop)
}
