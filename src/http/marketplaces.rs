//! Marketplaces: made, changed, paused and looked at while the hub runs, and their secrets rotated. Secrets are never shown again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::account_health::{self, Dirty, HealthShape};
use super::auth::{Role, require};
use super::described::{Done, Looked, Written};
use super::extract::{Admin, Body, NoParams, Params};
use super::page::Page;
use super::problem::{FieldError, Problem};
use super::write::{Write, no_key, write};
use crate::ask;
use crate::chance::secret_bytes;
use crate::context::Context;
use crate::db::listings;
use crate::db::marketplaces::{self as db, MarketplaceRow};
use crate::db::secrets::{self, SecretRow};
use crate::domain::time::Timestamp;
use crate::marketplaces::{Connection, PushStyle};
use crate::pipeline::archive::{Archive, Look, LookFirst, Restore};
use crate::pipeline::marketplaces::{
    ChangeMarketplace, CreateMarketplace, MarketplaceError, NewSecret, RotateSecret, Rotated, SetPaused,
};
use crate::pipeline::writer::Command;
use crate::settings::{MarketplaceSettings, STORE, Secret, weak_secret};

/// Longest overlap of a rotation, in seconds: 90 days.
const OVERLAP_MAX: u64 = 7_776_000;
/// Overlap where none is said: a day.
const OVERLAP: u64 = 86_400;
/// Bytes of a secret at most.
const SECRET_MAX: usize = 65_536;

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct MarketplaceShape {
    code: String,
    name: String,
    kind: String,
    adapter: String,
    base_url: Option<String>,
    stock_feed: String,
    currency: Option<String>,
    /// active, paused, auth_error (its credentials were refused: resume tries them again), restoring (it comes back, and is told
    /// nothing before its listings are worked out anew), archived, or not_served.
    status: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    archived_at: Option<Timestamp>,
    webhook_enabled: bool,
    /// Where its webhooks go; a secret path that belongs to it is not shown.
    webhook_url: Option<String>,
    push_enabled: bool,
    /// builtin, file or api.
    declared_in: String,
    /// For `If-Match`.
    version: i64,
    /// Of one that is called: how that goes.
    health: Option<HealthShape>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct MarketplaceDetail {
    #[serde(flatten)]
    #[schema(inline)]
    marketplace: MarketplaceShape,
    #[schema(value_type = Object)]
    account: Map<String, Value>,
    /// As it was written, in the file and through the API.
    #[schema(value_type = Object)]
    policy: Value,
    /// Keys that the settings file names: they change there only.
    in_file: Vec<String>,
    /// Those that are live, and those that begin later.
    secrets: Vec<SecretShape>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SecretShape {
    name: String,
    /// What the log shows of the secret that verified a webhook.
    key_id: String,
    /// file or api.
    source: &'static str,
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// One secret or several.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// What is left out is the adapter's. Rule keys are set by `PUT …/rule`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "checks the fields' types; what they hold is read by the rules of the settings")]
pub(super) struct NewMarketplace {
    /// 2 to 32 of a-z, 0-9 and -.
    code: String,
    adapter: String,
    name: Option<String>,
    base_url: Option<String>,
    stock_feed: Option<String>,
    currency: Option<String>,
    webhook_enabled: Option<bool>,
    #[schema(value_type = Option<Object>)]
    account: Option<Map<String, Value>>,
    #[schema(value_type = Option<Object>)]
    policy: Option<Map<String, Value>>,
    /// By the names the adapter gives them; values, not references.
    #[serde(default)]
    secrets: BTreeMap<String, OneOrMore>,
}

/// Null takes a key away; what is left out stays. `account` and `policy` change key by key.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read as it was written")]
pub(super) struct MarketplaceChange {
    name: Option<String>,
    base_url: Option<String>,
    stock_feed: Option<String>,
    currency: Option<String>,
    webhook_enabled: Option<bool>,
    #[schema(value_type = Option<Object>)]
    account: Option<Map<String, Value>>,
    #[schema(value_type = Option<Object>)]
    policy: Option<Map<String, Value>>,
}

const CHANGEABLE: [&str; 7] = ["name", "base_url", "stock_feed", "currency", "webhook_enabled", "account", "policy"];

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// As the adapter names it, like webhook_secret.
    name: String,
    /// Default: 256 random bits, shown in the answer.
    secret: Option<String>,
    /// How long the old ones are still believed; default a day, 0 = not at all.
    #[schema(maximum = 7_776_000)]
    overlap_seconds: Option<u64>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct RotationDone {
    name: String,
    key_id: String,
    /// Only where it was made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    old_valid_until: Option<Timestamp>,
}

fn shape(ctx: &Context, row: &MarketplaceRow, dirty: &[Dirty]) -> MarketplaceShape {
    let live = ctx.kit.registry.by_code(&row.code);
    let called = live.as_deref().filter(|connection| connection.adapter.traits().push == PushStyle::Request);
    let called = called.filter(|connection| !connection.is_archived());
    let status = match live.as_deref().map(|connection| connection.status) {
        _ if row.archived_at.is_some() => "archived",
        None => "not_served",
        Some(_) if row.restored_as.is_some() => "restoring",
        Some(status) => status.as_str(),
    };
    MarketplaceShape {
        health: called.map(|connection| account_health::of(ctx, connection, dirty)),
        webhook_url: live.as_deref().and_then(|connection| webhook_url(ctx, connection)),
        webhook_enabled: live.as_deref().map_or(row.webhook_enabled, |connection| connection.webhook_enabled),
        push_enabled: live.as_deref().is_some_and(|connection| connection.policy.push_enabled),
        status: status.to_owned(),
        archived_at: row.archived_at,
        code: row.code.clone(),
        name: row.name.clone(),
        kind: row.kind.clone(),
        adapter: row.adapter.clone(),
        base_url: row.base_url.clone(),
        stock_feed: row.stock_feed.clone(),
        currency: row.currency.clone(),
        declared_in: row.declared_in.clone(),
        version: row.version,
    }
}

fn webhook_url(ctx: &Context, connection: &Connection) -> Option<String> {
    if connection.schemes().is_empty() {
        return None;
    }
    if let Some(said) = connection.account.get("webhook_url").and_then(Value::as_str) {
        return Some(said.to_owned());
    }
    let path = if connection.secret_in_address().is_some() { "/…" } else { "" };
    Some(format!("{}/webhooks/{}{path}", ctx.settings.server.public_url, connection.code))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MarketplaceParams {
    /// Archived ones too.
    #[serde(default)]
    archived: bool,
}

#[utoipa::path(get, path = "/v1/admin/marketplaces", tag = "marketplaces", params(MarketplaceParams), security(("token" = []), ("session" = [])),
    responses((status = 200, body = Page<MarketplaceShape>), Looked))]
pub(super) async fn list(
    request: HttpRequest,
    params: Params<MarketplaceParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let archived = params.0.archived;
    let (rows, dirty): (Vec<MarketplaceRow>, Vec<Dirty>) =
        ask!(ctx, (Vec<MarketplaceRow>, Vec<Dirty>), [] | conn | Ok((db::list(conn).await?, listings::dirty(conn).await?)))?;
    let shown = rows.iter().filter(|row| archived || row.archived_at.is_none());
    let items: Vec<_> = shown.map(|row| shape(&ctx, row, &dirty)).collect();
    Ok(HttpResponse::Ok().json(Page::whole(items)))
}

type Found = (Option<MarketplaceRow>, Vec<SecretRow>, Vec<Dirty>);

async fn detail(ctx: &web::Data<Context>, code: &str) -> Result<MarketplaceDetail, Problem> {
    let now = ctx.kit.clock.now();
    let (row, all, dirty): Found = ask!(ctx, Found, [code: String = code.to_owned(), now: Timestamp = now] |conn| {
        let row = db::list(conn).await?.into_iter().find(|row| row.code == code);
        Ok((row, secrets::unexpired(conn, now).await?, listings::dirty(conn).await?))
    })?;
    let row = row.ok_or_else(unknown)?;
    let file = ctx.settings.marketplaces.iter().find(|entry| entry.code == row.code);
    let live = ctx.kit.registry.by_code(&row.code);
    let in_file = file.map_or(Vec::new(), MarketplaceSettings::names);
    let named: Vec<&String> = file.iter().flat_map(|file| file.secrets.keys()).collect();
    let of_file = file.iter().flat_map(|file| &file.secrets).flat_map(|(name, list)| {
        list.iter().map(|secret| SecretShape {
            name: name.clone(),
            key_id: secret.fingerprint(),
            source: "file",
            not_before: None,
            expires_at: None,
        })
    });
    let own = all.into_iter().filter(|secret| secret.marketplace_id == row.id && !named.contains(&&secret.name));
    let of_api = own.map(|secret| SecretShape {
        name: secret.name,
        key_id: secret.key_id,
        source: "api",
        not_before: Some(secret.not_before),
        expires_at: secret.expires_at,
    });
    let secrets = of_file.chain(of_api).collect();
    let api = crate::pipeline::connections::stored(&row.api_settings)?;
    let mut policy = api.get("policy").cloned().unwrap_or_else(|| json!({}));
    if let (Some(mine), Some(Value::Object(files))) = (policy.as_object_mut(), file.and_then(|file| file.source.get("policy"))) {
        mine.extend(files.clone());
    }
    let account = live.map_or_else(Map::new, |connection| connection.account.clone());
    Ok(MarketplaceDetail { marketplace: shape(ctx, &row, &dirty), account, policy, in_file, secrets, created_at: row.created_at })
}

#[utoipa::path(get, path = "/v1/admin/marketplaces/{code}", tag = "marketplaces", params(("code" = String, Path)),
    security(("token" = []), ("session" = [])),
    responses((status = 200, body = MarketplaceDetail), (status = 404, description = "no such marketplace"), Looked))]
pub(super) async fn get(
    request: HttpRequest,
    code: web::Path<String>,
    _: Params<NoParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    answer(&ctx, StatusCode::OK, &code).await
}

async fn answer(ctx: &web::Data<Context>, status: StatusCode, code: &str) -> Result<HttpResponse, Problem> {
    let detail = detail(ctx, code).await?;
    Ok(HttpResponse::build(status).insert_header(("etag", format!("\"{}\"", detail.marketplace.version))).json(detail))
}

#[utoipa::path(post, path = "/v1/admin/marketplaces", tag = "marketplaces", request_body = NewMarketplace,
    security(("token" = []), ("session" = [])),
    responses((status = 201, description = "live from now on", body = MarketplaceDetail), (status = 409, description = "the code is taken"), Written))]
pub(super) async fn create(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<NewMarketplace, Admin>,
) -> Result<HttpResponse, Problem> {
    let Body { value: shape, bytes, .. } = body;
    let mut entry: Map<String, Value> = super::extract::parse(&bytes)?;
    entry.remove("secrets");
    entry.retain(|_, value| !value.is_null());
    let mut errors = Vec::new();
    let mut secrets = Vec::new();
    for (name, values) in shape.secrets {
        let values = match values {
            OneOrMore::One(value) => vec![value],
            OneOrMore::More(values) => values,
        };
        for value in values {
            match secret(&name, &value) {
                Ok(secret) => secrets.push(NewSecret { name: name.clone(), secret }),
                Err(why) => errors.push(FieldError::new(format!("/secrets/{name}"), why)),
            }
        }
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let code = shape.code;
    let actor = require(&request, &ctx, Role::Admin).await?.actor;
    let (settings, sealer) = (ctx.settings.clone(), ctx.sealer.clone());
    let command = CreateMarketplace { entry, secrets, settings, sealer, actor };
    done(&request, &ctx, "marketplace.create", &code, &bytes, command).await?;
    answer(&ctx, StatusCode::CREATED, &code).await
}

#[utoipa::path(patch, path = "/v1/admin/marketplaces/{code}", tag = "marketplaces", params(("code" = String, Path),
        ("If-Match" = Option<String>, Header, description = "the `version` that was seen")),
    request_body = MarketplaceChange, security(("token" = []), ("session" = [])),
    responses((status = 200, description = "live from now on", body = MarketplaceDetail), (status = 404, description = "no such marketplace"),
        (status = 409, description = "the settings file names the key, or it changed meanwhile"), Written))]
pub(super) async fn change(
    request: HttpRequest,
    code: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<Map<String, Value>, Admin>,
) -> Result<HttpResponse, Problem> {
    let Body { value: change, bytes, .. } = body;
    let odd = change.keys().filter(|key| !CHANGEABLE.contains(&key.as_str()));
    let errors: Vec<_> =
        odd.map(|key| FieldError::new(format!("/{key}"), format!("cannot be changed; {} can", CHANGEABLE.join(", ")))).collect();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let expected_version = super::extract::if_match(&request)?;
    let command = ChangeMarketplace { code: code.clone(), change, expected_version, settings: ctx.settings.clone() };
    done(&request, &ctx, "marketplace.change", &code, &bytes, command).await?;
    answer(&ctx, StatusCode::OK, &code).await
}

#[utoipa::path(post, path = "/v1/admin/marketplaces/{code}/pause", tag = "marketplaces", params(("code" = String, Path)),
    security(("token" = []), ("session" = [])),
    responses((status = 200, description = "nothing is pushed or polled; webhooks are taken", body = MarketplaceDetail),
        (status = 404, description = "no such marketplace"), (status = 409, description = "the own store, or the file says so"), Done))]
pub(super) async fn pause(
    request: HttpRequest,
    code: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    set_paused(&request, &ctx, &code, true).await
}

#[utoipa::path(post, path = "/v1/admin/marketplaces/{code}/resume", tag = "marketplaces", params(("code" = String, Path)),
    security(("token" = []), ("session" = [])),
    responses((status = 200, description = "pushes go on; refused credentials are tried again", body = MarketplaceDetail),
        (status = 404, description = "no such marketplace"), (status = 409, description = "the own store, or the file says so"), Done))]
pub(super) async fn resume(
    request: HttpRequest,
    code: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    set_paused(&request, &ctx, &code, false).await
}

async fn set_paused(request: &HttpRequest, ctx: &web::Data<Context>, code: &str, paused: bool) -> Result<HttpResponse, Problem> {
    let action = if paused { "marketplace.pause" } else { "marketplace.resume" };
    let command = SetPaused { code: code.to_owned(), paused, settings: ctx.settings.clone() };
    done(request, ctx, action, code, b"", command).await?;
    answer(ctx, StatusCode::OK, code).await
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchiveBody {
    /// The token of a 409 `needs-confirmation`, to do it all the same.
    confirm: Option<String>,
}

#[utoipa::path(post, path = "/v1/admin/marketplaces/{code}/archive", tag = "marketplaces", params(("code" = String, Path)),
    request_body = ArchiveBody, security(("token" = []), ("session" = [])),
    responses((status = 200, description = "it is told and asked nothing any more, and alerts nobody; its listings are not listed and take \
            part in no allocation; its past stays, and webhooks that prove themselves are logged and applied as before", body = MarketplaceDetail),
        (status = 404, description = "no such marketplace"),
        (status = 409, description = "things hang on it: look at what, and confirm; or the own store"), Written))]
pub(super) async fn archive(
    request: HttpRequest,
    code: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<ArchiveBody, Admin>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Admin).await?;
    let look = ctx.ask(LookFirst(code.clone())).await?.ok_or_else(unknown)?;
    let token = look.token(&code);
    let live = ctx.kit.registry.by_code(&code);
    let done_already = live.as_deref().is_some_and(|connection| connection.is_archived());
    let asks = !look.is_bare() && !done_already && code.as_str() != STORE;
    if asks && body.value.confirm.as_ref() != Some(&token) {
        let Look { listings, still_shown, open_orders, .. } = look;
        let detail = format!(
            "it has {listings} listings, of which {still_shown} still show something there, and {open_orders} orders that are not shipped"
        );
        return Err(Problem {
            more: vec![("confirm", json!(token)), ("hangs_on_it", json!(look))],
            ..Problem::conflict("needs-confirmation", detail)
        });
    }
    done(&request, &ctx, "marketplace.archive", &code, &body.bytes, Archive { code: code.clone() }).await?;
    answer(&ctx, StatusCode::OK, &code).await
}

#[utoipa::path(post, path = "/v1/admin/marketplaces/{code}/restore", tag = "marketplaces", params(("code" = String, Path)),
    security(("token" = []), ("session" = [])),
    responses((status = 200, description = "its listings are worked out anew; once they are, it is active and told all of them, or paused where it was", body = MarketplaceDetail),
        (status = 404, description = "no such marketplace"),
        (status = 409, description = "the settings file does not declare it any more, or with another adapter; or the own store"), Done))]
pub(super) async fn restore(
    request: HttpRequest,
    code: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let command = Restore { code: code.clone(), settings: ctx.settings.clone() };
    done(&request, &ctx, "marketplace.restore", &code, b"", command).await?;
    answer(&ctx, StatusCode::OK, &code).await
}

#[utoipa::path(post, path = "/v1/admin/marketplaces/{code}/rotate-secret", tag = "marketplaces", params(("code" = String, Path)),
    request_body = Rotation, security(("token" = []), ("session" = [])),
    responses((status = 200, description = "live from now on", body = RotationDone), (status = 404, description = "no such marketplace"),
        (status = 409, description = "the settings file names this secret"), Written))]
pub(super) async fn rotate(
    request: HttpRequest,
    code: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<Rotation, Admin>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Admin).await?;
    no_key(&request)?;
    let Rotation { name, secret: given, overlap_seconds } = body.value;
    let overlap = overlap_seconds.unwrap_or(OVERLAP);
    if overlap > OVERLAP_MAX {
        return Err(Problem::field("/overlap_seconds", format!("must be at most {OVERLAP_MAX}")));
    }
    let made = given.is_none();
    let random = || secret_bytes::<32>().map(hex::encode);
    let value = match given {
        Some(value) => value,
        None => random().map_err(|_| Problem::unavailable("no-randomness", "the system gives no random bytes"))?,
    };
    let secret = secret(&name, &value).map_err(|why| Problem::field("/secret", why))?;
    let command = RotateSecret {
        code: code.clone(),
        new: NewSecret { name, secret },
        overlap: Duration::from_secs(overlap),
        settings: ctx.settings.clone(),
        sealer: ctx.sealer.clone(),
        actor: caller.actor.clone(),
    };
    // The secret is shown after the write: nothing that is kept may hold it.
    let show = |rotated: Rotated| {
        let Rotated { name, key_id, old_valid_until } = rotated;
        (StatusCode::OK, json!(RotationDone { name, key_id, secret: None, old_valid_until }))
    };
    let (target, action) = (Some(code.into_inner()), "marketplace.rotate_secret");
    let written = write(&ctx, Write { caller: &caller, request: &request, body: b"", action, target, command, show }).await?;
    refresh(&ctx).await?;
    if !made {
        return Ok(written);
    }
    let bytes =
        actix_web::body::to_bytes(written.into_body()).await.map_err(|_| Problem::unavailable("internal", "no answer"))?;
    let mut shown: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    shown["secret"] = value.into();
    Ok(HttpResponse::Ok().json(shown))
}

/// Writes, and makes it live before it is answered.
async fn done<C>(
    request: &HttpRequest,
    ctx: &web::Data<Context>,
    action: &'static str,
    code: &str,
    body: &[u8],
    command: C,
) -> Result<(), Problem>
where
    C: Command<Output = String, Error = MarketplaceError>,
{
    let caller = require(request, ctx, Role::Admin).await?;
    let show = |code: String| (StatusCode::OK, json!({"code": code}));
    let target = Some(code.to_owned());
    write(ctx, Write { caller: &caller, request, body, action, target, command, show }).await?;
    refresh(ctx).await
}

async fn refresh(ctx: &web::Data<Context>) -> Result<(), Problem> {
    let connections = ctx.connections.clone();
    match ctx.workers.finish(async move { connections.refresh().await }).await {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(error.into()),
        None => Err(Problem::unavailable("shutting-down", "the hub is stopping")),
    }
}

/// A value that can be a secret of that name.
fn secret(name: &str, value: &str) -> Result<Secret, String> {
    if value.is_empty() || value.len() > SECRET_MAX {
        return Err(format!("must have 1 to {SECRET_MAX} bytes"));
    }
    match weak_secret(name, value) {
        Some(why) => Err(why),
        None => Ok(Secret::new(Arc::<str>::from(value))),
    }
}

/// What may only be done once it is back.
pub(super) fn archived() -> Problem {
    Problem::conflict("archived", "the marketplace is archived: restore it first")
}

fn unknown() -> Problem {
    Problem::not_found("unknown-marketplace", "there is no such marketplace")
}

impl From<MarketplaceError> for Problem {
    fn from(error: MarketplaceError) -> Self {
        match error {
            MarketplaceError::Unknown => unknown(),
            MarketplaceError::Taken => Self {
                errors: vec![FieldError::new("/code", "is taken")],
                ..Self::conflict("marketplace-taken", "a marketplace has this code, or had it: its history is kept under it")
            },
            MarketplaceError::InFile(key) => Self {
                more: vec![("key", json!(key))],
                ..Self::conflict("declared-in-file", format!("the settings file declares {key}, and wins: change it there"))
            },
            MarketplaceError::Stale(version) => Self {
                more: vec![("version", json!(version))],
                ..Self::conflict("stale-version", format!("it changed meanwhile: its version is {version}"))
            },
            MarketplaceError::Invalid(faults) => Self::invalid(
                faults.into_iter().map(|(key, why)| FieldError::new(format!("/{}", key.replace('.', "/")), why)).collect(),
            ),
            MarketplaceError::Builtin => {
                Self::conflict("builtin", format!("{STORE} is the hub's own: it has no secrets and is not paused"))
            }
            MarketplaceError::Archived => archived(),
            MarketplaceError::OtherAdapter { was, now } => Self::conflict(
                "other-adapter",
                format!(
                    "it was archived with the adapter {was}, and the settings file declares it with {now}: use another code for that one"
                ),
            ),
            MarketplaceError::NotSealed => Self::unavailable("no-randomness", "the secret could not be sealed"),
            MarketplaceError::Database(error) => error.into(),
        }
    }
}
