//! Rows of products: compared with what is there, and made so. A cell that is left empty leaves things as they are.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::row_of;
use crate::context::Question;
use crate::db::imports::{self, Counts, ImportRow};
use crate::db::inventory::{self, LevelRow};
use crate::db::listings::NewListing;
use crate::db::products::{self, ProductRow};
use crate::db::{Conn, DbError, places};
use crate::domain::ids::{ListingId, LocationId, ProductId};
use crate::domain::money::{Currency, Money};
use crate::domain::sku::Sku;
use crate::marketplaces::connection::STORE;
use crate::pipeline::Tx;
use crate::pipeline::catalogue::by_hand;
use crate::pipeline::working::{Change, Working};

/// A row as it was written, each cell checked by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProductCells {
    pub sku: String,
    pub name: Option<String>,
    pub price: Option<String>,
    pub cost_price: Option<String>,
    pub currency: Option<String>,
    pub low_stock_threshold: Option<i64>,
    pub oversell_policy: Option<String>,
    /// Pieces at the store's first location.
    pub stock: Option<i64>,
}

/// What a row would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Created,
    Updated,
    Unchanged,
}

#[derive(Debug, Default)]
pub struct Compared {
    /// One per row, in order.
    pub verdicts: Vec<Result<Verdict, FaultText>>,
    /// Rows that would leave nothing of a product there is something of.
    pub emptied: Vec<String>,
}

pub type FaultText = (&'static str, String);

/// Asks what rows would do, and does nothing.
pub struct Compare {
    pub rows: Vec<ProductCells>,
    pub main: LocationId,
    pub low_stock_threshold: i64,
}

impl Question for Compare {
    type Answer = Compared;

    async fn ask(self, conn: &mut Conn<'_>) -> Result<Compared, DbError> {
        let known = Known::load(conn, &self.rows, self.main).await?;
        let archived = imports::archived(conn, self.rows.iter().map(|row| row.sku.as_str())).await?;
        let mut compared = Compared::default();
        for row in &self.rows {
            if archived.contains(&row.sku) {
                compared.verdicts.push(Err(("sku", "is archived: bring it back first".into())));
                continue;
            }
            let old = known.of(&row.sku);
            let verdict = merge(old.map(|(product, _)| product), row, self.low_stock_threshold).map(|(_, changed)| {
                let on_hand = old.map_or(0, |(_, on_hand)| on_hand);
                if on_hand > 0 && row.stock == Some(0) {
                    compared.emptied.push(row.sku.clone());
                }
                let moved = old.is_some() && row.stock.is_some_and(|stock| stock != on_hand);
                match (old, changed || moved) {
                    (None, _) => Verdict::Created,
                    (Some(_), true) => Verdict::Updated,
                    (Some(_), false) => Verdict::Unchanged,
                }
            });
            compared.verdicts.push(verdict);
        }
        Ok(compared)
    }
}

/// The products of some rows, and how many pieces of each there are at one place.
struct Known(HashMap<String, (ProductRow, i64)>);

impl Known {
    async fn load(conn: &mut Conn<'_>, rows: &[ProductCells], main: LocationId) -> Result<Self, DbError> {
        let found = products::list_by_sku(conn, rows.iter().map(|row| row.sku.as_str())).await?;
        let levels = inventory::list(conn, found.iter().map(|row| row.id)).await?;
        let at_main: HashMap<ProductId, i64> =
            levels.iter().filter(|level| level.location_id == main).map(|level| (level.product_id, level.on_hand)).collect();
        let of = |row: ProductRow| {
            let on_hand = at_main.get(&row.id).copied().unwrap_or(0);
            (row.sku.to_string(), (row, on_hand))
        };
        Ok(Self(found.into_iter().map(of).collect()))
    }

    /// The same, once the stock of those that the rows would change is held: what is known of them stands still from then on.
    async fn stocked(tx: &mut Tx<'_>, rows: &[ProductCells], main: LocationId) -> Result<Self, DbError> {
        let known = Self::load(&mut tx.conn, rows, main).await?;
        let changes = |row: &ProductCells| {
            let (old, on_hand) = known.of(&row.sku)?;
            let changed = merge(Some(old), row, 0).is_ok_and(|(_, changed)| changed);
            (changed || row.stock.is_some_and(|stock| stock != on_hand)).then_some(old.id)
        };
        let changed: BTreeSet<ProductId> = rows.iter().filter_map(changes).collect();
        if changed.is_empty() {
            return Ok(known);
        }
        Working::hold(tx, changed).await?;
        Self::load(&mut tx.conn, rows, main).await
    }

    fn of(&self, sku: &str) -> Option<(&ProductRow, i64)> {
        self.0.get(sku).map(|(row, on_hand)| (row, *on_hand))
    }
}

/// The product as the row wants it, and whether that differs from what is there. Its id and times are not set where it is new.
fn merge(old: Option<&ProductRow>, row: &ProductCells, threshold: i64) -> Result<(ProductRow, bool), FaultText> {
    let mut new = match old {
        Some(old) => old.clone(),
        None => fresh(row, threshold)?,
    };
    if let Some(name) = &row.name {
        new.name.clone_from(name);
    }
    if let Some(threshold) = row.low_stock_threshold {
        new.low_stock_threshold = threshold;
    }
    if let Some(policy) = &row.oversell_policy {
        new.oversell_policy.clone_from(policy);
    }
    let code = row.currency.clone().or_else(|| new.currency.clone());
    let money = |field: &'static str, amount: &Option<String>| -> Result<Option<i64>, FaultText> {
        let Some(amount) = amount else { return Ok(None) };
        let code = code.as_deref().ok_or(("currency", "is needed with a price".to_owned()))?;
        let currency = Currency::parse(code).map_err(|error| ("currency", error.to_string()))?;
        Ok(Some(Money::parse(amount, currency).map_err(|error| (field, error.to_string()))?.minor))
    };
    let (price, cost) = (money("price", &row.price)?, money("cost_price", &row.cost_price)?);
    let renamed = row.currency.is_some() && new.currency.is_some() && row.currency != new.currency;
    let kept = (price.is_none() && new.price_minor.is_some()) || (cost.is_none() && new.cost_price_minor.is_some());
    if renamed && kept {
        return Err(("currency", "differs from that of the price that stays: give both".into()));
    }
    new.price_minor = price.or(new.price_minor);
    new.cost_price_minor = cost.or(new.cost_price_minor);
    if new.price_minor.is_some() || new.cost_price_minor.is_some() {
        new.currency = code;
    }
    let changed = old.is_none_or(|old| {
        (&old.name, old.low_stock_threshold, &old.oversell_policy) != (&new.name, new.low_stock_threshold, &new.oversell_policy)
            || (old.price_minor, old.cost_price_minor, &old.currency) != (new.price_minor, new.cost_price_minor, &new.currency)
    });
    Ok((new, changed))
}

fn fresh(row: &ProductCells, threshold: i64) -> Result<ProductRow, FaultText> {
    let sku = Sku::parse(&row.sku).map_err(|error| ("sku", error.to_string()))?;
    let name = row.name.clone().ok_or(("name", "is needed for a new product".to_owned()))?;
    Ok(ProductRow {
        id: ProductId::new(uuid::Uuid::nil()),
        sku,
        name,
        price_minor: None,
        cost_price_minor: None,
        currency: None,
        low_stock_threshold: threshold,
        oversell_policy: "block".into(),
        is_available: false,
        stock_state: "out".into(),
        rule: "{}".into(),
        version: 1,
        created_at: Default::default(),
        updated_at: Default::default(),
    })
}

pub(super) async fn apply(tx: &mut Tx<'_>, import: &ImportRow, rows: &[(i64, String)]) -> Result<Counts, DbError> {
    let store = tx.kit.registry.by_code(STORE).ok_or_else(|| DbError::inconsistent("marketplaces", "code", STORE))?;
    let main = *store.locations.first().ok_or_else(|| DbError::inconsistent("marketplaces", "locations", STORE))?;
    let cells = rows.iter().map(|(n, data)| Ok((*n, row_of::<ProductCells>(data)?))).collect::<Result<Vec<_>, DbError>>()?;
    let only: Vec<ProductCells> = cells.iter().map(|(_, row)| row.clone()).collect();
    let known = Known::stocked(tx, &only, main).await?;
    let archived = imports::archived(&mut tx.conn, only.iter().map(|row| row.sku.as_str())).await?;
    let mut done = Counts::default();
    let (mut new, mut touched, mut wanted) = (Vec::new(), BTreeSet::new(), Vec::new());
    for (n, row) in &cells {
        let old = known.of(&row.sku);
        let merged = merge(old.map(|(product, _)| product), row, tx.kit.limits.low_stock_threshold);
        let Some((mut product, changed)) = merged.ok().filter(|_| !archived.contains(&row.sku)) else {
            done.skipped += 1;
            continue;
        };
        match old {
            None => {
                product.id = tx.id();
                touched.insert(product.id);
                wanted.push((product.id, *n, row.stock.unwrap_or(0), true));
                new.push(product);
                done.created += 1;
            }
            Some((_, on_hand)) => {
                let moved = row.stock.filter(|stock| *stock != on_hand);
                if changed {
                    products::update(&mut tx.conn, &product, None, tx.now).await?;
                }
                if let Some(stock) = moved {
                    wanted.push((product.id, *n, stock, false));
                }
                if changed || moved.is_some() {
                    touched.insert(product.id);
                    done.updated += 1;
                } else {
                    done.unchanged += 1;
                }
            }
        }
    }
    insert(tx, &new, store.id, main, &import.actor).await?;
    done.skipped += post(tx, import, touched, &wanted, main).await?;
    Ok(done)
}

/// New products, each on sale in the own store at once.
async fn insert(
    tx: &mut Tx<'_>,
    new: &[ProductRow],
    store: crate::domain::ids::MarketplaceId,
    main: LocationId,
    actor: &str,
) -> Result<(), DbError> {
    imports::insert_products(&mut tx.conn, new, tx.now).await?;
    let ids: Vec<ListingId> = new.iter().map(|_| tx.id()).collect();
    let listing = |(product, id): (&'_ ProductRow, ListingId)| {
        let parts = vec![(product.id, 1)];
        (id, parts)
    };
    let made: Vec<_> = new.iter().zip(ids).map(listing).collect();
    let listings: Vec<_> = new
        .iter()
        .zip(&made)
        .map(|(product, (id, parts))| {
            let listing = NewListing {
                id: *id,
                marketplace_id: store,
                marketplace_product_id: product.sku.as_str(),
                market: "",
                marketplace_sku: Some(product.sku.as_str()),
                refs: "{}",
                price_minor: product.price_minor,
                currency: product.currency.as_deref(),
                rule: "{}",
                actor,
            };
            (listing, parts.clone())
        })
        .collect();
    imports::insert_listings(&mut tx.conn, &listings, tx.now).await?;
    inventory::insert_once(&mut tx.conn, new.iter().map(|product| (product.id, main)), tx.now).await
}

/// Which product, in which row, how many pieces, and whether it is new.
type Wanted = (ProductId, i64, i64, bool);

/// Brings the stock to what was counted; gives how many could not be.
async fn post(
    tx: &mut Tx<'_>,
    import: &ImportRow,
    touched: BTreeSet<ProductId>,
    wanted: &[Wanted],
    main: LocationId,
) -> Result<i64, DbError> {
    if touched.is_empty() {
        return Ok(0);
    }
    let mut working = Working::of_products(tx, touched.clone()).await?;
    let mut skipped = 0;
    for (product, n, stock, fresh) in wanted {
        working.ensure_level(tx, (*product, main)).await?;
        let on_hand = working.level((*product, main)).map_or(0, |level: &LevelRow| level.on_hand);
        let by = stock - on_hand;
        if by == 0 {
            continue;
        }
        let kind = if *fresh { "opening" } else { "adjusted" };
        let mut cause = by_hand(tx, kind, "manual", &import.actor, format!("import:{}:{n}", import.id));
        cause.reason = Some("import".into());
        cause.reference_type = Some("import");
        cause.reference_id = Some(import.id.to_string());
        if working.post(tx, (*product, main), Change { on_hand: by, ..Change::default() }, cause).is_err() {
            skipped += 1;
        } else if !fresh {
            places::set_counted(&mut tx.conn, *product, tx.now).await?;
        }
    }
    for product in touched {
        let cause = by_hand(tx, "manual", "manual", &import.actor, String::new());
        working.touch(product, cause);
    }
    working.flush(tx).await?;
    Ok(skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(sku: &str) -> ProductCells {
        ProductCells {
            sku: sku.into(),
            name: Some("Phone".into()),
            price: Some("12.50".into()),
            cost_price: None,
            currency: Some("USD".into()),
            low_stock_threshold: None,
            oversell_policy: None,
            stock: None,
        }
    }

    #[test]
    fn a_row_changes_what_it_names_and_nothing_else() {
        let (old, changed) = merge(None, &cells("A"), 3).unwrap();
        assert!(changed && old.price_minor == Some(1_250) && old.low_stock_threshold == 3);
        assert!(!merge(Some(&old), &cells("A"), 9).unwrap().1, "the same again is nothing");
        let price = ProductCells { name: None, currency: None, price: Some("13".into()), ..cells("A") };
        let (new, changed) = merge(Some(&old), &price, 9).unwrap();
        assert!(changed && new.price_minor == Some(1_300) && new.name == "Phone");
        let other = ProductCells { currency: Some("EUR".into()), price: None, cost_price: Some("1".into()), ..cells("A") };
        assert_eq!(merge(Some(&old), &other, 9).unwrap_err().0, "currency");
    }

    #[test]
    fn a_new_product_needs_a_name_and_a_price_its_currency() {
        assert_eq!(merge(None, &ProductCells { name: None, ..cells("A") }, 3).unwrap_err().0, "name");
        assert_eq!(merge(None, &ProductCells { currency: None, ..cells("A") }, 3).unwrap_err().0, "currency");
        assert_eq!(merge(None, &ProductCells { price: Some("1e3".into()), ..cells("A") }, 3).unwrap_err().0, "price");
    }
}
