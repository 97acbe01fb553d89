//! The API's description, made from the handlers themselves. A committed copy is compared by a test.

use actix_web::{HttpResponse, web};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::context::Context;

#[derive(OpenApi)]
#[openapi(
    info(title = "stockhub", description = "A real-time stock hub between marketplaces.", license(name = "MIT OR Apache-2.0")),
    paths(
        super::webhooks::receive, super::webhooks::receive_at_secret, super::webhooks::challenge, super::webhooks::older, super::orders::place_store, super::orders::place_manual, super::orders::list,
        super::orders::get, super::products::create, super::products::list, super::products::get, super::products::explain,
        super::stock::change, super::stock::top_up, super::listings::create, super::listings::list, super::lists::movements,
        super::lists::webhooks, super::lists::webhook, super::webhook_log::rejected, super::webhook_log::replay, super::webhook_log::replay_many, super::lists::pushes, super::lists::alerts, super::lists::oversells,
        super::lists::audit, super::lists::marketplaces, super::tokens::create, super::tokens::list, super::tokens::revoke,
        super::health::alive, super::health::ready, super::health::metrics, serve
    ),
    modifiers(&Schemes)
)]
struct Description;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("a token of the needed role")).build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        components
            .add_security_scheme("storefront_key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Storefront-Key"))));
    }
}

pub fn document() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

#[utoipa::path(get, path = "/openapi.json", tag = "operation", responses((status = 200, description = "this document")))]
pub(super) async fn serve(_: web::Data<Context>) -> HttpResponse {
    HttpResponse::Ok().json(document())
}
