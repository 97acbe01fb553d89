//! Oversell cases: what is missing, whose order could be cancelled, and what was decided.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::auth::{Role, require};
use super::extract::{Body, Operator, Params};
use super::page::{self, Page, PageParams};
use super::problem::{FieldError, Problem};
use super::shapes::text;
use super::write::{Write, write};
use crate::ask;
use crate::context::Context;
use crate::db::alerts::{self, OversellView};
use crate::domain::time::Timestamp;
use crate::pipeline::oversells::ResolveOversell;

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct OversellShape {
    id: String,
    sku: String,
    location: String,
    /// Pieces sold that are not there.
    units: i64,
    /// Order lines that could be cancelled, newest first: order_id, external_id, marketplace, line_key, quantity, occurred_at.
    #[schema(value_type = Vec<Object>)]
    candidates: Value,
    state: String,
    decision: Option<String>,
    /// Who resolved it; `system` when the stock came back.
    actor: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    opened_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    resolved_at: Option<Timestamp>,
}

impl From<OversellView> for OversellShape {
    fn from(c: OversellView) -> Self {
        Self {
            id: c.id.to_string(),
            sku: c.sku,
            location: c.location,
            units: c.units,
            candidates: serde_json::from_str(&c.candidates).unwrap_or_default(),
            state: c.state,
            decision: c.decision,
            actor: c.actor,
            opened_at: c.opened_at,
            resolved_at: c.resolved_at,
        }
    }
}

#[utoipa::path(get, path = "/v1/admin/oversells", tag = "alerts", params(PageParams), security(("token" = [])),
    responses((status = 200, description = "newest first", body = Page<OversellShape>), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<PageParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let limit = page::limit(params.0.limit)?;
    let before = page::cursor(params.0.cursor.as_deref())?;
    let rows = ask!(ctx, Vec<OversellView>, [before: Option<Uuid> = before, limit: i64 = limit] |conn| {
        alerts::oversells(conn, before, limit + 1).await
    })?;
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |row| row.id, OversellShape::from)))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Decision {
    /// What is done about it, in words.
    decision: String,
}

#[utoipa::path(post, path = "/v1/admin/oversells/{id}/resolve", tag = "alerts", params(("id" = String, Path)), request_body = Decision,
    security(("token" = [])),
    responses((status = 200, body = OversellShape), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 404, description = "no such case"), (status = 408, description = "too slow"),
        (status = 409, description = "it is resolved"), (status = 413, description = "too large"), (status = 415, description = "no JSON"),
        (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn resolve(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<Decision, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let id = Uuid::try_parse(&id).map_err(|_| Problem::invalid(vec![FieldError::new("id", "is not an id")]))?;
    text("/decision", &body.value.decision, 500).map_err(|error| Problem::invalid(vec![error]))?;
    let command = ResolveOversell { id, decision: body.value.decision, actor: caller.actor.clone() };
    let show = |view: OversellView| (StatusCode::OK, json!(OversellShape::from(view)));
    let (caller, request, body, target) = (&caller, &request, &body.bytes[..], Some(id.to_string()));
    write(&ctx, Write { caller, request, body, action: "oversell.resolve", target, command, show }).await
}
