//! What a request offers: the signature header, read within bounds.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::Rejection;
use crate::domain::time::Timestamp;
use crate::marketplaces::scheme::{Algorithm, Encoding, Format, Scheme, Stamp, Unit};

type Headers = [(String, Vec<u8>)];

/// Longest header value that is looked at: a signature list of ten SHA-512 tags fits.
const HEADER_MAX: usize = 2_048;
/// Signatures looked at in one list, and tags in one header.
const LIST_MAX: usize = 10;
const TAGS_MAX: usize = 32;

pub(super) struct Offer<'h> {
    pub raw: &'h str,
    /// Decoded; those that cannot be of this algorithm are left out.
    pub tags: Vec<Vec<u8>>,
    pub stamp: Option<&'h str>,
    /// The names of further headers that were signed.
    pub signed_headers: Option<&'h str>,
    pub key_id: Option<String>,
}

/// The strongest scheme whose header is there.
pub(super) fn choose<'s>(schemes: &'s [Scheme], headers: &Headers) -> Result<&'s Scheme, Rejection> {
    let has = |name: &str| headers.iter().any(|(known, _)| known == name);
    let there = |scheme: &&Scheme| {
        scheme.algorithm == Algorithm::Unsigned
            || (has(scheme.header) && (scheme.with.is_empty() || scheme.with.iter().any(|name| has(name))))
    };
    let named = |scheme: &&Scheme| scheme.version().is_none_or(|version| names_version(scheme, headers, version));
    let mut present = schemes.iter().filter(there).peekable();
    let nothing = if present.peek().is_none() { Rejection::NoSignature } else { Rejection::BadFormat };
    present.find(named).ok_or(nothing)
}

fn names_version(scheme: &Scheme, headers: &Headers, version: &str) -> bool {
    let Ok(Some(text)) = single(headers, scheme.header) else { return false };
    match scheme.format {
        Format::SpaceList { .. } => text.split(' ').filter_map(|part| part.split_once(',')).any(|(tag, _)| tag == version),
        _ => text.split(',').filter_map(|part| part.split_once('=')).any(|(tag, _)| tag.trim() == version),
    }
}

/// A header that may stand once: of two, nobody could say which the sender meant.
pub(super) fn single<'h>(headers: &'h Headers, name: &str) -> Result<Option<&'h str>, Rejection> {
    let mut found = headers.iter().filter(|(known, _)| known == name);
    let value = match (found.next(), found.next()) {
        (None, _) => return Ok(None),
        (Some((_, value)), None) => value,
        (Some(_), Some(_)) => return Err(Rejection::BadFormat),
    };
    if value.len() > HEADER_MAX {
        return Err(Rejection::BadFormat);
    }
    std::str::from_utf8(value).map(|text| Some(text.trim())).map_err(|_| Rejection::BadFormat)
}

/// A header that is part of what is signed. A dot inside would make the signed content ambiguous.
pub(super) fn required<'h>(headers: &'h Headers, name: &str) -> Result<&'h str, Rejection> {
    let value = single(headers, name)?.ok_or(Rejection::BadFormat)?;
    let good = !value.is_empty() && value.len() <= 256 && !value.contains('.') && value.chars().all(|c| c.is_ascii_graphic());
    if good { Ok(value) } else { Err(Rejection::BadFormat) }
}

pub(super) fn read<'h>(scheme: &Scheme, headers: &'h Headers) -> Result<Offer<'h>, Rejection> {
    let raw = single(headers, scheme.header)?.ok_or(Rejection::NoSignature)?;
    let mut offer = Offer { raw, tags: Vec::new(), stamp: None, signed_headers: None, key_id: None };
    match scheme.format {
        Format::Single { prefix } => offer.take(scheme, raw.strip_prefix(prefix).unwrap_or(raw)),
        Format::SpaceList { version } => {
            for part in raw.split(' ').take(LIST_MAX) {
                if let Some((tag, text)) = part.split_once(',')
                    && tag == version
                {
                    offer.take(scheme, text);
                }
            }
        }
        Format::KeyValues { version } => offer.key_values(scheme, version)?,
        Format::Json { signature, key_id } => offer.json(scheme, signature, key_id)?,
    }
    if offer.tags.is_empty() { Err(Rejection::BadFormat) } else { Ok(offer) }
}

impl Offer<'_> {
    fn take(&mut self, scheme: &Scheme, text: &str) {
        if self.tags.len() < LIST_MAX {
            self.tags.extend(decode(scheme, text));
        }
    }

    fn key_values(&mut self, scheme: &Scheme, version: &str) -> Result<(), Rejection> {
        let stamp_tag = if let Some(Stamp::Tag(name, _)) = scheme.timestamp { name } else { "" };
        for part in self.raw.split(',').take(TAGS_MAX) {
            let Some((tag, value)) = part.split_once('=') else { continue };
            let (tag, value) = (tag.trim(), value.trim());
            let once = match tag {
                _ if tag == version => {
                    self.take(scheme, value);
                    continue;
                }
                _ if tag == stamp_tag => &mut self.stamp,
                "h" => &mut self.signed_headers,
                _ => continue,
            };
            if once.replace(value).is_some() {
                return Err(Rejection::BadFormat);
            }
        }
        Ok(())
    }

    fn json(&mut self, scheme: &Scheme, signature: &str, key_id: &str) -> Result<(), Rejection> {
        let bytes = base64_any(self.raw).ok_or(Rejection::BadFormat)?;
        let fields: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|_| Rejection::BadFormat)?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str).ok_or(Rejection::BadFormat);
        self.take(scheme, text(signature)?);
        let kid = text(key_id)?;
        // It becomes part of an address that we ask.
        if kid.is_empty() || kid.len() > 64 || !kid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Rejection::BadFormat);
        }
        self.key_id = Some(kid.to_owned());
        Ok(())
    }
}

/// A tag of the length its algorithm makes; anything else cannot be one.
fn decode(scheme: &Scheme, text: &str) -> Option<Vec<u8>> {
    let bytes = match scheme.encoding {
        Encoding::Hex => hex::decode(text).ok()?,
        Encoding::Base64 => base64_any(text)?,
        Encoding::Base64Url => URL_SAFE.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()?,
        Encoding::Text => text.as_bytes().to_vec(),
    };
    let fits = match scheme.algorithm {
        Algorithm::HmacSha256 => bytes.len() == 32,
        Algorithm::HmacSha1 => bytes.len() == 20,
        Algorithm::HmacSha512 | Algorithm::Ed25519 => bytes.len() == 64,
        Algorithm::EcdsaP256Sha256 | Algorithm::EcdsaP256Sha1 => (8..=80).contains(&bytes.len()),
        Algorithm::RsaSha256 => (256..=1024).contains(&bytes.len()),
        Algorithm::StaticToken => !bytes.is_empty(),
        Algorithm::Unsigned => false,
    };
    fits.then_some(bytes)
}

pub(super) fn base64_any(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()
}

pub(super) fn within(stamp: &str, unit: Unit, now: Timestamp, tolerance: Duration) -> Result<(), Rejection> {
    let whole = |longest: usize| {
        let digits = !stamp.is_empty() && stamp.len() <= longest && stamp.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| stamp.parse::<i64>().ok()).flatten().ok_or(Rejection::BadTimestamp)
    };
    // The last second of the year 4000 or so has twelve digits; the first millisecond of 1974 has too.
    const FIRST_MILLIS: i64 = 100_000_000_000;
    let seconds = match unit {
        Unit::Seconds => whole(11)?,
        Unit::Millis => whole(14)? / 1_000,
        Unit::ByMagnitude => match whole(14)? {
            millis if millis >= FIRST_MILLIS => millis / 1_000,
            seconds => seconds,
        },
        Unit::Rfc3339 => Timestamp::parse_rfc3339(stamp).ok_or(Rejection::BadTimestamp)?.seconds(),
    };
    let (now, tolerance) = (now.seconds(), i64::try_from(tolerance.as_secs()).unwrap_or(i64::MAX));
    match seconds {
        _ if seconds < now.saturating_sub(tolerance) => Err(Rejection::TooOld),
        _ if seconds > now.saturating_add(tolerance) => Err(Rejection::TooNew),
        _ => Ok(()),
    }
}

/// Headers that help a person later. A list of what is kept, not of what is left out: a credential under a new name stays out.
const KEPT: [&str; 8] = [
    "content-type",
    "user-agent",
    "x-request-id",
    "x-github-delivery",
    "x-github-event",
    "x-wc-webhook-topic",
    "x-wc-webhook-delivery-id",
    "x-marketplace-id",
];
const KEPT_PREFIXES: [&str; 3] = ["x-shopify-", "webhook-", "x-webhook-"];
/// Bytes of one kept value, and how many are kept.
const KEPT_VALUE_MAX: usize = 256;
const KEPT_MAX: usize = 24;

/// The kept headers as a JSON object.
pub(super) fn kept(headers: &Headers, scheme: &Scheme) -> String {
    let wanted = |name: &str| {
        scheme.keeps.contains(&name) || KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    // The signature is kept apart; a static token is the secret itself.
    let secret = |name: &str| name == scheme.header || name.contains("token") || name.contains("secret") || name.contains("hmac");
    let mut object = Map::new();
    for (name, value) in headers.iter().filter(|(name, _)| wanted(name) && !secret(name)).take(KEPT_MAX) {
        let text: String = String::from_utf8_lossy(&value[..value.len().min(KEPT_VALUE_MAX)]).into_owned();
        object.insert(name.clone(), text.into());
    }
    Value::Object(object).to_string()
}
