mod bundles;
mod counts;
mod feeds;
mod figures;
mod locks;
mod mending;
mod places;
mod products;
mod rules;

use serde_json::Value;
use stockhub::simulator::webhooks::Signer;

use crate::support::hub::{Hub, SECRET};

/// Sends a signed webhook of the generic schema; it is in the ledger when this returns.
async fn webhook(hub: &Hub, code: &str, body: &Value) {
    let body = body.to_string().into_bytes();
    let signature = Signer::new(SECRET).sign(&body);
    let headers = [("x-webhook-signature", signature.as_str()), ("content-type", "application/json")];
    let answer = hub.http.send_bytes("POST", &format!("/webhooks/{code}"), &headers, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}
