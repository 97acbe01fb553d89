//! A database of an earlier version is brought to this one's shape, and what was in it is found by the new ways.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::migrate::{Migrate, Migrator};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use stockhub::db::analytics::{self, GroupBy, SalesGroup};
use stockhub::db::sales::{self, SalesDelta, SalesKey};
use stockhub::db::{Conn, Db, products, verify};
use stockhub::domain::ids::{MarketplaceId, ProductId};
use uuid::Uuid;

use crate::support::database::TestDatabase;

/// The migrations up to one of them, from their files.
async fn migrations(folder: &str, newest: i64) -> Migrator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
    let all = Migrator::new(path).await.expect("migrations");
    Migrator::with_migrations(all.iter().filter(|migration| migration.version <= newest).cloned().collect())
}

async fn migrate<C: Migrate>(migrator: &Migrator, connection: &mut C) {
    migrator.run_direct(None, connection, false).await.expect("migrates");
}

/// Makes the tables as they were after a migration, where one is named, and runs statements; `{n}` in them becomes the id of that number.
async fn run(database: &TestDatabase, newest: Option<i64>, rows: &str) {
    let text = |literal: fn(Uuid) -> String| {
        let ids = (1..=9_u128).map(|n| (format!("{{{n}}}"), literal(Uuid::from_u128(n))));
        ids.fold(rows.to_owned(), |text, (token, id)| text.replace(&token, &id))
    };
    if database.is_sqlite() {
        let url = format!("{}?mode=rwc", database.url);
        let mut connection = SqliteConnection::connect(&url).await.expect("connects");
        if let Some(newest) = newest {
            migrate(&migrations("sqlite", newest).await, &mut connection).await;
        }
        let rows = text(|id| format!("x'{}'", id.simple()));
        sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut connection).await.expect("rows");
        connection.close().await.expect("closes");
    } else {
        let mut connection = PgConnection::connect(&database.url).await.expect("connects");
        if let Some(newest) = newest {
            migrate(&migrations("postgres", newest).await, &mut connection).await;
        }
        let rows = text(|id| format!("'{id}'"));
        sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut connection).await.expect("rows");
        connection.close().await.expect("closes");
    }
}

const OLD_ROWS: &str = "
    INSERT INTO marketplaces (id, code, name, kind, adapter, stock_feed, created_at, updated_at)
    VALUES ({1}, 'uzum', 'Uzum', 'api', 'generic', 'orders', 1, 1), ({2}, 'ozon', 'Ozon', 'api', 'generic', 'orders', 1, 1);
    INSERT INTO products (id, sku, name, created_at, updated_at)
    VALUES ({3}, 'CUP-1', 'Tea cup', 1, 1), ({4}, 'POT-2', 'Tea pot', 1, 1), ({5}, 'PAN-3', 'Pan', 1, 1);
    INSERT INTO daily_sales (day, marketplace_id, product_id, currency, units, revenue_minor, cost_minor, fee_minor, orders, cancelled, returned)
    VALUES ('2026-01-01', {1}, {3}, 'USD', 5, 500, 50, 5, 4, 1, 0), ('2026-01-01', {1}, {4}, 'USD', 2, 220, 20, 0, 2, 0, 1),
        ('2026-01-01', {1}, {4}, 'UZS', 1, 9000, 0, 0, 1, 0, 0), ('2026-01-01', {2}, {3}, 'USD', -1, -100, -10, 0, 0, 1, 0),
        ('2026-01-02', {2}, {5}, '', 3, 0, 0, 0, 3, 0, 0);";

type Sums = BTreeMap<(String, String, String), [i64; 7]>;

fn sums(rows: &[SalesGroup]) -> Sums {
    let mut sums = Sums::new();
    for r in rows {
        let sum = sums.entry((r.day.clone(), r.marketplace.clone(), r.currency.clone())).or_default();
        let figures = [r.units, r.revenue_minor, r.cost_minor, r.fee_minor, r.orders, r.cancelled, r.returned];
        sum.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
    }
    sums
}

/// By day and marketplace: added up from every product's rows, and as the totals have it.
async fn both_ways(conn: &mut Conn<'_>) -> (Sums, Sums) {
    let (day, marketplace, all) = (true, true, ("2026-01-01", "2026-12-31"));
    let each = GroupBy { day, marketplace, sku: true };
    let together = GroupBy { day, marketplace, sku: false };
    let each = analytics::sales(conn, all.0, all.1, each, 1_000, false).await.expect("rows");
    let together = analytics::sales(conn, all.0, all.1, together, 1_000, false).await.expect("totals");
    (sums(&each), sums(&together))
}

#[tokio::test]
async fn daily_sales_of_before_have_their_totals_and_every_later_change_is_in_both() {
    let database = TestDatabase::new().await;
    run(&database, Some(9), OLD_ROWS).await;
    let (db, mut writer) = Db::open(database.options()).await.expect("opens");
    let (each, together) = both_ways(&mut writer.conn()).await;
    assert_eq!(each, together);
    assert_eq!(together[&("2026-01-01".into(), "uzum".into(), "USD".into())], [7, 720, 70, 5, 6, 1, 1]);
    assert_eq!(together.len(), 4, "a currency is a row of its own: {together:?}");
    let key = |day: &str, marketplace, product| SalesKey {
        day: day.into(),
        marketplace_id: MarketplaceId::new(Uuid::from_u128(marketplace)),
        product_id: ProductId::new(Uuid::from_u128(product)),
        currency: "USD".into(),
    };
    let delta = |units: i64| SalesDelta {
        units,
        revenue_minor: units * 100,
        cost_minor: units,
        orders: units.max(0),
        cancelled: 0,
        returned: 2,
    };
    // A row that is there, a new one of a day that is there, and a day that is new: in one statement and in several.
    for changes in [
        vec![(key("2026-01-01", 1, 3), delta(10)), (key("2026-01-01", 1, 5), delta(4)), (key("2026-03-01", 2, 4), delta(1))],
        vec![(key("2026-03-01", 2, 4), delta(-1))],
        vec![(key("2026-01-01", 2, 3), delta(-3))],
    ] {
        writer.begin().await.expect("begins");
        sales::add(&mut writer.conn(), &changes.into_iter().collect()).await.expect("adds");
        writer.commit().await.expect("commits");
        let (each, together) = both_ways(&mut writer.conn()).await;
        assert_eq!(each, together);
    }
    // What is rolled back is in neither.
    let before = both_ways(&mut writer.conn()).await;
    writer.begin().await.expect("begins");
    sales::add(&mut writer.conn(), &BTreeMap::from([(key("2026-01-01", 1, 3), delta(99))])).await.expect("adds");
    writer.rollback().await;
    assert_eq!(both_ways(&mut writer.conn()).await, before);
    let best = GroupBy { sku: true, ..GroupBy::default() };
    let best = analytics::sales(&mut writer.conn(), "2026-01-01", "2026-01-01", best, 2, true).await.expect("best");
    let best: Vec<_> = best.iter().map(|row| (row.sku.as_str(), row.units, row.revenue_minor, row.returned)).collect();
    assert_eq!(best, [("CUP-1", 11, 1_100, 4), ("PAN-3", 4, 400, 2)], "over both marketplaces");
    let found = products::search(&mut writer.conn(), "", 10, "tea", "").await.expect("found");
    assert_eq!(found.iter().map(|row| row.sku.as_str()).collect::<Vec<_>>(), ["CUP-1", "POT-2"]);
    // `stockhub verify` would see a total that is another.
    assert!(verify::findings(&mut writer.conn()).await.expect("findings").is_empty());
    run(&database, None, "UPDATE daily_totals SET cost_minor = cost_minor + 1 WHERE day = '2026-01-02'").await;
    let found = verify::findings(&mut writer.conn()).await.expect("findings");
    assert_eq!(found.iter().map(|finding| (&*finding.subject, &*finding.place)).collect::<Vec<_>>(), [("2026-01-02", "ozon")]);
    db.close().await;
    writer.close().await;
}
