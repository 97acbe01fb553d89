//! Every route of the API and who may call it. A route that is not in this table fails the test.

use std::collections::BTreeSet;

use serde_json::json;
use stockhub::http::CreateToken;
use stockhub::http::auth::{Role, new_token};

use super::openapi::operations;
use crate::support::http::Answer;
use crate::support::hub::{ADMIN_TOKEN, Hub, STORE_KEY};

#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Nobody,
    Token(Role),
    /// Whoever is somebody.
    Known,
    /// A person with a cookie, of any role.
    Session,
}

const PUBLIC: Needs = Needs::Nobody;
const KNOWN: Needs = Needs::Known;
const SIGNED_IN: Needs = Needs::Session;
const STORE: Needs = Needs::Token(Role::Storefront);
const VIEWER: Needs = Needs::Token(Role::Viewer);
const OPERATOR: Needs = Needs::Token(Role::Operator);
const ADMIN: Needs = Needs::Token(Role::Admin);

#[rustfmt::skip]
const TABLE: &[(&str, &str, Needs)] = &[
    ("POST",   "/webhooks/{marketplace}",                          PUBLIC),
    ("POST",   "/webhooks/marketplaces/stock-update",              PUBLIC),
    ("POST",   "/api/webhooks/marketplaces/stock-update",          PUBLIC),
    ("GET",    "/v1/stock",                                        PUBLIC),
    ("GET",    "/v1/stock/{sku}",                                  PUBLIC),
    ("GET",    "/v1/stock/ws",                                     PUBLIC),
    ("GET",    "/v1/stock/stream",                                 PUBLIC),
    ("GET",    "/v1/stock/poll",                                   PUBLIC),
    ("GET",    "/healthz",                                         PUBLIC),
    ("GET",    "/readyz",                                          PUBLIC),
    ("GET",    "/metrics",                                         PUBLIC),
    ("GET",    "/openapi.json",                                    PUBLIC),
    ("POST",   "/webhooks/{marketplace}/{path_secret}",            PUBLIC),
    ("GET",    "/webhooks/{marketplace}",                          PUBLIC),
    ("POST",   "/v1/store/orders",                                 STORE),
    ("POST",   "/v1/store/orders/{id}/cancel",                     STORE),
    ("POST",   "/v1/store/reservations",                           STORE),
    ("GET",    "/v1/store/reservations/{id}",                      STORE),
    ("DELETE", "/v1/store/reservations/{id}",                      STORE),
    ("POST",   "/v1/store/reservations/{id}/extend",               STORE),
    ("POST",   "/v1/store/reservations/{id}/consume",              STORE),
    ("GET",    "/v1/admin/products",                               VIEWER),
    ("GET",    "/v1/admin/products/{sku}",                         VIEWER),
    ("GET",    "/v1/admin/products/{sku}/explain",                 VIEWER),
    ("GET",    "/v1/admin/listings",                               VIEWER),
    ("GET",    "/v1/admin/orders",                                 VIEWER),
    ("GET",    "/v1/admin/orders/{id}",                            VIEWER),
    ("GET",    "/v1/admin/movements",                              VIEWER),
    ("GET",    "/v1/admin/webhooks",                               VIEWER),
    ("GET",    "/v1/admin/webhooks/{id}",                          VIEWER),
    ("GET",    "/v1/admin/pushes",                                 VIEWER),
    ("GET",    "/v1/admin/alerts",                                 VIEWER),
    ("GET",    "/v1/admin/oversells",                              VIEWER),
    ("GET",    "/v1/admin/marketplaces",                           VIEWER),
    ("GET",    "/v1/admin/adapters",                               VIEWER),
    ("GET",    "/v1/admin/products/{sku}/timeline",                VIEWER),
    ("GET",    "/v1/admin/sync-logs",                              VIEWER),
    ("GET",    "/v1/admin/sync-logs/{id}",                         VIEWER),
    ("GET",    "/v1/admin/reconciliations",                        VIEWER),
    ("GET",    "/v1/admin/reconciliations/{id}",                   VIEWER),
    ("POST",   "/v1/admin/sync",                                   OPERATOR),
    ("POST",   "/v1/admin/listings/{id}/refresh",                  OPERATOR),
    ("POST",   "/v1/admin/reconciliations",                        OPERATOR),
    ("POST",   "/v1/admin/reconciliations/{id}/approve",           OPERATOR),
    ("POST",   "/v1/admin/marketplaces/{code}/doctor",             OPERATOR),
    ("GET",    "/v1/admin/products/{sku}/rule",                    VIEWER),
    ("GET",    "/v1/admin/listings/{id}/rule",                     VIEWER),
    ("GET",    "/v1/admin/rules",                                  VIEWER),
    ("GET",    "/v1/admin/marketplaces/{code}/rule",               VIEWER),
    ("GET",    "/v1/admin/analytics",                              VIEWER),
    ("GET",    "/v1/admin/locations",                              VIEWER),
    ("GET",    "/v1/admin/unmapped",                               VIEWER),
    ("GET",    "/v1/admin/events",                                 VIEWER),
    ("GET",    "/v1/admin/dead-letters",                           VIEWER),
    ("GET",    "/v1/admin/tasks",                                  VIEWER),
    ("POST",   "/v1/admin/listings/{id}/pushed",                   OPERATOR),
    ("POST",   "/v1/admin/products",                               OPERATOR),
    ("PATCH",  "/v1/products/{sku}/inventory",                     OPERATOR),
    ("PATCH",  "/v1/admin/products/{sku}/inventory",               OPERATOR),
    ("POST",   "/v1/admin/products/{sku}/topup",                   OPERATOR),
    ("POST",   "/v1/admin/listings",                               OPERATOR),
    ("POST",   "/v1/admin/orders",                                 OPERATOR),
    ("PATCH",  "/v1/admin/products/{sku}",                         OPERATOR),
    ("PUT",    "/v1/admin/products/{sku}/rule",                    OPERATOR),
    ("PUT",    "/v1/admin/listings/{id}/rule",                     OPERATOR),
    ("POST",   "/v1/admin/transfers",                              OPERATOR),
    ("POST",   "/v1/admin/counts",                                 OPERATOR),
    ("POST",   "/v1/admin/orders/{id}/cancel",                     OPERATOR),
    ("POST",   "/v1/admin/orders/{id}/return",                     OPERATOR),
    ("POST",   "/v1/admin/orders/{id}/ship",                       OPERATOR),
    ("POST",   "/v1/admin/unmapped/{id}/map",                      OPERATOR),
    ("POST",   "/v1/admin/webhooks/replay",                        OPERATOR),
    ("POST",   "/v1/admin/webhooks/{id}/replay",                   OPERATOR),
    ("POST",   "/v1/admin/oversells/{id}/resolve",                 OPERATOR),
    ("POST",   "/v1/admin/alerts/{id}/ack",                        OPERATOR),
    ("POST",   "/v1/admin/dead-letters/{id}/retry",                OPERATOR),
    ("POST",   "/v1/admin/dead-letters/{id}/discard",              OPERATOR),
    ("GET",    "/v1/admin/audit",                                  ADMIN),
    ("GET",    "/v1/admin/tokens",                                 ADMIN),
    ("POST",   "/v1/admin/tokens",                                 ADMIN),
    ("DELETE", "/v1/admin/tokens/{id}",                            ADMIN),
    ("PUT",    "/v1/admin/rules",                                  ADMIN),
    ("PUT",    "/v1/admin/marketplaces/{code}/rule",               ADMIN),
    ("POST",   "/v1/admin/verify/repair",                          ADMIN),
    ("POST",   "/v1/admin/locations",                              ADMIN),
    ("GET",    "/v1/admin/webhooks/rejected",                      ADMIN),
    ("GET",    "/v1/admin/sinks",                                  ADMIN),
    ("POST",   "/v1/admin/sinks",                                  ADMIN),
    ("DELETE", "/v1/admin/sinks/{id}",                             ADMIN),
    ("POST",   "/v1/admin/sinks/{id}/test",                        ADMIN),
    ("POST",   "/v1/admin/live/ticket",                            VIEWER),
    ("GET",    "/v1/admin/live",                                   PUBLIC),
    ("PATCH",  "/v1/admin/listings/{id}",                          OPERATOR),
    ("POST",   "/v1/admin/products/import",                        OPERATOR),
    ("GET",    "/v1/admin/products/export",                        VIEWER),
    ("POST",   "/v1/admin/listings/import",                        OPERATOR),
    ("GET",    "/v1/admin/listings/export",                        VIEWER),
    ("POST",   "/v1/admin/rules/import",                           OPERATOR),
    ("POST",   "/v1/admin/counts/import",                          OPERATOR),
    ("GET",    "/v1/admin/rules/export",                           VIEWER),
    ("GET",    "/v1/admin/counts/export",                          VIEWER),
    ("GET",    "/v1/auth/setup",                                   PUBLIC),
    ("POST",   "/v1/auth/setup",                                   PUBLIC),
    ("POST",   "/v1/auth/login",                                   PUBLIC),
    ("GET",    "/v1/auth/me",                                      KNOWN),
    ("POST",   "/v1/auth/logout",                                  SIGNED_IN),
    ("POST",   "/v1/auth/password",                                SIGNED_IN),
    ("GET",    "/v1/admin/users",                                  ADMIN),
    ("POST",   "/v1/admin/users",                                  ADMIN),
    ("PATCH",  "/v1/admin/users/{id}",                             ADMIN),
    ("DELETE", "/v1/admin/users/{id}",                             ADMIN),
    ("GET",    "/v1/admin/sessions",                               ADMIN),
    ("DELETE", "/v1/admin/sessions/{id}",                          ADMIN),
    ("GET",    "/v1/admin/storefront-keys",                        ADMIN),
    ("POST",   "/v1/admin/storefront-keys",                        ADMIN),
    ("DELETE", "/v1/admin/storefront-keys/{id}",                   ADMIN),
    ("GET",    "/v1/admin/marketplaces/{code}",                    VIEWER),
    ("POST",   "/v1/admin/marketplaces",                           ADMIN),
    ("PATCH",  "/v1/admin/marketplaces/{code}",                    ADMIN),
    ("POST",   "/v1/admin/marketplaces/{code}/pause",              ADMIN),
    ("POST",   "/v1/admin/marketplaces/{code}/resume",             ADMIN),
    ("POST",   "/v1/admin/marketplaces/{code}/rotate-secret",      ADMIN),
    ("POST",   "/v1/admin/marketplaces/{code}/archive",            ADMIN),
    ("POST",   "/v1/admin/marketplaces/{code}/restore",            ADMIN),
];

#[test]
fn every_route_says_who_may_call_it() {
    let table: BTreeSet<(String, String)> = TABLE.iter().map(|(method, path, _)| ((*method).into(), (*path).into())).collect();
    assert_eq!(table.len(), TABLE.len(), "a route stands twice");
    let described = operations();
    let missing: Vec<_> = described.difference(&table).collect();
    let gone: Vec<_> = table.difference(&described).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not in the table: {missing:?}; in the table alone: {gone:?}");
}

/// Someone at the door: what to call him, his headers, and his role where he has one.
struct Caller {
    name: String,
    headers: Vec<(&'static str, String)>,
    role: Option<Role>,
}

impl Caller {
    fn new(name: &str, headers: Vec<(&'static str, String)>, role: Option<Role>) -> Self {
        Self { name: name.into(), headers, role }
    }

    fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|(name, _)| *name == header)
    }
}

const PEOPLE: [(&str, Role); 3] = [("viewer", Role::Viewer), ("operator", Role::Operator), ("admin", Role::Admin)];

/// People with a cookie, asking from a page of the hub's own.
async fn signed_in(hub: &Hub) -> Vec<Caller> {
    let mut callers = Vec::new();
    for (name, role) in PEOPLE {
        let (email, password) = (format!("{name}@example.com"), "correct horse battery");
        let body = json!({"email": email, "role": name, "password": password});
        assert_eq!(hub.admin("POST", "/v1/admin/users", Some(body)).await.status, 201);
        let body = Some(json!({"email": email, "password": password}));
        let answer = hub.http.send("POST", "/v1/auth/login", &[], body).await;
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let headers = vec![("cookie", cookie), ("sec-fetch-site", "same-origin".into())];
        callers.push(Caller::new(&format!("{name} signed in"), headers, Some(role)));
    }
    callers
}

async fn callers(hub: &Hub) -> Vec<Caller> {
    let bearer = |token: &str| vec![("authorization", format!("Bearer {token}"))];
    let key = |key: &str| vec![("x-storefront-key", key.to_owned())];
    let mut callers = vec![
        Caller::new("nobody", vec![], None),
        Caller::new("an unknown token", bearer("shk_00000000000000000000000000000000"), None),
        Caller::new("no token at all", bearer(""), None),
        Caller::new("another scheme", vec![("authorization", format!("Basic {ADMIN_TOKEN}"))], None),
        Caller::new("a wrong storefront key", key("wrong"), None),
        Caller::new(
            "a made-up cookie",
            vec![("cookie", "stockhub_session=00".into()), ("sec-fetch-site", "same-origin".into())],
            None,
        ),
        Caller::new("the settings' storefront key", key(STORE_KEY), Some(Role::Storefront)),
        Caller::new("the settings' admin", bearer(ADMIN_TOKEN), Some(Role::Admin)),
    ];
    for (name, role) in
        [("storefront", Role::Storefront), ("viewer", Role::Viewer), ("operator", Role::Operator), ("admin", Role::Admin)]
    {
        let body = json!({"name": name, "role": name, "expires_in_days": 1});
        let made = hub.admin("POST", "/v1/admin/tokens", Some(body)).await;
        callers.push(Caller::new(name, bearer(made.json()["token"].as_str().unwrap()), Some(role)));
    }
    let body = json!({"name": "revoked", "role": "admin"});
    let revoked = hub.admin("POST", "/v1/admin/tokens", Some(body)).await.json();
    let path = format!("/v1/admin/tokens/{}", revoked["id"].as_str().unwrap());
    assert_eq!(hub.admin("DELETE", &path, None).await.status, 200);
    callers.push(Caller::new("a revoked admin", bearer(revoked["token"].as_str().unwrap()), None));
    let token = new_token().unwrap();
    let lifetime = Some(std::time::Duration::ZERO);
    let expired =
        CreateToken { name: "expired".into(), role: Role::Admin, token: token.clone(), created_by: "test".into(), lifetime };
    hub.context.writer.run(expired).await.unwrap();
    callers.push(Caller::new("an expired admin", bearer(&token), None));
    callers.extend(signed_in(hub).await);
    callers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_may_what_the_table_says_and_no_more() {
    let hub = Hub::start().await;
    let callers = callers(&hub).await;
    for (method, path, needs) in TABLE {
        let address = path
            .replace("{sku}", "PHONE-001")
            .replace("{marketplace}", "uzum")
            .replace("{code}", "uzum")
            .replace("{path_secret}", "wrong")
            .replace("{id}", "00000000-0000-7000-8000-000000000000");
        for caller in &callers {
            let what = format!("{method} {path} by {}", caller.name);
            let headers: Vec<(&str, &str)> = caller.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            if *needs == SIGNED_IN && caller.has("cookie") && caller.role.is_some() {
                // Would end the session, which is tried in its own place.
                continue;
            }
            let body = (*method != "GET").then(|| json!({"nonsense": true}));
            judge(*needs, caller, &what, &hub.http.send(method, &address, &headers, body).await);
        }
    }
    // Nobody changed anything on the way.
    assert_eq!(hub.available("PHONE-001").await, 50);
    hub.stop().await;
}

fn judge(needs: Needs, caller: &Caller, what: &str, answer: &Answer) {
    let what = format!("{what}: {} {}", answer.status, answer.text());
    let problem = if answer.status >= 400 { answer.problem() } else { String::new() };
    // A storefront key is looked at where the storefront calls; elsewhere it is no token.
    let unknown = caller.role.is_none() || caller.has("x-storefront-key") && needs != STORE;
    match needs {
        Needs::Nobody => assert!(problem != "unauthorized" && answer.status != 403, "{what}"),
        _ if unknown || needs == Needs::Session => {
            assert_eq!((answer.status, problem.as_str()), (401, "unauthorized"), "{what}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{what}");
        }
        Needs::Known | Needs::Session => assert!(![401, 403].contains(&answer.status), "{what}"),
        Needs::Token(needed) => {
            let may =
                caller.role.is_some_and(|role| if needed == Role::Storefront { role != Role::Viewer } else { role >= needed });
            if may {
                assert!(![401, 403].contains(&answer.status), "{what}");
            } else {
                assert_eq!((answer.status, problem.as_str()), (403, "forbidden"), "{what}");
            }
        }
    }
}
