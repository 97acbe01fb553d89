//! An alert that somebody has seen. It ends by itself when its cause does.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use uuid::Uuid;

use super::auth::{Role, require};
use super::problem::{FieldError, Problem};
use super::write::{Write, write};
use crate::context::Context;
use crate::db::{DbError, alerts};
use crate::pipeline::writer::Command;
use crate::pipeline::{CommandError, Tx};

struct Acknowledge {
    id: Uuid,
    by: String,
}

#[derive(Debug, thiserror::Error)]
enum AckError {
    #[error("no such alert")]
    Unknown,
    #[error("the alert is over")]
    Resolved,
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for AckError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

impl From<AckError> for Problem {
    fn from(error: AckError) -> Self {
        match error {
            AckError::Unknown => Self::not_found("unknown-alert", "there is no such alert"),
            AckError::Resolved => Self::conflict("alert-resolved", "the alert is over already"),
            AckError::Database(error) => error.into(),
        }
    }
}

impl Command for Acknowledge {
    type Output = ();
    type Error = AckError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), AckError> {
        match alerts::acknowledge(&mut tx.conn, self.id, &self.by, tx.now).await?.as_deref() {
            None => Err(AckError::Unknown),
            Some("resolved") => Err(AckError::Resolved),
            // Twice is once.
            Some(_) => Ok(()),
        }
    }
}

#[utoipa::path(post, path = "/v1/admin/alerts/{id}/ack", tag = "alerts", params(("id" = String, Path)), security(("token" = [])),
    responses((status = 200, description = "acknowledged"), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 404, description = "no such alert"), (status = 409, description = "it is over already"), (status = 422, description = "no id"),
        (status = 503, description = "try again")))]
pub(super) async fn acknowledge(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let uuid = Uuid::try_parse(&id).map_err(|_| Problem::invalid(vec![FieldError::new("id", "is not an id")]))?;
    let command = Acknowledge { id: uuid, by: caller.actor.clone() };
    let show = |()| (StatusCode::OK, json!({"state": "acknowledged"}));
    let (target, caller, request) = (Some(id.into_inner()), &caller, &request);
    write(&ctx, Write { caller, request, body: b"", action: "alert.ack", target, command, show }).await
}
