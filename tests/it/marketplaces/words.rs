//! What each marketplace is known for, one test each: the rules that cost a seller money or a block when they are not kept.

use std::sync::Arc;

use serde_json::{Value, json};
use stockhub::marketplaces::call::{Page, Window};
use stockhub::marketplaces::catalogue::Catalogue;
use stockhub::marketplaces::declared::sample::{self, NOW};
use stockhub::marketplaces::{Adapter, Answer, Ask, Connection, Outcome, PushItem, Pushed, Told};

fn adapter(id: &str) -> (Arc<dyn Adapter>, Connection) {
    let adapter = Catalogue::built_in().get(id).unwrap();
    (adapter.clone(), sample::connection(adapter))
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Answer::Response { status, retry_after: None, headers, body: body.as_bytes().to_vec() }
}

fn items(adapter: &dyn Adapter, count: i64) -> Vec<PushItem> {
    (0..count).map(|n| sample::item(adapter, n)).collect()
}

fn header(adapter: &dyn Adapter, connection: &Connection, name: &str) -> Option<String> {
    let call = adapter.push(connection, &sample::moment(), &items(adapter, 1)).unwrap();
    call.request.headers.into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

#[test]
fn ozon_takes_one_update_of_a_pair_in_thirty_seconds() {
    let (ozon, connection) = adapter("ozon");
    assert!(ozon.traits().key_interval.as_secs() > 30);
    let two = items(&*ozon, 2);
    let mut again = two[0].clone();
    again.quantity += 1;
    assert_eq!(ozon.push_key(&connection, &two[0]), ozon.push_key(&connection, &again));
    assert_ne!(ozon.push_key(&connection, &two[0]), ozon.push_key(&connection, &two[1]));
}

#[test]
fn an_error_of_wildberries_costs_ten_requests_and_its_204_proves_nothing() {
    let (wb, _) = adapter("wildberries");
    let stock = wb.limits().iter().find(|limit| limit.name == "stock").unwrap();
    assert_eq!((stock.requests, stock.burst, stock.min_interval.as_millis()), (Some(300), 20, 200));
    assert!(stock.costs.iter().any(|cost| cost.from <= 409 && 409 <= cost.to && cost.requests == 10));
    let outcomes = wb.read_push(&items(&*wb, 2), &answer(204, &[], "")).each(2);
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Accepted), "to be read back: {outcomes:?}");
    assert!(wb.traits().abilities.stock_of == Some(1_000) && wb.traits().verify_after.as_secs() == 2);
}

#[test]
fn yandex_says_420_and_refuses_a_batch_as_a_whole() {
    let (yandex, _) = adapter("yandex-market");
    let two = items(&*yandex, 2);
    let slower = yandex.read_push(&two, &answer(420, &[], "{}"));
    assert!(matches!(slower, Pushed::Whole(Outcome::Retry { throttled: true, .. })), "{slower:?}");
    let all = yandex.limits().iter().find(|limit| limit.name == "all").unwrap();
    assert_eq!((all.concurrency, all.reads.reset_rfc822), (Some(4), Some("X-RateLimit-Resource-Until")));
    assert!(all.throttle_status.contains(&420));
    let refused = yandex.read_push(&two, &answer(400, &[], r#"{"status":"ERROR","errors":[{"code":"BAD_REQUEST"}]}"#));
    assert!(
        matches!(&refused, Pushed::Whole(Outcome::Permanent { code: Some(code), .. }) if code == "BAD_REQUEST"),
        "{refused:?}"
    );
}

#[test]
fn woocommerce_answers_200_with_errors_in_it() {
    let (woo, connection) = adapter("woocommerce");
    let plain: Vec<PushItem> = items(&*woo, 2)
        .into_iter()
        .map(|mut item| {
            item.refs.remove("variation_id");
            item
        })
        .collect();
    let body = r#"{"update":[{"id":3000,"error":{"code":"woocommerce_rest_product_invalid_id","message":"Invalid ID."}},{"id":3001,"stock_quantity":5}]}"#;
    let names: Vec<&str> = woo.read_push(&plain, &answer(200, &[], body)).each(2).iter().map(Outcome::name).collect();
    assert_eq!(names, ["permanent", "applied"]);
    let variation = sample::item(&*woo, 0);
    assert_ne!(woo.push_group(&connection, &variation), woo.push_group(&connection, &plain[0]), "another road");
    let call = woo.push(&connection, &sample::moment(), &[variation]).unwrap();
    assert_eq!(call.request.url, "https://shop.example/wp-json/wc/v3/products/3000/variations/batch");
}

#[test]
fn variations_of_woocommerce_are_read_below_their_products() {
    let (woo, connection) = adapter("woocommerce");
    let products = r#"[{"id":1,"type":"simple","stock_quantity":4},{"id":20,"type":"variable","stock_quantity":null},{"id":30,"type":"variable"}]"#;
    let mut page = Page::default();
    let mut rows = Vec::new();
    let mut asked = Vec::new();
    for round in 0..8 {
        let ask = Ask::Stock { page: page.clone() };
        let call = woo.ask(&connection, &sample::moment(), &ask).unwrap();
        let url = call.request.url.replace("https://shop.example/wp-json/wc/v3/products", "");
        let body = match url.split('?').next().unwrap() {
            "" => products.to_owned(),
            path => format!("[{{\"id\":{}1,\"stock_quantity\":7}}]", path.split('/').nth(1).unwrap()),
        };
        asked.push(url);
        let Told::Stock { rows: more, next } =
            woo.told(&connection, &ask, &answer(200, &[("x-wp-totalpages", "1")], &body)).unwrap()
        else {
            panic!("rows are asked for")
        };
        rows.extend(more);
        match next {
            Some(next) => page = next,
            None => break,
        }
        assert!(round < 7, "the walk ends: {asked:?}");
    }
    let names: Vec<String> = rows.iter().map(|row| format!("{}={}", row.names[0].0, row.names[0].1)).collect();
    assert_eq!(names, ["product_id=1", "variation_id=201", "variation_id=301"]);
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(rows[1].names.contains(&("product_id".into(), "20".into())));
}

#[test]
fn refurbed_answers_in_the_order_of_the_request() {
    let (refurbed, _) = adapter("refurbed");
    let three = items(&*refurbed, 3);
    let body = r#"{"results":[{"status":{"code":5}},{"offer":{"stock":5}},{"status":{"code":8}}]}"#;
    let names: Vec<&str> = refurbed.read_push(&three, &answer(200, &[], body)).each(3).iter().map(Outcome::name).collect();
    assert_eq!(names, ["permanent", "applied", "retry"], "a code that is left out is 0");
    let short = refurbed.read_push(&three, &answer(200, &[], r#"{"results":[{}]}"#)).each(3);
    assert!(short.iter().all(|outcome| matches!(outcome, Outcome::Unknown { .. })), "nobody knows whose it is");
    let wrong = refurbed.read_push(&three[..1], &answer(200, &[], r#"{"results":[{"offer":{"stock":9}}]}"#)).each(1);
    assert!(matches!(&wrong[0], Outcome::Unknown { message } if message.contains("answered 9 to 4")), "{wrong:?}");
}

#[test]
fn shopify_tells_how_full_its_bucket_is() {
    let (shopify, connection) = adapter("shopify");
    let all = shopify.limits().iter().find(|limit| limit.name == "all").unwrap();
    assert_eq!((all.requests, all.burst, all.reads.fraction), (Some(2), 38, Some("X-Shopify-Shop-Api-Call-Limit")));
    let ask = Ask::Orders { list: 0, window: Window { from: NOW, to: NOW }, page: Page::default() };
    assert_eq!(shopify.ask(&connection, &sample::moment(), &ask).unwrap().limits, ["all"]);
    assert_eq!(shopify.push(&connection, &sample::moment(), &items(&*shopify, 1)).unwrap().limits, ["graphql"]);
}

#[test]
fn back_market_wants_to_know_who_asks() {
    let (market, mut connection) = adapter("backmarket");
    connection.account.insert("company".into(), json!("Amazing"));
    connection.account.insert("contact_email".into(), json!("it@amazing.example"));
    assert_eq!(header(&*market, &connection, "user-agent").as_deref(), Some("BM-Amazing-stockhub;it@amazing.example"));
    connection.account.remove("company");
    let error = market.push(&connection, &sample::moment(), &items(&*market, 1)).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), ("missing-account", "account.company is not set"));
    let wall = market.read_push(&items(&*market, 1), &answer(403, &[], "cf challenge"));
    assert!(matches!(wall, Pushed::Whole(Outcome::Retry { after: Some(_), .. })), "the wall is no wrong token: {wall:?}");
    let token = market.read_push(&items(&*market, 1), &answer(403, &[], r#"{"error":{"code":"forbidden"}}"#));
    assert!(matches!(token, Pushed::Whole(Outcome::Auth { .. })), "{token:?}");
}

#[test]
fn requests_leave_only_to_the_connections_own_address() {
    for id in Catalogue::built_in().ids() {
        let Some(declared) = Catalogue::built_in().declared(id).cloned() else { continue };
        let declared: Arc<dyn Adapter> = Arc::new(declared);
        let mut connection = sample::connection(declared.clone());
        connection.base_url = Some("http://127.0.0.1:9".into());
        let ask = Ask::Stock { page: Page { index: 1, after: Some("https://evil.example/next".into()) } };
        if let Ok(call) = declared.ask(&connection, &sample::moment(), &ask) {
            assert!(call.request.url.starts_with("http://127.0.0.1:9/"), "{id}: {}", call.request.url);
        }
        let window = Window { from: NOW, to: NOW };
        for list in 0..declared.traits().abilities.orders.map_or(0, |orders| orders.lists) {
            let call =
                declared.ask(&connection, &sample::moment(), &Ask::Orders { list, window, page: Page::default() }).unwrap();
            assert!(call.request.url.starts_with("http://127.0.0.1:9/"), "{id}: {}", call.request.url);
        }
    }
}

#[test]
fn tokens_are_borrowed_by_credentials_and_by_refresh() {
    let file = |kind: &str| {
        format!(
            "[adapter]\nid = \"lender\"\nbase_url = \"https://api.lender.example\"\nsecrets = [\"client_id\", \"client_secret\", \"refresh_token?\"]\n\
             [adapter.auth]\nkind = \"{kind}\"\ntoken_url = \"https://login.lender.example/token\"\nexpiry_slack_s = 30\n\
             [stock.push]\nrequest = \"POST /stock\"\nbody = '{{\"q\":\"{{{{item.qty}}}}\"}}'\n"
        )
    };
    let read = |kind: &str| {
        let catalogue = Catalogue::built_in().with_files(&[("lender.toml".into(), file(kind))]).unwrap();
        let adapter = catalogue.get("lender").unwrap();
        (adapter.clone(), sample::connection(adapter))
    };
    let (lender, connection) = read("oauth2_client_credentials");
    let request = lender.token_request(&connection, &sample::moment()).unwrap().unwrap();
    assert_eq!(request.url, "https://login.lender.example/token");
    assert_eq!(request.body.as_deref(), Some(&b"grant_type=client_credentials"[..]));
    assert!(request.headers.iter().any(|(name, value)| name == "authorization" && value.starts_with("Basic ")));
    assert_eq!(header(&*lender, &connection, "authorization").as_deref(), Some("Bearer sample-access-token"));
    let mut moment = sample::moment();
    moment.access_token = None;
    assert_eq!(lender.push(&connection, &moment, &items(&*lender, 1)).unwrap_err().code, "no-token");
    let lent = lender.read_token(&answer(200, &[], r#"{"access_token":"t","expires_in":299,"refresh_token":"r2"}"#)).unwrap();
    assert_eq!((lent.token.expose(), lent.valid_for.as_secs(), lent.refresh.unwrap().expose()), ("t", 269, "r2"));
    assert!(matches!(lender.read_token(&answer(400, &[], "{}")), Err(Outcome::Auth { .. })));
    let (lender, connection) = read("oauth2_refresh");
    let body = |moment: &stockhub::marketplaces::Moment| {
        String::from_utf8(lender.token_request(&connection, moment).unwrap().unwrap().body.unwrap()).unwrap()
    };
    assert_eq!(body(&sample::moment()), "grant_type=refresh_token&refresh_token=sample-refresh-token");
    assert_eq!(body(&moment_without_refresh()), "grant_type=refresh_token&refresh_token=sample-refresh_token");
}

fn moment_without_refresh() -> stockhub::marketplaces::Moment {
    stockhub::marketplaces::Moment { refresh_token: None, ..sample::moment() }
}

#[test]
fn a_file_may_stand_in_for_a_built_in_adapter_and_not_for_a_part_of_the_program() {
    let ozon = Catalogue::built_in().text("ozon").unwrap().replace("batch_max = 100", "batch_max = 7");
    let changed = Catalogue::built_in().with_files(&[("ozon.toml".into(), ozon.clone())]).unwrap();
    assert_eq!(changed.get("ozon").unwrap().traits().batch_max, 7);
    let twice = Catalogue::built_in().with_files(&[("a.toml".into(), ozon.clone()), ("b.toml".into(), ozon)]).unwrap_err();
    assert!(twice[0].to_string().contains("stands in a.toml too"), "{twice:?}");
    for id in ["generic", "manual", "storefront", "shopify"] {
        let file = format!("[adapter]\nid = \"{id}\"\nbase_url = \"https://a.example\"\n");
        let faults = Catalogue::built_in().with_files(&[("x.toml".into(), file)]).unwrap_err();
        assert!(faults[0].to_string().contains("is part of the program"), "{faults:?}");
    }
    let body: Value = json!(Catalogue::built_in().ids());
    assert!(body.as_array().unwrap().len() >= 13, "{body}");
}
