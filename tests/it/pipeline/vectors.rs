//! Published signatures hold as published, and not after any change.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use stockhub::domain::time::Timestamp;
use stockhub::marketplaces::scheme::{Algorithm, Encoding, Scheme};
use stockhub::marketplaces::schemes;
use stockhub::pipeline::verify::{Claim, Door, Rejection, judge};
use stockhub::settings::Secret;

struct Vector {
    name: String,
    schemes: Vec<Scheme>,
    secrets: BTreeMap<String, Vec<Secret>>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    at: Timestamp,
    account: Map<String, Value>,
    accepted: bool,
}

fn read(file: &str, value: &Value) -> Vector {
    let text = |name: &str| value[name].as_str().unwrap_or_else(|| panic!("{file}: no {name}"));
    let mut schemes = schemes::named(text("scheme")).expect("a known scheme").to_vec();
    for scheme in &mut schemes {
        match value["override"]["encoding"].as_str() {
            Some("base64") => scheme.encoding = Encoding::Base64,
            other => assert_eq!(other, None),
        }
        match value["override"]["algorithm"].as_str() {
            Some("hmac-sha512") => scheme.algorithm = Algorithm::HmacSha512,
            other => assert_eq!(other, None),
        }
    }
    let headers = value["headers"].as_object().expect("headers");
    let secret = Some(text("secret")).filter(|secret| !secret.is_empty()).map(Secret::new);
    Vector {
        name: format!("{file}: {}", text("name")),
        secrets: BTreeMap::from([("webhook_secret".to_owned(), secret.into_iter().collect())]),
        headers: headers.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().as_bytes().to_vec())).collect(),
        body: text("body").as_bytes().to_vec(),
        at: Timestamp::from_seconds(value["at"].as_i64().expect("a time")),
        account: value["account"].as_object().cloned().unwrap_or_default(),
        accepted: value["accepted"].as_bool().expect("a verdict"),
        schemes,
    }
}

fn vectors() -> Vec<Vector> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "json") {
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            let list: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            all.extend(list.iter().map(|value| read(&file, value)));
        }
    }
    all
}

fn check(v: &Vector, headers: &[(String, Vec<u8>)], body: &[u8]) -> Result<(), Rejection> {
    let claim = Claim {
        headers,
        body,
        received_at: v.at,
        tolerance: Duration::from_secs(300),
        door: &Door::default(),
        account: &v.account,
        secrets: &v.secrets,
        public_key: &|_| None,
    };
    judge(&v.schemes, &claim).map(drop)
}

#[test]
fn published_signatures_hold() {
    let all = vectors();
    assert!(all.len() >= 59, "only {} vectors were found", all.len());
    let wrong: Vec<String> = all
        .iter()
        .filter(|v| check(v, &v.headers, &v.body).is_ok() != v.accepted)
        .map(|v| format!("{}: {:?}", v.name, check(v, &v.headers, &v.body)))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn any_one_byte_change_of_the_body_is_refused() {
    for v in vectors().iter().filter(|v| v.accepted) {
        for at in 0..v.body.len() {
            let mut body = v.body.clone();
            body[at] ^= 1;
            assert!(check(v, &v.headers, &body).is_err(), "{}: byte {at} of the body", v.name);
        }
        let longer = [&v.body[..], b"\n"].concat();
        assert!(check(v, &v.headers, &longer).is_err(), "{}: a byte more", v.name);
        if let Some((_, shorter)) = v.body.split_last() {
            assert!(check(v, &v.headers, shorter).is_err(), "{}: a byte less", v.name);
        }
    }
}

/// Bytes that carry no meaning in their header may change: the case of a hex digit, the unused bits at the end of base64, space.
/// Whatever is accepted must therefore say the very same as the original.
fn says_the_same(header: &str, original: &[u8], changed: &[u8]) -> bool {
    if !header.contains("signature") && !header.contains("hmac") {
        return false;
    }
    // Of eBay's object only the signature and the key's name are anything to us.
    if header == "x-ebay-signature" {
        return ebay(original) == ebay(changed);
    }
    let plain = |text: &[u8]| String::from_utf8_lossy(text).trim().to_ascii_lowercase();
    plain(original) == plain(changed)
}

fn ebay(header: &[u8]) -> Option<(Vec<u8>, String)> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let fields: Value = serde_json::from_slice(&STANDARD.decode(header).ok()?).ok()?;
    Some((STANDARD.decode(fields["signature"].as_str()?).ok()?, fields["kid"].as_str()?.to_owned()))
}

/// Headers that no signature covers: they are not part of what is judged.
fn is_covered(v: &Vector, name: &str) -> bool {
    name != "content-type" && (!v.name.starts_with("hook0") || name == "x-hook0-signature")
}

#[test]
fn any_one_byte_change_of_a_signed_header_is_refused() {
    let mut tried = 0;
    for v in vectors().iter().filter(|v| v.accepted) {
        for (n, (name, value)) in v.headers.iter().enumerate().filter(|(_, (name, _))| is_covered(v, name)) {
            for at in 0..value.len() {
                for bit in [1_u8, 2, 0x20] {
                    let mut headers = v.headers.clone();
                    headers[n].1[at] ^= bit;
                    tried += 1;
                    let same = says_the_same(name, value, &headers[n].1);
                    // A list holds others too, and prefixes may be left out; what matters is that the tag itself is right.
                    let harmless = same || untouched_tag(v, name, at);
                    assert!(harmless || check(v, &headers, &v.body).is_err(), "{}: {name} byte {at} bit {bit}", v.name);
                }
            }
        }
    }
    assert!(tried > 5_000, "only {tried} changes were tried");
}

/// Whether a byte lies in a part of a list header that does not decide: another version's code, or a wrong one beside the right one.
fn untouched_tag(v: &Vector, name: &str, at: usize) -> bool {
    let value = String::from_utf8_lossy(&v.headers.iter().find(|(known, _)| known == name).unwrap().1).into_owned();
    let several = value.matches("v1=").count() + value.matches("v0=").count() > 1;
    if !several {
        return false;
    }
    let begin = value[..at].rfind(',').map_or(0, |comma| comma + 1);
    let end = value[at..].find(',').map_or(value.len(), |comma| at + comma);
    let rest = format!("{}{}", &value[..begin], value[end..].trim_start_matches(','));
    let headers: Vec<(String, Vec<u8>)> =
        v.headers.iter().map(|(n, b)| (n.clone(), if n == name { rest.clone().into_bytes() } else { b.clone() })).collect();
    check(v, &headers, &v.body).is_ok()
}

#[test]
fn ten_thousand_random_changes_and_not_one_accepted() {
    let all: Vec<Vector> = vectors().into_iter().filter(|v| v.accepted && !v.body.is_empty()).collect();
    let mut draw = fastrand::Rng::with_seed(4);
    for _ in 0..10_000 {
        let v = &all[draw.usize(..all.len())];
        let mut body = v.body.clone();
        for _ in 0..draw.usize(1..4) {
            let at = draw.usize(..body.len());
            match draw.u8(0..3) {
                0 => body[at] = body[at].wrapping_add(draw.u8(1..)),
                1 => body.insert(at, draw.u8(..)),
                _ if body.len() > 1 => drop(body.remove(at)),
                _ => body.push(draw.u8(..)),
            }
        }
        assert!(body == v.body || check(v, &v.headers, &body).is_err(), "{}: {body:?}", v.name);
    }
}

proptest::proptest! {
    /// Whatever bytes come in whatever header, of whatever scheme: a verdict, never a panic, never a yes.
    #[test]
    fn no_bytes_make_it_panic(
        value in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        text in "[tv01=,.{}a-f0-9 +/\"kid]{0,120}",
        body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
    ) {
        for name in schemes::names() {
            let schemes = schemes::named(name).unwrap().to_vec();
            for value in [&value[..], text.as_bytes()] {
                let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
                for scheme in &schemes {
                    headers.push((scheme.header.to_owned(), value.to_vec()));
                    headers.extend(scheme.with.iter().map(|with| ((*with).to_owned(), value.to_vec())));
                }
                headers.dedup_by(|a, b| a.0 == b.0);
                let secrets = BTreeMap::from([
                    ("webhook_secret".to_owned(), vec![Secret::new("a secret of the test's own")]),
                    ("path_secret".to_owned(), vec![Secret::new("a path of the test's own")]),
                ]);
                let v = Vector {
                    name: name.to_owned(), schemes: schemes.clone(), secrets, headers, body: body.clone(),
                    at: Timestamp::from_seconds(1_800_000_000), account: Map::new(), accepted: false,
                };
                proptest::prop_assert!(check(&v, &v.headers, &v.body).is_err());
            }
        }
    }
}
