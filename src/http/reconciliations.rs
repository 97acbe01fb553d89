//! Reconciliations: asked for, looked at as JSON or as a table, and decided about where a person was asked.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::auth::{Role, require};
use super::csv;
use super::extract::{Body, MaybeBody, Operator, Params};
use super::problem::Problem;
use super::sync::{Runs, connection, one, only_words};
use super::table::{self, list_params};
use super::write::{Write, write};
use crate::ask;
use crate::context::Context;
use crate::db::sync::{self, ItemView, RunView};
use crate::domain::time::Timestamp;
use crate::settings::DriftPolicy;
use crate::sync::runs::{Enqueue, Kind, Request};
use crate::sync::{Approve, ApproveError, Approved};

/// Items of one answer; a run that finds more is stopped long before.
const ITEMS_MAX: i64 = 10_000;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReconcileShape {
    marketplace: String,
    /// The same without its last step: nothing is told, nothing is posted.
    #[serde(default)]
    dry_run: bool,
}

#[utoipa::path(post, path = "/v1/admin/reconciliations", tag = "sync", request_body = ReconcileShape, security(("token" = [])),
    responses((status = 202, description = "`{\"id\"}`", body = Object), (status = 400, description = "no JSON"),
        (status = 401, description = "no token"), (status = 403, description = "another role"), (status = 413, description = "too large"),
        (status = 415, description = "no JSON"), (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn start(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<ReconcileShape, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let command = Enqueue {
        connection: connection(&ctx, &body.value.marketplace)?,
        kind: Kind::Reconciliation,
        trigger: "manual",
        dry_run: body.value.dry_run,
        request: Request::default(),
        actor: caller.actor.clone(),
        slot: None,
        cooldown: Duration::ZERO,
    };
    let target = Some(body.value.marketplace.clone());
    let show = |id: Uuid| (StatusCode::ACCEPTED, json!({ "id": id }));
    let (caller, request, body) = (&caller, &request, &body.bytes[..]);
    let answer = write(&ctx, Write { caller, request, body, action: "reconciliation.start", target, command, show }).await?;
    ctx.kit.bells.look();
    Ok(answer)
}

list_params!(ReconciliationParams { marketplace: String });

#[utoipa::path(get, path = "/v1/admin/reconciliations", tag = "sync", params(ReconciliationParams), security(("token" = [])),
    responses((status = 200, description = "newest first, without their items; all of it with `Accept: text/csv`", body = Object), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<ReconciliationParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let window = params.0.window()?;
    let runs = Runs { marketplace: params.0.marketplace.unwrap_or_default(), kind: Kind::Reconciliation.as_str() };
    table::answer(&request, &ctx, runs, window).await
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ReconciliationShape {
    id: String,
    marketplace: String,
    status: String,
    dry_run: bool,
    /// checked, equal, skipped, discrepancies, absent, unmapped, acted.
    #[schema(value_type = Object)]
    counts: Value,
    /// Equal of those that could be compared; null where none could.
    accuracy: Option<f64>,
    api_calls: i64,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// When it takes its second look.
    #[schema(value_type = Option<String>, format = DateTime)]
    resume_at: Option<Timestamp>,
    error: Option<String>,
    items: Vec<ItemShape>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ItemShape {
    sku: Option<String>,
    external_id: String,
    market: String,
    /// What we want it to show.
    local: Option<i64>,
    /// What we believed it showed.
    expected: Option<i64>,
    remote: Option<i64>,
    difference: Option<i64>,
    /// Suspected.
    cause: Option<String>,
    /// first_look, hub_wins, marketplace_wins, alert, ask, settled, unsettled, skipped, stopped or left.
    decision: String,
    reason: Option<String>,
    decided_by: Option<String>,
}

impl From<ItemView> for ItemShape {
    fn from(i: ItemView) -> Self {
        Self {
            sku: i.sku,
            external_id: i.external_id,
            market: i.market,
            local: i.local,
            expected: i.expected,
            remote: i.remote,
            difference: i.difference,
            cause: i.cause,
            decision: i.decision,
            reason: i.reason,
            decided_by: i.decided_by,
        }
    }
}

fn shape(run: RunView, items: Vec<ItemView>) -> ReconciliationShape {
    let counts: Value = serde_json::from_str(&run.counts).unwrap_or(Value::Null);
    let count = |name: &str| counts[name].as_i64().unwrap_or(0);
    let compared = count("equal") + count("discrepancies");
    let accuracy = (compared > 0).then(|| (count("equal") as f64 / compared as f64 * 10_000.0).round() / 10_000.0);
    ReconciliationShape {
        id: run.id.to_string(),
        marketplace: run.marketplace,
        status: run.status,
        dry_run: run.dry_run,
        accuracy,
        counts,
        api_calls: run.api_calls,
        started_at: run.started_at,
        finished_at: run.finished_at,
        resume_at: run.resume_at,
        error: run.error_message,
        items: items.into_iter().map(ItemShape::from).collect(),
    }
}

#[utoipa::path(get, path = "/v1/admin/reconciliations/{id}", tag = "sync", params(("id" = String, Path)), security(("token" = [])),
    responses((status = 200, description = "with its items; those alone as CSV (`Accept: text/csv`)",
            content((ReconciliationShape = "application/json"), (String = "text/csv"))),
        (status = 401, description = "no token"), (status = 403, description = "another role"), (status = 404, description = "no such run"),
        (status = 503, description = "try again")))]
pub(super) async fn get(request: HttpRequest, id: web::Path<String>, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let run = reconciliation(&ctx, &id).await?;
    let id = run.id;
    let items = ask!(ctx, Vec<ItemView>, [id: Uuid = id] |conn| sync::items(conn, id, ITEMS_MAX).await)?;
    let wants_csv = request.headers().get("accept").and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("text/csv"));
    if !wants_csv {
        return Ok(HttpResponse::Ok().json(shape(run, items)));
    }
    let name = format!("attachment; filename=\"reconciliation-{}-{}.csv\"", run.marketplace, run.started_at.day());
    let mut answer = HttpResponse::Ok();
    answer.insert_header(("content-type", "text/csv; charset=utf-8")).insert_header(("content-disposition", name));
    Ok(answer.body(table(items)))
}

async fn reconciliation(ctx: &Context, id: &str) -> Result<RunView, Problem> {
    let run = one(ctx, id).await?;
    if run.kind == Kind::Reconciliation.as_str() {
        Ok(run)
    } else {
        Err(Problem::not_found("unknown-run", "there is no such reconciliation"))
    }
}

fn table(items: Vec<ItemView>) -> String {
    let head = ["sku", "external_id", "market", "local", "expected", "remote", "difference", "cause", "decision", "reason"];
    let mut out = csv::line(head);
    let number = |value: Option<i64>| value.map_or(String::new(), |value| value.to_string());
    for i in items {
        let [local, expected, remote, difference] = [i.local, i.expected, i.remote, i.difference].map(number);
        let [sku, cause, reason] = [&i.sku, &i.cause, &i.reason].map(|text| text.as_deref().unwrap_or(""));
        out += &csv::line([sku, &i.external_id, &i.market, &local, &expected, &remote, &difference, cause, &i.decision, reason]);
    }
    out
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApproveShape {
    /// Who is right; default hub_wins. `leave` changes nothing and asks no more.
    decision: Option<ApproveDecision>,
    /// Only these products; left out: all that wait.
    skus: Option<Vec<String>>,
}

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum ApproveDecision {
    HubWins,
    MarketplaceWins,
    MinWins,
    Leave,
}

impl From<ApproveError> for Problem {
    fn from(error: ApproveError) -> Self {
        match error {
            ApproveError::NothingWaits => Self::conflict("nothing-waits", error.to_string()),
            ApproveError::NotOver => Self::conflict("not-over", error.to_string()),
            ApproveError::Database(error) => error.into(),
        }
    }
}

#[utoipa::path(post, path = "/v1/admin/reconciliations/{id}/approve", tag = "sync", params(("id" = String, Path)), request_body = ApproveShape, security(("token" = [])),
    responses((status = 200, description = "what became of each", body = Object), (status = 400, description = "no JSON"),
        (status = 401, description = "no token"), (status = 403, description = "another role"), (status = 404, description = "no such run"),
        (status = 409, description = "nothing waits for a decision"), (status = 413, description = "too large"),
        (status = 415, description = "no JSON"), (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn approve(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
    body: MaybeBody<ApproveShape, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let run = reconciliation(&ctx, &id).await?;
    let skus = body.value.skus.clone().unwrap_or_default();
    only_words("/skus", &skus)?;
    let connection = ctx.kit.registry.by_code(&run.marketplace);
    let connection = connection.ok_or_else(|| Problem::conflict("not-served", "its marketplace is not declared any more"))?;
    let policy = match body.value.decision.unwrap_or(ApproveDecision::HubWins) {
        ApproveDecision::HubWins => Some(DriftPolicy::HubWins),
        ApproveDecision::MarketplaceWins => Some(DriftPolicy::MarketplaceWins),
        ApproveDecision::MinWins => Some(DriftPolicy::MinWins),
        ApproveDecision::Leave => None,
    };
    let command = Approve { connection, run: run.id, policy, skus, by: caller.actor.clone() };
    let target = Some(run.id.to_string());
    let show = |done: Vec<Approved>| (StatusCode::OK, json!({ "items": done }));
    let (caller, request, body) = (&caller, &request, &body.bytes[..]);
    write(&ctx, Write { caller, request, body, action: "reconciliation.approve", target, command, show }).await
}
