//! A loopback HTTP/1.1 server that can do what an honest one never does: take a request and cut the line, hang, answer
//! bytes that are not HTTP, leave its port and come back to it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::wire::{Framing, Head, Reader};
use super::{SimulatorError, World, locked, loopback};

/// Pending connections the system keeps for us.
const BACKLOG: u32 = 1024;
/// After a failed accept (no file descriptors left, most often), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Between two bytes of an answer that never ends.
const DRIP_PAUSE: Duration = Duration::from_millis(200);
/// Ten minutes of drips are endless enough.
const DRIPS_MAX: usize = 3_000;

#[derive(Debug)]
pub struct Request {
    pub head: Head,
    pub body: Bytes,
}

/// What the other side is to see.
#[derive(Debug)]
pub enum Reply {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Bytes,
    },
    /// Not one byte, then the end of the connection.
    Cut,
    /// Not one byte, and the connection stays until the other side or the server goes.
    Hang,
    /// These bytes and the end of the connection.
    Raw(Bytes),
    /// The answer up to the middle of its body, then the end of the connection.
    Half {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Bytes,
    },
    /// A body that comes a byte at a time and never ends.
    Drip,
    /// A body of so many bytes, all blanks.
    Huge(usize),
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: Bytes::new() }
    }

    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::Answer { status, headers: vec![("content-type", "application/json".to_owned())], body: value.to_string().into() }
    }
}

/// Turns requests into replies. Called at the same time for different connections.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, request: Request) -> impl Future<Output = Reply> + Send;
}

/// A server that owns its port for its whole life, also while it refuses.
pub struct HttpServer<H> {
    address: SocketAddr,
    world: World,
    handler: Arc<H>,
    /// Bound and never listening. It keeps the port ours while nobody listens: another process, or a connection going out,
    /// would otherwise be given the very same number.
    _reserved: TcpSocket,
    /// `None` while refusing.
    open: std::sync::Mutex<Option<Open>>,
    /// Connections taken so far.
    accepted: Arc<std::sync::atomic::AtomicU64>,
}

/// The present listener.
struct Open {
    /// Ends it and its connections.
    until: CancellationToken,
    /// Cancelled once the listening socket is closed.
    closed: CancellationToken,
}

impl<H: Handler> HttpServer<H> {
    /// Binds (port 0 picks a free one), listens, and serves until `world.stop`.
    pub fn start(world: World, bind: SocketAddr, handler: Arc<H>) -> Result<Self, SimulatorError> {
        loopback(bind)?;
        let failed = |source| SimulatorError::Listen { address: bind, source };
        let reserved = shared_socket(bind).map_err(failed)?;
        let address = reserved.local_addr().map_err(failed)?;
        let server =
            Self { address, world, handler, _reserved: reserved, open: std::sync::Mutex::new(None), accepted: Arc::default() };
        server.come_back()?;
        Ok(server)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were made to it so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening and cuts every connection. When this returns, connecting is refused.
    pub async fn refuse(&self) {
        let open = locked(&self.open).take();
        if let Some(open) = open {
            open.until.cancel();
            open.closed.cancelled().await;
        }
    }

    /// Listens again on the same port. Does nothing if it already does.
    pub fn come_back(&self) -> Result<(), SimulatorError> {
        let mut open = locked(&self.open);
        if open.is_none() {
            let listener = shared_socket(self.address).and_then(|socket| socket.listen(BACKLOG));
            let listener = listener.map_err(|source| SimulatorError::Listen { address: self.address, source })?;
            let until = self.world.stop.child_token();
            let closed = CancellationToken::new();
            let (accepting, closing) = (until.clone(), closed.clone());
            let (tasks, handler, accepted) = (self.world.tasks.clone(), Arc::clone(&self.handler), self.accepted.clone());
            self.world.tasks.spawn(async move {
                let _closed = closing.drop_guard();
                accept(listener, tasks, handler, accepting, &accepted).await;
            });
            *open = Some(Open { until, closed });
        }
        Ok(())
    }
}

/// A socket that may share its address with the reservation.
fn shared_socket(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept<H: Handler>(
    listener: TcpListener,
    tasks: TaskTracker,
    handler: Arc<H>,
    until: CancellationToken,
    count: &std::sync::atomic::AtomicU64,
) {
    while let Some(accepted) = until.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let (handler, until) = (Arc::clone(&handler), until.clone());
                tasks.spawn(async move {
                    until.run_until_cancelled(connection(stream, handler)).await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "simulated marketplace could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<H: Handler>(mut stream: TcpStream, handler: Arc<H>) {
    if let Err(error) = converse(&mut stream, &handler).await {
        tracing::debug!(%error, "simulated marketplace lost a connection");
    }
}

async fn converse<H: Handler>(stream: &mut TcpStream, handler: &Arc<H>) -> Result<(), super::wire::WireError> {
    stream.set_nodelay(true)?;
    let mut reader = Reader::default();
    let mut out = Vec::with_capacity(512);
    while let Some(head) = reader.head(stream).await? {
        let framing = head.framing()?.unwrap_or(Framing::Length(0));
        let body = reader.body(stream, framing).await?;
        let close = head.wants_close();
        match handler.handle(Request { head, body }).await {
            Reply::Answer { status, headers, body } => {
                write_answer(&mut out, status, &headers, &body);
                stream.write_all(&out).await?;
            }
            Reply::Cut => return Ok(()),
            Reply::Hang => {
                // Until the other side gives up; what else it sends is thrown away.
                while stream.read(&mut [0; 256]).await? > 0 {}
                return Ok(());
            }
            Reply::Raw(bytes) => {
                stream.write_all(&bytes).await?;
                return Ok(stream.shutdown().await?);
            }
            Reply::Half { status, headers, body } => {
                write_answer(&mut out, status, &headers, &body);
                // At least one byte is missing, also of an answer without a body.
                out.truncate(out.len().saturating_sub((body.len() / 2).max(1)));
                stream.write_all(&out).await?;
                return Ok(stream.shutdown().await?);
            }
            Reply::Drip => return drip(stream).await,
            Reply::Huge(size) => {
                huge(stream, size).await?;
            }
        }
        if close {
            return Ok(stream.shutdown().await?);
        }
    }
    Ok(())
}

/// Until the other side has enough of it.
async fn drip(stream: &mut TcpStream) -> Result<(), super::wire::WireError> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    for _ in 0..DRIPS_MAX {
        stream.write_all(b"1\r\n \r\n").await?;
        tokio::time::sleep(DRIP_PAUSE).await;
    }
    Ok(())
}

async fn huge(stream: &mut TcpStream, size: usize) -> Result<(), super::wire::WireError> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let block = vec![b' '; 16 * 1024];
    let mut left = size;
    while left > 0 {
        let part = left.min(block.len());
        stream.write_all(block.get(..part).unwrap_or(&block)).await?;
        left -= part;
    }
    Ok(())
}

fn write_answer(out: &mut Vec<u8>, status: u16, headers: &[(&str, String)], body: &[u8]) {
    out.clear();
    out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason(status)).as_bytes());
    for (name, value) in headers {
        for part in [name, ": ", value.as_str(), "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    if status != 204 {
        out.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    if status != 204 {
        out.extend_from_slice(body);
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        207 => "Multi-Status",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Other",
    }
}
