//! One order line: join what is known, post the difference, and note what it says about the marketplace's own number.

use super::{Applying, Outcome, Resolution};
use crate::db::DbError;
use crate::domain::fact::{DeltaReason, LineFact, StockDelta};
use crate::domain::ids::{ListingId, LocationId};
use crate::domain::listing::OwnChange;
use crate::domain::order::{self, Fulfilment, LineState, LineUpdate};
use crate::domain::quantity::Delta;
use crate::domain::time::Timestamp;
use crate::marketplaces::{Connection, Kind};
use crate::pipeline::Tx;
use crate::pipeline::log::Logged;
use crate::pipeline::orders_book::{LinePlace, OrderKey, Priced};
use crate::pipeline::posting::{self, LinePosting};

impl Applying {
    pub(super) async fn order_line(
        &mut self,
        tx: &mut Tx<'_>,
        logged: &Logged,
        key: &OrderKey,
        fact: &LineFact,
        resolution: Resolution,
        outcome: &mut Outcome,
    ) -> Result<(), DbError> {
        if let Resolution::Listing(listing) = resolution {
            let parts = self.working.components.get(&listing).cloned().unwrap_or_default();
            let priced = Priced { text: fact.price.as_deref(), currency: logged.connection.currency.as_deref() };
            self.book.map_line(tx, key, fact, listing, &parts, &self.working, priced);
        } else {
            self.book.unmapped_line(tx, key, fact);
        }
        let mut update = fact.update.clone();
        update.cancel_all |= self.book.cancels_all(key);
        for place in self.book.lines(key, &fact.line_key) {
            self.line(tx, logged, key, place, &update, outcome).await?;
        }
        Ok(())
    }

    /// Everything of the order that is still open, also what its create will bring.
    pub(super) async fn cancel_rest(
        &mut self,
        tx: &mut Tx<'_>,
        logged: &Logged,
        key: &OrderKey,
        at: Option<Timestamp>,
        outcome: &mut Outcome,
    ) -> Result<(), DbError> {
        let update = LineUpdate { cancel_all: true, at, ..LineUpdate::default() };
        for place in self.book.all_lines(key) {
            self.line(tx, logged, key, place, &update, outcome).await?;
        }
        Ok(())
    }

    async fn line(
        &mut self,
        tx: &mut Tx<'_>,
        logged: &Logged,
        key: &OrderKey,
        place: LinePlace,
        update: &LineUpdate,
        outcome: &mut Outcome,
    ) -> Result<(), DbError> {
        let before = self.book.state(place);
        let after = order::merge(&before, update);
        self.book.set_state(place, &after);
        let row = self.book.row(place).clone();
        let Some(product) = row.product_id else {
            outcome.unmapped.push(row.external_sku.clone().or(row.external_product.clone()).unwrap_or(row.line_key.clone()));
            return Ok(());
        };
        let historic = logged.connection.is_historic(update.at);
        if let (Some(listing), 0, false) = (row.listing_id, row.component, historic) {
            let own = own_change(&logged.connection, &before, &after);
            self.expect(&logged.connection, listing, own, update.at);
        }
        let location = self.location(row.location_id, product, row.units * after.sold_units(), &logged.connection);
        let Some(location) = location else { return Ok(()) };
        self.working.ensure_level(tx, (product, location)).await?;
        let mut cause = Self::cause(logged, "", "", update.at);
        cause.reference_type = Some("order");
        cause.reference_id = Some(key.external_id().to_owned());
        let line = LinePosting {
            place,
            location,
            state: after,
            fulfilment: logged.connection.policy.fulfilment,
            sale_type: sale_type(&logged.connection),
            returned: update.returned.is_some() || update.returned_unsellable.is_some(),
            historic,
        };
        match posting::post_line(tx, &mut self.working, &mut self.book, line, cause) {
            Ok(Some(movement)) => outcome.movements.push(movement),
            Ok(None) => {}
            Err(error) => outcome.failed = Some(error.to_string()),
        }
        Ok(())
    }

    /// One change of a delta feed is a line of its own, with an order of its own: such a feed does not say which order it was.
    pub(super) async fn delta_line(
        &mut self,
        tx: &mut Tx<'_>,
        logged: &Logged,
        key: OrderKey,
        listing: ListingId,
        delta: &StockDelta,
        outcome: &mut Outcome,
    ) -> Result<(), DbError> {
        let Ok(change) = Delta::parse(delta.change) else { return Ok(()) };
        let state = LineState::from_delta(change);
        let parts = self.working.components.get(&listing).cloned().unwrap_or_default();
        if !self.book.all_lines(&key).is_empty() {
            return Ok(());
        }
        self.book.delta_line(tx, &key, listing, &state, &parts, &self.working, logged.connection.currency.as_deref());
        let historic = logged.connection.is_historic(delta.at);
        if !historic {
            self.expect(&logged.connection, listing, OwnChange::By(delta.change), delta.at);
        }
        for place in self.book.all_lines(&key) {
            let row = self.book.row(place).clone();
            let Some(product) = row.product_id else { continue };
            let Some(location) = self.location(None, product, row.units * -delta.change, &logged.connection) else { continue };
            self.working.ensure_level(tx, (product, location)).await?;
            let (fallback, returned) = match delta.reason {
                DeltaReason::Returned => ("returned", true),
                _ => (sale_type(&logged.connection), false),
            };
            let mut cause = Self::cause(logged, fallback, "", delta.at);
            cause.reference_type = Some("webhook");
            cause.reference_id = Some(key.external_id().to_owned());
            let fulfilment = Fulfilment::Instant;
            let sale_type = sale_type(&logged.connection);
            let line = LinePosting { place, location, state: state.clone(), fulfilment, sale_type, returned, historic };
            match posting::post_line(tx, &mut self.working, &mut self.book, line, cause) {
                Ok(Some(movement)) => outcome.movements.push(movement),
                Ok(None) => {}
                Err(error) => outcome.failed = Some(error.to_string()),
            }
        }
        Ok(())
    }

    fn location(
        &self,
        kept: Option<LocationId>,
        product: crate::domain::ids::ProductId,
        pieces: i64,
        connection: &Connection,
    ) -> Option<LocationId> {
        kept.or_else(|| self.working.choose_location(product, pieces.max(0), &connection.locations))
    }
}

fn sale_type(connection: &Connection) -> &'static str {
    match connection.kind {
        Kind::Api | Kind::Polling => "marketplace_sale",
        Kind::Storefront | Kind::Manual => "sale",
    }
}

/// What the marketplace did to its own number, in units of the listing.
fn own_change(connection: &Connection, before: &LineState, after: &LineState) -> OwnChange {
    let back = |state: &LineState| state.returned_units().0;
    let sold = after.sold_units() - before.sold_units();
    let given_back = (-sold).max(0) + (back(after) - back(before));
    match (sold, given_back) {
        (_, given) if given > 0 => match connection.policy.own_cancel_restock {
            Some(true) => OwnChange::By(given - sold.max(0)),
            Some(false) => OwnChange::None,
            None => OwnChange::Unknown,
        },
        (sold, _) if sold > 0 && connection.policy.own_sales_decrement => OwnChange::By(-sold),
        _ => OwnChange::None,
    }
}
