//! Orders: the own storefront's, those people type in, and all of them to look at.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

use super::auth::{Caller, Role, require};
use super::described::Looked;
use super::extract::{Body, Operator, Params, Storefront};
use super::page::Page;
use super::problem::{FieldError, Problem};
use super::shapes::{ManualOrder, OrderShape, StoreOrder, items, text};
use super::table::{self, Source, list_params};
use super::write::{Write, write};
use crate::ask;
use crate::context::Context;
use crate::db::orders::{self, LineView, OrderView};
use crate::db::{Conn, DbError, Ids};
use crate::domain::ids::{OrderId, ReservationId};
use crate::marketplaces::connection::STORE;
use crate::marketplaces::{Kind, StockFeed};
use crate::pipeline::orders::{OrderItem, PlaceOrder, Placed};

#[utoipa::path(post, path = "/v1/store/orders", tag = "store", request_body = StoreOrder, security(("storefront_key" = [])),
    responses((status = 201, body = OrderShape), (status = 200, description = "it was there already", body = OrderShape),
        (status = 400, description = "no JSON"), (status = 401, description = "no key"), (status = 403, description = "another role"),
        (status = 408, description = "too slow"), (status = 409, description = "not enough left; nothing was changed"),
        (status = 413, description = "too large"), (status = 415, description = "no JSON"), (status = 422, description = "names each field"),
        (status = 503, description = "try again")))]
pub(super) async fn place_store(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<StoreOrder, Storefront>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Storefront).await?;
    external_id(body.value.external_id.as_deref())?;
    let connection = ctx.kit.registry.by_code(STORE).ok_or_else(|| Problem::unavailable("starting", "the hub is starting"))?;
    let command = PlaceOrder {
        connection,
        external_id: body.value.external_id.clone(),
        items: order_items(&body.value.items)?,
        customer_name: None,
        customer_phone: None,
        actor: caller.actor.clone(),
        force: false,
        source: "store",
        reservation_id: reservation_id(body.value.reservation_id.as_deref())?,
    };
    place(&request, &ctx, &caller, &body.bytes, command).await
}

#[utoipa::path(post, path = "/v1/admin/orders", tag = "orders", request_body = ManualOrder, security(("token" = [])),
    responses((status = 201, body = OrderShape), (status = 200, description = "it was there already", body = OrderShape),
        (status = 400, description = "no JSON"), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 408, description = "too slow"), (status = 409, description = "not enough left; nothing was changed"),
        (status = 413, description = "too large"), (status = 415, description = "no JSON"), (status = 422, description = "names each field"),
        (status = 503, description = "try again")))]
pub(super) async fn place_manual(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<ManualOrder, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let shape = &body.value;
    external_id(shape.external_id.as_deref())?;
    let connection = ctx.kit.registry.by_code(&shape.marketplace);
    let connection = connection.ok_or_else(|| Problem::field("/marketplace", "there is no such marketplace"))?;
    if connection.is_archived() {
        return Err(super::marketplaces::archived());
    }
    if !matches!(connection.kind, Kind::Manual | Kind::Storefront) {
        if connection.stock_feed != StockFeed::Orders {
            let words = "this marketplace tells its sales itself, and not as orders: typed in, they would count twice";
            return Err(Problem::field("/marketplace", words));
        }
        if shape.external_id.is_none() {
            let words = "must be the marketplace's own id of the order, or its own message of it would count twice";
            return Err(Problem::field("/external_id", words));
        }
    }
    for (field, value) in [("/customer_name", &shape.customer_name), ("/customer_phone", &shape.customer_phone)] {
        if let Some(Err(error)) = value.as_deref().map(|value| text(field, value, 256)) {
            return Err(Problem::invalid(vec![error]));
        }
    }
    let seal = |value: &Option<String>| value.as_deref().map(|text| ctx.sealer.seal(text)).transpose();
    let sealed = seal(&shape.customer_name).and_then(|name| Ok((name, seal(&shape.customer_phone)?)));
    let (customer_name, customer_phone) = sealed.map_err(|error| {
        tracing::error!(%error, "a customer's name could not be sealed");
        Problem::unavailable("cannot-seal", "the customer's data cannot be stored safely now")
    })?;
    let command = PlaceOrder {
        connection,
        external_id: shape.external_id.clone(),
        items: order_items(&shape.items)?,
        customer_name,
        customer_phone,
        actor: caller.actor.clone(),
        force: shape.force,
        source: "manual",
        reservation_id: None,
    };
    place(&request, &ctx, &caller, &body.bytes, command).await
}

fn reservation_id(id: Option<&str>) -> Result<Option<ReservationId>, Problem> {
    let parse = |text| Uuid::try_parse(text).map_err(|_| Problem::field("/reservation_id", "is not an id"));
    Ok(id.map(parse).transpose()?.map(ReservationId::new))
}

pub(super) fn external_id(id: Option<&str>) -> Result<(), Problem> {
    id.map_or(Ok(()), |id| text("/external_id", id, 128)).map_err(|error| Problem::invalid(vec![error]))
}

pub(super) fn order_items(shapes: &[super::shapes::OrderItemShape]) -> Result<Vec<OrderItem>, Problem> {
    Ok(items(shapes)?.into_iter().map(|(sku, quantity)| OrderItem { sku, quantity }).collect())
}

async fn place(
    request: &HttpRequest,
    ctx: &Context,
    caller: &Caller,
    body: &[u8],
    command: PlaceOrder,
) -> Result<HttpResponse, Problem> {
    let show = |placed: Placed| {
        let status = if placed.existing { StatusCode::OK } else { StatusCode::CREATED };
        (status, json!(OrderShape::new(placed.order, placed.lines)))
    };
    let target = command.external_id.clone();
    write(ctx, Write { caller, request, body, action: "order.place", target, command, show }).await
}

list_params!(OrderParams {
    /// Only with this product.
    sku: String,
    marketplace: String,
    /// Like created, cancelled, shipped.
    status: String,
    /// The marketplace's own id of the order.
    external_id: String,
});

impl Source for orders::Filter {
    type Row = (OrderView, Vec<LineView>);
    type Shape = OrderShape;
    const NAME: &'static str = "orders";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "created_at",
        "placed_at",
        "marketplace",
        "external_id",
        "source",
        "status",
        "line",
        "sku",
        "external_sku",
        "quantity",
        "cancelled",
        "shipped",
        "returned",
        "price",
        "currency",
    ];

    async fn page(&self, conn: &mut Conn<'_>, ids: Ids, limit: i64) -> Result<Vec<Self::Row>, DbError> {
        let rows = orders::page(conn, self, ids, limit).await?;
        let mut lines = orders::line_views(conn, rows.iter().map(|row| row.id)).await?;
        let with_lines = rows.into_iter().map(|row| {
            let own: Vec<LineView> = lines.extract_if(.., |line| line.order_id == row.id).collect();
            (row, own)
        });
        Ok(with_lines.collect())
    }

    fn id(row: &Self::Row) -> Uuid {
        row.0.id.uuid()
    }

    fn shape((order, lines): Self::Row) -> OrderShape {
        OrderShape::new(order, lines)
    }

    /// A line of the table for a line of the order.
    fn records(order: &OrderShape) -> Vec<Value> {
        let mut head = json!(order);
        let lines = head["lines"].take();
        let with_head = lines.as_array().into_iter().flatten().map(|line| {
            let mut record = head.clone();
            for (name, value) in line.as_object().into_iter().flatten().filter(|(name, _)| *name != "price") {
                record[name.as_str()] = value.clone();
            }
            record["price"] = line["price"]["amount"].clone();
            record["currency"] = line["price"]["currency"].clone();
            record
        });
        with_head.collect()
    }
}

#[utoipa::path(get, path = "/v1/admin/orders", tag = "orders", params(OrderParams), security(("token" = []), ("session" = [])),
    responses((status = 200, description = "newest first; all of it, line by line, with `Accept: text/csv`", body = Page<OrderShape>), Looked))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<OrderParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let window = params.0.window()?;
    let OrderParams { sku, marketplace, status, external_id, .. } = params.0;
    let which = orders::Filter {
        sku: sku.unwrap_or_default(),
        marketplace: marketplace.unwrap_or_default(),
        status: status.unwrap_or_default(),
        external_id: external_id.unwrap_or_default(),
    };
    table::answer(&request, &ctx, which, window).await
}

#[utoipa::path(get, path = "/v1/admin/orders/{id}", tag = "orders", params(("id" = String, Path)), security(("token" = [])),
    responses((status = 200, body = OrderShape), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 404, description = "no such order"), (status = 422, description = "no id"), (status = 503, description = "try again")))]
pub(super) async fn get(request: HttpRequest, id: web::Path<String>, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let id = Uuid::try_parse(&id).map_err(|_| Problem::invalid(vec![FieldError::new("id", "is not an id")]))?;
    let found = ask!(ctx, Option<(OrderView, Vec<LineView>)>, [id: OrderId = OrderId::new(id)] |conn| {
        let Some(row) = orders::get(conn, id).await? else { return Ok(None) };
        let lines = orders::line_views(conn, [id]).await?;
        Ok(Some((row, lines)))
    })?;
    let (row, lines) = found.ok_or_else(|| Problem::not_found("unknown-order", "there is no such order"))?;
    Ok(HttpResponse::Ok().json(OrderShape::new(row, lines)))
}
