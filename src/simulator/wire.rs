//! HTTP/1.1 messages on a byte stream: just enough to speak with the hub and with ourselves. Heads and bodies are bounded;
//! what breaks the grammar is an error, never a guess.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of request or status line and headers.
pub const HEAD_MAX_BYTES: usize = 16 * 1024;
/// Bytes of one body.
pub const BODY_MAX_BYTES: usize = 4 * 1024 * 1024;
/// A chunk-size line is a few hex digits; extensions and trailers are not expected here.
const CHUNK_LINE_MAX_BYTES: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    #[error("the other side closed the connection in the middle of a message")]
    Closed,
    #[error("not HTTP/1.1: {0}")]
    Malformed(&'static str),
    #[error("a message head is larger than {HEAD_MAX_BYTES} bytes")]
    HeadTooLarge,
    #[error("a body is larger than {BODY_MAX_BYTES} bytes")]
    BodyTooLarge,
}

/// A first line and headers, as they came.
#[derive(Debug)]
pub struct Head {
    bytes: Bytes,
    first_line: usize,
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length(usize),
    Chunked,
    /// Only an answer may do this.
    UntilClose,
}

impl Head {
    fn new(bytes: Bytes) -> Result<Self, WireError> {
        let first_line = find(&bytes, b"\r\n", 0).ok_or(WireError::Malformed("no line end"))?;
        if std::str::from_utf8(&bytes).is_err() {
            return Err(WireError::Malformed("head is not UTF-8"));
        }
        Ok(Self { bytes, first_line })
    }

    fn text(&self) -> &str {
        // Checked when the head was made.
        std::str::from_utf8(&self.bytes).unwrap_or("")
    }

    pub fn first_line(&self) -> &str {
        self.text().get(..self.first_line).unwrap_or("")
    }

    /// The first header of that name, whatever its letter case, without outer space.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text().split("\r\n").skip(1).filter_map(|line| line.split_once(':')).map(|(key, value)| (key, value.trim()))
    }

    /// The status of an answer.
    pub fn status(&self) -> Result<u16, WireError> {
        let mut words = self.first_line().splitn(3, ' ');
        match (words.next(), words.next()) {
            (Some(version), Some(code)) if version.starts_with("HTTP/1.") && code.len() == 3 => {
                code.parse().map_err(|_| WireError::Malformed("status is not a number"))
            }
            _ => Err(WireError::Malformed("no status line")),
        }
    }

    /// The method and target of a request.
    pub fn request_line(&self) -> Result<(&str, &str), WireError> {
        let mut words = self.first_line().split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(method), Some(target), Some(version), None) if version.starts_with("HTTP/1.") => Ok((method, target)),
            _ => Err(WireError::Malformed("no request line")),
        }
    }

    pub fn wants_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case("close")))
    }

    /// `None` when the head names neither a length nor chunks.
    pub fn framing(&self) -> Result<Option<Framing>, WireError> {
        if let Some(coding) = self.header("transfer-encoding") {
            return if coding.eq_ignore_ascii_case("chunked") {
                Ok(Some(Framing::Chunked))
            } else {
                Err(WireError::Malformed("unknown transfer encoding"))
            };
        }
        match self.header("content-length").map(str::parse::<usize>) {
            None => Ok(None),
            Some(Ok(length)) if length <= BODY_MAX_BYTES => Ok(Some(Framing::Length(length))),
            Some(Ok(_)) => Err(WireError::BodyTooLarge),
            Some(Err(_)) => Err(WireError::Malformed("content length is not a number")),
        }
    }
}

/// Reads messages off a stream. Bytes beyond one message stay for the next.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
}

impl Reader {
    /// Forgets what was read: for a new connection.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    async fn fill<R: AsyncRead + Unpin>(&mut self, stream: &mut R) -> Result<bool, WireError> {
        self.buffer.reserve(1024);
        Ok(stream.read_buf(&mut self.buffer).await? > 0)
    }

    /// `None` when the other side closed between messages, as it may.
    pub async fn head<R: AsyncRead + Unpin>(&mut self, stream: &mut R) -> Result<Option<Head>, WireError> {
        let mut searched = 0;
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n", searched) {
                let head = self.buffer.split_to(end + 2).freeze();
                self.buffer.advance(2);
                return Head::new(head).map(Some);
            }
            if self.buffer.len() > HEAD_MAX_BYTES {
                return Err(WireError::HeadTooLarge);
            }
            // The last three bytes may be the beginning of the blank line.
            searched = self.buffer.len().saturating_sub(3);
            if !self.fill(stream).await? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(WireError::Closed) };
            }
        }
    }

    pub async fn body<R: AsyncRead + Unpin>(&mut self, stream: &mut R, framing: Framing) -> Result<Bytes, WireError> {
        match framing {
            Framing::Length(length) => self.exactly(stream, length).await,
            Framing::Chunked => self.chunks(stream).await,
            Framing::UntilClose => {
                while self.fill(stream).await? {
                    if self.buffer.len() > BODY_MAX_BYTES {
                        return Err(WireError::BodyTooLarge);
                    }
                }
                Ok(self.buffer.split().freeze())
            }
        }
    }

    async fn exactly<R: AsyncRead + Unpin>(&mut self, stream: &mut R, length: usize) -> Result<Bytes, WireError> {
        while self.buffer.len() < length {
            if !self.fill(stream).await? {
                return Err(WireError::Closed);
            }
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn chunks<R: AsyncRead + Unpin>(&mut self, stream: &mut R) -> Result<Bytes, WireError> {
        let mut body = BytesMut::new();
        loop {
            let line = self.line(stream).await?;
            let size = std::str::from_utf8(&line).ok().and_then(|text| text.split(';').next());
            let size = size.and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
            let size = size.ok_or(WireError::Malformed("chunk size"))?;
            if size == 0 {
                break;
            }
            if size > BODY_MAX_BYTES - body.len() {
                return Err(WireError::BodyTooLarge);
            }
            body.extend_from_slice(&self.exactly(stream, size).await?);
            if self.exactly(stream, 2).await?.as_ref() != b"\r\n" {
                return Err(WireError::Malformed("chunk end"));
            }
        }
        while !self.line(stream).await?.is_empty() {}
        Ok(body.freeze())
    }

    async fn line<R: AsyncRead + Unpin>(&mut self, stream: &mut R) -> Result<Bytes, WireError> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n", 0) {
                let line = self.buffer.split_to(end).freeze();
                self.buffer.advance(2);
                return Ok(line);
            }
            if self.buffer.len() > CHUNK_LINE_MAX_BYTES {
                return Err(WireError::Malformed("chunk line too long"));
            }
            if !self.fill(stream).await? {
                return Err(WireError::Closed);
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    haystack.get(from..)?.windows(needle.len()).position(|window| window == needle).map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_two_messages_from_one_stream() {
        let mut stream: &[u8] =
            b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\nabc\r\n2;x=1\r\nde\r\n0\r\n\r\n";
        let mut reader = Reader::default();
        let head = reader.head(&mut stream).await.unwrap().unwrap();
        assert_eq!(head.request_line().unwrap(), ("POST", "/a"));
        let body = reader.body(&mut stream, head.framing().unwrap().unwrap()).await.unwrap();
        assert_eq!(body.as_ref(), b"hi");
        let head = reader.head(&mut stream).await.unwrap().unwrap();
        assert_eq!(head.framing().unwrap(), Some(Framing::Chunked));
        assert_eq!(reader.body(&mut stream, Framing::Chunked).await.unwrap().as_ref(), b"abcde");
        assert!(reader.head(&mut stream).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn refuses_what_is_not_http_or_too_large() {
        let mut garbage: &[u8] = b"\x00\xff\xfenot http\r\n\r\n";
        assert!(Reader::default().head(&mut garbage).await.is_err());
        let mut cut: &[u8] = b"HTTP/1.1 200 OK\r\nConte";
        assert!(matches!(Reader::default().head(&mut cut).await, Err(WireError::Closed)));
        let long = vec![b'a'; HEAD_MAX_BYTES + 2];
        assert!(matches!(Reader::default().head(&mut long.as_slice()).await, Err(WireError::HeadTooLarge)));
        let mut huge: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
        let head = Reader::default().head(&mut huge).await.unwrap().unwrap();
        assert!(matches!(head.framing(), Err(WireError::BodyTooLarge)));
        let mut chunk: &[u8] = b"ffffffff\r\n";
        assert!(matches!(Reader::default().body(&mut chunk, Framing::Chunked).await, Err(WireError::BodyTooLarge)));
    }
}
