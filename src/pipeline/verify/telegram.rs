//! A Telegram Mini App's `initData`: proves which shopper this is, as Telegram documents it.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::Rejection;
use crate::domain::time::Timestamp;
use crate::settings::Secret;

/// Longest text that is looked at.
const INIT_DATA_MAX: usize = 8_192;

/// A shopper whom Telegram vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shopper {
    pub id: i64,
}

/// Checks `initData` against the tokens of our bots; the signed time may be as old as `max_age`.
pub fn shopper(init_data: &str, bots: &[Secret], now: Timestamp, max_age: Duration) -> Result<Shopper, Rejection> {
    if bots.is_empty() {
        return Err(Rejection::NoSecret);
    }
    if init_data.len() > INIT_DATA_MAX {
        return Err(Rejection::BadFormat);
    }
    let mut fields: Vec<(String, String)> = url::form_urlencoded::parse(init_data.as_bytes()).into_owned().collect();
    fields.sort();
    if fields.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(Rejection::BadFormat);
    }
    let find = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let mut offered = [0_u8; 32];
    let hash = find("hash").ok_or(Rejection::NoSignature)?;
    hex::decode_to_slice(hash, &mut offered).map_err(|_| Rejection::BadFormat)?;
    // Everything but the hash, also what Telegram may add some day.
    let lines: Vec<String> =
        fields.iter().filter(|(name, _)| name != "hash").map(|(name, value)| format!("{name}={value}")).collect();
    let lines = lines.join("\n");
    let mut matched = subtle::Choice::from(0);
    for bot in bots {
        // The constant is the key, the token is the message: the other way round would verify nothing.
        let key = mac(b"WebAppData", bot.expose().as_bytes()).ok_or(Rejection::NoSecret)?;
        let tag = mac(&key, lines.as_bytes()).ok_or(Rejection::NoSecret)?;
        matched |= tag.ct_eq(&offered);
    }
    if !bool::from(matched) {
        return Err(Rejection::BadSignature);
    }
    let at: i64 = find("auth_date").and_then(|text| text.parse().ok()).ok_or(Rejection::BadTimestamp)?;
    let age = now.seconds().saturating_sub(at);
    match u64::try_from(age) {
        // A clock may be a little behind theirs.
        Err(_) if age >= -300 => {}
        Err(_) => return Err(Rejection::TooNew),
        Ok(age) if age > max_age.as_secs() => return Err(Rejection::TooOld),
        Ok(_) => {}
    }
    let user: serde_json::Value = find("user").and_then(|text| serde_json::from_str(text).ok()).ok_or(Rejection::BadFormat)?;
    user["id"].as_i64().map(|id| Shopper { id }).ok_or(Rejection::BadFormat)
}

fn mac(key: &[u8], message: &[u8]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(message);
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOT: &str = "12345:test-bot-token";

    fn signed(at: i64) -> String {
        let user = "{\"id\":279058397,\"first_name\":\"A & B\"}";
        let lines = format!("auth_date={at}\nquery_id=AAH\nsignature=zz\nuser={user}");
        let key = mac(b"WebAppData", BOT.as_bytes()).unwrap();
        let hash = hex::encode(mac(&key, lines.as_bytes()).unwrap());
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        text.append_pair("user", user).append_pair("query_id", "AAH").append_pair("signature", "zz");
        text.append_pair("auth_date", &at.to_string()).append_pair("hash", &hash);
        text.finish()
    }

    fn check(text: &str, bots: &[&str], now: i64) -> Result<Shopper, Rejection> {
        let bots: Vec<Secret> = bots.iter().map(|bot| Secret::new(*bot)).collect();
        shopper(text, &bots, Timestamp::from_seconds(now), Duration::from_secs(3600))
    }

    #[test]
    fn a_shopper_is_believed_for_an_hour() {
        let text = signed(1_000_000);
        assert_eq!(check(&text, &["other", BOT], 1_003_600), Ok(Shopper { id: 279_058_397 }));
        assert_eq!(check(&text, &[BOT], 1_003_601), Err(Rejection::TooOld));
        assert_eq!(check(&text, &[BOT], 999_000), Err(Rejection::TooNew));
        assert_eq!(check(&text, &["other"], 1_000_000), Err(Rejection::BadSignature));
        assert_eq!(check(&text, &[], 1_000_000), Err(Rejection::NoSecret));
        assert_eq!(check(&text.replace("279058397", "1"), &[BOT], 1_000_000), Err(Rejection::BadSignature));
        assert_eq!(check(&format!("{text}&user=x"), &[BOT], 1_000_000), Err(Rejection::BadFormat));
        assert!(check("hash=zz", &[BOT], 0).is_err() && check("", &[BOT], 0).is_err());
    }
}
