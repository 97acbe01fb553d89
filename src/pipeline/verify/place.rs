//! Who knocks, and where: the secret path, the sender's addresses, and whose account the body speaks of.

use std::net::IpAddr;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::{Claim, Rejection};
use crate::marketplaces::scheme::{Algorithm, Scheme};
use crate::settings::{Cidr, Secret};

fn path_secrets<'a>(scheme: &Scheme, claim: &Claim<'a>) -> &'a [Secret] {
    claim.secrets.get(scheme.path_secret).map_or(&[], Vec::as_slice)
}

/// A connection with a secret path is heard there alone; one that signs nothing must have it.
pub(super) fn path(scheme: &Scheme, claim: &Claim<'_>) -> Result<(), Rejection> {
    match (path_secrets(scheme, claim), scheme.algorithm) {
        ([], Algorithm::Unsigned) => Err(Rejection::NoSecret),
        ([], _) => Ok(()),
        (secrets, _) => path_match(secrets, claim).map(drop).ok_or(Rejection::WrongPath),
    }
}

/// The secret that the address holds. Hashes are compared, so that neither its length nor its beginning shows in the time.
fn path_match<'a>(secrets: &'a [Secret], claim: &Claim<'_>) -> Option<&'a Secret> {
    let offered = Sha256::digest(claim.door.path_secret.as_deref().unwrap_or_default().as_bytes());
    let mut found = None;
    for secret in secrets {
        let matched: Choice = Sha256::digest(secret.expose().as_bytes()).as_slice().ct_eq(offered.as_slice());
        if bool::from(matched) && found.is_none() {
            found = Some(secret);
        }
    }
    found
}

pub(super) fn path_key_id(scheme: &Scheme, claim: &Claim<'_>) -> String {
    path_match(path_secrets(scheme, claim), claim).map_or(String::new(), |secret| secret.fingerprint().chars().take(8).collect())
}

/// The ranges the account names replace the scheme's own, which a sender may change.
pub(super) fn client(scheme: &Scheme, claim: &Claim<'_>) -> Result<(), Rejection> {
    let ranges: Vec<Cidr> = match claim.account.get(Scheme::ALLOWED_IPS) {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).filter_map(|text| Cidr::parse(text).ok()).collect(),
        Some(_) => return Err(Rejection::NotConfigured(Scheme::ALLOWED_IPS)),
        None if scheme.ips.is_empty() => return Ok(()),
        None => scheme.ips.iter().filter_map(|text| Cidr::parse(text).ok()).collect(),
    };
    let from = |client: IpAddr| ranges.iter().any(|range| range.contains(client));
    if claim.door.client.is_some_and(from) { Ok(()) } else { Err(Rejection::WrongClient) }
}

/// What must be the account's own. A body that cannot be read, or does not say it, is let through for a ping or a reading to
/// judge only where the scheme signs; of an unsigned one nothing is let through.
pub(super) fn account(scheme: &Scheme, claim: &Claim<'_>) -> Result<(), Rejection> {
    if scheme.require.is_empty() || super::super::challenge::is_ping(scheme, claim.body) {
        return Ok(());
    }
    for require in scheme.require {
        let own = match claim.account.get(require.account) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(Rejection::NotConfigured(require.account)),
        };
        if json_text(claim.body, require.pointer).is_none_or(|said| said != own) {
            return Err(Rejection::OtherAccount);
        }
    }
    Ok(())
}

/// A text or a number of the body, by pointer. The reader bounds its own depth.
pub fn json_text(body: &[u8], pointer: &str) -> Option<String> {
    match serde_json::from_slice::<Value>(body).ok()?.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
