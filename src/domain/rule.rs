//! The knobs of allocation: what a seller may ask for a hub, a marketplace, a product or one listing. A key that is absent is
//! inherited, so an empty rule changes nothing and the default is everything, everywhere.
//!
//! For a listing of one product the numbers count pieces of that product, also where the listing is a pack of six; for a
//! bundle of several products they count bundles.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::quantity::QUANTITY_MAX;

/// How far a priority may go in either direction; more steps than this nobody can tell apart.
pub const PRIORITY_MAX: i64 = 1_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Kept back from this listing: the only cure for two marketplaces selling the last unit before a push can land.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer: Option<i64>,
    /// At or below this many the listing shows 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_below: Option<i64>,
    /// Show this many while there are as many. Takes precedence over a share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed: Option<i64>,
    /// Show this part. Not a partition: 40 % here keeps nothing for the others, that is what `quota` does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_percent: Option<i64>,
    /// How a share that is no whole number becomes one; `floor` unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounding: Option<Rounding>,
    /// Units that belong to this listing alone. It sells these and no others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    /// Never show more than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_listed: Option<i64>,
    /// Who goes first where units are too few; the higher number. Equal numbers: the older listing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Show 0, whatever else is said. A quota stays with its listing meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    #[default]
    Floor,
    /// Halves go up.
    Nearest,
    Ceil,
}

impl Rule {
    /// Every key, for readers that must tell a rule's keys from other keys beside them.
    pub const KEYS: [&str; 9] =
        ["buffer", "stop_below", "fixed", "share_percent", "rounding", "quota", "max_listed", "priority", "paused"];

    /// What is out of range, as (field, reason). Empty: the rule may be stored.
    pub fn validate(&self) -> Vec<(&'static str, String)> {
        let units = 0..=QUANTITY_MAX;
        let checks: [(&'static str, Option<i64>, RangeInclusive<i64>); 7] = [
            ("buffer", self.buffer, units.clone()),
            ("stop_below", self.stop_below, units.clone()),
            ("fixed", self.fixed, units.clone()),
            ("share_percent", self.share_percent, 0..=100),
            ("quota", self.quota, units.clone()),
            ("max_listed", self.max_listed, units),
            ("priority", self.priority, -PRIORITY_MAX..=PRIORITY_MAX),
        ];
        checks
            .into_iter()
            .filter(|(_, value, range)| value.is_some_and(|value| !range.contains(&value)))
            .map(|(field, _, range)| (field, format!("must be {} to {}", range.start(), range.end())))
            .collect()
    }

    /// The rule in force: of each key the last one said wins. Give hub, marketplace, product, listing, in this order.
    pub fn inherit(levels: &[&Rule]) -> Rule {
        levels.iter().fold(Rule::default(), |above, rule| Rule {
            buffer: rule.buffer.or(above.buffer),
            stop_below: rule.stop_below.or(above.stop_below),
            fixed: rule.fixed.or(above.fixed),
            share_percent: rule.share_percent.or(above.share_percent),
            rounding: rule.rounding.or(above.rounding),
            quota: rule.quota.or(above.quota),
            max_listed: rule.max_listed.or(above.max_listed),
            priority: rule.priority.or(above.priority),
            paused: rule.paused.or(above.paused),
        })
    }

    pub(super) fn rank(&self) -> i64 {
        self.priority.unwrap_or(0)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.unwrap_or(false)
    }
}

impl Rounding {
    /// `percent` hundredths of `amount`, in 128 bits so that no product of two valid numbers can overflow.
    pub(super) fn share(self, amount: i64, percent: i64) -> i64 {
        let hundredths = i128::from(amount) * i128::from(percent);
        let whole = match self {
            Rounding::Floor => hundredths.div_euclid(100),
            Rounding::Nearest => (hundredths + 50).div_euclid(100),
            Rounding::Ceil => (hundredths + 99).div_euclid(100),
        };
        i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Rounding::Floor => "down",
            Rounding::Nearest => "to the nearest",
            Rounding::Ceil => "up",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Rule, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_refused() {
        assert_eq!(read("{}").unwrap(), Rule::default());
        for bad in [r#"{"bufer":1}"#, r#"{"buffer":"1"}"#, r#"{"buffer":1.5}"#, r#"{"rounding":"round"}"#, r#"{"paused":1}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_key_is_read_and_only_what_is_set_is_written() {
        let all = r#"{"buffer":1,"stop_below":2,"fixed":3,"share_percent":4,"rounding":"ceil","#.to_owned()
            + r#""quota":5,"max_listed":6,"priority":-7,"paused":true}"#;
        let rule = read(&all).unwrap();
        assert_eq!(serde_json::to_string(&rule).unwrap(), all);
        let written = serde_json::to_value(&rule).unwrap();
        assert_eq!(written.as_object().unwrap().len(), Rule::KEYS.len());
        assert!(Rule::KEYS.iter().all(|key| written.get(key).is_some()));
        assert_eq!(serde_json::to_string(&Rule::default()).unwrap(), "{}");
    }

    #[test]
    fn validation_names_every_field_that_is_wrong() {
        let rule = Rule {
            buffer: Some(-1),
            share_percent: Some(101),
            max_listed: Some(QUANTITY_MAX + 1),
            priority: Some(1_001),
            quota: Some(QUANTITY_MAX),
            ..Rule::default()
        };
        let fields: Vec<_> = rule.validate().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["buffer", "share_percent", "max_listed", "priority"]);
        assert_eq!(rule.validate()[1].1, "must be 0 to 100");
        assert!(Rule::default().validate().is_empty());
    }

    #[test]
    fn the_nearer_level_wins_key_by_key() {
        let hub = Rule { buffer: Some(3), rounding: Some(Rounding::Ceil), paused: Some(true), ..Rule::default() };
        let marketplace = Rule { buffer: Some(1), share_percent: Some(50), ..Rule::default() };
        let listing = Rule { paused: Some(false), buffer: Some(0), ..Rule::default() };
        let rule = Rule::inherit(&[&hub, &marketplace, &Rule::default(), &listing]);
        let wanted = Rule {
            buffer: Some(0),
            share_percent: Some(50),
            rounding: Some(Rounding::Ceil),
            paused: Some(false),
            ..Rule::default()
        };
        assert_eq!(rule, wanted);
        assert_eq!(Rule::inherit(&[]), Rule::default());
    }

    proptest! {
        #[test]
        fn roundings_enclose_the_exact_share(amount in 0..=QUANTITY_MAX, percent in 0_i64..=100) {
            let [floor, nearest, ceil] =
                [Rounding::Floor, Rounding::Nearest, Rounding::Ceil].map(|rounding| rounding.share(amount, percent));
            prop_assert!(floor <= nearest && nearest <= ceil && ceil - floor <= 1);
            prop_assert!(floor * 100 <= amount * percent && amount * percent <= ceil * 100);
            prop_assert!((nearest * 100 - amount * percent).abs() <= 50);
            prop_assert!(ceil <= amount);
        }
    }
}
