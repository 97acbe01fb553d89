//! People who may sign in: made, changed and removed by an admin; and where they are signed in.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::auth::{Role, require};
use super::described::{Done, Looked, Written};
use super::extract::{Admin, Body, NoParams, Params};
use super::login::{address, fit, hashed, id};
use super::page::{self, Page, PageParams};
use super::problem::Problem;
use super::shapes::text;
use super::write::{Write, no_key, write};
use crate::ask;
use crate::context::Context;
use crate::db::users::{self, SessionRow, UserRow};
use crate::domain::time::Timestamp;
use crate::people::sessions::SignOut;
use crate::people::users::{ChangeUser, CreateUser, RemoveUser};

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum UserRole {
    Viewer,
    Operator,
    Admin,
}

impl UserRole {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    email: String,
    /// Shown to people; default: the e-mail address.
    name: Option<String>,
    role: UserRole,
    /// 10 to 128 characters, unless set otherwise.
    password: String,
}

/// What is left out stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserChange {
    email: Option<String>,
    name: Option<String>,
    role: Option<UserRole>,
    password: Option<String>,
    /// true: may not sign in, and every session ends.
    disabled: Option<bool>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct UserShape {
    id: String,
    email: String,
    name: String,
    role: String,
    disabled: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_login_at: Option<Timestamp>,
}

impl From<UserRow> for UserShape {
    fn from(u: UserRow) -> Self {
        Self {
            id: u.id.to_string(),
            email: u.email,
            name: u.name,
            role: u.role,
            disabled: u.disabled_at.is_some(),
            created_at: u.created_at,
            last_login_at: u.last_login_at,
        }
    }
}

#[utoipa::path(get, path = "/v1/admin/users", tag = "people", security(("token" = []), ("session" = [])),
    responses((status = 200, body = Page<UserShape>), Looked))]
pub(super) async fn list(request: HttpRequest, _: Params<NoParams>, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Admin).await?;
    let rows = ask!(ctx, Vec<UserRow>, [] | conn | users::list(conn).await)?;
    Ok(HttpResponse::Ok().json(Page::whole(rows.into_iter().map(UserShape::from).collect())))
}

#[utoipa::path(post, path = "/v1/admin/users", tag = "people", request_body = NewUser, security(("token" = []), ("session" = [])),
    responses((status = 201, body = UserShape), (status = 409, description = "somebody has this e-mail address"), Written))]
pub(super) async fn create(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<NewUser, Admin>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Admin).await?;
    no_key(&request)?;
    let shape = body.value;
    let email = address(&shape.email)?;
    if let Some(name) = &shape.name {
        text("/name", name, 100).map_err(|error| Problem::invalid(vec![error]))?;
    }
    fit(&ctx, "/password", &shape.password, &email)?;
    let password_hash = hashed(&ctx, shape.password).await?;
    let name = shape.name.unwrap_or_else(|| email.clone());
    let command = CreateUser { email: email.clone(), name, role: shape.role.as_str(), password_hash };
    let show = |user: UserRow| (StatusCode::CREATED, json!(UserShape::from(user)));
    let (caller, request, target) = (&caller, &request, Some(email));
    write(&ctx, Write { caller, request, body: b"", action: "user.create", target, command, show }).await
}

#[utoipa::path(patch, path = "/v1/admin/users/{id}", tag = "people", params(("id" = String, Path)), request_body = UserChange,
    security(("token" = []), ("session" = [])),
    responses((status = 200, body = UserShape), (status = 404, description = "no such user"),
        (status = 409, description = "the e-mail address is taken, or it is the last admin"), Written))]
pub(super) async fn change(
    request: HttpRequest,
    user: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<UserChange, Admin>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Admin).await?;
    no_key(&request)?;
    let (id, shape) = (id(&user)?, body.value);
    let email = shape.email.as_deref().map(address).transpose()?;
    if let Some(name) = &shape.name {
        text("/name", name, 100).map_err(|error| Problem::invalid(vec![error]))?;
    }
    let password_hash = match shape.password {
        None => None,
        Some(password) => {
            fit(&ctx, "/password", &password, email.as_deref().unwrap_or_default())?;
            Some(hashed(&ctx, password).await?)
        }
    };
    let role = shape.role.map(UserRole::as_str);
    let command = ChangeUser { id, email, name: shape.name, role, password_hash, disabled: shape.disabled, keep_session: None };
    let show = |user: UserRow| (StatusCode::OK, json!(UserShape::from(user)));
    let (caller, request, target) = (&caller, &request, Some(user.into_inner()));
    let done = write(&ctx, Write { caller, request, body: b"", action: "user.change", target, command, show }).await;
    ctx.people.revoke();
    done
}

#[utoipa::path(delete, path = "/v1/admin/users/{id}", tag = "people", params(("id" = String, Path)),
    security(("token" = []), ("session" = [])),
    responses((status = 200, description = "gone, with every session"), (status = 404, description = "no such user"),
        (status = 409, description = "the last admin must stay"), Done))]
pub(super) async fn remove(
    request: HttpRequest,
    user: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Admin).await?;
    let command = RemoveUser(id(&user)?);
    let show = |()| (StatusCode::OK, json!({"removed": true}));
    let (caller, request, target) = (&caller, &request, Some(user.into_inner()));
    let done = write(&ctx, Write { caller, request, body: b"", action: "user.remove", target, command, show }).await;
    ctx.people.revoke();
    done
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SessionShape {
    id: String,
    user_id: String,
    email: String,
    /// The address it was begun from.
    client: Option<String>,
    user_agent: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// To within a minute or two.
    #[schema(value_type = String, format = DateTime)]
    last_used_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl From<SessionRow> for SessionShape {
    fn from(s: SessionRow) -> Self {
        Self {
            id: s.id.to_string(),
            user_id: s.user_id.to_string(),
            email: s.email,
            client: s.client,
            user_agent: s.user_agent,
            created_at: s.created_at,
            last_used_at: s.last_used_at,
            expires_at: s.expires_at,
        }
    }
}

#[utoipa::path(get, path = "/v1/admin/sessions", tag = "people", params(PageParams), security(("token" = []), ("session" = [])),
    responses((status = 200, description = "newest first", body = Page<SessionShape>), Looked))]
pub(super) async fn sessions(
    request: HttpRequest,
    params: Params<PageParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Admin).await?;
    let limit = page::limit(params.0.limit)?;
    let before = page::cursor(params.0.cursor.as_deref())?;
    let rows = ask!(ctx, Vec<SessionRow>, [before: Option<Uuid> = before, limit: i64 = limit] |conn| {
        users::sessions(conn, before, limit + 1).await
    })?;
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |row| row.id, SessionShape::from)))
}

#[utoipa::path(delete, path = "/v1/admin/sessions/{id}", tag = "people", params(("id" = String, Path)),
    security(("token" = []), ("session" = [])),
    responses((status = 200, description = "signed out"), (status = 404, description = "no such session"), Done))]
pub(super) async fn end_session(
    request: HttpRequest,
    session: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Admin).await?;
    let command = SignOut(id(&session)?);
    let show = |()| (StatusCode::OK, json!({"ended": true}));
    let (caller, request, target) = (&caller, &request, Some(session.into_inner()));
    let done = write(&ctx, Write { caller, request, body: b"", action: "session.end", target, command, show }).await;
    ctx.people.revoke();
    done
}
