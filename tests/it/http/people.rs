//! People at the dashboard: the first set-up, signing in and out, cookies, who may write with one, and who is let in no more.

use serde_json::{Value, json};
use stockhub::people::sessions::OfferSetup;

use crate::support::http::Answer;
use crate::support::hub::{ADMIN_TOKEN, Hub, Plan};

const PASSWORD: &str = "correct horse battery";
/// A page of the hub itself asks.
const OWN_PAGE: (&str, &str) = ("sec-fetch-site", "same-origin");

/// Hashing kept cheap: how dear it is, is a setting.
async fn hub_with(auth: &str) -> Hub {
    let sections = format!("password_memory_kib = 8192\npassword_passes = 1\n{auth}\n");
    Hub::with(Plan { shops: vec![], sections, ..Plan::default() }).await
}

async fn user(hub: &Hub, email: &str, role: &str) -> Value {
    let body = json!({"email": email, "role": role, "password": PASSWORD});
    let made = hub.admin("POST", "/v1/admin/users", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()
}

async fn login(hub: &Hub, email: &str, password: &str) -> Answer {
    hub.http.send("POST", "/v1/auth/login", &[OWN_PAGE], Some(json!({"email": email, "password": password}))).await
}

fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {} {}", answer.status, answer.text()));
    set.split(';').next().unwrap().to_owned()
}

async fn signed_in(hub: &Hub, email: &str) -> String {
    let answer = login(hub, email, PASSWORD).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    cookie(&answer)
}

async fn look(hub: &Hub, cookie: &str, path: &str) -> u16 {
    hub.http.send("GET", path, &[("cookie", cookie)], None).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_in_gives_a_cookie_that_opens_what_the_role_may_and_signing_out_ends_it() {
    let hub = hub_with("").await;
    let made = user(&hub, " Ann@Example.com ", "operator").await;
    assert_eq!(made["email"], "ann@example.com");
    assert!(!made.to_string().contains("argon2"));
    let answer = login(&hub, "ANN@example.com", PASSWORD).await;
    assert_eq!((answer.status, &answer.json()["user"]["email"]), (200, &json!("ann@example.com")));
    let set = answer.header("set-cookie").unwrap();
    for part in ["stockhub_session=", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=604800"] {
        assert!(set.contains(part), "{part}: {set}");
    }
    assert!(!set.contains("Secure"), "on loopback there is no TLS: {set}");
    let cookie = cookie(&answer);
    let me = hub.http.send("GET", "/v1/auth/me", &[("cookie", &cookie)], None).await.json();
    assert_eq!((&me["user"]["role"], &me["user"]["id"]), (&json!("operator"), &made["id"]));
    assert_eq!(look(&hub, &cookie, "/v1/admin/products").await, 200);
    assert_eq!(look(&hub, &cookie, "/v1/admin/users").await, 403);
    assert_eq!(look(&hub, "stockhub_session=0000", "/v1/admin/products").await, 401);
    assert_eq!(look(&hub, &format!("{cookie}; stockhub_session=0000"), "/v1/admin/products").await, 401, "two are none");

    let body = json!({"delta": 1, "reason": "found"});
    let headers = [("cookie", cookie.as_str()), OWN_PAGE];
    let changed = hub.http.send("PATCH", "/v1/admin/products/PHONE-001/inventory", &headers, Some(body)).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let movement = hub.get("/v1/admin/movements?limit=1").await;
    assert_eq!(movement["items"][0]["actor"], "user:ann@example.com");

    let out = hub.http.send("POST", "/v1/auth/logout", &headers, None).await;
    assert_eq!((out.status, out.body.len()), (204, 0));
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(look(&hub, &cookie, "/v1/admin/products").await, 401);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_writes_from_own_pages_only_and_a_token_from_anywhere() {
    let hub = hub_with("").await;
    user(&hub, "ann@example.com", "admin").await;
    let cookie = signed_in(&hub, "ann@example.com").await;
    let own = format!("http://{}", hub.address);
    let sources: [(&[(&str, &str)], bool); 7] = [
        (&[("sec-fetch-site", "same-origin")], true),
        (&[("origin", &own)], true),
        (&[("sec-fetch-site", "cross-site")], false),
        (&[("sec-fetch-site", "same-site")], false),
        (&[("origin", "https://evil.example")], false),
        (&[("origin", "null")], false),
        (&[], false),
    ];
    for (source, good) in sources {
        let headers = [&[("cookie", cookie.as_str())], source].concat();
        let body = Some(json!({"delta": 1, "reason": "found"}));
        let answer = hub.http.send("PATCH", "/v1/admin/products/PHONE-001/inventory", &headers, body.clone()).await;
        if good {
            assert_eq!(answer.status, 200, "{source:?}: {}", answer.text());
        } else {
            assert_eq!((answer.status, answer.problem().as_str()), (403, "cross-site"), "{source:?}");
        }
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        let headers = [&[("authorization", bearer.as_str())], source].concat();
        let answer = hub.http.send("PATCH", "/v1/admin/products/PHONE-001/inventory", &headers, body).await;
        assert_eq!(answer.status, 200, "a token is no cookie: {source:?}");
    }
    let body = Some(json!({"email": "ann@example.com", "password": PASSWORD}));
    let answer = hub.http.send("POST", "/v1/auth/login", &[("sec-fetch-site", "cross-site")], body).await;
    assert_eq!((answer.status, answer.problem().as_str()), (403, "cross-site"));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_and_an_unknown_address_are_told_alike_and_guessing_ends() {
    let hub = hub_with("login_failures_max = 3\nlogin_failures_per_ip_max = 7").await;
    user(&hub, "ann@example.com", "viewer").await;
    user(&hub, "bob@example.com", "viewer").await;
    let (wrong, unknown) =
        (login(&hub, "ann@example.com", "wrong password").await, login(&hub, "eve@example.com", PASSWORD).await);
    for answer in [&wrong, &unknown] {
        assert_eq!((answer.status, answer.problem().as_str()), (401, "invalid-login"));
        assert!(answer.header("set-cookie").is_none());
    }
    assert_eq!(wrong.json()["detail"], unknown.json()["detail"]);
    for _ in 0..2 {
        assert_eq!(login(&hub, "ann@example.com", "wrong password").await.status, 401);
    }
    let shut = login(&hub, "ann@example.com", PASSWORD).await;
    assert_eq!((shut.status, shut.problem().as_str()), (429, "too-many-logins"), "the right one neither");
    let wait: u64 = shut.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&wait));
    // Four failed from this address so far; those that succeed do not count.
    for _ in 0..5 {
        assert_eq!(login(&hub, "bob@example.com", PASSWORD).await.status, 200);
    }
    for n in 0..3 {
        assert_eq!(login(&hub, &format!("{n}@example.com"), PASSWORD).await.status, 401);
    }
    assert_eq!(login(&hub, "bob@example.com", PASSWORD).await.status, 429, "the address is shut");
    let body = Some(json!({"email": "bob@example.com", "password": PASSWORD}));
    let elsewhere = hub.http.send("POST", "/v1/auth/login", &[("x-forwarded-for", "192.0.2.7")], body).await;
    assert_eq!(elsewhere.status, 200, "another address is not: {}", elsewhere.text());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_disabled_changed_or_removed_is_out_at_once_and_the_last_admin_stays() {
    let hub = hub_with("").await;
    let ann = user(&hub, "ann@example.com", "admin").await;
    let bob = user(&hub, "bob@example.com", "viewer").await;
    let (of_ann, of_bob) =
        (format!("/v1/admin/users/{}", ann["id"].as_str().unwrap()), format!("/v1/admin/users/{}", bob["id"].as_str().unwrap()));
    let cookie = signed_in(&hub, "bob@example.com").await;
    for (change, after) in
        [(json!({"role": "operator"}), 200), (json!({"disabled": true}), 401), (json!({"disabled": false}), 401)]
    {
        let answer = hub.admin("PATCH", &of_bob, Some(change.clone())).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(look(&hub, &cookie, "/v1/admin/products").await, after, "{change}");
    }
    let cookie = signed_in(&hub, "bob@example.com").await;
    let changed = hub.admin("PATCH", &of_bob, Some(json!({"password": "another good one"}))).await;
    assert_eq!(changed.status, 200);
    assert_eq!(look(&hub, &cookie, "/v1/admin/products").await, 401, "whoever knew the old password is out");
    assert_eq!(login(&hub, "bob@example.com", PASSWORD).await.status, 401);

    for change in [json!({"role": "viewer"}), json!({"disabled": true})] {
        let answer = hub.admin("PATCH", &of_ann, Some(change)).await;
        assert_eq!((answer.status, answer.problem().as_str()), (409, "last-admin"));
    }
    let answer = hub.admin("DELETE", &of_ann, None).await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "last-admin"));
    assert_eq!(hub.admin("PATCH", &of_bob, Some(json!({"role": "admin"}))).await.status, 200);
    assert_eq!(hub.admin("DELETE", &of_ann, None).await.status, 200);
    assert_eq!(hub.admin("DELETE", &of_ann, None).await.status, 404);
    let taken = hub
        .admin("POST", "/v1/admin/users", Some(json!({"email": "BOB@example.com", "role": "viewer", "password": PASSWORD})))
        .await;
    assert_eq!((taken.status, taken.fields()), (409, vec!["/email".to_owned()]));
    let audit = hub.get("/v1/admin/audit?limit=3").await;
    assert!(!audit.to_string().contains(PASSWORD) && !audit.to_string().contains("argon2"));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_changed_by_who_knows_it_and_only_this_browser_stays() {
    let hub = hub_with("").await;
    user(&hub, "ann@example.com", "viewer").await;
    let (here, there) = (signed_in(&hub, "ann@example.com").await, signed_in(&hub, "ann@example.com").await);
    let change = async |current: &str, new: &str| {
        let body = json!({"current": current, "new": new});
        hub.http.send("POST", "/v1/auth/password", &[("cookie", &here), OWN_PAGE], Some(body)).await
    };
    assert_eq!(change("wrong password", "a better password").await.fields(), ["/current"]);
    assert_eq!(change(PASSWORD, "short").await.fields(), ["/new"]);
    assert_eq!(change(PASSWORD, "a better password").await.status, 200);
    assert_eq!((look(&hub, &here, "/v1/auth/me").await, look(&hub, &there, "/v1/auth/me").await), (200, 401));
    assert_eq!(login(&hub, "ann@example.com", "a better password").await.status, 200);

    let sessions = hub.get("/v1/admin/sessions").await;
    assert_eq!(sessions["items"].as_array().unwrap().len(), 2);
    let last = sessions["items"][1]["id"].as_str().unwrap().to_owned();
    assert_eq!(hub.admin("DELETE", &format!("/v1/admin/sessions/{last}"), None).await.status, 200);
    assert_eq!(look(&hub, &here, "/v1/auth/me").await, 401);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_person_is_made_once_by_the_token_of_the_first_start_or_an_admins() {
    let hub = hub_with("").await;
    assert_eq!(hub.get("/v1/auth/setup").await, json!({"needed": true}));
    let set_up = async |token: &str| {
        let body = json!({"token": token, "email": "ann@example.com", "password": PASSWORD});
        hub.http.send("POST", "/v1/auth/setup", &[OWN_PAGE], Some(body)).await
    };
    let wrong = set_up("setup_0000").await;
    assert_eq!((wrong.status, wrong.problem().as_str()), (401, "invalid-setup-token"));
    let offered = stockhub::http::auth::hash("setup_right");
    assert!(hub.context.writer.run(OfferSetup(offered)).await.unwrap());
    assert!(!hub.context.writer.run(OfferSetup([0; 32])).await.unwrap(), "a second start offers no second one");
    let made = set_up("setup_right").await;
    assert_eq!((made.status, &made.json()["user"]["role"]), (201, &json!("admin")));
    assert_eq!(look(&hub, &cookie(&made), "/v1/admin/users").await, 200);
    assert_eq!(hub.get("/v1/auth/setup").await, json!({"needed": false}));
    assert_eq!(set_up("setup_right").await.problem(), "already-set-up");
    assert!(!hub.context.writer.run(OfferSetup(offered)).await.unwrap());
    hub.stop().await;

    let hub = hub_with("").await;
    let body = json!({"token": ADMIN_TOKEN, "email": "ann@example.com", "password": PASSWORD});
    assert_eq!(hub.http.send("POST", "/v1/auth/setup", &[], Some(body)).await.status, 201);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_run_out_and_so_do_those_that_nobody_uses() {
    let clock = stockhub::clock::Clock::manual(stockhub::clock::Clock::system().now());
    let sections =
        "password_memory_kib = 8192\npassword_passes = 1\nsession_idle_s = 1000\nsession_lifetime_s = 1500\n".to_owned();
    let hub = Hub::with(Plan { shops: vec![], sections, clock: clock.clone(), ..Plan::default() }).await;
    user(&hub, "ann@example.com", "viewer").await;
    let (busy, idle) = (signed_in(&hub, "ann@example.com").await, signed_in(&hub, "ann@example.com").await);
    let later = |s: u64| clock.advance(std::time::Duration::from_secs(s));
    later(900);
    assert_eq!(look(&hub, &busy, "/v1/auth/me").await, 200);
    hub.context.people.used.write(&hub.context.writer).await;
    later(200);
    assert_eq!((look(&hub, &busy, "/v1/auth/me").await, look(&hub, &idle, "/v1/auth/me").await), (200, 401));
    later(400);
    assert_eq!(look(&hub, &busy, "/v1/auth/me").await, 401, "used or not, it ends");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storefront_keys_sell_and_do_no_more() {
    let hub = hub_with("").await;
    let made = hub.admin("POST", "/v1/admin/storefront-keys", Some(json!({"name": "shop"}))).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let key = made["key"].as_str().unwrap().to_owned();
    let order = async || {
        let body = json!({"items": [{"sku": "PHONE-001", "quantity": 1}]});
        hub.http.send("POST", "/v1/store/orders", &[("x-storefront-key", &key)], Some(body)).await.status
    };
    assert_eq!(order().await, 201);
    let bearer = format!("Bearer {key}");
    assert_eq!(hub.http.send("GET", "/v1/admin/products", &[("authorization", &bearer)], None).await.status, 403);
    let listed = hub.admin("GET", "/v1/admin/storefront-keys", None).await;
    assert!(!listed.text().contains(&key) && listed.json()["items"][0]["name"] == "shop");
    let token = hub.admin("POST", "/v1/admin/tokens", Some(json!({"name": "t", "role": "viewer"}))).await.json();
    let other = format!("/v1/admin/storefront-keys/{}", token["id"].as_str().unwrap());
    assert_eq!(hub.admin("DELETE", &other, None).await.status, 404, "a token is no key");
    let path = format!("/v1/admin/storefront-keys/{}", made["id"].as_str().unwrap());
    assert_eq!(hub.admin("DELETE", &path, None).await.status, 200);
    assert_eq!(order().await, 401);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_that_cannot_be_are_not_made() {
    let hub = hub_with("").await;
    for (body, field) in [
        (json!({"email": "ann", "role": "viewer", "password": PASSWORD}), "/email"),
        (json!({"email": "a@b.c", "role": "owner", "password": PASSWORD}), "/role"),
        (json!({"email": "a@b.c", "role": "viewer", "password": "short"}), "/password"),
        (json!({"email": "ann@example.com", "role": "viewer", "password": "Ann@example.com"}), "/password"),
        (json!({"email": "a@b.c", "role": "viewer"}), "/password"),
        (json!({"email": "a@b.c", "role": "viewer", "password": PASSWORD, "name": ""}), "/name"),
        (json!({"email": "a@b.c", "role": "viewer", "password": PASSWORD, "admin": true}), "/admin"),
    ] {
        let answer = hub.admin("POST", "/v1/admin/users", Some(body.clone())).await;
        assert_eq!((answer.status, answer.fields()), (422, vec![field.to_owned()]), "{body}: {}", answer.text());
    }
    assert_eq!(hub.get("/v1/admin/users").await["items"], json!([]));
    hub.stop().await;
}
