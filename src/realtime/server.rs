//! The server itself. As `actix_web::HttpServer` does it, with the one hook that it does not offer: the upgrade service, which
//! hands the stock sockets to the hub. The same App serves everything else.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::body::MessageBody;
use actix_http::{HttpService, Protocol, Request, Response, h1};
use actix_server::{Server, ServerHandle};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_factory, fn_service, map_config};
use actix_web::dev::AppConfig;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use super::settings::RealtimeSettings;
use super::upgrade::{Replayed, Upgrading};

/// A response waits here until its socket takes it. Small, so that an event stream decides late what is the latest.
const WRITE_BUFFER_BYTES: usize = 8 * 1_024;
/// Connections a worker takes on; the room's own limits are lower.
const CONNECTIONS_PER_WORKER: usize = 100_000;
/// Connections that may wait to be accepted (the kernel has a limit of its own).
const BACKLOG: i32 = 4_096;
/// How often a stopping server looks whether everybody is gone.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// Serves `app` and the real-time room on `listener` until `shutdown` is cancelled; then stops accepting, says goodbye to every
/// browser and waits for them, at most `shutdown_drain_ms`.
pub async fn run<F, I, S, B>(
    listener: TcpListener,
    app: F,
    engine: Engine,
    settings: RealtimeSettings,
    workers: Option<NonZeroUsize>,
    shutdown: CancellationToken,
) -> io::Result<()>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let addr = listener.local_addr()?;
    // The standard library listens with 128, and a full queue costs each browser of a reconnecting crowd whole seconds.
    socket2::SockRef::from(&listener).listen(BACKLOG)?;
    let drain = Duration::from_millis(settings.shutdown_drain_ms);
    let mut builder = Server::build()
        .max_concurrent_connections(CONNECTIONS_PER_WORKER)
        .shutdown_timeout(drain.as_secs().max(1))
        .disable_signals();
    if let Some(workers) = workers {
        builder = builder.workers(workers.get());
    }
    let stopping = builder.graceful_shutdown_signal();
    let for_workers = engine.clone();
    let server = builder
        .listen("stockhub", listener, move || {
            let (engine, settings, stopping) = (for_workers.clone(), settings.clone(), stopping.clone());
            // Later than the hub's own patience, so that its 4101 comes first.
            let (unsent_bytes, vanished) = (settings.unsent_bytes, settings.slow_close() * 2);
            HttpService::build()
                .local_addr(addr)
                // Idle keep-alive connections end with the server instead of holding it up.
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .tcp_nodelay(true)
                .h1_write_buffer_size(WRITE_BUFFER_BYTES)
                .on_connect_ext(move |io: &TcpStream, _| tune(io, unsent_bytes, vanished))
                .finish(service(app(), addr))
                .upgrade(Some(upgrades(app(), addr, engine, settings)))
                .tcp()
        })?
        .run();
    let stop = stop(server.handle(), engine, drain, shutdown);
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => ended,
        () = stop => server.await,
    }
}

/// Tells the kernel not to hold more than this unsent: stale numbers must wait where they can still be replaced. And to give up
/// on a peer that vanished without a word, which an event stream would otherwise keep for a quarter of an hour.
#[cfg(target_os = "linux")]
fn tune(io: &TcpStream, unsent_bytes: u32, vanished: Duration) {
    let socket = socket2::SockRef::from(io);
    let tuned = socket.set_tcp_notsent_lowat(unsent_bytes).and_then(|()| socket.set_tcp_user_timeout(Some(vanished)));
    if let Err(error) = tuned {
        tracing::debug!(%error, "cannot tune a socket");
    }
}

/// Elsewhere the kernel's own defaults must do.
#[cfg(not(target_os = "linux"))]
fn tune(_: &TcpStream, _: u32, _: Duration) {}

/// The App as an HTTP service that knows its address.
fn service<I, S, B>(
    app: I,
    addr: SocketAddr,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = S::Response,
    Error = Response<actix_http::body::BoxBody>,
    InitError = S::InitError,
    Service = impl Service<Request, Response = S::Response, Error = Response<actix_http::body::BoxBody>, Future: 'static> + 'static,
    Future: 'static,
> + 'static
where
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let app = app.into_factory().map_err(|error| Response::from(error.into()));
    // The only way in actix-web 4 to tell an App its address from outside HttpServer. Its default would claim loopback, and
    // with that let pages of any visitor's own machine in.
    map_config(app, move |()| AppConfig::__priv_test_new(false, addr.to_string(), addr))
}

/// What becomes of WebSocket requests: ours go to the hub, the others are played again to an App of this worker.
fn upgrades<I, S, B>(
    app: I,
    addr: SocketAddr,
    engine: Engine,
    settings: RealtimeSettings,
) -> impl ServiceFactory<
    (Request, Framed<TcpStream, h1::Codec>),
    Config = (),
    Response = (),
    Error = Infallible,
    InitError = (),
    Future: 'static,
>
where
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let replays = Rc::new(HttpService::<Replayed, _, _>::build().local_addr(addr).finish(service(app, addr)));
    let on_loopback = addr.ip().is_loopback();
    fn_factory(move || {
        let (replays, engine, settings) = (Rc::clone(&replays), engine.clone(), Rc::new(settings.clone()));
        async move {
            let replays = Rc::new(replays.new_service(()).await?);
            Ok::<_, ()>(fn_service(move |(request, framed): (Request, Framed<TcpStream, h1::Codec>)| {
                let (replays, engine, settings) = (Rc::clone(&replays), engine.clone(), Rc::clone(&settings));
                async move {
                    let upgrading = Upgrading::new(request, framed);
                    if upgrading.is_stock() {
                        upgrading.take_over(&engine, &settings, on_loopback).await;
                        return Ok(());
                    }
                    let peer = upgrading.request.head().peer_addr;
                    if let Ok(replayed) = upgrading.replay().await
                        && let Err(error) = replays.call((replayed, Protocol::Http1, peer)).await
                    {
                        tracing::debug!(%error, "a replayed connection ended");
                    }
                    Ok::<(), Infallible>(())
                }
            }))
        }
    })
}

async fn stop(handle: ServerHandle, engine: Engine, drain: Duration, shutdown: CancellationToken) {
    shutdown.cancelled().await;
    handle.pause().await;
    engine.closing().cancel();
    // The server does not count the sockets that the hub took over, so its own patience is not enough.
    let everybody_left = async {
        while engine.gate().total() > 0 {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    };
    let _ = tokio::time::timeout(drain, everybody_left).await;
    // Not awaited: the server future, which does the work, is awaited by the caller.
    drop(handle.stop(true));
}
