//! Which web pages may talk to the hub. A browser always says where its page comes from; what says nothing is not a browser.

use std::net::IpAddr;

use actix_web::http::Uri;
use actix_web::http::header::{self, HeaderMap, HeaderValue};

use super::settings::RealtimeSettings;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Not a browser, or a page of the hub itself that need not say.
    Absent,
    /// May read; the header value is what CORS echoes.
    Allowed(HeaderValue),
    Foreign,
}

/// Judges the `Origin` header. `on_loopback`: the hub listens on loopback only, so any page of this machine is a developer's.
pub(crate) fn judge(headers: &HeaderMap, on_loopback: bool, settings: &RealtimeSettings) -> Origin {
    let Some(value) = headers.get(header::ORIGIN) else { return Origin::Absent };
    let Ok(origin) = value.to_str() else { return Origin::Foreign };
    let listed = settings.allowed_origins.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin));
    if listed || same_host(origin, headers) || (on_loopback && host_of(origin).is_some_and(|host| is_loopback(&host))) {
        Origin::Allowed(value.clone())
    } else {
        Origin::Foreign
    }
}

/// The host with its port, without the default ones: a proxy may speak TLS for us, so the scheme tells nothing.
fn host_of(origin: &str) -> Option<String> {
    let uri: Uri = origin.parse().ok()?;
    uri.scheme()?;
    Some(plain(uri.authority()?.as_str()))
}

fn plain(authority: &str) -> String {
    let authority = authority.to_ascii_lowercase();
    authority.strip_suffix(":80").or_else(|| authority.strip_suffix(":443")).unwrap_or(&authority).to_owned()
}

/// Whether a page of this origin is one that the asked host serves itself.
pub(crate) fn same_host(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(plain);
    host.is_some() && host == host_of(origin)
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(origin: &str, host: &str, on_loopback: bool, allowed: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        let settings =
            RealtimeSettings { allowed_origins: allowed.iter().map(ToString::to_string).collect(), ..Default::default() };
        judge(&headers, on_loopback, &settings) != Origin::Foreign
    }

    #[test]
    fn the_own_host_is_allowed_whoever_speaks_tls() {
        assert!(verdict("https://shop.example", "shop.example", false, &[]));
        assert!(verdict("https://Shop.example", "shop.example:443", false, &[]));
        assert!(!verdict("https://shop.example:8443", "shop.example", false, &[]));
        assert!(!verdict("https://evil.example", "shop.example", false, &[]));
        assert!(!verdict("null", "shop.example", false, &[]));
    }

    #[test]
    fn loopback_pages_only_while_the_hub_is_on_loopback() {
        for origin in ["http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:9"] {
            assert!(verdict(origin, "127.0.0.1:8080", true, &[]), "{origin}");
            assert!(!verdict(origin, "shop.example", false, &[]), "{origin}");
        }
        assert!(!verdict("http://localhost.evil.example", "127.0.0.1:8080", true, &[]));
    }

    #[test]
    fn more_origins_can_be_listed() {
        assert!(verdict("https://a.example", "b.example", false, &["https://a.example"]));
        assert!(!verdict("https://a.example.evil", "b.example", false, &["https://a.example"]));
        assert!(verdict("null", "b.example", false, &["*"]));
    }
}
