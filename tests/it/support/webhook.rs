//! Webhooks made by hand, signed by the tests' own reading of the schemes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use stockhub::db::webhooks;
use stockhub::domain::ids::WebhookId;

use super::http::Answer;
use super::hub::{Hub, SECRET};

pub fn mac(secret: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// The older shape's signature over the body alone.
pub fn plain(body: &[u8]) -> String {
    hex::encode(mac(SECRET, &[body]))
}

/// Over `id.timestamp.body`.
pub fn stamped(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    mac(SECRET, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body])
}

pub fn standard(id: &str, timestamp: &str, body: &[u8]) -> String {
    // The secret is no base64, so its text is the key.
    format!("v1,{}", STANDARD.encode(stamped(id, timestamp, body)))
}

/// `stock.updated` of the older schema: so many sold.
pub fn sold(product: &str, previous: i64, units: i64, timestamp: &str) -> Vec<u8> {
    json!({"event": "stock.updated", "marketplace_product_id": product, "previous_stock": previous,
        "current_stock": previous - units, "change": -units, "timestamp": timestamp, "reason": "sold"})
    .to_string()
    .into_bytes()
}

impl Hub {
    /// Delivers a body with its right signature.
    pub async fn deliver(&self, code: &str, body: &[u8]) -> Answer {
        self.http.send_bytes("POST", &format!("/webhooks/{code}"), &[("x-webhook-signature", &plain(body))], body).await
    }

    /// Delivers a body that must be taken; gives its row of the log.
    pub async fn delivered(&self, code: &str, body: &[u8]) -> Value {
        let answer = self.deliver(code, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.log_row(&answer).await
    }

    /// The row of the log that an answer names.
    pub async fn log_row(&self, answer: &Answer) -> Value {
        let id = answer.json()["id"].as_str().unwrap_or_else(|| panic!("no id: {}", answer.text())).to_owned();
        self.get(&format!("/v1/admin/webhooks/{id}")).await
    }

    pub async fn log_rows(&self) -> Vec<Value> {
        self.get("/v1/admin/webhooks?limit=500").await["items"].as_array().expect("a list").clone()
    }

    /// The bytes as they are stored.
    pub async fn stored_bytes(&self, answer: &Answer) -> Vec<u8> {
        let id = answer.json()["id"].as_str().unwrap().parse().unwrap();
        let mut reader = self.context.db.read().await.unwrap();
        webhooks::body(&mut reader.conn(), WebhookId::new(id)).await.unwrap().expect("a row").0
    }

    /// Kinds of the alerts that are open.
    pub async fn alerts(&self) -> Vec<String> {
        let alerts = self.get("/v1/admin/alerts?limit=500").await;
        let open = alerts["items"].as_array().unwrap().iter().filter(|alert| alert["state"] != "resolved");
        open.map(|alert| alert["kind"].as_str().unwrap().to_owned()).collect()
    }

    /// A figure of `/metrics`, named with its labels; 0 where it is not there yet.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.http.send("GET", "/metrics", &[], None).await.text();
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.map_or(0.0, |line| line[name.len()..].trim().parse().unwrap())
    }

    pub async fn available(&self, sku: &str) -> i64 {
        self.get(&format!("/v1/admin/products/{sku}")).await["available"].as_i64().unwrap()
    }

    /// Movements of a product that were caused by sales, newest first.
    pub async fn sales(&self, sku: &str) -> Vec<Value> {
        let movements = self.get(&format!("/v1/admin/movements?sku={sku}&limit=500")).await;
        let all = movements["items"].as_array().unwrap().iter();
        all.filter(|movement| movement["movement_type"] == "marketplace_sale").cloned().collect()
    }
}
