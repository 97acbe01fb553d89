//! What a line now implies, less what is posted for it: the one way an order becomes a movement, whichever door it came through.

use super::orders_book::{Book, LinePlace};
use super::working::{Cause, Change, PostError, Working};
use super::{Tx, retarget};
use crate::db::DbError;
use crate::db::sales::{SalesDelta, SalesKey};
use crate::domain::ids::{LocationId, MovementId};
use crate::domain::money::MINOR_MAX;
use crate::domain::order::{self, Fulfilment, LineState, Overflow, Posting};

pub(super) struct LinePosting {
    pub place: LinePlace,
    pub location: LocationId,
    pub state: LineState,
    pub fulfilment: Fulfilment,
    /// `sale` or `marketplace_sale`.
    pub sale_type: &'static str,
    /// Whether a rise is goods that came back rather than an order taken back.
    pub returned: bool,
    /// Of before this feed counts: the stock knows it already, by another way. It is recorded, and only what changes later moves.
    pub historic: bool,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error(transparent)]
    Post(#[from] PostError),
    #[error(transparent)]
    Overflow(#[from] Overflow),
    #[error(transparent)]
    Rule(#[from] DbError),
}

impl LineError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Overflow(_) | Self::Post(PostError::Overflow) => "arithmetic-overflow",
            Self::Post(_) | Self::Rule(_) => "not-postable",
        }
    }
}

/// Posts the difference; `None` when the ledger holds it already.
pub(super) fn post_line(
    tx: &Tx<'_>,
    working: &mut Working,
    book: &mut Book,
    line: LinePosting,
    cause: Cause,
) -> Result<Option<MovementId>, LineError> {
    let row = book.row(line.place);
    let Some(product) = row.product_id else { return Ok(None) };
    // History is in the stock as it is: what was sold then has left the shelf.
    let fulfilment = if line.historic { Fulfilment::Instant } else { line.fulfilment };
    let implied = order::implied(&line.state, row.units, fulfilment)?;
    let posted = Posting { on_hand: row.posted_on_hand, committed: row.posted_committed, unsellable: row.posted_unsellable };
    let due = implied.checked_sub(posted)?;
    if due.is_zero() {
        return Ok(None);
    }
    if line.historic {
        book.historic(line.place, implied);
        return Ok(None);
    }
    let sold = due.on_hand.checked_neg().and_then(|n| n.checked_add(due.committed)).ok_or(Overflow)?;
    let (movement_type, change_type) = match sold {
        1.. => (line.sale_type, "order_created"),
        0 if due.unsellable == 0 => ("shipped", "order_shipped"),
        _ if line.returned => ("returned", "order_returned"),
        _ => ("order_cancelled", "order_cancelled"),
    };
    let cause = Cause {
        movement_type,
        change_type,
        order_id: Some(row.order_id),
        line_id: Some(row.id),
        source_key: format!("line:{}:{}", row.id, row.posting + 1),
        ..cause
    };
    let day = cause.occurred_at.day();
    let marketplace = cause.marketplace_id;
    let movement = working.post(tx, (product, line.location), Change::from(due), cause)?;
    // Once per unit of the listing, whatever it is made of. Goods that came back are anybody's.
    if let (Some(listing), 0, false) = (row.listing_id, row.component, movement_type == "returned") {
        retarget::use_quota(tx, working, listing, sold / row.units)?;
    }
    if let Some(marketplace_id) = marketplace {
        let row = book.row(line.place);
        let currency = row.currency.clone().unwrap_or_default();
        let first = row.posting == 0 && sold > 0;
        let price = if row.component == 0 { row.price_minor.unwrap_or(0) } else { 0 };
        // More than an amount can be is a price that cannot be: the pieces are booked, and the sums of the day must still hold it.
        let worth = |units: i64, price: i64| units.saturating_mul(price).clamp(-MINOR_MAX, MINOR_MAX);
        let delta = SalesDelta {
            units: sold,
            revenue_minor: worth(sold / row.units, price),
            cost_minor: worth(sold, row.cost_price_minor.unwrap_or(0)),
            orders: i64::from(first && row.component == 0),
            cancelled: if movement_type == "order_cancelled" { -sold } else { 0 },
            returned: if movement_type == "returned" { -sold } else { 0 },
        };
        working.record_sale(SalesKey { day, marketplace_id, product_id: product, currency }, &delta);
    }
    book.posted(line.place, implied, line.location);
    Ok(Some(movement))
}
