//! Verified → facts: the adapter reads the body, and the event gets the key under which it is logged once.

use sha2::{Digest as _, Sha256};

use super::intake::Arrival;
use super::verify::{Verified, json_text};
use crate::breakage::{self, Breakage};
use crate::domain::fact::{Fact, StockDelta};
use crate::marketplaces::scheme::Trust;
use crate::marketplaces::{Connection, Door, Incoming, Reading, Unreadable, Verdict, json};

/// Reads a verified request. What cannot be used is an arrival too: it is kept, with the reason.
pub fn webhook(verified: Verified, limits: json::Limits) -> Arrival {
    let incoming = Incoming { body: &verified.body, headers: &verified.headers, door: Door::Webhook, limits };
    let reading = verified.connection.adapter.read(&verified.connection, incoming);
    let body_hash: [u8; 32] = Sha256::digest(&verified.body).into();
    let reading = believed(&verified, reading);
    let id = verified.id.clone().or_else(|| id_in_body(&verified));
    let (event_key, explicit_id) = match (&id, &reading.natural_key) {
        (Some(id), _) => (format!("id:{id}"), true),
        (None, Some(key)) => (key.clone(), false),
        // Said twice, it is looked up twice: what it names may have changed in between, and the words would be the same.
        (None, None) if matches!(reading.verdict, Verdict::Hint { .. }) => {
            (format!("body:{}:{}", hex::encode(body_hash), verified.received_at.micros()), false)
        }
        // Nothing to go by: the same bytes are the same event. Facts never pass here, see `without_identity`.
        (None, None) => (format!("body:{}", hex::encode(body_hash)), false),
    };
    let event_key = if breakage::is(Breakage::NoDedupe) { breakage::never_again(event_key) } else { event_key };
    let reading = if explicit_id { reading } else { without_identity(reading) };
    Arrival::new(verified, reading, event_key, explicit_id, body_hash)
}

/// Reads a logged row once more, with the adapter of today and under the same rules as when it came in.
pub fn again(connection: &Connection, event_key: &str, incoming: Incoming<'_>) -> Reading {
    if incoming.door == Door::Poll
        && let Some(reading) = super::polled::own_words(event_key, incoming.body)
    {
        return reading;
    }
    let reading = connection.adapter.read(connection, incoming);
    let by_webhook = incoming.door == Door::Webhook;
    let only_hints =
        by_webhook && !connection.schemes().is_empty() && connection.schemes().iter().all(|scheme| scheme.trust == Trust::Hint);
    let reading = if only_hints { no_hint(connection, reading) } else { reading };
    if event_key.starts_with("body:") { without_identity(reading) } else { reading }
}

/// Longest id that is taken from a body.
const ID_MAX: usize = 256;

fn id_in_body(verified: &Verified) -> Option<String> {
    json_text(&verified.body, verified.id_pointer?).filter(|id| !id.is_empty() && id.len() <= ID_MAX)
}

/// What nobody signed says where to look, no more, unless the account says that it is to be believed.
fn believed(verified: &Verified, reading: Reading) -> Reading {
    if verified.scheme.trust == Trust::Hint { no_hint(&verified.connection, reading) } else { reading }
}

fn no_hint(connection: &Connection, reading: Reading) -> Reading {
    let trusted = connection.account.get("trust").and_then(serde_json::Value::as_str) == Some("full");
    match &reading.verdict {
        Verdict::Facts(facts) if !trusted => {
            // Whoever wrote it may say where to look, where there is something to look at.
            if let [Fact::Order(order)] = &facts[..]
                && super::log::can_be_followed(connection)
            {
                return Reading { verdict: Verdict::Hint { order_id: order.order_id.clone() }, ..reading };
            }
            let message = "this sender's bodies are hints: the order is to be fetched, or account.trust set to \"full\"";
            Reading { verdict: Verdict::Failed(Unreadable::new("hint-only", message)), ..reading }
        }
        _ => reading,
    }
}

/// Two equal sales are real, and a repeat looks just the same: a change that carries neither id nor time is not guessed at.
fn without_identity(reading: Reading) -> Reading {
    let moves = |fact: &Fact| match fact {
        Fact::Delta(StockDelta { reason, .. }) => reason.moves_stock(),
        // From some marketplaces a sale is inferred from it.
        Fact::Observation(_) => true,
        Fact::Order(_) => false,
    };
    match &reading.verdict {
        Verdict::Facts(facts) if reading.natural_key.is_none() && facts.iter().any(moves) => {
            let message = "a stock event needs an id or a timestamp, or a repeat could not be told from a second one";
            Reading { verdict: Verdict::Failed(Unreadable::new("no-id", message)), ..reading }
        }
        _ => reading,
    }
}
