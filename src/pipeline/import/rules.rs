//! Rows of rules: of the hub, a marketplace, a product or a listing. A row sets the keys that the table has columns for; an empty cell
//! takes a key away, so that it is inherited again. Rules without a row stay.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::products::{FaultText, Verdict};
use super::row_of;
use crate::context::Question;
use crate::db::imports::{Counts, ImportRow};
use crate::db::rules::{self, LevelRule};
use crate::db::{Conn, DbError, listings, marketplaces, products};
use crate::domain::ids::{ListingId, MarketplaceId, ProductId};
use crate::domain::rule::Rule;
use crate::pipeline::catalogue::by_hand;
use crate::pipeline::retarget::stored_rule;
use crate::pipeline::rules::begin_pass;
use crate::pipeline::working::Working;
use crate::pipeline::{Kit, Tx};

/// Whose rule a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Hub,
    Marketplace,
    Product,
    Listing,
}

impl Level {
    pub const NAMES: &'static str = "hub, marketplace, product or listing";

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "hub" => Some(Self::Hub),
            "marketplace" => Some(Self::Marketplace),
            "product" => Some(Self::Product),
            "listing" => Some(Self::Listing),
            _ => None,
        }
    }
}

/// A row as it was written, each cell checked by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleCells {
    pub scope: Level,
    pub marketplace: String,
    pub sku: String,
    pub marketplace_product_id: String,
    pub market: String,
    /// The keys that the table has columns for; null: inherited.
    pub rule: Map<String, Value>,
    /// Whether whoever sent it may change what holds for thousands.
    pub may_all: bool,
}

impl RuleCells {
    pub fn key(&self) -> String {
        match self.scope {
            Level::Hub => "hub".into(),
            Level::Marketplace => format!("marketplace\n{}", self.marketplace),
            Level::Product => format!("product\n{}", self.sku),
            Level::Listing => format!("listing\n{}\n{}\n{}", self.marketplace, self.marketplace_product_id, self.market),
        }
    }

    /// The rule as the row wants it, over the one that is there.
    fn over(&self, old: &Rule) -> Result<Rule, DbError> {
        let odd = |text: String| DbError::inconsistent("import_rows", "rule", text);
        let mut keys = match serde_json::to_value(old) {
            Ok(Value::Object(keys)) => keys,
            other => return Err(odd(format!("{other:?}"))),
        };
        for (key, value) in &self.rule {
            match value {
                Value::Null => drop(keys.remove(key)),
                value => drop(keys.insert(key.clone(), value.clone())),
            }
        }
        serde_json::from_value(Value::Object(keys)).map_err(|error| odd(error.to_string()))
    }
}

/// What a table would change, held until all of it is known. Most tables say few different things, so each text is held once.
#[derive(Default)]
pub struct Changes {
    pub hub: Option<Rule>,
    pub marketplaces: HashMap<MarketplaceId, Rule>,
    pub products: HashMap<ProductId, Arc<str>>,
    pub listings: HashMap<ListingId, Arc<str>>,
    texts: BTreeSet<Arc<str>>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.hub.is_none() && self.marketplaces.is_empty() && self.products.is_empty() && self.listings.is_empty()
    }

    /// Whether it changes a rule that holds for more than one product.
    pub fn is_broad(&self) -> bool {
        self.hub.is_some() || !self.marketplaces.is_empty()
    }

    pub fn add(&mut self, change: Change) {
        let text = text(&change.rule);
        match change.place {
            Place::Hub => self.hub = Some(change.rule),
            Place::Marketplace(id) => drop(self.marketplaces.insert(id, change.rule)),
            Place::Product(id) => {
                let text = self.shared(&text);
                self.products.insert(id, text);
            }
            Place::Listing(id) => {
                let text = self.shared(&text);
                self.listings.insert(id, text);
            }
        }
    }

    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let fresh: Arc<str> = text.into();
        self.texts.insert(fresh.clone());
        fresh
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Place {
    Hub,
    Marketplace(MarketplaceId),
    Product(ProductId),
    Listing(ListingId),
}

/// A rule that differs from the one that is there.
#[derive(Clone, Debug)]
pub struct Change {
    pub place: Place,
    pub rule: Rule,
}

fn text(rule: &Rule) -> String {
    serde_json::json!(rule).to_string()
}

/// Asks what rows would do, and does nothing.
pub struct CompareRules {
    pub rows: Vec<RuleCells>,
    pub kit: Kit,
}

/// One per row, in order: what is wrong with it, or what it would change, if anything.
pub type Compared = Vec<Result<Option<Change>, FaultText>>;

impl Question for CompareRules {
    type Answer = Compared;

    async fn ask(self, conn: &mut Conn<'_>) -> Result<Compared, DbError> {
        let known = Known::load(conn, &self.kit, &self.rows).await?;
        let mut compared = Vec::with_capacity(self.rows.len());
        for (n, row) in self.rows.iter().enumerate() {
            compared.push(match known.judge(n, row) {
                Err(fault) => Err(fault),
                Ok((place, old)) => {
                    let rule = row.over(&old)?;
                    let broad = matches!(place, Place::Hub | Place::Marketplace(_));
                    if rule == old {
                        Ok(None)
                    } else if broad && !row.may_all {
                        Err(("scope", "to change it needs the role admin: it holds for all products".into()))
                    } else {
                        Ok(Some(Change { place, rule }))
                    }
                }
            });
        }
        Ok(compared)
    }
}

pub const fn verdict(change: Option<&Change>) -> Verdict {
    if change.is_some() { Verdict::Updated } else { Verdict::Unchanged }
}

/// What the rows name, with the rules that are there.
struct Known {
    hub: Rule,
    marketplaces: HashMap<String, (MarketplaceId, Rule)>,
    products: HashMap<String, (ProductId, Rule)>,
    /// By the row's place: the listing, its rule, and the SKU of the one product it sells.
    listings: HashMap<usize, (ListingId, Rule, Option<String>)>,
}

impl Known {
    async fn load(conn: &mut Conn<'_>, kit: &Kit, rows: &[RuleCells]) -> Result<Self, DbError> {
        let hub = stored_rule("hub_meta", &rules::hub_rule(conn).await?)?;
        let of = |level: Level| rows.iter().filter(move |row| row.scope == level);
        let stored: HashMap<MarketplaceId, String> = rules::of_marketplaces(conn).await?.into_iter().collect();
        let mut marketplaces = HashMap::new();
        for connection in kit.registry.all().into_iter().filter(|connection| !connection.is_archived()) {
            let rule = stored.get(&connection.id).map_or("{}", String::as_str);
            marketplaces.insert(connection.code.clone(), (connection.id, stored_rule("marketplaces", rule)?));
        }
        let mut products = HashMap::new();
        for row in products::list_by_sku(conn, of(Level::Product).map(|row| row.sku.as_str())).await? {
            products.insert(row.sku.to_string(), (row.id, stored_rule("products", &row.rule)?));
        }
        let mut keys = Vec::new();
        for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.scope == Level::Listing) {
            if let Some((id, _)) = marketplaces.get(&row.marketplace) {
                keys.push((n, *id, row.marketplace_product_id.as_str(), row.market.as_str()));
            }
        }
        let mut listings = HashMap::new();
        for LevelRule { item, id, rule, sku } in rules::of_listings_by_key(conn, &keys).await? {
            let rule = stored_rule("marketplace_products", &rule)?;
            listings.insert(usize::try_from(item).unwrap_or(usize::MAX), (ListingId::new(id), rule, sku));
        }
        Ok(Self { hub, marketplaces, products, listings })
    }

    /// Whose rule the row is, and what it is now.
    fn judge(&self, n: usize, row: &RuleCells) -> Result<(Place, Rule), FaultText> {
        let marketplace = || {
            let found = self.marketplaces.get(&row.marketplace);
            found.ok_or_else(|| ("marketplace", format!("there is no marketplace {} in use", row.marketplace)))
        };
        match row.scope {
            Level::Hub => Ok((Place::Hub, self.hub.clone())),
            Level::Marketplace => marketplace().map(|(id, rule)| (Place::Marketplace(*id), rule.clone())),
            Level::Product => {
                let found = self.products.get(&row.sku);
                let (id, rule) = found.ok_or_else(|| ("sku", format!("there is no product {}", row.sku)))?;
                Ok((Place::Product(*id), rule.clone()))
            }
            Level::Listing => {
                marketplace()?;
                let fault = || ("marketplace_product_id", format!("{} has no such listing", row.marketplace));
                let (id, rule, sku) = self.listings.get(&n).ok_or_else(fault)?;
                match sku.as_deref() {
                    _ if row.sku.is_empty() => Ok((Place::Listing(*id), rule.clone())),
                    Some(sku) if sku == row.sku => Ok((Place::Listing(*id), rule.clone())),
                    Some(sku) => Err(("sku", format!("this listing sells {sku}"))),
                    None => Err(("sku", "this listing is a bundle: leave it empty".into())),
                }
            }
        }
    }
}

pub(super) async fn apply(tx: &mut Tx<'_>, import: &ImportRow, rows: &[(i64, String)]) -> Result<Counts, DbError> {
    let cells = rows.iter().map(|(_, data)| row_of::<RuleCells>(data)).collect::<Result<Vec<_>, DbError>>()?;
    let known = Known::load(&mut tx.conn, tx.kit, &cells).await?;
    let mut done = Counts::default();
    let (mut broad, mut of_products, mut of_listings) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for (n, row) in cells.iter().enumerate() {
        match known.judge(n, row) {
            Ok((Place::Product(id), _)) => drop(of_products.insert(id, row)),
            Ok((Place::Listing(id), _)) => drop(of_listings.insert(id, row)),
            Ok((place, old)) => broad.push((place, old, row)),
            Err(_) => done.skipped += 1,
        }
    }
    set_all_broad(tx, broad, &mut done).await?;
    let parts = listings::components(&mut tx.conn, of_listings.keys().copied()).await?;
    let mut products: BTreeSet<ProductId> = of_products.keys().copied().collect();
    products.extend(parts.iter().map(|part| part.product_id));
    let mut working = Working::of_products(tx, products).await?;
    let mut touched = set_of_products(tx, &mut working, &of_products, &mut done).await?;
    let changed = set_of_listings(tx, &mut working, &of_listings, &mut done).await?;
    touched.extend(parts.iter().filter(|part| changed.contains(&part.listing_id)).map(|part| part.product_id));
    for product in touched {
        let cause = by_hand(tx, "manual", "rule", &import.actor, String::new());
        working.touch(product, cause);
    }
    working.flush(tx).await?;
    Ok(done)
}

/// Before any stock is locked: the mark of the pass that follows comes before stock and marketplaces, as in the pass itself.
async fn set_all_broad(tx: &mut Tx<'_>, rows: Vec<(Place, Rule, &RuleCells)>, done: &mut Counts) -> Result<(), DbError> {
    let mut changes = false;
    for (_, old, row) in &rows {
        changes |= row.over(old)? != *old;
    }
    if changes {
        rules::set_pass(&mut tx.conn, "").await?;
    }
    for (place, old, row) in rows {
        set_broad(tx, place, &old, row, done).await?;
    }
    Ok(())
}

/// The rules of these products, under a lock that is taken after those of their stock; gives which changed.
async fn set_of_products(
    tx: &mut Tx<'_>,
    working: &mut Working,
    rows: &BTreeMap<ProductId, &RuleCells>,
    done: &mut Counts,
) -> Result<BTreeSet<ProductId>, DbError> {
    let mut changed = BTreeMap::new();
    for (id, old) in rules::lock_of_products(&mut tx.conn, rows.keys().copied()).await? {
        let (Some(row), old) = (rows.get(&id), stored_rule("products", &old)?) else { continue };
        let rule = row.over(&old)?;
        if rule == old {
            done.unchanged += 1;
            continue;
        }
        done.updated += 1;
        if let Some(product) = working.products.get_mut(&id) {
            product.rule = text(&rule);
        }
        changed.insert(id, text(&rule));
    }
    rules::set_of_products(&mut tx.conn, &changed, tx.now).await?;
    Ok(changed.into_keys().collect())
}

/// The rules of these listings; gives which changed.
async fn set_of_listings(
    tx: &mut Tx<'_>,
    working: &mut Working,
    rows: &BTreeMap<ListingId, &RuleCells>,
    done: &mut Counts,
) -> Result<BTreeSet<ListingId>, DbError> {
    let mut changed = BTreeMap::new();
    for (id, old) in rules::lock_of_listings(&mut tx.conn, rows.keys().copied()).await? {
        let (Some(row), old) = (rows.get(&id), stored_rule("marketplace_products", &old)?) else { continue };
        let rule = row.over(&old)?;
        if rule == old {
            done.unchanged += 1;
            continue;
        }
        done.updated += 1;
        // One that has ended shows nothing, and is not loaded.
        if let Some(listing) = working.listings.get_mut(&id) {
            listing.row.rule = text(&rule);
        }
        changed.insert(id, text(&rule));
    }
    rules::set_of_listings(&mut tx.conn, &changed, tx.now).await?;
    Ok(changed.into_keys().collect())
}

/// A rule of the hub or of a marketplace; the pass over all products makes the listings follow it.
async fn set_broad(tx: &mut Tx<'_>, place: Place, old: &Rule, row: &RuleCells, done: &mut Counts) -> Result<(), DbError> {
    let locked = match place {
        Place::Marketplace(_) => marketplaces::lock(&mut tx.conn, &row.marketplace).await?,
        _ => None,
    };
    let old = locked.map_or_else(|| Ok(old.clone()), |row| stored_rule("marketplaces", &row.rule))?;
    let rule = row.over(&old)?;
    if rule == old {
        done.unchanged += 1;
        return Ok(());
    }
    // It was as it is now when the row was checked, and whoever sent it may not change it.
    if !row.may_all {
        done.skipped += 1;
        return Ok(());
    }
    done.updated += 1;
    match place {
        Place::Marketplace(id) => {
            rules::set_of_marketplace(&mut tx.conn, id, &text(&rule), tx.now).await?;
            begin_pass(tx, Some(id), rule).await
        }
        _ => {
            rules::set_hub_rule(&mut tx.conn, &text(&rule)).await?;
            begin_pass(tx, None, rule).await
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_sets_what_it_has_columns_for_and_takes_away_what_is_empty() {
        let row = |rule: Value| RuleCells {
            scope: Level::Hub,
            marketplace: String::new(),
            sku: String::new(),
            marketplace_product_id: String::new(),
            market: String::new(),
            rule: rule.as_object().cloned().unwrap(),
            may_all: true,
        };
        let old = Rule { buffer: Some(3), paused: Some(true), ..Rule::default() };
        let new = row(json!({"buffer": null, "quota": 5})).over(&old).unwrap();
        assert_eq!(new, Rule { quota: Some(5), paused: Some(true), ..Rule::default() });
        assert_eq!(row(json!({})).over(&old).unwrap(), old);
    }

    #[test]
    fn what_many_rows_say_is_held_once() {
        let mut changes = Changes::default();
        for n in 0..3 {
            let rule = Rule { buffer: Some(1), ..Rule::default() };
            changes.add(Change { place: Place::Product(ProductId::new(uuid::Uuid::from_u128(n))), rule });
        }
        assert_eq!((changes.products.len(), changes.texts.len(), changes.is_broad(), changes.is_empty()), (3, 1, false, false));
    }
}
