//! One keep-alive HTTP/1.1 connection to this machine. The load generator runs hundreds of these beside the server it
//! measures, so a request is one write from a reused buffer and an answer usually one read.
//!
//! A request is never sent twice behind the caller's back: whether it was seen is exactly what the callers measure.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::wire::{Framing, Reader, WireError};
use super::{SimulatorError, loopback};

/// Where requests go: an address of this machine and the path before every request's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    address: SocketAddr,
    host: String,
    base_path: String,
}

impl Target {
    /// Reads `http://127.0.0.1:8080/base`. `localhost` means 127.0.0.1; names are never looked up.
    pub fn parse(url: &str) -> Result<Self, SimulatorError> {
        let bad = || SimulatorError::Url(url.to_owned());
        let parsed = url::Url::parse(url).map_err(|_| bad())?;
        if parsed.scheme() != "http" || !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(bad());
        }
        let port = parsed.port_or_known_default().ok_or_else(bad)?;
        let ip = match parsed.host().ok_or_else(bad)? {
            url::Host::Ipv4(ip) => ip.into(),
            url::Host::Ipv6(ip) => ip.into(),
            url::Host::Domain("localhost") => std::net::Ipv4Addr::LOCALHOST.into(),
            url::Host::Domain(name) => return Err(SimulatorError::NotLoopback(name.to_owned())),
        };
        let address = loopback(SocketAddr::new(ip, port))?;
        Ok(Self { address, host: address.to_string(), base_path: parsed.path().trim_end_matches('/').to_owned() })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As one writes it before a path.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.host, self.base_path)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("no whole answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Wire(#[from] WireError),
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

/// A connection that opens itself when needed. One request at a time.
#[derive(Debug)]
pub struct Client {
    target: Target,
    timeout: Duration,
    stream: Option<TcpStream>,
    reader: Reader,
    out: Vec<u8>,
}

impl Client {
    pub fn new(target: Target, timeout: Duration) -> Self {
        Self { target, timeout, stream: None, reader: Reader::default(), out: Vec::with_capacity(1024) }
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer, ClientError> {
        self.send("GET", path, &[], b"").await
    }

    pub async fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, ClientError> {
        self.send("POST", path, headers, body).await
    }

    /// Sends and reads the whole answer. After any error the connection is dropped, and the next call opens a new one.
    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, ClientError> {
        self.write_request(method, path, headers, body);
        let limit = self.timeout;
        let result = match tokio::time::timeout(limit, self.exchange()).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::Timeout(limit)),
        };
        if result.is_err() {
            self.stream = None;
        }
        result
    }

    /// Until the other side has closed the connection that waits for the next request.
    #[cfg(test)]
    pub async fn until_cut(&self) -> std::io::Result<()> {
        match &self.stream {
            Some(stream) => stream.readable().await,
            None => Ok(()),
        }
    }

    fn write_request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let out = &mut self.out;
        out.clear();
        for part in [method, " ", &self.target.base_path, path, " HTTP/1.1\r\nhost: ", &self.target.host, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        for (name, value) in headers {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        if method != "GET" {
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                out.extend_from_slice(b"content-type: application/json\r\n");
            }
            // Writing into a Vec does not fail.
            let _ = write!(out, "content-length: {}\r\n", body.len());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    }

    async fn exchange(&mut self) -> Result<Answer, ClientError> {
        let mut stream = match self.stream.take().filter(still_open) {
            Some(stream) => stream,
            None => {
                self.reader.clear();
                let stream = TcpStream::connect(self.target.address).await.map_err(ClientError::Connect)?;
                stream.set_nodelay(true).map_err(ClientError::Connect)?;
                stream
            }
        };
        stream.write_all(&self.out).await.map_err(WireError::Io)?;
        let head = self.reader.head(&mut stream).await?.ok_or(WireError::Closed)?;
        let status = head.status()?;
        let bodiless = matches!(status, 204 | 304) || (100..200).contains(&status);
        let framing = if bodiless { Framing::Length(0) } else { head.framing()?.unwrap_or(Framing::UntilClose) };
        let body = self.reader.body(&mut stream, framing).await?;
        if framing != Framing::UntilClose && !head.wants_close() {
            self.stream = Some(stream);
        }
        Ok(Answer { status, body })
    }
}

/// An idle connection with something to read was closed by the other side (or holds an answer to nothing): not reusable.
fn still_open(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_can_be_a_target() {
        let target = Target::parse("http://localhost:8080/hub/").unwrap();
        assert_eq!((target.address().to_string().as_str(), target.base_path.as_str()), ("127.0.0.1:8080", "/hub"));
        assert!(Target::parse("http://[::1]:8080").is_ok());
        let refused =
            ["http://10.0.0.1:80", "http://example.com", "https://127.0.0.1", "http://u:p@127.0.0.1", "http://0.0.0.0:1", "x"];
        for url in refused {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
