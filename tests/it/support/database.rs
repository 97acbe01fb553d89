//! A database of its own for every test: a SQLite file in a temporary folder, or a fresh database on the PostgreSQL server that
//! `STOCKHUB_TEST_DATABASE_URL` names. The whole suite runs once on each.

use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

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

/// On PostgreSQL: what another connection may do beside the hub.
impl TestDatabase {
    pub async fn psql(&self, sql: &str) -> Output {
        let psql = Command::new("psql").args([&self.url, "-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql]).output();
        psql.await.expect("psql runs")
    }

    /// Begins a transaction, does this in it, and keeps it open.
    pub async fn hold(&self, sql: &str) -> Held {
        let mut psql = Command::new("psql");
        psql.args([&self.url, "-qAt"]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut psql = psql.spawn().expect("psql runs");
        let (mut stdin, stdout) = (psql.stdin.take().unwrap(), psql.stdout.take().unwrap());
        stdin.write_all(format!("BEGIN;\n{sql};\n\\echo held\n").as_bytes()).await.unwrap();
        let mut said = BufReader::new(stdout).lines();
        while said.next_line().await.unwrap().expect("it is held") != "held" {}
        psql.stdin = Some(stdin);
        Held(psql)
    }

    /// How many connections wait for a lock that another one has.
    pub async fn waiting(&self) -> usize {
        let sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        String::from_utf8(self.psql(sql).await.stdout).unwrap().trim().parse().unwrap()
    }
}

/// A transaction that somebody else has open.
pub struct Held(Child);

impl Held {
    pub async fn let_go(mut self) {
        self.0.stdin.take().unwrap().write_all(b"ROLLBACK;\n").await.unwrap();
        self.0.wait().await.unwrap();
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
