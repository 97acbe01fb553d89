//! Leases: who may do what must run once. A killed node's lease runs out and another takes it, with a higher fence.

use super::conn::{Conn, execute, fetch_optional};
use super::error::DbError;
use super::sql::statements;
use crate::domain::time::Timestamp;

statements! {
    // Ours already, or nobody's any more.
    LEASE_TAKE = both("INSERT INTO leases (name, owner, until, fence) VALUES ($1, $2, $3, 1) \
        ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until, \
            fence = leases.fence + (CASE WHEN leases.owner = excluded.owner THEN 0 ELSE 1 END) \
        WHERE leases.owner = excluded.owner OR leases.until < $4 \
        RETURNING fence");
    LEASE_HELD = both("SELECT fence FROM leases WHERE name = $1 AND owner = $2 AND until > $3");
    LEASE_RELEASE = both("UPDATE leases SET until = 0 WHERE name = $1 AND owner = $2");
}

/// Takes or extends a lease. `Some(fence)` when it is ours now.
pub async fn take(
    conn: &mut Conn<'_>,
    name: &str,
    owner: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<Option<i64>, DbError> {
    Ok(fetch_optional!(conn, LEASE_TAKE, (i64,), name, owner, until, now)?.map(|row| row.0))
}

pub async fn release(conn: &mut Conn<'_>, name: &str, owner: &str) -> Result<(), DbError> {
    execute!(conn, LEASE_RELEASE, name, owner).map(drop)
}

/// Whether a lease is this owner's at that time.
pub async fn is_held(conn: &mut Conn<'_>, name: &str, owner: &str, now: Timestamp) -> Result<bool, DbError> {
    Ok(fetch_optional!(conn, LEASE_HELD, (i64,), name, owner, now)?.is_some())
}
