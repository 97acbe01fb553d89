//! Writes that come with a cookie must come from a page of ours: a browser sends cookies along whoever wrote the page. The cookie is
//! `SameSite=Strict` already; this is the second lock. What carries a token in a header needs neither.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};

use super::problem::Problem;
use crate::realtime::same_host;

#[derive(Debug, PartialEq, Eq)]
enum Page {
    Ours,
    Foreign,
    /// Not a browser of these years.
    Unsaid,
}

fn page(headers: &HeaderMap) -> Page {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // The browser's own word, which no script can set.
    match (text("sec-fetch-site"), text(header::ORIGIN.as_str())) {
        (Some("same-origin"), _) => Page::Ours,
        (Some(_), _) => Page::Foreign,
        (None, Some(origin)) if same_host(origin, headers) => Page::Ours,
        (None, Some(_)) => Page::Foreign,
        (None, None) => Page::Unsaid,
    }
}

fn foreign() -> Problem {
    let detail = "with a cookie, this is taken from pages of this host only; programs send Authorization: Bearer";
    Problem::new(StatusCode::FORBIDDEN, "cross-site", "Not from there", detail)
}

/// For requests that a cookie lets in.
pub fn refuse_foreign_write(request: &HttpRequest) -> Result<(), Problem> {
    if request.method().is_safe() || page(request.headers()) == Page::Ours { Ok(()) } else { Err(foreign()) }
}

/// For signing in, where there is no cookie yet: another page must not sign somebody in as somebody else.
pub fn refuse_foreign(request: &HttpRequest) -> Result<(), Problem> {
    if page(request.headers()) == Page::Foreign { Err(foreign()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_pages_of_this_host_are_ours() {
        let cases: [(&[(&str, &str)], Page); 8] = [
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")], Page::Ours),
            (&[("sec-fetch-site", "same-site")], Page::Foreign),
            (&[("sec-fetch-site", "cross-site")], Page::Foreign),
            (&[("sec-fetch-site", "none")], Page::Foreign),
            (&[("origin", "https://hub.example")], Page::Ours),
            (&[("origin", "https://hub.example.evil")], Page::Foreign),
            (&[("origin", "null")], Page::Foreign),
            (&[], Page::Unsaid),
        ];
        for (sent, wanted) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("hub.example"));
            for (name, value) in sent {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(page(&headers), wanted, "{sent:?}");
        }
    }
}
