//! The canary: a change that the hub publishes to itself and must see come back over a real socket. What passes is the table,
//! a worker's flush, and its write; a process that only answers `/healthz` would not pass.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::engine::Engine;
use super::roll::Silent;
use super::table::CANARY;
use super::upgrade::STOCK_SOCKET;

/// What a canary reads at most: hello, the outcome, an item.
const READ_MAX_BYTES: usize = 16 * 1_024;

#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    #[error("the hub's own socket: {0}")]
    Socket(#[from] std::io::Error),
    #[error("the hub turned its own canary away: {0}")]
    Refused(String),
    #[error("what was published did not come back within {0:?}")]
    Lost(Duration),
    #[error(transparent)]
    Silent(#[from] Silent),
}

/// Addresses of the canaries that fly now. An address is known before its request is sent, and nobody else can have it.
#[derive(Debug, Default)]
pub(crate) struct Canaries(Mutex<HashSet<SocketAddr>>);

impl Canaries {
    pub(crate) fn know(&self, peer: Option<SocketAddr>) -> bool {
        peer.is_some_and(|peer| self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&peer))
    }

    fn let_fly(&self, address: SocketAddr) -> Flight<'_> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(address);
        Flight { canaries: self, address }
    }
}

struct Flight<'a> {
    canaries: &'a Canaries,
    address: SocketAddr,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.canaries.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.address);
    }
}

impl Engine {
    /// Publishes to itself over the hub's socket at `address`, and calls the roll of all workers. How long it took.
    pub async fn canary(&self, address: SocketAddr, patience: Duration) -> Result<Duration, CanaryError> {
        let begun = Instant::now();
        let flown = tokio::time::timeout(patience, self.fly(reachable(address))).await;
        flown.map_err(|_| CanaryError::Lost(patience))??;
        self.roll().call(patience.saturating_sub(begun.elapsed())).await?;
        Ok(begun.elapsed())
    }

    async fn fly(&self, address: SocketAddr) -> Result<(), CanaryError> {
        let mut stream = TcpStream::connect(address).await?;
        let _flight = self.canaries().let_fly(stream.local_addr()?);
        let handshake = format!(
            "GET {STOCK_SOCKET} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3RvY2todWIncyBjYW5hcg==\r\n\r\n"
        );
        stream.write_all(handshake.as_bytes()).await?;
        let mut heard = Vec::new();
        hear(&mut stream, &mut heard, "\"type\":\"subscribed\"").await?;
        let version = self.publish_canary();
        hear(&mut stream, &mut heard, &format!("\"sku\":\"{CANARY}\",\"stock\":1,\"version\":{version},")).await
    }
}

/// Reads until `words` came. What is read stays: the words may come in two pieces.
async fn hear(stream: &mut TcpStream, heard: &mut Vec<u8>, words: &str) -> Result<(), CanaryError> {
    while !heard.windows(words.len()).any(|part| part == words.as_bytes()) {
        let read = stream.read_buf(heard).await?;
        if read == 0 || heard.len() > READ_MAX_BYTES {
            let said: String = String::from_utf8_lossy(heard).chars().take(200).collect();
            return Err(CanaryError::Refused(said));
        }
    }
    Ok(())
}

/// Where a hub that listens everywhere can be reached from inside.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_that_listens_everywhere_is_reached_on_loopback() {
        for (bound, reached) in [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("192.0.2.1:80", "192.0.2.1:80")] {
            assert_eq!(reachable(bound.parse().unwrap()), reached.parse().unwrap());
        }
    }

    #[test]
    fn a_canary_is_known_while_it_flies() {
        let canaries = Canaries::default();
        let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let flight = canaries.let_fly(address);
        assert!(canaries.know(Some(address)) && !canaries.know(None));
        drop(flight);
        assert!(!canaries.know(Some(address)));
    }
}
