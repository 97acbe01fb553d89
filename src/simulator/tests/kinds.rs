//! Shops that pretend to be real marketplaces, on their ports.

use serde_json::{Value, json};

use super::super::chaos::{Chaos, Fault};
use super::super::http_client::ClientError;
use super::super::kinds::Kind;
use super::super::record::{Answered, PushOutcome, ShopEvent};
use super::super::wire::WireError;
use super::*;

const STOCKS: &str = "/api/v3/stocks/658434";

fn wildberries(world: &World) -> ShopServer {
    let settings = MarketplaceSettings::of_kind(Kind::Wildberries, "wb", vec![opening("A", 5), opening("B", 7)]);
    ShopServer::start(world.clone(), any_port(), settings).unwrap()
}

async fn put(hub: &mut Client, token: &str, amount: i64) -> Result<u16, ClientError> {
    let body = json!({ "stocks": [{ "chrtId": 120_000_001, "amount": amount }] }).to_string();
    hub.send("PUT", STOCKS, &[("authorization", token)], body.as_bytes()).await.map(|answer| answer.status)
}

#[tokio::test]
async fn a_real_kinds_pages_stand_on_its_port_beside_the_controls() {
    let world = world();
    let shop = wildberries(&world);
    let token = shop.market().account().secret("token").to_owned();
    let mut hub = client(&shop.base_url());
    assert_eq!(put(&mut hub, &token, 3).await.unwrap(), 204);
    assert_eq!(put(&mut hub, "another", 4).await.unwrap(), 401);
    assert_eq!(hub.post("/stock", &[], br#"{"sku":"A","stock":1}"#).await.unwrap().status, 404);
    hub.post("/control/edit", &[], br#"{"sku":"B","stock":70}"#).await.unwrap();
    let sold: Value =
        serde_json::from_slice(&hub.post("/control/sell", &[], br#"{"sku":"A","quantity":1}"#).await.unwrap().body).unwrap();
    let ship = json!({ "order_id": sold["order_id"] }).to_string();
    assert_eq!(hub.post("/control/ship", &[], ship.as_bytes()).await.unwrap().status, 200);
    assert_eq!(hub.post("/control/cancel", &[], ship.as_bytes()).await.unwrap().status, 409);
    let state: Value = serde_json::from_slice(&hub.get("/control/state").await.unwrap().body).unwrap();
    assert_eq!(
        (&state["kind"], &state["items"][0]["stock"], &state["items"][1]["stock"]),
        (&json!("wildberries"), &json!(2), &json!(70))
    );
    assert_eq!(state["calls"]["PUT /api/v3/stocks/{warehouse}"], 2);
    assert_eq!((&state["totals"]["calls_refused"], &state["totals"]["strays"]), (&json!(1), &json!(1)));
    let listed: Value = serde_json::from_slice(&hub.get("/control/listed").await.unwrap().body).unwrap();
    assert_eq!((&listed[1]["sku"], &listed[1]["refs"]["chrt_id"]), (&json!("B"), &json!(120_000_002)));
}

#[tokio::test]
async fn the_journal_says_what_became_of_each_quantity() {
    let world = world();
    let shop = wildberries(&world);
    let token = shop.market().account().secret("token").to_owned();
    put(&mut client(&shop.base_url()), &token, 3).await.unwrap();
    let shop = shop.market().shop();
    let ShopEvent::Call { call, writes, answered, .. } = &shop.journal().records().last().unwrap().event else { unreachable!() };
    assert_eq!((*call, *answered), ("PUT /api/v3/stocks/{warehouse}", Answered::Status(204)));
    let change = writes[0].change.as_ref().map(|change| (change.before, change.after));
    assert_eq!((writes[0].sku.as_str(), writes[0].told, writes[0].outcome, change), ("A", 3, PushOutcome::Applied, Some((5, 3))));
}

#[tokio::test]
async fn every_fault_is_seen_by_the_caller_and_does_what_it_says() {
    let world = world();
    let shop = wildberries(&world);
    let market = shop.market();
    let token = market.account().secret("token").to_owned();
    let mut hub = Client::new(Target::parse(&shop.base_url()).unwrap(), Duration::from_millis(300));
    let set = |fault| market.set_chaos(Chaos::times(fault, 1)).unwrap();

    set(Fault::DidNothing);
    assert_eq!(put(&mut hub, &token, 1).await.unwrap(), 204);
    assert_eq!(market.shown("A"), 5);
    set(Fault::Wall);
    assert_eq!(put(&mut hub, &token, 1).await.unwrap(), 403);
    assert_eq!(market.shown("A"), 5);
    set(Fault::HalfBody);
    assert!(matches!(put(&mut hub, &token, 2).await, Err(ClientError::Wire(WireError::Closed))));
    assert_eq!(market.shown("A"), 2);
    set(Fault::HugeBody);
    assert!(matches!(put(&mut hub, &token, 3).await, Err(ClientError::Wire(WireError::BodyTooLarge))));
    assert_eq!(market.shown("A"), 3);
    set(Fault::Drip);
    assert!(matches!(put(&mut hub, &token, 4).await, Err(ClientError::Timeout(_))));
    assert_eq!(market.shown("A"), 4);
    set(Fault::Hang);
    assert!(matches!(put(&mut hub, &token, 9).await, Err(ClientError::Timeout(_))));
    set(Fault::LateWrite { after_ms: 50 });
    assert!(put(&mut hub, &token, 8).await.is_err());
    assert_eq!(market.shown("A"), 4);
    while market.shown("A") != 8 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((market.state().totals.late_writes, market.state().totals.calls_faulted), (1, 7));
    assert_eq!(put(&mut hub, &token, 7).await.unwrap(), 204, "all is well again");
}

#[tokio::test]
async fn a_choice_of_faults_is_drawn_by_the_seed() {
    let world = world();
    let seen = async |seed| {
        let settings =
            MarketplaceSettings { seed, ..MarketplaceSettings::of_kind(Kind::Wildberries, "wb", vec![opening("A", 5)]) };
        let shop = ShopServer::start(world.clone(), any_port(), settings).unwrap();
        let faults = [500, 502, 503].map(|status| Fault::Status { status, retry_after_seconds: None });
        let chaos = Chaos { faults: faults.to_vec(), fault_percent: 60, ..Chaos::default() };
        shop.market().set_chaos(chaos).unwrap();
        let token = shop.market().account().secret("token").to_owned();
        let mut hub = client(&shop.base_url());
        let mut seen = Vec::new();
        for _ in 0..20 {
            seen.push(put(&mut hub, &token, 1).await.unwrap());
        }
        seen
    };
    let first = seen(5).await;
    assert_eq!(first, seen(5).await);
    assert!([204, 500, 502, 503].iter().all(|status| first.contains(status)), "{first:?}");
}

#[tokio::test]
async fn a_posting_is_told_to_a_hub_that_answers_as_ozon_wants_it() {
    let world = world();
    let taken = || Reply::json(200, &json!({ "result": true }));
    // The first answer is to the ping; a plain 200 without the words is not enough for this one, and comes again.
    let script = vec![Reply::json(200, &json!({ "version": "1", "name": "hub" })), Reply::status(200), taken()];
    let (receiver, server) = Receiver::start(&world, script);
    let settings = MarketplaceSettings::of_kind(Kind::Ozon, "ozon", vec![opening("A", 5)]);
    let shop = ShopServer::start(world.clone(), any_port(), settings).unwrap();
    shop.market().connect(Target::parse(&server.base_url()).unwrap());
    shop.market().sell("A", 2).await.unwrap();
    assert!(shop.market().webhooks_settled(PATIENCE).await);
    let totals = shop.market().state().totals;
    assert_eq!((totals.webhooks_queued, totals.webhook_attempts, totals.webhooks_answered), (2, 3, 2));
    let got = receiver.got();
    let words: Vec<Value> = got.iter().map(|got| got.json()["message_type"].clone()).collect();
    assert_eq!(words, ["TYPE_PING", "TYPE_NEW_POSTING", "TYPE_NEW_POSTING"]);
    assert!(got[1].path.starts_with("/webhooks/ozon/simulated-ozon-hook_path"));
    assert_eq!(got[1].header("content-type"), Some("application/json"));
}
