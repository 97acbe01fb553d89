//! Inbound → Verified. The only place that decides whether a webhook is authentic, and the only maker of `Verified`.
//!
//! The raw bytes are verified, as they came. Every live secret is tried, tags are compared in constant time and without an early
//! exit, and of several schemes the strongest one present decides. Files: `header` reads what is offered, `content` renders what
//! was signed, `tag` does the arithmetic, `place` looks at who knocks where.

mod content;
mod header;
mod place;
pub mod sign;
mod tag;
pub mod telegram;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::marketplaces::scheme::{Algorithm, IdSource, KeyForm, Scheme, Stamp};
use crate::settings::Secret;
pub use place::json_text;
pub use tag::public_key;

/// A request as it came in, not yet believed.
#[derive(Debug)]
pub struct Inbound {
    pub connection: Arc<Connection>,
    /// Header names in lower case, in the order they came.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Bytes,
    pub received_at: Timestamp,
    pub door: Door,
}

/// Who knocked, and where.
#[derive(Clone, Debug, Default)]
pub struct Door {
    pub method: &'static str,
    /// Path and query, as they came.
    pub path_query: String,
    /// The client's address; `None` where nobody can say.
    pub client: Option<IpAddr>,
    /// The last part of the address, where it has one.
    pub path_secret: Option<String>,
}

/// A request whose signature was checked over these very bytes.
#[derive(Debug)]
#[expect(clippy::manual_non_exhaustive, reason = "the field is the proof that only this file can give, also inside the crate")]
pub struct Verified {
    pub connection: Arc<Connection>,
    pub body: Bytes,
    pub received_at: Timestamp,
    /// The event's id, where the scheme signs one in a header.
    pub id: Option<String>,
    /// Where in the body its id stands, where the scheme has it there.
    pub id_pointer: Option<&'static str>,
    pub signature: String,
    /// Which of the live secrets verified: the first letters of its fingerprint.
    pub key_id: String,
    pub scheme: Scheme,
    /// Names and values worth keeping, as a JSON object; never a credential.
    pub headers: String,
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
    #[error("the key that the header names is not known")]
    UnknownKey,
    #[error("the address it came from is not one of the sender's")]
    WrongClient,
    #[error("the secret part of the address is missing or wrong")]
    WrongPath,
    #[error("it is about another account")]
    OtherAccount,
    /// Not the sender's fault: no secret is set, so nothing may pass.
    #[error("no secret is configured")]
    NoSecret,
    /// Not the sender's fault either.
    #[error("the account's {0} is not configured, and the signature covers it")]
    NotConfigured(&'static str),
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
            Self::UnknownKey => "unknown_key",
            Self::WrongClient => "wrong_client",
            Self::WrongPath => "wrong_path",
            Self::OtherAccount => "other_account",
            Self::NoSecret => "no_secret",
            Self::NotConfigured(_) => "not_configured",
        }
    }
}

/// What is to be judged, apart from where it came from: a request of the hub, or one by hand.
pub struct Claim<'a> {
    pub headers: &'a [(String, Vec<u8>)],
    pub body: &'a [u8],
    pub received_at: Timestamp,
    pub tolerance: Duration,
    pub door: &'a Door,
    pub account: &'a Map<String, Value>,
    pub secrets: &'a BTreeMap<String, Vec<Secret>>,
    /// Public keys that a header may name.
    pub public_key: &'a dyn Fn(&str) -> Option<Vec<u8>>,
}

/// A signature that holds.
#[derive(Clone, Debug)]
pub struct Proof {
    pub scheme: Scheme,
    pub id: Option<String>,
    pub signature: String,
    pub key_id: String,
}

pub fn verify(
    inbound: Inbound,
    tolerance: Duration,
    public_key: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<Verified, (Rejection, Inbound)> {
    let claim = Claim {
        headers: &inbound.headers,
        body: &inbound.body,
        received_at: inbound.received_at,
        tolerance,
        door: &inbound.door,
        account: &inbound.connection.account,
        secrets: &inbound.connection.secrets,
        public_key,
    };
    let proof = match judge(inbound.connection.schemes(), &claim) {
        Ok(proof) => proof,
        Err(rejection) => return Err((rejection, inbound)),
    };
    let headers = header::kept(&inbound.headers, &proof.scheme);
    let Inbound { connection, body, received_at, .. } = inbound;
    let Proof { scheme, id, signature, key_id } = proof;
    let id_pointer = match scheme.id {
        Some(IdSource::Json(pointer)) => Some(pointer),
        Some(IdSource::Header(_)) | None => None,
    };
    Ok(Verified { connection, body, received_at, id, id_pointer, signature, key_id, scheme, headers, _proof: () })
}

/// Whether a claim holds under the strongest of these schemes that is present.
pub fn judge(schemes: &[Scheme], claim: &Claim<'_>) -> Result<Proof, Rejection> {
    let scheme = header::choose(schemes, claim.headers)?;
    place::path(scheme, claim)?;
    place::client(scheme, claim)?;
    let (signature, key_id, id) = match scheme.algorithm {
        // The address was the proof.
        Algorithm::Unsigned => (String::new(), place::path_key_id(scheme, claim), None),
        _ => signed(scheme, claim)?,
    };
    place::account(scheme, claim)?;
    Ok(Proof { scheme: *scheme, id, signature, key_id })
}

fn signed(scheme: &Scheme, claim: &Claim<'_>) -> Result<(String, String, Option<String>), Rejection> {
    let remote = matches!(scheme.key, KeyForm::Remote { .. });
    let secrets = claim.secrets.get(scheme.secret).map_or(&[][..], Vec::as_slice);
    if secrets.is_empty() && !remote {
        return Err(Rejection::NoSecret);
    }
    let offer = header::read(scheme, claim.headers)?;
    let id = match scheme.id {
        Some(IdSource::Header(name)) => Some(header::required(claim.headers, name)?),
        Some(IdSource::Json(_)) | None => None,
    };
    let stamp = match scheme.timestamp {
        Some(Stamp::Header(name, unit)) => Some((header::required(claim.headers, name)?, unit)),
        Some(Stamp::Tag(_, unit)) => Some((offer.stamp.ok_or(Rejection::BadFormat)?, unit)),
        Some(Stamp::Json(..)) | None => None,
    };
    let tolerance = scheme.tolerance(claim.tolerance);
    if let Some((stamp, unit)) = stamp {
        header::within(stamp, unit, claim.received_at, tolerance)?;
    }
    let content = content::render(scheme, claim, &offer, id, stamp.map(|(text, _)| text))?;
    let key_id = if remote {
        tag::with_named_key(scheme, claim, &offer, &content)?
    } else {
        tag::with_secrets(scheme, secrets, &offer, &content)?
    };
    // Only now is the body worth reading.
    if let Some(Stamp::Json(pointer, unit)) = scheme.timestamp {
        let text = place::json_text(claim.body, pointer).ok_or(Rejection::BadTimestamp)?;
        header::within(&text, unit, claim.received_at, tolerance)?;
    }
    Ok((offer.raw.to_owned(), key_id.ok_or(Rejection::BadSignature)?, id.map(str::to_owned)))
}

/// The id of the public key that a request names, where its scheme works that way: it may have to be asked for first.
pub fn wanted_key(inbound: &Inbound) -> Option<(String, Scheme)> {
    let scheme = header::choose(inbound.connection.schemes(), &inbound.headers).ok()?;
    matches!(scheme.key, KeyForm::Remote { .. }).then_some(())?;
    header::read(scheme, &inbound.headers).ok()?.key_id.map(|kid| (kid, *scheme))
}

#[cfg(test)]
mod tests;
