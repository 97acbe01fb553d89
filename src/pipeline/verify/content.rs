//! What was signed, as slices: the body is never copied.

use std::borrow::Cow;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::header::{self, Offer};
use super::{Claim, Rejection};
use crate::marketplaces::scheme::{Part, Scheme};

pub(super) type Content<'c> = Vec<Cow<'c, [u8]>>;

/// Further headers that one signature may cover.
const SIGNED_HEADERS_MAX: usize = 20;

pub(super) fn render<'c>(
    scheme: &Scheme,
    claim: &'c Claim<'_>,
    offer: &Offer<'c>,
    id: Option<&'c str>,
    stamp: Option<&'c str>,
) -> Result<Content<'c>, Rejection> {
    let mut content = Content::with_capacity(scheme.content.len());
    for part in scheme.content {
        content.push(match part {
            Part::Id => bytes(id.unwrap_or_default()),
            Part::Timestamp => bytes(stamp.unwrap_or_default()),
            Part::Body => Cow::Borrowed(claim.body),
            Part::Text(text) => bytes(text),
            Part::Url => own(setting(claim, Scheme::WEBHOOK_URL)?),
            Part::Method => bytes(claim.door.method),
            Part::PathQuery => bytes(&claim.door.path_query),
            Part::BodySha256Hex => own(hex::encode(Sha256::digest(claim.body))),
            Part::Header(name) => bytes(header::single(claim.headers, name)?.ok_or(Rejection::BadFormat)?),
            Part::Query(name) => own(query(&claim.door.path_query, name).ok_or(Rejection::BadFormat)?),
            Part::QueryLower(name) => own(query(&claim.door.path_query, name).ok_or(Rejection::BadFormat)?.to_lowercase()),
            Part::Json(pointer) => own(super::place::json_text(claim.body, pointer).ok_or(Rejection::BadFormat)?),
            Part::Account(name) => own(setting(claim, name)?),
            Part::SignedHeaders => own(signed_headers(claim, offer)?),
        });
    }
    Ok(content)
}

fn bytes(text: &str) -> Cow<'_, [u8]> {
    Cow::Borrowed(text.as_bytes())
}

fn own(text: String) -> Cow<'static, [u8]> {
    Cow::Owned(text.into_bytes())
}

fn setting(claim: &Claim<'_>, name: &'static str) -> Result<String, Rejection> {
    match claim.account.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(Rejection::NotConfigured(name)),
    }
}

/// A query parameter; of two, nobody could say which was meant.
pub(super) fn query(path_query: &str, name: &str) -> Option<String> {
    let (_, query) = path_query.split_once('?')?;
    let mut found = url::form_urlencoded::parse(query.as_bytes()).filter(|(known, _)| known == name).map(|(_, value)| value);
    let value = found.next()?.into_owned();
    found.next().is_none().then_some(value)
}

fn signed_headers(claim: &Claim<'_>, offer: &Offer<'_>) -> Result<String, Rejection> {
    let names = offer.signed_headers.ok_or(Rejection::BadFormat)?;
    let mut text = format!("{names}.");
    for (n, name) in names.split(' ').enumerate() {
        if n >= SIGNED_HEADERS_MAX {
            return Err(Rejection::BadFormat);
        }
        text.push_str(header::single(claim.headers, &name.to_ascii_lowercase())?.ok_or(Rejection::BadFormat)?);
        text.push('.');
    }
    Ok(text)
}
