//! Locations, and carrying stock between them.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::auth::{Role, require};
use super::extract::{Admin, Body, Operator};
use super::page::Page;
use super::problem::{FieldError, Problem};
use super::shapes::{ProductView, text};
use super::write::{Write, write};
use crate::ask;
use crate::context::Context;
use crate::db::inventory::LevelRow;
use crate::db::places::{self, PlaceRow};
use crate::db::products::ProductRow;
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;
use crate::pipeline::places::{CreateLocation, Transfer};

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct LocationShape {
    code: String,
    name: String,
    kind: String,
    sellable: bool,
    priority: i64,
    /// Pieces of all products that lie there.
    on_hand: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<PlaceRow> for LocationShape {
    fn from(p: PlaceRow) -> Self {
        let (priority, on_hand, created_at) = (p.priority, p.on_hand, p.created_at);
        Self { code: p.code, name: p.name, kind: p.kind, sellable: p.sellable, priority, on_hand, created_at }
    }
}

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum LocationKind {
    Warehouse,
    Store,
    Marketplace,
    Transit,
    Quarantine,
}

impl LocationKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Warehouse => "warehouse",
            Self::Store => "store",
            Self::Marketplace => "marketplace",
            Self::Transit => "transit",
            Self::Quarantine => "quarantine",
        }
    }
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLocation {
    /// Lower-case letters, digits and hyphens, 2 to 32.
    code: String,
    name: String,
    kind: Option<LocationKind>,
    /// The order in lists.
    #[schema(minimum = -1000, maximum = 1000)]
    priority: Option<i64>,
}

#[utoipa::path(get, path = "/v1/admin/locations", tag = "stock", security(("token" = [])),
    responses((status = 200, body = Page<LocationShape>), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 503, description = "try again")))]
pub(super) async fn list(request: HttpRequest, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let rows = ask!(ctx, Vec<PlaceRow>, [] | conn | places::list(conn).await)?;
    let items = rows.into_iter().map(LocationShape::from).collect();
    Ok(HttpResponse::Ok().json(Page::whole(items)))
}

#[utoipa::path(post, path = "/v1/admin/locations", tag = "stock", request_body = NewLocation, security(("token" = [])),
    responses((status = 201, body = LocationShape), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 408, description = "too slow"), (status = 409, description = "the code is taken"),
        (status = 413, description = "too large"), (status = 415, description = "no JSON"), (status = 422, description = "names each field"),
        (status = 503, description = "try again")))]
pub(super) async fn create(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<NewLocation, Admin>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Admin).await?;
    let shape = &body.value;
    let mut errors = Vec::new();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !(2..=32).contains(&shape.code.len()) || !shape.code.chars().all(plain) {
        errors.push(FieldError::new("/code", "must have 2 to 32 lower-case letters, digits or hyphens"));
    }
    errors.extend(text("/name", &shape.name, 128).err());
    let priority = shape.priority.unwrap_or(0);
    if !(-1_000..=1_000).contains(&priority) {
        errors.push(FieldError::new("/priority", "must be between -1000 and 1000"));
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let kind = shape.kind.map_or("warehouse", LocationKind::as_str);
    let command = CreateLocation { code: shape.code.clone(), name: shape.name.clone(), kind, priority };
    let target = Some(shape.code.clone());
    let show = |row: PlaceRow| (StatusCode::CREATED, json!(LocationShape::from(row)));
    let (caller, request, body) = (&caller, &request, &body.bytes[..]);
    write(&ctx, Write { caller, request, body, action: "location.create", target, command, show }).await
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TransferShape {
    sku: String,
    from: String,
    to: String,
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    quantity: i64,
    reason: String,
    note: Option<String>,
    /// Moves although fewer are available at `from`.
    #[serde(default)]
    force: bool,
}

#[utoipa::path(post, path = "/v1/admin/transfers", tag = "stock", request_body = TransferShape, security(("token" = [])),
    responses((status = 201, body = ProductView), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 408, description = "too slow"),
        (status = 409, description = "fewer are available at `from`; nothing was moved"), (status = 413, description = "too large"),
        (status = 415, description = "no JSON"), (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn transfer(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<TransferShape, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let shape = &body.value;
    let mut errors = Vec::new();
    let sku = Sku::parse(&shape.sku).map_err(|e| errors.push(FieldError::new("/sku", e.to_string())));
    let quantity = Quantity::parse_positive(shape.quantity).map_err(|e| errors.push(FieldError::new("/quantity", e.to_string())));
    errors.extend(text("/reason", &shape.reason, 64).err());
    errors.extend(shape.note.as_deref().and_then(|note| text("/note", note, 1_000).err()));
    if shape.from == shape.to {
        errors.push(FieldError::new("/to", "is where it comes from"));
    }
    let (Ok(sku), Ok(quantity), true) = (sku, quantity, errors.is_empty()) else { return Err(Problem::invalid(errors)) };
    let target = Some(format!("{sku} {} → {}", shape.from, shape.to));
    let command = Transfer {
        sku,
        from: shape.from.clone(),
        to: shape.to.clone(),
        quantity,
        reason: shape.reason.clone(),
        note: shape.note.clone(),
        force: shape.force,
        actor: caller.actor.clone(),
    };
    let show = |(row, levels): (ProductRow, Vec<LevelRow>)| (StatusCode::CREATED, json!(ProductView::new(row, &levels)));
    let (caller, request, body) = (&caller, &request, &body.bytes[..]);
    write(&ctx, Write { caller, request, body, action: "stock.transfer", target, command, show }).await
}
