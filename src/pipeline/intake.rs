//! The page to read first: what happens to a webhook, from its bytes to its answer.

use std::sync::Arc;

use bytes::Bytes;

use super::verify::{self, Inbound, Rejection, Verified};
use super::writer::{WriteError, Writer};
use super::{Kit, challenge, normalise};
use crate::db::DbError;
use crate::domain::ids::WebhookId;
use crate::domain::time::Timestamp;
use crate::marketplaces::scheme::Ack;
use crate::marketplaces::{Connection, Reading};

/// A verified and read webhook, on its way to the writer.
#[derive(Debug)]
pub struct Arrival {
    verified: Verified,
    reading: Reading,
    event_key: String,
    explicit_id: bool,
    body_hash: [u8; 32],
}

/// What the sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub id: WebhookId,
    pub duplicate: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    NotWritten(#[from] WriteError<DbError>),
}

/// What became of a request that was believed.
#[derive(Clone, Copy, Debug)]
pub enum Taken {
    Logged(Receipt, Ack),
    /// No event: the sender only wants to know that we are there. With what it is answered, where its scheme says so.
    Ping(Option<&'static str>),
}

/// Verify → read → log and apply in one transaction → answer. Nothing is answered before its row is durable.
pub async fn receive(kit: &Kit, writer: &Writer, inbound: Inbound) -> Result<Taken, IntakeError> {
    let code = inbound.connection.code.clone();
    if let Some((kid, scheme)) = verify::wanted_key(&inbound) {
        kit.keys.learn(&inbound.connection, &kid, &scheme, inbound.received_at).await;
    }
    let (marketplace, now) = (inbound.connection.id, inbound.received_at);
    let key = |kid: &str| kit.keys.find(marketplace, kid, now);
    let verified = verify::verify(inbound, kit.limits.timestamp_tolerance, &key).map_err(|(rejection, inbound)| {
        kit.metrics.webhook(&code, rejection.label());
        kit.rejected.push(&inbound, rejection);
        rejection
    })?;
    if challenge::is_ping(&verified.scheme, &verified.body) {
        kit.metrics.webhook(&code, "ping");
        return Ok(Taken::Ping(verified.scheme.pong));
    }
    kit.pulse.beat(marketplace, now);
    let ack = verified.scheme.ack;
    let started = kit.clock.elapsed();
    let arrival = normalise::webhook(verified, kit.limits.json);
    let receipt = writer.receive(arrival).await.inspect_err(|_| kit.metrics.webhook(&code, "not_written"))?;
    kit.metrics.webhook(&code, if receipt.duplicate { "duplicate" } else { "accepted" });
    kit.metrics.ack_seconds.observe((kit.clock.elapsed().saturating_sub(started)).as_secs_f64());
    Ok(Taken::Logged(receipt, ack))
}

impl Arrival {
    pub(super) fn new(verified: Verified, reading: Reading, event_key: String, explicit_id: bool, body_hash: [u8; 32]) -> Self {
        Self { verified, reading, event_key, explicit_id, body_hash }
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.verified.connection
    }

    pub fn body(&self) -> &Bytes {
        &self.verified.body
    }

    pub fn received_at(&self) -> Timestamp {
        self.verified.received_at
    }

    pub fn signature(&self) -> &str {
        &self.verified.signature
    }

    /// The kept headers, as a JSON object.
    pub fn headers(&self) -> &str {
        &self.verified.headers
    }

    pub fn key_id(&self) -> &str {
        &self.verified.key_id
    }

    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    pub fn event_key(&self) -> &str {
        &self.event_key
    }

    pub fn explicit_id(&self) -> bool {
        self.explicit_id
    }

    pub fn body_hash(&self) -> &[u8; 32] {
        &self.body_hash
    }
}
