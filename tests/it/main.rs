//! The integration suite: one binary, modules that mirror `src/`, everything through public doors.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on should say so and stop")]
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests print what they measured, and start tasks of their own"
)]

mod support;
mod cli;
mod crash;
mod caller;
mod db;
mod http;
mod ledger;
mod marketplaces;
mod events;
mod inventory;
mod pipeline;
mod proofs;
mod pushing;
mod realtime;
mod sync;
mod simulator;
