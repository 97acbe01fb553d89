//! Writing down how pushes ended: the answers that wait for the writer at the same time are written in one pass.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::PushLimits;
use super::circuit::auth_key;
use super::outcome::{ended_alerts, known_again, message, refusal_key, stale};
use crate::db::alerts::{self, NewAlert};
use crate::db::pushes::{self, Attempt, DueRow, InFlightRow, PushKey, Settled};
use crate::db::{DbError, accounts, marketplaces, sync};
use crate::domain::ids::{ListingId, MarketplaceId};
use crate::domain::time::Timestamp;
use crate::marketplaces::{Connection, Outcome};
use crate::pipeline::Tx;
use crate::pipeline::writer::Together;

/// One pushed item and its end.
#[derive(Clone, Debug)]
pub struct Ended {
    pub row: DueRow,
    pub key: String,
    pub outcome: Outcome,
    pub status: Option<u16>,
}

/// Writes down how pushes ended. A listing whose row moved on since (another owner, a take-over) is left as it is, but what we
/// believed of it is gone.
#[derive(Clone)]
pub struct Settle {
    pub connection: Arc<Connection>,
    pub ended: Vec<Ended>,
    pub sent_at: Timestamp,
    /// Requests that left for them.
    pub calls: i64,
    pub limits: PushLimits,
    /// The lease that must still be ours, and who we are; `None` where no other process can be.
    pub lease: Option<(String, String)>,
}

impl Together for Settle {
    type Output = ();

    fn rows(&self) -> usize {
        self.ended.len()
    }

    async fn run(settles: &[&Self], tx: &mut Tx<'_>) -> Result<Vec<()>, DbError> {
        // Two that speak of one listing (the late answer of a former owner, and ours) come one after the other.
        let mut rest = settles;
        while !rest.is_empty() {
            let mut seen = HashSet::new();
            let apart = |settle: &&&Self| settle.ended.iter().all(|ended| seen.insert(ended.row.id));
            let many = rest.iter().take_while(apart).count().max(1);
            let (now, later) = rest.split_at(many);
            settle_all(now, tx).await?;
            rest = later;
        }
        Ok(vec![(); settles.len()])
    }
}

/// What of them is over, and what is new, for others to see.
#[derive(Default)]
struct Alerts {
    over: Vec<String>,
    opened: Vec<NewAlert>,
}

async fn settle_all(settles: &[&Settle], tx: &mut Tx<'_>) -> Result<(), DbError> {
    let owners = owners(settles, tx).await?;
    let mut by_listing: HashMap<ListingId, (&Settle, &Ended)> = HashMap::new();
    for settle in settles {
        by_listing.extend(settle.ended.iter().map(|ended| (ended.row.id, (*settle, ended))));
    }
    let rows = pushes::lock(&mut tx.conn, by_listing.keys().copied()).await?;
    let mut settled = Vec::with_capacity(rows.len());
    let mut alerts = Alerts::default();
    for row in rows {
        let Some((settle, ended)) = by_listing.get(&row.id) else { continue };
        let end = settle.settled(tx, &row, ended, &owners, &mut alerts);
        // Also what is to be read back: the pusher has to learn when.
        if matches!(end.push_state, "dirty" | "unknown") {
            tx.effects.to_push.insert(settle.connection.id);
        }
        settled.push(end);
    }
    pushes::settle(&mut tx.conn, &settled, tx.now).await?;
    let mut attempts: Vec<Attempt> = Vec::with_capacity(by_listing.len());
    for settle in settles {
        attempts.extend(settle.ended.iter().map(|ended| settle.attempt(tx, ended)));
    }
    pushes::insert_attempts(&mut tx.conn, &attempts, tx.now).await?;
    count_calls(settles, tx).await?;
    if !alerts.over.is_empty() {
        alerts::resolve(&mut tx.conn, alerts.over.iter().map(String::as_str), tx.now).await?;
    }
    if !alerts.opened.is_empty() {
        alerts::open_once(&mut tx.conn, &alerts.opened, tx.now).await?;
    }
    keep_keys(settles, tx).await?;
    for settle in settles {
        settle.auth(tx).await?;
    }
    Ok(())
}

/// Who holds the leases they were sent under.
async fn owners(settles: &[&Settle], tx: &mut Tx<'_>) -> Result<HashMap<String, String>, DbError> {
    let mut names: Vec<&str> = settles.iter().filter_map(|settle| Some(settle.lease.as_ref()?.0.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(accounts::owners(&mut tx.conn, names.into_iter(), tx.now).await?.into_iter().collect())
}

async fn count_calls(settles: &[&Settle], tx: &mut Tx<'_>) -> Result<(), DbError> {
    let mut calls: HashMap<MarketplaceId, i64> = HashMap::new();
    for settle in settles {
        *calls.entry(settle.connection.id).or_default() += settle.calls;
    }
    sync::add_calls(&mut tx.conn, calls.into_iter().map(|(id, calls)| (id, "push", calls)), tx.now).await
}

/// What was claimed may have waited for its turn: a marketplace counts from when it was told, which is at most now.
async fn keep_keys(settles: &[&Settle], tx: &mut Tx<'_>) -> Result<(), DbError> {
    let key = |settle: &Settle, ended: &Ended| {
        (settle.connection.id, settle.connection.adapter.push_key(&settle.connection, &super::batch::item(&ended.row)))
    };
    let spaced = settles.iter().filter(|settle| !settle.connection.adapter.traits().key_interval.is_zero());
    let mut keys: Vec<PushKey> = spaced.flat_map(|settle| settle.ended.iter().map(move |ended| key(settle, ended))).collect();
    keys.sort_unstable();
    keys.dedup();
    pushes::take_keys(&mut tx.conn, &keys, tx.now, tx.now).await.map(drop)
}

impl Settle {
    fn settled(
        &self,
        tx: &Tx<'_>,
        row: &InFlightRow,
        ended: &Ended,
        owners: &HashMap<String, String>,
        alerts: &mut Alerts,
    ) -> Settled {
        let owner = self.lease.as_ref().is_none_or(|(name, owner)| owners.get(name) == Some(owner));
        let ours = owner && row.push_state == "in_flight" && row.sent_version == ended.row.wanted_version;
        if !ours {
            return stale(tx, row);
        }
        let end = known_again(row, self.end(tx, row, &ended.outcome));
        alerts.over.extend(ended_alerts(row, &ended.row, &end));
        alerts.opened.extend(self.refusal(tx, ended));
        end
    }

    fn refusal(&self, tx: &Tx<'_>, ended: &Ended) -> Option<NewAlert> {
        let Outcome::Permanent { message, .. } = &ended.outcome else { return None };
        let (code, name) = (&self.connection.code, &ended.row.marketplace_product_id);
        Some(NewAlert {
            id: tx.id(),
            kind: "listing-refused",
            severity: "warning",
            dedup_key: refusal_key(&ended.row),
            product_id: None,
            marketplace_id: Some(self.connection.id),
            message: format!("{code} refuses the number of {name}: {message}"),
        })
    }

    fn attempt(&self, tx: &Tx<'_>, ended: &Ended) -> Attempt {
        let code = match &ended.outcome {
            Outcome::Retry { code, .. } | Outcome::Permanent { code, .. } => code.clone(),
            Outcome::Conflict { .. } => Some("conflict".into()),
            _ => None,
        };
        Attempt {
            id: tx.id(),
            listing_id: ended.row.id,
            marketplace_id: self.connection.id,
            version: ended.row.wanted_version,
            quantity: ended.row.listed_stock,
            idempotency_key: ended.key.clone(),
            trigger_type: ended.row.push_trigger.clone(),
            sync_log_id: ended.row.push_log_id,
            sent_at: self.sent_at,
            outcome: ended.outcome.name(),
            status_code: ended.status.map(i64::from),
            code,
            message: message(&ended.outcome),
        }
    }

    async fn auth(&self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let why = self.ended.iter().find_map(|e| if let Outcome::Auth { message } = &e.outcome { Some(message) } else { None });
        match why {
            Some(why) => pause(tx, &self.connection, why).await,
            None => Ok(()),
        }
    }
}

/// Refused credentials do not get better by asking again: say so. Its webhooks are still taken.
pub(super) async fn pause(tx: &mut Tx<'_>, connection: &Connection, why: &str) -> Result<(), DbError> {
    marketplaces::set_status(&mut tx.conn, connection.id, "auth_error", tx.now).await?;
    tx.effects.connections_changed = true;
    let code = &connection.code;
    let alert = NewAlert {
        id: tx.id(),
        kind: "marketplace-auth",
        severity: "critical",
        dedup_key: auth_key(code),
        product_id: None,
        marketplace_id: Some(connection.id),
        message: format!("{code} refuses our credentials, pushes to it are paused: {why}"),
    };
    alerts::open_once(&mut tx.conn, &[alert], tx.now).await.map(drop)
}
