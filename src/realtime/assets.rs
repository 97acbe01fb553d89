//! The browser client, inside the binary: it always fits the protocol it is served with.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};

const CLIENT_JS: &str = include_str!("../../static/client/stockhub.js");
const CLIENT_TYPES: &str = include_str!("../../static/client/stockhub.d.ts");
const STORE_HTML: &str = include_str!("../../static/store/index.html");
const STORE_JS: &str = include_str!("../../static/store/store.js");
const STORE_ICON: &str = include_str!("../../static/store/icon.svg");
const STORE_CSS: &str = include_str!("../../static/store/store.css");

const ASYNCAPI: &str = include_str!("asyncapi.json");

/// What the demo storefront may load: itself, and nothing else.
const STORE_POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn asset(kind: &'static str, body: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(body)
}

/// Shops on other hosts load the client from here; it holds nothing secret.
pub(crate) async fn client_js() -> HttpResponse {
    let mut response = asset("text/javascript; charset=utf-8", CLIENT_JS);
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, header::HeaderValue::from_static("*"));
    response
}

pub(crate) async fn client_types() -> HttpResponse {
    asset("text/plain; charset=utf-8", CLIENT_TYPES)
}

pub(crate) async fn asyncapi() -> HttpResponse {
    asset("application/json", ASYNCAPI)
}

/// `/store` and what belongs to it. Relative links need the slash, so the page names its parts in full.
pub(crate) async fn store(req: HttpRequest) -> HttpResponse {
    let mut response = match req.path() {
        "/store/store.js" => asset("text/javascript; charset=utf-8", STORE_JS),
        "/store/store.css" => asset("text/css; charset=utf-8", STORE_CSS),
        "/store/icon.svg" => asset("image/svg+xml", STORE_ICON),
        _ => asset("text/html; charset=utf-8", STORE_HTML),
    };
    let policy = header::HeaderValue::from_static(STORE_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
