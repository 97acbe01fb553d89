//! What happens to a WebSocket request before the App sees it. The stock socket is taken over: no HTTP machinery stays behind it.
//! Every other WebSocket request is played again to the App, which answers as if nothing had been in between.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_codec::{AsyncRead, AsyncWrite, Framed, ReadBuf};
use actix_http::{Request, h1};
use actix_web::http::Version;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::door::{self, Guest, Turned};
use super::engine::Engine;
use super::frame::Format;
use super::hub::{self, Arrival, Wire};
use super::protocol::SUBPROTOCOL;
use super::settings::RealtimeSettings;
use super::socket::SocketTask;
use super::ws;

/// The address that is taken over.
pub(crate) const STOCK_SOCKET: &str = "/v1/stock/ws";

/// A connection at the moment of its upgrade: what was read beyond the request, and what still has to be written before.
pub(crate) struct Upgrading {
    pub(crate) request: Request,
    pub(crate) io: TcpStream,
    early: BytesMut,
    owed: BytesMut,
}

impl Upgrading {
    pub(crate) fn new(request: Request, framed: Framed<TcpStream, h1::Codec>) -> Self {
        let parts = framed.into_parts();
        Self { request, io: parts.io, early: parts.read_buf, owed: parts.write_buf }
    }

    pub(crate) fn is_stock(&self) -> bool {
        self.request.path() == STOCK_SOCKET
    }

    /// Shakes hands and gives the socket to this worker's hub.
    pub(crate) async fn take_over(self, engine: &Engine, settings: &RealtimeSettings, on_loopback: bool) {
        let Self { request, mut io, early, owed } = self;
        let guest = match door::knock(engine, settings, request.head(), on_loopback) {
            Ok(guest) => guest,
            Err(turned) => return say_and_end(&mut io, owed, &refusal(&turned, &engine.request_id())).await,
        };
        tracing::debug!(peer = ?request.head().peer_addr, accepted = guest.permit.is_ok(), "stock socket");
        let mut lead = owed;
        write_handshake(&mut lead, &request, guest.named_protocol);
        let Guest { permit, subscription, gap_ms, .. } = guest;
        let permit = match permit {
            Ok(permit) => permit,
            Err(refused) => {
                let code = ws::refused(refused);
                engine.counters().closed(code.code());
                return say_and_end(&mut io, lead, &hub::farewell(Format::WebSocket, code, engine.gate().total())).await;
            }
        };
        let (hub, socket) = (hub::local(engine, settings), Rc::new(io));
        let wire = Wire::Socket(Rc::clone(&socket));
        let id = hub.attach(Arrival { wire, format: Format::WebSocket, permit, gap_ms, subscription, lead });
        if !early.is_empty() {
            hub.receive(id, &early);
        }
        // The caller returns after this, and with it goes everything that HTTP needed.
        actix_web::rt::spawn(SocketTask { hub, id, socket, said_all: false });
    }

    /// The request as bytes again, in front of the rest of the connection.
    pub(crate) async fn replay(self) -> io::Result<Replayed> {
        let Self { request, mut io, early, owed } = self;
        io.write_all(&owed).await?;
        let mut head = BytesMut::with_capacity(1_024);
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let version = if request.version() == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
        for part in [request.method().as_str(), " ", target, " ", version, "\r\n"] {
            head.put_slice(part.as_bytes());
        }
        for (name, value) in request.head().headers() {
            write_header(&mut head, name.as_str(), value.as_bytes());
        }
        head.put_slice(b"\r\n");
        head.put_slice(&early);
        Ok(Replayed { head: head.freeze(), io })
    }
}

fn write_header(out: &mut BytesMut, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.put_slice(part);
    }
}

fn write_handshake(out: &mut BytesMut, request: &Request, named_protocol: bool) {
    let key = request.head().headers().get("sec-websocket-key").map_or(&b""[..], |key| key.as_bytes());
    out.put_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    write_header(out, "upgrade", b"websocket");
    write_header(out, "connection", b"upgrade");
    write_header(out, "sec-websocket-accept", &actix_http::ws::hash_key(key));
    if named_protocol {
        write_header(out, "sec-websocket-protocol", SUBPROTOCOL.as_bytes());
    }
    out.put_slice(b"\r\n");
}

fn refusal(turned: &Turned, request_id: &str) -> Bytes {
    tracing::debug!(request.id = request_id, slug = turned.slug, detail = turned.detail, "a stock socket was refused");
    let body = turned.problem().document(Some(request_id)).to_string();
    let mut out = BytesMut::with_capacity(512);
    for part in ["HTTP/1.1 ", turned.status.as_str(), " ", turned.status.canonical_reason().unwrap_or_default(), "\r\n"] {
        out.put_slice(part.as_bytes());
    }
    write_header(&mut out, "content-type", b"application/problem+json");
    write_header(&mut out, "content-length", body.len().to_string().as_bytes());
    write_header(&mut out, "x-request-id", request_id.as_bytes());
    write_header(&mut out, "cache-control", b"no-store");
    write_header(&mut out, "connection", b"close");
    for (name, value) in turned.headers() {
        write_header(&mut out, name.as_str(), value.as_bytes());
    }
    out.put_slice(b"\r\n");
    out.put_slice(body.as_bytes());
    out.freeze()
}

/// A few hundred bytes to a fresh socket. Who does not take them is not waited for.
async fn say_and_end(io: &mut TcpStream, mut owed: BytesMut, words: &[u8]) {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
    owed.put_slice(words);
    let say = async {
        io.write_all(&owed).await?;
        io.shutdown().await?;
        // What it still sends is read and dropped: closing over unread bytes would reset the connection and lose our words.
        tokio::io::copy(io, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(PATIENCE, say).await;
}

/// A connection whose first bytes were read before.
pub(crate) struct Replayed {
    head: Bytes,
    io: TcpStream,
}

impl AsyncRead for Replayed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let part = self.head.len().min(buf.remaining());
        buf.put_slice(&self.head[..part]);
        self.head.advance(part);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
