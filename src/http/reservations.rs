//! Holds for carts: set aside, kept longer, turned into an order, let go.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::auth::{Role, require};
use super::extract::{Body, MaybeBody, Storefront};
use super::orders::{external_id, order_items};
use super::problem::{FieldError, Problem};
use super::shapes::{OrderItemShape, OrderShape};
use super::write::{Write, write};
use crate::ask;
use crate::context::Context;
use crate::db::reservations::{self, ItemRow, ReservationRow};
use crate::domain::ids::ReservationId;
use crate::domain::time::Timestamp;
use crate::marketplaces::connection::STORE;
use crate::pipeline::holds::{ConsumeHold, ExtendHold, PlaceHold, ReleaseHold, Shown, state_at};
use crate::pipeline::orders::Placed;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReservation {
    items: Vec<OrderItemShape>,
    /// How long it holds, by the server's clock; default `inventory.reservation_ttl_s`, at most `reservation_ttl_max_s`.
    #[schema(minimum = 1)]
    ttl_seconds: Option<i64>,
    /// The caller's own name of the hold: sent again it is the same hold.
    external_id: Option<String>,
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Extension {
    #[schema(minimum = 1)]
    ttl_seconds: Option<i64>,
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Consumption {
    /// Of the order; sent again it is the same order.
    external_id: Option<String>,
    /// Default: all that is left of the hold.
    items: Option<Vec<OrderItemShape>>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ReservationShape {
    id: String,
    external_id: Option<String>,
    /// held, consumed, released or expired.
    state: String,
    items: Vec<HeldItem>,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct HeldItem {
    sku: String,
    quantity: i64,
    /// How many of them became orders.
    consumed: i64,
}

impl ReservationShape {
    fn new(row: ReservationRow, items: Vec<ItemRow>, now: Timestamp) -> Self {
        let state = state_at(&row, now).to_owned();
        // One whose time is over ended then, whenever it is swept up.
        let ended_at = row.ended_at.or_else(|| (state != row.state).then_some(row.expires_at));
        let items = items
            .into_iter()
            .map(|item| HeldItem { sku: item.sku.to_string(), quantity: item.quantity, consumed: item.consumed })
            .collect();
        let (expires_at, created_at) = (row.expires_at, row.created_at);
        Self { id: row.id.to_string(), external_id: row.external_id, state, items, expires_at, created_at, ended_at }
    }
}

fn show(shown: Shown) -> (StatusCode, Value) {
    let status = if shown.existing { StatusCode::OK } else { StatusCode::CREATED };
    (status, json!(ReservationShape::new(shown.row, shown.items, shown.now)))
}

fn ttl(ctx: &Context, seconds: Option<i64>) -> Result<Duration, Problem> {
    let inventory = &ctx.settings.inventory;
    let Some(seconds) = seconds else { return Ok(inventory.reservation_ttl().min(inventory.reservation_ttl_max())) };
    let most = inventory.reservation_ttl_max_s;
    let fits = u64::try_from(seconds).ok().filter(|seconds| (1..=most).contains(seconds));
    fits.map(Duration::from_secs).ok_or_else(|| Problem::field("/ttl_seconds", format!("must be between 1 and {most}")))
}

fn id(text: &str) -> Result<ReservationId, Problem> {
    let id = Uuid::try_parse(text).map_err(|_| Problem::invalid(vec![FieldError::new("id", "is not an id")]))?;
    Ok(ReservationId::new(id))
}

fn store(ctx: &Context) -> Result<std::sync::Arc<crate::marketplaces::Connection>, Problem> {
    ctx.kit.registry.by_code(STORE).ok_or_else(|| Problem::unavailable("starting", "the hub is starting"))
}

#[utoipa::path(post, path = "/v1/store/reservations", tag = "store", request_body = NewReservation, security(("storefront_key" = [])),
    responses((status = 201, body = ReservationShape), (status = 200, description = "it was there already", body = ReservationShape),
        (status = 400, description = "no JSON"), (status = 401, description = "no key"), (status = 403, description = "another role"),
        (status = 408, description = "too slow"), (status = 409, description = "not enough left; nothing was changed"),
        (status = 413, description = "too large"), (status = 415, description = "no JSON"), (status = 422, description = "names each field"),
        (status = 503, description = "try again")))]
pub(super) async fn place(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<NewReservation, Storefront>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Storefront).await?;
    external_id(body.value.external_id.as_deref())?;
    let command = PlaceHold {
        connection: store(&ctx)?,
        external_id: body.value.external_id.clone(),
        items: order_items(&body.value.items)?,
        ttl: ttl(&ctx, body.value.ttl_seconds)?,
        actor: caller.actor.clone(),
    };
    let target = command.external_id.clone();
    let (caller, request, body) = (&caller, &request, &body.bytes[..]);
    write(&ctx, Write { caller, request, body, action: "reservation.place", target, command, show }).await
}

#[utoipa::path(get, path = "/v1/store/reservations/{id}", tag = "store", params(("id" = String, Path)), security(("storefront_key" = [])),
    responses((status = 200, body = ReservationShape), (status = 401, description = "no key"), (status = 403, description = "another role"),
        (status = 404, description = "no such hold"), (status = 422, description = "no id"), (status = 503, description = "try again")))]
pub(super) async fn show_one(
    request: HttpRequest,
    path: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Storefront).await?;
    let found = ask!(ctx, Option<(ReservationRow, Vec<ItemRow>)>, [id: ReservationId = id(&path)?] |conn| {
        let Some(row) = reservations::get(conn, id).await? else { return Ok(None) };
        let items = reservations::items(conn, [id]).await?;
        Ok(Some((row, items)))
    })?;
    let (row, items) = found.ok_or_else(|| Problem::not_found("unknown-reservation", "there is no such hold"))?;
    Ok(HttpResponse::Ok().json(ReservationShape::new(row, items, ctx.kit.clock.now())))
}

#[utoipa::path(post, path = "/v1/store/reservations/{id}/extend", tag = "store", params(("id" = String, Path)),
    request_body = Option<Extension>, security(("storefront_key" = [])),
    responses((status = 200, body = ReservationShape), (status = 400, description = "no JSON"), (status = 401, description = "no key"),
        (status = 403, description = "another role"), (status = 404, description = "no such hold"), (status = 408, description = "too slow"),
        (status = 409, description = "it has ended"), (status = 413, description = "too large"), (status = 415, description = "no JSON"),
        (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn extend(
    request: HttpRequest,
    path: web::Path<String>,
    ctx: web::Data<Context>,
    body: MaybeBody<Extension, Storefront>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Storefront).await?;
    let life_max = ctx.settings.inventory.reservation_ttl_max();
    let command = ExtendHold { id: id(&path)?, connection: store(&ctx)?, ttl: ttl(&ctx, body.value.ttl_seconds)?, life_max };
    let target = Some(path.into_inner());
    let (caller, request, body) = (&caller, &request, &body.bytes[..]);
    write(&ctx, Write { caller, request, body, action: "reservation.extend", target, command, show }).await
}

#[utoipa::path(post, path = "/v1/store/reservations/{id}/consume", tag = "store", params(("id" = String, Path)),
    request_body = Option<Consumption>, security(("storefront_key" = [])),
    responses((status = 201, description = "the order", body = OrderShape), (status = 200, description = "it was there already", body = OrderShape),
        (status = 400, description = "no JSON"), (status = 401, description = "no key"), (status = 403, description = "another role"),
        (status = 404, description = "no such hold"), (status = 408, description = "too slow"), (status = 409, description = "it has ended"),
        (status = 413, description = "too large"), (status = 415, description = "no JSON"), (status = 422, description = "names each field"),
        (status = 503, description = "try again")))]
pub(super) async fn consume(
    request: HttpRequest,
    path: web::Path<String>,
    ctx: web::Data<Context>,
    body: MaybeBody<Consumption, Storefront>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Storefront).await?;
    external_id(body.value.external_id.as_deref())?;
    let command = ConsumeHold {
        id: id(&path)?,
        connection: store(&ctx)?,
        items: body.value.items.as_deref().map(order_items).transpose()?,
        external_id: body.value.external_id.clone(),
        actor: caller.actor.clone(),
    };
    let show = |placed: Placed| {
        let status = if placed.existing { StatusCode::OK } else { StatusCode::CREATED };
        (status, json!(OrderShape::new(placed.order, placed.lines)))
    };
    let target = Some(path.into_inner());
    let (caller, request, body) = (&caller, &request, &body.bytes[..]);
    write(&ctx, Write { caller, request, body, action: "reservation.consume", target, command, show }).await
}

#[utoipa::path(delete, path = "/v1/store/reservations/{id}", tag = "store", params(("id" = String, Path)), security(("storefront_key" = [])),
    responses((status = 200, body = ReservationShape), (status = 401, description = "no key"), (status = 403, description = "another role"),
        (status = 404, description = "no such hold"), (status = 409, description = "it has ended another way"), (status = 422, description = "no id"),
        (status = 503, description = "try again")))]
pub(super) async fn release(
    request: HttpRequest,
    path: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Storefront).await?;
    let command = ReleaseHold { id: id(&path)?, connection: store(&ctx)?, actor: caller.actor.clone() };
    let target = Some(path.into_inner());
    let (caller, request) = (&caller, &request);
    write(&ctx, Write { caller, request, body: b"", action: "reservation.release", target, command, show }).await
}
