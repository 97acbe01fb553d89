//! `PATCH /v1/admin/products/{sku}`: what people may change of a product. Its stock has a door of its own.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::auth::{Role, require};
use super::extract::{Body, Operator};
use super::problem::{FieldError, Problem};
use super::shapes::{MoneyShape, OversellPolicy, ProductView, text};
use super::write::{Write, write};
use crate::context::Context;
use crate::db::inventory::LevelRow;
use crate::db::products::ProductRow;
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::pipeline::products::{ChangeProduct, UpdateProduct};

/// A field that is absent stays; `null` takes the price away.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductChange {
    name: Option<String>,
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<MoneyShape>)]
    price: Option<Option<MoneyShape>>,
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<MoneyShape>)]
    cost_price: Option<Option<MoneyShape>>,
    #[schema(minimum = 0)]
    low_stock_threshold: Option<i64>,
    oversell_policy: Option<OversellPolicy>,
    /// Put away: not sold, not listed, its history kept. Only without stock.
    archived: Option<bool>,
}

/// Told apart from absence: null is something said.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

#[utoipa::path(patch, path = "/v1/admin/products/{sku}", tag = "products", params(("sku" = String, Path),
        ("If-Match" = Option<String>, Header, description = "the `product_version` that was seen")),
    request_body = ProductChange, security(("token" = [])),
    responses((status = 200, body = ProductView), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 404, description = "no such product"), (status = 408, description = "too slow"),
        (status = 409, description = "it changed meanwhile, or it cannot be archived yet"), (status = 413, description = "too large"),
        (status = 415, description = "no JSON"), (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn change(
    request: HttpRequest,
    sku: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<ProductChange, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let unknown = || Problem::not_found("unknown-sku", "there is no product with this SKU");
    let sku = Sku::parse(&sku).map_err(|_| unknown())?;
    let shape = &body.value;
    let mut errors = Vec::new();
    errors.extend(shape.name.as_deref().and_then(|name| text("/name", name, 256).err()));
    let mut money = |field, shape: &Option<Option<MoneyShape>>| {
        shape.as_ref().map(|m| m.as_ref().and_then(|m| m.parse(field).map_err(|e| errors.push(e)).ok()))
    };
    let (price, cost_price) = (money("/price", &shape.price), money("/cost_price", &shape.cost_price));
    if let Some(Err(e)) = shape.low_stock_threshold.map(Quantity::parse) {
        errors.push(FieldError::new("/low_stock_threshold", e.to_string()));
    }
    let expected_version = match request.headers().get("if-match") {
        None => None,
        Some(value) => {
            let read = value.to_str().ok().and_then(|text| text.trim().trim_matches('"').parse::<i64>().ok());
            if read.is_none() {
                errors.push(FieldError::new("If-Match", "must be a product_version"));
            }
            read
        }
    };
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let update = UpdateProduct {
        name: shape.name.clone(),
        price,
        cost_price,
        low_stock_threshold: shape.low_stock_threshold,
        oversell_policy: shape.oversell_policy.map(OversellPolicy::as_str),
        archived: shape.archived,
    };
    let target = Some(sku.to_string());
    let command = ChangeProduct { sku, update, expected_version, actor: caller.actor.clone() };
    let show = |(row, levels): (ProductRow, Vec<LevelRow>)| (StatusCode::OK, json!(ProductView::new(row, &levels)));
    let (caller, request, body) = (&caller, &request, &body.bytes[..]);
    let done = write(&ctx, Write { caller, request, body, action: "product.change", target, command, show }).await;
    // The SKU stands in the address here, not in the body.
    done.map_err(|problem| if problem.errors.iter().any(|e| e.field == "/sku") { unknown() } else { problem })
}
