//! The API's description is the one that is committed, and leaves no route out.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::hub::Hub;

/// Routes that are no part of the API: the demo's, and pages with what they load.
const NOT_DESCRIBED: [&str; 10] = [
    "/",
    "/dashboard/{name:.+}",
    "/docs",
    "/docs/{part:docs.js|docs.css}",
    "/demo/buy",
    "/client/stockhub.js",
    "/client/stockhub.d.ts",
    "/asyncapi.json",
    "/store",
    "/store/{part:store.js|store.css|icon.svg}",
];

pub fn document() -> Value {
    serde_json::to_value(stockhub::http::openapi_document()).expect("a document")
}

/// Method and address of every operation that is described.
pub fn operations() -> BTreeSet<(String, String)> {
    let document = document();
    let paths = document["paths"].as_object().expect("paths").iter();
    let all = paths.flat_map(|(path, item)| {
        let methods = item.as_object().expect("operations").keys();
        methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    });
    all.collect()
}

/// Written anew with `STOCKHUB_BLESS=1`.
#[test]
fn the_committed_description_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let text = serde_json::to_string_pretty(&document()).expect("text") + "\n";
    if std::env::var("STOCKHUB_BLESS").is_ok_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("docs");
        std::fs::write(&path, &text).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(text.lines()).position(|(old, new)| old != new);
    assert!(
        committed == text,
        "docs/openapi.json is not what the code says, first in line {:?}: run this test with STOCKHUB_BLESS=1 and look at the difference",
        differs.map(|line| line + 1)
    );
}

/// The route tables are read as text: the framework does not tell what is registered.
#[test]
fn every_route_is_described() {
    let described = operations();
    let mut count = 0;
    for (method, path) in routes() {
        count += 1;
        if !NOT_DESCRIBED.contains(&path.as_str()) {
            assert!(described.contains(&(method.clone(), path.clone())), "{method} {path} is not in the description");
        }
    }
    assert!(count >= described.len(), "{count} routes were found, {} are described", described.len());
    for operation in described {
        assert!(routes().contains(&operation), "{operation:?} is described, but there is no such route");
    }
}

/// What reads the description follows its references, and fills in what stands in braces.
#[test]
fn references_lead_somewhere_and_parameters_of_a_path_are_described() {
    let document = document();
    for reference in references(&document) {
        let pointer = reference.strip_prefix('#').expect("a reference within the document");
        assert!(document.pointer(pointer).is_some(), "{reference} is nowhere");
    }
    for (path, item) in document["paths"].as_object().expect("paths") {
        let wanted: BTreeSet<&str> = path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        for (method, operation) in item.as_object().expect("operations") {
            let all = operation["parameters"].as_array().cloned().unwrap_or_default();
            let described: BTreeSet<&str> = all.iter().filter(|p| p["in"] == "path").filter_map(|p| p["name"].as_str()).collect();
            assert_eq!(described, wanted, "{method} {path}");
        }
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => {
            let own = map.get("$ref").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(map.values().flat_map(references)).collect()
        }
        Value::Array(list) => list.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

fn routes() -> BTreeSet<(String, String)> {
    let tables = [include_str!("../../../src/http/mod.rs"), include_str!("../../../src/realtime/mod.rs")];
    let mut routes = BTreeSet::new();
    for table in tables {
        // `at("path", "METHODS", ...`, on one line or on several.
        for rest in table.split("at(").skip(1).filter(|rest| rest.trim_start().starts_with('"')) {
            let mut quoted = rest.split('"').skip(1).step_by(2);
            let (path, methods) = (quoted.next().expect("a path"), quoted.next().expect("its methods"));
            routes.extend(methods.split(", ").map(|method| (method.to_owned(), path.to_owned())));
        }
    }
    routes
}

#[tokio::test]
async fn the_hub_serves_it() {
    let hub = Hub::start().await;
    let answer = hub.http.send("GET", "/openapi.json", &[], None).await;
    assert_eq!((answer.status, answer.json()), (200, document()));
    hub.stop().await;
}
