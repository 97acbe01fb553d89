//! Hubs beside shops that behave like the real marketplaces: each kind by itself, word for word and in a whole hub, seven at once under every knob, and the command
//! that runs them.

mod command;
mod kinds;
mod manners;
mod seven;
mod talks;
