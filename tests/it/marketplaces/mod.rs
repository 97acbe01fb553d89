//! Adapters: every one of them against fixtures of its marketplace, and one that is nothing but a file.

mod fixtures;
mod from_file;
mod pages;
mod refs;
mod schema;
mod words;
