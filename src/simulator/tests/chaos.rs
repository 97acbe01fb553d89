//! The shop on its port, well and unwell.

use super::super::chaos::{Chaos, Fault};
use super::super::http_client::ClientError;
use super::super::record::{Answered, ShopEvent};
use super::super::{SimulatorError, loopback};
use super::*;

#[tokio::test]
async fn takes_pushes_answers_reads_and_sells() {
    let world = world();
    let shop = phone_shop(&world, "uzum");
    let mut hub = client(&shop.base_url());
    assert_eq!(push(&mut hub, "L:1", 47).await, Some(204));
    assert_eq!(push(&mut hub, "L:1", 47).await, Some(204));
    let read = hub.get("/stock?sku=PHONE-001").await.unwrap();
    assert_eq!(read.body.as_ref(), br#"{"sku":"PHONE-001","stock":47}"#);
    assert_eq!(hub.get("/stock?sku=PHONE%2D001").await.unwrap().status, 200);
    assert_eq!(hub.get("/stock?sku=NOPE").await.unwrap().status, 404);
    let sold = hub.post("/control/sell", &[], br#"{"sku":"PHONE-001","quantity":3}"#).await.unwrap();
    let sold: serde_json::Value = serde_json::from_slice(&sold.body).unwrap();
    assert_eq!((sold["after"].as_i64(), sold["order_id"].as_str()), (Some(44), Some("uzum-1")));
    let too_many = hub.post("/control/sell", &[], br#"{"sku":"PHONE-001","quantity":45}"#).await.unwrap();
    assert_eq!(too_many.status, 409);
    let back = hub.post("/control/cancel", &[], br#"{"order_id":"uzum-1","quantity":1}"#).await.unwrap();
    assert_eq!(back.status, 200);
    let state: serde_json::Value = serde_json::from_slice(&hub.get("/control/state").await.unwrap().body).unwrap();
    assert_eq!(state["items"][1]["stock"], 45);
    assert_eq!(state["totals"]["pushes_duplicate"], 1);
    assert_eq!(hub.get("/favicon.ico").await.unwrap().status, 404);
    assert_eq!(shop.market().state().totals.strays, 1);
}

#[tokio::test]
async fn keeps_the_key_and_the_authorisation_for_the_auditor() {
    let world = world();
    let shop = phone_shop(&world, "uzum");
    let headers = [("idempotency-key", "L:9"), ("Authorization", "Bearer t")];
    client(&shop.base_url()).post("/stock", &headers, br#"{"sku":"PHONE-001","stock":1}"#).await.unwrap();
    let guard = shop.market().shop();
    let last = guard.journal().records().last().unwrap();
    let ShopEvent::Push { idempotency_key, authorization, body, answered, .. } = &last.event else { unreachable!("{last:?}") };
    assert_eq!((idempotency_key.as_deref(), authorization.as_deref()), (Some("L:9"), Some("Bearer t")));
    assert_eq!((body.as_str(), *answered), (r#"{"sku":"PHONE-001","stock":1}"#, Answered::Status(204)));
}

#[tokio::test]
async fn every_fault_is_seen_on_the_wire() {
    let world = world();
    let shop = phone_shop(&world, "uzum");
    let market = shop.market();
    let mut hub = client(&shop.base_url());
    let set = |fault| market.set_chaos(Chaos::times(fault, 1)).unwrap();

    set(Fault::Status { status: 429, retry_after_seconds: Some(2) });
    assert_eq!(push(&mut hub, "a", 1).await, Some(429));
    set(Fault::DidNothing);
    assert_eq!(push(&mut hub, "b", 1).await, Some(204));
    assert_eq!(market.shown("PHONE-001"), 50);

    set(Fault::CutAfterApply);
    assert_eq!(push(&mut hub, "c", 2).await, None);
    assert_eq!(market.shown("PHONE-001"), 2);
    assert_eq!(push(&mut hub, "c", 2).await, Some(204), "the fault is used up");
    assert_eq!(market.state().totals.pushes_duplicate, 1);

    set(Fault::CutBeforeApply);
    assert_eq!(push(&mut hub, "d", 3).await, None);
    set(Fault::NotHttp);
    assert_eq!(push(&mut hub, "e", 3).await, None);
    assert_eq!(market.shown("PHONE-001"), 2);

    set(Fault::GarbageBody);
    let answer = hub.post("/stock", &[], br#"{"sku":"PHONE-001","stock":4}"#).await.unwrap();
    assert!(answer.status == 200 && serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
    assert_eq!(market.shown("PHONE-001"), 4);

    set(Fault::Hang);
    let mut hasty = Client::new(Target::parse(&shop.base_url()).unwrap(), Duration::from_millis(100));
    let hung = hasty.post("/stock", &[], br#"{"sku":"PHONE-001","stock":5}"#).await;
    assert!(matches!(hung, Err(ClientError::Timeout(_))));
    assert_eq!(market.shown("PHONE-001"), 4);
    assert_eq!(push(&mut hub, "f", 6).await, Some(204));
}

#[tokio::test]
async fn retry_after_is_a_header() {
    let world = world();
    let shop = phone_shop(&world, "uzum");
    let fault = Fault::Status { status: 429, retry_after_seconds: Some(7) };
    shop.market().set_chaos(Chaos::always(fault)).unwrap();
    let mut stream = tokio::net::TcpStream::connect(shop.address()).await.unwrap();
    let request = b"POST /stock HTTP/1.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
    let mut text = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 429 ") && text.contains("retry-after: 7\r\n"), "{text}");
}

#[tokio::test]
async fn a_late_write_lands_over_a_newer_one() {
    let world = world();
    let shop = phone_shop(&world, "uzum");
    let market = shop.market();
    let mut hub = client(&shop.base_url());
    market.set_chaos(Chaos::times(Fault::LateWrite { after_ms: 100 }, 1)).unwrap();
    assert_eq!(push(&mut hub, "L:1", 10).await, None);
    assert_eq!(push(&mut hub, "L:2", 20).await, Some(204));
    eventually("the late write", || market.state().totals.late_writes == 1).await;
    assert_eq!(market.shown("PHONE-001"), 10);
}

#[tokio::test]
async fn latency_is_at_least_what_was_asked_and_knobs_work_over_http() {
    let world = world();
    let shop = phone_shop(&world, "uzum");
    let mut hub = client(&shop.base_url());
    let knobs = br#"{"latency_ms":[40,50],"answer_delay_ms":[40,50],"fault":{"kind":"did_nothing"},"spare_reads":true}"#;
    assert_eq!(hub.post("/control/chaos", &[], knobs).await.unwrap().status, 204);
    let begun = tokio::time::Instant::now();
    assert_eq!(push(&mut hub, "a", 1).await, Some(204));
    assert!(begun.elapsed() >= Duration::from_millis(80));
    assert_eq!(hub.get("/stock?sku=PHONE-001").await.unwrap().body.as_ref(), br#"{"sku":"PHONE-001","stock":50}"#);
    for bad in [&b"{\"lost_percent\":200}"[..], b"{\"typo\":1}", b"x"] {
        assert_eq!(hub.post("/control/chaos", &[], bad).await.unwrap().status, 422);
    }
    assert_eq!(hub.post("/control/chaos", &[], b"{}").await.unwrap().status, 204);
    assert_eq!(shop.market().chaos(), Chaos::default());
}

#[tokio::test]
async fn a_refusing_shop_comes_back_on_its_port() {
    let world = world();
    let shop = phone_shop(&world, "uzum");
    let mut hub = client(&shop.base_url());
    for round in 0..20 {
        assert_eq!(push(&mut hub, &format!("a{round}"), round).await, Some(204));
        shop.refuse().await;
        // Blocking, so that no task of the shop runs in between: the port is closed already.
        assert!(std::net::TcpStream::connect(shop.address()).is_err());
        // The connection that was open is cut, and no new one is taken.
        assert_eq!(push(&mut hub, "lost", 99).await, None);
        let refused = hub.get("/stock?sku=PHONE-001").await;
        assert!(matches!(&refused, Err(ClientError::Connect(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused));
        shop.come_back().unwrap();
        shop.come_back().unwrap();
        assert_eq!(shop.market().shown("PHONE-001"), round);
    }
    // An idle connection that was cut meanwhile is noticed before it is used.
    assert_eq!(push(&mut hub, "b", 1).await, Some(204));
    shop.refuse().await;
    shop.come_back().unwrap();
    hub.until_cut().await.unwrap();
    assert_eq!(push(&mut hub, "c", 2).await, Some(204));
    let away = hub.post("/control/chaos", &[], br#"{"refuse_ms":60}"#).await;
    // The answer to the very request may be cut with the rest.
    assert!(away.is_ok_and(|answer| answer.status == 204) || shop.market().chaos().refuse_ms == Some(60));
    let mut answers = Vec::new();
    while answers.last() != Some(&true) || !answers.contains(&false) {
        answers.push(hub.get("/control/state").await.is_ok());
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(answers.len() < 5_000, "the shop never went or never came back");
    }
}

#[tokio::test]
async fn nothing_but_loopback() {
    let world = world();
    let anywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let started = ShopServer::start(world.clone(), anywhere, MarketplaceSettings::new("uzum", vec![]));
    assert!(matches!(started, Err(SimulatorError::NotLoopback(_))));
    for (address, good) in [("127.0.0.9:1", true), ("[::1]:1", true), ("[::ffff:127.0.0.1]:1", true), ("192.168.0.1:1", false)] {
        assert_eq!(loopback(address.parse().unwrap()).is_ok(), good, "{address}");
    }
}

#[tokio::test]
async fn the_end_of_the_world_ends_every_task() {
    let world = world();
    let shop = phone_shop(&world, "uzum");
    let mut hub = client(&shop.base_url());
    assert_eq!(push(&mut hub, "a", 1).await, Some(204));
    world.tasks.close();
    world.stop.cancel();
    assert!(tokio::time::timeout(PATIENCE, world.tasks.wait()).await.is_ok());
    assert_eq!(push(&mut hub, "b", 2).await, None);
}
