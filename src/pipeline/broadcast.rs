//! After a commit: shoppers' browsers get the new numbers, pushers are woken. Absolute numbers with versions, never changes of them:
//! losing this in a crash loses nothing, the table is filled from the database at start.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;
use uuid::Uuid;

use super::Effects;
use super::outbox::Bell;
use super::push::Pushers;
use super::writer::AfterCommit;
use crate::breakage::{self, Breakage};
use crate::db::{Db, DbError, listings};
use crate::realtime::{Engine, Published};

#[derive(Clone)]
pub struct Broadcast {
    /// Set once the table is there; nothing is committed for shoppers before.
    pub engine: Arc<OnceLock<Engine>>,
    pub pushers: Pushers,
    /// Rung when something is in the outbox.
    pub outbox: Bell,
    /// Rung when a connection changed.
    pub connections: Arc<Notify>,
}

impl AfterCommit for Broadcast {
    fn committed(&self, effects: Effects) {
        if let Some(engine) = self.engine.get()
            && !effects.published.is_empty()
            && !breakage::is(Breakage::PublishLost)
        {
            engine.publish(effects.published);
        }
        for marketplace in effects.to_push {
            self.pushers.wake(marketplace);
        }
        if effects.connections_changed {
            self.connections.notify_one();
        }
        if effects.events {
            self.outbox.ring();
        }
    }
}

/// Listings read per statement while the table is filled.
const PAGE: i64 = 5_000;

/// Fills the keyed table from the store's listings, which carry the published versions.
pub async fn fill(db: &Db, engine: &Engine) -> Result<usize, DbError> {
    let mut reader = db.read().await?;
    let (mut after, mut count) = (Uuid::nil(), 0);
    loop {
        let page = listings::store_items(&mut reader.conn(), after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(count) };
        after = last.id.uuid();
        count += page.len();
        let items = page.into_iter().map(|item| Published {
            sku: item.sku,
            quantity: item.listed_stock,
            version: item.wanted_version,
            removed: item.state != "active",
        });
        engine.fill(items);
    }
}
