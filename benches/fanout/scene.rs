//! The comparisons: scene by scene, round by round, every contender in turn.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::client::{Client, percentile};
use crate::contender::{ALL, Kind, Server};
use crate::publish::Publisher;

#[derive(Clone, Copy)]
pub struct Scene {
    pub name: &'static str,
    pub sockets: usize,
    /// SKUs in all, and how many of them a socket wants; 0: all.
    pub skus: u32,
    pub wants: u32,
    pub per_second: Option<f64>,
    pub lines: usize,
    pub seconds: u64,
}

const SCENES: [Scene; 7] = [
    // Slow enough that a server that gets little of its core is not behind: nothing can be joined.
    Scene { name: "10/s", sockets: 1_000, skus: 2_000, wants: 0, per_second: Some(10.0), lines: 4, seconds: 10 },
    Scene { name: "40/s", sockets: 1_000, skus: 2_000, wants: 0, per_second: Some(40.0), lines: 16, seconds: 8 },
    Scene { name: "max", sockets: 1_000, skus: 2_000, wants: 0, per_second: None, lines: 16, seconds: 5 },
    Scene { name: "2000/s", sockets: 1_000, skus: 2_000, wants: 0, per_second: Some(2_000.0), lines: 64, seconds: 6 },
    Scene { name: "5000/s", sockets: 1_000, skus: 4_000, wants: 0, per_second: Some(5_000.0), lines: 256, seconds: 6 },
    Scene { name: "max-5000", sockets: 5_000, skus: 2_000, wants: 0, per_second: None, lines: 16, seconds: 6 },
    Scene { name: "sparse", sockets: 5_000, skus: 1_000, wants: 10, per_second: None, lines: 64, seconds: 6 },
];

/// What one run of one contender came to.
#[derive(Clone, Copy, Default)]
pub struct Figures {
    /// Per second of the run.
    pub published: f64,
    pub delivered: f64,
    pub lost: f64,
    /// Cores of the server: CPU seconds per second.
    pub cores: f64,
    pub user_share: f64,
    pub per_cpu: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub rss_mib: f64,
    pub sends_joined: f64,
}

pub fn hub(options: &BTreeMap<String, String>) -> PathBuf {
    let named = options.get("hub").map(PathBuf::from);
    let hub = named.unwrap_or_else(|| std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("stockhub"));
    assert!(hub.exists(), "{} is missing: cargo build --release, or name it with --hub", hub.display());
    hub
}

pub fn run(options: &BTreeMap<String, String>) {
    let hub = hub(options);
    let rounds: usize = options.get("rounds").map_or(3, |rounds| rounds.parse().unwrap());
    let picks = |name: &str, word: &str| options.get(name).is_none_or(|list| list.split(',').any(|one| one == word));
    pin_client();
    for scene in SCENES.iter().filter(|scene| picks("scenes", scene.name)) {
        let mut all: BTreeMap<&str, Vec<Figures>> = BTreeMap::new();
        for round in 0..rounds {
            for kind in ALL.into_iter().filter(|kind| picks("only", kind.name())) {
                let figures = measure(kind, scene, &hub);
                println!("{:<9} round {} {}", scene.name, round + 1, line(kind.name(), &figures));
                all.entry(kind.name()).or_default().push(figures);
            }
        }
        table(scene, &all);
    }
}

/// The client and the publisher have a core of their own.
pub fn pin_client() {
    let pid = std::process::id().to_string();
    let pinned = std::process::Command::new("taskset").args(["-pc", "1", &pid]).stdout(std::process::Stdio::null()).status();
    assert!(pinned.is_ok_and(|status| status.success()), "taskset is missing");
}

pub fn measure(kind: Kind, scene: &Scene, hub: &Path) -> Figures {
    let server = Server::start(kind, hub);
    let mut client = Client::new(Instant::now());
    for n in 0..scene.sockets {
        let skus = wants(scene, n);
        client.open(server.address, &kind.path(&skus), &kind.greetings(&skus));
    }
    let publisher = publisher(&client, kind, scene, server.address);
    let figures = drive(&mut client, publisher, &server, scene);
    drop(client);
    figures
}

/// The SKUs of socket `n`: spread evenly, so that every SKU has as many readers.
pub fn wants(scene: &Scene, n: usize) -> Vec<u32> {
    (0..scene.wants).map(|k| (u32::try_from(n).unwrap() * scene.wants + k * 97) % scene.skus).collect()
}

pub fn publisher(client: &Client, kind: Kind, scene: &Scene, address: SocketAddr) -> Publisher {
    Publisher::open(&client.poll, address, (kind, scene.wants > 0), scene.lines, scene.skus, scene.per_second)
}

pub fn drive(client: &mut Client, publisher: Publisher, server: &Server, scene: &Scene) -> Figures {
    let mut publisher = Some(publisher);
    // Warm first, and what the handshakes brought is not counted.
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        client.turn(Duration::from_millis(5), &mut publisher);
    }
    client.seen = crate::client::Seen::default();
    let mut line = publisher.take().unwrap();
    let (user, system) = server.cpu();
    let begun = Instant::now();
    let end = begun + Duration::from_secs(scene.seconds);
    // A client that is busy reading must not publish in bursts only: the rate is looked at every turn.
    let mut holder = None;
    while Instant::now() < end {
        let now = client.micros();
        line.go(now);
        holder.replace(line);
        client.turn(Duration::from_millis(1), &mut holder);
        line = holder.take().unwrap();
    }
    let (published, taken) = (line.answered, begun.elapsed().as_secs_f64());
    holder.replace(line);
    // What was taken is delivered before it is counted as lost; some of it is answered only now.
    let grace = Instant::now() + Duration::from_secs(2);
    let due = |holder: &Option<Publisher>| holder.as_ref().map_or(0, |line| line.answered) * readers(scene);
    while Instant::now() < grace && client.seen.deliveries < due(&holder) {
        client.turn(Duration::from_millis(5), &mut holder);
    }
    let total = begun.elapsed().as_secs_f64();
    let (user, system) = {
        let (u, s) = server.cpu();
        (u - user, s - system)
    };
    let line = holder.take().unwrap();
    let expected = (line.answered * readers(scene)) as f64;
    let seen = std::mem::take(&mut client.seen);
    let mut latencies = seen.latencies;
    let ms = |value: u64| value as f64 / 1_000.0;
    Figures {
        published: published as f64 / taken,
        delivered: seen.deliveries as f64 / total,
        lost: (expected - seen.deliveries as f64).max(0.0),
        cores: (user + system) / total,
        user_share: user / (user + system).max(0.01),
        per_cpu: seen.deliveries as f64 / (user + system).max(0.01),
        p50_ms: ms(percentile(&mut latencies, 0.5)),
        p99_ms: ms(percentile(&mut latencies, 0.99)),
        rss_mib: server.rss() as f64 / 1_024.0,
        sends_joined: seen.deliveries as f64 / seen.frames.max(1) as f64,
    }
}

fn readers(scene: &Scene) -> u64 {
    let sockets = scene.sockets as u64;
    if scene.wants == 0 { sockets } else { sockets * u64::from(scene.wants) / u64::from(scene.skus) }
}

pub fn line(name: &str, f: &Figures) -> String {
    format!(
        "{name:<14} {:>8.0} published/s {:>9.0} delivered/s {:>8.0} lost {:>5.2} cores ({:>2.0} % user) {:>9.0} per CPU-s  p50 {:>7.1} p99 {:>7.1} ms  {:>6.1} MiB  {:>5.1} items/frame",
        f.published,
        f.delivered,
        f.lost,
        f.cores,
        f.user_share * 100.0,
        f.per_cpu,
        f.p50_ms,
        f.p99_ms,
        f.rss_mib,
        f.sends_joined
    )
}

/// Medians, and the median over the rounds of each round's ratio to the floor.
fn table(scene: &Scene, all: &BTreeMap<&str, Vec<Figures>>) {
    println!(
        "\n## {}: {} sockets, {} SKUs, {}",
        scene.name,
        scene.sockets,
        scene.skus,
        if scene.wants == 0 { "all of them".into() } else { format!("{} each", scene.wants) }
    );
    println!(
        "| who | deliveries per CPU second | × floor (in round) | published/s | delivered/s | lost | cores | p50 ms | p99 ms |\n|---|---|---|---|---|---|---|---|---|"
    );
    let floor = all.get("floor");
    for (name, runs) in all {
        let median = |of: &dyn Fn(&Figures) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (low, high) = runs.iter().fold((f64::MAX, 0.0_f64), |(low, high), f| (low.min(f.per_cpu), high.max(f.per_cpu)));
        let ratio = floor.map(|floor| {
            let mut ratios: Vec<f64> = runs.iter().zip(floor).map(|(f, base)| f.per_cpu / base.per_cpu).collect();
            ratios.sort_by(f64::total_cmp);
            ratios[ratios.len() / 2]
        });
        println!(
            "| {name} | {:.0}k ({:.0}–{:.0}k) | {} | {:.0} | {:.0}k | {:.0} | {:.2} | {:.1} | {:.1} |",
            median(&|f| f.per_cpu) / 1e3,
            low / 1e3,
            high / 1e3,
            ratio.map_or("–".into(), |ratio| format!("{ratio:.2}")),
            median(&|f| f.published),
            median(&|f| f.delivered) / 1e3,
            median(&|f| f.lost),
            median(&|f| f.cores),
            median(&|f| f.p50_ms),
            median(&|f| f.p99_ms)
        );
    }
    println!();
}
