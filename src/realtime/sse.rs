//! `GET /v1/stock/stream`: server-sent events. The event's `id` is the cursor, so a browser resumes by itself.

use actix_web::body::BoxBody;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::BytesMut;

use super::body::HubBody;
use super::door::{self, Turned};
use super::engine::Engine;
use super::frame::Format;
use super::hub::{self, Arrival, Wire};
use super::origin::Origin;
use super::rest;
use super::settings::RealtimeSettings;

/// What a browser waits before it comes back, unless told otherwise.
const RETRY: &[u8] = b"retry: 2000\n\n";

#[utoipa::path(get, path = "/v1/stock/stream", tag = "stock", params(
        ("skus" = Option<String>, Query, description = "names, with commas between them"),
        ("all" = Option<bool>, Query, description = "every SKU"),
        ("since" = Option<String>, Query, description = "a cursor: only what changed after it"),
        ("Last-Event-ID" = Option<String>, Header, description = "a cursor, as browsers send it")),
    responses((status = 200, description = "events, see /asyncapi.json", content_type = "text/event-stream"),
        (status = 403, description = "a page of another site"), (status = 422, description = "names the parameter"),
        (status = 429, description = "too many from this address"), (status = 503, description = "full, or stopping")))]
pub(crate) async fn stream(req: HttpRequest, engine: web::Data<Engine>, settings: web::Data<RealtimeSettings>) -> HttpResponse {
    match open(&req, &engine, &settings) {
        Ok((body, origin)) => {
            let response = HttpResponse::Ok()
                .content_type("text/event-stream")
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .insert_header(("X-Accel-Buffering", "no"))
                .body(body);
            rest::with_cors(response, &origin)
        }
        Err(turned) => rest::turned_away(&req, &settings, &turned),
    }
}

fn open(req: &HttpRequest, engine: &Engine, settings: &RealtimeSettings) -> Result<(BoxBody, Origin), Turned> {
    let (mut query, origin) = rest::asked(req, settings)?;
    // What the browser remembers is newer than what the page wrote into the URL.
    let last = req.headers().get("Last-Event-ID").map(HeaderValue::to_str).and_then(Result::ok);
    if let Some(last) = last.filter(|last| !last.is_empty()) {
        query.since = Some(last.to_owned());
    }
    let permit = door::permit(engine, settings, req.head())?;
    let hub = hub::local(engine, settings);
    let id = hub.attach(Arrival {
        wire: Wire::Body,
        format: Format::EventStream,
        permit,
        gap_ms: query.gap_ms,
        subscription: query.subscription().map(Ok),
        lead: BytesMut::from(RETRY),
    });
    Ok((BoxBody::new(HubBody { hub, id, inbound: None }), origin))
}
