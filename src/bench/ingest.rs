//! Signed webhooks against a real hub on loopback: how many a second are durable, how fast they are answered, and what each
//! costs; then how soon browsers and marketplaces know. One process is the hub, this one is everybody else.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::browser::{Browser, Sighting};
use super::figures::{EndToEnd, HEADINGS, Report, Round, Spread, Start, Syncs, print_line};
use super::hub::{Hub, Plan, SECRET, Scratch, signal, wait};
use super::{process, verification};
use crate::clock::Clock;
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;
use crate::simulator::World;
use crate::simulator::load::{self, LoadReport, LoadSettings, Outcome};
use crate::simulator::marketplace::MarketplaceSettings;
use crate::simulator::record::ShopEvent;
use crate::simulator::server::ShopServer;
use crate::simulator::shop::Opening;
use crate::workers::Workers;

/// Units every product has at the start: more than any run sells.
const OPENING: i64 = 1_000_000_000;
/// An event that the hub keeps and makes nothing of.
const LOGGED: &str = "stock.looked_at";
/// SKUs one browser looks at.
const SKUS_PER_BROWSER: usize = 10;
/// Changes of a listing this far apart do not wait for each other: above the default of `push.min_gap_ms`.
const QUIET: Duration = Duration::from_millis(1_200);
/// How long the last push of a round may take before the next round begins anyway.
const SETTLE: Duration = Duration::from_secs(30);

#[derive(Args)]
pub struct IngestArguments {
    /// "sqlite", or the postgres:// URL of a server on which a database may be made; repeatable [default: sqlite, and the
    /// server that STOCKHUB_BENCH_DATABASE_URL names]
    #[arg(long)]
    pub database: Vec<String>,
    /// Connections that send at once, a round for each number
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,256")]
    pub senders: Vec<usize>,
    /// Webhooks in a round of 64 senders or more; smaller rounds send fewer
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(64..=1_000_000))]
    pub total: u32,
    /// Marketplaces, each with one listing of every product
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub listings: u8,
    /// Products
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub skus: u32,
    /// Browsers that watch ten SKUs each while webhooks come on a beat; 0 leaves that part out
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub browsers: u32,
    /// Webhooks per second of that beat
    #[arg(long, default_value_t = 500)]
    pub rate: u32,
    /// Seconds it lasts
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=300))]
    pub seconds: u32,
    /// Grow the log to so many times its size after the first round and measure again
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub growth: u32,
    /// What it is grown by: "applied" sales, or events that are only "logged", which is quicker
    #[arg(long, default_value = "applied", value_parser = ["applied", "logged"])]
    pub growth_by: String,
    /// Products at which the start is timed; 0 leaves that part out
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=200_000))]
    pub start_products: u32,
    /// Another build of the hub to measure, to compare the two
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// As JSON, one document for all databases
    #[arg(long)]
    pub json: bool,
}

pub async fn run(arguments: IngestArguments) -> ExitCode {
    match databases(&arguments).await {
        Ok(reports) => {
            if arguments.json {
                print_line(&serde_json::json!(reports).to_string());
            }
            if reports.iter().all(|report| report.ledger_is_clean) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            tracing::error!("{error:#}");
            print_line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn databases(arguments: &IngestArguments) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    let named = arguments.database.clone();
    let server = std::env::var("STOCKHUB_BENCH_DATABASE_URL").ok().filter(|url| !url.is_empty());
    let databases = if named.is_empty() { std::iter::once("sqlite".to_owned()).chain(server).collect() } else { named };
    for (n, database) in databases.iter().enumerate() {
        let folder = std::env::temp_dir().join(format!("stockhub-bench-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let done = one_database(arguments, database, &folder).await;
        // Nothing of the measurement is kept.
        std::fs::remove_dir_all(&folder)?;
        reports.push(done?);
    }
    Ok(reports)
}

async fn one_database(arguments: &IngestArguments, database: &str, folder: &Path) -> anyhow::Result<Report> {
    let scratch = if database == "sqlite" { Scratch::sqlite(folder) } else { Scratch::postgres(database)? };
    let stop = CancellationToken::new();
    let workers = Workers::new(Handle::current(), stop.clone());
    let clock = Clock::system();
    let time = clock.clone();
    let world = World::new(Arc::new(move || time.now()), workers.tracker().clone(), stop.clone());
    let done = measure(arguments, &scratch, folder, &world, clock).await;
    stop.cancel();
    workers.join(Duration::from_secs(5)).await;
    scratch.remove()?;
    done
}

/// Everything one database's measurements share.
struct Bench<'a> {
    arguments: &'a IngestArguments,
    world: &'a World,
    clock: Clock,
    shops: Vec<ShopServer>,
    skus: Vec<Sku>,
    hub: Hub,
    /// Units sold so far, by SKU.
    sold: Vec<u64>,
    logged: usize,
    runs: usize,
}

async fn measure(
    arguments: &IngestArguments,
    scratch: &Scratch,
    folder: &Path,
    world: &World,
    clock: Clock,
) -> anyhow::Result<Report> {
    let program = arguments.program.clone().map_or_else(std::env::current_exe, Ok)?.canonicalize()?;
    let binary_bytes = std::fs::metadata(&program)?.len();
    let verification = verification::measure(&load::body("m1-SKU-000000", "SKU-000000", clock.now()), &clock)?;
    let names: Vec<String> = (0..arguments.skus).map(|n| format!("SKU-{n:06}")).collect();
    let skus: Vec<Sku> = names.iter().map(|name| Sku::parse(name)).collect::<Result<_, _>>()?;
    let shops =
        (1..=arguments.listings).map(|n| open_shop(world, &format!("m{n}"), &skus)).collect::<anyhow::Result<Vec<_>>>()?;
    let addresses = shops.iter().map(|shop| (shop.market().code(), shop.base_url())).collect();
    let plan = Plan { program, folder: folder.to_owned(), database_url: scratch.url.clone(), shops: addresses };
    let (hub, _) = Hub::start(plan, &clock).await?;
    hub.stock(world, names, OPENING).await?;
    hub.settled(&clock, SETTLE).await?;
    let sold = vec![0; skus.len()];
    let mut bench = Bench { arguments, world, clock, shops, skus, hub, sold, logged: 0, runs: 0 };
    let mut report = Report {
        database: scratch.name,
        skus: arguments.skus as usize,
        listings_per_sku: usize::from(arguments.listings),
        binary_bytes,
        rounds: Vec::new(),
        end_to_end: None,
        syncs: None,
        start: None,
        verification,
        ledger_is_clean: false,
    };
    if !arguments.json {
        print_line(&format!(
            "\n{}: {} products x {} marketplaces, {} cores\n{HEADINGS}",
            scratch.name,
            arguments.skus,
            arguments.listings,
            cores()
        ));
    }
    report.rounds = bench.rounds().await?;
    if arguments.browsers > 0 {
        report.end_to_end = Some(bench.end_to_end().await?);
    }
    report.syncs = bench.syncs(scratch.name).await?;
    let plan = if arguments.start_products > 0 {
        let (plan, start) = bench.restarted().await?;
        report.start = Some(start);
        plan
    } else {
        bench.hub.stop().await?
    };
    report.ledger_is_clean = plan.ledger_is_clean()?;
    if !arguments.json {
        print_line(&report.rest());
    }
    Ok(report)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

fn open_shop(world: &World, code: &str, skus: &[Sku]) -> anyhow::Result<ShopServer> {
    let stock = Quantity::parse(OPENING)?;
    let opening = skus.iter().map(|sku| Opening::new(sku.clone(), stock)).collect();
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    Ok(ShopServer::start(world.clone(), any, MarketplaceSettings::new(code, opening))?)
}

/// Smaller crowds send fewer, so that no round takes minutes.
fn share(total: u32, senders: usize) -> usize {
    let total = total as usize;
    (total * senders.min(64) / 64).clamp(total.min(500), total)
}

impl Bench<'_> {
    fn load(&mut self, senders: usize, total: usize) -> anyhow::Result<LoadSettings> {
        self.runs += 1;
        let run = format!("run{}", self.runs);
        let (opening, sold, seed) = (OPENING, self.sold.clone(), self.runs as u64);
        let settings = LoadSettings::new(self.hub.target()?, "m1", SECRET, self.skus.clone());
        Ok(LoadSettings { run, opening, sold, senders, total, seed, ..settings })
    }

    async fn send(&mut self, settings: LoadSettings) -> anyhow::Result<LoadReport> {
        let moves = settings.event == "stock.updated";
        let report = load::run(self.world, settings).await?;
        self.logged += report.sent;
        if moves {
            for (sku, units) in report.acknowledged() {
                self.sold[sku] += units;
            }
        }
        Ok(report)
    }

    async fn rounds(&mut self) -> anyhow::Result<Vec<Round>> {
        let (most, total) = (self.arguments.senders.iter().copied().max().unwrap_or(64), self.arguments.total);
        // Statements prepared, pages read, threads started: what happens once is not what is measured.
        let warm_up = self.load(16, 1_000)?;
        self.send(warm_up).await?;
        let mut rounds = Vec::new();
        for senders in self.arguments.senders.clone() {
            rounds.push(self.round("applied", senders, share(total, senders)).await?);
        }
        rounds.push(self.round("logged", most, total as usize).await?);
        if self.arguments.growth > 1 {
            let wanted = self.logged * self.arguments.growth as usize;
            let mut filler = self.load(most, wanted.saturating_sub(self.logged).max(1))?;
            if self.arguments.growth_by == "logged" {
                filler.event = LOGGED;
            }
            self.send(filler).await?;
            self.hub.settled(&self.clock, SETTLE).await?;
            rounds.push(self.round("applied", most, total as usize).await?);
        }
        Ok(rounds)
    }

    async fn round(&mut self, kind: &'static str, senders: usize, total: usize) -> anyhow::Result<Round> {
        let mut settings = self.load(senders, total)?;
        if kind == "logged" {
            settings.event = LOGGED;
        }
        let log_before = self.logged;
        let (metrics, hub, own) = (self.hub.metrics().await?, self.hub.usage(), process::usage(std::process::id()));
        let report = self.send(settings).await?;
        let (hub_after, own_after) = (self.hub.usage(), process::usage(std::process::id()));
        let after = self.hub.metrics().await?;
        let settled = self.hub.settled(&self.clock, SETTLE).await?;
        let count = report.sent.max(1);
        let grown = |name: &str| after.sum(name) - metrics.sum(name);
        let each = |later: Option<Duration>, before: Option<Duration>| {
            later.zip(before).map(|(later, before)| later.saturating_sub(before).as_secs_f64() * 1e6 / count as f64)
        };
        let ok: usize = report.by_status.iter().filter(|(status, _)| (200..300).contains(*status)).map(|(_, n)| n).sum();
        let round = Round {
            kind,
            senders,
            webhooks: report.sent,
            log_before,
            not_2xx: report.sent - ok,
            per_second: ok as f64 * 1_000.0 / report.elapsed_ms.max(1) as f64,
            ack: Spread::of(report.outcomes.iter().filter(|o| o.status.is_some()).map(|o| o.latency)),
            transactions: grown("write_group_size_count") as u64,
            webhooks_per_transaction: count as f64 / grown("write_group_size_count").max(1.0),
            largest_group_at_most: after.largest_since(&metrics, "write_group_size"),
            gaps: grown("listing_gaps_total") as u64,
            pushes: grown("pushes_total{") as u64,
            hub_cpu_us_per_webhook: each(hub_after.map(|u| u.cpu), hub.map(|u| u.cpu)),
            sender_cpu_us_per_webhook: each(own_after.map(|u| u.cpu), own.map(|u| u.cpu)),
            written_bytes_per_webhook: hub_after.zip(hub).map(|(l, b)| (l.written_bytes - b.written_bytes) as f64 / count as f64),
            hub_resident_bytes: hub_after.map(|u| u.resident_bytes),
            settled_after_ms: settled.unwrap_or(SETTLE).as_millis(),
        };
        if !self.arguments.json {
            print_line(&round.line());
        }
        Ok(round)
    }

    /// Webhooks on a beat, browsers that watch, and what the other marketplaces are told.
    async fn end_to_end(&mut self) -> anyhow::Result<EndToEnd> {
        let watching = CancellationToken::new();
        let world = World { stop: watching.clone(), ..self.world.clone() };
        let mut browsers = Vec::new();
        for n in 0..self.arguments.browsers as usize {
            let names: Vec<&str> =
                (0..SKUS_PER_BROWSER).map(|k| self.skus[(n * SKUS_PER_BROWSER + k) % self.skus.len()].as_str()).collect();
            let browser = Browser::open(self.hub.address, &names.join(",")).await?;
            browsers.push(world.tasks.spawn(browser.watch(world.clone())));
        }
        let (rate, seconds) = (self.arguments.rate.max(1), self.arguments.seconds);
        let mut settings = self.load(256, (rate * seconds) as usize)?;
        settings.rate_per_second = Some(f64::from(rate));
        let (begun, before, connected) = (self.world.now(), self.hub.usage(), self.connected());
        let report = self.send(settings).await?;
        let after = self.hub.usage();
        let took = Duration::from_millis(u64::try_from(report.elapsed_ms).unwrap_or(1)).as_secs_f64();
        self.hub.settled(&self.clock, SETTLE).await?;
        watching.cancel();
        let mut seen: Vec<Vec<Sighting>> = Vec::new();
        for browser in browsers {
            seen.push(browser.await?);
        }
        let shown = self.shown_by_browsers(&seen);
        let pushed = self.pushed_since(begun);
        let quiet = after_quiet(&report.outcomes);
        let lag = |outcome: &Outcome, list: &[(Timestamp, i64)]| {
            let first = list.iter().find(|(at, stock)| *stock <= outcome.shown && *at >= outcome.sent_at)?;
            Some(first.0.since(outcome.sent_at))
        };
        let lags = |lists: &HashMap<usize, Vec<Vec<(Timestamp, i64)>>>, of: &[&Outcome]| {
            let each = |o: &&Outcome| {
                let known = lists.get(&o.sku).into_iter().flatten().filter_map(|list| lag(o, list));
                known.map(|lag| (lag, lag.saturating_sub(o.latency))).collect::<Vec<_>>()
            };
            of.iter().flat_map(each).collect::<Vec<_>>()
        };
        let every = |lists: &HashMap<usize, Vec<Vec<(Timestamp, i64)>>>, of: &[&Outcome]| {
            Spread::of(lags(lists, of).into_iter().map(|(sent, _)| sent))
        };
        let all: Vec<&Outcome> = report.outcomes.iter().collect();
        Ok(EndToEnd {
            per_second: report.sent as f64 / took,
            browsers: self.arguments.browsers as usize,
            ack: Spread::of(report.outcomes.iter().map(|o| o.latency)),
            browser: every(&shown, &all),
            push: every(&pushed, &all),
            push_after_quiet: every(&pushed, &quiet),
            push_after_answer: Spread::of(lags(&pushed, &quiet).into_iter().map(|(_, answered)| answered)),
            pushes: pushed.values().flatten().map(Vec::len).sum(),
            connections: self.connected() - connected,
            hub_cpu_percent: after.zip(before).map(|(l, b)| l.cpu.saturating_sub(b.cpu).as_secs_f64() * 100.0 / took),
        })
    }

    /// Connections the marketplaces have seen, but for the one that sells.
    fn connected(&self) -> u64 {
        self.shops.iter().skip(1).map(ShopServer::accepted).sum()
    }

    fn places(&self) -> HashMap<&str, usize> {
        self.skus.iter().enumerate().map(|(n, sku)| (sku.as_str(), n)).collect()
    }

    /// By SKU: what each browser that watches it saw, in order.
    fn shown_by_browsers(&self, seen: &[Vec<Sighting>]) -> HashMap<usize, Vec<Vec<(Timestamp, i64)>>> {
        let places = self.places();
        let mut lists: HashMap<usize, Vec<Vec<(Timestamp, i64)>>> = HashMap::new();
        for sightings in seen {
            let mut own: HashMap<usize, Vec<(Timestamp, i64)>> = HashMap::new();
            for sighting in sightings {
                if let Some(sku) = places.get(sighting.sku.as_str()) {
                    own.entry(*sku).or_default().push((sighting.at, sighting.stock));
                }
            }
            for (sku, list) in own {
                lists.entry(sku).or_default().push(list);
            }
        }
        lists
    }

    /// By SKU: what each marketplace but the one that sold was told, by its own journal.
    fn pushed_since(&self, begun: Timestamp) -> HashMap<usize, Vec<Vec<(Timestamp, i64)>>> {
        let places = self.places();
        let mut lists: HashMap<usize, Vec<Vec<(Timestamp, i64)>>> = HashMap::new();
        for shop in self.shops.iter().skip(1) {
            let mut own: HashMap<usize, Vec<(Timestamp, i64)>> = HashMap::new();
            for record in shop.market().shop().journal().records() {
                let ShopEvent::Push { received_at, body, .. } = &record.event else { continue };
                let told: Option<serde_json::Value> = serde_json::from_str(body).ok().filter(|_| *received_at >= begun);
                let told = told.and_then(|t| Some((*places.get(t["sku"].as_str()?)?, t["stock"].as_i64()?)));
                if let Some((sku, stock)) = told {
                    own.entry(sku).or_default().push((*received_at, stock));
                }
            }
            for (sku, list) in own {
                lists.entry(sku).or_default().push(list);
            }
        }
        lists
    }

    /// Counts the hub's file syncs by looking at its system calls, where that tool is there. It slows the hub, so nothing else
    /// is measured meanwhile. A server of its own syncs for PostgreSQL: then there is nothing to count here.
    async fn syncs(&mut self, database: &str) -> anyhow::Result<Option<Syncs>> {
        const SENDERS: usize = 64;
        if database != "sqlite" {
            return Ok(None);
        }
        let mut strace = Command::new("strace");
        strace.args(["-c", "-f", "-e", "trace=fdatasync,fsync", "-o"]);
        let file = std::env::temp_dir().join(format!("stockhub-bench-{}.strace", std::process::id()));
        strace.arg(&file).arg("-p").arg(self.hub.pid().to_string());
        let Ok(mut strace) = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            return Ok(None);
        };
        // It needs a moment to take hold of every thread; what syncs before is not counted, so no webhook is sent before.
        tokio::time::sleep(Duration::from_millis(500)).await;
        if strace.try_wait()?.is_some() {
            return Ok(None);
        }
        let before = self.hub.metrics().await?;
        let settings = self.load(SENDERS, 4_000)?;
        let report = self.send(settings).await?;
        let after = self.hub.metrics().await?;
        signal("-INT", strace.id())?;
        wait(&mut strace).await?;
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::remove_file(&file)?;
        let transactions = (after.sum("write_group_size_count") - before.sum("write_group_size_count")) as u64;
        Ok(Some(Syncs { senders: SENDERS, webhooks: report.sent, syncs: sync_calls(&text), transactions }))
    }

    /// Stops the hub and starts it again with so many products.
    async fn restarted(self) -> anyhow::Result<(Plan, Start)> {
        let wanted = self.arguments.start_products.max(self.arguments.skus);
        let more = (self.arguments.skus..wanted).map(|n| format!("SKU-{n:06}")).collect();
        self.hub.stock(self.world, more, OPENING).await?;
        let plan = self.hub.stop().await?;
        let (hub, took) = Hub::start(plan, &self.clock).await?;
        let start = Start {
            products: wanted as usize,
            listings: wanted as usize * usize::from(self.arguments.listings),
            ready_ms: took.as_secs_f64() * 1_000.0,
            resident_bytes: hub.usage().map(|u| u.resident_bytes),
        };
        Ok((hub.stop().await?, start))
    }
}

/// Sales of SKUs of which nothing was sold for a while before.
fn after_quiet(outcomes: &[Outcome]) -> Vec<&Outcome> {
    let mut last: HashMap<usize, Timestamp> = HashMap::new();
    let quiet = |outcome: &&Outcome| {
        let before = last.insert(outcome.sku, outcome.sent_at);
        before.is_none_or(|at| outcome.sent_at.since(at) > QUIET)
    };
    outcomes.iter().filter(quiet).collect()
}

/// The calls column of strace's summary.
fn sync_calls(text: &str) -> u64 {
    let lines = text.lines().filter(|line| line.ends_with("fdatasync") || line.ends_with("fsync"));
    lines.filter_map(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_system_calls_is_read() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.013400          67       200           fdatasync\n  0.00    0.000000           0         1           fsync\n";
        assert_eq!(sync_calls(text), 201);
        assert_eq!((share(20_000, 1), share(20_000, 8), share(20_000, 256)), (500, 2_500, 20_000));
    }
}
