//! A browser that only watches: the little of the WebSocket protocol that a reader of stock needs, and a note of when each
//! number came. Written by hand so that thousands of them cost the measuring process next to nothing.

use std::net::SocketAddr;

use bytes::{Buf as _, BytesMut};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::domain::time::Timestamp;
use crate::simulator::World;

/// Frames the hub sends are far smaller; a larger one means that we have lost our place.
const FRAME_MAX: usize = 4 * 1024 * 1024;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// A number as it came.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub at: Timestamp,
    pub sku: String,
    pub stock: i64,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: std::borrow::Cow<'a, str>,
    #[serde(default)]
    items: Vec<Item>,
    #[serde(default)]
    ts: u64,
}

#[derive(Deserialize)]
struct Item {
    sku: String,
    stock: i64,
}

pub(super) struct Browser {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Browser {
    /// Shakes hands; the SKUs are named in the address.
    pub(super) async fn open(hub: SocketAddr, skus: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(hub).await?;
        stream.set_nodelay(true)?;
        let head = format!(
            "GET /v1/stock/ws?skus={skus} HTTP/1.1\r\nhost: {hub}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut browser = Self { stream, buffer: BytesMut::with_capacity(4096) };
        loop {
            if let Some(end) = browser.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                anyhow::ensure!(browser.buffer.starts_with(b"HTTP/1.1 101"), "the hub did not take a browser");
                browser.buffer.advance(end + 4);
                return Ok(browser);
            }
            anyhow::ensure!(browser.stream.read_buf(&mut browser.buffer).await? > 0, "the hub closed on a browser");
        }
    }

    /// Watches until the world stops or the hub goes; gives what was seen.
    pub(super) async fn watch(mut self, world: World) -> Vec<Sighting> {
        let mut seen = Vec::new();
        while let Some(Ok(1..)) = world.stop.run_until_cancelled(self.stream.read_buf(&mut self.buffer)).await {
            let at = world.now();
            loop {
                match self.next_text() {
                    Ok(Some(text)) => match self.take(&text, at, &mut seen).await {
                        Ok(()) => {}
                        Err(error) => {
                            tracing::warn!(%error, "a browser of the benchmark gives up");
                            return seen;
                        }
                    },
                    Ok(None) => break,
                    Err(()) => return seen,
                }
            }
        }
        seen
    }

    async fn take(&mut self, text: &[u8], at: Timestamp, seen: &mut Vec<Sighting>) -> anyhow::Result<()> {
        let frame: Frame<'_> = serde_json::from_slice(text)?;
        if frame.kind == "ping" {
            let pong = format!("{{\"type\":\"pong\",\"ts\":{}}}", frame.ts);
            // A client must mask; a mask of zeros changes nothing.
            let mut out = vec![0x80 | TEXT, 0x80 | u8::try_from(pong.len())?, 0, 0, 0, 0];
            out.extend_from_slice(pong.as_bytes());
            self.stream.write_all(&out).await?;
        }
        if frame.kind == "stock_update" {
            seen.extend(frame.items.into_iter().map(|item| Sighting { at, sku: item.sku, stock: item.stock }));
        }
        Ok(())
    }

    /// The next whole text frame, if it is here. The hub neither masks nor splits.
    fn next_text(&mut self) -> Result<Option<BytesMut>, ()> {
        loop {
            let Some((opcode, head, length)) = frame_head(&self.buffer) else { return Ok(None) };
            if length > FRAME_MAX || opcode == CLOSE {
                return Err(());
            }
            if self.buffer.len() < head + length {
                return Ok(None);
            }
            self.buffer.advance(head);
            let payload = self.buffer.split_to(length);
            if opcode == TEXT {
                return Ok(Some(payload));
            }
        }
    }
}

/// Opcode, bytes of the head, bytes of the payload.
fn frame_head(buffer: &[u8]) -> Option<(u8, usize, usize)> {
    let (opcode, short) = (buffer.first()? & 0x0f, buffer.get(1)? & 0x7f);
    match short {
        126 => Some((opcode, 4, usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?)))),
        127 => Some((opcode, 10, usize::try_from(u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?)).ok()?)),
        short => Some((opcode, 2, usize::from(short))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_all_three_lengths_are_read() {
        assert_eq!(frame_head(&[0x81, 5, 1, 2]), Some((1, 2, 5)));
        assert_eq!(frame_head(&[0x81, 126, 1, 0]), Some((1, 4, 256)));
        assert_eq!(frame_head(&[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]), Some((1, 10, 65_536)));
        assert_eq!(frame_head(&[0x81, 126, 1]), None);
        assert_eq!(frame_head(&[0x81]), None);
    }
}
