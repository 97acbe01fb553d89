//! What waits for the writer, and how each kind of it is run and answered.

use std::any::{Any, TypeId};
use std::future::Future;
use std::pin::Pin;

use tokio::sync::oneshot;

use super::{Command, Together, WriteError};
use crate::db::DbError;
use crate::pipeline::intake::{Arrival, Receipt};
use crate::pipeline::{CommandError, Tx};

pub(super) enum Job {
    Arrival(Box<Arrival>, oneshot::Sender<Result<Receipt, WriteError<DbError>>>),
    Work(Box<dyn Work>),
    Together(Box<dyn Member>),
}

impl Job {
    /// Of a webhook's body.
    pub fn bytes(&self) -> usize {
        match self {
            Job::Arrival(arrival, _) => arrival.body().len(),
            Job::Work(_) | Job::Together(_) => 0,
        }
    }

    /// Of what is done together.
    pub fn rows(&self) -> usize {
        match self {
            Job::Together(member) => member.rows(),
            Job::Arrival(..) | Job::Work(_) => 0,
        }
    }
}

pub(super) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a member of a group ended before the commit.
pub(super) enum Ran {
    Done,
    /// Refused by its own rules: its savepoint is undone, the group goes on.
    Refused,
    /// The database failed: the whole group is rolled back.
    Broken(DbError),
}

/// The end of the transaction, as each member must be told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Committed,
    Unavailable,
    CommitUnknown,
}

/// A command, whatever its type.
pub(super) trait Work: Send {
    fn run<'a>(&'a mut self, tx: &'a mut Tx<'_>) -> Boxed<'a, Ran>;
    /// After a refusal was undone.
    fn refused<'a>(&'a self, tx: &'a mut Tx<'_>) -> Boxed<'a, Result<(), DbError>>;
    fn answer(self: Box<Self>, end: End);
}

pub(super) struct Pending<C: Command> {
    pub command: C,
    pub ran: Option<Result<C::Output, C::Error>>,
    pub reply: oneshot::Sender<Result<C::Output, WriteError<C::Error>>>,
}

impl<C: Command> Work for Pending<C> {
    fn run<'a>(&'a mut self, tx: &'a mut Tx<'_>) -> Boxed<'a, Ran> {
        Box::pin(async move {
            let ran = self.command.run(tx).await;
            let end = match &ran {
                Ok(_) => Ran::Done,
                Err(error) => match error.database() {
                    Some(error) => Ran::Broken(error.describe()),
                    None => Ran::Refused,
                },
            };
            self.ran = Some(ran);
            end
        })
    }

    fn refused<'a>(&'a self, tx: &'a mut Tx<'_>) -> Boxed<'a, Result<(), DbError>> {
        let Some(Err(error)) = &self.ran else { return Box::pin(std::future::ready(Ok(()))) };
        let command = &self.command;
        Box::pin(async move { command.refused(tx, error).await })
    }

    fn answer(self: Box<Self>, end: End) {
        let answer = match (self.ran, end) {
            // What was refused by its rules stays refused, whatever became of the others.
            (Some(Err(error)), _) if error.database().is_none() => Err(WriteError::Refused(error)),
            (Some(Ok(output)), End::Committed) => Ok(output),
            (_, End::CommitUnknown) => Err(WriteError::CommitUnknown),
            _ => Err(WriteError::Unavailable),
        };
        // The asker may have gone; what is committed stays committed.
        let _ = self.reply.send(answer);
    }
}

/// One of those that are done together, whatever its type; those of one type share a `runner`.
pub(super) trait Member: Any + Send {
    fn rows(&self) -> usize;
    fn kind(&self) -> TypeId;
    fn runner(&self) -> Runner;
    fn answer(self: Box<Self>, end: End);
}

/// Runs all of one kind.
pub(super) type Runner = for<'a, 'c> fn(Vec<&'a mut dyn Member>, &'a mut Tx<'c>) -> Boxed<'a, Result<(), DbError>>;

pub(super) struct Waiting<C: Together> {
    pub command: C,
    pub output: Option<C::Output>,
    pub reply: oneshot::Sender<Result<C::Output, WriteError<DbError>>>,
}

impl<C: Together> Member for Waiting<C> {
    fn rows(&self) -> usize {
        self.command.rows()
    }

    fn kind(&self) -> TypeId {
        TypeId::of::<C>()
    }

    fn runner(&self) -> Runner {
        run_all::<C>
    }

    fn answer(self: Box<Self>, end: End) {
        let answer = match (self.output, end) {
            (Some(output), End::Committed) => Ok(output),
            (_, End::CommitUnknown) => Err(WriteError::CommitUnknown),
            _ => Err(WriteError::Unavailable),
        };
        let _ = self.reply.send(answer);
    }
}

fn run_all<'a, C: Together>(members: Vec<&'a mut dyn Member>, tx: &'a mut Tx<'_>) -> Boxed<'a, Result<(), DbError>> {
    let of_kind = |member: &'a mut dyn Member| (member as &mut dyn Any).downcast_mut::<Waiting<C>>();
    let mut members: Vec<&mut Waiting<C>> = members.into_iter().filter_map(of_kind).collect();
    Box::pin(async move {
        let commands: Vec<&C> = members.iter().map(|member| &member.command).collect();
        let outputs = C::run(&commands, tx).await?;
        for (member, output) in members.iter_mut().zip(outputs) {
            member.output = Some(output);
        }
        Ok(())
    })
}
