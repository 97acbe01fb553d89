//! Which adapters there are, and what each needs to know: what a person looks at before declaring a marketplace.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::{Role, require};
use super::extract::{NoParams, Params};
use super::page::Page;
use super::problem::Problem;
use crate::context::Context;
use crate::marketplaces::Adapter;

#[derive(Serialize, ToSchema)]
pub struct AdapterShape {
    id: &'static str,
    /// The version of its file; 0: it is part of the program.
    version: i64,
    kind: &'static str,
    /// Names for `[marketplaces.account]`.
    account: Vec<&'static str>,
    /// Those of them without which it asks for nothing.
    account_needed: Vec<&'static str>,
    /// Names for `[marketplaces.secrets]`.
    secrets: Vec<&'static str>,
    /// Those of them without which it asks for nothing.
    secrets_needed: Vec<&'static str>,
    refs: AdapterRefsShape,
    /// Where it asks, where a marketplace names no address of its own.
    base_url: Option<&'static str>,
    webhooks: bool,
    polls_orders: bool,
    reads_stock: bool,
    /// When it was last held against the marketplace's documents.
    verified_on: Option<&'static str>,
}

/// What must, and what may, be known of a listing.
#[derive(Serialize, ToSchema)]
pub struct AdapterRefsShape {
    required: Vec<&'static str>,
    optional: Vec<&'static str>,
}

impl AdapterShape {
    fn of(adapter: &dyn Adapter) -> Self {
        let (traits, about, refs) = (adapter.traits(), adapter.about(), adapter.refs());
        Self {
            id: adapter.id(),
            version: about.version,
            kind: traits.kind.as_str(),
            account: adapter.account().to_vec(),
            account_needed: about.account_needed.to_vec(),
            secrets: adapter.secrets().to_vec(),
            secrets_needed: about.secrets_needed.to_vec(),
            refs: AdapterRefsShape { required: refs.required.to_vec(), optional: refs.optional.to_vec() },
            base_url: about.base_url,
            webhooks: !adapter.schemes().is_empty(),
            polls_orders: traits.abilities.orders.is_some(),
            reads_stock: traits.abilities.stock || traits.abilities.stock_of.is_some(),
            verified_on: about.verified_on,
        }
    }
}

/// The same for the command line.
pub fn shape(adapter: &dyn Adapter) -> Value {
    serde_json::to_value(AdapterShape::of(adapter)).unwrap_or_default()
}

#[utoipa::path(get, path = "/v1/admin/adapters", tag = "marketplaces", security(("token" = [])),
    responses((status = 200, body = Page<AdapterShape>), (status = 401, description = "no token"),
        (status = 403, description = "another role"), (status = 422, description = "takes no parameters")))]
pub(super) async fn list(request: HttpRequest, _: Params<NoParams>, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let items = ctx.kit.registry.catalogue().all().iter().map(|adapter| AdapterShape::of(&**adapter)).collect();
    Ok(HttpResponse::Ok().json(Page::whole(items)))
}
