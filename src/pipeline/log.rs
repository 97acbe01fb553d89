//! Verified → Logged: one row per event, decided by a unique key, never by looking first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::Tx;
use super::intake::{Arrival, Receipt};
use crate::db::DbError;
use crate::db::alerts::{self, NewAlert};
use crate::db::webhooks::{self, NewWebhook};
use crate::domain::fact::Fact;
use crate::domain::ids::{MarketplaceId, WebhookId};
use crate::domain::time::Timestamp;
use crate::marketplaces::{Connection, Verdict};

/// An event that stands in the log and waits to be applied. Made here and by the retry of logged rows, nowhere else.
#[derive(Clone, Debug)]
pub struct Logged {
    pub id: WebhookId,
    pub connection: Arc<Connection>,
    pub event_key: String,
    pub source: &'static str,
    pub facts: Vec<Fact>,
    pub received_at: Timestamp,
    /// How often applying it has failed so far.
    pub retry_count: i64,
    /// Logged by this transaction: its row says processed already.
    pub fresh: bool,
    /// It waited for a mapping.
    pub parked: bool,
    /// Read by a connection's first look at its past: an order first seen this way is history, not a sale of now.
    pub initial: bool,
}

pub(super) struct Recorded {
    /// One per arrival, in their order.
    pub receipts: Vec<Receipt>,
    /// The new ones that carry facts.
    pub logged: Vec<Logged>,
}

/// Writes all arrivals in one statement; what was there already is counted.
pub(super) async fn record(tx: &mut Tx<'_>, arrivals: &[&Arrival]) -> Result<Recorded, DbError> {
    let ids: Vec<WebhookId> = arrivals.iter().map(|_| tx.id()).collect();
    let new: Vec<NewWebhook<'_>> = arrivals.iter().zip(&ids).map(|(arrival, id)| row(*id, arrival)).collect();
    let inserted: HashSet<WebhookId> = webhooks::insert_once(&mut tx.conn, &new, tx.now).await?.into_iter().collect();
    let known = repeats(tx, arrivals, &ids, &inserted).await?;
    let mut recorded = Recorded { receipts: Vec::with_capacity(arrivals.len()), logged: Vec::new() };
    let mut alerts = Vec::new();
    for (arrival, id) in arrivals.iter().zip(ids) {
        let duplicate = !inserted.contains(&id);
        let first = known.get(&(arrival.connection().id, arrival.event_key())).map_or(id, |known| known.id);
        recorded.receipts.push(Receipt { id: if duplicate { first } else { id }, duplicate });
        if duplicate {
            continue;
        }
        match &arrival.reading().verdict {
            Verdict::Facts(facts) => recorded.logged.push(Logged {
                id,
                connection: arrival.connection().clone(),
                event_key: arrival.event_key().to_owned(),
                source: "webhook",
                facts: facts.clone(),
                received_at: arrival.received_at(),
                retry_count: 0,
                fresh: true,
                parked: false,
                initial: false,
            }),
            Verdict::Failed(error) if error.code == "no-id" => alerts.push(alert(tx, arrival, "no-id", &error.message)),
            Verdict::Failed(_) | Verdict::Ignored | Verdict::Hint { .. } => {}
        }
    }
    alerts::open_once(&mut tx.conn, &alerts, tx.now).await?;
    Ok(recorded)
}

fn row<'a>(id: WebhookId, arrival: &'a Arrival) -> NewWebhook<'a> {
    let reading = arrival.reading();
    let (status, code, message) = first_status(arrival.connection(), &reading.verdict);
    NewWebhook {
        id,
        marketplace_id: arrival.connection().id,
        source: "webhook",
        event_type: &reading.event_type,
        event_key: arrival.event_key(),
        explicit_id: arrival.explicit_id(),
        body_hash: arrival.body_hash(),
        payload: arrival.body(),
        headers: arrival.headers(),
        signature: Some(arrival.signature()),
        key_id: Some(arrival.key_id()),
        status,
        error_code: code,
        error_message: message,
        occurred_at: reading.occurred_at,
        initial: false,
    }
}

/// What a row is when it is written: applied in the same transaction, or to wait, or done with.
pub(super) fn first_status<'a>(
    connection: &Connection,
    verdict: &'a Verdict,
) -> (&'static str, Option<&'static str>, Option<&'a str>) {
    match verdict {
        // It is applied in the transaction that logs it, or nothing of both stands: what is done need not be marked as waiting.
        Verdict::Facts(_) => ("processed", None, None),
        Verdict::Ignored => ("ignored", None, None),
        Verdict::Hint { .. } if can_be_followed(connection) => ("pending", Some(HINT), None),
        Verdict::Hint { .. } => ("failed", Some("hint-only"), Some(NOT_FOLLOWED)),
        Verdict::Failed(error) => ("failed", Some(error.code), Some(error.message.as_str())),
    }
}

/// The error code of rows that wait until their order is fetched.
pub const HINT: &str = "hint";
pub(super) const NOT_FOLLOWED: &str = "it only says which order changed, and this marketplace cannot be asked for it";

/// Whether an order that a message only names can be read from its marketplace.
pub(super) fn can_be_followed(connection: &Connection) -> bool {
    let abilities = connection.adapter.traits().abilities;
    abilities.order || abilities.orders.is_some()
}

struct Known {
    id: WebhookId,
}

/// Counts the repeats. The same explicit id with another body is no repeat: it is kept as a dead letter of its own, with an alert.
async fn repeats<'a>(
    tx: &mut Tx<'_>,
    arrivals: &[&'a Arrival],
    ids: &[WebhookId],
    inserted: &HashSet<WebhookId>,
) -> Result<HashMap<(MarketplaceId, &'a str), Known>, DbError> {
    let again: Vec<&'a Arrival> =
        arrivals.iter().zip(ids).filter(|(_, id)| !inserted.contains(id)).map(|(arrival, _)| *arrival).collect();
    if again.is_empty() {
        return Ok(HashMap::new());
    }
    let mut times: BTreeMap<(MarketplaceId, &str), i64> = BTreeMap::new();
    for arrival in &again {
        *times.entry((arrival.connection().id, arrival.event_key())).or_default() += 1;
    }
    let keys: Vec<(MarketplaceId, &str, i64)> = times.into_iter().map(|((id, key), times)| (id, key, times)).collect();
    let standing = webhooks::count_duplicates(&mut tx.conn, &keys).await?;
    let standing: HashMap<(MarketplaceId, &str), _> =
        standing.iter().map(|k| ((k.marketplace_id, k.event_key.as_str()), k)).collect();
    let mut known = HashMap::new();
    let mut conflicts = Vec::new();
    for arrival in again {
        let Some(first) = standing.get(&(arrival.connection().id, arrival.event_key())) else { continue };
        known.insert((arrival.connection().id, arrival.event_key()), Known { id: first.id });
        if arrival.explicit_id() && first.body_hash != arrival.body_hash() {
            conflicts.push(arrival);
        }
    }
    for arrival in conflicts {
        keep_conflict(tx, arrival).await?;
    }
    Ok(known)
}

async fn keep_conflict(tx: &mut Tx<'_>, arrival: &Arrival) -> Result<(), DbError> {
    let key = format!("conflict:{}:{}", arrival.event_key(), hex::encode(arrival.body_hash()));
    let message = "the same delivery id came with another body";
    let id = tx.id();
    let row = NewWebhook {
        event_key: &key,
        explicit_id: false,
        status: "failed",
        error_code: Some("id-conflict"),
        error_message: Some(message),
        ..row(id, arrival)
    };
    webhooks::insert_once(&mut tx.conn, &[row], tx.now).await?;
    let alert = alert(tx, arrival, "id-conflict", message);
    alerts::open_once(&mut tx.conn, &[alert], tx.now).await.map(drop)
}

fn alert(tx: &Tx<'_>, arrival: &Arrival, kind: &'static str, message: &str) -> NewAlert {
    let code = &arrival.connection().code;
    NewAlert {
        id: tx.id(),
        kind,
        severity: "warning",
        dedup_key: format!("{kind}:{code}"),
        product_id: None,
        marketplace_id: Some(arrival.connection().id),
        message: format!("{code}: {message}"),
    }
}
