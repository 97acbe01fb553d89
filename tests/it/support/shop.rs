//! What the simulated shops can be asked about the hub.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::simulator::record::{PushOutcome, ShopEvent};
use tokio::time::Instant;

use super::hub::{Hub, STORE_KEY};

/// A push as a shop saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub seq: u64,
    /// When it came, in milliseconds.
    pub at: i64,
    pub sku: String,
    pub stock: i64,
    pub outcome: PushOutcome,
}

impl Hub {
    /// How far a shop's journal has come: pushes after this are new.
    pub fn mark(&self, code: &str) -> u64 {
        self.shop(code).market().shop().journal().written()
    }

    /// Pushes a shop has received since a mark.
    pub fn told(&self, code: &str, mark: u64) -> Vec<Told> {
        let market = self.shop(code).market().clone();
        let shop = market.shop();
        let pushes = shop.journal().records().filter(|record| record.seq >= mark).filter_map(|record| {
            let ShopEvent::Push { received_at, body, outcome, .. } = &record.event else { return None };
            let body: Value = serde_json::from_str(body).unwrap();
            let (sku, stock) = (body["sku"].as_str().unwrap().to_owned(), body["stock"].as_i64().unwrap());
            Some(Told { seq: record.seq, at: received_at.micros() / 1_000, sku, stock, outcome: *outcome })
        });
        pushes.collect()
    }

    /// Waits until a shop shows this number; gives when.
    pub async fn shows(&self, code: &str, sku: &str, stock: i64) -> Instant {
        let market = self.shop(code).market();
        self.until(&format!("{code} shows {stock} of {sku}"), async || market.shown(sku) == stock).await
    }

    /// Waits, long enough for the slowest machine, until something holds; gives when.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) -> Instant {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !holds().await {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Instant::now()
    }

    /// The own store sells so many.
    pub async fn store_sells(&self, sku: &str, quantity: i64) {
        let body = json!({"items": [{"sku": sku, "quantity": quantity}]});
        let answer = self.http.send("POST", "/v1/store/orders", &[("x-storefront-key", STORE_KEY)], Some(body)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    /// The state of one listing of a product.
    pub async fn listing(&self, sku: &str, code: &str) -> Value {
        let product = self.get(&format!("/v1/admin/products/{sku}")).await;
        let all = product["listings"].as_array().unwrap();
        all.iter().find(|listing| listing["marketplace"] == code).expect("a listing there").clone()
    }

    pub async fn marketplace_status(&self, code: &str) -> String {
        let all = self.get("/v1/admin/marketplaces").await;
        let found = all["items"].as_array().unwrap().iter().find(|one| one["code"] == code).unwrap();
        found["status"].as_str().unwrap().to_owned()
    }
}
