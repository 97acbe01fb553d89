//! Sales as a table, however many rows that is: day by day where days are kept apart, and some products at a time where these are.

use std::collections::VecDeque;

use actix_web::{HttpResponse, web};

use super::{SalesShape, Span};
use crate::ask;
use crate::context::Context;
use crate::db::analytics::{self, GroupBy, SalesGroup};
use crate::db::{DbError, products};
use crate::http::csv;
use crate::http::problem::Problem;

/// Products looked at together.
const PAGE: i64 = 500;

const COLUMNS: [&str; 12] =
    ["day", "marketplace", "sku", "currency", "units", "revenue", "cost", "fees", "profit", "orders", "cancelled", "returned"];

/// All rows of a span.
pub(super) async fn of_all(ctx: &web::Data<Context>, span: Span, by: GroupBy) -> Result<HttpResponse, Problem> {
    let name = name(&span);
    let stretches = if by.day {
        let days = ask!(ctx, Vec<String>, [span: Span = span] |conn| analytics::days(conn, &span.first, &span.last).await)?;
        days.into_iter().map(|day| (day.clone(), day)).collect()
    } else {
        VecDeque::from([(span.first, span.last)])
    };
    Ok(csv::answer(ctx, &name, &COLUMNS, Rows { by, stretches, after: String::new() }))
}

/// Rows that are known already.
pub(super) fn of(ctx: &web::Data<Context>, span: &Span, rows: &[SalesGroup]) -> HttpResponse {
    csv::answer(ctx, &name(span), &COLUMNS, Some(lines(rows)))
}

fn name(span: &Span) -> String {
    format!("sales-{}-{}", span.first, span.last)
}

struct Rows {
    by: GroupBy,
    /// First and last days still to come.
    stretches: VecDeque<(String, String)>,
    /// The SKU that was looked at last.
    after: String,
}

impl csv::Pieces for Rows {
    async fn next(&mut self, ctx: &Context) -> Result<Option<String>, DbError> {
        let Some((first, last)) = self.stretches.front().cloned() else { return Ok(None) };
        let by = self.by;
        if !by.sku {
            self.stretches.pop_front();
            let rows = ask!(ctx, Vec<SalesGroup>, [first: String = first, last: String = last, by: GroupBy = by] |conn| {
                analytics::sales(conn, &first, &last, by, i64::MAX, false).await
            })?;
            return Ok(Some(lines(&rows)));
        }
        type Found = (Option<String>, Vec<SalesGroup>);
        let day = if by.day { first.clone() } else { String::new() };
        let after = self.after.clone();
        let (reached, mut rows) = ask!(ctx, Found, [first: String = first, last: String = last, by: GroupBy = by, after: String = after] |conn| {
            let page = products::ids_page(conn, &after, PAGE).await?;
            let ids = page.iter().map(|(id, _)| *id);
            let rows = analytics::sales_of(conn, ids, &first, &last, by.marketplace).await?;
            Ok((page.last().map(|(_, sku)| sku.clone()), rows))
        })?;
        match reached {
            Some(sku) => self.after = sku,
            None => {
                self.stretches.pop_front();
                self.after.clear();
            }
        }
        rows.iter_mut().for_each(|row| row.day.clone_from(&day));
        Ok(Some(lines(&rows)))
    }
}

fn lines(rows: &[SalesGroup]) -> String {
    rows.iter().map(|row| line(&SalesShape::from(row))).collect()
}

fn line(r: &SalesShape) -> String {
    let [units, orders, cancelled, returned] = [r.units, r.orders, r.cancelled, r.returned].map(|n| n.to_string());
    let texts = [&r.day, &r.marketplace, &r.sku, &r.currency, &r.revenue, &r.cost, &r.fees, &r.profit];
    let [day, marketplace, sku, currency, revenue, cost, fees, profit] = texts.map(|text| text.as_deref().unwrap_or(""));
    csv::line([day, marketplace, sku, currency, &units, revenue, cost, fees, profit, &orders, &cancelled, &returned])
}
