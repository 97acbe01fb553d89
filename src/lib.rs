//! stockhub: one true inventory between many marketplaces, live in every shopper's browser.
#![recursion_limit = "256"]

pub mod domain;
pub mod realtime;
