//! `stockhub webhook verify`: a captured request, judged by the same code as in the hub, with words for an engineer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{BodyArgument, account, scheme, secret};
use crate::cli::output::out;
use crate::clock::Clock;
use crate::domain::time::Timestamp;
use crate::marketplaces::scheme::{Algorithm, Encoding, Format, Part, Scheme, Stamp};
use crate::pipeline::verify::{Claim, Door, Proof, Rejection, judge};

#[derive(Args)]
pub(in crate::cli) struct VerifyArguments {
    /// The secret: env:NAME or file:PATH; several = rotation
    #[arg(long, required = true)]
    secret: Vec<String>,
    #[command(flatten)]
    body: BodyArgument,
    /// See `stockhub webhook schemes`
    #[arg(long, default_value = "plain")]
    scheme: String,
    /// A header as it came, `Name: value`; repeatable
    #[arg(long, value_name = "HEADER")]
    header: Vec<String>,
    /// A file with headers, one `Name: value` a line
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// The address the sender was given, where the scheme signs it
    #[arg(long)]
    webhook_url: Option<String>,
    /// When it was received (RFC 3339); default: now
    #[arg(long)]
    at: Option<String>,
    /// Seconds the signed time may differ
    #[arg(long, default_value_t = 300)]
    tolerance: u64,
}

pub(super) fn verify(arguments: &VerifyArguments) -> anyhow::Result<ExitCode> {
    let schemes = scheme(&arguments.scheme)?;
    let headers = headers(arguments)?;
    let body = arguments.body.read()?;
    let received_at = match &arguments.at {
        Some(text) => Timestamp::parse_rfc3339(text).ok_or_else(|| anyhow::anyhow!("--at must be like 2026-01-09T10:30:00Z"))?,
        None => Clock::system().now(),
    };
    let secrets = arguments.secret.iter().map(|reference| secret(reference)).collect::<Result<Vec<_>, _>>()?;
    let name = schemes.first().map_or("", |scheme| scheme.secret);
    let claim = Claim {
        headers: &headers,
        body: &body,
        received_at,
        tolerance: Duration::from_secs(arguments.tolerance),
        door: &Door { method: "POST", ..Door::default() },
        account: &account(arguments.webhook_url.as_ref()),
        secrets: &BTreeMap::from([(name.to_owned(), secrets)]),
        public_key: &|_| None,
    };
    match judge(schemes, &claim) {
        Ok(Proof { scheme, id, key_id, .. }) => {
            out(&format!(
                "authentic: scheme {}, key {key_id}{}",
                scheme.name,
                id.map_or(String::new(), |id| format!(", id {id}"))
            ));
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => {
            out(&format!("refused ({}): {reason}", reason.label()));
            for hint in hints(schemes, reason, &claim) {
                out(&format!("  {hint}"));
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

fn headers(arguments: &VerifyArguments) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut lines = arguments.header.clone();
    if let Some(path) = &arguments.headers {
        let text = std::fs::read_to_string(path).map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))?;
        lines.extend(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
    }
    let split = |line: &String| {
        let (name, value) = line.split_once(':').ok_or_else(|| anyhow::anyhow!("a header is `Name: value`, not {line:?}"))?;
        Ok((name.trim().to_ascii_lowercase(), value.trim().as_bytes().to_vec()))
    };
    lines.iter().map(split).collect()
}

/// What to look at next. Nothing here is told to strangers: the hub's own answer is one for all.
fn hints(schemes: &[Scheme], reason: Rejection, claim: &Claim<'_>) -> Vec<String> {
    let Some(scheme) = schemes.first() else { return Vec::new() };
    match reason {
        Rejection::NoSignature => {
            let came: Vec<&str> = claim.headers.iter().map(|(name, _)| name.as_str()).collect();
            let with = if scheme.with.is_empty() { String::new() } else { format!(" (with {})", scheme.with.join(", ")) };
            let there = if came.is_empty() {
                "there is none; see --header".to_owned()
            } else {
                format!("there are: {}", came.join(", "))
            };
            let mut hints = vec![format!("step 1, header: {}{with} is expected; {there}", scheme.header)];
            let others: Vec<&str> = crate::marketplaces::schemes::names().filter(|name| signs_with(name, &came)).collect();
            if !others.is_empty() {
                hints.push(format!("these headers are what --scheme {} looks like", others.join(" or ")));
            }
            hints
        }
        Rejection::BadFormat => vec![format!("step 2, form: {} should be {}", scheme.header, form(scheme))],
        Rejection::BadTimestamp => vec!["step 3, time: it should be whole seconds since 1970".to_owned()],
        Rejection::TooOld | Rejection::TooNew => {
            vec![format!(
                "step 3, time: received at {}, tolerance {} s each way; see --at",
                claim.received_at,
                scheme.tolerance(claim.tolerance).as_secs()
            )]
        }
        Rejection::BadSignature => bad_signature(scheme, claim),
        _ => Vec::new(),
    }
}

/// Whether a named scheme's header is among these.
fn signs_with(name: &str, came: &[&str]) -> bool {
    let first = crate::marketplaces::schemes::named(name).and_then(<[Scheme]>::first);
    first.is_some_and(|scheme| {
        !scheme.header.is_empty() && came.contains(&scheme.header) && scheme.with.iter().all(|w| came.contains(w))
    })
}

fn form(scheme: &Scheme) -> String {
    let code = match (scheme.encoding, scheme.algorithm) {
        (Encoding::Hex, Algorithm::HmacSha512) => "128 hex digits",
        (Encoding::Hex, Algorithm::HmacSha1) => "40 hex digits",
        (Encoding::Hex, _) => "64 hex digits",
        (Encoding::Base64, _) => "base64",
        (Encoding::Base64Url, _) => "URL-safe base64",
        (Encoding::Text, _) => "the token",
    };
    match (scheme.format, scheme.timestamp) {
        (Format::Single { prefix }, _) => format!("{prefix}<{code}>, once"),
        (Format::SpaceList { version }, _) => format!("{version},<{code}>, perhaps several with spaces between"),
        (Format::KeyValues { version }, Some(Stamp::Tag(tag, _))) => format!("{tag}=<time>,{version}=<{code}>"),
        (Format::KeyValues { version }, _) => format!("{version}=<{code}>"),
        (Format::Json { signature, key_id }, _) => format!("base64 of JSON with {signature} and {key_id}"),
    }
}

fn bad_signature(scheme: &Scheme, claim: &Claim<'_>) -> Vec<String> {
    let pieces: Vec<String> = scheme
        .content
        .iter()
        .map(|part| match part {
            Part::Text(text) => format!("{text:?}"),
            Part::Body => format!("body ({} bytes)", claim.body.len()),
            other => format!("{other:?}").to_lowercase(),
        })
        .collect();
    let mut hints = vec![format!("step 4, code: {:?} over {} does not match any secret", scheme.algorithm, pieces.join(" + "))];
    // The mistakes that are made most: the body was read and written again, or an editor ended the file with a line.
    let also = |body: &[u8]| judge(std::slice::from_ref(scheme), &Claim { body, ..*claim }).is_ok();
    if let Some(shorter) = claim.body.strip_suffix(b"\n")
        && also(shorter)
    {
        hints.push("it matches without the line end at the end of the body: the file was changed after it was captured".into());
    }
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(claim.body)
        && also(value.to_string().as_bytes())
    {
        hints.push("it matches the body written again as compact JSON: sign and send the same bytes".into());
    }
    hints.push("check that the secret is the sender's, and that the body is byte for byte what was sent".into());
    hints
}
