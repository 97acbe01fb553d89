//! `stockhub simulate`: fake marketplaces that behave like the real ones, on loopback, for a hub that runs beside them. At the end
//! it says what each of them shows, sold and was asked, and, where it is told a hub, whether that agrees.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::output::{err, out};
use super::serve::stop_signal;
use crate::clock::Clock;
use crate::simulator::World;
use crate::simulator::audit::{Report, audit};
use crate::simulator::chaos::Chaos;
use crate::simulator::fair::{Fair, FairSettings};
use crate::simulator::http_client::Target;
use crate::simulator::hub_view::HubView;
use crate::simulator::kinds::Kind;
use crate::simulator::kinds::connection::{HubSide, listing};
use crate::simulator::shoppers::{ShopperReport, ShopperSettings, send_out};
use crate::telemetry;
use crate::workers::Workers;

/// For one call to the hub.
const HUB_TIMEOUT: Duration = Duration::from_secs(30);
/// Longer runs are for a loop around this.
const MINUTES_MAX: f64 = 24.0 * 60.0;

#[derive(Args)]
pub(super) struct SimulateArguments {
    /// Kinds of shops, or CODE=KIND: generic, ozon, wildberries, uzum, yandex-market, backmarket, refurbed, shopify, woocommerce,
    /// kaufland, polling-generic
    #[arg(long, value_delimiter = ',', default_value = "ozon,wildberries,uzum,backmarket,refurbed,shopify,own-store=generic")]
    shops: Vec<String>,
    /// Products, each sold by every shop
    #[arg(long, default_value_t = 20)]
    products: usize,
    /// Pieces of each product
    #[arg(long, default_value_t = 50)]
    stock: i64,
    /// The run repeats itself with the same seed
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Send the webhooks to this hub (loopback only)
    #[arg(long, value_name = "URL")]
    hub: Option<String>,
    /// An API token of that hub, to make the products and listings and to audit it; better in STOCKHUB_SIMULATE_TOKEN
    #[arg(long)]
    token: Option<String>,
    /// Make the products and their listings in the hub first
    #[arg(long)]
    create: bool,
    /// Purchases a minute over all shops
    #[arg(long, default_value_t = 60.0)]
    orders_per_minute: f64,
    /// Purchases of a hundred that are followed by a cancellation
    #[arg(long, default_value_t = 5)]
    cancel_percent: u8,
    /// How long they sell; without it until Ctrl-C
    #[arg(long)]
    minutes: Option<f64>,
    #[arg(long, value_enum, default_value = "none")]
    chaos: ChaosLevel,
    /// How many times faster than the real ones' the clocks of the shops' limits run
    #[arg(long, default_value_t = 1)]
    hurry: u32,
    /// The first shop's port; 0 takes free ones
    #[arg(long, default_value_t = 18_500)]
    port_base: u16,
    /// Only print what a hub must be told of these shops: settings, environment, products and listings
    #[arg(long)]
    print_config: bool,
    /// In the end wait, hold the shops against the hub, and exit with 1 where a number differs
    #[arg(long)]
    audit: bool,
    /// Seconds the hub has for that after the last purchase
    #[arg(long, default_value_t = 120)]
    settle_seconds: u64,
    /// The report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ChaosLevel {
    None,
    Mild,
    All,
}

impl ChaosLevel {
    fn knobs(self) -> Chaos {
        match self {
            Self::None => Chaos::default(),
            Self::Mild => Chaos::mild(),
            Self::All => Chaos::all(),
        }
    }
}

pub(super) async fn simulate(arguments: SimulateArguments) -> ExitCode {
    telemetry::start_logging(telemetry::LogFormat::Pretty, "warn");
    super::finish(run(arguments).await)
}

async fn run(arguments: SimulateArguments) -> anyhow::Result<ExitCode> {
    let shops = arguments.shops.iter().map(|shop| named(shop)).collect::<anyhow::Result<Vec<_>>>()?;
    anyhow::ensure!(
        arguments.minutes.is_none_or(|minutes| minutes > 0.0 && minutes <= MINUTES_MAX),
        "--minutes must be above 0 and at most {MINUTES_MAX}"
    );
    anyhow::ensure!(!arguments.print_config || arguments.port_base > 0, "--print-config needs ports that are known: --port-base");
    let hub = arguments.hub.as_deref().map(Target::parse).transpose()?;
    let stop = CancellationToken::new();
    let workers = Workers::new(Handle::current(), stop.clone());
    let clock = Clock::system();
    let now = clock.clone();
    let world = World::new(Arc::new(move || now.now()), workers.tracker().clone(), stop.clone());
    let settings = FairSettings {
        shops,
        products: arguments.products,
        stock: arguments.stock,
        seed: arguments.seed,
        port_base: arguments.port_base,
        hurry: arguments.hurry,
        webhook_secret: crate::simulator::kinds::made_up_secret("generic", "webhook_secret"),
        run: format!("{}-{}", arguments.seed, clock.now().seconds()),
    };
    let fair = Fair::open(&world, &settings)?;
    let code = if arguments.print_config {
        print_config(&fair);
        ExitCode::SUCCESS
    } else {
        sell(&arguments, &world, &fair, hub).await?
    };
    stop.cancel();
    workers.join(Duration::from_secs(5)).await;
    Ok(code)
}

/// `ozon`, or `ozon-2=ozon`.
fn named(shop: &str) -> anyhow::Result<(String, Kind)> {
    let (code, kind) = shop.split_once('=').unwrap_or((shop, shop));
    let known = || Kind::ALL.map(Kind::id).join(", ");
    let kind = Kind::parse(kind).ok_or_else(|| anyhow::anyhow!("there is no kind of shop {kind:?}; there are {}", known()))?;
    Ok((code.to_owned(), kind))
}

fn view(arguments: &SimulateArguments, hub: Option<&Target>) -> anyhow::Result<HubView> {
    let hub = hub.ok_or_else(|| anyhow::anyhow!("--create and --audit need --hub URL"))?;
    let token = arguments.token.clone().or_else(|| std::env::var("STOCKHUB_SIMULATE_TOKEN").ok());
    let token = token.ok_or_else(|| anyhow::anyhow!("--create and --audit need --token, or STOCKHUB_SIMULATE_TOKEN"))?;
    Ok(HubView::new(hub.clone(), &token, HUB_TIMEOUT))
}

async fn sell(arguments: &SimulateArguments, world: &World, fair: &Fair, hub: Option<Target>) -> anyhow::Result<ExitCode> {
    let mut seen = if arguments.create || arguments.audit { Some(view(arguments, hub.as_ref())?) } else { None };
    for shop in &fair.shops {
        err(&format!("{:<16} {:<16} {}", shop.market().code(), shop.market().kind().id(), shop.base_url()));
    }
    if let (true, Some(seen)) = (arguments.create, &mut seen) {
        let made = seen.stock_up(&fair.markets()).await?;
        err(&format!("{made} products made in the hub, the others were there"));
    }
    if let Some(hub) = &hub {
        fair.connect(hub);
    }
    fair.set_chaos(&arguments.chaos.knobs())?;
    let shoppers = ShopperSettings {
        cancel_percent: arguments.cancel_percent,
        quantity_max: 2,
        stop_after: arguments.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0)),
        leave_when_sold_out: false,
        ..ShopperSettings::new(arguments.orders_per_minute / 60.0, arguments.seed)
    };
    // The shoppers have a word of their own to stop: the shops stay open for the hub to come to rest.
    let crowd = World { stop: world.stop.child_token(), ..world.clone() };
    let mut report = send_out(&crowd, fair.markets(), shoppers)?;
    let bought = tokio::select! {
        done = &mut report => done,
        () = stop_signal() => {
            crowd.stop.cancel();
            report.await
        }
    };
    fair.set_chaos(&Chaos::default())?;
    let bought = bought.map_err(|_| anyhow::anyhow!("the shoppers did not come home"))?;
    let (report, clean) = match &mut seen {
        Some(seen) if arguments.audit => {
            let (report, took) = fair.settle(seen, Duration::from_secs(arguments.settle_seconds)).await?;
            err(&format!("at rest after {:.1} s", took.as_secs_f64()));
            let clean = report.clean;
            (report, clean)
        }
        // Without a hub's numbers there is nothing to hold them against: only what the shops themselves know.
        _ => (audit(&fair.markets().iter().map(|market| market.state()).collect::<Vec<_>>(), &[]), true),
    };
    print_report(arguments, fair, &bought, &report);
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_report(arguments: &SimulateArguments, fair: &Fair, bought: &ShopperReport, report: &Report) {
    let states: Vec<_> = fair.markets().iter().map(|market| market.state()).collect();
    if arguments.json {
        let audited = if arguments.audit { json!(report) } else { serde_json::Value::Null };
        out(&json!({ "seed": arguments.seed, "shoppers": bought, "shops": states, "audit": audited }).to_string());
        return;
    }
    out(&format!("seed {}: {} sales of {} units, {} cancelled", arguments.seed, bought.sales, bought.units, bought.cancels));
    for state in &states {
        let (code, totals) = (&state.code, &state.totals);
        let sum = |part: fn(&crate::simulator::shop::Item) -> i64| state.items.iter().map(part).sum::<i64>();
        out(&format!("\n{code} ({}): shows {}, sold {}", state.kind.id(), sum(|item| item.stock), sum(|item| item.sold)));
        for (call, count) in &state.calls {
            out(&format!("  {count:>7}  {call}"));
        }
        for (limit, count) in &state.breaches {
            out(&format!("  BROKEN {count:>5} times: {limit}"));
        }
        out(&format!(
            "  quantities: {} applied, {} refused; {} calls met a fault",
            totals.pushes_applied, totals.pushes_refused, totals.calls_faulted
        ));
    }
    if arguments.audit {
        out(&format!("\n{report}"));
    }
}

/// Everything a hub must be told, ready to be used.
fn print_config(fair: &Fair) {
    out(
        "# Settings of a hub for these shops. They stand on loopback, which has to be permitted; Ozon and Yandex prove themselves by the",
    );
    out("# address they send from, which a proxy on this machine is believed to tell.");
    out("[security]\nallow_private_targets = true\n[server]\ntrusted_proxies = [\"127.0.0.1/32\"]");
    let sides = fair.hub_sides();
    for HubSide { toml, .. } in &sides {
        out(&format!("\n{toml}"));
    }
    out("# Its environment:");
    for (name, secret) in sides.iter().flat_map(|side| &side.environment) {
        out(&format!("# export {name}='{secret}'"));
    }
    out("# Products and listings: `simulate --create --hub URL` makes them. One of each, as the API is told:");
    for shop in &fair.shops {
        if let Some(listed) = shop.market().listed().first() {
            out(&format!("# POST /v1/admin/listings {}", listing(&shop.market().code(), listed)));
        }
    }
}
