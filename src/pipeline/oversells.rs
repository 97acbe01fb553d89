//! A negative available is the record of an oversell. The case makes people look at it: how many are missing, and whose order
//! could be cancelled. It closes by itself when there is enough again.

use super::working::{Working, stock_alert};
use super::writer::Command;
use super::{CommandError, Tx, outbox};
use crate::db::DbError;
use crate::db::alerts::{self, NewOversell, OversellView};
use crate::db::events::NewEvent;
use uuid::Uuid;

/// Order lines named in a case: more than anybody will choose from.
const CANDIDATES_MAX: i64 = 20;

/// Opens, eases and closes the cases of the levels that moved. Runs after the order lines of the transaction are written, so that
/// the order that tipped it over is among those that could be cancelled.
pub(super) async fn write(tx: &mut Tx<'_>, working: &Working) -> Result<Vec<NewEvent>, DbError> {
    let (mut opened, mut eased, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    let mut events = Vec::new();
    let (mut rung, mut quiet) = (Vec::new(), Vec::new());
    for (key, level) in working.levels.iter().filter(|(_, level)| level.movements > 0) {
        let (before, after) = (level.before.available(), level.row.available());
        let Some(product) = working.products.get(&key.0).filter(|product| product.oversell_policy == "block") else { continue };
        if after < 0 && after < before {
            let candidates = alerts::candidates(&mut tx.conn, key.0, CANDIDATES_MAX).await?;
            let orders: Vec<&str> = candidates.iter().map(|candidate| candidate.external_id.as_str()).collect();
            events.push(outbox::oversold(tx, product, &level.row, working.totals(key.0), &orders));
            let candidates = serde_json::to_string(&candidates).unwrap_or_else(|_| "[]".into());
            opened.push(NewOversell { id: tx.id(), product_id: key.0, location_id: key.1, units: -after, candidates });
            rung.push(stock_alert(tx, product, "oversold", after));
        } else if after < 0 {
            eased.push((key.0, key.1, -after));
        } else if before < 0 {
            ended.push(*key);
            if working.levels.iter().all(|((id, _), level)| *id != key.0 || level.row.available() >= 0) {
                quiet.push(format!("oversold:{}", product.sku));
            }
        }
    }
    alerts::open_oversells(&mut tx.conn, &opened, tx.now).await?;
    alerts::open_once(&mut tx.conn, &rung, tx.now).await?;
    alerts::ease_oversells(&mut tx.conn, &eased).await?;
    alerts::end_oversells(&mut tx.conn, &ended, tx.now).await?;
    if !quiet.is_empty() {
        alerts::resolve(&mut tx.conn, quiet.iter().map(String::as_str), tx.now).await?;
    }
    Ok(events)
}

/// A person has decided what becomes of it; the stock is moved by what they then do, not by this.
pub struct ResolveOversell {
    pub id: Uuid,
    pub decision: String,
    pub actor: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("unknown case")]
    Unknown,
    #[error("the case is resolved")]
    Resolved,
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for ResolveError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

impl Command for ResolveOversell {
    type Output = OversellView;
    type Error = ResolveError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<OversellView, ResolveError> {
        let known = alerts::oversell(&mut tx.conn, self.id).await?.ok_or(ResolveError::Unknown)?;
        if !alerts::resolve_oversell(&mut tx.conn, self.id, &self.decision, &self.actor, tx.now).await? {
            return Err(ResolveError::Resolved);
        }
        let key = format!("oversold:{}", known.sku);
        alerts::resolve(&mut tx.conn, [key.as_str()], tx.now).await?;
        alerts::oversell(&mut tx.conn, self.id).await?.ok_or(ResolveError::Unknown)
    }
}
