//! What pushing costs when much changes at once.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use stockhub::marketplaces::Traits;
use tokio::time::Instant;

use super::{SECOND, rig};
use crate::support::hub::{Hub, Plan};
use crate::support::scripted::Scripted;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_sales_of_one_product_are_a_handful_of_requests() {
    let hub = Hub::with(Plan { products: vec![("HOT", 600)], ..Plan::default() }).await;
    hub.settled(30 * SECOND).await;
    let marks: Vec<u64> = hub.shops.iter().map(|shop| hub.mark(&shop.market().code())).collect();
    let begun = Instant::now();
    for _ in 0..10 {
        join_all((0..50).map(|_| hub.store_sells("HOT", 1))).await;
    }
    let took = begun.elapsed();
    hub.settled(30 * SECOND).await;
    // The first leaves at once, then one each gap, and the last.
    let allowed = 2 + usize::try_from(took.as_millis() / 500).unwrap();
    for (shop, mark) in hub.shops.iter().zip(marks) {
        let code = shop.market().code();
        let told = hub.told(&code, mark);
        println!("{code}: {} requests for 500 sales in {took:?}", told.len());
        assert!(told.len() <= allowed, "{} requests", told.len());
        assert_eq!(shop.market().shown("HOT"), 100);
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_that_change_together_leave_in_full_batches() {
    const MANY: usize = 1_000;
    let traits = Traits { batch_max: 100, ..Traits::plain() };
    let (hub, shop) = rig(Scripted { traits, ..Scripted::plain() }, "").await;
    for chunk in (0..MANY).collect::<Vec<_>>().chunks(50) {
        join_all(chunk.iter().map(async |n| hub.sell_at_shop(&format!("S-{n}"), 9, None, json!({})).await)).await;
    }
    hub.settled(120 * SECOND).await;
    let before = shop.pushes().len();
    let counts: Vec<Value> = (0..MANY).map(|n| json!({"sku": format!("S-{n}"), "count": 7})).collect();
    let begun = Instant::now();
    let answer = hub.admin("POST", "/v1/admin/counts", Some(json!({ "counts": counts }))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let counted = begun.elapsed();
    hub.settled(60 * SECOND).await;
    let since = shop.pushes().split_off(before);
    println!("{MANY} changed in {counted:?}, told with {} requests after {:?}", since.len(), begun.elapsed());
    let sizes: Vec<String> =
        since.iter().map(|push| format!("{}ms:{}", push.at, push.body.to_string().matches("S-").count())).collect();
    assert_eq!(since.len(), MANY / 100, "{sizes:?}");
    for n in 0..MANY {
        assert_eq!(shop.shows(&format!("S-{n}")), Some(7));
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_trickles_in_shares_requests_but_hardly_waits() {
    let traits = Traits { batch_max: 100, ..Traits::plain() };
    let (hub, shop) = rig(Scripted { traits, ..Scripted::plain() }, "join_ms = 200\n").await;
    for n in 0..40 {
        hub.sell_at_shop(&format!("S-{n}"), 9, None, json!({})).await;
    }
    hub.settled(30 * SECOND).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    let before = shop.pushes().len();
    let begun = Instant::now();
    join_all((0..40).map(async |n| hub.store_sells(&format!("S-{n}"), 1).await)).await;
    let first = begun.elapsed();
    hub.settled(30 * SECOND).await;
    let took = begun.elapsed();
    let requests = shop.pushes().len() - before;
    println!("forty sales within {first:?}, told within {took:?}: {requests} requests");
    assert!(requests <= 3 + usize::try_from(took.as_millis() / 200).unwrap(), "{requests}");
    hub.stop().await;
}
