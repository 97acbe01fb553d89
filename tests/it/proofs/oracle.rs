//! The oracle: thousands of shuffled deliveries, a third of them repeats, from twelve senders at once; the ledger must end where
//! a sequential model ends that knows nothing of it.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::domain::time::Timestamp;

use super::model::{Leaves, OrderStory, Reported, Said, Stock, stock_after, stock_after_changes};
use super::traffic::{Delivery, assert_chain, assert_verified, deliver};
use crate::support::hub::{Hub, Plan};

const SHOPS: [&str; 3] = ["uzum", "wildberries", "ozon"];
const SKUS: [&str; 8] = ["A-1", "A-2", "B-1", "B-2", "C-1", "C-2", "D-1", "D-2"];
const OPENINGS: [i64; 8] = [400, 900, 50, 700, 300, 0, 800, 600];
const SENDERS: usize = 12;

struct Story {
    marketplace: &'static str,
    id: String,
    order: OrderStory,
}

fn at(rng: &mut fastrand::Rng) -> String {
    Timestamp::from_millis(1_767_900_000_000 + rng.i64(0..40_000_000)).to_string()
}

/// An order of one to four lines, and what else became of it. Some are never created, some cancelled before.
fn story(rng: &mut fastrand::Rng, number: usize) -> Story {
    let created: Vec<(u32, usize, i64)> =
        (0..rng.u32(1..=4)).map(|line| (line + 1, rng.usize(0..SKUS.len()), rng.i64(1..=5))).collect();
    let mut said = Vec::new();
    if rng.u8(0..100) < 94 {
        said.push(Said::Created { lines: created.clone() });
    }
    if rng.u8(0..100) < 10 {
        said.push(Said::CancelledWhole);
    }
    // Parts are cancelled in up to two steps, each a total so far; sometimes one more than there were.
    if rng.u8(0..100) < 35 {
        let cancelled: Vec<(u32, i64)> = created.iter().map(|(line, _, n)| (*line, rng.i64(0..=*n + 1))).collect();
        if rng.bool() {
            said.push(Said::Cancelled { lines: cancelled.iter().map(|(line, n)| (*line, n / 2)).collect() });
        }
        said.push(Said::Cancelled { lines: cancelled });
    }
    for sellable in [true, false] {
        if rng.u8(0..100) < 20 {
            let mut some: Vec<(u32, i64)> = created.iter().map(|(line, _, n)| (*line, rng.i64(1..=*n))).collect();
            some.retain(|_| rng.bool());
            if !some.is_empty() {
                said.push(Said::Returned { lines: some, sellable });
            }
        }
    }
    Story { marketplace: SHOPS[number % SHOPS.len()], id: format!("order-{number}"), order: OrderStory { said } }
}

/// The fact as the marketplace writes it. A cancel or a return names the line alone, or the thing as well.
fn body(rng: &mut fastrand::Rng, story: &Story, said: &Said) -> Value {
    let skus = |line: u32| {
        let creates = story.order.said.iter().filter_map(|s| if let Said::Created { lines } = s { Some(lines) } else { None });
        creates.flatten().find(|(id, ..)| *id == line).map(|(_, product, _)| SKUS[*product])
    };
    let name_it = rng.bool();
    let items = |lines: &[(u32, i64)]| -> Vec<Value> {
        let item = |(line, quantity): &(u32, i64)| match skus(*line).filter(|_| name_it) {
            Some(sku) => json!({"order_item_id": line, "sku": sku, "quantity": quantity}),
            None => json!({"order_item_id": line, "quantity": quantity}),
        };
        lines.iter().map(item).collect()
    };
    let mut body = json!({"order_id": story.id, "timestamp": at(rng)});
    match said {
        Said::Created { lines } => {
            body["event"] = "order.created".into();
            let item = |(line, product, quantity): &(u32, usize, i64)| json!({"order_item_id": line, "sku": SKUS[*product], "quantity": quantity, "price": "10.00"});
            body["items"] = lines.iter().map(item).collect();
        }
        Said::Cancelled { lines } => {
            body["event"] = "order.cancelled".into();
            body["items"] = items(lines).into();
        }
        Said::CancelledWhole => body["event"] = "order.cancelled".into(),
        Said::Returned { lines, sellable } => {
            body["event"] = "order.returned".into();
            body["restock"] = (*sellable).into();
            body["items"] = items(lines).into();
        }
    }
    body
}

/// Half as many repeats as there are webhooks, so that a third of all deliveries is one; then all of it shuffled.
fn with_repeats(rng: &mut fastrand::Rng, mut deliveries: Vec<Delivery>) -> (Vec<Delivery>, usize) {
    let repeats = deliveries.len() / 2;
    for _ in 0..repeats {
        let again = deliveries[rng.usize(0..deliveries.len())].clone();
        deliveries.push(again);
    }
    rng.shuffle(&mut deliveries);
    (deliveries, repeats)
}

async fn start(feed: &'static str, policy: &str) -> Hub {
    let products = SKUS.into_iter().zip(OPENINGS).collect();
    Hub::with(Plan { shops: SHOPS.to_vec(), products, stock_feed: feed, policy: policy.into(), ..Plan::default() }).await
}

async fn judge(hub: Hub, wanted: &[Stock], deliveries: usize, repeats: usize, known: usize) {
    assert_eq!(known, repeats, "each repeat was known, and nothing else");
    let mut movements = 0;
    for (sku, wanted) in SKUS.iter().zip(wanted) {
        let product = hub.get(&format!("/v1/admin/products/{sku}")).await;
        let number = |field: &str| product[field].as_i64().unwrap();
        let found = (number("on_hand"), number("available"), number("unsellable"), number("committed"));
        assert_eq!(found, (wanted.on_hand, wanted.available(), wanted.unsellable, wanted.committed), "{sku}");
        movements += assert_chain(&hub, sku).await;
    }
    for status in ["failed", "unmapped", "pending", "retry"] {
        let left = hub.get(&format!("/v1/admin/webhooks?status={status}")).await;
        assert_eq!(left["items"].as_array().map(Vec::len), Some(0), "{status}: {}", left["items"][0]);
    }
    assert_verified(&hub).await;
    hub.settled(Duration::from_secs(60)).await;
    println!("{deliveries} deliveries, {repeats} of them repeats: {movements} movements, as the model has it");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shuffled_orders_end_where_the_model_ends() {
    let deliveries = orders(1_300, Leaves::AtOnce, "").await;
    assert!(deliveries >= 4_000, "{deliveries}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shuffled_orders_that_are_shipped_later_end_where_the_model_ends() {
    orders(400, Leaves::WhenShipped, "fulfilment = \"shipment\"").await;
}

async fn orders(count: usize, leaves: Leaves, policy: &str) -> usize {
    let mut rng = fastrand::Rng::with_seed(20_260_109);
    let hub = start("orders", policy).await;
    let stories: Vec<Story> = (0..count).map(|number| story(&mut rng, number)).collect();
    let mut webhooks = Vec::new();
    for story in &stories {
        for (n, said) in story.order.said.iter().enumerate() {
            let id = rng.bool().then(|| format!("{}-{n}", story.id));
            webhooks.push(Delivery { marketplace: story.marketplace, id, body: body(&mut rng, story, said).to_string() });
        }
    }
    // The other feed of the same sales: here it may only be looked at.
    for n in 0..400 {
        let event = format!("echo-{n}");
        let body = json!({"event": "stock.updated", "sku": SKUS[n % SKUS.len()], "previous_stock": 40, "current_stock": 37,
            "change": -3, "reason": "sold", "timestamp": at(&mut rng)});
        webhooks.push(Delivery { marketplace: SHOPS[n % SHOPS.len()], id: Some(event), body: body.to_string() });
    }
    let (deliveries, repeats) = with_repeats(&mut rng, webhooks);
    let count = deliveries.len();
    let known = deliver(&hub, deliveries, SENDERS).await;
    let orders: Vec<OrderStory> = stories.into_iter().map(|story| story.order).collect();
    judge(hub, &stock_after(&OPENINGS, &orders, leaves), count, repeats, known).await;
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shuffled_changes_end_where_the_model_ends() {
    let mut rng = fastrand::Rng::with_seed(20_260_110);
    let hub = start("delta", "").await;
    let (mut reported, mut webhooks) = (Vec::new(), Vec::new());
    for n in 0..2_600 {
        let (change, reason) = match rng.u8(0..100) {
            0..70 => (-rng.i64(1..=3), "sold"),
            70..80 => (rng.i64(1..=3), "cancelled"),
            80..88 => (rng.i64(1..=2), "returned"),
            88..94 => (rng.i64(-9..=9), "api"),
            _ => (rng.i64(-9..=9), "correction"),
        };
        let (event, product, previous) = (format!("event-{n}"), rng.usize(0..SKUS.len()), rng.i64(9..900));
        let body = json!({"event": "stock.updated", "sku": SKUS[product], "previous_stock": previous,
            "current_stock": previous + change, "change": change, "reason": reason, "timestamp": at(&mut rng)});
        // Without an id, product, numbers and time make it the same event again.
        let id = (rng.u8(0..4) > 0).then(|| event.clone());
        webhooks.push(Delivery { marketplace: SHOPS[n % SHOPS.len()], id, body: body.to_string() });
        reported.push(Reported { event, product, change, reason });
    }
    for n in 0..200 {
        let body = json!({"event": "order.created", "order_id": n, "timestamp": at(&mut rng),
            "items": [{"sku": SKUS[n % SKUS.len()], "quantity": 2}]});
        webhooks.push(Delivery { marketplace: SHOPS[n % SHOPS.len()], id: Some(format!("order-{n}")), body: body.to_string() });
    }
    let (deliveries, repeats) = with_repeats(&mut rng, webhooks);
    let count = deliveries.len();
    assert!(count >= 4_000, "{count}");
    let known = deliver(&hub, deliveries, SENDERS).await;
    judge(hub, &stock_after_changes(&OPENINGS, &reported), count, repeats, known).await;
}
