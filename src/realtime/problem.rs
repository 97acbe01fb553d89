//! Errors of the room's HTTP answers, as RFC 9457 problem details.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

/// The body of a problem document.
pub(crate) fn body(status: StatusCode, slug: &str, title: &str, detail: &str) -> String {
    let problem = Problem { r#type: format!("urn:stockhub:problem:{slug}"), title, status: status.as_u16(), detail };
    // A struct of text and a number always serialises.
    serde_json::to_string(&problem).unwrap_or_default()
}

pub(crate) fn problem(status: StatusCode, slug: &str, title: &str, detail: &str) -> HttpResponse {
    HttpResponse::build(status).content_type("application/problem+json").body(body(status, slug, title, detail))
}
