//! `stockhub demo`: a hub, three simulated marketplaces, shoppers and a storefront. One command, loopback only, nothing to set up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::output::{err, out};
use super::serve::stop_signal;
use crate::app::{App, Surroundings};
use crate::clock::Clock;
use crate::domain::money::{Currency, Money};
use crate::domain::quantity::{Delta, Quantity};
use crate::domain::sku::Sku;
use crate::http::auth::Role;
use crate::marketplaces::connection::STORE;
use crate::people::users::CreateUser;
use crate::pipeline::catalogue::{CatalogueError, ChangeStock, Correction, CreateListing, CreateProduct};
use crate::pipeline::writer::{WriteError, Writer};
use crate::realtime::{Engine, Interest};
use crate::settings::{Env, Settings};
use crate::simulator::World;
use crate::simulator::courier::CourierSettings;
use crate::simulator::http_client::Target;
use crate::simulator::marketplace::MarketplaceSettings;
use crate::simulator::server::ShopServer;
use crate::simulator::shop::Opening;
use crate::simulator::shoppers::{ShopperSettings, send_out};
use crate::telemetry;
use crate::workers::{More, Workers};

#[derive(Args)]
pub(super) struct DemoArguments {
    /// Where the hub listens (loopback only)
    #[arg(long, default_value = "127.0.0.1:8080")]
    bind: SocketAddr,
    /// Sales per second over all marketplaces
    #[arg(long, default_value_t = 1.0)]
    rate: f64,
    /// Stop by itself after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// The demo repeats itself with the same seed
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// How long, at least, a product is seen sold out before more of it comes.
const DELIVERED_AFTER: Duration = Duration::from_secs(20);

const CODES: [&str; 3] = ["uzum", "wildberries", "ozon"];

const PRODUCTS: [(&str, &str, &str, i64); 6] = [
    ("PHONE-001", "Phone, 128 GB, graphite", "329.00", 50),
    ("PHONE-002", "Phone, 256 GB, sand", "399.00", 35),
    ("BUDS-010", "Earbuds with case", "59.90", 80),
    ("WATCH-003", "Watch, 44 mm", "189.00", 20),
    ("CABLE-100", "Cable, USB-C, 2 m", "9.90", 200),
    ("CASE-042", "Case, clear", "14.50", 12),
];

pub(super) async fn demo(arguments: DemoArguments) -> ExitCode {
    telemetry::start_logging(telemetry::LogFormat::Pretty, "warn");
    super::finish(run(arguments).await)
}

async fn run(arguments: DemoArguments) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(arguments.bind.ip().is_loopback(), "the demo listens on loopback only");
    let folder = std::env::temp_dir().join(format!("stockhub-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let done = run_in(arguments, &folder).await;
    // Nothing of the demo is kept.
    if let Err(error) = std::fs::remove_dir_all(&folder) {
        err(&format!("{} could not be removed: {error}", folder.display()));
    }
    done
}

async fn run_in(arguments: DemoArguments, folder: &std::path::Path) -> anyhow::Result<ExitCode> {
    let stop = CancellationToken::new();
    let workers = Workers::new(Handle::current(), stop.clone());
    let clock = Clock::system();
    let now: crate::simulator::Clock = Arc::new(move || clock.now());
    let world = World::new(now, workers.tracker().clone(), stop.clone());
    let shops = open_shops(&world, arguments.seed)?;
    let secret = hex::encode(crate::chance::secret_bytes::<32>()?);
    let token = format!("demo-{}", hex::encode(crate::chance::secret_bytes::<24>()?));
    let settings = settings(&arguments, folder, &shops, &secret, &token)?;
    let app = App::build(settings, Surroundings::default()).await.map_err(|error| match error {
        crate::app::StartError::Bind { .. } => anyhow::anyhow!("{error}; try --bind 127.0.0.1:0 for a free port"),
        error => error.into(),
    })?;
    let mut app = app;
    app.context.demo = true;
    stock_up(&app).await?;
    let password = let_somebody_in(&app).await?;
    let hub = format!("http://{}", app.address);
    connect(&shops, &hub, &secret)?;
    announce(&hub, &shops, &password, &token, &secret);
    tell(&workers, &app, &shops);
    restock(&workers, &app);
    let markets = shops.iter().map(|shop| shop.market().clone()).collect();
    let shoppers =
        ShopperSettings { cancel_percent: 5, leave_when_sold_out: false, ..ShopperSettings::new(arguments.rate, arguments.seed) };
    let report = send_out(&world, markets, shoppers)?;
    let seconds = arguments.seconds;
    let ended = async move {
        match seconds {
            Some(seconds) => tokio::select! {
                () = stop_signal() => {}
                () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            },
            None => stop_signal().await,
        }
    };
    app.run(ended).await?;
    stop.cancel();
    if let Ok(report) = report.await {
        out(&format!("\nShoppers bought {} units in {} sales on the marketplaces. Goodbye.", report.units, report.sales));
    }
    workers.join(Duration::from_secs(5)).await;
    Ok(ExitCode::SUCCESS)
}

fn open_shops(world: &World, seed: u64) -> anyhow::Result<Vec<ShopServer>> {
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let open = |(n, code): (usize, &&str)| -> anyhow::Result<ShopServer> {
        let opening = PRODUCTS
            .iter()
            .map(|(sku, _, _, stock)| Ok(Opening::new(Sku::parse(sku)?, Quantity::parse(*stock)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let settings = MarketplaceSettings { seed: seed + n as u64, ..MarketplaceSettings::new(code, opening) };
        Ok(ShopServer::start(world.clone(), any, settings)?)
    };
    CODES.iter().enumerate().map(open).collect()
}

fn settings(
    arguments: &DemoArguments,
    folder: &std::path::Path,
    shops: &[ShopServer],
    secret: &str,
    token: &str,
) -> anyhow::Result<Settings> {
    let mut text = format!(
        "[server]\nbind = \"{}\"\n[database]\nurl = \"sqlite://{}\"\n[auth]\nbootstrap_admin_token = \"env:DEMO_TOKEN\"\n",
        arguments.bind,
        folder.join("demo.db").display(),
    );
    for (code, shop) in CODES.iter().zip(shops) {
        text += &format!(
            "[[marketplaces]]\ncode = \"{code}\"\nadapter = \"generic\"\nbase_url = \"{}\"\nstock_feed = \"delta\"\n\
             [marketplaces.secrets]\nwebhook_secret = [\"env:DEMO_SECRET\"]\n",
            shop.base_url()
        );
    }
    text += "[[marketplaces]]\ncode = \"olx\"\nadapter = \"manual\"\n";
    let env: Env =
        [("DEMO_TOKEN".to_owned(), token.to_owned()), ("DEMO_SECRET".to_owned(), secret.to_owned())].into_iter().collect();
    let (settings, _) = Settings::from_texts(&[("demo", &text)], &env)?;
    Ok(settings)
}

/// Products with their opening stock, listed on every marketplace.
async fn stock_up(app: &App) -> anyhow::Result<()> {
    let context = &app.context;
    let store = context.kit.registry.by_code(STORE).ok_or_else(|| anyhow::anyhow!("the store is missing"))?;
    let usd = Currency::parse("USD")?;
    for (sku, name, price, stock) in PRODUCTS {
        let sku = Sku::parse(sku)?;
        let price = Money::parse(price, usd)?;
        let product = CreateProduct {
            sku: sku.clone(),
            name: name.into(),
            price: Some(price),
            cost_price: Some(Money { minor: price.minor * 6 / 10, currency: usd }),
            low_stock_threshold: None,
            oversell_policy: "block",
            initial_stock: Quantity::parse(stock)?,
            store: store.clone(),
            actor: "demo".into(),
        };
        context.writer.run_patiently(product).await?;
        for code in CODES {
            let connection = context.kit.registry.by_code(code).ok_or_else(|| anyhow::anyhow!("{code} is missing"))?;
            let listing = CreateListing {
                connection,
                components: vec![(sku.clone(), 1)],
                marketplace_product_id: Some(format!("{}-{sku}", code.to_uppercase())),
                marketplace_sku: None,
                market: String::new(),
                refs: serde_json::Map::new(),
                price: Some(price),
                rule: crate::domain::rule::Rule::default(),
                actor: "demo".into(),
            };
            let listed: Result<_, WriteError<CatalogueError>> = context.writer.run_patiently(listing).await;
            listed?;
        }
    }
    Ok(())
}

fn connect(shops: &[ShopServer], hub: &str, secret: &str) -> anyhow::Result<()> {
    for (code, shop) in CODES.iter().zip(shops) {
        tracing::debug!(code, "webhooks go to the hub");
        shop.market().connect_webhooks(&CourierSettings::new(Target::parse(hub)?, secret));
    }
    Ok(())
}

/// Who the demo's dashboard knows. The password is another one each time: a hub with a known one must never be left running.
const EMAIL: &str = "demo@example.com";

async fn let_somebody_in(app: &App) -> anyhow::Result<String> {
    let context = &app.context;
    let password = hex::encode(crate::chance::secret_bytes::<6>()?);
    let password_hash = context.people.passwords.hash(&context.workers, password.clone()).await?;
    let user = CreateUser { email: EMAIL.into(), name: "Demo".into(), role: Role::Admin.as_str(), password_hash };
    context.writer.run_patiently(user).await?;
    Ok(password)
}

fn announce(hub: &str, shops: &[ShopServer], password: &str, token: &str, secret: &str) {
    out("\nstockhub demo: a hub, three simulated marketplaces, shoppers, and your storefront.\n");
    out(&format!("  dashboard    {hub}/           sign in as {EMAIL} with the password {password}"));
    out(&format!("  storefront   {hub}/store      open it and watch the numbers count down; buy something"));
    out(&format!("  API          {hub}/openapi.json"));
    for (code, shop) in CODES.iter().zip(shops) {
        out(&format!("  {code:<12} {}/control/state", shop.base_url()));
    }
    out(&format!("\n  admin token  {token}"));
    out(&format!("  try          curl -H 'Authorization: Bearer {token}' '{hub}/v1/admin/movements?sku=PHONE-001&limit=3'"));
    out(&format!("  hooks secret {secret}"));
    out("\nCtrl-C ends it; nothing is kept.\n");
}

/// Every change of stock, as it happens: what a shop window learns, and what the marketplaces show.
fn tell(workers: &Workers, app: &App, shops: &[ShopServer]) {
    let engine = app.context.engine.clone();
    let shops: Vec<ShopServer> = shops.to_vec();
    let mut last = std::collections::BTreeMap::<String, i64>::new();
    workers.every(Duration::from_millis(200), move || {
        let mut lines = Vec::new();
        for (sku, ..) in PRODUCTS {
            let Ok(parsed) = Sku::parse(sku) else { continue };
            let Some(stock) = published(&engine, &parsed) else { continue };
            let known = last.insert(sku.to_owned(), stock);
            if let Some(before) = known.filter(|before| *before != stock) {
                let shown: Vec<String> =
                    CODES.iter().zip(&shops).map(|(code, shop)| format!("{code} {}", shop.market().shown(sku))).collect();
                lines.push(format!("  {sku:<10} {before:>4} → {stock:<4}  marketplaces show: {}", shown.join(", ")));
            }
        }
        for line in lines {
            out(&line);
        }
        std::future::ready(More::Later)
    });
}

/// A demo that is looked at again after a while is still alive: what was sold out for a moment is delivered anew.
fn restock(workers: &Workers, app: &App) {
    let (engine, writer) = (app.context.engine.clone(), app.context.writer.clone());
    let mut empty = std::collections::BTreeSet::new();
    workers.every(DELIVERED_AFTER, move || {
        let mut due = Vec::new();
        for (sku, _, _, pieces) in PRODUCTS {
            let Ok(sku) = Sku::parse(sku) else { continue };
            if published(&engine, &sku) != Some(0) {
                empty.remove(&sku);
            } else if !empty.insert(sku.clone()) {
                due.push((sku, pieces));
            }
        }
        let writer = writer.clone();
        async move {
            for (sku, pieces) in due {
                if let Err(error) = deliver(&writer, sku, pieces).await {
                    tracing::warn!(%error, "a delivery was not booked");
                }
            }
            More::Later
        }
    });
}

async fn deliver(writer: &Writer, sku: Sku, pieces: i64) -> anyhow::Result<()> {
    let delivery = ChangeStock {
        sku,
        location: "main".into(),
        correction: Correction::By(Delta::parse(pieces)?),
        movement_type: "topup",
        reason: Some("topup".into()),
        note: None,
        reference: Some("a delivery of the demo".into()),
        actor: "demo".into(),
    };
    writer.run_patiently(delivery).await?;
    Ok(())
}

/// What the shop window says of a product now.
fn published(engine: &Engine, sku: &Sku) -> Option<i64> {
    let snapshot = engine.snapshot(&Interest::Skus(vec![sku.clone()]));
    let item: serde_json::Value = serde_json::from_slice(snapshot.items.first()?).ok()?;
    item["stock"].as_i64()
}
