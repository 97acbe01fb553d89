//! Correcting stock by hand: by a difference, or to what was counted.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::auth::{Caller, Role, require};
use super::extract::{Body, Operator};
use super::problem::{FieldError, Problem};
use super::shapes::{ProductView, StockChange, TopUp, text};
use super::write::{Write, write};
use crate::context::Context;
use crate::db::DbError;
use crate::db::inventory::{self, LevelRow};
use crate::db::products::{self, ProductRow};
use crate::domain::quantity::{Delta, Quantity};
use crate::domain::sku::Sku;
use crate::pipeline::Tx;
use crate::pipeline::catalogue::{CatalogueError, ChangeStock, Correction};
use crate::pipeline::writer::Command;

#[utoipa::path(patch, path = "/v1/admin/products/{sku}/inventory", tag = "stock", params(("sku" = String, Path),
        ("If-Match" = Option<String>, Header, description = "the product's version as shown in its ETag")),
    request_body = StockChange, security(("token" = [])),
    responses((status = 200, body = ProductView), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 404, description = "no such product"), (status = 408, description = "too slow"),
        (status = 409, description = "the stock changed meanwhile"), (status = 413, description = "too large"),
        (status = 415, description = "no JSON"), (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn change(
    request: HttpRequest,
    sku: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<StockChange, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let shape = &body.value;
    let mut errors = Vec::new();
    let correction = correction(&request, shape).map_err(|more| errors.extend(more));
    errors.extend(text("/reason", &shape.reason, 64).err());
    errors.extend(shape.note.as_deref().and_then(|note| text("/note", note, 1_000).err()));
    let (Ok(correction), true) = (correction, errors.is_empty()) else { return Err(Problem::invalid(errors)) };
    let command = ChangeStock {
        sku: known_sku(&sku)?,
        location: shape.location.clone().unwrap_or_else(|| "main".into()),
        movement_type: if matches!(correction, Correction::By(_)) { "manual" } else { "adjusted" },
        correction,
        reason: Some(shape.reason.clone()),
        note: shape.note.clone(),
        reference: None,
        actor: caller.actor.clone(),
    };
    run(&request, &ctx, &caller, &body.bytes, "stock.change", command).await
}

fn correction(request: &HttpRequest, shape: &StockChange) -> Result<Correction, Vec<FieldError>> {
    let header = request.headers().get("if-match").map(|value| value.to_str().unwrap_or("").trim_matches('"').parse::<i64>());
    let matched = match header {
        None => None,
        Some(Ok(version)) => Some(version),
        Some(Err(_)) => return Err(vec![FieldError::new("If-Match", "must be a version as shown in an ETag")]),
    };
    match (shape.delta, shape.count) {
        (Some(0), None) => Err(vec![FieldError::new("/delta", "must not be 0")]),
        (Some(delta), None) if shape.expected_version.is_none() && matched.is_none() => {
            Delta::parse(delta).map(Correction::By).map_err(|e| vec![FieldError::new("/delta", e.to_string())])
        }
        (Some(_), None) => Err(vec![FieldError::new("/expected_version", "goes with count; a difference needs no version")]),
        (None, Some(count)) => {
            let count = Quantity::parse(count).map_err(|e| vec![FieldError::new("/count", e.to_string())])?;
            Ok(Correction::To { count, expected_version: shape.expected_version.or(matched) })
        }
        _ => Err(vec![FieldError::new("/", "needs exactly one of delta and count")]),
    }
}

#[utoipa::path(post, path = "/v1/admin/products/{sku}/topup", tag = "stock", params(("sku" = String, Path)), request_body = TopUp,
    security(("token" = [])),
    responses((status = 200, body = ProductView), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 404, description = "no such product"), (status = 408, description = "too slow"),
        (status = 413, description = "too large"), (status = 415, description = "no JSON"), (status = 422, description = "names each field"),
        (status = 503, description = "try again")))]
pub(super) async fn top_up(
    request: HttpRequest,
    sku: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<TopUp, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let shape = &body.value;
    let mut errors = Vec::new();
    let quantity = Quantity::parse_positive(shape.quantity).map_err(|e| errors.push(FieldError::new("/quantity", e.to_string())));
    errors.extend(shape.reference.as_deref().and_then(|reference| text("/reference", reference, 256).err()));
    if let Some(code) = &shape.marketplace
        && ctx.kit.registry.by_code(code).is_none()
    {
        errors.push(FieldError::new("/marketplace", "there is no such marketplace"));
    }
    let delta = quantity.and_then(|q| Delta::parse(q.get()).map_err(drop));
    let (Ok(delta), true) = (delta, errors.is_empty()) else { return Err(Problem::invalid(errors)) };
    let command = ChangeStock {
        sku: known_sku(&sku)?,
        location: shape.location.clone().unwrap_or_else(|| "main".into()),
        correction: Correction::By(delta),
        movement_type: "topup",
        reason: Some("topup".into()),
        note: shape.marketplace.as_ref().map(|code| format!("for {code}")),
        reference: shape.reference.clone(),
        actor: caller.actor.clone(),
    };
    run(&request, &ctx, &caller, &body.bytes, "stock.topup", command).await
}

/// A SKU in the address that cannot be one is simply not there.
fn known_sku(text: &str) -> Result<Sku, Problem> {
    Sku::parse(text).map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::not_found("unknown-sku", "there is no product with this SKU")
}

async fn run(
    request: &HttpRequest,
    ctx: &Context,
    caller: &Caller,
    body: &[u8],
    action: &'static str,
    command: ChangeStock,
) -> Result<HttpResponse, Problem> {
    let target = Some(command.sku.to_string());
    let show = |(row, levels): (ProductRow, Vec<LevelRow>)| (StatusCode::OK, json!(ProductView::new(row, &levels)));
    let done = write(ctx, Write { caller, request, body, action, target, command: AndShow(command), show }).await;
    // The SKU stands in the address here, not in the body.
    done.map_err(|problem| if problem.errors.iter().any(|e| e.field == "/sku") { unknown() } else { problem })
}

/// The change, and the product as it is then.
struct AndShow(ChangeStock);

impl Command for AndShow {
    type Output = (ProductRow, Vec<LevelRow>);
    type Error = CatalogueError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Self::Output, CatalogueError> {
        let id = self.0.run(tx).await?;
        let row = products::list_by_id(&mut tx.conn, [id]).await?.pop();
        let row = row.ok_or_else(|| DbError::inconsistent("products", "id", id.to_string()))?;
        let levels = inventory::list(&mut tx.conn, [id]).await?;
        Ok((row, levels))
    }
}
