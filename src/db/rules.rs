//! Allocation rules as they are stored, and how far the listings follow them.

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_optional};
use super::error::DbError;
use super::hub;
use super::sql::statements;
use crate::domain::ids::{ListingId, MarketplaceId, ProductId};
use crate::domain::time::Timestamp;

statements! {
    MARKETPLACE_RULES = both("SELECT id, rule FROM marketplaces WHERE archived_at IS NULL");
    MARKETPLACE_RULE_SET = both("UPDATE marketplaces SET rule = $2, version = version + 1, updated_at = $3 WHERE id = $1");
    PRODUCT_RULE_SET = both("UPDATE products SET rule = $2, version = version + 1, updated_at = $3 WHERE id = $1");
    LISTING_RULE = both("SELECT rule FROM marketplace_products WHERE id = $1");
    LISTING_RULE_SET = both("UPDATE marketplace_products SET rule = $2, version = version + 1, updated_at = $3 WHERE id = $1");
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
