//! Verified → facts: the adapter reads the body, and the event gets the key under which it is logged once.

use sha2::{Digest as _, Sha256};

use super::breakage::{self, Breakage};
use super::intake::Arrival;
use super::verify::Verified;
use crate::domain::fact::{Fact, StockDelta};
use crate::marketplaces::{Incoming, Reading, Unreadable, Verdict, json};

/// Reads a verified request. What cannot be used is an arrival too: it is kept, with the reason.
pub fn webhook(verified: Verified, limits: json::Limits) -> Arrival {
    let reading = verified.connection.adapter.read(Incoming { body: &verified.body, limits });
    let body_hash: [u8; 32] = Sha256::digest(&verified.body).into();
    let (event_key, explicit_id) = match (&verified.id, &reading.natural_key) {
        (Some(id), _) => (format!("id:{id}"), true),
        (None, Some(key)) => (key.clone(), false),
        // Nothing to go by: the same bytes are the same event. Facts never pass here, see `without_identity`.
        (None, None) => (format!("body:{}", hex::encode(body_hash)), false),
    };
    let event_key = if breakage::is(Breakage::NoDedupe) { breakage::never_again(event_key) } else { event_key };
    let reading = if explicit_id { reading } else { without_identity(reading) };
    Arrival::new(verified, reading, event_key, explicit_id, body_hash)
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
