//! People at the dashboard and the browsers they are signed in with. Only hashes of passwords and cookies are stored.

use uuid::Uuid;

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_one, fetch_optional, row};
use super::error::DbError;
use super::sql::statements;
use crate::domain::time::Timestamp;

statements! {
    USER_INSERT = both("INSERT INTO users (id, email, name, password_hash, role, created_at) VALUES ($1, $2, $3, $4, $5, $6)");
    USER_BY_EMAIL = both("SELECT id, email, name, password_hash, role, created_at, last_login_at, disabled_at FROM users WHERE email = $1");
    USER_LOCK = both("SELECT id, email, name, password_hash, role, created_at, last_login_at, disabled_at FROM users WHERE id = $1 \
        {for update}");
    USERS_ALL = both("SELECT id, email, name, password_hash, role, created_at, last_login_at, disabled_at FROM users ORDER BY email");
    USERS_COUNT = both("SELECT COUNT(*) FROM users");
    // Who could still open every door without this one.
    ADMINS_BESIDE = both("SELECT id FROM users WHERE role = 'admin' AND disabled_at IS NULL AND id <> $1 ORDER BY id {for update}");
    USER_UPDATE = both("UPDATE users SET email = $2, name = $3, password_hash = $4, role = $5, disabled_at = $6 WHERE id = $1");
    USER_SIGNED_IN = both("UPDATE users SET last_login_at = $2 WHERE id = $1");
    USER_DELETE = both("DELETE FROM users WHERE id = $1");
    SESSION_INSERT = both("INSERT INTO sessions (id, user_id, token_hash, client, user_agent, created_at, last_used_at, expires_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $6, $7)");
    SESSION_BY_HASH = both("SELECT s.id, s.user_id, u.email, u.name, u.role, s.client, s.user_agent, s.created_at, s.last_used_at, \
            s.expires_at FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.token_hash = $1 AND u.disabled_at IS NULL");
    SESSION_BY_ID = both("SELECT s.id, s.user_id, u.email, u.name, u.role, s.client, s.user_agent, s.created_at, s.last_used_at, \
            s.expires_at FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND u.disabled_at IS NULL");
    SESSIONS_PAGE = both("SELECT s.id, s.user_id, u.email, u.name, u.role, s.client, s.user_agent, s.created_at, s.last_used_at, \
            s.expires_at FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id < $1 ORDER BY s.id DESC LIMIT $2");
    SESSION_USED = both("UPDATE sessions SET last_used_at = $2 WHERE id = $1 AND last_used_at < $2");
    SESSION_DELETE = both("DELETE FROM sessions WHERE id = $1");
    SESSIONS_DELETE_OF = both("DELETE FROM sessions WHERE user_id = $1 AND id <> $2");
    SESSIONS_PURGE = both("DELETE FROM sessions WHERE expires_at <= $1 OR last_used_at < $2");
}

row! {
    #[derive(Clone)]
    pub struct UserRow {
        pub id: Uuid,
        pub email: String,
        pub name: String,
        pub password_hash: String,
        pub role: String,
        pub created_at: Timestamp,
        pub last_login_at: Option<Timestamp>,
        pub disabled_at: Option<Timestamp>,
    }
}

row! {
    /// A session with whose it is.
    #[derive(Clone, Debug)]
    pub struct SessionRow {
        pub id: Uuid,
        pub user_id: Uuid,
        pub email: String,
        pub name: String,
        pub role: String,
        pub client: Option<String>,
        pub user_agent: Option<String>,
        pub created_at: Timestamp,
        pub last_used_at: Timestamp,
        pub expires_at: Timestamp,
    }
}

/// `DbError::Exists` when somebody has that e-mail address.
pub async fn insert(conn: &mut Conn<'_>, u: &UserRow) -> Result<(), DbError> {
    let (email, name, hash, role) = (u.email.as_str(), u.name.as_str(), u.password_hash.as_str(), u.role.as_str());
    execute_exactly!(1, conn, USER_INSERT, u.id, email, name, hash, role, u.created_at)
}

pub async fn by_email(conn: &mut Conn<'_>, email: &str) -> Result<Option<UserRow>, DbError> {
    fetch_optional!(conn, USER_BY_EMAIL, UserRow, email)
}

pub async fn lock(conn: &mut Conn<'_>, id: Uuid) -> Result<Option<UserRow>, DbError> {
    fetch_optional!(conn, USER_LOCK, UserRow, id)
}

pub async fn list(conn: &mut Conn<'_>) -> Result<Vec<UserRow>, DbError> {
    fetch_all!(conn, USERS_ALL, UserRow)
}

pub async fn count(conn: &mut Conn<'_>) -> Result<i64, DbError> {
    Ok(fetch_one!(conn, USERS_COUNT, (i64,))?.0)
}

/// Admins that are not disabled, without this one.
pub async fn admins_beside(conn: &mut Conn<'_>, id: Uuid) -> Result<usize, DbError> {
    let others: Vec<(Uuid,)> = fetch_all!(conn, ADMINS_BESIDE, (Uuid,), id)?;
    Ok(others.len())
}

/// `DbError::Exists` when somebody else has that e-mail address.
pub async fn update(conn: &mut Conn<'_>, u: &UserRow) -> Result<(), DbError> {
    let (email, name, hash, role) = (u.email.as_str(), u.name.as_str(), u.password_hash.as_str(), u.role.as_str());
    execute_exactly!(1, conn, USER_UPDATE, u.id, email, name, hash, role, u.disabled_at)
}

pub async fn signed_in(conn: &mut Conn<'_>, id: Uuid, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, USER_SIGNED_IN, id, now)
}

/// Their sessions go with them.
pub async fn delete(conn: &mut Conn<'_>, id: Uuid) -> Result<(), DbError> {
    execute_exactly!(1, conn, USER_DELETE, id)
}

pub struct NewSession<'a> {
    pub id: Uuid,
    pub user_id: Uuid,
    pub hash: &'a [u8],
    pub client: Option<&'a str>,
    pub user_agent: Option<&'a str>,
    pub expires_at: Timestamp,
}

pub async fn insert_session(conn: &mut Conn<'_>, s: &NewSession<'_>, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, SESSION_INSERT, s.id, s.user_id, s.hash, s.client, s.user_agent, now, s.expires_at)
}

/// Of somebody who is not disabled; whether it has run out is for the caller to see.
pub async fn session_by_hash(conn: &mut Conn<'_>, hash: &[u8]) -> Result<Option<SessionRow>, DbError> {
    fetch_optional!(conn, SESSION_BY_HASH, SessionRow, hash)
}

pub async fn session_by_id(conn: &mut Conn<'_>, id: Uuid) -> Result<Option<SessionRow>, DbError> {
    fetch_optional!(conn, SESSION_BY_ID, SessionRow, id)
}

pub async fn sessions(conn: &mut Conn<'_>, before: Option<Uuid>, limit: i64) -> Result<Vec<SessionRow>, DbError> {
    fetch_all!(conn, SESSIONS_PAGE, SessionRow, before.unwrap_or(Uuid::max()), limit)
}

pub async fn session_used(conn: &mut Conn<'_>, id: Uuid, at: Timestamp) -> Result<(), DbError> {
    execute!(conn, SESSION_USED, id, at).map(drop)
}

/// False when there is no such session.
pub async fn end_session(conn: &mut Conn<'_>, id: Uuid) -> Result<bool, DbError> {
    Ok(execute!(conn, SESSION_DELETE, id)? == 1)
}

/// Ends all sessions of somebody, but for one that may stay.
pub async fn end_sessions_of(conn: &mut Conn<'_>, user: Uuid, but: Option<Uuid>) -> Result<u64, DbError> {
    execute!(conn, SESSIONS_DELETE_OF, user, but.unwrap_or(Uuid::nil()))
}

/// Forgets sessions that ran out, and those that were not used since.
pub async fn purge_sessions(conn: &mut Conn<'_>, now: Timestamp, unused_since: Timestamp) -> Result<u64, DbError> {
    execute!(conn, SESSIONS_PURGE, now, unused_since)
}
