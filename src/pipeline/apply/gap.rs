//! Gaps (rule 5): the number before a change is not the one we believed, so something was missed. Until it is known what the
//! marketplace shows, its number is not raised: a piece would be offered that is sold already. Where single numbers can be read, it
//! is read; elsewhere the drift policy says who is right.

use std::time::Duration;

use super::absolute::Seen;
use super::{Applying, Outcome, position};
use crate::db::DbError;
use crate::db::alerts::NewAlert;
use crate::domain::fact::StockDelta;
use crate::domain::ids::ListingId;
use crate::domain::listing::Position;
use crate::domain::time::Timestamp;
use crate::marketplaces::PushStyle;
use crate::pipeline::Tx;
use crate::pipeline::log::Logged;
use crate::settings::DriftPolicy;

/// A listing is read because of a gap at most once in so long.
pub(crate) const READ_AGAIN: Duration = Duration::from_secs(30);

impl Applying {
    pub(super) async fn check_gap(
        &mut self,
        tx: &mut Tx<'_>,
        logged: &Logged,
        id: ListingId,
        delta: &StockDelta,
        outcome: &mut Outcome,
    ) -> Result<(), DbError> {
        let Some(row) = self.working.listings.get(&id).map(|listing| &listing.row) else { return Ok(()) };
        let Some(expected) = row.expected.filter(|expected| *expected != delta.previous) else { return Ok(()) };
        // What it showed before our latest push is not what we believe of it since.
        if position(row, &logged.connection, delta.at) == Position::Before {
            return Ok(());
        }
        tx.kit.metrics.gaps.inc();
        let traits = logged.connection.adapter.traits();
        let name = delta.item.name();
        let seen = format!("{name} went from {} where {expected} was expected", delta.previous);
        if traits.abilities.stock_of.is_some() && traits.push == PushStyle::Request {
            self.read_again(tx, logged, id, delta.at);
            return Ok(());
        }
        let policy = logged.connection.policy.drift_policy;
        match policy {
            DriftPolicy::MarketplaceWins => {}
            DriftPolicy::MinWins if delta.previous < expected => {}
            // The hub's number is right, and told at once.
            DriftPolicy::HubWins | DriftPolicy::MinWins => {
                self.open_gap(tx, logged, id, "info", &format!("{seen}; it is told our number again"));
                self.doubt(logged, id, delta.at);
                return Ok(());
            }
            DriftPolicy::Alert | DriftPolicy::Ask => {
                let advice = "its number is not raised before it was lowered once, or somebody corrects the stock";
                self.open_gap(tx, logged, id, "warning", &format!("{seen}; {advice}"));
                self.hold(id, tx.now);
                self.doubt(logged, id, delta.at);
                return Ok(());
            }
        }
        let shown = Seen { item: &delta.item, quantity: delta.previous, at: delta.at, sequence: None };
        self.post_drift(tx, logged, id, &shown, expected, outcome).await
    }

    /// What it shows is read before its number is raised.
    fn read_again(&mut self, tx: &mut Tx<'_>, logged: &Logged, id: ListingId, at: Option<Timestamp>) {
        self.hold(id, tx.now);
        if let Some(listing) = self.working.listings.get_mut(&id) {
            let row = &mut listing.row;
            let free_at = row.gap_read_at.map_or(tx.now, |read| read.plus(READ_AGAIN).max(tx.now));
            row.verify_at = Some(row.verify_at.map_or(free_at, |planned| planned.min(free_at)));
            row.gap_since.get_or_insert(tx.now);
        }
        self.doubt(logged, id, at);
        // Its pusher reads, and has to learn when.
        tx.effects.to_push.insert(logged.connection.id);
    }

    fn hold(&mut self, id: ListingId, now: Timestamp) {
        if let Some(listing) = self.working.listings.get_mut(&id) {
            listing.row.raise_held_since = Some(now);
            listing.changed = true;
        }
    }

    /// What we believe of it is unknown from here.
    fn doubt(&mut self, logged: &Logged, id: ListingId, at: Option<Timestamp>) {
        if let Some(listing) = self.working.listings.get_mut(&id) {
            listing.row.expected = None;
            listing.changed = true;
        }
        self.look_again(id, &Self::cause(logged, "", "api_sync", at));
    }

    fn open_gap(&mut self, tx: &Tx<'_>, logged: &Logged, id: ListingId, severity: &'static str, what: &str) {
        let Some(listing) = self.working.listings.get_mut(&id) else { return };
        if listing.row.gap_since.is_some() {
            return;
        }
        listing.row.gap_since = Some(tx.now);
        self.alerts.push(alert(tx, logged.connection.id, id, severity, format!("{}: {what}", logged.connection.code)));
    }
}

/// The one alert of a listing with a gap.
pub(crate) fn alert(
    tx: &Tx<'_>,
    marketplace: crate::domain::ids::MarketplaceId,
    id: ListingId,
    severity: &'static str,
    message: String,
) -> NewAlert {
    NewAlert {
        id: tx.id(),
        kind: "listing-gap",
        severity,
        dedup_key: alert_key(id),
        product_id: None,
        marketplace_id: Some(marketplace),
        message,
    }
}

pub(crate) fn alert_key(id: ListingId) -> String {
    format!("listing-gap:{id}")
}
