//! The sender's side of the same data: for engineers at a terminal, and for tests.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::header::Offer;
use super::{Claim, Door, Rejection, content, tag};
use crate::domain::time::Timestamp;
use crate::marketplaces::scheme::{Algorithm, Encoding, Format, IdSource, Scheme, Stamp, Unit};

/// What is signed with what.
pub struct Signing<'a> {
    pub scheme: &'a Scheme,
    pub secret: &'a str,
    pub id: &'a str,
    pub at: Timestamp,
    pub body: &'a [u8],
    pub account: &'a Map<String, Value>,
    pub door: &'a Door,
}

/// The headers that make a body authentic; an error for schemes that only their sender can sign.
pub fn sign(signing: &Signing<'_>) -> Result<Vec<(&'static str, String)>, Rejection> {
    let Signing { scheme, secret, id, .. } = signing;
    if scheme.algorithm == Algorithm::StaticToken {
        return Ok(vec![(scheme.header, (*secret).to_owned())]);
    }
    if !scheme.algorithm.is_symmetric() {
        return Err(Rejection::UnknownKey);
    }
    let written = |unit: Unit| match unit {
        Unit::Seconds | Unit::ByMagnitude => signing.at.seconds().to_string(),
        Unit::Millis => signing.at.millis().to_string(),
        Unit::Rfc3339 => signing.at.to_string(),
    };
    let mut headers = Vec::new();
    if let Some(IdSource::Header(name)) = scheme.id {
        headers.push((name, (*id).to_owned()));
    }
    let stamp = match scheme.timestamp {
        Some(Stamp::Header(name, unit)) => {
            headers.push((name, written(unit)));
            Some(written(unit))
        }
        Some(Stamp::Tag(_, unit)) => Some(written(unit)),
        Some(Stamp::Json(..)) | None => None,
    };
    let seen: Vec<(String, Vec<u8>)> = headers.iter().map(|(n, v)| ((*n).to_owned(), v.clone().into_bytes())).collect();
    let claim = Claim {
        headers: &seen,
        body: signing.body,
        received_at: signing.at,
        tolerance: std::time::Duration::ZERO,
        door: signing.door,
        account: signing.account,
        secrets: &BTreeMap::new(),
        public_key: &|_| None,
    };
    // Nothing but the body's own headers is signed along.
    let offer = Offer { raw: "", tags: Vec::new(), stamp: None, signed_headers: Some(""), key_id: None };
    let content = content::render(scheme, &claim, &offer, Some(id), stamp.as_deref())?;
    let key = tag::key_bytes(scheme.key, secret).ok_or(Rejection::NoSecret)?;
    let tag = tag::mac(scheme.algorithm, &key, &content).ok_or(Rejection::NoSecret)?;
    let text = match scheme.encoding {
        Encoding::Hex | Encoding::Text => hex::encode(tag),
        Encoding::Base64 => STANDARD.encode(tag),
        Encoding::Base64Url => URL_SAFE_NO_PAD.encode(tag),
    };
    let value = match (scheme.format, scheme.timestamp) {
        (Format::Single { prefix }, _) => format!("{prefix}{text}"),
        (Format::SpaceList { version }, _) => format!("{version},{text}"),
        (Format::KeyValues { version }, Some(Stamp::Tag(name, _))) => {
            format!("{name}={},{version}={text}", stamp.unwrap_or_default())
        }
        (Format::KeyValues { version }, _) => format!("{version}={text}"),
        (Format::Json { .. }, _) => return Err(Rejection::UnknownKey),
    };
    headers.push((scheme.header, value));
    Ok(headers)
}
