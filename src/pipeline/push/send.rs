//! Sending one batch, and taking it apart when one of its items spoils the rest.

use std::sync::{Mutex, PoisonError};

use super::Pusher;
use super::batch::item;
use super::settle::{Ended, Settle};
use crate::breakage::{self, Breakage};
use crate::caller::{Caller, Purpose, Refused, Ticket};
use crate::db::pushes::DueRow;
use crate::domain::time::Timestamp;
use crate::marketplaces::wire::Headers;
use crate::marketplaces::{Answer, Outcome, PushItem, Pushed};

/// Requests spent on finding the bad ones of a batch. One among a thousand is found with twenty; where many are bad, the rest are
/// tried one by one later.
const BISECT_MAX: usize = 24;

/// What is known of a request that ended.
struct Answered {
    pushed: Pushed,
    status: Option<u16>,
    took: std::time::Duration,
    /// Whether a request left for it.
    left: bool,
}

impl Pusher {
    /// Sends a batch and writes down how each item ended. A permanent refusal of several is tried in halves.
    pub(super) async fn send(
        &self,
        caller: &Caller,
        batch: Vec<DueRow>,
        ticket: Ticket,
        sent_at: Timestamp,
        names: &Mutex<Vec<&'static str>>,
    ) -> Vec<Outcome> {
        let _busy = caller.busy();
        for row in &batch {
            self.kit.metrics.push_left(&self.connection.code, sent_at.since(row.wanted_at));
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut parts = vec![(batch, Some(ticket))];
        let mut spare = BISECT_MAX;
        let mut calls = 0;
        while let Some((part, ticket)) = parts.pop() {
            let items: Vec<PushItem> = part.iter().map(item).collect();
            let answered = self.request(caller, &items, ticket, names).await;
            calls += i64::from(answered.left);
            let ended = match answered.pushed {
                Pushed::Whole(Outcome::Permanent { .. }) if items.len() > 1 && spare >= 2 => {
                    spare -= 2;
                    let mut first = part;
                    let second = first.split_off(first.len() / 2);
                    parts.push((second, None));
                    parts.push((first, None));
                    continue;
                }
                Pushed::Whole(Outcome::Permanent { message, .. }) if items.len() > 1 => {
                    vec![refused_together(message); items.len()]
                }
                pushed => pushed.each(items.len()),
            };
            self.end(part, &items, &ended, answered.status, (sent_at, std::mem::take(&mut calls))).await;
            // Counted once it is written down.
            for outcome in &ended {
                self.kit.metrics.pushed(&self.connection.code, outcome.name(), answered.took);
            }
            outcomes.extend(ended);
        }
        outcomes
    }

    /// Those that lack what their marketplace knows them by: a person has to say it.
    pub(super) async fn refuse(&self, nameless: Vec<(DueRow, String)>, sent_at: Timestamp) -> Vec<Outcome> {
        for (row, missing) in nameless {
            let message = format!("the listing has no {missing:?}, and neither has its account");
            let outcome = Outcome::Permanent { code: Some("missing-ref".into()), message };
            let items = [item(&row)];
            self.end(vec![row], &items, &[outcome], None, (sent_at, 0)).await;
        }
        // It says nothing about the marketplace.
        Vec::new()
    }

    async fn request(
        &self,
        caller: &Caller,
        items: &[PushItem],
        ticket: Option<Ticket>,
        names: &Mutex<Vec<&'static str>>,
    ) -> Answered {
        let adapter = &*self.connection.adapter;
        if breakage::is(Breakage::PushLost) {
            let answer = Answer::Response { status: 204, retry_after: None, headers: Headers::default(), body: Vec::new() };
            let (pushed, took) = (adapter.read_push(items, &answer), std::time::Duration::ZERO);
            return Answered { pushed, status: Some(204), took, left: true };
        }
        let sent = caller.call(Purpose::Push, ticket, |connection, moment| {
            let call = connection.adapter.push(connection, moment, items)?;
            names.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&call.limits);
            Ok(call)
        });
        match sent.await {
            Ok(sent) => {
                let status = if let Answer::Response { status, .. } = &sent.answer { Some(*status) } else { None };
                let pushed = adapter.read_push(items, &sent.answer);
                if let Pushed::Whole(outcome) = &pushed {
                    caller.heed(&sent, outcome).await;
                }
                // An answer that names fewer than were told says nothing of the rest.
                let pushed = match pushed {
                    Pushed::Each(mut each) if each.len() != items.len() => {
                        each.resize(items.len(), Outcome::Unknown { message: "the answer does not say".into() });
                        Pushed::Each(each)
                    }
                    pushed => pushed,
                };
                Answered { pushed, status, took: sent.took, left: !matches!(sent.answer, Answer::NotSent(_)) }
            }
            Err(refused) => {
                let one_by_one = matches!(refused, Refused::Unbuildable(_)) && items.len() > 1;
                let outcome = refused.outcome();
                let pushed = if one_by_one { Pushed::Whole(outcome) } else { Pushed::Each(vec![outcome; items.len()]) };
                Answered { pushed, status: None, took: std::time::Duration::ZERO, left: false }
            }
        }
    }

    /// `sent`: when they were sent, and with how many requests.
    async fn end(
        &self,
        rows: Vec<DueRow>,
        items: &[PushItem],
        outcomes: &[Outcome],
        status: Option<u16>,
        (sent_at, calls): (Timestamp, i64),
    ) {
        let ended = rows.into_iter().zip(items).zip(outcomes).map(|((row, item), outcome)| Ended {
            row,
            key: item.idempotency_key(),
            outcome: outcome.clone(),
            status,
        });
        let settle = Settle {
            connection: self.connection.clone(),
            ended: ended.collect(),
            sent_at,
            calls,
            limits: self.limits,
            lease: self.lease(),
        };
        self.write_patiently(|| self.writer.run_together(settle.clone())).await;
    }
}

/// Refused in company, and there was no time to find out for whose sake: each is tried alone.
fn refused_together(message: String) -> Outcome {
    Outcome::Retry { after: None, throttled: false, code: Some(REFUSED_TOGETHER.into()), message }
}

pub(super) const REFUSED_TOGETHER: &str = "refused-together";
