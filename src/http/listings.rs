//! Listings: which marketplace sells which product, under which name.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use uuid::Uuid;

use super::auth::{Role, require};
use super::extract::{Body, Operator, Params};
use super::page::{self, Page, PageParams};
use super::problem::{FieldError, Problem};
use super::shapes::{ListingShape, NewListingShape, text};
use super::write::{Write, write};
use crate::ask;
use crate::context::Context;
use crate::db::listings::{self, ListingView};
use crate::domain::sku::Sku;
use crate::marketplaces::connection::STORE;
use crate::pipeline::catalogue::CreateListing;

#[utoipa::path(post, path = "/v1/admin/listings", tag = "listings", request_body = NewListingShape, security(("token" = [])),
    responses((status = 201, body = ListingShape), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 408, description = "too slow"), (status = 409, description = "it is there"),
        (status = 413, description = "too large"), (status = 415, description = "no JSON"), (status = 422, description = "names each field"),
        (status = 503, description = "try again")))]
pub(super) async fn create(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<NewListingShape, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let shape = body.value;
    let mut errors = Vec::new();
    let sku = Sku::parse(&shape.sku).map_err(|e| errors.push(FieldError::new("/sku", e.to_string())));
    let connection = ctx.kit.registry.by_code(&shape.marketplace).filter(|c| c.code != STORE);
    if connection.is_none() {
        errors.push(FieldError::new("/marketplace", "there is no such marketplace to list on"));
    }
    for (field, value) in
        [("/marketplace_product_id", &shape.marketplace_product_id), ("/marketplace_sku", &shape.marketplace_sku)]
    {
        if let Some(Err(error)) = value.as_deref().map(|value| text(field, value, 256)) {
            errors.push(error);
        }
    }
    if let Some(Err(error)) = shape.market.as_deref().map(|value| text("/market", value, 64)) {
        errors.push(error);
    }
    let units = shape.units.unwrap_or(1);
    if !(1..=1_000_000).contains(&units) {
        errors.push(FieldError::new("/units", "must be between 1 and 1000000"));
    }
    let rule = shape.rule.unwrap_or_default();
    errors.extend(rule.validate().into_iter().map(|(field, reason)| FieldError::new(format!("/rule/{field}"), reason)));
    let price = shape.price.as_ref().and_then(|m| m.parse("/price").map_err(|e| errors.push(e)).ok());
    let (Some(connection), Ok(sku), true) = (connection, sku, errors.is_empty()) else { return Err(Problem::invalid(errors)) };
    let target = Some(format!("{}/{sku}", connection.code));
    let command = CreateListing {
        connection,
        sku,
        units,
        marketplace_product_id: shape.marketplace_product_id,
        marketplace_sku: shape.marketplace_sku,
        market: shape.market.unwrap_or_default(),
        refs: shape.refs.unwrap_or_default(),
        price,
        rule,
        actor: caller.actor.clone(),
    };
    let show = |view: ListingView| (StatusCode::CREATED, json!(ListingShape::from(view)));
    let (caller, request, body) = (&caller, &request, &body.bytes[..]);
    write(&ctx, Write { caller, request, body, action: "listing.create", target, command, show }).await
}

#[utoipa::path(get, path = "/v1/admin/listings", tag = "listings", params(PageParams), security(("token" = [])),
    responses((status = 200, body = Page<ListingShape>), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<PageParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let limit = page::limit(params.0.limit)?;
    let after = page::cursor(params.0.cursor.as_deref())?.unwrap_or(Uuid::nil());
    let rows = ask!(ctx, Vec<ListingView>, [after: Uuid = after, limit: i64 = limit] |conn| listings::page(conn, after, limit + 1).await)?;
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |row| row.id.uuid(), ListingShape::from)))
}
