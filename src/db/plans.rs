//! What runs with every claim or twice a second must not read more as the log or the catalogue grows. SQLite chooses a plan
//! without looking at the data, so the choice can be held here.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row as _};

use super::sql::{Dialect, Sql};
use super::{
    DatabaseUrl, Db, DbOptions, WriteConnection, analytics, events, history, listings, movements, orders, products,
    push_attempts, push_checks, pushes, sinks, webhooks,
};

/// A statement and the index it must be answered from.
fn wanted() -> [(&'static Sql, &'static [&'static str]); 36] {
    [
        (&webhooks::WEBHOOKS_DUE, &["webhooks_due"]),
        (&webhooks::WEBHOOKS_WAITING, &["webhooks_waiting"]),
        (&webhooks::WEBHOOKS_REMAP, &["webhooks_unmapped"]),
        (&pushes::PUSHES_ABANDONED, &["listings_in_flight"]),
        (&pushes::PUSHES_DUE, &["listings_emptied", "listings_dirty"]),
        (&pushes::PUSHES_NEXT, &["listings_dirty", "listings_to_confirm", "listings_to_verify"]),
        (&push_checks::PUSHES_TO_VERIFY, &["listings_to_verify"]),
        (&listings::LISTINGS_RESOLVE, &["sqlite_autoindex_products_2 (sku=?)", "listing_components_by_product (product_id=?)"]),
        (&pushes::PUSHES_GATES, &["webhooks_waiting"]),
        (&webhooks::WEBHOOKS_COUNT_SELECTED, &["sqlite_autoindex_marketplace_webhooks_1 (id>? AND id<?)"]),
        // Lists of what is rare.
        (&products::PRODUCTS_IN_STATE, &["products_by_state (stock_state=? AND sku>?)"]),
        (&listings::LISTINGS_PAGE_OF_MARKETPLACE, &["listings_of_marketplace (marketplace_id=? AND id>?)"]),
        (&listings::LISTINGS_UNUSUAL, &["listings_unusual (push_state=? AND id>?)", "listings_put_away (state=? AND id>?)"]),
        (&listings::LISTINGS_UNTOLD, &["listings_dirty"]),
        (&push_checks::TASKS_PAGE, &["listings_unusual (push_state=? AND id>?)"]),
        (&movements::MOVEMENTS_PAGE_OF_MARKETPLACE, &["movements_by_marketplace (marketplace_id=? AND id>? AND id<?)"]),
        (&movements::MOVEMENTS_UNUSUAL, &["movements_unusual (movement_type=? AND id>? AND id<?)"]),
        (&orders::ORDERS_PAGE_OF_MARKETPLACE, &["orders_by_marketplace (marketplace_id=? AND id>? AND id<?)"]),
        (&orders::ORDERS_UNUSUAL, &["orders_unusual (status=? AND id>? AND id<?)"]),
        (&orders::ORDERS_NAMED, &["sqlite_autoindex_orders_2 (marketplace_id=? AND external_id=?)"]),
        (&push_attempts::ATTEMPTS_PAGE_OF_MARKETPLACE, &["push_attempts_by_marketplace (marketplace_id=? AND id>? AND id<?)"]),
        (&push_attempts::ATTEMPTS_UNUSUAL, &["push_attempts_unusual (outcome=? AND id>? AND id<?)"]),
        (&webhooks::WEBHOOKS_PAGE_OF_MARKETPLACE, &["webhooks_by_marketplace (marketplace_id=? AND id>? AND id<?)"]),
        (&webhooks::WEBHOOKS_TO_HANDLE, &["webhooks_to_handle (status=?)"]),
        (&webhooks::WEBHOOKS_UNDER_WAY, &["webhooks_waiting (marketplace_id=?)"]),
        (&history::UNMAPPED_WEBHOOKS, &["webhooks_to_handle (status=?)"]),
        (&sinks::DEAD_PAGE, &["webhooks_to_handle (status=?)", "listings_unusual (push_state=? AND id<?)"]),
        (&webhooks::WEBHOOKS_REACH, &["COVERING INDEX sqlite_autoindex_marketplace_webhooks_1 (id>? AND id<?)"]),
        (
            &webhooks::WEBHOOKS_REACH_OF_MARKETPLACE,
            &["COVERING INDEX webhooks_by_marketplace (marketplace_id=? AND id>? AND id<?)"],
        ),
        (&events::EVENTS_REACH, &["COVERING INDEX sqlite_autoindex_events_1 (id>? AND id<?)"]),
        // A text is compared in the index; only what fits is looked up.
        (&products::PRODUCTS_FOUND, &["products_named (sku>?)"]),
        (&listings::STORE_ITEMS, &["listings_of_marketplace (marketplace_id=? AND id>?)", "listing_components_1 (listing_id=?)"]),
        // Figures of a span of days.
        (&analytics::SALES_TOGETHER, &["SEARCH t USING PRIMARY KEY (day>? AND day<?)"]),
        (&analytics::SALES_OF_PRODUCTS, &["SEARCH s USING INDEX daily_sales_by_product (product_id=? AND day>? AND day<?)"]),
        (&analytics::UNITS_SOLD, &["SEARCH u USING PRIMARY KEY (day>? AND day<?)"]),
        (&analytics::CALLS, &["push_attempts_by_marketplace (marketplace_id=? AND id>? AND id<?)"]),
    ]
}

#[tokio::test]
async fn what_runs_often_does_not_read_what_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let options = DbOptions {
        url: DatabaseUrl::parse(&format!("sqlite://{}", folder.path().join("plans.db").display())).unwrap(),
        readers: 1,
        busy_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        wal_autocheckpoint_pages: 1_000,
    };
    let (db, mut writer) = Db::open(options).await.unwrap();
    let WriteConnection::Sqlite { conn, .. } = &mut writer else { panic!("the URL says SQLite") };
    for (statement, indexes) in wanted() {
        let text = format!("EXPLAIN QUERY PLAN {}", statement.text(Dialect::Sqlite));
        let rows = sqlx::query(AssertSqlSafe(text)).fetch_all(&mut *conn).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        for index in indexes {
            assert!(plan.iter().any(|step| step.contains(index)), "{} should use {index}: {plan:#?}", statement.name);
        }
    }
    db.close().await;
}
