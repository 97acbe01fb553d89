//! What an engineer does at a terminal: sign, check, and be told what is wrong.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Map, Value};
use stockhub::domain::time::Timestamp;
use stockhub::marketplaces::schemes;
use stockhub::pipeline::verify::sign::{Signing, sign};
use stockhub::pipeline::verify::{Claim, Door, judge};
use stockhub::settings::Secret;
use tokio::io::AsyncWriteExt as _;

#[test]
fn what_is_signed_here_is_believed_here() {
    let account = Map::from_iter([("webhook_url".to_owned(), Value::from("https://hub.example/webhooks/x"))]);
    let door = Door { method: "POST", path_query: "/webhooks/x?data.id=AbC".into(), ..Door::default() };
    let at = Timestamp::from_seconds(1_800_000_000);
    let mut signed = 0;
    for name in schemes::names() {
        let list = schemes::named(name).unwrap();
        let scheme = list.iter().find(|s| s.algorithm.is_symmetric() && s.name != "hook0" && s.name != "mercado-pago");
        let Some(scheme) = scheme else { continue };
        let (secret, body) = ("a secret of the test's own", b"{\"a\": 1}");
        let headers = sign(&Signing { scheme, secret, id: "e-1", at, body, account: &account, door: &door }).unwrap();
        let mut headers: Vec<(String, Vec<u8>)> =
            headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
        // Two live secrets, the right one last.
        let secrets = BTreeMap::from([("webhook_secret".to_owned(), vec![Secret::new("another one"), Secret::new(secret)])]);
        let judged = |headers: &[(String, Vec<u8>)], body: &[u8]| {
            let tolerance = Duration::from_secs(300);
            let (account, door, secrets) = (&account, &door, &secrets);
            judge(list, &Claim { headers, body, received_at: at, tolerance, door, account, secrets, public_key: &|_| None })
        };
        let proof = judged(&headers, body).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(proof.key_id, Secret::new(secret).fingerprint()[..8]);
        assert!(judged(&headers, b"{\"a\": 2}").is_err(), "{name}");
        let twice = headers.last().unwrap().clone();
        headers.push(twice);
        assert!(judged(&headers, body).is_err(), "{name}: of two headers nobody can say which was meant");
        signed += 1;
    }
    assert!(signed >= 15, "only {signed} schemes were signed");
}

async fn stockhub(arguments: &[&str], stdin: &[u8]) -> (bool, String) {
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_stockhub"))
        .args(arguments)
        .env("T_SECRET", "s3cret-of-the-test")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin).await.unwrap();
    let done = child.wait_with_output().await.unwrap();
    (done.status.success(), String::from_utf8(done.stdout).unwrap())
}

#[tokio::test]
async fn verify_says_which_step_fails_and_why() {
    let scheme = ["--scheme", "stripe", "--secret", "env:T_SECRET"];
    let body = b"{\"a\": 1}";
    let (good, header) = stockhub(&[&["webhook", "sign"], &scheme[..]].concat(), body).await;
    assert!(good && header.starts_with("stripe-signature: t="), "{header}");
    let verify = async |header: &str, more: &[&str], body: &[u8]| {
        stockhub(&[&["webhook", "verify"], &scheme[..], &["--header", header], more].concat(), body).await
    };
    let (good, said) = verify(header.trim(), &[], body).await;
    assert!(good && said.starts_with("authentic: scheme stripe, key "), "{said}");
    let cases: [(&str, &[&str], &[u8], &str); 5] = [
        (header.trim(), &[], b"{\"a\": 1}\n", "without the line end"),
        (header.trim(), &[], b"{\"a\":1}", "step 4, code"),
        (header.trim(), &["--at", "2020-01-01T00:00:00Z"], body, "step 3, time"),
        ("stripe-signature: t=1,v1=zz", &[], body, "step 2, form: stripe-signature should be t=<time>,v1=<64 hex digits>"),
        ("x-signature: 00", &[], body, "step 1, header: stripe-signature is expected; there are: x-signature"),
    ];
    for (header, more, body, wanted) in cases {
        let (good, said) = verify(header, more, body).await;
        assert!(!good && said.contains(wanted), "{wanted:?} is not in {said}");
    }
    let (_, list) = stockhub(&["webhook", "schemes"], b"").await;
    assert!(list.lines().count() >= 20, "{list}");
}
