//! The inbox: what waits for a mapping, and what was recorded without moving stock because it is older than a count.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::auth::{Role, require};
use super::extract::{Body, Operator, Params};
use super::page::{self, Page};
use super::problem::{FieldError, Problem};
use super::shapes::ListingShape;
use super::write::{Write, write};
use crate::ask;
use crate::context::Context;
use crate::db::history::{self, ParkedLine, ParkedWebhook};
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;
use crate::pipeline::unmapped::{MapUnmapped, Mapped};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UnmappedParams {
    /// waiting (the default) or historic: recorded without moving stock.
    #[param(inline)]
    state: Option<UnmappedState>,
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
    cursor: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum UnmappedState {
    Waiting,
    Historic,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct UnmappedShape {
    id: String,
    /// line: of an order; webhook: a delivery, which may carry such lines.
    kind: &'static str,
    marketplace: String,
    order_id: Option<String>,
    order_external_id: Option<String>,
    line: Option<String>,
    /// How the marketplace names it.
    external_product: Option<String>,
    external_sku: Option<String>,
    /// Units of what is sold there; null while only a cancel or a return is known.
    quantity: Option<i64>,
    /// The product, once mapped.
    sku: Option<String>,
    /// Pieces that were recorded without a movement.
    recorded: Option<i64>,
    event_type: Option<String>,
    message: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    occurred_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<ParkedLine> for UnmappedShape {
    fn from(l: ParkedLine) -> Self {
        Self {
            id: l.id.to_string(),
            kind: "line",
            marketplace: l.marketplace,
            order_id: Some(l.order_id.to_string()),
            order_external_id: Some(l.order_external_id),
            line: Some(l.line_key),
            external_product: l.external_product,
            external_sku: l.external_sku,
            quantity: l.ordered.map(|ordered| (ordered - l.cancelled).max(0)),
            sku: l.sku,
            recorded: (l.historic_on_hand != 0).then_some(-l.historic_on_hand),
            event_type: None,
            message: None,
            occurred_at: l.occurred_at,
            created_at: l.created_at,
        }
    }
}

impl From<ParkedWebhook> for UnmappedShape {
    fn from(w: ParkedWebhook) -> Self {
        Self {
            id: w.id.to_string(),
            kind: "webhook",
            marketplace: w.marketplace,
            order_id: None,
            order_external_id: None,
            line: None,
            external_product: None,
            external_sku: None,
            quantity: None,
            sku: None,
            recorded: None,
            event_type: Some(w.event_type),
            message: w.error_message,
            occurred_at: w.occurred_at,
            created_at: w.created_at,
        }
    }
}

type Parked = (Vec<ParkedLine>, Vec<ParkedWebhook>);

#[utoipa::path(get, path = "/v1/admin/unmapped", tag = "listings", params(UnmappedParams), security(("token" = [])),
    responses((status = 200, description = "newest first", body = Page<UnmappedShape>), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<UnmappedParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let limit = page::limit(params.0.limit)?;
    let before = page::cursor(params.0.cursor.as_deref())?;
    let historic = params.0.state == Some(UnmappedState::Historic);
    let (lines, webhooks) = ask!(ctx, Parked, [historic: bool = historic, before: Option<Uuid> = before, limit: i64 = limit] |conn| {
        if historic {
            return Ok((history::historic_lines(conn, before, limit + 1).await?, Vec::new()));
        }
        let lines = history::waiting_lines(conn, before, limit + 1).await?;
        Ok((lines, history::waiting_webhooks(conn, before, limit + 1).await?))
    })?;
    let lines = lines.into_iter().map(|line| (line.id, UnmappedShape::from(line)));
    let mut rows: Vec<_> = lines.chain(webhooks.into_iter().map(|row| (row.id, UnmappedShape::from(row)))).collect();
    rows.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |(id, _)| *id, |(_, shape)| shape)))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MapShape {
    /// The product it is. Left out only to post a recorded line.
    sku: Option<String>,
    /// Pieces of the product in one unit of what is sold there; default 1.
    #[schema(minimum = 1, maximum = 1_000_000)]
    units: Option<i64>,
    /// Moves stock also for what is older than the product's count.
    #[serde(default)]
    post: bool,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct MappedShape {
    /// The listing made by it.
    listing: Option<ListingShape>,
    /// Lines that were recorded without moving stock: `{"post": true}` on one of them moves it.
    historic: Vec<String>,
}

#[utoipa::path(post, path = "/v1/admin/unmapped/{id}/map", tag = "listings", params(("id" = String, Path)), request_body = MapShape,
    security(("token" = [])),
    responses((status = 200, body = MappedShape), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 404, description = "nothing of that id waits"),
        (status = 408, description = "too slow"), (status = 409, description = "it cannot be mapped that way"),
        (status = 413, description = "too large"), (status = 415, description = "no JSON"), (status = 422, description = "names each field"),
        (status = 503, description = "try again")))]
pub(super) async fn map(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<MapShape, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let mut errors = Vec::new();
    let id = Uuid::try_parse(&id).map_err(|_| errors.push(FieldError::new("id", "is not an id")));
    let sku = body.value.sku.as_deref().map(Sku::parse).transpose();
    let sku = sku.map_err(|error| errors.push(FieldError::new("/sku", error.to_string())));
    let units = body.value.units.unwrap_or(1);
    if !(1..=1_000_000).contains(&units) {
        errors.push(FieldError::new("/units", "must be between 1 and 1000000"));
    }
    let (Ok(id), Ok(sku), true) = (id, sku, errors.is_empty()) else { return Err(Problem::invalid(errors)) };
    let command = MapUnmapped { id, sku, units, post: body.value.post, actor: caller.actor.clone() };
    let show = |mapped: Mapped| {
        let historic = mapped.historic.iter().map(ToString::to_string).collect();
        (StatusCode::OK, json!(MappedShape { listing: mapped.listing.map(ListingShape::from), historic }))
    };
    let (caller, request, body, target) = (&caller, &request, &body.bytes[..], Some(id.to_string()));
    write(&ctx, Write { caller, request, body, action: "unmapped.map", target, command, show }).await
}
