//! A whole hub in this process: real sockets, its own database, simulated marketplaces around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stockhub::app::{App, Surroundings};
use stockhub::chance::Chance;
use stockhub::clock::Clock;
use stockhub::context::Context;
use stockhub::domain::quantity::Quantity;
use stockhub::domain::sku::Sku;
use stockhub::settings::{Env, Settings};
use stockhub::simulator::World;
use stockhub::simulator::courier::CourierSettings;
use stockhub::simulator::http_client::Target;
use stockhub::simulator::kinds::Kind;
use stockhub::simulator::kinds::connection::{HubSide, hub_side, listing};
use stockhub::simulator::marketplace::MarketplaceSettings;
use stockhub::simulator::server::ShopServer;
use stockhub::simulator::shop::Opening;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::database::TestDatabase;
use super::http::{Answer, Http};

pub const ADMIN_TOKEN: &str = "test-admin-token-0123456789abcdef-0123456789";
pub const STORE_KEY: &str = "test-storefront-key-0123456789abcdef-01234";
pub const SECRET: &str = "test-webhook-secret-0123456789abcdef";

/// The secret part of an address.
pub const PATH: &str = "test-path-secret-0123456789abcdef-01234";
/// What a challenge is answered with.
pub const TOKEN: &str = "test-verification-token-0123456789abcdef";

/// How a test's hub differs from the plain one: more settings, other marketplaces.
pub struct Plan {
    /// Codes of simulated marketplaces with the generic schema, each with a shop of its own.
    pub shops: Vec<&'static str>,
    /// Simulated marketplaces that pretend to be real ones: code and kind. They stand behind `shops`.
    pub kinds: Vec<(&'static str, Kind)>,
    /// TOML that stands before the marketplaces: whole sections.
    pub sections: String,
    /// TOML of more marketplaces.
    pub marketplaces: String,
    /// What the marketplaces' secrets refer to, beside this file's own.
    pub environment: Vec<(String, String)>,
    /// Lines added inside each shop's `[marketplaces.policy]`.
    pub policy: String,
    pub stock_feed: &'static str,
    /// Seconds a stop may take.
    pub shutdown_timeout_s: u32,
    /// SKU and stock: made in the hub, listed in every shop as `CODE-SKU`, and on the shops' shelves.
    pub products: Vec<(&'static str, i64)>,
    /// The hub's clock: a manual one lets a test move time.
    pub clock: Clock,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            shops: vec!["uzum", "wildberries", "ozon"],
            kinds: Vec::new(),
            sections: String::new(),
            marketplaces: "[[marketplaces]]\ncode = \"olx\"\nadapter = \"manual\"\n".into(),
            environment: Vec::new(),
            policy: String::new(),
            stock_feed: "delta",
            shutdown_timeout_s: 30,
            products: vec![("PHONE-001", 50)],
            clock: Clock::system(),
        }
    }
}

pub struct Hub {
    pub context: Context,
    pub address: SocketAddr,
    pub shops: Vec<ShopServer>,
    pub database: TestDatabase,
    pub http: Http,
    /// For more shops beside the plan's.
    pub world: World,
    stop: CancellationToken,
    world_stop: CancellationToken,
    world_tasks: TaskTracker,
    running: JoinHandle<std::io::Result<()>>,
}

impl Hub {
    pub async fn start() -> Self {
        Self::with(Plan::default()).await
    }

    pub async fn with(plan: Plan) -> Self {
        Self::on(TestDatabase::new().await, plan).await
    }

    /// On a given database: what a restart needs.
    pub async fn on(database: TestDatabase, plan: Plan) -> Self {
        let clock = plan.clock.clone();
        let (world_stop, world_tasks) = (CancellationToken::new(), TaskTracker::new());
        let time = clock.clone();
        let world = World::new(Arc::new(move || time.now()), world_tasks.clone(), world_stop.clone());
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let opening = |(sku, stock): &(&str, i64)| Opening::new(Sku::parse(sku).unwrap(), Quantity::parse(*stock).unwrap());
        let shelf: Vec<Opening> = plan.products.iter().map(opening).collect();
        let start = |code: &&str| ShopServer::start(world.clone(), any, MarketplaceSettings::new(code, shelf.clone())).unwrap();
        let pretend = |(code, kind): &(&str, Kind)| {
            ShopServer::start(world.clone(), any, MarketplaceSettings::of_kind(*kind, code, shelf.clone())).unwrap()
        };
        let shops: Vec<ShopServer> = plan.shops.iter().map(start).chain(plan.kinds.iter().map(pretend)).collect();
        let settings = settings(&database, &plan, &shops);
        let app = App::build(settings, Surroundings { clock, chance: Chance::seeded(7) }).await.expect("the hub starts");
        let (context, address) = (app.context.clone(), app.address);
        let stop = CancellationToken::new();
        let told = stop.clone();
        let running = tokio::spawn(app.run(async move { told.cancelled().await }));
        let http = Http::new(address);
        let hub = Self { context, address, shops, database, http, world, stop, world_stop, world_tasks, running };
        for (sku, stock) in &plan.products {
            hub.product(sku, *stock).await;
        }
        hub
    }

    pub fn shop(&self, code: &str) -> &ShopServer {
        self.shops.iter().find(|shop| shop.market().code() == code).expect("a shop of that code")
    }

    /// A product with its stock, listed in every shop as `CODE-SKU`; one that was made before a restart stays.
    pub async fn product(&self, sku: &str, stock: i64) {
        if self.unlisted(sku, stock).await {
            self.list(sku).await;
        }
    }

    /// A product no shop sells yet; `false` where it was there.
    pub async fn unlisted(&self, sku: &str, stock: i64) -> bool {
        let body = json!({"sku": sku, "name": format!("Product {sku}"), "price": {"amount": "129.90", "currency": "USD"},
            "cost_price": {"amount": "80.00", "currency": "USD"}, "initial_stock": stock});
        let answer = self.admin("POST", "/v1/admin/products", Some(body)).await;
        assert!([201, 409].contains(&answer.status), "{}", answer.text());
        answer.status == 201
    }

    /// Lists a product at every shop, under the names it has there.
    pub async fn list(&self, sku: &str) {
        for shop in &self.shops {
            let code = shop.market().code();
            let listed = shop.market().listed().into_iter().find(|listed| listed.sku.as_str() == sku);
            let body = match listed {
                Some(listed) => listing(&code, &listed),
                None => {
                    json!({"marketplace": code, "sku": sku, "marketplace_product_id": format!("{}-{sku}", code.to_uppercase())})
                }
            };
            let answer = self.admin("POST", "/v1/admin/listings", Some(body)).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
    }

    /// Lets the shops send their webhooks here.
    pub fn connect_shops(&self) {
        for shop in &self.shops {
            let hub = Target::parse(&format!("http://{}", self.address)).unwrap();
            if shop.market().kind().sends_webhooks() {
                shop.market().connect_webhooks(&CourierSettings::new(hub, SECRET));
            }
        }
    }

    pub async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.http.send(method, path, &[("authorization", &format!("Bearer {ADMIN_TOKEN}"))], body).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.admin("GET", path, None).await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    /// Waits until every listing is acknowledged and nothing waits in the log; panics after `at_most`.
    pub async fn settled(&self, at_most: Duration) {
        let begun = tokio::time::Instant::now();
        loop {
            let metrics = self.http.send("GET", "/metrics", &[], None).await.text();
            let waiting = metrics.lines().any(|line| line.starts_with("dirty_listings{") && !line.ends_with(" 0"));
            if !waiting {
                return;
            }
            assert!(begun.elapsed() < at_most, "not settled in time:\n{metrics}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until all but so many listings are acknowledged: those that are blocked stay behind.
    pub async fn settled_but(&self, blocked: usize) {
        let behind = async || {
            let metrics = self.http.send("GET", "/metrics", &[], None).await.text();
            let counts = metrics.lines().filter(|line| line.starts_with("dirty_listings{"));
            counts.map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap()).sum::<usize>()
        };
        self.until(&format!("all but {blocked} are told"), async || behind().await == blocked).await;
    }

    /// Stops gracefully; gives the database back for another start.
    pub async fn stop(self) -> TestDatabase {
        self.stop.cancel();
        self.running.await.expect("the hub does not panic").expect("the hub ends well");
        self.world_stop.cancel();
        self.world_tasks.close();
        self.world_tasks.wait().await;
        self.database
    }
}

pub fn settings(database: &TestDatabase, plan: &Plan, shops: &[ShopServer]) -> Settings {
    let text = settings_text(database, plan, shops);
    let of_shops = shops.iter().flat_map(|shop| hub_side_of(shop).environment);
    let env: Env = [("T_ADMIN", ADMIN_TOKEN), ("T_STORE", STORE_KEY), ("T_SECRET", SECRET), ("T_PATH", PATH), ("T_TOKEN", TOKEN)]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .chain(of_shops)
        .chain(plan.environment.clone())
        .collect();
    let loaded = Settings::from_texts(&[("test", &text)], &env);
    loaded.unwrap_or_else(|faults| panic!("{faults}\n{text}")).0
}

/// The same as a file, for a hub in a process of its own; its environment must hold T_ADMIN, T_STORE and T_SECRET.
pub fn settings_text(database: &TestDatabase, plan: &Plan, shops: &[ShopServer]) -> String {
    let mut text = format!(
        "[server]\nbind = \"127.0.0.1:0\"\nworkers = 1\nshutdown_timeout_s = {}\ntrusted_proxies = [\"127.0.0.1/32\"]\n",
        plan.shutdown_timeout_s
    );
    // A plan with a section of its own brings its own key.
    if !database.is_sqlite() && !plan.sections.contains("[security]") {
        text += &format!("[security]\nmaster_key = \"{}\"\n", "ab".repeat(32));
    }
    text += &format!("[database]\nurl = \"{}\"\n", database.url);
    text += "[auth]\nbootstrap_admin_token = \"env:T_ADMIN\"\nstorefront_keys = [\"env:T_STORE\"]\n";
    text += &plan.sections;
    for (code, shop) in plan.shops.iter().zip(shops) {
        text += &format!(
            "\n[[marketplaces]]\ncode = \"{code}\"\nadapter = \"generic\"\nbase_url = \"{}\"\nstock_feed = \"{}\"\n\
             [marketplaces.secrets]\nwebhook_secret = [\"env:T_SECRET\"]\n[marketplaces.policy]\n{}\n",
            shop.base_url(),
            plan.stock_feed,
            plan.policy
        );
    }
    for shop in shops.iter().skip(plan.shops.len()) {
        text += &format!("\n{}[marketplaces.policy]\n{}\n", hub_side_of(shop).toml, plan.policy);
    }
    text + &plan.marketplaces
}

fn hub_side_of(shop: &ShopServer) -> HubSide {
    let market = shop.market();
    hub_side(market.kind(), &market.code(), &shop.base_url(), &market.account(), SECRET)
}
