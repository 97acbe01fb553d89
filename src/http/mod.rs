//! The doors. This page is the whole route table; every handler is thin: extract, call, answer.

pub mod auth;
pub mod extract;
pub mod problem;
pub mod shapes;

mod account_health;
mod adapters;
mod alerts;
mod dead_letters;
pub mod analytics;
mod audit;
mod counts;
mod csv;
mod csv_read;
pub(crate) mod client;
mod dashboard;
mod demo;
mod docs;
mod described;
mod doctor;
mod events;
mod health;
mod import;
mod listings;
mod listing_change;
mod lists;
pub mod live;
pub mod live_feed;
mod login;
mod marketplaces;
mod openapi;
mod order_changes;
mod orders;
mod oversells;
mod page;
mod places;
mod product_change;
mod pushes;
mod products;
mod reservations;
mod repair;
mod rule_tables;
mod rules;
mod reconciliations;
mod same_site;
mod serve;
mod sinks;
mod storefront_keys;
mod stock;
mod sync;
mod tasks;
mod table;
mod tables;
mod timeline;
mod tokens;
mod unmapped;
mod users;
mod webhook_log;
mod webhooks;
mod write;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::{self, ServiceConfig, delete, get, patch, post, put};
use actix_web::{HttpMessage as _, HttpRequest, Resource, Route};

use crate::context::Context;
use crate::realtime;
pub use adapters::shape as adapter_shape;
pub use csv_read::read_table;
pub use openapi::document as openapi_document;
pub use serve::serve;
pub use tokens::CreateToken;

/// Every route of the hub. Fixed names stand before patterns that would take them.
pub fn configure(cfg: &mut ServiceConfig) {
    doors(cfg);
    goods(cfg);
    readings(cfg);
    operations(cfg);
    channels(cfg);
    people(cfg);
    cfg.configure(realtime::configure).default_service(web::to(nothing_here));
}

/// Where marketplaces, shops and those who watch the hub knock.
fn doors(cfg: &mut ServiceConfig) {
    cfg.service(at("/", "GET", [get().to(dashboard::page)]))
        .service(at("/dashboard/{name:.+}", "GET", [get().to(dashboard::file)]))
        .service(at("/webhooks/marketplaces/stock-update", "POST", [post().to(webhooks::older)]))
        .service(at("/api/webhooks/marketplaces/stock-update", "POST", [post().to(webhooks::older)]))
        .service(at("/webhooks/{marketplace}", "GET, POST", [get().to(webhooks::challenge), post().to(webhooks::receive)]))
        .service(at("/webhooks/{marketplace}/{path_secret}", "POST", [post().to(webhooks::receive_at_secret)]))
        .service(at("/v1/store/orders", "POST", [post().to(orders::place_store)]))
        .service(at("/v1/store/orders/{id}/cancel", "POST", [post().to(order_changes::cancel_store)]))
        .service(at("/v1/store/reservations", "POST", [post().to(reservations::place)]))
        .service(at("/v1/store/reservations/{id}/extend", "POST", [post().to(reservations::extend)]))
        .service(at("/v1/store/reservations/{id}/consume", "POST", [post().to(reservations::consume)]))
        .service(at(
            "/v1/store/reservations/{id}",
            "DELETE, GET",
            [delete().to(reservations::release), get().to(reservations::show_one)],
        ))
        .service(at("/healthz", "GET", [get().to(health::alive)]))
        .service(at("/readyz", "GET", [get().to(health::ready)]))
        .service(at("/metrics", "GET", [get().to(health::metrics)]))
        .service(at("/openapi.json", "GET", [get().to(openapi::serve)]))
        .service(at("/docs", "GET", [get().to(docs::page)]))
        .service(at("/docs/{part:docs.js|docs.css}", "GET", [get().to(docs::page)]))
        .service(at("/demo/buy", "POST", [post().to(demo::buy)]));
}

/// What there is to sell, how much of it, and what each marketplace is shown.
fn goods(cfg: &mut ServiceConfig) {
    cfg.service(at("/v1/products/{sku}/inventory", "PATCH", [patch().to(stock::change)]))
        .service(at("/v1/admin/products/{sku}/inventory", "PATCH", [patch().to(stock::change)]))
        .service(at("/v1/admin/products/{sku}/topup", "POST", [post().to(stock::top_up)]))
        .service(at("/v1/admin/products/{sku}/explain", "GET", [get().to(products::explain)]))
        .service(at("/v1/admin/products/import", "POST", [post().to(tables::import_products)]))
        .service(at("/v1/admin/products/export", "GET", [get().to(tables::export_products)]))
        .service(at("/v1/admin/listings/import", "POST", [post().to(tables::import_listings)]))
        .service(at("/v1/admin/listings/export", "GET", [get().to(tables::export_listings)]))
        .service(at("/v1/admin/products/{sku}", "GET, PATCH", [get().to(products::get), patch().to(product_change::change)]))
        .service(at("/v1/admin/products", "GET, POST", [get().to(products::list), post().to(products::create)]))
        .service(at("/v1/admin/rules/import", "POST", [post().to(rule_tables::import)]))
        .service(at("/v1/admin/rules/export", "GET", [get().to(rule_tables::export)]))
        .service(at("/v1/admin/rules", "GET, PUT", [get().to(rules::of_hub), put().to(rules::set_hub)]))
        .service(at(
            "/v1/admin/marketplaces/{code}/rule",
            "GET, PUT",
            [get().to(rules::of_marketplace), put().to(rules::set_marketplace)],
        ))
        .service(at("/v1/admin/products/{sku}/rule", "GET, PUT", [get().to(rules::of_product), put().to(rules::set_product)]))
        .service(at("/v1/admin/listings/{id}/rule", "GET, PUT", [get().to(rules::of_listing), put().to(rules::set_listing)]))
        .service(at("/v1/admin/products/{sku}/timeline", "GET", [get().to(timeline::of_product)]))
        .service(at("/v1/admin/verify/repair", "POST", [post().to(repair::repair)]))
        .service(at("/v1/admin/analytics", "GET", [get().to(analytics::show)]))
        .service(at("/v1/admin/locations", "GET, POST", [get().to(places::list), post().to(places::create)]))
        .service(at("/v1/admin/transfers", "POST", [post().to(places::transfer)]))
        .service(at("/v1/admin/counts/import", "POST", [post().to(counts::import_counts)]))
        .service(at("/v1/admin/counts/export", "GET", [get().to(counts::export)]))
        .service(at("/v1/admin/counts", "POST", [post().to(counts::post)]))
        .service(at("/v1/admin/tasks", "GET", [get().to(tasks::list)]))
        .service(at("/v1/admin/listings/{id}/pushed", "POST", [post().to(tasks::pushed)]))
        .service(at("/v1/admin/listings/{id}", "PATCH", [patch().to(listing_change::change)]))
        .service(at("/v1/admin/listings", "GET, POST", [get().to(listings::list), post().to(listings::create)]));
}

/// What marketplaces are asked, and what came of it.
fn readings(cfg: &mut ServiceConfig) {
    cfg.service(at("/v1/admin/sync", "POST", [post().to(sync::start)]))
        .service(at("/v1/admin/sync-logs", "GET", [get().to(sync::list)]))
        .service(at("/v1/admin/sync-logs/{id}", "GET", [get().to(sync::get)]))
        .service(at("/v1/admin/listings/{id}/refresh", "POST", [post().to(sync::refresh)]))
        .service(at(
            "/v1/admin/reconciliations",
            "GET, POST",
            [get().to(reconciliations::list), post().to(reconciliations::start)],
        ))
        .service(at("/v1/admin/reconciliations/{id}/approve", "POST", [post().to(reconciliations::approve)]))
        .service(at("/v1/admin/reconciliations/{id}", "GET", [get().to(reconciliations::get)]))
        .service(at("/v1/admin/marketplaces/{code}/doctor", "POST", [post().to(doctor::examine)]));
}

/// What came in, what went out, what needs a person, and who may do what.
fn operations(cfg: &mut ServiceConfig) {
    cfg.service(at("/v1/admin/orders", "GET, POST", [get().to(orders::list), post().to(orders::place_manual)]))
        .service(at("/v1/admin/orders/{id}/cancel", "POST", [post().to(order_changes::cancel)]))
        .service(at("/v1/admin/orders/{id}/return", "POST", [post().to(order_changes::take_back)]))
        .service(at("/v1/admin/orders/{id}/ship", "POST", [post().to(order_changes::ship)]))
        .service(at("/v1/admin/orders/{id}", "GET", [get().to(orders::get)]))
        .service(at("/v1/admin/unmapped", "GET", [get().to(unmapped::list)]))
        .service(at("/v1/admin/unmapped/{id}/map", "POST", [post().to(unmapped::map)]))
        .service(at("/v1/admin/movements", "GET", [get().to(lists::movements)]))
        .service(at("/v1/admin/webhooks", "GET", [get().to(lists::webhooks)]))
        .service(at("/v1/admin/webhooks/rejected", "GET", [get().to(webhook_log::rejected)]))
        .service(at("/v1/admin/webhooks/replay", "POST", [post().to(webhook_log::replay_many)]))
        .service(at("/v1/admin/webhooks/{id}/replay", "POST", [post().to(webhook_log::replay)]))
        .service(at("/v1/admin/webhooks/{id}", "GET", [get().to(lists::webhook)]))
        .service(at("/v1/admin/pushes", "GET", [get().to(pushes::list)]))
        .service(at("/v1/admin/alerts", "GET", [get().to(alerts::list)]))
        .service(at("/v1/admin/oversells", "GET", [get().to(oversells::list)]))
        .service(at("/v1/admin/oversells/{id}/resolve", "POST", [post().to(oversells::resolve)]))
        .service(at("/v1/admin/alerts/{id}/ack", "POST", [post().to(alerts::acknowledge)]))
        .service(at("/v1/admin/events", "GET", [get().to(events::list)]))
        .service(at("/v1/admin/sinks", "GET, POST", [get().to(sinks::list), post().to(sinks::create)]))
        .service(at("/v1/admin/sinks/{id}", "DELETE", [delete().to(sinks::remove)]))
        .service(at("/v1/admin/sinks/{id}/test", "POST", [post().to(sinks::test)]))
        .service(at("/v1/admin/dead-letters", "GET", [get().to(dead_letters::list)]))
        .service(at("/v1/admin/dead-letters/{id}/retry", "POST", [post().to(dead_letters::retry)]))
        .service(at("/v1/admin/dead-letters/{id}/discard", "POST", [post().to(dead_letters::discard)]))
        .service(at("/v1/admin/audit", "GET", [get().to(audit::list)]));
}

/// Where the hub sells.
fn channels(cfg: &mut ServiceConfig) {
    cfg.service(at("/v1/admin/adapters", "GET", [get().to(adapters::list)]))
        .service(at("/v1/admin/marketplaces", "GET, POST", [get().to(marketplaces::list), post().to(marketplaces::create)]))
        .service(at("/v1/admin/marketplaces/{code}/pause", "POST", [post().to(marketplaces::pause)]))
        .service(at("/v1/admin/marketplaces/{code}/resume", "POST", [post().to(marketplaces::resume)]))
        .service(at("/v1/admin/marketplaces/{code}/archive", "POST", [post().to(marketplaces::archive)]))
        .service(at("/v1/admin/marketplaces/{code}/restore", "POST", [post().to(marketplaces::restore)]))
        .service(at("/v1/admin/marketplaces/{code}/rotate-secret", "POST", [post().to(marketplaces::rotate)]))
        .service(at(
            "/v1/admin/marketplaces/{code}",
            "GET, PATCH",
            [get().to(marketplaces::get), patch().to(marketplaces::change)],
        ));
}

/// Who may come in: people, their sessions, tokens and keys.
fn people(cfg: &mut ServiceConfig) {
    cfg.service(at("/v1/admin/live/ticket", "POST", [post().to(live::ticket)]))
        .service(at("/v1/admin/live", "GET", [get().to(live::live)]))
        .service(at("/v1/auth/setup", "GET, POST", [get().to(login::setup_needed), post().to(login::set_up)]))
        .service(at("/v1/auth/login", "POST", [post().to(login::log_in)]))
        .service(at("/v1/auth/logout", "POST", [post().to(login::log_out)]))
        .service(at("/v1/auth/me", "GET", [get().to(login::show_me)]))
        .service(at("/v1/auth/password", "POST", [post().to(login::change_password)]))
        .service(at("/v1/admin/users", "GET, POST", [get().to(users::list), post().to(users::create)]))
        .service(at("/v1/admin/users/{id}", "DELETE, PATCH", [delete().to(users::remove), patch().to(users::change)]))
        .service(at("/v1/admin/sessions", "GET", [get().to(users::sessions)]))
        .service(at("/v1/admin/sessions/{id}", "DELETE", [delete().to(users::end_session)]))
        .service(at(
            "/v1/admin/storefront-keys",
            "GET, POST",
            [get().to(storefront_keys::list), post().to(storefront_keys::create)],
        ))
        .service(at("/v1/admin/storefront-keys/{id}", "DELETE", [delete().to(storefront_keys::revoke)]))
        .service(at("/v1/admin/tokens", "GET, POST", [get().to(tokens::list), post().to(tokens::create)]))
        .service(at("/v1/admin/tokens/{id}", "DELETE", [delete().to(tokens::revoke)]));
}

/// An address and what it takes; anything else is 405 with `Allow`.
pub(crate) fn at<const N: usize>(path: &str, allow: &'static str, routes: [Route; N]) -> Resource {
    let resource = routes.into_iter().fold(web::resource(path), Resource::route);
    resource.default_service(web::to(move || std::future::ready(Err::<String, _>(problem::Problem::method_not_allowed(allow)))))
}

async fn nothing_here() -> Result<String, problem::Problem> {
    Err(problem::Problem::not_found("not-found", "there is nothing at this address"))
}

#[derive(Clone)]
struct RequestId(String);

fn request_id(request: &HttpRequest) -> String {
    request.extensions().get::<RequestId>().map_or(String::new(), |id| id.0.clone())
}

/// Addresses that answer for as long as somebody listens.
const STREAMS: [&str; 4] = ["/v1/stock/ws", "/v1/stock/stream", "/v1/stock/poll", "/v1/admin/live"];

/// Around every request: an id, the security headers, and errors as problem documents.
pub async fn around(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let id = request
        .app_data::<web::Data<Context>>()
        .map_or(String::new(), |ctx| ctx.kit.chance.id(ctx.kit.clock.now()).simple().to_string());
    request.extensions_mut().insert(RequestId(id.clone()));
    // Whoever asks for the head alone is answered as a GET; the server leaves the body out. What streams has no head to show.
    if request.method() == Method::HEAD && !STREAMS.contains(&request.path()) {
        request.head_mut().method = Method::GET;
    }
    // The request must not be held here: routing needs it alone.
    let response = next.call(request).await?.map_into_boxed_body();
    let mut response = problem::finish(response, &id);
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    Ok(response)
}
