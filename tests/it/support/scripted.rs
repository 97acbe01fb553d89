//! A marketplace as a test wants it: an adapter whose traits, limits and ways of answering are chosen, and a shop on loopback that
//! writes down every request and answers what the test says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use stockhub::marketplaces::call::AccessToken;
use stockhub::marketplaces::call::StockRow;
use stockhub::marketplaces::wire::Method;
use stockhub::marketplaces::{
    Abilities, About, Adapter, Answer, Ask, Call, Connection, Incoming, Limit, Moment, Outcome, PushItem, Pushed, Reading, Refs,
    Request, Scheme, Told, Traits, Unreadable, Verdict,
};
use stockhub::settings::Secret;
use stockhub::simulator::World;
use stockhub::simulator::http_server::{Handler, HttpServer, Reply, Request as Taken};

use super::hub::Hub;

/// How an answer to a push reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// By its status alone.
    Whole,
    /// One verdict per item, `{"results":[{"sku","code"?}]}`: no code is applied, `busy` is later, `stale` a conflict with what
    /// `shown` says, anything else never.
    Each,
    /// A 2xx may have done nothing.
    Accepted,
}

pub struct Scripted {
    pub traits: Traits,
    pub limits: Vec<Limit>,
    pub push_limits: Vec<&'static str>,
    pub reads: Reads,
    pub lends_tokens: bool,
    pub refs: Refs,
}

impl Scripted {
    pub fn plain() -> Self {
        Self {
            traits: Traits::plain(),
            limits: Vec::new(),
            push_limits: Vec::new(),
            reads: Reads::Whole,
            lends_tokens: false,
            refs: Refs::default(),
        }
    }
}

fn request(connection: &Connection, moment: &Moment, method: Method, path: &str, body: Option<Value>) -> Request {
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    if let Some(token) = &moment.access_token {
        headers.push(("authorization".into(), format!("Bearer {}", token.expose())));
    }
    let url = format!("{}{path}", connection.base_url.as_deref().unwrap_or_default());
    Request { method, url, headers, body: body.map(|body| body.to_string().into_bytes()) }
}

fn body(answer: &Answer) -> Value {
    let Answer::Response { body, .. } = answer else { return Value::Null };
    serde_json::from_slice(body).unwrap_or_default()
}

fn never(why: &str) -> Outcome {
    Outcome::Permanent { code: Some(why.to_owned()), message: why.to_owned() }
}

impl Adapter for Scripted {
    fn id(&self) -> &'static str {
        "scripted"
    }

    fn traits(&self) -> &Traits {
        &self.traits
    }

    fn about(&self) -> About {
        About::default()
    }

    fn schemes(&self) -> &[Scheme] {
        &[]
    }

    fn secrets(&self) -> &[&'static str] {
        &[]
    }

    fn account(&self) -> &[&'static str] {
        &[]
    }

    fn refs(&self) -> Refs {
        self.refs
    }

    fn limits(&self) -> &[Limit] {
        &self.limits
    }

    fn read(&self, _: &Connection, _: Incoming<'_>) -> Reading {
        Reading { event_type: "none".into(), natural_key: None, occurred_at: None, verdict: Verdict::Ignored }
    }

    /// Before the colon of the marketplace's id, where it has one.
    fn push_group(&self, _: &Connection, item: &PushItem) -> String {
        item.marketplace_product_id.split_once(':').map_or("", |(group, _)| group).to_owned()
    }

    fn push_key(&self, _: &Connection, item: &PushItem) -> String {
        item.sku.clone()
    }

    fn push(&self, connection: &Connection, moment: &Moment, items: &[PushItem]) -> Result<Call, Unreadable> {
        let stocks: Vec<Value> = items
            .iter()
            .map(
                |item| json!({"sku": item.sku, "stock": item.quantity, "expected": item.expected, "key": item.idempotency_key()}),
            )
            .collect();
        let request = request(connection, moment, Method::Post, "/stocks", Some(json!({ "stocks": stocks })));
        Ok(Call { request, limits: self.push_limits.clone() })
    }

    fn read_push(&self, items: &[PushItem], answer: &Answer) -> Pushed {
        let whole = Outcome::of_status(answer);
        if let Answer::Response { status: 420, .. } = answer {
            return Pushed::Whole(Outcome::Retry { after: None, throttled: true, code: None, message: "420".into() });
        }
        if whole != Outcome::Applied {
            return Pushed::Whole(whole);
        }
        match self.reads {
            Reads::Whole => Pushed::Whole(Outcome::Applied),
            Reads::Accepted => Pushed::Whole(Outcome::Accepted),
            Reads::Each => {
                let answer = body(answer);
                let of = |item: &PushItem| {
                    let Some(row) =
                        answer["results"].as_array().and_then(|rows| rows.iter().find(|row| row["sku"] == item.sku.as_str()))
                    else {
                        return Outcome::Unknown { message: "not named in the answer".into() };
                    };
                    match row["code"].as_str() {
                        None => Outcome::Applied,
                        Some("busy") => {
                            Outcome::Retry { after: None, throttled: true, code: Some("busy".into()), message: "busy".into() }
                        }
                        Some("stale") => Outcome::Conflict { shown: row["shown"].as_i64(), message: "stale".into() },
                        Some(code) => never(code),
                    }
                };
                Pushed::Each(items.iter().map(of).collect())
            }
        }
    }

    fn ask(&self, connection: &Connection, moment: &Moment, ask: &Ask) -> Result<Call, Unreadable> {
        let get = |path: &str, limit: &'static str| {
            let limits = self.limits.iter().map(|known| known.name).filter(|name| *name == limit).collect();
            Ok(Call { request: request(connection, moment, Method::Get, path, None), limits })
        };
        match ask {
            Ask::StockOf { items } => {
                let skus: Vec<&str> = items.iter().map(|item| item.sku.as_str()).collect();
                get(&format!("/stocks?skus={}", skus.join(",")), "read")
            }
            Ask::Check => get("/check", "read"),
            _ => Err(Unreadable::new("not-readable", "not here")),
        }
    }

    fn told(&self, _: &Connection, ask: &Ask, answer: &Answer) -> Result<Told, Outcome> {
        let whole = Outcome::of_status(answer);
        if whole != Outcome::Applied {
            return Err(whole);
        }
        if *ask == Ask::Check {
            return Ok(Told::Fine { expires_at: None });
        }
        let rows = body(answer)["stocks"].as_array().cloned().unwrap_or_default();
        let row = |row: &Value| StockRow {
            names: vec![("sku".into(), row["sku"].as_str().unwrap_or_default().to_owned())],
            quantity: row["stock"].as_i64(),
            ..StockRow::default()
        };
        Ok(Told::Stock { rows: rows.iter().map(row).collect(), next: None })
    }

    fn token_request(&self, connection: &Connection, moment: &Moment) -> Option<Result<Request, Unreadable>> {
        let refresh = moment.refresh_token.as_ref().map_or("from-settings", Secret::expose);
        self.lends_tokens.then(|| Ok(request(connection, moment, Method::Post, "/token", Some(json!({ "refresh": refresh })))))
    }

    fn read_token(&self, answer: &Answer) -> Result<AccessToken, Outcome> {
        let lent = body(answer);
        match (Outcome::of_status(answer), lent["token"].as_str()) {
            (Outcome::Applied, Some(token)) => Ok(AccessToken {
                token: Secret::new(token),
                valid_for: Duration::from_secs(lent["seconds"].as_u64().unwrap_or(3_600)),
                refresh: lent["refresh"].as_str().map(Secret::new),
            }),
            (Outcome::Applied, None) => Err(never("no token")),
            (ended, _) => Err(ended),
        }
    }
}

/// A request as the shop took it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Milliseconds since the shop opened, by a clock nobody moves.
    pub at: u64,
    /// Microseconds since 1970: to compare with another shop's.
    pub clock: i64,
    /// `POST /stocks`, `GET /stocks?skus=A` …
    pub line: String,
    pub authorization: Option<String>,
    pub body: Value,
}

impl Seen {
    pub fn is_push(&self) -> bool {
        self.line == "POST /stocks"
    }

    pub fn is_read(&self) -> bool {
        self.line.starts_with("GET /stocks")
    }

    /// What it tells: SKU and number.
    pub fn stocks(&self) -> Vec<(String, i64)> {
        let rows = self.body["stocks"].as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| (row["sku"].as_str().unwrap().to_owned(), row["stock"].as_i64().unwrap())).collect()
    }
}

type Script = Box<dyn FnMut(&Seen, &mut BTreeMap<String, i64>) -> Option<Slow> + Send>;

/// An answer, and how long it takes until it is given.
pub struct Slow(pub Duration, pub Reply);

impl From<Reply> for Slow {
    fn from(reply: Reply) -> Self {
        Self(Duration::ZERO, reply)
    }
}

pub struct Shelf {
    opened: tokio::time::Instant,
    seen: Mutex<Vec<Seen>>,
    stocks: Mutex<BTreeMap<String, i64>>,
    script: Mutex<Option<Script>>,
}

impl Shelf {
    fn take(&self, request: &Taken) -> Slow {
        let (method, target) = request.head.request_line().unwrap_or(("?", "?"));
        let seen = Seen {
            at: u64::try_from(self.opened.elapsed().as_millis()).unwrap(),
            clock: stockhub::clock::Clock::system().now().micros(),
            line: format!("{method} {target}"),
            authorization: request.head.header("authorization").map(str::to_owned),
            body: serde_json::from_slice(&request.body).unwrap_or_default(),
        };
        self.seen.lock().unwrap().push(seen.clone());
        let mut stocks = self.stocks.lock().unwrap();
        let scripted = self.script.lock().unwrap().as_mut().and_then(|script| script(&seen, &mut stocks));
        if let Some(reply) = scripted {
            return reply;
        }
        if seen.is_push() {
            stocks.extend(seen.stocks());
            let results: Vec<Value> = seen.stocks().iter().map(|(sku, _)| json!({ "sku": sku })).collect();
            return Reply::json(200, &json!({ "results": results })).into();
        }
        if let Some(skus) = seen.line.strip_prefix("GET /stocks?skus=") {
            let rows: Vec<Value> =
                skus.split(',').filter_map(|sku| stocks.get(sku).map(|stock| json!({"sku": sku, "stock": stock}))).collect();
            return Reply::json(200, &json!({ "stocks": rows })).into();
        }
        Reply::json(200, &json!({})).into()
    }
}

struct Routes(Arc<Shelf>);

impl Handler for Routes {
    async fn handle(&self, request: Taken) -> Reply {
        let Slow(after, reply) = self.0.take(&request);
        if !after.is_zero() {
            tokio::time::sleep(after).await;
        }
        reply
    }
}

/// A scripted shop that stands where one of the hub's marketplaces stood.
pub struct ScriptedShop {
    shelf: Arc<Shelf>,
    server: HttpServer<Routes>,
}

impl ScriptedShop {
    pub fn start(world: World) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let shelf = Arc::new(Shelf {
            opened: tokio::time::Instant::now(),
            seen: Mutex::default(),
            stocks: Mutex::default(),
            script: Mutex::default(),
        });
        let server = HttpServer::start(world, any, Arc::new(Routes(shelf.clone()))).unwrap();
        Self { shelf, server }
    }

    /// Answers this from now on; `None` leaves the answer to the shop, which is an honest one.
    pub fn script(&self, script: impl FnMut(&Seen, &mut BTreeMap<String, i64>) -> Option<Slow> + Send + 'static) {
        *self.shelf.script.lock().unwrap() = Some(Box::new(script));
    }

    pub fn honest(&self) {
        *self.shelf.script.lock().unwrap() = None;
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shelf.seen.lock().unwrap().clone()
    }

    pub fn pushes(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(Seen::is_push).collect()
    }

    pub fn reads(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(Seen::is_read).collect()
    }

    pub fn shows(&self, sku: &str) -> Option<i64> {
        self.shelf.stocks.lock().unwrap().get(sku).copied()
    }

    pub fn base_url(&self) -> String {
        self.server.base_url()
    }
}

/// Replaces a marketplace's adapter and address by scripted ones, as a change of its settings would.
pub async fn install(hub: &Hub, code: &str, adapter: Scripted, shop: &ScriptedShop) {
    let adapter: Arc<dyn Adapter> = Arc::new(adapter);
    let all = hub.context.kit.registry.all();
    let changed = all.iter().map(|old| {
        let ours = old.code == code;
        Connection {
            id: old.id,
            code: old.code.clone(),
            name: old.name.clone(),
            kind: old.kind,
            adapter: if ours { adapter.clone() } else { old.adapter.clone() },
            base_url: if ours { Some(shop.base_url()) } else { old.base_url.clone() },
            account: old.account.clone(),
            secrets: old.secrets.clone(),
            stock_feed: old.stock_feed,
            feed_since: old.feed_since,
            currency: old.currency.clone(),
            status: old.status,
            webhook_enabled: old.webhook_enabled,
            policy: old.policy.clone(),
            locations: old.locations.clone(),
        }
    });
    hub.context.kit.registry.replace(changed.collect());
    // Those that stayed as they were stored stay the same objects; the supervisor is rung.
    hub.context.connections.refresh().await.unwrap();
}

/// One that can be read back.
pub fn readable(per_request: usize) -> Abilities {
    Abilities { stock_of: Some(per_request), check: true, ..Abilities::default() }
}
