//! What the hub tells others: the kinds of events, their payloads, and the envelope they travel in. No customer is ever in one.

use serde::Serialize;
use serde_json::value::RawValue;

use super::ids::ProductId;
use super::time::Timestamp;

macro_rules! event_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EventType { $($(#[$doc])* $variant),* }

        impl EventType {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

event_types! {
    InventoryUpdated = "inventory-updated",
    /// An order that may be refused was refused.
    InventoryUpdateFailed = "inventory-update-failed",
    ProductUpdated = "product-updated",
    LowStock = "low-stock",
    OutOfStock = "out-of-stock",
    BackInStock = "back-in-stock",
    Oversold = "oversold",
    ListingDrift = "listing-drift",
    MarketplaceDegraded = "marketplace-degraded",
    MarketplaceRecovered = "marketplace-recovered",
}

impl EventType {
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }

    /// What follows from a movement comes after it, always in the same order.
    const fn rank(self) -> i64 {
        match self {
            Self::InventoryUpdated => 0,
            Self::ProductUpdated => 1,
            Self::LowStock | Self::OutOfStock | Self::BackInStock => 2,
            _ => 3,
        }
    }

    /// The place in a product's stream. `movements` is how many the product ever had: the sum of its levels' versions.
    pub const fn sequence(self, movements: i64) -> i64 {
        movements.saturating_mul(4).saturating_add(self.rank())
    }
}

/// Why stock moved, in the words of the event.
pub fn trigger(movement_type: &str) -> Option<&'static str> {
    Some(match movement_type {
        "marketplace_sale" => "MARKETPLACE_SALE",
        "sale" => "ORDER_CONFIRMED",
        "order_cancelled" => "ORDER_CANCELLED",
        "returned" => "ORDER_RETURNED",
        "shipped" => "ORDER_SHIPPED",
        "topup" | "manual" | "adjusted" | "opening" => "ADMIN_UPDATE",
        "reconciliation" => "SCHEDULED_SYNC",
        "reserved" => "RESERVATION_HELD",
        "released" => "RESERVATION_RELEASED",
        // Between two places of ours: what can be sold is the same.
        _ => return None,
    })
}

/// Who did it, without telling a person's name: people are `user`, everything else keeps its own name.
pub fn updated_by(actor: &str) -> &str {
    match actor.split_once(':') {
        Some(("user", _)) => "user",
        _ if actor.contains('@') => "user",
        _ => actor,
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Payload {
    #[serde(rename_all = "camelCase")]
    InventoryUpdated {
        product_id: ProductId,
        sku: String,
        /// Of what can be sold, over all locations.
        previous_quantity: i64,
        new_quantity: i64,
        trigger: &'static str,
        order_id: Option<String>,
        updated_by: String,
    },
    #[serde(rename_all = "camelCase")]
    InventoryUpdateFailed {
        sku: String,
        requested: i64,
        available: i64,
        order_id: Option<String>,
        reason: &'static str,
    },
    #[serde(rename_all = "camelCase")]
    ProductUpdated {
        product_id: ProductId,
        sku: String,
        changed_fields: Vec<&'static str>,
        is_available: bool,
        updated_at: Timestamp,
    },
    #[serde(rename_all = "camelCase")]
    Stock {
        product_id: ProductId,
        sku: String,
        available: i64,
        threshold: i64,
    },
    #[serde(rename_all = "camelCase")]
    Oversold {
        product_id: ProductId,
        sku: String,
        available: i64,
        units: i64,
        orders: Vec<String>,
    },
    #[serde(rename_all = "camelCase")]
    Marketplace {
        marketplace: String,
        reason: String,
    },
    Drift(Drift),
}

/// A marketplace that shows another number than we believed, found twice.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    pub product_id: ProductId,
    pub sku: String,
    pub marketplace: String,
    /// What the marketplace calls it.
    pub listing: String,
    pub expected: i64,
    pub observed: i64,
    /// Suspected.
    pub cause: &'static str,
    /// What was done about it.
    pub decision: &'static str,
}

/// The body of a delivery. The same event has the same bytes at every try.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<'a> {
    pub event_id: String,
    pub event_type: &'a str,
    pub timestamp: Timestamp,
    pub version: &'static str,
    pub payload: &'a RawValue,
}

pub const VERSION: &str = "1.0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_is_as_agreed() {
        let payload = serde_json::value::to_raw_value(&serde_json::json!({"sku": "A"})).unwrap();
        let timestamp = Timestamp::from_seconds(1_767_955_800);
        let envelope =
            Envelope { event_id: "e-1".into(), event_type: "low-stock", timestamp, version: VERSION, payload: &payload };
        assert_eq!(
            serde_json::to_string(&envelope).unwrap(),
            r#"{"eventId":"e-1","eventType":"low-stock","timestamp":"2026-01-09T10:50:00.000000Z","version":"1.0","payload":{"sku":"A"}}"#
        );
    }

    #[test]
    fn what_follows_a_movement_stands_between_it_and_the_next() {
        for kind in EventType::ALL {
            let at = kind.sequence(7);
            assert!(EventType::InventoryUpdated.sequence(7) <= at && at < EventType::InventoryUpdated.sequence(8), "{kind:?}");
            assert_eq!(EventType::parse(kind.as_str()), Some(*kind));
        }
    }

    #[test]
    fn people_are_not_named() {
        assert_eq!(updated_by("user:ali@example.com"), "user");
        assert_eq!(updated_by("ali@example.com"), "user");
        assert_eq!(updated_by("marketplace:uzum"), "marketplace:uzum");
    }
}
