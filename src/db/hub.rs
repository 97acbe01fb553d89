//! Facts about this database as a whole.

use super::conn::{Conn, execute, fetch_optional};
use super::error::DbError;
use super::sql::statements;

/// There while a database is a backup that was not started yet.
pub const IS_BACKUP: &str = "is_backup";

statements! {
    META_GET = both("SELECT value FROM hub_meta WHERE key = $1");
    META_INSERT_ONCE = both("INSERT INTO hub_meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING");
    META_SET = both("INSERT INTO hub_meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value");
    META_REMOVE = both("DELETE FROM hub_meta WHERE key = $1");
    PING = both("SELECT value FROM hub_meta WHERE key = 'generation'");
}

pub async fn get(conn: &mut Conn<'_>, key: &str) -> Result<Option<String>, DbError> {
    Ok(fetch_optional!(conn, META_GET, (String,), key)?.map(|row| row.0))
}

/// Sets a value unless one is there; the one that stands is the answer.
pub async fn get_or_insert(conn: &mut Conn<'_>, key: &str, value: &str) -> Result<String, DbError> {
    execute!(conn, META_INSERT_ONCE, key, value)?;
    get(conn, key).await?.ok_or_else(|| DbError::inconsistent("hub_meta", "key", key))
}

pub async fn set(conn: &mut Conn<'_>, key: &str, value: &str) -> Result<(), DbError> {
    execute!(conn, META_SET, key, value).map(drop)
}

/// Does the database answer, with our tables in it?
pub async fn ping(conn: &mut Conn<'_>) -> Result<bool, DbError> {
    Ok(fetch_optional!(conn, PING, (String,))?.is_some())
}

/// Sets a value unless one is there; whether it was set.
pub async fn insert_once(conn: &mut Conn<'_>, key: &str, value: &str) -> Result<bool, DbError> {
    Ok(execute!(conn, META_INSERT_ONCE, key, value)? == 1)
}

pub async fn remove(conn: &mut Conn<'_>, key: &str) -> Result<(), DbError> {
    execute!(conn, META_REMOVE, key).map(drop)
}
