//! A source that normally sends and has stopped: a secret that was changed, a subscription that was deleted, a firewall. Nothing
//! fails then, so somebody has to notice the silence.
//!
//! A source is judged once it has sent often enough to have a rhythm. What was learnt is kept in the database, for all nodes
//! together: a source falls silent most often with the restart that changed something about it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Tx;
use super::writer::Command;
use crate::db::alerts::{self, NewAlert};
use crate::db::{DbError, hub};
use crate::domain::ids::MarketplaceId;
use crate::domain::time::Timestamp;

/// Webhooks after which a source has a rhythm.
const LEARNT_AFTER: u32 = 20;
/// How much a new gap weighs in the usual one.
const WEIGHT: f64 = 0.05;
/// What was learnt, among the hub's own values.
const LEARNT: &str = "webhook_pulse";

#[derive(Clone, Default)]
pub struct Pulse(Arc<Mutex<HashMap<MarketplaceId, Beat>>>);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Beat {
    last: Timestamp,
    usual_s: f64,
    count: u32,
}

/// When a silence is one.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// So many times the usual gap.
    pub factor: u32,
    /// And at least so long: nights are quiet.
    pub at_least: Duration,
}

impl Pulse {
    pub fn beat(&self, marketplace: MarketplaceId, now: Timestamp) {
        let mut beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let beat = beats.entry(marketplace).or_insert(Beat { last: now, usual_s: 0.0, count: 0 });
        let gap = now.since(beat.last).as_secs_f64();
        beat.usual_s = match beat.count {
            0 => 0.0,
            1 => gap,
            _ => beat.usual_s * (1.0 - WEIGHT) + gap * WEIGHT,
        };
        beat.last = beat.last.max(now);
        beat.count = beat.count.saturating_add(1);
    }

    /// When it last sent one that was believed, as far as is known here.
    pub fn last(&self, marketplace: MarketplaceId) -> Option<Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&marketplace).map(|beat| beat.last)
    }

    /// Takes in what other nodes, and this one before its start, have learnt; gives what is known now.
    fn merge(&self, stored: &BTreeMap<Uuid, Beat>) -> BTreeMap<Uuid, Beat> {
        let mut beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, known) in stored {
            let beat = beats.entry(MarketplaceId::new(*id)).or_insert(*known);
            beat.last = beat.last.max(known.last);
            if known.count > beat.count {
                (beat.usual_s, beat.count) = (known.usual_s, known.count);
            }
        }
        beats.iter().map(|(id, beat)| (id.uuid(), *beat)).collect()
    }

    /// Every source with a rhythm, how long it has been silent, and whether that is too long.
    fn judge(&self, now: Timestamp, patience: Patience) -> Vec<(MarketplaceId, Duration, bool)> {
        let beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let learnt = beats.iter().filter(|(_, beat)| beat.count >= LEARNT_AFTER);
        learnt
            .map(|(id, beat)| {
                let silent = now.since(beat.last);
                let limit = (beat.usual_s * f64::from(patience.factor)).max(patience.at_least.as_secs_f64());
                (*id, silent, silent.as_secs_f64() > limit)
            })
            .collect()
    }
}

/// Opens an alert for each source that fell silent, and ends those of sources that are back.
pub struct ListenForSilence(pub Patience);

impl Command for ListenForSilence {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let stored = hub::get(&mut tx.conn, LEARNT).await?;
        let stored = stored.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let known = tx.kit.pulse.merge(&stored);
        if known != stored {
            hub::set(&mut tx.conn, LEARNT, &serde_json::json!(known).to_string()).await?;
        }
        let (mut open, mut back) = (Vec::new(), Vec::new());
        for (id, silent, too_long) in tx.kit.pulse.judge(tx.now, self.0) {
            let Some(connection) = tx.kit.registry.by_id(id) else { continue };
            let key = format!("silence:{}", connection.code);
            // Of whom no webhooks are taken, none are missed.
            if !too_long || !connection.webhook_enabled || connection.is_archived() {
                back.push(key);
                continue;
            }
            open.push(NewAlert {
                id: tx.id(),
                kind: "webhook-silence",
                severity: "warning",
                dedup_key: key,
                product_id: None,
                marketplace_id: Some(id),
                message: format!(
                    "{}: no webhook for {} minutes, which is unusual for it",
                    connection.code,
                    silent.as_secs() / 60
                ),
            });
        }
        alerts::open_once(&mut tx.conn, &open, tx.now).await?;
        if !back.is_empty() {
            alerts::resolve(&mut tx.conn, back.iter().map(String::as_str), tx.now).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_measured_by_what_is_usual() {
        let at = |seconds: i64| Timestamp::from_seconds(1_800_000_000 + seconds);
        let pulse = Pulse::default();
        let id = MarketplaceId::new(uuid::Uuid::nil());
        let patience = Patience { factor: 20, at_least: Duration::from_secs(600) };
        for n in 0..100 {
            pulse.beat(id, at(60 * n));
        }
        let too_long = |seconds| pulse.judge(at(seconds), patience).iter().any(|(_, _, too_long)| *too_long);
        assert!(!too_long(60 * 99 + 1_200));
        assert!(too_long(60 * 99 + 1_201 + 60));
        // A process that starts, or another node, knows what was learnt; the newest webhook of any node counts.
        let learnt = pulse.merge(&BTreeMap::new());
        let text = serde_json::json!(learnt).to_string();
        let next = Pulse::default();
        next.beat(id, at(60 * 200));
        assert_eq!(
            next.merge(&serde_json::from_str(&text).unwrap())[&id.uuid()],
            Beat { last: at(60 * 200), ..learnt[&id.uuid()] }
        );
        let too_long = |seconds| next.judge(at(seconds), patience).iter().any(|(_, _, too_long)| *too_long);
        assert!(!too_long(60 * 200 + 1_200));
        assert!(too_long(60 * 200 + 1_260));
        let rare = Pulse::default();
        rare.beat(id, at(0));
        assert!(rare.judge(at(1_000_000), patience).is_empty(), "one does not make a rhythm");
    }
}
