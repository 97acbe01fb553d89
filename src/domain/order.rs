//! The heart of the ledger: **effect = implied − posted**.
//!
//! A fact never says "take two off". It says what is known of an order line by now: ordered in all, cancelled in all, shipped in
//! all, returned in all. [`merge`] joins that into the line's state, [`implied`] says what the whole state does to the stock, and
//! the movement is the difference to what was already posted for the line. So it does not matter how often a fact arrives, or
//! in which order: a cancel before its create, a refund after a cancel and a page of last week's orders all come out right.
//!
//! The join takes the larger of each number, and the total with the newest source time. Such joins are idempotent, commutative
//! and associative, and that is the whole proof; the tests below hold it to it.

use serde::{Deserialize, Serialize};

use super::quantity::{Delta, QUANTITY_MAX, Quantity};
use super::time::Timestamp;

/// What is known of one order line, in units of its listing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LineState {
    /// The largest total ever stated. `None`: the create was not seen yet, the rest waits for it. Negative only on a line of a
    /// delta feed, see [`LineState::from_delta`].
    pub ordered: Option<i64>,
    /// The total with the newest source time. Where it is lower than `ordered`, the rest counts as cancelled; it has to be kept
    /// apart from `cancelled`, or a total that falls and rises again would depend on the order of arrival.
    pub stated: Option<Stated>,
    /// Cancelled in so many words. May exceed `ordered`, as a tombstone does; see [`LineState::cancelled_units`].
    pub cancelled: i64,
    pub shipped: i64,
    /// Came back and can be sold again.
    pub returned: i64,
    /// Came back and can not; not part of `returned`.
    pub returned_unsellable: i64,
}

/// A total and when its source said so. Of two totals with one time the larger counts: stock is not given back on a doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Stated {
    // First, because the derived order is the rule.
    pub at: Timestamp,
    pub total: i64,
}

/// What one fact says of a line; all numbers are totals so far, never increments (those are summed over their unique facts
/// first). `None` is silence, not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineUpdate {
    pub ordered: Option<Quantity>,
    /// The source's own time of the fact. Without one a total can raise the line, and counts as older than any with a time.
    pub at: Option<Timestamp>,
    pub cancelled: Option<Quantity>,
    /// Everything of this line, also what is ordered later: a cancel before its create stays a tombstone for ever.
    pub cancel_all: bool,
    pub shipped: Option<Quantity>,
    /// Sellable again, without the unsellable ones.
    pub returned: Option<Quantity>,
    pub returned_unsellable: Option<Quantity>,
}

/// When a sale takes goods off the shelf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fulfilment {
    /// At once: the hub is not told of shipping.
    #[default]
    Instant,
    /// A sale commits, its shipping takes.
    Shipment,
}

/// Signed changes of a level's counters, in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Posting {
    pub on_hand: i64,
    pub committed: i64,
    pub unsellable: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stock change does not fit in 64 bits")]
pub struct Overflow;

impl LineState {
    /// The line of one event of a delta feed: `change` is what it did to the marketplace's stock, so a sale of 3 is −3. A cancel
    /// or a return is a line of its own with a negative order, because such a feed does not say which sale it undoes. It does not
    /// speak of shipping either: use [`Fulfilment::Instant`] with it.
    pub fn from_delta(change: Delta) -> Self {
        Self { ordered: Some(-change.get()), ..Self::default() }
    }

    /// The least state that knows at least what both know.
    #[must_use]
    pub fn join(&self, other: &LineState) -> LineState {
        LineState {
            ordered: self.ordered.max(other.ordered),
            stated: self.stated.max(other.stated),
            cancelled: self.cancelled.max(other.cancelled),
            shipped: self.shipped.max(other.shipped),
            returned: self.returned.max(other.returned),
            returned_unsellable: self.returned_unsellable.max(other.returned_unsellable),
        }
    }

    /// Units of the order that are cancelled, in so many words or by a lower total; never more than were ordered.
    pub fn cancelled_units(&self) -> i64 {
        let ordered = self.ordered.unwrap_or(0).max(0);
        let lowered = self.stated.map_or(0, |stated| ordered.saturating_sub(stated.total));
        self.cancelled.max(lowered).clamp(0, ordered)
    }

    /// Units known as sold. What was shipped stays sold whatever is cancelled afterwards: only a return brings it back.
    pub fn sold_units(&self) -> i64 {
        let kept = self.ordered.unwrap_or(0).max(0) - self.cancelled_units();
        kept.max(self.shipped)
    }

    /// Units that came back, sellable and not; never more than were sold, so a return before its create waits. Where more are
    /// reported, the unsellable ones are believed first: they do not raise what can be sold.
    pub fn returned_units(&self) -> (i64, i64) {
        let sold = self.sold_units();
        let unsellable = self.returned_unsellable.clamp(0, sold);
        (self.returned.clamp(0, sold - unsellable), unsellable)
    }
}

impl From<&LineUpdate> for LineState {
    fn from(update: &LineUpdate) -> Self {
        let number = |quantity: Option<Quantity>| quantity.map_or(0, Quantity::get);
        let ordered = update.ordered.map(Quantity::get);
        LineState {
            ordered,
            stated: ordered.zip(update.at).map(|(total, at)| Stated { at, total }),
            // No line holds more than this, so as a cancelled number it says "all", before and after any create.
            cancelled: if update.cancel_all { QUANTITY_MAX } else { number(update.cancelled) },
            shipped: number(update.shipped),
            returned: number(update.returned),
            returned_unsellable: number(update.returned_unsellable),
        }
    }
}

/// The line's state once it also knows what the fact says.
#[must_use]
pub fn merge(state: &LineState, update: &LineUpdate) -> LineState {
    state.join(&update.into())
}

/// What the line, as far as it is known, does to its component's level in all; `units` pieces make one unit of the listing.
pub fn implied(state: &LineState, units: i64, fulfilment: Fulfilment) -> Result<Posting, Overflow> {
    if let Some(undone @ ..0) = state.ordered {
        return Posting { on_hand: undone.checked_neg().ok_or(Overflow)?, ..Posting::ZERO }.times(units);
    }
    let sold = state.sold_units();
    let (sellable, unsellable) = state.returned_units();
    let back = sellable + unsellable;
    let left_the_shelf = match fulfilment {
        Fulfilment::Instant => sold,
        // What came back must have left, also where nobody said so.
        Fulfilment::Shipment => state.shipped.max(back),
    };
    Posting { on_hand: back - left_the_shelf, committed: sold - left_the_shelf, unsellable }.times(units)
}

impl Posting {
    pub const ZERO: Posting = Posting { on_hand: 0, committed: 0, unsellable: 0 };

    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    pub fn checked_add(self, other: Posting) -> Result<Posting, Overflow> {
        self.zip(other, i64::checked_add)
    }

    /// `implied.checked_sub(posted)` is the movement that is due.
    pub fn checked_sub(self, other: Posting) -> Result<Posting, Overflow> {
        self.zip(other, i64::checked_sub)
    }

    /// What it does to what can be sold.
    pub fn available(self) -> Result<i64, Overflow> {
        let left = self.on_hand.checked_sub(self.committed).ok_or(Overflow)?;
        left.checked_sub(self.unsellable).ok_or(Overflow)
    }

    fn times(self, units: i64) -> Result<Posting, Overflow> {
        self.zip(Posting { on_hand: units, committed: units, unsellable: units }, i64::checked_mul)
    }

    fn zip(self, other: Posting, with: fn(i64, i64) -> Option<i64>) -> Result<Posting, Overflow> {
        Ok(Posting {
            on_hand: with(self.on_hand, other.on_hand).ok_or(Overflow)?,
            committed: with(self.committed, other.committed).ok_or(Overflow)?,
            unsellable: with(self.unsellable, other.unsellable).ok_or(Overflow)?,
        })
    }
}

#[cfg(test)]
mod tests;
