//! Other people's packages against a running hub: what they sign is believed, what we sign they believe. Versions are pinned in
//! `package.json` and `requirements.txt`. Needs Node 20, npm, Python 3 and pip, and says so plainly where they are missing.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on should say so and stop")]
#![expect(clippy::disallowed_methods, reason = "a test's hub is a task of its own")]

#[path = "../it/support/mod.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which use the rest")]
mod support;
mod description;
mod websocket;

use std::path::Path;
use std::time::Duration;

use support::hub::{Hub, Plan, SECRET, TOKEN};
use tokio::process::Command;

const WEBHOOK_URL: &str = "https://hub.example/webhooks/peers";

async fn hub() -> Hub {
    let marketplace = |code: &str| {
        format!(
            "[[marketplaces]]\ncode = \"{code}\"\nadapter = \"generic\"\n[marketplaces.account]\nscheme = \"{code}\"\n\
             webhook_url = \"{WEBHOOK_URL}\"\n[marketplaces.secrets]\nwebhook_secret = \"env:T_SECRET\"\n\
             verification_token = \"env:T_TOKEN\"\n[marketplaces.policy]\npush_enabled = false\n"
        )
    };
    let codes = ["standard", "svix", "stripe", "github", "square", "shopify", "ebay"];
    let marketplaces = codes.map(marketplace).concat();
    Hub::with(Plan { shops: vec![], marketplaces, ..Plan::default() }).await
}

async fn run(what: &str, command: &mut Command) -> String {
    let ran = tokio::time::timeout(Duration::from_secs(540), command.kill_on_drop(true).output()).await;
    let done = ran.unwrap_or_else(|_| panic!("{what} did not end in time"));
    let done =
        done.unwrap_or_else(|error| panic!("{what} cannot be run: {error}. Install Node 20 with npm, and Python 3 with pip"));
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{what} failed:\n{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_other_people_agree_with_the_hub() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    for name in ["package.json", "requirements.txt", "peers.mjs", "peers.py"] {
        std::fs::copy(here.join(name), folder.path().join(name)).expect("a copy");
    }
    let npm = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
    run("npm", Command::new("npm").args(npm).current_dir(&folder)).await;
    let pip = ["-m", "pip", "install", "-q", "--no-warn-conflicts", "--target", "python", "-r", "requirements.txt"];
    run("pip", Command::new("python3").args(pip).current_dir(&folder)).await;
    let hub = hub().await;
    let url = format!("http://{}", hub.address);
    let variables = [
        ("HUB", url.as_str()),
        ("SECRET", SECRET),
        ("TOKEN", TOKEN),
        ("STOCKHUB", env!("CARGO_BIN_EXE_stockhub")),
        ("WEBHOOK_URL", WEBHOOK_URL),
        ("PYTHONPATH", "python"),
        ("PYTHONIOENCODING", "utf-8"),
    ];
    for (program, script) in [("node", "peers.mjs"), ("python3", "peers.py")] {
        let said = run(script, Command::new(program).arg(script).envs(variables).current_dir(&folder)).await;
        println!("{said}");
        assert!(said.contains("all peers agree"), "{said}");
    }
    hub.stop().await;
}
