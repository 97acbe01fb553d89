//! Who did what.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::auth::{Role, require};
use super::described::Looked;
use super::extract::Params;
use super::page::Page;
use super::problem::Problem;
use super::table::{self, Source, list_params};
use crate::context::Context;
use crate::db::tokens::{self, AuditFilter, AuditRow};
use crate::db::{Conn, DbError, Ids};
use crate::domain::time::Timestamp;

list_params!(AuditParams {
    /// Like token:NAME or user:E-MAIL.
    actor: String,
    /// Like marketplace.change.
    action: String,
    target: String,
});

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct AuditShape {
    id: String,
    actor: String,
    action: String,
    target: Option<String>,
    /// What the action is not told by its name and target, like the rows of an import.
    #[schema(value_type = Object)]
    details: Value,
    request_id: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl Source for AuditFilter {
    type Row = AuditRow;
    type Shape = AuditShape;
    const NAME: &'static str = "audit";
    const COLUMNS: &'static [&'static str] = &["id", "created_at", "actor", "action", "target", "details", "request_id"];

    async fn page(&self, conn: &mut Conn<'_>, ids: Ids, limit: i64) -> Result<Vec<Self::Row>, DbError> {
        tokens::audit_page(conn, self, ids, limit).await
    }

    fn id(row: &Self::Row) -> Uuid {
        row.id
    }

    fn shape(a: AuditRow) -> AuditShape {
        AuditShape {
            id: a.id.to_string(),
            actor: a.actor,
            action: a.action,
            target: a.target,
            details: serde_json::from_str(&a.details).unwrap_or(Value::Null),
            request_id: a.request_id,
            created_at: a.created_at,
        }
    }
}

#[utoipa::path(get, path = "/v1/admin/audit", tag = "audit", params(AuditParams), security(("token" = []), ("session" = [])),
    responses((status = 200, description = "newest first; all of it with `Accept: text/csv`", body = Page<AuditShape>), Looked))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<AuditParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Admin).await?;
    let window = params.0.window()?;
    let AuditParams { actor, action, target, .. } = params.0;
    let which =
        AuditFilter { actor: actor.unwrap_or_default(), action: action.unwrap_or_default(), target: target.unwrap_or_default() };
    table::answer(&request, &ctx, which, window).await
}
