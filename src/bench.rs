//! `stockhub bench`: figures of this machine, loopback only. Never part of a test.

mod browser;
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
}

pub async fn run(command: Bench) -> ExitCode {
    match command {
        Bench::Ingest(arguments) => ingest::run(arguments).await,
    }
}
