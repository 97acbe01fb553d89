//! The one writer of this process. It owns the write connection; everybody else hands it work and waits for the answer.
//!
//! Who waits stands in `queue`, a line per source. Work that waits is done in one transaction: take the first, drain what is there, do all of it, commit, then answer. An idle hub
//! adds no waiting, a busy one shares each fsync. Every command runs under a savepoint, so a refusal undoes itself alone; if the
//! group as a whole fails, its members are tried one by one, so a poison member cannot take the others along. Nobody is answered
//! before COMMIT has returned, and a commit whose end is unknown is answered "try again". What comes in crowds (webhooks, claims and
//! answers of pushes) shares its statements too.

mod job;
mod queue;

use std::any::TypeId;
use std::future::Future;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::job::{End, Job, Member, Pending, Ran, Waiting};
use self::queue::{Queue, Refused, Room};
use super::intake::{Arrival, Receipt};
use super::{CommandError, Effects, Kit, Tx, apply, log};
use crate::breakage::{self, Breakage};
use crate::db::{self, Db, DbError, WriteConnection};

/// Something done in a transaction. It may be run again from the start, after a rollback.
pub trait Command: Send + Sync + 'static {
    type Output: Send + 'static;
    type Error: CommandError;

    fn run(&mut self, tx: &mut Tx<'_>) -> impl Future<Output = Result<Self::Output, Self::Error>> + Send;

    /// What is written although the command was refused and undone: that it was refused, where others must hear of it.
    fn refused(&self, _tx: &mut Tx<'_>, _error: &Self::Error) -> impl Future<Output = Result<(), DbError>> + Send {
        std::future::ready(Ok(()))
    }
}

/// Something small of which much is done at once: all of one kind in a group are done in one pass, so that each statement is made
/// once for all of them. Nothing here is refused; what fails is the database, and then each is tried alone.
pub trait Together: Send + Sync + Sized + 'static {
    type Output: Send + 'static;

    /// Rows it is likely to touch: a transaction takes only so many.
    fn rows(&self) -> usize;

    /// An output each, in their order.
    fn run(members: &[&Self], tx: &mut Tx<'_>) -> impl Future<Output = Result<Vec<Self::Output>, DbError>> + Send;
}

/// Why work was not done. None of these changed anything that was answered for.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    #[error("too much is waiting to be written")]
    Overloaded,
    #[error("the hub is stopping")]
    Stopping,
    #[error("the database is not available")]
    Unavailable,
    /// It may or may not have been written: ask again under the same key.
    #[error("the end of the commit is not known")]
    CommitUnknown,
    #[error(transparent)]
    Refused(E),
}

/// The way to the writer; cheap to clone.
#[derive(Clone)]
pub struct Writer {
    queue: Queue<Job>,
    stopping: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
pub struct WriterLimits {
    /// Webhooks that may wait, and commands.
    pub queue: usize,
    /// Webhooks of one marketplace that may wait.
    pub queue_each: usize,
    /// Jobs in one transaction.
    pub group_max: usize,
    /// Bytes of webhook bodies in one transaction.
    pub group_max_bytes: usize,
}

impl Writer {
    /// The writer and the task that must be run for it.
    pub fn new(limits: WriterLimits, stopping: CancellationToken) -> (Self, WriterTask) {
        let queue = Queue::new(Room { all: limits.queue, each: limits.queue_each });
        (Self { queue: queue.clone(), stopping }, WriterTask { queue, limits })
    }

    /// Runs a command. When the queue is full it says so at once: what comes from outside is answered 503 and sent again.
    pub async fn run<C: Command>(&self, command: C) -> Result<C::Output, WriteError<C::Error>> {
        let (reply, answer) = oneshot::channel();
        let work = Job::Work(Box::new(Pending { command, ran: None, reply }));
        self.queue.put_command(work).map_err(|refused| self.refused(refused))?;
        answer.await.unwrap_or(Err(WriteError::Stopping))
    }

    /// Runs a command of our own workers, which can wait for their turn.
    pub async fn run_patiently<C: Command>(&self, command: C) -> Result<C::Output, WriteError<C::Error>> {
        let (reply, answer) = oneshot::channel();
        let work = Job::Work(Box::new(Pending { command, ran: None, reply }));
        self.queue.put_command_patiently(work).await.map_err(|refused| self.refused(refused))?;
        answer.await.unwrap_or(Err(WriteError::Stopping))
    }

    /// Runs a command of our own workers with whatever of its kind waits too.
    pub async fn run_together<C: Together>(&self, command: C) -> Result<C::Output, WriteError<DbError>> {
        let (reply, answer) = oneshot::channel();
        let work = Job::Together(Box::new(Waiting { command, output: None, reply }));
        self.queue.put_command_patiently(work).await.map_err(|refused| self.refused(refused))?;
        answer.await.unwrap_or(Err(WriteError::Stopping))
    }

    /// Logs and applies a webhook; the receipt comes after the commit.
    pub async fn receive(&self, arrival: Arrival) -> Result<Receipt, WriteError<DbError>> {
        let (reply, answer) = oneshot::channel();
        let marketplace = arrival.connection().id;
        self.queue.put(marketplace, Job::Arrival(Box::new(arrival), reply)).map_err(|refused| self.refused(refused))?;
        answer.await.unwrap_or(Err(WriteError::Stopping))
    }

    fn refused<E>(&self, refused: Refused) -> WriteError<E> {
        match refused {
            Refused::Full if !self.stopping.is_cancelled() => WriteError::Overloaded,
            Refused::Full | Refused::Closed => WriteError::Stopping,
        }
    }

    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
}

/// Work that does nothing: it comes back when the writer works.
pub struct Ping;

impl Command for Ping {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        db::hub::ping(&mut tx.conn).await.map(drop)
    }
}

/// Rows that what is done together may touch in one transaction: what comes next waits for no more than this.
pub const ROWS_MAX: usize = 1_000;

pub struct WriterTask {
    queue: Queue<Job>,
    limits: WriterLimits,
}

impl Drop for WriterTask {
    /// However it ends, nobody waits for an answer that will not come.
    fn drop(&mut self) {
        self.queue.close();
        while self.queue.take().is_some() {}
    }
}

/// Told what follows each commit, in commit order.
pub trait AfterCommit: Send + 'static {
    fn committed(&self, effects: Effects);
}

impl WriterTask {
    /// Works until it is told to stop and has done all that was taken.
    pub async fn run(self, db: Db, mut conn: WriteConnection, kit: Kit, after: impl AfterCommit, stop: CancellationToken) {
        let mut group: Vec<Job> = Vec::with_capacity(self.limits.group_max);
        loop {
            let first = tokio::select! {
                biased;
                job = self.queue.next() => job,
                () = stop.cancelled() => {
                    // Nobody new gets in; whoever is in gets an answer.
                    self.queue.close();
                    self.queue.next().await
                }
            };
            let Some(first) = first else { break };
            let (mut bytes, mut rows) = (first.bytes(), first.rows());
            group.push(first);
            while group.len() < self.limits.group_max && bytes < self.limits.group_max_bytes && rows < ROWS_MAX {
                let Some(job) = self.queue.take() else { break };
                bytes += job.bytes();
                rows += job.rows();
                group.push(job);
            }
            kit.metrics.group_size(group.len());
            let lost = run_group(&mut conn, &kit, &after, std::mem::take(&mut group)).await;
            if lost {
                reconnect(&db, &mut conn).await;
            }
        }
        conn.close().await;
    }
}

/// Gives whether the connection may be lost.
async fn run_group(conn: &mut WriteConnection, kit: &Kit, after: &impl AfterCommit, mut group: Vec<Job>) -> bool {
    let (end, mut effects, receipts) = attempt(conn, kit, &mut group).await;
    match end {
        Ok(()) => {
            // Before the next group: what follows a committed rule goes by it.
            kit.rules.apply(std::mem::take(&mut effects.rules));
            after.committed(effects);
            note_lag(kit, &group);
            answer(group, receipts, End::Committed);
            false
        }
        // Alone, a poison member fails alone.
        Err(Failed::RolledBack(error)) if group.len() > 1 && !matches!(error, DbError::Unavailable { .. }) => {
            tracing::warn!(%error, jobs = group.len(), "a group of writes failed and is tried one by one");
            let mut lost = false;
            for job in group {
                lost |= Box::pin(run_group(conn, kit, after, vec![job])).await;
            }
            lost
        }
        Err(Failed::RolledBack(error)) => {
            tracing::error!(%error, jobs = group.len(), "a write failed; nothing was changed");
            kit.metrics.write_failures.inc();
            let lost = matches!(error, DbError::Unavailable { .. });
            answer(group, Vec::new(), End::Unavailable);
            lost
        }
        Err(Failed::CommitUnknown(error)) => {
            tracing::error!(%error, jobs = group.len(), "the end of a commit is not known");
            kit.metrics.write_failures.inc();
            answer(group, Vec::new(), End::CommitUnknown);
            true
        }
    }
}

/// How long each webhook of a committed group took, from its last byte to here.
fn note_lag(kit: &Kit, group: &[Job]) {
    let now = kit.clock.now();
    let arrivals = group.iter().filter_map(|job| if let Job::Arrival(arrival, _) = job { Some(arrival) } else { None });
    arrivals.for_each(|arrival| kit.metrics.update_lag_ms.observe(now.since(arrival.received_at()).as_secs_f64() * 1_000.0));
}

enum Failed {
    RolledBack(DbError),
    CommitUnknown(DbError),
}

type Attempt = (Result<(), Failed>, Effects, Vec<Receipt>);

async fn attempt(conn: &mut WriteConnection, kit: &Kit, group: &mut [Job]) -> Attempt {
    let failed = |error| (Err(Failed::RolledBack(error)), Effects::default(), Vec::new());
    if let Err(error) = conn.begin().await {
        return failed(error);
    }
    let mut tx = Tx { conn: conn.conn(), kit, now: kit.clock.now(), effects: Effects::default() };
    match members(&mut tx, group).await {
        Ok(receipts) => {
            let effects = tx.effects;
            if breakage::is(Breakage::AckBeforeCommit) {
                answer_early(group, &receipts).await;
            }
            match conn.commit().await {
                Ok(()) => (Ok(()), effects, receipts),
                Err(error) => {
                    conn.rollback().await;
                    (Err(Failed::CommitUnknown(error)), Effects::default(), Vec::new())
                }
            }
        }
        Err(error) => {
            conn.rollback().await;
            failed(error)
        }
    }
}

/// All members of a group: the webhooks together in set statements, each command under its own savepoint, then what is done
/// together, kind by kind.
async fn members(tx: &mut Tx<'_>, group: &mut [Job]) -> Result<Vec<Receipt>, DbError> {
    let alone = group.len() == 1;
    let arrivals: Vec<&Arrival> =
        group.iter().filter_map(|job| if let Job::Arrival(arrival, _) = job { Some(&**arrival) } else { None }).collect();
    let mut receipts = Vec::new();
    if !arrivals.is_empty() {
        let recorded = log::record(tx, &arrivals).await?;
        if alone {
            apply::one_by_itself(tx, recorded.logged).await?;
        } else {
            apply::logged(tx, recorded.logged).await?;
        }
        receipts = recorded.receipts;
    }
    for job in group.iter_mut() {
        let Job::Work(work) = job else { continue };
        db::savepoint(&mut tx.conn).await?;
        let kept = std::mem::take(&mut tx.effects);
        match work.run(tx).await {
            Ran::Done => {
                let new = std::mem::replace(&mut tx.effects, kept);
                tx.effects.absorb(new);
                db::release_savepoint(&mut tx.conn).await?;
            }
            Ran::Refused => {
                tx.effects = kept;
                db::rollback_to_savepoint(&mut tx.conn).await?;
                work.refused(tx).await?;
            }
            Ran::Broken(error) => return Err(error),
        }
    }
    together(tx, group).await?;
    Ok(receipts)
}

/// The kinds in the order in which their first came.
async fn together(tx: &mut Tx<'_>, group: &mut [Job]) -> Result<(), DbError> {
    let mut kinds: Vec<(TypeId, Vec<&mut dyn Member>)> = Vec::new();
    for job in group {
        let Job::Together(member) = job else { continue };
        let kind = member.kind();
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, members)) => members.push(&mut **member),
            None => kinds.push((kind, vec![&mut **member])),
        }
    }
    for (_, members) in kinds {
        let Some(run) = members.first().map(|member| member.runner()) else { continue };
        run(members, tx).await?;
    }
    Ok(())
}

fn answer(group: Vec<Job>, receipts: Vec<Receipt>, end: End) {
    let mut receipts = receipts.into_iter();
    for job in group {
        match job {
            Job::Arrival(_, reply) => {
                let answer = match (end, receipts.next()) {
                    (End::Committed, Some(receipt)) => Ok(receipt),
                    (End::CommitUnknown, _) => Err(WriteError::CommitUnknown),
                    _ => Err(WriteError::Unavailable),
                };
                let _ = reply.send(answer);
            }
            Job::Work(work) => work.answer(end),
            Job::Together(member) => member.answer(end),
        }
    }
}

/// What must never be done; see `breakage`.
async fn answer_early(group: &mut [Job], receipts: &[Receipt]) {
    let replies = group.iter_mut().filter_map(|job| if let Job::Arrival(_, reply) = job { Some(reply) } else { None });
    for (reply, receipt) in replies.zip(receipts) {
        let (nobody, _) = oneshot::channel();
        let _ = std::mem::replace(reply, nobody).send(Ok(*receipt));
    }
    tokio::time::sleep(Duration::from_millis(40)).await;
}

/// A lost connection is opened again, with a pause that grows to a second. Meanwhile the queue fills and then refuses.
async fn reconnect(db: &Db, conn: &mut WriteConnection) {
    if conn.is_alive().await {
        return;
    }
    if let Err(error) = db.reopen_writer(conn).await {
        tracing::error!(%error, "the database cannot be reached");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
