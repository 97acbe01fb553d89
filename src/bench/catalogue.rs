//! A hub with a large catalogue and a long past: how long lists, pages and a stock read take over HTTP, and what the import of a
//! table costs, in memory and for a sale that comes meanwhile. The catalogue is made by the database itself (`db/filling.rs`), then
//! the real program serves it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::catalogue_routes::{self, Timed};
use super::figures::{Spread, print_line};
use super::hub::{Hub, Plan, SECRET, Scratch, TOKEN};
use super::process;
use crate::clock::Clock;
use crate::db::filling::{self, SEASON, Shape};
use crate::db::{DatabaseUrl, Db, DbOptions};
use crate::domain::time::Timestamp;
use crate::simulator::http_client::Client;
use crate::simulator::webhooks::{Reason, Signer, StockUpdated};

/// Days over which the movements are spread: deliveries and calls older than `ingest.retention_days` are not made, as they would
/// have been purged.
const DAYS: i64 = 400;
const DAYS_KEPT: i64 = 89;
const EVENT_DAYS: i64 = 29;
const DAY_MICROS: i64 = 86_400_000_000;
/// How long an import may take before the bench gives up.
const IMPORT_PATIENCE: Duration = Duration::from_secs(1_800);
/// Between two sales while a table is imported.
const SALES_PAUSE: Duration = Duration::from_millis(25);

#[derive(Args)]
pub struct CatalogueArguments {
    /// "sqlite", or the postgres:// URL of a server on which a database may be made
    #[arg(long, default_value = "sqlite")]
    database: String,
    /// Products, in whole hundreds
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(i64).range(100..=1_000_000))]
    products: i64,
    /// Marketplaces, each with a listing of every product
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i64).range(1..=50))]
    marketplaces: i64,
    /// Movements in the ledger, all products together: at least ten of each
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(i64).range(1_000..=100_000_000))]
    movements: i64,
    /// Requests of each kind; ten times as many of the stock read
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    requests: u32,
    /// Rows of the table that is imported: new products after a tenth as many, then the same ones changed; 0 leaves that part out
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=500_000))]
    import: u32,
    /// Keep the database in this folder, and use the one that is there
    #[arg(long, value_name = "FOLDER")]
    keep: Option<std::path::PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    database: &'static str,
    products: i64,
    marketplaces: i64,
    movements: i64,
    filled_s: f64,
    routes: Vec<Timed>,
    imports: Vec<Import>,
    ledger_is_clean: bool,
}

#[derive(Serialize)]
struct Import {
    rows: u32,
    /// `new`: products that were not there, which the hub knows from then on; `changed`: prices of such that are.
    kind: &'static str,
    seconds: f64,
    resident_before: u64,
    resident_peak: u64,
    /// How long the answer to a sale took meanwhile.
    sales: Spread,
    sales_not_2xx: usize,
}

pub async fn run(arguments: CatalogueArguments) -> ExitCode {
    match in_a_folder(&arguments).await {
        Ok(report) if report.ledger_is_clean => ExitCode::SUCCESS,
        Ok(_) => {
            print_line("the ledger is not clean: the figures mean nothing");
            ExitCode::FAILURE
        }
        Err(error) => {
            print_line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn in_a_folder(arguments: &CatalogueArguments) -> anyhow::Result<Report> {
    let passing = std::env::temp_dir().join(format!("stockhub-bench-catalogue-{}", std::process::id()));
    let folder = arguments.keep.clone().unwrap_or(passing);
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let done = measure(arguments, &folder).await;
    if arguments.keep.is_none() {
        std::fs::remove_dir_all(&folder)?;
    }
    done
}

async fn measure(arguments: &CatalogueArguments, folder: &Path) -> anyhow::Result<Report> {
    anyhow::ensure!(arguments.products % SEASON == 0, "--products takes whole hundreds");
    anyhow::ensure!(arguments.movements >= arguments.products * 10, "--movements: at least ten of each product");
    let lite = arguments.database == "sqlite";
    anyhow::ensure!(lite || arguments.keep.is_none(), "--keep is for SQLite: a database on a server is always removed");
    let scratch = if lite { Scratch::sqlite(folder) } else { Scratch::postgres(&arguments.database)? };
    let done = on(arguments, &scratch, folder).await;
    scratch.remove()?;
    done
}

async fn on(arguments: &CatalogueArguments, scratch: &Scratch, folder: &Path) -> anyhow::Result<Report> {
    let clock = Clock::system();
    // Nobody listens there, and nothing is to be told: every listing shows what it should.
    let shops = (1..=arguments.marketplaces).map(|n| (format!("m{n}"), "http://127.0.0.1:9".to_owned())).collect();
    let program = std::env::current_exe()?.canonicalize()?;
    let plan = Plan { program, folder: folder.to_owned(), database_url: scratch.url.clone(), shops };
    let there = arguments.keep.is_some() && folder.join("bench.db").exists();
    let (hub, _) = Hub::start(plan, &clock).await?;
    let plan = hub.stop().await?;
    let begun = clock.elapsed();
    if !there {
        fill(arguments, &scratch.url, &clock).await?;
    }
    let filled_s = clock.elapsed().saturating_sub(begun).as_secs_f64();
    if !arguments.json {
        print_line(&format!(
            "{}: {} products x {} marketplaces, {} movements, made in {filled_s:.1} s",
            scratch.name, arguments.products, arguments.marketplaces, arguments.movements
        ));
    }
    let (hub, took) = Hub::start(plan, &clock).await?;
    if !arguments.json {
        print_line(&format!("ready {:.2} s after its start\n{}", took.as_secs_f64(), catalogue_routes::HEADINGS));
    }
    let mut show = |timed: &Timed| {
        if !arguments.json {
            print_line(&timed.line());
        }
    };
    let routes = catalogue_routes::measure(&mut hub.client()?, &clock, arguments.products, arguments.requests, &mut show).await?;
    let mut imports = Vec::new();
    // A kept database has the rows of the run before.
    let run = clock.now().millis();
    let (few, many) = (arguments.import / 10, arguments.import);
    let mut sold = 0;
    let tables = [(few, "new", 0), (many, "new", few), (many, "changed", few)];
    for (rows, kind, first) in tables.into_iter().filter(|(rows, ..)| *rows > 0) {
        let done = import(&hub, &clock, &Table { run, first, rows, kind }, arguments.products, &mut sold).await?;
        if !arguments.json {
            print_line(&done.line());
        }
        imports.push(done);
    }
    let ledger_is_clean = hub.stop().await?.ledger_is_clean()?;
    let (products, marketplaces, movements) = (arguments.products, arguments.marketplaces, arguments.movements);
    let report = Report { database: scratch.name, products, marketplaces, movements, filled_s, routes, imports, ledger_is_clean };
    if arguments.json {
        print_line(&serde_json::json!(report).to_string());
    }
    Ok(report)
}

/// A transaction for each piece of it, so that the log of changes does not grow with the whole.
async fn fill(arguments: &CatalogueArguments, url: &str, clock: &Clock) -> anyhow::Result<()> {
    let options = DbOptions {
        url: DatabaseUrl::parse(url)?,
        readers: 1,
        busy_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        wal_autocheckpoint_pages: 4_000,
    };
    let now = clock.now();
    let each = arguments.movements / arguments.products;
    let start = now.minus(Duration::from_secs(DAYS as u64 * 86_400));
    let step = DAYS * DAY_MICROS / (each * arguments.products);
    let since = |days: i64| (DAYS - days) * DAY_MICROS / step;
    let (products, marketplaces) = (arguments.products, arguments.marketplaces);
    let (kept_from, events_from) = (since(DAYS_KEPT), since(EVENT_DAYS));
    let shape = Shape { products, marketplaces, movements: each, start, step, kept_from, events_from };
    let (db, mut writer) = Db::open(options).await?;
    for from in (0..products).step_by(1_000) {
        writer.begin().await?;
        filling::products(&mut writer.conn(), &shape, from, (from + 1_000).min(products)).await?;
        writer.commit().await?;
    }
    for season in 0..products / SEASON {
        writer.begin().await?;
        filling::season(&mut writer.conn(), &shape, season).await?;
        writer.commit().await?;
    }
    writer.begin().await?;
    for back in 0..DAYS {
        let day = now.minus(Duration::from_secs(back as u64 * 86_400)).day();
        filling::sales(&mut writer.conn(), &shape, &day, back).await?;
    }
    filling::look(&mut writer.conn()).await?;
    writer.commit().await?;
    writer.close().await;
    db.close().await;
    Ok(())
}

/// What is imported: so many rows from a number on.
struct Table {
    run: i64,
    first: u32,
    rows: u32,
    kind: &'static str,
}

impl Table {
    fn text(&self) -> String {
        let price = if self.kind == "new" { 19 } else { 29 };
        let mut text = String::from("sku,name,price,currency,stock\n");
        for n in self.first..self.first + self.rows {
            text += &format!("NEW-{}-{n},A new thing no. {n},{price}.{:02},USD,{}\n", self.run, n % 100, n % 40);
        }
        text
    }
}

/// What the first marketplace sends of its n-th sale: one piece of a product that has some, each of another as long as there are.
fn sale(n: i64, products: i64, at: Timestamp) -> Vec<u8> {
    let product = (n + n / 49 + 1) % products;
    let number = 1_000_000 + product;
    let (id, sku) = (format!("m1-{number}"), format!("SKU-{number}"));
    serde_json::json!(StockUpdated::new(&id, &sku, product % 50, -1, at, Reason::Sold)).to_string().into_bytes()
}

/// Sends a table, watches the hub's memory meanwhile, and sells a piece of one product after the other.
async fn import(hub: &Hub, clock: &Clock, table: &Table, products: i64, sold_before: &mut i64) -> anyhow::Result<Import> {
    let (rows, kind, text) = (table.rows, table.kind, table.text());
    let mut client = Client::new(hub.target()?, IMPORT_PATIENCE);
    let token = format!("Bearer {TOKEN}");
    let headers = [("authorization", token.as_str()), ("content-type", "text/csv")];
    let resident = || hub.usage().map_or(0, |usage: process::Usage| usage.resident_bytes);
    let resident_before = resident();
    let mut resident_peak = resident_before;
    let (mut sales, mut sales_not_2xx) = (Vec::new(), 0);
    let begun = clock.elapsed();
    let sent = client.post("/v1/admin/products/import", &headers, text.as_bytes());
    let sold = async {
        let (mut shop, signer) = (hub.client()?, Signer::new(SECRET));
        loop {
            tokio::time::sleep(SALES_PAUSE).await;
            resident_peak = resident_peak.max(resident());
            let body = sale(*sold_before, products, clock.now());
            *sold_before += 1;
            let (signature, asked) = (signer.sign(&body), clock.elapsed());
            let headers = [("x-webhook-signature", signature.as_str()), ("content-type", "application/json")];
            let answer = shop.post("/webhooks/m1", &headers, &body).await?;
            sales.push(clock.elapsed().saturating_sub(asked));
            sales_not_2xx += usize::from(!(200..300).contains(&answer.status));
        }
    };
    let answer = tokio::select! {
        answer = sent => answer?,
        failed = sold => return failed,
    };
    let seconds = clock.elapsed().saturating_sub(begun).as_secs_f64();
    let done: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let made = done[if kind == "new" { "created" } else { "updated" }].as_u64();
    anyhow::ensure!(made == Some(u64::from(rows)), "the import answers {}: {done}", answer.status);
    let resident_peak = resident_peak.max(resident());
    Ok(Import { rows, kind, seconds, resident_before, resident_peak, sales: Spread::of(sales), sales_not_2xx })
}

impl Import {
    fn line(&self) -> String {
        let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
        format!(
            "import of {} {} rows: {:.1} s, memory {:.0} MiB before, {:.0} MiB at most; {} sales meanwhile were answered after {:.1} ms \
             (p50), {:.1} ms (p99); {} were not taken",
            self.rows,
            self.kind,
            self.seconds,
            mebibytes(self.resident_before),
            mebibytes(self.resident_peak),
            self.sales.count,
            self.sales.p50_us as f64 / 1_000.0,
            self.sales.p99_us as f64 / 1_000.0,
            self.sales_not_2xx
        )
    }
}
