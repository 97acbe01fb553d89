//! Oversell cases: what is missing, whose order could be cancelled, and what was decided.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::auth::{Role, require};
use super::described::Looked;
use super::extract::{Body, Operator, Params};
use super::page::Page;
use super::problem::{FieldError, Problem};
use super::shapes::text;
use super::table::{self, Source, list_params};
use super::write::{Write, write};
use crate::context::Context;
use crate::db::alerts::{self, OversellView};
use crate::db::{Conn, DbError, Ids};
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

list_params!(OversellParams {
    #[param(inline)]
    state: CaseState,
    sku: String,
});

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum CaseState {
    Open,
    Resolved,
}

struct Cases {
    state: &'static str,
    sku: String,
}

impl Source for Cases {
    type Row = OversellView;
    type Shape = OversellShape;
    const NAME: &'static str = "oversells";
    const COLUMNS: &'static [&'static str] =
        &["id", "opened_at", "sku", "location", "units", "state", "decision", "actor", "resolved_at", "candidates"];

    async fn page(&self, conn: &mut Conn<'_>, ids: Ids, limit: i64) -> Result<Vec<Self::Row>, DbError> {
        alerts::oversells(conn, self.state, &self.sku, ids, limit).await
    }

    fn id(row: &Self::Row) -> Uuid {
        row.id
    }

    fn shape(row: OversellView) -> OversellShape {
        row.into()
    }
}

#[utoipa::path(get, path = "/v1/admin/oversells", tag = "alerts", params(OversellParams), security(("token" = []), ("session" = [])),
    responses((status = 200, description = "newest first; all of it with `Accept: text/csv`", body = Page<OversellShape>), Looked))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<OversellParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let window = params.0.window()?;
    let state = match params.0.state {
        None => "",
        Some(CaseState::Open) => "open",
        Some(CaseState::Resolved) => "resolved",
    };
    table::answer(&request, &ctx, Cases { state, sku: params.0.sku.unwrap_or_default() }, window).await
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
