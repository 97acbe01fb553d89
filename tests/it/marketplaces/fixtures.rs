//! Every adapter against its fixtures (`tests/fixtures/<id>/`): what it sends, how it reads each kind of answer, a page of orders, a
//! webhook that is genuine and the same one changed. An adapter without a fixture fails; so does a fixture without an adapter.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use stockhub::domain::fact::{Fact, OrderFact};
use stockhub::marketplaces::call::{Page, Window};
use stockhub::marketplaces::catalogue::Catalogue;
use stockhub::marketplaces::declared::sample::{self, NOW};
use stockhub::marketplaces::wire::Method;
use stockhub::marketplaces::{
    Adapter, Answer, Ask, Connection, Door as Came, Incoming, Outcome, PushItem, PushStyle, Pushed, Request, Told, Verdict,
    json as limits,
};
use stockhub::pipeline::verify::{self, Claim, Door};

use super::schema;

const LIMITS: limits::Limits = limits::Limits { depth: 32, nodes: 10_000 };

/// Every adapter that calls out.
fn ids() -> Vec<&'static str> {
    let tells = |id: &&'static str| {
        *id == "polling-generic" || Catalogue::built_in().get(id).unwrap().traits().push == PushStyle::Request
    };
    Catalogue::built_in().ids().into_iter().filter(tells).collect()
}

fn folder(id: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(id)
}

fn fixture(id: &str, name: &str) -> Value {
    let path = folder(id).join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{} is needed of every adapter: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names of the fixtures that begin so.
fn named(id: &str, prefix: &str) -> Vec<String> {
    let files = fs::read_dir(folder(id)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = files
        .filter(|name| name.starts_with(prefix) && !name.contains(".schema."))
        .map(|name| name.replace(".json", ""))
        .collect();
    names.sort();
    names
}

fn connected(id: &str) -> (Arc<dyn Adapter>, Connection) {
    let account = match fs::read_to_string(folder(id).join("account.json")) {
        Ok(text) => serde_json::from_str(&text).unwrap(),
        Err(_) => Map::new(),
    };
    let adapter = Catalogue::built_in().for_account(id, &account).unwrap();
    let mut connection = sample::connection(adapter.clone());
    connection.account.extend(account);
    connection.account.insert("webhook_url".into(), json!(format!("https://hub.example/webhooks/{id}")));
    connection.secrets.remove("path_secret");
    (adapter, connection)
}

fn items(adapter: &dyn Adapter, fixture: &Value) -> Vec<PushItem> {
    let list = fixture["items"].as_array().unwrap();
    let item = |(n, item): (usize, &Value)| PushItem {
        quantity: item["quantity"].as_i64().unwrap(),
        expected: item["expected"].as_i64(),
        refs: item["refs"].as_object().unwrap().clone(),
        ..sample::item(adapter, i64::try_from(n).unwrap())
    };
    list.iter().enumerate().map(item).collect()
}

fn answer(fixture: &Value) -> Answer {
    let said = &fixture["answer"];
    let body = match &said["body"] {
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    };
    let headers = said["headers"].as_object().cloned().unwrap_or_default();
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect::<Vec<_>>();
    let retry_after =
        headers.iter().find(|(name, _)| name == "retry-after").map(|(_, s)| Duration::from_secs(s.parse().unwrap()));
    let status = u16::try_from(said["status"].as_u64().unwrap()).unwrap();
    Answer::Response { status, retry_after, headers: headers.into_iter().collect(), body }
}

fn compare_request(what: &str, connection: &Connection, expected: &Value, request: &Request) {
    let method = match request.method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Patch => "PATCH",
        Method::Delete => "DELETE",
    };
    assert_eq!(expected["method"], method, "{what}");
    let url = url::Url::parse(&request.url).unwrap();
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    assert_eq!(expected["path"].as_str().unwrap(), path, "{what}");
    let base = connection.base_url.clone();
    assert!(base.is_none_or(|base| request.url.starts_with(&base)), "{what}: {}", request.url);
    if let Some(body) = expected.get("body") {
        let sent: Value = serde_json::from_slice(request.body.as_deref().unwrap_or(b"null")).unwrap();
        assert_eq!(*body, sent, "{what}");
    }
    for (name, value) in expected["headers"].as_object().into_iter().flatten() {
        let sent = request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(value.as_str(), sent, "{what}: {name}");
    }
}

fn name(outcome: &Outcome) -> &'static str {
    if matches!(outcome, Outcome::Conflict { .. }) { "conflict" } else { outcome.name() }
}

#[test]
fn pushes_are_sent_and_answers_read_as_the_fixtures_say() {
    for id in ids() {
        for needed in ["push_ok", "push_throttled", "push_partly_rejected"] {
            fixture(id, needed);
        }
        for fixture_name in named(id, "push") {
            let (what, fixture) = (format!("{id}/{fixture_name}"), fixture(id, &fixture_name));
            assert!(fixture["source"].as_str().is_some_and(|source| !source.is_empty()), "{what} does not say where it is from");
            let (adapter, connection) = connected(id);
            let items = items(&*adapter, &fixture);
            let groups: BTreeSet<String> = items.iter().map(|item| adapter.push_group(&connection, item)).collect();
            assert_eq!(groups.len(), 1, "{what}: one request");
            let call = adapter.push(&connection, &sample::moment(), &items).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            compare_request(&what, &connection, &fixture["request"], &call.request);
            let known: Vec<&str> = adapter.limits().iter().map(|limit| limit.name).collect();
            assert!(call.limits.iter().all(|limit| known.contains(limit)), "{what}");
            let pushed = adapter.read_push(&items, &answer(&fixture));
            assert_eq!(
                matches!(pushed, Pushed::Whole(Outcome::Permanent { .. })),
                fixture["whole"] == true || whole_refusal(&pushed),
                "{what}"
            );
            let outcomes = pushed.each(items.len());
            let names: Vec<&str> = outcomes.iter().map(name).collect();
            let expected: Vec<&str> = fixture["outcomes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            assert_eq!(names, expected, "{what}: {outcomes:?}");
            if let Some(after) = fixture["after_s"].as_u64() {
                assert!(
                    matches!(&outcomes[0], Outcome::Retry { after: Some(span), .. } if span.as_secs() == after),
                    "{what}: {outcomes:?}"
                );
            }
            if fixture_name == "push_throttled" {
                assert!(outcomes.iter().all(|o| matches!(o, Outcome::Retry { throttled: true, .. })), "{what}: {outcomes:?}");
            }
        }
    }
}

/// A request of one item is refused as a whole, too.
fn whole_refusal(pushed: &Pushed) -> bool {
    matches!(pushed, Pushed::Whole(Outcome::Permanent { .. }))
}

fn order(verdict: &Verdict) -> Option<&OrderFact> {
    match verdict {
        Verdict::Facts(facts) => facts.iter().find_map(|fact| if let Fact::Order(order) = fact { Some(order) } else { None }),
        _ => None,
    }
}

/// A line as the fixtures write one.
fn shown(line: &stockhub::domain::fact::LineFact) -> Value {
    let item = &line.item;
    let mut names: Vec<String> = item.refs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    names.extend(item.product_id.iter().map(|id| format!("id={id}")));
    names.extend(item.sku.iter().map(|sku| format!("sku={sku}")));
    let mut shown = json!({"key": line.line_key, "names": names, "ordered": line.update.ordered.map(|quantity| quantity.get())});
    if line.update.cancel_all {
        shown["cancelled"] = true.into();
    }
    shown
}

#[test]
fn a_page_of_orders_reads_as_its_fixture_says_now_and_from_the_log() {
    for id in ids() {
        let fixture = fixture(id, "orders_page");
        let (adapter, connection) = connected(id);
        let list = usize::try_from(fixture["list"].as_u64().unwrap()).unwrap();
        let window = Window { from: NOW.minus(Duration::from_secs(600)), to: NOW };
        let ask = Ask::Orders { list, window, page: Page::default() };
        let call = adapter.ask(&connection, &sample::moment(), &ask).unwrap_or_else(|error| panic!("{id}: {error:?}"));
        compare_request(id, &connection, &fixture["request"], &call.request);
        let told = adapter.told(&connection, &ask, &answer(&fixture)).unwrap_or_else(|error| panic!("{id}: {error:?}"));
        let Told::Orders { orders, next } = told else { panic!("{id}: {told:?}") };
        let seen: Vec<Value> = orders
            .iter()
            .map(|row| {
                let lines = order(&row.reading.verdict).map_or(Vec::new(), |order| order.lines.iter().map(shown).collect());
                json!({"id": row.order_id, "lines": lines})
            })
            .collect();
        assert_eq!(fixture["orders"], Value::Array(seen), "{id}: {orders:?}");
        let expected: Option<Page> = serde_json::from_value(fixture["next"].clone()).unwrap();
        assert_eq!(next, expected, "{id}");
        for row in &orders {
            let incoming = Incoming { body: &row.body, headers: "{}", door: Came::Poll, limits: LIMITS };
            assert_eq!(adapter.read(&connection, incoming), row.reading, "{id}: the log reads like the page");
            assert!(row.reading.natural_key.is_some(), "{id}: without a key every look at the page would be news");
        }
    }
}

/// What verification says of a webhook, and what it is read as.
fn heard(id: &str, fixture: &Value) -> Result<stockhub::marketplaces::Reading, verify::Rejection> {
    let (adapter, mut connection) = connected(id);
    connection.account.remove("trust");
    if id != "generic" {
        connection.account.remove("allowed_ips");
    }
    let headers: Vec<(String, Vec<u8>)> = fixture["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().as_bytes().to_vec()))
        .collect();
    let body = fixture["body"].as_str().unwrap().as_bytes();
    let client: Option<IpAddr> = fixture["client"].as_str().map(|text| text.parse().unwrap());
    let door = Door {
        method: "POST",
        path_query: format!("/webhooks/{id}"),
        client,
        path_secret: fixture["path_secret"].as_str().map(str::to_owned),
    };
    let claim = Claim {
        headers: &headers,
        body,
        received_at: NOW,
        tolerance: Duration::from_secs(300),
        door: &door,
        account: &connection.account,
        secrets: &connection.secrets,
        public_key: &|_| None,
    };
    verify::judge(connection.schemes(), &claim)?;
    let kept: Map<String, Value> = headers.iter().map(|(n, v)| (n.clone(), String::from_utf8_lossy(v).into())).collect();
    let kept = Value::Object(kept).to_string();
    Ok(adapter.read(&connection, Incoming { body, headers: &kept, door: Came::Webhook, limits: LIMITS }))
}

#[test]
fn webhooks_are_believed_as_sent_and_not_when_changed() {
    for id in ids() {
        let (adapter, _) = connected(id);
        if adapter.schemes().is_empty() {
            assert!(named(id, "signed").is_empty(), "{id} sends no webhooks");
            continue;
        }
        let signed = fixture(id, "signed");
        let reading = heard(id, &signed).unwrap_or_else(|rejection| panic!("{id}/signed: {rejection:?}"));
        assert_eq!(signed["event_type"], reading.event_type, "{id}");
        let (verdict, order_id) = match &reading.verdict {
            Verdict::Hint { order_id } => ("hint", Some(order_id.clone())),
            Verdict::Facts(_) => ("facts", order(&reading.verdict).map(|order| order.order_id.clone())),
            other => panic!("{id}: {other:?}"),
        };
        assert_eq!((signed["verdict"].as_str(), signed["order"].as_str()), (Some(verdict), order_id.as_deref()), "{id}");
        let tampered = fixture(id, "tampered");
        let rejection = heard(id, &tampered).expect_err(id);
        assert_eq!(tampered["rejected"], format!("{rejection:?}"), "{id}");
    }
}

/// `stock of a listing` → `stock-of-a-listing`.
fn slug(what: &str) -> String {
    what.replace(", ", "-").replace(' ', "-")
}

/// Every request an adapter can make, by what it is for.
fn requests(id: &str) -> Vec<(String, Request)> {
    let (adapter, connection) = connected(id);
    let moment = sample::moment();
    let mut made = Vec::new();
    for name in named(id, "push_ok").into_iter().chain(named(id, "push_partly_rejected")) {
        let call = adapter.push(&connection, &moment, &items(&*adapter, &fixture(id, &name))).unwrap();
        made.push(("push".to_owned(), call.request));
    }
    if let Some(declared) = Catalogue::built_in().declared(id) {
        // As its own samples are, but for this account.
        let variants = declared.samples().into_iter().filter(|sample| sample.what == "push of a variant");
        made.extend(variants.map(|sample| ("push-of-a-variant".to_owned(), sample.call.unwrap().request)));
    }
    let item = sample::item(&*adapter, 1);
    let mut plain = item.clone();
    plain.refs.remove("variation_id");
    let abilities = adapter.traits().abilities;
    let window = Window { from: NOW.minus(Duration::from_secs(600)), to: NOW };
    let mut asks: Vec<(String, Ask)> = Vec::new();
    if abilities.stock {
        asks.push(("list of stock".into(), Ask::Stock { page: Page::default() }));
    }
    if abilities.stock_of.is_some() {
        if plain.refs != item.refs {
            asks.push(("stock of a listing without variation_id".into(), Ask::StockOf { items: vec![plain] }));
        }
        asks.push(("stock of a listing".into(), Ask::StockOf { items: vec![item] }));
    }
    for list in 0..abilities.orders.map_or(0, |orders| orders.lists) {
        asks.push((format!("orders, list {list}"), Ask::Orders { list, window, page: Page::default() }));
    }
    if abilities.orders.is_some_and(|orders| orders.statuses.is_some()) {
        asks.push(("statuses of orders".into(), Ask::OrderStatuses { orders: vec!["4001".into()] }));
    }
    if abilities.order {
        asks.push(("one order".into(), Ask::Order { id: "4001".into() }));
    }
    if abilities.check {
        asks.push(("check of the credentials".into(), Ask::Check));
    }
    for (what, ask) in asks {
        let call = adapter.ask(&connection, &moment, &ask).unwrap_or_else(|error| panic!("{id}, {what}: {error:?}"));
        made.push((slug(&what), call.request));
    }
    made
}

/// What was written by hand after the vendor's document of a request, for its body or its query. Lists that differ only in a
/// value share one.
fn schema_of(id: &str, what: &str, part: &str) -> Option<(String, Value)> {
    let first = what.strip_prefix("orders-list-").map(|_| "orders-list-0".to_owned());
    [Some(what.to_owned()), first].into_iter().flatten().find_map(|name| {
        let file = format!("{name}{part}.schema.json");
        let text = fs::read_to_string(folder(id).join(&file)).ok()?;
        Some((file, serde_json::from_str(&text).unwrap()))
    })
}

/// Whether `GET /a/{b}` is the line of a request.
fn is_line(pattern: &str, method: Method, path: &str) -> bool {
    let (wanted, pattern) = pattern.split_once(' ').unwrap();
    let method = format!("{method:?}").to_uppercase();
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    wanted == method
        && pattern.len() == path.len()
        && pattern.iter().zip(path).all(|(wanted, part)| wanted.starts_with('{') && !part.is_empty() || *wanted == part)
}

/// A query as a schema sees it: numbers are numbers.
fn query_of(url: &url::Url) -> Value {
    let value = |text: &str| text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number));
    Value::Object(url.query_pairs().map(|(name, text)| (name.into_owned(), value(&text))).collect())
}

#[test]
fn requests_keep_to_what_the_marketplaces_publish() {
    let mut held = 0;
    // Of two the document is our own.
    for id in ids().into_iter().filter(|id| !["generic", "polling-generic"].contains(id)) {
        let mut used = BTreeSet::new();
        for (what, request) in requests(id) {
            let url = url::Url::parse(&request.url).unwrap();
            let body: Option<Value> = request.body.as_deref().map(|body| serde_json::from_slice(body).unwrap());
            let query = query_of(&url);
            let bare = body.is_none() || query != json!({});
            let parts = [("", body), (".query", bare.then_some(query))];
            for (part, value) in parts.into_iter().filter_map(|(part, value)| Some((part, value?))) {
                let Some((file, schema)) = schema_of(id, &what, part) else {
                    panic!("{id}: nothing is known of {what}{part}: {} {value}", request.url)
                };
                assert!(schema["$comment"].as_str().is_some(), "{id}/{file} does not say what it was written after");
                let lines = match &schema["$request"] {
                    Value::Array(lines) => lines.clone(),
                    line => vec![line.clone()],
                };
                let known = lines.iter().any(|line| is_line(line.as_str().unwrap(), request.method, url.path()));
                assert!(known, "{id}/{file}: {:?} {} is not {lines:?}", request.method, url.path());
                let faults = schema::faults(&schema, &value);
                assert!(faults.is_empty(), "{id}/{file}: {faults:?}\n{value}");
                used.insert(file);
                held += 1;
            }
        }
        let files = fs::read_dir(folder(id)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let idle: Vec<String> = files.filter(|name| name.ends_with(".schema.json") && !used.contains(name)).collect();
        assert!(idle.is_empty(), "{id}: {idle:?} is about no request of it");
    }
    assert!(held >= 60, "{held} requests were held against a schema");
}

#[test]
fn there_are_no_fixtures_of_nobody() {
    let known: BTreeSet<String> = ids().into_iter().map(str::to_owned).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap()).filter(|entry| entry.path().is_dir());
    let found: BTreeSet<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(found, known);
}
