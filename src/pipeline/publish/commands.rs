//! What publishing writes: routes, claims, ends, and what is forgotten.

use std::time::Duration;

use uuid::Uuid;

use super::{Ended, PublishLimits};
use crate::alerts::Sent;
use crate::db::alerts::{self, NewAlert};
use crate::db::sinks::{self, DueDelivery, NewDelivery, SettledDelivery, SinkRow};
use crate::db::{DbError, events, leases};
use crate::domain::retry;
use crate::pipeline::Tx;
use crate::pipeline::dead_letters::dead_letter_alert;
use crate::pipeline::writer::Command;

/// Gives every sink its delivery of what it wants.
pub struct Route {
    pub limit: i64,
}

impl Command for Route {
    /// How many events or alerts were taken; as many as the limit: there may be more.
    type Output = i64;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<i64, DbError> {
        let all = sinks::live(&mut tx.conn).await?;
        let mut new = Vec::new();
        let unrouted = events::unrouted(&mut tx.conn, self.limit).await?;
        for event in &unrouted {
            for sink in all.iter().filter(|sink| sink.kind == "webhook" && sink.wants(&event.event_type)) {
                new.push(NewDelivery {
                    id: tx.id(),
                    sink_id: sink.id,
                    event_id: Some(event.id),
                    alert_id: None,
                    stream: event.stream,
                    sequence: event.sequence,
                    created_at: event.created_at,
                });
            }
        }
        let opened = events::unrouted_alerts(&mut tx.conn, self.limit).await?;
        for alert in &opened {
            for sink in all.iter().filter(|sink| sink.kind == "email" && sink.wants(&alert.kind)) {
                new.push(NewDelivery {
                    id: tx.id(),
                    sink_id: sink.id,
                    event_id: None,
                    alert_id: Some(alert.id),
                    stream: alert.id,
                    sequence: 0,
                    created_at: alert.opened_at,
                });
            }
        }
        sinks::insert_deliveries(&mut tx.conn, &new, tx.now).await?;
        events::set_routed(&mut tx.conn, &unrouted).await?;
        events::set_alerts_routed(&mut tx.conn, &opened).await?;
        Ok(unrouted.len().max(opened.len()) as i64)
    }
}

fn lease_name(sink: Uuid) -> String {
    format!("sink:{sink}")
}

/// Takes what may be sent to one sink, if it is ours to serve.
pub(super) struct Claim {
    pub sink: Uuid,
    pub owner: String,
    pub limit: i64,
    pub lease: Duration,
}

impl Command for Claim {
    type Output = Option<(SinkRow, Vec<DueDelivery>)>;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Self::Output, DbError> {
        let (lease, until) = (lease_name(self.sink), tx.now.plus(self.lease));
        if leases::take(&mut tx.conn, &lease, &self.owner, until, tx.now).await?.is_none() {
            return Ok(None);
        }
        if let Some(sink) = sinks::get(&mut tx.conn, self.sink).await?.filter(|sink| sink.resume_at <= tx.now) {
            let due = sinks::due_deliveries(&mut tx.conn, sink.id, tx.now, self.limit).await?;
            if !due.is_empty() {
                return Ok(Some((sink, due)));
            }
        }
        leases::release(&mut tx.conn, &lease, &self.owner).await?;
        Ok(None)
    }
}

/// Writes down how deliveries ended.
pub(super) struct Settle {
    pub sink: SinkRow,
    pub owner: String,
    pub ended: Vec<Ended>,
    pub limits: PublishLimits,
}

impl Command for Settle {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let settled: Vec<SettledDelivery> = self.ended.iter().map(|ended| self.end(tx, ended)).collect();
        sinks::settle(&mut tx.conn, &settled, tx.now).await?;
        self.pace(tx).await?;
        // Whoever looks next may have it: a restart does not wait for the lease of the process before it.
        leases::release(&mut tx.conn, &lease_name(self.sink.id), &self.owner).await?;
        let dead = settled.iter().filter(|s| s.status == "dead").count();
        if dead > 0 {
            tracing::warn!(sink = %self.sink.name, dead, "events became dead letters");
            self.warn(tx).await?;
        }
        Ok(())
    }
}

impl Settle {
    fn end(&self, tx: &Tx<'_>, ended: &Ended) -> SettledDelivery {
        let attempt = u32::try_from(ended.due.attempts + 1).unwrap_or(u32::MAX);
        let (status, code, why, wait) = match &ended.sent {
            Sent::Delivered { status } => ("delivered", *status, None, Duration::ZERO),
            Sent::Refused { status, why } => ("dead", *status, Some(why.clone()), Duration::ZERO),
            Sent::Retry { status, why, .. } if attempt >= self.limits.attempts_max => {
                ("dead", *status, Some(why.clone()), Duration::ZERO)
            }
            Sent::Retry { status, why, after } => {
                let wait = retry::delay(attempt, self.limits.retry_base, self.limits.retry_cap, *after, tx.kit.chance.unit());
                ("pending", *status, Some(why.clone()), wait)
            }
        };
        SettledDelivery {
            id: ended.due.id,
            status,
            next_attempt_at: tx.now.plus(wait),
            last_status: code.map(i64::from),
            last_error: why,
        }
    }

    /// A sink that took nothing is left alone for a while; one that took something is well.
    async fn pace(&self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let nothing_taken = !self.ended.is_empty() && self.ended.iter().all(|ended| matches!(ended.sent, Sent::Retry { .. }));
        if !nothing_taken {
            return if self.sink.failures == 0 { Ok(()) } else { sinks::set_pace(&mut tx.conn, self.sink.id, 0, tx.now).await };
        }
        let failures = self.sink.failures + 1;
        let attempt = u32::try_from(failures).unwrap_or(u32::MAX);
        let wait = retry::delay(attempt, self.limits.retry_base, self.limits.retry_cap, None, tx.kit.chance.unit());
        sinks::set_pace(&mut tx.conn, self.sink.id, failures, tx.now.plus(wait)).await
    }

    /// Not for mail: a mail about mail that cannot be sent helps nobody.
    async fn warn(&self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        if self.sink.kind != "webhook" {
            return Ok(());
        }
        let alert = NewAlert {
            id: tx.id(),
            kind: "event-dead-letter",
            severity: "warning",
            dedup_key: dead_letter_alert(self.sink.id),
            product_id: None,
            marketplace_id: None,
            message: format!("{} did not take an event for good: see the dead letters", self.sink.name),
        };
        alerts::open_once(&mut tx.conn, &[alert], tx.now).await.map(drop)
    }
}

/// Forgets events that are old and delivered.
pub struct Purge {
    pub retention: Duration,
    pub limit: i64,
}

impl Command for Purge {
    type Output = u64;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<u64, DbError> {
        events::purge(&mut tx.conn, tx.now.minus(self.retention), self.limit).await
    }
}
