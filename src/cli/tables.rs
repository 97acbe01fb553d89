//! `stockhub products`, `listings`, `rules` and `counts`: tables in and out, and `stockhub replay`.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::hub::{Api, Said, with_hub};
use super::output::{err, out};
use crate::settings::Settings;

#[derive(Subcommand)]
pub(super) enum Tables {
    /// Take a CSV file: all of it or nothing
    Import {
        /// A file, or - for standard input
        file: PathBuf,
        /// Say what it would do, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// The token that a refusal named: it may empty many products
        #[arg(long, value_name = "TOKEN")]
        confirm: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write all of them as CSV, as the import takes them
    Export {
        /// Where to; left out: standard output
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        /// As JSON, one object per line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
#[command(after_help = "Examples:\n  stockhub replay 0196a1b2-…\n  stockhub replay --status failed --marketplace uzum --dry-run")]
pub(super) struct ReplayArguments {
    /// One webhook of the log, by its id
    #[arg(conflicts_with_all = ["status", "marketplace", "from", "to", "dry_run"], required_unless_present = "status")]
    id: Option<String>,
    /// All of this status: failed, unmapped, ignored or processed
    #[arg(long)]
    status: Option<String>,
    /// Only of this marketplace
    #[arg(long, value_name = "CODE")]
    marketplace: Option<String>,
    /// Received at this time or later, like 2026-01-09T00:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Received before this time
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn tables(settings: Settings, kind: &'static str, command: Tables) -> anyhow::Result<ExitCode> {
    match command {
        Tables::Import { file, dry_run, confirm, json } => {
            let table = read(&file)?;
            with_hub(settings, move |api| async move { import(&api, kind, table, dry_run, confirm, json).await }).await
        }
        Tables::Export { to, json } => {
            with_hub(settings, move |api| async move {
                let said = api.get(&format!("/v1/admin/{kind}/export")).await?;
                if said.status != 200 {
                    return Ok(said.refused());
                }
                export(said.body.as_str().unwrap_or(""), to.as_deref(), json)
            })
            .await
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut table = Vec::new();
        std::io::stdin().lock().read_to_end(&mut table)?;
        return Ok(table);
    }
    std::fs::read(file).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
}

fn export(table: &str, to: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let text = if json { as_json(table)? } else { table.to_owned() };
    match to {
        Some(file) => std::fs::write(file, text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?,
        // A reader that goes away is not an error.
        None => drop(std::io::stdout().lock().write_all(text.as_bytes())),
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(table: &str) -> anyhow::Result<String> {
    let (head, rows) = crate::http::read_table(table).map_err(|line| anyhow::anyhow!("line {line} cannot be read"))?;
    let line = |cells: Vec<String>| {
        let object: serde_json::Map<String, Value> = head.iter().cloned().zip(cells.into_iter().map(Value::from)).collect();
        format!("{}\n", Value::Object(object))
    };
    Ok(rows.into_iter().map(line).collect())
}

async fn import(
    api: &Api,
    kind: &str,
    table: Vec<u8>,
    dry_run: bool,
    confirm: Option<String>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut path = format!("/v1/admin/{kind}/import?dry_run={dry_run}");
    if let Some(token) = confirm {
        path += &format!("&confirm={}", url::form_urlencoded::byte_serialize(token.as_bytes()).collect::<String>());
    }
    let said = api.post_table(&path, table).await?;
    let clean = said.status == 200 && said.body["error_count"] == 0;
    if json {
        out(&said.body.to_string());
        return Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    report(kind, &said);
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(kind: &str, said: &Said) {
    for error in said.body["errors"].as_array().into_iter().flatten() {
        let field = error["field"].as_str().unwrap_or("");
        err(&format!(
            "line {}: {field}{}{}",
            error["line"],
            if field.is_empty() { "" } else { ": " },
            error["message"].as_str().unwrap_or("")
        ));
    }
    if said.status != 200 {
        err(&format!("error: {}", said.why()));
        if let Some(token) = said.body["confirm"].as_str() {
            err(&format!("If that is meant, run it again with --confirm {token}"));
        }
        return;
    }
    let b = &said.body;
    let would = if b["dry_run"] == true { "would be " } else { "" };
    out(&format!(
        "{} {kind}: {would}{} created, {} updated, {} unchanged, {} errors",
        b["rows"], b["created"], b["updated"], b["unchanged"], b["error_count"]
    ));
    if let Some(question) = b.get("confirm_needed") {
        err(&format!("{}: it will ask to be confirmed", question["detail"].as_str().unwrap_or("it changes a lot")));
    }
}

pub(super) async fn replay(settings: Settings, arguments: ReplayArguments) -> anyhow::Result<ExitCode> {
    let ReplayArguments { id, status, marketplace, from, to, dry_run, json } = arguments;
    with_hub(settings, move |api| async move {
        let said = match id {
            Some(id) => api.post(&format!("/v1/admin/webhooks/{id}/replay"), &json!({})).await?,
            None => {
                let mut body = json!({"status": status, "dry_run": dry_run});
                for (name, value) in [("marketplace", marketplace), ("from", from), ("to", to)] {
                    if let Some(value) = value {
                        body[name] = value.into();
                    }
                }
                api.post("/v1/admin/webhooks/replay", &body).await?
            }
        };
        if said.status >= 300 {
            return Ok(said.refused());
        }
        if json {
            out(&said.body.to_string());
        } else {
            let members = said.body.as_object().into_iter().flatten().map(|(name, value)| format!("{name}: {value}"));
            out(&members.collect::<Vec<_>>().join(", "));
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}
