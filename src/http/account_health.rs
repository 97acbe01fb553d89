//! How a marketplace account is doing: what this node knows as the one that calls out for it, and what waits to be told.

use serde::Serialize;

use crate::context::Context;
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct HealthShape {
    /// Whether this node calls out for the account; another node's knows more.
    calls_out: bool,
    /// Only a probe is sent until it answers again.
    circuit_open: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_success_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_failure_at: Option<Timestamp>,
    last_error: Option<String>,
    budgets: Vec<BudgetShape>,
    /// Listings that are to be told.
    dirty: i64,
    /// How long the oldest of them waits.
    oldest_s: u64,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct BudgetShape {
    name: &'static str,
    /// Requests that may leave now, where that is counted.
    left: Option<i64>,
    /// It asked to be left alone until then.
    #[schema(value_type = Option<String>, format = DateTime)]
    closed_until: Option<Timestamp>,
}

/// Listings that are to be told: marketplace, how many, since when.
pub(super) type Dirty = (String, i64, Timestamp);

pub(super) fn of(ctx: &Context, connection: &Connection, dirty: &[Dirty]) -> HealthShape {
    let caller = ctx.callers.of(connection.id);
    let health = caller.health.read();
    let waiting = dirty.iter().find(|(code, ..)| *code == connection.code);
    let budgets = caller.left().into_iter().map(|(name, left, closed_until)| BudgetShape { name, left, closed_until });
    HealthShape {
        calls_out: caller.owned().is_some(),
        circuit_open: health.circuit_open,
        last_success_at: health.last_success_at,
        last_failure_at: health.last_failure_at,
        last_error: health.last_error,
        budgets: budgets.collect(),
        dirty: waiting.map_or(0, |(_, count, _)| *count),
        oldest_s: waiting.map_or(0, |(_, _, since)| ctx.kit.clock.now().since(*since).as_secs()),
    }
}
