//! Reading back what a marketplace only accepted. It shows what it was told: acknowledged. It shows something else: we believe what
//! we read, and tell it again until it agrees, ever more slowly, with an alert after some times.

use std::collections::HashMap;
use std::sync::Arc;

use super::outcome::kept;
use super::settle::pause;
use super::{PushLimits, Pusher};
use crate::caller::{Caller, Purpose};
use crate::db::DbError;
use crate::db::alerts::{self, NewAlert};
use crate::db::push_checks::{self, VerifyRow};
use crate::db::pushes::{self, InFlightRow, Settled};
use crate::db::sync;
use crate::domain::ids::ListingId;
use crate::domain::retry;
use crate::domain::time::Timestamp;
use crate::marketplaces::call::StockRow;
use crate::marketplaces::{Ask, Connection, Outcome, PushItem, Told};
use crate::pipeline::Tx;
use crate::pipeline::apply::gap;
use crate::pipeline::writer::Command;

/// Times in a row after which somebody is told.
const ALERT_AFTER: i64 = 3;

pub(super) fn alert_key(id: ListingId) -> String {
    format!("listing-unverified:{id}")
}

impl Pusher {
    /// Asks for as many as one request takes; `Err` is how the request ended.
    pub(super) async fn read_back(&self, caller: &Caller) -> Result<(), Outcome> {
        let Some(per_request) = self.connection.adapter.traits().abilities.stock_of else { return Ok(()) };
        let later = |error: DbError| Outcome::Retry { after: None, throttled: false, code: None, message: error.to_string() };
        let now = self.kit.clock.now();
        let limit = i64::try_from(per_request.max(1)).unwrap_or(i64::MAX);
        let mut reader = self.db.read().await.map_err(later)?;
        let rows = push_checks::to_verify(&mut reader.conn(), self.connection.id, now, limit).await.map_err(later)?;
        drop(reader);
        if rows.is_empty() {
            return Ok(());
        }
        // One request names things of one group (of one warehouse, say); the others have their turn next.
        let group = |row: &VerifyRow| self.connection.adapter.push_group(&self.connection, &item(row));
        let first = rows.first().map(group);
        let rows: Vec<VerifyRow> = rows.into_iter().filter(|row| Some(group(row)) == first).collect();
        let items: Vec<PushItem> = rows.iter().map(item).collect();
        let _busy = caller.busy();
        let told = caller.ask(Purpose::Verify, &Ask::StockOf { items: items.clone() }).await;
        let (found, ended) = match told {
            Ok(Told::Stock { rows, .. }) => (Some(shown(&items, &rows)), Ok(())),
            Ok(_) => (None, Err(Outcome::Unknown { message: "no stock was told".into() })),
            Err(outcome) => (None, Err(outcome)),
        };
        let verified = Verified {
            connection: self.connection.clone(),
            rows,
            shown: found,
            refused: if let Err(Outcome::Auth { message }) = &ended { Some(message.clone()) } else { None },
            limits: self.limits,
        };
        self.write_patiently(|| self.writer.run_patiently(verified.clone())).await;
        ended
    }
}

fn item(row: &VerifyRow) -> PushItem {
    PushItem {
        listing_id: row.id,
        version: row.sent_version,
        quantity: row.quantity,
        marketplace_product_id: row.marketplace_product_id.clone(),
        sku: row.sku.clone(),
        refs: serde_json::from_str(&row.refs).unwrap_or_default(),
        expected: row.expected,
        changed_at: row.wanted_at,
    }
}

/// Whether a row of an answer is about this item: by the surest name both have.
pub fn is_of(row: &StockRow, item: &PushItem) -> bool {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    for (name, value) in &row.names {
        if let Some(known) = item.refs.get(name).and_then(text) {
            return known == *value;
        }
        if name == "sku" {
            return item.sku == *value;
        }
    }
    row.names.iter().any(|(_, value)| *value == item.marketplace_product_id) || row.sku.as_deref() == Some(item.sku.as_str())
}

/// What the answer says of each. One that it leaves out, or lists without a number, is unknown, not zero.
fn shown(items: &[PushItem], rows: &[StockRow]) -> HashMap<ListingId, i64> {
    let number = |item: &PushItem| rows.iter().find(|row| is_of(row, item)).and_then(|row| row.quantity);
    items.iter().filter_map(|item| Some((item.listing_id, number(item)?))).collect()
}

/// Writes down what was read.
#[derive(Clone)]
struct Verified {
    connection: Arc<Connection>,
    rows: Vec<VerifyRow>,
    /// `None`: it could not be read.
    shown: Option<HashMap<ListingId, i64>>,
    refused: Option<String>,
    limits: PushLimits,
}

impl Command for Verified {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        sync::add_calls(&mut tx.conn, [(self.connection.id, "verify", 1)], tx.now).await?;
        if let Some(why) = &self.refused {
            pause(tx, &self.connection, why).await?;
        }
        let Some(shown) = &self.shown else {
            let at = tx.now.plus(self.limits.verify_cap.min(self.limits.backoff_cap));
            push_checks::verify_later(&mut tx.conn, self.rows.iter().map(|row| row.id), at).await?;
            return self.not_told(tx).await;
        };
        let locked = pushes::lock(&mut tx.conn, self.rows.iter().map(|row| row.id)).await?;
        let (mut settled, mut opened, mut over) = (Vec::new(), Vec::new(), Vec::new());
        for row in locked {
            let Some(asked) = self.rows.iter().find(|asked| asked.id == row.id) else { continue };
            // Told anew while we read: what we read is of before.
            if row.push_state == "in_flight" || row.sent_version != asked.sent_version || row.verify_at.is_none() {
                continue;
            }
            let found = shown.get(&row.id).copied();
            let end = self.end(tx, &row, found);
            if end.mismatches == ALERT_AFTER && row.mismatches < ALERT_AFTER {
                opened.push(self.alert(tx, asked, found));
            }
            if end.last_synced_at.is_some() && row.mismatches > 0 {
                over.push(alert_key(row.id));
            }
            match (row.raise_held_since, end.gap_over) {
                (_, true) if row.gap_since.is_some() => over.push(gap::alert_key(row.id)),
                (Some(_), false) => opened.push(self.gap(tx, asked)),
                _ => {}
            }
            settled.push(end);
        }
        pushes::settle(&mut tx.conn, &settled, tx.now).await?;
        alerts::open_once(&mut tx.conn, &opened, tx.now).await?;
        if !over.is_empty() {
            alerts::resolve(&mut tx.conn, over.iter().map(String::as_str), tx.now).await?;
        }
        Ok(())
    }
}

impl Verified {
    fn end(&self, tx: &Tx<'_>, row: &InFlightRow, found: Option<i64>) -> Settled {
        let newer = row.wanted_version > row.sent_version;
        let same = Settled { next_push_at: tx.now, ..kept(row, tx.now) };
        match (row.expected, found) {
            // Read because something was missed, and not listed, or without a number.
            (_, None) if row.raise_held_since.is_some() => {
                Settled { verify_at: Some(tx.now.plus(gap::READ_AGAIN)), gap_read_at: Some(tx.now), ..same }
            }
            // Its end was unknown, or something happened there meanwhile: now we know what it shows. It is confirmed all the same.
            (None, Some(_)) => Settled {
                push_state: "dirty",
                expected: found,
                marketplace_stock: found,
                wanted_version: if newer { row.wanted_version } else { row.wanted_version + 1 },
                gap_over: true,
                gap_read_at: row.raise_held_since.map(|_| tx.now),
                ..same
            },
            (Some(expected), Some(shown)) if expected == shown => Settled {
                push_state: if newer { "dirty" } else { "synced" },
                acked_version: row.sent_version,
                acked_quantity: row.sent_quantity,
                acked_at: Some(tx.now),
                last_synced_at: Some(tx.now),
                marketplace_stock: found,
                mismatches: 0,
                gap_over: true,
                ..same
            },
            _ => {
                let mismatches = row.mismatches + 1;
                let times = u32::try_from(mismatches).unwrap_or(u32::MAX);
                let wait = retry::delay(times, self.limits.backoff_base, self.limits.verify_cap, None, tx.kit.chance.unit());
                Settled {
                    push_state: "dirty",
                    expected: found,
                    marketplace_stock: found,
                    wanted_version: if newer { row.wanted_version } else { row.wanted_version + 1 },
                    // A higher number waits until its orders were looked at: perhaps it sold.
                    wanted_at: Some(tx.now),
                    next_push_at: tx.now.plus(wait).max(self.key_free_at(row)),
                    mismatches,
                    gap_over: found.is_some(),
                    ..same
                }
            }
        }
    }

    fn key_free_at(&self, row: &InFlightRow) -> Timestamp {
        row.sent_at.map_or(Timestamp::default(), |at| at.plus(self.connection.adapter.traits().key_interval))
    }

    /// It could not be read. Where something was missed before, somebody is told now, and it is read again in its time.
    async fn not_told(&self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let locked = pushes::lock(&mut tx.conn, self.rows.iter().map(|row| row.id)).await?;
        let held: Vec<ListingId> = locked.iter().filter(|row| row.raise_held_since.is_some()).map(|row| row.id).collect();
        if held.is_empty() {
            return Ok(());
        }
        let opened: Vec<NewAlert> =
            self.rows.iter().filter(|asked| held.contains(&asked.id)).map(|asked| self.gap(tx, asked)).collect();
        alerts::open_once(&mut tx.conn, &opened, tx.now).await?;
        push_checks::verify_later(&mut tx.conn, held.into_iter(), tx.now.plus(gap::READ_AGAIN)).await
    }

    fn gap(&self, tx: &Tx<'_>, asked: &VerifyRow) -> NewAlert {
        let (code, name) = (&self.connection.code, &asked.marketplace_product_id);
        let message =
            format!("{code}: an event of {name} was missed, and what it shows cannot be read; its number is not raised");
        gap::alert(tx, self.connection.id, asked.id, "warning", message)
    }

    fn alert(&self, tx: &Tx<'_>, asked: &VerifyRow, found: Option<i64>) -> NewAlert {
        let (code, name) = (&self.connection.code, &asked.marketplace_product_id);
        let shows = found.map_or("is not listed there".to_owned(), |found| format!("shows {found}"));
        NewAlert {
            id: tx.id(),
            kind: "listing-unverified",
            severity: "warning",
            dedup_key: alert_key(asked.id),
            product_id: None,
            marketplace_id: Some(self.connection.id),
            message: format!("{code} took {} for {name} and {shows}, several times over", asked.quantity),
        }
    }
}
