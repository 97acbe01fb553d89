//! What a sender asks for beside events: that we prove who we are (by GET), and that we are there (a ping).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::verify::Rejection;
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::marketplaces::scheme::{Challenge, Ping, Scheme};

/// Longest challenge that is answered: it is hashed, nothing more.
const CODE_MAX: usize = 512;

/// The answer to a challenge, or `None` where the connection has none or the query holds none.
pub fn answer(connection: &Connection, query: &str) -> Result<Option<Value>, Rejection> {
    let Some(challenge) = connection.schemes().iter().find_map(|scheme| scheme.challenge.map(|c| (scheme, c))) else {
        return Ok(None);
    };
    let code = |name: &str| {
        let mut found = url::form_urlencoded::parse(query.as_bytes()).filter(|(known, _)| known == name).map(|(_, value)| value);
        found.next().filter(|value| !value.is_empty() && value.len() <= CODE_MAX)
    };
    Ok(match challenge {
        (_, Challenge::Hashed { query, token, field }) => {
            let Some(code) = code(query) else { return Ok(None) };
            let token = connection.secrets(token).first().ok_or(Rejection::NoSecret)?;
            let url = connection.account.get(Scheme::WEBHOOK_URL).and_then(Value::as_str);
            let url = url.ok_or(Rejection::NotConfigured(Scheme::WEBHOOK_URL))?;
            let hash = Sha256::new().chain_update(code.as_bytes()).chain_update(token.expose()).chain_update(url).finalize();
            Some(json!({ field: hex::encode(hash) }))
        }
        (scheme, Challenge::Signed { query, field }) => {
            let Some(code) = code(query) else { return Ok(None) };
            let secret = connection.secrets(scheme.secret).first().ok_or(Rejection::NoSecret)?;
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).map_err(|_| Rejection::NoSecret)?;
            mac.update(code.as_bytes());
            Some(json!({ field: format!("sha256={}", STANDARD.encode(mac.finalize().into_bytes())) }))
        }
    })
}

/// The scheme of an unsigned form that asks whether we are there. It says nothing, so it needs no proof, and nothing is kept of it.
pub fn form_ping<'a>(connection: &'a Connection, body: &[u8]) -> Option<&'a Scheme> {
    let number = |field: &str| {
        let text = std::str::from_utf8(body).ok()?;
        let digits = text.strip_prefix(field)?.strip_prefix('=')?;
        Some((1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    connection.schemes().iter().find(|scheme| match scheme.ping {
        Some(Ping::Form { field }) => number(field).unwrap_or(false),
        Some(Ping::Json { .. }) | None => false,
    })
}

/// Whether an authentic body is a ping.
pub fn is_ping(scheme: &Scheme, body: &[u8]) -> bool {
    match scheme.ping {
        Some(Ping::Json { pointer, value }) => {
            let said = serde_json::from_slice::<Value>(body).ok();
            said.and_then(|said| said.pointer(pointer).and_then(Value::as_str).map(|text| text == value)).unwrap_or(false)
        }
        Some(Ping::Form { .. }) | None => false,
    }
}

/// The answer to a ping, as JSON.
pub fn pong(own: Option<&'static str>, now: Timestamp) -> String {
    own.map_or_else(|| name_version_time(now).to_string(), |text| text.replace(Scheme::NOW, &now.to_string()))
}

/// Who we are, and what time it is.
pub fn name_version_time(now: Timestamp) -> Value {
    json!({ "version": env!("CARGO_PKG_VERSION"), "name": "stockhub", "time": now.to_string() })
}
