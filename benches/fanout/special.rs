//! What only the hub is asked: idle sockets, readers that stall, and a crowd that comes back at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::contender::{Kind, Server};
use crate::publish::Publisher;
use crate::scene::{self, Scene};

fn number(options: &BTreeMap<String, String>, name: &str, otherwise: usize) -> usize {
    options.get(name).map_or(otherwise, |value| value.parse().unwrap())
}

/// Memory and CPU of sockets that only answer pings.
pub fn idle(options: &BTreeMap<String, String>) {
    let (sockets, seconds) = (number(options, "sockets", 9_500), number(options, "seconds", 75));
    let hub = scene::hub(options);
    scene::pin_client();
    for wants in [1, 10] {
        let server = Server::start(Kind::Stockhub, &hub);
        let scene = Scene { name: "idle", sockets, skus: 1_000, wants, per_second: None, lines: 1, seconds: 0 };
        let mut client = Client::new(Instant::now());
        // The table is filled, so that names are found.
        let mut publisher = Some(Publisher::open(&client.poll, server.address, (Kind::Stockhub, false), 16, scene.skus, None));
        while publisher.as_ref().is_some_and(|line| line.answered < 2_000) {
            let now = client.micros();
            publisher.iter_mut().for_each(|line| line.go(now));
            client.turn(Duration::from_millis(1), &mut publisher);
        }
        // Its connections are not to be counted, and would be closed for their silence.
        publisher = None;
        let before = server.rss();
        let begun = Instant::now();
        for n in 0..sockets {
            client.open(server.address, &Kind::Stockhub.path(&scene::wants(&scene, n)), &[]);
        }
        let opened = begun.elapsed();
        let held = server.rss() - before;
        let (user, system) = server.cpu();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(seconds as u64) {
            client.turn(Duration::from_millis(50), &mut publisher);
        }
        let cpu = {
            let (u, s) = server.cpu();
            u + s - user - system
        };
        let ended = client.sockets.iter().filter(|socket| socket.ended).count();
        println!(
            "{sockets} idle sockets of {wants} SKUs each, opened one by one in {:.1} s: {:.2} KiB each ({:.2} after {seconds} s), pings {:.2} % of a core, {ended} ended",
            opened.as_secs_f64(),
            held as f64 / sockets as f64,
            (server.rss() - before) as f64 / sockets as f64,
            cpu / begun.elapsed().as_secs_f64() * 100.0
        );
    }
}

/// Some sockets never read: what that does to the others, and to memory; and that they get the latest when they read again.
pub fn stalled(options: &BTreeMap<String, String>) {
    let hub = scene::hub(options);
    scene::pin_client();
    let scene =
        Scene { name: "stalled", sockets: 5_000, skus: 1_000, wants: 10, per_second: Some(5_000.0), lines: 64, seconds: 8 };
    for round in 1..=number(options, "rounds", 3) {
        for stalled in [0, 200] {
            let server = Server::start(Kind::Stockhub, &hub);
            let mut client = Client::new(Instant::now());
            for n in 0..scene.sockets {
                client.open(server.address, &Kind::Stockhub.path(&scene::wants(&scene, n)), &[]);
            }
            let every = scene.sockets / stalled.max(1);
            (0..stalled).for_each(|n| client.sockets[n * every].stalled = true);
            let (kernel, rss) = (kernel_kib(), server.rss());
            let line = scene::publisher(&client, Kind::Stockhub, &scene, server.address);
            let figures = scene::drive(&mut client, line, &server, &scene);
            println!("round {round}, {stalled} stalled: {}", scene::line("stockhub", &figures));
            if stalled > 0 {
                println!(
                    "  grew by {:.1} KiB of the hub and {:.1} KiB of the kernel per stalled one",
                    server.rss().saturating_sub(rss) as f64 / f64::from(stalled as u32),
                    kernel_kib().saturating_sub(kernel) as f64 / f64::from(stalled as u32)
                );
            }
        }
    }
}

/// Memory of TCP buffers, all of this machine's.
fn kernel_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or("");
    line.rsplit("mem ").next().and_then(|pages| pages.trim().parse::<u64>().ok()).unwrap_or(0) * 4
}

/// The hub is killed, and everybody comes back at once. With `--address` the hub is somebody else's to kill and start: that way it
/// can be a whole one, with a database and webhooks.
pub fn storm(options: &BTreeMap<String, String>) {
    let sockets = number(options, "sockets", 8_000);
    let foreign = options.get("address").map(|address| address.parse::<SocketAddr>().unwrap());
    let hub = if foreign.is_some() { PathBuf::new() } else { scene::hub(options) };
    scene::pin_client();
    let scene = Scene { name: "storm", sockets, skus: 1_000, wants: 10, per_second: None, lines: 16, seconds: 0 };
    let mut server = foreign.is_none().then(|| Server::start(Kind::Stockhub, &hub));
    let address = foreign.unwrap_or_else(|| server.as_ref().map(|server| server.address).unwrap());
    let mut client = Client::new(Instant::now());
    for n in 0..sockets {
        client.open(address, &Kind::Stockhub.path(&scene::wants(&scene, n)), &[]);
    }
    println!("{sockets} sockets are open");
    if let Some(mut first) = server.take() {
        first.kill();
        server = Some(Server::start_at(Kind::Stockhub, &hub, address.port()));
    }
    let mut nobody = None;
    while client.sockets.iter().any(|socket| !socket.ended) {
        client.turn(Duration::from_millis(10), &mut nobody);
    }
    while std::net::TcpStream::connect(address).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let begun = Instant::now();
    client.served = 0;
    for n in 0..sockets {
        let since = client.sockets[n].cursor.clone();
        let path = format!("{}&since={since}", Kind::Stockhub.path(&scene::wants(&scene, n)));
        client.open_later(address, &path, n);
        if n.is_multiple_of(64) {
            client.turn(Duration::ZERO, &mut nobody);
        }
    }
    while client.served < sockets && begun.elapsed() < Duration::from_secs(60) {
        client.turn(Duration::from_millis(5), &mut nobody);
    }
    let ended = client.sockets.iter().filter(|socket| socket.ended).count();
    println!(
        "{} of {sockets} clients served {:.2} s after they came back at once, {ended} ended",
        client.served,
        begun.elapsed().as_secs_f64()
    );
    if let Some(server) = server {
        let (user, system) = server.cpu();
        println!("{:.2} CPU seconds of the hub since its start", user + system);
    }
}
