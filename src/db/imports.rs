//! Imports: the rows of a table between its arrival and its end, and the statements that write many products or listings at once.

use uuid::Uuid;

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_one, fetch_optional, row};
use super::error::DbError;
use super::listings::NewListing;
use super::products::ProductRow;
use super::sql::{Rows, statements};
use crate::domain::ids::{ListingId, MarketplaceId, ProductId};
use crate::domain::time::Timestamp;

statements! {
    IMPORT_INSERT = both("INSERT INTO imports (id, kind, state, actor, created_at) VALUES ($1, $2, 'receiving', $3, $4)");
    IMPORT_ROWS_INSERT = both("INSERT INTO import_rows (import_id, n, data) SELECT {id 0}, {int 1}, {text 2} FROM {rows}");
    IMPORT_ACCEPT = both("UPDATE imports SET state = 'accepted' WHERE id = $1 AND state = 'receiving'");
    IMPORT_LOCK = both("SELECT id, kind, state, next_row, created, updated, unchanged, skipped, actor FROM imports WHERE id = $1 {for update}");
    IMPORT_ROWS_NEXT = both("SELECT n, data FROM import_rows WHERE import_id = $1 AND n >= $2 ORDER BY n LIMIT $3");
    IMPORT_ADVANCE = both("UPDATE imports SET next_row = $2, created = created + $3, updated = updated + $4, unchanged = unchanged + $5, \
            skipped = skipped + $6 WHERE id = $1");
    IMPORT_END = both("UPDATE imports SET state = 'applied', finished_at = $2 WHERE id = $1");
    IMPORT_ROWS_DELETE = both("DELETE FROM import_rows WHERE import_id = $1");
    IMPORT_DELETE = both("DELETE FROM imports WHERE id = $1 AND state = 'receiving'");
    IMPORTS_OPEN = both("SELECT id FROM imports WHERE state = 'accepted' ORDER BY created_at LIMIT 1");
    // Nobody is sending it any more.
    IMPORTS_STALE = both("DELETE FROM imports WHERE state = 'receiving' AND created_at < $1");
    STOCKED_COUNT = both("SELECT COUNT(DISTINCT i.product_id) FROM inventory i JOIN products p ON p.id = i.product_id \
        WHERE i.on_hand > 0 AND p.archived_at IS NULL");
    PRODUCTS_INSERT_MANY = both("INSERT INTO products (id, sku, name, price_minor, cost_price_minor, currency, low_stock_threshold, \
            oversell_policy, is_available, stock_state, created_at, updated_at) \
        SELECT {id 0}, {text 1}, {text 2}, {int 3}, {int 4}, {text 5}, {int 6}, {text 7}, FALSE, 'out', {int 8}, {int 8} FROM {rows}");
    LISTINGS_INSERT_MANY = both("INSERT INTO marketplace_products (id, marketplace_id, marketplace_product_id, market, marketplace_sku, \
            refs, marketplace_price, currency, rule, wanted_at, admin_id, created_at, updated_at) \
        SELECT {id 0}, {id 1}, {text 2}, {text 3}, {text 4}, {text 5}, {int 6}, {text 7}, {text 8}, {int 10}, {text 9}, {int 10}, {int 10} \
        FROM {rows}");
    COMPONENTS_INSERT_MANY = both("INSERT INTO listing_components (listing_id, product_id, units) SELECT {id 0}, {id 1}, {int 2} FROM {rows}");
    LISTINGS_BY_KEYS = both("SELECT {int 3} AS item, l.id AS listing_id FROM {rows} JOIN marketplace_products l \
        ON l.marketplace_id = {id 0} AND l.marketplace_product_id = {text 1} AND l.market = {text 2}");
    PRODUCTS_ARCHIVED_OF = both("SELECT sku FROM products WHERE archived_at IS NOT NULL AND sku IN {texts $1}");
}

row! {
    #[derive(Clone, Debug)]
    pub struct ImportRow {
        pub id: Uuid,
        pub kind: String,
        pub state: String,
        pub next_row: i64,
        pub created: i64,
        pub updated: i64,
        pub unchanged: i64,
        pub skipped: i64,
        pub actor: String,
    }
}

row! {
    pub struct StagedRow {
        pub n: i64,
        pub data: String,
    }
}

/// What became of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub created: i64,
    pub updated: i64,
    pub unchanged: i64,
    /// Good when they were checked, impossible when they were applied.
    pub skipped: i64,
}

pub async fn begin(conn: &mut Conn<'_>, id: Uuid, kind: &str, actor: &str, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, IMPORT_INSERT, id, kind, actor, now)
}

pub async fn stage(conn: &mut Conn<'_>, id: Uuid, rows: &[(i64, String)]) -> Result<(), DbError> {
    let mut set = Rows::new();
    for (n, data) in rows {
        set.push(|r| {
            r.id(id).int(*n).text(data);
        });
    }
    execute_exactly!(rows.len(), conn, IMPORT_ROWS_INSERT, set.finish())
}

/// From now on it is applied, whatever happens.
pub async fn accept(conn: &mut Conn<'_>, id: Uuid) -> Result<(), DbError> {
    execute_exactly!(1, conn, IMPORT_ACCEPT, id)
}

pub async fn lock(conn: &mut Conn<'_>, id: Uuid) -> Result<Option<ImportRow>, DbError> {
    fetch_optional!(conn, IMPORT_LOCK, ImportRow, id)
}

pub async fn next_rows(conn: &mut Conn<'_>, id: Uuid, from: i64, limit: i64) -> Result<Vec<StagedRow>, DbError> {
    fetch_all!(conn, IMPORT_ROWS_NEXT, StagedRow, id, from, limit)
}

pub async fn advance(conn: &mut Conn<'_>, id: Uuid, next: i64, done: Counts) -> Result<(), DbError> {
    execute_exactly!(1, conn, IMPORT_ADVANCE, id, next, done.created, done.updated, done.unchanged, done.skipped)
}

/// All of it is applied: the rows are not needed any more.
pub async fn end(conn: &mut Conn<'_>, id: Uuid, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, IMPORT_END, id, now)?;
    execute!(conn, IMPORT_ROWS_DELETE, id).map(drop)
}

/// One that is still being received, with its rows.
pub async fn discard(conn: &mut Conn<'_>, id: Uuid) -> Result<(), DbError> {
    execute!(conn, IMPORT_ROWS_DELETE, id)?;
    execute!(conn, IMPORT_DELETE, id).map(drop)
}

pub async fn oldest_accepted(conn: &mut Conn<'_>) -> Result<Option<Uuid>, DbError> {
    Ok(fetch_optional!(conn, IMPORTS_OPEN, (Uuid,))?.map(|row| row.0))
}

pub async fn purge_stale(conn: &mut Conn<'_>, before: Timestamp) -> Result<u64, DbError> {
    execute!(conn, IMPORTS_STALE, before)
}

/// Products of which there is something.
pub async fn count_stocked(conn: &mut Conn<'_>) -> Result<i64, DbError> {
    Ok(fetch_one!(conn, STOCKED_COUNT, (i64,))?.0)
}

/// Of these, the ones that are put away.
pub async fn archived<'a>(conn: &mut Conn<'_>, skus: impl IntoIterator<Item = &'a str>) -> Result<Vec<String>, DbError> {
    let rows: Vec<(String,)> = fetch_all!(conn, PRODUCTS_ARCHIVED_OF, (String,), super::sql::texts(skus))?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// New products, out of stock yet; `DbError::Exists` when one is there.
pub async fn insert_products(conn: &mut Conn<'_>, products: &[ProductRow], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for p in products {
        rows.push(|r| {
            r.id(p.id).text(p.sku.as_str()).text(&p.name).opt_int(p.price_minor).opt_int(p.cost_price_minor);
            r.opt_text(p.currency.as_deref()).int(p.low_stock_threshold).text(&p.oversell_policy);
            r.int(now.micros());
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute_exactly!(products.len(), conn, PRODUCTS_INSERT_MANY, rows.finish())
}

/// New listings with what they are made of; `DbError::Exists` when one is there.
pub async fn insert_listings(
    conn: &mut Conn<'_>,
    listings: &[(NewListing<'_>, Vec<(ProductId, i64)>)],
    now: Timestamp,
) -> Result<(), DbError> {
    let (mut rows, mut parts) = (Rows::new(), Rows::new());
    for (l, components) in listings {
        rows.push(|r| {
            r.id(l.id)
                .id(l.marketplace_id)
                .text(l.marketplace_product_id)
                .text(l.market)
                .opt_text(l.marketplace_sku)
                .text(l.refs);
            r.opt_int(l.price_minor).opt_text(l.currency).text(l.rule).text(l.actor).int(now.micros());
        });
        for (product, units) in components {
            parts.push(|r| {
                r.id(l.id).id(*product).int(*units);
            });
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute_exactly!(listings.len(), conn, LISTINGS_INSERT_MANY, rows.finish())?;
    execute!(conn, COMPONENTS_INSERT_MANY, parts.finish()).map(drop)
}

/// Which of these keys (marketplace, its id, market) have a listing: the key's place, and the listing.
pub async fn find_listings(conn: &mut Conn<'_>, keys: &[(MarketplaceId, &str, &str)]) -> Result<Vec<(i64, ListingId)>, DbError> {
    let mut rows = Rows::new();
    for (n, (marketplace, id, market)) in keys.iter().enumerate() {
        rows.push(|r| {
            r.id(*marketplace).text(id).text(market).int(n as i64);
        });
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    fetch_all!(conn, LISTINGS_BY_KEYS, (i64, ListingId), rows.finish())
}
