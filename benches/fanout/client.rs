//! The client: thousands of sockets on one epoll. Frames that are the same for many sockets are looked into once.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::frames;
use crate::publish::Publisher;

const READ_BYTES: usize = 1 << 18;
/// Tokens from here on belong to the publisher.
pub const PUBLISHER: usize = 1 << 24;

/// One socket. What came of an unfinished frame waits in `rest`.
pub struct Socket {
    pub stream: TcpStream,
    rest: Vec<u8>,
    pub open: bool,
    /// It never reads.
    pub stalled: bool,
    pub ended: bool,
    pub cursor: String,
}

#[derive(Clone, Default)]
pub struct Seen {
    pub deliveries: u64,
    pub frames: u64,
    /// Microseconds from publishing to reading, one of every so many.
    pub latencies: Vec<u64>,
}

pub struct Client {
    pub poll: Poll,
    pub sockets: Vec<Socket>,
    pub seen: Seen,
    pub begun: Instant,
    buffer: Vec<u8>,
    /// The last frame looked into: its length and beginning, and how many numbers were in it.
    last: (usize, Vec<u8>, u32),
    sampled: u64,
    /// Resumed or answered with current values: sockets that hold something.
    pub served: usize,
}

impl Client {
    pub fn new(begun: Instant) -> Self {
        let seen = Seen::default();
        let (poll, buffer) = (Poll::new().unwrap(), vec![0; READ_BYTES]);
        Self { poll, sockets: Vec::new(), seen, begun, buffer, last: (0, Vec::new(), 0), sampled: 0, served: 0 }
    }

    pub fn micros(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap()
    }

    /// Opens a socket and shakes hands; `greetings` are sent after that.
    pub fn open(&mut self, address: SocketAddr, path: &str, greetings: &[String]) {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(handshake(address, path).as_bytes()).unwrap();
        let mut head = Vec::new();
        let end = loop {
            let read = stream.read(&mut self.buffer).unwrap();
            assert!(read > 0, "{address}{path} closed: {}", String::from_utf8_lossy(&head));
            head.extend_from_slice(&self.buffer[..read]);
            if let Some(end) = frames::find(&head, b"\r\n\r\n") {
                break end + 4;
            }
        };
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        for greeting in greetings {
            stream.write_all(&frames::masked(greeting.as_bytes())).unwrap();
        }
        stream.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(stream);
        let token = Token(self.sockets.len());
        self.poll.registry().register(&mut stream, token, Interest::READABLE).unwrap();
        let rest = head.split_off(end);
        self.sockets.push(Socket { stream, rest, open: true, stalled: false, ended: false, cursor: String::new() });
        self.digest(token.0);
    }

    /// Opens without waiting: what a crowd does.
    pub fn open_later(&mut self, address: SocketAddr, path: &str, at: usize) {
        let mut stream = TcpStream::connect(address).unwrap();
        self.poll.registry().register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE).unwrap();
        let wanted = handshake(address, path).into_bytes();
        let cursor = std::mem::take(&mut self.sockets[at].cursor);
        self.sockets[at] = Socket { stream, rest: wanted, open: false, stalled: false, ended: false, cursor };
    }

    /// Looks at what came, for at most this long.
    pub fn turn(&mut self, at_most: Duration, publisher: &mut Option<Publisher>) {
        let mut events = Events::with_capacity(4_096);
        if let Err(error) = self.poll.poll(&mut events, Some(at_most)) {
            assert_eq!(error.kind(), ErrorKind::Interrupted);
        }
        for event in &events {
            match event.token().0 {
                at if at >= PUBLISHER => publisher.iter_mut().for_each(|publisher| publisher.answered(at - PUBLISHER)),
                at if self.sockets[at].stalled => {}
                at if !self.sockets[at].open && event.is_writable() => self.shake(at),
                at => self.read(at),
            }
        }
    }

    fn shake(&mut self, at: usize) {
        let socket = &mut self.sockets[at];
        if socket.rest.is_empty() {
            return self.read(at);
        }
        match socket.stream.write(&socket.rest) {
            Ok(written) => drop(socket.rest.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock || error.kind() == ErrorKind::NotConnected => {}
            Err(_) => socket.ended = true,
        }
    }

    pub fn read(&mut self, at: usize) {
        loop {
            let socket = &mut self.sockets[at];
            match socket.stream.read(&mut self.buffer) {
                Ok(0) => return socket.ended = true,
                Ok(read) => {
                    if socket.open && socket.rest.is_empty() {
                        self.frames_in_buffer(at, read);
                    } else {
                        socket.rest.extend_from_slice(&self.buffer[..read]);
                        self.digest(at);
                    }
                    if read < READ_BYTES {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return socket.ended = true,
            }
        }
    }

    /// The common case: whole frames, straight from the buffer.
    fn frames_in_buffer(&mut self, at: usize, read: usize) {
        let buffer = std::mem::take(&mut self.buffer);
        let used = self.frames(at, &buffer[..read]);
        self.sockets[at].rest.extend_from_slice(&buffer[used..read]);
        self.buffer = buffer;
    }

    fn digest(&mut self, at: usize) {
        let mut rest = std::mem::take(&mut self.sockets[at].rest);
        if !self.sockets[at].open
            && let Some(end) = frames::find(&rest, b"\r\n\r\n")
        {
            if !rest.starts_with(b"HTTP/1.1 101") {
                return self.sockets[at].ended = true;
            }
            rest.drain(..end + 4);
            self.sockets[at].open = true;
        }
        if self.sockets[at].open {
            let used = self.frames(at, &rest);
            rest.drain(..used);
        }
        self.sockets[at].rest = rest;
    }

    /// Takes whole frames; how many bytes they were.
    fn frames(&mut self, at: usize, bytes: &[u8]) -> usize {
        let mut used = 0;
        while let Some((opcode, start, end)) = frames::next(&bytes[used..]) {
            let payload = &bytes[used + start..used + end];
            if opcode == 1 {
                self.text(at, payload);
            } else if opcode == 8 {
                self.sockets[at].ended = true;
            }
            used += end;
        }
        used
    }

    fn text(&mut self, at: usize, payload: &[u8]) {
        const LOOKED_AT: usize = 96;
        if payload.starts_with(b"{\"type\":\"ping\"") {
            let _ = self.sockets[at].stream.write(&frames::masked(b"{\"type\":\"pong\",\"ts\":0}"));
            return;
        }
        let start = &payload[..payload.len().min(LOOKED_AT)];
        // The cursor or the time near the beginning makes it unlikely that two different frames look alike here.
        if self.last.0 != payload.len() || self.last.1 != start || payload.len() < LOOKED_AT {
            let (now, mut sampled) = (self.micros(), self.sampled);
            let latencies = &mut self.seen.latencies;
            let count = frames::times(payload, |ts| {
                sampled += 1;
                if sampled.is_multiple_of(7) && latencies.len() < 2_000_000 {
                    latencies.push(now.saturating_sub(ts));
                }
            });
            self.sampled = sampled;
            self.last = (payload.len(), start.to_vec(), count);
        } else if self.sampled.is_multiple_of(64) {
            let now = self.micros();
            let latencies = &mut self.seen.latencies;
            frames::times(payload, |ts| latencies.push(now.saturating_sub(ts)));
            self.sampled += 1;
        } else {
            self.sampled += 1;
        }
        if self.last.2 > 0 {
            self.seen.deliveries += u64::from(self.last.2);
            self.seen.frames += 1;
        }
        if payload.starts_with(b"{\"type\":\"s") {
            if let Some(cursor) = cursor_of(payload) {
                self.sockets[at].cursor = cursor;
            }
            if payload.starts_with(b"{\"type\":\"subscribed\"") {
                self.served += 1;
            }
        }
    }
}

fn cursor_of(payload: &[u8]) -> Option<String> {
    let start = frames::find(&payload[..payload.len().min(160)], b"\"cursor\":\"")? + 10;
    let end = payload[start..].iter().position(|byte| *byte == b'"')?;
    Some(String::from_utf8_lossy(&payload[start..start + end]).into_owned())
}

fn handshake(address: SocketAddr, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// The value that `part` of the sorted values are not above.
pub fn percentile(values: &mut [u64], part: f64) -> u64 {
    values.sort_unstable();
    let at = ((values.len() as f64 * part) as usize).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(0)
}
