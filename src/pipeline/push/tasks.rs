//! Channels that only people can change: a new number is a task ("edit the ad to 44"), and a person says when it is done.

use crate::db::{DbError, push_checks};
use crate::domain::ids::ListingId;
use crate::domain::quantity::Quantity;
use crate::marketplaces::PushStyle;
use crate::pipeline::writer::Command;
use crate::pipeline::{CommandError, Tx};

/// A person told a marketplace this number. A newer one may have become wanted meanwhile: then the task stays.
pub struct MarkPushed {
    pub listing: ListingId,
    pub quantity: Quantity,
    pub actor: String,
}

#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("there is no such listing")]
    UnknownListing,
    #[error("this marketplace is told by the hub itself")]
    NotByHand,
}

impl CommandError for TaskError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

impl Command for MarkPushed {
    /// Whether nothing is left to do.
    type Output = bool;
    type Error = TaskError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<bool, TaskError> {
        let row = push_checks::lock_task(&mut tx.conn, self.listing).await?.ok_or(TaskError::UnknownListing)?;
        let connection = tx.kit.registry.by_id(row.marketplace_id).ok_or(TaskError::UnknownListing)?;
        if connection.adapter.traits().push != PushStyle::Task {
            return Err(TaskError::NotByHand);
        }
        let quantity = self.quantity.get();
        let done = quantity == row.listed_stock;
        let (state, acked) = if done { ("synced", row.wanted_version) } else { ("task", row.acked_version) };
        push_checks::done(&mut tx.conn, self.listing, state, acked, quantity, &self.actor, tx.now).await?;
        Ok(done)
    }
}
