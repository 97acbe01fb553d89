//! Lists of what happened: JSON in pages, or all of it as a table (`Accept: text/csv`). A table is written while it is read, so a
//! long one takes no more memory than a short one; one that breaks off ends the connection instead of looking whole.

use std::future::Future;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::csv;
use super::page::{self, LIMIT_MAX, Page};
use super::problem::Problem;
use crate::context::{Context, Question};
use crate::db::{Conn, DbError, Ids};
use crate::domain::time::Timestamp;

/// Where rows come from, and how they are shown.
pub(super) trait Source: Send + Sync + 'static {
    type Row: Send + 'static;
    type Shape: Serialize;
    /// Of the file.
    const NAME: &'static str;
    /// Of the table: members of the shape.
    const COLUMNS: &'static [&'static str];

    fn page(&self, conn: &mut Conn<'_>, ids: Ids, limit: i64) -> impl Future<Output = Result<Vec<Self::Row>, DbError>> + Send;
    /// Where no index finds what is looked for: the last of the newest `rows` rows, at which a page stops. `None`: it need not stop.
    fn reach(&self, _conn: &mut Conn<'_>, _ids: Ids, _rows: i64) -> impl Future<Output = Result<Option<Uuid>, DbError>> + Send {
        std::future::ready(Ok(None))
    }
    fn id(row: &Self::Row) -> Uuid;
    fn shape(row: Self::Row) -> Self::Shape;

    /// One line of the table, or several.
    fn records(shape: &Self::Shape) -> Vec<Value> {
        vec![json!(shape)]
    }
}

/// Which page of which stretch of time.
#[derive(Clone, Copy)]
pub struct Window {
    ids: Ids,
    limit: Option<i64>,
}

impl Window {
    pub fn read(from: Option<&str>, to: Option<&str>, limit: Option<i64>, cursor: Option<&str>) -> Result<Self, Problem> {
        let time = |field: &str, text: Option<&str>| match text {
            None => Ok(None),
            Some(text) => {
                let why = "must be a time like 2026-01-09T00:00:00Z";
                Timestamp::parse_rfc3339(text).map(Some).ok_or_else(|| Problem::field(field, why))
            }
        };
        let (from, to) = (time("from", from)?, time("to", to)?);
        if let Some(limit) = limit {
            page::limit(Some(limit))?;
        }
        Ok(Self { ids: Ids::between(from, to, page::cursor(cursor)?), limit })
    }
}

struct NextPage<S: Source> {
    source: Arc<S>,
    ids: Ids,
    limit: i64,
    look_rows: i64,
}

/// Rows, and the row that was looked at last where there are more to look at.
struct Found<R> {
    rows: Vec<R>,
    reach: Option<Uuid>,
}

impl<S: Source> Question for NextPage<S> {
    type Answer = Found<S::Row>;

    async fn ask(self, conn: &mut Conn<'_>) -> Result<Found<S::Row>, DbError> {
        let reach = self.source.reach(conn, self.ids, self.look_rows).await?;
        let ids = Ids { from: reach.unwrap_or(self.ids.from), ..self.ids };
        Ok(Found { rows: self.source.page(conn, ids, self.limit).await?, reach })
    }
}

/// A page as JSON, or everything (up to `limit`, where one is given) as a table.
pub(super) async fn answer<S: Source>(
    request: &HttpRequest,
    ctx: &web::Data<Context>,
    source: S,
    window: Window,
) -> Result<HttpResponse, Problem> {
    let source = Arc::new(source);
    if csv::is_wanted(request) {
        let rows = Rows { source, ids: Some(window.ids), left: window.limit.unwrap_or(i64::MAX) };
        return Ok(csv::answer(ctx, S::NAME, S::COLUMNS, rows));
    }
    let limit = page::limit(window.limit)?;
    let look_rows = ctx.settings.lists.look_rows;
    let Found { rows, reach } = ctx.ask(NextPage { source, ids: window.ids, limit: limit + 1, look_rows }).await?;
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, S::id, S::shape).stopped_at(reach)))
}

/// All rows of a window, page by page.
struct Rows<S: Source> {
    source: Arc<S>,
    /// What is still to come; `None`: nothing.
    ids: Option<Ids>,
    left: i64,
}

impl<S: Source> csv::Pieces for Rows<S> {
    async fn next(&mut self, ctx: &Context) -> Result<Option<String>, DbError> {
        let Some(ids) = self.ids.filter(|_| self.left > 0) else { return Ok(None) };
        let limit = LIMIT_MAX.min(self.left);
        let look_rows = ctx.settings.lists.look_rows;
        let Found { rows, reach } = ctx.ask(NextPage { source: self.source.clone(), ids, limit, look_rows }).await?;
        let full = rows.len() as i64 == limit;
        let last = if full { rows.last().map(S::id) } else { reach };
        self.ids = last.map(|last| Ids { before: last, ..ids });
        self.left -= rows.len() as i64;
        let records = rows.into_iter().flat_map(|row| S::records(&S::shape(row)));
        Ok(Some(records.map(|record| line(S::COLUMNS, &record)).collect()))
    }
}

/// A record by its columns; what holds more than a value is written as JSON.
pub fn line(columns: &[&str], record: &Value) -> String {
    let cells: Vec<String> = columns
        .iter()
        .map(|column| match &record[*column] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect();
    csv::line(cells.iter().map(String::as_str))
}

/// Query parameters of a list: its own, and those every list has.
macro_rules! list_params {
    ($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty),* $(,)? }) => {
        #[derive(serde::Deserialize, utoipa::IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub(super) struct $name {
            $($(#[$meta])* $field: Option<$type>,)*
            /// Only what was recorded at this time (RFC 3339) or later.
            from: Option<String>,
            /// Only what was recorded before this time.
            to: Option<String>,
            /// 1 to 500, default 50; as CSV by default all.
            #[param(minimum = 1, maximum = 500)]
            limit: Option<i64>,
            /// `next_cursor` of the page before.
            cursor: Option<String>,
        }

        impl $name {
            fn window(&self) -> Result<$crate::http::table::Window, $crate::http::problem::Problem> {
                let (from, to) = (self.from.as_deref(), self.to.as_deref());
                $crate::http::table::Window::read(from, to, self.limit, self.cursor.as_deref())
            }
        }
    };
}
pub(super) use list_params;
