//! When tokens and sessions were last used. Noted in memory and written now and then: no request waits for it, and none costs a
//! write of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::db::{DbError, tokens, users};
use crate::domain::time::Timestamp;
use crate::pipeline::Tx;
use crate::pipeline::writer::{Command, Writer};
use crate::workers::More;

/// Uses closer together than this are one.
const GRAIN: Duration = Duration::from_secs(60);
/// Credentials noted between two writings at most; more are noted at their next use.
const NOTED_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    Token(Uuid),
    Session(Uuid),
}

#[derive(Clone, Default)]
pub struct Used(Arc<Mutex<HashMap<What, Timestamp>>>);

impl Used {
    /// `last`: what is stored.
    pub fn note(&self, what: What, last: Option<Timestamp>, now: Timestamp) {
        if last.is_some_and(|last| now < last.plus(GRAIN)) {
            return;
        }
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < NOTED_MAX || noted.contains_key(&what) {
            noted.insert(what, now);
        }
    }

    fn take(&self) -> HashMap<What, Timestamp> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A step of a worker: writes down what was noted.
    pub async fn write(&self, writer: &Writer) -> More {
        let noted = self.take();
        if !noted.is_empty()
            && let Err(error) = writer.run_patiently(Note(noted)).await
        {
            tracing::warn!(%error, "when tokens were used could not be written down");
        }
        More::Later
    }
}

struct Note(HashMap<What, Timestamp>);

impl Command for Note {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        for (what, at) in &self.0 {
            match what {
                What::Token(id) => tokens::used(&mut tx.conn, *id, *at).await?,
                What::Session(id) => users::session_used(&mut tx.conn, *id, *at).await?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_close_together_are_one() {
        let used = Used::default();
        let token = What::Token(Uuid::from_u128(1));
        let at = |s: i64| Timestamp::from_millis(s * 1_000);
        used.note(token, Some(at(0)), at(59));
        assert!(used.take().is_empty());
        used.note(token, Some(at(0)), at(60));
        used.note(What::Session(Uuid::from_u128(1)), None, at(61));
        assert_eq!(used.take().len(), 2);
    }
}
