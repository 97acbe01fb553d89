//! The floor: a bare epoll loop that shakes hands, takes POSTs and sends. Nothing is parsed that need not be, nothing is limited,
//! nothing is kept. One `send` per socket and message; joined, one per socket and turn of the loop.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::frames;

struct Peer {
    stream: TcpStream,
    got: Vec<u8>,
    is_socket: bool,
    pending: Vec<u8>,
}

pub fn serve(port: u16, joined: bool) {
    let mut poll = Poll::new().unwrap();
    let std = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    std.set_reuse_address(true).unwrap();
    std.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    std.listen(4_096).unwrap();
    std.set_nonblocking(true).unwrap();
    let mut listener = TcpListener::from_std(std.into());
    poll.registry().register(&mut listener, Token(0), Interest::READABLE).unwrap();
    let mut peers: Vec<Option<Peer>> = vec![None];
    // SKU → sockets; the empty name stands for all SKUs.
    let mut wanted: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
    let mut events = Events::with_capacity(4_096);
    let mut buffer = vec![0; 1 << 16];
    let mut touched: Vec<usize> = Vec::new();
    loop {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            let at = event.token().0;
            if at == 0 {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true).unwrap();
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(peers.len()), interest).unwrap();
                    peers.push(Some(Peer { stream, got: Vec::new(), is_socket: false, pending: Vec::new() }));
                }
                continue;
            }
            let Some(peer) = peers[at].as_mut() else { continue };
            if !peer.pending.is_empty() && event.is_writable() {
                push(peer);
            }
            loop {
                match peer.stream.read(&mut buffer) {
                    Ok(0) => break peers[at] = None,
                    Ok(read) if !peer.is_socket => peer.got.extend_from_slice(&buffer[..read]),
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(_) => break peers[at] = None,
                }
            }
            let Some(published) = peers[at].as_mut().and_then(|peer| request(peer, at, &mut wanted)) else { continue };
            let frame = frames::text(&published);
            let sku = frames::find(&published, b"\"sku\":\"").map_or(&b""[..], |start| &published[start + 7..start + 14]);
            for name in [&b""[..], sku] {
                for id in wanted.get(name).map_or(&[][..], |ids| &ids[..]) {
                    let Some(peer) = peers[*id].as_mut() else { continue };
                    if joined {
                        if peer.pending.is_empty() {
                            touched.push(*id);
                        }
                        peer.pending.extend_from_slice(&frame);
                    } else if peer.pending.is_empty() {
                        let sent = peer.stream.write(&frame).unwrap_or(0);
                        peer.pending.extend_from_slice(&frame[sent..]);
                    } else {
                        peer.pending.extend_from_slice(&frame);
                    }
                }
            }
        }
        for id in touched.drain(..) {
            peers[id].iter_mut().for_each(push);
        }
    }
}

fn push(peer: &mut Peer) {
    let sent = peer.stream.write(&peer.pending).unwrap_or(0);
    peer.pending.drain(..sent);
}

/// A handshake is answered; the body of a POST is given back.
fn request(peer: &mut Peer, at: usize, wanted: &mut HashMap<Vec<u8>, Vec<usize>>) -> Option<Vec<u8>> {
    let end = frames::find(&peer.got, b"\r\n\r\n")? + 4;
    if peer.got.starts_with(b"GET") {
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        peer.stream.write_all(answer.as_bytes()).ok()?;
        peer.is_socket = true;
        let head = std::mem::take(&mut peer.got);
        let path = head.split(|byte| *byte == b' ').nth(1)?;
        let names = frames::find(path, b"skus=").map_or(&b""[..], |start| &path[start + 5..]);
        for name in names.split(|byte| *byte == b',') {
            wanted.entry(name.to_vec()).or_default().push(at);
        }
        return None;
    }
    let length = frames::find(&peer.got, b"Content-Length: ")? + 16;
    let digits = peer.got[length..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    if peer.got.len() < end + length {
        return None;
    }
    let body = peer.got[end..end + length].to_vec();
    peer.got.drain(..end + length);
    peer.stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?;
    Some(body)
}
