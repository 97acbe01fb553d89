//! A marketplace that drips, floods, lies or hangs delays nobody else and fills no memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::support::hub::{Hub, Plan};

/// What one that hangs costs whoever waits for it: far more than anything else here takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(6);

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

/// What the hub takes of an answer at most is a megabyte; what lies between the two sockets comes on top.
const TAKEN_AT_MOST: usize = 16 << 20;

async fn be_ill(mut stream: TcpStream, illness: Illness, most: &AtomicUsize) -> std::io::Result<()> {
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
                for sent in 1..=800 {
                    stream.write_all(&piece).await?;
                    most.fetch_max(sent * piece.len(), Ordering::Relaxed);
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
                let more = b"x-more: and more and more and more\r\n";
                for sent in 1.. {
                    stream.write_all(more).await?;
                    most.fetch_max(sent * more.len(), Ordering::Relaxed);
                }
            }
        }
    }
}

/// A shop with an illness; counts who came, and the most it could tell one of them.
async fn ill_shop(illness: Illness) -> (SocketAddr, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, visits) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let most = Arc::new(AtomicUsize::new(0));
    let (count, told) = (visits.clone(), most.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let told = told.clone();
            tokio::spawn(async move {
                // It ends when the hub has had enough.
                let _ = be_ill(stream, illness, &told).await;
            });
        }
    });
    (address, visits, most)
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
    let (mut visits, mut taken) = (Vec::new(), Vec::new());
    for (n, illness) in ill.into_iter().enumerate() {
        let (address, count, most) = ill_shop(illness).await;
        visits.push((illness, count));
        taken.push((illness, most));
        marketplaces += &format!(
            "[[marketplaces]]\ncode = \"ill-{n}\"\nadapter = \"generic\"\nbase_url = \"http://{address}\"\n\
             [marketplaces.secrets]\nwebhook_secret = [\"env:T_SECRET\"]\n"
        );
    }
    let push = format!(
        "[push]\nmin_gap_ms = 0\ntimeout_ms = {0}\nconnect_timeout_ms = {0}\nbackoff_base_ms = 20\nbackoff_cap_ms = 300\n\
         breaker_open_ms = 100\nlease_ms = 60000\nzombie_window_ms = 800\n",
        TIMEOUT.as_millis()
    );
    let hub =
        Hub::with(Plan { shops: vec!["uzum"], sections: push, marketplaces, products: vec![("P-1", 1_000)], ..Plan::default() })
            .await;
    hub.shows("uzum", "P-1", 1_000).await;
    let mut left = 1_000;
    let before = delay(&hub, &mut left).await;
    for n in 0..ill.len() {
        let body = serde_json::json!({"marketplace": format!("ill-{n}"), "sku": "P-1", "marketplace_product_id": "P-1"});
        assert_eq!(hub.admin("POST", "/v1/admin/listings", Some(body)).await.status, 201);
    }
    hub.until("all were met", async || visits.iter().all(|(_, count)| count.load(Ordering::Relaxed) > 0)).await;
    let begun = Instant::now();
    let mut during = Duration::ZERO;
    // As long as it takes until the hub has had enough of each, and once more.
    while begun.elapsed() < TIMEOUT || visits.iter().any(|(_, count)| count.load(Ordering::Relaxed) < 2) {
        assert!(begun.elapsed() < 20 * TIMEOUT, "one is never come back to");
        during = during.max(delay(&hub, &mut left).await);
    }
    let counted = |all: &[(Illness, Arc<AtomicUsize>)]| -> Vec<(Illness, usize)> {
        all.iter().map(|(illness, count)| (*illness, count.load(Ordering::Relaxed))).collect()
    };
    let (visits, taken) = (counted(&visits), counted(&taken));
    println!("a sale is told after {before:?} before and {during:?} beside {visits:?}; bytes taken {taken:?}");
    assert!(during < TIMEOUT / 2, "{during:?} instead of {before:?}: somebody waited for one that hangs");
    // What is not taken fills no memory.
    assert!(taken.iter().all(|(_, bytes)| *bytes < TAKEN_AT_MOST), "{taken:?}");
    assert!(taken.iter().any(|(_, bytes)| *bytes > 0));
    hub.stop().await;
}
