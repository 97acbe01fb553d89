//! `GET /v1/admin/products/{sku}/timeline`: everything that happened to a product, on one axis.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use uuid::Uuid;

use super::auth::{Role, require};
use super::extract::Params;
use super::page::{self, Page, PageParams};
use super::problem::Problem;
use crate::ask;
use crate::context::Context;
use crate::db::products;
use crate::db::timeline::{self, Happening};
use crate::domain::time::Timestamp;

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct HappeningShape {
    id: String,
    /// `movement` (the ledger), `listing` (what it is wanted to show), `push` (what it was told), `webhook` (what came in).
    kind: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    marketplace: Option<String>,
    /// Type of the movement, the change, the event, or the outcome of the push.
    what: String,
    quantity_before: Option<i64>,
    quantity_after: Option<i64>,
    reference: Option<String>,
    actor: Option<String>,
    detail: Option<String>,
}

impl From<Happening> for HappeningShape {
    fn from(h: Happening) -> Self {
        Self {
            id: h.id.to_string(),
            kind: h.kind,
            at: h.at,
            marketplace: h.marketplace,
            what: h.what,
            quantity_before: h.quantity_before,
            quantity_after: h.quantity_after,
            reference: h.reference,
            actor: h.actor,
            detail: h.detail,
        }
    }
}

#[utoipa::path(get, path = "/v1/admin/products/{sku}/timeline", tag = "products", params(("sku" = String, Path), PageParams),
    security(("token" = [])),
    responses((status = 200, description = "newest first", body = Page<HappeningShape>), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 404, description = "no such product"),
        (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn of_product(
    request: HttpRequest,
    sku: web::Path<String>,
    params: Params<PageParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let limit = page::limit(params.0.limit)?;
    let before = page::cursor(params.0.cursor.as_deref())?;
    let found: Option<Vec<Happening>> = ask!(
        ctx,
        Option<Vec<Happening>>,
        [sku: String = sku.into_inner(), before: Option<Uuid> = before, limit: i64 = limit] |conn| {
            let Some(product) = products::get(conn, &sku).await? else { return Ok(None) };
            timeline::page(conn, product.id, before, limit + 1).await.map(Some)
        }
    )?;
    let rows = found.ok_or_else(|| Problem::not_found("unknown-sku", "there is no product with this SKU"))?;
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |row| row.id, HappeningShape::from)))
}
