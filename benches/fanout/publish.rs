//! The publisher: HTTP POSTs on a few kept connections, at a rate or as fast as they are answered. One request per connection at a
//! time: a server that answers late is published to less.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Poll, Registry, Token};

use crate::client::PUBLISHER;
use crate::contender::Kind;
use crate::frames::find;

struct Line {
    stream: TcpStream,
    busy: bool,
}

pub struct Publisher {
    lines: Vec<Line>,
    registry: Registry,
    address: SocketAddr,
    /// Who is published to, and whether each SKU has readers of its own.
    to: (Kind, bool),
    skus: u32,
    per_second: Option<f64>,
    begun: Instant,
    pub sent: u64,
    pub answered: u64,
    /// Taken in turn: a connection that is silent for long is closed by any server.
    idle: VecDeque<usize>,
}

impl Publisher {
    pub fn open(poll: &Poll, address: SocketAddr, to: (Kind, bool), lines: usize, skus: u32, per_second: Option<f64>) -> Self {
        let registry = poll.registry().try_clone().unwrap();
        let idle = (0..lines).collect();
        Self {
            lines: (0..lines).map(|at| Line { stream: connect(&registry, address, at), busy: false }).collect(),
            registry,
            address,
            to,
            skus,
            per_second,
            begun: Instant::now(),
            sent: 0,
            answered: 0,
            idle,
        }
    }

    /// Sends what is due.
    pub fn go(&mut self, now_us: u64) {
        let due = self.per_second.map_or(u64::MAX, |rate| (self.begun.elapsed().as_secs_f64() * rate) as u64);
        while self.sent < due
            && let Some(line) = self.idle.pop_front()
        {
            // Steps that meet every SKU, far apart.
            let sku = u32::try_from(self.sent * 7_919 % u64::from(self.skus)).unwrap();
            let change = format!("{{\"sku\":\"K-{sku:05}\",\"stock\":{},\"ts\":{now_us}}}", self.sent % 10_000);
            let request = self.to.0.request(self.address, self.to.1, sku, &change);
            self.lines[line].stream.write_all(request.as_bytes()).unwrap();
            self.lines[line].busy = true;
            self.sent += 1;
        }
    }

    pub fn answered(&mut self, at: usize) {
        let mut bytes = [0; 4_096];
        loop {
            match self.lines[at].stream.read(&mut bytes) {
                // sockudo closes after every answer.
                Ok(0) => {
                    assert!(!self.lines[at].busy, "the server closed on the publisher");
                    self.lines[at].stream = connect(&self.registry, self.address, at);
                    self.idle.push_back(at);
                    return;
                }
                Ok(read) => {
                    let answer = &bytes[..read];
                    assert!(
                        !answer.starts_with(b"HTTP/1.1 4") && !answer.starts_with(b"HTTP/1.1 5"),
                        "{}",
                        String::from_utf8_lossy(answer)
                    );
                    if answer.starts_with(b"HTTP/1.1 2") && std::mem::take(&mut self.lines[at].busy) {
                        self.answered += 1;
                        if find(answer, b"connection: close").is_none() {
                            self.idle.push_back(at);
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn connect(registry: &Registry, address: SocketAddr, at: usize) -> TcpStream {
    let stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut stream = TcpStream::from_std(stream);
    registry.register(&mut stream, Token(PUBLISHER + at), Interest::READABLE).unwrap();
    stream
}
