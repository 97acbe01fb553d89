//! Low stock is an edge, not a level: one message when a product runs low, one when it runs out, one when it is back. The
//! state is stored with the product, so whatever moved the stock (a sale, a count, a reconciliation) asks the same question once.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StockState {
    Ok,
    Low,
    Out,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// Fell to the threshold.
    Low,
    /// Fell to nothing, from wherever.
    Out,
    /// From [`StockState::Out`]: there is some again, be it little. From [`StockState::Low`]: safely above the threshold. The
    /// state before the edge tells which of the two alerts it ends.
    Back,
}

impl StockState {
    /// As the `products.stock_state` column has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            StockState::Ok => "ok",
            StockState::Low => "low",
            StockState::Out => "out",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [StockState::Ok, StockState::Low, StockState::Out].into_iter().find(|state| state.as_str() == text)
    }
}

/// The state after `available` became what it is, and the edge if this crossed one.
///
/// Low is at or below `threshold`. From low it takes a third more than the threshold (at least one more) to be back, so that a
/// product that hovers around its threshold does not ring at every sale and cancel.
pub fn edge(state: StockState, available: i64, threshold: i64) -> (StockState, Option<Edge>) {
    let threshold = threshold.max(0);
    let back = threshold.saturating_add((threshold / 3).max(1));
    match (state, available) {
        (StockState::Out, ..=0) => (StockState::Out, None),
        (StockState::Ok | StockState::Low, ..=0) => (StockState::Out, Some(Edge::Out)),
        (StockState::Out, some) if some <= threshold => (StockState::Low, Some(Edge::Back)),
        (StockState::Out, _) => (StockState::Ok, Some(Edge::Back)),
        (StockState::Low, some) if some < back => (StockState::Low, None),
        (StockState::Low, _) => (StockState::Ok, Some(Edge::Back)),
        (StockState::Ok, some) if some <= threshold => (StockState::Low, Some(Edge::Low)),
        (StockState::Ok, _) => (StockState::Ok, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(threshold: i64, levels: &[i64]) -> Vec<(i64, Edge)> {
        let mut state = StockState::Ok;
        let mut edges = Vec::new();
        for &level in levels {
            let (next, edge) = edge(state, level, threshold);
            state = next;
            edges.extend(edge.map(|edge| (level, edge)));
        }
        edges
    }

    #[test]
    fn one_edge_on_the_way_down_one_at_the_bottom_one_on_the_way_up() {
        assert_eq!(walk(3, &[10, 4, 3, 2, 1, 0, -2, 0]), [(3, Edge::Low), (0, Edge::Out)]);
        assert_eq!(walk(3, &[10, -1, 0, 2, 3, 4]), [(-1, Edge::Out), (2, Edge::Back), (4, Edge::Back)]);
        assert_eq!(walk(3, &[0, 50]), [(0, Edge::Out), (50, Edge::Back)]);
    }

    #[test]
    fn hovering_around_the_threshold_rings_once() {
        assert_eq!(walk(30, &[31, 30, 31, 30, 39, 30]), [(30, Edge::Low)]);
        assert_eq!(walk(30, &[30, 40, 30]), [(30, Edge::Low), (40, Edge::Back), (30, Edge::Low)]);
        assert_eq!(walk(1, &[1, 2, 1]), [(1, Edge::Low), (2, Edge::Back), (1, Edge::Low)]);
    }

    #[test]
    fn a_threshold_of_zero_knows_only_out() {
        assert_eq!(walk(0, &[2, 1, 0, 1]), [(0, Edge::Out), (1, Edge::Back)]);
        assert_eq!(edge(StockState::Ok, i64::MAX, i64::MAX), (StockState::Low, Some(Edge::Low)));
    }

    #[test]
    fn states_survive_the_column() {
        for state in [StockState::Ok, StockState::Low, StockState::Out] {
            assert_eq!(StockState::parse(state.as_str()), Some(state));
        }
        assert_eq!(StockState::parse("OK"), None);
    }

    fn any_state() -> impl Strategy<Value = StockState> {
        prop_oneof![Just(StockState::Ok), Just(StockState::Low), Just(StockState::Out)]
    }

    proptest! {
        #[test]
        fn asking_twice_rings_once(state in any_state(), available in -5_i64..60, threshold in -1_i64..40) {
            let (next, _) = edge(state, available, threshold);
            prop_assert_eq!(edge(next, available, threshold), (next, None));
            prop_assert_eq!(next == StockState::Out, available <= 0);
            if next == StockState::Ok { prop_assert!(available > threshold) }
        }

        #[test]
        fn the_same_alert_never_rings_twice_in_a_row(
            levels in proptest::collection::vec(-3_i64..15, 0..50),
            threshold in 0_i64..8,
        ) {
            for pair in walk(threshold, &levels).windows(2) {
                let (first, second) = (pair[0].1, pair[1].1);
                prop_assert!(first != second || first == Edge::Back, "{first:?} twice");
                prop_assert!(!(first == Edge::Out && second == Edge::Low), "low after out without a return");
            }
        }
    }
}
