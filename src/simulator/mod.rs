//! Fake marketplaces: shops that sell, sign webhooks, take pushes and misbehave on request. Tests, the demo and the benchmarks
//! use them; the production path never does. Everything here binds to, and calls, loopback addresses only.
//!
//! Read in this order: `shop` and `orders` are what one marketplace knows, `requests` what it does with the generic schema, `calls`
//! and `kinds` what it does where it pretends to be a real one, `record` is the journal it keeps for an auditor, `chaos` how it may
//! misbehave, `marketplace` joins them with `webhooks` (what is sent) and `courier` (how it gets there), `server` puts it on a
//! port. `shoppers` buy, `audit` adds up, `fair` is many shops at once, `hub_view` a hub's numbers, `load` is a bounded webhook load
//! generator. `wire`, `http_client` and `http_server` are the little HTTP/1.1 that all of it rests on: written by hand because an
//! honest HTTP library cannot apply a request and then cut the line, answer garbage, or leave a port and come back to it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::time::Timestamp;

pub mod shop;
pub mod orders;
pub mod requests;
pub mod calls;
pub mod kinds;
pub mod record;
pub mod chaos;
pub mod webhooks;
pub mod courier;
pub mod marketplace;
pub mod server;
pub mod shoppers;
pub mod audit;
pub mod hub_view;
pub mod fair;
pub mod load;
pub mod wire;
pub mod http_client;
pub mod http_server;

#[cfg(test)]
mod tests;

/// Where the time comes from. The simulator never asks the system.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What every simulated thing is given by whoever starts it: the time, a place for its tasks, and the word to stop.
#[derive(Clone)]
pub struct World {
    pub clock: Clock,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

impl World {
    pub fn new(clock: Clock, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { clock, tasks, stop }
    }

    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    #[error("{0} is not a loopback address: the simulator speaks to this machine only")]
    NotLoopback(String),
    #[error("{0:?} is not an http:// URL of this machine")]
    Url(String),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("bad settings: {0}")]
    Settings(&'static str),
    #[error("a task of the simulator ended before its work was done")]
    Task,
}

/// Lets loopback addresses pass and nothing else.
pub fn loopback(address: SocketAddr) -> Result<SocketAddr, SimulatorError> {
    let inner = match address.ip() {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 => v4,
    };
    if inner.is_loopback() { Ok(address) } else { Err(SimulatorError::NotLoopback(address.to_string())) }
}

/// A lock that outlives a panic of its holder: one failed test task must not turn every later read into a second failure.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
