//! Signing in and out, and the first set-up. A wrong password and an unknown address are told alike, and take as long.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::auth::{self, COOKIE, Caller, Credential, Role, hash};
use super::described::Written;
use super::extract::{Body, NoParams, Params, SignedIn};
use super::problem::{FieldError, Problem};
use super::write::{Write, no_key, write};
use super::{client, same_site};
use crate::ask;
use crate::context::Context;
use crate::db::users::{self, UserRow};
use crate::people::password::PasswordError;
use crate::people::sessions::{Browser, SetUp, SignIn, SignOut, new_cookie};
use crate::people::users::{self as people, ChangeUser, UserError};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginBody {
    email: String,
    password: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetupBody {
    /// Shown at the first start; or an admin's API token.
    token: String,
    email: String,
    /// 10 to 128 characters, unless set otherwise.
    password: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordBody {
    current: String,
    new: String,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Me {
    user: MeShape,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct MeShape {
    /// Of the person; null for a token of the settings.
    id: Option<String>,
    /// Null for a token.
    email: Option<String>,
    name: String,
    /// viewer, operator, admin or storefront.
    role: String,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SetupNeeded {
    /// Whether nobody was set up yet.
    needed: bool,
}

fn me(user: &UserRow) -> Value {
    json!({"user": {"id": user.id, "email": user.email, "name": user.name, "role": user.role}})
}

#[utoipa::path(get, path = "/v1/auth/setup", tag = "people",
    responses((status = 200, body = SetupNeeded), (status = 422, description = "takes no parameters"), (status = 503, description = "try again")))]
pub(super) async fn setup_needed(_: Params<NoParams>, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    let count = ask!(ctx, i64, [] | conn | users::count(conn).await)?;
    Ok(HttpResponse::Ok().json(SetupNeeded { needed: count == 0 }))
}

#[utoipa::path(post, path = "/v1/auth/setup", tag = "people", request_body = SetupBody,
    responses((status = 201, description = "the first admin, signed in by a cookie", body = Me), (status = 409, description = "it was done"),
        (status = 429, description = "too many tries"), Written))]
pub(super) async fn set_up(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<SetupBody>,
) -> Result<HttpResponse, Problem> {
    same_site::refuse_foreign(&request)?;
    no_key(&request)?;
    let SetupBody { token, email, password } = body.value;
    let email = address(&email)?;
    fit(&ctx, "/password", &password, &email)?;
    let client = begin(&request, &ctx, "set-up")?;
    let token_hash = if may_set_up(&ctx, &token).await? { None } else { Some(hash(&token)) };
    let password_hash = hashed(&ctx, password).await?;
    let (cookie, browser) = browser(&request, &ctx, client)?;
    let caller = Caller { actor: format!("user:{email}"), role: Role::Admin, credential: Credential::Settings };
    let command = SetUp { token_hash, email: email.clone(), password_hash, browser };
    let show = |user: UserRow| (StatusCode::CREATED, me(&user));
    let write_it =
        Write { caller: &caller, request: &request, body: b"", action: "user.set_up", target: Some(email), command, show };
    let response = write(&ctx, write_it).await?;
    ctx.people.logins.succeeded("set-up", client);
    Ok(with_cookie(&ctx, response, &cookie, ctx.settings.auth.session_lifetime()))
}

/// An admin's token can make the first person too: where the settings name one, no other is printed.
async fn may_set_up(ctx: &Context, token: &str) -> Result<bool, Problem> {
    Ok(auth::of_token(ctx, token).await?.is_some_and(|caller| caller.role == Role::Admin))
}

#[utoipa::path(post, path = "/v1/auth/login", tag = "people", request_body = LoginBody,
    responses((status = 200, description = "signed in, by a cookie", body = Me), (status = 429, description = "too many tries; Retry-After says when"),
        Written))]
pub(super) async fn log_in(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<LoginBody>,
) -> Result<HttpResponse, Problem> {
    same_site::refuse_foreign(&request)?;
    no_key(&request)?;
    let LoginBody { email, password } = body.value;
    // What is no address is nobody's: told as any other wrong one.
    let email = people::email(&email).unwrap_or_default();
    let client = begin(&request, &ctx, &email)?;
    let found = ask!(ctx, Option<UserRow>, [email: String = email.clone()] |conn| users::by_email(conn, &email).await)?;
    let live = found.filter(|user| user.disabled_at.is_none());
    let stored = live.as_ref().map(|user| user.password_hash.clone());
    let right = ctx.people.passwords.verify(&ctx.workers, password, stored).await.map_err(busy)?;
    let Some(user) = live.filter(|_| right) else {
        tracing::info!(client = client.map(tracing::field::display), "a sign-in failed");
        return Err(invalid_login());
    };
    let (cookie, browser) = browser(&request, &ctx, client)?;
    let caller = Caller { actor: format!("user:{email}"), role: Role::Viewer, credential: Credential::Settings };
    let show = |user: UserRow| (StatusCode::OK, me(&user));
    let (target, command) = (Some(email.clone()), SignIn { user, browser });
    let write_it = Write { caller: &caller, request: &request, body: b"", action: "session.begin", target, command, show };
    let response = write(&ctx, write_it).await.map_err(|problem| {
        // Changed between the look and the write.
        if problem.slug == "unknown-user" { invalid_login() } else { problem }
    })?;
    ctx.people.logins.succeeded(&email, client);
    Ok(with_cookie(&ctx, response, &cookie, ctx.settings.auth.session_lifetime()))
}

#[utoipa::path(post, path = "/v1/auth/logout", tag = "people", security(("session" = [])),
    responses((status = 204, description = "signed out"), (status = 401, description = "was not signed in"),
        (status = 403, description = "from a foreign page"), (status = 503, description = "try again")))]
pub(super) async fn log_out(request: HttpRequest, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    let (caller, id, _) = auth::signed_in(&request, &ctx).await?;
    let show = |()| (StatusCode::NO_CONTENT, Value::Null);
    let (target, command) = (Some(id.to_string()), SignOut(id));
    let write_it = Write { caller: &caller, request: &request, body: b"", action: "session.end", target, command, show };
    write(&ctx, write_it).await?;
    ctx.people.revoke();
    Ok(with_cookie(&ctx, HttpResponse::NoContent().finish(), "", Duration::ZERO))
}

#[utoipa::path(get, path = "/v1/auth/me", tag = "people", security(("session" = []), ("token" = [])),
    responses((status = 200, body = Me), (status = 401, description = "not signed in"), (status = 422, description = "takes no parameters"),
        (status = 503, description = "try again")))]
pub(super) async fn show_me(request: HttpRequest, _: Params<NoParams>, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    let caller = auth::known(&request, &ctx, Role::Viewer).await?.ok_or_else(Problem::unauthorized)?;
    let (id, email) = match caller.credential {
        Credential::Session { user, .. } => (Some(user.to_string()), caller.actor.strip_prefix("user:").map(str::to_owned)),
        Credential::Token(id) => (Some(id.to_string()), None),
        Credential::Settings | Credential::Shopper => (None, None),
    };
    let user = MeShape { id, email, name: caller.actor.clone(), role: caller.role.as_str().into() };
    Ok(HttpResponse::Ok().json(Me { user }))
}

#[utoipa::path(post, path = "/v1/auth/password", tag = "people", request_body = PasswordBody, security(("session" = [])),
    responses((status = 200, description = "changed; other sessions of this person have ended", body = Me),
        (status = 429, description = "too many tries"), Written))]
pub(super) async fn change_password(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<PasswordBody, SignedIn>,
) -> Result<HttpResponse, Problem> {
    let (caller, id, user) = auth::signed_in(&request, &ctx).await?;
    no_key(&request)?;
    let email = caller.actor.strip_prefix("user:").unwrap_or_default().to_owned();
    let PasswordBody { current, new } = body.value;
    fit(&ctx, "/new", &new, &email)?;
    let client = begin(&request, &ctx, &email)?;
    let found = ask!(ctx, Option<UserRow>, [email: String = email.clone()] |conn| users::by_email(conn, &email).await)?;
    let stored = found.map(|user| user.password_hash);
    if !ctx.people.passwords.verify(&ctx.workers, current, stored).await.map_err(busy)? {
        return Err(Problem::field("/current", "is not the password"));
    }
    ctx.people.logins.succeeded(&email, client);
    let password_hash = Some(hashed(&ctx, new).await?);
    let command = ChangeUser { id: user, password_hash, keep_session: Some(id), ..ChangeUser::default() };
    let show = |user: UserRow| (StatusCode::OK, me(&user));
    let (action, target) = ("user.password", Some(email));
    let done = write(&ctx, Write { caller: &caller, request: &request, body: b"", action, target, command, show }).await;
    ctx.people.revoke();
    done
}

fn invalid_login() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "invalid-login", "Not signed in", "the e-mail address or the password is wrong")
}

pub(super) fn address(text: &str) -> Result<String, Problem> {
    people::email(text).map_err(|why| Problem::field("/email", why))
}

pub(super) fn fit(ctx: &Context, field: &str, password: &str, email: &str) -> Result<(), Problem> {
    let fit = people::fit_password(password, email, ctx.settings.auth.password_min_chars);
    fit.map_err(|why| Problem::invalid(vec![FieldError::new(field, why)]))
}

pub(super) async fn hashed(ctx: &Context, password: String) -> Result<String, Problem> {
    ctx.people.passwords.hash(&ctx.workers, password).await.map_err(busy)
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn busy(error: PasswordError) -> Problem {
    Problem::unavailable("overloaded", error.to_string())
}

/// Whose try this is; too many are told to wait.
fn begin(request: &HttpRequest, ctx: &Context, account: &str) -> Result<Option<IpAddr>, Problem> {
    let client = client::address(request, &ctx.settings.server.trusted_proxies);
    match ctx.people.logins.begin(account, client, ctx.kit.clock.now()) {
        Ok(()) => Ok(client),
        Err(wait) => {
            let detail = format!("too many tries failed; wait {} s", wait.as_secs().max(1));
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-logins", "Too many tries", detail);
            Err(Problem { retry_after: Some(wait), ..problem })
        }
    }
}

fn browser(request: &HttpRequest, ctx: &Context, client: Option<IpAddr>) -> Result<(String, Browser), Problem> {
    let cookie = new_cookie().map_err(|_| Problem::unavailable("no-randomness", "the system gives no random bytes"))?;
    let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let browser = Browser {
        cookie_hash: hash(&cookie),
        client: client.map(|address| address.to_string()),
        user_agent: agent.map(str::to_owned),
        lifetime: ctx.settings.auth.session_lifetime(),
    };
    Ok((cookie, browser))
}

/// No script reads it, no other site sends it, and off this machine it travels over TLS only.
fn with_cookie(ctx: &Context, mut response: HttpResponse, value: &str, lifetime: Duration) -> HttpResponse {
    let secure = if ctx.settings.server.is_loopback() { "" } else { "; Secure" };
    let text = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}", lifetime.as_secs());
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Unknown => Self::not_found("unknown-user", "there is no such user or session"),
            UserError::EmailTaken => Self {
                errors: vec![FieldError::new("/email", "somebody has this e-mail address")],
                ..Self::conflict("email-taken", "somebody has this e-mail address")
            },
            UserError::LastAdmin => Self::conflict("last-admin", "the last admin must stay: make another one first"),
            UserError::AlreadySetUp => Self::conflict("already-set-up", "there are users already: sign in, or ask an admin"),
            UserError::WrongSetupToken => {
                let detail =
                    "this is not the token that was shown at the first start, nor an admin's; `stockhub user add` helps too";
                Self::new(StatusCode::UNAUTHORIZED, "invalid-setup-token", "Not set up", detail)
            }
            UserError::Database(error) => error.into(),
        }
    }
}

/// For `id` in an address.
pub(super) fn id(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| Problem::invalid(vec![FieldError::new("id", "is not an id")]))
}
