//! A shopper's page that never gives up: it comes back with its cursor after every kill, and notes whether any number went back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// SKU → (stock, version).
    pub shown: HashMap<String, (i64, i64)>,
    /// What must never be seen.
    pub faults: Vec<String>,
    pub connections: usize,
    pub resumed: usize,
    pub frames: usize,
    /// The codes of the farewells.
    pub byes: Vec<i64>,
    cursor: Option<String>,
}

pub struct Observer {
    seen: Arc<Mutex<Observed>>,
    task: JoinHandle<()>,
}

impl Observer {
    pub fn open(hub: SocketAddr, skus: &[String]) -> Self {
        let seen = Arc::new(Mutex::new(Observed::default()));
        let (kept, skus) = (seen.clone(), skus.join(","));
        let task = tokio::spawn(async move {
            loop {
                watch(hub, &skus, &kept).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self { seen, task }
    }

    pub fn seen(&self) -> Observed {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, until it ends.
async fn watch(hub: SocketAddr, skus: &str, seen: &Mutex<Observed>) {
    let since = seen.lock().unwrap().cursor.clone().map_or(String::new(), |cursor| format!("&since={cursor}"));
    let url = format!("ws://{hub}/v1/stock/ws?skus={skus}{since}");
    let opened = tokio::time::timeout(Duration::from_secs(5), tokio_tungstenite::connect_async(url)).await;
    let Ok(Ok((mut socket, _))) = opened else { return };
    seen.lock().unwrap().connections += 1;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let Ok(frame) = serde_json::from_str::<Value>(&text) else {
            seen.lock().unwrap().faults.push(format!("not JSON: {text}"));
            continue;
        };
        seen.lock().unwrap().take(&frame);
        if frame["type"] == "ping" {
            let pong = serde_json::json!({"type": "pong", "ts": frame["ts"]});
            if socket.send(Message::text(pong.to_string())).await.is_err() {
                return;
            }
        }
    }
}

impl Observed {
    fn take(&mut self, frame: &Value) {
        self.frames += 1;
        match frame["type"].as_str() {
            Some("subscribed") if frame["mode"] == "resumed" => self.resumed += 1,
            Some("bye") => self.byes.extend(frame["code"].as_i64()),
            Some("error") => self.faults.push(format!("an error frame: {frame}")),
            _ => {}
        }
        for item in frame["items"].as_array().into_iter().flatten() {
            let sku = item["sku"].as_str().unwrap_or("").to_owned();
            let (Some(stock), Some(version)) = (item["stock"].as_i64(), item["version"].as_i64()) else {
                self.faults.push(format!("an item without stock or version: {item}"));
                continue;
            };
            if let Some((known, at)) = self.shown.get(&sku) {
                if version < *at {
                    self.faults.push(format!("{sku} went back from version {at} to {version}"));
                } else if version == *at && stock != *known {
                    self.faults.push(format!("{sku} has two numbers in version {version}: {known} and {stock}"));
                }
            }
            self.shown.insert(sku, (stock, version));
        }
        if matches!(frame["type"].as_str(), Some("snapshot" | "stock_update"))
            && let Some(cursor) = frame["cursor"].as_str()
        {
            self.cursor = Some(cursor.to_owned());
        }
    }
}
