//! `GET /v1/stock/ws` inside the App: the path where the socket cannot be taken over (TLS in the binary, or a plain HttpServer).
//! `server` takes the same request over on the fast path.

use actix_web::body::BodyStream;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};

use super::body::HubBody;
use super::door::{self, Turned};
use super::engine::Engine;
use super::frame::Format;
use super::gate::Refusal;
use super::hub::{self, Arrival, Wire};
use super::protocol::{CloseCode, SUBPROTOCOL};
use super::settings::RealtimeSettings;

#[utoipa::path(get, path = "/v1/stock/ws", tag = "stock", params(
        ("skus" = Option<String>, Query, description = "names, with commas between them"),
        ("all" = Option<bool>, Query, description = "every SKU"),
        ("since" = Option<String>, Query, description = "a cursor: only what changed after it")),
    responses((status = 101, description = "a WebSocket, see /asyncapi.json"), (status = 403, description = "a page of another site"),
        (status = 426, description = "no WebSocket handshake")))]
pub(crate) async fn ws(
    req: HttpRequest,
    payload: web::Payload,
    engine: web::Data<Engine>,
    settings: web::Data<RealtimeSettings>,
) -> HttpResponse {
    let on_loopback = req.app_config().local_addr().ip().is_loopback();
    upgrade(&req, payload, &engine, &settings, on_loopback).unwrap_or_else(|turned| turned.response())
}

fn upgrade(
    req: &HttpRequest,
    payload: web::Payload,
    engine: &Engine,
    settings: &RealtimeSettings,
    on_loopback: bool,
) -> Result<HttpResponse, Turned> {
    let guest = door::knock(engine, settings, req.head(), on_loopback)?;
    let mut answer = actix_http::ws::handshake_response(req.head());
    if guest.named_protocol {
        answer.insert_header((header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL)));
    }
    let body = match guest.permit {
        Ok(permit) => {
            let hub = hub::local(engine, settings);
            let id = hub.attach(Arrival {
                wire: Wire::Body,
                format: Format::WebSocket,
                permit,
                gap_ms: guest.gap_ms,
                subscription: guest.subscription,
                lead: BytesMut::new(),
            });
            actix_web::body::BoxBody::new(HubBody { hub, id, inbound: Some(payload) })
        }
        Err(refusal) => {
            let code = refused(refusal);
            engine.counters().closed(code.code());
            let words = hub::farewell(Format::WebSocket, code, engine.gate().total());
            let once = futures_util::stream::once(std::future::ready(Ok::<Bytes, std::convert::Infallible>(words)));
            actix_web::body::BoxBody::new(BodyStream::new(once))
        }
    };
    let failed = |_| Turned::invalid("the handshake could not be answered");
    answer.message_body(body).map(Into::into).map_err(failed)
}

/// The close code that tells a refused browser what to do.
pub(crate) fn refused(refusal: Refusal) -> CloseCode {
    match refusal {
        Refusal::Full | Refusal::Address => CloseCode::OverCapacity,
        Refusal::Closing => CloseCode::ShuttingDown,
    }
}
