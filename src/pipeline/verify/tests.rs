use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::*;
use crate::domain::ids::MarketplaceId;
use crate::domain::order::Fulfilment;
use crate::domain::rule::Rule;
use crate::marketplaces::connection::{Policy, Status};
use crate::marketplaces::generic::Generic;
use crate::marketplaces::{Kind, StockFeed};
use crate::settings::Secret;

fn connection(secrets: &[&str]) -> Arc<Connection> {
    let live = secrets.iter().map(|secret| Secret::new(*secret)).collect();
    let policy = Policy {
        clock_tolerance: Duration::from_secs(2),
        fulfilment: Fulfilment::Instant,
        own_sales_decrement: true,
        own_cancel_restock: None,
        min_gap: Duration::ZERO,
        push_enabled: true,
        count_unpaid: None,
        drift_policy: crate::settings::DriftPolicy::HubWins,
        poll_every: None,
        reconcile_every: None,
        rule: Rule::default(),
    };
    Arc::new(Connection {
        id: MarketplaceId::new(uuid::Uuid::nil()),
        code: "uzum".into(),
        name: "Uzum".into(),
        kind: Kind::Api,
        adapter: Arc::new(Generic::new()),
        base_url: None,
        account: serde_json::Map::new(),
        secrets: BTreeMap::from([("webhook_secret".to_owned(), live)]),
        stock_feed: StockFeed::Delta,
        feed_since: Timestamp::default(),
        currency: None,
        status: Status::Active,
        webhook_enabled: true,
        policy,
        locations: Vec::new(),
    })
}

fn check(secrets: &[&str], headers: &[(&str, &str)], body: &str, now: i64) -> Result<Option<String>, Rejection> {
    let inbound = Inbound {
        connection: connection(secrets),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        received_at: Timestamp::from_seconds(now),
        door: Door::default(),
    };
    verify(inbound, Duration::from_secs(300), &|_| None).map(|verified| verified.id).map_err(|(rejection, _)| rejection)
}

/// Published by the Standard Webhooks libraries and by Svix.
const STANDARD: [(&str, &str, i64, &str, &str); 3] = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        "{\"test\": 2432232314}",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1_649_367_553,
        "{\"email\":\"test@example.com\",\"username\":\"test_user\"}",
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ),
    (
        "whsec_plJ3nmyCDGBKInavdOK15jsl",
        "msg_loFOjxBNrRLzqYUf",
        1_731_705_121,
        "{\"event_type\":\"ping\",\"data\":{\"success\":true}}",
        "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    ),
];

#[test]
fn published_vectors_pass_and_any_changed_byte_fails() {
    for (secret, id, at, body, signature) in STANDARD {
        let stamp = at.to_string();
        let headers = [("webhook-id", id), ("webhook-timestamp", stamp.as_str()), ("webhook-signature", signature)];
        assert_eq!(check(&[secret], &headers, body, at), Ok(Some(id.to_owned())));
        // Among others, as a rotation sends it; and without the padding.
        let list = format!("v1,AAAA v1a,zzz {signature}");
        let bare = signature.trim_end_matches('=');
        for other in [list.as_str(), bare] {
            let headers = [("webhook-id", id), ("webhook-timestamp", stamp.as_str()), ("webhook-signature", other)];
            assert!(check(&[secret], &headers, body, at).is_ok(), "{other}");
        }
        for position in 0..body.len() {
            let mut changed = body.as_bytes().to_vec();
            changed[position] ^= 1;
            let changed = String::from_utf8_lossy(&changed).into_owned();
            assert_eq!(check(&[secret], &headers, &changed, at), Err(Rejection::BadSignature));
        }
        for (wrong, seconds) in [(Rejection::TooOld, at + 301), (Rejection::TooNew, at - 301)] {
            assert_eq!(check(&[secret], &headers, body, seconds), Err(wrong));
        }
        assert!(check(&[secret], &headers, body, at + 300).is_ok() && check(&[secret], &headers, body, at - 300).is_ok());
    }
}

#[test]
fn a_scheme_may_say_itself_how_far_its_time_may_be_off() {
    let (secret, id, at, body, signature) = STANDARD[0];
    let stamp = at.to_string();
    let headers = [("webhook-id", id), ("webhook-timestamp", stamp.as_str()), ("webhook-signature", signature)]
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    let connection = connection(&[secret]);
    let strict = Scheme { tolerance_s: Some(10), ..crate::marketplaces::schemes::standard("webhook_secret") };
    let judged = |seconds| {
        let claim = Claim {
            headers: &headers,
            body: body.as_bytes(),
            received_at: Timestamp::from_seconds(seconds),
            tolerance: Duration::from_secs(300),
            door: &Door::default(),
            account: &connection.account,
            secrets: &connection.secrets,
            public_key: &|_| None,
        };
        judge(&[strict], &claim).map(drop)
    };
    assert_eq!((judged(at + 10), judged(at + 11), judged(at - 11)), (Ok(()), Err(Rejection::TooOld), Err(Rejection::TooNew)));
}

fn hex_tag(secret: &str, content: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
    mac.update(content);
    hex::encode(mac.finalize().into_bytes())
}

#[test]
fn the_older_shape_takes_either_case_and_a_prefix() {
    let tag = hex_tag("s3cret", b"{}");
    for signature in [tag.clone(), tag.to_uppercase(), format!("sha256={tag}")] {
        assert_eq!(check(&["other", "s3cret"], &[("x-webhook-signature", &signature)], "{}", 0), Ok(None), "{signature}");
    }
}

#[test]
fn bad_headers_are_refused_without_a_panic() {
    let tag = hex_tag("s3cret", b"{}");
    let truncated = &tag[..tag.len() - 1];
    let long = tag.repeat(100);
    let cases: [(&str, Rejection); 8] = [
        ("", Rejection::BadFormat),
        (truncated, Rejection::BadFormat),
        (&long, Rejection::BadFormat),
        ("zz", Rejection::BadFormat),
        ("é", Rejection::BadFormat),
        ("sha256=", Rejection::BadFormat),
        ("sha512=00", Rejection::BadFormat),
        ("0000000000000000000000000000000000000000000000000000000000000000", Rejection::BadSignature),
    ];
    for (signature, wanted) in cases {
        assert_eq!(check(&["s3cret"], &[("x-webhook-signature", signature)], "{}", 0), Err(wanted), "{signature:?}");
    }
    assert_eq!(check(&["s3cret"], &[], "{}", 0), Err(Rejection::NoSignature));
    assert_eq!(check(&[], &[("x-webhook-signature", &tag)], "{}", 0), Err(Rejection::NoSecret));
    // Of two, nobody can say which was meant.
    let twice = [("x-webhook-signature", "00"), ("x-webhook-signature", tag.as_str())];
    assert_eq!(check(&["s3cret"], &twice, "{}", 0), Err(Rejection::BadFormat));
}

#[test]
fn id_and_time_come_both_or_not_at_all_and_are_signed() {
    let now = 1_800_000_000;
    let tag = hex_tag("s3cret", b"e-1.1800000000.{}");
    let full = [("x-webhook-id", "e-1"), ("x-webhook-timestamp", "1800000000"), ("x-webhook-signature", tag.as_str())];
    assert_eq!(check(&["s3cret"], &full, "{}", now), Ok(Some("e-1".into())));
    assert_eq!(check(&["s3cret"], &full[1..], "{}", now), Err(Rejection::BadFormat));
    assert_eq!(check(&["s3cret"], &[full[0], full[2]], "{}", now), Err(Rejection::BadFormat));
    for stamp in ["abc", "1e9", "-1", "99999999999999999999", ""] {
        let headers = [("x-webhook-id", "e-1"), ("x-webhook-timestamp", stamp), ("x-webhook-signature", tag.as_str())];
        assert!(check(&["s3cret"], &headers, "{}", now).is_err(), "{stamp}");
    }
}

#[test]
fn a_weaker_shape_never_rescues_a_stronger_one() {
    let plain = hex_tag("s3cret", b"{}");
    let headers = [
        ("webhook-id", "m"),
        ("webhook-timestamp", "1800000000"),
        ("webhook-signature", "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("x-webhook-signature", plain.as_str()),
    ];
    assert_eq!(check(&["s3cret"], &headers, "{}", 1_800_000_000), Err(Rejection::BadSignature));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(signature in ".*", stamp in ".*", body in ".*") {
        let headers = [("webhook-id", "m"), ("webhook-timestamp", stamp.as_str()), ("webhook-signature", signature.as_str())];
        proptest::prop_assert!(check(&["s3cret"], &headers, &body, 1_800_000_000).is_err());
        proptest::prop_assert!(check(&["s3cret"], &[("x-webhook-signature", &signature)], &body, 0).is_err());
    }
}
