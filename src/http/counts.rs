//! Counting the shelf: a list of counts as JSON, or the same as a CSV file. All of it or none of it.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::auth::{Role, require};
use super::csv;
use super::extract::{Operator, Params, Raw, parse};
use super::import;
use super::problem::{FieldError, Problem};
use super::write::{Write, write};
use crate::ask;
use crate::context::Context;
use crate::db::{inventory, products};
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;
use crate::pipeline::counts::{Count, Counted, PostCounts};

/// Counts in one request: they are one transaction, and the writer does nothing else meanwhile.
const COUNTS_MAX: usize = 2_000;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CountList {
    counts: Vec<CountShape>,
    /// Says what it would do, and does nothing.
    #[serde(default)]
    dry_run: bool,
    /// The token of a 409 `needs-confirmation`, to do it all the same.
    confirm: Option<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CountShape {
    sku: String,
    /// Default `main`.
    location: Option<String>,
    /// Pieces on the shelf.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    count: i64,
    /// When it was counted: what moved later is replayed on it. Default: now.
    #[schema(value_type = Option<String>, format = DateTime)]
    counted_at: Option<Timestamp>,
    /// Whether goods of orders that are not shipped yet were counted too; default true.
    includes_open_orders: Option<bool>,
    expected_version: Option<i64>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CountParams {
    /// With CSV: says what it would do, and does nothing.
    #[serde(default)]
    dry_run: bool,
    /// With CSV: the token of a 409 `needs-confirmation`, to do it all the same.
    confirm: Option<String>,
}

#[utoipa::path(post, path = "/v1/admin/counts", tag = "stock", params(CountParams), security(("token" = [])),
    request_body(content((CountList = "application/json"), (String = "text/csv")),
        description = "`{\"counts\":[…]}`, or CSV with the columns sku, location, count, counted_at, includes_open_orders"),
    responses((status = 200, description = "what each count found and did", body = Object), (status = 400, description = "no JSON"),
        (status = 401, description = "no token"), (status = 403, description = "another role"), (status = 408, description = "too slow"),
        (status = 409, description = "the stock changed meanwhile, or many products would have none: look, and confirm; nothing was counted"), (status = 413, description = "too large"),
        (status = 415, description = "neither JSON nor CSV"), (status = 422, description = "names each field or line; nothing was counted"),
        (status = 503, description = "try again")))]
pub(super) async fn post(
    request: HttpRequest,
    params: Params<CountParams>,
    ctx: web::Data<Context>,
    body: Raw<Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let table = body.is("text/csv");
    let (counts, lines, dry_run, confirm) = if table {
        let (counts, lines) = from_csv(&body.bytes)?;
        (counts, lines, params.0.dry_run, params.0.confirm)
    } else if body.is("application/json") {
        let list: CountList = parse(&body.bytes)?;
        (from_json(&list)?, Vec::new(), list.dry_run || params.0.dry_run, list.confirm)
    } else {
        let detail = "send Content-Type: application/json or text/csv";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Not taken", detail));
    };
    if !dry_run
        && let Some(question) = empties(&ctx, &counts).await?
        && Some(&question.confirm) != confirm.as_ref()
    {
        return Err(question.into());
    }
    let command = PostCounts { counts, reason: "cycle_count", dry_run, actor: caller.actor.clone() };
    let show = |done: Vec<Counted>| (StatusCode::OK, json!({ "dry_run": false, "counts": done }));
    let done = if dry_run {
        let counted = ctx.writer.run(command).await.map_err(Problem::from);
        counted.map(|done| HttpResponse::Ok().json(json!({ "dry_run": true, "counts": done })))
    } else {
        let (caller, request, body) = (&caller, &request, &body.bytes[..]);
        write(&ctx, Write { caller, request, body, action: "stock.count", target: None, command, show }).await
    };
    done.map_err(|problem| if table { by_line(problem, &lines) } else { problem })
}

/// What has to be confirmed, where these counts leave nothing of many products there is something of.
async fn empties(ctx: &Context, counts: &[Count]) -> Result<Option<import::Question>, Problem> {
    let zeros: Vec<String> =
        counts.iter().filter(|count| count.count == Quantity::ZERO).map(|count| count.sku.to_string()).collect();
    let emptied = ask!(ctx, i64, [zeros: Vec<String> = zeros] |conn| {
        let found = products::list_by_sku(conn, zeros.iter().map(String::as_str)).await?;
        let levels = inventory::list(conn, found.iter().map(|row| row.id)).await?;
        let stocked: std::collections::BTreeSet<_> = levels.iter().filter(|l| l.on_hand > 0).map(|l| l.product_id).collect();
        Ok(stocked.len() as i64)
    })?;
    let text: Vec<String> =
        counts.iter().map(|count| format!("{}\n{}\n{}", count.sku, count.location, count.count.get())).collect();
    import::empties(ctx, emptied, &Sha256::digest(text.join("\n").as_bytes()).into()).await
}

/// What is wrong stands in a file: its lines are named instead of positions in a list.
fn by_line(mut problem: Problem, lines: &[usize]) -> Problem {
    for error in &mut problem.errors {
        let place = error.field.strip_prefix("/counts/").and_then(|rest| rest.split_once('/'));
        if let Some((index, column)) = place.and_then(|(index, column)| Some((index.parse::<usize>().ok()?, column)))
            && let Some(line) = lines.get(index)
        {
            error.field = format!("line {line}: {column}");
        }
    }
    if !problem.errors.is_empty() {
        problem.detail = problem.errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect::<Vec<_>>().join("; ");
    }
    problem
}

fn from_json(list: &CountList) -> Result<Vec<Count>, Problem> {
    if list.counts.is_empty() || list.counts.len() > COUNTS_MAX {
        return Err(Problem::field("/counts", format!("must hold 1 to {COUNTS_MAX} counts")));
    }
    let mut errors = Vec::new();
    let mut counts = Vec::with_capacity(list.counts.len());
    for (n, shape) in list.counts.iter().enumerate() {
        let sku = Sku::parse(&shape.sku).map_err(|e| errors.push(FieldError::new(format!("/counts/{n}/sku"), e.to_string())));
        let count =
            Quantity::parse(shape.count).map_err(|e| errors.push(FieldError::new(format!("/counts/{n}/count"), e.to_string())));
        let (Ok(sku), Ok(count)) = (sku, count) else { continue };
        counts.push(Count {
            sku,
            location: shape.location.clone().unwrap_or_else(|| "main".into()),
            count,
            counted_at: shape.counted_at,
            includes_open_orders: shape.includes_open_orders.unwrap_or(true),
            expected_version: shape.expected_version,
        });
    }
    if errors.is_empty() { Ok(counts) } else { Err(Problem::invalid(errors)) }
}

const COLUMNS: [&str; 6] = ["sku", "location", "count", "counted_at", "includes_open_orders", "expected_version"];

/// The counts of a file, and the line each stands on.
fn from_csv(bytes: &[u8]) -> Result<(Vec<Count>, Vec<usize>), Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| Problem::field("/", "is not UTF-8"))?;
    let rows = csv::rows(text).map_err(|line| Problem::field(format!("line {line}"), "the quotes are not closed"))?;
    let mut rows = rows.into_iter();
    let (_, head) = rows.next().ok_or_else(|| Problem::field("/", "is empty"))?;
    let head: Vec<String> = head.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    let mut errors: Vec<FieldError> = Vec::new();
    for (n, name) in head.iter().enumerate() {
        if !COLUMNS.contains(&name.as_str()) || head[..n].contains(name) {
            errors.push(FieldError::new("line 1", format!("column {name:?} is not one of {}, each once", COLUMNS.join(", "))));
        }
    }
    for needed in ["sku", "count"] {
        if !head.iter().any(|name| name == needed) {
            errors.push(FieldError::new("line 1", format!("has no column {needed}")));
        }
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let (mut counts, mut lines) = (Vec::new(), Vec::new());
    for (line, cells) in rows {
        if cells.len() != head.len() {
            errors.push(FieldError::new(format!("line {line}"), format!("has {} cells, not {}", cells.len(), head.len())));
            continue;
        }
        let cell = |name: &str| head.iter().position(|known| known == name).map(|n| cells[n].as_str()).filter(|c| !c.is_empty());
        if let Some(count) = csv_count(line, cell, &mut errors) {
            counts.push(count);
            lines.push(line);
        }
    }
    if (counts.is_empty() || counts.len() > COUNTS_MAX) && errors.is_empty() {
        errors.push(FieldError::new("/", format!("must hold 1 to {COUNTS_MAX} counts")));
    }
    if errors.is_empty() { Ok((counts, lines)) } else { Err(Problem::invalid(errors)) }
}

fn csv_count<'c>(line: usize, cell: impl Fn(&str) -> Option<&'c str>, errors: &mut Vec<FieldError>) -> Option<Count> {
    let before = errors.len();
    let mut wrong = |column: &str, why: String| errors.push(FieldError::new(format!("line {line}: {column}"), why));
    let sku = Sku::parse(cell("sku").unwrap_or("")).map_err(|e| wrong("sku", e.to_string())).ok();
    let number = |text: Option<&str>| text.map(|text| text.trim().parse::<i64>().map_err(|_| "is not a whole number".to_owned()));
    let count = match number(cell("count")) {
        None => Err("is missing".to_owned()),
        Some(read) => read.and_then(|n| Quantity::parse(n).map_err(|e| e.to_string())),
    };
    let count = count.map_err(|why| wrong("count", why)).ok();
    let expected_version = number(cell("expected_version")).transpose().unwrap_or_else(|why| {
        wrong("expected_version", why);
        None
    });
    let counted_at = cell("counted_at").and_then(|text| {
        let at = Timestamp::parse_rfc3339(text);
        if at.is_none() {
            wrong("counted_at", "is not a time with zone, like 2026-01-09T10:30:00Z".into());
        }
        at
    });
    let includes_open_orders = match cell("includes_open_orders") {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => {
            wrong("includes_open_orders", "must be true or false".into());
            true
        }
    };
    let location = cell("location").unwrap_or("main").to_owned();
    if errors.len() > before {
        return None;
    }
    Some(Count { sku: sku?, location, count: count?, counted_at, includes_open_orders, expected_version })
}
