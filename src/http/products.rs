//! Products: make, list, look at, and explain what each listing shows.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::auth::{Role, require};
use super::extract::{Body, Operator, Params};
use super::page;
use super::problem::{FieldError, Problem};
use super::shapes::{LevelShape, ListingShape, NewProduct, ProductView};
use super::write::{Write, write};
use crate::ask;
use crate::context::Context;
use crate::db::inventory::{self, LevelRow};
use crate::db::listings::{self, ComponentRow, ListingView};
use crate::db::products::{self, ProductRow};
use crate::domain::ids::{ListingId, LocationId, ProductId};
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::marketplaces::connection::STORE;
use crate::pipeline::catalogue::CreateProduct;
use crate::pipeline::explain::Explain;

#[utoipa::path(post, path = "/v1/admin/products", tag = "products", request_body = NewProduct, security(("token" = [])),
    responses((status = 201, body = ProductView), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role is needed"), (status = 408, description = "too slow"),
        (status = 409, description = "the SKU is taken"), (status = 413, description = "too large"),
        (status = 415, description = "no JSON"), (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn create(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<NewProduct, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let shape = body.value;
    let mut errors = Vec::new();
    let sku = Sku::parse(&shape.sku).map_err(|e| errors.push(FieldError::new("/sku", e.to_string())));
    if let Err(error) = super::shapes::text("/name", &shape.name, 256) {
        errors.push(error);
    }
    let mut money = |field, shape: &Option<super::shapes::MoneyShape>| {
        shape.as_ref().and_then(|m| m.parse(field).map_err(|e| errors.push(e)).ok())
    };
    let price = money("/price", &shape.price);
    let cost_price = money("/cost_price", &shape.cost_price);
    if let (Some(a), Some(b)) = (price, cost_price)
        && a.currency != b.currency
    {
        errors.push(FieldError::new("/cost_price/currency", "must be the currency of the price"));
    }
    let stock = Quantity::parse(shape.initial_stock.unwrap_or(0))
        .map_err(|e| errors.push(FieldError::new("/initial_stock", e.to_string())));
    if let Some(threshold) = shape.low_stock_threshold
        && let Err(e) = Quantity::parse(threshold)
    {
        errors.push(FieldError::new("/low_stock_threshold", e.to_string()));
    }
    let (Ok(sku), Ok(initial_stock), true) = (sku, stock, errors.is_empty()) else { return Err(Problem::invalid(errors)) };
    let store = ctx.kit.registry.by_code(STORE).ok_or_else(|| Problem::unavailable("starting", "the hub is starting"))?;
    let command = CreateProduct {
        sku: sku.clone(),
        name: shape.name,
        price,
        cost_price,
        low_stock_threshold: shape.low_stock_threshold,
        oversell_policy: shape.oversell_policy.map_or("block", super::shapes::OversellPolicy::as_str),
        initial_stock,
        store,
        actor: caller.actor.clone(),
    };
    let show = |(row, levels): (ProductRow, Vec<LevelRow>)| (StatusCode::CREATED, json!(ProductView::new(row, &levels)));
    let target = Some(sku.to_string());
    let (caller, request, body) = (&caller, &request, &body.bytes[..]);
    write(&ctx, Write { caller, request, body, action: "product.create", target, command: WithLevels(command), show }).await
}

/// A new product together with its stock, as the answer shows it.
struct WithLevels(CreateProduct);

impl crate::pipeline::writer::Command for WithLevels {
    type Output = (ProductRow, Vec<LevelRow>);
    type Error = crate::pipeline::catalogue::CatalogueError;

    async fn run(&mut self, tx: &mut crate::pipeline::Tx<'_>) -> Result<Self::Output, Self::Error> {
        let row = self.0.run(tx).await?;
        let levels = inventory::list(&mut tx.conn, [row.id]).await?;
        Ok((row, levels))
    }
}

type Whole = Option<(ProductRow, Vec<LevelRow>, Vec<ListingView>, Vec<(LocationId, String)>)>;

#[utoipa::path(get, path = "/v1/admin/products/{sku}", tag = "products", params(("sku" = String, Path)), security(("token" = [])),
    responses((status = 200, body = ProductView), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 404, description = "no such product"), (status = 503, description = "try again")))]
pub(super) async fn get(request: HttpRequest, sku: web::Path<String>, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let found: Whole = ask!(ctx, Whole, [sku: String = sku.into_inner()] |conn| {
        let Some(row) = products::get(conn, &sku).await? else { return Ok(None) };
        let levels = inventory::list(conn, [row.id]).await?;
        let shown = listings::of_product(conn, row.id).await?;
        let places = products::locations(conn).await?;
        Ok(Some((row, levels, shown, places)))
    })?;
    let (row, levels, shown, places) =
        found.ok_or_else(|| Problem::not_found("unknown-sku", "there is no product with this SKU"))?;
    let mut view = ProductView::new(row, &levels);
    view.listings = Some(shown.into_iter().map(ListingShape::from).collect());
    let code = |id: LocationId| places.iter().find(|(known, _)| *known == id).map_or(String::new(), |(_, code)| code.clone());
    let level = |l: &LevelRow| LevelShape {
        location: code(l.location_id),
        on_hand: l.on_hand,
        committed: l.committed,
        reserved: l.reserved,
        unsellable: l.unsellable,
        incoming: l.incoming,
        available: l.available(),
        version: l.version,
    };
    view.locations = Some(levels.iter().map(level).collect());
    let version = view.version;
    Ok(HttpResponse::Ok().insert_header(("etag", format!("\"{version}\""))).json(view))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ProductParams {
    /// Only products whose SKU or name holds this text.
    q: Option<String>,
    /// Only products whose stock is in this state.
    #[param(inline)]
    stock: Option<StockState>,
    /// `listings`: with what each marketplace shows.
    #[param(inline)]
    include: Option<Include>,
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
    cursor: Option<String>,
}

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum StockState {
    Ok,
    Low,
    Out,
}

impl StockState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Low => "low",
            Self::Out => "out",
        }
    }
}

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Include {
    Listings,
}

/// Letters of a search; longer ones find nothing anyway.
const SEARCH_MAX: usize = 128;

type FoundProducts = (Vec<ProductRow>, Vec<LevelRow>, (Vec<ListingView>, Vec<ComponentRow>));

#[utoipa::path(get, path = "/v1/admin/products", tag = "products", params(ProductParams), security(("token" = [])),
    responses((status = 200, body = super::page::Page<ProductView>), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<ProductParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let limit = page::limit(params.0.limit)?;
    let after = match params.0.cursor.as_deref() {
        None => String::new(),
        Some(text) => text
            .strip_prefix("s_")
            .and_then(|hex| String::from_utf8(hex::decode(hex).ok()?).ok())
            .ok_or_else(|| Problem::field("cursor", "is not a cursor of this list"))?,
    };
    let text = params.0.q.unwrap_or_default();
    if text.chars().count() > SEARCH_MAX {
        return Err(Problem::field("q", format!("may have {SEARCH_MAX} characters")));
    }
    let (state, with_listings) = (params.0.stock.map_or("", StockState::as_str), params.0.include.is_some());
    let (mut rows, levels, (views, parts)) = ask!(
        ctx,
        FoundProducts,
        [after: String = after, limit: i64 = limit, text: String = text, state: &'static str = state, with_listings: bool = with_listings] |conn| {
            let rows = match (text.as_str(), state) {
                ("", "") => products::page(conn, &after, limit + 1).await?,
                (text, state) => products::search(conn, &after, limit + 1, text, state).await?,
            };
            let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
            let levels = inventory::list(conn, ids.iter().copied()).await?;
            let listings = if with_listings { listings::of_products(conn, &ids).await? } else { Default::default() };
            Ok((rows, levels, listings))
        }
    )?;
    let more = rows.len() as i64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next_cursor = rows.last().filter(|_| more).map(|row| format!("s_{}", hex::encode(row.sku.as_str())));
    let mut own: HashMap<ProductId, Vec<LevelRow>> = HashMap::new();
    for level in levels {
        own.entry(level.product_id).or_default().push(level);
    }
    let mut made_of: HashMap<ListingId, Vec<ProductId>> = HashMap::new();
    for part in &parts {
        made_of.entry(part.listing_id).or_default().push(part.product_id);
    }
    let mut sold_as: HashMap<ProductId, Vec<ListingShape>> = HashMap::new();
    for view in views {
        for product in made_of.get(&view.id).into_iter().flatten() {
            sold_as.entry(*product).or_default().push(ListingShape::from(view.clone()));
        }
    }
    let items = rows.into_iter().map(|row| {
        let listings = with_listings.then(|| sold_as.remove(&row.id).unwrap_or_default());
        let levels = own.remove(&row.id).unwrap_or_default();
        ProductView { listings, ..ProductView::new(row, &levels) }
    });
    Ok(HttpResponse::Ok().json(page::Page { next_cursor, ..page::Page::whole(items.collect()) }))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExplainParams {
    /// Only this marketplace.
    marketplace: Option<String>,
}

#[utoipa::path(get, path = "/v1/admin/products/{sku}/explain", tag = "products", params(("sku" = String, Path), ExplainParams),
    security(("token" = [])),
    responses((status = 200, description = "the allocation, step by step, of every listing", body = Object),
        (status = 401, description = "no token"), (status = 403, description = "another role"), (status = 404, description = "no such product"),
        (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn explain(
    request: HttpRequest,
    sku: web::Path<String>,
    params: Params<ExplainParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    if params.0.marketplace.as_deref().is_some_and(|code| ctx.kit.registry.by_code(code).is_none()) {
        return Err(Problem::field("marketplace", "there is no marketplace of this code"));
    }
    let question = Explain { sku: sku.into_inner(), marketplace: params.0.marketplace, kit: ctx.kit.clone() };
    let found = ctx.ask(question).await?;
    let found = found.ok_or_else(|| Problem::not_found("unknown-sku", "there is no product with this SKU"))?;
    Ok(HttpResponse::Ok().json(found))
}
