//! Limits that contradict each other. Each still works by itself, so they are warnings; the defaults raise none.

use super::Settings;
use super::section::Context;
use super::tree::{Table, origin};

/// Whether it is contradictory, the key to change, why.
type Rule = (bool, &'static str, &'static str);

/// A shop that recovers must be right again within 30 s: half of that is what a pause before the next try may take.
const RECOVERY_PAUSE_MAX_MS: u64 = 15_000;

pub(super) fn check(settings: &Settings, tree: &Table, context: &mut Context<'_>) {
    for (contradicts, key, message) in
        push(settings).into_iter().chain(ingest(settings)).chain(realtime(settings)).chain(sync(settings))
    {
        if contradicts {
            context.warnings.push(origin(tree, key).warning(key, message));
        }
    }
}

fn push(Settings { push, events, .. }: &Settings) -> Vec<Rule> {
    let slow = "is over 15000: a shop that recovers may stay wrong for more than 30 s";
    vec![
        (
            push.timeout_ms * 2 >= push.lease_ms,
            "push.timeout_ms",
            "is not less than half of push.lease_ms: a request may outlive it",
        ),
        (
            push.connect_timeout_ms > push.timeout_ms,
            "push.connect_timeout_ms",
            "is longer than push.timeout_ms, of which it is a part",
        ),
        (push.backoff_base_ms > push.backoff_cap_ms, "push.backoff_base_ms", "is longer than push.backoff_cap_ms"),
        (push.backoff_cap_ms > RECOVERY_PAUSE_MAX_MS, "push.backoff_cap_ms", slow),
        (push.breaker_open_ms > RECOVERY_PAUSE_MAX_MS, "push.breaker_open_ms", slow),
        (
            push.zombie_window_ms < push.timeout_ms,
            "push.zombie_window_ms",
            "is shorter than push.timeout_ms: a late write may stand",
        ),
        (events.retry_base_ms > events.retry_cap_ms, "events.retry_base_ms", "is longer than events.retry_cap_ms"),
    ]
}

fn ingest(Settings { server, database, ingest, inventory, .. }: &Settings) -> Vec<Rule> {
    let fills = "is more than database.write_queue: one marketplace can fill it alone";
    let cut = "is longer than server.shutdown_timeout_s: a stop cuts bodies off";
    vec![
        (ingest.body_deadline_ms > server.shutdown_timeout_s * 1_000, "ingest.body_deadline_ms", cut),
        (ingest.retry_base_ms > ingest.retry_cap_ms, "ingest.retry_base_ms", "is longer than ingest.retry_cap_ms"),
        (ingest.per_connection_in_flight > database.write_queue, "ingest.per_connection_in_flight", fills),
        (
            database.group_max > database.write_queue,
            "database.group_max",
            "is more than database.write_queue: no group gets full",
        ),
        (database.group_max_bytes < ingest.body_max_bytes, "database.group_max_bytes", "is less than ingest.body_max_bytes"),
        (
            inventory.reservation_ttl_s > inventory.reservation_ttl_max_s,
            "inventory.reservation_ttl_s",
            "is longer than inventory.reservation_ttl_max_s",
        ),
    ]
}

fn realtime(Settings { server, realtime, .. }: &Settings) -> Vec<Rule> {
    let accepted = server.workers * server.max_connections_per_worker;
    let frames = "is less than realtime.max_frame_bytes";
    let drain = "is not less than server.shutdown_timeout_s: nothing is left for the rest";
    vec![
        (
            realtime.ring < realtime.max_skus,
            "realtime.ring",
            "is less than realtime.max_skus: one full update outruns every client",
        ),
        (realtime.pong_timeout_ms >= realtime.ping_ms, "realtime.pong_timeout_ms", "is not less than realtime.ping_ms"),
        (realtime.max_subscribe_frame_bytes < realtime.max_frame_bytes, "realtime.max_subscribe_frame_bytes", frames),
        (
            realtime.max_connections_per_ip > realtime.max_connections,
            "realtime.max_connections_per_ip",
            "is more than realtime.max_connections",
        ),
        (
            server.workers > 0 && accepted < realtime.max_connections,
            "realtime.max_connections",
            "is more than all workers accept (server.workers × server.max_connections_per_worker)",
        ),
        (realtime.shutdown_drain_ms >= server.shutdown_timeout_s * 1_000, "realtime.shutdown_drain_ms", drain),
    ]
}

fn sync(Settings { sync, .. }: &Settings) -> Vec<Rule> {
    vec![
        (sync.second_look_s < 120, "sync.second_look_s", "is under 120: a webhook that is only late looks like a difference"),
        (
            sync.poll_again_ms > sync.poll_net_s * 1_000,
            "sync.poll_again_ms",
            "is longer than sync.poll_net_s: a poll that is waited for comes later than the next one",
        ),
    ]
}
