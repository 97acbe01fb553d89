//! Whose request this is, where proxies stand between.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;

use crate::settings::Cidr;

/// Hops looked at in a chain of proxies.
const HOPS_MAX: usize = 32;

/// The client's address. A header is believed only from a trusted proxy, and read from its end: what stands before the first
/// address we do not trust was written by a stranger.
pub fn address(request: &HttpRequest, trusted: &[Cidr]) -> Option<IpAddr> {
    address_of(request.peer_addr(), request.headers(), trusted)
}

/// The same, where there is no request yet.
pub(crate) fn address_of(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[Cidr]) -> Option<IpAddr> {
    let peer = peer?.ip().to_canonical();
    let values = headers.get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    Some(walk(peer, &hops, trusted))
}

fn walk(peer: IpAddr, hops: &[&str], trusted: &[Cidr]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    let mut client = peer;
    for hop in hops.iter().rev().take(HOPS_MAX) {
        if !is_trusted(client) {
            break;
        }
        // Some proxies write a port, or brackets around IPv6.
        let bare = hop.parse::<std::net::SocketAddr>().map(|address| address.ip()).or_else(|_| hop.parse::<IpAddr>());
        let Ok(address) = bare else { break };
        client = address.to_canonical();
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let trusted = [Cidr::parse("10.0.0.0/8").unwrap()];
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let cases: [(&str, &[&str], &str); 7] = [
            ("192.0.2.1", &["203.0.113.9"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.9", "10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
        ];
        for (peer, hops, wanted) in cases {
            assert_eq!(walk(ip(peer), hops, &trusted), ip(wanted), "{peer} {hops:?}");
        }
    }
}
