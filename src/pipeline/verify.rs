//! Inbound → Verified. The only place that decides whether a webhook is authentic, and the only maker of `Verified`.
//!
//! The raw bytes are verified, as they came. Every live secret is tried, tags are compared in constant time and without an early
//! exit, and of several schemes the strongest one present decides.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::marketplaces::scheme::{Algorithm, Encoding, Format, KeyForm, Part, Scheme};

/// A request as it came in, not yet believed.
#[derive(Debug)]
pub struct Inbound {
    pub connection: Arc<Connection>,
    /// Header names in lower case, in the order they came.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Bytes,
    pub received_at: Timestamp,
}

/// A request whose signature was checked over these very bytes.
#[derive(Debug)]
#[expect(clippy::manual_non_exhaustive, reason = "the field is the proof that only this file can give, also inside the crate")]
pub struct Verified {
    pub connection: Arc<Connection>,
    pub body: Bytes,
    pub received_at: Timestamp,
    /// The delivery's id, where the scheme signs one.
    pub id: Option<String>,
    pub signature: String,
    /// Which of the live secrets verified: the first letters of its fingerprint.
    pub key_id: String,
    // Only this file can fill it.
    _proof: (),
}

/// Why a request is not believed. One answer for all to the sender; the reason goes to metrics and the rejected list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejection {
    #[error("no signature header")]
    NoSignature,
    #[error("the signature header cannot be read")]
    BadFormat,
    #[error("the signature is of other content or another secret")]
    BadSignature,
    #[error("the signed time is too long ago")]
    TooOld,
    #[error("the signed time is in the future")]
    TooNew,
    #[error("the signed time cannot be read")]
    BadTimestamp,
    /// Not the sender's fault: no secret is set, so nothing may pass.
    #[error("no secret is configured")]
    NoSecret,
}

impl Rejection {
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoSignature => "no_signature",
            Self::BadFormat => "bad_format",
            Self::BadSignature => "bad_signature",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::BadTimestamp => "bad_timestamp",
            Self::NoSecret => "no_secret",
        }
    }
}

/// Longest header value that is looked at: a signature list of ten SHA-512 tags fits.
const HEADER_MAX: usize = 2_048;
/// Signatures looked at in one list.
const LIST_MAX: usize = 10;

pub fn verify(inbound: Inbound, tolerance: Duration) -> Result<Verified, Rejection> {
    let scheme = choose(&inbound)?;
    let secrets = inbound.connection.secrets(scheme.secret);
    if secrets.is_empty() {
        return Err(Rejection::NoSecret);
    }
    let header = single(&inbound, scheme.header)?.ok_or(Rejection::NoSignature)?;
    let offered = signatures(scheme, header)?;
    let id = scheme.id.map(|name| required(&inbound, name)).transpose()?;
    let stamp = scheme.timestamp.map(|name| required(&inbound, name)).transpose()?;
    if let Some(stamp) = stamp {
        within(stamp, inbound.received_at, tolerance)?;
    }
    let mut key_id = None;
    for secret in secrets {
        let tag = tag(scheme, secret.expose(), id, stamp, &inbound.body)?;
        // Every pair is compared, whole, whatever came out before.
        let mut matched = Choice::from(0);
        for signature in &offered {
            matched |= signature.ct_eq(&tag);
        }
        if bool::from(matched) && key_id.is_none() {
            key_id = Some(secret.fingerprint().chars().take(8).collect());
        }
    }
    let key_id = key_id.ok_or(Rejection::BadSignature)?;
    let (id, signature) = (id.map(str::to_owned), header.to_owned());
    let Inbound { connection, body, received_at, .. } = inbound;
    Ok(Verified { connection, body, received_at, id, signature, key_id, _proof: () })
}

/// The strongest scheme whose header is there.
fn choose(inbound: &Inbound) -> Result<&Scheme, Rejection> {
    let has = |name: &str| inbound.headers.iter().any(|(known, _)| known == name);
    let schemes = inbound.connection.adapter.schemes();
    let applies = |scheme: &&Scheme| has(scheme.header) && (scheme.with.is_empty() || scheme.with.iter().any(|name| has(name)));
    schemes.iter().find(applies).ok_or(Rejection::NoSignature)
}

/// A header that may stand once: of two, nobody could say which the sender meant.
fn single<'i>(inbound: &'i Inbound, name: &str) -> Result<Option<&'i str>, Rejection> {
    let mut found = inbound.headers.iter().filter(|(known, _)| known == name);
    let (Some((_, value)), None) = (found.next(), found.next()) else {
        return if inbound.headers.iter().any(|(known, _)| known == name) { Err(Rejection::BadFormat) } else { Ok(None) };
    };
    if value.len() > HEADER_MAX {
        return Err(Rejection::BadFormat);
    }
    std::str::from_utf8(value).map(|text| Some(text.trim())).map_err(|_| Rejection::BadFormat)
}

/// A header that is part of what is signed. A dot inside would make the signed content ambiguous.
fn required<'i>(inbound: &'i Inbound, name: &str) -> Result<&'i str, Rejection> {
    let value = single(inbound, name)?.ok_or(Rejection::BadFormat)?;
    let good = !value.is_empty() && value.len() <= 256 && !value.contains('.') && value.chars().all(|c| c.is_ascii_graphic());
    if good { Ok(value) } else { Err(Rejection::BadFormat) }
}

fn within(stamp: &str, now: Timestamp, tolerance: Duration) -> Result<(), Rejection> {
    let digits = !stamp.is_empty() && stamp.len() <= 11 && stamp.bytes().all(|b| b.is_ascii_digit());
    let seconds: i64 =
        if digits { stamp.parse().map_err(|_| Rejection::BadTimestamp)? } else { return Err(Rejection::BadTimestamp) };
    let (now, tolerance) = (now.seconds(), i64::try_from(tolerance.as_secs()).unwrap_or(i64::MAX));
    match seconds {
        _ if seconds < now.saturating_sub(tolerance) => Err(Rejection::TooOld),
        _ if seconds > now.saturating_add(tolerance) => Err(Rejection::TooNew),
        _ => Ok(()),
    }
}

type Tag = [u8; 32];

/// The tags a header offers, decoded; those that cannot be of this algorithm are left out.
fn signatures(scheme: &Scheme, header: &str) -> Result<Vec<Tag>, Rejection> {
    let texts: Vec<&str> = match scheme.format {
        Format::Single { prefix } => vec![header.strip_prefix(prefix).unwrap_or(header)],
        Format::SpaceList { version } => {
            let of_version = |part: &'_ str| part.split_once(',').filter(|(tag, _)| *tag == version).map(|(_, text)| text.len());
            let parts = header.split(' ').take(LIST_MAX);
            parts
                .filter(|part| of_version(part).is_some())
                .filter_map(|part| part.split_once(',').map(|(_, text)| text))
                .collect()
        }
    };
    let tags: Vec<Tag> = texts.into_iter().filter_map(|text| decode(scheme.encoding, text)).collect();
    if tags.is_empty() { Err(Rejection::BadFormat) } else { Ok(tags) }
}

fn decode(encoding: Encoding, text: &str) -> Option<Tag> {
    let mut tag = Tag::default();
    match encoding {
        Encoding::Hex => hex::decode_to_slice(text, &mut tag).ok()?,
        Encoding::Base64 => {
            let bytes = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?;
            tag = bytes.try_into().ok()?;
        }
    }
    Some(tag)
}

/// The MAC over the scheme's content, fed in pieces: the body is never copied.
fn tag(scheme: &Scheme, secret: &str, id: Option<&str>, stamp: Option<&str>, body: &[u8]) -> Result<Tag, Rejection> {
    let Algorithm::HmacSha256 = scheme.algorithm;
    let key = key_bytes(scheme.key, secret).ok_or(Rejection::NoSecret)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| Rejection::NoSecret)?;
    for part in scheme.content {
        match part {
            Part::Id => mac.update(id.unwrap_or_default().as_bytes()),
            Part::Timestamp => mac.update(stamp.unwrap_or_default().as_bytes()),
            Part::Dot => mac.update(b"."),
            Part::Body => mac.update(body),
        }
    }
    Ok(mac.finalize().into_bytes().into())
}

/// The MAC's key, as the scheme derives it from the secret's text.
pub fn key_bytes(form: KeyForm, secret: &str) -> Option<Vec<u8>> {
    match form {
        KeyForm::Utf8 => Some(secret.as_bytes().to_vec()),
        KeyForm::Base64 { prefix } => {
            let text = secret.strip_prefix(prefix).unwrap_or(secret);
            // A secret that is no base64 is used as it is written, so that one secret serves both shapes.
            Some(STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).unwrap_or_else(|_| secret.as_bytes().to_vec()))
        }
    }
}

#[cfg(test)]
mod tests;
