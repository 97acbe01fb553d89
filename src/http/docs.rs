//! `/docs`: the API's description for people. The page loads nothing from any other host.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};

const HTML: &str = include_str!("../../static/docs/index.html");
const JS: &str = include_str!("../../static/docs/docs.js");
const CSS: &str = include_str!("../../static/docs/docs.css");

/// Itself, and nothing else.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn page(request: HttpRequest) -> HttpResponse {
    let (kind, text) = match request.path() {
        "/docs/docs.js" => ("text/javascript; charset=utf-8", JS),
        "/docs/docs.css" => ("text/css; charset=utf-8", CSS),
        _ => ("text/html; charset=utf-8", HTML),
    };
    HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .body(text)
}
