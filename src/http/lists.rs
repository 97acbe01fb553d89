//! Lists to look at: the ledger, the log, pushes, alerts, the audit log.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::auth::{Role, require};
use super::extract::Params;
use super::page::{self, Page, PageParams};
use super::problem::{FieldError, Problem};
use crate::ask;
use crate::context::Context;
use crate::db::{alerts as db_alerts, movements as db_movements, pushes as db_pushes, tokens, webhooks as db_webhooks};
use crate::domain::ids::WebhookId;
use crate::domain::time::Timestamp;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MovementParams {
    /// Only this product.
    sku: Option<String>,
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
    cursor: Option<String>,
}

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

#[utoipa::path(get, path = "/v1/admin/movements", tag = "stock", params(MovementParams), security(("token" = [])),
    responses((status = 200, description = "newest first", body = Page<MovementShape>), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn movements(
    request: HttpRequest,
    params: Params<MovementParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let limit = page::limit(params.0.limit)?;
    let before = page::cursor(params.0.cursor.as_deref())?;
    let rows = ask!(
        ctx,
        Vec<db_movements::MovementRow>,
        [sku: Option<String> = params.0.sku, before: Option<Uuid> = before, limit: i64 = limit] |conn| {
            db_movements::page(conn, sku.as_deref(), before, limit + 1).await
        }
    )?;
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |row| row.id.uuid(), MovementShape::from)))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WebhookParams {
    status: Option<WebhookStatus>,
    marketplace: Option<String>,
    /// Only those whose event key, type or error holds this text.
    q: Option<String>,
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
    cursor: Option<String>,
}

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

#[utoipa::path(get, path = "/v1/admin/webhooks", tag = "webhooks", params(WebhookParams), security(("token" = [])),
    responses((status = 200, description = "newest first", body = Page<WebhookShape>), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn webhooks(
    request: HttpRequest,
    params: Params<WebhookParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let limit = page::limit(params.0.limit)?;
    let before = page::cursor(params.0.cursor.as_deref())?;
    let status = params.0.status.map_or("", WebhookStatus::as_str);
    let rows = ask!(
        ctx,
        Vec<db_webhooks::WebhookView>,
        [status: &'static str = status, code: String = params.0.marketplace.unwrap_or_default(), text: String = params.0.q.unwrap_or_default(),
            before: Option<Uuid> = before, limit: i64 = limit] |conn| {
            db_webhooks::page(conn, status, &code, &text, before, limit + 1).await
        }
    )?;
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |row| row.id.uuid(), WebhookShape::from)))
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

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct PushShape {
    id: String,
    marketplace: String,
    marketplace_product_id: String,
    version: i64,
    quantity: i64,
    idempotency_key: String,
    trigger_type: String,
    outcome: String,
    status_code: Option<i64>,
    message: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    sent_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    finished_at: Timestamp,
}

#[utoipa::path(get, path = "/v1/admin/pushes", tag = "marketplaces", params(PageParams), security(("token" = [])),
    responses((status = 200, description = "newest first", body = Page<PushShape>), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn pushes(
    request: HttpRequest,
    params: Params<PageParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let limit = page::limit(params.0.limit)?;
    let before = page::cursor(params.0.cursor.as_deref())?;
    let rows = ask!(ctx, Vec<db_pushes::AttemptView>, [before: Option<Uuid> = before, limit: i64 = limit] |conn| {
        db_pushes::page(conn, before, limit + 1).await
    })?;
    let show = |a: db_pushes::AttemptView| PushShape {
        id: a.id.to_string(),
        marketplace: a.marketplace,
        marketplace_product_id: a.marketplace_product_id,
        version: a.version,
        quantity: a.quantity,
        idempotency_key: a.idempotency_key,
        trigger_type: a.trigger_type,
        outcome: a.outcome,
        status_code: a.status_code,
        message: a.message,
        sent_at: a.sent_at,
        finished_at: a.finished_at,
    };
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |row| row.id, show)))
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct AlertShape {
    id: String,
    kind: String,
    severity: String,
    state: String,
    sku: Option<String>,
    marketplace: Option<String>,
    message: String,
    #[schema(value_type = String, format = DateTime)]
    opened_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    acknowledged_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    resolved_at: Option<Timestamp>,
}

#[utoipa::path(get, path = "/v1/admin/alerts", tag = "alerts", params(PageParams), security(("token" = [])),
    responses((status = 200, description = "newest first", body = Page<AlertShape>), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn alerts(
    request: HttpRequest,
    params: Params<PageParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let limit = page::limit(params.0.limit)?;
    let before = page::cursor(params.0.cursor.as_deref())?;
    let rows = ask!(ctx, Vec<db_alerts::AlertView>, [before: Option<Uuid> = before, limit: i64 = limit] |conn| {
        db_alerts::page(conn, before, limit + 1).await
    })?;
    let show = |a: db_alerts::AlertView| AlertShape {
        id: a.id.to_string(),
        kind: a.kind,
        severity: a.severity,
        state: a.state,
        sku: a.sku,
        marketplace: a.marketplace,
        message: a.message,
        opened_at: a.opened_at,
        acknowledged_at: a.acknowledged_at,
        resolved_at: a.resolved_at,
    };
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |row| row.id, show)))
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct AuditShape {
    id: String,
    actor: String,
    action: String,
    target: Option<String>,
    request_id: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

#[utoipa::path(get, path = "/v1/admin/audit", tag = "audit", params(PageParams), security(("token" = [])),
    responses((status = 200, description = "newest first", body = Page<AuditShape>), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn audit(
    request: HttpRequest,
    params: Params<PageParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Admin).await?;
    let limit = page::limit(params.0.limit)?;
    let before = page::cursor(params.0.cursor.as_deref())?;
    let rows = ask!(ctx, Vec<tokens::AuditRow>, [before: Option<Uuid> = before, limit: i64 = limit] |conn| {
        tokens::audit_page(conn, before, limit + 1).await
    })?;
    let show = |a: tokens::AuditRow| AuditShape {
        id: a.id.to_string(),
        actor: a.actor,
        action: a.action,
        target: a.target,
        request_id: a.request_id,
        created_at: a.created_at,
    };
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |row| row.id, show)))
}
