//! The shop as a value.

use super::super::chaos::Fault;
use super::super::record::{Answered, Journal, PushOutcome, ShopEvent};
use super::super::requests::Push;
use super::super::shop::{Identity, Shop, ShopError, TakeBack};
use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_767_954_600 + seconds)
}

fn shop(api_key: Option<&str>) -> Shop {
    let identity = Identity { code: "uzum".into(), run: "r7".into(), api_key: api_key.map(str::to_owned), own_restock: true };
    Shop::open(identity, vec![opening("PHONE-001", 5)], Journal::new("uzum", 100, None), at(0))
}

fn pushed(key: &str, body: &str) -> Push {
    Push { idempotency_key: Some(key.into()), body: body.into(), ..Push::default() }
}

fn status(shop: &mut Shop, push: &Push, fault: Option<Fault>) -> Answered {
    shop.receive_push(push, fault, at(1)).answered
}

#[test]
fn a_sale_lowers_the_shops_own_number_and_never_below_zero() {
    let mut shop = shop(None);
    let trade = shop.sell("PHONE-001", 3, at(1)).unwrap();
    assert_eq!((trade.before, trade.after, trade.order_id.as_str(), trade.product_id.as_str()), (5, 2, "r7-1", "UZUM-PHONE-001"));
    assert_eq!(shop.sell("PHONE-001", 3, at(2)), Err(ShopError::NotEnough { quantity: 3, shown: 2 }));
    assert_eq!(shop.sell("NOPE", 1, at(2)), Err(ShopError::NotSoldHere("NOPE".into())));
    assert_eq!(shop.sell("PHONE-001", 0, at(2)), Err(ShopError::Quantity));
    assert_eq!((shop.shown("PHONE-001"), shop.totals().sales, shop.totals().sales_refused), (2, 1, 1));
}

#[test]
fn cancels_and_returns_are_cumulative_and_bounded_by_the_order() {
    let mut shop = shop(None);
    let order = shop.sell("PHONE-001", 4, at(1)).unwrap().order_id;
    shop.take_back(&order, Some(1), TakeBack::Cancel, at(2)).unwrap();
    let trade = shop.take_back(&order, Some(2), TakeBack::Cancel, at(3)).unwrap();
    assert_eq!((trade.quantity, trade.cumulative, trade.after), (2, 3, 4));
    let refused = shop.take_back(&order, Some(2), TakeBack::Return, at(4));
    assert_eq!(refused, Err(ShopError::TooMany { left: 1 }));
    let trade = shop.take_back(&order, None, TakeBack::Return, at(5)).unwrap();
    assert_eq!((trade.cumulative, trade.after), (1, 5));
    for nothing in ["r7-9", "r8-1", "x", "r7-"] {
        assert_eq!(shop.take_back(nothing, None, TakeBack::Cancel, at(6)), Err(ShopError::NoOrder(nothing.into())));
    }
}

#[test]
fn a_push_is_applied_once_per_key() {
    let mut shop = shop(None);
    let push = pushed("L:1", r#"{"sku":"PHONE-001","stock":47}"#);
    assert_eq!(status(&mut shop, &push, None), Answered::Status(204));
    shop.sell("PHONE-001", 7, at(2)).unwrap();
    assert_eq!(status(&mut shop, &push, None), Answered::Status(204));
    assert_eq!(shop.shown("PHONE-001"), 40, "the duplicate must not put the sold ones back");
    let reused = pushed("L:1", r#"{"sku":"PHONE-001","stock":46}"#);
    assert_eq!(status(&mut shop, &reused, None), Answered::Status(409));
    let totals = shop.totals();
    assert_eq!((totals.pushes_received, totals.pushes_applied, totals.pushes_duplicate, totals.key_conflicts), (3, 1, 1, 1));
}

#[test]
fn wrong_pushes_are_refused_and_leave_no_trace_on_the_key() {
    let mut shop = shop(Some("s3cret"));
    let good = r#"{"sku":"PHONE-001","stock":9}"#;
    assert_eq!(status(&mut shop, &pushed("k", good), None), Answered::Status(401));
    let authorised = |body: &str| Push { authorization: Some("Bearer s3cret".into()), ..pushed("k", body) };
    let cases = [
        ("no json", 422),
        (r#"{"sku":"PHONE-001","stock":-1}"#, 422),
        (r#"{"sku":"PHONE-001","stock":1.5}"#, 422),
        (r#"{"sku":"NOPE","stock":1}"#, 404),
        (good, 204),
    ];
    for (body, wanted) in cases {
        assert_eq!(status(&mut shop, &authorised(body), None), Answered::Status(wanted), "{body}");
    }
    assert_eq!((shop.shown("PHONE-001"), shop.totals().pushes_refused), (9, 5));
}

#[test]
fn faults_say_one_thing_and_do_another() {
    let body = r#"{"sku":"PHONE-001","stock":1}"#;
    let cases = [
        (Fault::Hang, Answered::Nothing, 5),
        (Fault::Status { status: 503, retry_after_seconds: None }, Answered::Status(503), 5),
        (Fault::CutAfterApply, Answered::Cut, 1),
        (Fault::CutBeforeApply, Answered::Cut, 5),
        (Fault::DidNothing, Answered::Status(204), 5),
        (Fault::GarbageBody, Answered::Status(200), 1),
        (Fault::NotHttp, Answered::NotHttp, 5),
        (Fault::LateWrite { after_ms: 1 }, Answered::Cut, 5),
    ];
    for (fault, answered, left) in cases {
        let mut shop = shop(None);
        assert_eq!(status(&mut shop, &pushed("k", body), Some(fault.clone())), answered, "{fault:?}");
        assert_eq!(shop.shown("PHONE-001"), left, "{fault:?}");
        // What was not applied may come again under its key.
        assert_eq!(status(&mut shop, &pushed("k", body), None), Answered::Status(204), "{fault:?}");
        assert_eq!(shop.shown("PHONE-001"), 1, "{fault:?}");
    }
}

#[test]
fn the_journal_tells_it_all_and_keeps_the_newest() {
    let identity = Identity { code: "uzum".into(), run: "r".into(), api_key: None, own_restock: false };
    let mut shop = Shop::open(identity, vec![opening("PHONE-001", 5)], Journal::new("uzum", 2, None), at(0));
    let order = shop.sell("PHONE-001", 1, at(1)).unwrap().order_id;
    let trade = shop.take_back(&order, None, TakeBack::Cancel, at(2)).unwrap();
    assert_eq!((trade.before, trade.after), (4, 4), "this shop does not restock by itself");
    shop.receive_push(&pushed("k", r#"{"sku":"PHONE-001","stock":5}"#), None, at(3));
    assert_eq!((shop.journal().written(), shop.journal().records().count()), (4, 2));
    let last = shop.journal().records().last().unwrap();
    assert_eq!((last.seq, last.at), (3, at(3)));
    assert!(matches!(&last.event, ShopEvent::Push { outcome: PushOutcome::Applied, change: Some(change), .. }
        if change.before == 4 && change.after == 5));
}

#[test]
fn the_shelf_is_searched_all_around() {
    let identity = Identity { code: "s".into(), run: "r".into(), api_key: None, own_restock: true };
    let shelf = vec![opening("A", 0), opening("B", 2), opening("C", 0)];
    let shop = Shop::open(identity, shelf, Journal::new("s", 9, None), at(0));
    for from in [0, 1, 2, 3, 99] {
        assert_eq!(shop.in_stock(from), Some((sku("B"), 2)));
    }
}
