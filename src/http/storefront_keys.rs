//! Keys of storefronts: tokens that only sell. Made, listed and revoked by an admin; a key is shown once.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::auth::{Role, new_token, require};
use super::described::{Done, Looked, Written};
use super::extract::{Admin, Body, NoParams, Params};
use super::login::id;
use super::page::Page;
use super::problem::Problem;
use super::shapes::text;
use super::tokens::{CreateToken, Revoke, Shown};
use super::write::{Write, no_key, write};
use crate::ask;
use crate::context::Context;
use crate::db::tokens::{self, TokenRow};
use crate::domain::time::Timestamp;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    /// For people: which store uses it.
    name: String,
    /// Default: it does not expire.
    #[schema(minimum = 1, maximum = 3650)]
    expires_in_days: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct KeyShape {
    id: String,
    name: String,
    /// The beginning of the key, to tell it from others.
    prefix: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    /// Only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl From<TokenRow> for KeyShape {
    fn from(t: TokenRow) -> Self {
        Self {
            id: t.id.to_string(),
            name: t.name,
            prefix: t.prefix,
            created_at: t.created_at,
            expires_at: t.expires_at,
            last_used_at: t.last_used_at,
            revoked_at: t.revoked_at,
            key: None,
        }
    }
}

#[utoipa::path(get, path = "/v1/admin/storefront-keys", tag = "tokens", security(("token" = []), ("session" = [])),
    responses((status = 200, description = "those made through the API; keys of the settings are not listed", body = Page<KeyShape>), Looked))]
pub(super) async fn list(request: HttpRequest, _: Params<NoParams>, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Admin).await?;
    let rows = ask!(ctx, Vec<TokenRow>, [] | conn | tokens::list(conn).await)?;
    let keys = rows.into_iter().filter(|row| row.role == Role::Storefront.as_str());
    Ok(HttpResponse::Ok().json(Page::whole(keys.map(KeyShape::from).collect())))
}

#[utoipa::path(post, path = "/v1/admin/storefront-keys", tag = "tokens", request_body = NewKey, security(("token" = []), ("session" = [])),
    responses((status = 201, description = "shows the key, once", body = KeyShape), Written))]
pub(super) async fn create(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<NewKey, Admin>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Admin).await?;
    no_key(&request)?;
    let NewKey { name, expires_in_days } = body.value;
    text("/name", &name, 64).map_err(|error| Problem::invalid(vec![error]))?;
    if expires_in_days.is_some_and(|days| !(1..=3_650).contains(&days)) {
        return Err(Problem::field("/expires_in_days", "must be between 1 and 3650"));
    }
    let token = new_token().map_err(|_| Problem::unavailable("no-randomness", "the system gives no random bytes"))?;
    let lifetime = expires_in_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
    let created_by = caller.actor.clone();
    let command = Shown(CreateToken { name: name.clone(), role: Role::Storefront, token, created_by, lifetime });
    let show = |(row, key)| (StatusCode::CREATED, json!(KeyShape { key: Some(key), ..KeyShape::from(row) }));
    let (caller, request, target) = (&caller, &request, Some(name));
    write(&ctx, Write { caller, request, body: b"", action: "storefront_key.create", target, command, show }).await
}

#[utoipa::path(delete, path = "/v1/admin/storefront-keys/{id}", tag = "tokens", params(("id" = String, Path)),
    security(("token" = []), ("session" = [])),
    responses((status = 200, description = "revoked"), (status = 404, description = "no such live key"), Done))]
pub(super) async fn revoke(
    request: HttpRequest,
    key: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Admin).await?;
    let command = Revoke { id: id(&key)?, only: Some(Role::Storefront) };
    let show = |()| (StatusCode::OK, json!({"revoked": true}));
    let (caller, request, target) = (&caller, &request, Some(key.into_inner()));
    write(&ctx, Write { caller, request, body: b"", action: "storefront_key.revoke", target, command, show }).await
}
