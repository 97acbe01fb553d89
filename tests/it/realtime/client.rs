//! The browser client against the hub, run by Node (20 or later). What only a real browser shows is tested in `tests/browser`.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use stockhub::realtime::RealtimeSettings;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::shop::{Path, Shop, item, removed};
use crate::crash::process::free_address;

struct Page {
    _node: Child,
    typed: ChildStdin,
    printed: Lines<BufReader<ChildStdout>>,
}

impl Page {
    fn open(shop: &Shop, transport: &str, skus: &str) -> Self {
        let root = env!("CARGO_MANIFEST_DIR");
        let mut node = Command::new("node")
            .args(["--experimental-websocket", "--no-warnings"])
            .arg(format!("{root}/tests/it/realtime/client.mjs"))
            .arg(format!("{root}/static/client/stockhub.js"))
            .args([&format!("http://{}", shop.addr), transport, skus])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("these tests run the browser client with Node 20 or later: {error}"));
        let (typed, printed) = (node.stdin.take().unwrap(), node.stdout.take().unwrap());
        Self { _node: node, typed, printed: BufReader::new(printed).lines() }
    }

    async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(60), self.printed.next_line()).await.unwrap().unwrap();
        serde_json::from_str(&line.unwrap_or_else(|| panic!("the client ended"))).unwrap()
    }

    async fn say(&mut self, line: &str) {
        self.typed.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        while self.next().await["did"] != line {}
    }

    /// Waits for this state of a SKU, and sees that no version goes back on the way.
    async fn sees(&mut self, sku: &str, stock: i64) -> Value {
        loop {
            let printed = self.next().await;
            let item = &printed["stock"];
            if item["sku"] == sku && item["stock"] == stock {
                return item.clone();
            }
        }
    }

    async fn is(&mut self, state: &str) -> Value {
        loop {
            let printed = self.next().await;
            if printed["status"]["state"] == state {
                return printed["status"].clone();
            }
        }
    }
}

#[tokio::test]
async fn a_page_sees_live_numbers_on_every_transport() {
    for transport in ["websocket", "eventstream", "poll"] {
        let shop = Shop::open();
        let mut page = Page::open(&shop, transport, "A,B");
        assert_eq!(page.is("live").await["transport"], transport);
        page.sees("B", 7).await;
        shop.publish(item("A", 4, 2));
        page.sees("A", 4).await;
        page.say("add C").await;
        page.sees("C", 9).await;
        shop.publish(removed("C", 2));
        assert_eq!(page.sees("C", 0).await["removed"], true);
        page.say("close").await;
    }
}

#[tokio::test]
async fn a_hidden_page_lets_go_and_catches_up() {
    for transport in ["websocket", "eventstream", "poll"] {
        let shop = Shop::open();
        let mut page = Page::open(&shop, transport, "A,B");
        page.sees("B", 7).await;
        page.say("hide").await;
        page.is("paused").await;
        shop.publish(item("A", 3, 2));
        page.say("show").await;
        page.is("live").await;
        page.sees("A", 3).await;
        page.say("add C").await;
        page.sees("C", 9).await;
    }
}

#[tokio::test]
async fn a_page_survives_the_restart_of_the_hub() {
    // Where nobody's outgoing connection gets the port while the hub is away.
    let free = free_address(&mut fastrand::Rng::new());
    let shop = Shop::at(free, Path::TakenOver, RealtimeSettings::default(), [item("A", 5, 1), item("B", 7, 1)]);
    let mut page = Page::open(&shop, "any", "A,B");
    page.sees("B", 7).await;
    let addr = shop.addr;
    shop.shutdown.cancel();
    assert_eq!(page.is("waiting").await["code"], 4_200);
    tokio::task::spawn_blocking(move || shop.server.join()).await.unwrap().unwrap();
    // The new hub has the same data, of which A was sold and B is no longer listed, and another stream.
    let shop = Shop::at(addr, Path::TakenOver, RealtimeSettings::default(), [item("A", 1, 2)]);
    assert_eq!(page.is("live").await["transport"], "websocket", "a hub that was down is no reason to change the transport");
    page.sees("A", 1).await;
    assert_eq!(page.sees("B", 0).await["removed"], true);
    shop.publish(item("A", 0, 3));
    page.sees("A", 0).await;
}

#[tokio::test]
async fn a_page_that_cannot_have_a_socket_takes_what_works() {
    let shop = Shop::open();
    let mut page = Page::open(&shop, "broken-websocket", "A");
    assert_eq!(page.is("live").await["transport"], "poll");
    shop.publish(item("A", 2, 2));
    page.sees("A", 2).await;
}

#[tokio::test]
async fn a_page_that_is_told_to_stay_away_does() {
    let shop = Shop::with(Path::TakenOver, RealtimeSettings { max_skus: 1, ..Default::default() });
    let mut page = Page::open(&shop, "poll", "A,B");
    assert_eq!(page.is("closed").await, json!({ "state": "closed", "code": 4_000 }));
}
