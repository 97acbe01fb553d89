//! How many. A stock and a change of stock are different types: they do not add by accident.

use serde::{Deserialize, Deserializer, Serialize};

/// The largest quantity the hub believes: 1,000,000,000.
pub const QUANTITY_MAX: i64 = 1_000_000_000;

/// A count of things: 0 to 1,000,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Default)]
#[serde(transparent)]
pub struct Quantity(i64);

/// A change of a count: −1,000,000,000 to 1,000,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Default)]
#[serde(transparent)]
pub struct Delta(i64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("must not be negative")]
    Negative,
    #[error("must be at least 1")]
    Zero,
    #[error("must be at most 1000000000")]
    TooLarge,
}

impl Quantity {
    pub const ZERO: Quantity = Quantity(0);

    pub fn parse(value: i64) -> Result<Self, QuantityError> {
        match value {
            i64::MIN..=-1 => Err(QuantityError::Negative),
            0..=QUANTITY_MAX => Ok(Self(value)),
            _ => Err(QuantityError::TooLarge),
        }
    }

    /// At least one: what an order line or a hold asks for.
    pub fn parse_positive(value: i64) -> Result<Self, QuantityError> {
        match Self::parse(value)? {
            Quantity(0) => Err(QuantityError::Zero),
            quantity => Ok(quantity),
        }
    }

    /// What may be shown of a signed level: an oversold product shows 0.
    pub fn shown(level: i64) -> Self {
        Self(level.clamp(0, QUANTITY_MAX))
    }

    pub const fn get(self) -> i64 {
        self.0
    }
}

impl Delta {
    pub fn parse(value: i64) -> Result<Self, QuantityError> {
        if (-QUANTITY_MAX..=QUANTITY_MAX).contains(&value) { Ok(Self(value)) } else { Err(QuantityError::TooLarge) }
    }

    pub const fn get(self) -> i64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(i64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Delta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(i64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
