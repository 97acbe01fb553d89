//! Rows of counts. Each was counted at a time of its own: when the row says, else when it came. So it does not matter that the rows of a long
//! table are posted one stretch after the other: what was sold in between is replayed on each.

use std::collections::{BTreeMap, BTreeSet};

use super::products::{FaultText, Verdict};
use super::row_of;
use crate::context::Question;
use crate::db::imports::{Counts, ImportRow};
use crate::db::inventory::{self, LevelRow};
use crate::db::places::{self, Since};
use crate::db::{Conn, DbError};
use crate::domain::time::Timestamp;
use crate::pipeline::Tx;
use crate::pipeline::catalogue::by_hand;
use crate::pipeline::counts::{Count, Counted, Names, Refused, post, work_out};
use crate::pipeline::working::{Cause, LevelKey, Working};

/// Asks what rows would do, and does nothing.
pub struct CompareCounts {
    pub rows: Vec<Count>,
    pub now: Timestamp,
}

#[derive(Default)]
pub struct Compared {
    /// One per row, in order.
    pub verdicts: Vec<Result<Verdict, FaultText>>,
    /// Rows that find nothing where there is something.
    pub emptied: Vec<String>,
}

impl Question for CompareCounts {
    type Answer = Compared;

    async fn ask(self, conn: &mut Conn<'_>) -> Result<Compared, DbError> {
        let names = Names::load(conn, &self.rows).await?;
        let found: Vec<_> = self.rows.iter().map(|row| names.of(row)).collect();
        let levels = inventory::list(conn, found.iter().flatten().map(|(product, _)| *product)).await?;
        let levels: BTreeMap<LevelKey, LevelRow> =
            levels.into_iter().map(|level| ((level.product_id, level.location_id), level)).collect();
        let mut since = since(conn, &self.rows, &found, self.now).await?.into_iter();
        let mut compared = Compared::default();
        for (row, key) in self.rows.iter().zip(&found) {
            let verdict = match key {
                Err((field, why)) => Err((*field, (*why).to_owned())),
                Ok(key) => {
                    let level = levels.get(key);
                    if row.count.get() == 0 && level.is_some_and(|level| level.on_hand > 0) {
                        compared.emptied.push(row.sku.to_string());
                    }
                    let since =
                        since.next().ok_or_else(|| DbError::inconsistent("inventory_movements", "since", "a row is missing"))?;
                    work_out(row, level, &since, self.now).map(|counted| verdict(&counted)).map_err(told)
                }
            };
            compared.verdicts.push(verdict);
        }
        Ok(compared)
    }
}

/// Of those whose shelf is known, in order.
async fn since<E>(
    conn: &mut Conn<'_>,
    rows: &[Count],
    found: &[Result<LevelKey, E>],
    now: Timestamp,
) -> Result<Vec<Since>, DbError> {
    let known = rows.iter().zip(found).filter_map(|(row, key)| Some((row, key.as_ref().ok()?)));
    let asked: Vec<_> = known.map(|(row, (product, place))| (*product, *place, row.counted_at.unwrap_or(now))).collect();
    places::since(conn, &asked).await
}

const fn verdict(counted: &Counted) -> Verdict {
    if counted.change == 0 { Verdict::Unchanged } else { Verdict::Updated }
}

fn told(refused: Refused) -> FaultText {
    match refused {
        Refused::Stale(version) => ("expected_version", format!("the stock changed meanwhile: its version is {version}")),
        Refused::Other(field, why) => (field, why),
    }
}

pub(super) async fn apply(tx: &mut Tx<'_>, import: &ImportRow, rows: &[(i64, String)]) -> Result<Counts, DbError> {
    let counts = rows.iter().map(|(_, data)| row_of::<Count>(data)).collect::<Result<Vec<_>, DbError>>()?;
    let names = Names::load(&mut tx.conn, &counts).await?;
    let found: Vec<_> = counts.iter().map(|count| names.of(count)).collect();
    let products: BTreeSet<_> = found.iter().flatten().map(|(product, _)| *product).collect();
    let mut working = Working::of_products(tx, products).await?;
    let mut since = since(&mut tx.conn, &counts, &found, tx.now).await?.into_iter();
    let (mut done, mut counted_at) = (Counts::default(), BTreeMap::new());
    for ((count, key), (n, _)) in counts.iter().zip(&found).zip(rows) {
        let (Ok(key), Some(since)) = (key, key.is_ok().then(|| since.next()).flatten()) else {
            done.skipped += 1;
            continue;
        };
        // Somebody counted it meanwhile, or what it was held to is not so any more.
        let Ok(counted) = work_out(count, working.level(*key), &since, tx.now) else {
            done.skipped += 1;
            continue;
        };
        working.ensure_level(tx, *key).await?;
        let at = count.counted_at.unwrap_or(tx.now);
        let cause = Cause {
            occurred_at: at,
            reference_type: Some("import"),
            reference_id: Some(import.id.to_string()),
            ..by_hand(tx, "adjusted", "manual", &import.actor, format!("import:{}:{n}", import.id))
        };
        if post(tx, &mut working, *key, &counted, cause).is_err() {
            done.skipped += 1;
            continue;
        }
        let newest = counted_at.entry(key.0).or_insert(at);
        *newest = at.max(*newest);
        match verdict(&counted) {
            Verdict::Unchanged => done.unchanged += 1,
            _ => done.updated += 1,
        }
    }
    places::set_all_counted(&mut tx.conn, &counted_at).await?;
    working.flush(tx).await?;
    Ok(done)
}
