//! The power goes: of the database's files only what was synced is there, and of what was written since any part or none. SQLite
//! only; PostgreSQL's disk is PostgreSQL's.
//!
//! A kill -9 leaves the kernel's caches whole, so it cannot tell `synchronous=FULL` from `NORMAL`. This can, and is made to.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::campaign::{self, Cut, Scenario, seed};
use crate::support::database::SERVER_VARIABLE;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The shim that keeps what was synced, and where it keeps it.
#[derive(Clone)]
pub struct Power {
    pub shim: PathBuf,
    pub kept: PathBuf,
}

impl Power {
    /// Compiles the shim into a folder; `None` where there is no C compiler.
    pub fn prepare(folder: &Path) -> Option<Self> {
        let (shim, kept) = (folder.join("powercut.so"), folder.join("kept"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/crash/powercut.c");
        let mut compiler = Command::new("cc");
        let made = compiler.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&shim).arg(source).arg("-ldl").status();
        std::fs::create_dir_all(&kept).expect("a folder for what is kept");
        made.is_ok_and(|status| status.success()).then_some(Self { shim, kept })
    }

    /// Makes the database what the cut left of it. The hub must be dead.
    pub fn cut(&self, database: &Path, dice: &mut fastrand::Rng) {
        // Nothing of what was not synced, all of it, or a part: each is a way a disk may have stood.
        let share = [0.0, 0.0, 0.25, 0.75, 1.0][dice.usize(..5)];
        let name = database.file_name().expect("a file").to_string_lossy().into_owned();
        for name in [name.clone(), format!("{name}-wal")] {
            let live = std::fs::read(database.with_file_name(&name)).unwrap_or_default();
            let image = match std::fs::read(self.kept.join(&name)) {
                Ok(synced) => mixed(&synced, &live, share, dice),
                Err(_) => Vec::new(),
            };
            // What stood on the disk when the power came back is what the next cut begins from.
            std::fs::write(self.kept.join(&name), &image).expect("the image is kept");
            std::fs::write(database.with_file_name(&name), image).expect("the image is written");
        }
        let shared = database.with_file_name(format!("{name}-shm"));
        if shared.exists() {
            std::fs::remove_file(shared).expect("what was in memory is gone");
        }
    }
}

/// The synced bytes, with so large a share of the sectors that were written since.
fn mixed(synced: &[u8], live: &[u8], share: f64, dice: &mut fastrand::Rng) -> Vec<u8> {
    let grown = live.len().saturating_sub(synced.len());
    let length = synced.len() + (grown as f64 * share) as usize;
    let mut image = synced.to_vec();
    image.resize(length, 0);
    for (at, sector) in image.chunks_mut(SECTOR).enumerate() {
        let Some(newer) = live.get(at * SECTOR..(at * SECTOR + sector.len()).min(live.len())) else { continue };
        if newer.len() == sector.len() && newer != sector && dice.f64() < share {
            sector.copy_from_slice(newer);
        }
    }
    image
}

fn scenario(breakage: Option<&'static str>, cuts: usize, settle: Duration) -> Scenario {
    let events = cuts * 60;
    Scenario { seed: seed(), events, kills: cuts, cut: Cut::Power, connections: 12, pause_ms: 0, breakage, settle }
}

fn not_here() -> bool {
    if std::env::var(SERVER_VARIABLE).is_ok_and(|url| !url.is_empty()) {
        println!("nothing to do: PostgreSQL does its own writing");
        return true;
    }
    let compiler = Command::new("cc").arg("--version").stdout(std::process::Stdio::null()).status();
    let there = compiler.is_ok_and(|status| status.success());
    if !there {
        println!("NOT PROVED: there is no C compiler, so no power was cut");
    }
    !there
}

/// `STOCKHUB_RIG_CUTS` of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_nothing_that_was_answered() {
    if not_here() {
        return;
    }
    let cuts = std::env::var("STOCKHUB_RIG_CUTS").map_or(12, |text| text.parse().expect("STOCKHUB_RIG_CUTS is a whole number"));
    let verdict = campaign::run(scenario(None, cuts, super::SETTLE)).await;
    verdict.must_be_clean("a_power_cut_loses_nothing_that_was_answered");
    assert_eq!(verdict.figures.kills, cuts);
}

/// The same cuts with `synchronous=NORMAL`: a test that passes this proves nothing.
#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_sync_per_commit_a_power_cut_is_caught() {
    if not_here() {
        return;
    }
    let verdict = campaign::run(scenario(Some("sync_normal"), 8, Duration::from_secs(5))).await;
    let kinds = verdict.kinds();
    println!("sync_normal: {} findings: {}", verdict.findings.len(), kinds.join(", "));
    assert!(kinds.contains(&"lost"), "seed {}: nothing was lost; found: {kinds:?}", verdict.figures.seed);
}
