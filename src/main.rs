//! The binary: arguments → `cli`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    stockhub::cli::run(std::env::args_os()).await
}
