//! The one HTTP client. Requests are described elsewhere (`marketplaces`), sent here: timeouts, no redirects, answers capped,
//! connections kept alive, and no way to a private address unless that is allowed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;

use crate::marketplaces::wire::{Answer, Headers, Method, Request};

#[derive(Clone)]
pub struct Outbound {
    client: reqwest::Client,
    limits: OutboundLimits,
}

#[derive(Clone, Copy, Debug)]
pub struct OutboundLimits {
    pub timeout: Duration,
    pub connect_timeout: Duration,
    pub response_max_bytes: usize,
    /// Marketplaces on loopback or in a private network: tests, demos, and who says so.
    pub allow_private_targets: bool,
}

/// How long one request may take, and how much of its answer is read.
#[derive(Clone, Copy, Debug)]
pub struct Within {
    pub timeout: Duration,
    pub max_bytes: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be made: {0}")]
pub struct OutboundError(#[from] reqwest::Error);

impl Outbound {
    pub fn new(limits: OutboundLimits) -> Result<Self, OutboundError> {
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .connect_timeout(limits.connect_timeout)
            .timeout(limits.timeout)
            .no_proxy()
            .tcp_nodelay(true)
            .user_agent(concat!("stockhub/", env!("CARGO_PKG_VERSION")));
        if !limits.allow_private_targets {
            builder = builder.dns_resolver(PublicOnly);
        }
        Ok(Self { client: builder.build()?, limits })
    }

    /// Sends, and says what came back. Never an error: that nothing came back is an answer too.
    pub async fn send(&self, request: Request) -> Answer {
        let within = Within { timeout: self.limits.timeout, max_bytes: self.limits.response_max_bytes };
        self.send_within(request, within).await
    }

    /// The same, with limits of its own.
    pub async fn send_within(&self, request: Request, within: Within) -> Answer {
        if let Some(refused) = self.refuses(&request.url) {
            return Answer::NotSent(refused);
        }
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder = self.client.request(method, &request.url).timeout(within.timeout);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        match builder.send().await {
            Ok(response) => read(response, within.max_bytes).await,
            // What failed while connecting never left; anything else may have arrived.
            Err(error) if error.is_connect() || error.is_builder() => Answer::NotSent(words(&error)),
            Err(error) if error.is_timeout() => Answer::NoAnswer(words(&error)),
            Err(error) => Answer::Cut(words(&error)),
        }
    }

    /// An address written as digits never goes through the resolver, so it is looked at here.
    fn refuses(&self, url: &str) -> Option<String> {
        if self.limits.allow_private_targets {
            return None;
        }
        let url = url::Url::parse(url).ok()?;
        let address: IpAddr = match url.host()? {
            url::Host::Ipv4(address) => address.into(),
            url::Host::Ipv6(address) => address.into(),
            url::Host::Domain(_) => return None,
        };
        (!is_public(address)).then(|| format!("{address} is not a public address; security.allow_private_targets is off"))
    }
}

async fn read(response: reqwest::Response, max_bytes: usize) -> Answer {
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()).and_then(seconds);
    let headers = kept(response.headers());
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) if body.len() + chunk.len() <= max_bytes => body.extend_from_slice(&chunk),
            // The status stands; of a body too long the beginning is enough.
            Ok(_) => break,
            Err(error) => return Answer::NoAnswer(words(&error)),
        }
    }
    Answer::Response { status, retry_after, headers, body }
}

/// Headers kept of an answer, and bytes of one: more than any marketplace uses, and no place to fill our memory.
const HEADERS_MAX: usize = 64;
const HEADER_MAX_BYTES: usize = 2_048;

fn kept(headers: &reqwest::header::HeaderMap) -> Headers {
    let text = |value: &reqwest::header::HeaderValue| {
        value.to_str().ok().filter(|text| text.len() <= HEADER_MAX_BYTES).map(str::to_owned)
    };
    headers.iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?))).take(HEADERS_MAX).collect()
}

fn words(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    // The URL may carry an account's name; who is meant is known from the connection.
    text.split(" for url (").next().map_or(text.clone(), |head| match text.split_once("): ") {
        Some((_, tail)) if text.contains(" for url (") => format!("{head}: {tail}"),
        _ => head.to_owned(),
    })
}

fn seconds(value: &str) -> Option<Duration> {
    value.trim().parse::<f64>().ok().filter(|s| s.is_finite() && *s >= 0.0).map(|s| Duration::from_secs_f64(s.min(86_400.0)))
}

/// Resolves names and leaves out every address that is not public; the connection is made to what was looked at.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(format!("{} has no public address", name.as_str()).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let special =
                matches!((a, b, c), (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113));
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared || special || a == 0 || a >= 224)
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return is_public(v4.into());
            }
            let head = v6.segments();
            // Only 2000::/3 is routed, less documentation, Teredo, 6to4 (their inner address is not looked at).
            (head[0] & 0xe000) == 0x2000 && head[0] != 0x2002 && !(head[0] == 0x2001 && (head[1] < 0x0200 || head[1] == 0x0db8))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_known_in_every_dress() {
        let public = ["8.8.8.8", "2606:4700::1111"];
        let private = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "198.18.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "2002:7f00:1::",
            "2001::1",
            "64:ff9b::7f00:1",
            "ff02::1",
        ];
        let parse = |text: &str| text.parse::<IpAddr>().is_ok_and(is_public);
        assert!(public.into_iter().all(parse));
        assert!(!private.into_iter().any(parse));
    }

    #[test]
    fn retry_after_is_taken_in_seconds() {
        assert_eq!(seconds("2"), Some(Duration::from_secs(2)));
        assert_eq!(seconds("-1"), None);
        assert_eq!(seconds("1e99"), Some(Duration::from_secs(86_400)));
        assert_eq!(seconds("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
