//! Hubs beside shops that behave like the real marketplaces: each kind by itself, seven at once under every knob, and the command
//! that runs them.

mod command;
mod kinds;
mod seven;
