//! Lists: a limit, and a cursor that only we issue.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::problem::Problem;
use crate::db::Ids;
use crate::domain::time::Timestamp;

pub const LIMIT_DEFAULT: i64 = 50;
pub const LIMIT_MAX: i64 = 500;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// 1 to 500, default 50.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<i64>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

pub fn limit(limit: Option<i64>) -> Result<i64, Problem> {
    match limit.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        _ => Err(Problem::field("limit", "must be between 1 and 500")),
    }
}

/// Cursors are ids in disguise: `c_` and the hex of one of ours.
pub fn cursor(text: Option<&str>) -> Result<Option<Uuid>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let id = text.strip_prefix("c_").filter(|hex| hex.len() == 32).and_then(|hex| Uuid::try_parse(hex).ok());
    let id = id.filter(|id| id.get_version_num() == 7);
    id.map(Some).ok_or_else(|| Problem::field("cursor", "is not a cursor of this list"))
}

fn issued(id: Uuid) -> String {
    format!("c_{}", id.simple())
}

/// One page of a list.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// For the next page; null on the last.
    pub next_cursor: Option<String>,
    /// Where a search stopped before the end of the list: it looked at what was recorded since then, and `next_cursor` goes on from
    /// there, even if nothing was found yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    pub looked_back_to: Option<Timestamp>,
}

impl<T> Page<T> {
    /// `rows` were asked for with one more than `limit`, to see whether there is more.
    pub fn new<R>(mut rows: Vec<R>, limit: i64, id: impl Fn(&R) -> Uuid, show: impl FnMut(R) -> T) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(|row| issued(id(row)));
        Self { next_cursor, ..Self::whole(rows.into_iter().map(show).collect()) }
    }

    /// All there is.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None, looked_back_to: None }
    }

    /// A page that is not full ended at this row because no more rows were looked at, not because there are none.
    pub fn stopped_at(self, reach: Option<Uuid>) -> Self {
        match (&self.next_cursor, reach) {
            (None, Some(reach)) => Self { next_cursor: Some(issued(reach)), looked_back_to: Some(Ids::time(reach)), ..self },
            _ => self,
        }
    }
}
