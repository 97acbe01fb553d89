//! What gave up, of every kind, and what a person decides about it.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::auth::{Role, require};
use super::extract::Params;
use super::page::{self, Page};
use super::problem::{FieldError, Problem};
use super::write::{Write, write};
use crate::ask;
use crate::context::Context;
use crate::db::sinks;
use crate::domain::time::Timestamp;
use crate::pipeline::dead_letters::{Decide, Verdict};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeadLetterParams {
    #[param(inline)]
    kind: Option<Kind>,
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
    cursor: Option<String>,
}

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Event,
    Mail,
    Webhook,
    Push,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Mail => "mail",
            Self::Webhook => "webhook",
            Self::Push => "push",
        }
    }
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct DeadLetterShape {
    id: String,
    /// event, mail, webhook or push.
    kind: String,
    /// The type of the event or webhook, the kind of the alert, or the marketplace's id of the listing.
    name: String,
    /// The sink, or the marketplace.
    target: String,
    reason: Option<String>,
    attempts: i64,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

#[utoipa::path(get, path = "/v1/admin/dead-letters", tag = "events", params(DeadLetterParams), security(("token" = [])),
    responses((status = 200, description = "newest first", body = Page<DeadLetterShape>), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<DeadLetterParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let limit = page::limit(params.0.limit)?;
    let before = page::cursor(params.0.cursor.as_deref())?;
    let kind = params.0.kind.map_or("", Kind::as_str);
    let rows = ask!(ctx, Vec<sinks::DeadLetter>, [kind: &'static str = kind, before: Option<Uuid> = before, limit: i64 = limit] |conn| {
        sinks::dead_letters(conn, kind, before, limit + 1).await
    })?;
    let show = |d: sinks::DeadLetter| DeadLetterShape {
        id: d.id.to_string(),
        kind: d.kind,
        name: d.name,
        target: d.target,
        reason: d.reason,
        attempts: d.attempts,
        at: d.at,
    };
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |row| row.id, show)))
}

#[utoipa::path(post, path = "/v1/admin/dead-letters/{id}/retry", tag = "events", params(("id" = String, Path)), security(("token" = [])),
    responses((status = 200, description = "back in line"), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 404, description = "no such dead letter"), (status = 422, description = "no id"), (status = 503, description = "try again")))]
pub(super) async fn retry(request: HttpRequest, id: web::Path<String>, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    decide(&request, id.into_inner(), &ctx, Verdict::Retry, "dead_letter.retry").await
}

#[utoipa::path(post, path = "/v1/admin/dead-letters/{id}/discard", tag = "events", params(("id" = String, Path)), security(("token" = [])),
    responses((status = 200, description = "gone"), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 404, description = "no such dead letter"), (status = 409, description = "a push cannot be discarded"),
        (status = 422, description = "no id"), (status = 503, description = "try again")))]
pub(super) async fn discard(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    decide(&request, id.into_inner(), &ctx, Verdict::Discard, "dead_letter.discard").await
}

async fn decide(
    request: &HttpRequest,
    id: String,
    ctx: &Context,
    verdict: Verdict,
    action: &'static str,
) -> Result<HttpResponse, Problem> {
    let caller = require(request, ctx, Role::Operator).await?;
    let uuid = Uuid::try_parse(&id).map_err(|_| Problem::invalid(vec![FieldError::new("id", "is not an id")]))?;
    let command = Decide { id: uuid, verdict };
    let show = |kind| (StatusCode::OK, json!({"kind": kind}));
    write(ctx, Write { caller: &caller, request, body: b"", action, target: Some(id), command, show }).await
}
