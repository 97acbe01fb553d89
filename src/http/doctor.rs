//! `POST /v1/admin/marketplaces/{code}/doctor`: is this account well, and what is to be done. The node that owns it looks.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;

use super::auth::{Role, require};
use super::problem::Problem;
use super::sync::run_and_wait;
use crate::context::Context;
use crate::sync::runs::{Kind, Request};

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct DoctorShape {
    marketplace: String,
    /// `name`, `status` (ok, warn, fail, skip), `detail` and `advice` of each thing that was looked at.
    #[schema(value_type = Vec<Object>)]
    checks: Value,
}

#[utoipa::path(post, path = "/v1/admin/marketplaces/{code}/doctor", tag = "sync", params(("code" = String, Path)), security(("token" = [])),
    responses((status = 200, body = DoctorShape), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 404, description = "no such marketplace"), (status = 409, description = "it could not be looked at"),
        (status = 503, description = "try again")))]
pub(super) async fn examine(
    request: HttpRequest,
    code: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let connection = ctx.kit.registry.by_code(&code);
    let connection = connection.ok_or_else(|| Problem::not_found("unknown-marketplace", "there is no such marketplace"))?;
    let run = run_and_wait(&ctx, connection, Kind::Doctor, Request::default(), &caller.actor).await?;
    let checks = run.result.as_deref().and_then(|text| serde_json::from_str(text).ok());
    match checks {
        Some(checks) => Ok(HttpResponse::Ok().json(DoctorShape { marketplace: run.marketplace, checks })),
        None => Err(Problem::conflict("not-examined", run.error_message.unwrap_or_else(|| "it could not be looked at".into()))),
    }
}
