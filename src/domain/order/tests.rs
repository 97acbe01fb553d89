use Fulfilment::{Instant, Shipment};
use proptest::prelude::*;

use super::*;

fn q(value: i64) -> Option<Quantity> {
    Some(Quantity::parse(value).unwrap())
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_seconds(seconds))
}

fn create(total: i64) -> LineUpdate {
    LineUpdate { ordered: q(total), at: at(0), ..LineUpdate::default() }
}

fn total(total: i64, seconds: i64) -> LineUpdate {
    LineUpdate { ordered: q(total), at: at(seconds), ..LineUpdate::default() }
}

fn cancel(units: i64) -> LineUpdate {
    LineUpdate { cancelled: q(units), ..LineUpdate::default() }
}

fn cancel_all() -> LineUpdate {
    LineUpdate { cancel_all: true, ..LineUpdate::default() }
}

fn ship(units: i64) -> LineUpdate {
    LineUpdate { shipped: q(units), ..LineUpdate::default() }
}

fn back(sellable: i64, unsellable: i64) -> LineUpdate {
    LineUpdate { returned: q(sellable), returned_unsellable: q(unsellable), ..LineUpdate::default() }
}

fn after(updates: &[LineUpdate]) -> LineState {
    updates.iter().fold(LineState::default(), |state, update| merge(&state, update))
}

/// (on_hand, committed, unsellable)
fn posts(updates: &[LineUpdate], fulfilment: Fulfilment) -> (i64, i64, i64) {
    let posting = implied(&after(updates), 1, fulfilment).unwrap();
    (posting.on_hand, posting.committed, posting.unsellable)
}

#[test]
fn a_sale_posts_at_once_or_commits_and_ships() {
    assert_eq!(posts(&[], Instant), (0, 0, 0));
    assert_eq!(posts(&[create(3)], Instant), (-3, 0, 0));
    assert_eq!(posts(&[create(3)], Shipment), (0, 3, 0));
    assert_eq!(posts(&[create(3), ship(2)], Shipment), (-2, 1, 0));
    assert_eq!(posts(&[create(3), ship(2)], Instant), (-3, 0, 0));
    assert_eq!(posts(&[create(3), ship(3), back(1, 1)], Shipment), (-1, 0, 1));
    assert_eq!(posts(&[create(3), back(1, 1)], Instant), (-1, 0, 1));
}

#[test]
fn cancels_are_partial_whole_early_or_too_many() {
    assert_eq!(posts(&[create(5), cancel(2)], Instant), (-3, 0, 0));
    assert_eq!(posts(&[create(5), cancel(2), cancel(4)], Instant), (-1, 0, 0), "cumulative, not added up");
    assert_eq!(posts(&[create(5), cancel(9)], Instant), (0, 0, 0));
    assert_eq!(posts(&[create(5), cancel_all()], Shipment), (0, 0, 0));
    assert_eq!(posts(&[cancel(2)], Instant), (0, 0, 0));
    assert_eq!(posts(&[cancel(2), create(5)], Instant), (-3, 0, 0));
    assert_eq!(posts(&[cancel_all(), create(5), total(8, 9)], Instant), (0, 0, 0), "a tombstone for ever");
}

#[test]
fn what_was_shipped_comes_back_by_a_return_only() {
    assert_eq!(posts(&[create(3), ship(2), cancel_all()], Shipment), (-2, 0, 0));
    assert_eq!(posts(&[create(3), ship(2), cancel_all()], Instant), (-2, 0, 0));
    assert_eq!(posts(&[create(3), ship(2), cancel_all(), back(2, 0)], Shipment), (0, 0, 0));
    // The return tells of a shipment nobody reported.
    assert_eq!(posts(&[create(3), back(1, 0)], Shipment), (0, 2, 0));
    // A shipment before its create is proof of a sale.
    assert_eq!(posts(&[ship(2)], Shipment), (-2, 0, 0));
    assert_eq!(posts(&[ship(2), create(3)], Shipment), (-2, 1, 0));
}

#[test]
fn a_lower_total_is_cancelled_units_when_it_is_newer() {
    for updates in [[total(5, 1), total(3, 2)], [total(3, 2), total(5, 1)]] {
        let state = after(&updates);
        assert_eq!((state.ordered, state.cancelled_units()), (Some(5), 2));
        assert_eq!(posts(&updates, Instant), (-3, 0, 0));
    }
    assert_eq!(posts(&[total(3, 1), total(5, 2)], Instant), (-5, 0, 0), "a raised total is a larger order");
    assert_eq!(posts(&[total(5, 1), total(3, 2), total(4, 3)], Instant), (-4, 0, 0), "and may follow a lowered one");
    assert_eq!(posts(&[total(5, 1), total(3, 1)], Instant), (-5, 0, 0), "one time, two totals: the larger");
    assert_eq!(posts(&[LineUpdate { at: None, ..create(5) }, total(3, 1)], Instant), (-3, 0, 0));
    assert_eq!(posts(&[LineUpdate { at: None, ..create(3) }, total(5, 1)], Instant), (-5, 0, 0));
    // Said twice in two ways, it is cancelled once.
    assert_eq!(posts(&[total(5, 1), LineUpdate { cancelled: q(2), ..total(3, 2) }], Instant), (-3, 0, 0));
}

#[test]
fn returns_never_raise_stock_beyond_what_was_sold() {
    assert_eq!(posts(&[back(2, 1)], Instant), (0, 0, 0), "waits for its create");
    assert_eq!(posts(&[back(2, 1), create(5)], Instant), (-2, 0, 1));
    assert_eq!(posts(&[create(2), back(7, 0)], Instant), (0, 0, 0));
    assert_eq!(posts(&[create(2), back(7, 1)], Instant), (0, 0, 1), "the unsellable one is believed first");
    // A refund and a cancel of the same order restore it once.
    assert_eq!(posts(&[create(5), back(2, 0), cancel_all()], Instant), (0, 0, 0));
    assert_eq!(posts(&[create(5), cancel(3), back(2, 0)], Instant), (0, 0, 0));
    assert_eq!(posts(&[create(5), cancel(2), back(1, 0)], Instant), (-2, 0, 0));
}

#[test]
fn lines_of_a_delta_feed_are_signed() {
    let sold = LineState::from_delta(Delta::parse(-3).unwrap());
    assert_eq!(implied(&sold, 2, Instant), Ok(Posting { on_hand: -6, ..Posting::ZERO }));
    let cancelled = LineState::from_delta(Delta::parse(2).unwrap());
    assert_eq!(cancelled.join(&cancelled), cancelled);
    for fulfilment in [Instant, Shipment] {
        assert_eq!(implied(&cancelled, 2, fulfilment), Ok(Posting { on_hand: 4, ..Posting::ZERO }));
    }
}

#[test]
fn arithmetic_says_when_it_does_not_fit() {
    let most = Posting { on_hand: i64::MAX, committed: -5, unsellable: 0 };
    assert_eq!(most.checked_add(Posting { on_hand: 1, ..Posting::ZERO }), Err(Overflow));
    assert_eq!(Posting::ZERO.checked_sub(Posting { on_hand: i64::MIN, ..Posting::ZERO }), Err(Overflow));
    assert_eq!(most.available(), Err(Overflow));
    assert_eq!(most.checked_sub(most), Ok(Posting::ZERO));
    assert_eq!(implied(&after(&[create(QUANTITY_MAX)]), QUANTITY_MAX * 10, Instant), Err(Overflow));
    assert_eq!(Posting { on_hand: -1, committed: 2, unsellable: 3 }.available(), Ok(-6));
    assert!(Posting::ZERO.is_zero() && !most.is_zero());
}

fn any_update() -> impl Strategy<Value = LineUpdate> {
    let quantity = || proptest::option::weighted(0.4, 0_i64..=6).prop_map(|value| value.and_then(q));
    let time = proptest::option::weighted(0.8, 0_i64..=5).prop_map(|seconds| seconds.and_then(at));
    (quantity(), time, quantity(), proptest::bool::weighted(0.05), quantity(), quantity(), quantity()).prop_map(
        |(ordered, at, cancelled, cancel_all, shipped, returned, returned_unsellable)| LineUpdate {
            ordered,
            at,
            cancelled,
            cancel_all,
            shipped,
            returned,
            returned_unsellable,
        },
    )
}

fn any_fulfilment() -> impl Strategy<Value = Fulfilment> {
    prop_oneof![Just(Instant), Just(Shipment)]
}

/// Updates, and the same ones shuffled with some of them several times.
fn any_two_deliveries() -> impl Strategy<Value = (Vec<LineUpdate>, Vec<LineUpdate>)> {
    proptest::collection::vec((any_update(), 1_usize..=3), 0..8).prop_flat_map(|updates| {
        let once = updates.iter().map(|(update, _)| update.clone()).collect::<Vec<_>>();
        let often = updates.into_iter().flat_map(|(update, times)| vec![update; times]).collect::<Vec<_>>();
        (Just(once), Just(often).prop_shuffle())
    })
}

/// What truly happened to a line, step by step, each step a fact with all totals as they then stood.
#[derive(Clone, Debug, Default)]
struct Truth {
    ordered: i64,
    cancelled: i64,
    shipped: i64,
    sellable: i64,
    unsellable: i64,
}

impl Truth {
    /// One step that can happen in a shop: nothing ships that is cancelled, nothing comes back that did not leave.
    fn step(&mut self, kind: u8, units: i64) {
        let open = self.ordered - self.cancelled - self.shipped;
        let away = self.shipped - self.sellable - self.unsellable;
        match kind {
            0 => self.ordered += units,
            1 => self.cancelled += units.min(open),
            2 => self.shipped += units.min(open),
            3 => self.sellable += units.min(away),
            _ => self.unsellable += units.min(away),
        }
    }

    /// Some shops say "cancelled 2 of 5", others just "now 3".
    fn told(&self, seconds: i64, by_lower_total: bool) -> LineUpdate {
        let (ordered, cancelled) = match by_lower_total {
            true => (self.ordered - self.cancelled, None),
            false => (self.ordered, q(self.cancelled)),
        };
        LineUpdate {
            cancelled,
            shipped: q(self.shipped),
            returned: q(self.sellable),
            returned_unsellable: q(self.unsellable),
            ..total(ordered, seconds)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn neither_order_nor_repetition_matters(
        (once, often) in any_two_deliveries(),
        units in 1_i64..5,
        fulfilment in any_fulfilment(),
    ) {
        let (one, other) = (after(&once), after(&often));
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(implied(&one, units, fulfilment), implied(&other, units, fulfilment));
    }

    #[test]
    fn the_join_is_a_join(a in any_update(), b in any_update(), c in any_update()) {
        let [a, b, c] = [a, b, c].map(|update| LineState::from(&update));
        prop_assert_eq!(a.join(&a), a.clone());
        prop_assert_eq!(a.join(&LineState::default()), a.clone());
        prop_assert_eq!(a.join(&b), b.join(&a));
        prop_assert_eq!(a.join(&b).join(&c), a.join(&b.join(&c)));
    }

    #[test]
    fn posting_the_differences_ends_at_what_is_implied(
        (_, often) in any_two_deliveries(),
        units in 1_i64..5,
        fulfilment in any_fulfilment(),
    ) {
        let mut state = LineState::default();
        let mut posted = Posting::ZERO;
        for update in &often {
            state = merge(&state, update);
            let due = implied(&state, units, fulfilment)?.checked_sub(posted)?;
            posted = posted.checked_add(due)?;
            // A second delivery of the same fact moves nothing.
            let again = implied(&merge(&state, update), units, fulfilment)?;
            prop_assert!(again.checked_sub(posted)?.is_zero());
        }
        prop_assert_eq!(posted, implied(&state, units, fulfilment)?);
    }

    #[test]
    fn no_line_adds_stock_that_was_not_sold(updates in proptest::collection::vec(any_update(), 0..8), units in 1_i64..5) {
        let state = after(&updates);
        let instant = implied(&state, units, Instant)?;
        let shipment = implied(&state, units, Shipment)?;
        for posting in [instant, shipment] {
            prop_assert!(posting.on_hand <= 0 && posting.committed >= 0 && posting.unsellable >= 0);
        }
        // When goods leave the shelf is no matter of what can be sold.
        prop_assert_eq!(instant.available()?, shipment.available()?);
        prop_assert_eq!(instant.unsellable, shipment.unsellable);
        if state.ordered.is_none() && state.shipped == 0 { prop_assert!(instant.is_zero()) }
    }

    #[test]
    fn any_delivery_of_a_true_history_ends_at_the_truth(
        (steps, delivered) in proptest::collection::vec((0_u8..5, 1_i64..4), 1..12)
            .prop_flat_map(|steps| {
                let indexes: Vec<_> = (0..=steps.len()).collect();
                let some = proptest::sample::subsequence(indexes, 0..=steps.len()).prop_shuffle();
                (Just(steps), some)
            }),
        ordered in 1_i64..6,
        by_lower_total: bool,
    ) {
        let mut truth = Truth { ordered, ..Truth::default() };
        let mut told = vec![truth.told(0, by_lower_total)];
        for ((kind, units), seconds) in steps.into_iter().zip(1..) {
            truth.step(kind, units);
            told.push(truth.told(seconds, by_lower_total));
        }
        // Facts may be lost, late or twice; the last one arrives, somewhere.
        let mut updates: Vec<_> = delivered.iter().map(|&index| told[index].clone()).collect();
        let place = updates.len() / 2;
        updates.insert(place, told.last().cloned().unwrap());
        let state = after(&updates);
        let back = truth.sellable + truth.unsellable;
        let open = truth.ordered - truth.cancelled - truth.shipped;
        let shipment = Posting { on_hand: back - truth.shipped, committed: open, unsellable: truth.unsellable };
        let instant = Posting { on_hand: back - truth.shipped - open, committed: 0, unsellable: truth.unsellable };
        prop_assert_eq!(implied(&state, 1, Shipment)?, shipment);
        prop_assert_eq!(implied(&state, 1, Instant)?, instant);
    }
}
