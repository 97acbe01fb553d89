//! Three marketplaces that sell, cancel, repeat themselves and answer late, in virtual time, against the rules: in one go against
//! the pure ones for hundreds of seeds, and against the writer and a database for a few. Whatever happens, once everything has
//! been delivered the hub's number must be true, every listing must show it, and it must come to rest at all. Ways that are known
//! to be wrong run through the same check, which must fail them: a check that nothing fails proves nothing.

mod hub;
mod real;
mod world;

use hub::{RulesHub, Way};
use real::RealHub;
use world::{Feed, Plan, Report, run};

use crate::support::database::SERVER_VARIABLE;

#[derive(Default)]
struct Sum {
    runs: usize,
    central_wrong: usize,
    listings_wrong: usize,
    restless: usize,
    oversold: i64,
    pushes: usize,
    sold: i64,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.central_wrong += usize::from(report.central != report.truth);
        self.listings_wrong += usize::from(report.listings_wrong > 0);
        self.restless += usize::from(!report.settled);
        self.oversold += report.oversold;
        self.pushes += report.pushes;
        self.sold += report.sold;
    }

    fn is_clean(&self) -> bool {
        (self.central_wrong, self.listings_wrong, self.restless) == (0, 0, 0)
    }

    fn print(&self, what: &str) {
        let per_run = |n: f64| n / self.runs as f64;
        println!(
            "{what}: {} runs, central wrong {}, a listing wrong at rest {}, never settled {}; per run {:.1} sold, {:.2} oversold, {:.0} pushes",
            self.runs,
            self.central_wrong,
            self.listings_wrong,
            self.restless,
            per_run(self.sold as f64),
            per_run(self.oversold as f64),
            per_run(self.pushes as f64)
        );
    }
}

const SEEDS: u64 = 200;

async fn by_the_rules(plan: Plan, way: Way, seeds: u64) -> Sum {
    let mut sum = Sum::default();
    for seed in 0..seeds {
        sum.add(&run(plan, seed, &mut RulesHub::new(plan, way)).await);
    }
    sum
}

#[tokio::test]
async fn the_rules_end_right_in_every_run() {
    for feed in [Feed::Delta, Feed::Orders] {
        for (buffer, stock) in [(0, 2_000), (0, 120), (3, 120), (8, 120)] {
            let plan = Plan { buffer, stock, ..Plan::standard(feed) };
            let sum = by_the_rules(plan, Way::Right, SEEDS).await;
            sum.print(&format!("{feed:?} feed, stock {stock}, buffer {buffer}"));
            assert!(sum.is_clean());
        }
        for (what, plan) in [
            ("clocks off by up to the tolerance", Plan { clock_error: 0.2, ..Plan::standard(feed) }),
            ("no source times", Plan { timestamps: false, ..Plan::standard(feed) }),
        ] {
            let sum = by_the_rules(plan, Way::Right, SEEDS).await;
            sum.print(&format!("{feed:?} feed, {what}"));
            assert!(sum.is_clean());
        }
    }
    for cancel_restock in [Some(true), Some(false), None] {
        for length in [5.0, 100.0] {
            let plan = Plan { length, ..Plan::with_cancels(cancel_restock) };
            let sum = by_the_rules(plan, Way::Right, SEEDS).await;
            sum.print(&format!("orders feed with cancels for {length} units, restocked by the marketplace: {cancel_restock:?}"));
            assert!(sum.is_clean());
        }
    }
}

#[tokio::test]
async fn the_wrong_ways_fail_the_same_check() {
    for (way, plan) in [
        (Way::AbsoluteFromWebhook, Plan::standard(Feed::Delta)),
        (Way::ClampAtZero, Plan { stock: 120, ..Plan::standard(Feed::Delta) }),
        (Way::EchoByEqualNumbers, Plan::standard(Feed::Delta)),
        (Way::NoWindowRule, Plan::standard(Feed::Orders)),
        (Way::CancelsAsTheyAre, Plan::with_cancels(Some(false))),
    ] {
        let sum = by_the_rules(plan, way, SEEDS).await;
        sum.print(&format!("wrong on purpose, {way:?}"));
        assert!(!sum.is_clean(), "{way:?} passed: the check does not see what it is for");
        let seen = match way {
            Way::Right => 0,
            Way::AbsoluteFromWebhook | Way::ClampAtZero | Way::EchoByEqualNumbers => sum.central_wrong,
            Way::NoWindowRule | Way::CancelsAsTheyAre => sum.listings_wrong,
        };
        assert!(seen > 0, "{way:?} failed for another reason than the one it is wrong for");
    }
}

async fn through_the_pipeline(plan: Plan, what: &str) {
    let mut sum = Sum::default();
    // What differs between the databases is not in these rules; a server is slow at thousands of small transactions.
    let seeds = if std::env::var(SERVER_VARIABLE).is_ok_and(|server| !server.is_empty()) { 1 } else { 4 };
    for seed in 0..seeds {
        let mut hub = RealHub::new(plan).await;
        let report = run(plan, seed, &mut hub).await;
        hub.close(&report).await;
        sum.add(&report);
    }
    sum.print(&format!("through the pipeline, {what}"));
    assert!(sum.is_clean());
}

#[tokio::test]
async fn the_pipeline_ends_right_with_a_delta_feed() {
    through_the_pipeline(Plan { length: 40.0, stock: 60, ..Plan::standard(Feed::Delta) }, "delta feed").await;
}

#[tokio::test]
async fn the_pipeline_ends_right_with_an_orders_feed_and_cancels() {
    for cancel_restock in [Some(true), Some(false)] {
        let plan = Plan { length: 20.0, stock: 40, ..Plan::with_cancels(cancel_restock) };
        through_the_pipeline(plan, &format!("orders feed, cancels restocked: {cancel_restock:?}")).await;
    }
}

/// A third of all pushes is refused, lost, late, or overtaken by a process that took over.
#[tokio::test]
async fn the_pipeline_ends_right_where_pushes_fail() {
    for plan in [Plan::standard(Feed::Delta), Plan::with_cancels(Some(true))] {
        let plan = Plan { length: 20.0, stock: 60, faults: 0.33, ..plan };
        through_the_pipeline(plan, &format!("{:?} feed, every third push goes wrong", plan.feed)).await;
    }
}
