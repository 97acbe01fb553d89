//! The bulk read: all that a marketplace shows, page by page, written beside what we believe. Resumes where a crash left it. And the
//! small one, "Sync now", for single listings.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::matching::{Found, Names};
use super::page::{PageError, own};
use super::populate::Populate;
use super::read::{Batch, Place, Reader, Seen};
use super::runs::{End, Running, Step};
use super::way::NotTold;
use super::{Owner, Sync};
use crate::ask;
use crate::db::listings;
use crate::db::observations::{self, FencedRow, SeenChange};
use crate::db::sync::{self, NewItem};
use crate::domain::ids::{ListingId, MarketplaceId};
use crate::marketplaces::{Connection, StockFeed};
use crate::pipeline::Tx;
use crate::pipeline::listings::{UpdateListing, change, hold};
use crate::pipeline::polled::{self, Observation, Polled};
use crate::pipeline::writer::Command;

/// Rows that lead nowhere and are listed by name; the rest is counted.
const STRANGE_MAX: i64 = 500;

impl Sync {
    pub(super) async fn bulk_read(&self, running: &mut Running) -> Step {
        let names = match self.names(running.connection.id).await {
            Ok(names) => names,
            Err(error) => return Step::Over(End::failed(error.to_string())),
        };
        let populate = match self.populates(running).await {
            Ok(populate) => populate,
            Err(error) => return Step::Over(End::failed(error.to_string())),
        };
        running.set("listings", names.rows.len() as i64);
        let place: Option<Place> = running.cursor();
        let connection = running.connection.clone();
        let mut reader = Reader::new(self, &connection, &names, place, None);
        loop {
            if self.workers.stopping().is_cancelled() {
                return Step::Left;
            }
            let batch = match reader.next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err((why, calls)) => {
                    running.calls += calls;
                    return running.failed(self, &why);
                }
            };
            running.set("failures", 0);
            let place = reader.place.clone();
            if let Err(step) = self.keep_batch(running, &names, batch, Some(&place), populate).await {
                return step;
            }
        }
        let known = names.rows.len() as i64;
        running.set("absent", (known - running.count("matched")).max(0));
        let strange = running.count("unmapped") + running.count("ambiguous") + running.count("without_number");
        Step::Over(End::done(if strange > 0 || running.count("absent") > 0 { "partial" } else { "succeeded" }))
    }

    /// "Sync now": what these few show at this moment.
    pub(super) async fn refresh(&self, running: &mut Running) -> Step {
        let names = match self.names(running.connection.id).await {
            Ok(names) => names,
            Err(error) => return Step::Over(End::failed(error.to_string())),
        };
        let request = running.request.clone();
        let wanted = |row: &observations::ListingName| {
            request.listing == Some(row.id)
                || request.skus.iter().any(|sku| *sku == row.sku || Some(sku) == row.marketplace_sku.as_ref())
        };
        let only: Vec<usize> = (0..names.rows.len()).filter(|n| wanted(&names.rows[*n])).collect();
        if only.is_empty() {
            return Step::Over(End::failed("there is no such listing at this marketplace"));
        }
        running.set("listings", only.len() as i64);
        let connection = running.connection.clone();
        let mut reader = Reader::new(self, &connection, &names, None, Some(only.clone()));
        let mut left: BTreeSet<usize> = only.iter().copied().collect();
        let mut shown: Vec<Value> = Vec::new();
        while !left.is_empty() {
            let batch = match reader.next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err((NotTold::NotOurs, _)) => return Step::Left,
                // Somebody waits for it: it is not tried again and again.
                Err((why, calls)) => {
                    running.calls += calls;
                    return Step::Over(End::failed(why.message()));
                }
            };
            let batch = Batch { strange: Vec::new(), ..batch };
            for seen in &batch.seen {
                left.remove(&seen.n);
                let row = &names.rows[seen.n];
                shown.push(json!({
                    "listing": row.id, "sku": row.sku, "external_id": row.marketplace_product_id, "market": row.market,
                    "remote": seen.quantity, "expected": row.expected, "wanted": row.listed_stock, "checked_at": seen.asked_at,
                }));
            }
            if let Err(step) = self.keep_batch(running, &names, batch, None, false).await {
                return step;
            }
        }
        running.set("absent", left.len() as i64);
        let status = if left.is_empty() { "succeeded" } else { "partial" };
        Step::Over(End { status, error: None, result: Some(Value::Array(shown)) })
    }

    /// Writes down what a request told, and how far the run is with it, in one transaction.
    async fn keep_batch(
        &self,
        running: &mut Running,
        names: &Names,
        mut batch: Batch,
        place: Option<&Place>,
        populate: bool,
    ) -> Result<(), Step> {
        running.calls += batch.calls;
        running.add("pages", 1);
        running.add("matched", batch.seen.len() as i64);
        running.add("without_number", batch.numberless as i64);
        if populate {
            let strange = std::mem::take(&mut batch.strange);
            batch.strange = self.populate(running, names, &batch.seen, strange).await.map_err(|error| give_up(&error))?;
        }
        let several = batch.strange.iter().filter(|(_, found)| *found == Found::Several).count() as i64;
        let room = (STRANGE_MAX - running.count("unmapped") - running.count("ambiguous")).max(0);
        running.add("ambiguous", several);
        running.add("unmapped", batch.strange.len() as i64 - several);
        if let Some(place) = place {
            running.set_cursor(place);
        }
        let write = self.limits.rows_per_write;
        let mut seen = batch.seen;
        let mut first = true;
        loop {
            let rest = if seen.len() > write { seen.split_off(write) } else { Vec::new() };
            let last = rest.is_empty();
            let observe = Observe {
                connection: running.connection.clone(),
                owner: self.owner.clone(),
                run: running.run.id,
                actor: running.run.actor.clone(),
                dry_run: running.run.dry_run,
                strange: if first { strange_items(&batch.strange, room) } else { Vec::new() },
                seen: std::mem::replace(&mut seen, rest),
                progress: last.then(|| (running.run.cursor.clone(), running.counts_text(), running.calls)),
            };
            first = false;
            match self.writer.run_patiently(observe).await {
                Ok(true) => {}
                // It was ended by somebody else, or the account is another node's now.
                Ok(false) => return Err(Step::Left),
                Err(error) => return Err(give_up(&error)),
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Whether this is the reading that fills an empty catalogue: the account's first one, asked for by a person.
    async fn populates(&self, running: &Running) -> Result<bool, crate::db::DbError> {
        if running.run.trigger_type != "manual" {
            return Ok(false);
        }
        let id = running.connection.id;
        let ever = ask!(self, bool, [id: MarketplaceId = id] |conn| sync::ever(conn, id, "bulk_read").await)?;
        Ok(!ever)
    }

    async fn populate(
        &self,
        running: &mut Running,
        names: &Names,
        seen: &[Seen],
        strange: Vec<(crate::marketplaces::call::StockRow, Found)>,
    ) -> Result<Vec<(crate::marketplaces::call::StockRow, Found)>, crate::pipeline::writer::WriteError<PageError>> {
        let (new, others): (Vec<_>, Vec<_>) = strange.into_iter().partition(|(_, found)| *found == Found::Nobody);
        let Some(store) = self.kit.registry.by_code(crate::marketplaces::connection::STORE) else { return Ok(others) };
        let populate = Populate {
            connection: running.connection.clone(),
            store,
            owner: self.owner.clone(),
            run: running.run.id,
            actor: running.run.actor.clone(),
            dry_run: running.run.dry_run,
            known: seen.iter().map(|seen| (names.rows[seen.n].id, seen.quantity)).collect(),
            rows: new.into_iter().map(|(row, _)| row).collect(),
        };
        let made = self.writer.run_patiently(populate).await?;
        running.add("listings_created", made.listings);
        running.add("products_created", made.products);
        running.add("opened", made.opened);
        let left = made.left.into_iter().map(|row| (row, Found::Nobody));
        Ok(others.into_iter().chain(left).collect())
    }
}

pub(super) fn give_up(error: &crate::pipeline::writer::WriteError<PageError>) -> Step {
    match error {
        crate::pipeline::writer::WriteError::Refused(_) => Step::Left,
        error => {
            tracing::warn!(%error, "what a marketplace shows could not be written; the run goes on later");
            Step::Wait(std::time::Duration::from_secs(5))
        }
    }
}

fn strange_items(strange: &[(crate::marketplaces::call::StockRow, Found)], room: i64) -> Vec<NewItem> {
    let room = usize::try_from(room).unwrap_or(0);
    let items = strange.iter().take(room).map(|(row, found)| NewItem {
        listing_id: None,
        external_id: row.names.first().map(|(_, value)| value.clone()).or_else(|| row.sku.clone()).unwrap_or_default(),
        market: row.market.clone().unwrap_or_default(),
        sku: row.sku.clone(),
        local: None,
        expected: None,
        remote: row.quantity,
        cause: None,
        decision: if *found == Found::Several { "ambiguous" } else { "unmapped" },
        reason: row.title.clone(),
        strike: 1,
        movement_id: None,
    });
    items.collect()
}

/// Writes down what some listings show. True: the run goes on.
pub(super) struct Observe {
    pub connection: Arc<Connection>,
    pub owner: Owner,
    pub run: Uuid,
    pub actor: String,
    pub dry_run: bool,
    pub seen: Vec<Seen>,
    pub strange: Vec<NewItem>,
    /// Cursor, counts and calls, with the last part of a page.
    pub progress: Option<(Option<String>, String, i64)>,
}

impl Command for Observe {
    type Output = bool;
    type Error = PageError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<bool, PageError> {
        own(tx, self.connection.id, &self.owner).await?;
        if !self.dry_run {
            let listings: Vec<ListingId> = self.seen.iter().map(|seen| seen.listing).collect();
            let rows = observations::fenced(&mut tx.conn, &listings).await?;
            self.write(tx, &rows).await?;
            self.take_over(tx).await?;
        }
        sync::put_items(&mut tx.conn, self.run, &self.strange, tx.now).await?;
        let Some((cursor, counts, calls)) = &self.progress else { return Ok(true) };
        Ok(sync::progress(&mut tx.conn, self.run, cursor.as_deref(), counts, *calls, None, tx.now).await?)
    }
}

impl Observe {
    /// What a push must say again is said as it was last read: somebody may have changed it there.
    async fn take_over(&self, tx: &mut Tx<'_>) -> Result<(), PageError> {
        let others: Vec<_> = self.seen.iter().filter(|seen| !seen.refs.is_empty()).collect();
        if others.is_empty() {
            return Ok(());
        }
        hold(tx, others.iter().map(|seen| seen.listing)).await?;
        for seen in others {
            let Some(old) = listings::lock_names(&mut tx.conn, seen.listing).await? else { continue };
            let mut refs: serde_json::Map<String, Value> = serde_json::from_str(&old.refs).unwrap_or_default();
            refs.extend(seen.refs.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))));
            let update = UpdateListing { refs: Some(refs), ..UpdateListing::default() };
            change(tx, &old, &update, &self.actor).await?;
        }
        Ok(())
    }

    async fn write(&self, tx: &mut Tx<'_>, rows: &[FencedRow]) -> Result<(), PageError> {
        let row_of = |listing: ListingId| rows.iter().find(|row| row.id == listing);
        let mut changes = Vec::new();
        let mut facts = Vec::new();
        for seen in &self.seen {
            let Some(row) = row_of(seen.listing) else { continue };
            if let Some(before) = row.marketplace_stock.filter(|before| *before != seen.quantity) {
                changes.push(SeenChange {
                    id: tx.id(),
                    listing_id: row.id,
                    product_id: row.product_id,
                    marketplace_id: row.marketplace_id,
                    before,
                    after: seen.quantity,
                });
            }
            // Where nothing else tells of its sales, the number itself is the fact.
            if self.connection.stock_feed == StockFeed::Absolute && row.expected != Some(seen.quantity) {
                let at = seen.at.unwrap_or(seen.asked_at);
                let (product_id, market) = (row.marketplace_product_id.clone(), row.market.clone());
                let observation = Observation { product_id, market, quantity: seen.quantity, at };
                facts.push(Polled::observation(&self.connection, &observation, tx.now));
            }
        }
        polled::log_and_apply(tx, &facts).await?;
        let numbers: Vec<(ListingId, i64)> = self.seen.iter().map(|seen| (seen.listing, seen.quantity)).collect();
        observations::observe(&mut tx.conn, &numbers, tx.now).await?;
        observations::insert_history(&mut tx.conn, &changes, self.run, &self.actor, tx.now).await?;
        Ok(())
    }
}
