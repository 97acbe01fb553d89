//! The real-time room on its own, for outside load clients: prints its pid and address, and serves until stopped.

use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::realtime::{RealtimeSettings, bare};

#[derive(Args)]
pub struct FanoutArguments {
    /// Where to listen; loopback only
    #[arg(long, default_value = "127.0.0.1:8090")]
    bind: SocketAddr,
    /// Server workers; 0: one per core
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// The flush window, in milliseconds
    #[arg(long, default_value_t = 20)]
    window_ms: u64,
}

pub async fn run(arguments: FanoutArguments) -> ExitCode {
    let served = serve(arguments).await;
    served.map_or_else(
        |error| {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

async fn serve(arguments: FanoutArguments) -> anyhow::Result<()> {
    anyhow::ensure!(arguments.bind.ip().is_loopback(), "--bind must be a loopback address");
    let listener = std::net::TcpListener::bind(arguments.bind)?;
    listener.set_nonblocking(true)?;
    let (chance, now) = (Chance::from_system(), Clock::system().now());
    let settings = RealtimeSettings { window_ms: arguments.window_ms, ..RealtimeSettings::default() };
    let _ = writeln!(std::io::stdout(), "pid {} listening on {}", std::process::id(), listener.local_addr()?);
    let stop = CancellationToken::new();
    let serving =
        bare::serve(listener, chance.id(now), chance.id(now), settings, NonZeroUsize::new(arguments.workers), stop.clone());
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        _ = tokio::signal::ctrl_c() => stop.cancel(),
    }
    Ok(serving.await?)
}
