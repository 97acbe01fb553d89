//! Many marketplaces with much to tell: how long it takes until all is told, what it costs in memory, tasks and connections, and
//! how close it comes to what their limits allow. In one process: the hub, and a shop that answers like Ozon.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::figures::print_line;
use super::process;
use crate::app::{App, Surroundings};
use crate::clock::Clock;
use crate::db::listings::{self, NewListing};
use crate::db::push_checks::{self, Reason};
use crate::db::{DbError, products};
use crate::domain::ids::{ListingId, MarketplaceId, ProductId};
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::pipeline::Tx;
use crate::pipeline::catalogue::CreateProduct;
use crate::pipeline::writer::Command;
use crate::settings::{Env, Settings};
use crate::simulator::World;
use crate::simulator::http_server::{Handler, HttpServer, Reply, Request};
use crate::workers::Workers;

/// What Ozon allows: so many requests a minute, of so many listings.
const PER_MINUTE: f64 = 80.0;
const PER_REQUEST: usize = 100;
/// Listings made in one transaction.
const GROUP: usize = 1_000;

#[derive(Args)]
pub struct PushArguments {
    /// Seller accounts
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    connections: u32,
    /// Listings of each that are to be told
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    listings: u32,
    /// Seconds after which it is given up
    #[arg(long, default_value_t = 600)]
    patience_s: u64,
}

pub async fn run(arguments: PushArguments) -> ExitCode {
    match measure(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A shop for all accounts: takes every number and says so.
#[derive(Default)]
struct Shop {
    requests: AtomicU64,
    told: AtomicU64,
}

impl Handler for Shop {
    async fn handle(&self, request: Request) -> Reply {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let Some(stocks) = body["stocks"].as_array() else { return Reply::json(200, &json!({})) };
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.told.fetch_add(stocks.len() as u64, Ordering::Relaxed);
        let taken: Vec<Value> = stocks
            .iter()
            .map(|row| json!({"offer_id": row["offer_id"], "warehouse_id": row["warehouse_id"], "updated": true, "errors": []}))
            .collect();
        Reply::json(200, &json!({ "result": taken }))
    }
}

fn settings(arguments: &PushArguments, database: &str, shop: &str) -> anyhow::Result<Settings> {
    let mut text = format!("[server]\nbind = \"127.0.0.1:0\"\n[log]\nlevel = \"warn\"\n[database]\nurl = \"{database}\"\n");
    for n in 0..arguments.connections {
        text += &format!(
            "[[marketplaces]]\ncode = \"m-{n}\"\nadapter = \"ozon\"\nbase_url = \"{shop}\"\n[marketplaces.account]\n\
             client_id = \"{n}\"\nseller_id = {n}\nwarehouse_id = {}\n[marketplaces.secrets]\napi_key = \"env:BENCH_KEY\"\n\
             [marketplaces.policy]\npoll_every = \"7d\"\n",
            n + 1
        );
    }
    let env: Env = std::iter::once(("BENCH_KEY".to_owned(), "bench-key".to_owned())).collect();
    let loaded = Settings::from_texts(&[("bench", &text)], &env);
    loaded.map(|(settings, _)| settings).map_err(|faults| anyhow::anyhow!("{faults}"))
}

/// Lists a part of the products at one marketplace, all of it to be told.
struct Fill {
    marketplace: MarketplaceId,
    products: Arc<Vec<(ProductId, String)>>,
    from: usize,
    to: usize,
}

impl Command for Fill {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let mut made: Vec<(ListingId, Option<i64>)> = Vec::with_capacity(self.to - self.from);
        for (product, sku) in &self.products[self.from..self.to] {
            let refs = json!({ "offer_id": sku }).to_string();
            let listing = NewListing {
                id: tx.id(),
                marketplace_id: self.marketplace,
                marketplace_product_id: sku,
                market: "",
                marketplace_sku: Some(sku),
                refs: &refs,
                price_minor: None,
                currency: None,
                rule: "{}",
                actor: "bench",
            };
            listings::insert(&mut tx.conn, &listing, &[(*product, 1)], tx.now).await?;
            made.push((listing.id, None));
        }
        let reason = Reason { trigger: "manual", sync_log_id: None };
        push_checks::request(&mut tx.conn, &made, reason, tx.now).await
    }
}

async fn fill(app: &App, arguments: &PushArguments) -> anyhow::Result<()> {
    let context = &app.context;
    let store = context.kit.registry.by_code("store").ok_or_else(|| anyhow::anyhow!("there is no store"))?;
    let mut skus = Vec::new();
    for n in 0..arguments.listings {
        let sku = Sku::parse(&format!("S-{n}"))?;
        let command = CreateProduct {
            sku: sku.clone(),
            name: sku.to_string(),
            price: None,
            cost_price: None,
            low_stock_threshold: None,
            oversell_policy: "block",
            initial_stock: Quantity::ZERO,
            store: store.clone(),
            actor: "bench".into(),
        };
        context.writer.run_patiently(command).await?;
        skus.push(sku);
    }
    let mut reader = context.db.read().await?;
    let found = products::list_by_sku(&mut reader.conn(), skus.iter().map(Sku::as_str)).await?;
    drop(reader);
    let all = Arc::new(found.into_iter().map(|row| (row.id, row.sku.to_string())).collect::<Vec<_>>());
    for connection in context.kit.registry.all().iter().filter(|connection| connection.pushes()) {
        for from in (0..all.len()).step_by(GROUP) {
            let to = (from + GROUP).min(all.len());
            let command = Fill { marketplace: connection.id, products: all.clone(), from, to };
            context.writer.run_patiently(command).await?;
        }
    }
    Ok(())
}

async fn measure(arguments: &PushArguments) -> anyhow::Result<()> {
    let folder = tempfile_folder()?;
    let done = measure_in(arguments, &folder).await;
    std::fs::remove_dir_all(&folder)?;
    done
}

fn tempfile_folder() -> std::io::Result<std::path::PathBuf> {
    let folder = std::env::temp_dir().join(format!("stockhub-bench-push-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

async fn measure_in(arguments: &PushArguments, folder: &std::path::Path) -> anyhow::Result<()> {
    let clock = Clock::system();
    let stop = CancellationToken::new();
    let workers = Workers::new(Handle::current(), stop.clone());
    let time = clock.clone();
    let world = World::new(Arc::new(move || time.now()), workers.tracker().clone(), stop.clone());
    let shop = Arc::new(Shop::default());
    let server = HttpServer::start(world, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), shop.clone())?;
    let database = format!("sqlite://{}", folder.join("bench.db").display());
    let app = App::build(settings(arguments, &database, &server.base_url())?, Surroundings::default()).await?;
    let begun = clock.elapsed();
    fill(&app, arguments).await?;
    let all = u64::from(arguments.connections) * u64::from(arguments.listings);
    print_line(&format!(
        "{} connections × {} listings = {all} to be told, made in {:.1} s",
        arguments.connections,
        arguments.listings,
        clock.elapsed().saturating_sub(begun).as_secs_f64()
    ));
    let context = app.context.clone();
    let before = process::usage(std::process::id()).unwrap_or_default();
    let begun = clock.elapsed();
    let quit = stop.clone();
    let running = app.run(async move { quit.cancelled().await });
    let watch = watch(&clock, &shop, &context.workers, all, Duration::from_secs(arguments.patience_s));
    tokio::pin!(running);
    let (peak, tasks) = tokio::select! {
        ended = &mut running => anyhow::bail!("the hub ended: {ended:?}"),
        peak = watch => peak?,
    };
    let took = clock.elapsed().saturating_sub(begun);
    let after = process::usage(std::process::id()).unwrap_or_default();
    let requests = shop.requests.load(Ordering::Relaxed);
    let each = (arguments.listings as usize).div_ceil(PER_REQUEST);
    // A new owner has nothing saved up: each request waits for its share of a minute.
    let least = Duration::from_secs_f64(each as f64 * 60.0 / PER_MINUTE);
    let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    print_line(&format!(
        "told in {:.1} s with {requests} requests ({each} per connection are the least); their limits alone make it {:.1} s",
        took.as_secs_f64(),
        least.as_secs_f64()
    ));
    print_line(&format!(
        "memory {:.0} MiB before, {:.0} MiB at most, of hub and shop together; {tasks} tasks of the hub; cpu {:.1} s",
        mebibytes(before.resident_bytes),
        mebibytes(peak),
        after.cpu.saturating_sub(before.cpu).as_secs_f64()
    ));
    let connections = server.accepted();
    print_line(&format!(
        "{connections} connections made: {:.1} % of the requests used one that was there",
        100.0 * (1.0 - connections as f64 / requests.max(1) as f64)
    ));
    stop.cancel();
    running.await?;
    workers.join(Duration::from_secs(5)).await;
    Ok(())
}

/// Until all is told: the most memory, of hub and shop together, and the most tasks of the hub.
async fn watch(clock: &Clock, shop: &Shop, workers: &Workers, all: u64, patience: Duration) -> anyhow::Result<(u64, usize)> {
    let begun = clock.elapsed();
    let (mut peak, mut tasks) = (0, 0);
    loop {
        let told = shop.told.load(Ordering::Relaxed);
        peak = peak.max(process::usage(std::process::id()).map_or(0, |usage| usage.resident_bytes));
        tasks = tasks.max(workers.tracker().len());
        if told >= all {
            return Ok((peak, tasks));
        }
        let took = clock.elapsed().saturating_sub(begun);
        anyhow::ensure!(took < patience, "only {told} of {all} were told in {took:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
