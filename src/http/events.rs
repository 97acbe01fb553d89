//! The events that were made, with what became of them.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::auth::{Role, require};
use super::described::Looked;
use super::extract::Params;
use super::page::Page;
use super::problem::Problem;
use super::table::{self, Source, list_params};
use crate::context::Context;
use crate::db::{Conn, DbError, Ids, events};
use crate::domain::events::{EventType, VERSION};
use crate::domain::time::Timestamp;

list_params!(EventParams {
    /// Only this type, like `inventory-updated`.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: String,
    /// Only of this product. One page looks through a bounded stretch of the events: see `looked_back_to`.
    sku: String,
});

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

struct Outbox {
    kind: &'static str,
    sku: String,
}

impl Source for Outbox {
    type Row = events::EventView;
    type Shape = EventShape;
    const NAME: &'static str = "events";
    const COLUMNS: &'static [&'static str] = &["eventId", "timestamp", "eventType", "version", "payload", "deliveries"];

    async fn page(&self, conn: &mut Conn<'_>, ids: Ids, limit: i64) -> Result<Vec<Self::Row>, DbError> {
        events::page(conn, self.kind, &self.sku, ids, limit).await
    }

    async fn reach(&self, conn: &mut Conn<'_>, ids: Ids, rows: i64) -> Result<Option<Uuid>, DbError> {
        // By type and by product there is no index: it would cost every sale a page of its own.
        if self.kind.is_empty() && self.sku.is_empty() { Ok(None) } else { events::reach(conn, ids, rows).await }
    }

    fn id(row: &Self::Row) -> Uuid {
        row.id
    }

    fn shape(row: events::EventView) -> EventShape {
        row.into()
    }
}

#[utoipa::path(get, path = "/v1/admin/events", tag = "events", params(EventParams), security(("token" = []), ("session" = [])),
    responses((status = 200, description = "newest first; all of it with `Accept: text/csv`", body = Page<EventShape>), Looked))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<EventParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let window = params.0.window()?;
    let kind = params.0.kind.as_deref().map_or(Ok(""), |kind| {
        EventType::parse(kind).map(EventType::as_str).ok_or_else(|| Problem::field("type", "is no type of event"))
    })?;
    table::answer(&request, &ctx, Outbox { kind, sku: params.0.sku.unwrap_or_default() }, window).await
}
