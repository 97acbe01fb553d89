//! How much a server pays to tell many sockets something: one load client for all contenders, on one thread and one epoll.
//!
//!     cargo bench --bench fanout -- run [--rounds 3] [--only NAMES] [--scenes NAMES]
//!
//! `run` starts each contender in turn (interleaved, so that a busy machine is busy for all), on a core of its own, and measures
//! it with the same client: deliveries, server CPU seconds, latency. What the contenders need (node, npm, nginx with nchan) is
//! named when it is missing. `floor` is the bare epoll loop that the others are compared with.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot go on should say so and stop")]
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "it prints what it measured, by the machine's own clock")]

mod client;
mod contender;
mod floor;
mod frames;
mod publish;
mod scene;
mod special;

use std::collections::BTreeMap;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut options = BTreeMap::new();
    let mut words = Vec::new();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        match argument.strip_prefix("--") {
            Some(name) => drop(options.insert(name.to_owned(), rest.next().unwrap_or_default())),
            None => words.push(argument),
        }
    }
    match words.first().map(String::as_str) {
        Some("floor") => floor::serve(options["port"].parse().unwrap(), options.contains_key("joined")),
        Some("run") => scene::run(&options),
        Some("idle") => special::idle(&options),
        Some("stalled") => special::stalled(&options),
        Some("storm") => special::storm(&options),
        _ => println!("usage: run | idle | stalled | storm | floor --port N [--joined yes]"),
    }
}
