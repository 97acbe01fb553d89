//! The API's description, made from the handlers themselves. A committed copy is compared by a test.

use actix_web::{HttpResponse, web};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::auth::COOKIE;
use crate::context::Context;

#[derive(OpenApi)]
#[openapi(
    info(title = "stockhub", description = "A real-time stock hub between marketplaces.", license(name = "MIT OR Apache-2.0")),
    paths(
        super::webhooks::receive, super::webhooks::receive_at_secret, super::webhooks::challenge, super::webhooks::older,
        super::orders::place_store, super::orders::place_manual, super::orders::list, super::orders::get,
        super::products::create, super::products::list, super::products::get, super::products::explain, super::stock::change,
        super::stock::top_up, super::listings::create, super::listings::list, super::lists::movements, super::lists::webhooks,
        super::lists::webhook, super::pushes::list, super::alerts::list, super::oversells::list, super::oversells::resolve,
        super::webhook_log::rejected, super::webhook_log::replay, super::webhook_log::replay_many, super::audit::list, super::adapters::list,
        super::marketplaces::list, super::marketplaces::create,
        super::marketplaces::get, super::marketplaces::change, super::marketplaces::pause, super::marketplaces::resume,
        super::marketplaces::rotate, super::marketplaces::archive, super::marketplaces::restore, super::tokens::create, super::tokens::list, super::tokens::revoke,
        super::order_changes::cancel, super::order_changes::take_back, super::order_changes::ship,
        super::order_changes::cancel_store, super::reservations::place, super::reservations::show_one,
        super::reservations::extend, super::reservations::consume, super::reservations::release, super::unmapped::list,
        super::unmapped::map, super::alerts::acknowledge, super::events::list, super::sinks::list, super::sinks::create,
        super::sinks::remove, super::sinks::test, super::dead_letters::list, super::dead_letters::retry,
        super::dead_letters::discard, super::product_change::change, super::places::list, super::places::create,
        super::places::transfer, super::counts::post, super::counts::import_counts, super::counts::export, super::timeline::of_product, super::analytics::show,
        super::repair::repair, super::rules::of_hub, super::rules::of_marketplace, super::rules::of_product,
        super::rules::of_listing, super::rules::set_hub, super::rules::set_marketplace, super::rules::set_product,
        super::rules::set_listing, super::rule_tables::import, super::rule_tables::export,
        super::listing_change::change, super::tables::import_products, super::tables::export_products, super::tables::import_listings,
        super::tables::export_listings, super::tasks::list, super::tasks::pushed,
        super::live::ticket, super::live::live, super::login::setup_needed,
        super::login::set_up, super::login::log_in, super::login::log_out, super::login::show_me, super::login::change_password,
        super::users::list, super::users::create, super::users::change, super::users::remove, super::users::sessions,
        super::users::end_session, super::storefront_keys::list, super::storefront_keys::create, super::storefront_keys::revoke,
        super::sync::start, super::sync::list, super::sync::get, super::sync::refresh, super::reconciliations::start,
        super::reconciliations::list, super::reconciliations::get, super::reconciliations::approve, super::doctor::examine,
        super::health::alive, super::health::ready, super::health::metrics, serve
    ),
    modifiers(&Schemes, &SecondNames)
)]
struct Description;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("a token of the needed role")).build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        let cookie =
            ApiKeyValue::with_description(COOKIE, "what signing in sets; writes with it are taken from the hub's own pages only");
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        components
            .add_security_scheme("storefront_key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Storefront-Key"))));
    }
}

/// Addresses that lead to the same handler as another.
const SECOND_NAMES: [(&str, &str); 2] = [
    ("/api/webhooks/marketplaces/stock-update", "/webhooks/marketplaces/stock-update"),
    ("/v1/products/{sku}/inventory", "/v1/admin/products/{sku}/inventory"),
];

struct SecondNames;

impl Modify for SecondNames {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for (name, of) in SECOND_NAMES {
            let Some(mut item) = openapi.paths.paths.get(of).cloned() else { continue };
            for operation in [&mut item.post, &mut item.patch].into_iter().flatten() {
                // An operation's id is unique.
                operation.operation_id = operation.operation_id.take().map(|id| format!("{id}_second_name"));
            }
            openapi.paths.paths.insert(name.to_owned(), item);
        }
    }
}

pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Description::openapi();
    document.merge(crate::realtime::Description::openapi());
    document
}

#[utoipa::path(get, path = "/openapi.json", tag = "operation", responses((status = 200, description = "this document")))]
pub(super) async fn serve(_: web::Data<Context>) -> HttpResponse {
    HttpResponse::Ok().json(document())
}
