//! What a sale costs: statements and transactions, counted, and the time it takes as the ledger grows. The counts are held to; the
//! times are only shown, because they belong to the machine.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use stockhub::db::tally::{Tally, tally};

use super::core::Core;

const CODES: [&str; 4] = ["uzum", "wildberries", "ozon", "olx"];

/// A product with so many listings over four marketplaces, all told.
async fn product_with(listings: usize) -> Core {
    let core = Core::new(&CODES, "orders", "min_gap_ms = 0\n").await;
    core.product("P", 1_000_000).await;
    for n in 0..listings {
        core.listing(CODES[n % CODES.len()], "P", &format!("L-{n}")).await;
    }
    for code in CODES {
        core.push_all(code).await;
    }
    core.advance(60.0);
    core
}

fn sale(core: &Core, order: usize) -> Value {
    json!({"event": "order.created", "order_id": order, "timestamp": core.now().to_string(),
        "items": [{"order_item_id": 1, "marketplace_product_id": "L-0", "quantity": 1}]})
}

async fn cost_of_a_sale(listings: usize) -> Tally {
    let core = product_with(listings).await;
    let sold = async |order| {
        let before = tally();
        core.send("uzum", Some(&format!("s-{order}")), &sale(&core, order)).await;
        tally().since(before)
    };
    let costs = [sold(1).await, sold(2).await, sold(3).await];
    assert_eq!(costs[1], costs[2], "the same each time");
    let shown = core.shown("L-0").await.listed_stock;
    assert_eq!(shown, 999_997);
    for n in 1..listings {
        assert_eq!(core.shown(&format!("L-{n}")).await.listed_stock, shown, "every listing has the new target");
    }
    core.close().await;
    costs[2]
}

// One thread: the counter is the thread's own.
#[tokio::test]
async fn a_sale_costs_the_same_statements_whatever_the_number_of_listings() {
    let mut costs = Vec::new();
    for listings in [1, 10, 100] {
        let cost = cost_of_a_sale(listings).await;
        println!("{listings} listings: {} statements in {} transaction", cost.statements, cost.transactions);
        costs.push(cost);
    }
    assert!(costs.iter().all(|cost| cost.transactions == 1), "{costs:?}");
    assert!(costs.iter().all(|cost| cost.statements <= 20), "{costs:?}");
    // Beside the own storefront's, which every product has.
    assert_eq!(costs[1], costs[2], "the cost does not grow with the listings");
    assert!(costs[0].statements <= costs[1].statements);
}

#[tokio::test]
async fn a_group_of_sales_costs_hardly_more_than_one() {
    let core = product_with(10).await;
    let before = tally();
    let bodies: Vec<(String, Value)> = (0..100).map(|n| (format!("s-{n}"), sale(&core, n))).collect();
    join_all(bodies.iter().map(|(id, body)| core.send("uzum", Some(id), body))).await;
    let cost = tally().since(before);
    println!("100 sales at once: {} statements in {} transactions", cost.statements, cost.transactions);
    assert!(cost.transactions <= 4 && cost.statements <= 80, "{cost:?}");
    assert_eq!(core.level("P").await.on_hand, 999_900);
    core.close().await;
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test]
async fn what_a_sale_takes_as_the_ledger_grows() {
    let core = product_with(10).await;
    let (mut order, mut statements) = (0, Vec::new());
    for size in [200, 2_000, 20_000] {
        while order < size {
            let bodies: Vec<(String, Value)> =
                (order..size.min(order + 200)).map(|n| (format!("s-{n}"), sale(&core, n))).collect();
            order += bodies.len();
            join_all(bodies.iter().map(|(id, body)| core.send("uzum", Some(id), body))).await;
        }
        let (mut times, before) = (Vec::new(), tally());
        for n in 0..51 {
            let body = json!({"event": "order.created", "order_id": format!("timed-{size}-{n}"),
                "items": [{"order_item_id": 1, "marketplace_product_id": "L-0", "quantity": 1}]});
            let begun = Instant::now();
            core.send("uzum", Some(&format!("t-{size}-{n}")), &body).await;
            times.push(begun.elapsed());
        }
        statements.push(tally().since(before).statements);
        println!("{size} movements: a sale alone takes {:?} (median of 51)", median(times));
    }
    assert!(statements.windows(2).all(|pair| pair[0] == pair[1]), "{statements:?}");
    core.assert_verified().await;
    core.close().await;
}
