//! Order polling: the walk over pages, one at a time, each committed before the cursor moves past it.

use std::sync::Arc;

use super::Sync;
use super::cursor::{Cursor, Next};
use super::page::{Begin, Brought, Keep, Move, PageError};
use super::report::{PollEnded, PollFailed};
use super::way::NotTold;
use crate::caller::Purpose;
use crate::domain::time::Timestamp;
use crate::marketplaces::call::{Ask, OrderFeed, OrderRow, Page, Told};
use crate::marketplaces::{Connection, Outcome};
use crate::pipeline::polled::Polled;
use crate::pipeline::writer::WriteError;

/// How a poll ended.
#[derive(Clone, Debug, PartialEq)]
pub enum PollEnd {
    /// Everything that was there when it began is committed.
    Drained {
        began: Timestamp,
        new: usize,
    },
    /// Another node calls this account, or was quicker.
    NotOurs,
    /// The hub stops; the rest is read later, from where this got to.
    Stopped,
    Failed(NotTold),
    /// Our own database did not take it.
    NotWritten(String),
}

/// What a walk has brought so far.
#[derive(Default)]
pub(super) struct Tally {
    pub calls: i64,
    pub orders: usize,
    pub brought: Brought,
}

impl Tally {
    fn add(&mut self, brought: Brought) {
        self.brought.new += brought.new;
        self.brought.unreadable += brought.unreadable;
        self.brought.missing += brought.missing;
    }
}

impl Sync {
    /// One whole poll of an account's orders, or the rest of one that was left.
    pub async fn poll(&self, connection: &Arc<Connection>) -> PollEnd {
        let Some(feed) = connection.adapter.traits().abilities.orders else {
            return PollEnd::Failed(NotTold::CannotAsk(crate::marketplaces::cannot_be_asked()));
        };
        let began = self.kit.clock.now();
        let mut tally = Tally::default();
        let ended = self.walk_orders(connection, feed, &mut tally).await;
        self.kit.metrics.polled(&connection.code, tally.brought.new, tally.brought.missing);
        match &ended {
            PollEnd::Failed(why) => {
                let failed =
                    PollFailed { connection: connection.clone(), kind: "poll", began, calls: tally.calls, why: why.message() };
                self.note(connection, failed).await;
            }
            PollEnd::Drained { .. } => {
                let done =
                    PollEnded { connection: connection.clone(), kind: "poll", began, calls: tally.calls, tally: tally.brought };
                self.note(connection, done).await;
            }
            PollEnd::NotOurs | PollEnd::Stopped | PollEnd::NotWritten(_) => {}
        }
        ended
    }

    async fn walk_orders(&self, connection: &Arc<Connection>, feed: OrderFeed, tally: &mut Tally) -> PollEnd {
        let begin = Begin { marketplace: connection.id, owner: self.owner.clone() };
        let mut stored = match self.writer.run_patiently(begin).await {
            Ok(stored) => stored,
            Err(error) => return not_written(&error),
        };
        let now = self.kit.clock.now();
        let mut cursor = Cursor::parse(stored.as_deref()).begun(feed, self.limits.first_poll(), now);
        let began = cursor.started().unwrap_or(now);
        let mut rewound = false;
        for _ in 0..self.limits.pages_max {
            let Some(next) = cursor.next(feed) else { return PollEnd::Drained { began, new: tally.brought.new } };
            if self.workers.stopping().is_cancelled() {
                return PollEnd::Stopped;
            }
            let (orders, more) = match self.ask_orders(connection, &next, tally).await {
                Ok(told) => told,
                // A place in a list does not keep for ever: from its first page again, once.
                Err(NotTold::Failed(Outcome::Permanent { .. })) if next.page != Page::default() && !rewound => {
                    rewound = true;
                    cursor = cursor.rewound();
                    continue;
                }
                Err(NotTold::NotOurs) => return PollEnd::NotOurs,
                Err(why) => return PollEnd::Failed(why),
            };
            if more.as_ref() == Some(&next.page) {
                let message = "the list gives its own page as the next one".to_owned();
                return PollEnd::Failed(NotTold::Failed(Outcome::Permanent { code: None, message }));
            }
            let after = cursor.clone().advanced(feed, more);
            let drained = after.walk.is_none().then_some(began);
            let step = Move { from: stored, to: after.text(), drained };
            match self.keep_page(connection, orders, next.initial, step).await {
                Ok((brought, text)) => {
                    tally.add(brought);
                    stored = Some(text);
                }
                Err(error) => return not_written(&error),
            }
            cursor = after;
        }
        let message = format!("the list of orders has more than {} pages", self.limits.pages_max);
        PollEnd::Failed(NotTold::Failed(Outcome::Permanent { code: None, message }))
    }

    async fn ask_orders(
        &self,
        connection: &Arc<Connection>,
        next: &Next,
        tally: &mut Tally,
    ) -> Result<(Vec<OrderRow>, Option<Page>), NotTold> {
        let ask = Ask::Orders { list: next.list, window: next.window, page: next.page.clone() };
        let asked = self.way.ask(connection, Purpose::Poll, &ask).await;
        tally.calls += asked.calls;
        match asked.told? {
            Told::Orders { orders, next } => {
                tally.orders += orders.len();
                Ok((orders, next))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// A page, in as many transactions as its size asks for; the cursor moves with the last.
    async fn keep_page(
        &self,
        connection: &Arc<Connection>,
        orders: Vec<OrderRow>,
        initial: bool,
        step: Move,
    ) -> Result<(Brought, String), WriteError<PageError>> {
        let now = self.kit.clock.now();
        let text = step.to.clone();
        let mut rows: Vec<Polled> = orders.into_iter().map(|order| Polled::order(connection, order, initial, now)).collect();
        let mut sum = Tally::default();
        let missing_after = self.expects_webhooks(connection).then(|| self.limits.poll_missing_after()).filter(|_| !initial);
        let keep = |polled, cursor, calls| Keep {
            connection: connection.clone(),
            owner: self.owner.clone(),
            polled,
            cursor,
            calls,
            missing_after,
        };
        while rows.len() > self.limits.rows_per_write {
            let rest = rows.split_off(self.limits.rows_per_write);
            sum.add(self.writer.run_patiently(keep(rows, None, None)).await?);
            rows = rest;
        }
        sum.add(self.writer.run_patiently(keep(rows, Some(step), Some(("poll", 1)))).await?);
        Ok((sum.brought, text))
    }

    /// Whether its orders are told by webhook too, so that a poll is only a net.
    pub(super) fn expects_webhooks(&self, connection: &Connection) -> bool {
        connection.webhook_enabled && !connection.schemes().is_empty() && connection.can_verify()
    }
}

pub(super) fn unexpected(told: &Told) -> NotTold {
    let kind = match told {
        Told::Stock { .. } => "stock",
        Told::Orders { .. } => "orders",
        Told::Fine { .. } => "nothing",
    };
    NotTold::Failed(Outcome::Permanent { code: None, message: format!("the answer tells {kind}, which was not asked") })
}

pub(super) fn not_written(error: &WriteError<PageError>) -> PollEnd {
    match error {
        WriteError::Refused(PageError::NotOurs | PageError::Moved) => PollEnd::NotOurs,
        error => PollEnd::NotWritten(error.to_string()),
    }
}
