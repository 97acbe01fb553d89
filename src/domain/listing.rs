//! What we believe a marketplace shows (`expected`), and when it must be told again.
//!
//! `expected` is the one number that skips the origin of a sale, confirms after a race, finds drift and fences reconciliation.
//! It is null when we do not know, and then a push of the wanted number is due.

use std::time::Duration;

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
    /// Nobody says.
    Unknown,
}

/// `expected` after a fact.
pub fn expected_after(expected: Option<i64>, own: OwnChange, position: Position) -> Option<i64> {
    match (expected?, own, position) {
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
