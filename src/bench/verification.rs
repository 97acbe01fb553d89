//! What it costs to believe a webhook: the door's own judgement of a signed body, and the bare MAC in it.

use std::collections::BTreeMap;
use std::time::Duration;

use hmac::digest::KeyInit as _;
use hmac::{Hmac, Mac as _};
use serde::Serialize;
use serde_json::Map;
use sha2::Sha256;

use super::hub::SECRET;
use crate::clock::Clock;
use crate::marketplaces::schemes;
use crate::pipeline::verify::sign::{Signing, sign};
use crate::pipeline::verify::{Claim, Door, judge};
use crate::settings::Secret;

const TIMES: u32 = 20_000;

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Verification {
    pub body_bytes: usize,
    /// Of the whole judgement: headers, secrets, MAC, comparison.
    pub whole_us: f64,
    pub mac_us: f64,
}

/// Measures one after the other on this thread; the scheme is the one that the bench signs with.
pub(super) fn measure(body: &[u8], clock: &Clock) -> anyhow::Result<Verification> {
    let all = schemes::named("plain").ok_or_else(|| anyhow::anyhow!("there is no scheme \"plain\""))?;
    let scheme = all.first().ok_or_else(|| anyhow::anyhow!("the scheme is empty"))?;
    let (account, door, now) = (Map::new(), Door { method: "POST", ..Door::default() }, clock.now());
    let signed = sign(&Signing { scheme, secret: SECRET, id: "", at: now, body, account: &account, door: &door })?;
    let headers: Vec<(String, Vec<u8>)> = signed.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
    let claim = Claim {
        headers: &headers,
        body,
        received_at: now,
        tolerance: Duration::from_secs(300),
        door: &door,
        account: &account,
        secrets: &BTreeMap::from([(scheme.secret.to_owned(), vec![Secret::new(SECRET)])]),
        public_key: &|_| None,
    };
    let whole_us = each(clock, || judge(all, &claim).is_ok())?;
    let mac_us = each(clock, || {
        Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).is_ok_and(|mut mac| {
            mac.update(std::hint::black_box(body));
            std::hint::black_box(mac.finalize().into_bytes()).len() == 32
        })
    })?;
    Ok(Verification { body_bytes: body.len(), whole_us, mac_us })
}

fn each(clock: &Clock, work: impl Fn() -> bool) -> anyhow::Result<f64> {
    let begun = clock.elapsed();
    for _ in 0..TIMES {
        anyhow::ensure!(std::hint::black_box(work()), "a webhook of the bench's own is not believed");
    }
    Ok(clock.elapsed().saturating_sub(begun).as_secs_f64() * 1e6 / f64::from(TIMES))
}
