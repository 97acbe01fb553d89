//! The ledger: rows are added, never changed.

use super::conn::{Conn, execute_exactly, fetch_all, row};
use super::error::DbError;
use super::inventory::LevelRow;
use super::span::Ids;
use super::sql::{Rows, statements};
use crate::domain::ids::{LineId, MarketplaceId, MovementId, WebhookId};
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

statements! {
    MOVEMENTS_INSERT = both("INSERT INTO inventory_movements (id, product_id, location_id, level_version, previous_version, \
            movement_type, on_hand_change, committed_change, reserved_change, unsellable_change, incoming_change, on_hand_after, \
            committed_after, reserved_after, unsellable_after, incoming_after, marketplace_id, order_line_id, webhook_id, \
            reference_type, reference_id, actor, reason, note, source_key, occurred_at, recorded_at) \
        SELECT {id 0}, {id 1}, {id 2}, {int 3}, {int 4}, {text 5}, {int 6}, {int 7}, {int 8}, {int 9}, {int 10}, {int 11}, {int 12}, \
            {int 13}, {int 14}, {int 15}, {id 16}, {id 17}, {id 18}, {text 19}, {text 20}, {text 21}, {text 22}, {text 23}, {text 24}, \
            {int 25}, {int 26} FROM {rows}");
    // Newest first. An empty SKU means all; the cursor is the id of the last row shown.
    MOVEMENTS_PAGE = both("SELECT m.id, p.sku, l.code AS location, m.level_version, m.movement_type, m.quantity_change, \
            m.quantity_after - m.quantity_change AS quantity_before, m.quantity_after, m.on_hand_change, m.committed_change, \
            m.reserved_change, m.unsellable_change, k.code AS marketplace, m.reference_type, m.reference_id, m.actor, m.reason, \
            m.note, m.source_key, m.occurred_at, m.recorded_at \
        FROM inventory_movements m JOIN products p ON p.id = m.product_id JOIN locations l ON l.id = m.location_id \
            LEFT JOIN marketplaces k ON k.id = m.marketplace_id \
        WHERE m.id < $1 AND m.id >= $2 AND ($3 = '' OR k.code = $3) AND ($4 = '' OR m.movement_type = $4) \
        ORDER BY m.id DESC LIMIT $5");
    // Of one marketplace, however little it sold.
    MOVEMENTS_PAGE_OF_MARKETPLACE = both("SELECT m.id, p.sku, l.code AS location, m.level_version, m.movement_type, m.quantity_change, \
            m.quantity_after - m.quantity_change AS quantity_before, m.quantity_after, m.on_hand_change, m.committed_change, \
            m.reserved_change, m.unsellable_change, k.code AS marketplace, m.reference_type, m.reference_id, m.actor, m.reason, \
            m.note, m.source_key, m.occurred_at, m.recorded_at \
        FROM marketplaces k CROSS JOIN inventory_movements m JOIN products p ON p.id = m.product_id \
            JOIN locations l ON l.id = m.location_id \
        WHERE k.code = $3 AND m.marketplace_id = k.id AND m.id < $1 AND m.id >= $2 AND ($4 = '' OR m.movement_type = $4) \
        ORDER BY m.id DESC LIMIT $5");
    // Of a type that is not written with every sale: an index holds only these, and is used where its own words are said.
    MOVEMENTS_UNUSUAL = both("SELECT m.id, p.sku, l.code AS location, m.level_version, m.movement_type, m.quantity_change, \
            m.quantity_after - m.quantity_change AS quantity_before, m.quantity_after, m.on_hand_change, m.committed_change, \
            m.reserved_change, m.unsellable_change, k.code AS marketplace, m.reference_type, m.reference_id, m.actor, m.reason, \
            m.note, m.source_key, m.occurred_at, m.recorded_at \
        FROM inventory_movements m JOIN products p ON p.id = m.product_id JOIN locations l ON l.id = m.location_id \
            LEFT JOIN marketplaces k ON k.id = m.marketplace_id \
        WHERE m.movement_type NOT IN ('marketplace_sale', 'sale', 'shipped', 'reserved', 'released') AND m.movement_type = $4 \
            AND m.id < $1 AND m.id >= $2 AND ($3 = '' OR k.code = $3) ORDER BY m.id DESC LIMIT $5");
    MOVEMENTS_PAGE_OF_SKU = both("SELECT m.id, p.sku, l.code AS location, m.level_version, m.movement_type, m.quantity_change, \
            m.quantity_after - m.quantity_change AS quantity_before, m.quantity_after, m.on_hand_change, m.committed_change, \
            m.reserved_change, m.unsellable_change, k.code AS marketplace, m.reference_type, m.reference_id, m.actor, m.reason, \
            m.note, m.source_key, m.occurred_at, m.recorded_at \
        FROM inventory_movements m JOIN products p ON p.id = m.product_id JOIN locations l ON l.id = m.location_id \
            LEFT JOIN marketplaces k ON k.id = m.marketplace_id \
        WHERE m.product_id = (SELECT id FROM products WHERE sku = $6) AND m.id < $1 AND m.id >= $2 \
            AND ($3 = '' OR k.code = $3) AND ($4 = '' OR m.movement_type = $4) ORDER BY m.id DESC LIMIT $5");
}

/// One change of one level, as it goes into the ledger. `after` is the level once this change is in.
#[derive(Clone, Debug)]
pub struct Movement {
    pub id: MovementId,
    pub after: LevelRow,
    pub on_hand: i64,
    pub committed: i64,
    pub reserved: i64,
    pub unsellable: i64,
    pub incoming: i64,
    pub movement_type: &'static str,
    pub marketplace_id: Option<MarketplaceId>,
    pub order_line_id: Option<LineId>,
    pub webhook_id: Option<WebhookId>,
    pub reference_type: Option<&'static str>,
    pub reference_id: Option<String>,
    pub actor: String,
    pub reason: Option<String>,
    pub note: Option<String>,
    pub source_key: String,
    pub occurred_at: Timestamp,
}

pub async fn insert(conn: &mut Conn<'_>, movements: &[Movement], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for m in movements {
        let version = m.after.version;
        rows.push(|r| {
            r.id(m.id).id(m.after.product_id).id(m.after.location_id).int(version).opt_int((version > 1).then(|| version - 1));
            r.text(m.movement_type).int(m.on_hand).int(m.committed).int(m.reserved).int(m.unsellable).int(m.incoming);
            r.int(m.after.on_hand).int(m.after.committed).int(m.after.reserved).int(m.after.unsellable).int(m.after.incoming);
            r.opt_id(m.marketplace_id).opt_id(m.order_line_id).opt_id(m.webhook_id);
            r.opt_text(m.reference_type).opt_text(m.reference_id.as_deref()).text(&m.actor);
            r.opt_text(m.reason.as_deref()).opt_text(m.note.as_deref()).text(&m.source_key);
            r.int(m.occurred_at.micros()).int(now.micros());
        });
    }
    execute_exactly!(movements.len(), conn, MOVEMENTS_INSERT, rows.finish())
}

row! {
    pub struct MovementRow {
        pub id: MovementId,
        pub sku: Sku,
        pub location: String,
        pub level_version: i64,
        pub movement_type: String,
        pub quantity_change: i64,
        pub quantity_before: i64,
        pub quantity_after: i64,
        pub on_hand_change: i64,
        pub committed_change: i64,
        pub reserved_change: i64,
        pub unsellable_change: i64,
        pub marketplace: Option<String>,
        pub reference_type: Option<String>,
        pub reference_id: Option<String>,
        pub actor: String,
        pub reason: Option<String>,
        pub note: Option<String>,
        pub source_key: String,
        pub occurred_at: Timestamp,
        pub recorded_at: Timestamp,
    }
}

/// Which movements; empty means any.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub sku: String,
    pub marketplace: String,
    pub movement_type: String,
}

/// Newest first.
pub async fn page(conn: &mut Conn<'_>, which: &Filter, ids: Ids, limit: i64) -> Result<Vec<MovementRow>, DbError> {
    let Ids { from, before } = ids;
    let (code, kind) = (which.marketplace.as_str(), which.movement_type.as_str());
    match (which.sku.as_str(), code, kind) {
        ("", "", "" | "marketplace_sale" | "sale" | "shipped" | "reserved" | "released") => {
            fetch_all!(conn, MOVEMENTS_PAGE, MovementRow, before, from, code, kind, limit)
        }
        ("", code, "" | "marketplace_sale" | "sale" | "shipped" | "reserved" | "released") => {
            fetch_all!(conn, MOVEMENTS_PAGE_OF_MARKETPLACE, MovementRow, before, from, code, kind, limit)
        }
        ("", ..) => fetch_all!(conn, MOVEMENTS_UNUSUAL, MovementRow, before, from, code, kind, limit),
        (sku, ..) => fetch_all!(conn, MOVEMENTS_PAGE_OF_SKU, MovementRow, before, from, code, kind, limit, sku),
    }
}
