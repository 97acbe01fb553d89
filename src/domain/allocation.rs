//! What each listing may show: a pure function of the stock and of the rules of **all** listings that draw on it, and the steps
//! that led there, so that "why is this 47 on OZON" has an answer a seller can read.
//!
//! Stock is counted in pieces for a listing of one product and in bundles for a listing of several (see [`super::rule`]); only
//! the last division turns pieces into the packs the listing sells. Two decisions the rules leave open are made here:
//! - Where the stock is short of the quotas, owners are served by priority: an owner gives way to the quotas ranked before its
//!   own, everyone else to all of them. So no unit is promised twice, and a shortage hides none.
//! - The last unit, for listings with a share: the first-ranked listing shows it even where its share rounds to nothing, every
//!   other share of a single unit is nothing even where it rounds up. Ranks do not depend on the stock: if they did, a listing
//!   could show less because there is more.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::ids::ListingId;
use super::quantity::Quantity;
pub use super::rule::{Rounding, Rule};

/// Signed `available` of each (product, location), by the caller's own numbering. Absent: none there.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    available: BTreeMap<(usize, usize), i64>,
}

/// One component of a listing: so many units of a product in each unit of the listing. `units` is at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    pub product: usize,
    pub units: i64,
}

#[derive(Clone, Debug)]
pub struct ListingInput {
    /// Breaks ties between equal priorities: the older listing goes first.
    pub id: ListingId,
    /// Each product once.
    pub components: Vec<Component>,
    /// Where its marketplace sells from; each location once.
    pub locations: Vec<usize>,
    /// The rule in force, see [`Rule::inherit`].
    pub rule: Rule,
    /// What its sales left of `rule.quota`; `None` where nothing was counted yet. Means nothing without a quota in the rule.
    pub quota_left: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Allocated {
    pub listing: ListingId,
    pub quantity: i64,
    /// Each step starts where the one before ended; the last ends at `quantity`.
    pub trace: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    pub step: &'static str,
    pub detail: String,
    pub before: i64,
    pub after: i64,
}

/// One answer per listing, in their order. `listings` must hold every listing with a quota on any of the products, and every
/// listing that competes for a share: an absent one is one that holds nothing.
pub fn allocate(pool: &Pool, listings: &[ListingInput]) -> Vec<Allocated> {
    let competition = Competition::new(pool, listings);
    listings
        .iter()
        .map(|listing| {
            let mut path = Path { value: 0, steps: Some(Vec::new()) };
            competition.walk(listing, &mut path);
            Allocated { listing: listing.id, quantity: path.value, trace: path.steps.unwrap_or_default() }
        })
        .collect()
}

/// The same numbers without the words: what retargeting needs thousands of times a second.
pub fn quantities(pool: &Pool, listings: &[ListingInput]) -> Vec<i64> {
    let competition = Competition::new(pool, listings);
    listings
        .iter()
        .map(|listing| {
            let mut path = Path { value: 0, steps: None };
            competition.walk(listing, &mut path);
            path.value
        })
        .collect()
}

impl Pool {
    pub fn set(&mut self, product: usize, location: usize, available: i64) {
        self.available.insert((product, location), available);
    }

    pub fn at(&self, product: usize, location: usize) -> i64 {
        self.available.get(&(product, location)).copied().unwrap_or(0)
    }

    fn over(&self, product: usize, locations: &[usize]) -> i64 {
        locations.iter().fold(0, |sum, &location| sum.saturating_add(self.at(product, location)))
    }
}

impl FromIterator<((usize, usize), i64)> for Pool {
    fn from_iter<T: IntoIterator<Item = ((usize, usize), i64)>>(levels: T) -> Self {
        Self { available: levels.into_iter().collect() }
    }
}

impl ListingInput {
    /// How many of the quota's units `sold` units of this listing use up (a cancel: a negative number).
    pub fn quota_change(&self, sold: i64) -> i64 {
        match self.components.as_slice() {
            [one] => sold.saturating_mul(one.units),
            _ => sold,
        }
    }

    /// What is left of its own quota; `None` without one.
    fn quota(&self) -> Option<i64> {
        self.rule.quota.map(|quota| self.quota_left.unwrap_or(quota).max(0))
    }

    /// Pieces of a product that its quota keeps from others.
    fn holds(&self, product: usize) -> i64 {
        let Some(quota) = self.quota() else { return 0 };
        match self.components.as_slice() {
            [one] if one.product == product => quota,
            [_] => 0,
            bundle => bundle.iter().find(|part| part.product == product).map_or(0, |part| quota.saturating_mul(part.units)),
        }
    }

    fn shares_a_location(&self, other: &ListingInput) -> bool {
        self.locations.iter().any(|location| other.locations.contains(location))
    }

    fn shares_stock(&self, other: &ListingInput) -> bool {
        let shares_a_product = self.components.iter().any(|a| other.components.iter().any(|b| a.product == b.product));
        shares_a_product && self.shares_a_location(other)
    }

    fn order(&self) -> (Reverse<i64>, ListingId) {
        (Reverse(self.rule.rank()), self.id)
    }
}

/// The value on its way from stock to shown, and the steps when somebody will read them.
struct Path {
    value: i64,
    steps: Option<Vec<Step>>,
}

impl Path {
    fn step(&mut self, step: &'static str, after: i64, detail: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.steps {
            steps.push(Step { step, detail: detail(), before: self.value, after });
        }
        self.value = after;
    }
}

struct Competition<'a> {
    pool: &'a Pool,
    listings: &'a [ListingInput],
    owners: Vec<&'a ListingInput>,
}

impl<'a> Competition<'a> {
    fn new(pool: &'a Pool, listings: &'a [ListingInput]) -> Self {
        // Most sellers use no quota: collecting the owners once keeps the rest linear in the number of listings.
        let owners = listings.iter().filter(|listing| listing.quota().is_some_and(|left| left > 0)).collect();
        Self { pool, listings, owners }
    }

    /// The steps in the order of the domain page. None of them shows more than there is.
    fn walk(&self, listing: &ListingInput, path: &mut Path) {
        let free = self.stock(listing, path);
        let rule = &listing.rule;
        if let Some(buffer) = rule.buffer {
            path.step("buffer", path.value.saturating_sub(buffer), || format!("{buffer} kept back"));
        }
        if let Some(stop) = rule.stop_below {
            let after = if path.value <= stop { 0 } else { path.value };
            path.step("stop_below", after, || format!("nothing is shown at {stop} or below"));
        }
        self.part(listing, free, path);
        if let Some(most) = rule.max_listed {
            path.step("max_listed", path.value.min(most), || format!("at most {most}"));
        }
        if let [Component { units, .. }] = *listing.components.as_slice()
            && units > 1
        {
            path.step("units", path.value.div_euclid(units), || format!("{units} pieces in each unit of the listing"));
        }
        path.step("shown", Quantity::shown(path.value).get(), || "never below 0".to_owned());
        if rule.is_paused() {
            path.step("paused", 0, || "the listing is paused".to_owned());
        }
    }

    /// What there is, less what quotas keep for others: what this listing's own rule divides.
    fn stock(&self, listing: &ListingInput, path: &mut Path) -> i64 {
        let (gross, net) = (self.reach(listing, false), self.reach(listing, true));
        path.step("available", gross, || self.describe(listing, false));
        if net != gross || self.others_quotas(listing) {
            path.step("others_quota", net, || self.describe(listing, true));
        }
        net
    }

    /// `fixed`, or a share, or neither; then the own quota, which is already this listing's part: no share is taken of it.
    fn part(&self, listing: &ListingInput, free: i64, path: &mut Path) {
        let rule = &listing.rule;
        let quota = listing.quota();
        if let Some(fixed) = rule.fixed {
            path.step("fixed", path.value.min(fixed), || format!("always {fixed}, as far as there are as many"));
        } else if let Some(percent) = rule.share_percent
            && quota.is_none()
        {
            let rounding = rule.rounding.unwrap_or_default();
            let rounded = rounding.share(path.value, percent);
            let (after, last) = match path.value {
                ..=0 => (path.value, ""),
                _ if percent >= 100 => (path.value, ""),
                _ if percent > 0 && rounded < 1 && self.is_first(listing) => (1, "; the last unit is this listing's by priority"),
                _ if free == 1 && rounded > 0 && !self.is_first(listing) => {
                    (0, "; the last unit is another listing's by priority")
                }
                _ => (rounded, ""),
            };
            path.step("share_percent", after, || format!("{percent} % rounded {}{last}", rounding.name()));
        }
        if let Some(left) = quota {
            path.step("quota", path.value.min(left), || format!("{left} of its own quota left"));
        }
    }

    /// Pieces of one product, or bundles: what the listing can reach, before or after what quotas keep for others.
    fn reach(&self, listing: &ListingInput, less_quotas: bool) -> i64 {
        let pieces = |part: &Component| {
            let all = self.pool.over(part.product, &listing.locations);
            if less_quotas { all.saturating_sub(self.kept_from(listing, part.product)) } else { all }
        };
        match listing.components.as_slice() {
            [one] => pieces(one),
            bundle => bundle.iter().map(|part| pieces(part).div_euclid(part.units.max(1))).min().unwrap_or(0),
        }
    }

    fn kept_from(&self, listing: &ListingInput, product: usize) -> i64 {
        self.owners_before(listing).fold(0, |sum, owner| sum.saturating_add(owner.holds(product)))
    }

    fn others_quotas(&self, listing: &ListingInput) -> bool {
        self.owners_before(listing).any(|owner| listing.components.iter().any(|part| owner.holds(part.product) > 0))
    }

    /// The owners of quotas this listing gives way to. One shared location is enough: which shelf serves a quota is not known.
    fn owners_before(&self, listing: &ListingInput) -> impl Iterator<Item = &&ListingInput> {
        let own = listing.quota().is_some();
        self.owners.iter().filter(move |owner| {
            owner.id != listing.id && (!own || owner.order() < listing.order()) && owner.shares_stock(listing)
        })
    }

    /// Nobody who could show the same units ranks before it. Owners of quotas sell their own units, and compete for none.
    fn is_first(&self, listing: &ListingInput) -> bool {
        !self.listings.iter().any(|other| {
            let shows = !other.rule.is_paused() && other.rule.share_percent != Some(0) && other.rule.quota.is_none();
            shows && other.order() < listing.order() && other.shares_stock(listing)
        })
    }

    fn describe(&self, listing: &ListingInput, less_quotas: bool) -> String {
        let pieces = |part: &Component| {
            let all = self.pool.over(part.product, &listing.locations);
            match self.kept_from(listing, part.product) {
                kept if less_quotas => format!("{all} less {kept}"),
                _ => all.to_string(),
            }
        };
        let places = match listing.locations.len() {
            1 => "1 location".to_owned(),
            many => format!("{many} locations"),
        };
        match listing.components.as_slice() {
            [one] if less_quotas => format!("{} kept by the quotas of other listings", self.kept_from(listing, one.product)),
            [one] => format!("{} at {places}", pieces(one)),
            bundle => {
                let parts: Vec<_> = bundle.iter().map(|part| format!("({}) ÷ {}", pieces(part), part.units)).collect();
                let what = if less_quotas { "less what the quotas of other listings keep" } else { &places };
                format!("the scarcest component of {}, {what}", parts.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests;
