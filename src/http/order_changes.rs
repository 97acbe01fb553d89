//! What people do to an order that stands: cancel it, take it back, ship it.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::auth::{Role, require};
use super::extract::{Body, MaybeBody, Operator, Storefront};
use super::problem::{FieldError, Problem};
use super::shapes::OrderShape;
use super::write::{Write, write};
use crate::context::Context;
use crate::domain::ids::OrderId;
use crate::domain::quantity::Quantity;
use crate::pipeline::order_changes::{ChangeOrder, LineQuantity, OrderChange, Which};
use crate::pipeline::orders::Placed;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LineShape {
    /// As the order names it.
    line: String,
    /// The total so far, not in addition: sent again it changes nothing.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    quantity: i64,
}

/// Which lines; none named: the whole order.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LinesShape {
    lines: Option<Vec<LineShape>>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReturnShape {
    lines: Vec<LineShape>,
    /// Whether they can be sold again; default true.
    sellable: Option<bool>,
}

fn lines(shapes: &[LineShape]) -> Result<Vec<LineQuantity>, Problem> {
    let mut errors = Vec::new();
    let mut lines: Vec<LineQuantity> = Vec::new();
    if shapes.is_empty() || shapes.len() > 500 {
        errors.push(FieldError::new("/lines", "must name 1 to 500 lines"));
    }
    for (n, shape) in shapes.iter().enumerate().take(500) {
        if lines.iter().any(|known| known.line == shape.line) {
            errors.push(FieldError::new(format!("/lines/{n}/line"), "stands twice"));
        }
        match Quantity::parse_positive(shape.quantity) {
            Ok(quantity) => lines.push(LineQuantity { line: shape.line.clone(), quantity }),
            Err(error) => errors.push(FieldError::new(format!("/lines/{n}/quantity"), error.to_string())),
        }
    }
    if errors.is_empty() { Ok(lines) } else { Err(Problem::invalid(errors)) }
}

fn which(shape: &LinesShape) -> Result<Which, Problem> {
    shape.lines.as_deref().map_or(Ok(Which::All), |named| lines(named).map(Which::Lines))
}

#[utoipa::path(post, path = "/v1/admin/orders/{id}/cancel", tag = "orders", params(("id" = String, Path)), request_body = Option<LinesShape>,
    security(("token" = [])),
    responses((status = 200, body = OrderShape), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 404, description = "no such order"), (status = 408, description = "too slow"),
        (status = 409, description = "it is shipped"), (status = 413, description = "too large"), (status = 415, description = "no JSON"),
        (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn cancel(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
    body: MaybeBody<LinesShape, Operator>,
) -> Result<HttpResponse, Problem> {
    let change = OrderChange::Cancel(which(&body.value)?);
    run(&request, &ctx, (Role::Operator, "order.cancel"), (&id, &body.bytes), change).await
}

#[utoipa::path(post, path = "/v1/store/orders/{id}/cancel", tag = "store", params(("id" = String, Path)), request_body = Option<LinesShape>,
    security(("storefront_key" = [])),
    responses((status = 200, body = OrderShape), (status = 400, description = "no JSON"), (status = 401, description = "no key"),
        (status = 403, description = "another role"), (status = 404, description = "no such order of the store"),
        (status = 408, description = "too slow"), (status = 409, description = "it is shipped"), (status = 413, description = "too large"),
        (status = 415, description = "no JSON"), (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn cancel_store(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
    body: MaybeBody<LinesShape, Storefront>,
) -> Result<HttpResponse, Problem> {
    let change = OrderChange::Cancel(which(&body.value)?);
    run(&request, &ctx, (Role::Storefront, "order.cancel"), (&id, &body.bytes), change).await
}

#[utoipa::path(post, path = "/v1/admin/orders/{id}/return", tag = "orders", params(("id" = String, Path)), request_body = ReturnShape,
    security(("token" = [])),
    responses((status = 200, body = OrderShape), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 404, description = "no such order"), (status = 408, description = "too slow"),
        (status = 409, description = "the stock cannot move that way"), (status = 413, description = "too large"),
        (status = 415, description = "no JSON"), (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn take_back(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<ReturnShape, Operator>,
) -> Result<HttpResponse, Problem> {
    let change = OrderChange::Return { lines: lines(&body.value.lines)?, sellable: body.value.sellable.unwrap_or(true) };
    run(&request, &ctx, (Role::Operator, "order.return"), (&id, &body.bytes), change).await
}

#[utoipa::path(post, path = "/v1/admin/orders/{id}/ship", tag = "orders", params(("id" = String, Path)), request_body = Option<LinesShape>,
    security(("token" = [])),
    responses((status = 200, body = OrderShape), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 404, description = "no such order"), (status = 408, description = "too slow"),
        (status = 409, description = "the stock cannot move that way"), (status = 413, description = "too large"),
        (status = 415, description = "no JSON"), (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn ship(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
    body: MaybeBody<LinesShape, Operator>,
) -> Result<HttpResponse, Problem> {
    let change = OrderChange::Ship(which(&body.value)?);
    run(&request, &ctx, (Role::Operator, "order.ship"), (&id, &body.bytes), change).await
}

async fn run(
    request: &HttpRequest,
    ctx: &Context,
    (role, action): (Role, &'static str),
    (id, body): (&str, &[u8]),
    change: OrderChange,
) -> Result<HttpResponse, Problem> {
    let caller = require(request, ctx, role).await?;
    let id = Uuid::try_parse(id).map_err(|_| Problem::invalid(vec![FieldError::new("id", "is not an id")]))?;
    let store_only = role == Role::Storefront;
    let command = ChangeOrder { id: OrderId::new(id), change, actor: caller.actor.clone(), store_only };
    let show = |placed: Placed| (StatusCode::OK, json!(OrderShape::new(placed.order, placed.lines)));
    let (caller, target) = (&caller, Some(id.to_string()));
    write(ctx, Write { caller, request, body, action, target, command, show }).await
}
