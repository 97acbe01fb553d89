//! The room by itself, for outside load clients: the engine and sockets of production, without a database behind them. What a
//! sale would publish is handed in by `POST /publish`. Loopback only; never part of a served hub.

use std::net::TcpListener;
use std::num::NonZeroUsize;

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::engine::Engine;
use super::settings::RealtimeSettings;
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::http::problem::Problem;

/// One change. `ts` comes back in the item, so that a client can tell how long it took; what else is said is ignored.
#[derive(Deserialize)]
struct Change {
    sku: Sku,
    stock: Quantity,
    ts: Option<serde_json::Number>,
}

/// Serves until told to stop.
pub async fn serve(
    listener: TcpListener,
    generation: Uuid,
    stream: Uuid,
    settings: RealtimeSettings,
    workers: Option<NonZeroUsize>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let engine = Engine::new(generation, stream, settings.limits());
    let data = (web::Data::new(engine.clone()), web::Data::new(settings.clone()));
    let app = move || {
        App::new()
            .app_data(data.0.clone())
            .app_data(data.1.clone())
            .route("/publish", web::post().to(publish))
            .configure(super::configure)
            .wrap(from_fn(crate::http::around))
    };
    super::server::run(listener, app, engine, settings, workers, stop).await
}

/// Answered when the change is handed to the engine.
async fn publish(body: Bytes, engine: web::Data<Engine>) -> Result<HttpResponse, Problem> {
    let change: Change = serde_json::from_slice(&body).map_err(|error| Problem::field("/", error.to_string()))?;
    engine.publish_next(change.sku, change.stock.get(), change.ts.as_ref());
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}
