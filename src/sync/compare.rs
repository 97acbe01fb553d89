//! The comparing transaction: what was read beside what is believed, behind the fence; and what was seen is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::Owner;
use super::judge;
use super::page::{PageError, own};
use super::read::Seen;
use crate::db::observations::{self, FencedRow, SeenChange};
use crate::db::sync::{self, NewItem};
use crate::db::webhooks;
use crate::domain::ids::{ListingId, ProductId};
use crate::marketplaces::Connection;
use crate::pipeline::Tx;
use crate::pipeline::writer::Command;

/// One listing, as it was found.
#[derive(Clone, Debug)]
pub(super) struct Compared {
    pub row: FencedRow,
    pub remote: i64,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Equal,
    Skipped(&'static str),
    Different { expected: i64, cause: &'static str },
}

/// Compares some listings, and writes down what they show.
pub(super) struct Compare {
    pub connection: Arc<Connection>,
    pub owner: Owner,
    pub run: Uuid,
    pub actor: String,
    pub dry_run: bool,
    pub seen: Vec<Seen>,
    /// Its orders were read after the list was.
    pub orders_read: bool,
}

impl Command for Compare {
    type Output = Vec<Compared>;
    type Error = PageError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Vec<Compared>, PageError> {
        own(tx, self.connection.id, &self.owner).await?;
        let listings: Vec<ListingId> = self.seen.iter().map(|seen| seen.listing).collect();
        let rows = observations::fenced(&mut tx.conn, &listings).await?;
        let mut parts: BTreeMap<ListingId, Vec<FencedRow>> = BTreeMap::new();
        for row in rows {
            parts.entry(row.id).or_default().push(row);
        }
        let moved = self.moved(tx, &parts).await?;
        let unprocessed = webhooks::any_waiting(&mut tx.conn, self.connection.id).await?;
        let mut compared = Vec::with_capacity(self.seen.len());
        let mut changes = Vec::new();
        for seen in &self.seen {
            let Some([row, ..]) = parts.get(&seen.listing).map(Vec::as_slice) else { continue };
            let verdict = self.judge(row, seen, moved.contains(&seen.listing), unprocessed);
            if let Some(before) = row.marketplace_stock.filter(|before| *before != seen.quantity) {
                let (listing_id, product_id, marketplace_id) = (row.id, row.product_id, row.marketplace_id);
                changes.push(SeenChange { id: tx.id(), listing_id, product_id, marketplace_id, before, after: seen.quantity });
            }
            compared.push(Compared { row: row.clone(), remote: seen.quantity, verdict });
        }
        if !self.dry_run {
            let numbers: Vec<(ListingId, i64)> = compared.iter().map(|one| (one.row.id, one.remote)).collect();
            observations::observe(&mut tx.conn, &numbers, tx.now).await?;
            observations::insert_history(&mut tx.conn, &changes, self.run, &self.actor, tx.now).await?;
        }
        Ok(compared)
    }
}

impl Compare {
    fn judge(&self, row: &FencedRow, seen: &Seen, moved: bool, unprocessed: bool) -> Verdict {
        let Some(expected) = row.expected else {
            return Verdict::Skipped(
                judge::fence(row, seen.asked_at, moved, unprocessed, true).unwrap_or("its number is not known"),
            );
        };
        if let Some(why) = judge::fence(row, seen.asked_at, moved, unprocessed, self.orders_read) {
            return if judge::agrees(row, expected, seen.quantity, moved) { Verdict::Equal } else { Verdict::Skipped(why) };
        }
        match seen.quantity == expected {
            true => Verdict::Equal,
            false => Verdict::Different { expected, cause: judge::cause(row, expected, seen.quantity) },
        }
    }

    /// Listings of which a part moved since they were asked for.
    async fn moved(
        &self,
        tx: &mut Tx<'_>,
        parts: &BTreeMap<ListingId, Vec<FencedRow>>,
    ) -> Result<BTreeSet<ListingId>, PageError> {
        let Some(first) = self.seen.iter().map(|seen| seen.asked_at).min() else { return Ok(BTreeSet::new()) };
        let products: BTreeSet<ProductId> = parts.values().flatten().map(|row| row.product_id).collect();
        let products: Vec<ProductId> = products.into_iter().collect();
        let moved: BTreeSet<ProductId> = observations::moved_since(&mut tx.conn, &products, first).await?.into_iter().collect();
        let touched = |rows: &Vec<FencedRow>| rows.iter().any(|row| moved.contains(&row.product_id));
        Ok(parts.iter().filter(|(_, rows)| touched(rows)).map(|(id, _)| *id).collect())
    }
}

impl Compared {
    /// As it stands in the report.
    pub fn item(&self, decision: &'static str, reason: Option<String>, strike: i64) -> NewItem {
        let (expected, cause) = match self.verdict {
            Verdict::Different { expected, cause } => (Some(expected), Some(cause)),
            Verdict::Equal | Verdict::Skipped(_) => (self.row.expected, None),
        };
        NewItem {
            listing_id: Some(self.row.id),
            external_id: self.row.marketplace_product_id.clone(),
            market: self.row.market.clone(),
            sku: Some(self.row.sku.clone()),
            local: Some(self.row.listed_stock),
            expected,
            remote: Some(self.remote),
            cause,
            decision,
            reason,
            strike,
            movement_id: None,
        }
    }
}

/// Writes what a look found into the report.
pub(super) struct Report {
    pub connection: Arc<Connection>,
    pub owner: Owner,
    pub run: Uuid,
    pub items: Vec<NewItem>,
}

impl Command for Report {
    type Output = ();
    type Error = PageError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), PageError> {
        own(tx, self.connection.id, &self.owner).await?;
        Ok(sync::put_items(&mut tx.conn, self.run, &self.items, tx.now).await?)
    }
}
