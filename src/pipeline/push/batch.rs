//! Which listings share a request. Pure: the rows come in the order of their urgency, and leave in it.

use std::collections::HashSet;

use crate::db::pushes::DueRow;
use crate::marketplaces::{Adapter, Connection, PushItem};

/// What one round sends.
#[derive(Debug, Default)]
pub struct Round {
    /// One request each.
    pub batches: Vec<Vec<DueRow>>,
    /// These lack what their marketplace knows them by: no request can be made of them.
    pub nameless: Vec<(DueRow, String)>,
    /// Some found no place in this round.
    pub more: bool,
}

/// A batch that may take more.
struct Open {
    group: String,
    keys: HashSet<String>,
    index: usize,
}

/// So many requests at most, of so many listings each. Those of one group share requests; two of one key never do; one that was
/// refused for good goes alone, or it would take the others along.
pub fn round(connection: &Connection, rows: Vec<DueRow>, requests: usize, per_request: usize) -> Round {
    let adapter = &*connection.adapter;
    let mut round = Round::default();
    let mut open: Vec<Open> = Vec::new();
    for row in rows {
        let item = item(&row);
        if let Some(missing) = missing_ref(adapter, connection, &item) {
            round.nameless.push((row, missing));
            continue;
        }
        let alone = row.refusals > 0 || per_request == 1;
        if !alone {
            let (group, key) = (adapter.push_group(connection, &item), adapter.push_key(connection, &item));
            let place = open
                .iter_mut()
                .find(|open| open.group == group && round.batches[open.index].len() < per_request && !open.keys.contains(&key));
            if let Some(place) = place {
                place.keys.insert(key);
                round.batches[place.index].push(row);
                continue;
            }
            if round.batches.len() < requests {
                open.push(Open { group, keys: HashSet::from([key]), index: round.batches.len() });
            }
        }
        if round.batches.len() < requests {
            round.batches.push(vec![row]);
        } else {
            round.more = true;
        }
    }
    round
}

/// The name that this listing must have and has not, neither by itself nor by its account.
fn missing_ref(adapter: &dyn Adapter, connection: &Connection, item: &PushItem) -> Option<String> {
    let known = |map: &serde_json::Map<String, serde_json::Value>, name: &str| {
        map.get(name).is_some_and(|value| !value.is_null() && value != "")
    };
    let missing = |name: &&&'static str| !known(&item.refs, name) && !known(&connection.account, name);
    adapter.refs().required.iter().find(missing).map(|name| (*name).to_owned())
}

pub fn item(row: &DueRow) -> PushItem {
    PushItem {
        listing_id: row.id,
        version: row.wanted_version,
        quantity: row.listed_stock,
        marketplace_product_id: row.marketplace_product_id.clone(),
        sku: row.sku.clone(),
        refs: serde_json::from_str(&row.refs).unwrap_or_default(),
        expected: row.expected,
        changed_at: row.wanted_at,
    }
}
