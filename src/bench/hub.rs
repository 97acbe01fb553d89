//! The hub under measurement: the real program, in a process of its own, with a configuration and a database of its own.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::process::{self, Usage};
use crate::clock::Clock;
use crate::simulator::World;
use crate::simulator::http_client::{Answer, Client, Target};

pub(super) const SECRET: &str = "bench-webhook-secret-0123456789abcdef";
pub(super) const TOKEN: &str = "bench-admin-token-0123456789abcdef-0123456789";
/// How long anything may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests at once while products are made: enough that they share commits.
const MAKERS: usize = 32;

/// What a hub is started with.
pub(super) struct Plan {
    pub program: PathBuf,
    pub folder: PathBuf,
    pub database_url: String,
    /// Marketplace code and where its shop listens.
    pub shops: Vec<(String, String)>,
}

pub(super) struct Hub {
    plan: Plan,
    child: Child,
    pub address: SocketAddr,
}

impl Hub {
    /// Starts it, waits until it is ready, and says how long that took.
    pub(super) async fn start(plan: Plan, clock: &Clock) -> anyhow::Result<(Self, Duration)> {
        // A free port, found by having it for a moment.
        let address = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.local_addr()?;
        std::fs::write(plan.config(), plan.toml(address))?;
        let log = File::options().create(true).append(true).open(plan.folder.join("hub.log"))?;
        let before = clock.elapsed();
        let child = plan.command("serve").stdout(Stdio::null()).stderr(log).spawn().context("cannot start the hub")?;
        let mut hub = Self { plan, child, address };
        loop {
            if hub.client()?.get("/readyz").await.is_ok_and(|answer| answer.status == 200) {
                return Ok((hub, clock.elapsed().saturating_sub(before)));
            }
            if let Some(status) = hub.child.try_wait()? {
                anyhow::bail!("the hub ended at once ({status}): {}", hub.log());
            }
            anyhow::ensure!(clock.elapsed().saturating_sub(before) < PATIENCE, "the hub is not ready in time: {}", hub.log());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        process::usage(self.pid())
    }

    pub(super) fn target(&self) -> anyhow::Result<Target> {
        Ok(Target::parse(&format!("http://{}", self.address))?)
    }

    pub(super) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(self.target()?, PATIENCE))
    }

    /// What it wrote to its log, for a person to see why it failed.
    fn log(&self) -> String {
        std::fs::read_to_string(self.plan.folder.join("hub.log")).unwrap_or_default()
    }

    /// The counters of `/metrics`.
    pub(super) async fn metrics(&self) -> anyhow::Result<Metrics> {
        let answer = self.client()?.get("/metrics").await?;
        anyhow::ensure!(answer.status == 200, "/metrics answers {}", answer.status);
        Ok(Metrics(String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// Makes products, each listed in every shop.
    pub(super) async fn stock(&self, world: &World, skus: Vec<String>, units: i64) -> anyhow::Result<()> {
        let share = skus.len().div_ceil(MAKERS).max(1);
        let codes: Vec<String> = self.plan.shops.iter().map(|(code, _)| code.clone()).collect();
        let mut makers = Vec::new();
        for part in skus.chunks(share) {
            let (part, codes, client) = (part.to_vec(), codes.clone(), self.client()?);
            makers.push(world.tasks.spawn(make(client, part, codes, units)));
        }
        for maker in makers {
            maker.await??;
        }
        Ok(())
    }

    /// Waits until every marketplace has been told all there is to tell; `None` when that takes too long.
    pub(super) async fn settled(&self, clock: &Clock, at_most: Duration) -> anyhow::Result<Option<Duration>> {
        let before = clock.elapsed();
        loop {
            let waiting = self.metrics().await?.sum("dirty_listings{");
            let took = clock.elapsed().saturating_sub(before);
            if waiting == 0.0 {
                return Ok(Some(took));
            }
            if took > at_most {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks it to stop and waits until it has; gives the plan back for another start.
    pub(super) async fn stop(mut self) -> anyhow::Result<Plan> {
        signal("-TERM", self.pid())?;
        wait(&mut self.child).await.context("the hub does not stop")?;
        let nobody = Plan { program: PathBuf::new(), folder: PathBuf::new(), database_url: String::new(), shops: Vec::new() };
        Ok(std::mem::replace(&mut self.plan, nobody))
    }
}

impl Drop for Hub {
    /// Whatever went wrong, no process of ours stays behind.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Plan {
    fn config(&self) -> PathBuf {
        self.folder.join("bench.toml")
    }

    pub(super) fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.config()).arg(what).current_dir(&self.folder).stdin(Stdio::null());
        command.env("BENCH_TOKEN", TOKEN).env("BENCH_SECRET", SECRET);
        command
    }

    fn toml(&self, address: SocketAddr) -> String {
        let mut text = format!(
            "[server]\nbind = \"{address}\"\n[database]\nurl = \"{}\"\n[log]\nlevel = \"warn\"\n\
             [auth]\nbootstrap_admin_token = \"env:BENCH_TOKEN\"\n",
            self.database_url
        );
        for (code, base_url) in &self.shops {
            text += &format!(
                "[[marketplaces]]\ncode = \"{code}\"\nadapter = \"generic\"\nbase_url = \"{base_url}\"\nstock_feed = \"delta\"\n\
                 [marketplaces.secrets]\nwebhook_secret = [\"env:BENCH_SECRET\"]\n"
            );
        }
        text
    }

    /// Whether the ledger, the stock and the log agree: a rate means nothing if they do not.
    pub(super) fn ledger_is_clean(&self) -> anyhow::Result<bool> {
        Ok(self.command("verify").stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
    }
}

async fn make(mut client: Client, skus: Vec<String>, codes: Vec<String>, units: i64) -> anyhow::Result<()> {
    for sku in skus {
        post(&mut client, "/v1/admin/products", &json!({ "sku": sku, "name": sku, "initial_stock": units })).await?;
        for code in &codes {
            let id = format!("{}-{sku}", code.to_uppercase());
            let listing = json!({ "marketplace": code, "sku": sku, "marketplace_product_id": id });
            post(&mut client, "/v1/admin/listings", &listing).await?;
        }
    }
    Ok(())
}

async fn post(client: &mut Client, path: &str, body: &serde_json::Value) -> anyhow::Result<()> {
    let token = format!("Bearer {TOKEN}");
    let Answer { status, body } = client.post(path, &[("authorization", &token)], body.to_string().as_bytes()).await?;
    anyhow::ensure!(status == 201, "POST {path} answers {status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}

/// The text of `/metrics`.
pub(super) struct Metrics(String);

impl Metrics {
    /// The sum of all series that begin so.
    pub(super) fn sum(&self, beginning: &str) -> f64 {
        let values = self.0.lines().filter(|line| line.starts_with(beginning)).filter_map(|line| line.rsplit_once(' '));
        values.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
    }

    /// The smallest upper bound under which all of a histogram's values since `before` lie.
    pub(super) fn largest_since(&self, before: &Self, histogram: &str) -> u64 {
        let beginning = format!("{histogram}_bucket{{le=\"");
        let of = |text: &Self| -> Vec<(String, f64)> {
            let lines = text.0.lines().filter_map(|line| line.strip_prefix(&beginning)?.split_once("\"} "));
            lines.filter_map(|(bound, count)| Some((bound.to_owned(), count.parse().ok()?))).collect()
        };
        let (earlier, later) = (of(before), of(self));
        let grown: Vec<(f64, f64)> = later
            .iter()
            .map(|(bound, count)| {
                let known = earlier.iter().find(|(other, _)| other == bound).map_or(0.0, |(_, count)| *count);
                (bound.parse().unwrap_or(f64::INFINITY), count - known)
            })
            .collect();
        let all = grown.iter().map(|(_, count)| *count).fold(0.0, f64::max);
        let bound = grown.iter().find(|(_, count)| *count >= all).map_or(0.0, |(bound, _)| *bound);
        if bound.is_finite() { bound as u64 } else { u64::MAX }
    }
}

/// Sends a signal by the system's own command: the language offers no other without unsafe code.
pub(super) fn signal(which: &str, pid: u32) -> anyhow::Result<()> {
    let status = Command::new("kill").arg(which).arg(pid.to_string()).status().context("cannot run `kill`")?;
    anyhow::ensure!(status.success(), "kill {which} {pid} failed");
    Ok(())
}

/// Waits for a child without stopping other tasks.
pub(super) async fn wait(child: &mut Child) -> anyhow::Result<()> {
    for _ in 0..PATIENCE.as_millis() / 5 {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill()?;
    anyhow::bail!("it had to be killed")
}

/// A database that nobody else uses, and how it is removed again.
pub(super) struct Scratch {
    pub url: String,
    pub name: &'static str,
    server: Option<(String, String)>,
}

impl Scratch {
    pub(super) fn sqlite(folder: &Path) -> Self {
        Self { url: format!("sqlite://{}", folder.join("bench.db").display()), name: "sqlite", server: None }
    }

    /// Made by `psql`, which comes with the server's client package.
    pub(super) fn postgres(server: &str) -> anyhow::Result<Self> {
        let name = format!("stockhub_bench_{}", std::process::id());
        psql(server, &format!("CREATE DATABASE {name}"))?;
        let (base, _) = server.rsplit_once('/').context("the URL names no database")?;
        Ok(Self { url: format!("{base}/{name}"), name: "postgres", server: Some((server.to_owned(), name)) })
    }

    pub(super) fn remove(&self) -> anyhow::Result<()> {
        self.server
            .as_ref()
            .map_or(Ok(()), |(server, name)| psql(server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")))
    }
}

fn psql(server: &str, text: &str) -> anyhow::Result<()> {
    let mut command = Command::new("psql");
    command.args([server, "-q", "-v", "ON_ERROR_STOP=1", "-c", text]).stdin(Stdio::null()).stdout(Stdio::null());
    anyhow::ensure!(command.status().context("cannot run `psql`")?.success(), "psql failed: {text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_their_labels() {
        let text = "pushes_total{marketplace=\"a\",outcome=\"applied\"} 3\npushes_total{marketplace=\"b\",outcome=\"retry\"} 4\n";
        assert!((Metrics(text.into()).sum("pushes_total{") - 7.0).abs() < f64::EPSILON);
        let group = |ones: u32, twos: u32, all: u32| {
            Metrics(format!("g_bucket{{le=\"1.0\"}} {ones}\ng_bucket{{le=\"2.0\"}} {twos}\ng_bucket{{le=\"+Inf\"}} {all}\n"))
        };
        assert_eq!(group(5, 9, 9).largest_since(&group(5, 5, 5), "g"), 2);
        assert_eq!(group(1, 1, 2).largest_since(&group(0, 0, 0), "g"), u64::MAX);
    }
}
