//! `POST /v1/admin/verify/repair`: what `stockhub verify --repair` asks of a running hub.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::auth::{Role, require};
use super::problem::Problem;
use super::write::{Write, write};
use crate::context::Context;
use crate::pipeline::repair::{Repair, Repaired};

#[utoipa::path(post, path = "/v1/admin/verify/repair", tag = "operation", security(("token" = [])),
    responses((status = 200, description = "the levels that were brought back to their ledger", body = Object),
        (status = 401, description = "no token"), (status = 403, description = "another role"), (status = 422, description = "bad key"),
        (status = 503, description = "try again")))]
pub(super) async fn repair(request: HttpRequest, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Admin).await?;
    let command = Repair { actor: caller.actor.clone() };
    let show = |done: Vec<Repaired>| (StatusCode::OK, json!({ "repaired": done }));
    let (caller, request) = (&caller, &request);
    write(&ctx, Write { caller, request, body: &[], action: "verify.repair", target: None, command, show }).await
}
