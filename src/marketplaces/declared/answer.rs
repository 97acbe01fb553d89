//! What an answer means before its body is looked at: HTTP's own classes, the file's exceptions, and throttling.

use std::time::Duration;

use super::file::{AdapterFile, Class};
use super::read::is_one_of;
use crate::marketplaces::wire::excerpt;
use crate::marketplaces::{Answer, Outcome};

/// The body of a good answer, or how the request ended. `success`: which statuses are good; empty: any 2xx.
pub fn body<'a>(file: &AdapterFile, answer: &'a Answer, success: &[(u16, u16)]) -> Result<&'a [u8], Outcome> {
    let Answer::Response { status, body, .. } = answer else { return Err(Outcome::of_status(answer)) };
    if let Some(outcome) = exception(file, answer) {
        return Err(outcome);
    }
    let good = if success.is_empty() { (200..=299).contains(status) } else { is_one_of(*status, success) };
    if good {
        return Ok(body);
    }
    Err(match Outcome::of_status(answer) {
        // A 2xx that this marketplace does not answer: nobody knows what was done.
        Outcome::Applied => Outcome::Unknown { message: format!("answered {status}: {}", excerpt(body)) },
        other => other,
    })
}

/// What the file says of this answer, apart from what HTTP says.
fn exception(file: &AdapterFile, answer: &Answer) -> Option<Outcome> {
    let Answer::Response { status, body, .. } = answer else { return None };
    let holds = |text: &String| String::from_utf8_lossy(body).contains(text.as_str());
    let message = || format!("answered {status}: {}", excerpt(body));
    let code = || Some(status.to_string());
    for rule in &file.http.classify {
        let of_status = rule.statuses.is_empty() || is_one_of(*status, &rule.statuses);
        if !of_status || !rule.body_contains.as_ref().is_none_or(holds) {
            continue;
        }
        let after = rule.penalty.or(retry_after(file, answer));
        return Some(match rule.class {
            Class::Retry => Outcome::Retry { after, throttled: false, code: code(), message: message() },
            Class::Throttled => Outcome::Retry { after, throttled: true, code: code(), message: message() },
            Class::Permanent => Outcome::Permanent { code: code(), message: message() },
            Class::Auth => Outcome::Auth { message: message() },
            Class::Unknown => Outcome::Unknown { message: message() },
        });
    }
    let throttled = *status == 429 || file.limits.iter().any(|limit| limit.throttle_status.contains(status));
    throttled.then(|| Outcome::Retry { after: retry_after(file, answer), throttled: true, code: code(), message: message() })
}

/// How long to wait, as `Retry-After` or the marketplace's own header says.
fn retry_after(file: &AdapterFile, answer: &Answer) -> Option<Duration> {
    let Answer::Response { retry_after, headers, .. } = answer else { return None };
    let own = file.limits.iter().filter_map(|limit| limit.reads.retry_after_s).find_map(|name| headers.get(name));
    let seconds = own.and_then(|text| text.trim().parse::<f64>().ok()).filter(|s| s.is_finite() && (0.0..=86_400.0).contains(s));
    seconds.map(Duration::from_secs_f64).or(*retry_after)
}

/// An answer that was good by its status, and cannot be read.
pub fn unreadable(why: impl Into<String>) -> Outcome {
    Outcome::Retry { after: None, throttled: false, code: Some("unreadable-answer".into()), message: why.into() }
}

pub fn json(body: &[u8]) -> Result<serde_json::Value, Outcome> {
    serde_json::from_slice(body).map_err(|error| unreadable(format!("the answer is not JSON: {error}")))
}
