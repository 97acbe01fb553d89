//! The database room: the only folder that names sqlx.
//!
//! SQLite (embedded) or PostgreSQL, chosen by the URL. One write connection, owned by the pipeline's writer; readers apart. One
//! function per statement, each taking `&mut Conn`; none begins or commits.

mod checkpoint;
mod conn;
pub mod error;
mod migrate;
pub mod tally;
#[cfg(test)]
mod plans;
mod span;
pub mod sql;
mod types;
mod url;

pub mod accounts;
pub mod alerts;
pub mod history;
pub mod events;
pub mod filling;
pub mod analytics;
pub mod hub;
pub mod imports;
pub mod inventory;
pub mod leases;
pub mod listings;
pub mod marketplaces;
pub mod movements;
pub mod observations;
pub mod orders;
pub mod places;
pub mod polls;
pub mod products;
pub mod push_checks;
pub mod push_attempts;
pub mod pushes;
pub mod reservations;
pub mod rules;
pub mod sales;
pub mod secrets;
pub mod sinks;
pub mod sync;
pub mod timeline;
pub mod tokens;
pub mod users;
pub mod verify;
pub mod webhooks;

use std::fs::File;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool};

pub use checkpoint::Checkpointer;
pub use conn::Conn;
pub use error::DbError;
pub use span::Ids;
pub use url::{DatabaseUrl, UrlError};

use crate::breakage::{self, Breakage};
use sql::{Dialect, Sql};

/// KiB of pages the SQLite writer keeps. With less than a group of writes touches, pages are read and written again and again
/// within one transaction; more is never used than the database has.
const WRITE_CACHE_KIB: u32 = 128 * 1024;
/// Rows of an answer that may be under way from the database's thread to ours: with room for all of them neither waits.
const WRITE_ROWS: usize = 1_024;

/// What the room needs to know of the settings.
#[derive(Clone, Debug)]
pub struct DbOptions {
    pub url: DatabaseUrl,
    pub readers: u32,
    pub busy_timeout: Duration,
    pub connect_timeout: Duration,
    pub wal_autocheckpoint_pages: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open {url}: {source}")]
    Connect { url: String, source: sqlx::Error },
    #[error("cannot bring {url} to this version's tables: {source}")]
    Migrate { url: String, source: sqlx::migrate::MigrateError },
    #[error(
        "{url} was written by a newer stockhub (it has migration {found}, this one knows {known}): use that version, nothing was changed"
    )]
    Newer { url: String, found: i64, known: i64 },
    #[error("another stockhub is using {path}: stop it first, or talk to it over its API")]
    Locked { path: String },
    #[error("cannot use the lock file {path}: {source}")]
    LockFile { path: String, source: std::io::Error },
    #[error("{url} has no tables yet: run `stockhub migrate` or start the hub once")]
    Empty { url: String },
    #[error(transparent)]
    Read(#[from] DbError),
}

/// Readers, and what is needed to open the writer.
#[derive(Clone)]
pub struct Db {
    options: DbOptions,
    readers: Readers,
}

#[derive(Clone)]
enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A read connection on loan from the pool.
pub enum Reader {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// The write connection. On SQLite it holds the file lock that keeps a second hub out; a kill -9 frees it.
pub enum WriteConnection {
    Sqlite { conn: SqliteConnection, _lock: Option<File> },
    Postgres { conn: PgConnection },
}

impl Db {
    /// Migrates the schema, then opens the readers. One node at a time migrates.
    pub async fn open(options: DbOptions) -> Result<(Self, WriteConnection), OpenError> {
        let mut writer = WriteConnection::open(&options).await?;
        migrate::run(&mut writer, &options.url).await?;
        let db = Self::open_readers(options).await?;
        Ok((db, writer))
    }

    /// Opens an existing database for reading only: what `verify` and `explain` do beside a running hub.
    pub async fn open_readers(options: DbOptions) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Connect { url: options.url.to_string(), source };
        let readers = match &options.url {
            DatabaseUrl::Sqlite(_) => Readers::Sqlite(
                sqlx::sqlite::SqlitePoolOptions::new()
                    .max_connections(options.readers)
                    .acquire_timeout(options.connect_timeout)
                    .connect_with(options.sqlite().read_only(true).create_if_missing(false))
                    .await
                    .map_err(failed)?,
            ),
            DatabaseUrl::Postgres(url) => Readers::Postgres(
                sqlx::postgres::PgPoolOptions::new()
                    .max_connections(options.readers)
                    .acquire_timeout(options.connect_timeout)
                    // How a list is best found depends on what is asked for. The plan that is kept for any question after a few
                    // reads whole tables for what is rare.
                    .after_connect(|conn, _| {
                        Box::pin(
                            async move { sqlx::raw_sql("SET plan_cache_mode = force_custom_plan").execute(conn).await.map(drop) },
                        )
                    })
                    .connect_with(url.options())
                    .await
                    .map_err(failed)?,
            ),
        };
        let db = Self { options, readers };
        migrate::check(&db).await?;
        Ok(db)
    }

    pub async fn read(&self) -> Result<Reader, DbError> {
        let failed = |error| DbError::from_sqlx("acquire a reader", error);
        Ok(match &self.readers {
            Readers::Sqlite(pool) => Reader::Sqlite(pool.acquire().await.map_err(failed)?),
            Readers::Postgres(pool) => Reader::Postgres(pool.acquire().await.map_err(failed)?),
        })
    }

    /// A fresh write connection, after the old one broke.
    pub async fn reopen_writer(&self, old: &mut WriteConnection) -> Result<(), OpenError> {
        let failed = |source| OpenError::Connect { url: self.options.url.to_string(), source };
        match old {
            WriteConnection::Sqlite { conn, .. } => *conn = self.options.sqlite_writer().connect().await.map_err(failed)?,
            WriteConnection::Postgres { conn } => *conn = self.options.postgres_writer().await.map_err(failed)?,
        }
        Ok(())
    }

    /// A consistent copy of a SQLite database into a new file, while others read and write it. The copy knows that it is one.
    pub async fn copy_to(&self, file: &std::path::Path) -> Result<(), OpenError> {
        let failed = |source| OpenError::Connect { url: file.display().to_string(), source };
        let name = file.to_string_lossy().into_owned();
        // A connection of its own: one that may only read could not write the copy. Of the database itself it only reads.
        let mut conn = self.options.sqlite().create_if_missing(false).connect().await.map_err(failed)?;
        sqlx::query("VACUUM INTO ?1").bind(&name).execute(&mut conn).await.map_err(failed)?;
        conn.close().await.map_err(failed)?;
        // In the journal mode that readers ask for: one who may only read could not change it.
        let options = DbOptions { url: DatabaseUrl::Sqlite(name), ..self.options.clone() };
        let mut copy = options.sqlite().create_if_missing(false).connect().await.map_err(failed)?;
        hub::set(&mut Conn::Sqlite(&mut copy), hub::IS_BACKUP, "1").await?;
        copy.close().await.map_err(failed)
    }

    pub fn url(&self) -> &DatabaseUrl {
        &self.options.url
    }

    pub async fn close(&self) {
        match &self.readers {
            Readers::Sqlite(pool) => pool.close().await,
            Readers::Postgres(pool) => pool.close().await,
        }
    }
}

impl DbOptions {
    fn sqlite(&self) -> sqlx::sqlite::SqliteConnectOptions {
        use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
        let DatabaseUrl::Sqlite(path) = &self.url else { return SqliteConnectOptions::new() };
        SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An answer of 200 must survive a power cut: every commit is on the disk before it is answered.
            .synchronous(if breakage::is(Breakage::SyncNormal) { SqliteSynchronous::Normal } else { SqliteSynchronous::Full })
            .foreign_keys(true)
            .busy_timeout(self.busy_timeout)
            .statement_cache_capacity(512)
            .pragma("trusted_schema", "OFF")
            .pragma("temp_store", "MEMORY")
            .pragma("wal_autocheckpoint", self.wal_autocheckpoint_pages.to_string())
            .disable_statement_logging()
    }

    fn sqlite_writer(&self) -> sqlx::sqlite::SqliteConnectOptions {
        // Negative: KiB instead of pages.
        self.sqlite().pragma("cache_size", format!("-{WRITE_CACHE_KIB}")).row_buffer_size(WRITE_ROWS)
    }

    async fn postgres_writer(&self) -> Result<PgConnection, sqlx::Error> {
        let DatabaseUrl::Postgres(url) = &self.url else { return Err(sqlx::Error::PoolClosed) };
        let options = url.options().statement_cache_capacity(512).disable_statement_logging();
        let connected = tokio::time::timeout(self.connect_timeout, options.connect()).await;
        let mut conn = connected.map_err(|_| sqlx::Error::PoolTimedOut)??;
        // The server may be set otherwise; a 200 is a promise either way.
        sqlx::raw_sql("SET synchronous_commit = on; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s'")
            .execute(&mut conn)
            .await?;
        Ok(conn)
    }
}

impl WriteConnection {
    async fn open(options: &DbOptions) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Connect { url: options.url.to_string(), source };
        match &options.url {
            DatabaseUrl::Sqlite(path) => {
                let lock = take_file_lock(&format!("{path}.lock"))?;
                let conn = options.sqlite_writer().connect().await.map_err(failed)?;
                Ok(Self::Sqlite { conn, _lock: Some(lock) })
            }
            DatabaseUrl::Postgres(_) => Ok(Self::Postgres { conn: options.postgres_writer().await.map_err(failed)? }),
        }
    }

    pub fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite { conn, .. } => Conn::Sqlite(conn),
            Self::Postgres { conn } => Conn::Postgres(conn),
        }
    }

    pub async fn begin(&mut self) -> Result<(), DbError> {
        tally::transaction();
        match self.conn().dialect() {
            // The write lock is taken now: a later upgrade from reading could fail with BUSY and ignore the busy timeout.
            Dialect::Sqlite => self.plain("begin", "BEGIN IMMEDIATE").await,
            Dialect::Postgres => self.plain("begin", "BEGIN").await,
        }
    }

    pub async fn commit(&mut self) -> Result<(), DbError> {
        self.plain("commit", "COMMIT").await
    }

    /// A full disk has already rolled SQLite back, and then says so: that is what was wanted.
    pub async fn rollback(&mut self) {
        if let Err(error) = self.plain("rollback", "ROLLBACK").await {
            tracing::debug!(%error, "rollback was not needed or not possible");
        }
    }

    /// Whether it still answers. A full disk is not a lost connection.
    pub async fn is_alive(&mut self) -> bool {
        let answered = match self {
            Self::Sqlite { conn, .. } => conn.ping().await,
            Self::Postgres { conn } => conn.ping().await,
        };
        answered.is_ok()
    }

    async fn plain(&mut self, name: &'static str, text: &'static str) -> Result<(), DbError> {
        plain(&mut self.conn(), name, text).await
    }

    pub async fn close(self) {
        let closed = match self {
            Self::Sqlite { conn, .. } => conn.close().await,
            Self::Postgres { conn } => conn.close().await,
        };
        if let Err(error) = closed {
            tracing::debug!(%error, "the write connection did not close cleanly");
        }
    }
}

impl Reader {
    pub fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(conn) => Conn::Sqlite(conn),
            Self::Postgres(conn) => Conn::Postgres(conn),
        }
    }

    /// One consistent picture for several statements. End it with [`Reader::end_snapshot`]; only tasks that are never dropped
    /// half-way may call this (a cancelled BEGIN would go back into the pool open).
    pub async fn begin_snapshot(&mut self) -> Result<(), DbError> {
        let mut conn = self.conn();
        match conn.dialect() {
            Dialect::Sqlite => plain(&mut conn, "begin snapshot", "BEGIN DEFERRED").await,
            Dialect::Postgres => plain(&mut conn, "begin snapshot", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await,
        }
    }

    pub async fn end_snapshot(&mut self) -> Result<(), DbError> {
        plain(&mut self.conn(), "end snapshot", "COMMIT").await
    }
}

pub async fn savepoint(conn: &mut Conn<'_>) -> Result<(), DbError> {
    plain(conn, "savepoint", "SAVEPOINT step").await
}

pub async fn release_savepoint(conn: &mut Conn<'_>) -> Result<(), DbError> {
    plain(conn, "release savepoint", "RELEASE SAVEPOINT step").await
}

pub async fn rollback_to_savepoint(conn: &mut Conn<'_>) -> Result<(), DbError> {
    plain(conn, "rollback to savepoint", "ROLLBACK TO SAVEPOINT step").await?;
    plain(conn, "release savepoint", "RELEASE SAVEPOINT step").await
}

async fn plain(conn: &mut Conn<'_>, name: &'static str, text: &'static str) -> Result<(), DbError> {
    let done = match conn {
        Conn::Sqlite(c) => sqlx::query(text).execute(&mut **c).await.map(drop),
        Conn::Postgres(c) => sqlx::query(text).persistent(false).execute(&mut **c).await.map(drop),
    };
    done.map_err(|error| DbError::from_sqlx(name, error))
}

fn take_file_lock(path: &str) -> Result<File, OpenError> {
    let opened = File::options().create(true).truncate(false).write(true).open(path);
    let file = opened.map_err(|source| OpenError::LockFile { path: path.into(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.into() }),
        Err(std::fs::TryLockError::Error(source)) => Err(OpenError::LockFile { path: path.into(), source }),
    }
}

/// Every statement of the room: what the prepare-all test walks.
pub fn all_statements() -> impl Iterator<Item = &'static Sql> {
    [
        accounts::ALL,
        alerts::ALL,
        history::ALL,
        events::ALL,
        filling::ALL,
        analytics::ALL,
        hub::ALL,
        imports::ALL,
        inventory::ALL,
        leases::ALL,
        listings::ALL,
        marketplaces::ALL,
        movements::ALL,
        observations::ALL,
        orders::ALL,
        places::ALL,
        polls::ALL,
        products::ALL,
        push_checks::ALL,
        push_attempts::ALL,
        pushes::ALL,
        reservations::ALL,
        sales::ALL,
        secrets::ALL,
        sinks::ALL,
        sync::ALL,
        rules::ALL,
        timeline::ALL,
        tokens::ALL,
        users::ALL,
        verify::ALL,
        webhooks::ALL,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// Prepares one statement without running it.
pub async fn prepare(conn: &mut Conn<'_>, statement: &'static Sql) -> Result<(), DbError> {
    use sqlx::{Executor as _, SqlSafeStr as _};
    let text = statement.text(conn.dialect()).into_sql_str();
    let prepared = match conn {
        Conn::Sqlite(c) => c.prepare(text).await.map(drop),
        Conn::Postgres(c) => c.prepare(text).await.map(drop),
    };
    prepared.map_err(|error| DbError::from_sqlx(statement.name, error))
}
