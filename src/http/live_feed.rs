//! What happens, as it happens: while somebody watches, one task of this process reads what was written since it last looked, on
//! whatever node, and tells all who watch. Nothing on the way of a sale knows of it, and a watcher who is slow misses lines, never
//! delays them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::ask;
use crate::context::Context;
use crate::db::{Conn, DbError, Ids, alerts, movements, orders, push_attempts, tokens, webhooks};
use crate::domain::time::Timestamp;

/// Lines of one table told per look; of more only the newest, after a gap.
const LINES_MAX: i64 = 100;
/// How far back a look reaches where other nodes write too: their ids may come late.
const OVERLAP: Duration = Duration::from_secs(2);

/// Frames on their way to all who watch.
#[derive(Clone)]
pub struct Live {
    sender: broadcast::Sender<Arc<str>>,
    following: Arc<Mutex<bool>>,
}

impl Live {
    /// `buffer`: frames kept for a watcher who is slow.
    pub fn new(buffer: usize) -> Self {
        Self { sender: broadcast::Sender::new(buffer.max(1)), following: Arc::default() }
    }

    /// A new watcher; the first one starts the following.
    pub fn watch(&self, ctx: &Context) -> broadcast::Receiver<Arc<str>> {
        let receiver = self.sender.subscribe();
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        if !*following {
            *following = true;
            let (live, ctx) = (self.clone(), ctx.clone());
            let workers = ctx.workers.clone();
            workers.start(async move { live.follow(&ctx).await });
        }
        receiver
    }

    async fn follow(&self, ctx: &Context) {
        let mut tail = Tail::from(ctx.kit.clock.now(), ctx.db.url().is_sqlite());
        let stop = ctx.workers.stopping();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ctx.settings.server.live_tick()) => {}
            }
            {
                // Under the lock, so that who comes now starts it anew.
                let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
                if self.sender.receiver_count() == 0 {
                    *following = false;
                    return;
                }
            }
            match tail.look(ctx).await {
                // Nobody left is no failure: the next round ends.
                Ok(frames) => frames.into_iter().for_each(|frame| drop(self.sender.send(frame.to_string().into()))),
                Err(error) => tracing::debug!(%error, "what happened could not be read; tried again"),
            }
        }
    }
}

/// How far each table was read.
#[derive(Clone)]
struct Tail {
    alone: bool,
    movements: Reach,
    webhooks: Reach,
    pushes: Reach,
    orders: Reach,
    alerts: Reach,
    audit: Reach,
}

#[derive(Clone)]
struct Reach {
    from: Uuid,
    /// Told already, of those after `from`.
    told: Vec<Uuid>,
}

/// A line that was read: its id, and what to tell.
type Line = (Uuid, Value);

impl Tail {
    fn from(now: Timestamp, alone: bool) -> Self {
        let reach = Reach { from: Ids::at(now), told: Vec::new() };
        let [movements, webhooks, pushes, orders, alerts, audit] = std::array::from_fn(|_| reach.clone());
        Self { alone, movements, webhooks, pushes, orders, alerts, audit }
    }

    async fn look(&mut self, ctx: &Context) -> Result<Vec<Value>, DbError> {
        let before = self.clone();
        let (tail, frames) = ask!(ctx, (Tail, Vec<Value>), [tail: Tail = before, now: Timestamp = ctx.kit.clock.now()] |conn| {
            let mut tail = tail;
            let frames = tail.read(conn, now).await?;
            Ok((tail, frames))
        })?;
        *self = tail;
        Ok(frames)
    }

    async fn read(&mut self, conn: &mut Conn<'_>, now: Timestamp) -> Result<Vec<Value>, DbError> {
        let overlap = if self.alone { None } else { Some(Ids::at(now.minus(OVERLAP))) };
        let mut frames = Vec::new();
        let rows = movements::page(conn, &Default::default(), self.movements.ids(), LINES_MAX).await?;
        self.movements.tell(rows.into_iter().map(movement).collect(), overlap, &mut frames);
        let rows = orders::page(conn, &Default::default(), self.orders.ids(), LINES_MAX).await?;
        self.orders.tell(rows.into_iter().map(order).collect(), overlap, &mut frames);
        let rows = webhooks::page(conn, &Default::default(), self.webhooks.ids(), LINES_MAX).await?;
        self.webhooks.tell(rows.into_iter().map(webhook).collect(), overlap, &mut frames);
        let rows = push_attempts::page(conn, &Default::default(), self.pushes.ids(), LINES_MAX).await?;
        self.pushes.tell(rows.into_iter().map(push).collect(), overlap, &mut frames);
        let rows = alerts::page(conn, &Default::default(), self.alerts.ids(), LINES_MAX).await?;
        self.alerts.tell(rows.into_iter().map(alert).collect(), overlap, &mut frames);
        let rows = tokens::audit_page(conn, &Default::default(), self.audit.ids(), LINES_MAX).await?;
        self.audit.tell(rows.into_iter().filter_map(done).collect(), overlap, &mut frames);
        Ok(frames)
    }
}

impl Reach {
    fn ids(&self) -> Ids {
        Ids { from: self.from, before: Uuid::max() }
    }

    /// Newest first in, oldest first out; what was told is not told again.
    fn tell(&mut self, mut lines: Vec<Line>, overlap: Option<Uuid>, frames: &mut Vec<Value>) {
        lines.retain(|(id, _)| !self.told.contains(id));
        if lines.len() as i64 >= LINES_MAX {
            frames.push(json!({"type": "gap"}));
        }
        let Some((newest, _)) = lines.first() else {
            if let Some(from) = overlap {
                self.forget(from);
            }
            return;
        };
        let next = overlap.unwrap_or(*newest);
        self.told.extend(lines.iter().map(|(id, _)| *id));
        frames.extend(lines.into_iter().rev().map(|(_, frame)| frame));
        self.forget(next);
    }

    fn forget(&mut self, from: Uuid) {
        self.from = self.from.max(from);
        let from = self.from;
        self.told.retain(|id| *id >= from);
    }
}

fn frame(kind: &str, at: Timestamp, id: String, text: String) -> Value {
    json!({"type": "change", "kind": kind, "at": at, "id": id, "text": text})
}

fn movement(m: movements::MovementRow) -> Line {
    let text = format!("{}: {} → {} ({})", m.sku, m.quantity_before, m.quantity_after, m.movement_type);
    let mut line = frame("stock", m.recorded_at, m.id.to_string(), text);
    line["sku"] = json!(m.sku);
    line["quantity"] = m.quantity_after.into();
    line["marketplace"] = json!(m.marketplace);
    (m.id.uuid(), line)
}

fn order(o: orders::OrderView) -> Line {
    let mut line = frame("order", o.created_at, o.id.to_string(), format!("order {} is {}", o.external_id, o.status));
    line["marketplace"] = json!(o.marketplace);
    (o.id.uuid(), line)
}

fn webhook(w: webhooks::WebhookView) -> Line {
    let mut line = frame("webhook", w.created_at, w.id.to_string(), format!("{} ({})", w.event_type, w.status));
    line["marketplace"] = json!(w.marketplace);
    line["status"] = json!(w.status);
    (w.id.uuid(), line)
}

fn push(p: push_attempts::AttemptView) -> Line {
    let text = format!("told {} of {}: {}", p.quantity, p.marketplace_product_id, p.outcome);
    let mut line = frame("push", p.finished_at, p.id.to_string(), text);
    line["marketplace"] = json!(p.marketplace);
    line["outcome"] = json!(p.outcome);
    (p.id, line)
}

fn alert(a: alerts::AlertView) -> Line {
    let mut line = frame("alert", a.opened_at, a.id.to_string(), a.message);
    line["severity"] = json!(a.severity);
    line["sku"] = json!(a.sku);
    line["marketplace"] = json!(a.marketplace);
    (a.id, line)
}

/// Of what people did, that which others see: changes of connections, and runs they asked for.
fn done(a: tokens::AuditRow) -> Option<Line> {
    let kind = match a.action.split_once('.')?.0 {
        "marketplace" => "marketplace",
        "sync" | "reconciliation" => "sync",
        _ => return None,
    };
    let target = a.target.unwrap_or_default();
    let mut line = frame(kind, a.created_at, a.id.to_string(), format!("{} {target} by {}", a.action, a.actor));
    line["marketplace"] = json!(target);
    Some((a.id, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(ids: &[u128]) -> Vec<Line> {
        ids.iter().rev().map(|id| (Uuid::from_u128(*id), json!(*id as u64))).collect()
    }

    #[test]
    fn each_line_is_told_once_and_in_order() {
        let mut reach = Reach { from: Uuid::nil(), told: Vec::new() };
        let mut frames = Vec::new();
        reach.tell(lines(&[1, 2]), None, &mut frames);
        assert_eq!(reach.from, Uuid::from_u128(2));
        // The newest comes again: the stretch begins with it.
        reach.tell(lines(&[2, 3]), None, &mut frames);
        assert_eq!(frames, [json!(1), json!(2), json!(3)]);
    }

    #[test]
    fn one_of_another_node_that_comes_late_is_told_too() {
        let mut reach = Reach { from: Uuid::nil(), told: Vec::new() };
        let mut frames = Vec::new();
        let overlap = Some(Uuid::from_u128(5));
        reach.tell(lines(&[7, 9]), overlap, &mut frames);
        reach.tell(lines(&[6, 7, 9]), overlap, &mut frames);
        assert_eq!(frames, [json!(7), json!(9), json!(6)]);
        reach.tell(Vec::new(), Some(Uuid::from_u128(9)), &mut frames);
        assert_eq!(reach.told, [Uuid::from_u128(9)]);
    }

    #[test]
    fn more_than_can_be_told_is_a_gap() {
        let mut reach = Reach { from: Uuid::nil(), told: Vec::new() };
        let mut frames = Vec::new();
        reach.tell(lines(&(1..=LINES_MAX as u128).collect::<Vec<_>>()), None, &mut frames);
        assert_eq!(frames[0], json!({"type": "gap"}));
    }
}
