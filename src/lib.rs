//! stockhub: one true inventory between many marketplaces, live in every shopper's browser.
//!
//! In reading order: what the words mean (`domain`), the story of a stock change (`pipeline`), what differs per marketplace
//! (`marketplaces`), how it is called (`caller`), what is read from it (`sync`), what is remembered (`db`), how shoppers learn it
//! (`realtime`), the doors (`http`, `cli`).
#![recursion_limit = "256"]

pub mod domain;
pub mod pipeline;
pub mod sync;
pub mod marketplaces;
pub mod caller;
pub mod db;
pub mod realtime;
pub mod people;
pub mod http;
pub mod alerts;
pub mod outbound;
pub mod workers;
pub mod supervisor;
pub mod settings;
pub mod app;
pub mod context;
pub mod telemetry;
pub mod seal;
pub mod clock;
pub mod chance;
mod breakage;
pub mod cli;
pub mod simulator;
pub mod bench;
