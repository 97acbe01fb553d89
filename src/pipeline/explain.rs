//! Why is this 47 on that marketplace? The allocation of every listing of a product, step by step, and where each number stands.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Effects, Kit, Tx, retarget, working::Working};
use crate::context::Question;
use crate::db::{Conn, DbError, listings, products};
use crate::domain::allocation;

pub struct Explain {
    pub sku: String,
    pub marketplace: Option<String>,
    pub kit: Kit,
}

impl Question for Explain {
    type Answer = Option<Value>;

    async fn ask(self, conn: &mut Conn<'_>) -> Result<Option<Value>, DbError> {
        let Some(product) = products::get(conn, &self.sku).await? else { return Ok(None) };
        let shown = listings::of_product(conn, product.id).await?;
        let mut tx = Tx { conn: conn.again(), kit: &self.kit, now: self.kit.clock.now(), effects: Effects::default() };
        let working = Working::to_look_at(&mut tx, BTreeSet::from([product.id])).await?;
        let group: BTreeSet<_> = working.products.keys().copied().collect();
        let (pool, inputs) = retarget::inputs(&tx, &working, &group)?;
        let mut list = Vec::new();
        for allocated in allocation::allocate(&pool, &inputs) {
            let Some(view) = shown.iter().find(|view| view.id == allocated.listing) else { continue };
            if self.marketplace.as_ref().is_some_and(|code| *code != view.marketplace) {
                continue;
            }
            list.push(json!({
                "marketplace": view.marketplace, "marketplace_product_id": view.marketplace_product_id, "market": view.market,
                "allocated": allocated.quantity, "trace": allocated.trace, "wanted": view.listed_stock, "sent": view.sent_quantity,
                "acknowledged": view.acked_quantity, "expected": view.expected, "observed": view.marketplace_stock,
                "state": view.push_state, "last_synced_at": view.last_synced_at, "last_error": view.last_error,
            }));
        }
        let levels = working.levels.values().map(|l| &l.row).filter(|row| row.product_id == product.id);
        let available: i64 = levels.map(crate::db::inventory::LevelRow::available).sum();
        Ok(Some(json!({ "sku": product.sku, "available": available, "listings": list })))
    }
}
