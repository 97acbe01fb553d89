//! Places: making one, and carrying stock from one to another.

use std::collections::BTreeSet;

use super::Tx;
use super::catalogue::{CatalogueError, by_hand, not_postable, taken};
use super::working::{Cause, Change, Working};
use super::writer::Command;
use crate::db::inventory::{self, LevelRow};
use crate::db::places::{self, PlaceRow};
use crate::db::products::{self, ProductRow};
use crate::domain::ids::LocationId;
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;

/// A new location. No marketplace sells from it until its policy names it.
pub struct CreateLocation {
    pub code: String,
    pub name: String,
    pub kind: &'static str,
    pub priority: i64,
}

impl Command for CreateLocation {
    type Output = PlaceRow;
    type Error = CatalogueError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<PlaceRow, CatalogueError> {
        if places::list(&mut tx.conn).await?.iter().any(|place| place.code == self.code) {
            return Err(CatalogueError::LocationTaken);
        }
        let place = PlaceRow {
            id: tx.id(),
            code: self.code.clone(),
            name: self.name.clone(),
            kind: self.kind.to_owned(),
            sellable: self.kind != "quarantine",
            priority: self.priority,
            created_at: tx.now,
            on_hand: 0,
        };
        places::insert(&mut tx.conn, &place).await.map_err(|error| taken(error, CatalogueError::LocationTaken))?;
        Ok(place)
    }
}

/// So many pieces leave one place and arrive at another, in one transaction: no reader ever sees them in both or in neither.
pub struct Transfer {
    pub sku: Sku,
    pub from: String,
    pub to: String,
    pub quantity: Quantity,
    pub reason: String,
    pub note: Option<String>,
    /// Moves although `from` has less than that available.
    pub force: bool,
    pub actor: String,
}

impl Command for Transfer {
    type Output = (ProductRow, Vec<LevelRow>);
    type Error = CatalogueError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Self::Output, CatalogueError> {
        let product = products::get(&mut tx.conn, self.sku.as_str()).await?.ok_or(CatalogueError::UnknownSku)?;
        let (from, to) = (place(tx, &self.from, "/from").await?, place(tx, &self.to, "/to").await?);
        let mut working = Working::of_products(tx, BTreeSet::from([product.id])).await?;
        working.ensure_level(tx, (product.id, from)).await?;
        working.ensure_level(tx, (product.id, to)).await?;
        let available = working.level((product.id, from)).map_or(0, LevelRow::available);
        let pieces = self.quantity.get();
        if available < pieces && !self.force {
            return Err(CatalogueError::NotThere { available, wanted: pieces });
        }
        let transfer: uuid::Uuid = tx.id();
        // Arrives before it leaves: marketplaces that sell from both places are not told of a dip that never was.
        for (place, change, end) in [(to, pieces, "in"), (from, -pieces, "out")] {
            let cause = Cause {
                reason: Some(self.reason.clone()),
                note: self.note.clone(),
                reference_type: Some("transfer"),
                reference_id: Some(transfer.to_string()),
                ..by_hand(tx, "moved", "manual", &self.actor, format!("transfer:{transfer}:{end}"))
            };
            let change = Change { on_hand: change, ..Change::default() };
            working.post(tx, (product.id, place), change, cause).map_err(not_postable)?;
        }
        working.flush(tx).await?;
        let row = products::get(&mut tx.conn, self.sku.as_str()).await?.ok_or(CatalogueError::UnknownSku)?;
        let levels = inventory::list(&mut tx.conn, [row.id]).await?;
        Ok((row, levels))
    }
}

async fn place(tx: &mut Tx<'_>, code: &str, field: &'static str) -> Result<LocationId, CatalogueError> {
    let all = products::locations(&mut tx.conn).await?;
    all.iter().find(|(_, known)| known == code).map(|(id, _)| *id).ok_or(CatalogueError::UnknownPlace(field))
}
