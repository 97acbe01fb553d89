//! A database of its own for every test: a SQLite file in a temporary folder, or a fresh database on the PostgreSQL server that
//! `STOCKHUB_TEST_DATABASE_URL` names. The whole suite runs once on each.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use stockhub::db::{DatabaseUrl, DbOptions};

pub const SERVER_VARIABLE: &str = "STOCKHUB_TEST_DATABASE_URL";

pub struct TestDatabase {
    pub url: String,
    /// Goes with the test, and the SQLite file in it.
    pub folder: tempfile::TempDir,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl TestDatabase {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = match std::env::var(SERVER_VARIABLE) {
            Ok(server) if !server.is_empty() => create_database(&server).await,
            _ => format!("sqlite://{}", folder.path().join("hub.db").display()),
        };
        Self { url, folder }
    }

    pub fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite")
    }

    pub fn options(&self) -> DbOptions {
        DbOptions {
            url: DatabaseUrl::parse(&self.url).expect("a good URL"),
            readers: 4,
            busy_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            wal_autocheckpoint_pages: 1000,
        }
    }
}

/// `psql` comes with the server that the test script starts; the suite itself never names a database driver.
async fn create_database(server: &str) -> String {
    let name = format!("t{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let made = tokio::process::Command::new("psql")
        .args([server, "-q", "-v", "ON_ERROR_STOP=1", "-c", &format!("CREATE DATABASE {name}")])
        .status()
        .await
        .expect("psql runs");
    assert!(made.success(), "CREATE DATABASE {name} failed");
    let base = server.rsplit_once('/').expect("a URL with a database name").0;
    format!("{base}/{name}")
}
