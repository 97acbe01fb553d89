//! Pure values and rules. Nothing here waits, asks the time, draws a random number, or knows of SQL or HTTP.

pub mod time;
pub mod ids;
pub mod sku;
pub mod quantity;
pub mod money;
pub mod fact;
pub mod order;
pub mod order_status;
pub mod listing;
pub mod rule;
pub mod allocation;
pub mod alerts;
pub mod cron;
pub mod events;
pub mod retry;
