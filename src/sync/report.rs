//! What is written down of polls: a failure once per series and with an alert, a success where it brought something.

use std::sync::Arc;

use serde_json::json;

use super::Sync;
use super::page::Brought;
use crate::db::alerts::{self, NewAlert};
use crate::db::sync::{self, DoneRun};
use crate::db::{DbError, polls};
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::pipeline::Tx;
use crate::pipeline::writer::Command;

/// A page that could not be read. The cursor stays where it is.
pub(super) struct PollFailed {
    pub connection: Arc<Connection>,
    pub kind: &'static str,
    pub began: Timestamp,
    pub calls: i64,
    pub why: String,
}

impl Command for PollFailed {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let (id, code) = (self.connection.id, &self.connection.code);
        sync::add_calls(&mut tx.conn, [(id, self.kind, self.calls.min(1))], tx.now).await?;
        let alert = NewAlert {
            id: tx.id(),
            kind: "poll-failed",
            severity: "warning",
            dedup_key: key(self.kind, code),
            product_id: None,
            marketplace_id: Some(id),
            message: format!("{code}: its orders cannot be read ({}): {}", self.kind, self.why),
        };
        // One row for a series of failures: the alert that is open says that there was one before.
        let first = alerts::open_once(&mut tx.conn, &[alert], tx.now).await? > 0;
        let error: String = self.why.chars().take(500).collect();
        let standing = if first { None } else { sync::newest_failed(&mut tx.conn, id, self.kind).await? };
        match standing {
            Some((row, counts)) => {
                let before = serde_json::from_str::<serde_json::Value>(&counts).unwrap_or_default();
                let failures = before["failures"].as_i64().unwrap_or(1) + 1;
                sync::failed_again(&mut tx.conn, row, &json!({ "failures": failures }).to_string(), &error, tx.now).await
            }
            None => {
                let counts = json!({ "failures": 1 }).to_string();
                let done = self.done(tx.id(), "failed", &counts, Some(&error));
                sync::insert_done(&mut tx.conn, &done, tx.now).await
            }
        }
    }
}

impl PollFailed {
    fn done<'a>(&'a self, id: uuid::Uuid, status: &'a str, counts: &'a str, error: Option<&'a str>) -> DoneRun<'a> {
        DoneRun {
            id,
            marketplace_id: self.connection.id,
            kind: self.kind,
            trigger_type: "scheduled",
            status,
            counts,
            api_calls: self.calls,
            error,
            started_at: self.began,
        }
    }
}

/// A poll that came to its end.
pub(super) struct PollEnded {
    pub connection: Arc<Connection>,
    pub kind: &'static str,
    pub began: Timestamp,
    pub calls: i64,
    pub tally: Brought,
}

impl Command for PollEnded {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let (id, code) = (self.connection.id, &self.connection.code);
        alerts::resolve(&mut tx.conn, [key(self.kind, code).as_str()], tx.now).await?;
        if self.tally.unreadable > 0 {
            let alert = NewAlert {
                id: tx.id(),
                kind: "order-unreadable",
                severity: "warning",
                dedup_key: format!("order-unreadable:{code}"),
                product_id: None,
                marketplace_id: Some(id),
                message: format!("{code}: {} orders of a page cannot be read; they are in the log", self.tally.unreadable),
            };
            alerts::open_once(&mut tx.conn, &[alert], tx.now).await?;
        }
        if self.tally.new == 0 {
            return Ok(());
        }
        let counts =
            json!({ "new": self.tally.new, "unreadable": self.tally.unreadable, "missed_by_webhook": self.tally.missing });
        let done = DoneRun {
            id: tx.id(),
            marketplace_id: id,
            kind: self.kind,
            trigger_type: "scheduled",
            status: "succeeded",
            counts: &counts.to_string(),
            api_calls: self.calls,
            error: None,
            started_at: self.began,
        };
        sync::insert_done(&mut tx.conn, &done, tx.now).await
    }
}

fn key(kind: &str, code: &str) -> String {
    format!("{kind}-failed:{code}")
}

impl Sync {
    /// Writes a report. That it could not be written changes nothing that was read.
    pub(super) async fn note<C: Command<Error = DbError, Output = ()>>(&self, connection: &Connection, report: C) {
        if let Err(error) = self.writer.run_patiently(report).await {
            tracing::warn!(marketplace = %connection.code, %error, "a poll could not be reported");
        }
    }

    /// Until when the orders of an account are known.
    pub async fn drained_at(&self, connection: &Connection) -> Result<Option<Timestamp>, DbError> {
        let id = connection.id;
        let state = crate::ask!(self, polls::PollState, [id: crate::domain::ids::MarketplaceId = id] |conn| {
            polls::state(conn, id).await
        })?;
        Ok(state.orders_drained_at)
    }
}
