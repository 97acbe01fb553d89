//! Settings that are one of a few words.

use super::finding::nearest;
use super::tree::{Node, Value};

/// A word out of a fixed set.
pub(super) trait Choice: Copy + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$note:meta])* $variant:ident = $word:literal),* $(,)? })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$note])* $variant),* }

        impl Choice for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),*];
        }

        impl $name {
            /// The word in configuration files.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }
    )* };
}

choices! {
    LogFormat {
        /// Pretty on a terminal, JSON elsewhere.
        Auto = "auto",
        Pretty = "pretty",
        Json = "json",
    }
    /// The feed of a marketplace that moves stock; the others only refresh what we know of it.
    StockFeed { Orders = "orders", Delta = "delta", Absolute = "absolute", None = "none" }
    /// When a sale takes its units off the shelf.
    Fulfilment {
        /// At the sale.
        Instant = "instant",
        /// At shipping; until then they are committed.
        Shipment = "shipment",
    }
    /// Who is right when a marketplace shows another number than expected.
    DriftPolicy { HubWins = "hub_wins", MarketplaceWins = "marketplace_wins", MinWins = "min_wins", Alert = "alert", Ask = "ask" }
    /// Whether a marketplace raises its own number when an order is cancelled.
    OwnCancelRestock { Yes = "true", No = "false", Unknown = "unknown" }
    /// Whether a marketplace lowers its own number at a sale.
    OwnSalesDecrement { AtOrder = "at_order", None = "none" }
    /// How mail to our server is protected on its way.
    MailTls { None = "none", StartTls = "starttls", Tls = "tls" }
    /// How a share becomes whole units.
    Rounding { Down = "down", Up = "up", Nearest = "nearest" }
}

/// Reads one of the words of `C`.
pub(super) fn choice<C: Choice>(node: &Node) -> Result<C, String> {
    let words = || C::WORDS.iter().map(|(word, _)| *word);
    let word = match &node.value {
        Value::Text(word) => word.as_str(),
        // `true` and `false` are words of some sets.
        Value::Boolean(true) => "true",
        Value::Boolean(false) => "false",
        other => return Err(format!("expected one of {}, found {}", words().collect::<Vec<_>>().join(", "), other.kind())),
    };
    if let Some((_, value)) = C::WORDS.iter().find(|(known, _)| *known == word) {
        return Ok(*value);
    }
    let hint = nearest(word, words()).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    Err(format!("must be one of {}, is {word:?}{hint}", words().collect::<Vec<_>>().join(", ")))
}
