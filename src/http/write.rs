//! Writes of our own API: run in the writer, with an audit row, and at most once per `Idempotency-Key`.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::auth::Caller;
use super::problem::Problem;
use super::request_id;
use crate::context::Context;
use crate::db::tokens::RequestKey;
use crate::db::{DbError, tokens};
use crate::pipeline::writer::Command;
use crate::pipeline::{CommandError, Tx};

/// What is to be done, for whom, and how its result is shown.
pub struct Write<'a, C: Command> {
    pub caller: &'a Caller,
    pub request: &'a HttpRequest,
    /// The request's bytes, which an `Idempotency-Key` stands for.
    pub body: &'a [u8],
    pub action: &'static str,
    pub target: Option<String>,
    pub command: C,
    pub show: fn(C::Output) -> (StatusCode, Value),
}

pub async fn write<C>(ctx: &Context, write: Write<'_, C>) -> Result<HttpResponse, Problem>
where
    C: Command,
    Problem: From<C::Error>,
{
    let key = key(write.caller, write.request, Sha256::digest(write.body).into())?;
    let once = Once {
        command: write.command,
        show: write.show,
        key,
        actor: write.caller.actor.clone(),
        action: write.action,
        target: write.target,
        request_id: request_id(write.request),
    };
    let Answer { status, body, replayed } = ctx.writer.run(once).await?;
    let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::OK));
    response.content_type("application/json");
    if replayed {
        response.insert_header(("idempotency-replayed", "true"));
    }
    Ok(response.body(body))
}

/// For what is shown once or made of a password: a kept answer or a kept hash of the body would hold it.
pub fn no_key(request: &HttpRequest) -> Result<(), Problem> {
    if request.headers().contains_key("idempotency-key") {
        return Err(Problem::field("Idempotency-Key", "is not taken here: what is secret in it would have to be kept"));
    }
    Ok(())
}

/// What a request with an `Idempotency-Key` is known by.
pub fn key(caller: &Caller, request: &HttpRequest, hash: [u8; 32]) -> Result<Option<RequestKey>, Problem> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().unwrap_or("");
    if text.is_empty() || text.len() > 255 {
        return Err(Problem::field("Idempotency-Key", "must have 1 to 255 visible ASCII characters"));
    }
    let scope = format!("{} {} {}", caller.actor, request.method(), request.path());
    Ok(Some(RequestKey { scope, key: text.to_owned(), hash }))
}

pub fn key_reused() -> Problem {
    let detail = "this Idempotency-Key came with another body before";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "Key reused", detail)
}

struct Once<C: Command> {
    command: C,
    show: fn(C::Output) -> (StatusCode, Value),
    key: Option<RequestKey>,
    actor: String,
    action: &'static str,
    target: Option<String>,
    request_id: String,
}

struct Answer {
    status: u16,
    body: String,
    replayed: bool,
}

#[derive(Debug, thiserror::Error)]
enum OnceError<E> {
    #[error("the key was used with another body")]
    KeyReused,
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("{0}")]
    Command(E),
}

impl<E: CommandError> CommandError for OnceError<E> {
    fn database(&self) -> Option<&DbError> {
        match self {
            Self::KeyReused => None,
            Self::Database(error) => Some(error),
            Self::Command(error) => error.database(),
        }
    }
}

impl<E> From<OnceError<E>> for Problem
where
    Problem: From<E>,
{
    fn from(error: OnceError<E>) -> Self {
        match error {
            OnceError::KeyReused => key_reused(),
            OnceError::Database(error) => error.into(),
            OnceError::Command(error) => error.into(),
        }
    }
}

impl<C: Command> Command for Once<C> {
    type Output = Answer;
    type Error = OnceError<C::Error>;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Answer, Self::Error> {
        if let Some(key) = &self.key
            && let Some(kept) = tokens::kept_answer(&mut tx.conn, key).await?
        {
            if kept.request_hash != key.hash {
                return Err(OnceError::KeyReused);
            }
            let status = kept.response_status.and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
            return Ok(Answer { status, body: kept.response_body.unwrap_or_default(), replayed: true });
        }
        let output = self.command.run(tx).await.map_err(OnceError::Command)?;
        let (status, body) = (self.show)(output);
        let (status, body) = (status.as_u16(), body.to_string());
        if let Some(key) = &self.key {
            tokens::keep_answer(&mut tx.conn, key, i64::from(status), &body, tx.now).await?;
        }
        let audit = tokens::Audit {
            id: tx.id(),
            actor: &self.actor,
            action: self.action,
            target: self.target.as_deref(),
            details: "{}",
            request_id: Some(&self.request_id),
        };
        tokens::audit(&mut tx.conn, &audit, tx.now).await?;
        Ok(Answer { status, body, replayed: false })
    }

    async fn refused(&self, tx: &mut Tx<'_>, error: &Self::Error) -> Result<(), DbError> {
        match error {
            OnceError::Command(error) => self.command.refused(tx, error).await,
            OnceError::KeyReused | OnceError::Database(_) => Ok(()),
        }
    }
}
