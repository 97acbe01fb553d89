//! WebSocket frames, as little of them as a reader needs.

/// The head of a server's frame: where its content begins and ends.
pub fn next(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let [first, length, ..] = *bytes else { return None };
    let (start, length) = match length {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, usize::from(length & 0x7f)),
    };
    (bytes.len() >= start + length).then_some((first & 0x0f, start, start + length))
}

/// A text frame of a server.
pub fn text(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x81];
    match payload.len() {
        n @ 0..=125 => out.push(u8::try_from(n).unwrap()),
        n => out.extend([&[126], &u16::try_from(n).unwrap().to_be_bytes()[..]].concat()),
    }
    out.extend_from_slice(payload);
    out
}

/// A text frame of a client, masked with zeros.
pub fn masked(payload: &[u8]) -> Vec<u8> {
    let mut out = text(payload);
    out[1] |= 0x80;
    let at = out.len() - payload.len();
    out.splice(at..at, [0; 4]);
    out
}

/// How many numbers are in `payload`, each with the time it was published; `found` is given the times.
pub fn times(payload: &[u8], mut found: impl FnMut(u64)) -> u32 {
    // In a message of the Pusher protocol the item is a string, its quotes escaped.
    let key: &[u8] = if find(&payload[..payload.len().min(256)], b"\\\"ts\\\":").is_some() { b"\"ts\\\":" } else { b"\"ts\":" };
    let (mut at, mut count) = (0, 0);
    while let Some(next) = find(&payload[at..], key) {
        at += next + key.len();
        let digits = payload[at..].iter().take_while(|byte| byte.is_ascii_digit());
        found(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
        count += 1;
    }
    count
}

pub fn find(bytes: &[u8], words: &[u8]) -> Option<usize> {
    bytes.windows(words.len()).position(|part| part == words)
}
