//! A socket that the hub writes to itself. This task only reads from it, and waits for room when the hub ran out of it: an idle
//! browser costs this small task and its place in the hub, nothing else.

use std::cell::RefCell;
use std::future::Future;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::net::TcpStream;

use super::hub::{ConnId, Drive, Hub};

/// One read. Shared by all sockets of the worker, so that an idle one holds no buffer.
const READ_BYTES: usize = 16 * 1_024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

pub(crate) struct SocketTask {
    pub(crate) hub: Rc<Hub>,
    pub(crate) id: ConnId,
    pub(crate) socket: Rc<TcpStream>,
    pub(crate) said_all: bool,
}

enum Read {
    Some,
    NotNow,
    Ended,
}

impl SocketTask {
    fn read(&self, cx: &mut Context<'_>) -> Read {
        match self.socket.poll_read_ready(cx) {
            Poll::Pending => return Read::NotNow,
            Poll::Ready(Err(_)) => return Read::Ended,
            Poll::Ready(Ok(())) => {}
        }
        SCRATCH.with_borrow_mut(|scratch| match self.socket.try_read(scratch) {
            Ok(0) => Read::Ended,
            Ok(read) => {
                self.hub.receive(self.id, &scratch[..read]);
                Read::Some
            }
            // The readiness was stale; asking again waits for a new one.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Read::Some,
            Err(_) => Read::Ended,
        })
    }
}

impl Future for SocketTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.hub.drive(self.id, cx.waker()) {
                Drive::Gone => return Poll::Ready(()),
                // Not read from either: its commands would have to be queued.
                Drive::Blocked => match self.socket.poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(_)) => break,
                    Poll::Pending => return Poll::Pending,
                },
                Drive::Finished if !self.said_all => {
                    self.said_all = true;
                    // The browser reads to the end and closes; a plain close could cut off the last words.
                    let _ = socket2::SockRef::from(&*self.socket).shutdown(Shutdown::Write);
                }
                Drive::Finished | Drive::Idle => {}
            }
            match self.read(cx) {
                Read::Some => {}
                Read::NotNow => return Poll::Pending,
                Read::Ended => break,
            }
        }
        self.hub.detach(self.id);
        Poll::Ready(())
    }
}

impl Drop for SocketTask {
    fn drop(&mut self) {
        self.hub.detach(self.id);
    }
}
