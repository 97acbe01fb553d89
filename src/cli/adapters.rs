//! `stockhub adapters`: which there are, whether a file can be used, what one asks for.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::output::{err, out};
use crate::marketplaces::Adapter;
use crate::marketplaces::catalogue::Catalogue;
use crate::marketplaces::declared::Declared;
use crate::marketplaces::declared::sample::Sample;
use crate::marketplaces::wire::Method;
use crate::settings::{Env, Settings, read_adapters};

#[derive(Subcommand)]
pub(super) enum Adapters {
    /// What there is
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// A directory of adapter files beside the built-in ones
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Read every file, make every request with sample data; exit code 1 where something is wrong
    Check {
        /// A directory of adapter files beside the built-in ones
        #[arg(value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// The file of one adapter, or the requests it makes
    Show {
        id: String,
        /// Every request, made with sample data
        #[arg(long)]
        requests: bool,
        /// A directory of adapter files beside the built-in ones
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

pub(super) fn adapters(files: &[PathBuf], command: &Adapters) -> ExitCode {
    let dir = match command {
        Adapters::List { dir, .. } | Adapters::Check { dir } | Adapters::Show { dir, .. } => dir.as_deref(),
    };
    let catalogue = match catalogue(files, dir) {
        Ok(catalogue) => catalogue,
        Err(faults) => {
            err(&faults);
            return ExitCode::FAILURE;
        }
    };
    match command {
        Adapters::List { json, .. } => list(&catalogue, *json),
        Adapters::Check { .. } => check(&catalogue),
        Adapters::Show { id, requests, .. } => show(&catalogue, id, *requests),
    }
}

/// Of a directory that is named, else of the settings that are, else what the program brings.
fn catalogue(files: &[PathBuf], dir: Option<&Path>) -> Result<Catalogue, String> {
    let lines = |faults: Vec<crate::settings::Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    match dir {
        Some(dir) => read_adapters(dir).and_then(|files| Catalogue::built_in().with_files(&files)).map_err(lines),
        None if files.is_empty() => Ok(Catalogue::built_in()),
        None => {
            Settings::load(files, &Env::of_process()).map(|(settings, _)| settings.catalogue).map_err(|faults| faults.to_string())
        }
    }
}

fn list(catalogue: &Catalogue, json: bool) -> ExitCode {
    for adapter in catalogue.all() {
        if json {
            out(&crate::http::adapter_shape(&*adapter).to_string());
            continue;
        }
        let (traits, about) = (adapter.traits(), adapter.about());
        let names = |what: &str, list: &[&str]| {
            if list.is_empty() { format!("no {what}") } else { format!("{what} {}", list.join(", ")) }
        };
        let verified = about.verified_on.map_or(String::new(), |day| format!("; verified {day}"));
        let (id, kind) = (adapter.id(), traits.kind.as_str());
        let (account, secrets) = (names("account", adapter.account()), names("secrets", adapter.secrets()));
        let refs = names("refs", adapter.refs().required);
        out(&format!("{id:<16} {kind:<11} {account}; {secrets}; {refs}{verified}"));
    }
    ExitCode::SUCCESS
}

fn check(catalogue: &Catalogue) -> ExitCode {
    let mut findings: Vec<String> = Catalogue::built_in_faults().iter().map(ToString::to_string).collect();
    let (mut adapters, mut requests) = (0, 0);
    for id in catalogue.ids() {
        let Some(adapter) = catalogue.declared(id) else { continue };
        adapters += 1;
        let samples = adapter.samples();
        if samples.is_empty() && adapter.schemes().is_empty() {
            findings.push(format!("{id}: it asks nothing, tells nothing and hears nothing"));
        }
        requests += samples.len();
        let failed = samples.iter().filter_map(|sample| sample.call.as_ref().err().map(|error| (sample, error)));
        findings.extend(failed.map(|(sample, error)| format!("{id}: {}: {}", sample.what, error.message)));
    }
    if findings.is_empty() {
        out(&format!("{adapters} adapters and {requests} requests with sample data: nothing is wrong"));
        return ExitCode::SUCCESS;
    }
    findings.iter().for_each(|finding| out(finding));
    ExitCode::FAILURE
}

fn show(catalogue: &Catalogue, id: &str, requests: bool) -> ExitCode {
    let Some(adapter) = catalogue.get(id) else {
        err(&catalogue.unknown(id));
        return ExitCode::FAILURE;
    };
    match (requests, catalogue.declared(id), catalogue.text(id)) {
        (true, Some(declared), _) => show_requests(declared),
        (false, _, Some(text)) => out(text),
        _ => out(&format!("{} is written in Rust: {}", adapter.id(), crate::http::adapter_shape(&*adapter))),
    }
    ExitCode::SUCCESS
}

fn show_requests(adapter: &Declared) {
    for Sample { what, call } in adapter.samples() {
        out(&format!("# {what}"));
        match call {
            Err(error) => out(&error.message),
            Ok(call) => {
                let method = match call.request.method {
                    Method::Get => "GET",
                    Method::Post => "POST",
                    Method::Put => "PUT",
                    Method::Patch => "PATCH",
                    Method::Delete => "DELETE",
                };
                out(&format!("{method} {}", call.request.url));
                call.request.headers.iter().for_each(|(name, value)| out(&format!("{name}: {value}")));
                if let Some(body) = &call.request.body {
                    out(&format!("\n{}", String::from_utf8_lossy(body)));
                }
            }
        }
        out("");
    }
}
