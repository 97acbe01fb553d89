//! What a rule would do before it does it: how many products would stop being shown. A typed zero too many empties a shop; it
//! shall need a second look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{RuleBook, Scope};
use crate::context::Question;
use crate::db::{Conn, DbError, products};
use crate::domain::allocation;
use crate::domain::ids::{MarketplaceId, ProductId};
use crate::domain::rule::Rule;
use crate::pipeline::import::rules::Changes;
use crate::pipeline::working::Working;
use crate::pipeline::{Effects, Kit, Tx, retarget};

/// More products than this share may not go to zero unasked, in hundredths of those that show something.
const TO_ZERO_PERCENT_MAX: usize = 20;
/// Examples shown of what would change.
const EXAMPLES: usize = 20;
/// Products looked at together.
const PAGE: i64 = 100;

#[derive(Clone, Debug, Default, Serialize)]
pub struct Preview {
    /// Products that show something where the rule holds.
    pub shown: usize,
    /// Of these, how many would show 0 on at least one marketplace.
    pub to_zero: usize,
    /// Listings whose number would change.
    pub listings_changed: usize,
    pub examples: Vec<Example>,
    #[serde(skip)]
    emptied: Vec<String>,
    /// By marketplace: how many products show something there, and how many of these would show 0.
    #[serde(skip)]
    places: BTreeMap<String, (usize, usize)>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Example {
    pub sku: String,
    pub marketplace: String,
    pub before: i64,
    pub after: i64,
}

impl Preview {
    pub fn needs_confirmation(&self) -> bool {
        self.to_zero * 100 > self.shown * TO_ZERO_PERCENT_MAX
    }

    /// Of a table: whether it empties too much, and what. A table that touches one marketplace is held against what that one shows.
    pub fn of_table_needs(&self, changes: &Changes) -> Option<String> {
        // One by one is how a shop puts things away.
        if !changes.is_broad() && self.to_zero < 2 {
            return None;
        }
        let too_many = |(shown, to_zero): (usize, usize)| to_zero * 100 > shown * TO_ZERO_PERCENT_MAX;
        if self.needs_confirmation() {
            return Some(format!("{} of {} products shown would go to zero", self.to_zero, self.shown));
        }
        let worst = self.places.iter().filter(|(_, counts)| too_many(**counts)).max_by_key(|(_, (_, to_zero))| *to_zero);
        worst.map(|(code, (shown, to_zero))| format!("{to_zero} of {shown} products shown on {code} would go to zero"))
    }

    /// What must be said to do what a table says: of this table and this outcome.
    pub fn token_of_table(&self, digest: &[u8; 32]) -> String {
        let mut hash = Sha256::new_with_prefix(digest);
        hash.update(self.emptied.join("\n"));
        hex::encode(hash.finalize()).chars().take(16).collect()
    }

    /// What must be said to go on: of this rule and this outcome, so that it confirms no other.
    pub fn token(&self, scope: &Scope, rule: &Rule) -> String {
        let text = format!("{scope:?}\n{}\n{}", serde_json::json!(rule), self.emptied.join("\n"));
        hex::encode(Sha256::digest(text.as_bytes())).chars().take(16).collect()
    }
}

/// Asks what a rule of the hub or of a marketplace, or a table of rules, would do to everything.
pub struct Ask {
    kit: Kit,
    only: Option<MarketplaceId>,
    /// Rules of products and listings that would change too.
    changes: Arc<Changes>,
}

impl Ask {
    /// `None` for rules of one product or listing: those are seen at a glance.
    pub fn new(kit: &Kit, scope: &Scope, rule: &Rule) -> Option<Self> {
        let mut book = (*kit.rules.get()).clone();
        let only = match scope {
            Scope::Hub => {
                book.hub = rule.clone();
                None
            }
            Scope::Marketplace(id) => {
                book.marketplaces.insert(*id, rule.clone());
                Some(*id)
            }
            Scope::Product(_) | Scope::Listing(_) => return None,
        };
        Some(Self { kit: Kit { rules: RuleBook::of(book), ..kit.clone() }, only, changes: Arc::default() })
    }

    pub fn of_table(kit: &Kit, changes: Arc<Changes>) -> Self {
        let mut book = (*kit.rules.get()).clone();
        if let Some(rule) = &changes.hub {
            book.hub = rule.clone();
        }
        book.marketplaces.extend(changes.marketplaces.iter().map(|(id, rule)| (*id, rule.clone())));
        Self { kit: Kit { rules: RuleBook::of(book), ..kit.clone() }, only: None, changes }
    }
}

impl Question for Ask {
    type Answer = Preview;

    async fn ask(self, conn: &mut Conn<'_>) -> Result<Preview, DbError> {
        let mut preview = Preview::default();
        let mut after = String::new();
        loop {
            let page = products::page(conn, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(preview) };
            after = last.sku.to_string();
            let of_page: BTreeSet<ProductId> = page.iter().map(|row| row.id).collect();
            let mut tx = Tx { conn: conn.again(), kit: &self.kit, now: self.kit.clock.now(), effects: Effects::default() };
            let mut working = Working::to_look_at(&mut tx, of_page.clone()).await?;
            self.lay_over(&mut working);
            self.look(&tx, &working, &of_page, &mut preview)?;
        }
    }
}

impl Ask {
    fn lay_over(&self, working: &mut Working) {
        for (id, product) in &mut working.products {
            if let Some(rule) = self.changes.products.get(id) {
                product.rule = rule.to_string();
            }
        }
        for (id, listing) in &mut working.listings {
            if let Some(rule) = self.changes.listings.get(id) {
                listing.row.rule = rule.to_string();
            }
        }
    }

    fn look(&self, tx: &Tx<'_>, working: &Working, of_page: &BTreeSet<ProductId>, preview: &mut Preview) -> Result<(), DbError> {
        let group: BTreeSet<ProductId> = working.products.keys().copied().collect();
        let (pool, inputs) = retarget::inputs(tx, working, &group)?;
        let (mut shown, mut emptied) = (BTreeSet::new(), BTreeSet::new());
        for (input, target) in inputs.iter().zip(allocation::quantities(&pool, &inputs)) {
            let Some(listing) = working.listings.get(&input.id).map(|listing| &listing.row) else { continue };
            let Some(connection) = self.kit.registry.by_id(listing.marketplace_id) else { continue };
            if self.only.is_some_and(|only| only != connection.id) {
                continue;
            }
            let parts = working.components.get(&input.id).map_or(&[][..], Vec::as_slice);
            // A bundle is looked at with the page of its first part only.
            let Some(product) = parts.first().map(|(product, _)| *product).filter(|product| of_page.contains(product)) else {
                continue;
            };
            let Some(sku) = working.products.get(&product).map(|product| product.sku.to_string()) else { continue };
            let before = listing.listed_stock;
            if before > 0 {
                shown.insert(sku.clone());
                let place = preview.places.entry(connection.code.clone()).or_default();
                place.0 += 1;
                place.1 += usize::from(target == 0);
            }
            if before > 0 && target == 0 {
                emptied.insert(sku.clone());
            }
            if before != target {
                preview.listings_changed += 1;
                if preview.examples.len() < EXAMPLES {
                    preview.examples.push(Example { sku, marketplace: connection.code.clone(), before, after: target });
                }
            }
        }
        preview.shown += shown.len();
        preview.to_zero += emptied.len();
        preview.emptied.extend(emptied);
        Ok(())
    }
}
