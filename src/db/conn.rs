//! A connection to either database, and the four ways to run a statement on it.
//!
//! Every function of this folder takes `&mut Conn` and none begins or commits: how far a transaction reaches is read in
//! `pipeline/` alone. The macros stamp one body over both drivers; each bound value is evaluated once.

use sqlx::{PgConnection, SqliteConnection};

use super::sql::Dialect;

pub enum Conn<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Conn<'_> {
    /// The same connection, on loan for less long.
    pub fn again(&mut self) -> Conn<'_> {
        match self {
            Conn::Sqlite(c) => Conn::Sqlite(c),
            Conn::Postgres(c) => Conn::Postgres(c),
        }
    }

    pub fn dialect(&self) -> Dialect {
        match self {
            Conn::Sqlite(_) => Dialect::Sqlite,
            Conn::Postgres(_) => Dialect::Postgres,
        }
    }
}

/// Runs one method of a prepared query on whichever database this is.
macro_rules! run {
    ($conn:expr, $sql:expr, $query:ident $(::<$row:ty>)?, $method:ident $(, $bind:expr)* $(,)?) => {{
        let statement: &'static $crate::db::sql::Sql = &$sql;
        let conn: &mut $crate::db::conn::Conn<'_> = $conn;
        let text = statement.text(conn.dialect());
        $crate::db::tally::statement();
        match conn {
            $crate::db::conn::Conn::Sqlite(c) =>
                sqlx::$query::<sqlx::Sqlite $(, $row)?>(text)$(.bind($bind))*.$method(&mut **c).await.map(|done| done.into()),
            $crate::db::conn::Conn::Postgres(c) =>
                sqlx::$query::<sqlx::Postgres $(, $row)?>(text)$(.bind($bind))*.$method(&mut **c).await.map(|done| done.into()),
        }
        .map_err(|error| $crate::db::error::DbError::from_sqlx(statement.name, error))
    }};
}

macro_rules! fetch_all {
    ($conn:expr, $sql:expr, $row:ty $(, $bind:expr)* $(,)?) => {{
        let rows: Result<Vec<$row>, $crate::db::error::DbError> =
            $crate::db::conn::run!($conn, $sql, query_as::<$row>, fetch_all $(, $bind)*);
        rows
    }};
}

macro_rules! fetch_optional {
    ($conn:expr, $sql:expr, $row:ty $(, $bind:expr)* $(,)?) => {{
        let row: Result<Option<$row>, $crate::db::error::DbError> =
            $crate::db::conn::run!($conn, $sql, query_as::<$row>, fetch_optional $(, $bind)*);
        row
    }};
}

macro_rules! fetch_one {
    ($conn:expr, $sql:expr, $row:ty $(, $bind:expr)* $(,)?) => {{
        let row: Result<$row, $crate::db::error::DbError> =
            $crate::db::conn::run!($conn, $sql, query_as::<$row>, fetch_one $(, $bind)*);
        row
    }};
}

/// Rows changed, whichever driver counted them.
pub(super) struct Changed(pub(super) u64);

impl From<sqlx::sqlite::SqliteQueryResult> for Changed {
    fn from(done: sqlx::sqlite::SqliteQueryResult) -> Self {
        Self(done.rows_affected())
    }
}

impl From<sqlx::postgres::PgQueryResult> for Changed {
    fn from(done: sqlx::postgres::PgQueryResult) -> Self {
        Self(done.rows_affected())
    }
}

/// Gives the number of rows changed.
macro_rules! execute {
    ($conn:expr, $sql:expr $(, $bind:expr)* $(,)?) => {{
        let done: Result<$crate::db::conn::Changed, $crate::db::error::DbError> =
            $crate::db::conn::run!($conn, $sql, query, execute $(, $bind)*);
        done.map(|changed| changed.0)
    }};
}

/// A statement that must change exactly so many rows; anything else is a mistake, not silence.
macro_rules! execute_exactly {
    ($wanted:expr, $conn:expr, $sql:expr $(, $bind:expr)* $(,)?) => {{
        let wanted = $wanted as u64;
        match $crate::db::conn::execute!($conn, $sql $(, $bind)*) {
            Ok(changed) if changed == wanted => Ok(()),
            Ok(changed) => Err($crate::db::error::DbError::RowCount { statement: $sql.name, changed, wanted }),
            Err(error) => Err(error),
        }
    }};
}

/// A row by column names, decoded the same way from both databases.
macro_rules! row {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty),* $(,)? }) => {
        $(#[$meta])*
        $vis struct $name { $($(#[$field_meta])* $field_vis $field: $type),* }

        $crate::db::conn::row!(@from $name, sqlx::sqlite::SqliteRow, $($field),*);
        $crate::db::conn::row!(@from $name, sqlx::postgres::PgRow, $($field),*);
    };
    (@from $name:ident, $row:ty, $($field:ident),*) => {
        impl<'r> sqlx::FromRow<'r, $row> for $name {
            fn from_row(row: &'r $row) -> Result<Self, sqlx::Error> {
                use sqlx::Row as _;
                Ok(Self { $($field: row.try_get(stringify!($field))?),* })
            }
        }
    };
}

pub(super) use {execute, execute_exactly, fetch_all, fetch_one, fetch_optional, row, run};
