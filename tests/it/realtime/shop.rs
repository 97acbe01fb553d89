//! A hub with nothing but the real-time room, and the browsers that look at it.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use stockhub::domain::sku::Sku;
use stockhub::realtime::{Engine, Published, RealtimeSettings, configure, server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Long enough for a loaded machine, short enough to notice a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// How its sockets are served.
#[derive(Clone, Copy)]
pub(super) enum Path {
    App,
    TakenOver,
}

pub(super) struct Shop {
    pub(super) addr: SocketAddr,
    pub(super) engine: Engine,
    pub(super) shutdown: CancellationToken,
    pub(super) server: std::thread::JoinHandle<()>,
}

pub(super) fn item(sku: &str, quantity: i64, version: i64) -> Published {
    Published { sku: Sku::parse(sku).unwrap(), quantity, version, removed: false }
}

pub(super) fn removed(sku: &str, version: i64) -> Published {
    Published { removed: true, ..item(sku, 0, version) }
}

/// The generation that every shop of these tests has; the stream differs.
const GENERATION: Uuid = Uuid::from_u128(7);

impl Shop {
    pub(super) fn open() -> Self {
        Self::with(Path::TakenOver, RealtimeSettings::default())
    }

    pub(super) fn with(path: Path, settings: RealtimeSettings) -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::at(anywhere, path, settings, [item("A", 5, 1), item("B", 7, 1), item("C", 9, 1)])
    }

    pub(super) fn at(
        addr: SocketAddr,
        path: Path,
        settings: RealtimeSettings,
        items: impl IntoIterator<Item = Published>,
    ) -> Self {
        let engine = Engine::new(GENERATION, Uuid::now_v7(), settings.limits());
        engine.fill(items);
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let (for_server, shutdown) = (engine.clone(), CancellationToken::new());
        let stop = shutdown.clone();
        let server = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                match path {
                    Path::App => serve_in_app(listener, for_server, settings).await,
                    Path::TakenOver => serve(listener, for_server, settings, stop).await,
                }
            });
        });
        Self { addr, engine, shutdown, server }
    }

    pub(super) fn publish(&self, item: Published) {
        self.engine.publish(vec![item]);
    }

    pub(super) async fn browser(&self, query: &str) -> Browser {
        self.browser_with(query, &[]).await.unwrap()
    }

    /// Connects, and takes the hello.
    pub(super) async fn browser_with(&self, query: &str, headers: &[(&'static str, &str)]) -> Result<Browser, Error> {
        let mut request = format!("ws://{}/v1/stock/ws{query}", self.addr).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, response) = tokio_tungstenite::connect_async(request).await?;
        let protocol = response.headers().get("sec-websocket-protocol").map(|v| v.to_str().unwrap().to_owned());
        Ok(Browser { socket, protocol })
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.get_with(path, &[]).await
    }

    pub(super) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut stream = self.request(path, headers).await;
        let mut bytes = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
        Reply::read(&String::from_utf8(bytes).unwrap())
    }

    pub(super) async fn events(&self, query: &str, headers: &[(&str, &str)]) -> Events {
        let stream = self.request(&format!("/v1/stock/stream{query}"), headers).await;
        let mut events = Events { stream, text: String::new() };
        let head = events.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("text/event-stream") && head.contains("no-store"), "{head}");
        events
    }

    /// Shakes hands, sends these bytes with it, and returns what comes after the hello, to the end.
    pub(super) async fn raw_socket(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let handshake = format!(
            "GET /v1/stock/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.addr
        );
        stream.write_all(&[handshake.as_bytes(), bytes].concat()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        // The hello is the only JSON object; it has no braces inside.
        let end = answer.iter().position(|byte| *byte == b'}').unwrap();
        answer.split_off(end + 1)
    }

    /// A request as it stands here; its answer, up to the body that it announces.
    pub(super) async fn raw_request(&self, request: &str) -> Reply {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        loop {
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let reply = Reply::read(&text);
                let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
                if body.len() >= length || head.starts_with("HTTP/1.1 101") {
                    return reply;
                }
            }
            let mut bytes = [0; 4_096];
            let n = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.unwrap().unwrap();
            assert!(n > 0, "no whole answer: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    }

    /// `HEAD`; an answer without a body, whatever length it announces.
    pub(super) async fn raw_request_head(&self, path: &str) -> Reply {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.addr);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.ends_with("\r\n\r\n"), "a body: {text}");
        Reply::read(&text)
    }

    async fn request(&self, path: &str, headers: &[(&str, &str)]) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{more}\r\n", self.addr);
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }
}

async fn serve_in_app(listener: TcpListener, engine: Engine, settings: RealtimeSettings) {
    let (engine, settings) = (web::Data::new(engine), web::Data::new(settings));
    let app = move || App::new().app_data(engine.clone()).app_data(settings.clone()).configure(configure);
    HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap().run().await.unwrap();
}

async fn serve(listener: TcpListener, engine: Engine, settings: RealtimeSettings, shutdown: CancellationToken) {
    let (data, limits) = (web::Data::new(engine.clone()), web::Data::new(settings.clone()));
    let app = move || {
        let echo = web::get().to(echo);
        App::new().app_data(data.clone()).app_data(limits.clone()).route("/echo", echo).configure(configure)
    };
    server::run(listener, app, engine, settings, NonZeroUsize::new(1), shutdown).await.unwrap();
}

/// A WebSocket that is none of the room's.
async fn echo(req: HttpRequest, body: web::Payload) -> actix_web::Result<HttpResponse> {
    let (answer, mut session, mut messages) = actix_ws::handle(&req, body)?;
    actix_web::rt::spawn(async move {
        while let Some(Ok(actix_ws::Message::Text(text))) = messages.next().await {
            session.text(text).await.unwrap();
        }
    });
    Ok(answer)
}

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    body: String,
}

impl Reply {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

pub(super) struct Browser {
    pub(super) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(super) protocol: Option<String>,
}

impl Browser {
    pub(super) async fn message(&mut self) -> Message {
        tokio::time::timeout(PATIENCE, self.socket.next()).await.unwrap().unwrap().unwrap()
    }

    /// The next message of the hub.
    pub(super) async fn next(&mut self) -> Value {
        match self.message().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("not a message: {other:?}"),
        }
    }

    /// The next message, which must be of this type.
    pub(super) async fn expect(&mut self, kind: &str) -> Value {
        let message = self.next().await;
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// The next message of this type; what comes before it is passed over, a ping with a bare answer.
    pub(super) async fn until(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == kind {
                return message;
            }
            if message["type"] == "ping" {
                self.say(serde_json::json!({ "type": "pong", "ts": message["ts"] })).await;
            }
        }
    }

    pub(super) async fn say(&mut self, message: Value) {
        self.raw(Message::text(message.to_string())).await;
    }

    pub(super) async fn raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// As `say`, but the hub may close meanwhile.
    pub(super) async fn socket_send(&mut self, message: Value) {
        let _ = self.socket.send(Message::text(message.to_string())).await;
    }

    /// Reads on until the close frame; its code.
    pub(super) async fn closed(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.message().await {
                return frame.unwrap().code.into();
            }
        }
    }

    /// Reads on until the connection is over.
    pub(super) async fn expect_end(&mut self) {
        while let Some(Ok(_)) = tokio::time::timeout(PATIENCE, self.socket.next()).await.unwrap() {}
    }

    /// Reads until this SKU has this version; its stock.
    pub(super) async fn sees(&mut self, sku: &str, version: i64) -> i64 {
        loop {
            let message = self.next().await;
            let items = message["items"].as_array().cloned().unwrap_or_default();
            if let Some(item) = items.iter().find(|item| item["sku"] == sku && item["version"] == version) {
                return item["stock"].as_i64().unwrap();
            }
        }
    }
}

/// A WebSocket by hand, for what no library would send.
pub(super) struct Wire {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Wire {
    pub(super) async fn open(addr: SocketAddr, query: &str) -> Self {
        Self::try_open(addr, query).await.unwrap_or_else(|| panic!("no handshake"))
    }

    pub(super) async fn try_open(addr: SocketAddr, query: &str) -> Option<Self> {
        let mut stream = TcpStream::connect(addr).await.ok()?;
        let handshake = format!(
            "GET /v1/stock/ws{query} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(handshake.as_bytes()).await.ok()?;
        let mut wire = Self { stream, bytes: Vec::new() };
        loop {
            if let Some(end) = wire.bytes.windows(4).position(|part| part == b"\r\n\r\n") {
                assert!(wire.bytes.starts_with(b"HTTP/1.1 101"));
                wire.bytes.drain(..end + 4);
                return Some(wire);
            }
            if !wire.more().await {
                return None;
            }
        }
    }

    /// The hub may close while it is still written to.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes)).await.unwrap();
    }

    async fn more(&mut self) -> bool {
        let mut bytes = [0; 8_192];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut bytes)).await.unwrap();
        let n = read.unwrap_or(0);
        self.bytes.extend_from_slice(&bytes[..n]);
        n > 0
    }

    /// The next frame: its opcode and content. `None`: the connection ended.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let [first, length, ..] = self.bytes[..] {
                let (start, length) = match (length, &self.bytes[2..]) {
                    (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
                    (126, _) => (usize::MAX / 2, 0),
                    (127, _) => panic!("the hub's frames are not that long"),
                    (length, _) => (2, usize::from(length)),
                };
                if self.bytes.len() >= start + length {
                    let payload = self.bytes.drain(..start + length).skip(start).collect();
                    return Some((first & 0x0f, payload));
                }
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The next message of the hub; `None` when the connection ended instead.
    pub(super) async fn message(&mut self) -> Option<Value> {
        loop {
            match self.frame().await? {
                (1, payload) => return Some(serde_json::from_slice(&payload).unwrap()),
                (8, _) => return None,
                _ => {}
            }
        }
    }

    /// Reads on to the close frame; its code.
    pub(super) async fn closed(&mut self) -> Option<u16> {
        loop {
            if let (8, payload) = self.frame().await? {
                return payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
            }
        }
    }
}

pub(super) struct Events {
    stream: TcpStream,
    text: String,
}

pub(super) struct Event {
    pub(super) id: Option<String>,
    pub(super) event: String,
    pub(super) data: Value,
}

impl Events {
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let mut bytes = [0; 4_096];
            let n = tokio::time::timeout(PATIENCE, self.stream.read(&mut bytes)).await.unwrap().unwrap();
            assert!(n > 0, "the stream ended: {}", self.text);
            // Chunk lines are left in: they stand alone and no field looks like them.
            self.text.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
        }
    }

    pub(super) async fn next(&mut self) -> Event {
        loop {
            let block = self.until("\n\n").await;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(ToOwned::to_owned);
            if let (Some(event), Some(data)) = (field("event: "), field("data: ")) {
                return Event { id: field("id: "), event, data: serde_json::from_str(&data).unwrap() };
            }
        }
    }
}

/// The SKUs of a message, sorted.
pub(super) fn skus(message: &Value) -> Vec<String> {
    let items = message["items"].as_array().unwrap();
    let mut skus: Vec<String> = items.iter().map(|item| item["sku"].as_str().unwrap().to_owned()).collect();
    skus.sort();
    skus
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}")).to_owned()
}
