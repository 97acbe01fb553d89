use proptest::prelude::*;

use super::*;
use crate::marketplaces::limit::{Cost, LimitHeaders};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn limit(requests: u32, per_ms: u64, burst: u32) -> Limit {
    Limit {
        name: "stock",
        requests: Some(requests),
        per: ms(per_ms),
        burst,
        concurrency: None,
        min_interval: Duration::ZERO,
        throttle_status: vec![429],
        costs: Vec::new(),
        penalty: ms(5_000),
        reads: LimitHeaders::default(),
    }
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// All that may leave from here to there, each as soon as it may.
fn drain(budget: &mut Budget, from: i64, to: i64) -> Vec<Timestamp> {
    let (mut now, mut sent) = (at(from), Vec::new());
    while now < at(to) {
        match budget.room(now) {
            Ok(room) => {
                assert!(room >= 1);
                budget.draw(now);
                budget.ended();
                sent.push(now);
            }
            Err(Wait::Until(until)) => {
                assert!(until > now, "a wait leads forward");
                now = until;
            }
            Err(Wait::ForAnswer) => unreachable!("nothing is under way"),
        }
    }
    sent
}

/// The most that lie in any span of that length.
fn densest(sent: &[Timestamp], per: Duration) -> usize {
    sent.iter().map(|start| sent.iter().filter(|other| *other >= start && **other < start.plus(per)).count()).max().unwrap_or(0)
}

proptest! {
    #[test]
    fn no_window_ever_holds_more_than_the_limit(requests in 1_u32..120, per in 100_u64..20_000, burst in 1_u32..120, pause in 0_i64..60_000) {
        let mut budget = Budget::empty(limit(requests, per, burst.min(requests)), None, at(0));
        let span = i64::try_from(per).unwrap_or(0) * 4;
        let mut sent = drain(&mut budget, 0, span);
        sent.extend(drain(&mut budget, span + pause, span * 2 + pause));
        prop_assert!(densest(&sent, ms(per)) <= requests as usize);
    }
}

#[test]
fn a_new_owner_starts_with_nothing_and_gets_nearly_all_of_it() {
    let mut budget = Budget::empty(limit(100, 10_000, 20), None, at(0));
    assert!(matches!(budget.room(at(0)), Err(Wait::Until(_))));
    let sent = drain(&mut budget, 0, 100_000);
    assert!((900..=1_000).contains(&sent.len()), "{} of 1000", sent.len());
}

#[test]
fn a_burst_leaves_at_once_after_a_pause() {
    let mut budget = Budget::empty(limit(60, 60_000, 20), None, at(0));
    assert_eq!(budget.room(at(120_000)), Ok(20));
}

#[test]
fn the_least_interval_and_what_is_under_way_count() {
    let mut budget =
        Budget::empty(Limit { requests: None, min_interval: ms(200), concurrency: Some(2), ..limit(1, 1, 1) }, None, at(0));
    assert_eq!(budget.room(at(100)), Err(Wait::Until(at(200))), "the owner before may just have sent");
    budget.draw(at(200));
    assert_eq!(budget.room(at(300)), Err(Wait::Until(at(400))));
    budget.draw(at(400));
    assert_eq!(budget.room(at(900)), Err(Wait::ForAnswer));
    budget.ended();
    assert_eq!(budget.room(at(900)), Ok(1));
}

#[test]
fn a_long_window_does_not_keep_a_new_owner_waiting() {
    let mut budget = Budget::empty(limit(1_900, 3_600_000, 100), None, at(0));
    let sent = drain(&mut budget, 0, 60_000);
    assert!((25..=40).contains(&sent.len()), "{} in the first minute, at 0.53 a second", sent.len());
}

#[test]
fn what_did_not_leave_costs_nothing() {
    let mut budget = Budget::empty(limit(1, 60_000, 1), None, at(0));
    assert_eq!(budget.room(at(120_000)), Ok(1));
    budget.draw(at(120_000));
    budget.give_back(at(120_000));
    assert_eq!(budget.room(at(120_000)), Ok(1));
}

#[test]
fn an_answer_may_cost_more_than_one() {
    // Wildberries: a 409 counts as ten.
    let costs = vec![Cost { from: 409, to: 409, requests: 10 }];
    let mut budget = Budget::empty(Limit { costs, ..limit(300, 60_000, 20) }, None, at(0));
    assert_eq!(budget.room(at(60_000)), Ok(20));
    for _ in 0..2 {
        budget.draw(at(60_000));
        budget.learn(at(60_000), 409, &Headers::default(), None);
        budget.ended();
    }
    // Twenty are spent, at five a second.
    assert!(matches!(budget.room(at(60_150)), Err(Wait::Until(_))));
    assert_eq!(budget.room(at(60_201)), Ok(1));
    budget.draw(at(60_201));
    let until = budget.learn(at(60_201), 409, &Headers::default(), None);
    assert!(until.is_some_and(|until| until > at(61_900)), "a debt outlives us: {until:?}");
}

#[test]
fn patience_is_had_as_long_as_asked_or_as_declared() {
    let mut budget = Budget::empty(limit(300, 60_000, 20), None, at(0));
    assert_eq!(budget.learn(at(60_000), 429, &Headers::default(), None), Some(at(65_000)), "the declared penalty");
    assert_eq!(budget.room(at(64_999)), Err(Wait::Until(at(65_000))));
    assert_eq!(budget.learn(at(60_000), 429, &Headers::default(), Some(ms(90_000))), Some(at(150_000)));
    assert_eq!(budget.learn(at(60_001), 429, &Headers::default(), None), None, "nothing new");
    let date = headers(&[("Retry-After", "Tue, 14 Nov 2023 22:20:00 GMT")]);
    assert_eq!(budget.learn(at(60_001), 429, &date, None), Some(at(400_000)), "a date will do");
    // Yandex: 420, until when in a header.
    let reads = LimitHeaders { reset_rfc822: Some("X-RateLimit-Resource-Until"), ..LimitHeaders::default() };
    let mut budget = Budget::empty(Limit { reads, throttle_status: vec![420], ..limit(300, 60_000, 20) }, None, at(0));
    let until = headers(&[("x-ratelimit-resource-until", "Tue, 14 Nov 2023 22:15:20 GMT")]);
    assert_eq!(budget.learn(at(60_000), 420, &until, None), Some(at(120_000)));
    assert_eq!(budget.learn(at(130_000), 429, &Headers::default(), None), None, "429 is not its way to say so");
}

#[test]
fn headers_of_every_style_are_read() {
    let learned = |reads: LimitHeaders, pairs: &[(&str, &str)]| {
        let mut budget = Budget::empty(Limit { reads, ..limit(60, 60_000, 20) }, None, at(0));
        budget.draw(at(120_000));
        budget.learn(at(120_000), 200, &headers(pairs), None);
        budget.left(at(120_000))
    };
    let plain = LimitHeaders { remaining: Some("X-Left"), limit: Some("X-Limit"), ..LimitHeaders::default() };
    assert_eq!(learned(plain.clone(), &[]), Some(19));
    assert_eq!(learned(plain.clone(), &[("x-left", "3")]), Some(3));
    assert_eq!(learned(plain.clone(), &[("x-left", "500")]), Some(19), "never more than we know of");
    assert_eq!(learned(plain.clone(), &[("x-left", "many")]), Some(19), "nonsense is no news");
    // Shopify: used of all.
    let bucket = LimitHeaders { fraction: Some("X-Shopify-Shop-Api-Call-Limit"), ..LimitHeaders::default() };
    assert_eq!(learned(bucket, &[("X-Shopify-Shop-Api-Call-Limit", "18/20")]), Some(2));
    let reset = LimitHeaders { reset_unix: Some("X-Reset"), remaining: Some("X-Left"), ..LimitHeaders::default() };
    let soon = (at(0).seconds() + 200).to_string();
    assert_eq!(learned(reset, &[("X-Reset", &soon), ("X-Left", "0")]), Some(0));
}

#[test]
fn a_larger_plan_is_used() {
    let reads = LimitHeaders { fraction: Some("X-Calls"), ..LimitHeaders::default() };
    let mut budget = Budget::empty(Limit { reads, ..limit(2, 1_000, 40) }, None, at(0));
    budget.learn(at(0), 200, &headers(&[("X-Calls", "1/80")]), None);
    let sent = drain(&mut budget, 10_000, 110_000);
    assert!((435..=445).contains(&sent.len()), "four a second instead of two, also before: {}", sent.len());
}

#[test]
fn a_block_that_was_stored_holds() {
    let mut budget = Budget::empty(limit(300, 60_000, 20), Some(at(90_000)), at(0));
    assert_eq!(budget.room(at(80_000)), Err(Wait::Until(at(90_000))));
    assert!(budget.room(at(90_000)).is_ok());
}

#[test]
fn a_clock_that_steps_back_neither_fills_nor_stalls() {
    let mut budget = Budget::empty(limit(60, 60_000, 20), None, at(0));
    assert_eq!(budget.room(at(120_000)), Ok(20));
    for _ in 0..20 {
        budget.draw(at(120_000));
        budget.ended();
    }
    assert!(budget.room(at(60_000)).is_err());
    assert!(!drain(&mut budget, 120_001, 125_000).is_empty());
}
