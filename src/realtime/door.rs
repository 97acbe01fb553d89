//! The door that every lasting connection comes through, on any transport: origin, limits, and what the URL asks for.

use actix_http::RequestHead;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};

use super::engine::Engine;
use super::gate::{Permit, Refusal};
use super::hub::Subscription;
use super::origin::{self, Origin};
use super::protocol::SUBPROTOCOL;
use super::query::StockQuery;
use super::settings::RealtimeSettings;
use super::stats::Handshake;
use super::table::CANARY;
use crate::domain::sku::Sku;
use crate::http::client;
use crate::http::problem::Problem;

/// An answer instead of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turned {
    pub(crate) status: StatusCode,
    pub(crate) slug: &'static str,
    pub(crate) title: &'static str,
    pub(crate) detail: String,
}

/// A WebSocket that was let in.
#[derive(Debug)]
pub(crate) struct Guest {
    /// Refused guests are still shaken hands with: a browser shows its page no HTTP status, only a close code.
    pub(crate) permit: Result<Permit, Refusal>,
    pub(crate) subscription: Option<Result<Subscription, String>>,
    pub(crate) gap_ms: Option<u64>,
    /// Echo our subprotocol.
    pub(crate) named_protocol: bool,
}

impl Turned {
    pub(crate) fn new(status: StatusCode, slug: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, slug, title, detail: detail.into() }
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", "The request is not valid", detail)
    }

    pub(crate) fn response(&self) -> HttpResponse {
        // Whole by itself, and with its id once it has passed the App's middleware.
        let problem = self.problem();
        let mut response = problem.respond(None);
        response.extensions_mut().insert(problem);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers() {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    pub(crate) fn problem(&self) -> Problem {
        Problem::new(self.status, self.slug, self.title, self.detail.clone())
    }

    pub(crate) fn headers(&self) -> Vec<(header::HeaderName, &'static str)> {
        match self.status {
            StatusCode::METHOD_NOT_ALLOWED => vec![(header::ALLOW, "GET")],
            StatusCode::UPGRADE_REQUIRED => vec![(header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_VERSION, "13")],
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => vec![(header::RETRY_AFTER, "5")],
            _ => Vec::new(),
        }
    }
}

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::Address => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Full | Refusal::Closing => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, "over-capacity", "No connection to give", refusal.to_string())
    }
}

/// The first check of all: a page of another site gets nothing.
pub(crate) fn same_site(headers: &HeaderMap, on_loopback: bool, settings: &RealtimeSettings) -> Result<Origin, Turned> {
    match origin::judge(headers, on_loopback, settings) {
        Origin::Foreign => Err(Turned::new(
            StatusCode::FORBIDDEN,
            "foreign-origin",
            "This page may not connect",
            "the Origin header names a site that realtime.allowed_origins does not list",
        )),
        origin => Ok(origin),
    }
}

pub(crate) fn permit(engine: &Engine, settings: &RealtimeSettings, head: &RequestHead) -> Result<Permit, Refusal> {
    let permit = if engine.closing().is_cancelled() {
        Err(Refusal::Closing)
    } else {
        let client = client::address_of(head.peer_addr, &head.headers, &settings.trusted_proxies);
        engine.gate().enter(client, settings)
    };
    engine.counters().handshake(match permit {
        Ok(_) => Handshake::LetIn,
        Err(Refusal::Full) => Handshake::Full,
        Err(Refusal::Address) => Handshake::Address,
        Err(Refusal::Closing) => Handshake::Closing,
    });
    permit
}

/// Judges a WebSocket handshake.
pub(crate) fn knock(
    engine: &Engine,
    settings: &RealtimeSettings,
    head: &RequestHead,
    on_loopback: bool,
) -> Result<Guest, Turned> {
    let guest = judge(engine, settings, head, on_loopback);
    if let Err(turned) = &guest {
        let foreign = turned.status == StatusCode::FORBIDDEN;
        engine.counters().handshake(if foreign { Handshake::ForeignOrigin } else { Handshake::Malformed });
    }
    guest
}

fn judge(engine: &Engine, settings: &RealtimeSettings, head: &RequestHead, on_loopback: bool) -> Result<Guest, Turned> {
    same_site(&head.headers, on_loopback, settings)?;
    actix_http::ws::verify_handshake(head).map_err(|error| {
        use actix_http::ws::HandshakeError as E;
        let status = match error {
            E::NoWebsocketUpgrade | E::NoConnectionUpgrade | E::UnsupportedVersion => StatusCode::UPGRADE_REQUIRED,
            E::GetMethodRequired => StatusCode::METHOD_NOT_ALLOWED,
            E::NoVersionHeader | E::BadWebsocketKey => StatusCode::BAD_REQUEST,
        };
        Turned::new(status, "bad-handshake", "Not a WebSocket handshake", error.to_string())
    })?;
    if engine.canaries().know(head.peer_addr) {
        return Ok(canary(engine));
    }
    let query = StockQuery::parse(head.uri.query().unwrap_or_default());
    let (subscription, gap_ms) = match query {
        Ok(query) => (query.subscription().map(Ok), query.gap_ms),
        Err(error) => (Some(Err(error.to_string())), None),
    };
    let offers = head.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).filter_map(|offer| offer.to_str().ok());
    let named_protocol = offers.flat_map(|offer| offer.split(',')).any(|offer| offer.trim() == SUBPROTOCOL);
    Ok(Guest { permit: permit(engine, settings, head), subscription, gap_ms, named_protocol })
}

/// The hub's own: it asks for what nobody else can, and takes no place from a browser.
fn canary(engine: &Engine) -> Guest {
    let wanted = Subscription { id: Some(0), skus: vec![Sku::from_storage(CANARY)], ..Subscription::default() };
    Guest { permit: Ok(engine.gate().extra()), subscription: Some(Ok(wanted)), gap_ms: None, named_protocol: false }
}
