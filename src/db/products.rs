//! Products and locations.

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_one, fetch_optional, row};
use super::error::DbError;
use super::sql::{Rows, holding, ids, statements, texts};
use crate::domain::ids::{LocationId, ProductId};
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

statements! {
    PRODUCT_INSERT = both("INSERT INTO products (id, sku, name, price_minor, cost_price_minor, currency, low_stock_threshold, \
            oversell_policy, is_available, stock_state, created_at, updated_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)");
    PRODUCT_BY_SKU = both("SELECT id, sku, name, price_minor, cost_price_minor, currency, low_stock_threshold, oversell_policy, \
            is_available, stock_state, rule, version, created_at, updated_at FROM products WHERE sku = $1 AND archived_at IS NULL");
    PRODUCTS_BY_ID = both("SELECT id, sku, name, price_minor, cost_price_minor, currency, low_stock_threshold, oversell_policy, \
            is_available, stock_state, rule, version, created_at, updated_at FROM products WHERE id IN {ids $1}");
    PRODUCTS_BY_SKU = both("SELECT id, sku, name, price_minor, cost_price_minor, currency, low_stock_threshold, oversell_policy, \
            is_available, stock_state, rule, version, created_at, updated_at FROM products \
        WHERE sku IN {texts $1} AND archived_at IS NULL");
    PRODUCTS_PAGE = both("SELECT id, sku, name, price_minor, cost_price_minor, currency, low_stock_threshold, oversell_policy, \
            is_available, stock_state, rule, version, created_at, updated_at FROM products \
        WHERE archived_at IS NULL AND sku > $1 ORDER BY sku LIMIT $2");
    // For who goes over all of them, those that are put away too.
    PRODUCT_IDS_PAGE = both("SELECT id, sku FROM products WHERE sku > $1 ORDER BY sku LIMIT $2");
    // Every product is looked at, in an index that holds just what is compared. Of letters that are not ASCII ($5) the other spellings
    // come in ready made: SQLite knows no case of theirs, and PostgreSQL what its locale does.
    PRODUCTS_FOUND = both("SELECT id, sku, name, price_minor, cost_price_minor, currency, low_stock_threshold, oversell_policy, \
            is_available, stock_state, rule, version, created_at, updated_at FROM products \
        WHERE archived_at IS NULL AND sku > $1 AND ($3 = '' OR stock_state = $3) \
            AND (sku {like} $4 ESCAPE '!' OR name {like} $4 ESCAPE '!' OR ($5 = TRUE AND (name LIKE $6 ESCAPE '!' \
                OR name LIKE $7 ESCAPE '!' OR name LIKE $8 ESCAPE '!'))) ORDER BY sku LIMIT $2");
    PRODUCTS_IN_STATE = both("SELECT id, sku, name, price_minor, cost_price_minor, currency, low_stock_threshold, oversell_policy, \
            is_available, stock_state, rule, version, created_at, updated_at FROM products \
        WHERE archived_at IS NULL AND stock_state = $3 AND sku > $1 ORDER BY sku LIMIT $2");
    // Archived ones too: what is put away can be brought back.
    PRODUCT_ID_ANY = both("SELECT id FROM products WHERE sku = $1");
    PRODUCT_ANY_BY_SKU = both("SELECT id, archived_at FROM products WHERE sku = $1 {for update}");
    PRODUCT_UPDATE = both("UPDATE products SET name = $2, price_minor = $3, cost_price_minor = $4, currency = $5, \
            low_stock_threshold = $6, oversell_policy = $7, archived_at = $8, version = version + 1, updated_at = $9 WHERE id = $1");
    PRODUCT_STATE_SET = both("UPDATE products AS p SET is_available = {bool 1}, stock_state = {text 2}, version = p.version + 1, \
            updated_at = {int 3} FROM {rows} WHERE p.id = {id 0}");
    LOCATION_INSERT_ONCE = both("INSERT INTO locations (id, code, name, created_at) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (code) DO NOTHING");
    LOCATION_BY_CODE = both("SELECT id FROM locations WHERE code = $1");
    LOCATIONS_ALL = both("SELECT id, code FROM locations WHERE archived_at IS NULL ORDER BY priority, code");
    OUT_OF_STOCK_COUNT = both("SELECT COUNT(*) FROM products WHERE is_available = FALSE AND archived_at IS NULL");
}

row! {
    #[derive(Clone, Debug)]
    pub struct ProductRow {
        pub id: ProductId,
        pub sku: Sku,
        pub name: String,
        pub price_minor: Option<i64>,
        pub cost_price_minor: Option<i64>,
        pub currency: Option<String>,
        pub low_stock_threshold: i64,
        pub oversell_policy: String,
        pub is_available: bool,
        pub stock_state: String,
        pub rule: String,
        pub version: i64,
        pub created_at: Timestamp,
        pub updated_at: Timestamp,
    }
}

/// A unique SKU: `DbError::Exists` when it is taken.
pub async fn insert(conn: &mut Conn<'_>, p: &ProductRow) -> Result<(), DbError> {
    execute_exactly!(
        1,
        conn,
        PRODUCT_INSERT,
        p.id,
        p.sku.as_str(),
        p.name.as_str(),
        p.price_minor,
        p.cost_price_minor,
        p.currency.as_deref(),
        p.low_stock_threshold,
        p.oversell_policy.as_str(),
        p.is_available,
        p.stock_state.as_str(),
        p.created_at
    )
}

pub async fn get(conn: &mut Conn<'_>, sku: &str) -> Result<Option<ProductRow>, DbError> {
    fetch_optional!(conn, PRODUCT_BY_SKU, ProductRow, sku)
}

pub async fn list_by_id(conn: &mut Conn<'_>, list: impl IntoIterator<Item = ProductId>) -> Result<Vec<ProductRow>, DbError> {
    fetch_all!(conn, PRODUCTS_BY_ID, ProductRow, ids(list.into_iter().map(ProductId::uuid)))
}

pub async fn list_by_sku<'a>(conn: &mut Conn<'_>, skus: impl IntoIterator<Item = &'a str>) -> Result<Vec<ProductRow>, DbError> {
    fetch_all!(conn, PRODUCTS_BY_SKU, ProductRow, texts(skus))
}

/// The next ones after a SKU, those that are put away too.
pub async fn ids_page(conn: &mut Conn<'_>, after: &str, limit: i64) -> Result<Vec<(ProductId, String)>, DbError> {
    fetch_all!(conn, PRODUCT_IDS_PAGE, (ProductId, String), after, limit)
}

/// A product by its SKU, whether it is archived or not.
pub async fn find_any(conn: &mut Conn<'_>, sku: &str) -> Result<Option<ProductId>, DbError> {
    Ok(fetch_optional!(conn, PRODUCT_ID_ANY, (ProductId,), sku)?.map(|row| row.0))
}

/// A product by its SKU, locked, whether it is archived or not; with when it was.
pub async fn lock_any(conn: &mut Conn<'_>, sku: &str) -> Result<Option<(ProductId, Option<Timestamp>)>, DbError> {
    fetch_optional!(conn, PRODUCT_ANY_BY_SKU, (ProductId, Option<Timestamp>), sku)
}

/// Writes what people may change of a product; its stock state is not among it.
pub async fn update(conn: &mut Conn<'_>, p: &ProductRow, archived_at: Option<Timestamp>, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(
        1,
        conn,
        PRODUCT_UPDATE,
        p.id,
        p.name.as_str(),
        p.price_minor,
        p.cost_price_minor,
        p.currency.as_deref(),
        p.low_stock_threshold,
        p.oversell_policy.as_str(),
        archived_at,
        now
    )
}

/// The next `limit` products after a SKU, in SKU order.
pub async fn page(conn: &mut Conn<'_>, after: &str, limit: i64) -> Result<Vec<ProductRow>, DbError> {
    fetch_all!(conn, PRODUCTS_PAGE, ProductRow, after, limit)
}

/// The same of those whose SKU or name holds a text, and whose stock is in a state (empty: any).
pub async fn search(conn: &mut Conn<'_>, after: &str, limit: i64, text: &str, state: &str) -> Result<Vec<ProductRow>, DbError> {
    if text.is_empty() {
        return fetch_all!(conn, PRODUCTS_IN_STATE, ProductRow, after, limit, state);
    }
    let [low, typed, high, title] =
        [text.to_lowercase(), text.to_owned(), text.to_uppercase(), capitalised(text)].map(|text| holding(&text));
    let [low, typed, high, title] = [&low, &typed, &high, &title].map(String::as_str);
    fetch_all!(conn, PRODUCTS_FOUND, ProductRow, after, limit, state, low, !text.is_ascii(), typed, high, title)
}

fn capitalised(text: &str) -> String {
    let lower = text.to_lowercase();
    let mut letters = lower.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

pub struct StateChange {
    pub id: ProductId,
    pub is_available: bool,
    pub stock_state: &'static str,
}

pub async fn set_states(conn: &mut Conn<'_>, changes: &[StateChange], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for change in changes {
        rows.push(|r| {
            r.id(change.id).bool(change.is_available).text(change.stock_state).int(now.micros());
        });
    }
    execute_exactly!(changes.len(), conn, PRODUCT_STATE_SET, rows.finish())
}

pub async fn insert_location_once(
    conn: &mut Conn<'_>,
    id: LocationId,
    code: &str,
    name: &str,
    now: Timestamp,
) -> Result<LocationId, DbError> {
    execute!(conn, LOCATION_INSERT_ONCE, id, code, name, now)?;
    Ok(fetch_one!(conn, LOCATION_BY_CODE, (LocationId,), code)?.0)
}

pub async fn locations(conn: &mut Conn<'_>) -> Result<Vec<(LocationId, String)>, DbError> {
    fetch_all!(conn, LOCATIONS_ALL, (LocationId, String))
}

pub async fn count_out_of_stock(conn: &mut Conn<'_>) -> Result<i64, DbError> {
    Ok(fetch_one!(conn, OUT_OF_STOCK_COUNT, (i64,))?.0)
}
