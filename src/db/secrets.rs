//! Secrets of marketplaces that were set through the API: sealed, several of one name during a rotation.

use uuid::Uuid;

use super::conn::{Conn, execute, execute_exactly, fetch_all, row};
use super::error::DbError;
use super::sql::statements;
use crate::domain::ids::MarketplaceId;
use crate::domain::time::Timestamp;

statements! {
    SECRET_INSERT = both("INSERT INTO marketplace_secrets (id, marketplace_id, name, key_id, sealed, not_before, expires_at, created_by, \
            created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $6)");
    // Newest first: what is sent is signed with the first.
    SECRETS_UNEXPIRED = both("SELECT id, marketplace_id, name, key_id, sealed, not_before, expires_at, created_by FROM marketplace_secrets \
        WHERE expires_at IS NULL OR expires_at > $1 ORDER BY marketplace_id, name, not_before DESC, id DESC");
    // A rotation shortens lives; it never gives a new one.
    SECRETS_END = both("UPDATE marketplace_secrets SET expires_at = $3 WHERE marketplace_id = $1 AND name = $2 AND id <> $4 \
        AND (expires_at IS NULL OR expires_at > $3)");
    SECRETS_PURGE = both("DELETE FROM marketplace_secrets WHERE expires_at < $1");
    MARKETPLACE_TOUCH = both("UPDATE marketplaces SET version = version + 1, updated_at = $2, \
        status = (CASE WHEN status = 'auth_error' THEN 'active' ELSE status END) WHERE id = $1");
}

row! {
    pub struct SecretRow {
        pub id: Uuid,
        pub marketplace_id: MarketplaceId,
        pub name: String,
        pub key_id: String,
        pub sealed: Vec<u8>,
        pub not_before: Timestamp,
        pub expires_at: Option<Timestamp>,
        pub created_by: String,
    }
}

/// Live from now on.
pub async fn insert(conn: &mut Conn<'_>, s: &SecretRow) -> Result<(), DbError> {
    let (name, key_id, sealed, by) = (s.name.as_str(), s.key_id.as_str(), s.sealed.as_slice(), s.created_by.as_str());
    execute_exactly!(1, conn, SECRET_INSERT, s.id, s.marketplace_id, name, key_id, sealed, s.not_before, s.expires_at, by)
}

pub async fn unexpired(conn: &mut Conn<'_>, now: Timestamp) -> Result<Vec<SecretRow>, DbError> {
    fetch_all!(conn, SECRETS_UNEXPIRED, SecretRow, now)
}

/// Ends all of a name but one, at that time; those that end earlier do so.
pub async fn end(conn: &mut Conn<'_>, of: MarketplaceId, name: &str, at: Timestamp, but: Uuid) -> Result<u64, DbError> {
    execute!(conn, SECRETS_END, of, name, at, but)
}

/// Forgets what ended before.
pub async fn purge(conn: &mut Conn<'_>, before: Timestamp) -> Result<u64, DbError> {
    execute!(conn, SECRETS_PURGE, before)
}

/// A new secret is a change of its marketplace; credentials that were refused may be good ones now.
pub async fn touch(conn: &mut Conn<'_>, of: MarketplaceId, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, MARKETPLACE_TOUCH, of, now)
}
