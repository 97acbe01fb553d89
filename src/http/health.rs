//! Is it alive, is it ready, and what does it count.

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::problem::Problem;
use crate::ask;
use crate::context::Context;
use crate::db::{hub, listings, products, sinks, webhooks};
use crate::telemetry::HubState;

/// How long the figures wait for the workers that serve browsers.
const ROLL_CALL: std::time::Duration = std::time::Duration::from_millis(500);

/// The process answers. Nothing else is looked at.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "alive")))]
pub(super) async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "alive"}))
}

/// The database answers with our tables in it, the writer takes work, and the hub is not stopping.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200, description = "ready"), (status = 503, description = "not now; says what is missing")))]
pub(super) async fn ready(ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    if ctx.workers.stopping().is_cancelled() {
        return Err(Problem::unavailable("shutting-down", "the hub is stopping"));
    }
    let database = ask!(ctx, bool, [] | conn | hub::ping(conn).await)?;
    if !database {
        return Err(Problem::unavailable("not-migrated", "the database has no tables of ours"));
    }
    ctx.writer.run(crate::pipeline::writer::Ping).await?;
    Ok(HttpResponse::Ok().json(json!({"status": "ready", "writer_waiting": ctx.writer.waiting()})))
}

#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, description = "Prometheus text", content_type = "text/plain")))]
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
    // A worker that is busy with a flush answers after it; its last figures must do until then.
    let _ = ctx.engine.roll_call(ROLL_CALL).await;
    let text = format!("{}{}", crate::realtime::metrics_text(&ctx.engine.stats()), ctx.kit.metrics.render());
    HttpResponse::Ok().content_type("application/openmetrics-text; version=1.0.0; charset=utf-8").body(text)
}
