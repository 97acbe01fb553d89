//! An event as a signed request: the headers of Standard Webhooks, so that consumers verify it with a library they have.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::value::RawValue;
use sha2::Sha256;

use crate::chance::secret_bytes;
use crate::domain::events::{Envelope, VERSION};
use crate::domain::time::Timestamp;
use crate::marketplaces::wire::{Method, Request};

const PREFIX: &str = "whsec_";

/// The key of a secret: base64 of 24 to 64 bytes after an optional `whsec_`.
pub fn key(secret: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.strip_prefix(PREFIX).unwrap_or(secret)).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}

/// A secret nobody can guess.
pub fn new_secret() -> Result<String, getrandom::Error> {
    Ok(format!("{PREFIX}{}", STANDARD.encode(secret_bytes::<32>()?)))
}

/// The event in its envelope.
pub fn body(id: &str, event_type: &str, at: Timestamp, payload: &str) -> Option<Vec<u8>> {
    let payload: &RawValue = serde_json::from_str(payload).ok()?;
    let envelope = Envelope { event_id: id.to_owned(), event_type, timestamp: at, version: VERSION, payload };
    serde_json::to_vec(&envelope).ok()
}

/// The signed request. The time is that of sending, so that a consumer can refuse what was recorded and sent again.
pub fn request(url: &str, secret: &str, id: &str, now: Timestamp, body: &[u8]) -> Option<Request> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key(secret)?).ok()?;
    let timestamp = now.seconds().to_string();
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("webhook-id".to_owned(), id.to_owned()),
        ("webhook-timestamp".to_owned(), timestamp),
        ("webhook-signature".to_owned(), signature),
    ];
    Some(Request { method: Method::Post, url: url.to_owned(), headers, body: Some(body.to_vec()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the Standard Webhooks specification gives.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let body = br#"{"test": 2432232314}"#;
        let (secret, id) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek");
        let request = request("https://x.example", secret, id, Timestamp::from_seconds(1_614_265_330), body).unwrap();
        let signature = request.headers.iter().find(|(name, _)| name == "webhook-signature").unwrap();
        assert_eq!(signature.1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_a_key_of_a_sensible_length() {
        assert!(key(&new_secret().unwrap()).is_some());
        for bad in ["", "whsec_", "whsec_AAAA", "not base64 at all!"] {
            assert!(key(bad).is_none(), "{bad}");
        }
    }
}
