//! A shopper's page: a WebSocket that keeps what it was told, and when.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub struct Browser {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// SKU → (stock, version).
    pub shown: HashMap<String, (i64, i64)>,
}

impl Browser {
    /// Opens a page that shows these SKUs.
    pub async fn open(hub: SocketAddr, skus: &str) -> Self {
        let url = format!("ws://{hub}/v1/stock/ws?skus={skus}");
        let (socket, _) = tokio_tungstenite::connect_async(url).await.expect("a WebSocket");
        Self { socket, shown: HashMap::new() }
    }

    /// Reads until a SKU shows this stock; gives when.
    pub async fn sees(&mut self, sku: &str, stock: i64, at_most: Duration) -> Instant {
        let deadline = Instant::now() + at_most;
        while self.shown.get(sku).map(|(stock, _)| *stock) != Some(stock) {
            let frame = tokio::time::timeout_at(deadline, self.socket.next()).await;
            let frame = frame.unwrap_or_else(|_| panic!("{sku} does not show {stock}, but {:?}", self.shown.get(sku)));
            match frame.expect("the socket stays open").expect("a frame") {
                Message::Text(text) => self.take(&serde_json::from_str(&text).expect("JSON")).await,
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
        Instant::now()
    }

    async fn take(&mut self, frame: &Value) {
        if frame["type"] == "ping" {
            let pong = serde_json::json!({"type": "pong", "ts": frame["ts"]});
            self.socket.send(Message::text(pong.to_string())).await.expect("a pong");
        }
        for item in frame["items"].as_array().into_iter().flatten() {
            let sku = item["sku"].as_str().expect("a SKU").to_owned();
            let (stock, version) = (item["stock"].as_i64().expect("a stock"), item["version"].as_i64().expect("a version"));
            let known = self.shown.get(&sku).map_or(0, |(_, version)| *version);
            assert!(version >= known, "{sku} went back from version {known} to {version}");
            self.shown.insert(sku, (stock, version));
        }
    }
}
