//! `/v1/admin/live`: a WebSocket that tells what happens. A browser cannot send a header with it, so it comes with a ticket that
//! was asked for in the usual way, works once and soon ends. Whoever loses the right to look is closed with 4009.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{CloseCode, CloseReason, Message};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::auth::{self, Credential, Role, require};
use super::described::Done;
use super::extract::Params;
use super::problem::Problem;
use super::same_site;
use crate::context::Context;
use crate::domain::time::Timestamp;

/// How long a ticket waits to be used.
const TICKET_TTL: Duration = Duration::from_secs(30);
/// How often to look whether somebody still may, and whether they are still there.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// Messages a watcher may send; there is nothing to say.
const CHATTER_MAX: u32 = 16;

/// Tickets that were used, until they end anyway.
#[derive(Clone, Default)]
pub struct UsedTickets(Arc<Mutex<HashMap<[u8; 32], Timestamp>>>);

impl UsedTickets {
    /// False when it was used before.
    fn take(&self, ticket: [u8; 32], until: Timestamp, now: Timestamp) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, until| now < *until);
        used.insert(ticket, until).is_none()
    }
}

/// What a ticket says, sealed under the hub's master key: every node of it can read one.
#[derive(Serialize, Deserialize)]
struct Ticket {
    credential: Credential,
    until: Timestamp,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct TicketShape {
    /// For `GET /v1/admin/live?ticket=…`; once.
    ticket: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LiveParams {
    ticket: String,
}

#[utoipa::path(post, path = "/v1/admin/live/ticket", tag = "live", security(("token" = []), ("session" = [])),
    responses((status = 201, description = "works once, for 30 seconds", body = TicketShape), Done))]
pub(super) async fn ticket(request: HttpRequest, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Viewer).await?;
    let until = ctx.kit.clock.now().plus(TICKET_TTL);
    let text = json!(Ticket { credential: caller.credential, until }).to_string();
    let sealed = ctx.sealer.seal(&text).map_err(|_| Problem::unavailable("no-randomness", "no ticket could be made"))?;
    Ok(HttpResponse::Created().json(TicketShape { ticket: URL_SAFE_NO_PAD.encode(sealed), expires_at: until }))
}

fn read(ctx: &Context, text: &str) -> Result<Credential, Problem> {
    let detail = "the ticket is not one of ours, was used, or has ended: ask for another at POST /v1/admin/live/ticket";
    let bad = || Problem::new(StatusCode::UNAUTHORIZED, "invalid-ticket", "Who are you?", detail);
    let now = ctx.kit.clock.now();
    let sealed = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| ctx.sealer.open(&bytes).ok());
    let ticket: Ticket = sealed.and_then(|text| serde_json::from_str(&text).ok()).ok_or_else(bad)?;
    let fresh = now < ticket.until && ctx.tickets.take(auth::hash(text), ticket.until, now);
    if fresh { Ok(ticket.credential) } else { Err(bad()) }
}

#[utoipa::path(get, path = "/v1/admin/live", tag = "live", params(LiveParams),
    responses((status = 101, description = "a WebSocket: `{\"type\":\"change\",\"kind\":…,\"at\":…,\"text\":…}`, and `{\"type\":\"gap\"}` where \
            lines were left out; 4009 when the right to look has ended"),
        (status = 400, description = "no WebSocket handshake"), (status = 401, description = "no good ticket"),
        (status = 403, description = "a page of another site"), (status = 422, description = "names each parameter"),
        (status = 503, description = "try again")))]
pub(super) async fn live(
    request: HttpRequest,
    params: Params<LiveParams>,
    body: web::Payload,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    same_site::refuse_foreign(&request)?;
    let credential = read(&ctx, &params.0.ticket)?;
    may_look(&ctx, credential).await?.ok_or_else(Problem::unauthorized)?;
    let (response, session, messages) = actix_ws::handle(&request, body).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "not-a-websocket", "Bad request", format!("no WebSocket handshake: {error}"))
    })?;
    let watcher = Watcher { frames: ctx.live.watch(&ctx), revoked: ctx.people.revocations(), credential, ctx };
    // Socket and messages belong to this server thread; the arbiter ends the task with it.
    actix_web::rt::spawn(watcher.run(session, messages.max_frame_size(4_096)));
    Ok(response)
}

async fn may_look(ctx: &Context, credential: Credential) -> Result<Option<Role>, Problem> {
    Ok(auth::still(ctx, credential).await?.filter(|role| *role >= Role::Viewer))
}

struct Watcher {
    frames: tokio::sync::broadcast::Receiver<Arc<str>>,
    revoked: tokio::sync::watch::Receiver<u64>,
    credential: Credential,
    ctx: web::Data<Context>,
}

impl Watcher {
    async fn run(mut self, mut session: actix_ws::Session, mut messages: actix_ws::MessageStream) {
        let reason = self.watch(&mut session, &mut messages).await;
        // Gone already is gone too.
        let _ = session.close(reason).await;
    }

    /// Until something ends it; gives why.
    async fn watch(&mut self, session: &mut actix_ws::Session, messages: &mut actix_ws::MessageStream) -> Option<CloseReason> {
        let stop = self.ctx.workers.stopping().clone();
        let mut tick = tokio::time::interval(LOOK_AGAIN);
        let (mut chatter, mut silent) = (0, 0);
        if session.text(json!({"type": "hello", "at": self.ctx.kit.clock.now()}).to_string()).await.is_err() {
            return None;
        }
        loop {
            let look = tokio::select! {
                () = stop.cancelled() => return close(CloseCode::Restart, "the hub is stopping"),
                frame = self.frames.recv() => {
                    let text = match frame {
                        Ok(text) => text.to_string(),
                        Err(RecvError::Lagged(missed)) => json!({"type": "gap", "missed": missed}).to_string(),
                        Err(RecvError::Closed) => return None,
                    };
                    session.text(text).await.ok()?;
                    false
                }
                message = messages.next() => {
                    match message? {
                        Ok(Message::Ping(bytes)) => session.pong(&bytes).await.ok()?,
                        Ok(Message::Pong(_)) => silent = 0,
                        Ok(Message::Close(_)) | Err(_) => return None,
                        Ok(_) => chatter += 1,
                    }
                    if chatter > CHATTER_MAX {
                        return close(CloseCode::Policy, "there is nothing to say here");
                    }
                    false
                }
                changed = self.revoked.changed() => changed.is_ok(),
                _ = tick.tick() => {
                    silent += 1;
                    if silent > 3 {
                        return None;
                    }
                    session.ping(b"").await.ok()?;
                    true
                }
            };
            if look && matches!(may_look(&self.ctx, self.credential).await, Ok(None)) {
                return close(CloseCode::Other(4009), "the right to look has ended");
            }
        }
    }
}

fn close(code: CloseCode, why: &str) -> Option<CloseReason> {
    Some(CloseReason { code, description: Some(why.to_owned()) })
}
