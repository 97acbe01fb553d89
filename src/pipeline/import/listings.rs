//! Rows of listings: which marketplace sells what under which name. A listing is known by marketplace, its id there, and market.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::products::{FaultText, Verdict};
use super::row_of;
use crate::context::Question;
use crate::db::imports::{self, Counts, ImportRow};
use crate::db::listings::{self, ListingNames, NewListing};
use crate::db::{Conn, DbError, products, webhooks};
use crate::domain::ids::{ListingId, MarketplaceId, ProductId};
use crate::domain::money::{Currency, Money};
use crate::domain::sku::Sku;
use crate::marketplaces::Connection;
use crate::pipeline::catalogue::{by_hand, missing_ref};
use crate::pipeline::listings::{UpdateListing, change, updated};
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
            state: self.state_word(),
        })
    }

    fn state_word(&self) -> Option<&'static str> {
        self.state.as_deref().and_then(|state| ["active", "paused", "ended"].into_iter().find(|s| *s == state))
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
        let verdict = |(n, row): (usize, &ListingCells)| {
            Ok(match known.judge(n, row)? {
                Judged::New(..) => Verdict::Created,
                Judged::There(there, update) if updated(&there.names, &update) == there.names => Verdict::Unchanged,
                Judged::There(..) => Verdict::Updated,
            })
        };
        Ok(self.rows.iter().enumerate().map(verdict).collect())
    }
}

/// A listing that is there, and what it is made of, in the order of SKUs.
struct There {
    names: ListingNames,
    parts: Vec<(String, i64)>,
    products: Vec<ProductId>,
}

impl There {
    fn made_of(&self) -> String {
        self.parts.iter().map(|(sku, units)| format!("{sku} × {units}")).collect::<Vec<_>>().join(", ")
    }
}

enum Judged<'k> {
    /// Where it sells, and what one unit of it is made of.
    New(Arc<Connection>, Vec<(ProductId, i64)>),
    There(&'k There, UpdateListing),
}

struct Known {
    connections: HashMap<String, Arc<Connection>>,
    products: HashMap<String, ProductId>,
    /// By the row's place.
    listings: HashMap<usize, There>,
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
        let found: HashMap<ListingId, usize> = found.into_iter().filter_map(|(item, id)| Some((id, place(item)?))).collect();
        let listings = there(conn, &found).await?;
        Ok(Self { connections, products, listings })
    }

    /// What the row would do, where it can be done.
    fn judge(&self, n: usize, row: &ListingCells) -> Result<Judged<'_>, FaultText> {
        let connection = self.connections.get(&row.marketplace);
        let connection = connection.ok_or(("marketplace", "there is no such marketplace to list on".to_owned()))?;
        if connection.is_archived() {
            return Err(("marketplace", "is archived: bring it back first".into()));
        }
        let update = row.update()?;
        if let Some(there) = self.listings.get(&n) {
            let mut said = row.components.clone();
            said.sort_unstable();
            if said == there.parts {
                return Ok(Judged::There(there, update));
            }
            return Err(("sku", format!("this listing is made of {}, which does not change", there.made_of())));
        }
        let mut parts = Vec::with_capacity(row.components.len());
        for (sku, units) in &row.components {
            Sku::parse(sku).map_err(|error| ("sku", error.to_string()))?;
            let product = self.products.get(sku).ok_or_else(|| ("sku", format!("there is no product {sku}")))?;
            parts.push((*product, *units));
        }
        let none = Map::new();
        if let Some(name) = missing_ref(connection, row.refs.as_ref().unwrap_or(&none)) {
            return Err(("refs", format!("must name {name:?}: the marketplace knows its listings by it")));
        }
        Ok(Judged::New(connection.clone(), parts))
    }
}

/// What is known of these listings. Their products may be put away by now: what is listed stays listed.
async fn there(conn: &mut Conn<'_>, places: &HashMap<ListingId, usize>) -> Result<HashMap<usize, There>, DbError> {
    let names = listings::names(conn, places.keys().copied()).await?;
    let parts = listings::components(conn, places.keys().copied()).await?;
    let named = products::list_by_id(conn, parts.iter().map(|part| part.product_id)).await?;
    let skus: HashMap<ProductId, String> = named.into_iter().map(|row| (row.id, row.sku.to_string())).collect();
    let mut found: HashMap<ListingId, There> =
        names.into_iter().map(|names| (names.id, There { names, parts: Vec::new(), products: Vec::new() })).collect();
    for part in parts {
        let (Some(there), Some(sku)) = (found.get_mut(&part.listing_id), skus.get(&part.product_id)) else { continue };
        there.parts.push((sku.clone(), part.units));
        there.products.push(part.product_id);
    }
    let placed = |(id, mut there): (ListingId, There)| {
        there.parts.sort_unstable();
        Some((*places.get(&id)?, there))
    };
    Ok(found.into_iter().filter_map(placed).collect())
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

impl New {
    fn of(id: ListingId, row: &ListingCells, connection: &Connection, parts: Vec<(ProductId, i64)>) -> Self {
        // A pack or a bundle is told under a name of its own: the SKU of a part would set that part's number.
        let single = matches!(&row.components[..], [(_, 1)]);
        let price = row.money().ok().flatten();
        Self {
            id,
            marketplace: connection.id,
            parts,
            told_as: row.marketplace_sku.clone().or_else(|| (!single).then(|| row.marketplace_product_id.clone())),
            refs: Value::Object(row.refs.clone().unwrap_or_default()).to_string(),
            price,
            currency: price.map(|money| money.currency.to_string()),
        }
    }
}

pub(super) async fn apply(tx: &mut Tx<'_>, import: &ImportRow, rows: &[(i64, String)]) -> Result<Counts, DbError> {
    let cells = rows.iter().map(|(_, data)| row_of::<ListingCells>(data)).collect::<Result<Vec<_>, DbError>>()?;
    let known = Known::load(&mut tx.conn, tx.kit, &cells).await?;
    let mut done = Counts::default();
    let (mut changes, mut made) = (Vec::new(), Vec::new());
    let mut touched: BTreeSet<ProductId> = BTreeSet::new();
    for (n, row) in cells.iter().enumerate() {
        match known.judge(n, row) {
            Err(_) => done.skipped += 1,
            Ok(Judged::There(there, update)) if updated(&there.names, &update) == there.names => done.unchanged += 1,
            Ok(Judged::There(there, update)) => {
                touched.extend(&there.products);
                changes.push((there.names.id, update));
            }
            Ok(Judged::New(connection, parts)) => {
                touched.extend(parts.iter().map(|(product, _)| *product));
                made.push((n, New::of(tx.id(), row, &connection, parts)));
            }
        }
    }
    Working::hold(tx, touched).await?;
    for (id, update) in changes {
        let old = listings::lock_names(&mut tx.conn, id).await?;
        match old {
            None => done.skipped += 1,
            Some(old) if change(tx, &old, &update, &import.actor).await? => done.updated += 1,
            Some(_) => done.unchanged += 1,
        }
    }
    done.created += made.len() as i64;
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
    // A new one is on sale; what the row says is put away is put away before anything is told.
    for (n, new) in made {
        let Some(state) = cells.get(*n).and_then(|row| row.state_word()).filter(|state| *state != "active") else { continue };
        let Some(old) = listings::lock_names(&mut tx.conn, new.id).await? else { continue };
        change(tx, &old, &UpdateListing { state: Some(state), ..UpdateListing::default() }, actor).await?;
    }
    for marketplace in made.iter().map(|(_, new)| new.marketplace).collect::<BTreeSet<_>>() {
        webhooks::retry_unmapped(&mut tx.conn, marketplace).await?;
        tx.effects.to_push.insert(marketplace);
    }
    Ok(())
}
