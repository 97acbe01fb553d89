mod bad_input;
mod by_hand;
mod doors;
mod scenarios;
mod signatures;
mod dead_marketplace;
mod restart;
mod vectors;
