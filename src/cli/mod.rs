//! The command line. Exit codes: 0 done, 1 something was found or failed, 2 bad usage or bad settings.

mod adapters;
mod backup;
mod demo;
mod examples;
mod explain;
mod hub;
mod output;
mod people;
mod serve;
mod simulate;
mod sync;
mod tables;
mod tools;
mod verify;
mod webhook;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::settings::{Env, Settings};
use output::{err, out};

#[derive(Parser)]
#[command(name = "stockhub", version = VERSION, about = "A real-time stock hub between marketplaces", max_term_width = 110)]
struct Arguments {
    /// A settings file; given several times, later ones win
    #[arg(long, global = true, value_name = "FILE")]
    config: Vec<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// Version, commit and date of the commit, as far as the build knew them.
const VERSION: &str = env!("STOCKHUB_VERSION");

#[derive(Subcommand)]
enum Command {
    /// Run the hub
    Serve,
    /// A hub, three simulated marketplaces, shoppers and a storefront, on this machine only
    Demo(demo::DemoArguments),
    /// Fake marketplaces that behave like the real ones, for a hub that runs beside them (this machine only)
    Simulate(simulate::SimulateArguments),
    /// Bring the database's tables to this version's shape
    Migrate {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Read the settings, report every fault at once, and print what is in force
    CheckConfig {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Hold the ledger against the stock, the orders and the log
    Verify {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Bring levels that differ from their ledger back to it, by movements (through the hub where one is running)
        #[arg(long)]
        repair: bool,
    },
    /// Why does a marketplace show this number? The allocation, step by step
    Explain(explain::ExplainArguments),
    /// Read what a marketplace shows: all of it, or some products
    Sync(sync::SyncArguments),
    /// Hold what a marketplace shows against what is believed of it, and mend the differences as its policy says
    Reconcile(sync::ReconcileArguments),
    /// Is an account well, and what is to be done
    Doctor(sync::DoctorArguments),
    /// Adapters of this program
    Adapters {
        #[command(subcommand)]
        command: adapters::Adapters,
    },
    /// API tokens
    Token {
        #[command(subcommand)]
        command: tools::Token,
    },
    /// People who may sign in to the dashboard
    User {
        #[command(subcommand)]
        command: people::User,
    },
    /// Secrets of marketplaces
    Secret {
        #[command(subcommand)]
        command: people::SecretCommand,
    },
    /// Tables of products
    Products {
        #[command(subcommand)]
        command: tables::Tables,
    },
    /// Tables of listings
    Listings {
        #[command(subcommand)]
        command: tables::Tables,
    },
    /// Tables of allocation rules: of the hub, marketplaces, products and listings
    Rules {
        #[command(subcommand)]
        command: tables::Tables,
    },
    /// Tables of counts: what lies on which shelf
    Counts {
        #[command(subcommand)]
        command: tables::Tables,
    },
    /// Read logged webhooks again
    Replay(tables::ReplayArguments),
    /// A whole copy of the database, while the hub runs
    Backup(backup::BackupArguments),
    /// What a shell needs to complete these commands
    #[command(after_help = "Examples:\n  stockhub completions bash > ~/.local/share/bash-completion/completions/stockhub\n  \
        stockhub completions zsh > \"${fpath[1]}/_stockhub\"")]
    Completions { shell: clap_complete::Shell },
    /// Sign, send and check webhooks by hand
    Webhook {
        #[command(subcommand)]
        command: webhook::Webhook,
    },
    /// Measure this machine (loopback only)
    Bench {
        #[command(subcommand)]
        command: crate::bench::Bench,
    },
}

pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let read = examples::with_examples(Arguments::command()).try_get_matches_from(arguments);
    let arguments = match read.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too; they are no errors. A closed pipe is nobody's fault.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let files = arguments.config;
    match arguments.command {
        Command::Serve => with_settings(&files, serve::serve).await,
        Command::Demo(demo) => demo::demo(demo).await,
        Command::Simulate(arguments) => Box::pin(simulate::simulate(arguments)).await,
        Command::Migrate { json } => with_settings(&files, move |settings| tools::migrate(settings, json)).await,
        Command::CheckConfig { json } => {
            with_settings(&files, move |settings| async move {
                if json {
                    out(&serde_json::json!({"usable": true, "effective": settings.effective_toml()}).to_string());
                    return Ok(ExitCode::SUCCESS);
                }
                out(settings.effective_toml());
                out("# these settings can be used");
                Ok(ExitCode::SUCCESS)
            })
            .await
        }
        Command::Verify { json, repair } => with_settings(&files, move |settings| verify::verify(settings, json, repair)).await,
        Command::Explain(arguments) => with_settings(&files, move |settings| explain::explain(settings, arguments)).await,
        Command::Sync(arguments) => with_settings(&files, move |settings| sync::sync(settings, arguments)).await,
        Command::Reconcile(arguments) => with_settings(&files, move |settings| sync::reconcile(settings, arguments)).await,
        Command::Doctor(arguments) => with_settings(&files, move |settings| sync::doctor(settings, arguments)).await,
        Command::Adapters { command } => adapters::adapters(&files, &command),
        Command::Token { command } => with_settings(&files, move |settings| tools::token(settings, command)).await,
        Command::User { command } => with_settings(&files, move |settings| people::user(settings, command)).await,
        Command::Secret { command } => with_settings(&files, move |settings| people::secret(settings, command)).await,
        Command::Products { command } => with_settings(&files, move |s| tables::tables(s, "products", command)).await,
        Command::Listings { command } => with_settings(&files, move |s| tables::tables(s, "listings", command)).await,
        Command::Rules { command } => with_settings(&files, move |s| tables::tables(s, "rules", command)).await,
        Command::Counts { command } => with_settings(&files, move |s| tables::tables(s, "counts", command)).await,
        Command::Replay(arguments) => with_settings(&files, move |settings| tables::replay(settings, arguments)).await,
        Command::Backup(arguments) => with_settings(&files, move |settings| backup::backup(settings, arguments)).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "stockhub", &mut script);
            out(&String::from_utf8_lossy(&script));
            ExitCode::SUCCESS
        }
        Command::Webhook { command } => webhook::webhook(command).await,
        Command::Bench { command } => Box::pin(crate::bench::run(command)).await,
    }
}

/// Settings first: all their faults at once, and nothing is started with bad ones.
async fn with_settings<F, R>(files: &[PathBuf], run: F) -> ExitCode
where
    F: FnOnce(Settings) -> R,
    R: Future<Output = anyhow::Result<ExitCode>>,
{
    let (settings, warnings) = match Settings::load(files, &Env::of_process()) {
        Ok(loaded) => loaded,
        Err(faults) => {
            err(&format!("The settings cannot be used:\n{faults}"));
            return ExitCode::from(2);
        }
    };
    for warning in warnings {
        err(&format!("warning: {warning}"));
    }
    // What runs holds the settings: it lies on the heap.
    finish(Box::pin(run(settings)).await)
}

fn finish(done: anyhow::Result<ExitCode>) -> ExitCode {
    done.unwrap_or_else(|error| {
        err(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
