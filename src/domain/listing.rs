//! What we believe a marketplace shows (`expected`), and when it must be told again.
//!
//! `expected` is the one number that skips the origin of a sale, confirms after a race, finds drift and fences reconciliation.
//! It is null when we do not know, and then a push of the wanted number is due.

use std::time::Duration;

use super::order::{LineState, LineUpdate};
use super::time::Timestamp;

/// The latest push of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PushWindow {
    pub sent_at: Option<Timestamp>,
    /// Null while the push is under way.
    pub acked_at: Option<Timestamp>,
    pub in_flight: bool,
}

/// Where a fact of the marketplace lies relative to our latest push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Our number was overwritten by theirs afterwards: their change counts on top of it.
    After,
    /// Our push overwrote their change: it is in what we sent, or the lower target pushes again.
    Before,
    /// It cannot be told apart.
    Unknown,
}

impl PushWindow {
    /// The window rule. The ends of [sent − tolerance, acked + tolerance] belong to the unknown.
    pub fn position(&self, at: Option<Timestamp>, tolerance: Duration) -> Position {
        let Some(sent) = self.sent_at else { return Position::After };
        let Some(at) = at else { return Position::Unknown };
        if at < sent.minus(tolerance) {
            return Position::Before;
        }
        match self.acked_at.filter(|acked| !self.in_flight && *acked >= sent) {
            Some(acked) if at > acked.plus(tolerance) => Position::After,
            _ => Position::Unknown,
        }
    }
}

/// What the marketplace did to its own number for a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnChange {
    /// It changed it, by this many listing units.
    By(i64),
    /// It left it alone.
    None,
    /// Nobody says by how much.
    Unknown,
    /// It changed it at a time that is not the fact's: one fact told of several changes, or one came late. Not even a push that
    /// came after the fact's time is known to have overwritten that.
    Unplaced,
}

/// What a marketplace does to its own number by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnHabits {
    pub sales_decrement: bool,
    /// `None`: nobody says.
    pub cancel_restock: Option<bool>,
}

/// What a marketplace did to its own number for a fact that took an order line from one state to the next, in listing units.
///
/// The numbers of an order are totals, so a fact that overtook another one tells of both their changes, and the one overtaken
/// tells of a time we had wrong. A create that comes after its cancel is the plainest case: nothing moves in the ledger, but the
/// marketplace sold, perhaps was pushed to, and perhaps gave back.
pub fn own_change(habits: OwnHabits, before: &LineState, after: &LineState, update: &LineUpdate) -> OwnChange {
    let taken = |state: &LineState| state.ordered.unwrap_or(0).max(state.shipped);
    let given = |state: &LineState| taken(state) - state.sold_units() + state.returned_units().0;
    let (sold, back) = (taken(after) - taken(before), given(after) - given(before));
    match (sold, back) {
        (0, 0) if came_late(habits, after, update) => OwnChange::Unplaced,
        (0, 0) => OwnChange::None,
        (_, 0) => {
            if habits.sales_decrement {
                OwnChange::By(-sold)
            } else {
                OwnChange::None
            }
        }
        (0, _) => match habits.cancel_restock {
            Some(true) => OwnChange::By(back),
            Some(false) if back > 0 => OwnChange::None,
            _ => OwnChange::Unknown,
        },
        _ if !habits.sales_decrement && habits.cancel_restock == Some(false) => OwnChange::None,
        _ => OwnChange::Unplaced,
    }
}

/// Whether the fact tells an earlier total of something that was counted, at a later time, from a newer one.
fn came_late(habits: OwnHabits, after: &LineState, update: &LineUpdate) -> bool {
    let stated = after.stated.map(|stated| stated.total);
    let earlier = |told: Option<i64>, known: i64| told.is_some_and(|told| 0 < told && told < known);
    let number = |quantity: Option<super::quantity::Quantity>| quantity.map(super::quantity::Quantity::get);
    let ordered = number(update.ordered).filter(|told| Some(*told) != stated);
    let sale = earlier(ordered, after.ordered.unwrap_or(0));
    // Where nothing was ordered yet, nothing was counted yet.
    let known = after.ordered.is_some();
    let back = known && (earlier(number(update.cancelled), after.cancelled) || earlier(number(update.returned), after.returned));
    sale && habits.sales_decrement || back && habits.cancel_restock != Some(false)
}

/// `expected` after a fact.
pub fn expected_after(expected: Option<i64>, own: OwnChange, position: Position) -> Option<i64> {
    match (expected?, own, position) {
        (_, OwnChange::Unplaced, _) => None,
        (value, OwnChange::None | OwnChange::By(0), _) | (value, _, Position::Before) => Some(value),
        (value, OwnChange::By(change), Position::After) => Some(value.saturating_add(change)),
        (_, OwnChange::Unknown, _) | (_, OwnChange::By(_), Position::Unknown) => None,
    }
}

/// The part of a listing that retargeting looks at and changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub wanted: i64,
    pub wanted_version: i64,
    pub sent_version: i64,
    pub expected: Option<i64>,
}

impl Target {
    /// Sets the wanted number. A new version (also of the same number: a confirming push must not be swallowed by a marketplace
    /// that remembers keys) is made when the marketplace is not known to show it already, and none is waiting that says so.
    pub fn retarget(self, target: i64) -> Self {
        let waiting = self.wanted_version > self.sent_version;
        let shown = self.expected == Some(target);
        let told = waiting && self.wanted == target;
        let version = if shown && !waiting || told { self.wanted_version } else { self.wanted_version + 1 };
        Self { wanted: target, wanted_version: version, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Duration = Duration::from_secs(2);

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp::from_seconds(seconds))
    }

    fn pushed() -> PushWindow {
        PushWindow { sent_at: at(100), acked_at: at(101), in_flight: false }
    }

    #[test]
    fn the_ends_of_the_window_are_unknown() {
        for (seconds, wanted) in
            [(97, Position::Before), (98, Position::Unknown), (103, Position::Unknown), (104, Position::After)]
        {
            assert_eq!(pushed().position(at(seconds), TOLERANCE), wanted, "{seconds}");
        }
        assert_eq!(pushed().position(None, TOLERANCE), Position::Unknown);
    }

    #[test]
    fn an_unacknowledged_push_hides_everything_after_it() {
        let window = PushWindow { in_flight: true, ..pushed() };
        assert_eq!(window.position(at(500), TOLERANCE), Position::Unknown);
        assert_eq!(window.position(at(50), TOLERANCE), Position::Before);
        assert_eq!(PushWindow::default().position(at(50), TOLERANCE), Position::After);
    }

    #[test]
    fn a_sale_after_the_push_lowers_what_we_expect() {
        assert_eq!(expected_after(Some(50), OwnChange::By(-3), Position::After), Some(47));
        assert_eq!(expected_after(Some(50), OwnChange::By(-3), Position::Before), Some(50));
        assert_eq!(expected_after(Some(50), OwnChange::By(-3), Position::Unknown), None);
        assert_eq!(expected_after(Some(50), OwnChange::None, Position::Unknown), Some(50));
        assert_eq!(expected_after(Some(50), OwnChange::Unknown, Position::After), None);
        assert_eq!(expected_after(None, OwnChange::By(-3), Position::After), None);
    }

    fn told(ordered: Option<i64>, cancelled: Option<i64>) -> LineUpdate {
        let quantity = |n| crate::domain::quantity::Quantity::parse(n).ok();
        LineUpdate { ordered: ordered.and_then(quantity), cancelled: cancelled.and_then(quantity), ..LineUpdate::default() }
    }

    /// What each of these facts, in this order, says of the marketplace's own number.
    fn changes(cancel_restock: Option<bool>, facts: &[LineUpdate]) -> Vec<OwnChange> {
        let habits = OwnHabits { sales_decrement: true, cancel_restock };
        let mut state = LineState::default();
        let mut step = |update: &LineUpdate| {
            let after = crate::domain::order::merge(&state, update);
            own_change(habits, &std::mem::replace(&mut state, after.clone()), &after, update)
        };
        facts.iter().map(&mut step).collect()
    }

    #[test]
    fn a_sale_lowers_and_a_cancel_raises_as_the_marketplace_has_it() {
        let facts = [told(Some(3), None), told(None, Some(1)), told(None, Some(1)), told(None, Some(3))];
        let of = |restock| changes(restock, &facts)[1..].to_vec();
        assert_eq!(changes(None, &facts)[0], OwnChange::By(-3));
        assert_eq!(of(Some(true)), [OwnChange::By(1), OwnChange::None, OwnChange::By(2)]);
        assert_eq!(of(Some(false)), [OwnChange::None; 3]);
        assert_eq!(of(None), [OwnChange::Unknown, OwnChange::None, OwnChange::Unknown]);
    }

    #[test]
    fn what_was_overtaken_has_no_place_in_time() {
        let cancelled_first = [told(None, Some(3)), told(Some(3), None)];
        for restock in [Some(true), Some(false), None] {
            assert_eq!(changes(restock, &cancelled_first), [OwnChange::None, OwnChange::Unplaced], "{restock:?}");
        }
        let second_cancel_first = [told(Some(3), None), told(None, Some(2)), told(None, Some(1))];
        assert_eq!(changes(Some(true), &second_cancel_first)[1..], [OwnChange::By(2), OwnChange::Unplaced]);
        assert_eq!(expected_after(Some(50), OwnChange::Unplaced, Position::Before), None);
    }

    #[test]
    fn the_origin_of_a_sale_is_skipped_and_the_others_are_told() {
        let listing = Target { wanted: 50, wanted_version: 4, sent_version: 4, expected: Some(47) };
        assert_eq!(listing.retarget(47), Target { wanted: 47, ..listing });
        let other = Target { expected: Some(50), ..listing };
        assert_eq!(other.retarget(47), Target { wanted: 47, wanted_version: 5, ..other });
    }

    #[test]
    fn an_unknown_number_is_confirmed_once() {
        let listing = Target { wanted: 47, wanted_version: 4, sent_version: 4, expected: None };
        let confirming = listing.retarget(47);
        assert_eq!(confirming.wanted_version, 5);
        assert_eq!(confirming.retarget(47), confirming);
    }

    #[test]
    fn a_waiting_number_that_turned_true_by_itself_is_replaced() {
        // 47 waits to be sent; meanwhile the marketplace shows 46, which is the new target: the waiting push must say 46.
        let listing = Target { wanted: 47, wanted_version: 5, sent_version: 4, expected: Some(46) };
        assert_eq!(listing.retarget(46), Target { wanted: 46, wanted_version: 6, ..listing });
    }
}
