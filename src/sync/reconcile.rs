//! Reconciliation: what marketplaces show beside what we believe they show. Read in bulk, compared behind a fence, looked at twice, and
//! decided by policy. A dry run is the same code without the last step.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Sync;
use super::bulk::give_up;
use super::compare::{Compare, Compared, Report, Verdict};
use super::judge::{self, Found};
use super::matching::Names;
use super::poll::PollEnd;
use super::read::{Reader, Seen};
use super::runs::{End, Running, Step};
use super::settle::{Difference, Settle};
use crate::ask;
use crate::db::DbError;
use crate::db::alerts::{self, NewAlert};
use crate::db::sync::{ItemView, NewItem};
use crate::domain::ids::ListingId;
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::pipeline::Tx;
use crate::pipeline::writer::Command;

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    First,
    /// What differed is looked at once more.
    Second,
}

/// Differences that are acted on in one transaction.
const ACTS: usize = 20;
/// Items of a run that are looked at again at most.
const SUSPECTS_MAX: i64 = 100_000;

/// What one look over listings gave.
struct Look {
    compared: Vec<(Compared, Timestamp)>,
    known: i64,
    absent: i64,
}

impl Sync {
    pub(super) async fn reconcile(&self, running: &mut Running) -> Step {
        let names = match self.names(running.connection.id).await {
            Ok(names) => names,
            Err(error) => return Step::Over(End::failed(error.to_string())),
        };
        match running.cursor::<Phase>().unwrap_or(Phase::First) {
            Phase::First => self.first_look(running, &names).await,
            Phase::Second => self.second_look(running, &names).await,
        }
    }

    async fn first_look(&self, running: &mut Running, names: &Names) -> Step {
        for name in ["pages", "matched", "absent", "unmapped", "checked", "equal", "skipped", "discrepancies"] {
            running.set(name, 0);
        }
        let look = match self.look(running, names, None).await {
            Ok(look) => look,
            Err(step) => return step,
        };
        let different = |one: &&(Compared, Timestamp)| matches!(one.0.verdict, Verdict::Different { .. });
        let emptied = |one: &&(Compared, Timestamp)| different(one) && one.0.remote == 0;
        let skipped = |one: &&(Compared, Timestamp)| matches!(one.0.verdict, Verdict::Skipped(_));
        let count =
            |which: &dyn Fn(&&(Compared, Timestamp)) -> bool| look.compared.iter().filter(|one| which(one)).count() as i64;
        let (differing, emptied, skipped) = (count(&different), count(&emptied), count(&skipped));
        let checked = look.compared.len() as i64;
        running.set("checked", checked);
        running.set("skipped", skipped);
        running.set("equal", checked - skipped - differing);
        running.set("discrepancies", differing);
        running.set("absent", look.absent);
        let found = Found { known: look.known, compared: checked - skipped, different: differing, emptied, absent: look.absent };
        let stopped = judge::breaker(&self.limits, found);
        let items = look.compared.iter().filter_map(|(one, _)| match one.verdict {
            Verdict::Different { .. } if stopped.is_some() => Some(one.item("stopped", None, 1)),
            Verdict::Different { .. } => Some(one.item("first_look", None, 1)),
            Verdict::Skipped(why) => Some(one.item("skipped", Some(why.to_owned()), 1)),
            Verdict::Equal => None,
        });
        if let Err(step) = self.report(running, items.collect()).await {
            return step;
        }
        if let Some(why) = stopped {
            return Step::Over(End::failed(why));
        }
        if differing == 0 {
            return self.ended(running).await;
        }
        running.set_cursor(&Phase::Second);
        Step::Wait(self.limits.second_look())
    }

    async fn second_look(&self, running: &mut Running, names: &Names) -> Step {
        let suspects = match self.suspects(running.run.id).await {
            Ok(suspects) => suspects,
            Err(error) => return Step::Over(End::failed(error.to_string())),
        };
        let only = (0..names.rows.len()).filter(|n| suspects.contains_key(&names.rows[*n].id)).collect();
        let look = match self.look(running, names, Some(only)).await {
            Ok(look) => look,
            Err(step) => return step,
        };
        let mut items = Vec::new();
        let mut stand = Vec::new();
        let (mut came_right, mut unsettled) = (0, suspects.len() as i64 - look.compared.len() as i64);
        for (one, asked_at) in look.compared {
            let Some(before) = suspects.get(&one.row.id) else { continue };
            match one.verdict {
                Verdict::Equal => {
                    came_right += 1;
                    let cause =
                        if one.row.expected == before.expected { "it came right by itself" } else { "what was missing came in" };
                    items.push(one.item("settled", Some(cause.to_owned()), 2));
                }
                Verdict::Skipped(why) => {
                    unsettled += 1;
                    items.push(one.item("skipped", Some(why.to_owned()), 2));
                }
                Verdict::Different { expected, cause } => {
                    if before.remote == Some(one.remote) && before.expected == Some(expected) {
                        stand.push((one, expected, cause, asked_at));
                    } else {
                        unsettled += 1;
                        items.push(one.item("unsettled", Some("it differs in another way than before".to_owned()), 2));
                    }
                }
            }
        }
        running.set("equal", running.count("equal") + came_right);
        running.set("skipped", running.count("skipped") + unsettled);
        running.set("discrepancies", stand.len() as i64);
        if let Err(step) = self.report(running, items).await {
            return step;
        }
        let acted = if running.run.dry_run { self.would_act(running, &stand).await } else { self.act(running, stand).await };
        match acted {
            Ok(()) => self.ended(running).await,
            Err(step) => step,
        }
    }

    /// Reads, lets the orders be read after it, and compares.
    async fn look(&self, running: &mut Running, names: &Names, only: Option<Vec<usize>>) -> Result<Look, Step> {
        let connection = running.connection.clone();
        let known = only.as_ref().map_or(names.rows.len(), Vec::len) as i64;
        // A second look is at what the first one counted.
        let counts = only.is_none();
        let mut reader = Reader::new(self, &connection, names, None, only);
        let mut seen: BTreeMap<ListingId, Seen> = BTreeMap::new();
        loop {
            if self.workers.stopping().is_cancelled() {
                return Err(Step::Left);
            }
            match reader.next().await {
                Ok(Some(batch)) => {
                    running.calls += batch.calls;
                    running.add("pages", 1);
                    if counts {
                        running.add("matched", batch.seen.len() as i64);
                        running.add("unmapped", batch.strange.len() as i64);
                    }
                    // Named twice, the last one counts: it was read later.
                    seen.extend(batch.seen.into_iter().map(|one| (one.listing, one)));
                    match self.progress(running, None).await {
                        Ok(true) => {}
                        Ok(false) => return Err(Step::Left),
                        Err(error) => return Err(give_up(&error)),
                    }
                }
                Ok(None) => break,
                Err((why, calls)) => {
                    running.calls += calls;
                    return Err(running.failed(self, &why));
                }
            }
        }
        running.set("failures", 0);
        let absent = known - seen.len() as i64;
        let orders_read = self.read_orders(&connection).await;
        let compared = self.compare(running, seen.into_values().collect(), orders_read).await?;
        Ok(Look { compared, known, absent })
    }

    /// Where a list of orders can be read, it is read after the numbers: what was sold before is then known.
    async fn read_orders(&self, connection: &Arc<Connection>) -> bool {
        if connection.adapter.traits().abilities.orders.is_none() {
            return true;
        }
        let read_end = self.kit.clock.now();
        // The second one where the first was the rest of an older walk.
        for _ in 0..2 {
            match self.poll_alone(connection).await {
                PollEnd::Drained { began, .. } if began >= read_end => return true,
                PollEnd::Drained { .. } => {}
                _ => return false,
            }
        }
        false
    }

    async fn compare(&self, running: &Running, seen: Vec<Seen>, orders_read: bool) -> Result<Vec<(Compared, Timestamp)>, Step> {
        let mut all = Vec::with_capacity(seen.len());
        for part in seen.chunks(self.limits.rows_per_write.max(1)) {
            let compare = Compare {
                connection: running.connection.clone(),
                owner: self.owner.clone(),
                run: running.run.id,
                actor: running.run.actor.clone(),
                dry_run: running.run.dry_run,
                seen: part.to_vec(),
                orders_read,
            };
            let compared = self.writer.run_patiently(compare).await.map_err(|error| give_up(&error))?;
            let asked: BTreeMap<ListingId, Timestamp> = part.iter().map(|seen| (seen.listing, seen.asked_at)).collect();
            all.extend(compared.into_iter().map(|one| {
                let at = asked.get(&one.row.id).copied().unwrap_or_default();
                (one, at)
            }));
        }
        Ok(all)
    }

    async fn suspects(&self, run: Uuid) -> Result<BTreeMap<ListingId, ItemView>, DbError> {
        let items = ask!(self, Vec<ItemView>, [run: Uuid = run] |conn| {
            crate::db::sync::items(conn, run, SUSPECTS_MAX).await
        })?;
        let first = items.into_iter().filter(|item| item.decision == "first_look");
        Ok(first.filter_map(|item| Some((item.listing_id?, item))).collect())
    }

    async fn report(&self, running: &Running, items: Vec<NewItem>) -> Result<(), Step> {
        for part in items.chunks(self.limits.rows_per_write.max(1)) {
            let report = Report {
                connection: running.connection.clone(),
                owner: self.owner.clone(),
                run: running.run.id,
                items: part.to_vec(),
            };
            self.writer.run_patiently(report).await.map_err(|error| give_up(&error))?;
        }
        Ok(())
    }

    async fn would_act(&self, running: &Running, stand: &[(Compared, i64, &'static str, Timestamp)]) -> Result<(), Step> {
        let policy = running.connection.policy.drift_policy;
        let items = stand.iter().map(|(one, expected, _, _)| {
            let decision = judge::decide(policy, one.remote - expected, one.row.parts == 1);
            one.item(decision.as_str(), Some("a dry run: nothing was changed".to_owned()), 2)
        });
        self.report(running, items.collect()).await
    }

    async fn act(&self, running: &mut Running, stand: Vec<(Compared, i64, &'static str, Timestamp)>) -> Result<(), Step> {
        let differences: Vec<Difference> = stand
            .into_iter()
            .map(|(one, expected, cause, asked_at)| Difference { row: one.row, expected, remote: one.remote, cause, asked_at })
            .collect();
        for part in differences.chunks(ACTS) {
            let settle = Settle {
                connection: running.connection.clone(),
                owner: self.owner.clone(),
                run: running.run.id,
                actor: running.run.actor.clone(),
                differences: part.to_vec(),
            };
            let acted = self.writer.run_patiently(settle).await.map_err(|error| give_up(&error))?;
            running.add("acted", acted.acted);
            running.add("asked", acted.asked);
            running.add("skipped", acted.stale);
            running.set("discrepancies", running.count("discrepancies") - acted.stale);
        }
        Ok(())
    }

    /// Accuracy as a figure, and an alert where too much differs.
    async fn ended(&self, running: &mut Running) -> Step {
        let (equal, different) = (running.count("equal"), running.count("discrepancies"));
        self.kit.metrics.reconciled(&running.connection.code, equal, different);
        let over = different > 0 && different * 100 > (equal + different) * self.limits.drift_alert_percent;
        let drift = DriftAlert { connection: running.connection.clone(), equal, different, over };
        if !running.run.dry_run
            && let Err(error) = self.writer.run_patiently(drift).await
        {
            tracing::warn!(marketplace = %running.connection.code, %error, "the alert about drift could not be written");
        }
        let partial = running.count("skipped") > 0 || running.count("absent") > 0;
        Step::Over(End::done(if partial { "partial" } else { "succeeded" }))
    }

    /// A poll that nobody else of this process makes at the same time.
    pub(super) async fn poll_alone(&self, connection: &Arc<Connection>) -> PollEnd {
        let _turn = self.turn(connection.id).await;
        self.poll(connection).await
    }
}

/// Opens or ends the alert about an account's drift rate.
struct DriftAlert {
    connection: Arc<Connection>,
    equal: i64,
    different: i64,
    over: bool,
}

impl Command for DriftAlert {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let code = &self.connection.code;
        let key = format!("drift-rate:{code}");
        if !self.over {
            return alerts::resolve(&mut tx.conn, [key.as_str()], tx.now).await.map(drop);
        }
        let alert = NewAlert {
            id: tx.id(),
            kind: "drift-rate",
            severity: "warning",
            dedup_key: key,
            product_id: None,
            marketplace_id: Some(self.connection.id),
            message: format!(
                "{code}: {} of {} listings showed another number than expected",
                self.different,
                self.equal + self.different
            ),
        };
        alerts::open_once(&mut tx.conn, &[alert], tx.now).await.map(drop)
    }
}
