//! Counting the shelf (rule 13). A count says how many pieces lay there at some time; what moved since is replayed on it, so a
//! list that was walked in the morning and typed in at night does not undo the day's sales.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::catalogue::by_hand;
use super::working::{Cause, Change, LevelKey, PostError, Working};
use super::writer::Command;
use super::{CommandError, Tx};
use crate::db::inventory::LevelRow;
use crate::db::places::Since;
use crate::db::{Conn, DbError, places, products};
use crate::domain::ids::{LocationId, ProductId};
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

/// One shelf, counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    pub dry_run: bool,
    pub actor: String,
}

/// What a count found and did.
#[derive(Clone, Debug, Serialize)]
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

/// Why a count cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The stock changed since the version that it was made against; this is the version.
    Stale(i64),
    Other(&'static str, String),
}

/// What counts name, as far as it is there.
pub(super) struct Names {
    products: HashMap<String, ProductId>,
    places: HashMap<String, LocationId>,
}

impl Names {
    pub async fn load(conn: &mut Conn<'_>, counts: &[Count]) -> Result<Self, DbError> {
        let skus: BTreeSet<&str> = counts.iter().map(|count| count.sku.as_str()).collect();
        let found = products::list_by_sku(conn, skus).await?;
        let places = products::locations(conn).await?;
        Ok(Self {
            products: found.into_iter().map(|row| (row.sku.to_string(), row.id)).collect(),
            places: places.into_iter().map(|(id, code)| (code, id)).collect(),
        })
    }

    /// The shelf of a count.
    pub fn of(&self, count: &Count) -> Result<LevelKey, (&'static str, &'static str)> {
        let product = self.products.get(count.sku.as_str()).ok_or(("sku", "there is no product with this SKU"))?;
        let place = self.places.get(&count.location).ok_or(("location", "there is no such location"))?;
        Ok((*product, *place))
    }
}

/// What a count would do, from what lies on its shelf and what moved there since it was counted.
pub(super) fn work_out(count: &Count, level: Option<&LevelRow>, since: &Since, now: Timestamp) -> Result<Counted, Refused> {
    let (on_hand, committed, version) = level.map_or((0, 0, 0), |level| (level.on_hand, level.committed, level.version));
    if count.expected_version.is_some_and(|expected| expected != version) {
        return Err(Refused::Stale(version));
    }
    let at = count.counted_at.unwrap_or(now);
    if at > now {
        return Err(Refused::Other("counted_at", "lies in the future".into()));
    }
    if at < since.counted {
        return Err(Refused::Other("counted_at", format!("a newer count of this shelf stands, of {}", since.counted)));
    }
    let open = if count.includes_open_orders { 0 } else { committed - since.committed };
    let after = count.count.get() + open + since.on_hand;
    Ok(Counted {
        sku: count.sku.to_string(),
        location: count.location.clone(),
        count: count.count.get(),
        moved_since: since.on_hand,
        on_hand_before: on_hand,
        on_hand_after: after,
        change: after - on_hand,
        version,
    })
}

/// Writes a count into the ledger, also one that finds what was thought: that it was counted is worth knowing.
pub(super) fn post(tx: &Tx<'_>, working: &mut Working, key: LevelKey, counted: &Counted, cause: Cause) -> Result<(), PostError> {
    let change = Change { on_hand: counted.change, ..Change::default() };
    working.post(tx, key, change, Cause { reason: Some("cycle_count".to_owned()), ..cause }).map(drop)
}

impl Command for PostCounts {
    type Output = Vec<Counted>;
    type Error = CountError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Vec<Counted>, CountError> {
        let levels = self.resolve(tx).await?;
        let mut working = Working::of_products(tx, levels.iter().map(|(product, _)| *product).collect()).await?;
        let (mut done, mut faults, mut counted_at) = (Vec::with_capacity(levels.len()), Vec::new(), BTreeMap::new());
        let at = |count: &Count| count.counted_at.unwrap_or(tx.now);
        let asked: Vec<_> =
            levels.iter().zip(&self.counts).map(|((product, place), count)| (*product, *place, at(count))).collect();
        let since = places::since(&mut tx.conn, &asked).await?;
        for (index, ((count, key), since)) in self.counts.iter().zip(&levels).zip(&since).enumerate() {
            match work_out(count, working.level(*key), since, tx.now) {
                Ok(counted) if self.dry_run => done.push(counted),
                Ok(counted) => {
                    working.ensure_level(tx, *key).await?;
                    let at = count.counted_at.unwrap_or(tx.now);
                    let source_key = format!("count:{}", tx.id::<uuid::Uuid>());
                    let cause = Cause { occurred_at: at, ..by_hand(tx, "adjusted", "manual", &self.actor, source_key) };
                    let posted = post(tx, &mut working, *key, &counted, cause);
                    posted.map_err(|error| CountError::NotPostable(error.to_string()))?;
                    let newest = counted_at.entry(key.0).or_insert(at);
                    *newest = at.max(*newest);
                    done.push(Counted { version: counted.version + 1, ..counted });
                }
                Err(Refused::Stale(version)) => return Err(CountError::Stale { index, version }),
                Err(Refused::Other(field, message)) => faults.push(Fault { index, field, message }),
            }
        }
        if !faults.is_empty() {
            return Err(CountError::Faults(faults));
        }
        if !self.dry_run {
            places::set_all_counted(&mut tx.conn, &counted_at).await?;
            working.flush(tx).await?;
        }
        Ok(done)
    }
}

impl PostCounts {
    /// The level of each count; every unknown name and every repetition is told at once.
    async fn resolve(&self, tx: &mut Tx<'_>) -> Result<Vec<LevelKey>, CountError> {
        let names = Names::load(&mut tx.conn, &self.counts).await?;
        let (mut faults, mut seen) = (Vec::new(), BTreeSet::new());
        let mut levels: Vec<LevelKey> = Vec::with_capacity(self.counts.len());
        for (index, count) in self.counts.iter().enumerate() {
            let fault = |field, message: &str| Fault { index, field, message: message.to_owned() };
            match names.of(count) {
                Err((field, why)) => faults.push(fault(field, why)),
                Ok(key) if seen.insert(key) => levels.push(key),
                Ok(_) => faults.push(fault("sku", "this shelf stands twice in the list")),
            }
            if count.counted_at.is_some_and(|at| at > tx.now) {
                faults.push(fault("counted_at", "lies in the future"));
            }
        }
        if faults.is_empty() { Ok(levels) } else { Err(CountError::Faults(faults)) }
    }
}
