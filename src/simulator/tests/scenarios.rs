//! The three scenarios of the source documents, and a crowd of shoppers, against a hub small enough to be obviously right:
//! it applies changes, never levels, and sets every shop once all is quiet.

use super::super::audit::{HubFigure, audit};
use super::super::courier::CourierSettings;
use super::super::marketplace::Marketplace;
use super::super::shoppers::{ShopperSettings, send_out};
use super::*;

async fn three_shops(world: &World, hub: &HttpServer<Receiver>, seed: u64) -> Vec<ShopServer> {
    let start = |code: &&str| {
        let opening = vec![opening("PHONE-001", 50), opening("CASE-001", 20)];
        let settings = MarketplaceSettings { seed, ..MarketplaceSettings::new(code, opening) };
        let shop = ShopServer::start(world.clone(), any_port(), settings).unwrap();
        shop.market().connect_webhooks(&CourierSettings::new(Target::parse(&hub.base_url()).unwrap(), SECRET));
        shop
    };
    ["uzum", "wildberries", "ozon"].iter().map(start).collect()
}

/// What the webhooks say is left of a product that began with `opening`.
fn left(receiver: &Receiver, sku: &str, opening: i64) -> i64 {
    let told = receiver
        .got()
        .iter()
        .map(Received::json)
        .filter(|body| body["sku"] == sku)
        .map(|body| body["change"].as_i64().unwrap())
        .sum::<i64>();
    opening + told
}

async fn set_everywhere(shops: &[ShopServer], sku: &str, stock: i64, version: u32) {
    for shop in shops {
        let body = format!(r#"{{"sku":"{sku}","stock":{}}}"#, stock.max(0));
        let key = format!("{sku}:{version}");
        let answer = client(&shop.base_url()).post("/stock", &[("Idempotency-Key", &key)], body.as_bytes()).await.unwrap();
        assert_eq!(answer.status, 204);
    }
}

async fn settle(shops: &[ShopServer]) {
    for shop in shops {
        assert!(shop.market().webhooks_settled(PATIENCE).await);
    }
}

#[tokio::test]
async fn fifty_forty_seven_forty_six_forty_four() {
    let world = world();
    let (receiver, hub) = Receiver::start(&world, vec![]);
    let shops = three_shops(&world, &hub, 1).await;
    // Uzum sells three.
    shops[0].market().sell("PHONE-001", 3).await.unwrap();
    settle(&shops).await;
    set_everywhere(&shops, "PHONE-001", left(&receiver, "PHONE-001", 50), 1).await;
    assert!(shops.iter().all(|shop| shop.market().shown("PHONE-001") == 47));
    // The store sells one, and two go by telephone: no shop knows of either.
    set_everywhere(&shops, "PHONE-001", 46, 2).await;
    set_everywhere(&shops, "PHONE-001", 44, 3).await;
    let figures = |available| {
        let phone = HubFigure { other_change: -3, ..HubFigure::new(sku("PHONE-001"), 50, available) };
        [phone, HubFigure::new(sku("CASE-001"), 20, 20)]
    };
    let states: Vec<_> = shops.iter().map(|shop| shop.market().state()).collect();
    let report = audit(&states, &figures(44));
    assert!(report.clean, "{report}");
    assert!(!audit(&states, &figures(45)).clean);
}

#[tokio::test]
async fn a_crowd_buys_what_is_shown_and_the_books_agree() {
    let world = world();
    let (receiver, hub) = Receiver::start(&world, vec![]);
    let shops = three_shops(&world, &hub, 7).await;
    let markets: Vec<Arc<Marketplace>> = shops.iter().map(|shop| Arc::clone(shop.market())).collect();
    let settings =
        ShopperSettings { stop_after_sales: Some(60), quantity_max: 3, cancel_percent: 20, ..ShopperSettings::new(2_000.0, 7) };
    let bought = send_out(&world, markets, settings).unwrap().await.unwrap();
    settle(&shops).await;
    assert_eq!((bought.sales, bought.seed), (60, 7));
    let sold: i64 = shops.iter().flat_map(|shop| shop.market().state().items).map(|item| item.sold).sum();
    assert_eq!((sold, bought.units_by_shop.values().sum::<i64>()), (bought.units, bought.units));
    let (phones, cases) = (left(&receiver, "PHONE-001", 50), left(&receiver, "CASE-001", 20));
    set_everywhere(&shops, "PHONE-001", phones, 1).await;
    set_everywhere(&shops, "CASE-001", cases, 1).await;
    let states: Vec<_> = shops.iter().map(|shop| shop.market().state()).collect();
    let report = audit(&states, &[HubFigure::new(sku("PHONE-001"), 50, phones), HubFigure::new(sku("CASE-001"), 20, cases)]);
    assert!(report.clean, "{report}");
}

#[tokio::test]
async fn the_same_seed_sends_the_same_crowd_and_an_empty_shop_sends_it_home() {
    let world = world();
    let mut reports = Vec::new();
    for _ in 0..2 {
        let shops = [phone_shop(&world, "uzum"), phone_shop(&world, "ozon")];
        let markets = shops.iter().map(|shop| Arc::clone(shop.market())).collect();
        let settings = ShopperSettings { quantity_max: 9, ..ShopperSettings::new(10_000.0, 3) };
        reports.push(send_out(&world, markets, settings).unwrap().await.unwrap());
        assert!(shops.iter().all(|shop| shop.market().shop().in_stock(0).is_none()));
    }
    assert_eq!(reports[0], reports[1]);
    assert_eq!((reports[0].units, reports[0].refused), (140, 0));
}

#[tokio::test]
async fn shoppers_stop_by_the_time_and_with_the_world() {
    let world = world();
    let shop = phone_shop(&world, "uzum");
    let markets = || vec![Arc::clone(shop.market())];
    let short = ShopperSettings { stop_after: Some(Duration::from_millis(30)), ..ShopperSettings::new(100.0, 1) };
    send_out(&world, markets(), short).unwrap().await.unwrap();
    let endless = ShopperSettings { leave_when_sold_out: false, ..ShopperSettings::new(1_000.0, 1) };
    let crowd = send_out(&world, markets(), endless).unwrap();
    eventually("the first sales", || shop.market().state().totals.sales > 5).await;
    world.stop.cancel();
    assert!(crowd.await.unwrap().sales > 5);
    assert!(send_out(&world, vec![], ShopperSettings::new(1.0, 1)).is_err());
    assert!(send_out(&world, markets(), ShopperSettings::new(0.0, 1)).is_err());
}
