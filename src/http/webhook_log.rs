//! What people do with the log of webhooks: see what was refused, and send logged rows through once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::auth::{Role, require};
use super::extract::{Body, Operator};
use super::page::Page;
use super::problem::{FieldError, Problem};
use super::write::{Write, write};
use crate::context::Context;
use crate::db::webhooks::Selection;
use crate::domain::ids::WebhookId;
use crate::domain::time::Timestamp;
use crate::pipeline::rejected::Rejected;
use crate::pipeline::replay::{CountReplay, ReplayError, ReplayOne, replay_all};

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct RejectedShape {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    marketplace: String,
    /// Stable, like `bad_signature`.
    reason: &'static str,
    message: String,
    client: Option<String>,
    /// Names only: a value may be somebody's secret.
    headers: Vec<String>,
    body_bytes: usize,
}

impl From<Rejected> for RejectedShape {
    fn from(r: Rejected) -> Self {
        Self {
            at: r.at,
            marketplace: r.marketplace,
            reason: r.reason.label(),
            message: r.reason.to_string(),
            client: r.client.map(|client| client.to_string()),
            headers: r.header_names,
            body_bytes: r.body_bytes,
        }
    }
}

#[utoipa::path(get, path = "/v1/admin/webhooks/rejected", tag = "webhooks", security(("token" = [])),
    responses((status = 200, description = "newest first; kept in memory only", body = Page<RejectedShape>),
        (status = 401, description = "no token"), (status = 403, description = "another role")))]
pub(super) async fn rejected(request: HttpRequest, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Admin).await?;
    let items: Vec<RejectedShape> = ctx.kit.rejected.newest().into_iter().map(RejectedShape::from).collect();
    Ok(HttpResponse::Ok().json(Page::whole(items)))
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Unknown => Self::not_found("unknown-webhook", "there is no such webhook in the log"),
            ReplayError::Waiting => Self::conflict("already-waiting", "it waits to be applied already"),
            ReplayError::Purged => Self::conflict("body-purged", "its body was purged after the retention time"),
            ReplayError::Database(error) => error.into(),
        }
    }
}

#[utoipa::path(post, path = "/v1/admin/webhooks/{id}/replay", tag = "webhooks", params(("id" = String, Path)), security(("token" = [])),
    responses((status = 202, description = "put back in line"), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 404, description = "no such webhook"), (status = 409, description = "waits already, or has no body any more"),
        (status = 422, description = "no id"), (status = 503, description = "try again")))]
pub(super) async fn replay(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let uuid = Uuid::try_parse(&id).map_err(|_| Problem::invalid(vec![FieldError::new("id", "is not an id")]))?;
    let show = |()| (StatusCode::ACCEPTED, json!({"replayed": 1}));
    let command = ReplayOne(WebhookId::new(uuid));
    let (target, caller, request) = (Some(id.into_inner()), &caller, &request);
    write(&ctx, Write { caller, request, body: b"", action: "webhook.replay", target, command, show }).await
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayShape {
    status: Replayable,
    /// Default: any.
    marketplace: Option<String>,
    /// Received from then on; default: ever.
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Received before; default: now.
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Only count.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Replayable {
    Failed,
    Unmapped,
    Ignored,
    Processed,
}

#[utoipa::path(post, path = "/v1/admin/webhooks/replay", tag = "webhooks", request_body = ReplayShape, security(("token" = [])),
    responses((status = 200, description = "a dry run: how many it would be"), (status = 202, description = "how many; they are put in line bit by bit"),
        (status = 400, description = "no JSON"), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 408, description = "too slow"), (status = 409, description = "one is under way"), (status = 413, description = "too large"),
        (status = 415, description = "no JSON"), (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn replay_many(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<ReplayShape, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let shape = &body.value;
    let marketplace = shape.marketplace.clone().unwrap_or_default();
    if !marketplace.is_empty() && ctx.kit.registry.by_code(&marketplace).is_none() {
        return Err(Problem::field("/marketplace", "there is no marketplace of this code"));
    }
    let status = match shape.status {
        Replayable::Failed => "failed",
        Replayable::Unmapped => "unmapped",
        Replayable::Ignored => "ignored",
        Replayable::Processed => "processed",
    };
    let from = shape.from.unwrap_or(Timestamp::from_micros(0));
    let to = shape.to.unwrap_or(ctx.kit.clock.now());
    if to < from {
        return Err(Problem::field("/to", "must not be before from"));
    }
    let selection = Selection { status, marketplace, from, to };
    let dry_run = shape.dry_run;
    let turn = if dry_run { None } else { Some(Turn::take(&ctx.kit.replaying)?) };
    let show: fn(i64) -> _ = if dry_run {
        |matched| (StatusCode::OK, json!({"matched": matched, "dry_run": true}))
    } else {
        |matched| (StatusCode::ACCEPTED, json!({"matched": matched, "dry_run": false}))
    };
    let (target, command) = (Some(format!("{status} {}", selection.marketplace)), CountReplay(selection.clone()));
    let (caller, request, bytes) = (&caller, &request, &body.bytes[..]);
    let answer = write(&ctx, Write { caller, request, body: bytes, action: "webhook.replay_many", target, command, show }).await;
    // The same request again under its key has been answered, and must not run again.
    let begins = answer.as_ref().is_ok_and(|answer| !answer.headers().contains_key("idempotency-replayed"));
    if let (true, Some(turn)) = (begins, turn) {
        let (writer, stop) = (ctx.writer.clone(), ctx.workers.stopping().clone());
        ctx.workers.start(async move {
            replay_all(writer, selection, stop).await;
            drop(turn);
        });
    }
    answer
}

/// The one bulk replay's turn. It ends when this is dropped, also when a client leaves and its handler with it.
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(taken: &Arc<AtomicBool>) -> Result<Self, Problem> {
        if taken.swap(true, Ordering::SeqCst) {
            return Err(Problem::conflict("replay-running", "a bulk replay is under way; one at a time"));
        }
        Ok(Self(taken.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
