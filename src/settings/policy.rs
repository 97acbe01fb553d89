//! Allocation rules as they are written, and the policy of one marketplace. What a marketplace leaves out is inherited: a rule
//! key from `[rule]`, anything else from the adapter.

use std::time::Duration;

use super::choice::{DriftPolicy, Fulfilment, OwnCancelRestock, OwnSalesDecrement, Rounding, choice};
use super::parse::{boolean, duration, list, whole, whole_or_none};
use super::section::Section;
use crate::domain::quantity::QUANTITY_MAX;

/// The shortest interval between polls or reconciliations: below it a typo becomes an attack on the marketplace.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// `[rule]`: the rule of the whole hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSettings {
    /// Units.
    pub buffer: i64,
    /// Units.
    pub stop_below: i64,
    pub fixed: Option<i64>,
    /// 0 to 100.
    pub share_percent: Option<u32>,
    pub rounding: Rounding,
    pub quota: Option<i64>,
    pub max_listed: Option<i64>,
    pub priority: i64,
    pub paused: bool,
}

/// A bound that a marketplace sets or lifts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound<T> {
    /// Written "none": the hub's bound does not apply.
    Lifted,
    At(T),
}

/// Rule keys of a marketplace; `None` = inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleOverride {
    pub buffer: Option<i64>,
    pub stop_below: Option<i64>,
    pub fixed: Option<Bound<i64>>,
    pub share_percent: Option<Bound<u32>>,
    pub rounding: Option<Rounding>,
    pub quota: Option<Bound<i64>>,
    pub max_listed: Option<Bound<i64>>,
    pub priority: Option<i64>,
    pub paused: Option<bool>,
}

/// `[marketplaces.policy]`; `None` = as the adapter or the hub has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySettings {
    pub rule: RuleOverride,
    pub clock_tolerance: Option<Duration>,
    pub count_unpaid: Option<bool>,
    pub fulfilment: Option<Fulfilment>,
    pub drift_policy: Option<DriftPolicy>,
    pub poll_every: Option<Duration>,
    pub reconcile_every: Option<Duration>,
    pub push_enabled: Option<bool>,
    /// Codes of locations, in the order they are sold from; never empty.
    pub locations: Option<Vec<String>>,
    pub own_cancel_restock: Option<OwnCancelRestock>,
    pub own_sales_decrement: Option<OwnSalesDecrement>,
    pub min_gap_ms: Option<u64>,
}

impl<T> Bound<T> {
    fn of(value: Option<T>) -> Self {
        value.map_or(Self::Lifted, Self::At)
    }

    pub fn get(self) -> Option<T> {
        match self {
            Self::Lifted => None,
            Self::At(value) => Some(value),
        }
    }
}

impl RuleSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        let rule = Self {
            buffer: s.need("buffer", whole(0..=QUANTITY_MAX)),
            stop_below: s.need("stop_below", whole(0..=QUANTITY_MAX)),
            fixed: s.need("fixed", whole_or_none(0..=QUANTITY_MAX)),
            share_percent: s.need("share_percent", whole_or_none(0..=100)),
            rounding: s.need_or("rounding", Rounding::Down, choice),
            quota: s.need("quota", whole_or_none(0..=QUANTITY_MAX)),
            max_listed: s.need("max_listed", whole_or_none(0..=QUANTITY_MAX)),
            priority: s.need("priority", whole(-1_000_000..=1_000_000)),
            paused: s.need("paused", boolean),
        };
        refuse_several(s, rule.fixed.is_some(), rule.share_percent.is_some(), rule.quota.is_some());
        rule
    }
}

impl RuleOverride {
    fn read(s: &mut Section<'_, '_, '_>) -> Self {
        let rule = Self {
            buffer: s.opt("buffer", whole(0..=QUANTITY_MAX)),
            stop_below: s.opt("stop_below", whole(0..=QUANTITY_MAX)),
            fixed: s.opt("fixed", whole_or_none(0..=QUANTITY_MAX)).map(Bound::of),
            share_percent: s.opt("share_percent", whole_or_none(0..=100)).map(Bound::of),
            rounding: s.opt("rounding", choice),
            quota: s.opt("quota", whole_or_none(0..=QUANTITY_MAX)).map(Bound::of),
            max_listed: s.opt("max_listed", whole_or_none(0..=QUANTITY_MAX)).map(Bound::of),
            priority: s.opt("priority", whole(-1_000_000..=1_000_000)),
            paused: s.opt("paused", boolean),
        };
        let set = |bound: Option<Bound<i64>>| matches!(bound, Some(Bound::At(_)));
        refuse_several(s, set(rule.fixed), matches!(rule.share_percent, Some(Bound::At(_))), set(rule.quota));
        rule
    }
}

/// A listing has one way to its number; with two, the outcome would hang on an order that nobody wrote down.
fn refuse_several(s: &mut Section<'_, '_, '_>, fixed: bool, share: bool, quota: bool) {
    let set: Vec<&str> = [("fixed", fixed), ("share_percent", share), ("quota", quota)]
        .iter()
        .filter(|(_, set)| *set)
        .map(|(key, _)| *key)
        .collect();
    if set.len() > 1 {
        let at = s.at.clone();
        s.fault(set.last().copied().unwrap_or_default(), &at, format!("{} exclude each other; keep one", set.join(" and ")));
    }
}

impl PolicySettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        let policy = Self {
            rule: RuleOverride::read(s),
            clock_tolerance: s.opt("clock_tolerance", duration(Duration::ZERO)),
            count_unpaid: s.opt("count_unpaid", boolean),
            fulfilment: s.opt("fulfilment", choice),
            drift_policy: s.opt("drift_policy", choice),
            poll_every: s.opt("poll_every", duration(INTERVAL_MIN)),
            reconcile_every: s.opt("reconcile_every", duration(INTERVAL_MIN)),
            push_enabled: s.opt("push_enabled", boolean),
            locations: s.opt("locations", list(location)),
            own_cancel_restock: s.opt("own_cancel_restock", choice),
            own_sales_decrement: s.opt("own_sales_decrement", choice),
            min_gap_ms: s.opt("min_gap_ms", whole(0..=3_600_000)),
        };
        if let Some(locations) = &policy.locations {
            let at = s.node("locations").map_or_else(|| s.at.clone(), |node| node.at.clone());
            if locations.is_empty() {
                s.fault("locations", &at, "is empty; leave it out to sell from all");
            }
            for (index, location) in locations.iter().enumerate() {
                if locations.iter().take(index).any(|earlier| earlier == location) {
                    s.fault("locations", &at, format!("{location:?} is named twice"));
                }
            }
        }
        policy
    }
}

fn location(code: &str) -> Result<String, String> {
    let plain = (1..=64).contains(&code.chars().count()) && code.trim() == code && !code.chars().any(char::is_control);
    if plain { Ok(code.to_owned()) } else { Err("is no location code (1 to 64 characters, no outer space)".to_owned()) }
}
