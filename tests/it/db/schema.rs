//! Both databases have the same tables, columns, views and indexes, of types that mean the same. SQLite's are read from the
//! database; PostgreSQL's too where there is a server to ask, else from its migrations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sqlx::{Connection as _, SqliteConnection};
use stockhub::db::{DatabaseUrl, Db, DbOptions};

use crate::support::database::{SERVER_VARIABLE, TestDatabase};

/// Table and column → what it holds, and whether it must have a value.
type Columns = BTreeMap<(String, String), (String, bool)>;

/// What SQLite calls what PostgreSQL holds.
fn kind(postgres: &str) -> String {
    match postgres.to_ascii_lowercase().as_str() {
        "uuid" | "bytea" => "BLOB",
        "bigint" | "boolean" => "INTEGER",
        "text" => "TEXT",
        other => panic!("{other}: a type that the other database has no word for"),
    }
    .into()
}

async fn sqlite() -> (Columns, BTreeSet<String>) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("schema.db").display());
    let options = DbOptions { url: DatabaseUrl::parse(&url).unwrap(), ..TestDatabase::new().await.options() };
    let (db, writer) = Db::open(options).await.expect("opens");
    writer.close().await;
    db.close().await;
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let columns: Vec<(String, String, String, bool)> = sqlx::query_as(
        "SELECT t.name, c.name, c.type, (c.\"notnull\" = 1 OR c.pk > 0) FROM sqlite_master t JOIN pragma_table_xinfo(t.name) c \
         WHERE t.type = 'table' AND t.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let others: Vec<(String,)> = sqlx::query_as(
        "SELECT type || ' ' || name FROM sqlite_master WHERE type IN ('view', 'index') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let columns = columns.into_iter().map(|(table, column, kind, must)| ((table, column), (kind, must)));
    (columns.collect(), others.into_iter().map(|row| row.0).collect())
}

async fn ask(url: &str, question: &str) -> Vec<Vec<String>> {
    let done =
        tokio::process::Command::new("psql").args([url, "-X", "-A", "-t", "-c", question]).output().await.expect("psql runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).expect("text");
    text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
}

async fn postgres() -> (Columns, BTreeSet<String>) {
    let database = TestDatabase::new().await;
    let (db, writer) = Db::open(database.options()).await.expect("opens");
    let columns = "SELECT c.table_name, c.column_name, c.data_type, c.is_nullable = 'NO' FROM information_schema.columns c \
        JOIN information_schema.tables t USING (table_schema, table_name) \
        WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.table_name NOT LIKE '\\_sqlx%'";
    let columns = ask(&database.url, columns).await;
    let others = "SELECT 'view ' || table_name FROM information_schema.views WHERE table_schema = 'public' UNION ALL \
        SELECT 'index ' || i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_namespace n ON n.oid = i.relnamespace \
        WHERE n.nspname = 'public' AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = x.indexrelid)";
    let others = ask(&database.url, others).await;
    db.close().await;
    writer.close().await;
    let columns = columns.into_iter().map(|row| ((row[0].clone(), row[1].clone()), (kind(&row[2]), row[3] == "t")));
    (columns.collect(), others.into_iter().map(|mut row| row.remove(0)).collect())
}

/// The same from the text of the migrations, as far as they create tables, views and indexes.
fn written() -> (Columns, BTreeSet<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut columns, mut others, mut table) = (Columns::new(), BTreeSet::new(), None::<String>);
    for line in
        files.iter().flat_map(|file| std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (&words[..], &table) {
            (["CREATE", "TABLE", name, "("], _) => table = Some((*name).to_owned()),
            (["CREATE", "VIEW", name, ..], _) => others.extend([format!("view {name}")]),
            (["CREATE", "INDEX", name, ..] | ["CREATE", "UNIQUE", "INDEX", name, ..], _) => {
                others.extend([format!("index {name}")])
            }
            (["DROP", "INDEX", name], _) => {
                others.remove(&format!("index {}", name.trim_end_matches(';')));
            }
            ([");"], _) => table = None,
            (["PRIMARY", "KEY", ..], Some(table)) => {
                let inside = line.split_once('(').unwrap().1.split_once(')').unwrap().0;
                for name in inside.split(',') {
                    columns.get_mut(&(table.clone(), name.trim().to_owned())).expect("a column of the key").1 = true;
                }
            }
            ([name, kind_word, ..], Some(table))
                if ["UUID", "BYTEA", "BIGINT", "BOOLEAN", "TEXT"].contains(&kind_word.trim_end_matches(',')) =>
            {
                let must = line.contains("NOT NULL") || line.contains("PRIMARY KEY");
                columns.insert((table.clone(), (*name).to_owned()), (kind(kind_word.trim_end_matches(',')), must));
            }
            (["ALTER", "TABLE", table, "ADD", "COLUMN", name, kind_word, ..], None) => {
                let kind = kind(kind_word.trim_end_matches([',', ';']));
                columns.insert(((*table).to_owned(), (*name).to_owned()), (kind, line.contains("NOT NULL")));
            }
            _ => {}
        }
    }
    (columns, others)
}

#[tokio::test]
async fn both_databases_hold_the_same() {
    let (columns, others) = sqlite().await;
    assert!(columns.len() > 200 && others.len() > 10, "{} columns, {} indexes and views", columns.len(), others.len());
    let asked = std::env::var(SERVER_VARIABLE).is_ok_and(|server| !server.is_empty());
    let (their_columns, their_others) = if asked { postgres().await } else { written() };
    let differs: Vec<_> = columns
        .keys()
        .chain(their_columns.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .filter(|name| columns.get(*name) != their_columns.get(*name))
        .map(|name| {
            format!("{}.{}: {:?} in SQLite, {:?} in PostgreSQL", name.0, name.1, columns.get(name), their_columns.get(name))
        })
        .collect();
    assert!(differs.is_empty(), "{}", differs.join("\n"));
    let apart: Vec<_> = others.symmetric_difference(&their_others).collect();
    assert!(apart.is_empty(), "in one of them only: {apart:?}");
}
