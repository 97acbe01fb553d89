//! What marketplaces say they show: read in bulk, written beside what we believe, and compared with it.

use super::conn::{Conn, execute, fetch_all, fetch_one, fetch_optional, row};
use super::error::DbError;
use super::sql::{Rows, ids, statements};
use crate::domain::ids::{ListingId, MarketplaceId, ProductId};
use crate::domain::time::Timestamp;
use uuid::Uuid;

statements! {
    LISTING_NAMES = both("SELECT l.id, l.marketplace_product_id, l.market, l.marketplace_sku, l.refs, l.listed_stock, l.wanted_version, \
            l.acked_version, l.expected, l.wanted_at, \
            COALESCE((SELECT p.sku FROM listing_components c JOIN products p ON p.id = c.product_id \
                WHERE c.listing_id = l.id ORDER BY p.sku LIMIT 1), l.marketplace_product_id) AS sku \
        FROM marketplace_products l WHERE l.marketplace_id = $1 AND l.state <> 'ended' AND l.id > $2 ORDER BY l.id LIMIT $3");
    // A number is remembered with when it was seen; the one before only when it was another.
    LISTINGS_OBSERVE = both("UPDATE marketplace_products AS l SET previous_stock = (CASE WHEN l.marketplace_stock IS DISTINCT FROM {int 1} \
                THEN l.marketplace_stock ELSE l.previous_stock END), marketplace_stock = {int 1}, last_api_quantity = {int 1}, \
            stock_last_synced_at = {int 2}, last_synced_at = {int 2}, updated_at = {int 2} FROM {rows} WHERE l.id = {id 0}");
    // Where it shows another number than when we looked last, that is part of the listing's history.
    OBSERVED_HISTORY = both("INSERT INTO marketplace_stock_history (id, listing_id, product_id, marketplace_id, quantity_before, \
            quantity_after, quantity_change, change_type, reference_id, admin_id, notes, created_at) \
        SELECT {id 0}, {id 1}, {id 2}, {id 3}, {int 4}, {int 5}, {int 5} - {int 4}, 'api_sync', {text 6}, {text 7}, 'observed', {int 8} \
        FROM {rows}");
    FENCED = both("SELECT l.id, l.marketplace_id, l.marketplace_product_id, l.market, l.marketplace_sku, l.listed_stock, l.wanted_version, \
            l.acked_version, l.acked_quantity, l.sent_at, l.expected, l.marketplace_stock, l.previous_stock, l.push_state, l.state, \
            c.product_id, c.units, p.sku, \
            (SELECT COUNT(*) FROM listing_components o WHERE o.listing_id = l.id) AS parts \
        FROM marketplace_products l JOIN listing_components c ON c.listing_id = l.id JOIN products p ON p.id = c.product_id \
        WHERE l.id IN {ids $1} ORDER BY l.id, p.sku");
    // Ids begin with their time, so what came after a moment is a range of them.
    MOVED_SINCE = both("SELECT DISTINCT product_id FROM inventory_movements WHERE product_id IN {ids $1} AND id >= $2 AND recorded_at >= $3");
    EVER_MOVED = both("SELECT DISTINCT product_id FROM inventory_movements WHERE product_id IN {ids $1}");
    WITHOUT_PRODUCT = both("SELECT COUNT(*) FROM marketplace_products l WHERE l.marketplace_id = $1 AND l.state <> 'ended' \
        AND NOT EXISTS (SELECT 1 FROM listing_components c WHERE c.listing_id = l.id)");
    LISTING_PLACE = both("SELECT marketplace_id, marketplace_product_id, market FROM marketplace_products WHERE id = $1");
    LISTING_EXISTS = both("SELECT id FROM marketplace_products WHERE marketplace_id = $1 AND marketplace_product_id = $2 AND market = $3");
    LISTINGS_BY_STATE = both("SELECT push_state, COUNT(*) FROM marketplace_products WHERE marketplace_id = $1 AND state <> 'ended' \
        GROUP BY push_state");
    LAST_ACKNOWLEDGED = both("SELECT MAX(acked_at) FROM marketplace_products WHERE marketplace_id = $1");
}

row! {
    /// A listing, and all it may be called by.
    #[derive(Clone, Debug)]
    pub struct ListingName {
        pub id: ListingId,
        pub marketplace_product_id: String,
        pub market: String,
        pub marketplace_sku: Option<String>,
        pub refs: String,
        pub listed_stock: i64,
        pub wanted_version: i64,
        pub acked_version: i64,
        pub expected: Option<i64>,
        pub wanted_at: Timestamp,
        /// The first of the products it is made of.
        pub sku: String,
    }
}

pub async fn names(
    conn: &mut Conn<'_>,
    marketplace: MarketplaceId,
    after: Uuid,
    limit: i64,
) -> Result<Vec<ListingName>, DbError> {
    fetch_all!(conn, LISTING_NAMES, ListingName, marketplace, after, limit)
}

/// Writes down what was seen of each of these.
pub async fn observe(conn: &mut Conn<'_>, seen: &[(ListingId, i64)], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for (listing, quantity) in seen {
        rows.push(|r| {
            r.id(*listing).int(*quantity).int(now.micros());
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, LISTINGS_OBSERVE, rows.finish()).map(drop)
}

pub struct SeenChange {
    pub id: Uuid,
    pub listing_id: ListingId,
    pub product_id: ProductId,
    pub marketplace_id: MarketplaceId,
    pub before: i64,
    pub after: i64,
}

pub async fn insert_history(
    conn: &mut Conn<'_>,
    seen: &[SeenChange],
    run: Uuid,
    actor: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let (mut rows, run) = (Rows::new(), run.to_string());
    for s in seen {
        rows.push(|r| {
            r.id(s.id).id(s.listing_id).id(s.product_id).id(s.marketplace_id).int(s.before).int(s.after).text(&run);
            r.text(actor).int(now.micros());
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, OBSERVED_HISTORY, rows.finish()).map(drop)
}

row! {
    /// A part of a listing as comparing needs it; a bundle has several rows.
    #[derive(Clone, Debug)]
    pub struct FencedRow {
        pub id: ListingId,
        pub marketplace_id: MarketplaceId,
        pub marketplace_product_id: String,
        pub market: String,
        pub marketplace_sku: Option<String>,
        pub listed_stock: i64,
        pub wanted_version: i64,
        pub acked_version: i64,
        pub acked_quantity: Option<i64>,
        pub sent_at: Option<Timestamp>,
        pub expected: Option<i64>,
        pub marketplace_stock: Option<i64>,
        pub previous_stock: Option<i64>,
        pub push_state: String,
        pub state: String,
        pub product_id: ProductId,
        pub units: i64,
        pub sku: String,
        pub parts: i64,
    }
}

pub async fn fenced(conn: &mut Conn<'_>, listings: &[ListingId]) -> Result<Vec<FencedRow>, DbError> {
    fetch_all!(conn, FENCED, FencedRow, ids(listings.iter().map(|id| id.uuid())))
}

/// Which of these products moved since.
pub async fn moved_since(conn: &mut Conn<'_>, products: &[ProductId], since: Timestamp) -> Result<Vec<ProductId>, DbError> {
    let millis = u64::try_from(since.millis().max(0)).unwrap_or(0);
    let first = Uuid::from_u64_pair(millis << 16, 0);
    let rows = fetch_all!(conn, MOVED_SINCE, (ProductId,), ids(products.iter().map(|id| id.uuid())), first, since)?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Which of these products have a ledger at all.
pub async fn ever_moved(conn: &mut Conn<'_>, products: &[ProductId]) -> Result<Vec<ProductId>, DbError> {
    let rows = fetch_all!(conn, EVER_MOVED, (ProductId,), ids(products.iter().map(|id| id.uuid())))?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

row! {
    pub struct ListingPlace {
        pub marketplace_id: MarketplaceId,
        pub marketplace_product_id: String,
        pub market: String,
    }
}

pub async fn place_of(conn: &mut Conn<'_>, listing: ListingId) -> Result<Option<ListingPlace>, DbError> {
    fetch_optional!(conn, LISTING_PLACE, ListingPlace, listing)
}

pub async fn exists(conn: &mut Conn<'_>, marketplace: MarketplaceId, external: &str, market: &str) -> Result<bool, DbError> {
    Ok(fetch_optional!(conn, LISTING_EXISTS, (ListingId,), marketplace, external, market)?.is_some())
}

/// How many listings are in which state of being told.
pub async fn by_state(conn: &mut Conn<'_>, marketplace: MarketplaceId) -> Result<Vec<(String, i64)>, DbError> {
    fetch_all!(conn, LISTINGS_BY_STATE, (String, i64), marketplace)
}

pub async fn last_acknowledged(conn: &mut Conn<'_>, marketplace: MarketplaceId) -> Result<Option<Timestamp>, DbError> {
    Ok(fetch_one!(conn, LAST_ACKNOWLEDGED, (Option<Timestamp>,), marketplace)?.0)
}

/// Listings that are made of nothing we know.
pub async fn without_product(conn: &mut Conn<'_>, marketplace: MarketplaceId) -> Result<i64, DbError> {
    Ok(fetch_one!(conn, WITHOUT_PRODUCT, (i64,), marketplace)?.0)
}
