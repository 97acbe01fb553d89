//! The server: the App of this room and the real-time sockets, on one listener.

use std::future::Future;
use std::net::TcpListener;
use std::num::NonZeroUsize;

use actix_web::middleware::from_fn;
use actix_web::{App, web};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::realtime::{self, RealtimeSettings};

/// Serves until told to stop; then lets requests under way end and tells browsers to come back.
pub async fn serve(
    context: Context,
    listener: TcpListener,
    realtime: RealtimeSettings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let shutdown = CancellationToken::new();
    let (told, workers) = (shutdown.clone(), context.workers.clone());
    let ended = shutdown.clone();
    workers.start(async move {
        tokio::select! {
            () = stop => {}
            () = ended.cancelled() => {}
        }
        told.cancel();
    });
    let (engine, count) = (context.engine.clone(), NonZeroUsize::new(context.settings.server.workers));
    let data = (web::Data::new(context), web::Data::new(engine.clone()), web::Data::new(realtime.clone()));
    let app = move || {
        App::new()
            .app_data(data.0.clone())
            .app_data(data.1.clone())
            .app_data(data.2.clone())
            .configure(super::configure)
            .wrap(from_fn(super::around))
    };
    let served = realtime::server::run(listener, app, engine, realtime, count, shutdown.clone()).await;
    shutdown.cancel();
    served
}
