//! The README's first two commands, word for word: what a newcomer types first must do what the README says of it.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use crate::support::http::Http;

const WAIT: Duration = Duration::from_secs(60);

/// The commands of the README's first block, without what is said of them.
fn commands() -> Vec<String> {
    let readme = include_str!("../../../README.md");
    let block = readme.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of commands");
    block.lines().map(|line| line.split('#').next().unwrap_or("").trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_check_that_is_run_elsewhere_is_the_one_the_readme_names() {
    let run = include_str!("../../../.ci/run");
    let does: Vec<&str> = run.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let wanted = format!("exec {}", commands()[1]);
    let top = "cd \"$(dirname \"${BASH_SOURCE[0]}\")/..\"";
    assert_eq!(does, ["set -euo pipefail", top, &wanted], "from the top folder, that command and nothing more");
    assert_eq!(commands().len(), 2, "{:?}", commands());
}

struct Demo {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    all: String,
}

impl Demo {
    /// Reads on until a line holds this, and gives that line.
    async fn says(&mut self, what: &str) -> String {
        if let Some(line) = self.all.lines().find(|line| line.contains(what)) {
            return line.to_owned();
        }
        let found = timeout(WAIT, async {
            while let Some(line) = self.said.next_line().await.expect("it can be read") {
                self.all.push_str(&line);
                self.all.push('\n');
                if line.contains(what) {
                    return Some(line);
                }
            }
            None
        });
        found.await.ok().flatten().unwrap_or_else(|| panic!("it never said {what:?}:\n{}", self.all))
    }
}

/// The port that the README's command takes may be another program's for a moment.
async fn until_free(address: &str) {
    let deadline = Instant::now() + WAIT;
    while tokio::net::TcpListener::bind(address).await.is_err() {
        assert!(Instant::now() < deadline, "something else listens on {address}, which the README's command needs");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_runs_as_the_readme_says_and_ends_when_it_is_told() {
    let command = commands()[0].clone();
    // What is built is the binary of this run; the rest of the line is taken as it stands.
    let words = command.strip_prefix("cargo run --release -- ").expect("built and run in one").split(' ');
    until_free("127.0.0.1:8080").await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_stockhub"))
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let said = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut demo = Demo { child, said, all: String::new() };

    // It prints its addresses, and they answer.
    let dashboard = demo.says("  dashboard ").await;
    demo.says("Ctrl-C ends it").await;
    let http = Http::new("127.0.0.1:8080".parse().unwrap());
    for (name, path, holds) in
        [("dashboard", "/", "stockhub"), ("storefront", "/store", "<title>"), ("API", "/openapi.json", "\"openapi\"")]
    {
        let line = demo.says(&format!("  {name} ")).await;
        assert!(line.contains(&format!("http://127.0.0.1:8080{path}")), "{line}");
        let page = http.send("GET", path, &[], None).await;
        assert!(page.status == 200 && page.text().contains(holds), "{path}: {} {}", page.status, page.text());
    }
    let word =
        |after: &str| dashboard.split(after).nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or("").to_owned();
    let login = json!({"email": word("sign in as "), "password": word("the password ")});
    let signed_in = http.send("POST", "/v1/auth/login", &[], Some(login)).await;
    assert_eq!(signed_in.status, 200, "{dashboard}: {}", signed_in.text());

    // Shoppers buy, and the terminal shows it line by line; so does the storefront's number.
    let sale = demo.says(" → ").await;
    let sku = sale.split_whitespace().next().unwrap().to_owned();
    let counts: Vec<i64> = sale.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let shown: Value = http.send("GET", &format!("/v1/stock/{sku}"), &[], None).await.json();
    assert!(counts[1] != counts[0] && shown["stock"].is_i64() && sale.contains("marketplaces show: uzum "), "{sale}: {shown}");
    // Something bought by oneself arrives as well.
    let bought = http.send("POST", "/demo/buy", &[], Some(json!({"sku": "CABLE-100"}))).await;
    assert_eq!(bought.status, 201, "{}", bought.text());

    // Told to stop, it stops, and says so.
    let pid = demo.child.id().expect("it runs").to_string();
    assert!(Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().await.unwrap().success());
    demo.says("Goodbye").await;
    let ended = timeout(WAIT, demo.child.wait()).await.expect("it ends").unwrap();
    assert!(ended.success(), "{ended}:\n{}", demo.all);
    until_free("127.0.0.1:8080").await;
}
