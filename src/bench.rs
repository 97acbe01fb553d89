//! `stockhub bench`: figures of this machine, loopback only. Never part of a test.

mod browser;
mod catalogue;
mod catalogue_routes;
mod fanout;
mod figures;
mod hub;
mod ingest;
mod process;
mod push;
mod verification;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Bench {
    /// Signed webhooks, logged and applied durably: rate and answer times
    Ingest(ingest::IngestArguments),
    /// Many accounts with much to tell: time, memory, tasks, and how close it comes to what their limits allow
    Push(push::PushArguments),
    /// A large catalogue with its past: every list and page over HTTP, a stock read, and the import of a table
    Catalogue(catalogue::CatalogueArguments),
    /// The real-time room on its own, for outside load clients
    Fanout(fanout::FanoutArguments),
}

pub async fn run(command: Bench) -> ExitCode {
    match command {
        Bench::Ingest(arguments) => ingest::run(arguments).await,
        Bench::Push(arguments) => push::run(arguments).await,
        Bench::Catalogue(arguments) => catalogue::run(arguments).await,
        Bench::Fanout(arguments) => fanout::run(arguments).await,
    }
}
