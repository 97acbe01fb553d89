//! What a URL asks for, the same on every transport.

use url::form_urlencoded;

use super::engine::Interest;
use super::hub::Subscription;
use crate::domain::sku::Sku;

/// Items of one page of the whole list.
pub(crate) const LIMIT_MAX: usize = 500;
const LIMIT_DEFAULT: usize = 100;
pub(crate) const WAIT_MAX_S: u64 = 55;
const WAIT_DEFAULT_S: u64 = 25;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StockQuery {
    /// `None`: the URL names no SKUs.
    pub(crate) skus: Option<Vec<Sku>>,
    pub(crate) all: bool,
    pub(crate) since: Option<String>,
    pub(crate) gap_ms: Option<u64>,
    pub(crate) wait_s: u64,
    pub(crate) limit: usize,
    pub(crate) after: Option<String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub(crate) struct QueryError {
    field: &'static str,
    why: String,
}

impl StockQuery {
    /// Parameters that the hub does not know are left alone: pages add their own.
    pub(crate) fn parse(query: &str) -> Result<Self, QueryError> {
        let (mut found, mut names) = (Self::default(), None::<Vec<Sku>>);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "skus" => add(names.get_or_insert_default(), value.split(',').filter(|name| !name.is_empty()))?,
                // A SKU with a comma inside has no place in a list.
                "sku" => add(names.get_or_insert_default(), std::iter::once(&*value))?,
                "all" => found.all = flag(&value)?,
                "since" => found.since = Some(value.into_owned()).filter(|since| !since.is_empty()),
                "gap" => found.gap_ms = Some(number("gap", &value, 1_000)?),
                "wait" => found.wait_s = number("wait", &value, WAIT_MAX_S)?,
                "limit" => found.limit = limit(&value)?,
                "after" => found.after = Some(value.into_owned()),
                _ => {}
            }
        }
        found.skus = names;
        Ok(found)
    }

    pub(crate) fn asks(&self) -> bool {
        self.all || self.skus.as_ref().is_some_and(|skus| !skus.is_empty())
    }

    pub(crate) fn interest(&self) -> Interest {
        if self.all { Interest::All } else { Interest::Skus(self.skus.clone().unwrap_or_default()) }
    }

    /// The subscription with id 0, if the URL asks for one.
    pub(crate) fn subscription(&self) -> Option<Subscription> {
        self.asks().then(|| Subscription {
            id: Some(0),
            skus: self.skus.clone().unwrap_or_default(),
            all: self.all,
            since: self.since.clone(),
        })
    }
}

impl Default for StockQuery {
    fn default() -> Self {
        Self { skus: None, all: false, since: None, gap_ms: None, wait_s: WAIT_DEFAULT_S, limit: LIMIT_DEFAULT, after: None }
    }
}

fn add<'a>(skus: &mut Vec<Sku>, names: impl Iterator<Item = &'a str>) -> Result<(), QueryError> {
    for name in names {
        skus.push(Sku::parse(name).map_err(|error| QueryError { field: "skus", why: error.to_string() })?);
    }
    Ok(())
}

fn flag(value: &str) -> Result<bool, QueryError> {
    match value {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(QueryError { field: "all", why: "must be true or false".to_owned() }),
    }
}

fn number(field: &'static str, value: &str, max: u64) -> Result<u64, QueryError> {
    let number = value.parse().ok().filter(|number| *number <= max);
    number.ok_or_else(|| QueryError { field, why: format!("must be a whole number from 0 to {max}") })
}

fn limit(value: &str) -> Result<usize, QueryError> {
    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| QueryError { field: "limit", why: format!("must be a whole number from 1 to {LIMIT_MAX}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_and_single_names() {
        let query = StockQuery::parse("skus=A%2CB,C&sku=D%2C1&since=e:1&gap=50&_=cache").unwrap();
        let names: Vec<String> = query.skus.clone().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["A", "B", "C", "D,1"]);
        assert_eq!((query.since.as_deref(), query.gap_ms), (Some("e:1"), Some(50)));
        assert!(!StockQuery::parse("skus=").unwrap().asks());
    }

    #[test]
    fn refuses_what_is_out_of_range() {
        for bad in ["limit=0", "limit=501", "wait=56", "gap=-1", "all=perhaps", "skus=%20A", "limit=x"] {
            assert!(StockQuery::parse(bad).is_err(), "{bad}");
        }
    }
}
