pub mod browser;
pub mod database;
pub mod http;
pub mod hub;
pub mod scripted;
pub mod shop;
pub mod webhook;
pub mod signing;
