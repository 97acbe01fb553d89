//! Allocation rules that change while the hub runs: the book that every stage reads, and what makes the listings follow it.
//!
//! A rule of a product or a listing moves its targets in the transaction that stores it. A rule of the hub or of a marketplace
//! concerns thousands: it is stored with a mark, and a pass goes over the products a page at a time, each page a transaction of
//! its own; a crash resumes at the mark. Whatever is sold meanwhile follows the new rule already. The same pass goes by when a
//! marketplace is archived or brought back (`archive.rs`).

pub mod preview;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::catalogue::by_hand;
use super::retarget::stored_rule;
use super::working::Working;
use super::writer::{Command, Writer};
use super::{CommandError, Kit, Tx};
use crate::db::{Conn, Db, DbError, listings, marketplaces, products, rules};
use crate::domain::ids::{ListingId, MarketplaceId, ProductId};
use crate::domain::rule::Rule;
use crate::marketplaces::Connection;
use crate::workers::More;

/// The rules above products and listings.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// What the settings name; it wins over what is stored.
    pub settings: Rule,
    pub hub: Rule,
    pub marketplaces: HashMap<MarketplaceId, Rule>,
    /// Of what is stored, so that another node's change is seen.
    pub version: String,
}

impl Book {
    /// The hub's rule in force.
    pub fn of_hub(&self) -> Rule {
        Rule::inherit(&[&self.hub, &self.settings])
    }

    /// The rule in force for all of a marketplace: its settings win over what is stored for it, key by key.
    pub fn of_marketplace(&self, connection: &Connection) -> Rule {
        let stored = self.marketplaces.get(&connection.id).cloned().unwrap_or_default();
        Rule::inherit(&[&self.hub, &self.settings, &stored, &connection.policy.rule])
    }

    pub async fn load(&mut self, conn: &mut Conn<'_>) -> Result<(), DbError> {
        self.version = rules::version(conn).await?;
        self.hub = stored_rule("hub_meta", &rules::hub_rule(conn).await?)?;
        self.marketplaces.clear();
        for (id, text) in rules::of_marketplaces(conn).await? {
            self.marketplaces.insert(id, stored_rule("marketplaces", &text)?);
        }
        Ok(())
    }
}

/// The book that is in force. Replaced as a whole; readers keep what they took.
#[derive(Clone, Default)]
pub struct RuleBook(Arc<RwLock<Arc<Book>>>);

impl RuleBook {
    pub fn of(book: Book) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(book))))
    }

    pub fn get(&self) -> Arc<Book> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn replace(&self, book: Book) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(book);
    }

    /// What a committed transaction stored.
    pub(super) fn apply(&self, changes: Vec<RuleChange>) {
        if changes.is_empty() {
            return;
        }
        let mut book = (*self.get()).clone();
        for change in changes {
            match change.marketplace {
                Some(id) => drop(book.marketplaces.insert(id, change.rule)),
                None => book.hub = change.rule,
            }
            book.version = change.version;
        }
        self.replace(book);
    }
}

/// A new rule of the hub, or of a marketplace.
#[derive(Debug)]
pub struct RuleChange {
    marketplace: Option<MarketplaceId>,
    rule: Rule,
    version: String,
}

/// Whose rule it is.
#[derive(Clone, Debug)]
pub enum Scope {
    Hub,
    Marketplace(MarketplaceId),
    Product(String),
    Listing(ListingId),
}

#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    #[error("there is no such {0}")]
    Unknown(&'static str),
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for RuleError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

pub struct SetRule {
    pub scope: Scope,
    pub rule: Rule,
    pub actor: String,
}

impl Command for SetRule {
    type Output = Rule;
    type Error = RuleError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Rule, RuleError> {
        let text =
            serde_json::to_string(&self.rule).map_err(|error| DbError::inconsistent("rules", "rule", error.to_string()))?;
        match &self.scope {
            Scope::Hub => {
                begin_pass(tx, None, self.rule.clone()).await?;
                rules::set_hub_rule(&mut tx.conn, &text).await?;
            }
            Scope::Marketplace(id) => {
                begin_pass(tx, Some(*id), self.rule.clone()).await?;
                rules::set_of_marketplace(&mut tx.conn, *id, &text, tx.now).await?;
            }
            Scope::Product(sku) => {
                let product = products::get(&mut tx.conn, sku).await?.ok_or(RuleError::Unknown("product"))?;
                Working::hold(tx, BTreeSet::from([product.id])).await?;
                rules::set_of_product(&mut tx.conn, product.id, &text, tx.now).await?;
                retarget(tx, BTreeSet::from([product.id]), &self.actor).await?;
            }
            Scope::Listing(id) => {
                rules::of_listing(&mut tx.conn, *id).await?.ok_or(RuleError::Unknown("listing"))?;
                let parts = listings::components(&mut tx.conn, [*id]).await?;
                let parts: BTreeSet<ProductId> = parts.into_iter().map(|part| part.product_id).collect();
                Working::hold(tx, parts.clone()).await?;
                rules::set_of_listing(&mut tx.conn, *id, &text, tx.now).await?;
                retarget(tx, parts, &self.actor).await?;
            }
        }
        Ok(self.rule.clone())
    }
}

/// A rule of the hub (`None`) or of a marketplace is stored: it is live with the commit, and the pass makes all listings follow. Its
/// mark is taken before the marketplace, as where the pass ends.
pub(super) async fn begin_pass(tx: &mut Tx<'_>, of: Option<MarketplaceId>, rule: Rule) -> Result<(), DbError> {
    let version = tx.id::<uuid::Uuid>().to_string();
    rules::set_version(&mut tx.conn, &version).await?;
    rules::set_pass(&mut tx.conn, "").await?;
    tx.effects.rules.push(RuleChange { marketplace: of, rule, version });
    Ok(())
}

async fn retarget(tx: &mut Tx<'_>, products: BTreeSet<ProductId>, actor: &str) -> Result<(), DbError> {
    let mut working = Working::of_products(tx, products.clone()).await?;
    forget(&mut working);
    for product in products {
        let cause = by_hand(tx, "manual", "rule", actor, String::new());
        working.touch(product, cause);
    }
    working.flush(tx).await
}

/// The next page of the pass; gives whether there is more.
pub struct NextPage {
    pub limit: i64,
}

impl Command for NextPage {
    type Output = bool;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<bool, DbError> {
        let Some(after) = rules::lock_pass(&mut tx.conn).await? else { return Ok(false) };
        let page = products::ids_page(&mut tx.conn, &after, self.limit).await?;
        let Some((_, last)) = page.last() else {
            rules::end_pass(&mut tx.conn).await?;
            let back = marketplaces::restored(&mut tx.conn, tx.now).await?;
            tx.effects.connections_changed |= !back.is_empty();
            tx.effects.to_push.extend(back);
            return Ok(false);
        };
        retarget(tx, page.iter().map(|(id, _)| *id).collect(), "rules").await?;
        rules::set_pass(&mut tx.conn, last).await?;
        Ok(true)
    }
}

/// What a marketplace shows that was archived until now is not known, and what was refused may be taken again.
fn forget(working: &mut Working) {
    for listing in working.listings.values_mut().filter(|listing| listing.row.is_coming_back()) {
        let row = &mut listing.row;
        (row.expected, row.raise_held_since, row.gap_since, row.verify_at) = (None, None, None, None);
        if row.push_state == "blocked" {
            row.push_state = "dirty".into();
        }
        listing.changed = true;
    }
}

/// Starts the pass again: another node may have worked by the old rules until now.
struct Restart;

impl Command for Restart {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        rules::set_pass(&mut tx.conn, "").await
    }
}

/// At a start the settings may say something else than at the last: then everything is looked at once.
pub struct Compare {
    pub settings: String,
}

impl Command for Compare {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        if rules::settings(&mut tx.conn).await?.as_deref() == Some(&self.settings) {
            return Ok(());
        }
        rules::set_settings(&mut tx.conn, &self.settings).await?;
        rules::set_pass(&mut tx.conn, "").await
    }
}

/// All that the settings say of rules, as one text to compare.
pub fn of_settings(kit: &Kit) -> String {
    let all = kit.registry.all();
    // One that says nothing may come and go without a look at everything.
    let says = all.iter().filter(|c| c.policy.rule != Rule::default());
    let marketplaces: Vec<_> = says.map(|c| (c.code.clone(), c.policy.rule.clone())).collect();
    serde_json::json!([kit.rules.get().settings, marketplaces]).to_string()
}

/// Products per transaction of a pass: sales wait for it no longer than for each other.
const PAGE: i64 = 100;

/// One look: takes over rules that another node stored, and makes one page follow.
pub async fn step(kit: &Kit, db: &Db, writer: &Writer) -> More {
    match look(kit, db, writer).await {
        Ok(true) => More::Now,
        Ok(false) => More::Later,
        Err(error) => {
            tracing::warn!(%error, "the listings do not follow the rules yet; tried again");
            More::Later
        }
    }
}

async fn look(kit: &Kit, db: &Db, writer: &Writer) -> Result<bool, LookError> {
    let mut reader = db.read().await?;
    let mut conn = reader.conn();
    if rules::version(&mut conn).await? != kit.rules.get().version {
        let mut book = (*kit.rules.get()).clone();
        book.load(&mut conn).await?;
        kit.rules.replace(book);
        writer.run_patiently(Restart).await?;
    }
    let under_way = rules::pass(&mut conn).await?.is_some();
    drop(reader);
    Ok(under_way && writer.run_patiently(NextPage { limit: PAGE }).await?)
}

#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Read(#[from] DbError),
    #[error(transparent)]
    Write(#[from] super::writer::WriteError<DbError>),
}
