//! What was asked for instead of sent: orders from a page, numbers from a list. The same log and the same facts as a webhook's, under
//! the same keys, so that both doors together are safe; only nobody had to prove anything, we called them ourselves.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::log::{self, Logged};
use super::{Tx, apply};
use crate::db::webhooks::{self, NewWebhook};
use crate::db::{self, DbError};
use crate::domain::fact::{Fact, Item, StockObservation};
use crate::domain::ids::WebhookId;
use crate::domain::time::Timestamp;
use crate::marketplaces::call::OrderRow;
use crate::marketplaces::{Connection, Reading, Verdict};

/// Something read from a marketplace, on its way into the log.
#[derive(Clone, Debug)]
pub struct Polled {
    connection: Arc<Connection>,
    body: Vec<u8>,
    reading: Reading,
    event_key: String,
    body_hash: [u8; 32],
    received_at: Timestamp,
    /// Read by the account's first look at its past.
    initial: bool,
}

impl Polled {
    pub fn order(connection: &Arc<Connection>, row: OrderRow, initial: bool, received_at: Timestamp) -> Self {
        let body_hash: [u8; 32] = Sha256::digest(&row.body).into();
        // The same words about the same order are the same event: its effect is what the order is by now.
        let event_key = row.reading.natural_key.clone().unwrap_or_else(|| format!("body:{}", hex::encode(body_hash)));
        Self { connection: connection.clone(), body: row.body, reading: row.reading, event_key, body_hash, received_at, initial }
    }

    /// A number that a marketplace shows, as a fact: for those where nothing else tells of a sale.
    pub fn observation(connection: &Arc<Connection>, seen: &Observation, received_at: Timestamp) -> Self {
        // A struct of texts and numbers always has a JSON form.
        let body = serde_json::to_vec(seen).unwrap_or_default();
        let body_hash: [u8; 32] = Sha256::digest(&body).into();
        let event_key = format!("{OBSERVED}{}:{}:{}:{}", seen.product_id, seen.market, seen.quantity, seen.at.micros());
        let reading = seen.reading();
        Self { connection: connection.clone(), body, reading, event_key, body_hash, received_at, initial: false }
    }
}

const OBSERVED: &str = "observed:";

/// What a list said of a listing that is known, in our own words: that is what is logged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    pub product_id: String,
    pub market: String,
    pub quantity: i64,
    pub at: Timestamp,
}

impl Observation {
    fn reading(&self) -> Reading {
        let item = Item { product_id: Some(self.product_id.clone()), ..Item::default() };
        let fact = StockObservation { item, quantity: self.quantity, at: Some(self.at), sequence: None };
        Reading {
            event_type: "stock.observed".into(),
            natural_key: Some(String::new()),
            occurred_at: Some(self.at),
            verdict: Verdict::Facts(vec![Fact::Observation(fact)]),
        }
    }
}

/// A logged row that no adapter wrote: read back by who did.
pub(super) fn own_words(event_key: &str, body: &[u8]) -> Option<Reading> {
    event_key.strip_prefix(OBSERVED)?;
    serde_json::from_slice::<Observation>(body).ok().map(|seen| seen.reading())
}

/// What came of a page.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Log rows that were not there before.
    pub new: Vec<WebhookId>,
    /// Of these, how many could not be read: they are in the log for a person.
    pub unreadable: usize,
}

/// Logs what is new and applies it. What is known already costs nothing: a poll that sees an order again is no second event.
pub async fn log_and_apply(tx: &mut Tx<'_>, polled: &[Polled]) -> Result<Kept, DbError> {
    if polled.is_empty() {
        return Ok(Kept::default());
    }
    let ids: Vec<WebhookId> = polled.iter().map(|_| tx.id()).collect();
    let rows: Vec<NewWebhook<'_>> = polled.iter().zip(&ids).map(|(one, id)| row(*id, one)).collect();
    let inserted: HashSet<WebhookId> = webhooks::insert_once(&mut tx.conn, &rows, tx.now).await?.into_iter().collect();
    let mut kept = Kept::default();
    let mut fresh = Vec::new();
    for (one, id) in polled.iter().zip(ids).filter(|(_, id)| inserted.contains(id)) {
        kept.new.push(id);
        match &one.reading.verdict {
            Verdict::Facts(facts) => fresh.push(logged(one, id, facts)),
            Verdict::Failed(_) => kept.unreadable += 1,
            Verdict::Ignored | Verdict::Hint { .. } => {}
        }
    }
    apply_all(tx, fresh).await?;
    Ok(kept)
}

fn logged(one: &Polled, id: WebhookId, facts: &[Fact]) -> Logged {
    Logged {
        id,
        connection: one.connection.clone(),
        event_key: one.event_key.clone(),
        source: "poll",
        facts: facts.to_vec(),
        received_at: one.received_at,
        retry_count: 0,
        fresh: true,
        parked: false,
        initial: one.initial,
    }
}

/// Together, for one load and one flush; if that fails, each by itself, so that a poison order fails alone.
async fn apply_all(tx: &mut Tx<'_>, fresh: Vec<Logged>) -> Result<(), DbError> {
    db::savepoint(&mut tx.conn).await?;
    let before = std::mem::take(&mut tx.effects);
    match apply::logged(tx, fresh.clone()).await {
        Ok(()) => {
            db::release_savepoint(&mut tx.conn).await?;
            let new = std::mem::replace(&mut tx.effects, before);
            tx.effects.absorb(new);
            Ok(())
        }
        Err(error) if error.is_transient() => Err(error),
        Err(error) => {
            tracing::warn!(%error, orders = fresh.len(), "orders of a page are applied one by one");
            tx.effects = before;
            db::rollback_to_savepoint(&mut tx.conn).await?;
            for one in fresh {
                let before = std::mem::take(&mut tx.effects);
                apply::one_by_itself(tx, vec![one]).await?;
                let new = std::mem::replace(&mut tx.effects, before);
                tx.effects.absorb(new);
            }
            Ok(())
        }
    }
}

fn row(id: WebhookId, one: &Polled) -> NewWebhook<'_> {
    let (status, code, message) = log::first_status(&one.connection, &one.reading.verdict);
    NewWebhook {
        id,
        marketplace_id: one.connection.id,
        source: "poll",
        event_type: &one.reading.event_type,
        event_key: &one.event_key,
        explicit_id: false,
        body_hash: &one.body_hash,
        payload: &one.body,
        headers: "{}",
        signature: None,
        key_id: None,
        status,
        error_code: code,
        error_message: message,
        occurred_at: one.reading.occurred_at,
        initial: one.initial,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_reads_back_as_it_was_written() {
        let seen = Observation {
            product_id: "X-1".into(),
            market: String::new(),
            quantity: 7,
            at: Timestamp::from_seconds(1_767_955_800),
        };
        let body = serde_json::to_vec(&seen).unwrap();
        assert_eq!(own_words("observed:X-1::7:1767955800000000", &body), Some(seen.reading()));
        assert_eq!(own_words("order:X-1", &body), None, "what an adapter wrote is its own to read");
    }
}
