//! A consumer of webhooks: remembers what it got and answers what it is told to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::hub::Hub;

#[derive(Clone, Debug)]
pub struct Got {
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    pub answered: u16,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Decides the status of an answer from the event.
type Judge = Arc<Mutex<Box<dyn Fn(&Value) -> u16 + Send>>>;

pub struct Consumer {
    pub address: SocketAddr,
    pub secret: String,
    got: Arc<Mutex<Vec<Got>>>,
    judge: Judge,
    serving: JoinHandle<()>,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Consumer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let judge: Judge = Arc::new(Mutex::new(Box::new(|_| 204)));
        let (keep, ask) = (got.clone(), judge.clone());
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (keep, ask) = (keep.clone(), ask.clone());
                tokio::spawn(async move { while_open(socket, &keep, &ask).await });
            }
        });
        Self { address, secret: String::new(), got, judge, serving }
    }

    /// A consumer that the hub knows.
    pub async fn of(hub: &Hub, types: &[&str]) -> Self {
        let mut consumer = Self::start().await;
        consumer.register(hub, types).await;
        consumer
    }

    pub async fn register(&mut self, hub: &Hub, types: &[&str]) -> String {
        let body = json!({"kind": "webhook", "url": format!("http://{}/in", self.address), "event_types": types});
        let answer = hub.admin("POST", "/v1/admin/sinks", Some(body)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let sink = answer.json();
        self.secret = sink["secret"].as_str().unwrap().to_owned();
        sink["id"].as_str().unwrap().to_owned()
    }

    pub fn answers(&self, judge: impl Fn(&Value) -> u16 + Send + 'static) {
        *self.judge.lock().unwrap() = Box::new(judge);
    }

    /// All requests, in the order they came.
    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// What it took, in the order it came.
    pub fn taken(&self) -> Vec<Value> {
        self.got().iter().filter(|got| got.answered < 300).map(Got::json).collect()
    }

    pub fn taken_of(&self, sku: &str) -> Vec<Value> {
        self.taken().into_iter().filter(|event| event["payload"]["sku"] == sku).collect()
    }
}

/// Verifies as Standard Webhooks says, without anything of the hub's.
pub fn verify(secret: &str, got: &Got) {
    let key = base64::engine::general_purpose::STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.", got.headers["webhook-id"], got.headers["webhook-timestamp"]).as_bytes());
    mac.update(&got.body);
    let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    assert_eq!(got.headers["webhook-signature"], format!("v1,{signature}"));
    assert_eq!(got.headers["webhook-id"], got.json()["eventId"].as_str().unwrap());
}

async fn while_open(mut socket: TcpStream, keep: &Mutex<Vec<Got>>, judge: &Judge) {
    while let Some((headers, body)) = read(&mut socket).await {
        let event = serde_json::from_slice(&body).unwrap_or_default();
        let answered = (judge.lock().unwrap())(&event);
        keep.lock().unwrap().push(Got { headers, body, answered });
        let answer = format!("HTTP/1.1 {answered} X\r\ncontent-length: 0\r\n\r\n");
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(socket: &mut TcpStream) -> Option<(HashMap<String, String>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0_u8; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let headers: HashMap<String, String> = head
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            let length: usize = headers.get("content-length")?.parse().ok()?;
            if bytes.len() >= end + 4 + length {
                return Some((headers, bytes[end + 4..end + 4 + length].to_vec()));
            }
        }
        match socket.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}
