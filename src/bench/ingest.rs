//! Signed webhooks against a real hub on loopback: how many a second are durable, and how fast they are answered.

use std::process::ExitCode;

use clap::Args;

#[derive(Args)]
pub struct IngestArguments {
    /// Connections that send at once
    #[arg(long, default_value_t = 64)]
    pub senders: usize,
}

pub async fn run(_arguments: IngestArguments) -> ExitCode {
    ExitCode::SUCCESS
}
