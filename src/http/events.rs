//! The events that were made, with what became of them.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::auth::{Role, require};
use super::extract::Params;
use super::page::{self, Page};
use super::problem::Problem;
use crate::ask;
use crate::context::Context;
use crate::db::events;
use crate::domain::events::{EventType, VERSION};
use crate::domain::time::Timestamp;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventParams {
    /// Only this type, like `inventory-updated`.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: Option<String>,
    /// Only of this product.
    sku: Option<String>,
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
    cursor: Option<String>,
}

/// The envelope as sinks get it, and how its deliveries stand.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventShape {
    event_id: String,
    event_type: String,
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    version: &'static str,
    #[schema(value_type = Object)]
    payload: Value,
    deliveries: DeliveryCounts,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct DeliveryCounts {
    waiting: i64,
    delivered: i64,
    dead: i64,
}

impl From<events::EventView> for EventShape {
    fn from(e: events::EventView) -> Self {
        Self {
            event_id: e.id.to_string(),
            event_type: e.event_type,
            timestamp: e.created_at,
            version: VERSION,
            payload: serde_json::from_str(&e.payload).unwrap_or_default(),
            deliveries: DeliveryCounts { waiting: e.waiting, delivered: e.delivered, dead: e.dead },
        }
    }
}

#[utoipa::path(get, path = "/v1/admin/events", tag = "events", params(EventParams), security(("token" = [])),
    responses((status = 200, description = "newest first", body = Page<EventShape>), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<EventParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let limit = page::limit(params.0.limit)?;
    let before = page::cursor(params.0.cursor.as_deref())?;
    let kind = params.0.kind.as_deref().map_or(Ok(""), |kind| {
        EventType::parse(kind).map(EventType::as_str).ok_or_else(|| Problem::field("type", "is no type of event"))
    })?;
    let rows = ask!(
        ctx,
        Vec<events::EventView>,
        [kind: &'static str = kind, sku: String = params.0.sku.unwrap_or_default(), before: Option<Uuid> = before, limit: i64 = limit] |conn| {
            events::page(conn, kind, &sku, before, limit + 1).await
        }
    )?;
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |row| row.id, EventShape::from)))
}
