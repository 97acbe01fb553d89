//! A fake marketplace on a loopback port: the two calls the `generic` adapter makes, and the controls by which a test, a
//! script or a person drives it.
//!
//! `POST /stock {"sku","stock"}` · `GET /stock?sku=` · `POST /control/sell {"sku","quantity"}` ·
//! `POST /control/cancel` and `/control/return {"order_id","quantity"?}` · `GET /control/state` · `GET|POST /control/chaos`

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::chaos::Chaos;
use super::http_server::{Handler, HttpServer, Reply, Request};
use super::marketplace::{Marketplace, MarketplaceSettings};
use super::record::{Answered, Trade};
use super::requests::{Push, Verdict};
use super::shop::{ShopError, TakeBack};
use super::{SimulatorError, World};

const GARBAGE: &[u8] = b"<html><body>It works!</bo\x00\xff";
const NOT_HTTP: &[u8] = b"\x15\x03\x01\x00\x02\x02\x28 certainly no HTTP\r\n\r\n";

/// A marketplace and its port.
#[derive(Clone)]
pub struct ShopServer {
    market: Arc<Marketplace>,
    http: Arc<HttpServer<Routes>>,
}

struct Routes(Arc<Marketplace>);

impl ShopServer {
    /// Port 0 picks a free one. Serves until `world.stop`.
    pub fn start(world: World, bind: SocketAddr, settings: MarketplaceSettings) -> Result<Self, SimulatorError> {
        super::loopback(bind)?;
        let (market, mut asked) = Marketplace::open(world.clone(), settings)?;
        let http = Arc::new(HttpServer::start(world.clone(), bind, Arc::new(Routes(Arc::clone(&market))))?);
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

impl Handler for Routes {
    async fn handle(&self, request: Request) -> Reply {
        let market = &self.0;
        let Ok((method, target)) = request.head.request_line() else { return Reply::Cut };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match (method, path) {
            ("POST", "/stock") => push(market, &request).await,
            ("GET", "/stock") => read(market, &request, query).await,
            ("POST", "/control/sell") => match body::<SellBody>(&request) {
                Ok(SellBody { sku, quantity }) => traded(market.sell(&sku, quantity).await),
                Err(reply) => reply,
            },
            ("POST", "/control/cancel") => take_back(market, &request, TakeBack::Cancel).await,
            ("POST", "/control/return") => take_back(market, &request, TakeBack::Return).await,
            ("GET", "/control/state") => Reply::json(200, &json!(market.state())),
            ("GET", "/control/chaos") => Reply::json(200, &json!(market.chaos())),
            ("POST", "/control/chaos") => match body::<Chaos>(&request).map(|chaos| market.set_chaos(chaos)) {
                Ok(Ok(())) => Reply::status(204),
                Ok(Err(error)) => Reply::json(422, &json!({ "error": error.to_string() })),
                Err(reply) => reply,
            },
            _ => {
                market.receive_stray(format!("{method} {target}"));
                Reply::json(404, &json!({ "error": "no such page" }))
            }
        }
    }
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
    match result {
        Ok(trade) => Reply::json(200, &json!(trade)),
        Err(error @ (ShopError::NotSoldHere(_) | ShopError::NoOrder(_))) => {
            Reply::json(404, &json!({ "error": error.to_string() }))
        }
        Err(error @ (ShopError::NotEnough { .. } | ShopError::TooMany { .. })) => {
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
