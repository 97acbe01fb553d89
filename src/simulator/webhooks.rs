//! The webhooks a fake marketplace sends, byte for byte: the older `stock.updated` shape and the order events, and their
//! signatures. Pure, so that a test can also make a wrong one on purpose.

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

use crate::domain::time::Timestamp;

use super::record::Trade;

/// The header that carries the signature.
pub const SIGNATURE: &str = "X-Webhook-Signature";
pub const ID: &str = "X-Webhook-Id";
pub const TIMESTAMP: &str = "X-Webhook-Timestamp";
pub const MARKETPLACE_ID: &str = "X-Marketplace-ID";

/// Why a shop's own number changed; the words of the older schema, and `returned`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Sold,
    Cancelled,
    Returned,
}

/// The older schema. Field order is the order on the wire.
#[derive(Clone, Debug, Serialize)]
pub struct StockUpdated<'a> {
    pub event: &'static str,
    pub marketplace_product_id: &'a str,
    pub sku: &'a str,
    pub previous_stock: i64,
    pub current_stock: i64,
    pub change: i64,
    pub timestamp: Timestamp,
    pub reason: Reason,
}

impl<'a> StockUpdated<'a> {
    pub fn new(product_id: &'a str, sku: &'a str, previous: i64, change: i64, timestamp: Timestamp, reason: Reason) -> Self {
        Self {
            event: "stock.updated",
            marketplace_product_id: product_id,
            sku,
            previous_stock: previous,
            current_stock: previous + change,
            change,
            timestamp,
            reason,
        }
    }
}

/// `order.created`, `order.cancelled`, `order.returned`: one line, its quantity cumulative.
#[derive(Clone, Debug, Serialize)]
pub struct OrderEvent<'a> {
    pub event: &'static str,
    pub order_id: &'a str,
    pub timestamp: Timestamp,
    pub items: [OrderItem<'a>; 1],
}

#[derive(Clone, Debug, Serialize)]
pub struct OrderItem<'a> {
    pub order_item_id: String,
    pub sku: &'a str,
    pub marketplace_product_id: &'a str,
    pub quantity: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<&'a str>,
}

/// Which webhooks a trade makes. Some real marketplaces send both for one sale: counting both is the classic mistake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Feed {
    #[default]
    Stock,
    Orders,
    Both,
}

/// A body ready to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub name: &'static str,
    pub body: String,
}

/// The webhooks of one trade. A take-back that left the shop's own number alone makes no stock webhook.
pub fn of_trade(feed: Feed, trade: &Trade, reason: Reason) -> Vec<Webhook> {
    let mut made = Vec::with_capacity(2);
    if feed != Feed::Stock {
        let name = match reason {
            Reason::Sold => "order.created",
            Reason::Cancelled => "order.cancelled",
            Reason::Returned => "order.returned",
        };
        let item = OrderItem {
            order_item_id: format!("{}-1", trade.order_id),
            sku: trade.sku.as_str(),
            marketplace_product_id: &trade.product_id,
            quantity: trade.cumulative,
            price: trade.price.as_deref(),
        };
        let event = OrderEvent { event: name, order_id: &trade.order_id, timestamp: trade.at, items: [item] };
        made.push(Webhook { name, body: text_of(&event) });
    }
    let change = trade.after - trade.before;
    if feed != Feed::Orders && change != 0 {
        let (product, sku) = (trade.product_id.as_str(), trade.sku.as_str());
        let event = StockUpdated::new(product, sku, trade.before, change, trade.at, reason);
        made.push(Webhook { name: "stock.updated", body: text_of(&event) });
    }
    made
}

fn text_of(value: &impl Serialize) -> String {
    // Strings and numbers in plain structs: this cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// A webhook secret, made ready once. The key is the secret's UTF-8 bytes.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl Signer {
    pub fn new(secret: &str) -> Self {
        let key = secret.as_bytes();
        // HMAC takes keys of any length; the other arm is never run.
        Self(Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default())))
    }

    /// Hex of the MAC of the raw body.
    pub fn sign(&self, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }

    /// Hex of the MAC of `{id}.{timestamp}.{body}`, for a webhook with an id.
    pub fn sign_identified(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        hex::encode(mac.finalize().into_bytes())
    }
}

/// Where on the hub a webhook goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// `/webhooks/{code}`
    #[default]
    Own,
    /// `/webhooks/marketplaces/stock-update`, the shop named by `X-Marketplace-ID`.
    Older,
}

impl Door {
    pub fn path(self, code: &str) -> String {
        match self {
            Self::Own => format!("/webhooks/{code}"),
            Self::Older => "/webhooks/marketplaces/stock-update".to_owned(),
        }
    }
}

/// The headers of one delivery. Signed anew for each attempt where there is an id, because the hub refuses old timestamps;
/// the body, and without an id every byte, stays what it was.
pub fn headers(
    signer: &Signer,
    door: Door,
    code: &str,
    id: Option<&str>,
    body: &[u8],
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let mut made = Vec::with_capacity(4);
    match id {
        None => made.push((SIGNATURE, signer.sign(body))),
        Some(id) => {
            let timestamp = now.seconds().to_string();
            made.push((SIGNATURE, signer.sign_identified(id, &timestamp, body)));
            made.push((ID, id.to_owned()));
            made.push((TIMESTAMP, timestamp));
        }
    }
    if door == Door::Older {
        made.push((MARKETPLACE_ID, code.to_owned()));
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sku::Sku;

    fn trade() -> Trade {
        Trade {
            order_id: "r-1".into(),
            sku: Sku::parse("PHONE-001").unwrap(),
            product_id: "UZUM-12345".into(),
            quantity: 3,
            cumulative: 3,
            before: 50,
            after: 47,
            price: Some("129.90".into()),
            at: Timestamp::parse_rfc3339("2026-01-09T10:30:00Z").unwrap(),
        }
    }

    #[test]
    fn speaks_the_older_schema() {
        let made = of_trade(Feed::Stock, &trade(), Reason::Sold);
        let expected = concat!(
            r#"{"event":"stock.updated","marketplace_product_id":"UZUM-12345","sku":"PHONE-001","previous_stock":50,"#,
            r#""current_stock":47,"change":-3,"timestamp":"2026-01-09T10:30:00.000000Z","reason":"sold"}"#
        );
        assert_eq!(made, vec![Webhook { name: "stock.updated", body: expected.to_owned() }]);
    }

    #[test]
    fn an_order_feed_tells_cumulative_quantities_and_no_stock_where_none_changed() {
        let made = of_trade(Feed::Both, &Trade { quantity: 1, cumulative: 2, after: 50, ..trade() }, Reason::Cancelled);
        assert_eq!(made.len(), 1);
        let body: serde_json::Value = serde_json::from_str(&made[0].body).unwrap();
        assert_eq!(body["event"], "order.cancelled");
        assert_eq!(body["items"][0]["quantity"], 2);
        assert_eq!(body["items"][0]["order_item_id"], "r-1-1");
        assert_eq!(of_trade(Feed::Both, &trade(), Reason::Sold).len(), 2);
    }

    #[test]
    fn signs_as_published_vectors_say() {
        // RFC 4231, test case 2.
        let signer = Signer::new("Jefe");
        let tag = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signer.sign(b"what do ya want for nothing?"), tag);
        assert_eq!(
            signer.sign_identified("what do ya want for nothing?", "", b""),
            signer.sign(b"what do ya want for nothing?..")
        );
    }
}
