mod bad_input;
mod by_hand;
mod doors;
mod scenarios;
mod vectors;
