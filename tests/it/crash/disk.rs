//! A disk that is full or fails: no 200 without a row, reading goes on, and writing does again once there is room, without a restart.
//! SQLite only; PostgreSQL's disk is PostgreSQL's.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use super::campaign::seed;
use super::observer::Observer;
use super::oracle::Line;
use super::process::strace_is_there;
use super::senders;
use super::world::{READY_AT_MOST, World};
use crate::support::database::{SERVER_VARIABLE, TestDatabase};

const EVENTS: usize = 200;

/// More than fit into what the write-ahead log already holds: a full disk is noticed when it must grow.
const MANY: usize = 3_000;

fn not_here() -> bool {
    let elsewhere = std::env::var(SERVER_VARIABLE).is_ok_and(|url| !url.is_empty());
    if elsewhere {
        println!("nothing to do: PostgreSQL does its own writing");
    }
    elsewhere
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_sync_is_no_200() {
    fails("fsync,fdatasync", "error=EIO:when=20..26").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_write_is_no_200() {
    fails("pwrite64", "error=ENOSPC:when=300..330").await;
}

/// Some calls of the database fail, then they work again.
async fn fails(syscall: &str, what: &str) {
    if not_here() {
        return;
    }
    if !strace_is_there() {
        println!("NOT PROVED: strace is not installed, so no {syscall} failed; scripts/test installs it");
        return;
    }
    let mut world = World::new(seed(), None).await;
    world.open().await;
    world.process.kill().await;
    world.process.spawn_traced(syscall, what);
    world.process.ready(READY_AT_MOST).await;
    let observer = world.observer();
    let load = senders::start(world.load(seed(), 0..EVENTS, 4, Duration::ZERO), world.oracle.clone());
    finish(&mut world, observer, load, syscall, EVENTS).await;
    world.close().await;
}

async fn finish(world: &mut World, observer: Observer, load: Vec<tokio::task::JoinHandle<()>>, what: &str, events: usize) {
    for sender in load {
        let ended = tokio::time::timeout(Duration::from_secs(300), sender).await;
        ended
            .unwrap_or_else(|_| panic!("the hub did not recover\n{}", world.process.log_tail()))
            .expect("a sender does not panic");
    }
    assert!(world.process.ended().is_none(), "the hub recovers without a restart\n{}", world.process.log_tail());
    let refused = count_503(world);
    let (converged, quiet) = world.settle(&observer, super::SETTLE).await;
    assert_eq!(world.check(&observer).await, []);
    assert!(quiet, "pushes go on although everything is right");
    assert_eq!(world.verify("after the disk was well again").await, None);
    println!(
        "{what}: {events} webhooks, {refused} answers of 503, nothing lost; right everywhere {converged:.1?} after the last answer"
    );
    assert!(refused > 0, "nothing failed: nothing was proved");
    world.process.kill().await;
}

fn count_503(world: &World) -> usize {
    world.oracle.lines().iter().filter(|line| matches!(line, Line::Refused { status: 503, .. })).count()
}

/// A small file system of its own; gone when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "stockhub-test"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing() {
    if not_here() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Room for the write-ahead log up to its checkpoint (database.wal_autocheckpoint_pages), and some.
    let Some(disk) = SmallDisk::mount(folder.path(), "48m") else {
        println!("NOT PROVED: a small file system cannot be mounted here (that takes root), so none was filled");
        return;
    };
    let url = format!("sqlite://{}", folder.path().join("hub.db").display());
    let mut world = World::on(TestDatabase { url, folder }, seed(), None);
    world.open().await;
    let observer = world.observer();
    let load = senders::start(world.load(seed(), 0..MANY, 4, Duration::from_millis(2)), world.oracle.clone());
    while world.oracle.count_acked() < 50 || observer.seen().connections == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Whatever room is left goes to somebody else's file.
    let ballast = disk.0.join("ballast");
    let mut filled = std::fs::File::create(&ballast).expect("a file");
    let begun = Instant::now();
    while count_503(&world) == 0 {
        let room = std::io::Write::write_all(&mut filled, &[7; 4_096]).is_ok();
        if !room {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "a full disk refuses nothing; room: {room}");
    }
    let acked = world.oracle.count_acked();
    let read = world.process.http().send("GET", "/v1/stock/PHONE-001", &[], None).await;
    assert_eq!(read.status, 200, "reading goes on: {}", read.text());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(observer.seen().connections, 1, "browsers stay where they are");
    println!("full after {acked} webhooks, {} more answered while it was", world.oracle.count_acked() - acked);
    drop(filled);
    std::fs::remove_file(&ballast).expect("room again");
    finish(&mut world, observer, load, "a full disk", MANY).await;
    world.close().await;
    drop(disk);
}
