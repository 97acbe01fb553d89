//! Is this account well, and what is to be done.

use std::time::Duration;

use serde_json::{Value, json};

use super::stand::{Set, Stand};

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
