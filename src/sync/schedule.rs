//! What is due of one account, from what is known of its last times. Pure but for the clock's reading, so that a test can walk a day.

use std::time::Duration;

use crate::domain::cron::Cron;
use crate::domain::time::Timestamp;
use crate::marketplaces::Limit;

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

/// The share of a budget that will be there again `after` this long, of what may leave at once. What a poll itself drew is back by the
/// next one in all but the slowest budgets; a budget that is closed until then has nothing.
pub(super) fn share_left(
    limit: &Limit,
    left: i64,
    closed_until: Option<Timestamp>,
    now: Timestamp,
    after: Duration,
) -> Option<f64> {
    let (requests, per) = (f64::from(limit.requests?), limit.per.as_secs_f64().max(0.001));
    let filling = now.plus(after).since(closed_until.unwrap_or(now).max(now));
    let most = f64::from(limit.burst.max(1));
    Some((left as f64 + filling.as_secs_f64() * requests / per).min(most) / most)
}

/// When the next poll is due. `left`: the share of the marketplace's request budget that will be left, where that is known: with little
/// of it pushes go first.
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
    use crate::marketplaces::limit::LimitHeaders;

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
    fn a_budget_is_small_where_it_fills_slowly_or_is_closed_and_not_where_its_burst_is_small() {
        let limit = |requests, per, burst| Limit {
            name: "all",
            requests: Some(requests),
            per: Duration::from_secs(per),
            burst,
            concurrency: None,
            min_interval: Duration::ZERO,
            throttle_status: Vec::new(),
            costs: Vec::new(),
            penalty: Duration::ZERO,
            reads: LimitHeaders::default(),
        };
        let now = Timestamp::from_seconds(1_000);
        let after = |limit: &Limit, left, closed, secs| share_left(limit, left, closed, now, Duration::from_secs(secs)).unwrap();
        assert_eq!(after(&limit(300, 60, 20), 18, None, 10), 1.0, "18 of the 20 that may leave at once, of 300 a minute");
        assert_eq!(after(&limit(3, 1, 3), 0, None, 60), 1.0, "what the poll itself drew is back long before the next");
        assert!(after(&limit(1_900, 3_600, 100), 0, None, 10) < 0.1, "pushes have drawn what an hour gives");
        assert_eq!(after(&limit(300, 60, 20), 0, Some(now.plus(Duration::from_secs(60))), 10), 0.0);
        assert_eq!(share_left(&Limit { requests: None, ..limit(1, 1, 1) }, 0, None, now, Duration::ZERO), None);
    }

    #[test]
    fn a_small_budget_makes_polls_rarer() {
        let (last, every) = (Timestamp::from_seconds(1_000), Duration::from_secs(100));
        let after = |left, jitter| next_poll(last, every, left, jitter).since(last).as_secs();
        assert_eq!([after(None, 0.0), after(Some(0.9), 1.0)], [90, 110]);
        assert_eq!([after(Some(0.2), 0.5), after(Some(0.05), 0.5)], [200, 400]);
    }
}
