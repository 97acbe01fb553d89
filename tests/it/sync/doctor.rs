//! Is this account well, and what is to be done.

use std::time::Duration;

use serde_json::{Value, json};

use super::stand::{Set, Stand};
use crate::support::hub::{Hub, Plan};

fn check<'a>(body: &'a Value, name: &str) -> &'a Value {
    body["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).expect("a check of that name")
}

async fn examined(stand: &Stand) -> Value {
    let answer = stand.hub.admin("POST", "/v1/admin/marketplaces/shelf/doctor", None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_well_account_is_well() {
    let stand = Stand::new(Set { webhooks: true, ..Set::default() }).await;
    stand.drained().await;
    let body = examined(&stand).await;
    assert_eq!(body["marketplace"], "shelf");
    for (name, status) in [
        ("account", "ok"),
        ("reachability", "ok"),
        ("credentials", "ok"),
        ("clock", "skip"),
        ("rate_budget", "ok"),
        ("webhooks", "warn"),
        ("mapping", "ok"),
        ("pushes", "ok"),
        ("last_success", "ok"),
    ] {
        assert_eq!(check(&body, name)["status"], status, "{name}: {body}");
    }
    assert!(check(&body, "webhooks")["advice"].as_str().unwrap().contains("/webhooks/shelf"));
    assert_eq!(stand.shelf.count("GET /check"), 1, "the cheapest question");
    stand.shelf.sells("O-1", "L-A-1", 1, stand.now());
    stand.webhook(&json!({"hint": "O-1"})).await;
    let heard = check(&examined(&stand).await, "webhooks").clone();
    assert!(heard["status"] == "ok" && heard["detail"].as_str().unwrap().contains("the last one came at 2026-01-09T"), "{heard}");
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sick_account_is_told_what_to_do() {
    let stand = Stand::new(Set::default()).await;
    stand.drained().await;
    stand.shelf.state().broken = Some((401, "who are you".into()));
    let body = examined(&stand).await;
    assert_eq!((&check(&body, "reachability")["status"], &check(&body, "credentials")["status"]), (&json!("ok"), &json!("fail")));
    assert!(check(&body, "credentials")["advice"].as_str().unwrap().contains("set new ones"), "{body}");
    stand.shelf.state().broken = Some((503, "closed".into()));
    let body = examined(&stand).await;
    assert_eq!(check(&body, "reachability")["status"], "warn");
    // Its orders were not read for hours.
    stand.clock.advance(Duration::from_secs(7_200));
    let body = examined(&stand).await;
    assert_eq!(check(&body, "last_success")["status"], "warn", "{body}");
    // Without a secret nothing would be believed, so they are off.
    assert_eq!(check(&body, "webhooks")["status"], "warn");
    let answer = stand.hub.admin("POST", "/v1/admin/marketplaces/nowhere/doctor", None).await;
    assert_eq!(answer.status, 404);
    stand.hub.stop().await;
}

/// One whose signature covers the address it sends to, and one whose address ends with a secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_of_webhooks_is_named_as_it_is_and_asked_for_where_it_is_signed() {
    let shut = "base_url = \"http://127.0.0.1:9\"\n[marketplaces.policy]\npush_enabled = false\n";
    let account = |code: &str, adapter: &str, rest: &str| {
        format!("[[marketplaces]]\ncode = \"{code}\"\nadapter = \"{adapter}\"\n{shut}{rest}")
    };
    let keys = "secret_key = \"env:T_TOKEN\"\nwebhook_secret = \"env:T_SECRET\"\n";
    let known = "webhook_url = \"https://hub.example/webhooks/known\"\n";
    let kaufland = |known: &str| {
        format!("[marketplaces.account]\nclient_key = \"k\"\nstorefront = \"de\"\n{known}[marketplaces.secrets]\n{keys}")
    };
    let ozon = "[marketplaces.account]\nclient_id = \"1\"\nseller_id = 7\nwarehouse_id = 9\n[marketplaces.secrets]\n\
        api_key = \"env:T_TOKEN\"\nhook_path = \"env:T_PATH\"\n";
    let marketplaces = account("unknown", "kaufland", &kaufland(""))
        + &account("known", "kaufland", &kaufland(known))
        + &account("ozon", "ozon", ozon)
        + &account("quiet", "ozon", &ozon.replace("hook_path", "# hook_path"));
    let hub = Hub::with(Plan { shops: Vec::new(), marketplaces, ..Plan::default() }).await;
    let webhooks = async |code: &str| {
        let answer = hub.admin("POST", &format!("/v1/admin/marketplaces/{code}/doctor"), None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        check(&answer.json(), "webhooks").clone()
    };
    let unknown = webhooks("unknown").await;
    assert_eq!(unknown["status"], "fail", "{unknown}");
    assert!(unknown["advice"].as_str().unwrap().contains("account.webhook_url"), "{unknown}");
    assert_eq!(webhooks("known").await["status"], "warn", "none came yet");
    let by_path = webhooks("ozon").await;
    assert!(by_path["advice"].as_str().unwrap().contains("/webhooks/ozon/{secrets.hook_path}"), "{by_path}");
    // Without it nothing that comes is believed, and switching webhooks on would not change that.
    let quiet = webhooks("quiet").await;
    assert!(quiet["status"] == "warn" && quiet["advice"].as_str().unwrap().contains("secret hook_path"), "{quiet}");
    let adapters = hub.get("/v1/admin/adapters").await;
    let adapter = adapters["items"].as_array().unwrap().iter().find(|adapter| adapter["id"] == "ozon").unwrap();
    assert_eq!(adapter["secrets_needed"], json!(["api_key"]), "{adapter}");
    let shown = hub.get("/v1/admin/marketplaces/ozon").await;
    assert!(shown["webhook_url"].as_str().unwrap().ends_with("/webhooks/ozon/…"), "{shown}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_since_the_last_look_is_seen_by_the_next_though_the_line_was_cut() {
    let stand = Stand::new(Set::default()).await;
    stand.drained().await;
    assert_eq!(check(&examined(&stand).await, "credentials")["status"], "ok");
    stand.shelf.state().broken = Some((401, "who are you".into()));
    // A server closes a line that was idle, just as it is used again.
    stand.shelf.state().cuts = 1;
    let body = examined(&stand).await;
    assert_eq!((&check(&body, "reachability")["status"], &check(&body, "credentials")["status"]), (&json!("ok"), &json!("fail")));
    // One that always hangs up is not well, and nobody can say anything of its credentials.
    stand.shelf.state().cuts = usize::MAX;
    let body = examined(&stand).await;
    assert_eq!(
        (&check(&body, "reachability")["status"], &check(&body, "credentials")["status"]),
        (&json!("warn"), &json!("skip"))
    );
    stand.hub.stop().await;
}
