//! Counting the shelf (rule 13). A count says how many pieces lay there at some time; what moved since is replayed on it, so a
//! list that was walked in the morning and typed in at night does not undo the day's sales.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::{by_hand, not_postable};
use super::working::{Cause, Change, Working};
use super::writer::Command;
use super::{CommandError, Tx};
use crate::db::{DbError, places, products};
use crate::domain::ids::{LocationId, ProductId};
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

/// One shelf, counted.
#[derive(Clone, Debug)]
pub struct Count {
    pub sku: Sku,
    pub location: String,
    pub count: Quantity,
    /// When it was counted; now where nobody says.
    pub counted_at: Option<Timestamp>,
    /// Whether goods of orders that are not shipped yet were counted too. Where not, what is committed is added.
    pub includes_open_orders: bool,
    pub expected_version: Option<i64>,
}

/// All of these counts or none of them.
pub struct PostCounts {
    pub counts: Vec<Count>,
    pub reason: &'static str,
    pub dry_run: bool,
    pub actor: String,
}

/// What a count found and did.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Counted {
    pub sku: String,
    pub location: String,
    pub count: i64,
    /// What moved after the count and was replayed on it.
    pub moved_since: i64,
    pub on_hand_before: i64,
    pub on_hand_after: i64,
    pub change: i64,
    pub version: i64,
}

/// What is wrong with one of the counts, by its position in the list.
#[derive(Clone, Debug)]
pub struct Fault {
    pub index: usize,
    pub field: &'static str,
    pub message: String,
}

#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// Nothing was changed; every fault is named.
    #[error("{} of the counts cannot be used", .0.len())]
    Faults(Vec<Fault>),
    /// The stock changed since the version that this count was made against.
    #[error("the stock of count {index} changed meanwhile: its version is {version}")]
    Stale { index: usize, version: i64 },
    #[error("the counts cannot be posted: {0}")]
    NotPostable(String),
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for CountError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

type Level = (ProductId, LocationId);

impl Command for PostCounts {
    type Output = Vec<Counted>;
    type Error = CountError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Vec<Counted>, CountError> {
        let levels = self.resolve(tx).await?;
        let mut working = Working::of_products(tx, levels.iter().map(|(product, _)| *product).collect()).await?;
        let mut done = Vec::with_capacity(levels.len());
        let mut faults = Vec::new();
        for (index, (count, level)) in self.counts.iter().zip(&levels).enumerate() {
            match self.one(tx, &mut working, index, count, *level).await? {
                Ok(counted) => done.push(counted),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(CountError::Faults(faults));
        }
        if !self.dry_run {
            working.flush(tx).await?;
        }
        Ok(done)
    }
}

impl PostCounts {
    /// The level of each count; every unknown name and every repetition is told at once.
    async fn resolve(&self, tx: &mut Tx<'_>) -> Result<Vec<Level>, CountError> {
        let skus: BTreeSet<&str> = self.counts.iter().map(|count| count.sku.as_str()).collect();
        let known: BTreeMap<String, ProductId> = products::list_by_sku(&mut tx.conn, skus.iter().copied())
            .await?
            .into_iter()
            .map(|row| (row.sku.to_string(), row.id))
            .collect();
        let places = products::locations(&mut tx.conn).await?;
        let mut faults = Vec::new();
        let mut levels: Vec<Level> = Vec::with_capacity(self.counts.len());
        let mut seen = BTreeSet::new();
        for (index, count) in self.counts.iter().enumerate() {
            let product = known.get(count.sku.as_str());
            let place = places.iter().find(|(_, code)| *code == count.location).map(|(id, _)| *id);
            let fault = |field, message: &str| Fault { index, field, message: message.to_owned() };
            match (product, place) {
                (None, _) => faults.push(fault("sku", "there is no product with this SKU")),
                (_, None) => faults.push(fault("location", "there is no such location")),
                (Some(product), Some(place)) if seen.insert((*product, place)) => levels.push((*product, place)),
                _ => faults.push(fault("sku", "this shelf stands twice in the list")),
            }
            if count.counted_at.is_some_and(|at| at > tx.now) {
                faults.push(fault("counted_at", "lies in the future"));
            }
        }
        if faults.is_empty() { Ok(levels) } else { Err(CountError::Faults(faults)) }
    }

    async fn one(
        &self,
        tx: &mut Tx<'_>,
        working: &mut Working,
        index: usize,
        count: &Count,
        key: Level,
    ) -> Result<Result<Counted, Fault>, CountError> {
        if !self.dry_run {
            working.ensure_level(tx, key).await?;
        }
        let level = working.level(key).copied();
        let (on_hand, committed, version) = level.map_or((0, 0, 0), |level| (level.on_hand, level.committed, level.version));
        if count.expected_version.is_some_and(|expected| expected != version) {
            return Err(CountError::Stale { index, version });
        }
        let at = count.counted_at.unwrap_or(tx.now);
        let newest = places::last_count(&mut tx.conn, key.0, key.1).await?;
        if at < newest {
            let message = format!("a newer count of this shelf stands, of {newest}");
            return Ok(Err(Fault { index, field: "counted_at", message }));
        }
        let (moved, committed_since) = places::moved_since(&mut tx.conn, key.0, key.1, at).await?;
        let open = if count.includes_open_orders { 0 } else { committed - committed_since };
        let after = count.count.get() + open + moved;
        let change = after - on_hand;
        if !self.dry_run {
            self.post(tx, working, key, change, at)?;
            places::set_counted(&mut tx.conn, key.0, at).await?;
        }
        Ok(Ok(Counted {
            sku: count.sku.to_string(),
            location: count.location.clone(),
            count: count.count.get(),
            moved_since: moved,
            on_hand_before: on_hand,
            on_hand_after: after,
            change,
            version: if self.dry_run { version } else { version + 1 },
        }))
    }

    /// Also a count that finds what was thought goes into the ledger: that it was counted is worth knowing.
    fn post(&self, tx: &Tx<'_>, working: &mut Working, key: Level, change: i64, at: Timestamp) -> Result<(), CountError> {
        let source_key = format!("count:{}", tx.id::<uuid::Uuid>());
        let cause = Cause {
            reason: Some(self.reason.to_owned()),
            occurred_at: at,
            ..by_hand(tx, "adjusted", "manual", &self.actor, source_key)
        };
        let posted = working.post(tx, key, Change { on_hand: change, ..Change::default() }, cause);
        posted.map(drop).map_err(|error| match not_postable(error) {
            super::catalogue::CatalogueError::NotPostable(why) => CountError::NotPostable(why),
            other => CountError::NotPostable(other.to_string()),
        })
    }
}
