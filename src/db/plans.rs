//! What runs with every claim or twice a second must not read more as the log or the catalogue grows. SQLite chooses a plan
//! without looking at the data, so the choice can be held here.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row as _};

use super::sql::{Dialect, Sql};
use super::{DatabaseUrl, Db, DbOptions, WriteConnection, push_checks, pushes, webhooks};

/// A statement and the index it must be answered from.
fn wanted() -> [(&'static Sql, &'static [&'static str]); 7] {
    [
        (&webhooks::WEBHOOKS_DUE, &["webhooks_due"]),
        (&webhooks::WEBHOOKS_WAITING, &["webhooks_waiting"]),
        (&webhooks::WEBHOOKS_REMAP, &["webhooks_unmapped"]),
        (&pushes::PUSHES_ABANDONED, &["listings_in_flight"]),
        (&pushes::PUSHES_DUE, &["listings_emptied", "listings_dirty"]),
        (&pushes::PUSHES_NEXT, &["listings_dirty", "listings_to_confirm", "listings_to_verify"]),
        (&push_checks::PUSHES_TO_VERIFY, &["listings_to_verify"]),
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
