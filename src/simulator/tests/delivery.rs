//! Webhooks on their way: signed, repeated, late, overtaken, lost.

use super::super::chaos::Chaos;
use super::super::courier::CourierSettings;
use super::super::record::{ShopEvent, WebhookAnswer};
use super::super::shop::TakeBack;
use super::super::webhooks::{Door, Feed, Signer};
use super::*;

fn courier(hub: &HttpServer<Receiver>) -> CourierSettings {
    CourierSettings {
        retry_first: Duration::from_millis(2),
        ..CourierSettings::new(Target::parse(&hub.base_url()).unwrap(), SECRET)
    }
}

fn changes(got: &[Received]) -> Vec<i64> {
    got.iter().map(|received| received.json()["current_stock"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_sale_is_told_in_the_older_schema_and_its_signature_verifies() {
    let world = world();
    let (receiver, hub) = Receiver::start(&world, vec![]);
    let shop = phone_shop(&world, "uzum");
    shop.market().connect_webhooks(&courier(&hub));
    shop.market().sell("PHONE-001", 3).await.unwrap();
    assert!(shop.market().webhooks_settled(PATIENCE).await);
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].path, "/webhooks/uzum");
    assert_eq!(got[0].header("X-Webhook-Signature").unwrap(), Signer::new(SECRET).sign(&got[0].body));
    assert_eq!(got[0].header("content-type"), Some("application/json"));
    assert_eq!((got[0].header("X-Webhook-Id"), got[0].header("X-Marketplace-ID")), (None, None));
    let body = got[0].json();
    assert_eq!(
        (&body["event"], &body["sku"], &body["marketplace_product_id"], &body["reason"]),
        (&"stock.updated".into(), &"PHONE-001".into(), &"UZUM-PHONE-001".into(), &"sold".into())
    );
    assert_eq!(
        (body["previous_stock"].as_i64(), body["current_stock"].as_i64(), body["change"].as_i64()),
        (Some(50), Some(47), Some(-3))
    );
    assert!(Timestamp::parse_rfc3339(body["timestamp"].as_str().unwrap()).is_some());
}

#[tokio::test]
async fn the_older_door_and_ids_are_signed_as_told() {
    let world = world();
    let (receiver, hub) = Receiver::start(&world, vec![]);
    let shop = phone_shop(&world, "uzum");
    shop.market().connect_webhooks(&CourierSettings { door: Door::Older, identified: true, ..courier(&hub) });
    shop.market().sell("PHONE-001", 1).await.unwrap();
    assert!(shop.market().webhooks_settled(PATIENCE).await);
    let got = receiver.got();
    assert_eq!((got[0].path.as_str(), got[0].header("x-marketplace-id")), ("/webhooks/marketplaces/stock-update", Some("uzum")));
    let (id, timestamp) = (got[0].header("X-Webhook-Id").unwrap(), got[0].header("X-Webhook-Timestamp").unwrap());
    let signed = Signer::new(SECRET).sign_identified(id, timestamp, &got[0].body);
    assert_eq!(got[0].header("X-Webhook-Signature"), Some(signed.as_str()));
    assert_eq!((id, timestamp), ("uzum-1-webhook-1", "1767954600"));
}

#[tokio::test]
async fn a_failed_delivery_is_repeated_byte_for_byte_until_it_is_taken() {
    let world = world();
    let script = vec![Reply::status(500), Reply::Cut, Reply::status(503), Reply::status(429)];
    let (receiver, hub) = Receiver::start(&world, script);
    let shop = phone_shop(&world, "uzum");
    shop.market().connect_webhooks(&courier(&hub));
    shop.market().sell("PHONE-001", 1).await.unwrap();
    shop.market().sell("PHONE-001", 1).await.unwrap();
    assert!(shop.market().webhooks_settled(PATIENCE).await);
    let got = receiver.got();
    assert_eq!(got.len(), 6);
    assert!(got[..5].iter().all(|again| *again == got[0]), "{got:?}");
    assert_eq!(changes(&got[4..]), [49, 48], "the second waited its turn");
    let answers: Vec<_> = {
        let guard = shop.market().shop();
        let sent = guard.journal().records().filter_map(|record| match &record.event {
            ShopEvent::WebhookSent { number: 1, answer, .. } => Some(answer.clone()),
            _ => None,
        });
        sent.collect()
    };
    assert!(matches!(answers[1], WebhookAnswer::Error(_)));
    assert_eq!(answers[4], WebhookAnswer::Status(200));
    let totals = shop.market().state().totals;
    assert_eq!((totals.webhooks_queued, totals.webhooks_answered, totals.webhook_attempts), (2, 2, 6));
}

#[tokio::test]
async fn a_hub_that_is_away_gets_its_webhooks_when_it_is_back() {
    let world = world();
    let (receiver, hub) = Receiver::start(&world, vec![]);
    hub.refuse().await;
    let shop = phone_shop(&world, "uzum");
    shop.market().connect_webhooks(&courier(&hub));
    for _ in 0..10 {
        shop.market().sell("PHONE-001", 1).await.unwrap();
    }
    eventually("a few vain attempts", || shop.market().state().totals.webhook_attempts >= 3).await;
    hub.come_back().unwrap();
    assert!(shop.market().webhooks_settled(PATIENCE).await);
    assert_eq!(changes(&receiver.got()), (40..50).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_refusal_is_final_and_attempts_are_bounded() {
    let world = world();
    let (receiver, hub) = Receiver::start(&world, vec![Reply::status(401), Reply::status(500), Reply::status(500)]);
    let shop = phone_shop(&world, "uzum");
    shop.market().connect_webhooks(&CourierSettings { attempts_max: 2, ..courier(&hub) });
    shop.market().sell("PHONE-001", 1).await.unwrap();
    shop.market().sell("PHONE-001", 1).await.unwrap();
    assert!(shop.market().webhooks_settled(PATIENCE).await);
    let totals = shop.market().state().totals;
    assert_eq!((receiver.got().len(), totals.webhooks_given_up, totals.webhooks_answered), (3, 2, 0));
}

#[tokio::test]
async fn chaos_duplicates_loses_and_reorders() {
    let world = world();
    let (receiver, hub) = Receiver::start(&world, vec![]);
    let shop = phone_shop(&world, "uzum");
    let market = shop.market();
    market.connect_webhooks(&courier(&hub));
    let sell = async |chaos: Chaos| {
        market.set_chaos(chaos).unwrap();
        market.sell("PHONE-001", 1).await.unwrap();
    };
    sell(Chaos { duplicate_percent: 100, ..Chaos::default() }).await;
    assert!(market.webhooks_settled(PATIENCE).await);
    sell(Chaos { lost_percent: 100, ..Chaos::default() }).await;
    sell(Chaos { reorder_percent: 100, ..Chaos::default() }).await;
    sell(Chaos::default()).await;
    assert!(market.webhooks_settled(PATIENCE).await);
    let got = receiver.got();
    assert_eq!(changes(&got), [49, 49, 46, 47]);
    assert_eq!(got[0], got[1]);
    let totals = market.state().totals;
    assert_eq!((totals.webhooks_queued, totals.webhook_copies, totals.webhooks_lost, totals.webhooks_answered), (3, 1, 1, 3));
}

#[tokio::test]
async fn a_held_back_webhook_leaves_in_the_end_and_a_delayed_one_waits() {
    let world = world();
    let (receiver, hub) = Receiver::start(&world, vec![]);
    let shop = phone_shop(&world, "uzum");
    shop.market().connect_webhooks(&courier(&hub));
    shop.market().set_chaos(Chaos { reorder_percent: 100, webhook_delay_ms: (50, 60), ..Chaos::default() }).unwrap();
    let begun = tokio::time::Instant::now();
    shop.market().sell("PHONE-001", 1).await.unwrap();
    assert_eq!((shop.market().webhooks_pending(), receiver.got().len()), (1, 0));
    assert!(shop.market().webhooks_settled(PATIENCE).await);
    assert!(receiver.got().len() == 1 && begun.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn orders_are_told_with_cumulative_lines() {
    let world = world();
    let (receiver, hub) = Receiver::start(&world, vec![]);
    let mut phone = opening("PHONE-001", 50);
    phone.price = Some("129.90".into());
    let settings = MarketplaceSettings { feed: Feed::Both, ..MarketplaceSettings::new("ozon", vec![phone]) };
    let shop = ShopServer::start(world.clone(), any_port(), settings).unwrap();
    shop.market().connect_webhooks(&courier(&hub));
    let order = shop.market().sell("PHONE-001", 3).await.unwrap().order_id;
    for _ in 0..2 {
        shop.market().take_back(&order, Some(1), TakeBack::Cancel).await.unwrap();
    }
    shop.market().take_back(&order, None, TakeBack::Return).await.unwrap();
    assert!(shop.market().webhooks_settled(PATIENCE).await);
    let got: Vec<_> = receiver.got().iter().map(Received::json).collect();
    let events: Vec<_> = got.iter().map(|body| body["event"].as_str().unwrap()).collect();
    let orders = ["order.created", "order.cancelled", "order.cancelled", "order.returned"];
    assert_eq!(events, orders.iter().flat_map(|name| [*name, "stock.updated"]).collect::<Vec<_>>());
    let lines: Vec<_> = got.iter().step_by(2).map(|body| body["items"][0]["quantity"].as_i64().unwrap()).collect();
    assert_eq!(lines, [3, 1, 2, 1]);
    assert_eq!(got[0]["items"][0]["price"], "129.90");
    assert_eq!(got[0]["order_id"], order.as_str());
    let reasons: Vec<_> = got.iter().skip(1).step_by(2).map(|body| body["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["sold", "cancelled", "cancelled", "returned"]);
}

#[tokio::test]
async fn the_oracle_file_holds_every_record_without_gaps() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uzum.jsonl");
    let (_receiver, hub) = Receiver::start(&world, vec![]);
    let opening = vec![opening("PHONE-001", 50)];
    let settings = MarketplaceSettings { oracle: Some(path.clone()), ..MarketplaceSettings::new("uzum", opening) };
    let shop = ShopServer::start(world.clone(), any_port(), settings).unwrap();
    shop.market().connect_webhooks(&courier(&hub));
    shop.market().sell("PHONE-001", 1).await.unwrap();
    assert_eq!(push(&mut client(&shop.base_url()), "L:1", 49).await, Some(204));
    assert!(shop.market().webhooks_settled(PATIENCE).await);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().enumerate().all(|(seq, line)| line["seq"] == seq && line["shop"] == "uzum"));
    let mut events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    events.sort_unstable();
    assert_eq!(events, ["opened", "push", "sold", "webhook_queued", "webhook_sent"]);
}
