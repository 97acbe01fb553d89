//! Money: whole minor units and a currency. Never summed across currencies, never a float.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    pub minor: i64,
    pub currency: Currency,
}

/// `{"amount":"129.90","currency":"USD"}`: how money is written in JSON.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct MoneyText {
    /// Decimal text with at most as many places as the currency has.
    pub amount: String,
    /// ISO 4217 code, three capital letters.
    pub currency: String,
}

/// The largest amount there is, in minor units.
pub const MINOR_MAX: i64 = 1_000_000_000_000_000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("currency must be three capital letters, like USD")]
    Currency,
    #[error("amount must be a plain decimal, like 129.90")]
    Amount,
    #[error("amount has more decimal places than {0} knows")]
    Places(Currency),
    #[error("amount is too large")]
    TooLarge,
}

impl Currency {
    pub fn parse(code: &str) -> Result<Self, MoneyError> {
        match code.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) => Ok(Self([a, b, c])),
            _ => Err(MoneyError::Currency),
        }
    }

    pub fn as_str(&self) -> &str {
        // Three ASCII capitals by construction.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Decimal places of the minor unit (ISO 4217).
    pub fn places(self) -> u32 {
        match self.as_str() {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND" | "VUV" | "XAF"
            | "XOF" | "XPF" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            _ => 2,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Money {
    pub fn parse(amount: &str, currency: Currency) -> Result<Self, MoneyError> {
        let places = currency.places();
        let (negative, digits) = match amount.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, amount),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !plain(whole) || !plain(fraction) || digits.ends_with('.') {
            return Err(MoneyError::Amount);
        }
        let fraction = fraction.trim_end_matches('0');
        let width = u32::try_from(fraction.len()).map_err(|_| MoneyError::TooLarge)?;
        if width > places {
            return Err(MoneyError::Places(currency));
        }
        let whole: i64 = whole.parse().map_err(|_| MoneyError::TooLarge)?;
        let part: i64 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| MoneyError::TooLarge)? };
        let minor = whole
            .checked_mul(10_i64.pow(places))
            .and_then(|units| units.checked_add(part * 10_i64.pow(places - width)))
            .filter(|units| *units <= MINOR_MAX)
            .ok_or(MoneyError::TooLarge)?;
        Ok(Self { minor: if negative { -minor } else { minor }, currency })
    }

    pub fn to_text(self) -> MoneyText {
        MoneyText { amount: self.amount(), currency: self.currency.to_string() }
    }

    pub fn amount(self) -> String {
        let places = self.currency.places();
        let scale = 10_u64.pow(places);
        let sign = if self.minor < 0 { "-" } else { "" };
        let units = self.minor.unsigned_abs();
        if places == 0 {
            return format!("{sign}{units}");
        }
        format!("{sign}{}.{:0width$}", units / scale, units % scale, width = places as usize)
    }
}

impl MoneyText {
    pub fn parse(&self) -> Result<Money, MoneyError> {
        Money::parse(&self.amount, Currency::parse(&self.currency)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minor(amount: &str, currency: &str) -> Result<i64, MoneyError> {
        Money::parse(amount, Currency::parse(currency)?).map(|m| m.minor)
    }

    #[test]
    fn knows_the_places_of_a_currency() {
        assert_eq!(minor("129.90", "USD"), Ok(12_990));
        assert_eq!(minor("129.9", "USD"), Ok(12_990));
        assert_eq!(minor("129.900", "USD"), Ok(12_990));
        assert_eq!(minor("129", "JPY"), Ok(129));
        assert_eq!(minor("1.234", "KWD"), Ok(1_234));
        assert!(minor("1.234", "USD").is_err());
        assert!(minor("1.5", "JPY").is_err());
    }

    #[test]
    fn refuses_what_is_not_a_plain_decimal() {
        for bad in ["", ".5", "5.", "1e3", "1,000", "+5", " 5", "NaN", "99999999999999999999"] {
            assert!(minor(bad, "USD").is_err(), "{bad:?}");
        }
        for bad in ["usd", "US", "USDT", "U$D"] {
            assert!(Currency::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn prints_what_it_read() {
        for (text, currency) in [("129.90", "USD"), ("0.05", "EUR"), ("129", "JPY"), ("-3.10", "USD")] {
            let money = Currency::parse(currency).and_then(|c| Money::parse(text, c));
            assert_eq!(money.map(Money::amount), Ok(text.to_owned()));
        }
    }
}
