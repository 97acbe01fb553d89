//! What people are asked to do by hand: edit an ad to a number, and say that it is done.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::auth::{Role, require};
use super::extract::{Body, Operator, Params};
use super::page::{self, Page, PageParams};
use super::problem::{FieldError, Problem};
use super::write::{Write, write};
use crate::ask;
use crate::context::Context;
use crate::db::push_checks::{self, TaskView};
use crate::domain::quantity::Quantity;
use crate::domain::time::Timestamp;
use crate::pipeline::push::tasks::MarkPushed;

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct TaskShape {
    /// The listing's.
    id: String,
    marketplace: String,
    marketplace_product_id: String,
    marketplace_sku: Option<String>,
    sku: Option<String>,
    name: Option<String>,
    /// What the ad is to say.
    set_to: i64,
    /// What it says now, as far as anybody told.
    shows: Option<i64>,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

impl From<TaskView> for TaskShape {
    fn from(t: TaskView) -> Self {
        Self {
            id: t.id.to_string(),
            marketplace: t.marketplace,
            marketplace_product_id: t.marketplace_product_id,
            marketplace_sku: t.marketplace_sku,
            sku: t.sku,
            name: t.name,
            set_to: t.listed_stock,
            shows: t.expected,
            since: t.wanted_at,
        }
    }
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PushedShape {
    /// What the ad says now.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    quantity: i64,
}

#[utoipa::path(get, path = "/v1/admin/tasks", tag = "listings", params(PageParams), security(("token" = [])),
    responses((status = 200, description = "ads to edit by hand", body = Page<TaskShape>), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<PageParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let limit = page::limit(params.0.limit)?;
    let after = page::cursor(params.0.cursor.as_deref())?.unwrap_or(Uuid::nil());
    let rows = ask!(ctx, Vec<TaskView>, [after: Uuid = after, limit: i64 = limit] |conn| {
        push_checks::tasks(conn, after, limit + 1).await
    })?;
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |row| row.id.uuid(), TaskShape::from)))
}

#[utoipa::path(post, path = "/v1/admin/listings/{id}/pushed", tag = "listings", params(("id" = String, Path)),
    request_body = PushedShape, security(("token" = [])),
    responses((status = 200, description = "`done`: nothing is left to do", body = Object), (status = 400, description = "no JSON"),
        (status = 401, description = "no token"), (status = 403, description = "another role"), (status = 404, description = "no such listing"),
        (status = 408, description = "too slow"), (status = 409, description = "this marketplace is told by the hub itself"),
        (status = 413, description = "too large"), (status = 415, description = "no JSON"), (status = 422, description = "names each field"),
        (status = 503, description = "try again")))]
pub(super) async fn pushed(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<PushedShape, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let id = id.into_inner();
    let mut errors = Vec::new();
    let listing = Uuid::try_parse(&id).map_err(|_| errors.push(FieldError::new("id", "is not an id")));
    let quantity = Quantity::parse(body.value.quantity).map_err(|e| errors.push(FieldError::new("/quantity", e.to_string())));
    let (Ok(listing), Ok(quantity)) = (listing, quantity) else { return Err(Problem::invalid(errors)) };
    let command = MarkPushed { listing: listing.into(), quantity, actor: caller.actor.clone() };
    let show = |done| (StatusCode::OK, json!({ "done": done }));
    let (caller, request, body) = (&caller, &request, &body.bytes[..]);
    write(&ctx, Write { caller, request, body, action: "listing.pushed", target: Some(id), command, show }).await
}
