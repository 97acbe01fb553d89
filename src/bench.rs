//! `stockhub bench`: figures of this machine, loopback only. Never part of a test.

mod browser;
mod fanout;
mod figures;
mod hub;
mod ingest;
mod process;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Bench {
    /// Signed webhooks, logged and applied durably: rate and answer times
    Ingest(ingest::IngestArguments),
    /// The real-time room on its own, for outside load clients
    Fanout(fanout::FanoutArguments),
}

pub async fn run(command: Bench) -> ExitCode {
    match command {
        Bench::Ingest(arguments) => ingest::run(arguments).await,
        Bench::Fanout(arguments) => fanout::run(arguments).await,
    }
}
