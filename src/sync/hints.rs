//! Messages that only say which order changed: the order is fetched, logged under its own key and applied; the hint is then done.

use std::sync::Arc;

use super::page::{PageError, own};
use super::poll::{PollEnd, unexpected};
use super::way::NotTold;
use super::{Owner, Sync};
use crate::ask;
use crate::caller::Purpose;
use crate::db::alerts::{self, NewAlert};
use crate::db::webhooks::{self, PendingWebhook, WebhookResult};
use crate::db::{polls, sync};
use crate::domain::ids::{MarketplaceId, WebhookId};
use crate::domain::retry;
use crate::domain::time::Timestamp;
use crate::marketplaces::call::{Ask, OrderRow, Told};
use crate::marketplaces::{Connection, Door, Incoming, Verdict};
use crate::pipeline::Tx;
use crate::pipeline::normalise;
use crate::pipeline::polled::{self, Polled};
use crate::pipeline::writer::Command;

/// Hints taken up at once.
const BATCH: i64 = 32;

/// What became of a hint.
enum Followed {
    Fetched(Vec<OrderRow>),
    /// The whole list was read instead.
    Listed,
    /// It is no hint any more: another adapter, or another setting. Read again as what it is.
    NoHint,
    NotYet(NotTold),
}

impl Sync {
    /// Follows the hints of an account that are due. True: there may be more.
    pub async fn follow_hints(&self, connection: &Arc<Connection>) -> bool {
        let (id, now) = (connection.id, self.kit.clock.now());
        let due = ask!(self, Vec<PendingWebhook>, [id: MarketplaceId = id, now: Timestamp = now] |conn| {
            polls::hints(conn, id, now, BATCH).await
        });
        let due = match due {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(marketplace = %connection.code, %error, "hints cannot be looked for");
                return false;
            }
        };
        let full = due.len() as i64 == BATCH;
        let mut listed = None;
        for row in due {
            if self.workers.stopping().is_cancelled() {
                return false;
            }
            let (followed, calls) = self.follow(connection, &row, &mut listed).await;
            let waits = matches!(followed, Followed::NotYet(_));
            let settle = SettleHint { connection: connection.clone(), owner: self.owner.clone(), row, followed, calls };
            if let Err(error) = self.writer.run_patiently(settle).await {
                tracing::warn!(marketplace = %connection.code, %error, "a fetched order could not be written");
                return false;
            }
            if waits {
                // The marketplace is not well: the others have their own time to be tried again.
                return false;
            }
        }
        full
    }

    async fn follow(&self, connection: &Arc<Connection>, row: &PendingWebhook, listed: &mut Option<PollEnd>) -> (Followed, i64) {
        let incoming = Incoming { body: &row.payload, headers: &row.headers, door: Door::Webhook, limits: self.kit.limits.json };
        let reading = normalise::again(connection, &row.event_key, incoming);
        let Verdict::Hint { order_id } = reading.verdict else { return (Followed::NoHint, 0) };
        if connection.adapter.traits().abilities.order {
            let asked = self.way.ask(connection, Purpose::Hint, &Ask::Order { id: order_id }).await;
            let followed = match asked.told {
                Ok(Told::Orders { orders, .. }) => Followed::Fetched(orders),
                Ok(other) => Followed::NotYet(unexpected(&other)),
                Err(why) => Followed::NotYet(why),
            };
            return (followed, asked.calls);
        }
        // Orders cannot be asked for one by one: the list is read, once for all hints of this round.
        if listed.is_none() {
            *listed = Some(self.poll(connection).await);
        }
        let followed = match listed {
            Some(PollEnd::Drained { began, .. }) if *began >= row.created_at => Followed::Listed,
            Some(PollEnd::Failed(why)) => Followed::NotYet(why.clone()),
            _ => Followed::NotYet(NotTold::Failed(crate::marketplaces::Outcome::Retry {
                after: None,
                throttled: false,
                code: None,
                message: "the list of orders was not read to its end yet".into(),
            })),
        };
        (followed, 0)
    }
}

/// Logs and applies what was fetched, and writes down what became of the hint, in one transaction.
struct SettleHint {
    connection: Arc<Connection>,
    owner: Owner,
    row: PendingWebhook,
    followed: Followed,
    calls: i64,
}

impl Command for SettleHint {
    type Output = ();
    type Error = PageError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), PageError> {
        own(tx, self.connection.id, &self.owner).await?;
        sync::add_calls(&mut tx.conn, [(self.connection.id, "hint", self.calls)], tx.now).await?;
        let result = match &self.followed {
            Followed::Fetched(orders) => {
                let at = self.row.created_at;
                let polled: Vec<Polled> =
                    orders.iter().map(|order| Polled::order(&self.connection, order.clone(), false, at)).collect();
                let kept = polled::log_and_apply(tx, &polled).await?;
                let fetched: Vec<String> = kept.new.iter().map(WebhookId::to_string).collect();
                let note = if orders.is_empty() { Some("the marketplace knows no such order") } else { None };
                self.done(serde_json::json!({ "movements": [], "fetched": fetched, "note": note }))
            }
            Followed::Listed => self.done(serde_json::json!({ "movements": [], "note": "the list of orders was read" })),
            Followed::NoHint => self.result("retry", None, None),
            Followed::NotYet(why) => self.later(tx, why).await?,
        };
        webhooks::settle(&mut tx.conn, &[result], tx.now).await?;
        Ok(())
    }
}

impl SettleHint {
    fn result(&self, status: &'static str, code: Option<&'static str>, message: Option<String>) -> WebhookResult {
        WebhookResult {
            id: self.row.id,
            fresh: false,
            status,
            error_code: code,
            error_message: message,
            effect: None,
            failed_attempts: 0,
            next_attempt_at: None,
        }
    }

    fn done(&self, effect: serde_json::Value) -> WebhookResult {
        WebhookResult { effect: Some(effect.to_string()), ..self.result("processed", None, None) }
    }

    /// Tried again with growing pauses; in the end a person is told.
    async fn later(&self, tx: &mut Tx<'_>, why: &NotTold) -> Result<WebhookResult, PageError> {
        let limits = &tx.kit.limits;
        let attempt = u32::try_from(self.row.retry_count + 1).unwrap_or(u32::MAX);
        let message = why.message();
        let for_good = matches!(why, NotTold::CannotAsk(_)) || attempt >= limits.attempts_max;
        if for_good {
            let code = &self.connection.code;
            let alert = NewAlert {
                id: tx.id(),
                kind: "hint-not-followed",
                severity: "warning",
                dedup_key: format!("hint-not-followed:{code}"),
                product_id: None,
                marketplace_id: Some(self.connection.id),
                message: format!("{code}: an order that a webhook names could not be fetched: {message}"),
            };
            alerts::open_once(&mut tx.conn, &[alert], tx.now).await?;
            let failed = self.result("failed", Some("hint-not-followed"), Some(message));
            return Ok(WebhookResult { failed_attempts: 1, ..failed });
        }
        let wait = retry::delay(attempt, limits.retry_base, limits.retry_cap, why.retry_after(), tx.kit.chance.unit());
        let retry = self.result("retry", Some(crate::pipeline::log::HINT), Some(message));
        Ok(WebhookResult { failed_attempts: 1, next_attempt_at: Some(tx.now.plus(wait)), ..retry })
    }
}
