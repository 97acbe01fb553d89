//! Counting the shelf: a list of counts as JSON or CSV, in one transaction, which tells what each of them did; or a table of any length.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::auth::{Role, require};
use super::csv_read::Reader;
use super::described::{Looked, Written};
use super::extract::{NoParams, Operator, Params, Raw, parse};
use super::import::{Emptied, ImportDone, ImportParams, Record, Table, Verdicts};
use super::problem::{FieldError, Problem};
use super::write::{Write, write};
use super::{csv, import};
use crate::ask;
use crate::context::Context;
use crate::db::DbError;
use crate::db::inventory::{self, LevelRow};
use crate::db::products::{self, ProductRow};
use crate::domain::ids::LocationId;
use crate::domain::quantity::{QUANTITY_MAX, Quantity};
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;
use crate::pipeline::counts::{Count, Counted, PostCounts};
use crate::pipeline::import::Kind;
use crate::pipeline::import::counts::CompareCounts;
use crate::pipeline::import::products::FaultText;

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
        description = "`{\"counts\":[…]}`, or CSV with the columns sku, location, count, counted_at, includes_open_orders, expected_version. \
            At most 2000: more come in at `/v1/admin/counts/import`"),
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
        let (counts, lines) = from_csv(&body.bytes, caller.role, ctx.kit.clock.now())?;
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
    let command = PostCounts { counts, dry_run, actor: caller.actor.clone() };
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

/// Products read per question while the table goes out.
const PAGE: i64 = 500;

#[utoipa::path(get, path = "/v1/admin/counts/export", tag = "stock", security(("token" = []), ("session" = [])),
    responses((status = 200, description = "every shelf as it is thought to be, in the form of a count; `expected_version` holds it to just \
        this stock: empty it and write `counted_at` where things are sold while it is counted. What is oversold has no line: a count is never \
        below 0", content_type = "text/csv"), Looked))]
pub(super) async fn export(request: HttpRequest, _: Params<NoParams>, ctx: web::Data<Context>) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    Ok(csv::answer(&ctx, "counts", &COLUMNS, Shelves { after: String::new() }))
}

struct Shelves {
    after: String,
}

impl csv::Pieces for Shelves {
    async fn next(&mut self, ctx: &Context) -> Result<Option<String>, DbError> {
        type Found = (Vec<ProductRow>, Vec<LevelRow>, Vec<(LocationId, String)>);
        let (rows, levels, places) = ask!(ctx, Found, [after: String = self.after.clone()] |conn| {
            let rows = products::page(conn, &after, PAGE).await?;
            let levels = inventory::list(conn, rows.iter().map(|row| row.id)).await?;
            Ok((rows, levels, products::locations(conn).await?))
        })?;
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = last.sku.to_string();
        Ok(Some(shelves(&rows, &levels, &places)))
    }
}

/// A line per shelf, in the order of the products.
fn shelves(rows: &[ProductRow], levels: &[LevelRow], places: &[(LocationId, String)]) -> String {
    let mut lines = String::new();
    for row in rows {
        for level in levels.iter().filter(|level| level.product_id == row.id && level.on_hand >= 0) {
            let Some((_, place)) = places.iter().find(|(id, _)| *id == level.location_id) else { continue };
            let (count, version) = (level.on_hand.to_string(), level.version.to_string());
            lines += &csv::line([row.sku.as_str(), place, &count, "", "true", &version]);
        }
    }
    lines
}

const COLUMNS: [&str; 6] = ["sku", "location", "count", "counted_at", "includes_open_orders", "expected_version"];

struct Shelf;

impl Table for Shelf {
    type Cells = Count;
    type Sum = Emptied;
    const KIND: Kind = Kind::Counts;
    const COLUMNS: &'static [&'static str] = &COLUMNS;
    const NEEDED: &'static [&'static str] = &["sku", "count"];
    const KEY: &'static str = "sku";

    fn read(record: &Record<'_>) -> Result<Count, Vec<FaultText>> {
        let mut faults: Vec<FaultText> = Vec::new();
        let sku = Sku::parse(record.get("sku").unwrap_or("")).map_err(|error| faults.push(("sku", error.to_string()))).ok();
        let mut whole = |column, max| record.whole(column, max).map_err(|fault| faults.push(fault)).ok().flatten();
        let (count, expected_version) = (whole("count", QUANTITY_MAX), whole("expected_version", i64::MAX));
        if record.get("count").is_none() {
            faults.push(("count", "is missing".into()));
        }
        let counted_at = match record.get("counted_at").map(Timestamp::parse_rfc3339) {
            None => record.now,
            Some(Some(at)) => at,
            Some(None) => {
                faults.push(("counted_at", "is not a time with zone, like 2026-01-09T10:30:00Z".into()));
                record.now
            }
        };
        let includes_open_orders = match record.get("includes_open_orders") {
            None | Some("true") => true,
            Some("false") => false,
            Some(_) => {
                faults.push(("includes_open_orders", "must be true or false".into()));
                true
            }
        };
        let location = record.get("location").unwrap_or("main").to_owned();
        let count = count.and_then(|count| Quantity::parse(count).ok());
        match (sku, count, faults.is_empty()) {
            (Some(sku), Some(count), true) => {
                Ok(Count { sku, location, count, counted_at: Some(counted_at), includes_open_orders, expected_version })
            }
            _ => Err(faults),
        }
    }

    fn key(count: &Count) -> String {
        format!("{}\n{}", count.sku, count.location)
    }

    async fn compare(ctx: &Context, rows: Vec<Count>, sum: &mut Emptied) -> Result<Verdicts, Problem> {
        let compared = ctx.ask(CompareCounts { rows, now: ctx.kit.clock.now() }).await?;
        compared.emptied.iter().for_each(|sku| sum.add(sku));
        Ok(compared.verdicts)
    }

    async fn question(ctx: &Context, sum: Emptied, digest: &[u8; 32]) -> Result<Option<import::Question>, Problem> {
        import::empties(ctx, sum.count(), digest).await
    }
}

#[utoipa::path(post, path = "/v1/admin/counts/import", tag = "stock", params(ImportParams), security(("token" = []), ("session" = [])),
    request_body(content((String = "text/csv")), description = "a first line with columns (sku, location, count, counted_at, \
        includes_open_orders, expected_version), then a line per shelf. It was counted at `counted_at`, else when its line comes in: what \
        moves later is replayed on it"),
    responses((status = 200, description = "all of it is done, or what a dry run would do", body = ImportDone),
        (status = 409, description = "it would empty many products: look, and send it again with `confirm`"), Written))]
pub(super) async fn import_counts(
    request: HttpRequest,
    params: Params<ImportParams>,
    body: web::Payload,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    import::take::<Shelf>(&request, &ctx, params.0, body).await
}

/// The counts of a file, and the line each stands on.
fn from_csv(bytes: &[u8], role: Role, now: Timestamp) -> Result<(Vec<Count>, Vec<usize>), Problem> {
    let (mut reader, mut rows) = (Reader::default(), Vec::new());
    reader.push(bytes, &mut rows).and_then(|()| reader.finish(&mut rows)).map_err(import::broken)?;
    let mut rows = rows.into_iter();
    let (_, head) = rows.next().ok_or_else(import::empty)?;
    let columns = import::columns::<Shelf>(&head)?;
    let (mut counts, mut lines, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (line, cells) in rows {
        let record = Record::of(&columns, &cells, role, now).map_err(|why| vec![("", why)]);
        match record.and_then(|record| Shelf::read(&record)) {
            Ok(count) => {
                counts.push(count);
                lines.push(line);
            }
            Err(faults) => errors.extend(faults.into_iter().map(|(column, why)| {
                let place = if column.is_empty() { format!("line {line}") } else { format!("line {line}: {column}") };
                FieldError::new(place, why)
            })),
        }
    }
    if (counts.is_empty() || counts.len() > COUNTS_MAX) && errors.is_empty() {
        let why = format!("must hold 1 to {COUNTS_MAX} counts; POST /v1/admin/counts/import takes more");
        errors.push(FieldError::new("/", why));
    }
    if errors.is_empty() { Ok((counts, lines)) } else { Err(Problem::invalid(errors)) }
}
