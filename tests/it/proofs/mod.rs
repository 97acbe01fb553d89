//! Proofs of the ledger: models written from the rules alone, crowds, simulations, and what a sale costs. Nothing here trusts the
//! code it judges; where it has to be told a rule again, it is told in other words.

mod core;
mod cost;
mod crowds;
mod model;
mod oracle;
mod properties;
mod simulation;
mod together;
mod traffic;
mod window;
