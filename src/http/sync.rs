//! Runs that read from marketplaces: asked for here, done by whoever owns the account, followed in the table.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::auth::{Role, require};
use super::described::Looked;
use super::extract::{Body, Operator, Params};
use super::page::Page;
use super::problem::{FieldError, Problem};
use super::table::{self, Source, list_params};
use super::write::{Write, write};
use crate::ask;
use crate::context::Context;
use crate::db::observations::{self, ListingPlace};
use crate::db::sync::{self, RunView};
use crate::db::{Conn, DbError, Ids};
use crate::domain::ids::ListingId;
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::sync::runs::{Enqueue, EnqueueError, Kind, Request};

/// Products named in one request: more is a reading of everything.
const SKUS_MAX: usize = 500;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SyncShape {
    marketplace: String,
    /// Only the listings of these products; left out: everything the marketplace lists.
    skus: Option<Vec<String>>,
    /// Does not wait for the cooldown.
    #[serde(default)]
    force: bool,
    /// Says what a first reading would make, and makes nothing.
    #[serde(default)]
    dry_run: bool,
}

impl From<EnqueueError> for Problem {
    fn from(error: EnqueueError) -> Self {
        match error {
            EnqueueError::NotReadable => Self::field("/marketplace", "cannot be asked what it shows"),
            EnqueueError::Archived => super::marketplaces::archived(),
            EnqueueError::Cooling(_, left) => {
                let detail = format!("{error}; try again in {} s, or with force", left.as_secs().max(1));
                let cooling = Self::new(StatusCode::TOO_MANY_REQUESTS, "cooling-down", "Read a moment ago", detail);
                Self { retry_after: Some(left), ..cooling }
            }
            EnqueueError::SlotTaken => Self::conflict("slot-taken", error.to_string()),
            EnqueueError::Database(error) => error.into(),
        }
    }
}

#[utoipa::path(post, path = "/v1/admin/sync", tag = "sync", request_body = SyncShape, security(("token" = [])),
    responses((status = 202, description = "`{\"id\"}`: follow it at /v1/admin/sync-logs/{id}", body = Object),
        (status = 400, description = "no JSON"), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 413, description = "too large"), (status = 415, description = "no JSON"), (status = 422, description = "names each field"),
        (status = 429, description = "it was read a moment ago"), (status = 503, description = "try again")))]
pub(super) async fn start(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<SyncShape, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let shape = &body.value;
    let connection = connection(&ctx, &shape.marketplace)?;
    let skus = shape.skus.clone().unwrap_or_default();
    if shape.skus.is_some() && !(1..=SKUS_MAX).contains(&skus.len()) {
        return Err(Problem::field("/skus", format!("must hold 1 to {SKUS_MAX} SKUs; leave it out to read everything")));
    }
    only_words("/skus", &skus)?;
    let kind = if skus.is_empty() { Kind::BulkRead } else { Kind::Refresh };
    let command = Enqueue {
        connection,
        kind,
        trigger: "manual",
        dry_run: shape.dry_run,
        request: Request { skus, listing: None, force: shape.force },
        actor: caller.actor.clone(),
        slot: None,
        cooldown: ctx.settings.sync.cooldown_manual(),
    };
    let target = Some(shape.marketplace.clone());
    let show = |id: Uuid| (StatusCode::ACCEPTED, json!({ "id": id }));
    let (caller, request, body) = (&caller, &request, &body.bytes[..]);
    let answer = write(&ctx, Write { caller, request, body, action: "sync.start", target, command, show }).await?;
    ctx.kit.bells.look();
    Ok(answer)
}

/// A marketplace of ours, by the code a request names.
pub(super) fn connection(ctx: &Context, code: &str) -> Result<Arc<Connection>, Problem> {
    ctx.kit.registry.by_code(code).ok_or_else(|| Problem::field("/marketplace", "there is no marketplace of that code"))
}

list_params!(RunParams {
    marketplace: String,
    #[param(inline)]
    kind: RunKind,
});

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum RunKind {
    BulkRead,
    Refresh,
    Reconciliation,
    Doctor,
    Poll,
    Statuses,
    Push,
}

impl RunKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::BulkRead => "bulk_read",
            Self::Refresh => "refresh",
            Self::Reconciliation => "reconciliation",
            Self::Doctor => "doctor",
            Self::Poll => "poll",
            Self::Statuses => "statuses",
            Self::Push => "push",
        }
    }
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct RunShape {
    id: String,
    marketplace: String,
    kind: String,
    /// queued, running, succeeded, partial or failed.
    status: String,
    trigger_type: String,
    dry_run: bool,
    /// How far it is, and what it found.
    #[schema(value_type = Object)]
    counts: Value,
    /// Requests it made so far.
    api_calls: i64,
    actor: String,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    duration_ms: Option<i64>,
    /// Until when it waits: for its second look, or because the marketplace asked for patience.
    #[schema(value_type = Option<String>, format = DateTime)]
    resume_at: Option<Timestamp>,
    error: Option<String>,
    /// What came out, where a run has more than counts.
    #[schema(value_type = Value)]
    result: Option<Value>,
}

impl From<RunView> for RunShape {
    fn from(r: RunView) -> Self {
        let read = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        Self {
            id: r.id.to_string(),
            marketplace: r.marketplace,
            kind: r.kind,
            status: r.status,
            trigger_type: r.trigger_type,
            dry_run: r.dry_run,
            counts: read(&r.counts),
            api_calls: r.api_calls,
            actor: r.actor,
            started_at: r.started_at,
            finished_at: r.finished_at,
            duration_ms: r.duration_ms,
            resume_at: r.resume_at,
            error: r.error_message,
            result: r.result.as_deref().map(read),
        }
    }
}

/// Runs of a marketplace and a kind; empty: any.
pub(super) struct Runs {
    pub marketplace: String,
    pub kind: &'static str,
}

impl Source for Runs {
    type Row = RunView;
    type Shape = RunShape;
    const NAME: &'static str = "sync-logs";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "marketplace",
        "kind",
        "status",
        "trigger_type",
        "dry_run",
        "counts",
        "api_calls",
        "actor",
        "started_at",
        "finished_at",
        "duration_ms",
        "error",
    ];

    async fn page(&self, conn: &mut Conn<'_>, ids: Ids, limit: i64) -> Result<Vec<RunView>, DbError> {
        sync::page(conn, &self.marketplace, self.kind, ids, limit).await
    }

    fn id(row: &RunView) -> Uuid {
        row.id
    }

    fn shape(row: RunView) -> RunShape {
        RunShape::from(row)
    }
}

#[utoipa::path(get, path = "/v1/admin/sync-logs", tag = "sync", params(RunParams), security(("token" = [])),
    responses((status = 200, description = "newest first; all of it with `Accept: text/csv`", body = Page<RunShape>), Looked))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<RunParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let window = params.0.window()?;
    let RunParams { marketplace, kind, .. } = params.0;
    let runs = Runs { marketplace: marketplace.unwrap_or_default(), kind: kind.map_or("", RunKind::as_str) };
    table::answer(&request, &ctx, runs, window).await
}

#[utoipa::path(get, path = "/v1/admin/sync-logs/{id}", tag = "sync", params(("id" = String, Path)), security(("token" = [])),
    responses((status = 200, body = RunShape), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 404, description = "no such run"), (status = 503, description = "try again")))]
pub(super) async fn get(request: HttpRequest, id: web::Path<String>, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let run = one(&ctx, &id).await?;
    Ok(HttpResponse::Ok().json(RunShape::from(run)))
}

pub(super) async fn one(ctx: &Context, id: &str) -> Result<RunView, Problem> {
    let unknown = || Problem::not_found("unknown-run", "there is no such run");
    let id = Uuid::try_parse(id).map_err(|_| unknown())?;
    ask!(ctx, Option<RunView>, [id: Uuid = id] |conn| sync::get(conn, id).await)?.ok_or_else(unknown)
}

#[utoipa::path(post, path = "/v1/admin/listings/{id}/refresh", tag = "sync", params(("id" = String, Path)), security(("token" = [])),
    responses((status = 200, description = "`listing`, what its marketplace shows (`remote`), `expected`, `wanted` and `checked_at`", body = Object),
        (status = 401, description = "no token"), (status = 403, description = "another role"), (status = 404, description = "no such listing"),
        (status = 409, description = "its marketplace did not tell"), (status = 422, description = "its marketplace cannot be asked"),
        (status = 503, description = "try again")))]
pub(super) async fn refresh(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let unknown = || Problem::not_found("unknown-listing", "there is no such listing");
    let listing = ListingId::new(Uuid::try_parse(&id).map_err(|_| unknown())?);
    let place =
        ask!(ctx, Option<ListingPlace>, [listing: ListingId = listing] |conn| observations::place_of(conn, listing).await)?;
    let connection = place.and_then(|place| ctx.kit.registry.by_id(place.marketplace_id)).ok_or_else(unknown)?;
    let request = Request { listing: Some(listing), ..Request::default() };
    let run = run_and_wait(&ctx, connection, Kind::Refresh, request, &caller.actor).await?;
    let shown = run.result.as_deref().and_then(|text| serde_json::from_str::<Vec<Value>>(text).ok());
    match shown.and_then(|mut shown| shown.pop()) {
        Some(shown) => Ok(HttpResponse::Ok().json(shown)),
        None => {
            let why = run.error_message.unwrap_or_else(|| "its marketplace does not list it, or without a number".to_owned());
            Err(Problem::conflict("not-told", why))
        }
    }
}

/// Asks for a quick run and waits until whoever owns the account has done it.
pub(super) async fn run_and_wait(
    ctx: &Context,
    connection: Arc<Connection>,
    kind: Kind,
    request: Request,
    actor: &str,
) -> Result<RunView, Problem> {
    let enqueue = Enqueue {
        connection,
        kind,
        trigger: "manual",
        dry_run: false,
        request,
        actor: actor.to_owned(),
        slot: None,
        cooldown: Duration::ZERO,
    };
    let id = ctx.writer.run(enqueue).await?;
    ctx.kit.bells.look();
    let waiting = async {
        loop {
            tokio::time::sleep(Duration::from_millis(25)).await;
            let run = ask!(ctx, Option<RunView>, [id: Uuid = id] |conn| sync::get(conn, id).await)?;
            if let Some(run) = run.filter(|run| run.finished_at.is_some()) {
                return Ok(run);
            }
        }
    };
    tokio::time::timeout(ctx.settings.sync.answer_wait(), waiting).await.unwrap_or_else(|_| {
        let detail = format!("no node took it up in time; it stays in line as run {id}");
        Err(Problem::unavailable("not-answered", detail))
    })
}

/// Fields of a body that both kinds of runs check.
pub(super) fn only_words(field: &str, skus: &[String]) -> Result<(), Problem> {
    let bad = skus.iter().enumerate().filter(|(_, sku)| crate::domain::sku::Sku::parse(sku).is_err());
    let errors: Vec<FieldError> = bad.map(|(n, _)| FieldError::new(format!("{field}/{n}"), "is no SKU")).collect();
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
}
