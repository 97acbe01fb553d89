//! What marketplaces were told, and what they answered.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use uuid::Uuid;

use super::auth::{Role, require};
use super::described::Looked;
use super::extract::Params;
use super::page::Page;
use super::problem::Problem;
use super::table::{self, Source, list_params};
use crate::context::Context;
use crate::db::push_attempts::{self, AttemptView};
use crate::db::{Conn, DbError, Ids};
use crate::domain::time::Timestamp;

list_params!(PushParams {
    sku: String,
    marketplace: String,
    /// applied, accepted, retry, permanent, unknown or auth.
    outcome: String,
});

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

impl Source for push_attempts::Filter {
    type Row = AttemptView;
    type Shape = PushShape;
    const NAME: &'static str = "pushes";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "sent_at",
        "finished_at",
        "marketplace",
        "marketplace_product_id",
        "version",
        "quantity",
        "outcome",
        "status_code",
        "message",
        "trigger_type",
        "idempotency_key",
    ];

    async fn page(&self, conn: &mut Conn<'_>, ids: Ids, limit: i64) -> Result<Vec<Self::Row>, DbError> {
        push_attempts::page(conn, self, ids, limit).await
    }

    fn id(row: &Self::Row) -> Uuid {
        row.id
    }

    fn shape(a: AttemptView) -> PushShape {
        PushShape {
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
        }
    }
}

#[utoipa::path(get, path = "/v1/admin/pushes", tag = "marketplaces", params(PushParams), security(("token" = []), ("session" = [])),
    responses((status = 200, description = "newest first; all of it with `Accept: text/csv`", body = Page<PushShape>), Looked))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<PushParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let window = params.0.window()?;
    let PushParams { sku, marketplace, outcome, .. } = params.0;
    let which = push_attempts::Filter {
        sku: sku.unwrap_or_default(),
        marketplace: marketplace.unwrap_or_default(),
        outcome: outcome.unwrap_or_default(),
    };
    table::answer(&request, &ctx, which, window).await
}
