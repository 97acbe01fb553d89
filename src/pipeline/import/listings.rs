//! Rows of listings: which marketplace sells what under which name. A listing is known by marketplace, its id there, and market.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::products::{FaultText, Verdict};
use super::row_of;
use crate::context::Question;
use crate::db::imports::{self, Counts, ImportRow};
use crate::db::listings::{self, NewListing};
use crate::db::{Conn, DbError, products, webhooks};
use crate::domain::ids::{ListingId, MarketplaceId, ProductId};
use crate::domain::money::{Currency, Money};
use crate::domain::sku::Sku;
use crate::marketplaces::Connection;
use crate::pipeline::catalogue::by_hand;
use crate::pipeline::listings::{UpdateListing, change};
use crate::pipeline::working::Working;
use crate::pipeline::{Kit, Tx};

/// A row as it was written, each cell checked by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListingCells {
    pub marketplace: String,
    pub marketplace_product_id: String,
    pub market: String,
    /// What one unit is made of.
    pub components: Vec<(String, i64)>,
    pub marketplace_sku: Option<String>,
    pub refs: Option<Map<String, Value>>,
    pub price: Option<String>,
    pub currency: Option<String>,
    pub state: Option<String>,
}

impl ListingCells {
    pub fn key(&self) -> String {
        format!("{}\n{}\n{}", self.marketplace, self.marketplace_product_id, self.market)
    }

    fn money(&self) -> Result<Option<Money>, FaultText> {
        let Some(amount) = &self.price else { return Ok(None) };
        let code = self.currency.as_deref().ok_or(("currency", "is needed with a price".to_owned()))?;
        let currency = Currency::parse(code).map_err(|error| ("currency", error.to_string()))?;
        Money::parse(amount, currency).map(Some).map_err(|error| ("price", error.to_string()))
    }

    fn update(&self) -> Result<UpdateListing, FaultText> {
        Ok(UpdateListing {
            marketplace_sku: self.marketplace_sku.clone().map(Some),
            refs: self.refs.clone(),
            price: self.money()?.map(Some),
            state: self.state.as_deref().and_then(|state| ["active", "paused", "ended"].into_iter().find(|s| *s == state)),
        })
    }
}

/// Asks what rows would do, and does nothing.
pub struct CompareListings {
    pub rows: Vec<ListingCells>,
    pub kit: Kit,
}

impl Question for CompareListings {
    type Answer = Vec<Result<Verdict, FaultText>>;

    async fn ask(self, conn: &mut Conn<'_>) -> Result<Self::Answer, DbError> {
        let known = Known::load(conn, &self.kit, &self.rows).await?;
        let mut verdicts = Vec::with_capacity(self.rows.len());
        for (n, row) in self.rows.iter().enumerate() {
            verdicts.push(match known.judge(row) {
                Err(fault) => Err(fault),
                Ok(_) if !known.listings.contains_key(&n) => Ok(Verdict::Created),
                Ok(_) => Ok(Verdict::Updated),
            });
        }
        Ok(verdicts)
    }
}

/// Where a row sells, and what one unit of it is made of.
type Judged = (Arc<Connection>, Vec<(ProductId, i64)>);

struct Known {
    connections: HashMap<String, Arc<Connection>>,
    products: HashMap<String, ProductId>,
    /// By the row's place.
    listings: HashMap<usize, ListingId>,
}

impl Known {
    async fn load(conn: &mut Conn<'_>, kit: &Kit, rows: &[ListingCells]) -> Result<Self, DbError> {
        let all = kit.registry.all().into_iter().filter(|connection| !connection.is_storefront());
        let connections: HashMap<String, Arc<Connection>> = all.map(|connection| (connection.code.clone(), connection)).collect();
        let skus: HashSet<&str> = rows.iter().flat_map(|row| &row.components).map(|(sku, _)| sku.as_str()).collect();
        let found = products::list_by_sku(conn, skus).await?;
        let products = found.into_iter().map(|row| (row.sku.to_string(), row.id)).collect();
        let mut places = Vec::new();
        let mut keys: Vec<(MarketplaceId, &str, &str)> = Vec::new();
        for (n, row) in rows.iter().enumerate() {
            if let Some(connection) = connections.get(&row.marketplace) {
                places.push(n);
                keys.push((connection.id, &row.marketplace_product_id, &row.market));
            }
        }
        let found = imports::find_listings(conn, &keys).await?;
        let place = |item: i64| usize::try_from(item).ok().and_then(|item| places.get(item).copied());
        let listings = found.into_iter().filter_map(|(item, id)| Some((place(item)?, id))).collect();
        Ok(Self { connections, products, listings })
    }

    /// What the row is made of, where it can be.
    fn judge(&self, row: &ListingCells) -> Result<Judged, FaultText> {
        let connection = self.connections.get(&row.marketplace);
        let connection = connection.ok_or(("marketplace", "there is no such marketplace to list on".to_owned()))?;
        if connection.is_archived() {
            return Err(("marketplace", "is archived: bring it back first".into()));
        }
        row.update()?;
        let mut parts = Vec::with_capacity(row.components.len());
        for (sku, units) in &row.components {
            Sku::parse(sku).map_err(|error| ("sku", error.to_string()))?;
            let product = self.products.get(sku).ok_or_else(|| ("sku", format!("there is no product {sku}")))?;
            parts.push((*product, *units));
        }
        Ok((connection.clone(), parts))
    }
}

/// A new listing, with everything that its row says.
struct New {
    id: ListingId,
    marketplace: MarketplaceId,
    parts: Vec<(ProductId, i64)>,
    told_as: Option<String>,
    refs: String,
    price: Option<Money>,
    currency: Option<String>,
}

pub(super) async fn apply(tx: &mut Tx<'_>, import: &ImportRow, rows: &[(i64, String)]) -> Result<Counts, DbError> {
    let cells = rows.iter().map(|(_, data)| row_of::<ListingCells>(data)).collect::<Result<Vec<_>, DbError>>()?;
    let known = Known::load(&mut tx.conn, tx.kit, &cells).await?;
    let mut done = Counts::default();
    let mut made: Vec<(usize, New)> = Vec::new();
    for (n, row) in cells.iter().enumerate() {
        let Ok((connection, parts)) = known.judge(row) else {
            done.skipped += 1;
            continue;
        };
        let Ok(update) = row.update() else {
            done.skipped += 1;
            continue;
        };
        if let Some(id) = known.listings.get(&n) {
            let Some(old) = listings::lock_names(&mut tx.conn, *id).await? else { continue };
            let changed = change(tx, *id, &old, &update, &import.actor).await?;
            if changed {
                done.updated += 1
            } else {
                done.unchanged += 1
            }
            continue;
        }
        // A pack or a bundle is told under a name of its own: the SKU of a part would set that part's number.
        let single = matches!(&row.components[..], [(_, 1)]);
        let told_as = row.marketplace_sku.clone().or_else(|| (!single).then(|| row.marketplace_product_id.clone()));
        let price = row.money().ok().flatten();
        made.push((
            n,
            New {
                id: tx.id(),
                marketplace: connection.id,
                parts,
                told_as,
                refs: Value::Object(row.refs.clone().unwrap_or_default()).to_string(),
                price,
                currency: price.map(|money| money.currency.to_string()),
            },
        ));
        done.created += 1;
    }
    insert(tx, &cells, &made, &import.actor).await?;
    Ok(done)
}

async fn insert(tx: &mut Tx<'_>, cells: &[ListingCells], made: &[(usize, New)], actor: &str) -> Result<(), DbError> {
    let mut rows = Vec::with_capacity(made.len());
    for (n, new) in made {
        let Some(row) = cells.get(*n) else { continue };
        let listing = NewListing {
            id: new.id,
            marketplace_id: new.marketplace,
            marketplace_product_id: &row.marketplace_product_id,
            market: &row.market,
            marketplace_sku: new.told_as.as_deref(),
            refs: &new.refs,
            price_minor: new.price.map(|money| money.minor),
            currency: new.currency.as_deref(),
            rule: "{}",
            actor,
        };
        rows.push((listing, new.parts.clone()));
    }
    if rows.is_empty() {
        return Ok(());
    }
    imports::insert_listings(&mut tx.conn, &rows, tx.now).await?;
    let touched: BTreeSet<ProductId> = made.iter().flat_map(|(_, new)| &new.parts).map(|(product, _)| *product).collect();
    let mut working = Working::of_products(tx, touched.clone()).await?;
    for product in touched {
        let cause = by_hand(tx, "manual", "manual", actor, String::new());
        working.touch(product, cause);
    }
    working.flush(tx).await?;
    for marketplace in made.iter().map(|(_, new)| new.marketplace).collect::<BTreeSet<_>>() {
        webhooks::retry_unmapped(&mut tx.conn, marketplace).await?;
        tx.effects.to_push.insert(marketplace);
    }
    Ok(())
}
