//! Listings: which marketplace sells which product, under which name.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use uuid::Uuid;

use super::auth::{Role, require};
use super::described::Looked;
use super::extract::{Body, Operator, Params};
use super::page::{self, Page};
use super::problem::{FieldError, Problem};
use super::shapes::{ListingShape, NewListingShape, refs, text};
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
    let components = components(&shape).map_err(|more| errors.extend(more));
    let connection = ctx.kit.registry.by_code(&shape.marketplace).filter(|c| c.code != STORE);
    match &connection {
        None => errors.push(FieldError::new("/marketplace", "there is no such marketplace to list on")),
        Some(connection) if connection.is_archived() => return Err(super::marketplaces::archived()),
        Some(_) => {}
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
    errors.extend(shape.refs.as_ref().and_then(|names| refs("/refs", names).err()));
    let rule = shape.rule.unwrap_or_default();
    errors.extend(rule.validate().into_iter().map(|(field, reason)| FieldError::new(format!("/rule/{field}"), reason)));
    let price = shape.price.as_ref().and_then(|m| m.parse("/price").map_err(|e| errors.push(e)).ok());
    let (Some(connection), Ok(components), true) = (connection, components, errors.is_empty()) else {
        return Err(Problem::invalid(errors));
    };
    let by_sku = shape.sku.is_some();
    let names: Vec<&str> = components.iter().map(|(sku, _)| sku.as_str()).collect();
    let target = Some(format!("{}/{}", connection.code, names.join("+")));
    let command = CreateListing {
        connection,
        components,
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
    let answer = write(&ctx, Write { caller, request, body, action: "listing.create", target, command, show }).await;
    // The field as it was sent: a listing of one product names it on top.
    answer.map_err(|mut problem| {
        problem.errors.iter_mut().filter(|_| by_sku).for_each(|error| {
            error.field = error.field.replace("/components/0/", "/");
        });
        problem
    })
}

/// Parts of one listing.
const COMPONENTS_MAX: usize = 50;

/// What a listing is made of: one product, or the parts of a bundle.
fn components(shape: &NewListingShape) -> Result<Vec<(Sku, i64)>, Vec<FieldError>> {
    let one = |field: &str, sku: &str, units_field: String, units: i64, errors: &mut Vec<FieldError>| {
        if !(1..=1_000_000).contains(&units) {
            errors.push(FieldError::new(units_field, "must be between 1 and 1000000"));
        }
        Sku::parse(sku).map_err(|e| errors.push(FieldError::new(field, e.to_string()))).ok().map(|sku| (sku, units))
    };
    let mut errors = Vec::new();
    let mut parts: Vec<(Sku, i64)> = Vec::new();
    match (&shape.sku, &shape.components) {
        (Some(sku), None) => parts.extend(one("/sku", sku, "/units".into(), shape.units.unwrap_or(1), &mut errors)),
        (None, Some(list)) if shape.units.is_none() && (1..=COMPONENTS_MAX).contains(&list.len()) => {
            for (n, part) in list.iter().enumerate() {
                let units = format!("/components/{n}/units");
                let Some(part) = one(&format!("/components/{n}/sku"), &part.sku, units, part.units, &mut errors) else {
                    continue;
                };
                if parts.iter().any(|(known, _)| *known == part.0) {
                    errors.push(FieldError::new(format!("/components/{n}/sku"), "stands twice"));
                }
                parts.push(part);
            }
            if shape.marketplace_product_id.is_none() && shape.marketplace_sku.is_none() {
                errors.push(FieldError::new("/marketplace_product_id", "a bundle needs a name of its own on the marketplace"));
            }
        }
        (None, Some(list)) if shape.units.is_none() => {
            let count = list.len();
            errors.push(FieldError::new("/components", format!("must hold 1 to {COMPONENTS_MAX} parts, holds {count}")));
        }
        _ => errors.push(FieldError::new("/", "needs either sku (and units) or components")),
    }
    if errors.is_empty() { Ok(parts) } else { Err(errors) }
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListingParams {
    /// Those of an archived marketplace are listed only where it is named here.
    marketplace: Option<String>,
    /// Only of this product.
    sku: Option<String>,
    /// Like dirty, synced, unknown, blocked, task, paused, ended.
    state: Option<String>,
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
    cursor: Option<String>,
}

#[utoipa::path(get, path = "/v1/admin/listings", tag = "listings", params(ListingParams), security(("token" = []), ("session" = [])),
    responses((status = 200, body = Page<ListingShape>), Looked))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<ListingParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let ListingParams { marketplace, sku, state, limit, cursor } = params.0;
    let limit = page::limit(limit)?;
    let after = page::cursor(cursor.as_deref())?.unwrap_or(Uuid::nil());
    let which = listings::Filter {
        marketplace: marketplace.unwrap_or_default(),
        sku: sku.unwrap_or_default(),
        state: state.unwrap_or_default(),
    };
    let rows = ask!(ctx, Vec<ListingView>, [which: listings::Filter = which, after: Uuid = after, limit: i64 = limit] |conn| {
        listings::page(conn, &which, after, limit + 1).await
    })?;
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |row| row.id.uuid(), ListingShape::from)))
}
