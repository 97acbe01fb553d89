//! Crowds: everybody wants the same thing at once.

use serde_json::json;

use super::traffic::{Delivery, assert_chain, assert_verified, deliver};
use crate::support::hub::{Hub, Plan, STORE_KEY};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_shoppers_share_five_pieces() {
    let hub = Hub::with(Plan { products: vec![("LAST-FIVE", 5)], ..Plan::default() }).await;
    let http = hub.http;
    let shoppers: Vec<_> = (0..40)
        .map(|n| {
            tokio::spawn(async move {
                let body = json!({"external_id": format!("web-{n}"), "items": [{"sku": "LAST-FIVE", "quantity": 1}]});
                let answer = http.send("POST", "/v1/store/orders", &[("x-storefront-key", STORE_KEY)], Some(body)).await;
                if answer.status == 409 {
                    assert_eq!(answer.problem(), "insufficient-stock");
                }
                answer.status
            })
        })
        .collect();
    let mut answers = Vec::new();
    for shopper in shoppers {
        answers.push(shopper.await.unwrap());
    }
    let count = |status: u16| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((count(201), count(409)), (5, 35), "{answers:?}");
    let product = hub.get("/v1/admin/products/LAST-FIVE").await;
    assert_eq!((&product["on_hand"], &product["available"]), (&json!(0), &json!(0)));
    assert_eq!(assert_chain(&hub, "LAST-FIVE").await, 6, "the opening and five sales: a refused order leaves nothing");
    assert_verified(&hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_senders_sell_eight_thousand_of_ten_thousand() {
    let plan = Plan { shops: vec!["uzum"], products: vec![("HOT", 10_000)], stock_feed: "orders", ..Plan::default() };
    let hub = Hub::with(plan).await;
    let sale = |n: usize| Delivery {
        marketplace: "uzum",
        id: Some(format!("sale-{n}")),
        body: json!({"event": "order.created", "order_id": n, "timestamp": "2026-01-09T10:30:00Z",
            "items": [{"order_item_id": 1, "sku": "HOT", "quantity": 1}]})
        .to_string(),
    };
    let begun = std::time::Instant::now();
    let known = deliver(&hub, (0..16 * 500).map(sale).collect(), 16).await;
    println!("8,000 sales of one SKU from 16 senders in {:?}", begun.elapsed());
    assert_eq!(known, 0);
    let product = hub.get("/v1/admin/products/HOT").await;
    assert_eq!((&product["on_hand"], &product["available"]), (&json!(2_000), &json!(2_000)), "not one is lost");
    assert_eq!(assert_chain(&hub, "HOT").await, 8_001);
    assert_verified(&hub).await;
    hub.stop().await;
}
