//! Old bodies go. The row stays: its key still recognises the event when it is sent again, and the ledger points at it.

use std::time::Duration;

use uuid::Uuid;

use super::Tx;
use super::writer::Command;
use crate::db::{DbError, hub, webhooks};
use crate::domain::time::Timestamp;

/// Where the last purge came to, among the hub's own values.
const CURSOR: &str = "webhooks_purged_until";
/// Rows looked at in one transaction.
const BATCH: i64 = 200;

/// Empties the next old rows that need nobody any more; gives how many were looked at.
pub struct PurgeOld {
    pub keep: Duration,
}

impl Command for PurgeOld {
    /// Whether there is more.
    type Output = bool;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<bool, DbError> {
        let cutoff = tx.now.minus(self.keep);
        let nil = Uuid::nil().to_string();
        let cursor = hub::get_or_insert(&mut tx.conn, CURSOR, &nil).await?;
        let cursor = Uuid::parse_str(&cursor).unwrap_or_default();
        let aged = webhooks::aged(&mut tx.conn, cursor, before(cutoff), BATCH).await?;
        let Some(last) = aged.last() else { return Ok(false) };
        webhooks::empty(&mut tx.conn, &aged).await?;
        hub::set(&mut tx.conn, CURSOR, &last.uuid().to_string()).await?;
        Ok(aged.len() as i64 == BATCH)
    }
}

/// Less than every id made from this time on: ids begin with their millisecond.
fn before(time: Timestamp) -> Uuid {
    Uuid::from_u64_pair(u64::try_from(time.millis()).unwrap_or(0) << 16, 0)
}
