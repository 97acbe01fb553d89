//! A circuit opened or closed: an alert and an event, once each, whatever restarts or other nodes make of it in between.

use std::sync::Arc;

use crate::db::DbError;
use crate::db::alerts::{self, NewAlert};
use crate::domain::events::EventType;
use crate::marketplaces::Connection;
use crate::pipeline::writer::Command;
use crate::pipeline::{Tx, outbox};

/// Writes down that a marketplace cannot be reached, or can again. The open alert is the memory of it.
pub struct Circuit {
    pub connection: Arc<Connection>,
    pub open: bool,
    pub why: String,
}

/// The key of the alert that says its credentials are refused.
pub(super) fn auth_key(code: &str) -> String {
    format!("marketplace-auth:{code}")
}

/// The key of the one alert a marketplace has for this.
pub(super) fn alert_key(code: &str) -> String {
    format!("marketplace-degraded:{code}")
}

impl Command for Circuit {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        if self.open { self.degraded(tx).await } else { recovered(tx, &self.connection).await }
    }
}

impl Circuit {
    async fn degraded(&self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let code = &self.connection.code;
        let alert = NewAlert {
            id: tx.id(),
            kind: "marketplace-degraded",
            severity: "warning",
            dedup_key: alert_key(code),
            product_id: None,
            marketplace_id: Some(self.connection.id),
            message: format!("{code} does not take our numbers: {}", self.why),
        };
        if alerts::open_once(&mut tx.conn, &[alert], tx.now).await? == 0 {
            return Ok(());
        }
        let event = outbox::marketplace(tx, EventType::MarketplaceDegraded, self.connection.id, code, &self.why);
        outbox::write(tx, &[event]).await
    }
}

/// It takes our numbers. Where it was said not to, that is over.
pub(super) async fn recovered(tx: &mut Tx<'_>, connection: &Connection) -> Result<(), DbError> {
    alerts::resolve(&mut tx.conn, [auth_key(&connection.code).as_str()], tx.now).await?;
    let key = alert_key(&connection.code);
    if alerts::resolve(&mut tx.conn, [key.as_str()], tx.now).await? == 0 {
        return Ok(());
    }
    let reason = "it takes our numbers again";
    let event = outbox::marketplace(tx, EventType::MarketplaceRecovered, connection.id, &connection.code, reason);
    outbox::write(tx, &[event]).await
}
