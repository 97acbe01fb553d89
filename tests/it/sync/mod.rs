//! Reading from marketplaces, through a whole hub: polls, hints, bulk reads, reconciliation, the doctor.

mod adapter;
mod day;
mod doctor;
mod gaps;
mod nodes;
mod polls;
mod reads;
mod reconciling;
mod shelf;
mod stand;
