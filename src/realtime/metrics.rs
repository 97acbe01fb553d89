//! The room's counters as lines of `/metrics`. They stand before the registry's, which ends the document.

use std::fmt::Write as _;

use super::stats::{BOUNDS_MS, RealtimeStats, Times};

// Writing to a String cannot fail, so the results of these writes carry nothing.

pub fn text(stats: &RealtimeStats) -> String {
    let mut text = String::new();
    gauges(&mut text, stats);
    let counters = [
        ("fanout_updates", "Published changes", stats.updates),
        ("fanout_flushes", "Flushes", stats.flushes),
        ("fanout_frames_sent", "Writes of stock data to a client", stats.frames),
        ("fanout_tuples_sent", "Items in them", stats.items),
        ("fanout_bytes_sent", "Bytes sent to clients", stats.bytes),
        ("fanout_conflated", "Changes overtaken by a later one of their SKU before they were told", stats.conflated),
        ("fanout_held_back", "Updates left for later because a client did not read", stats.held_back),
    ];
    for (name, help, value) in counters {
        let _ = writeln!(text, "# HELP {name} {help}.\n# TYPE {name} counter\n{name}_total {value}");
    }
    let from_snapshot = ["ring", "epoch"].iter().filter_map(|why| stats.gaps.get(why)).sum();
    labelled(
        &mut text,
        "fanout_resumes",
        "Cursors asked to resume from",
        "mode",
        [("resumed", stats.resumes), ("snapshot", from_snapshot)],
    );
    labelled(&mut text, "fanout_gap", "Cursors that changes could not serve", "why", &stats.gaps);
    labelled(&mut text, "fanout_snapshots", "Snapshots sent", "why", &stats.snapshots);
    labelled(&mut text, "fanout_handshakes", "Who knocked", "result", &stats.handshakes);
    labelled(&mut text, "fanout_closes", "Closes by code", "code", &stats.closes);
    histogram(&mut text, "fanout_lag_ms", "Committed to written to every socket", &stats.lag);
    histogram(
        &mut text,
        "fanout_applied_lag_ms",
        "Committed to applied by the browser, from the cursors in pongs",
        &stats.applied,
    );
    histogram(&mut text, "fanout_tick_ms", "How long a flush took", &stats.tick);
    text
}

fn gauges(text: &mut String, stats: &RealtimeStats) {
    let tally = &stats.tally;
    let _ = writeln!(text, "# HELP fanout_connections Browsers connected.\n# TYPE fanout_connections gauge");
    for (transport, count) in [("websocket", tally.websockets), ("eventstream", tally.event_streams), ("poll", tally.polls)] {
        let _ = writeln!(text, "fanout_connections{{transport=\"{transport}\"}} {count}");
    }
    let gauges = [
        (
            "fanout_subscriptions",
            "SKUs asked for by name, and once per connection that asked for all",
            tally.subscriptions as u64,
        ),
        ("fanout_slow_connections", "Connections that do not take their bytes", tally.slow as u64),
        ("fanout_worker_dirty", "Connections that still lack something", tally.behind as u64),
        ("fanout_places_taken", "Of realtime.max_connections", stats.connections as u64),
        ("fanout_listed", "SKUs in the table", stats.listed as u64),
        ("fanout_head", "Offset of the newest change", stats.head),
        ("fanout_ring_span_offsets", "How far back a cursor may be and still resume", stats.ring_span),
    ];
    for (name, help, value) in gauges {
        let _ = writeln!(text, "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}");
    }
}

fn labelled<K: std::fmt::Display, V: std::fmt::Display>(
    text: &mut String,
    name: &str,
    help: &str,
    label: &str,
    values: impl IntoIterator<Item = (K, V)>,
) {
    let _ = writeln!(text, "# HELP {name} {help}.\n# TYPE {name} counter");
    for (value, count) in values {
        let _ = writeln!(text, "{name}_total{{{label}=\"{value}\"}} {count}");
    }
}

/// By hand, because the room counts without a lock.
fn histogram(text: &mut String, name: &str, help: &str, times: &Times) {
    let _ = writeln!(text, "# HELP {name} {help}, in milliseconds.\n# TYPE {name} histogram");
    let bounds = BOUNDS_MS.iter().map(|bound| format!("{bound}.0")).chain(std::iter::once("+Inf".into()));
    let mut count = 0;
    for (bound, of_bucket) in bounds.zip(&times.counts) {
        count += of_bucket;
        let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}");
    }
    let _ = writeln!(text, "{name}_sum {}\n{name}_count {count}", times.sum_us as f64 / 1_000.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_name_of_its_own_and_says_what_it_is() {
        let stats = RealtimeStats { lag: Times { counts: vec![1; 12], sum_us: 1_500 }, ..RealtimeStats::default() };
        let text = text(&stats);
        let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let mut once = names.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), names.len(), "{names:?}");
        for wanted in ["fanout_connections", "fanout_applied_lag_ms", "fanout_ring_span_offsets", "fanout_worker_dirty"] {
            assert!(names.contains(&wanted), "{wanted}");
        }
        assert!(text.contains("fanout_lag_ms_bucket{le=\"+Inf\"} 12\nfanout_lag_ms_sum 1.5\nfanout_lag_ms_count 12"), "{text}");
    }
}
