//! Spans of time as text: a number and a unit. A bare number is refused, because `30` has been seconds for one reader and
//! milliseconds for the next.

use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("needs a unit: ms, s, m, h or d (like \"30s\")")]
    NoUnit,
    #[error("has an unknown unit; units are ms, s, m, h and d (like \"15m\")")]
    Unit,
    #[error("must be a whole number and a unit, like \"500ms\", \"2s\", \"15m\", \"6h\" or \"1d\"")]
    Number,
    #[error("must be at most 3650d")]
    TooLarge,
}

/// Longest span a setting may name: ten years.
const MILLIS_MAX: u64 = 3_650 * 86_400_000;

/// Reads `500ms`, `2s`, `15m`, `6h`, `1d`.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(DurationError::Number);
    }
    let scale: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(DurationError::NoUnit),
        other if other.bytes().all(|b| b.is_ascii_alphabetic()) => return Err(DurationError::Unit),
        _ => return Err(DurationError::Number),
    };
    let millis = number.parse::<u64>().ok().and_then(|n| n.checked_mul(scale)).filter(|ms| *ms <= MILLIS_MAX);
    millis.map(Duration::from_millis).ok_or(DurationError::TooLarge)
}

/// Accessors that turn a field with its unit in the name into a `Duration`.
macro_rules! durations {
    ($type:ty { $($name:ident = $from:ident($field:ident)),* $(,)? }) => {
        impl $type {
            $(pub const fn $name(&self) -> std::time::Duration { std::time::Duration::$from(self.$field) })*
        }
    };
}
pub(super) use durations;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_number_and_a_unit() {
        for (text, millis) in [("500ms", 500), ("2s", 2_000), ("15m", 900_000), ("6h", 21_600_000), ("1d", 86_400_000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn says_what_is_missing() {
        assert_eq!(parse_duration("30"), Err(DurationError::NoUnit));
        assert_eq!(parse_duration("30 s"), Err(DurationError::Number));
        assert_eq!(parse_duration("30sec"), Err(DurationError::Unit));
        assert_eq!(parse_duration("2S"), Err(DurationError::Unit));
        for bad in ["", "s", "-1s", "1.5s", " 1s", "1e3s", "1s "] {
            assert_eq!(parse_duration(bad), Err(DurationError::Number), "{bad:?}");
        }
        for huge in ["3651d", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse_duration(huge), Err(DurationError::TooLarge), "{huge}");
        }
    }
}
