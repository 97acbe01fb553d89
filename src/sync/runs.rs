//! Runs: asked for in a table on any node or by a command, taken up by whoever owns the account, followed while they last.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::page::{PageError, own};
use super::{Owner, Sync, read};
use crate::db::sync::{self, Finished, NewRun, OpenRun};
use crate::db::{DbError, alerts, marketplaces};
use crate::domain::ids::ListingId;
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::marketplaces::connection::Status;
use crate::pipeline::writer::{Command, WriteError};
use crate::pipeline::{CommandError, Tx};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    BulkRead,
    Refresh,
    Reconciliation,
    Doctor,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Doctor, Self::Refresh, Self::BulkRead, Self::Reconciliation];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BulkRead => "bulk_read",
            Self::Refresh => "refresh",
            Self::Reconciliation => "reconciliation",
            Self::Doctor => "doctor",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Somebody waits for it, and it takes a moment: it does not stand in line behind what takes long.
    pub const fn is_quick(self) -> bool {
        matches!(self, Self::Refresh | Self::Doctor)
    }
}

/// What is asked for, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Only the listings of these products.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skus: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<ListingId>,
    #[serde(default)]
    pub force: bool,
}

/// Puts a run in line.
pub struct Enqueue {
    pub connection: Arc<Connection>,
    pub kind: Kind,
    pub trigger: &'static str,
    pub dry_run: bool,
    pub request: Request,
    pub actor: String,
    pub slot: Option<String>,
    /// How long after the last one of its kind the next may begin.
    pub cooldown: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    #[error("this marketplace cannot be asked what it shows")]
    NotReadable,
    #[error("it is archived: bring it back first")]
    Archived,
    /// Until when.
    #[error("it was read at {0}; that is enough for now")]
    Cooling(Timestamp, Duration),
    #[error("a schedule asked for it already")]
    SlotTaken,
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for EnqueueError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

impl Command for Enqueue {
    type Output = Uuid;
    type Error = EnqueueError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Uuid, EnqueueError> {
        if self.kind != Kind::Doctor && !read::can_be_read(&self.connection) {
            return Err(EnqueueError::NotReadable);
        }
        let id = self.connection.id;
        if marketplaces::status(&mut tx.conn, id).await?.as_deref() == Some(Status::Archived.as_str()) {
            return Err(EnqueueError::Archived);
        }
        if self.kind == Kind::BulkRead && !self.request.force && !self.dry_run {
            let last = sync::last(&mut tx.conn, id, self.kind.as_str(), self.trigger).await?;
            if let Some(last) = last.filter(|last| tx.now < last.started_at.plus(self.cooldown)) {
                let left = last.started_at.plus(self.cooldown).since(tx.now);
                return Err(EnqueueError::Cooling(last.started_at, left));
            }
        }
        // Plain structs of texts always have a JSON form.
        let request = serde_json::to_string(&self.request).unwrap_or_else(|_| "{}".into());
        let run = NewRun {
            id: tx.id(),
            marketplace_id: id,
            kind: self.kind.as_str(),
            trigger_type: self.trigger,
            dry_run: self.dry_run,
            request: &request,
            actor: &self.actor,
            slot: self.slot.as_deref(),
        };
        if sync::enqueue(&mut tx.conn, &run, tx.now).await? { Ok(run.id) } else { Err(EnqueueError::SlotTaken) }
    }
}

/// A run that this node works on.
pub(super) struct Running {
    pub connection: Arc<Connection>,
    pub run: OpenRun,
    pub request: Request,
    pub counts: Map<String, Value>,
    pub calls: i64,
}

/// How a piece of work on a run ended.
pub(super) enum Step {
    Over(End),
    /// To be gone on with later: a marketplace asked for patience, or time has to pass.
    Wait(Duration),
    /// Not ours any more; whoever has the account goes on.
    Left,
}

pub(super) struct End {
    pub status: &'static str,
    pub error: Option<String>,
    pub result: Option<Value>,
}

impl End {
    pub fn done(status: &'static str) -> Self {
        Self { status, error: None, result: None }
    }

    pub fn failed(error: impl Into<String>) -> Self {
        Self { status: "failed", error: Some(error.into()), result: None }
    }
}

/// Failures in a row after which a run is given up.
const TRIES_MAX: i64 = 8;

impl Running {
    pub fn new(connection: Arc<Connection>, run: OpenRun) -> Self {
        let request = serde_json::from_str(&run.request).unwrap_or_default();
        let counts = serde_json::from_str(&run.counts).unwrap_or_default();
        Self { connection, request, counts, calls: run.api_calls, run }
    }

    pub fn count(&self, name: &str) -> i64 {
        self.counts.get(name).and_then(Value::as_i64).unwrap_or(0)
    }

    pub fn add(&mut self, name: &str, more: i64) {
        self.set(name, self.count(name) + more);
    }

    pub fn set(&mut self, name: &str, value: i64) {
        self.counts.insert(name.to_owned(), value.into());
    }

    pub fn cursor<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.run.cursor.as_deref()?).ok()
    }

    pub fn set_cursor(&mut self, cursor: &impl Serialize) {
        self.run.cursor = serde_json::to_string(cursor).ok();
    }

    pub fn counts_text(&self) -> String {
        Value::Object(self.counts.clone()).to_string()
    }

    /// A request failed: try again later, or give up.
    pub fn failed(&mut self, sync: &Sync, why: &super::way::NotTold) -> Step {
        if matches!(why, super::way::NotTold::NotOurs) {
            return Step::Left;
        }
        self.add("failures", 1);
        if !why.may_pass() || self.count("failures") >= TRIES_MAX {
            return Step::Over(End::failed(why.message()));
        }
        let attempt = u32::try_from(self.count("failures")).unwrap_or(u32::MAX);
        let wait = crate::domain::retry::delay(
            attempt,
            Duration::from_secs(1),
            Duration::from_secs(60),
            why.retry_after(),
            sync.kit.chance.unit(),
        );
        Step::Wait(wait.max(Duration::from_millis(100)))
    }
}

/// Takes a run up. False: it is over, or another of its kind runs.
pub(super) struct Start {
    pub connection: Arc<Connection>,
    pub id: Uuid,
    pub owner: Owner,
}

impl Command for Start {
    type Output = bool;
    type Error = PageError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<bool, PageError> {
        own(tx, self.connection.id, &self.owner).await?;
        Ok(sync::start(&mut tx.conn, self.id, &self.owner.name, tx.now).await?)
    }
}

/// How far a run is; keeps the account with it. False: it was ended by somebody else.
pub(super) struct Progress {
    pub connection: Arc<Connection>,
    pub id: Uuid,
    pub owner: Owner,
    pub cursor: Option<String>,
    pub counts: String,
    pub calls: i64,
    pub resume_in: Option<Duration>,
}

impl Command for Progress {
    type Output = bool;
    type Error = PageError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<bool, PageError> {
        own(tx, self.connection.id, &self.owner).await?;
        let resume_at = self.resume_in.map(|wait| tx.now.plus(wait));
        Ok(sync::progress(&mut tx.conn, self.id, self.cursor.as_deref(), &self.counts, self.calls, resume_at, tx.now).await?)
    }
}

/// Ends a run.
pub(super) struct Finish {
    pub connection: Arc<Connection>,
    pub id: Uuid,
    pub kind: Kind,
    pub started_at: Timestamp,
    pub counts: String,
    pub calls: i64,
    pub end: End,
}

impl Command for Finish {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let (id, code) = (self.connection.id, &self.connection.code);
        sync::add_calls(&mut tx.conn, [(id, self.kind.as_str(), self.calls)], tx.now).await?;
        let result = self.end.result.as_ref().map(Value::to_string);
        let error: Option<String> = self.end.error.as_ref().map(|text| text.chars().take(500).collect());
        let finished = Finished {
            id: self.id,
            status: self.end.status,
            counts: &self.counts,
            api_calls: self.calls,
            error: error.as_deref(),
            result: result.as_deref(),
            started_at: self.started_at,
        };
        sync::finish(&mut tx.conn, &finished, tx.now).await?;
        if self.kind.is_quick() {
            return Ok(());
        }
        let key = format!("{}-failed:{code}", self.kind.as_str());
        match &error {
            Some(why) if self.end.status == "failed" => {
                let alert = alerts::NewAlert {
                    id: tx.id(),
                    kind: "sync-failed",
                    severity: "warning",
                    dedup_key: key,
                    product_id: None,
                    marketplace_id: Some(id),
                    message: format!("{code}: {} ended without a result: {why}", self.kind.as_str().replace('_', " ")),
                };
                alerts::open_once(&mut tx.conn, &[alert], tx.now).await?;
            }
            _ => {
                alerts::resolve(&mut tx.conn, [key.as_str()], tx.now).await?;
            }
        }
        Ok(())
    }
}

impl Sync {
    /// Works on a run until it is over or has to wait.
    pub(super) async fn work(&self, connection: Arc<Connection>, run: OpenRun) {
        let (id, code) = (run.id, connection.code.clone());
        let Some(kind) = Kind::parse(&run.kind) else { return };
        let start = Start { connection: connection.clone(), id, owner: self.owner.clone() };
        match self.writer.run_patiently(start).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(WriteError::Refused(_)) => {
                self.leave_to_others(connection.id);
                return;
            }
            Err(error) => {
                // Another of its kind runs, or the database is not well: it stays in line.
                tracing::debug!(marketplace = %code, run = %id, %error, "a run could not be taken up");
                self.leave_to_others(connection.id);
                return;
            }
        }
        let mut running = Running::new(connection, run);
        let step = match kind {
            Kind::BulkRead => self.bulk_read(&mut running).await,
            Kind::Refresh => self.refresh(&mut running).await,
            Kind::Reconciliation => self.reconcile(&mut running).await,
            Kind::Doctor => self.doctor(&mut running).await,
        };
        match step {
            Step::Left => {}
            Step::Wait(wait) => {
                if let Err(error) = self.progress(&running, Some(wait)).await {
                    tracing::debug!(marketplace = %code, run = %id, %error, "a waiting run could not be written");
                }
            }
            Step::Over(end) => {
                let level = end.status;
                let finish = Finish {
                    connection: running.connection.clone(),
                    id,
                    kind,
                    started_at: running.run.started_at,
                    counts: running.counts_text(),
                    calls: running.calls,
                    end,
                };
                match self.writer.run_patiently(finish).await {
                    Ok(()) => {
                        tracing::info!(marketplace = %code, run = %id, kind = kind.as_str(), status = level, "a run is over")
                    }
                    Err(error) => tracing::warn!(marketplace = %code, run = %id, %error, "the end of a run could not be written"),
                }
            }
        }
    }

    /// Writes how far a run is. False or an error: it is not ours any more.
    pub(super) async fn progress(&self, running: &Running, resume_in: Option<Duration>) -> Result<bool, WriteError<PageError>> {
        let progress = Progress {
            connection: running.connection.clone(),
            id: running.run.id,
            owner: self.owner.clone(),
            cursor: running.run.cursor.clone(),
            counts: running.counts_text(),
            calls: running.calls,
            resume_in,
        };
        self.writer.run_patiently(progress).await
    }
}
