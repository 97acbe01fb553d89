//! API tokens (only their hashes), the audit log, and the answers kept for `Idempotency-Key`.

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_optional, row};
use super::error::DbError;
use super::span::Ids;
use super::sql::statements;
use crate::domain::time::Timestamp;
use uuid::Uuid;

statements! {
    TOKEN_INSERT = both("INSERT INTO api_tokens (id, name, token_hash, prefix, role, created_by, created_at, expires_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
    TOKEN_BY_HASH = both("SELECT id, name, prefix, role, created_at, expires_at, last_used_at, revoked_at FROM api_tokens WHERE token_hash = $1");
    TOKEN_BY_ID = both("SELECT id, name, prefix, role, created_at, expires_at, last_used_at, revoked_at FROM api_tokens WHERE id = $1");
    TOKENS_ALL = both("SELECT id, name, prefix, role, created_at, expires_at, last_used_at, revoked_at FROM api_tokens ORDER BY created_at");
    TOKEN_REVOKE = both("UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL");
    TOKEN_USED = both("UPDATE api_tokens SET last_used_at = $2 WHERE id = $1");
    AUDIT_INSERT = both("INSERT INTO audit_log (id, actor, action, target, details, request_id, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)");
    AUDIT_PAGE = both("SELECT id, actor, action, target, details, request_id, created_at FROM audit_log \
        WHERE id < $1 AND id >= $2 AND ($3 = '' OR actor = $3) AND ($4 = '' OR action = $4) AND ($5 = '' OR target = $5) \
        ORDER BY id DESC LIMIT $6");
    IDEMPOTENCY_GET = both("SELECT request_hash, response_status, response_body FROM idempotency_keys WHERE scope = $1 AND key = $2");
    IDEMPOTENCY_INSERT = both("INSERT INTO idempotency_keys (scope, key, request_hash, response_status, response_body, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6)");
    IDEMPOTENCY_PURGE = both("DELETE FROM idempotency_keys WHERE created_at < $1");
}

row! {
    #[derive(Clone, Debug)]
    pub struct TokenRow {
        pub id: Uuid,
        pub name: String,
        pub prefix: String,
        pub role: String,
        pub created_at: Timestamp,
        pub expires_at: Option<Timestamp>,
        pub last_used_at: Option<Timestamp>,
        pub revoked_at: Option<Timestamp>,
    }
}

pub struct NewToken<'a> {
    pub id: Uuid,
    pub name: &'a str,
    pub hash: &'a [u8],
    pub prefix: &'a str,
    pub role: &'a str,
    pub created_by: &'a str,
    pub expires_at: Option<Timestamp>,
}

pub async fn insert(conn: &mut Conn<'_>, t: &NewToken<'_>, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, TOKEN_INSERT, t.id, t.name, t.hash, t.prefix, t.role, t.created_by, now, t.expires_at)
}

pub async fn by_hash(conn: &mut Conn<'_>, hash: &[u8]) -> Result<Option<TokenRow>, DbError> {
    fetch_optional!(conn, TOKEN_BY_HASH, TokenRow, hash)
}

pub async fn by_id(conn: &mut Conn<'_>, id: Uuid) -> Result<Option<TokenRow>, DbError> {
    fetch_optional!(conn, TOKEN_BY_ID, TokenRow, id)
}

pub async fn list(conn: &mut Conn<'_>) -> Result<Vec<TokenRow>, DbError> {
    fetch_all!(conn, TOKENS_ALL, TokenRow)
}

/// False when there is no such live token.
pub async fn revoke(conn: &mut Conn<'_>, id: Uuid, now: Timestamp) -> Result<bool, DbError> {
    Ok(execute!(conn, TOKEN_REVOKE, id, now)? == 1)
}

pub async fn used(conn: &mut Conn<'_>, id: Uuid, now: Timestamp) -> Result<(), DbError> {
    execute!(conn, TOKEN_USED, id, now).map(drop)
}

row! {
    pub struct AuditRow {
        pub id: Uuid,
        pub actor: String,
        pub action: String,
        pub target: Option<String>,
        pub details: String,
        pub request_id: Option<String>,
        pub created_at: Timestamp,
    }
}

/// Who did what.
pub struct Audit<'a> {
    pub id: Uuid,
    pub actor: &'a str,
    pub action: &'a str,
    pub target: Option<&'a str>,
    pub details: &'a str,
    pub request_id: Option<&'a str>,
}

pub async fn audit(conn: &mut Conn<'_>, a: &Audit<'_>, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, AUDIT_INSERT, a.id, a.actor, a.action, a.target, a.details, a.request_id, now)
}

/// Which rows of the audit log; empty means any.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub actor: String,
    pub action: String,
    pub target: String,
}

/// Newest first.
pub async fn audit_page(conn: &mut Conn<'_>, which: &AuditFilter, ids: Ids, limit: i64) -> Result<Vec<AuditRow>, DbError> {
    let (actor, action, target) = (which.actor.as_str(), which.action.as_str(), which.target.as_str());
    fetch_all!(conn, AUDIT_PAGE, AuditRow, ids.before, ids.from, actor, action, target, limit)
}

row! {
    pub struct KeptAnswer {
        pub request_hash: Vec<u8>,
        pub response_status: Option<i64>,
        pub response_body: Option<String>,
    }
}

/// What makes two requests the same: who asks what, under which key, with which body.
#[derive(Clone, Debug)]
pub struct RequestKey {
    pub scope: String,
    pub key: String,
    pub hash: [u8; 32],
}

pub async fn kept_answer(conn: &mut Conn<'_>, of: &RequestKey) -> Result<Option<KeptAnswer>, DbError> {
    fetch_optional!(conn, IDEMPOTENCY_GET, KeptAnswer, of.scope.as_str(), of.key.as_str())
}

pub async fn keep_answer(conn: &mut Conn<'_>, of: &RequestKey, status: i64, body: &str, now: Timestamp) -> Result<(), DbError> {
    let RequestKey { scope, key, hash } = of;
    execute_exactly!(1, conn, IDEMPOTENCY_INSERT, scope.as_str(), key.as_str(), &hash[..], status, body, now)
}

pub async fn purge_answers(conn: &mut Conn<'_>, before: Timestamp) -> Result<u64, DbError> {
    execute!(conn, IDEMPOTENCY_PURGE, before)
}
