//! A feed that only says how many it shows (rule 6). A lower number than expected can only be a sale that nobody told; a higher
//! one is drift, and the drift policy says who is right. Where what it should show is not known, nothing is concluded: it is told
//! our number again. Such a marketplace is lossy: a sale that our own push overwrites was never seen by anybody.

use super::{Applying, Outcome, OwnChange, observed, position};
use crate::db::DbError;
use crate::db::alerts::NewAlert;
use crate::domain::fact::{DeltaReason, Item, StockDelta};
use crate::domain::ids::ListingId;
use crate::domain::listing::Position;
use crate::domain::time::Timestamp;
use crate::marketplaces::PushStyle;
use crate::pipeline::Tx;
use crate::pipeline::log::Logged;
use crate::pipeline::orders_book::OrderKey;
use crate::pipeline::working::{Cause, Change};
use crate::settings::DriftPolicy;

/// What a marketplace says it shows.
pub(super) struct Seen<'f> {
    pub item: &'f Item,
    pub quantity: i64,
    pub at: Option<Timestamp>,
    pub sequence: Option<&'f str>,
}

impl Seen<'_> {
    /// Names this observation: what is made of it is made once.
    fn mark(&self, logged: &Logged) -> String {
        observed::mark(self.at, self.sequence).unwrap_or_else(|| logged.event_key.clone())
    }
}

impl Applying {
    pub(super) async fn absolute(
        &mut self,
        tx: &mut Tx<'_>,
        logged: &Logged,
        id: ListingId,
        seen: &Seen<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), DbError> {
        if !self.observe(id, seen.quantity, seen.at, seen.sequence, tx.now) {
            outcome.note = Some("dropped: older than the number seen last");
            return Ok(());
        }
        let Some(row) = self.working.listings.get(&id).map(|listing| &listing.row) else { return Ok(()) };
        if logged.connection.is_historic(seen.at) {
            outcome.note = Some("observed only: of before this feed counts");
            return Ok(());
        }
        match (row.expected, position(row, &logged.connection, seen.at)) {
            (Some(expected), _) if expected == seen.quantity => Ok(()),
            (Some(expected), Position::After) if seen.quantity < expected => {
                self.inferred_sale(tx, logged, id, seen, expected, outcome).await
            }
            (Some(expected), Position::After) => self.drift(tx, logged, id, seen, expected, outcome).await,
            (Some(_), Position::Before) => {
                outcome.note = Some("observed only: our number was told after it");
                Ok(())
            }
            // It is never told anything: what it shows is where counting begins.
            _ if logged.connection.adapter.traits().push == PushStyle::Nothing => {
                outcome.note = Some("observed only: from here on its changes are counted");
                self.believe(id, seen.quantity);
                Ok(())
            }
            _ => {
                outcome.note = Some("observed only: what it should show is not known; it is told our number again");
                self.tell_again(logged, id, seen.at);
                Ok(())
            }
        }
    }

    fn believe(&mut self, id: ListingId, quantity: i64) {
        if let Some(listing) = self.working.listings.get_mut(&id) {
            listing.row.expected = Some(quantity);
            listing.changed = true;
        }
    }

    fn tell_again(&mut self, logged: &Logged, id: ListingId, at: Option<Timestamp>) {
        let Some(listing) = self.working.listings.get_mut(&id) else { return };
        listing.row.expected = None;
        listing.changed = true;
        self.look_again(id, &Self::cause(logged, "reconciliation", "reconciliation", at));
    }

    /// Fewer than expected: what is missing was sold. Its order is of our own making, named after listing and observation, so that
    /// the same observation cannot be counted twice.
    async fn inferred_sale(
        &mut self,
        tx: &mut Tx<'_>,
        logged: &Logged,
        id: ListingId,
        seen: &Seen<'_>,
        expected: i64,
        outcome: &mut Outcome,
    ) -> Result<(), DbError> {
        let mark = seen.mark(logged);
        let key = OrderKey::of_delta(&logged.connection, &format!("seen:{id}:{mark}"), seen.at);
        self.book.open_one(tx, &key).await?;
        let delta = StockDelta {
            item: seen.item.clone(),
            previous: expected,
            current: seen.quantity,
            change: seen.quantity - expected,
            reason: DeltaReason::Sold,
            at: seen.at,
        };
        outcome.note = Some("an inferred sale: it shows fewer than expected");
        self.delta_line(tx, logged, key, id, &delta, outcome).await
    }

    /// More than expected: somebody put it there by hand, or restocked it without telling.
    async fn drift(
        &mut self,
        tx: &mut Tx<'_>,
        logged: &Logged,
        id: ListingId,
        seen: &Seen<'_>,
        expected: i64,
        outcome: &mut Outcome,
    ) -> Result<(), DbError> {
        let connection = &logged.connection;
        let parts = self.working.components.get(&id).cloned().unwrap_or_default();
        let (code, name, quantity) = (&connection.code, seen.item.name(), seen.quantity);
        self.alerts.push(NewAlert {
            id: tx.id(),
            kind: "listing-drift",
            severity: "warning",
            dedup_key: format!("listing-drift:{id}"),
            product_id: parts.first().map(|(product, _)| *product),
            marketplace_id: Some(connection.id),
            message: format!("{code}: {name} shows {quantity} where {expected} was expected"),
        });
        outcome.note = Some("drift: it shows more than expected");
        match (connection.policy.drift_policy, &parts[..]) {
            (DriftPolicy::HubWins | DriftPolicy::MinWins, _) => self.tell_again(logged, id, seen.at),
            (DriftPolicy::MarketplaceWins, [_]) => self.post_drift(tx, logged, id, seen, expected, outcome).await?,
            // A person decides; nobody can say which part of a bundle there is more of.
            (DriftPolicy::MarketplaceWins | DriftPolicy::Alert | DriftPolicy::Ask, _) => {}
        }
        Ok(())
    }

    /// What the marketplace shows is right: the difference is posted. Not for a bundle: nobody can say which part it is of.
    pub(super) async fn post_drift(
        &mut self,
        tx: &mut Tx<'_>,
        logged: &Logged,
        id: ListingId,
        seen: &Seen<'_>,
        expected: i64,
        outcome: &mut Outcome,
    ) -> Result<(), DbError> {
        let parts = self.working.components.get(&id).cloned().unwrap_or_default();
        let (&[(product, units)], Some(location)) = (&parts[..], logged.connection.locations.first().copied()) else {
            return Ok(());
        };
        self.working.ensure_level(tx, (product, location)).await?;
        let mark = seen.mark(logged);
        let cause = Cause {
            reason: Some("drift".into()),
            source_key: format!("drift:{id}:{mark}"),
            ..Self::cause(logged, "reconciliation", "reconciliation", seen.at)
        };
        let difference = seen.quantity - expected;
        let change = Change { on_hand: difference.saturating_mul(units), ..Change::default() };
        match self.working.post(tx, (product, location), change, cause) {
            Ok(movement) => outcome.movements.push(movement),
            Err(error) => outcome.failed = Some(error.into()),
        }
        self.expect(logged, id, OwnChange::By(difference), seen.at);
        Ok(())
    }
}
