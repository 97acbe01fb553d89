//! One run: so many webhooks, so many kills, and the verdict.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::checker::Finding;
use super::oracle::Line;
use super::world::{READY_AT_MOST, World};

/// A run that has not come to its end by then never will.
const RUN_AT_MOST: Duration = Duration::from_secs(400);
/// And so much longer per kill.
const PER_KILL: Duration = Duration::from_secs(5);

/// How a hub ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// SIGKILL: what it had written is there.
    Process,
    /// The power: only what was synced is there for sure.
    Power,
}

#[derive(Clone, Copy)]
pub struct Scenario {
    pub seed: u64,
    pub events: usize,
    pub kills: usize,
    pub cut: Cut,
    pub connections: usize,
    /// Between two webhooks of one connection, in milliseconds.
    pub pause_ms: u64,
    pub breakage: Option<&'static str>,
    /// How long the numbers may take to be right everywhere.
    pub settle: Duration,
}

pub struct Verdict {
    pub findings: Vec<Finding>,
    pub figures: Figures,
    log_tail: String,
}

#[derive(Default)]
pub struct Figures {
    pub seed: u64,
    pub database: &'static str,
    pub events: usize,
    pub acked: usize,
    pub kills: usize,
    pub kills_in_start: usize,
    pub load: Duration,
    pub ready: Vec<Duration>,
    /// Attempts, repeats included.
    pub sent: usize,
    pub duplicates: usize,
    pub unknown: usize,
    pub unavailable: usize,
    pub pushes: u64,
    pub converged: Duration,
    pub connections: usize,
    pub resumed: usize,
    pub whole: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.ready.iter().max().copied().unwrap_or_default();
        let mean = self.ready.iter().sum::<Duration>() / u32::try_from(self.ready.len().max(1)).unwrap_or(1);
        let rate = self.acked as f64 / self.load.as_secs_f64().max(0.001);
        writeln!(
            f,
            "seed {} on {}: {} webhooks, {} answered 200, {} attempts",
            self.seed, self.database, self.events, self.acked, self.sent
        )?;
        writeln!(f, "  {rate:.0} webhooks/s over {:.1?} with all kills in it", self.load)?;
        writeln!(
            f,
            "  {} kills under load and {} while starting; ready again after {mean:.0?}, at most {longest:.0?}",
            self.kills, self.kills_in_start
        )?;
        writeln!(
            f,
            "  {} duplicates answered, {} outcomes unknown, {} answers of 503",
            self.duplicates, self.unknown, self.unavailable
        )?;
        writeln!(f, "  {} pushes; right everywhere {:.1?} after the last answer, then quiet", self.pushes, self.converged)?;
        write!(
            f,
            "  the observer connected {} times, {} of them resumed; {:.1?} in all",
            self.connections, self.resumed, self.whole
        )
    }
}

impl Verdict {
    pub fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<&'static str> = self.findings.iter().map(|finding| finding.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// Panics with what was found and the line that runs it again.
    pub fn must_be_clean(&self, test: &str) {
        println!("{}", self.figures);
        if self.findings.is_empty() {
            return;
        }
        let shown: Vec<String> = self.findings.iter().take(30).map(|f| format!("  {}: {}", f.kind, f.detail)).collect();
        panic!(
            "{} findings ({}):\n{}\nAgain: STOCKHUB_RIG_SEED={} cargo test --test it {test}\nthe hub's last words:\n{}",
            self.findings.len(),
            self.kinds().join(", "),
            shown.join("\n"),
            self.figures.seed,
            self.log_tail
        );
    }
}

/// The seed to use: the one asked for, or a new one.
pub fn seed() -> u64 {
    match std::env::var("STOCKHUB_RIG_SEED") {
        Ok(text) => text.parse().expect("STOCKHUB_RIG_SEED is a whole number"),
        Err(_) => fastrand::u64(1..1_000_000_000),
    }
}

/// When to kill: after so many answers and a little more, and whether the next start is killed too.
struct Kill {
    at: usize,
    after: Duration,
    in_start: Option<Duration>,
}

fn kills(scenario: &Scenario) -> Vec<Kill> {
    let mut dice = fastrand::Rng::with_seed(scenario.seed);
    // The last tenth is left to a hub that lives: what it does wrong after a recovery must show too.
    let last = (scenario.events * 9 / 10).max(2);
    let mut at: Vec<usize> = (0..scenario.kills).map(|_| dice.usize(1..last)).collect();
    at.sort_unstable();
    at.into_iter()
        .enumerate()
        .map(|(n, at)| Kill {
            at,
            after: Duration::from_micros(dice.u64(0..20_000)),
            in_start: (n % 5 == 4).then(|| Duration::from_micros(dice.u64(0..250_000))),
        })
        .collect()
}

pub async fn run(scenario: Scenario) -> Verdict {
    println!("seed {} ({} webhooks, {} kills)", scenario.seed, scenario.events, scenario.kills);
    let begun = Instant::now();
    let run_at_most = RUN_AT_MOST + PER_KILL * u32::try_from(scenario.kills).unwrap_or(u32::MAX);
    let mut dice = fastrand::Rng::with_seed(scenario.seed ^ 1);
    let mut world = World::new(scenario.seed, scenario.breakage).await;
    if scenario.cut == Cut::Power {
        world.on_mains();
    }
    world.open().await;
    let observer = world.observer();
    let mut figures = Figures { seed: scenario.seed, events: scenario.events, ..Figures::default() };
    figures.database = if world.database.is_sqlite() { "SQLite" } else { "PostgreSQL" };
    let load = world.load(scenario.seed, 0..scenario.events, scenario.connections, Duration::from_millis(scenario.pause_ms));
    let (oracle, started) = (world.oracle.clone(), Instant::now());
    let senders = super::senders::start(load, oracle.clone());
    for kill in kills(&scenario) {
        while oracle.count_acked() < kill.at {
            assert!(begun.elapsed() < run_at_most, "the load stands still\n{}", world.process.log_tail());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(kill.after).await;
        world.end(&mut dice).await;
        figures.kills += 1;
        world.process.spawn();
        if let Some(after) = kill.in_start {
            tokio::time::sleep(after).await;
            world.end(&mut dice).await;
            figures.kills_in_start += 1;
            world.process.spawn();
        }
        figures.ready.push(world.process.ready(READY_AT_MOST).await);
    }
    for sender in senders {
        let left = run_at_most.saturating_sub(begun.elapsed());
        tokio::time::timeout(left, sender).await.expect("the load ends").expect("a sender does not panic");
    }
    figures.load = started.elapsed();
    let (converged, quiet) = world.settle(&observer, scenario.settle).await;
    figures.converged = converged;
    let mut findings = world.check(&observer).await;
    if !quiet {
        findings.push(Finding { kind: "restless", detail: "pushes go on although everything is right".into() });
    }
    findings.extend(world.verify("beside the running hub").await);
    let (status, _) = world.process.terminate(Duration::from_secs(30)).await;
    if !status.success() {
        findings.push(Finding { kind: "stop", detail: format!("the hub ended with {status} after SIGTERM") });
    }
    findings.extend(world.verify("after the hub had stopped").await);
    count(&mut figures, &world, &observer.seen());
    let log_tail = world.process.log_tail();
    world.close().await;
    figures.whole = begun.elapsed();
    Verdict { findings, figures, log_tail }
}

fn count(figures: &mut Figures, world: &World, seen: &super::observer::Observed) {
    for line in world.oracle.lines() {
        match line {
            Line::Sent => figures.sent += 1,
            Line::Acked { receipt, .. } if receipt.duplicate => figures.duplicates += 1,
            Line::Unknown => figures.unknown += 1,
            Line::Refused { status: 503, .. } => figures.unavailable += 1,
            _ => {}
        }
    }
    figures.acked = world.oracle.count_acked();
    figures.pushes = world.pushes();
    (figures.connections, figures.resumed) = (seen.connections, seen.resumed);
}
