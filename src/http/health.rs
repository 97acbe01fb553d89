//! Is it alive, is it ready, and what does it count.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::problem::Problem;
use crate::ask;
use crate::context::Context;
use crate::db::{hub, listings, products, sinks, webhooks};
use crate::telemetry::HubState;

/// How long the figures wait for the workers that serve browsers.
const ROLL_CALL: std::time::Duration = std::time::Duration::from_millis(500);

/// How long a change may take from the hub to itself. Far above a busy moment, far below a supervisor's patience.
const CANARY: std::time::Duration = std::time::Duration::from_secs(3);

/// The process answers. Nothing else is looked at.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "alive")))]
pub(super) async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "alive"}))
}

/// The database answers with our tables in it, the writer takes work, a change comes back over the hub's own socket, every worker that
/// serves browsers answers, and the hub is not stopping.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200, description = "ready"), (status = 503, description = "not now; says what is missing")))]
pub(super) async fn ready(request: HttpRequest, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    if ctx.workers.stopping().is_cancelled() {
        return Err(Problem::unavailable("shutting-down", "the hub is stopping"));
    }
    let database = ask!(ctx, bool, [] | conn | hub::ping(conn).await)?;
    if !database {
        return Err(Problem::unavailable("not-migrated", "the database has no tables of ours"));
    }
    ctx.writer.run(crate::pipeline::writer::Ping).await?;
    let flown = ctx.engine.canary(request.app_config().local_addr(), CANARY).await;
    let took = flown.map_err(|error| Problem::unavailable("browsers-not-served", error.to_string()))?;
    let canary_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    Ok(HttpResponse::Ok().json(json!({"status": "ready", "writer_waiting": ctx.writer.waiting(), "canary_ms": canary_ms})))
}

#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, description = "Prometheus text", content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(ctx: web::Data<Context>) -> HttpResponse {
    let state = ask!(
        ctx,
        (Vec<(String, i64, crate::domain::time::Timestamp)>, Vec<(String, i64)>, i64),
        [] | conn | {
            let mut to_handle = webhooks::count_to_handle(conn).await?;
            to_handle.push(("event".into(), sinks::count_dead(conn).await?));
            Ok((listings::dirty(conn).await?, to_handle, products::count_out_of_stock(conn).await?))
        }
    );
    if let Ok((dirty, to_handle, out_of_stock)) = state {
        let now = ctx.kit.clock.now();
        let dirty = dirty.into_iter().map(|(code, count, since)| (code, count, now.since(since))).collect();
        ctx.kit.metrics.set_state(&HubState { dirty, to_handle, out_of_stock, writer_waiting: ctx.writer.waiting() });
    }
    let callers = ctx.callers.all();
    let connections: Vec<_> = callers.iter().filter_map(|caller| Some((caller.connection()?, caller.left()))).collect();
    let budgets = connections.iter().flat_map(|(connection, left)| {
        left.iter().filter_map(|(name, left, _)| Some((connection.code.as_str(), *name, (*left)?)))
    });
    ctx.kit.metrics.set_budgets(budgets);
    // A worker that is busy with a flush answers after it; its last figures must do until then.
    let _ = ctx.engine.roll_call(ROLL_CALL).await;
    let text = format!("{}{}", crate::realtime::metrics_text(&ctx.engine.stats()), ctx.kit.metrics.render());
    HttpResponse::Ok().content_type("application/openmetrics-text; version=1.0.0; charset=utf-8").body(text)
}
