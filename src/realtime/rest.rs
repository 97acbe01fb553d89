//! `GET /v1/stock` and `GET /v1/stock/{sku}`: the current numbers, cheap to ask again by `ETag`.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::{BufMut, Bytes, BytesMut};

use super::door::{self, Turned};
use super::engine::Engine;
use super::origin::{self, Origin};
use super::protocol;
use super::query::StockQuery;
use super::settings::RealtimeSettings;

struct Answer {
    cursor: String,
    etag: String,
    items: Vec<Bytes>,
    /// Only pages of the whole list say whether there is more.
    more: Option<bool>,
}

/// What a lasting request asks for, and from which page.
pub(crate) fn asked(req: &HttpRequest, settings: &RealtimeSettings) -> Result<(StockQuery, Origin), Turned> {
    let origin = door::same_site(req.headers(), req.app_config().local_addr().ip().is_loopback(), settings)?;
    let query = StockQuery::parse(req.query_string()).map_err(|error| Turned::invalid(error.to_string()))?;
    if !query.asks() {
        return Err(Turned::invalid("skus: name SKUs, or ask for all=true"));
    }
    check_count(&query, settings)?;
    Ok((query, origin))
}

fn check_count(query: &StockQuery, settings: &RealtimeSettings) -> Result<(), Turned> {
    let count = query.skus.as_ref().map_or(0, Vec::len);
    if count <= settings.max_skus {
        return Ok(());
    }
    let detail = format!("at most {} SKUs, {count} are named", settings.max_skus);
    Err(Turned::new(StatusCode::UNPROCESSABLE_ENTITY, "too-many-skus", "Too many SKUs", detail))
}

/// Lets a page of an allowed origin read the answer.
pub(crate) fn with_cors(mut response: HttpResponse, origin: &Origin) -> HttpResponse {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Origin::Allowed(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag, Retry-After"));
    }
    response
}

/// What a browser asks before a page of another origin may send `If-None-Match`.
pub(crate) async fn preflight(req: HttpRequest, settings: web::Data<RealtimeSettings>) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    response
        .insert_header((header::ALLOW, "GET, HEAD, OPTIONS"))
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, "If-None-Match, Last-Event-ID, Cache-Control"))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, "600"));
    cors(&req, &settings, response.finish())
}

/// A refusal that a page of an allowed origin can read: otherwise it could not tell a full hub from a dead one.
pub(crate) fn turned_away(req: &HttpRequest, settings: &RealtimeSettings, turned: &Turned) -> HttpResponse {
    cors(req, settings, turned.response())
}

fn cors(req: &HttpRequest, settings: &RealtimeSettings, response: HttpResponse) -> HttpResponse {
    let on_loopback = req.app_config().local_addr().ip().is_loopback();
    with_cors(response, &origin::judge(req.headers(), on_loopback, settings))
}

#[utoipa::path(get, path = "/v1/stock", tag = "stock", params(
        ("skus" = Option<String>, Query, description = "names, with commas between them"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500), ("after" = Option<String>, Query, description = "the last SKU of the page before")),
    responses((status = 200, description = "the current numbers"), (status = 304, description = "as the ETag says"),
        (status = 422, description = "names the parameter")))]
pub(crate) async fn list(req: HttpRequest, engine: web::Data<Engine>, settings: web::Data<RealtimeSettings>) -> HttpResponse {
    let answer = match StockQuery::parse(req.query_string()) {
        Err(error) => Turned::invalid(error.to_string()).response(),
        Ok(query) => match check_count(&query, &settings) {
            Err(turned) => turned.response(),
            Ok(()) => {
                let answer = look_up(&engine, &query);
                tagged(&req, &answer.etag, || json(&answer))
            }
        },
    };
    cors(&req, &settings, answer)
}

fn look_up(engine: &Engine, query: &StockQuery) -> Answer {
    if query.skus.is_some() {
        let snapshot = engine.snapshot(&query.interest());
        let etag = engine.epoch().cursor(snapshot.newest);
        return Answer { cursor: snapshot.cursor, etag, items: snapshot.items, more: None };
    }
    engine.read(|table| {
        let (mut items, mut newest, mut more) = (Vec::new(), 0, false);
        for entry in table.sorted_after(query.after.as_deref()) {
            if items.len() == query.limit {
                more = true;
                break;
            }
            // A removed SKU is not shown, but its removal makes another answer.
            newest = newest.max(entry.offset);
            if !entry.removed {
                items.push(entry.json.clone());
            }
        }
        let epoch = engine.epoch();
        Answer { cursor: epoch.cursor(table.head()), etag: epoch.cursor(newest), items, more: Some(more) }
    })
}

/// 304 for who has it already.
fn tagged(req: &HttpRequest, version: &str, body: impl FnOnce() -> Bytes) -> HttpResponse {
    let etag = format!("\"{version}\"");
    let mut response = if known(req, &etag) {
        HttpResponse::build(StatusCode::NOT_MODIFIED).finish()
    } else {
        HttpResponse::Ok().content_type("application/json").body(body())
    };
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn json(answer: &Answer) -> Bytes {
    let mut body = BytesMut::with_capacity(128 + answer.items.iter().map(|item| item.len() + 1).sum::<usize>());
    // A cursor holds nothing that JSON would escape.
    for part in ["{\"cursor\":\"", &answer.cursor, "\",\"items\":"] {
        body.put_slice(part.as_bytes());
    }
    protocol::join(&mut body, &answer.items);
    match answer.more {
        Some(true) => body.put_slice(b",\"more\":true}"),
        Some(false) => body.put_slice(b",\"more\":false}"),
        None => body.put_u8(b'}'),
    }
    body.freeze()
}

fn known(req: &HttpRequest, etag: &str) -> bool {
    let named = req.headers().get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    named.flat_map(|list| list.split(',')).map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == etag)
}

#[utoipa::path(get, path = "/v1/stock/{sku}", tag = "stock", params(("sku" = String, Path)),
    responses((status = 200, description = "its current number"), (status = 304, description = "as the ETag says"),
        (status = 404, description = "the storefront does not list it")))]
pub(crate) async fn one(
    req: HttpRequest,
    sku: web::Path<String>,
    engine: web::Data<Engine>,
    settings: web::Data<RealtimeSettings>,
) -> HttpResponse {
    let found = engine.read(|table| {
        let entry = table.index_of(&sku).and_then(|index| table.entry(index)).filter(|entry| !entry.removed && !entry.hidden)?;
        Some((entry.json.clone(), engine.epoch().cursor(entry.offset)))
    });
    let answer = match found {
        None => {
            Turned::new(StatusCode::NOT_FOUND, "unknown-sku", "No such SKU", "the storefront does not list this SKU").response()
        }
        Some((item, version)) => tagged(&req, &version, || item),
    };
    cors(&req, &settings, answer)
}
