//! A fake marketplace on a loopback port: the two calls the `generic` adapter makes, and the controls by which a test, a
//! script or a person drives it.
//!
//! `POST /stock {"sku","stock"}` · `GET /stock?sku=` · `POST /control/sell {"sku","quantity"}` ·
//! `POST /control/cancel` and `/control/return {"order_id","quantity"?}` · `POST /control/ship {"order_id"}` ·
//! `POST /control/edit {"sku","stock"}` · `GET /control/state` · `GET /control/listed` · `GET|POST /control/chaos`
//!
//! A shop that pretends to be a real marketplace has that one's pages in place of the first two.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::calls::Spoken;
use super::chaos::Chaos;
use super::http_server::{Handler, HttpServer, Reply, Request};
use super::kinds::{Call, Kind};
use super::marketplace::{Marketplace, MarketplaceSettings};
use super::record::{Answered, Trade};
use super::requests::{Push, Verdict};
use super::shop::{ShopError, TakeBack};
use super::{SimulatorError, World};

const GARBAGE: &[u8] = b"<html><body>It works!</bo\x00\xff";
const NOT_HTTP: &[u8] = b"\x15\x03\x01\x00\x02\x02\x28 certainly no HTTP\r\n\r\n";

/// What "fifty megabytes" means.
const HUGE_BYTES: usize = 50 * 1024 * 1024;
const WALL: &[u8] = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body><div id=\"challenge-form\">\
    Checking if the site connection is secure</div></body></html>";

/// A marketplace and its port.
#[derive(Clone)]
pub struct ShopServer {
    market: Arc<Marketplace>,
    http: Arc<HttpServer<Routes>>,
}

struct Routes {
    market: Arc<Marketplace>,
    generic: bool,
}

impl ShopServer {
    /// Port 0 picks a free one. Serves until `world.stop`.
    pub fn start(world: World, bind: SocketAddr, settings: MarketplaceSettings) -> Result<Self, SimulatorError> {
        super::loopback(bind)?;
        let generic = settings.kind == Kind::Generic;
        let (market, mut asked) = Marketplace::open(world.clone(), settings)?;
        let routes = Routes { market: Arc::clone(&market), generic };
        let http = Arc::new(HttpServer::start(world.clone(), bind, Arc::new(routes))?);
        let (door, stop) = (Arc::clone(&http), world.stop.clone());
        world.tasks.spawn(stop.run_until_cancelled_owned(async move {
            while let Some(away) = asked.recv().await {
                door.refuse().await;
                tokio::time::sleep(away).await;
                if let Err(error) = door.come_back() {
                    tracing::error!(%error, "a simulated marketplace could not come back");
                }
            }
        }));
        Ok(Self { market, http })
    }

    pub fn market(&self) -> &Arc<Marketplace> {
        &self.market
    }

    pub fn address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Connections that were ever made to it.
    pub fn accepted(&self) -> u64 {
        self.http.accepted()
    }

    /// What `base_url` of the connection must be.
    pub fn base_url(&self) -> String {
        self.http.base_url()
    }

    /// Stops listening and cuts every connection. When this returns, connecting is refused.
    pub async fn refuse(&self) {
        self.http.refuse().await;
    }

    /// Listens again on the same port.
    pub fn come_back(&self) -> Result<(), SimulatorError> {
        self.http.come_back()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SellBody {
    sku: String,
    quantity: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TakeBackBody {
    order_id: String,
    quantity: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShipBody {
    order_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditBody {
    sku: String,
    stock: i64,
}

impl Handler for Routes {
    async fn handle(&self, request: Request) -> Reply {
        let market = &self.market;
        let Ok((method, target)) = request.head.request_line() else { return Reply::Cut };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path.starts_with("/control/") {
            return control(market, method, path, &request).await;
        }
        if self.generic {
            return match (method, path) {
                ("POST", "/stock") => push(market, &request).await,
                ("GET", "/stock") => read(market, &request, query).await,
                _ => stray(market, method, target),
            };
        }
        let Some(call) = Call::of(&request, market.now()) else { return Reply::Cut };
        market.receive_call(call).await.map_or_else(no_such_page, said)
    }
}

async fn control(market: &Marketplace, method: &str, path: &str, request: &Request) -> Reply {
    match (method, path) {
        ("POST", "/control/sell") => match body::<SellBody>(request) {
            Ok(SellBody { sku, quantity }) => traded(market.sell(&sku, quantity).await),
            Err(reply) => reply,
        },
        ("POST", "/control/cancel") => take_back(market, request, TakeBack::Cancel).await,
        ("POST", "/control/return") => take_back(market, request, TakeBack::Return).await,
        ("POST", "/control/ship") => match body::<ShipBody>(request) {
            Ok(ShipBody { order_id }) => done(market.ship(&order_id).map(|()| json!({ "order_id": order_id }))),
            Err(reply) => reply,
        },
        ("POST", "/control/edit") => match body::<EditBody>(request) {
            Ok(EditBody { sku, stock }) => done(market.edit(&sku, stock).map(|change| json!(change))),
            Err(reply) => reply,
        },
        ("GET", "/control/state") => Reply::json(200, &json!(market.state())),
        ("GET", "/control/listed") => Reply::json(200, &json!(market.listed())),
        ("GET", "/control/chaos") => Reply::json(200, &json!(market.chaos())),
        ("POST", "/control/chaos") => match body::<Chaos>(request).map(|chaos| market.set_chaos(chaos)) {
            Ok(Ok(())) => Reply::status(204),
            Ok(Err(error)) => Reply::json(422, &json!({ "error": error.to_string() })),
            Err(reply) => reply,
        },
        _ => stray(market, method, path),
    }
}

fn stray(market: &Marketplace, method: &str, target: &str) -> Reply {
    market.receive_stray(format!("{method} {target}"));
    no_such_page()
}

fn no_such_page() -> Reply {
    Reply::json(404, &json!({ "error": "no such page" }))
}

async fn push(market: &Arc<Marketplace>, request: &Request) -> Reply {
    let owned = |name| request.head.header(name).map(str::to_owned);
    let push = Push {
        received_at: market.now(),
        idempotency_key: owned("idempotency-key"),
        authorization: owned("authorization"),
        body: String::from_utf8_lossy(&request.body).into_owned(),
    };
    spoken(market.receive_push(push).await)
}

async fn read(market: &Marketplace, request: &Request, query: &str) -> Reply {
    let sku = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "sku").map(|(_, value)| value);
    let authorization = request.head.header("authorization").map(str::to_owned);
    spoken(market.receive_read(sku.as_deref().unwrap_or(""), authorization).await)
}

async fn take_back(market: &Marketplace, request: &Request, how: TakeBack) -> Reply {
    match body::<TakeBackBody>(request) {
        Ok(TakeBackBody { order_id, quantity }) => traded(market.take_back(&order_id, quantity, how).await),
        Err(reply) => reply,
    }
}

fn body<T: DeserializeOwned>(request: &Request) -> Result<T, Reply> {
    serde_json::from_slice(&request.body).map_err(|error| Reply::json(422, &json!({ "error": error.to_string() })))
}

fn traded(result: Result<Trade, ShopError>) -> Reply {
    done(result.map(|trade| json!(trade)))
}

fn done(result: Result<serde_json::Value, ShopError>) -> Reply {
    match result {
        Ok(value) => Reply::json(200, &value),
        Err(error @ (ShopError::NotSoldHere(_) | ShopError::NoOrder(_))) => {
            Reply::json(404, &json!({ "error": error.to_string() }))
        }
        Err(error @ (ShopError::NotEnough { .. } | ShopError::TooMany { .. } | ShopError::WholeOnly | ShopError::Shipped)) => {
            Reply::json(409, &json!({ "error": error.to_string() }))
        }
        Err(error @ ShopError::Quantity) => Reply::json(422, &json!({ "error": error.to_string() })),
    }
}

fn spoken(verdict: Verdict) -> Reply {
    let Verdict { answered, retry_after_seconds, body, garbage } = verdict;
    match answered {
        Answered::Cut => Reply::Cut,
        Answered::Nothing => Reply::Hang,
        Answered::NotHttp => Reply::Raw(Bytes::from_static(NOT_HTTP)),
        Answered::Drip => Reply::Drip,
        Answered::Huge => Reply::Huge(HUGE_BYTES),
        Answered::Wall => wall(),
        Answered::Half => {
            let headers = vec![("content-type", "application/json".to_owned())];
            Reply::Half { status: 200, headers, body: body.unwrap_or_default().to_string().into() }
        }
        Answered::Status(status) => {
            let mut headers = vec![("content-type", "application/json".to_owned())];
            if let Some(seconds) = retry_after_seconds {
                headers.push(("retry-after", seconds.to_string()));
            }
            let body = match body {
                _ if garbage => Bytes::from_static(GARBAGE),
                Some(value) => value.to_string().into(),
                None => Bytes::new(),
            };
            Reply::Answer { status, headers, body }
        }
    }
}

/// The same for a real kind.
fn said(spoken: Spoken) -> Reply {
    let Spoken { answered, say, garbage } = spoken;
    let mut headers = say.headers;
    headers.push(("content-type", "application/json".to_owned()));
    let body = say.body.map_or_else(Bytes::new, |value| value.to_string().into());
    match answered {
        Answered::Cut => Reply::Cut,
        Answered::Nothing => Reply::Hang,
        Answered::NotHttp => Reply::Raw(Bytes::from_static(NOT_HTTP)),
        Answered::Drip => Reply::Drip,
        Answered::Huge => Reply::Huge(HUGE_BYTES),
        Answered::Wall => wall(),
        Answered::Half => Reply::Half { status: say.status, headers, body },
        Answered::Status(status) if garbage => Reply::Answer { status, headers, body: Bytes::from_static(GARBAGE) },
        Answered::Status(status) => Reply::Answer { status, headers, body },
    }
}

fn wall() -> Reply {
    let headers = vec![("content-type", "text/html; charset=UTF-8".to_owned()), ("server", "cloudflare".to_owned())];
    Reply::Answer { status: 403, headers, body: Bytes::from_static(WALL) }
}
