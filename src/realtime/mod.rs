//! Real-time: how a browser learns a stock.
//!
//! The hub sends state, not messages: a client that missed a hundred changes of one SKU needs one number. Read in this order:
//!
//! - `table`: the latest state per SKU and the ring of last changes. Every answer comes from here.
//! - `engine`: the table, its lock, and the signal that the head moved. What the rest of the hub publishes into.
//! - `cursor`, `protocol`, `frame`: what a position is, what is said, and as which bytes.
//! - `hub`: one per server worker, its connections and the task that sends to them.
//! - `gate`, `origin`, `query`, `door`: who may come in, and what the URL asks for.
//! - `stats`, `metrics`, `roll`, `canary`: what is counted, and whether everybody still answers.
//! - `rest`, `poll`, `sse`, `ws` (with `body`): the transports, inside the App.
//! - `server`: the listener, with `upgrade` and `socket`: the fast path, where the hub writes to the sockets itself.
//! - `assets`: the browser client and the demo storefront.

pub mod bare;
pub mod cursor;
pub mod engine;
pub mod protocol;
pub mod server;
pub mod settings;
pub mod stats;
pub mod table;

mod assets;
mod body;
mod canary;
mod door;
mod frame;
mod gate;
mod hub;
mod metrics;
mod origin;
mod poll;
mod query;
mod rest;
mod roll;
mod socket;
mod sse;
mod upgrade;
mod ws;

use actix_web::http::Method;
use actix_web::web::{ServiceConfig, get, head, method};

use crate::http::at;

pub use self::canary::CanaryError;
pub use self::engine::{Engine, Interest, Since, Snapshot};
pub use self::metrics::text as metrics_text;
pub(crate) use self::origin::same_host;
pub use self::roll::{Silent, Tally};
pub use self::settings::{RealtimeLimits, RealtimeSettings};
pub use self::stats::{RealtimeStats, Times};
pub use self::table::Published;

/// The room's part of the API's description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(rest::list, rest::one, ws::ws, sse::stream, poll::poll))]
pub struct Description;

/// The room's routes. They need `web::Data<Engine>` and `web::Data<RealtimeSettings>`.
pub fn configure(cfg: &mut ServiceConfig) {
    // The fixed names come before the SKU: a product called "ws" is reached by `?skus=ws`.
    let preflight = || method(Method::OPTIONS).to(rest::preflight);
    cfg.service(at("/v1/stock", "GET", [get().to(rest::list), head().to(rest::list), preflight()]))
        .service(at("/v1/stock/ws", "GET", [get().to(ws::ws)]))
        .service(at("/v1/stock/stream", "GET", [get().to(sse::stream), preflight()]))
        .service(at("/v1/stock/poll", "GET", [get().to(poll::poll), preflight()]))
        .service(at("/v1/stock/{sku}", "GET", [get().to(rest::one), head().to(rest::one), preflight()]))
        .service(at("/client/stockhub.js", "GET", [get().to(assets::client_js)]))
        .service(at("/client/stockhub.d.ts", "GET", [get().to(assets::client_types)]))
        .service(at("/asyncapi.json", "GET", [get().to(assets::asyncapi)]))
        .service(at("/store", "GET", [get().to(assets::store)]))
        .service(at("/store/{part:store.js|store.css|icon.svg}", "GET", [get().to(assets::store)]));
}
