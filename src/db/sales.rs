//! Daily figures, kept live: one row per day, marketplace, product and currency.

use super::conn::{Conn, execute, fetch_all, row};
use super::error::DbError;
use super::sql::{Rows, statements};
use crate::domain::ids::{MarketplaceId, ProductId};

statements! {
    SALES_ADD = both("INSERT INTO daily_sales (day, marketplace_id, product_id, currency, units, revenue_minor, cost_minor, orders, \
            cancelled, returned) \
        SELECT {text 0}, {id 1}, {id 2}, {text 3}, {int 4}, {int 5}, {int 6}, {int 7}, {int 8}, {int 9} FROM {rows} WHERE TRUE \
        ON CONFLICT (day, marketplace_id, product_id, currency) DO UPDATE SET units = daily_sales.units + excluded.units, \
            revenue_minor = daily_sales.revenue_minor + excluded.revenue_minor, \
            cost_minor = daily_sales.cost_minor + excluded.cost_minor, orders = daily_sales.orders + excluded.orders, \
            cancelled = daily_sales.cancelled + excluded.cancelled, returned = daily_sales.returned + excluded.returned");
    SALES_BY_DAY = both("SELECT s.day, m.code AS marketplace, p.sku, s.currency, s.units, s.revenue_minor, s.cost_minor, s.fee_minor, \
            s.orders, s.cancelled, s.returned FROM daily_sales s JOIN marketplaces m ON m.id = s.marketplace_id \
            JOIN products p ON p.id = s.product_id WHERE s.day >= $1 AND s.day <= $2 ORDER BY s.day, m.code, p.sku LIMIT $3");
}

/// What one group of sales adds to one day's row. Cancels and returns subtract units and revenue.
#[derive(Clone, Debug, Default)]
pub struct SalesDelta {
    pub units: i64,
    pub revenue_minor: i64,
    pub cost_minor: i64,
    pub orders: i64,
    pub cancelled: i64,
    pub returned: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SalesKey {
    pub day: String,
    pub marketplace_id: MarketplaceId,
    pub product_id: ProductId,
    pub currency: String,
}

/// Keys come sorted and once each: two nodes then lock the rows in one order.
pub async fn add(conn: &mut Conn<'_>, sales: &std::collections::BTreeMap<SalesKey, SalesDelta>) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for (key, d) in sales {
        rows.push(|r| {
            r.text(&key.day).id(key.marketplace_id).id(key.product_id).text(&key.currency).int(d.units).int(d.revenue_minor);
            r.int(d.cost_minor).int(d.orders).int(d.cancelled).int(d.returned);
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, SALES_ADD, rows.finish()).map(drop)
}

row! {
    pub struct SalesRow {
        pub day: String,
        pub marketplace: String,
        pub sku: String,
        pub currency: String,
        pub units: i64,
        pub revenue_minor: i64,
        pub cost_minor: i64,
        pub fee_minor: i64,
        pub orders: i64,
        pub cancelled: i64,
        pub returned: i64,
    }
}

pub async fn between(conn: &mut Conn<'_>, from: &str, to: &str, limit: i64) -> Result<Vec<SalesRow>, DbError> {
    fetch_all!(conn, SALES_BY_DAY, SalesRow, from, to, limit)
}
