//! Allocation rules as they are stored, and how far the listings follow them.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_optional, row};
use super::error::DbError;
use super::hub;
use super::sql::{Rows, ids, statements};
use crate::domain::ids::{ListingId, MarketplaceId, ProductId};
use crate::domain::time::Timestamp;

statements! {
    // Archived ones too: they come back with the rule they had.
    MARKETPLACE_RULES = both("SELECT id, rule FROM marketplaces");
    MARKETPLACE_RULE_SET = both("UPDATE marketplaces SET rule = $2, version = version + 1, updated_at = $3 WHERE id = $1");
    PRODUCT_RULE_SET = both("UPDATE products SET rule = $2, version = version + 1, updated_at = $3 WHERE id = $1");
    LISTING_RULE = both("SELECT rule FROM marketplace_products WHERE id = $1");
    LISTING_RULE_SET = both("UPDATE marketplace_products SET rule = $2, version = version + 1, updated_at = $3 WHERE id = $1");
    // A listing with the one product it sells, where it is one.
    LISTING_RULES_BY_KEY = both("SELECT {int 3} AS item, l.id, l.rule, (SELECT p.sku FROM listing_components c \
            JOIN products p ON p.id = c.product_id WHERE c.listing_id = l.id AND NOT EXISTS (SELECT 1 FROM listing_components o \
                WHERE o.listing_id = c.listing_id AND o.product_id <> c.product_id)) AS sku \
        FROM {rows} JOIN marketplace_products l \
            ON l.marketplace_id = {id 0} AND l.marketplace_product_id = {text 1} AND l.market = {text 2}");
    PRODUCT_RULES_LOCK = both("SELECT id, rule FROM products WHERE id IN {ids $1} ORDER BY id {for update}");
    LISTING_RULES_LOCK = both("SELECT id, rule FROM marketplace_products WHERE id IN {ids $1} ORDER BY id {for update}");
    PRODUCT_RULES_SET = both("UPDATE products SET rule = {text 1}, version = version + 1, updated_at = {int 2} FROM {rows} \
        WHERE products.id = {id 0}");
    LISTING_RULES_SET = both("UPDATE marketplace_products AS l SET rule = {text 1}, version = l.version + 1, updated_at = {int 2} \
        FROM {rows} WHERE l.id = {id 0}");
    // Only those that say something: `$2` is the rule that says nothing.
    PRODUCT_RULES_PAGE = both("SELECT sku, rule FROM products WHERE archived_at IS NULL AND sku > $1 AND rule <> $2 ORDER BY sku LIMIT $3");
    LISTING_RULES_PAGE = both("SELECT l.id, m.code AS marketplace, l.marketplace_product_id, l.market, l.rule, \
            (SELECT p.sku FROM listing_components c JOIN products p ON p.id = c.product_id WHERE c.listing_id = l.id \
                AND NOT EXISTS (SELECT 1 FROM listing_components o WHERE o.listing_id = c.listing_id AND o.product_id <> c.product_id)) AS sku \
        FROM marketplace_products l JOIN marketplaces m ON m.id = l.marketplace_id \
        WHERE m.archived_at IS NULL AND l.id > $1 AND l.rule <> $2 ORDER BY l.id LIMIT $3");
    MARKETPLACE_RULES_BY_CODE = both("SELECT code, rule FROM marketplaces WHERE archived_at IS NULL ORDER BY code");
    PASS_LOCK = both("SELECT value FROM hub_meta WHERE key = $1 {for update}");
    FORGET = both("DELETE FROM hub_meta WHERE key = $1");
}

const HUB_RULE: &str = "rule";
/// A new value tells other nodes that a rule changed.
const VERSION: &str = "rules_version";
/// The last SKU whose listings follow the rules; absent: all do.
const PASS: &str = "rules_pass";
/// What the settings said of the rules at the last start.
const SETTINGS: &str = "rules_settings";

pub async fn hub_rule(conn: &mut Conn<'_>) -> Result<String, DbError> {
    Ok(hub::get(conn, HUB_RULE).await?.unwrap_or_else(|| "{}".into()))
}

pub async fn set_hub_rule(conn: &mut Conn<'_>, rule: &str) -> Result<(), DbError> {
    hub::set(conn, HUB_RULE, rule).await
}

pub async fn of_marketplaces(conn: &mut Conn<'_>) -> Result<Vec<(MarketplaceId, String)>, DbError> {
    fetch_all!(conn, MARKETPLACE_RULES, (MarketplaceId, String))
}

pub async fn set_of_marketplace(conn: &mut Conn<'_>, id: MarketplaceId, rule: &str, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, MARKETPLACE_RULE_SET, id, rule, now)
}

pub async fn set_of_product(conn: &mut Conn<'_>, id: ProductId, rule: &str, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, PRODUCT_RULE_SET, id, rule, now)
}

pub async fn of_listing(conn: &mut Conn<'_>, id: ListingId) -> Result<Option<String>, DbError> {
    Ok(fetch_optional!(conn, LISTING_RULE, (String,), id)?.map(|row| row.0))
}

pub async fn set_of_listing(conn: &mut Conn<'_>, id: ListingId, rule: &str, now: Timestamp) -> Result<(), DbError> {
    execute_exactly!(1, conn, LISTING_RULE_SET, id, rule, now)
}

row! {
    /// A listing that was asked for by its names.
    pub struct LevelRule {
        /// Which of those asked for.
        pub item: i64,
        pub id: Uuid,
        pub rule: String,
        /// Of the one product it sells.
        pub sku: Option<String>,
    }
}

/// Which of these (its number, marketplace, id there, market) have a listing.
pub async fn of_listings_by_key(
    conn: &mut Conn<'_>,
    keys: &[(usize, MarketplaceId, &str, &str)],
) -> Result<Vec<LevelRule>, DbError> {
    let mut rows = Rows::new();
    for (n, marketplace, id, market) in keys {
        rows.push(|r| {
            r.id(*marketplace).text(id).text(market).int(*n as i64);
        });
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    fetch_all!(conn, LISTING_RULES_BY_KEY, LevelRule, rows.finish())
}

pub async fn lock_of_products(
    conn: &mut Conn<'_>,
    list: impl IntoIterator<Item = ProductId>,
) -> Result<Vec<(ProductId, String)>, DbError> {
    fetch_all!(conn, PRODUCT_RULES_LOCK, (ProductId, String), ids(list.into_iter().map(ProductId::uuid)))
}

pub async fn lock_of_listings(
    conn: &mut Conn<'_>,
    list: impl IntoIterator<Item = ListingId>,
) -> Result<Vec<(ListingId, String)>, DbError> {
    fetch_all!(conn, LISTING_RULES_LOCK, (ListingId, String), ids(list.into_iter().map(ListingId::uuid)))
}

fn rows_of<I: Copy + Into<Uuid>>(rules: &BTreeMap<I, String>, now: Timestamp) -> Rows {
    let mut rows = Rows::new();
    for (id, rule) in rules {
        rows.push(|r| {
            r.id(*id).text(rule).int(now.micros());
        });
    }
    rows
}

pub async fn set_of_products(conn: &mut Conn<'_>, rules: &BTreeMap<ProductId, String>, now: Timestamp) -> Result<(), DbError> {
    if rules.is_empty() {
        return Ok(());
    }
    execute_exactly!(rules.len(), conn, PRODUCT_RULES_SET, rows_of(rules, now).finish())
}

pub async fn set_of_listings(conn: &mut Conn<'_>, rules: &BTreeMap<ListingId, String>, now: Timestamp) -> Result<(), DbError> {
    if rules.is_empty() {
        return Ok(());
    }
    execute_exactly!(rules.len(), conn, LISTING_RULES_SET, rows_of(rules, now).finish())
}

/// A rule that says nothing, as it is stored.
const NOTHING: &str = "{}";

/// Of products that have a rule of their own, the next ones after a SKU.
pub async fn products_page(conn: &mut Conn<'_>, after: &str, limit: i64) -> Result<Vec<(String, String)>, DbError> {
    fetch_all!(conn, PRODUCT_RULES_PAGE, (String, String), after, NOTHING, limit)
}

row! {
    /// A listing with a rule of its own.
    pub struct ListingRule {
        pub id: Uuid,
        pub marketplace: String,
        pub marketplace_product_id: String,
        pub market: String,
        pub rule: String,
        pub sku: Option<String>,
    }
}

/// Of listings that have a rule of their own, the next ones after an id.
pub async fn listings_page(conn: &mut Conn<'_>, after: Uuid, limit: i64) -> Result<Vec<ListingRule>, DbError> {
    fetch_all!(conn, LISTING_RULES_PAGE, ListingRule, after, NOTHING, limit)
}

/// The rules of all marketplaces, by their codes.
pub async fn marketplaces_by_code(conn: &mut Conn<'_>) -> Result<Vec<(String, String)>, DbError> {
    fetch_all!(conn, MARKETPLACE_RULES_BY_CODE, (String, String))
}

pub async fn version(conn: &mut Conn<'_>) -> Result<String, DbError> {
    Ok(hub::get(conn, VERSION).await?.unwrap_or_default())
}

pub async fn set_version(conn: &mut Conn<'_>, version: &str) -> Result<(), DbError> {
    hub::set(conn, VERSION, version).await
}

/// Up to which SKU the pass over all products has come; `None`: no pass is under way.
pub async fn pass(conn: &mut Conn<'_>) -> Result<Option<String>, DbError> {
    hub::get(conn, PASS).await
}

/// The same, held: whoever wants to start the pass again waits until this page is written.
pub async fn lock_pass(conn: &mut Conn<'_>) -> Result<Option<String>, DbError> {
    Ok(fetch_optional!(conn, PASS_LOCK, (String,), PASS)?.map(|row| row.0))
}

pub async fn set_pass(conn: &mut Conn<'_>, sku: &str) -> Result<(), DbError> {
    hub::set(conn, PASS, sku).await
}

pub async fn end_pass(conn: &mut Conn<'_>) -> Result<(), DbError> {
    execute!(conn, FORGET, PASS).map(drop)
}

pub async fn settings(conn: &mut Conn<'_>) -> Result<Option<String>, DbError> {
    hub::get(conn, SETTINGS).await
}

pub async fn set_settings(conn: &mut Conn<'_>, text: &str) -> Result<(), DbError> {
    hub::set(conn, SETTINGS, text).await
}
