//! What is due of one account, from what is known of its last times. Pure but for the clock's reading, so that a test can walk a day.

use std::time::Duration;

use crate::domain::cron::Cron;
use crate::domain::time::Timestamp;

/// The last time a reconciliation was due, within (after, until]: by the account's own interval, else by the hub's lines.
pub(super) fn reconcile_due(every: Option<Duration>, lines: &[Cron], after: Timestamp, until: Timestamp) -> Option<Timestamp> {
    match every {
        Some(every) => last_multiple(every, after, until),
        None => lines.iter().filter_map(|cron| cron.last_between(after, until)).max(),
    }
}

/// The last whole multiple of an interval since 1970 within (after, until]: the same on every node.
pub(super) fn last_multiple(every: Duration, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
    let step = i64::try_from(every.as_micros()).ok().filter(|step| *step > 0)?;
    let last = until.micros().div_euclid(step) * step;
    (last > after.micros()).then(|| Timestamp::from_micros(last))
}

/// When the next poll is due. `left`: the share of the marketplace's request budget that is left, where that is known: with little of
/// it pushes go first.
pub(super) fn next_poll(last: Timestamp, every: Duration, left: Option<f64>, jitter: f64) -> Timestamp {
    let stretch = match left {
        Some(left) if left < 0.1 => 4.0,
        Some(left) if left < 0.25 => 2.0,
        _ => 1.0,
    };
    // A tenth to either side, so that many accounts do not all ask at once.
    last.plus(every.mul_f64(stretch * (0.9 + 0.2 * jitter)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn a_day_has_its_reconciliations() {
        let lines = ["0 2 * * *", "0 */6 * * *"].map(|line| Cron::parse(line).unwrap());
        let mut found = Vec::new();
        let mut now = at("2026-01-09T00:00:00Z");
        for _ in 0..24 * 60 {
            let next = now.plus(Duration::from_secs(60));
            found.extend(reconcile_due(None, &lines, now, next).map(|at| at.to_string()[11..16].to_owned()));
            now = next;
        }
        assert_eq!(found, ["02:00", "06:00", "12:00", "18:00", "00:00"]);
        let hourly =
            reconcile_due(Some(Duration::from_secs(3_600)), &lines, at("2026-01-09T09:30:00Z"), at("2026-01-09T10:05:00Z"));
        assert_eq!(hourly, Some(at("2026-01-09T10:00:00Z")), "an interval of the account's own stands instead");
    }

    #[test]
    fn a_small_budget_makes_polls_rarer() {
        let (last, every) = (Timestamp::from_seconds(1_000), Duration::from_secs(100));
        let after = |left, jitter| next_poll(last, every, left, jitter).since(last).as_secs();
        assert_eq!([after(None, 0.0), after(Some(0.9), 1.0)], [90, 110]);
        assert_eq!([after(Some(0.2), 0.5), after(Some(0.05), 0.5)], [200, 400]);
    }
}
