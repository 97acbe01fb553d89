mod scenarios;
mod signatures;
mod dead_marketplace;
mod restart;
