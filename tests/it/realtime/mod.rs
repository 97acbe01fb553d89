//! The real-time room through real sockets.

mod http;
mod limits;
mod live;
mod resume;
mod shop;
