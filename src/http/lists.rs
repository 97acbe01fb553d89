//! The ledger and the log, to look at.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::auth::{Role, require};
use super::described::Looked;
use super::extract::Params;
use super::page::Page;
use super::problem::{FieldError, Problem};
use super::table::{self, Source, list_params};
use crate::ask;
use crate::context::Context;
use crate::db::{Conn, DbError, Ids, movements as db_movements, webhooks as db_webhooks};
use crate::domain::ids::WebhookId;
use crate::domain::time::Timestamp;

list_params!(MovementParams {
    /// Only of this product.
    sku: String,
    marketplace: String,
    /// Like marketplace_sale, sale, topup, adjusted, moved.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: String,
});

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct MovementShape {
    id: String,
    sku: String,
    location: String,
    movement_type: String,
    /// Of `available`.
    quantity_change: i64,
    quantity_before: i64,
    quantity_after: i64,
    on_hand_change: i64,
    committed_change: i64,
    reserved_change: i64,
    unsellable_change: i64,
    level_version: i64,
    marketplace: Option<String>,
    reference_type: Option<String>,
    reference_id: Option<String>,
    actor: String,
    reason: Option<String>,
    note: Option<String>,
    source_key: String,
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
}

impl From<db_movements::MovementRow> for MovementShape {
    fn from(m: db_movements::MovementRow) -> Self {
        Self {
            id: m.id.to_string(),
            sku: m.sku.to_string(),
            location: m.location,
            movement_type: m.movement_type,
            quantity_change: m.quantity_change,
            quantity_before: m.quantity_before,
            quantity_after: m.quantity_after,
            on_hand_change: m.on_hand_change,
            committed_change: m.committed_change,
            reserved_change: m.reserved_change,
            unsellable_change: m.unsellable_change,
            level_version: m.level_version,
            marketplace: m.marketplace,
            reference_type: m.reference_type,
            reference_id: m.reference_id,
            actor: m.actor,
            reason: m.reason,
            note: m.note,
            source_key: m.source_key,
            occurred_at: m.occurred_at,
            recorded_at: m.recorded_at,
        }
    }
}

impl Source for db_movements::Filter {
    type Row = db_movements::MovementRow;
    type Shape = MovementShape;
    const NAME: &'static str = "movements";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "recorded_at",
        "occurred_at",
        "sku",
        "location",
        "movement_type",
        "quantity_change",
        "quantity_before",
        "quantity_after",
        "on_hand_change",
        "committed_change",
        "reserved_change",
        "unsellable_change",
        "level_version",
        "marketplace",
        "reference_type",
        "reference_id",
        "actor",
        "reason",
        "note",
        "source_key",
    ];

    async fn page(&self, conn: &mut Conn<'_>, ids: Ids, limit: i64) -> Result<Vec<Self::Row>, DbError> {
        db_movements::page(conn, self, ids, limit).await
    }

    fn id(row: &Self::Row) -> Uuid {
        row.id.uuid()
    }

    fn shape(row: Self::Row) -> MovementShape {
        row.into()
    }
}

#[utoipa::path(get, path = "/v1/admin/movements", tag = "stock", params(MovementParams), security(("token" = []), ("session" = [])),
    responses((status = 200, description = "newest first; all of it with `Accept: text/csv`", body = Page<MovementShape>), Looked))]
pub(super) async fn movements(
    request: HttpRequest,
    params: Params<MovementParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let window = params.0.window()?;
    let MovementParams { sku, marketplace, kind, .. } = params.0;
    let which = db_movements::Filter {
        sku: sku.unwrap_or_default(),
        marketplace: marketplace.unwrap_or_default(),
        movement_type: kind.unwrap_or_default(),
    };
    table::answer(&request, &ctx, which, window).await
}

list_params!(WebhookParams {
    #[param(inline)]
    status: WebhookStatus,
    marketplace: String,
    event_type: String,
    /// Only those whose event key, type or error holds this text. One page looks through a bounded stretch of the log: see
    /// `looked_back_to`.
    q: String,
});

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum WebhookStatus {
    Pending,
    Processed,
    Ignored,
    Unmapped,
    Retry,
    Failed,
}

impl WebhookStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processed => "processed",
            Self::Ignored => "ignored",
            Self::Unmapped => "unmapped",
            Self::Retry => "retry",
            Self::Failed => "failed",
        }
    }
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct WebhookShape {
    id: String,
    marketplace: String,
    source: String,
    event_type: String,
    event_key: String,
    status: String,
    retry_count: i64,
    error_code: Option<String>,
    error_message: Option<String>,
    /// What it did: the ids of its movements.
    #[schema(value_type = Option<Object>)]
    effect: Option<Value>,
    /// How often it came again.
    duplicates: i64,
    key_id: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    occurred_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    processed_at: Option<Timestamp>,
    /// The body as it came, where it is text; only when one is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
}

impl From<db_webhooks::WebhookView> for WebhookShape {
    fn from(w: db_webhooks::WebhookView) -> Self {
        Self {
            id: w.id.to_string(),
            marketplace: w.marketplace,
            source: w.source,
            event_type: w.event_type,
            event_key: w.event_key,
            status: w.status,
            retry_count: w.retry_count,
            error_code: w.error_code,
            error_message: w.error_message,
            effect: w.effect.and_then(|text| serde_json::from_str(&text).ok()),
            duplicates: w.duplicates,
            key_id: w.key_id,
            occurred_at: w.occurred_at,
            created_at: w.created_at,
            processed_at: w.processed_at,
            payload: None,
        }
    }
}

impl Source for db_webhooks::Filter {
    type Row = db_webhooks::WebhookView;
    type Shape = WebhookShape;
    const NAME: &'static str = "webhooks";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "created_at",
        "marketplace",
        "source",
        "event_type",
        "event_key",
        "status",
        "retry_count",
        "error_code",
        "error_message",
        "duplicates",
        "key_id",
        "occurred_at",
        "processed_at",
        "effect",
    ];

    async fn page(&self, conn: &mut Conn<'_>, ids: Ids, limit: i64) -> Result<Vec<Self::Row>, DbError> {
        db_webhooks::page(conn, self, ids, limit).await
    }

    async fn reach(&self, conn: &mut Conn<'_>, ids: Ids, rows: i64) -> Result<Option<Uuid>, DbError> {
        db_webhooks::reach(conn, self, ids, rows).await
    }

    fn id(row: &Self::Row) -> Uuid {
        row.id.uuid()
    }

    fn shape(row: Self::Row) -> WebhookShape {
        row.into()
    }
}

#[utoipa::path(get, path = "/v1/admin/webhooks", tag = "webhooks", params(WebhookParams), security(("token" = []), ("session" = [])),
    responses((status = 200, description = "newest first; all of it with `Accept: text/csv`", body = Page<WebhookShape>), Looked))]
pub(super) async fn webhooks(
    request: HttpRequest,
    params: Params<WebhookParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let window = params.0.window()?;
    let WebhookParams { status, marketplace, event_type, q, .. } = params.0;
    let which = db_webhooks::Filter {
        status: status.map_or("", WebhookStatus::as_str).to_owned(),
        marketplace: marketplace.unwrap_or_default(),
        event_type: event_type.unwrap_or_default(),
        text: q.unwrap_or_default(),
    };
    table::answer(&request, &ctx, which, window).await
}

type WholeWebhook = Option<(db_webhooks::WebhookView, Vec<u8>)>;

#[utoipa::path(get, path = "/v1/admin/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)), security(("token" = [])),
    responses((status = 200, body = WebhookShape), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 404, description = "no such webhook"), (status = 422, description = "no id"), (status = 503, description = "try again")))]
pub(super) async fn webhook(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let id = Uuid::try_parse(&id).map_err(|_| Problem::invalid(vec![FieldError::new("id", "is not an id")]))?;
    let found: WholeWebhook = ask!(ctx, WholeWebhook, [id: WebhookId = WebhookId::new(id)] |conn| {
        let Some(view) = db_webhooks::get(conn, id).await? else { return Ok(None) };
        let body = db_webhooks::body(conn, id).await?.map_or(Vec::new(), |(payload, _)| payload);
        Ok(Some((view, body)))
    })?;
    let (view, body) = found.ok_or_else(|| Problem::not_found("unknown-webhook", "there is no such webhook in the log"))?;
    let mut shape = WebhookShape::from(view);
    shape.payload = Some(String::from_utf8_lossy(&body).into_owned());
    Ok(HttpResponse::Ok().json(shape))
}
