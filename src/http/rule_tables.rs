//! Tables of allocation rules, in and out: a line per rule of the hub, a marketplace, a product or a listing, a column per key.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::auth::{Role, require};
use super::csv;
use super::described::{Looked, Written};
use super::extract::{NoParams, Params};
use super::import::{ImportDone, ImportParams, Question, Record, Table, Verdicts, take};
use super::problem::Problem;
use super::shapes::text;
use super::table::line;
use crate::ask;
use crate::context::Context;
use crate::db::DbError;
use crate::db::rules::{self, ListingRule};
use crate::domain::rule::Rule;
use crate::pipeline::import::Kind;
use crate::pipeline::import::products::FaultText;
use crate::pipeline::import::rules::{Change, Changes, CompareRules, Level, RuleCells, verdict};
use crate::pipeline::rules::preview::Ask;

/// Rows read per question while the table goes out.
const PAGE: i64 = 500;

struct Rules;

impl Table for Rules {
    type Cells = RuleCells;
    type Sum = Changes;
    const KIND: Kind = Kind::Rules;
    const COLUMNS: &'static [&'static str] = &[
        "scope",
        "marketplace",
        "sku",
        "marketplace_product_id",
        "market",
        "buffer",
        "stop_below",
        "fixed",
        "share_percent",
        "rounding",
        "quota",
        "max_listed",
        "priority",
        "paused",
    ];
    const NEEDED: &'static [&'static str] = &["scope"];
    const KEY: &'static str = "scope";

    fn read(record: &Record<'_>) -> Result<RuleCells, Vec<FaultText>> {
        let mut faults: Vec<FaultText> = Vec::new();
        let scope = record.get("scope").and_then(Level::parse);
        match scope {
            None => faults.push(("scope", format!("must be {}", Level::NAMES))),
            Some(level) => faults.extend(names(level, record)),
        }
        let mut rule = Map::new();
        for key in Rule::KEYS.into_iter().filter(|key| record.has(key)) {
            match value(key, record.get(key)) {
                Ok(value) => drop(rule.insert(key.to_owned(), value)),
                Err(fault) => faults.push(fault),
            }
        }
        // What is a number is held to its range.
        if faults.is_empty()
            && let Ok(said) = serde_json::from_value::<Rule>(Value::Object(rule.clone()))
        {
            faults.extend(said.validate());
        }
        let owned = |column| record.owned(column).unwrap_or_default();
        match scope.filter(|_| faults.is_empty()) {
            Some(scope) => Ok(RuleCells {
                scope,
                marketplace: owned("marketplace"),
                sku: owned("sku"),
                marketplace_product_id: owned("marketplace_product_id"),
                market: owned("market"),
                rule,
                may_all: record.role >= Role::Admin,
            }),
            None => Err(faults),
        }
    }

    fn key(cells: &RuleCells) -> String {
        cells.key()
    }

    async fn compare(ctx: &Context, rows: Vec<RuleCells>, sum: &mut Changes) -> Result<Verdicts, Problem> {
        let compared = ctx.ask(CompareRules { rows, kit: ctx.kit.clone() }).await?;
        let one = |change: Result<Option<Change>, FaultText>| {
            let change = change?;
            let verdict = verdict(change.as_ref());
            if let Some(change) = change {
                sum.add(change);
            }
            Ok(verdict)
        };
        Ok(compared.into_iter().map(one).collect())
    }

    async fn question(ctx: &Context, sum: Changes, digest: &[u8; 32]) -> Result<Option<Question>, Problem> {
        if sum.is_empty() {
            return Ok(None);
        }
        let changes = Arc::new(sum);
        let preview = ctx.ask(Ask::of_table(&ctx.kit, changes.clone())).await?;
        Ok(preview.of_table_needs(&changes).map(|detail| Question {
            detail,
            confirm: preview.token_of_table(digest),
            more: vec![("affected", json!(preview.to_zero)), ("preview", json!(preview))],
        }))
    }
}

/// What names whose rule it is, and what must not.
fn names(level: Level, record: &Record<'_>) -> Vec<FaultText> {
    // The SKU of a listing is there for who reads the table.
    let (needed, may): (&[&'static str], &[&'static str]) = match level {
        Level::Hub => (&[], &[]),
        Level::Marketplace => (&["marketplace"], &[]),
        Level::Product => (&["sku"], &[]),
        Level::Listing => (&["marketplace", "marketplace_product_id"], &["sku", "market"]),
    };
    let scope = record.get("scope").unwrap_or_default();
    let mut faults = Vec::new();
    for column in ["marketplace", "sku", "marketplace_product_id", "market"] {
        match record.get(column) {
            None if needed.contains(&column) => faults.push((column, format!("is needed for a rule of a {scope}"))),
            Some(_) if !needed.contains(&column) && !may.contains(&column) => {
                faults.push((column, format!("must be empty: the scope is {scope}")));
            }
            Some(cell) => faults.extend(text(column, cell, 256).err().map(|error| (column, error.message))),
            None => {}
        }
    }
    faults
}

/// What a cell says of a key; null where it is empty.
fn value(key: &'static str, cell: Option<&str>) -> Result<Value, FaultText> {
    let Some(cell) = cell else { return Ok(Value::Null) };
    match key {
        "rounding" => match cell {
            "floor" | "nearest" | "ceil" => Ok(cell.into()),
            _ => Err((key, format!("must be floor, nearest or ceil, is {cell:?}"))),
        },
        "paused" => match cell {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err((key, format!("must be true or false, is {cell:?}"))),
        },
        _ => {
            let digits = cell.strip_prefix('-').filter(|_| key == "priority").unwrap_or(cell);
            let plain = (1..=12).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = cell.parse::<i64>().ok().filter(|_| plain);
            number.map(Value::from).ok_or_else(|| (key, format!("must be a whole number of digits only, is {cell:?}")))
        }
    }
}

#[utoipa::path(post, path = "/v1/admin/rules/import", tag = "rules", params(ImportParams), security(("token" = []), ("session" = [])),
    request_body(content((String = "text/csv")), description = "a first line with columns (scope, marketplace, sku, marketplace_product_id, \
        market, buffer, stop_below, fixed, share_percent, rounding, quota, max_listed, priority, paused), then a line per rule; scope is hub, \
        marketplace, product or listing; an empty cell takes the key away, so that it is inherited; a column that is left out leaves its \
        key as it is; rules without a line stay. Lines that change the rule of the hub or of a marketplace need the role admin"),
    responses((status = 200, description = "all of it is done, or what a dry run would do", body = ImportDone),
        (status = 409, description = "too many products would show 0: look at the preview, and send it again with `confirm`"), Written))]
pub(super) async fn import(
    request: HttpRequest,
    params: Params<ImportParams>,
    body: web::Payload,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    take::<Rules>(&request, &ctx, params.0, body).await
}

#[utoipa::path(get, path = "/v1/admin/rules/export", tag = "rules", security(("token" = []), ("session" = [])),
    responses((status = 200, description = "the hub's rule, that of every marketplace, and those products and listings have of their own, as \
        the import takes them; what the settings file names is not in it", content_type = "text/csv"), Looked))]
pub(super) async fn export(request: HttpRequest, _: Params<NoParams>, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    Ok(csv::answer(&ctx, "rules", Rules::COLUMNS, RuleRows::Broad))
}

/// Which rules come next: the broadest first, as they are inherited.
enum RuleRows {
    Broad,
    /// Of products after a SKU.
    Products(String),
    /// Of listings after an id.
    Listings(Uuid),
}

impl csv::Pieces for RuleRows {
    async fn next(&mut self, ctx: &Context) -> Result<Option<String>, DbError> {
        match self {
            Self::Broad => {
                type Broad = (String, Vec<(String, String)>);
                let (hub, marketplaces) =
                    ask!(ctx, Broad, [] | conn | Ok((rules::hub_rule(conn).await?, rules::marketplaces_by_code(conn).await?)))?;
                let mut lines = shown(&hub, json!({"scope": "hub"}))?;
                for (code, rule) in marketplaces {
                    lines += &shown(&rule, json!({"scope": "marketplace", "marketplace": code}))?;
                }
                *self = Self::Products(String::new());
                Ok(Some(lines))
            }
            Self::Products(after) => {
                let rows = ask!(ctx, Vec<(String, String)>, [after: String = after.clone()] | conn |
                    rules::products_page(conn, &after, PAGE).await)?;
                *self = rows.last().map_or(Self::Listings(Uuid::nil()), |(last, _)| Self::Products(last.clone()));
                let lines = rows.iter().map(|(sku, rule)| shown(rule, json!({"scope": "product", "sku": sku})));
                lines.collect::<Result<_, _>>().map(Some)
            }
            Self::Listings(after) => {
                let rows =
                    ask!(ctx, Vec<ListingRule>, [after: Uuid = *after] | conn | rules::listings_page(conn, after, PAGE).await)?;
                let Some(last) = rows.last() else { return Ok(None) };
                *after = last.id;
                let lines = rows.iter().map(|row| {
                    let names = json!({"scope": "listing", "marketplace": row.marketplace, "sku": row.sku,
                        "marketplace_product_id": row.marketplace_product_id, "market": row.market});
                    shown(&row.rule, names)
                });
                lines.collect::<Result<_, _>>().map(Some)
            }
        }
    }
}

/// One line: whose rule it is, and what it says.
fn shown(rule: &str, mut names: Value) -> Result<String, DbError> {
    let said: Map<String, Value> = serde_json::from_str(rule).map_err(|_| DbError::inconsistent("rules", "rule", rule))?;
    for (key, value) in said {
        names[key] = value;
    }
    Ok(line(Rules::COLUMNS, &names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_what_it_says_and_nothing_a_spreadsheet_made_of_it() {
        assert_eq!(value("buffer", None), Ok(Value::Null));
        assert_eq!((value("buffer", Some("5")), value("priority", Some("-5"))), (Ok(5.into()), Ok((-5).into())));
        for (key, cell) in
            [("buffer", "-5"), ("buffer", "1e3"), ("quota", "1,000"), ("paused", "TRUE"), ("rounding", "up"), ("priority", "--5")]
        {
            assert_eq!(value(key, Some(cell)).map_err(|fault| fault.0), Err(key), "{cell}");
        }
    }

    #[test]
    fn every_key_of_a_rule_has_a_column() {
        assert!(Rule::KEYS.iter().all(|key| Rules::COLUMNS.contains(key)));
    }
}
