//! A small HTTP client of the tests' own, so that nothing of the hub's judges itself.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[derive(Clone, Copy)]
pub struct Http {
    address: SocketAddr,
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The fields a problem document names.
    pub fn fields(&self) -> Vec<String> {
        let document = self.json();
        let errors = document["errors"].as_array().into_iter().flatten();
        errors.map(|error| error["field"].as_str().expect("a field").to_owned()).collect()
    }

    /// The slug of a problem document.
    pub fn problem(&self) -> String {
        let kind = self.json()["type"].as_str().unwrap_or("").to_owned();
        kind.trim_start_matches("urn:stockhub:problem:").to_owned()
    }
}

impl Http {
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string().into_bytes());
        let mut all = headers.to_vec();
        if body.is_some() {
            all.push(("content-type", "application/json"));
        }
        self.send_bytes(method, path, &all, &body.unwrap_or_default()).await
    }

    pub async fn send_bytes(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_send(method, path, headers, body).await.expect("an answer")
    }

    /// An error where the connection broke before a whole answer came.
    pub async fn try_send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<Answer> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(&[head.as_bytes(), b"\r\n", body].concat()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        parse(&answer).ok_or_else(|| std::io::Error::other("half an answer"))
    }
}

impl Http {
    /// Bytes as they are, in these pieces; what comes back until the hub closes. A hub that answers early may close while it is
    /// still written to, so failing to write is no failure.
    pub async fn raw(&self, pieces: &[&[u8]]) -> Answer {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let (mut reading, mut writing) = stream.into_split();
        let write = async {
            for piece in pieces {
                if writing.write_all(piece).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let read = async {
            let (mut bytes, mut buffer) = (Vec::new(), [0_u8; 4096]);
            loop {
                match reading.read(&mut buffer).await {
                    Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
                    _ => return bytes,
                }
                if parse(&bytes).is_some() {
                    return bytes;
                }
            }
        };
        let bytes = tokio::select! {
            bytes = read => bytes,
            () = write => unreachable!("writing never ends"),
        };
        parse(&bytes).unwrap_or_else(|| panic!("no whole answer: {:?}", String::from_utf8_lossy(&bytes)))
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let rest = &bytes[end + 4..];
    let body = if header("transfer-encoding").is_some_and(|how| how == "chunked") {
        unchunk(rest)?
    } else {
        let length = header("content-length").map_or(Some(0), |text| text.parse::<usize>().ok())?;
        rest.get(..length)?.to_vec()
    };
    Some(Answer { status, headers, body })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?.trim(), 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
