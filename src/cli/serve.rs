//! `stockhub serve`.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use super::output::err;
use crate::app::{App, Surroundings};
use crate::settings::{LogFormat, Settings};
use crate::telemetry;

pub(super) async fn serve(settings: Settings) -> anyhow::Result<ExitCode> {
    start_logging(&settings);
    let app = App::build(settings, Surroundings::default()).await?;
    if let Some(token) = &app.first_token {
        err(&format!(
            "\nNo token was set, so one was made. It is an admin's, and it is shown only now:\n\n    {token}\n\n\
             Use it as `Authorization: Bearer {token}`.\n"
        ));
    }
    if let Some(token) = &app.setup_token {
        err(&format!(
            "\nNobody can sign in to the dashboard yet. This link makes the first admin, once, and is shown only now:\n\n    \
             http://{}/#setup={token}\n",
            app.address
        ));
    }
    tracing::info!(address = %app.address, "stockhub is serving");
    app.run(stop_signal()).await?;
    tracing::info!("stockhub has stopped");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn start_logging(settings: &Settings) {
    let format = match settings.log.format {
        LogFormat::Json => telemetry::LogFormat::Json,
        LogFormat::Pretty => telemetry::LogFormat::Pretty,
        LogFormat::Auto if std::io::stderr().is_terminal() => telemetry::LogFormat::Pretty,
        LogFormat::Auto => telemetry::LogFormat::Json,
    };
    telemetry::start_logging(format, &settings.log.level);
}

/// The first SIGINT or SIGTERM.
pub(super) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be waited for");
            let _ = interrupt.await;
        }
    }
    tracing::info!("asked to stop");
}
