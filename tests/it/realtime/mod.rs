//! The real-time room through real sockets.

mod client;
mod http;
mod in_app;
mod kills;
mod leaks;
mod shop;
mod taken_over;
mod watch;
