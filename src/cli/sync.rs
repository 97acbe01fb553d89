//! `stockhub sync`, `reconcile` and `doctor`: a hub does the work, this follows it.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::hub::{Api, Said, with_hub};
use super::output::{err, out};
use crate::settings::Settings;

#[derive(Args)]
pub(super) struct SyncArguments {
    /// The marketplace's code
    #[arg(long, value_name = "CODE")]
    marketplace: String,
    /// Only this product's listings (repeatable); left out: everything the marketplace lists
    #[arg(long, value_name = "SKU")]
    sku: Vec<String>,
    /// Do not wait for the cooldown
    #[arg(long)]
    force: bool,
    /// Say what a first reading would make, and make nothing
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct ReconcileArguments {
    /// The marketplace's code
    #[arg(long, value_name = "CODE")]
    marketplace: String,
    /// The same without its last step
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct DoctorArguments {
    /// The marketplace's code; left out: all of them
    marketplace: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn sync(settings: Settings, arguments: SyncArguments) -> anyhow::Result<ExitCode> {
    with_hub(settings, move |api| async move {
        let SyncArguments { marketplace, sku, force, dry_run, json } = arguments;
        let mut body = json!({ "marketplace": marketplace, "force": force, "dry_run": dry_run });
        if !sku.is_empty() {
            body["skus"] = json!(&sku);
        }
        let said = api.post("/v1/admin/sync", &body).await?;
        let Some(id) = started(&said) else { return refused(&api, &said, &marketplace).await };
        let run = follow(&api, &format!("/v1/admin/sync-logs/{id}"), &format!("reading {marketplace}"), json).await?;
        if json {
            out(&run.to_string());
        } else {
            tell_reading(&run);
            tell_strangers(&run, &sku, &marketplace);
        }
        Ok(if run["status"] == "failed" { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
    .await
}

pub(super) async fn reconcile(settings: Settings, arguments: ReconcileArguments) -> anyhow::Result<ExitCode> {
    with_hub(settings, move |api| async move {
        let ReconcileArguments { marketplace, dry_run, json } = arguments;
        let body = json!({ "marketplace": marketplace, "dry_run": dry_run });
        let said = api.post("/v1/admin/reconciliations", &body).await?;
        let Some(id) = started(&said) else { return refused(&api, &said, &marketplace).await };
        let path = format!("/v1/admin/reconciliations/{id}");
        let run = follow(&api, &path, &format!("reconciling {marketplace}"), json).await?;
        if json {
            out(&run.to_string());
        } else {
            tell_reconciliation(&run);
        }
        let clean = run["status"] != "failed" && run["counts"]["discrepancies"].as_i64().unwrap_or(0) == 0;
        Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
    .await
}

pub(super) async fn doctor(settings: Settings, arguments: DoctorArguments) -> anyhow::Result<ExitCode> {
    with_hub(settings, move |api| async move {
        let codes = match &arguments.marketplace {
            Some(code) => vec![code.clone()],
            None => codes(&api).await?,
        };
        let mut well = true;
        for code in codes {
            let said = api.post(&format!("/v1/admin/marketplaces/{code}/doctor"), &json!({})).await?;
            if said.status != 200 {
                return refused(&api, &said, &code).await;
            }
            well &= said.body["checks"].as_array().into_iter().flatten().all(|check| check["status"] != "fail");
            if arguments.json {
                out(&said.body.to_string());
            } else {
                tell_checks(&said.body);
            }
        }
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
    .await
}

/// Why it was not taken, in words of the command line.
async fn refused(api: &Api, said: &Said, marketplace: &str) -> anyhow::Result<ExitCode> {
    let why = said.why().replace("/marketplace:", &format!("{marketplace}:")).replace("with force", "with --force");
    err(&format!("error: {why}"));
    let codes = codes(api).await?;
    if !codes.iter().any(|code| code == marketplace) {
        err(&format!("there is no marketplace {marketplace:?}; there are: {}", codes.join(", ")));
    }
    Ok(ExitCode::from(if matches!(said.status, 404 | 422) { 2 } else { 1 }))
}

/// Products that were named and are not listed there: somebody typed them wrong.
fn tell_strangers(run: &Value, skus: &[String], marketplace: &str) {
    let shown: Vec<&str> = run["result"].as_array().into_iter().flatten().filter_map(|one| one["sku"].as_str()).collect();
    for sku in skus.iter().filter(|sku| !shown.contains(&sku.as_str())) {
        err(&format!("{sku}: {marketplace} shows no number of it"));
    }
}

/// The id of a run that was taken.
fn started(said: &Said) -> Option<String> {
    (said.status == 202).then(|| said.body["id"].as_str().map(str::to_owned)).flatten()
}

/// Every marketplace but the own store, which is no account of anybody.
async fn codes(api: &Api) -> anyhow::Result<Vec<String>> {
    let said = api.get("/v1/admin/marketplaces").await?;
    let all = said.body["items"].as_array().into_iter().flatten();
    let codes = all.filter_map(|one| one["code"].as_str()).filter(|code| *code != "store").map(str::to_owned);
    Ok(codes.collect())
}

/// How often a run is looked at, and after how many looks a line is written where there is no terminal.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS_PER_LINE: usize = 25;

/// Follows a run to its end: a bar on a terminal, plain lines elsewhere, nothing beside JSON.
async fn follow(api: &Api, path: &str, what: &str, quiet: bool) -> anyhow::Result<Value> {
    let shown = Shown::new(what, quiet);
    let mut last = String::new();
    let mut looks = 0;
    loop {
        let said = api.get(path).await?;
        if said.status != 200 {
            anyhow::bail!("{}", said.why());
        }
        let run = said.body;
        let over = matches!(run["status"].as_str(), Some("succeeded" | "partial" | "failed"));
        // What waits is said at once.
        if looks % LOOKS_PER_LINE == 0 || over || run["resume_at"].is_string() || matches!(shown, Shown::Bar(_)) {
            shown.update(&run, &mut last);
        }
        looks += 1;
        if over {
            shown.end();
            return Ok(run);
        }
        tokio::time::sleep(LOOK).await;
    }
}

enum Shown {
    Bar(ProgressBar),
    Lines(String),
    Nothing,
}

impl Shown {
    fn new(what: &str, quiet: bool) -> Self {
        if quiet {
            return Self::Nothing;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines(what.to_owned());
        }
        let bar = ProgressBar::no_length().with_message(what.to_owned());
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {prefix} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self::Bar(bar)
    }

    fn update(&self, run: &Value, last: &mut String) {
        let counts = &run["counts"];
        let count = |name: &str| counts[name].as_u64().unwrap_or(0);
        let pages = run["api_calls"].as_u64().unwrap_or(0).max(count("pages"));
        let waits = waits(run);
        match self {
            Self::Bar(bar) => {
                bar.set_length(count("listings").max(count("checked")).max(count("matched")).max(1));
                bar.set_position(count("matched"));
                bar.set_prefix(format!("{pages} calls{waits}"));
                bar.tick();
            }
            Self::Lines(what) => {
                let of = if count("listings") > 0 { format!(" of {}", count("listings")) } else { String::new() };
                let line = format!("{what}: {}{of} listings, {pages} calls{waits}", count("matched"));
                if line != *last {
                    err(&line);
                    *last = line;
                }
            }
            Self::Nothing => {}
        }
    }

    fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Why nothing happens at the moment, and until when.
fn waits(run: &Value) -> String {
    let Some(at) = run["resume_at"].as_str() else { return String::new() };
    match run["counts"]["discrepancies"].as_i64() {
        Some(differ @ 1..) => {
            format!(", {differ} differ; they are looked at again at {at}, what differs only for a moment is left alone")
        }
        _ => format!(", goes on at {at}"),
    }
}

fn tell_reading(run: &Value) {
    let count = |name: &str| run["counts"][name].as_i64().unwrap_or(0);
    let took = run["duration_ms"].as_i64().unwrap_or(0);
    let status = run["status"].as_str().unwrap_or("");
    out(&format!(
        "{status}: {} listings matched, {} absent, {} unmapped, {} without a number; {} calls, {took} ms",
        count("matched"),
        count("absent"),
        count("unmapped") + count("ambiguous"),
        count("without_number"),
        run["api_calls"]
    ));
    if count("listings_created") + count("opened") > 0 {
        let would = if run["dry_run"] == true { "would make" } else { "made" };
        out(&format!(
            "{would} {} listings, {} products, {} opening stocks",
            count("listings_created"),
            count("products_created"),
            count("opened")
        ));
    }
    for shown in run["result"].as_array().into_iter().flatten() {
        let text = |name: &str| shown[name].as_str().unwrap_or("").to_owned();
        out(&format!(
            "{:<24} shows {}, expected {}, wanted {}",
            text("sku"),
            shown["remote"],
            shown["expected"],
            shown["wanted"]
        ));
    }
    if let Some(error) = run["error"].as_str() {
        err(&format!("error: {error}"));
    }
}

fn tell_reconciliation(run: &Value) {
    let count = |name: &str| run["counts"][name].as_i64().unwrap_or(0);
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or("").to_owned();
    let number = |item: &Value, name: &str| item[name].as_i64().map_or("-".to_owned(), |n| n.to_string());
    for item in run["items"].as_array().into_iter().flatten() {
        let name = if item["sku"].is_string() { text(item, "sku") } else { text(item, "external_id") };
        out(&format!(
            "{name:<24} expected {:>6} remote {:>6} difference {:>6}  {:<24} {} {}",
            number(item, "expected"),
            number(item, "remote"),
            number(item, "difference"),
            text(item, "cause"),
            text(item, "decision"),
            text(item, "reason")
        ));
    }
    let accuracy = run["accuracy"].as_f64().map_or("unknown".to_owned(), |share| format!("{:.2} %", share * 100.0));
    out(&format!(
        "{}: {} checked, {} equal, {} skipped, {} discrepancies; accuracy {accuracy}; {} calls",
        text(run, "status"),
        count("checked"),
        count("equal"),
        count("skipped"),
        count("discrepancies"),
        run["api_calls"]
    ));
    if let Some(error) = run["error"].as_str() {
        err(&format!("error: {error}"));
    }
}

fn tell_checks(body: &Value) {
    out(body["marketplace"].as_str().unwrap_or(""));
    for check in body["checks"].as_array().into_iter().flatten() {
        let text = |name: &str| check[name].as_str().unwrap_or("").to_owned();
        out(&format!("  {:<5} {:<14} {}", text("status"), text("name"), text("detail")));
        if !text("advice").is_empty() {
            out(&format!("        → {}", text("advice")));
        }
    }
}
