//! The last step of a reconciliation: what was found twice is acted on, as the drift policy says. A delta or a push, never "local :=
//! remote"; and only where everything still stands as it was compared.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::Owner;
use super::judge::{self, Decision};
use super::page::{PageError, own};
use crate::db::alerts::{self, NewAlert};
use crate::db::observations::{self, FencedRow};
use crate::db::sync::{self, Decided, ItemView, NewItem};
use crate::db::{DbError, sync as runs};
use crate::domain::events::Drift;
use crate::domain::ids::{MovementId, ProductId};
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::pipeline::outbox;
use crate::pipeline::working::{Cause, Change, Working};
use crate::pipeline::writer::Command;
use crate::pipeline::{CommandError, Tx};
use crate::settings::DriftPolicy;

/// A difference that stood twice.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub row: FencedRow,
    pub expected: i64,
    pub remote: i64,
    pub cause: &'static str,
    /// When it was read: nothing may have happened since.
    pub asked_at: Timestamp,
}

/// Acts on some differences and writes down what was decided.
pub(super) struct Settle {
    pub connection: Arc<Connection>,
    pub owner: Owner,
    pub run: Uuid,
    pub actor: String,
    pub differences: Vec<Difference>,
}

/// How many were acted on, how many wait for a person, how many moved under our hands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acted {
    pub acted: i64,
    pub asked: i64,
    pub stale: i64,
}

impl Command for Settle {
    type Output = Acted;
    type Error = PageError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Acted, PageError> {
        own(tx, self.connection.id, &self.owner).await?;
        let mut acted = Acted::default();
        let mut items = Vec::new();
        let mut new_alerts = Vec::new();
        for one in &self.differences {
            let policy = self.connection.policy.drift_policy;
            let decision = judge::decide(policy, one.remote - one.expected, one.row.parts == 1);
            let act = Act { connection: &self.connection, run: self.run, actor: &self.actor, difference: one, decision };
            let done = act.run(tx).await?;
            match (&done, decision) {
                (Done::Stale(_), _) => acted.stale += 1,
                (Done::Yes(_), Decision::TellAgain | Decision::Post) => acted.acted += 1,
                (Done::Yes(_), Decision::Alert | Decision::Ask) => acted.asked += 1,
            }
            if matches!(decision, Decision::Alert | Decision::Ask) && matches!(done, Done::Yes(_)) {
                new_alerts.push(act.alert(tx));
            }
            items.push(item(one, decision, done));
        }
        alerts::open_once(&mut tx.conn, &new_alerts, tx.now).await?;
        sync::put_items(&mut tx.conn, self.run, &items, tx.now).await?;
        Ok(acted)
    }
}

fn item(one: &Difference, decision: Decision, done: Done) -> NewItem {
    let (decision, reason, movement_id) = match done {
        Done::Yes(movement) => (decision.as_str(), None, movement),
        Done::Stale(why) => ("skipped", Some(why.to_owned()), None),
    };
    NewItem {
        listing_id: Some(one.row.id),
        external_id: one.row.marketplace_product_id.clone(),
        market: one.row.market.clone(),
        sku: Some(one.row.sku.clone()),
        local: Some(one.row.listed_stock),
        expected: Some(one.expected),
        remote: Some(one.remote),
        cause: Some(one.cause),
        decision,
        reason,
        strike: 2,
        movement_id,
    }
}

enum Done {
    Yes(Option<MovementId>),
    Stale(&'static str),
}

/// One difference, decided.
struct Act<'a> {
    connection: &'a Connection,
    run: Uuid,
    actor: &'a str,
    difference: &'a Difference,
    decision: Decision,
}

impl Act<'_> {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Done, DbError> {
        let Difference { row, expected, remote, asked_at, .. } = self.difference;
        let mut working = Working::of_products(tx, BTreeSet::from([row.product_id])).await?;
        let products: Vec<ProductId> = working.parts(row.id);
        // Under the lock: what is compared here cannot change any more.
        let Some(listing) = working.listings.get(&row.id) else { return Ok(Done::Stale("the listing is gone")) };
        let stands = listing.row.expected == Some(*expected)
            && listing.row.push_state != "in_flight"
            && listing.row.wanted_version == listing.row.acked_version
            && listing.row.sent_at.is_none_or(|sent| sent < *asked_at);
        if !stands {
            return Ok(Done::Stale("it changed while it was decided about"));
        }
        if !observations::moved_since(&mut tx.conn, &products, *asked_at).await?.is_empty() {
            return Ok(Done::Stale("its stock moved while it was decided about"));
        }
        let mut movement = None;
        let event = self.event(tx, &working);
        match self.decision {
            Decision::Alert | Decision::Ask => {}
            Decision::TellAgain | Decision::Post => {
                // That is what it shows: from here on the number we want is another one, and is told.
                if let Some(listing) = working.listings.get_mut(&row.id) {
                    listing.row.expected = Some(*remote);
                    listing.changed = true;
                }
                let change = Change { on_hand: (remote - expected).saturating_mul(row.units), ..Change::default() };
                match (self.decision, self.connection.locations.first().copied()) {
                    (Decision::Post, Some(location)) => {
                        working.ensure_level(tx, (row.product_id, location)).await?;
                        let posted = working.post(tx, (row.product_id, location), change, self.cause(tx.now));
                        movement = Some(posted.map_err(|why| DbError::inconsistent("inventory", "on_hand", why.to_string()))?);
                    }
                    _ => products.iter().for_each(|product| working.touch(*product, self.cause(tx.now))),
                }
                working.flush(tx).await?;
            }
        }
        outbox::write(tx, &[event]).await?;
        Ok(Done::Yes(movement))
    }

    fn cause(&self, now: Timestamp) -> Cause {
        let Difference { row, expected, remote, cause, .. } = self.difference;
        Cause {
            movement_type: "reconciliation",
            change_type: "reconciliation",
            marketplace_id: Some(self.connection.id),
            order_id: None,
            line_id: None,
            webhook_id: None,
            reference_type: Some("reconciliation"),
            reference_id: Some(self.run.to_string()),
            actor: self.actor.to_owned(),
            reason: Some((*cause).to_owned()),
            note: Some(format!("{} showed {remote} where {expected} was expected", self.connection.code)),
            source_key: format!("reconciliation:{}:{}", self.run, row.id),
            occurred_at: now,
        }
    }

    fn event(&self, tx: &Tx<'_>, working: &Working) -> crate::db::events::NewEvent {
        let Difference { row, expected, remote, cause, .. } = self.difference;
        let drift = Drift {
            product_id: row.product_id,
            sku: row.sku.clone(),
            marketplace: self.connection.code.clone(),
            listing: row.marketplace_product_id.clone(),
            expected: *expected,
            observed: *remote,
            cause,
            decision: self.decision.as_str(),
        };
        let key = format!("drift:{}:{}:{}", self.run, row.id, self.decision.as_str());
        outbox::drift(tx, drift, working.totals(row.product_id), key)
    }

    fn alert(&self, tx: &Tx<'_>) -> NewAlert {
        let Difference { row, expected, remote, .. } = self.difference;
        let code = &self.connection.code;
        let question = if self.decision == Decision::Ask { "; who is right?" } else { "" };
        NewAlert {
            id: tx.id(),
            kind: "listing-drift",
            severity: "warning",
            dedup_key: format!("listing-drift:{}", row.id),
            product_id: Some(row.product_id),
            marketplace_id: Some(self.connection.id),
            message: format!("{code}: {} shows {remote} where {expected} was expected{question}", row.sku),
        }
    }
}

/// What a person says of differences that wait for one.
pub struct Approve {
    pub connection: Arc<Connection>,
    pub run: Uuid,
    /// Who is right; `None`: leave it as it is.
    pub policy: Option<DriftPolicy>,
    /// Only these products; empty: all that wait.
    pub skus: Vec<String>,
    pub by: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ApproveError {
    #[error("nothing of this run waits for a decision")]
    NothingWaits,
    #[error("the run is not over yet")]
    NotOver,
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for ApproveError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

/// What became of each.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Approved {
    pub sku: Option<String>,
    pub external_id: String,
    pub decision: String,
    pub reason: Option<String>,
}

/// Items read at most.
const ITEMS_MAX: i64 = 10_000;

impl Command for Approve {
    type Output = Vec<Approved>;
    type Error = ApproveError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Vec<Approved>, ApproveError> {
        let run = runs::get(&mut tx.conn, self.run).await?.ok_or(ApproveError::NothingWaits)?;
        if matches!(run.status.as_str(), "queued" | "running") {
            return Err(ApproveError::NotOver);
        }
        let all = runs::items(&mut tx.conn, self.run, ITEMS_MAX).await?;
        let named = |item: &ItemView| self.skus.is_empty() || item.sku.as_ref().is_some_and(|sku| self.skus.contains(sku));
        let waiting: Vec<ItemView> = all.into_iter().filter(|item| item.decision == "ask" && named(item)).collect();
        if waiting.is_empty() {
            return Err(ApproveError::NothingWaits);
        }
        let mut approved = Vec::new();
        let mut over = Vec::new();
        for item in &waiting {
            let (decision, reason, movement_id) = self.decide(tx, item).await?;
            let decided = Decided {
                run: self.run,
                external_id: &item.external_id,
                market: &item.market,
                decision,
                reason,
                movement_id,
                by: &self.by,
            };
            runs::decide_item(&mut tx.conn, &decided, tx.now).await?;
            over.extend(item.listing_id.map(|id| format!("listing-drift:{id}")));
            approved.push(Approved {
                sku: item.sku.clone(),
                external_id: item.external_id.clone(),
                decision: decision.to_owned(),
                reason: reason.map(str::to_owned),
            });
        }
        alerts::resolve(&mut tx.conn, over.iter().map(String::as_str), tx.now).await?;
        Ok(approved)
    }
}

impl Approve {
    async fn decide(
        &self,
        tx: &mut Tx<'_>,
        item: &ItemView,
    ) -> Result<(&'static str, Option<&'static str>, Option<MovementId>), DbError> {
        let Some(policy) = self.policy else { return Ok(("left", None, None)) };
        let (Some(listing), Some(expected), Some(remote)) = (item.listing_id, item.expected, item.remote) else {
            return Ok(("skipped", Some("the listing is gone"), None));
        };
        let rows = observations::fenced(&mut tx.conn, &[listing]).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(("skipped", Some("the listing is gone"), None)) };
        let decision = judge::decide(policy, remote - expected, row.parts == 1);
        let cause = "decided_by_hand";
        let difference = Difference { row, expected, remote, cause, asked_at: item.updated_at };
        let act = Act { connection: &self.connection, run: self.run, actor: &self.by, difference: &difference, decision };
        Ok(match act.run(tx).await? {
            Done::Stale(why) => ("skipped", Some(why), None),
            // Which part of a bundle there is more or less of cannot be posted: its parts are counted instead.
            Done::Yes(_) if decision == Decision::Ask => ("ask", Some("a bundle's parts have to be counted"), None),
            Done::Yes(movement) => (decision.as_str(), None, movement),
        })
    }
}
