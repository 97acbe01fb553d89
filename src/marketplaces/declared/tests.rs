use std::sync::Arc;

use serde_json::{Value, json};

use super::sample::{self, NOW};
use super::*;
use crate::domain::fact::{Fact, Item, OrderFact};
use crate::domain::order::LineUpdate;
use crate::marketplaces::call::{OrderRow, Page, StockRow, Window};
use crate::marketplaces::catalogue::{Catalogue, FILES};
use crate::marketplaces::wire::Method;

const HEAD: &str = "[adapter]\nid = \"toy\"\nbase_url = \"https://toy.example\"\nsecrets = [\"token\"]\n\
    refs = { required = [\"key\"], optional = [\"shelf\"] }\n\
    auth = { kind = \"headers\", headers = { Authorization = \"{{secret.token}}\" } }\n";

fn faults(text: &str) -> Vec<String> {
    Declared::of_file("toy.toml", text).unwrap_err().iter().map(ToString::to_string).collect()
}

fn toy(more: &str) -> Arc<Declared> {
    let read = Declared::of_file("toy.toml", &format!("{HEAD}{more}"));
    Arc::new(read.unwrap_or_else(|faults| panic!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))))
}

fn built_in(id: &str) -> Arc<Declared> {
    Arc::new(Catalogue::built_in().declared(id).unwrap().clone())
}

fn answer(status: u16, body: &Value) -> Answer {
    raw_answer(status, &[], &body.to_string())
}

fn raw_answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Answer::Response { status, retry_after: None, headers, body: body.as_bytes().to_vec() }
}

fn items(adapter: &Declared, count: i64) -> Vec<PushItem> {
    (0..count).map(|n| sample::item(adapter, n)).collect()
}

fn body(call: &Call) -> Value {
    serde_json::from_slice(call.request.body.as_deref().unwrap_or(b"null")).unwrap()
}

fn names(pushed: Pushed, count: usize) -> Vec<&'static str> {
    pushed.each(count).iter().map(Outcome::name).collect()
}

#[test]
fn every_file_that_is_compiled_in_reads_and_renders() {
    let faults: Vec<String> = Catalogue::built_in_faults().iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for (name, _) in FILES {
        let id = name.rsplit('/').next().unwrap().trim_end_matches(".toml");
        for sample in built_in(id).samples() {
            let call = sample.call.unwrap_or_else(|error| panic!("{id}, {}: {}", sample.what, error.message));
            assert!(url::Url::parse(&call.request.url).is_ok() || id == "polling-generic", "{id}: {}", call.request.url);
        }
    }
}

#[test]
fn faults_name_the_key_and_the_nearest_one_all_at_once() {
    let found = faults(
        "[adapter]\nid = \"toy\"\nbase_urll = \"https://a.example\"\nsecret = [\"token\"]\n\
         [stock.push]\nrequest = \"POST stock\"\nbatch_max = 0\nbody = '{\"a\":\"{{item.qyt}}\"}'\nresult = { mode = \"by_keys\" }\n\
         [limit.all]\nburts = 3\n[orders.list]\nrequest = \"GET /orders\"\npage = { kind = \"curser\" }\n",
    );
    let all = found.join("\n");
    for part in [
        "toy.toml:3: adapter.base_urll: unknown key; did you mean base_url?",
        "toy.toml:4: adapter.secret: unknown key; did you mean secrets?",
        "toy.toml:6: stock.push.request: the path must begin with one /",
        "toy.toml:7: stock.push.batch_max: must be from 1 to 100000, is 0",
        "toy.toml:8: stock.push.body: there is no {{item.qyt}}; did you mean item.qty?",
        "did you mean by_key?",
        "toy.toml:11: limit.all.burts: unknown key; did you mean burst?",
        "did you mean cursor?",
    ] {
        assert!(all.contains(part), "{part:?} is not in\n{all}");
    }
}

#[test]
fn secrets_stand_in_auth_only_and_names_must_be_declared() {
    let push = |body: &str| format!("{HEAD}[stock.push]\nrequest = \"POST /x\"\nbody = '{body}'\n");
    assert!(faults(&push(r#"{"a":"{{secret.token}}"}"#))[0].contains("secrets may stand in auth only"));
    assert!(faults(&push(r#"{"a":"{{item.ref.kee}}"}"#))[0].contains("did you mean key?"));
    assert!(faults(&push(r#"{"a":"{{account.shop}}"}"#))[0].contains("none of adapter.account"));
    assert!(faults(&push(r#"{"a":"{{page.number}}"}"#))[0].contains("means nothing here"));
    assert!(faults(&push(r#"{"a":"{{item.qty|hex}}"}"#))[0].contains("there is no filter"));
    assert!(faults(&push(r#"{"a":}"#))[0].contains("is not JSON"));
    assert!(faults(&push(r#"{"$each":"lines"}"#))[0].contains("can only be"));
}

#[test]
fn a_single_placeholder_keeps_its_type_and_an_optional_one_drops_its_key() {
    let toy = toy("[stock.push]\nrequest = \"POST /x/{{group.key}}\"\nbatch_max = 10\n\
        body = '{\"a\":[{\"$each\":\"items\",\"q\":\"{{item.qty}}\",\"t\":\"q={{item.qty}}\",\"n\":\"{{item.ref.key|int}}\",\"s\":\"{{item.ref.key}}\",\"o\":\"{{item.ref.shelf?}}\"}],\"id\":\"{{push.id}}\"}'\n");
    let connection = sample::connection(toy.clone());
    let mut items = items(&toy, 2);
    items[0].refs.insert("key".into(), json!("a/b c"));
    items[1].refs.remove("shelf");
    let moment = sample::moment();
    let error = toy.push(&connection, &moment, &items).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), ("invalid-ref", "key must be a whole number, is \"a/b c\""));
    items[0].refs.insert("key".into(), json!(77));
    let call = toy.push(&connection, &moment, &items).unwrap();
    assert_eq!(call.request.url, "https://toy.example/x/77");
    let sent = body(&call);
    assert_eq!(sent["a"][0], json!({"q": 4, "t": "q=4", "n": 77, "s": 77, "o": "3000"}));
    assert_eq!(sent["a"][1], json!({"q": 5, "t": "q=5", "n": 3001, "s": "3001"}));
    assert_eq!(body(&toy.push(&connection, &moment, &items).unwrap())["id"], sent["id"], "a retry has the same id");
    items[0].version = 2;
    assert_ne!(body(&toy.push(&connection, &moment, &items).unwrap())["id"], sent["id"]);
}

#[test]
fn values_cannot_leave_their_place_in_an_address() {
    let toy = toy("[stock.push]\nrequest = \"POST /x/{{item.ref.key}}/stock\"\nbody = '{}'\n");
    let connection = sample::connection(toy.clone());
    let push = |key: &str| {
        let mut item = sample::item(&*toy, 0);
        item.refs.insert("key".into(), json!(key));
        toy.push(&connection, &sample::moment(), &[item]).map(|call| call.request.url)
    };
    assert_eq!(push("a/../b?c#d").unwrap(), "https://toy.example/x/a%2F..%2Fb%3Fc%23d/stock");
    assert_eq!(push("..").unwrap_err().code, "invalid-value");
    let text = HEAD
        .replace("https://toy.example", "https://{{account.shop}}.toy.example")
        .replace("secrets =", "account = [\"shop\"]\nsecrets =");
    let shop =
        Arc::new(Declared::of_file("toy.toml", &format!("{text}[stock.push]\nrequest = \"POST /x\"\nbody = '{{}}'\n")).unwrap());
    let mut connection = sample::connection(shop.clone());
    for (name, good) in [("my-shop", true), ("evil.example/", false), ("a@b", false), ("a#", false)] {
        connection.account.insert("shop".into(), json!(name));
        let made = shop.push(&connection, &sample::moment(), &[sample::item(&*shop, 0)]);
        assert_eq!(made.is_ok(), good, "{name}: {made:?}");
    }
}

#[test]
fn a_required_ref_comes_from_the_listing_else_from_the_account() {
    let ozon = built_in("ozon");
    let connection = sample::connection(ozon.clone());
    let mut items = items(&ozon, 2);
    items[0].refs.remove("warehouse_id");
    items[0].refs.remove("product_id");
    let sent = body(&ozon.push(&connection, &sample::moment(), &items).unwrap());
    assert_eq!(sent["stocks"][0], json!({"offer_id": "3000", "stock": 4, "warehouse_id": 1001}));
    assert_eq!(sent["stocks"][1], json!({"offer_id": "3001", "product_id": 3001, "stock": 5, "warehouse_id": 3001}));
    items[0].refs.remove("offer_id");
    let error = ozon.push(&connection, &sample::moment(), &items).unwrap_err();
    assert_eq!(error.code, "missing-ref");
    let (without, with) = (ozon.push_group(&connection, &items[0]), ozon.push_group(&connection, &items[1]));
    assert_ne!(without, with, "what cannot be told fails alone");
}

#[test]
fn ozon_speaks_of_each_item_and_refuses_a_pair_for_half_a_minute() {
    let ozon = built_in("ozon");
    let items = items(&ozon, 4);
    let row = |n: i64, updated: bool, code: &str| {
        let errors = if updated { json!([]) } else { json!([{"code": code, "message": "no"}]) };
        let (offer, warehouse) = ((3000 + n).to_string(), 3000 + n);
        json!({"warehouse_id": warehouse, "product_id": 1, "offer_id": offer, "updated": updated, "errors": errors})
    };
    let said = json!({"result": [row(2, false, "product_is_not_created"), row(0, true, ""), row(1, false, "TOO_MANY_REQUESTS")]});
    let outcomes = ozon.read_push(&items, &answer(200, &said)).each(4);
    assert_eq!(outcomes.iter().map(Outcome::name).collect::<Vec<_>>(), ["applied", "retry", "permanent", "unknown"]);
    assert!(matches!(&outcomes[1], Outcome::Retry { after: Some(after), throttled: false, .. } if after.as_secs() == 31));
    assert_eq!(ozon.traits().key_interval.as_secs(), 31);
    let busy = raw_answer(403, &[], "{\"code\":7,\"message\":\"Circle is open\"}");
    assert!(matches!(ozon.read_push(&items, &busy), Pushed::Whole(Outcome::Retry { throttled: true, after: Some(_), .. })));
    assert!(matches!(ozon.read_push(&items, &raw_answer(403, &[], "{}")), Pushed::Whole(Outcome::Auth { .. })));
    let slower = raw_answer(429, &[("Retry-After", "7")], "");
    assert!(
        matches!(ozon.read_push(&items, &slower), Pushed::Whole(Outcome::Retry { throttled: true, after: Some(after), .. }) if after.as_secs() == 7)
    );
}

#[test]
fn rows_that_name_more_are_given_away_first() {
    let ozon = built_in("ozon");
    let mut items = items(&ozon, 2);
    items[0].refs = serde_json::from_value(json!({"offer_id": "A"})).unwrap();
    items[1].refs = serde_json::from_value(json!({"offer_id": "A", "warehouse_id": 7})).unwrap();
    let row =
        |warehouse: i64, updated: bool| json!({"offer_id": "A", "warehouse_id": warehouse, "updated": updated, "errors": []});
    let said = json!({"result": [row(7, true), row(1001, false)]});
    assert_eq!(names(ozon.read_push(&items, &answer(200, &said)), 2), ["retry", "applied"]);
}

#[test]
fn wildberries_is_not_believed_and_its_conflicts_speak_of_some_rows_only() {
    let wb = built_in("wildberries");
    let items = items(&wb, 3);
    let taken = raw_answer(204, &[], "");
    assert_eq!(names(wb.read_push(&items, &taken), 3), ["accepted"; 3], "204 may mean a misspelt field: it is read back");
    assert_eq!(names(wb.read_push(&items, &raw_answer(200, &[], "{}")), 3), ["unknown"; 3], "200 is not its yes");
    let conflict = json!([
        {"code": "StoreIsProcessing", "message": "later", "data": [{"chrtId": 3000, "amount": 4}]},
        {"code": "CargoWarehouseRestrictionMGT", "message": "never", "data": [{"chrtId": 3001, "amount": 5}]}]);
    assert_eq!(names(wb.read_push(&items, &answer(409, &conflict)), 3), ["retry", "permanent", "unknown"]);
    let limit = wb.limits().iter().find(|limit| limit.name == "stock").unwrap();
    assert_eq!(limit.costs[0], crate::marketplaces::limit::Cost { from: 400, to: 499, requests: 10 });
    let call = wb.push(&sample::connection(wb.clone()), &sample::moment(), &items[..1]).unwrap();
    assert_eq!(
        (call.request.method, call.request.url.as_str()),
        (Method::Put, "https://marketplace-api.wildberries.ru/api/v3/stocks/3000")
    );
    assert_eq!(body(&call), json!({"stocks": [{"chrtId": 3000, "amount": 4}]}));
}

fn told_stock(told: Told) -> (Vec<StockRow>, Option<Page>) {
    match told {
        Told::Stock { rows, next } => (rows, next),
        other => panic!("{other:?}"),
    }
}

fn told_orders(told: Told) -> (Vec<OrderRow>, Option<Page>) {
    match told {
        Told::Orders { orders, next } => (orders, next),
        other => panic!("{other:?}"),
    }
}

fn order_of(reading: &Reading) -> OrderFact {
    match &reading.verdict {
        Verdict::Facts(facts) => match &facts[..] {
            [Fact::Order(order)] => order.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn wildberries_is_read_by_keys_of_one_warehouse() {
    let wb = built_in("wildberries");
    let connection = sample::connection(wb.clone());
    let mut items = items(&wb, 2);
    for item in &mut items {
        item.refs.remove("warehouse_id");
    }
    let ask = Ask::StockOf { items: items.clone() };
    let call = wb.ask(&connection, &sample::moment(), &ask).unwrap();
    assert!(call.request.url.ends_with("/api/v3/stocks/1001"));
    assert_eq!(body(&call), json!({"chrtIds": [3000, 3001]}));
    let (rows, _) =
        told_stock(wb.told(&connection, &ask, &answer(200, &json!({"stocks": [{"chrtId": 3001, "amount": 9}]}))).unwrap());
    assert_eq!(rows, [StockRow { names: vec![("chrt_id".into(), "3001".into())], quantity: Some(9), ..StockRow::default() }]);
    items[1].refs.insert("warehouse_id".into(), json!(5));
    assert_eq!(wb.ask(&connection, &sample::moment(), &Ask::StockOf { items }).unwrap_err().code, "mixed-groups");
}

#[test]
fn wildberries_orders_are_sales_until_their_status_says_otherwise() {
    let wb = built_in("wildberries");
    let connection = sample::connection(wb.clone());
    let window = Window { from: NOW.minus(std::time::Duration::from_secs(60)), to: NOW };
    let ask = Ask::Orders { list: 0, window, page: Page::default() };
    let call = wb.ask(&connection, &sample::moment(), &ask).unwrap();
    assert!(
        call.request.url.ends_with("/api/v3/orders?dateFrom=1767954540&dateTo=1767954600&limit=1000&next=0"),
        "{}",
        call.request.url
    );
    let page =
        json!({"next": 13, "orders": [{"id": 4711, "chrtId": 3000, "skus": ["200"], "createdAt": "2026-01-09T10:00:00Z"}]});
    let (orders, next) = told_orders(wb.told(&connection, &ask, &answer(200, &page)).unwrap());
    assert_eq!(next, None, "a page that is not full is the last");
    let order = order_of(&orders[0].reading);
    assert_eq!((orders[0].order_id.as_str(), order.lines[0].line_key.as_str()), ("4711", "1"));
    let refs = vec![("chrt_id".to_owned(), "3000".to_owned()), ("barcode".to_owned(), "200".to_owned())];
    assert_eq!(order.lines[0].item, Item { refs, ..Item::default() });
    assert_eq!(wb.read(&connection, logged(&orders[0].body)), orders[0].reading, "the log reads like the page");
    let new = Ask::Orders { list: 1, window, page: Page::default() };
    assert!(wb.ask(&connection, &sample::moment(), &new).unwrap().request.url.ends_with("/api/v3/orders/new"));

    let ask = Ask::OrderStatuses { orders: vec!["4711".into()] };
    assert_eq!(body(&wb.ask(&connection, &sample::moment(), &ask).unwrap()), json!({"orders": [4711]}));
    let status = |supplier: &str, wb_status: &str| {
        let said = json!({"orders": [{"id": 4711, "supplierStatus": supplier, "wbStatus": wb_status}]});
        told_orders(wb.told(&connection, &ask, &answer(200, &said)).unwrap()).0.remove(0).reading
    };
    assert_eq!(status("new", "waiting").verdict, Verdict::Ignored);
    assert!(order_of(&status("new", "canceled_by_client")).cancel_all);
    assert!(order_of(&status("cancel", "canceled")).cancel_all);
    assert_eq!(status("complete", "declined_by_client").verdict, Verdict::Ignored, "on its way back: still taken");
    let shipped = order_of(&status("complete", "sorted"));
    assert!(shipped.lines[0].update.shipped.is_some() && shipped.lines[0].update.ordered.is_none());
    assert!(matches!(status("sent", "x").verdict, Verdict::Failed(error) if error.code == "unknown-status"));
}

fn logged(body: &[u8]) -> Incoming<'_> {
    Incoming { body, headers: "{}", door: Door::Poll, limits: LIMITS }
}

const LIMITS: crate::marketplaces::json::Limits = crate::marketplaces::json::Limits { depth: 32, nodes: 10_000 };

fn webhook(body: &[u8]) -> Incoming<'_> {
    Incoming { body, headers: "{}", door: Door::Webhook, limits: LIMITS }
}

#[test]
fn an_order_of_ozon_by_its_status() {
    let ozon = built_in("ozon");
    let connection = sample::connection(ozon.clone());
    let ask = Ask::Order { id: "55-1".into() };
    let order = |status: &str, more: Value| {
        let mut posting = json!({"posting_number": "55-1", "status": status, "in_process_at": "2026-01-09T09:00:00Z",
            "products": [{"offer_id": "A", "sku": 9, "quantity": 2, "price": "100.0000"}]});
        for (key, value) in more.as_object().unwrap() {
            posting[key] = value.clone();
        }
        told_orders(ozon.told(&connection, &ask, &answer(200, &json!({"result": posting}))).unwrap()).0.remove(0).reading
    };
    let update = |reading: &Reading| -> LineUpdate { order_of(reading).lines[0].update.clone() };
    let sale = update(&order("awaiting_deliver", json!({})));
    assert_eq!((sale.ordered.map(|q| q.get()), sale.cancel_all, sale.shipped), (Some(2), false, None));
    assert!(update(&order("cancelled", json!({}))).cancel_all);
    let after_ship = json!({"cancellation": {"cancelled_after_ship": true}});
    assert!(!update(&order("cancelled", after_ship)).cancel_all, "it travels back");
    assert_eq!(update(&order("delivered", json!({}))).shipped.map(|q| q.get()), Some(2));
    assert_ne!(order("awaiting_deliver", json!({})).natural_key, order("cancelled", json!({})).natural_key);
}

#[test]
fn what_ozon_pushes_is_a_hint_unless_it_is_trusted() {
    let ozon = built_in("ozon");
    let mut connection = sample::connection(ozon.clone());
    connection.account.remove("trust");
    let posting = json!({"message_type": "TYPE_NEW_POSTING", "posting_number": "55-1", "seller_id": 1001, "in_process_at": "2026-01-09T09:00:00Z",
        "products": [{"offer_id": "A", "sku": 9, "quantity": 2}], "warehouse_id": 1}).to_string();
    let hint = ozon.read(&connection, webhook(posting.as_bytes()));
    assert_eq!(hint.verdict, Verdict::Hint { order_id: "55-1".into() });
    assert_eq!(
        (hint.event_type.as_str(), hint.natural_key.as_deref()),
        ("TYPE_NEW_POSTING", Some("event:TYPE_NEW_POSTING:TYPE_NEW_POSTING:55-1"))
    );
    let stock = json!({"message_type": "TYPE_STOCKS_CHANGED", "seller_id": 1001, "items": [{"sku": 9, "updated_at": "2026-01-09T09:00:00Z",
        "stocks": [{"warehouse_id": 1, "present": 7, "reserved": 2}]}]}).to_string();
    assert_eq!(ozon.read(&connection, webhook(stock.as_bytes())).verdict, Verdict::Ignored);
    connection.account.insert("trust".into(), json!("full"));
    assert_eq!(
        order_of(&ozon.read(&connection, webhook(posting.as_bytes()))).lines[0].item.refs[0],
        ("offer_id".into(), "A".into())
    );
    let seen = ozon.read(&connection, webhook(stock.as_bytes()));
    assert!(
        matches!(&seen.verdict, Verdict::Facts(facts) if matches!(&facts[..], [Fact::Observation(o)] if o.quantity == 5 && o.item.refs[0].1 == "9")),
        "{seen:?}"
    );
    let other = ozon.read(&connection, webhook(br#"{"message_type":"TYPE_CHAT_CLOSED"}"#));
    assert_eq!((other.event_type.as_str(), other.verdict), ("TYPE_CHAT_CLOSED", Verdict::Ignored));
}

#[test]
fn pages_by_cursor_and_rows_of_other_warehouses_left_out() {
    let ozon = built_in("ozon");
    let connection = sample::connection(ozon.clone());
    let ask = |page| Ask::Stock { page };
    let first = ozon.ask(&connection, &sample::moment(), &ask(Page::default())).unwrap();
    assert_eq!(body(&first), json!({"warehouse_id": 1001, "limit": 500, "cursor": ""}));
    let row = |offer: &str, free: i64| json!({"offer_id": offer, "sku": 9, "warehouse_id": 1001, "free_stock": free, "present": 9, "reserved": 1, "updated_at": "2026-01-09T09:00:00Z"});
    let said = json!({"stocks": [row("A", 5), row("B", 0)], "has_next": true, "cursor": "c2"});
    let (rows, next) = told_stock(ozon.told(&connection, &ask(Page::default()), &answer(200, &said)).unwrap());
    assert_eq!(
        rows.iter().map(|row| (row.names[0].1.as_str(), row.quantity)).collect::<Vec<_>>(),
        [("A", Some(5)), ("B", Some(0))]
    );
    let next = next.unwrap();
    assert_eq!(body(&ozon.ask(&connection, &sample::moment(), &ask(next)).unwrap())["cursor"], "c2");
    let of = Ask::StockOf {
        items: vec![PushItem { refs: serde_json::from_value(json!({"offer_id": "A"})).unwrap(), ..sample::item(&*ozon, 0) }],
    };
    let here = |warehouse: i64, free: i64| json!({"offer_id": "A", "warehouse_id": warehouse, "free_stock": free});
    let said = json!({"products": [here(7, 100), here(1001, 5)]});
    let (rows, _) = told_stock(ozon.told(&connection, &of, &answer(200, &said)).unwrap());
    assert_eq!(rows.iter().map(|row| row.quantity).collect::<Vec<_>>(), [Some(5)]);
    let garbage = ozon.told(&connection, &of, &raw_answer(200, &[], "<html>")).unwrap_err();
    assert!(matches!(garbage, Outcome::Retry { code: Some(code), .. } if code == "unreadable-answer"));
}

#[test]
fn a_shop_that_can_only_be_asked_is_told_where_the_account_says_so() {
    let silent = built_in("polling-generic").for_account(&Map::new());
    assert_eq!((silent.traits().push, silent.traits().kind.as_str()), (PushStyle::Nothing, "polling"));
    assert_eq!(silent.traits().abilities.orders.unwrap().every.as_secs(), 7_200);
    let told = Arc::new(built_in("polling-generic").for_account(json!({"push": true}).as_object().unwrap()));
    assert_eq!(told.traits().push, PushStyle::Request);
    let mut connection = sample::connection(told.clone());
    connection.base_url = Some("http://127.0.0.1:9/old".into());
    connection.secrets.clear();
    let item = sample::item(&*told, 0);
    let call = told.push(&connection, &sample::moment(), std::slice::from_ref(&item)).unwrap();
    assert_eq!((call.request.url.as_str(), body(&call)), ("http://127.0.0.1:9/old/listings/2000/stock", json!({"stock": 4})));
    assert!(!call.request.headers.iter().any(|(name, _)| name == "authorization"));
    let echo = |stock: i64| names(told.read_push(std::slice::from_ref(&item), &answer(200, &json!({"stock": stock}))), 1);
    assert_eq!((echo(4), echo(3)), (vec!["applied"], vec!["unknown"]));
    let page = |index| Ask::Stock { page: Page { index, after: None } };
    let said = json!({"items": [{"id": "77", "sku": "PHONE", "title": "Phone", "stock": null}], "pages": 3});
    let (rows, next) = told_stock(told.told(&connection, &page(0), &answer(200, &said)).unwrap());
    assert_eq!((rows[0].names[0].1.as_str(), rows[0].sku.as_deref(), rows[0].quantity), ("77", Some("PHONE"), None));
    assert_eq!(next, Some(Page { index: 1, after: None }));
    assert_eq!(told_stock(told.told(&connection, &page(2), &answer(200, &said)).unwrap()).1, None);
}

#[test]
fn an_unpaid_order_counts_where_the_connection_says_so() {
    let shop = built_in("polling-generic");
    let mut connection = sample::connection(shop.clone());
    let row = |status: &str| {
        json!({"from": "orders.list", "order": {"id": "A-1", "status": status, "updated_at": "2026-01-09T10:00:00Z",
        "lines": [{"sku": "PHONE", "quantity": 1}]}})
        .to_string()
    };
    let read = |connection: &Connection, status: &str| shop.read(connection, logged(row(status).as_bytes())).verdict;
    assert_eq!(read(&connection, "unpaid"), Verdict::Ignored);
    connection.policy.count_unpaid = Some(true);
    assert!(matches!(read(&connection, "unpaid"), Verdict::Facts(_)));
    assert!(matches!(read(&connection, "lost"), Verdict::Failed(error) if error.code == "unknown-status"));
}

#[test]
fn what_a_file_says_of_times_and_pings_holds_or_is_a_fault() {
    let webhook = |verify: &str, more: &str| {
        format!(
            "[stock.push]\nrequest = \"POST /x\"\nbody = '{{\"q\":\"{{{{item.qty}}}}\"}}'\n[webhook]\nverify = {{ {verify} }}\n{more}\n\
             [[webhook.event]]\nkind = \"ignore\"\nmatch = {{ pointer = \"/a\", equals = \"b\" }}\n"
        )
    };
    let timed = "scheme = \"standard\", secret = \"token\", tolerance_s = 30";
    let ping = "ping = { pointer = \"/type\", equals = \"ping\", skip_require = true, body = '{\"at\":\"{{now|rfc3339}}\"}' }";
    let toy = toy(&webhook(timed, ping));
    let scheme = toy.schemes()[0];
    assert_eq!((scheme.tolerance_s, scheme.pong), (Some(30), Some("{\"at\":\"{{now|rfc3339}}\"}")));
    let wrong = |verify: &str, more: &str| faults(&format!("{HEAD}{}", webhook(verify, more))).join("\n");
    let untimed = "kind = \"hmac\", header = \"x-sig\", secret = \"token\"";
    for (verify, more, fault) in [
        (&*format!("{untimed}, tolerance_s = 30"), "", "tolerance_s: has nothing to bound"),
        (
            untimed,
            "ping = { pointer = \"/a\", equals = \"b\", body = \"{{item.qty}}\" }",
            "may name {{now|rfc3339}} and nothing else",
        ),
        (untimed, "ping = { body_prefix = \"id=\", unsigned = false }", "is true for such a ping"),
        (
            untimed,
            "ping = { pointer = \"/a\", equals = \"b\", content_type = \"text/plain\" }",
            "is application/json for such a ping",
        ),
        (untimed, "ack = { status = 202 }", "is 200 or 204"),
    ] {
        let found = wrong(verify, more);
        assert!(found.contains(fault), "{fault:?} is not in {found}");
    }
}
