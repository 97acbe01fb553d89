//! The API's description, held against the hub by Schemathesis: whatever is sent that the description allows or nearly allows, the
//! answer is one it tells of, and never a 5xx. Bounded in time by the script.

use std::path::Path;

use tokio::process::Command;

use super::support::hub::{ADMIN_TOKEN, Hub, Plan, STORE_KEY};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_described_is_what_is_answered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pip = ["-m", "pip", "install", "-q", "--no-warn-conflicts", "--target", "python", "schemathesis==4.32.5"];
    super::run("pip", Command::new("python3").args(pip).current_dir(&folder)).await;
    let manual = "[[marketplaces]]\ncode = \"manual\"\nadapter = \"manual\"\n".to_owned();
    let hub = Hub::with(Plan { shops: vec!["uzum"], marketplaces: manual, ..Plan::default() }).await;
    let url = format!("http://{}", hub.address);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/description.py");
    let mut command = Command::new("python3");
    let variables = [("HUB", url.as_str()), ("TOKEN", ADMIN_TOKEN), ("STORE_KEY", STORE_KEY), ("PYTHONPATH", "python")];
    command.arg(script).envs(variables).current_dir(&folder);
    let said = super::run("description.py", &mut command).await;
    println!("{said}");
    assert!(said.contains("schemathesis found nothing"), "{said}");
    hub.stop().await;
}
