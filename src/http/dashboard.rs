//! The dashboard: plain files of `static/dashboard`, inside the binary. `/` is its page, `/dashboard/…` what belongs to it.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest as _, Sha256};

use super::problem::Problem;

/// What the page may do: run and show its own files, ask this hub. No inline script or style, no form that leaves, no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const MANIFEST: &str = "application/manifest+json";

macro_rules! files {
    ($($kind:ident: $($name:literal),+;)*) => {
        &[$($(File { name: $name, kind: $kind, text: include_str!(concat!("../../static/dashboard/", $name)) }),+),*]
    };
}

const FILES: &[File] = files! {
    HTML: "index.html";
    CSS: "app.css", "parts.css";
    SVG: "icon.svg";
    MANIFEST: "manifest.webmanifest";
    JS: "app.js", "api.js", "chart.js", "dom.js", "form.js", "format.js", "icons.js", "live.js", "metrics.js", "routes.js", "session.js", "ui.js",
        "pages/alerts.js", "pages/analytics.js", "pages/explain.js", "pages/import.js", "pages/letters.js", "pages/marketplace.js",
        "pages/marketplaces.js", "pages/order.js", "pages/orders.js", "pages/overview.js", "pages/oversells.js", "pages/people.js",
        "pages/product.js", "pages/products.js", "pages/reconciliations.js", "pages/rules.js", "pages/settings.js", "pages/sinks.js",
        "pages/start.js", "pages/syncs.js", "pages/timeline.js", "pages/todo.js", "pages/unmapped.js", "pages/webhooks.js",
        "pages/welcome.js";
};

pub(super) async fn page(request: HttpRequest) -> Result<HttpResponse, Problem> {
    serve(&request, "index.html")
}

pub(super) async fn file(request: HttpRequest) -> Result<HttpResponse, Problem> {
    serve(&request, request.match_info().query("name"))
}

/// A file is asked for anew each time and sent only when it changed: a hub that was updated is never shown by an old page.
fn serve(request: &HttpRequest, name: &str) -> Result<HttpResponse, Problem> {
    let file = FILES.iter().find(|file| file.name == name);
    let file = file.ok_or_else(|| Problem::not_found("not-found", "there is nothing at this address"))?;
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(file.text)[..12]));
    let known = request.headers().get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut answer = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::ETAG, tag))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header(("cross-origin-opener-policy", "same-origin"))
        .insert_header(("permissions-policy", "camera=(), microphone=(), geolocation=()"));
    if known {
        return Ok(answer.finish());
    }
    Ok(answer.content_type(file.kind).body(file.text))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn names(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let entry = entry.expect("an entry");
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().expect("a type").is_dir() {
                names(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served_and_no_other() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("static/dashboard");
        let mut found = Vec::new();
        names(&folder, "", &mut found);
        found.sort();
        let mut known: Vec<&str> = FILES.iter().map(|file| file.name).collect();
        known.sort_unstable();
        assert_eq!(found, known);
    }

    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for file in FILES {
            let asks = |word: &str| file.text.contains(word);
            assert!(!asks("https://") && !asks("eval(") && !asks(".innerHTML"), "{}", file.name);
            if file.kind == HTML {
                assert!(!asks("<style") && !asks("style=") && !asks("onclick=") && !asks("<script>"), "{}", file.name);
            }
        }
    }
}
