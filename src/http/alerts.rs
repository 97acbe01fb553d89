//! Alerts, and that somebody has seen one. It ends by itself when its cause does.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::auth::{Role, require};
use super::described::Looked;
use super::extract::Params;
use super::page::Page;
use super::problem::{FieldError, Problem};
use super::table::{self, Source, list_params};
use super::write::{Write, write};
use crate::context::Context;
use crate::db::{Conn, DbError, Ids, alerts};
use crate::domain::time::Timestamp;
use crate::pipeline::writer::Command;
use crate::pipeline::{CommandError, Tx};

list_params!(AlertParams {
    #[param(inline)]
    state: AlertState,
    /// Like low-stock, marketplace-degraded.
    kind: String,
    marketplace: String,
    sku: String,
});

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum AlertState {
    Open,
    Acknowledged,
    Resolved,
}

impl AlertState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
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

impl Source for alerts::Filter {
    type Row = alerts::AlertView;
    type Shape = AlertShape;
    const NAME: &'static str = "alerts";
    const COLUMNS: &'static [&'static str] =
        &["id", "opened_at", "kind", "severity", "state", "sku", "marketplace", "message", "acknowledged_at", "resolved_at"];

    async fn page(&self, conn: &mut Conn<'_>, ids: Ids, limit: i64) -> Result<Vec<Self::Row>, DbError> {
        alerts::page(conn, self, ids, limit).await
    }

    fn id(row: &Self::Row) -> Uuid {
        row.id
    }

    fn shape(a: alerts::AlertView) -> AlertShape {
        AlertShape {
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
        }
    }
}

#[utoipa::path(get, path = "/v1/admin/alerts", tag = "alerts", params(AlertParams), security(("token" = []), ("session" = [])),
    responses((status = 200, description = "newest first; all of it with `Accept: text/csv`", body = Page<AlertShape>), Looked))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<AlertParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let window = params.0.window()?;
    let AlertParams { state, kind, marketplace, sku, .. } = params.0;
    let which = alerts::Filter {
        state: state.map_or("", AlertState::as_str).to_owned(),
        kind: kind.unwrap_or_default(),
        marketplace: marketplace.unwrap_or_default(),
        sku: sku.unwrap_or_default(),
    };
    table::answer(&request, &ctx, which, window).await
}

struct Acknowledge {
    id: Uuid,
    by: String,
}

#[derive(Debug, thiserror::Error)]
enum AckError {
    #[error("no such alert")]
    Unknown,
    #[error("the alert is over")]
    Resolved,
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for AckError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

impl From<AckError> for Problem {
    fn from(error: AckError) -> Self {
        match error {
            AckError::Unknown => Self::not_found("unknown-alert", "there is no such alert"),
            AckError::Resolved => Self::conflict("alert-resolved", "the alert is over already"),
            AckError::Database(error) => error.into(),
        }
    }
}

impl Command for Acknowledge {
    type Output = ();
    type Error = AckError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), AckError> {
        match alerts::acknowledge(&mut tx.conn, self.id, &self.by, tx.now).await?.as_deref() {
            None => Err(AckError::Unknown),
            Some("resolved") => Err(AckError::Resolved),
            // Twice is once.
            Some(_) => Ok(()),
        }
    }
}

#[utoipa::path(post, path = "/v1/admin/alerts/{id}/ack", tag = "alerts", params(("id" = String, Path)), security(("token" = [])),
    responses((status = 200, description = "acknowledged"), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 404, description = "no such alert"), (status = 409, description = "it is over already"), (status = 422, description = "no id"),
        (status = 503, description = "try again")))]
pub(super) async fn acknowledge(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let uuid = Uuid::try_parse(&id).map_err(|_| Problem::invalid(vec![FieldError::new("id", "is not an id")]))?;
    let command = Acknowledge { id: uuid, by: caller.actor.clone() };
    let show = |()| (StatusCode::OK, json!({"state": "acknowledged"}));
    let (target, caller, request) = (Some(id.into_inner()), &caller, &request);
    write(&ctx, Write { caller, request, body: b"", action: "alert.ack", target, command, show }).await
}
