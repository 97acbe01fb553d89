//! Logged rows once more: one, or many by filter. Rows are only put back in line; applying them is the same step that retries,
//! and as an order's effect is what it implies less what is posted, nothing is ever applied twice.

use std::time::Duration;

use super::writer::{Command, Writer};
use super::{CommandError, Tx};
use crate::db::DbError;
use crate::db::webhooks::{self, Selection};
use crate::domain::ids::WebhookId;

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("there is no such webhook")]
    Unknown,
    #[error("it waits to be applied already")]
    Waiting,
    #[error("its body was purged after the retention time")]
    Purged,
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for ReplayError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

/// Puts one row back in line, whatever became of it before.
pub struct ReplayOne(pub WebhookId);

impl Command for ReplayOne {
    type Output = ();
    type Error = ReplayError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), ReplayError> {
        let view = webhooks::get(&mut tx.conn, self.0).await?.ok_or(ReplayError::Unknown)?;
        if matches!(view.status.as_str(), "pending" | "retry") {
            return Err(ReplayError::Waiting);
        }
        if webhooks::requeue(&mut tx.conn, &[self.0]).await? == 0 { Err(ReplayError::Purged) } else { Ok(()) }
    }
}

/// How many rows a filter means. Also the audit row of a bulk replay.
pub struct CountReplay(pub Selection);

impl Command for CountReplay {
    type Output = i64;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<i64, DbError> {
        webhooks::count_selected(&mut tx.conn, &self.0).await
    }
}

/// Puts the next rows of a filter back in line, oldest first.
struct ReplayNext {
    selection: Selection,
    after: Option<WebhookId>,
}

/// Rows put back in line at once, and the pause after them: 1,000 a second at most, so that what comes in keeps its place.
const BATCH: i64 = 100;
const PAUSE: Duration = Duration::from_millis(100);

impl Command for ReplayNext {
    type Output = Option<WebhookId>;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Option<WebhookId>, DbError> {
        let ids = webhooks::selected(&mut tx.conn, &self.selection, self.after, BATCH).await?;
        webhooks::requeue(&mut tx.conn, &ids).await?;
        Ok(ids.last().copied())
    }
}

/// Works through a filter. Every row is taken once: the cursor only goes forward.
pub async fn replay_all(writer: Writer, selection: Selection, stop: tokio_util::sync::CancellationToken) {
    let mut after = None;
    while !stop.is_cancelled() {
        let next = ReplayNext { selection: selection.clone(), after };
        match writer.run_patiently(next).await {
            Ok(Some(last)) => after = Some(last),
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "a bulk replay stopped; what it had not reached is as it was");
                return;
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
