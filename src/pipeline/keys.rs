//! Public keys that senders name by id, asked for once and kept for an hour.
//!
//! Anybody can name a key that does not exist, so what is not found is remembered too, and one connection may only ask so often.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::verify::public_key;
use crate::domain::ids::MarketplaceId;
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::marketplaces::scheme::{KeyForm, Scheme};
use crate::marketplaces::wire::{Answer, Method, Request};
use crate::outbound::Outbound;

const KEPT_FOR: Duration = Duration::from_secs(3_600);
const MISSING_FOR: Duration = Duration::from_secs(60);
/// Keys of one connection that may be asked for in a minute.
const ASKED_PER_MINUTE: u32 = 10;
/// Entries in all, so that invented ids cannot fill the memory; the whole is forgotten then.
const ENTRIES_MAX: usize = 4_096;

#[derive(Clone, Default)]
pub struct Keys {
    state: Arc<Mutex<State>>,
    outbound: Arc<OnceLock<Outbound>>,
}

#[derive(Default)]
struct State {
    known: HashMap<(MarketplaceId, String), Known>,
    asked: HashMap<MarketplaceId, (i64, u32)>,
}

struct Known {
    key: Option<Vec<u8>>,
    until: Timestamp,
}

impl Keys {
    /// Gives it the client to ask with; without one only keys of the settings are known.
    pub fn connect(&self, outbound: Outbound) {
        // Set once: nothing else does.
        let _ = self.outbound.set(outbound);
    }

    pub fn find(&self, marketplace: MarketplaceId, kid: &str, now: Timestamp) -> Option<Vec<u8>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let known = state.known.get(&(marketplace, kid.to_owned()))?;
        if now < known.until { known.key.clone() } else { None }
    }

    /// Asks for a key that is not known yet.
    pub async fn learn(&self, connection: &Connection, kid: &str, scheme: &Scheme, now: Timestamp) {
        let KeyForm::Remote { path, pointer } = scheme.key else { return };
        let in_settings = connection.account.get(Scheme::PUBLIC_KEYS).is_some_and(|keys| keys.get(kid).is_some());
        let (Some(outbound), Some(base)) = (self.outbound.get(), connection.base_url.as_deref()) else { return };
        if in_settings || !self.may_ask(connection.id, kid, now) {
            return;
        }
        let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
        if let Some(token) = connection.secrets("api_key").first() {
            headers.push(("authorization".to_owned(), format!("Bearer {}", token.expose())));
        }
        let url = format!("{}{}", base.trim_end_matches('/'), path.replace("{kid}", kid));
        let answer = outbound.send(Request { method: Method::Get, url, headers, body: None }).await;
        let key = match &answer {
            Answer::Response { status: 200, body, .. } => super::verify::json_text(body, pointer).as_deref().and_then(public_key),
            _ => None,
        };
        if key.is_none() {
            tracing::warn!(marketplace = %connection.code, kid, "a public key could not be had");
        }
        let until = now.plus(if key.is_some() { KEPT_FOR } else { MISSING_FOR });
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.known.len() >= ENTRIES_MAX {
            state.known.clear();
        }
        state.known.insert((connection.id, kid.to_owned()), Known { key, until });
    }

    fn may_ask(&self, marketplace: MarketplaceId, kid: &str, now: Timestamp) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.known.get(&(marketplace, kid.to_owned())).is_some_and(|known| now < known.until) {
            return false;
        }
        let minute = now.seconds() / 60;
        let asked = state.asked.entry(marketplace).or_default();
        if asked.0 != minute {
            *asked = (minute, 0);
        }
        asked.1 += 1;
        asked.1 <= ASKED_PER_MINUTE
    }
}
