//! Allocation rules: of the hub, a marketplace, a product, a listing. A rule is written whole; what it does not name is inherited.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::auth::{Role, require};
use super::extract::{Admin, Body, Needs, Operator};
use super::problem::{FieldError, Problem};
use super::write::{Write, write};
use crate::ask;
use crate::context::Context;
use crate::db::{products, rules};
use crate::domain::ids::ListingId;
use crate::domain::rule::Rule;
use crate::marketplaces::Connection;
use crate::pipeline::rules::preview::Ask;
use crate::pipeline::rules::{Scope, SetRule};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleBody {
    #[schema(value_type = Object)]
    rule: Rule,
    /// The token of a 409 `needs-confirmation`, to do it all the same.
    confirm: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct RuleShape {
    /// As it was written here.
    #[schema(value_type = Object)]
    rule: Rule,
    /// Keys that the settings name: they win over `rule`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    settings: Option<Rule>,
    /// What is in force for everything below that says nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    effective: Option<Rule>,
}

fn marketplace(ctx: &Context, code: &str) -> Result<Arc<Connection>, Problem> {
    let found = ctx.kit.registry.by_code(code);
    found.ok_or_else(|| Problem::not_found("unknown-marketplace", "there is no such marketplace"))
}

fn listing(id: &str) -> Result<ListingId, Problem> {
    Uuid::try_parse(id).map(ListingId::new).map_err(|_| Problem::invalid(vec![FieldError::new("id", "is not an id")]))
}

#[utoipa::path(get, path = "/v1/admin/rules", tag = "rules", security(("token" = [])),
    responses((status = 200, body = RuleShape), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 503, description = "try again")))]
pub(super) async fn of_hub(request: HttpRequest, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let book = ctx.kit.rules.get();
    let shape = RuleShape { rule: book.hub.clone(), settings: Some(book.settings.clone()), effective: Some(book.of_hub()) };
    Ok(HttpResponse::Ok().json(shape))
}

#[utoipa::path(get, path = "/v1/admin/marketplaces/{code}/rule", tag = "rules", params(("code" = String, Path)), security(("token" = [])),
    responses((status = 200, body = RuleShape), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 404, description = "no such marketplace"), (status = 503, description = "try again")))]
pub(super) async fn of_marketplace(
    request: HttpRequest,
    code: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let connection = marketplace(&ctx, &code)?;
    let book = ctx.kit.rules.get();
    let rule = book.marketplaces.get(&connection.id).cloned().unwrap_or_default();
    let settings = Some(connection.policy.rule.clone());
    Ok(HttpResponse::Ok().json(RuleShape { rule, settings, effective: Some(book.of_marketplace(&connection)) }))
}

#[utoipa::path(get, path = "/v1/admin/products/{sku}/rule", tag = "rules", params(("sku" = String, Path)), security(("token" = [])),
    responses((status = 200, body = RuleShape), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 404, description = "no such product"), (status = 503, description = "try again")))]
pub(super) async fn of_product(
    request: HttpRequest,
    sku: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let found: Option<String> = ask!(ctx, Option<String>, [sku: String = sku.into_inner()] |conn| {
        Ok(products::get(conn, &sku).await?.map(|row| row.rule))
    })?;
    let text = found.ok_or_else(|| Problem::not_found("unknown-sku", "there is no product with this SKU"))?;
    shown(&text)
}

#[utoipa::path(get, path = "/v1/admin/listings/{id}/rule", tag = "rules", params(("id" = String, Path)), security(("token" = [])),
    responses((status = 200, body = RuleShape), (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 404, description = "no such listing"), (status = 422, description = "no id"), (status = 503, description = "try again")))]
pub(super) async fn of_listing(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let found: Option<String> =
        ask!(ctx, Option<String>, [id: ListingId = listing(&id)?] | conn | rules::of_listing(conn, id).await)?;
    let text = found.ok_or_else(|| Problem::not_found("unknown-listing", "there is no such listing"))?;
    shown(&text)
}

fn shown(text: &str) -> Result<HttpResponse, Problem> {
    let rule = serde_json::from_str(text).map_err(|_| crate::db::DbError::inconsistent("rules", "rule", text))?;
    Ok(HttpResponse::Ok().json(RuleShape { rule, settings: None, effective: None }))
}

#[utoipa::path(put, path = "/v1/admin/rules", tag = "rules", request_body = RuleBody, security(("token" = [])),
    responses((status = 200, body = RuleShape), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 408, description = "too slow"),
        (status = 409, description = "too many products would show 0: look at the preview and confirm"), (status = 413, description = "too large"),
        (status = 415, description = "no JSON"), (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn set_hub(
    request: HttpRequest,
    ctx: web::Data<Context>,
    body: Body<RuleBody, Admin>,
) -> Result<HttpResponse, Problem> {
    set(&request, &ctx, &body, Scope::Hub, "hub".into()).await
}

#[utoipa::path(put, path = "/v1/admin/marketplaces/{code}/rule", tag = "rules", params(("code" = String, Path)), request_body = RuleBody,
    security(("token" = [])),
    responses((status = 200, body = RuleShape), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 404, description = "no such marketplace"), (status = 408, description = "too slow"),
        (status = 409, description = "too many products would show 0: look at the preview and confirm"), (status = 413, description = "too large"),
        (status = 415, description = "no JSON"), (status = 422, description = "names each field"), (status = 503, description = "try again")))]
pub(super) async fn set_marketplace(
    request: HttpRequest,
    code: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<RuleBody, Admin>,
) -> Result<HttpResponse, Problem> {
    let connection = marketplace(&ctx, &code)?;
    if connection.is_archived() {
        return Err(super::marketplaces::archived());
    }
    let scope = Scope::Marketplace(connection.id);
    set(&request, &ctx, &body, scope, code.into_inner()).await
}

#[utoipa::path(put, path = "/v1/admin/products/{sku}/rule", tag = "rules", params(("sku" = String, Path)), request_body = RuleBody,
    security(("token" = [])),
    responses((status = 200, body = RuleShape), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 404, description = "no such product"), (status = 408, description = "too slow"),
        (status = 413, description = "too large"), (status = 415, description = "no JSON"), (status = 422, description = "names each field"),
        (status = 503, description = "try again")))]
pub(super) async fn set_product(
    request: HttpRequest,
    sku: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<RuleBody, Operator>,
) -> Result<HttpResponse, Problem> {
    let sku = sku.into_inner();
    set(&request, &ctx, &body, Scope::Product(sku.clone()), sku).await
}

#[utoipa::path(put, path = "/v1/admin/listings/{id}/rule", tag = "rules", params(("id" = String, Path)), request_body = RuleBody,
    security(("token" = [])),
    responses((status = 200, body = RuleShape), (status = 400, description = "no JSON"), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 404, description = "no such listing"), (status = 408, description = "too slow"),
        (status = 413, description = "too large"), (status = 415, description = "no JSON"), (status = 422, description = "names each field"),
        (status = 503, description = "try again")))]
pub(super) async fn set_listing(
    request: HttpRequest,
    id: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<RuleBody, Operator>,
) -> Result<HttpResponse, Problem> {
    set(&request, &ctx, &body, Scope::Listing(listing(&id)?), id.into_inner()).await
}

async fn set<N: Needs>(
    request: &HttpRequest,
    ctx: &web::Data<Context>,
    body: &Body<RuleBody, N>,
    scope: Scope,
    target: String,
) -> Result<HttpResponse, Problem> {
    let mass = matches!(scope, Scope::Hub | Scope::Marketplace(_));
    let caller = require(request, ctx, if mass { Role::Admin } else { Role::Operator }).await?;
    let RuleBody { rule, confirm } = &body.value;
    let errors: Vec<_> = rule.validate().into_iter().map(|(field, why)| FieldError::new(format!("/rule/{field}"), why)).collect();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    if let Some(question) = Ask::new(&ctx.kit, &scope, rule) {
        let preview = ctx.ask(question).await?;
        let token = preview.token(&scope, rule);
        if preview.needs_confirmation() && confirm.as_ref() != Some(&token) {
            let detail = format!("{} of {} products shown would go to zero", preview.to_zero, preview.shown);
            return Err(Problem {
                more: vec![("confirm", json!(token)), ("preview", json!(preview))],
                ..Problem::conflict("needs-confirmation", detail)
            });
        }
    }
    let command = SetRule { scope, rule: rule.clone(), actor: caller.actor.clone() };
    let show = |rule: Rule| (StatusCode::OK, json!(RuleShape { rule, settings: None, effective: None }));
    let (caller, body, target) = (&caller, &body.bytes[..], Some(target));
    write(ctx, Write { caller, request, body, action: "rule.set", target, command, show }).await
}
