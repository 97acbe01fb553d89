//! Where events and alerts go: made, listed, tried and removed by an admin. A secret is shown once.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::{Host, Url};
use uuid::Uuid;

use super::auth::{Role, require};
use super::extract::{Admin, Body};
use super::page::Page;
use super::problem::{FieldError, Problem};
use super::shapes::text;
use super::write::{Write, write};
use crate::alerts::mail::is_address;
use crate::alerts::{Message, Sent, webhook};
use crate::ask;
use crate::context::Context;
use crate::db::DbError;
use crate::db::sinks::{self, SinkRow};
use crate::domain::events::EventType;
use crate::domain::time::Timestamp;
use crate::outbound::is_public;
use crate::pipeline::writer::Command;
use crate::pipeline::{CommandError, Tx};

/// What alerts can be about, as an e-mail sink names them.
const ALERT_KINDS: &[&str] = &[
    "low-stock",
    "out-of-stock",
    "back-in-stock",
    "oversold",
    "marketplace-degraded",
    "marketplace-auth",
    "listing-gap",
    "discrepancy",
    "no-id",
    "id-conflict",
    "event-dead-letter",
];

/// Addresses one e-mail sink may have.
const RECIPIENTS_MAX: usize = 20;

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum SinkKind {
    Webhook,
    Email,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSink {
    kind: SinkKind,
    /// For people; default: the host, or the first address.
    name: Option<String>,
    /// Of a webhook: where events are posted.
    url: Option<String>,
    /// Of a webhook: `whsec_` and base64 of 24 to 64 bytes. Default: one is made.
    secret: Option<String>,
    /// Of a webhook: which events; default all.
    event_types: Option<Vec<String>>,
    /// Of an e-mail sink: addresses.
    to: Option<Vec<String>>,
    /// Of an e-mail sink: which alerts; default all.
    alert_kinds: Option<Vec<String>>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SinkShape {
    id: String,
    kind: String,
    name: String,
    url: Option<String>,
    to: Vec<String>,
    /// Event types or alert kinds; empty = all.
    kinds: Vec<String>,
    /// Tries in a row that it took nothing.
    failures: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl From<SinkRow> for SinkShape {
    fn from(s: SinkRow) -> Self {
        Self {
            id: s.id.to_string(),
            to: SinkRow::list(&s.recipients),
            kinds: SinkRow::list(&s.kinds),
            kind: s.kind,
            name: s.name,
            url: s.url,
            failures: s.failures,
            created_at: s.created_at,
            secret: None,
        }
    }
}

struct Create {
    sink: SinkRow,
    secret: Option<String>,
    by: String,
}

impl Command for Create {
    type Output = (SinkRow, Option<String>);
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Self::Output, DbError> {
        self.sink.id = tx.id();
        self.sink.created_at = tx.now;
        sinks::insert(&mut tx.conn, &self.sink, &self.by).await?;
        Ok((self.sink.clone(), self.secret.clone()))
    }
}

#[utoipa::path(post, path = "/v1/admin/sinks", tag = "events", request_body = NewSink, security(("token" = [])),
    responses((status = 201, description = "shows the secret, once", body = SinkShape), (status = 400, description = "no JSON"),
        (status = 401, description = "no token"), (status = 403, description = "another role"), (status = 408, description = "too slow"),
        (status = 413, description = "too large"), (status = 415, description = "no JSON"), (status = 422, description = "names each field"),
        (status = 503, description = "try again")))]
pub(super) async fn create(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<NewSink, Admin>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Admin).await?;
    if request.headers().contains_key("idempotency-key") {
        // The kept answer would hold the secret itself.
        return Err(Problem::field("Idempotency-Key", "is not taken here: a secret is shown once and not kept"));
    }
    let (sink, secret) = match body.value.kind {
        SinkKind::Webhook => webhook_sink(&ctx, &body.value)?,
        SinkKind::Email => (email_sink(&ctx, &body.value)?, None),
    };
    let target = Some(sink.name.clone());
    let command = Create { sink, secret, by: caller.actor.clone() };
    let show = |(row, secret)| (StatusCode::CREATED, json!(SinkShape { secret, ..SinkShape::from(row) }));
    let (caller, request, body) = (&caller, &request, &body.bytes[..]);
    write(&ctx, Write { caller, request, body, action: "sink.create", target, command, show }).await
}

fn webhook_sink(ctx: &Context, shape: &NewSink) -> Result<(SinkRow, Option<String>), Problem> {
    let mut errors = not_for("a webhook", &[("/to", shape.to.is_some()), ("/alert_kinds", shape.alert_kinds.is_some())]);
    let allow_private = ctx.settings.security.allow_private_targets;
    let url = match shape.url.as_deref().map(|url| sink_url(url, allow_private)) {
        Some(Ok(url)) => Some(url),
        Some(Err(why)) => {
            errors.push(FieldError::new("/url", why));
            None
        }
        None => {
            errors.push(FieldError::new("/url", "is needed"));
            None
        }
    };
    if shape.secret.as_deref().is_some_and(|secret| webhook::key(secret).is_none()) {
        errors.push(FieldError::new("/secret", "must be whsec_ and base64 of 24 to 64 bytes"));
    }
    let known: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
    let kinds = known_words("/event_types", shape.event_types.as_deref(), &known, &mut errors);
    errors.extend(shape.name.as_deref().and_then(|name| text("/name", name, 64).err()));
    let (Some(url), true) = (url, errors.is_empty()) else { return Err(Problem::invalid(errors)) };
    let made = || webhook::new_secret().map_err(|_| Problem::unavailable("no-randomness", "the system gives no random bytes"));
    let secret = shape.secret.clone().map_or_else(made, Ok)?;
    let sealed = ctx.sealer.seal(&secret).map_err(|error| {
        tracing::error!(%error, "a sink's secret could not be sealed");
        Problem::unavailable("cannot-seal", "the secret cannot be stored safely now")
    })?;
    let name = shape.name.clone().unwrap_or_else(|| url.host_str().unwrap_or("webhook").to_owned());
    Ok((SinkRow { url: Some(url.to_string()), secret: Some(sealed), kinds, ..blank("webhook", name) }, Some(secret)))
}

fn email_sink(ctx: &Context, shape: &NewSink) -> Result<SinkRow, Problem> {
    let wrong =
        [("/url", shape.url.is_some()), ("/secret", shape.secret.is_some()), ("/event_types", shape.event_types.is_some())];
    let mut errors = not_for("an e-mail sink", &wrong);
    let to = shape.to.clone().unwrap_or_default();
    if to.is_empty() || to.len() > RECIPIENTS_MAX {
        errors.push(FieldError::new("/to", format!("must have 1 to {RECIPIENTS_MAX} addresses")));
    }
    for (n, address) in to.iter().enumerate().filter(|(_, address)| !is_address(address)) {
        errors.push(FieldError::new(format!("/to/{n}"), format!("{address:?} is no address")));
    }
    let kinds = known_words("/alert_kinds", shape.alert_kinds.as_deref(), ALERT_KINDS, &mut errors);
    errors.extend(shape.name.as_deref().and_then(|name| text("/name", name, 64).err()));
    if ctx.messenger.mailer.is_none() {
        errors.push(FieldError::new("/kind", "no mail server is set: see mail.host in the settings"));
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let name = shape.name.clone().or_else(|| to.first().cloned()).unwrap_or_default();
    Ok(SinkRow { recipients: json!(to).to_string(), kinds, ..blank("email", name) })
}

fn blank(kind: &str, name: String) -> SinkRow {
    SinkRow {
        id: Uuid::nil(),
        kind: kind.into(),
        name,
        url: None,
        secret: None,
        recipients: "[]".into(),
        kinds: "[]".into(),
        failures: 0,
        resume_at: Timestamp::default(),
        created_at: Timestamp::default(),
    }
}

fn not_for(kind: &str, fields: &[(&str, bool)]) -> Vec<FieldError> {
    let given = fields.iter().filter(|(_, given)| *given);
    given.map(|(field, _)| FieldError::new(*field, format!("is not for {kind}"))).collect()
}

fn known_words(field: &str, words: Option<&[String]>, known: &[&str], errors: &mut Vec<FieldError>) -> String {
    let words = words.unwrap_or_default();
    for (n, word) in words.iter().enumerate().filter(|(_, word)| !known.contains(&word.as_str())) {
        errors.push(FieldError::new(format!("{field}/{n}"), format!("{word:?} is none of {}", known.join(", "))));
    }
    json!(words).to_string()
}

/// An address written as digits is judged here, so that the mistake is told at once; names are judged when they are resolved.
fn sink_url(text: &str, allow_private: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if text.len() > 2_048 || !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("must have at most 2048 characters, no user, no password and no fragment".into());
    }
    match (url.scheme(), allow_private) {
        ("https", _) | ("http", true) => {}
        _ => return Err("must begin with https://".into()),
    }
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        Some(Host::Domain(_)) => None,
        None => return Err("has no host".into()),
    };
    match address {
        Some(address) if !allow_private && !is_public(address) => {
            Err(format!("{address} is not a public address; security.allow_private_targets is off"))
        }
        _ => Ok(url),
    }
}

#[utoipa::path(get, path = "/v1/admin/sinks", tag = "events", security(("token" = [])),
    responses((status = 200, body = Page<SinkShape>), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 503, description = "try again")))]
pub(super) async fn list(request: HttpRequest, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Admin).await?;
    let rows = ask!(ctx, Vec<SinkRow>, [] | conn | sinks::live(conn).await)?;
    Ok(HttpResponse::Ok().json(Page::whole(rows.into_iter().map(SinkShape::from).collect())))
}

#[derive(Debug, thiserror::Error)]
enum RemoveError {
    #[error("no such sink")]
    Unknown,
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for RemoveError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

impl From<RemoveError> for Problem {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::Unknown => unknown(),
            RemoveError::Database(error) => error.into(),
        }
    }
}

fn unknown() -> Problem {
    Problem::not_found("unknown-sink", "there is no such sink")
}

struct Remove(Uuid);

impl Command for Remove {
    type Output = ();
    type Error = RemoveError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), RemoveError> {
        if sinks::remove(&mut tx.conn, self.0, tx.now).await? { Ok(()) } else { Err(RemoveError::Unknown) }
    }
}

fn parse_id(id: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(id).map_err(|_| Problem::invalid(vec![FieldError::new("id", "is not an id")]))
}

#[utoipa::path(delete, path = "/v1/admin/sinks/{id}", tag = "events", params(("id" = String, Path)), security(("token" = [])),
    responses((status = 200, description = "removed, with what was on its way to it"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 404, description = "no such sink"), (status = 422, description = "no id"),
        (status = 503, description = "try again")))]
pub(super) async fn remove(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Admin).await?;
    let uuid = parse_id(&id)?;
    let show = |()| (StatusCode::OK, json!({"removed": true}));
    let (target, caller, request) = (Some(id.into_inner()), &caller, &request);
    write(&ctx, Write { caller, request, body: b"", action: "sink.remove", target, command: Remove(uuid), show }).await
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct TestShape {
    delivered: bool,
    /// What the consumer or the mail server answered.
    status: Option<u16>,
    reason: Option<String>,
}

#[utoipa::path(post, path = "/v1/admin/sinks/{id}/test", tag = "events", params(("id" = String, Path)), security(("token" = [])),
    responses((status = 200, description = "what became of a message sent to it now", body = TestShape), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 404, description = "no such sink"), (status = 422, description = "no id"),
        (status = 503, description = "try again")))]
pub(super) async fn test(request: HttpRequest, id: web::Path<String>, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Admin).await?;
    let id = parse_id(&id)?;
    let sink = ask!(ctx, Option<SinkRow>, [id: Uuid = id] |conn| sinks::get(conn, id).await)?.ok_or_else(unknown)?;
    let now = ctx.kit.clock.now();
    let message = Message::test(&sink, &ctx.kit.chance.id(now).to_string(), now).ok_or_else(unknown)?;
    let messenger = ctx.messenger.clone();
    let sent = ctx.workers.finish(async move { messenger.send(&sink, &message, now).await }).await;
    let shape = match sent {
        Some(Sent::Delivered { status }) => TestShape { delivered: true, status, reason: None },
        Some(Sent::Retry { status, why, .. } | Sent::Refused { status, why }) => {
            TestShape { delivered: false, status, reason: Some(why) }
        }
        None => return Err(Problem::unavailable("shutting-down", "the hub is stopping")),
    };
    Ok(HttpResponse::Ok().json(shape))
}
