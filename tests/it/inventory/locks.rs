//! Who waits for whom on PostgreSQL. Everybody takes the stock of a product first; who took the product or its listing before would hold
//! what a sale needs while waiting for what the sale has, and one of the two would be thrown out.

use serde_json::{Value, json};

use crate::support::database::TestDatabase;
use crate::support::http::Answer;
use crate::support::hub::{ADMIN_TOKEN, Hub, Plan};

const STOCK: &str = "SELECT 1 FROM inventory i JOIN products p ON p.id = i.product_id WHERE p.sku = 'A-1' FOR UPDATE OF i";
const PRODUCT: &str = "SELECT 1 FROM products WHERE sku = 'A-1' FOR UPDATE NOWAIT";
const LISTING: &str = "SELECT 1 FROM marketplace_products WHERE marketplace_product_id = 'UZUM-A-1' FOR UPDATE NOWAIT";

/// A hub with one product on one marketplace; `None` on SQLite, where there is one writer and nobody to wait for.
async fn hub() -> Option<Hub> {
    let database = TestDatabase::new().await;
    if database.is_sqlite() {
        return None;
    }
    let hub = Hub::on(database, Plan { shops: vec!["uzum"], products: vec![("A-1", 50)], ..Plan::default() }).await;
    hub.settled(std::time::Duration::from_secs(20)).await;
    // Otherwise what it says by itself would wait too.
    assert_eq!(hub.admin("POST", "/v1/admin/marketplaces/uzum/pause", None).await.status, 200);
    Some(hub)
}

async fn send(hub: &Hub, method: &str, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let kind = if body.starts_with('{') { "application/json" } else { "text/csv" };
    let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
    hub.http.send_bytes(method, &format!("/v1/admin/{path}"), &headers, body.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_changed_of_a_product_or_a_listing_waits_for_the_stock_first() {
    let Some(hub) = hub().await else { return };
    let listing = hub.get("/v1/admin/listings").await["items"][0]["id"].as_str().unwrap().to_owned();
    let table = "marketplace,marketplace_product_id,sku,price,currency\nuzum,UZUM-A-1,A-1,77.00,USD\n";
    for (method, path, body, wanted) in [
        ("PUT", "products/A-1/rule".to_owned(), json!({"rule": {"buffer": 1}}).to_string(), PRODUCT),
        ("PUT", format!("listings/{listing}/rule"), json!({"rule": {"buffer": 2}}).to_string(), LISTING),
        ("PATCH", "products/A-1".to_owned(), json!({"name": "Other"}).to_string(), PRODUCT),
        ("PATCH", format!("listings/{listing}"), json!({"price": {"amount": "99.00", "currency": "USD"}}).to_string(), LISTING),
        ("POST", "products/import".to_owned(), "sku,name\nA-1,Third\n".to_owned(), PRODUCT),
        ("POST", "listings/import".to_owned(), table.to_owned(), LISTING),
        ("POST", "rules/import".to_owned(), "scope,sku,buffer\nproduct,A-1,3\n".to_owned(), PRODUCT),
        ("POST", "counts/import".to_owned(), "sku,count\nA-1,49\n".to_owned(), PRODUCT),
    ] {
        let held = hub.database.hold(STOCK).await;
        let look = async {
            hub.until(&format!("{method} {path} waits for the stock"), async || hub.database.waiting().await > 0).await;
            let free = hub.database.psql(wanted).await;
            held.let_go().await;
            free
        };
        let (answer, free) = tokio::join!(send(&hub, method, &path, &body), look);
        assert!(free.status.success(), "{method} {path} holds it while it waits: {}", String::from_utf8_lossy(&free.stderr));
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    }
    hub.stop().await;
}

/// Writing a movement, a sale or a listing locks what it refers to against being deleted. Nobody deletes it, so nobody need wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_changes_a_row_does_not_wait_for_who_refers_to_it() {
    let Some(hub) = hub().await else { return };
    let refers = "SELECT 1 FROM products, marketplaces WHERE sku = 'A-1' AND code = 'uzum' FOR KEY SHARE";
    let held = hub.database.hold(refers).await;
    for (method, path, body) in
        [("PATCH", "products/A-1", json!({"name": "Other"})), ("POST", "marketplaces/uzum/resume", Value::Null)]
    {
        let body = if body.is_null() { "{}".to_owned() } else { body.to_string() };
        let answer = send(&hub, method, path, &body);
        let answer = tokio::time::timeout(std::time::Duration::from_secs(20), answer).await.expect("it does not wait");
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    }
    held.let_go().await;
    hub.stop().await;
}

/// The pass over all products takes its mark before any stock, and at its end the marketplaces that come back: so does who starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_a_pass_takes_its_mark_first() {
    let Some(hub) = hub().await else { return };
    let mark = "INSERT INTO hub_meta (key, value) VALUES ('rules_pass', '~') ON CONFLICT (key) DO UPDATE SET value = '~'";
    let marketplace = "SELECT 1 FROM marketplaces WHERE code = 'uzum' FOR UPDATE NOWAIT";
    let table = "scope,marketplace,sku,buffer\nmarketplace,uzum,,5\nproduct,,A-1,4\n";
    let stock = format!("{STOCK} NOWAIT");
    for (method, path, body, wanted) in [
        ("PUT", "marketplaces/uzum/rule", json!({"rule": {"buffer": 1}}).to_string(), marketplace),
        ("POST", "rules/import", table.to_owned(), stock.as_str()),
    ] {
        // The pass of before is through.
        let passes = async || hub.database.psql("SELECT 1 FROM hub_meta WHERE key = 'rules_pass'").await.stdout;
        hub.until("no pass is under way", async || passes().await.is_empty()).await;
        let held = hub.database.hold(mark).await;
        let look = async {
            hub.until(&format!("{method} {path} waits for the mark"), async || hub.database.waiting().await > 0).await;
            let free = hub.database.psql(wanted).await;
            held.let_go().await;
            free
        };
        let (answer, free) = tokio::join!(send(&hub, method, path, &body), look);
        assert!(free.status.success(), "{method} {path} holds it while it waits: {}", String::from_utf8_lossy(&free.stderr));
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    }
    hub.stop().await;
}
