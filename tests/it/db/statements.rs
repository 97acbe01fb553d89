//! The compile-time check that two databases do not allow, as a test: every statement prepares on the migrated schema.

use crate::support::database::TestDatabase;
use stockhub::db::{self, Db};

#[tokio::test]
async fn every_statement_prepares() {
    let database = TestDatabase::new().await;
    let (db, mut writer) = Db::open(database.options()).await.expect("opens");
    let mut failed = Vec::new();
    for statement in db::all_statements() {
        if let Err(error) = db::prepare(&mut writer.conn(), statement).await {
            failed.push(format!("{}: {error}", statement.name));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(db::all_statements().count() > 50);
    db.close().await;
    writer.close().await;
}

#[tokio::test]
async fn a_second_hub_on_the_same_file_is_refused() {
    let database = TestDatabase::new().await;
    let first = Db::open(database.options()).await.expect("opens");
    let second = Db::open(database.options()).await;
    if database.is_sqlite() {
        let refusal = second.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refusal.contains("another stockhub"), "{refusal}");
    } else {
        assert!(second.is_ok(), "several nodes share one PostgreSQL");
    }
    drop(first);
}
