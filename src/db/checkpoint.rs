//! Moves pages from SQLite's write-ahead log into its file beside the writer, so that the writer itself finds little left to move
//! when the log is full. PostgreSQL does this by itself.

use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use super::{DatabaseUrl, Db, DbError};

/// A connection of its own: it takes no lock that a reader or the writer would wait for.
pub struct Checkpointer {
    conn: SqliteConnection,
    /// Pages in the log from which it is worth the trouble.
    from: i64,
}

impl Db {
    /// `None` where the database needs none.
    pub async fn checkpointer(&self) -> Result<Option<Checkpointer>, DbError> {
        if !matches!(self.options.url, DatabaseUrl::Sqlite(_)) {
            return Ok(None);
        }
        let connected = self.options.sqlite().create_if_missing(false).connect().await;
        let conn = connected.map_err(|error| DbError::from_sqlx("open the checkpointer", error))?;
        // The last quarter is left for the pages that are written while the others are moved.
        Ok(Some(Checkpointer { conn, from: i64::from(self.options.wal_autocheckpoint_pages) * 3 / 4 }))
    }
}

impl Checkpointer {
    /// Moves what there is, if it is much; gives how many pages of the log were not in the file before.
    pub async fn step(&mut self) -> Result<i64, DbError> {
        let (logged, moved) = self.run("PRAGMA wal_checkpoint(NOOP)").await?;
        if logged - moved < self.from {
            return Ok(0);
        }
        self.run("PRAGMA wal_checkpoint(PASSIVE)").await?;
        Ok(logged - moved)
    }

    /// Pages in the log, and how many of them are in the file.
    async fn run(&mut self, text: &'static str) -> Result<(i64, i64), DbError> {
        let row = sqlx::query(text).fetch_one(&mut self.conn).await.map_err(|error| DbError::from_sqlx(text, error))?;
        let number = |at: usize| row.try_get::<i64, _>(at).map_err(|error| DbError::from_sqlx(text, error));
        Ok((number(1)?, number(2)?))
    }

    pub async fn close(self) {
        if let Err(error) = self.conn.close().await {
            tracing::debug!(%error, "the checkpointer did not close cleanly");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{DbOptions, hub};
    use super::*;

    #[tokio::test]
    async fn pages_are_moved_when_there_are_many() {
        let folder = tempfile::tempdir().unwrap();
        let options = DbOptions {
            url: DatabaseUrl::parse(&format!("sqlite://{}", folder.path().join("wal.db").display())).unwrap(),
            readers: 1,
            busy_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            wal_autocheckpoint_pages: 1_000_000,
        };
        let (db, mut writer) = Db::open(options).await.unwrap();
        let mut checkpointer = db.checkpointer().await.unwrap().expect("SQLite has a log");
        assert_eq!(checkpointer.step().await.unwrap(), 0, "little was written, and it is left to the writer");
        checkpointer.from = 1;
        writer.begin().await.unwrap();
        hub::set(&mut writer.conn(), "a key", "a value").await.unwrap();
        writer.commit().await.unwrap();
        assert!(checkpointer.step().await.unwrap() > 0);
        assert_eq!(checkpointer.step().await.unwrap(), 0, "all of it is in the file");
        checkpointer.close().await;
        db.close().await;
        writer.close().await;
    }
}
