//! What an order is called, from what is known of its lines: one function for the orders of every door, so that a webhook, a poll
//! and a person never leave one order with three names.

use super::order::LineState;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    Created,
    PartlyCancelled,
    Cancelled,
    PartlyShipped,
    Shipped,
    PartlyReturned,
    Returned,
}

impl OrderStatus {
    /// As the `orders.status` column has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::PartlyCancelled => "partly_cancelled",
            Self::Cancelled => "cancelled",
            Self::PartlyShipped => "partly_shipped",
            Self::Shipped => "shipped",
            Self::PartlyReturned => "partly_returned",
            Self::Returned => "returned",
        }
    }
}

/// The furthest step that some of its units took; `partly` while others that were sold did not. `cancel_all`: the order as a
/// whole was cancelled, maybe before any line of it was known.
pub fn order_status<'a>(lines: impl IntoIterator<Item = &'a LineState>, cancel_all: bool) -> OrderStatus {
    let (mut ordered, mut sold, mut shipped, mut back, mut cancelled) = (0_i64, 0_i64, 0_i64, 0_i64, 0_i64);
    for line in lines {
        let (sellable, unsellable) = line.returned_units();
        ordered = ordered.saturating_add(line.ordered.unwrap_or(0).max(0).max(line.shipped));
        sold = sold.saturating_add(line.sold_units());
        shipped = shipped.saturating_add(line.shipped);
        back = back.saturating_add(sellable + unsellable);
        cancelled = cancelled.saturating_add(line.cancelled_units());
    }
    let part = |some: OrderStatus, all: OrderStatus, units: i64| if units < sold { some } else { all };
    match () {
        // Nothing of it is known yet but that it is off.
        () if ordered == 0 && cancel_all => OrderStatus::Cancelled,
        () if ordered == 0 => OrderStatus::Created,
        () if sold == 0 => OrderStatus::Cancelled,
        () if back > 0 => part(OrderStatus::PartlyReturned, OrderStatus::Returned, back),
        () if shipped > 0 => part(OrderStatus::PartlyShipped, OrderStatus::Shipped, shipped),
        () if cancelled > 0 => OrderStatus::PartlyCancelled,
        () => OrderStatus::Created,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(ordered: i64, cancelled: i64, shipped: i64, returned: i64) -> LineState {
        LineState { ordered: Some(ordered), cancelled, shipped, returned, ..LineState::default() }
    }

    fn name(lines: &[LineState]) -> &'static str {
        order_status(lines, false).as_str()
    }

    #[test]
    fn a_status_is_the_furthest_step_and_says_whether_all_took_it() {
        assert_eq!(name(&[line(3, 0, 0, 0)]), "created");
        assert_eq!(name(&[line(3, 1, 0, 0)]), "partly_cancelled");
        assert_eq!(name(&[line(3, 3, 0, 0), line(1, 0, 0, 0)]), "partly_cancelled");
        assert_eq!(name(&[line(3, 9, 0, 0)]), "cancelled");
        assert_eq!(name(&[line(3, 0, 2, 0)]), "partly_shipped");
        assert_eq!(name(&[line(3, 1, 2, 0)]), "shipped", "what is cancelled needs no shipping");
        assert_eq!(name(&[line(3, 0, 3, 1)]), "partly_returned");
        assert_eq!(name(&[line(3, 2, 0, 1)]), "returned", "all that was sold came back");
    }

    #[test]
    fn tombstones_and_waiting_lines() {
        let early_cancel = LineState { cancelled: 2, ..LineState::default() };
        assert_eq!(order_status([&early_cancel], false), OrderStatus::Created);
        assert_eq!(order_status([], true), OrderStatus::Cancelled);
        assert_eq!(order_status([], false), OrderStatus::Created);
        let early_return = LineState { returned: 2, ..LineState::default() };
        assert_eq!(order_status([&early_return], false), OrderStatus::Created, "it waits for its create");
        let shipped_first = LineState { shipped: 2, ..LineState::default() };
        assert_eq!(order_status([&shipped_first], false), OrderStatus::Shipped, "a shipment proves a sale");
    }

    #[test]
    fn a_line_of_a_delta_feed_that_gives_back_is_no_order_of_its_own() {
        assert_eq!(name(&[line(-2, 0, 0, 0)]), "created");
    }
}
