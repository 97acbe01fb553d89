//! API tokens: made, listed and revoked by an admin. A token is shown once.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

use super::auth::{Role, hash, new_token, require};
use super::extract::{Admin, Body, NoParams, Params};
use super::page::Page;
use super::problem::{FieldError, Problem};
use super::shapes::text;
use super::write::{Write, no_key, write};
use crate::ask;
use crate::context::Context;
use crate::db::DbError;
use crate::db::tokens::{self, NewToken, TokenRow};
use crate::domain::time::Timestamp;
use crate::pipeline::writer::Command;
use crate::pipeline::{CommandError, Tx};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTokenShape {
    /// For people: what uses it.
    name: String,
    role: TokenRole,
    /// Default: it does not expire.
    #[schema(minimum = 1, maximum = 3650)]
    expires_in_days: Option<u32>,
}

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum TokenRole {
    Storefront,
    Viewer,
    Operator,
    Admin,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct TokenShape {
    id: String,
    name: String,
    role: String,
    /// The beginning of the token, to tell it from others.
    prefix: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// To within a minute or two.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    /// Only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl From<TokenRow> for TokenShape {
    fn from(t: TokenRow) -> Self {
        Self {
            id: t.id.to_string(),
            name: t.name,
            role: t.role,
            prefix: t.prefix,
            created_at: t.created_at,
            expires_at: t.expires_at,
            last_used_at: t.last_used_at,
            revoked_at: t.revoked_at,
            token: None,
        }
    }
}

/// Writes a new token's hash. Also what the first start and the command line use.
pub struct CreateToken {
    pub name: String,
    pub role: Role,
    pub token: String,
    pub created_by: String,
    pub lifetime: Option<Duration>,
}

impl Command for CreateToken {
    type Output = TokenRow;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<TokenRow, DbError> {
        let row = TokenRow {
            id: tx.id(),
            name: self.name.clone(),
            prefix: self.token.chars().take(8).collect(),
            role: self.role.as_str().into(),
            created_at: tx.now,
            expires_at: self.lifetime.map(|span| tx.now.plus(span)),
            last_used_at: None,
            revoked_at: None,
        };
        let new = NewToken {
            id: row.id,
            name: &row.name,
            hash: &hash(&self.token),
            prefix: &row.prefix,
            role: &row.role,
            created_by: &self.created_by,
            expires_at: row.expires_at,
        };
        tokens::insert(&mut tx.conn, &new, tx.now).await?;
        Ok(row)
    }
}

/// A token made, and the token itself to show.
pub(super) struct Shown(pub CreateToken);

impl Command for Shown {
    type Output = (TokenRow, String);
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Self::Output, DbError> {
        Ok((self.0.run(tx).await?, self.0.token.clone()))
    }
}

#[utoipa::path(post, path = "/v1/admin/tokens", tag = "tokens", request_body = NewTokenShape, security(("token" = [])),
    responses((status = 201, description = "shows the token, once", body = TokenShape), (status = 400, description = "no JSON"),
        (status = 401, description = "no token"), (status = 403, description = "another role"), (status = 408, description = "too slow"),
        (status = 413, description = "too large"), (status = 415, description = "no JSON"), (status = 422, description = "names each field"),
        (status = 503, description = "try again")))]
pub(super) async fn create(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<NewTokenShape, Admin>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Admin).await?;
    let shape = &body.value;
    text("/name", &shape.name, 64).map_err(|error| Problem::invalid(vec![error]))?;
    if shape.expires_in_days.is_some_and(|days| !(1..=3_650).contains(&days)) {
        return Err(Problem::field("/expires_in_days", "must be between 1 and 3650"));
    }
    no_key(&request)?;
    let token = new_token().map_err(|_| Problem::unavailable("no-randomness", "the system gives no random bytes"))?;
    let role = match shape.role {
        TokenRole::Storefront => Role::Storefront,
        TokenRole::Viewer => Role::Viewer,
        TokenRole::Operator => Role::Operator,
        TokenRole::Admin => Role::Admin,
    };
    let lifetime = shape.expires_in_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
    let command = Shown(CreateToken { name: shape.name.clone(), role, token, created_by: caller.actor.clone(), lifetime });
    let show = |(row, token)| (StatusCode::CREATED, json!(TokenShape { token: Some(token), ..TokenShape::from(row) }));
    let (target, caller, request, body) = (Some(shape.name.clone()), &caller, &request, &body.bytes[..]);
    write(&ctx, Write { caller, request, body, action: "token.create", target, command, show }).await
}

#[utoipa::path(get, path = "/v1/admin/tokens", tag = "tokens", security(("token" = [])),
    responses((status = 200, body = Page<TokenShape>), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 422, description = "takes no parameters"), (status = 503, description = "try again")))]
pub(super) async fn list(request: HttpRequest, _: Params<NoParams>, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Admin).await?;
    let rows = ask!(ctx, Vec<TokenRow>, [] | conn | tokens::list(conn).await)?;
    Ok(HttpResponse::Ok().json(Page::whole(rows.into_iter().map(TokenShape::from).collect())))
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RevokeError {
    #[error("no such token")]
    Unknown,
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for RevokeError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

impl From<RevokeError> for Problem {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Unknown => Self::not_found("unknown-token", "there is no such live token"),
            RevokeError::Database(error) => error.into(),
        }
    }
}

pub(super) struct Revoke {
    pub id: Uuid,
    /// Only where it has this role.
    pub only: Option<Role>,
}

impl Command for Revoke {
    type Output = ();
    type Error = RevokeError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), RevokeError> {
        if let Some(role) = self.only {
            let row = tokens::by_id(&mut tx.conn, self.id).await?;
            row.filter(|row| row.role == role.as_str()).ok_or(RevokeError::Unknown)?;
        }
        if tokens::revoke(&mut tx.conn, self.id, tx.now).await? { Ok(()) } else { Err(RevokeError::Unknown) }
    }
}

#[utoipa::path(delete, path = "/v1/admin/tokens/{id}", tag = "tokens", params(("id" = String, Path)), security(("token" = [])),
    responses((status = 200, description = "revoked"), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 404, description = "no such live token"), (status = 422, description = "no id"), (status = 503, description = "try again")))]
pub(super) async fn revoke(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Admin).await?;
    let uuid = Uuid::try_parse(&id).map_err(|_| Problem::invalid(vec![FieldError::new("id", "is not an id")]))?;
    let show = |()| (StatusCode::OK, json!({"revoked": true}));
    let (target, caller, request) = (Some(id.into_inner()), &caller, &request);
    let command = Revoke { id: uuid, only: None };
    let done = write(&ctx, Write { caller, request, body: b"", action: "token.revoke", target, command, show }).await;
    ctx.people.revoke();
    done
}
