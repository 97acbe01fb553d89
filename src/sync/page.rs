//! Pages of orders into the log, and the cursor with them: the one transaction of polling.

use std::sync::Arc;
use std::time::Duration;

use super::Owner;
use crate::caller::lease_name;
use crate::db::{DbError, leases, polls, sync};
use crate::domain::ids::MarketplaceId;
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::pipeline::polled::{self, Polled};
use crate::pipeline::writer::Command;
use crate::pipeline::{CommandError, Tx};

#[derive(Debug, thiserror::Error)]
pub enum PageError {
    #[error("another node calls this account")]
    NotOurs,
    /// What this page would have brought was brought by somebody else.
    #[error("the cursor was moved meanwhile")]
    Moved,
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for PageError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

/// Whoever holds an account's lease is the only one that calls it. What was read under a lease that is lost is not written: the new
/// owner reads it again.
pub(super) async fn own(tx: &mut Tx<'_>, marketplace: MarketplaceId, owner: &Owner) -> Result<(), PageError> {
    if owner.alone || leases::is_held(&mut tx.conn, &lease_name(marketplace), &owner.name, tx.now).await? {
        Ok(())
    } else {
        Err(PageError::NotOurs)
    }
}

/// Where polling stands, for who may go on with it.
pub struct Begin {
    pub marketplace: MarketplaceId,
    pub owner: Owner,
}

impl Command for Begin {
    type Output = Option<String>;
    type Error = PageError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Option<String>, PageError> {
        own(tx, self.marketplace, &self.owner).await?;
        Ok(polls::state(&mut tx.conn, self.marketplace).await?.order_cursor)
    }
}

/// Where the cursor was, and where it is once the page is in.
#[derive(Clone, Debug)]
pub struct Move {
    pub from: Option<String>,
    pub to: String,
    /// The whole walk is in: everything before its beginning is known.
    pub drained: Option<Timestamp>,
}

/// Writes orders that were read. The cursor moves with them, or not at all.
pub struct Keep {
    pub connection: Arc<Connection>,
    pub owner: Owner,
    pub polled: Vec<Polled>,
    pub cursor: Option<Move>,
    /// Requests made for it, by what they were for.
    pub calls: Option<(&'static str, i64)>,
    /// Orders older than that should have come by webhook, where this is set.
    pub missing_after: Option<Duration>,
}

/// What a page brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Brought {
    pub new: usize,
    pub unreadable: usize,
    /// New ones that moved stock, and that a webhook should have told.
    pub missing: usize,
}

impl Command for Keep {
    type Output = Brought;
    type Error = PageError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Brought, PageError> {
        let id = self.connection.id;
        own(tx, id, &self.owner).await?;
        let kept = polled::log_and_apply(tx, &self.polled).await?;
        if let Some((purpose, calls)) = self.calls {
            sync::add_calls(&mut tx.conn, [(id, purpose, calls)], tx.now).await?;
        }
        if let Some(cursor) = &self.cursor {
            if !polls::move_cursor(&mut tx.conn, id, cursor.from.as_deref(), &cursor.to).await? {
                return Err(PageError::Moved);
            }
            if let Some(at) = cursor.drained {
                polls::drained(&mut tx.conn, id, at).await?;
                // An increase may have waited for this.
                tx.effects.to_push.insert(id);
            }
        }
        let mut brought = Brought { new: kept.new.len(), unreadable: kept.unreadable, missing: 0 };
        if let Some(after) = self.missing_after {
            let late = tx.now.minus(after);
            let effects = polls::effects(&mut tx.conn, &kept.new).await?;
            let moved = |effect: &&polls::Effect| {
                effect.occurred_at.is_some_and(|at| at < late)
                    && effect.effect.as_deref().is_some_and(|text| !text.contains("\"movements\":[]"))
            };
            brought.missing = effects.iter().filter(moved).count();
        }
        Ok(brought)
    }
}
