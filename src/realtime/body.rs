//! A response body that is a connection of the hub: it yields shared frames when its socket has room, and hears what comes in.
//! Nothing is spawned per connection; the pull of the HTTP dispatcher is what says "writable".

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web;
use bytes::Bytes;
use futures_util::Stream as _;

use super::hub::{ConnId, Hub};

pub(crate) struct HubBody {
    pub(crate) hub: Rc<Hub>,
    pub(crate) id: ConnId,
    /// The browser's side of a WebSocket; an event stream has none.
    pub(crate) inbound: Option<web::Payload>,
}

impl MessageBody for HubBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = &mut *self;
        if let Some(inbound) = &mut this.inbound {
            while this.hub.listens(this.id) {
                match Pin::new(&mut *inbound).poll_next(cx) {
                    Poll::Ready(Some(Ok(bytes))) => this.hub.receive(this.id, &bytes),
                    // The browser is gone: without an end here the connection would stay half open.
                    Poll::Ready(_) => return Poll::Ready(None),
                    Poll::Pending => break,
                }
            }
        }
        this.hub.take(this.id, cx.waker()).map(|bytes| bytes.map(Ok))
    }
}

impl Drop for HubBody {
    fn drop(&mut self) {
        self.hub.detach(self.id);
    }
}
