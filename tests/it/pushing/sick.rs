//! A marketplace that drips, floods, lies or hangs delays nobody else and fills no memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::SECOND;
use crate::support::hub::{Hub, Plan};

#[derive(Clone, Copy, Debug)]
enum Illness {
    /// A byte of body now and then, without end.
    Drip,
    /// Fifty megabytes.
    Flood,
    /// Bytes that are no HTTP.
    Garbage,
    /// Half of the body that was announced.
    Half,
    /// Headers without end.
    Headers,
    /// Takes the request and says nothing.
    Hang,
}

async fn be_ill(mut stream: TcpStream, illness: Illness) -> std::io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        if stream.read(&mut buffer).await? == 0 {
            return Ok(());
        }
        match illness {
            Illness::Drip => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await?;
                loop {
                    stream.write_all(b"x").await?;
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
            }
            Illness::Flood => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 52428800\r\n\r\n").await?;
                let piece = vec![b' '; 65_536];
                for _ in 0..800 {
                    stream.write_all(&piece).await?;
                }
            }
            Illness::Garbage => {
                stream.write_all(b"\x16\x03\x01 certainly no answer\r\n\r\n").await?;
                return Ok(());
            }
            Illness::Half => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"half\":").await?;
                return Ok(());
            }
            Illness::Hang => {}
            Illness::Headers => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
                loop {
                    stream.write_all(b"x-more: and more and more and more\r\n").await?;
                }
            }
        }
    }
}

/// A shop with an illness; counts who came.
async fn ill_shop(illness: Illness) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, visits) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = visits.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                // It ends when the hub has had enough.
                let _ = be_ill(stream, illness).await;
            });
        }
    });
    (address, visits)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How long a sale takes to a healthy shop; the second slowest of many.
async fn delay(hub: &Hub, left: &mut i64) -> Duration {
    let mut took = Vec::new();
    for _ in 0..20 {
        *left -= 1;
        let begun = Instant::now();
        hub.store_sells("P-1", 1).await;
        took.push(hub.shows("uzum", "P-1", *left).await - begun);
    }
    took.sort_unstable();
    took[took.len() - 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ill_marketplaces_delay_nobody_and_fill_no_memory() {
    let ill = [Illness::Drip, Illness::Flood, Illness::Garbage, Illness::Half, Illness::Headers, Illness::Hang];
    let mut marketplaces = String::new();
    let mut visits = Vec::new();
    for (n, illness) in ill.into_iter().enumerate() {
        let (address, count) = ill_shop(illness).await;
        visits.push((illness, count));
        marketplaces += &format!(
            "[[marketplaces]]\ncode = \"ill-{n}\"\nadapter = \"generic\"\nbase_url = \"http://{address}\"\n\
             [marketplaces.secrets]\nwebhook_secret = [\"env:T_SECRET\"]\n"
        );
    }
    let push = "[push]\nmin_gap_ms = 0\ntimeout_ms = 700\nconnect_timeout_ms = 300\nbackoff_base_ms = 20\nbackoff_cap_ms = 300\n\
         breaker_open_ms = 100\nlease_ms = 1500\nzombie_window_ms = 800\n";
    let hub = Hub::with(Plan {
        shops: vec!["uzum"],
        sections: push.into(),
        marketplaces,
        products: vec![("P-1", 1_000)],
        ..Plan::default()
    })
    .await;
    hub.shows("uzum", "P-1", 1_000).await;
    let mut left = 1_000;
    let before = delay(&hub, &mut left).await;
    for n in 0..ill.len() {
        let body = serde_json::json!({"marketplace": format!("ill-{n}"), "sku": "P-1", "marketplace_product_id": "P-1"});
        assert_eq!(hub.admin("POST", "/v1/admin/listings", Some(body)).await.status, 201);
    }
    hub.until("all were met", async || visits.iter().all(|(_, count)| count.load(Ordering::Relaxed) > 0)).await;
    let memory = resident_kib();
    let begun = Instant::now();
    let mut during = Duration::ZERO;
    while begun.elapsed() < 4 * SECOND {
        during = during.max(delay(&hub, &mut left).await);
    }
    let grown = resident_kib().saturating_sub(memory);
    let visits: Vec<(Illness, usize)> = visits.iter().map(|(illness, count)| (*illness, count.load(Ordering::Relaxed))).collect();
    println!("a sale is told after {before:?} before and {during:?} beside {visits:?}; memory grew by {grown} KiB");
    // A timeout that anybody waited for would cost 700 ms.
    assert!(during < before * 2 + Duration::from_millis(150), "{during:?} instead of {before:?}");
    assert!(grown < 64 * 1024, "{grown} KiB");
    hub.stop().await;
}
