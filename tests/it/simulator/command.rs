//! `stockhub simulate` beside a running hub: what it prints sets the hub up, what it creates is there, and what it says in the end is
//! true, also where it says that something is wrong.

use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::process::Command;

use crate::crash::process::free_addresses;
use crate::support::hub::{ADMIN_TOKEN, Hub, Plan};

const SHOPS: &str = "left=generic,right=generic";

/// A port whose neighbour is free as well, and stays so until the shops are there.
fn two_ports() -> u16 {
    free_addresses(&mut fastrand::Rng::new(), 2).port()
}

async fn simulate(base: u16, more: &[&str]) -> (ExitStatus, String, String) {
    let port = base.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stockhub"));
    command.args(["simulate", "--shops", SHOPS, "--products", "4", "--stock", "30", "--seed", "11", "--port-base", &port]);
    command.args(more).env("STOCKHUB_SIMULATE_TOKEN", ADMIN_TOKEN).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status, text(output.stdout), text(output.stderr))
}

/// The `[[marketplaces]]` of what was printed, and the environment they refer to.
fn told(printed: &str) -> (String, Vec<(String, String)>) {
    let from = printed.find("[[marketplaces]]").expect("marketplaces");
    let toml: String = printed[from..].lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let environment = printed.lines().filter_map(|line| line.strip_prefix("# export ")).map(|line| {
        let (name, value) = line.split_once('=').expect("NAME='value'");
        (name.to_owned(), value.trim_matches('\'').to_owned())
    });
    (toml, environment.collect())
}

async fn hub(base: u16) -> Hub {
    let (status, printed, complaints) = simulate(base, &["--print-config"]).await;
    assert!(status.success(), "{complaints}");
    let (marketplaces, environment) = told(&printed);
    assert_eq!(environment.len(), 2, "{printed}");
    Hub::with(Plan { shops: Vec::new(), products: Vec::new(), marketplaces, environment, ..Plan::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_set_up_by_what_it_prints_ends_with_every_number_right() {
    let base = two_ports();
    let hub = hub(base).await;
    let url = format!("http://{}", hub.address);
    let run =
        ["--hub", &url, "--create", "--audit", "--minutes", "0.05", "--orders-per-minute", "900", "--chaos", "mild", "--json"];
    let (status, printed, complaints) = simulate(base, &run).await;
    assert!(status.success(), "{complaints}\n{printed}");
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(report["audit"]["clean"], true, "{printed}");
    let sold: i64 = report["audit"]["products"].as_array().unwrap().iter().map(|row| row["sold"].as_i64().unwrap()).sum();
    assert!(sold > 10, "{printed}");
    assert_eq!(report["audit"]["products"].as_array().unwrap().len(), 4);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_number_ends_it_with_1() {
    let base = two_ports();
    let hub = hub(base).await;
    // Nothing is told to the hub of what the shops sell: it is given the address of another.
    let url = format!("http://{}", hub.address);
    let (status, _, complaints) =
        simulate(base, &["--hub", &url, "--create", "--minutes", "0.001", "--orders-per-minute", "1"]).await;
    assert!(status.success(), "{complaints}");
    let body = serde_json::json!({ "delta": -7, "reason": "recount" });
    let answer = hub.admin("PATCH", "/v1/admin/products/SIM-00001/inventory", Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let run = ["--hub", &url, "--audit", "--minutes", "0.001", "--orders-per-minute", "1", "--settle-seconds", "1"];
    let (status, printed, complaints) = simulate(base, &run).await;
    assert_eq!(status.code(), Some(1), "{complaints}\n{printed}");
    assert!(printed.contains("WRONG  SIM-00001: the hub has 23, should have 30"), "{printed}");
    hub.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_reason() {
    let free = ["--port-base", "0"];
    for (arguments, reason) in [
        (&["--shops", "amazonia"][..], "there is no kind of shop \"amazonia\""),
        (&["--products", "0"], "1 to 10000 products"),
        (&["--hub", "http://example.com"], "not a loopback address"),
        (&["--audit"], "need --hub URL"),
        (&["--minutes", "0"], "--minutes must be above 0"),
        (&["--print-config"], "--port-base"),
        (&["--orders-per-minute", "0"], "a rate above 0"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stockhub"));
        command.arg("simulate").args(free).args(arguments).env_remove("STOCKHUB_SIMULATE_TOKEN").kill_on_drop(true);
        let output = command.output().await.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(reason), "{arguments:?}: {said}");
    }
}
