//! Tables of products, listings, rules and counts. A table is received and checked whole before any of it counts; from the moment it is accepted it
//! is applied to the end, a stretch of rows per transaction, so that sales never wait for it, and a kill only pauses it.

pub mod counts;
pub mod listings;
pub mod products;
pub mod rules;

use uuid::Uuid;

use super::writer::{Command, Writer};
use super::{CommandError, Tx};
use crate::context::Question;
use crate::db::imports::{self, Counts, ImportRow};
use crate::db::tokens::{self, Audit, RequestKey};
use crate::db::{Conn, Db, DbError};
use crate::workers::More;
use std::time::Duration;

/// Rows checked or staged together.
pub const STRETCH: usize = 500;
/// Rows applied in one transaction: a sale waits for no more than these. A command runs under a savepoint, and SQLite gets slower
/// with every page that was changed under one, so that more rows at once would not even be quicker.
const APPLIED: i64 = 125;
/// What is still being received after this was left.
const STALE: Duration = Duration::from_secs(3_600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Products,
    Listings,
    Rules,
    Counts,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Products => "products",
            Self::Listings => "listings",
            Self::Rules => "rules",
            Self::Counts => "counts",
        }
    }

    /// What the audit log calls it.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Products => "products.import",
            Self::Listings => "listings.import",
            Self::Rules => "rules.import",
            Self::Counts => "counts.import",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("there is no such import")]
    Unknown,
    #[error("the key was used with another table")]
    KeyReused,
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for ImportError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

/// Keeps a stretch of checked rows; the first one begins the import.
pub struct Stage {
    pub id: Option<Uuid>,
    pub kind: Kind,
    pub rows: Vec<(i64, String)>,
    pub actor: String,
}

impl Command for Stage {
    type Output = Uuid;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Uuid, DbError> {
        let id = match self.id {
            Some(id) => id,
            None => {
                let id: Uuid = tx.id();
                imports::begin(&mut tx.conn, id, self.kind.as_str(), &self.actor, tx.now).await?;
                id
            }
        };
        imports::stage(&mut tx.conn, id, &self.rows).await?;
        Ok(id)
    }
}

/// From here on it is applied. Gives which: the same table under the same key is the one that was accepted then.
pub struct Accept {
    pub id: Uuid,
    pub actor: String,
    pub action: &'static str,
    pub rows: i64,
    pub request_id: String,
    pub key: Option<RequestKey>,
}

impl Command for Accept {
    type Output = Uuid;
    type Error = ImportError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Uuid, ImportError> {
        if let Some(key) = &self.key {
            if let Some(accepted) = accepted(&mut tx.conn, key).await? {
                imports::discard(&mut tx.conn, self.id).await?;
                return Ok(accepted);
            }
            tokens::keep_answer(&mut tx.conn, key, 200, &self.id.to_string(), tx.now).await?;
        }
        imports::accept(&mut tx.conn, self.id).await?;
        let audit = Audit {
            id: tx.id(),
            actor: &self.actor,
            action: self.action,
            target: Some(&self.id.to_string()),
            details: &serde_json::json!({"rows": self.rows}).to_string(),
            request_id: Some(&self.request_id),
        };
        tokens::audit(&mut tx.conn, &audit, tx.now).await?;
        Ok(self.id)
    }
}

/// Which import was accepted under a key, if any. What became of it stands with the import: it is what is answered again.
async fn accepted(conn: &mut Conn<'_>, key: &RequestKey) -> Result<Option<Uuid>, ImportError> {
    let Some(kept) = tokens::kept_answer(conn, key).await? else { return Ok(None) };
    if kept.request_hash != key.hash {
        return Err(ImportError::KeyReused);
    }
    let id = kept.response_body.unwrap_or_default();
    Uuid::parse_str(&id).map(Some).map_err(|_| DbError::inconsistent("idempotency_keys", "response_body", id).into())
}

/// Asks for it.
pub struct WasAccepted(pub RequestKey);

impl Question for WasAccepted {
    type Answer = Result<Option<Uuid>, ImportError>;

    async fn ask(self, conn: &mut Conn<'_>) -> Result<Self::Answer, DbError> {
        Ok(accepted(conn, &self.0).await)
    }
}

/// It shall not be: as if it had never come.
pub struct Discard(pub Uuid);

impl Command for Discard {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        imports::discard(&mut tx.conn, self.0).await
    }
}

/// Applies the next stretch; `Some` when that was the last.
pub struct ApplyNext(pub Uuid);

impl Command for ApplyNext {
    type Output = Option<Counts>;
    type Error = ImportError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Option<Counts>, ImportError> {
        let import = imports::lock(&mut tx.conn, self.0).await?.ok_or(ImportError::Unknown)?;
        if import.state == "applied" {
            return Ok(Some(in_all(&import)));
        }
        let rows = imports::next_rows(&mut tx.conn, self.0, import.next_row, APPLIED).await?;
        let Some(last) = rows.last() else {
            imports::end(&mut tx.conn, self.0, tx.now).await?;
            return Ok(Some(in_all(&import)));
        };
        let next = last.n + 1;
        let rows: Vec<(i64, String)> = rows.into_iter().map(|row| (row.n, row.data)).collect();
        let done = match import.kind.as_str() {
            "products" => products::apply(tx, &import, &rows).await?,
            "rules" => rules::apply(tx, &import, &rows).await?,
            "counts" => counts::apply(tx, &import, &rows).await?,
            _ => listings::apply(tx, &import, &rows).await?,
        };
        imports::advance(&mut tx.conn, self.0, next, done).await?;
        Ok(None)
    }
}

fn in_all(import: &ImportRow) -> Counts {
    Counts { created: import.created, updated: import.updated, unchanged: import.unchanged, skipped: import.skipped }
}

fn row_of<T: serde::de::DeserializeOwned>(data: &str) -> Result<T, DbError> {
    serde_json::from_str(data).map_err(|_| DbError::inconsistent("import_rows", "data", data))
}

struct PurgeStale;

impl Command for PurgeStale {
    type Output = u64;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<u64, DbError> {
        imports::purge_stale(&mut tx.conn, tx.now.minus(STALE)).await
    }
}

/// A step of a worker: goes on with what was accepted and not finished.
pub async fn step(db: &Db, writer: &Writer) -> More {
    match look(db, writer).await {
        Ok(more) => more,
        Err(error) => {
            tracing::warn!(%error, "an import does not go on; tried again");
            More::Later
        }
    }
}

async fn look(db: &Db, writer: &Writer) -> Result<More, Box<dyn std::error::Error + Send + Sync>> {
    let mut reader = db.read().await?;
    let open = imports::oldest_accepted(&mut reader.conn()).await?;
    drop(reader);
    match open {
        Some(id) => {
            writer.run_patiently(ApplyNext(id)).await?;
            Ok(More::Now)
        }
        None => Ok(More::Later),
    }
}

/// A step of a worker: forgets what nobody sends any more.
pub async fn purge(writer: &Writer) -> More {
    if let Err(error) = writer.run_patiently(PurgeStale).await {
        tracing::warn!(%error, "imports that were broken off could not be forgotten");
    }
    More::Later
}
