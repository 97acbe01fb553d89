//! Telling marketplaces their numbers: how every kind of answer ends, which limits are kept, and what it costs.

mod limits;
mod load;
mod outcomes;
mod sick;
mod tasks;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::hub::{Hub, Plan};
use crate::support::scripted::{Scripted, ScriptedShop, install};

const SECOND: Duration = Duration::from_secs(1);

/// Every wait short, but for an answer and of a lease: those end what is well, too, where the machine stands still for a while, and
/// an answer that came too late is asked for once more. `more` are keys of `[push]`, `policy` lines of the marketplace's policy.
pub fn plan(more: &str, policy: &str) -> Plan {
    let push = "timeout_ms = 20000\nconnect_timeout_ms = 10000\nbackoff_base_ms = 20\nbackoff_cap_ms = 300\nverify_cap_ms = 300\n\
         breaker_open_ms = 200\nzombie_window_ms = 800\n";
    let lease = if more.contains("lease_ms") { "" } else { "lease_ms = 60000\n" };
    let gap = if more.contains("min_gap_ms") { "" } else { "min_gap_ms = 0\n" };
    let shop = "[[marketplaces]]\ncode = \"shop\"\nadapter = \"generic\"\nbase_url = \"http://127.0.0.1:9\"\n\
         stock_feed = \"delta\"\n[marketplaces.secrets]\nwebhook_secret = [\"env:T_SECRET\"]\n";
    let olx = "[[marketplaces]]\ncode = \"olx\"\nadapter = \"manual\"\n";
    Plan {
        shops: Vec::new(),
        products: Vec::new(),
        sections: format!("[push]\n{push}{lease}{gap}{more}"),
        marketplaces: format!("{shop}[marketplaces.policy]\n{policy}\n{olx}"),
        ..Plan::default()
    }
}

/// A hub whose one marketplace, `shop`, is a scripted one.
pub async fn rig(adapter: Scripted, more: &str) -> (Hub, ScriptedShop) {
    let hub = Hub::with(plan(more, "")).await;
    let shop = ScriptedShop::start(hub.world.clone());
    install(&hub, "shop", adapter, &shop).await;
    (hub, shop)
}

impl Hub {
    /// A product that `shop` sells under its own SKU, or under a name of its own.
    pub async fn sell_at_shop(&self, sku: &str, stock: i64, external: Option<&str>, refs: Value) {
        self.unlisted(sku, stock).await;
        let body = json!({"marketplace": "shop", "sku": sku, "marketplace_product_id": external.unwrap_or(sku),
            "marketplace_sku": sku, "refs": refs});
        let answer = self.admin("POST", "/v1/admin/listings", Some(body)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    /// So many more of it.
    pub async fn top_up(&self, sku: &str, quantity: i64) {
        let path = format!("/v1/admin/products/{sku}/topup");
        let answer = self.admin("POST", &path, Some(json!({ "quantity": quantity }))).await;
        assert!(answer.status < 300, "{}", answer.text());
    }

    pub async fn is_blocked(&self, sku: &str) {
        self.until(&format!("{sku} is refused"), async || self.listing(sku, "shop").await["state"] == "blocked").await;
    }

    pub async fn is_synced(&self, sku: &str) {
        self.until(&format!("{sku} is told"), async || self.listing(sku, "shop").await["state"] == "synced").await;
    }
}
