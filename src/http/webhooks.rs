//! Where marketplaces knock: bytes and headers in, `pipeline::intake`, a receipt out. No JSON is looked at here.

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::client;
use super::extract::{read_body, refuse_encoding};
use super::problem::Problem;
use crate::context::Context;
use crate::domain::time::Timestamp;
use crate::marketplaces::scheme::Ack;
use crate::pipeline::challenge;
use crate::pipeline::intake::{self, Receipt, Taken};
use crate::pipeline::verify::{Door, Inbound, Rejection};

/// The raw bytes of a webhook: never inflated, capped, and read within a deadline.
pub(super) struct RawBody(Bytes);

impl FromRequest for RawBody {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            refuse_encoding(&request)?;
            let ctx = request.app_data::<web::Data<Context>>();
            let ctx = ctx.ok_or_else(|| Problem::unavailable("starting", "the hub is starting"))?;
            let limits = &ctx.settings.ingest;
            let deadline = Duration::from_millis(limits.body_deadline_ms);
            read_body(&request, &mut payload, limits.body_max_bytes, deadline).await.map(RawBody).map_err(|problem| match problem
                .status
            {
                StatusCode::REQUEST_TIMEOUT => Problem { slug: "payload-too-large", ..problem },
                _ => problem,
            })
        })
    }
}

#[utoipa::path(post, path = "/webhooks/{marketplace}", tag = "webhooks",
    params(("marketplace" = String, Path, description = "the connection's code")),
    request_body(content = String, description = "the raw, signed body", content_type = "application/json"),
    responses((status = 200, description = "logged, or known already", body = super::shapes::ReceiptView),
        (status = 401, description = "not authentic"), (status = 404, description = "no such marketplace"),
        (status = 408, description = "too slow"), (status = 413, description = "too large"), (status = 415, description = "encoded"),
        (status = 503, description = "not stored: send it again")))]
pub(super) async fn receive(
    request: HttpRequest,
    code: web::Path<String>,
    ctx: web::Data<Context>,
    body: RawBody,
) -> Result<HttpResponse, Problem> {
    take(&request, &code, None, &ctx, body).await
}

/// For senders that sign nothing: the address itself is the secret.
#[utoipa::path(post, path = "/webhooks/{marketplace}/{path_secret}", tag = "webhooks",
    params(("marketplace" = String, Path, description = "the connection's code"),
        ("path_secret" = String, Path, description = "the connection's secret path")),
    request_body(content = String, description = "the raw body", content_type = "application/json"),
    responses((status = 200, description = "logged, or known already", body = super::shapes::ReceiptView),
        (status = 401, description = "not authentic"), (status = 404, description = "no such marketplace"),
        (status = 408, description = "too slow"), (status = 413, description = "too large"), (status = 415, description = "encoded"),
        (status = 503, description = "not stored: send it again")))]
pub(super) async fn receive_at_secret(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    ctx: web::Data<Context>,
    body: RawBody,
) -> Result<HttpResponse, Problem> {
    let (code, secret) = path.into_inner();
    take(&request, &code, Some(secret), &ctx, body).await
}

/// A sender that asks us to prove who we are.
#[utoipa::path(get, path = "/webhooks/{marketplace}", tag = "webhooks",
    params(("marketplace" = String, Path, description = "the connection's code")),
    responses((status = 200, description = "the answer to the challenge"), (status = 404, description = "no such marketplace"),
        (status = 405, description = "it asks for none"), (status = 503, description = "not configured")))]
pub(super) async fn challenge(
    request: HttpRequest,
    code: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let connection = ctx.kit.registry.by_code(&code).filter(|connection| !connection.schemes().is_empty());
    let connection = connection.filter(|connection| connection.webhook_enabled).ok_or_else(unknown)?;
    let answer = challenge::answer(&connection, request.query_string()).map_err(intake::IntakeError::Rejected)?;
    answer.map(|answer| HttpResponse::Ok().json(answer)).ok_or_else(|| Problem::method_not_allowed("POST"))
}

/// The older shape: the connection comes from a header. A forged one only picks a secret the forger does not have.
#[utoipa::path(post, path = "/webhooks/marketplaces/stock-update", tag = "webhooks",
    params(("X-Marketplace-ID" = String, Header, description = "the connection's code")),
    request_body(content = String, description = "the raw, signed body", content_type = "application/json"),
    responses((status = 200, description = "logged, or known already", body = super::shapes::ReceiptView),
        (status = 401, description = "not authentic"), (status = 404, description = "no such marketplace"),
        (status = 408, description = "too slow"), (status = 413, description = "too large"), (status = 415, description = "encoded"),
        (status = 503, description = "not stored: send it again")))]
pub(super) async fn older(request: HttpRequest, ctx: web::Data<Context>, body: RawBody) -> Result<HttpResponse, Problem> {
    let code = request.headers().get("x-marketplace-id").and_then(|value| value.to_str().ok()).unwrap_or("").to_ascii_lowercase();
    take(&request, &code, None, &ctx, body).await
}

async fn take(
    request: &HttpRequest,
    code: &str,
    path_secret: Option<String>,
    ctx: &Context,
    body: RawBody,
) -> Result<HttpResponse, Problem> {
    let connection = ctx.kit.registry.by_code(code).filter(|connection| !connection.schemes().is_empty());
    let Some(connection) = connection else { return Err(unknown()) };
    if !connection.webhook_enabled {
        // Without a secret nothing passes, and the sender is told to come back rather than that nobody lives here.
        return Err(if connection.can_verify() { unknown() } else { intake::IntakeError::Rejected(Rejection::NoSecret).into() });
    }
    let now = ctx.kit.clock.now();
    if let Some(scheme) = challenge::form_ping(&connection, &body.0) {
        return Ok(pong(scheme.pong, now));
    }
    let door = Door {
        method: "POST",
        path_query: request.uri().path_and_query().map_or(String::new(), |path| path.as_str().to_owned()),
        client: client::address(request, &ctx.settings.server.trusted_proxies),
        path_secret,
    };
    let inbound = Inbound { connection, headers: headers(request.headers()), body: body.0, received_at: now, door };
    Ok(match intake::receive(&ctx.kit, &ctx.writer, inbound).await? {
        Taken::Ping(own) => pong(own, now),
        Taken::Logged(receipt, ack) => acknowledge(receipt, ack, now),
    })
}

fn pong(own: Option<&'static str>, now: Timestamp) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(challenge::pong(own, now))
}

fn acknowledge(receipt: Receipt, ack: Ack, now: Timestamp) -> HttpResponse {
    let Receipt { id, duplicate } = receipt;
    match ack {
        Ack::Receipt => HttpResponse::Ok().json(super::shapes::ReceiptView { received: true, id: id.to_string(), duplicate }),
        Ack::Fixed(body) => HttpResponse::Ok().content_type("application/json").body(body),
        Ack::NameVersionTime => HttpResponse::Ok().json(challenge::name_version_time(now)),
        Ack::NoContent => HttpResponse::NoContent().finish(),
    }
}

fn unknown() -> Problem {
    Problem::not_found("unknown-marketplace", "no marketplace of this name takes webhooks here")
}

fn headers(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}
