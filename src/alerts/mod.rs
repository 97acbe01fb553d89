//! Carrying one message to one sink, and saying how it ended. Who is told what, and when again, is `pipeline/publish`.

pub mod mail;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use crate::db::sinks::{DueDelivery, SinkRow};
use crate::domain::time::Timestamp;
use crate::marketplaces::Answer;
use crate::marketplaces::wire::excerpt;
use crate::outbound::Outbound;
use crate::seal::Sealer;
use mail::{Mail, Mailer};

/// How a try to deliver ended. Data, not an error.
#[derive(Clone, Debug, PartialEq)]
pub enum Sent {
    Delivered {
        status: Option<u16>,
    },
    /// It may work later.
    Retry {
        status: Option<u16>,
        why: String,
        after: Option<Duration>,
    },
    /// It will not work as it is.
    Refused {
        status: Option<u16>,
        why: String,
    },
}

/// A message as a sink takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An event in its envelope, with its id.
    Event {
        id: String,
        body: Vec<u8>,
    },
    Alert(Mail),
}

impl Message {
    /// Nothing, where the row points to nothing any more.
    pub fn of(due: &DueDelivery) -> Option<Self> {
        if let (Some(id), Some(kind), Some(payload), Some(at)) = (due.event_id, &due.event_type, &due.payload, due.event_at) {
            return Some(Self::Event { id: id.to_string(), body: webhook::body(&id.to_string(), kind, at, payload)? });
        }
        let (id, kind, message, at) = (due.alert_id?, due.alert_kind.as_ref()?, due.message.as_ref()?, due.opened_at?);
        let severity = due.severity.as_deref().unwrap_or("info");
        Some(Self::Alert(Mail {
            id: id.to_string(),
            subject: format!("[stockhub] {severity}: {message}"),
            text: format!("{message}\n\nKind: {kind}\nSeverity: {severity}\nOpened: {at}\nAlert: {id}\n"),
        }))
    }

    /// What `POST …/test` sends.
    pub fn test(sink: &SinkRow, id: &str, now: Timestamp) -> Option<Self> {
        if sink.kind == "webhook" {
            let payload = serde_json::json!({"sink": sink.id.to_string()}).to_string();
            return Some(Self::Event { id: id.to_owned(), body: webhook::body(id, "sink-test", now, &payload)? });
        }
        let text = format!("This is a test: alerts of stockhub will reach you here.\n\nSent: {now}\n");
        Some(Self::Alert(Mail { id: id.to_owned(), subject: "[stockhub] test".into(), text }))
    }
}

/// The way out to all sinks; cheap to clone.
#[derive(Clone)]
pub struct Messenger {
    pub outbound: Outbound,
    /// `None` when no mail server is set.
    pub mailer: Option<Arc<Mailer>>,
    pub sealer: Sealer,
}

impl Messenger {
    pub async fn send(&self, sink: &SinkRow, message: &Message, now: Timestamp) -> Sent {
        match message {
            Message::Event { id, body } => self.post(sink, id, body, now).await,
            Message::Alert(mail) => match &self.mailer {
                Some(mailer) => mailer.send(&SinkRow::list(&sink.recipients), mail).await,
                None => retry("no mail server is set (mail.host)"),
            },
        }
    }

    async fn post(&self, sink: &SinkRow, id: &str, body: &[u8], now: Timestamp) -> Sent {
        let (Some(url), Some(sealed)) = (&sink.url, &sink.secret) else { return refused("the sink has no address") };
        let Ok(secret) = self.sealer.open(sealed) else {
            return retry("the sink's secret cannot be opened: another master key?");
        };
        let Some(request) = webhook::request(url, &secret, id, now, body) else { return refused("the sink's secret is no key") };
        match self.outbound.send(request).await {
            Answer::Response { status: status @ 200..=299, .. } => Sent::Delivered { status: Some(status) },
            Answer::Response { status: status @ (408 | 425 | 429 | 500..=599), retry_after, body, .. } => {
                Sent::Retry { status: Some(status), why: said(status, &body), after: retry_after }
            }
            // A redirect is not followed: it could lead anywhere.
            Answer::Response { status, body, .. } => Sent::Refused { status: Some(status), why: said(status, &body) },
            Answer::NotSent(why) | Answer::NoAnswer(why) | Answer::Cut(why) => Sent::Retry { status: None, why, after: None },
        }
    }
}

fn said(status: u16, body: &[u8]) -> String {
    format!("answered {status}: {}", excerpt(body))
}

fn retry(why: &str) -> Sent {
    Sent::Retry { status: None, why: why.into(), after: None }
}

fn refused(why: &str) -> Sent {
    Sent::Refused { status: None, why: why.into() }
}
