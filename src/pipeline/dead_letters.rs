//! What gave up waits here for a person: back in line, or away with it.

use uuid::Uuid;

use super::writer::Command;
use super::{CommandError, Tx};
use crate::db::{DbError, alerts, sinks};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Retry,
    Discard,
}

/// A person's decision on one dead letter, of whatever kind its id is.
pub struct Decide {
    pub id: Uuid,
    pub verdict: Verdict,
}

#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    #[error("no such dead letter")]
    Unknown,
    #[error("a blocked push is a number somebody still has to be told")]
    NotDiscardable,
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for DeadLetterError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

impl Command for Decide {
    /// What kind it was.
    type Output = &'static str;
    type Error = DeadLetterError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<&'static str, DeadLetterError> {
        match self.verdict {
            Verdict::Retry => self.retry(tx).await,
            Verdict::Discard => self.discard(tx).await,
        }
    }
}

impl Decide {
    async fn retry(&self, tx: &mut Tx<'_>) -> Result<&'static str, DeadLetterError> {
        if let Some(sink) = sinks::retry_delivery(&mut tx.conn, self.id, tx.now).await? {
            tx.effects.events = true;
            handled(tx, sink).await?;
            return Ok("event");
        }
        if sinks::retry_webhook(&mut tx.conn, self.id).await? {
            return Ok("webhook");
        }
        let marketplace = sinks::retry_push(&mut tx.conn, self.id, tx.now).await?.ok_or(DeadLetterError::Unknown)?;
        tx.effects.to_push.insert(marketplace);
        Ok("push")
    }

    async fn discard(&self, tx: &mut Tx<'_>) -> Result<&'static str, DeadLetterError> {
        if let Some(sink) = sinks::discard_delivery(&mut tx.conn, self.id, tx.now).await? {
            handled(tx, sink).await?;
            return Ok("event");
        }
        if sinks::discard_webhook(&mut tx.conn, self.id, tx.now).await? {
            return Ok("webhook");
        }
        let blocked = sinks::is_blocked_push(&mut tx.conn, self.id).await?;
        Err(if blocked { DeadLetterError::NotDiscardable } else { DeadLetterError::Unknown })
    }
}

/// Somebody looks after this sink's letters: the next one may alert again.
async fn handled(tx: &mut Tx<'_>, sink: Uuid) -> Result<(), DbError> {
    let key = dead_letter_alert(sink);
    alerts::resolve(&mut tx.conn, [key.as_str()], tx.now).await.map(drop)
}

/// The key of the one alert that a sink has for its dead letters.
pub(super) fn dead_letter_alert(sink: Uuid) -> String {
    format!("event-dead-letter:{sink}")
}
