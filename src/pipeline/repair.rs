//! Bringing a level back to its ledger. The ledger is what happened; a level that says something else was changed past the hub
//! (by hand in the database, by a broken disk). Nothing is edited: the first movement writes down what the level was found to
//! differ by, the second takes it back, and both stay to be seen.

use std::collections::BTreeSet;

use super::Tx;
use super::catalogue::by_hand;
use super::working::{Cause, Working};
use super::writer::Command;
use crate::db::inventory::{self, LevelChange, LevelRow};
use crate::db::movements::{self, Movement};
use crate::db::verify::{self, BrokenLevel};
use crate::db::{DbError, products};

/// Levels repaired in one transaction.
const REPAIRS_MAX: i64 = 500;

pub struct Repair {
    pub actor: String,
}

/// A level that was brought back.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Repaired {
    pub sku: String,
    pub location: String,
    pub on_hand_found: i64,
    pub on_hand: i64,
    pub available_found: i64,
    pub available: i64,
}

impl Command for Repair {
    type Output = Vec<Repaired>;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Vec<Repaired>, DbError> {
        let broken = verify::broken_levels(&mut tx.conn, REPAIRS_MAX).await?;
        if broken.is_empty() {
            return Ok(Vec::new());
        }
        let touched: BTreeSet<_> = broken.iter().map(|level| level.product_id).collect();
        inventory::lock(&mut tx.conn, touched.iter().copied()).await?;
        let mut rows = Vec::with_capacity(broken.len() * 2);
        let mut changes = Vec::with_capacity(broken.len());
        for level in &broken {
            rows.extend(self.movements(tx, level));
            changes.push(back(level));
        }
        // The one place beside `Working` that writes levels: it mends what `Working` relies on.
        inventory::apply(&mut tx.conn, &changes, tx.now).await?;
        movements::insert(&mut tx.conn, &rows, tx.now).await?;
        let mut working = Working::of_products(tx, touched.clone()).await?;
        for product in touched {
            let cause = by_hand(tx, "reconciliation", "reconciliation", &self.actor, String::new());
            working.touch(product, cause);
        }
        working.flush(tx).await?;
        self.report(tx, &broken).await
    }
}

impl Repair {
    /// Down (or up) to what was found, and back again.
    fn movements(&self, tx: &Tx<'_>, level: &BrokenLevel) -> [Movement; 2] {
        let (found, ledger) = (level.found(level.top + 1), level.ledger(level.top + 2));
        let words = ["the level was found to differ from its ledger", "brought back to the ledger"];
        [(found, ledger, words[0]), (ledger, found, words[1])].map(|(after, before, note)| {
            let id: uuid::Uuid = tx.id();
            let cause = Cause {
                reason: Some("verify-repair".into()),
                note: Some(note.into()),
                ..by_hand(tx, "reconciliation", "reconciliation", &self.actor, format!("verify-repair:{id}"))
            };
            Movement {
                id: id.into(),
                after,
                on_hand: after.on_hand - before.on_hand,
                committed: after.committed - before.committed,
                reserved: after.reserved - before.reserved,
                unsellable: after.unsellable - before.unsellable,
                incoming: after.incoming - before.incoming,
                movement_type: cause.movement_type,
                marketplace_id: None,
                order_line_id: None,
                webhook_id: None,
                reference_type: None,
                reference_id: None,
                actor: cause.actor,
                reason: cause.reason,
                note: cause.note,
                source_key: cause.source_key,
                occurred_at: cause.occurred_at,
            }
        })
    }

    async fn report(&self, tx: &mut Tx<'_>, broken: &[BrokenLevel]) -> Result<Vec<Repaired>, DbError> {
        let known = products::list_by_id(&mut tx.conn, broken.iter().map(|level| level.product_id)).await?;
        let places = products::locations(&mut tx.conn).await?;
        let done = broken.iter().map(|level| {
            let (found, ledger) = (level.found(0), level.ledger(0));
            let sku = known.iter().find(|row| row.id == level.product_id).map(|row| row.sku.to_string());
            let place = places.iter().find(|(id, _)| *id == level.location_id).map(|(_, code)| code.clone());
            Repaired {
                sku: sku.unwrap_or_default(),
                location: place.unwrap_or_default(),
                on_hand_found: found.on_hand,
                on_hand: ledger.on_hand,
                available_found: found.available(),
                available: ledger.available(),
            }
        });
        Ok(done.collect())
    }
}

/// What the level's row changes by: its counters go back, its version counts the two movements, however it was left.
fn back(level: &BrokenLevel) -> LevelChange {
    let LevelRow { on_hand, committed, reserved, unsellable, incoming, .. } = level.ledger(0);
    let found = level.found(0);
    LevelChange {
        product_id: level.product_id,
        location_id: level.location_id,
        on_hand: on_hand - found.on_hand,
        committed: committed - found.committed,
        reserved: reserved - found.reserved,
        unsellable: unsellable - found.unsellable,
        incoming: incoming - found.incoming,
        movements: level.top + 2 - level.version,
    }
}
