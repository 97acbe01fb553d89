//! Marketplaces whose list of orders tells no status: those that are still open are asked for theirs, many in one request.

use std::sync::Arc;

use super::Sync;
use super::page::Keep;
use super::poll::{PollEnd, not_written, unexpected};
use super::report::{PollEnded, PollFailed};
use crate::ask;
use crate::caller::Purpose;
use crate::db::polls;
use crate::domain::ids::MarketplaceId;
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::marketplaces::call::{Ask, StatusFeed, Told};
use crate::pipeline::polled::Polled;

impl Sync {
    /// Asks for the status of every order of an account that may still change.
    pub async fn ask_statuses(&self, connection: &Arc<Connection>, feed: StatusFeed) -> PollEnd {
        let began = self.kit.clock.now();
        let (mut calls, mut sum) = (0, super::page::Brought::default());
        let ended = self.walk_open(connection, feed, began, &mut calls, &mut sum).await;
        self.kit.metrics.polled(&connection.code, sum.new, 0);
        match &ended {
            PollEnd::Failed(why) => {
                let failed = PollFailed { connection: connection.clone(), kind: "statuses", began, calls, why: why.message() };
                self.note(connection, failed).await;
            }
            PollEnd::Drained { .. } => {
                self.note(connection, PollEnded { connection: connection.clone(), kind: "statuses", began, calls, tally: sum })
                    .await;
            }
            PollEnd::NotOurs | PollEnd::Stopped | PollEnd::NotWritten(_) => {}
        }
        ended
    }

    async fn walk_open(
        &self,
        connection: &Arc<Connection>,
        feed: StatusFeed,
        began: Timestamp,
        calls: &mut i64,
        sum: &mut super::page::Brought,
    ) -> PollEnd {
        let mut after = String::new();
        if !self.owns(connection.id).await {
            return PollEnd::NotOurs;
        }
        loop {
            if self.workers.stopping().is_cancelled() {
                return PollEnd::Stopped;
            }
            let orders = match self.open_orders(connection.id, &after, began.minus(feed.open_for), feed.per_request).await {
                Ok(orders) => orders,
                Err(error) => return PollEnd::NotWritten(error.to_string()),
            };
            let Some(last) = orders.last().cloned() else { return PollEnd::Drained { began, new: sum.new } };
            after = last;
            let asked = self.way.ask(connection, Purpose::Poll, &Ask::OrderStatuses { orders }).await;
            *calls += asked.calls;
            let told = match asked.told {
                Ok(Told::Orders { orders, .. }) => orders,
                Ok(other) => return PollEnd::Failed(unexpected(&other)),
                Err(super::way::NotTold::NotOurs) => return PollEnd::NotOurs,
                Err(why) => return PollEnd::Failed(why),
            };
            let now = self.kit.clock.now();
            let keep = Keep {
                connection: connection.clone(),
                owner: self.owner.clone(),
                polled: told.into_iter().map(|order| Polled::order(connection, order, false, now)).collect(),
                cursor: None,
                calls: Some(("statuses", asked.calls)),
                missing_after: None,
            };
            match self.writer.run_patiently(keep).await {
                Ok(brought) => {
                    sum.new += brought.new;
                    sum.unreadable += brought.unreadable;
                }
                Err(error) => return not_written(&error),
            }
        }
    }

    async fn open_orders(
        &self,
        id: MarketplaceId,
        after: &str,
        since: Timestamp,
        most: usize,
    ) -> Result<Vec<String>, crate::db::DbError> {
        let limit = i64::try_from(most.max(1)).unwrap_or(i64::MAX);
        ask!(
            self,
            Vec<String>,
            [id: MarketplaceId = id, after: String = after.to_owned(), since: Timestamp = since, limit: i64 = limit] |conn| {
                polls::open_orders(conn, id, &after, since, limit).await
            }
        )
    }
}
