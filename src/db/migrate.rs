//! Brings the tables to this version's shape. Pairs of files with the same number and name; a test compares them.

use std::borrow::Cow;

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::conn::fetch_one;
use super::sql::Sql;
use super::{DatabaseUrl, Db, DbError, OpenError, WriteConnection};

struct Pair {
    number: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

const PAIRS: &[Pair] = &[
    Pair {
        number: 1,
        name: "foundation",
        sqlite: include_str!("../../migrations/sqlite/0001_foundation.sql"),
        postgres: include_str!("../../migrations/postgres/0001_foundation.sql"),
    },
    Pair {
        number: 2,
        name: "sinks",
        sqlite: include_str!("../../migrations/sqlite/0002_sinks.sql"),
        postgres: include_str!("../../migrations/postgres/0002_sinks.sql"),
    },
    Pair {
        number: 3,
        name: "listing_refs",
        sqlite: include_str!("../../migrations/sqlite/0003_listing_refs.sql"),
        postgres: include_str!("../../migrations/postgres/0003_listing_refs.sql"),
    },
    Pair {
        number: 4,
        name: "calling_out",
        sqlite: include_str!("../../migrations/sqlite/0004_calling_out.sql"),
        postgres: include_str!("../../migrations/postgres/0004_calling_out.sql"),
    },
    Pair {
        number: 5,
        name: "people",
        sqlite: include_str!("../../migrations/sqlite/0005_people.sql"),
        postgres: include_str!("../../migrations/postgres/0005_people.sql"),
    },
    Pair {
        number: 6,
        name: "write_path",
        sqlite: include_str!("../../migrations/sqlite/0006_write_path.sql"),
        postgres: include_str!("../../migrations/postgres/0006_write_path.sql"),
    },
    Pair {
        number: 7,
        name: "sync",
        sqlite: include_str!("../../migrations/sqlite/0007_sync.sql"),
        postgres: include_str!("../../migrations/postgres/0007_sync.sql"),
    },
    Pair {
        number: 8,
        name: "gaps",
        sqlite: include_str!("../../migrations/sqlite/0008_gaps.sql"),
        postgres: include_str!("../../migrations/postgres/0008_gaps.sql"),
    },
    Pair {
        number: 9,
        name: "long_lists",
        sqlite: include_str!("../../migrations/sqlite/0009_long_lists.sql"),
        postgres: include_str!("../../migrations/postgres/0009_long_lists.sql"),
    },
    Pair {
        number: 10,
        name: "large_catalogue",
        sqlite: include_str!("../../migrations/sqlite/0010_large_catalogue.sql"),
        postgres: include_str!("../../migrations/postgres/0010_large_catalogue.sql"),
    },
    Pair {
        number: 11,
        name: "tables_of_rules",
        sqlite: include_str!("../../migrations/sqlite/0011_tables_of_rules.sql"),
        postgres: include_str!("../../migrations/postgres/0011_tables_of_rules.sql"),
    },
    Pair {
        number: 12,
        name: "archive",
        sqlite: include_str!("../../migrations/sqlite/0012_archive.sql"),
        postgres: include_str!("../../migrations/postgres/0012_archive.sql"),
    },
    Pair {
        number: 13,
        name: "tables_of_counts",
        sqlite: include_str!("../../migrations/sqlite/0013_tables_of_counts.sql"),
        postgres: include_str!("../../migrations/postgres/0013_tables_of_counts.sql"),
    },
];

static NEWEST: Sql = Sql::both("migrate::NEWEST", "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM _sqlx_migrations");

fn known() -> i64 {
    PAIRS.iter().map(|pair| pair.number).max().unwrap_or(0)
}

pub(super) async fn run(writer: &mut WriteConnection, url: &DatabaseUrl) -> Result<(), OpenError> {
    let sqlite = url.is_sqlite();
    let list = PAIRS.iter().map(|pair| {
        let text = if sqlite { pair.sqlite } else { pair.postgres };
        Migration::new(pair.number, Cow::from(pair.name), MigrationType::Simple, AssertSqlSafe(text).into_sql_str(), false)
    });
    let migrator = Migrator::with_migrations(list.collect());
    let done = match writer {
        WriteConnection::Sqlite { conn, .. } => apply(&migrator, conn).await,
        WriteConnection::Postgres { conn } => apply(&migrator, conn).await,
    };
    done.map_err(|source| match source {
        MigrateError::VersionMissing(found) => OpenError::Newer { url: url.to_string(), found, known: known() },
        source => OpenError::Migrate { url: url.to_string(), source },
    })
}

async fn apply<C: Migrate>(migrator: &Migrator, conn: &mut C) -> Result<(), MigrateError> {
    migrator.run_direct(None, conn, false).await
}

/// A reader must not guess at tables it does not know.
pub(super) async fn check(db: &Db) -> Result<(), OpenError> {
    let mut reader = db.read().await?;
    let newest: Result<(i64,), DbError> = fetch_one!(&mut reader.conn(), NEWEST, (i64,));
    let url = || db.url().to_string();
    match newest {
        Ok((found,)) if found > known() => Err(OpenError::Newer { url: url(), found, known: known() }),
        Ok((found,)) if found < known() => Err(OpenError::Empty { url: url() }),
        Ok(_) => Ok(()),
        Err(DbError::Bug { .. }) => Err(OpenError::Empty { url: url() }),
        Err(error) => Err(error.into()),
    }
}
