//! One order line: join what is known, post the difference, and note what it says about the marketplace's own number.

use super::{Applying, Outcome, Resolution};
use crate::db::DbError;
use crate::domain::fact::{DeltaReason, LineFact, StockDelta};
use crate::domain::ids::{ListingId, LocationId};
use crate::domain::listing::{OwnChange, OwnHabits, own_change};
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
        let at = update_time(logged, fact.update.at);
        let mut past = Past::None;
        if let Resolution::Listing(listing) = resolution {
            self.book.adopt(key, &fact.line_key, listing);
            // Also when its mapping came only now.
            let waited = || logged.parked && self.book.waiting_since(key, &fact.line_key).is_some();
            if logged.initial && (self.book.is_new(key) || waited()) {
                past = first_look(key.ordered_at(), self.working.listed_since(listing), &logged.connection);
            } else if let Some(since) = self.book.waiting_since(key, &fact.line_key) {
                past = Past::Before(since.min(at));
            }
            let parts = self.working.components.get(&listing).cloned().unwrap_or_default();
            let priced = Priced { text: fact.price.as_deref(), currency: logged.connection.currency.as_deref() };
            self.book.map_line(tx, key, fact, listing, &parts, &self.working, priced);
        } else {
            self.book.unmapped_line(tx, key, fact, at);
        }
        let mut update = fact.update.clone();
        update.cancel_all |= self.book.cancels_all(key);
        for place in self.book.lines(key, &fact.line_key) {
            if let Past::Before(since) = past
                && self.before_its_count(place, since)
            {
                self.record_history(place, &self.book.state(place), outcome);
            }
            let all_of_it = match past {
                Past::All => true,
                Past::AllBeforeCount(ordered) => self.before_its_count(place, ordered),
                Past::Before(_) | Past::None => false,
            };
            if all_of_it {
                let state = order::merge(&self.book.state(place), &update);
                self.book.set_state(place, &state);
                self.record_history(place, &state, outcome);
            }
            self.line(tx, logged, key, place, &update, outcome).await?;
        }
        Ok(())
    }

    /// Whether something of this time is in the last count of the line's product, its opening included.
    fn before_its_count(&self, place: LinePlace, at: Timestamp) -> bool {
        let counted = self.book.row(place).product_id.and_then(|product| self.counted.get(&product));
        counted.is_some_and(|counted| at < *counted)
    }

    /// What the line was worth so far is in the count already: it counts as posted, and nothing moves.
    fn record_history(&mut self, place: LinePlace, state: &LineState, outcome: &mut Outcome) {
        match order::implied(state, self.book.row(place).units, Fulfilment::Instant) {
            Ok(implied) => {
                self.book.historic(place, implied);
                outcome.note = Some("history: it is older than the product's count, so it was recorded without moving stock");
            }
            Err(error) => outcome.failed = Some(error.into()),
        }
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
            match row.external_sku.or(row.external_product) {
                Some(name) => outcome.unmapped.push(name),
                // It names a line and nothing else: it waits for the create, no mapping could help it.
                None => outcome.note = Some("kept until the order's create tells what the line is"),
            }
            return Ok(());
        };
        let historic = logged.connection.is_historic(update.at);
        if let (Some(listing), 0, false) = (row.listing_id, row.component, historic) {
            let policy = &logged.connection.policy;
            let habits = OwnHabits { sales_decrement: policy.own_sales_decrement, cancel_restock: policy.own_cancel_restock };
            let own = own_change(habits, &before, &after, update);
            self.expect(logged, listing, own, update.at);
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
            // The count held what had left the shelf: of history nothing is committed.
            fulfilment: if self.book.is_historic(place) { Fulfilment::Instant } else { logged.connection.policy.fulfilment },
            sale_type: sale_type(&logged.connection),
            returned: update.returned.is_some() || update.returned_unsellable.is_some(),
            historic,
        };
        match posting::post_line(tx, &mut self.working, &mut self.book, line, cause) {
            Ok(Some(movement)) => outcome.movements.push(movement),
            Ok(None) => {}
            Err(error) => outcome.failed = Some(error),
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
            self.expect(logged, listing, OwnChange::By(delta.change), delta.at);
        }
        let at = update_time(logged, delta.at);
        for place in self.book.all_lines(&key) {
            let row = self.book.row(place).clone();
            let Some(product) = row.product_id else { continue };
            if logged.initial || logged.parked && self.before_its_count(place, at) {
                self.record_history(place, &state, outcome);
                continue;
            }
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
                Err(error) => outcome.failed = Some(error),
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

/// What of a line's past is in the count of its product.
#[derive(Debug, PartialEq)]
enum Past {
    None,
    /// All of it: the connection's first look at its past.
    All,
    /// All of it where the count is later than this: it was ordered under our eyes, and the first look came late.
    AllBeforeCount(Timestamp),
    /// What was known of it while it waited since then for its mapping, if the count is later.
    Before(Timestamp),
}

/// The first look at an account's past finds history, but for what was surely ordered since the listing is ours to tell: a first look
/// that comes late, or fails for a day, must not swallow what was sold meanwhile. What another feed told of stays history.
fn first_look(ordered: Option<Timestamp>, listed_since: Option<Timestamp>, connection: &Connection) -> Past {
    let (Some(ordered), Some(since)) = (ordered, listed_since) else { return Past::All };
    let at = ordered.plus(connection.policy.clock_tolerance);
    if at < since || connection.is_historic(Some(ordered)) { Past::All } else { Past::AllBeforeCount(at) }
}

/// When a fact happened; where nobody says, when it came in.
fn update_time(logged: &Logged, at: Option<Timestamp>) -> Timestamp {
    at.unwrap_or(logged.received_at)
}

fn sale_type(connection: &Connection) -> &'static str {
    match connection.kind {
        Kind::Api | Kind::Polling => "marketplace_sale",
        Kind::Storefront | Kind::Manual => "sale",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marketplaces::catalogue::Catalogue;
    use crate::marketplaces::declared::sample;

    #[test]
    fn the_first_look_finds_history_and_what_was_ordered_under_our_eyes() {
        let at = Timestamp::from_seconds;
        let mut connection = sample::connection(Catalogue::built_in().get("ozon").unwrap());
        let look = |ordered: Option<i64>, listed: Option<i64>, connection: &Connection| {
            first_look(ordered.map(at), listed.map(at), connection)
        };
        assert_eq!(look(None, Some(100), &connection), Past::All, "nobody says when it was ordered");
        assert_eq!(look(Some(200), None, &connection), Past::All);
        assert_eq!(look(Some(97), Some(100), &connection), Past::All);
        assert_eq!(look(Some(98), Some(100), &connection), Past::AllBeforeCount(at(100)), "within what clocks may differ");
        connection.feed_since = at(150);
        assert_eq!(look(Some(140), Some(100), &connection), Past::All, "the feed of then has told of it");
        assert_eq!(look(Some(150), Some(100), &connection), Past::AllBeforeCount(at(152)));
    }
}
