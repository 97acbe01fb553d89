//! Bytes on the wire: what leaves (a WebSocket frame or a server-sent event, header included, ready to be shared by every
//! connection that needs the same), and the reader of what comes in.

use bytes::{BufMut, Bytes, BytesMut};

use super::protocol::{CloseCode, Message};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    WebSocket,
    EventStream,
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const CONTROL_MAX_BYTES: usize = 125;
/// Pieces of one message that may bring nothing. The standard allows them; only a flood needs more.
const EMPTY_PIECES_MAX: u8 = 32;

impl Format {
    pub(crate) fn write(self, out: &mut BytesMut, message: &Message<'_>) {
        let json = message.json();
        match self {
            Self::WebSocket => write_frame(out, TEXT, &json),
            Self::EventStream => {
                out.reserve(json.len() + 128);
                if let Some(cursor) = message.resume_from() {
                    for part in ["id: ", cursor, "\n"] {
                        out.put_slice(part.as_bytes());
                    }
                }
                for part in ["event: ", message.event(), "\ndata: "] {
                    out.put_slice(part.as_bytes());
                }
                out.put_slice(&json);
                out.put_slice(b"\n\n");
            }
        }
    }

    pub(crate) fn bytes(self, message: &Message<'_>) -> Bytes {
        let mut out = BytesMut::new();
        self.write(&mut out, message);
        out.freeze()
    }
}

pub(crate) fn write_frame(out: &mut BytesMut, opcode: u8, payload: &[u8]) {
    out.reserve(payload.len() + 10);
    out.put_u8(FIN | opcode);
    match payload.len() {
        // The casts cannot cut: each arm has checked the size.
        n @ 0..=125 => out.put_u8(n as u8),
        n if n <= usize::from(u16::MAX) => {
            out.put_u8(126);
            out.put_u16(n as u16);
        }
        n => {
            out.put_u8(127);
            out.put_u64(n as u64);
        }
    }
    out.put_slice(payload);
}

pub(crate) fn write_close(out: &mut BytesMut, code: CloseCode) {
    write_frame(out, CLOSE, &code.code().to_be_bytes());
}

pub(crate) fn write_pong(out: &mut BytesMut, payload: &[u8]) {
    write_frame(out, PONG, payload);
}

/// What a browser's bytes amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    /// A standard pong: nothing depends on it, the hub's own pong is a message.
    Pong,
    Close,
}

/// Reads client frames. Between messages it holds no memory: most browsers are silent most of the time.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    buffer: Vec<u8>,
    /// How much of the buffer is read: moving the rest after every small frame would cost a flood its square.
    at: usize,
    /// A message sent in pieces: its opcode and what came so far.
    partial: Option<(u8, Vec<u8>)>,
    /// How many of its pieces were empty.
    empty_pieces: u8,
}

struct Head {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    start: usize,
    end: usize,
}

impl Reader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..std::mem::take(&mut self.at));
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if it is here. An error ends the connection with that code.
    pub(crate) fn next(&mut self, max_bytes: usize) -> Result<Option<Incoming>, CloseCode> {
        loop {
            let Some(head) = self.head(max_bytes)? else { return Ok(None) };
            let mut payload = self.buffer[self.at + head.start..self.at + head.end].to_vec();
            payload.iter_mut().enumerate().for_each(|(n, byte)| *byte ^= head.mask[n % 4]);
            self.forget(head.end);
            if let Some(incoming) = self.message(&head, payload, max_bytes)? {
                return Ok(Some(incoming));
            }
        }
    }

    fn forget(&mut self, bytes: usize) {
        self.at += bytes;
        if self.at >= self.buffer.len() {
            (self.buffer, self.at) = (Vec::new(), 0);
        }
    }

    fn head(&self, max_bytes: usize) -> Result<Option<Head>, CloseCode> {
        let bytes = &self.buffer[self.at..];
        let [first, second, ..] = bytes[..] else { return Ok(None) };
        let opcode = first & 0x0f;
        let control = opcode >= CLOSE;
        let known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
        let short = usize::from(second & 0x7f);
        if first & RESERVED != 0 || second & MASKED == 0 || !known || (control && (first & FIN == 0 || short > CONTROL_MAX_BYTES))
        {
            return Err(CloseCode::Protocol);
        }
        let (length, at) = match (short, bytes.len()) {
            (126, 0..4) | (127, 0..10) => return Ok(None),
            (126, _) => (u64::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
            (127, _) => {
                let mut wide = [0; 8];
                wide.copy_from_slice(&bytes[2..10]);
                (u64::from_be_bytes(wide), 10)
            }
            (short, _) => (short as u64, 2),
        };
        let so_far = self.partial.as_ref().map_or(0, |(_, text)| text.len());
        // Refused by its announced length, before it is read.
        let length = usize::try_from(length).ok().filter(|n| n.saturating_add(so_far) <= max_bytes).ok_or(CloseCode::TooBig)?;
        let (start, end) = (at + 4, at + 4 + length);
        if bytes.len() < end {
            return Ok(None);
        }
        let mask = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        Ok(Some(Head { fin: first & FIN != 0, opcode, mask, start, end }))
    }

    fn message(&mut self, head: &Head, payload: Vec<u8>, max_bytes: usize) -> Result<Option<Incoming>, CloseCode> {
        match head.opcode {
            PING => return Ok(Some(Incoming::Ping(payload))),
            PONG => return Ok(Some(Incoming::Pong)),
            CLOSE => return close(&payload).map(Some),
            _ => {}
        }
        let (opcode, whole) = match (self.partial.take(), head.opcode) {
            (Some((opcode, mut so_far)), CONTINUATION) => {
                so_far.extend_from_slice(&payload);
                (opcode, so_far)
            }
            (None, TEXT | BINARY) => (head.opcode, payload),
            _ => return Err(CloseCode::Protocol),
        };
        if whole.len() > max_bytes {
            return Err(CloseCode::TooBig);
        }
        self.empty_pieces = if head.fin { 0 } else { self.empty_pieces + u8::from(head.start == head.end) };
        if self.empty_pieces > EMPTY_PIECES_MAX {
            return Err(CloseCode::RateLimited);
        }
        match (head.fin, opcode) {
            (false, opcode) => {
                self.partial = Some((opcode, whole));
                Ok(None)
            }
            (true, BINARY) => Ok(Some(Incoming::Binary(whole))),
            (true, _) => String::from_utf8(whole).map(|text| Some(Incoming::Text(text))).map_err(|_| CloseCode::NotUtf8),
        }
    }
}

/// A close frame is empty, or a code that may be sent and a reason in UTF-8.
fn close(payload: &[u8]) -> Result<Incoming, CloseCode> {
    match payload {
        [] => Ok(Incoming::Close),
        [_] => Err(CloseCode::Protocol),
        [high, low, reason @ ..] => match u16::from_be_bytes([*high, *low]) {
            1000..=1003 | 1007..=1014 | 3000..=4999 if std::str::from_utf8(reason).is_ok() => Ok(Incoming::Close),
            1000..=1003 | 1007..=1014 | 3000..=4999 => Err(CloseCode::NotUtf8),
            _ => Err(CloseCode::Protocol),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            n @ 0..=125 => out.push(MASKED | n as u8),
            n => {
                out.push(MASKED | 126);
                out.extend_from_slice(&(n as u16).to_be_bytes());
            }
        }
        out.extend_from_slice(&[1, 2, 3, 4]);
        out.extend(payload.iter().enumerate().map(|(n, byte)| byte ^ [1, 2, 3, 4][n % 4]));
        out
    }

    fn read(bytes: &[u8]) -> Result<Option<Incoming>, CloseCode> {
        let mut reader = Reader::default();
        reader.push(bytes);
        reader.next(1_000)
    }

    #[test]
    fn reads_a_message_however_it_is_cut() {
        let mut bytes = masked(TEXT, b"he");
        bytes.extend(masked(FIN | PING, b"!"));
        bytes.extend(masked(FIN, &[b'y'; 300]));
        let mut reader = Reader::default();
        let mut seen = Vec::new();
        for byte in bytes {
            reader.push(&[byte]);
            seen.extend(reader.next(1_000).ok().flatten());
        }
        assert_eq!(seen, [Incoming::Ping(vec![b'!']), Incoming::Text(format!("he{}", "y".repeat(300)))]);
        assert_eq!(reader.buffer.capacity(), 0);
    }

    #[test]
    fn breaks_of_the_standard_have_their_codes() {
        assert_eq!(read(&[FIN | TEXT, 1, b'a']), Err(CloseCode::Protocol), "unmasked");
        assert_eq!(read(&masked(FIN | 0x40 | TEXT, b"a")), Err(CloseCode::Protocol), "reserved bit");
        assert_eq!(read(&masked(FIN | 5, b"a")), Err(CloseCode::Protocol), "opcode");
        assert_eq!(read(&masked(FIN, b"a")), Err(CloseCode::Protocol), "continuation of nothing");
        assert_eq!(read(&masked(PING, b"a")), Err(CloseCode::Protocol), "ping in pieces");
        assert_eq!(read(&masked(FIN | TEXT, &[0xff])), Err(CloseCode::NotUtf8));
        assert_eq!(read(&masked(FIN | TEXT, &[b'a'; 1_001])), Err(CloseCode::TooBig));
        assert_eq!(read(&masked(FIN | TEXT, &[b'a'; 1_001])[..4]), Err(CloseCode::TooBig), "by its header alone");
        assert_eq!(read(&masked(FIN | CLOSE, &[3])), Err(CloseCode::Protocol));
        assert_eq!(read(&masked(FIN | CLOSE, &1005_u16.to_be_bytes())), Err(CloseCode::Protocol));
        assert_eq!(read(&masked(FIN | BINARY, b"a")), Ok(Some(Incoming::Binary(b"a".to_vec()))));
    }

    #[test]
    fn pieces_without_end_and_content_are_a_flood() {
        let mut bytes = masked(TEXT, b"");
        (1..EMPTY_PIECES_MAX).for_each(|_| bytes.extend(masked(CONTINUATION, b"")));
        assert_eq!(read(&bytes), Ok(None));
        assert_eq!(read(&[bytes.clone(), masked(FIN, b"x")].concat()), Ok(Some(Incoming::Text("x".to_owned()))));
        assert_eq!(read(&[bytes, masked(CONTINUATION, b"")].concat()), Err(CloseCode::RateLimited));
    }

    #[test]
    fn the_length_takes_as_few_bytes_as_it_can() {
        for (length, header) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut out = BytesMut::new();
            write_frame(&mut out, TEXT, &vec![b'a'; length]);
            assert_eq!(out.len(), length + header);
        }
    }
}
