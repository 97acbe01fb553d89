//! SKU: the seller's own name of a product. Taken exactly as written or refused, never trimmed: two shops that disagree about
//! a space must not be made to agree by us.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Sku(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkuError {
    #[error("must have 1 to 128 characters, has {0}")]
    Length(usize),
    #[error("must not begin or end with a space")]
    OuterSpace,
    #[error("must not hold control characters")]
    Control,
}

impl Sku {
    pub fn parse(text: &str) -> Result<Self, SkuError> {
        let length = text.chars().count();
        if !(1..=128).contains(&length) {
            return Err(SkuError::Length(length));
        }
        if text.trim() != text {
            return Err(SkuError::OuterSpace);
        }
        if text
            .chars()
            .any(|c| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        {
            return Err(SkuError::Control);
        }
        Ok(Self(text.into()))
    }

    /// A value that was parsed before it was stored.
    pub fn from_storage(text: &str) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Sku {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Sku {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_it_takes_and_refuses_the_rest() {
        for good in ["A", "PHONE-001", "1; DROP TABLE", "%", "../x", "телефон", "📱", &"x".repeat(128)] {
            assert_eq!(Sku::parse(good).map(|s| s.as_str().to_owned()), Ok(good.to_owned()));
        }
        assert_eq!(Sku::parse(""), Err(SkuError::Length(0)));
        assert_eq!(Sku::parse(&"x".repeat(129)), Err(SkuError::Length(129)));
        assert_eq!(Sku::parse(" A"), Err(SkuError::OuterSpace));
        for bad in ["A\0B", "A\nB", "\u{202e}AB"] {
            assert_eq!(Sku::parse(bad), Err(SkuError::Control), "{bad:?}");
        }
    }
}
