//! What each listing is wanted to show, from the stock as it is now: allocation for all listings of the touched products, then a
//! new version where the marketplace is not known to show that number already. That is how the origin of a sale is skipped.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Tx;
use super::rules::Book;
use super::working::{Cause, Working};
use crate::db::DbError;
use crate::db::listings::{self, HistoryRow, ListingRow};
use crate::domain::allocation::{self, Component, ListingInput, Pool};
use crate::domain::ids::{ListingId, LocationId, ProductId};
use crate::domain::listing::Target;
use crate::domain::rule::Rule;
use crate::domain::time::Timestamp;
use crate::marketplaces::{Connection, PushStyle};
use crate::realtime::Published;

/// Sets the targets of all listings of what was touched, and writes those that changed.
pub(super) async fn listings(tx: &mut Tx<'_>, working: &mut Working) -> Result<(), DbError> {
    let mut history = Vec::new();
    for group in groups(working) {
        let targets = targets(tx, working, &group)?;
        for (id, target) in targets {
            retarget_one(tx, working, id, target, &mut history);
        }
    }
    let changed: Vec<ListingRow> = working.listings.values().filter(|l| l.changed).map(|l| l.row.clone()).collect();
    if changed.is_empty() {
        return Ok(());
    }
    listings::retarget(&mut tx.conn, &changed, tx.now).await?;
    listings::insert_history(&mut tx.conn, &history, tx.now).await
}

/// The touched products, together with those they share a listing with: allocation must see all of a pool's listings at once.
fn groups(working: &Working) -> Vec<BTreeSet<ProductId>> {
    let mut groups = Vec::new();
    let mut grouped = BTreeSet::new();
    for product in working.touched.keys() {
        if grouped.contains(product) {
            continue;
        }
        let group = connected(working, *product);
        grouped.extend(group.iter().copied());
        groups.push(group);
    }
    groups
}

/// Whatever can be reached from a product over listings.
fn connected(working: &Working, product: ProductId) -> BTreeSet<ProductId> {
    let mut group = BTreeSet::from([product]);
    let mut to_visit = vec![product];
    while let Some(product) = to_visit.pop() {
        let parts = working.listed(product).iter().filter_map(|listing| working.components.get(listing)).flatten();
        to_visit.extend(parts.map(|(part, _)| *part).filter(|part| group.insert(*part)));
    }
    group
}

/// The numbers for every listing of a group of products.
fn targets(tx: &Tx<'_>, working: &Working, group: &BTreeSet<ProductId>) -> Result<BTreeMap<ListingId, i64>, DbError> {
    let (pool, inputs) = inputs(tx, working, group)?;
    let quantities = allocation::quantities(&pool, &inputs);
    Ok(inputs.iter().map(|input| input.id).zip(quantities).collect())
}

/// What allocation looks at: the stock of these products, and all their listings with the rules that hold for each.
pub(super) fn inputs(tx: &Tx<'_>, working: &Working, group: &BTreeSet<ProductId>) -> Result<(Pool, Vec<ListingInput>), DbError> {
    let index: HashMap<ProductId, usize> = group.iter().enumerate().map(|(n, id)| (*id, n)).collect();
    let mut places: Vec<LocationId> = Vec::new();
    let mut pool = Pool::default();
    for level in group.iter().flat_map(|product| working.levels_of(*product)) {
        let place = places.iter().position(|known| *known == level.location_id).unwrap_or_else(|| {
            places.push(level.location_id);
            places.len() - 1
        });
        pool.set(index[&level.product_id], place, level.available());
    }
    let mut inputs = Vec::new();
    let book = tx.kit.rules.get();
    let listed: BTreeSet<ListingId> = group.iter().flat_map(|product| working.listed(*product)).copied().collect();
    for id in listed {
        let Some(parts) = working.components.get(&id).filter(|parts| parts.iter().all(|(p, _)| index.contains_key(p))) else {
            continue;
        };
        let Some(listing) = working.listings.get(&id).filter(|listing| !listing.row.is_archived()) else { continue };
        let Some(connection) = tx.kit.registry.by_id(listing.row.marketplace_id) else { continue };
        inputs.push(ListingInput {
            id,
            components: parts.iter().map(|(product, units)| Component { product: index[product], units: *units }).collect(),
            locations: places.iter().enumerate().filter(|(_, l)| connection.locations.contains(l)).map(|(n, _)| n).collect(),
            rule: effective_rule(&book, working, &connection, &listing.row, parts)?,
            quota_left: listing.row.quota_left,
        });
    }
    Ok((pool, inputs))
}

/// A listing's own quota is used up by what it sells or holds, and filled again by what is cancelled or let go (a negative
/// number). In units of the listing; without a quota there is nothing to count.
pub(super) fn use_quota(tx: &Tx<'_>, working: &mut Working, id: ListingId, sold: i64) -> Result<(), DbError> {
    let parts = working.components.get(&id).cloned().unwrap_or_default();
    let Some(row) = working.listings.get(&id).map(|listing| listing.row.clone()) else { return Ok(()) };
    let Some(connection) = tx.kit.registry.by_id(row.marketplace_id) else { return Ok(()) };
    let rule = effective_rule(&tx.kit.rules.get(), working, &connection, &row, &parts)?;
    let Some(quota) = rule.quota.filter(|_| sold != 0) else { return Ok(()) };
    let components = parts.iter().enumerate().map(|(product, (_, units))| Component { product, units: *units }).collect();
    let input = ListingInput { id, components, locations: Vec::new(), rule, quota_left: row.quota_left };
    // Never above the quota: a cancel of a sale from before it was set adds nothing to it.
    let left = row.quota_left.unwrap_or(quota).saturating_sub(input.quota_change(sold)).min(quota);
    if let Some(listing) = working.listings.get_mut(&id).filter(|listing| listing.row.quota_left != Some(left)) {
        listing.row.quota_left = Some(left);
        listing.changed = true;
    }
    Ok(())
}

/// Hub, then marketplace, then product, then listing: the nearest that says something counts.
fn effective_rule(
    book: &Book,
    working: &Working,
    connection: &Connection,
    listing: &ListingRow,
    parts: &[(ProductId, i64)],
) -> Result<Rule, DbError> {
    let product = match parts {
        [(product, _)] => working.products.get(product).map_or(Ok(Rule::default()), |p| stored_rule("products", &p.rule))?,
        _ => Rule::default(),
    };
    let own = stored_rule("marketplace_products", &listing.rule)?;
    Ok(Rule::inherit(&[&book.of_marketplace(connection), &product, &own]))
}

pub(super) fn stored_rule(table: &'static str, text: &str) -> Result<Rule, DbError> {
    if text == "{}" {
        return Ok(Rule::default());
    }
    serde_json::from_str(text).map_err(|_| DbError::inconsistent(table, "rule", text))
}

fn retarget_one(tx: &mut Tx<'_>, working: &mut Working, id: ListingId, target: i64, history: &mut Vec<HistoryRow>) {
    let parts = working.components.get(&id).cloned().unwrap_or_default();
    let sku = match &parts[..] {
        [(product, 1)] => working.products.get(product).map(|p| p.sku.clone()),
        _ => None,
    };
    let cause = parts.iter().find_map(|(product, _)| working.touched.get(product)).cloned();
    let Some(listing) = working.listings.get_mut(&id) else { return };
    let Some(connection) = tx.kit.registry.by_id(listing.row.marketplace_id) else { return };
    let before = listing.row.clone();
    match connection.adapter.traits().push {
        PushStyle::Nothing => {
            if target != before.listed_stock || before.wanted_version == 0 {
                publish(&mut listing.row, target);
                if !connection.is_storefront() {
                    // It is only read: what it shows is what was seen there, not what we wish.
                    listing.row.expected = before.expected;
                }
                if let Some(sku) = sku.filter(|_| connection.is_storefront()) {
                    let (quantity, version) = (target, listing.row.wanted_version);
                    tx.effects.published.push(Published { sku, quantity, version, removed: false });
                }
            }
        }
        PushStyle::Request | PushStyle::Task => {
            // A person says what there is: what was missed is known to them.
            if listing.row.raise_held_since.is_some() && trigger(cause.as_ref()) == "manual" {
                (listing.row.raise_held_since, listing.changed) = (None, true);
            }
            aim(&mut listing.row, target, &connection, trigger(cause.as_ref()), tx.now);
        }
    }
    let row = &listing.row;
    if row.wanted_version != before.wanted_version || row.listed_stock != before.listed_stock {
        listing.changed = true;
        if connection.adapter.traits().push == PushStyle::Request {
            tx.effects.to_push.insert(connection.id);
        }
    }
    if let (Some(cause), Some((product, _)), true) = (cause, parts.first(), row.listed_stock != before.listed_stock) {
        history.push(history_row(tx, &before, row, *product, cause));
    }
}

/// The storefront shows what it is told at once: its version is the published one.
fn publish(row: &mut ListingRow, target: i64) {
    row.listed_stock = target;
    row.wanted_version += 1;
    row.sent_version = row.wanted_version;
    row.acked_version = row.wanted_version;
    row.acked_quantity = Some(target);
    row.expected = Some(target);
    row.push_state = "synced".into();
}

fn aim(row: &mut ListingRow, target: i64, connection: &Connection, trigger: &str, now: Timestamp) {
    let traits = connection.adapter.traits();
    // More than it takes is told as what it takes; another number would never be the one it shows.
    let target = target.min(traits.quantity_max);
    // Refused for good: asking for the same number again would be refused again.
    if row.push_state == "blocked" && row.listed_stock == target {
        return;
    }
    let was = Target {
        wanted: row.listed_stock,
        wanted_version: row.wanted_version,
        sent_version: row.sent_version,
        expected: row.expected,
    };
    let aimed = was.retarget(target);
    row.listed_stock = aimed.wanted;
    row.wanted_version = aimed.wanted_version;
    if aimed.wanted_version == was.wanted_version {
        return;
    }
    row.push_trigger = trigger.into();
    if traits.push == PushStyle::Task {
        return set_task(row);
    }
    // One that is not tried again by itself has no time of its own.
    let waits = row.push_state != "blocked";
    if row.push_state != "in_flight" {
        row.push_state = "dirty".into();
    }
    // The first push after quiet leaves at once; what changes within the gap is joined. Zeros and confirmations do not wait, but
    // for an interval of the marketplace's own.
    let urgent = target == 0 || row.expected.is_none();
    let gap_ends = row.sent_at.map_or(now, |sent| sent.plus(connection.min_gap()));
    let free_at = row.sent_at.map_or(now, |sent| sent.plus(traits.key_interval));
    let backing_off = waits && row.push_state == "dirty" && row.next_push_at > gap_ends;
    if !backing_off {
        let own = if urgent { now } else { gap_ends.max(now) };
        row.next_push_at = if traits.key_interval.is_zero() { own } else { own.max(free_at) };
    }
}

/// A person is asked, or need not be any more: the ad says it already.
fn set_task(row: &mut ListingRow) {
    if row.expected == Some(row.listed_stock) {
        row.sent_version = row.wanted_version;
        row.acked_version = row.wanted_version;
        row.acked_quantity = row.expected;
        row.push_state = "synced".into();
    } else {
        row.push_state = "task".into();
    }
}

/// What a push of this cause is said to come from.
fn trigger(cause: Option<&Cause>) -> &'static str {
    match cause.map(|cause| cause.change_type) {
        Some("manual" | "topup" | "moved" | "adjusted") => "manual",
        Some("reconciliation") => "scheduled",
        _ => "webhook",
    }
}

fn history_row(tx: &Tx<'_>, before: &ListingRow, row: &ListingRow, product_id: ProductId, cause: Cause) -> HistoryRow {
    HistoryRow {
        id: tx.id(),
        listing_id: row.id,
        product_id,
        marketplace_id: row.marketplace_id,
        before: before.listed_stock,
        after: row.listed_stock,
        change_type: cause.change_type,
        order_id: cause.order_id,
        order_item_id: cause.line_id.map(Into::into),
        reference_id: cause.reference_id,
        actor: Some(cause.actor),
    }
}
