//! The arithmetic: keys from secrets, tags over content, compared in constant time and to the end.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq as _};

use super::content::Content;
use super::header::{self, Offer};
use super::{Claim, Rejection};
use crate::marketplaces::scheme::{Algorithm, KeyForm, Scheme};
use crate::settings::Secret;

/// Which of the secrets verifies, if any does. Every pair is compared, whole, whatever came out before.
pub(super) fn with_secrets(
    scheme: &Scheme,
    secrets: &[Secret],
    offer: &Offer<'_>,
    content: &Content<'_>,
) -> Result<Option<String>, Rejection> {
    let mut key_id = None;
    for secret in secrets {
        let key = key_bytes(scheme.key, secret.expose()).ok_or(Rejection::NoSecret)?;
        let matched = if scheme.algorithm.is_symmetric() {
            let tag = mac(scheme.algorithm, &key, content).ok_or(Rejection::NoSecret)?;
            any_equal(&offer.tags, &tag)
        } else if scheme.algorithm == Algorithm::StaticToken {
            // Hashes, so that the length of the secret does not show in the time.
            let offered: Vec<Vec<u8>> = offer.tags.iter().map(|tag| Sha256::digest(tag).to_vec()).collect();
            any_equal(&offered, &Sha256::digest(&key))
        } else {
            verifies(scheme.algorithm, &key, offer, content)
        };
        if bool::from(matched) && key_id.is_none() {
            key_id = Some(secret.fingerprint().chars().take(8).collect());
        }
    }
    Ok(key_id)
}

/// With the public key that the header names.
pub(super) fn with_named_key(
    scheme: &Scheme,
    claim: &Claim<'_>,
    offer: &Offer<'_>,
    content: &Content<'_>,
) -> Result<Option<String>, Rejection> {
    let kid = offer.key_id.as_deref().ok_or(Rejection::BadFormat)?;
    let written = claim.account.get(Scheme::PUBLIC_KEYS).and_then(|keys| keys.get(kid)).and_then(serde_json::Value::as_str);
    let key = match written {
        Some(text) => public_key(text),
        None => (claim.public_key)(kid),
    };
    let key = key.ok_or(Rejection::UnknownKey)?;
    Ok(bool::from(verifies(scheme.algorithm, &key, offer, content)).then(|| kid.chars().take(8).collect()))
}

fn any_equal(offered: &[Vec<u8>], tag: &[u8]) -> Choice {
    let mut matched = Choice::from(0);
    for one in offered {
        matched |= one.as_slice().ct_eq(tag);
    }
    matched
}

fn verifies(algorithm: Algorithm, key: &[u8], offer: &Offer<'_>, content: &Content<'_>) -> Choice {
    let how: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::Ed25519 => &signature::ED25519,
        Algorithm::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        Algorithm::EcdsaP256Sha1 => &signature::ECDSA_P256_SHA1_ASN1,
        Algorithm::RsaSha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        _ => return Choice::from(0),
    };
    let message = content.concat();
    let key = UnparsedPublicKey::new(how, key);
    offer.tags.iter().fold(Choice::from(0), |matched, tag| matched | Choice::from(u8::from(key.verify(&message, tag).is_ok())))
}

/// The MAC over the content, fed in pieces.
pub(super) fn mac(algorithm: Algorithm, key: &[u8], content: &Content<'_>) -> Option<Vec<u8>> {
    fn feed<M: Mac + KeyInit>(key: &[u8], content: &Content<'_>) -> Option<Vec<u8>> {
        let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
        content.iter().for_each(|piece| mac.update(piece));
        Some(mac.finalize().into_bytes().to_vec())
    }
    match algorithm {
        Algorithm::HmacSha256 => feed::<Hmac<Sha256>>(key, content),
        Algorithm::HmacSha512 => feed::<Hmac<Sha512>>(key, content),
        Algorithm::HmacSha1 => feed::<Hmac<Sha1>>(key, content),
        _ => None,
    }
}

/// The key, as the scheme derives it from the secret's text.
pub(super) fn key_bytes(form: KeyForm, secret: &str) -> Option<Vec<u8>> {
    match form {
        KeyForm::Utf8 => Some(secret.as_bytes().to_vec()),
        KeyForm::Base64 { prefix } => {
            let text = secret.strip_prefix(prefix).unwrap_or(secret);
            // A secret that is no base64 is used as it is written, so that one secret serves both shapes.
            Some(STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).unwrap_or_else(|_| secret.as_bytes().to_vec()))
        }
        KeyForm::Hex => hex::decode(secret).ok(),
        KeyForm::HtmlDecoded => Some(html_decoded(secret).into_bytes()),
        KeyForm::Public { prefix } => public_key(secret.strip_prefix(prefix).unwrap_or(secret)),
        KeyForm::Remote { .. } => None,
    }
}

/// A public key as senders write it: PEM, with or without its line ends, or base64 of DER or of the bare key.
pub fn public_key(text: &str) -> Option<Vec<u8>> {
    let bare = text.replace("-----BEGIN PUBLIC KEY-----", "").replace("-----END PUBLIC KEY-----", "");
    let bare: String = bare.chars().filter(|c| !c.is_whitespace()).collect();
    header::base64_any(&bare)
}

/// The five signs that WordPress escapes in what it stores, undone once, from left to right.
fn html_decoded(text: &str) -> String {
    const ESCAPES: [(&str, &str); 8] = [
        ("&amp;", "&"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#039;", "'"),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&apos;", "'"),
    ];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (from, to) = ESCAPES.iter().find(|(from, _)| rest.starts_with(from)).copied().unwrap_or(("&", "&"));
        out.push_str(to);
        rest = &rest[from.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_once() {
        assert_eq!(html_decoded("a&amp;b&lt;&gt;&quot;&#039;&x&"), "a&b<>\"'&x&");
        assert_eq!(html_decoded("&amp;lt;"), "&lt;", "what was typed as an escape stays one");
    }
}
