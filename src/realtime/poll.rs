//! `GET /v1/stock/poll`: long-poll. The server keeps nothing between two requests; the cursor is all there is.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::door::{self, Turned};
use super::engine::{Engine, Since};
use super::frame::Format;
use super::gate::Refusal;
use super::hub::{self, Arrival, ConnId, Hub, Subscription, Wire};
use super::protocol;
use super::query::StockQuery;
use super::rest;
use super::settings::RealtimeSettings;

/// A place among the hub's connections; given back however the request ends.
struct Seat {
    hub: Rc<Hub>,
    id: ConnId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.detach(self.id);
    }
}

#[utoipa::path(get, path = "/v1/stock/poll", tag = "stock", params(
        ("skus" = Option<String>, Query, description = "names, with commas between them"),
        ("all" = Option<bool>, Query, description = "every SKU"),
        ("since" = Option<String>, Query, description = "a cursor: only what changed after it"),
        ("wait" = Option<u32>, Query, description = "seconds")),
    responses((status = 200, description = "what changed"), (status = 304, description = "nothing did"),
        (status = 403, description = "a page of another site"), (status = 422, description = "names the parameter"),
        (status = 429, description = "too many from this address"), (status = 503, description = "full, or stopping")))]
pub(crate) async fn poll(req: HttpRequest, engine: web::Data<Engine>, settings: web::Data<RealtimeSettings>) -> HttpResponse {
    let (query, origin) = match rest::asked(&req, &settings) {
        Ok(asked) => asked,
        Err(turned) => return rest::turned_away(&req, &settings, &turned),
    };
    let answer = match wait(&req, &query, &engine, &settings).await {
        Ok(answer) => answer,
        Err(turned) => turned.response(),
    };
    rest::with_cors(answer, &origin)
}

async fn wait(
    req: &HttpRequest,
    query: &StockQuery,
    engine: &Engine,
    settings: &RealtimeSettings,
) -> Result<HttpResponse, Turned> {
    let interest = query.interest();
    let Some(since) = query.since.as_deref() else {
        let snapshot = engine.snapshot(&interest);
        return Ok(found(&snapshot.cursor, "snapshot", &snapshot.items));
    };
    let upto = RefCell::new(since.to_owned());
    let look = || match engine.since(since, &interest) {
        Since::Resumed { cursor, items } if items.is_empty() => {
            // Of what was asked for nothing changed, so the client has everything up to here.
            *upto.borrow_mut() = cursor;
            None
        }
        Since::Resumed { cursor, items } => Some(found(&cursor, "resumed", &items)),
        Since::Snapshot(snapshot) => Some(found(&snapshot.cursor, "snapshot", &snapshot.items)),
    };
    if let Some(answer) = look() {
        return Ok(answer);
    }
    let bell = Rc::new(Notify::new());
    let hub = hub::local(engine, settings);
    let id = hub.attach(Arrival {
        wire: Wire::Poll(Rc::clone(&bell)),
        format: Format::EventStream,
        permit: door::permit(engine, settings, req.head())?,
        gap_ms: query.gap_ms,
        subscription: query.subscription().map(|wanted| Ok(Subscription { since: None, ..wanted })),
        lead: BytesMut::new(),
    });
    let _seat = Seat { hub, id };
    let until = Instant::now() + Duration::from_secs(query.wait_s);
    loop {
        // Also before the first wait: it may have changed before the seat was taken.
        if let Some(answer) = look() {
            return Ok(answer);
        }
        tokio::select! {
            () = bell.notified() => {}
            () = sleep_until(until) => {
                return Ok(look().unwrap_or_else(|| nothing(&upto.borrow())));
            }
            () = engine.closing().cancelled() => return Err(Refusal::Closing.into()),
        }
    }
}

/// The newer cursor goes along: a client that keeps an old one would one day be behind the ring, and get a snapshot for nothing.
fn nothing(cursor: &str) -> HttpResponse {
    let mut response = HttpResponse::build(StatusCode::NOT_MODIFIED);
    response.insert_header((header::CACHE_CONTROL, "no-store")).insert_header((header::ETAG, format!("\"{cursor}\""))).finish()
}

fn found(cursor: &str, mode: &str, items: &[Bytes]) -> HttpResponse {
    let mut body = BytesMut::with_capacity(128 + items.iter().map(|item| item.len() + 1).sum::<usize>());
    // A cursor and a mode hold nothing that JSON would escape.
    for part in ["{\"cursor\":\"", cursor, "\",\"mode\":\"", mode, "\",\"items\":"] {
        body.put_slice(part.as_bytes());
    }
    protocol::join(&mut body, items);
    body.put_u8(b'}');
    HttpResponse::Ok().content_type("application/json").insert_header((header::CACHE_CONTROL, "no-store")).body(body.freeze())
}
