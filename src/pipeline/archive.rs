//! Putting a marketplace away, and bringing it back. An archived one is told nothing, asked nothing and alerts nobody, and its listings
//! take part in no allocation; its past stays. What it still sends is believed as before: what was sold is sold.
//!
//! Both are one transaction and a pass over all products (`rules::NextPage`): after the archive the others may show what it had for
//! itself, and on the way back each of its listings is worked out anew as one of which nobody knows what it shows. Until that pass is
//! through, a marketplace that comes back is paused, so that no number from before leaves; one that somebody had paused stays so. A
//! crash resumes the pass at its mark.

use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Tx;
use super::connections::effective;
use super::marketplaces::{MarketplaceError, store};
use super::writer::Command;
use crate::context::Question;
use crate::db::marketplaces::{self, MarketplaceRow, Standing};
use crate::db::{Conn, DbError, alerts, rules, sync};
use crate::marketplaces::connection::STORE;
use crate::settings::Settings;

/// What hangs on a marketplace, before it is put away.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Look {
    pub listings: i64,
    /// Listings that show something there, as far as it is known: it goes on selling that.
    pub still_shown: i64,
    /// Orders with pieces that are not shipped yet; they stay, and can be shipped, cancelled and taken back as before.
    pub open_orders: i64,
    pub committed: i64,
}

impl Look {
    /// Nothing hangs on it: nobody has to be asked.
    pub const fn is_bare(&self) -> bool {
        self.listings == 0 && self.open_orders == 0
    }

    /// What must be said to go on, of this marketplace as it is.
    pub fn token(&self, code: &str) -> String {
        let text = format!("archive\n{code}\n{}\n{}\n{}", self.listings, self.still_shown, self.open_orders);
        hex::encode(Sha256::digest(text.as_bytes())).chars().take(16).collect()
    }
}

/// Asks what hangs on it; `None`: there is no such marketplace.
pub struct LookFirst(pub String);

impl Question for LookFirst {
    type Answer = Option<Look>;

    async fn ask(self, conn: &mut Conn<'_>) -> Result<Option<Look>, DbError> {
        let found = marketplaces::standing(conn, &self.0).await?;
        Ok(found.map(|Standing { listings, shown, open_orders, committed }| Look {
            listings,
            still_shown: shown,
            open_orders,
            committed,
        }))
    }
}

pub struct Archive {
    pub code: String,
}

impl Command for Archive {
    type Output = String;
    type Error = MarketplaceError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<String, MarketplaceError> {
        let row = begin(tx, &self.code).await?;
        if row.archived_at.is_some() {
            return Ok(self.code.clone());
        }
        marketplaces::archive(&mut tx.conn, row.id, tx.now).await?;
        alerts::resolve_of_marketplace(&mut tx.conn, row.id, tx.now).await?;
        sync::end_all(&mut tx.conn, row.id, "its marketplace was archived", tx.now).await?;
        tx.effects.connections_changed = true;
        Ok(self.code.clone())
    }
}

pub struct Restore {
    pub code: String,
    pub settings: Arc<Settings>,
}

impl Command for Restore {
    type Output = String;
    type Error = MarketplaceError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<String, MarketplaceError> {
        let row = begin(tx, &self.code).await?;
        if row.archived_at.is_none() {
            return Ok(self.code.clone());
        }
        let file = self.settings.marketplaces.iter().find(|entry| entry.code == self.code);
        if file.is_none() && row.declared_in == "file" {
            return Err(MarketplaceError::InFile("no longer this marketplace: declare it there again first".into()));
        }
        let entry = effective(&self.code, file, &row.api_settings, &self.settings)?;
        if let Some(now) = entry.adapter.as_deref().filter(|now| *now != row.adapter) {
            return Err(MarketplaceError::OtherAdapter { was: row.adapter.clone(), now: now.to_owned() });
        }
        // As it is set up by now; what cannot stand is refused before anything of it wakes.
        store(tx, row.id, &entry, &self.settings, &row.declared_in).await?;
        marketplaces::restore(&mut tx.conn, row.id, tx.now).await?;
        Ok(self.code.clone())
    }
}

/// The pass first, then the marketplace: where the pass ends they are locked in the same order.
async fn begin(tx: &mut Tx<'_>, code: &str) -> Result<MarketplaceRow, MarketplaceError> {
    if code == STORE {
        return Err(MarketplaceError::Builtin);
    }
    rules::set_pass(&mut tx.conn, "").await?;
    marketplaces::lock(&mut tx.conn, code).await?.ok_or(MarketplaceError::Unknown)
}
