//! Tables coming in: read while they arrive, checked row by row against what is there, and applied only when all of it is good. A table
//! that would empty many products at once has to be confirmed.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::auth::{Caller, Role, require};
use super::csv_read::{Broken, Reader, Row};
use super::extract::refuse_encoding;
use super::problem::Problem;
use super::request_id;
use super::write::{key, key_reused};
use crate::ask;
use crate::context::Context;
use crate::db::imports::{self, Counts};
use crate::domain::time::Timestamp;
use crate::pipeline::import::products::{FaultText, Verdict};
use crate::pipeline::import::{Accept, ApplyNext, Discard, ImportError, Kind, STRETCH, Stage, WasAccepted};

/// Errors shown; all of them are counted.
const ERRORS_SHOWN: usize = 50;
/// Of the products there is something of, so many hundredths may be emptied unasked.
const EMPTIED_PERCENT_MAX: i64 = 20;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportParams {
    /// Says what it would do, and does nothing.
    #[serde(default)]
    dry_run: bool,
    /// The token of a 409 `needs-confirmation`, to do it all the same.
    confirm: Option<String>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RowError {
    line: usize,
    /// The column; empty where it is the whole row.
    field: String,
    message: String,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ImportDone {
    rows: i64,
    created: i64,
    updated: i64,
    unchanged: i64,
    /// Good when they were checked, impossible when they were applied: somebody changed the same things meanwhile.
    skipped: i64,
    /// At most 50 of them; `error_count` counts all.
    errors: Vec<RowError>,
    error_count: usize,
    dry_run: bool,
}

/// A row by the names of its columns.
pub(super) struct Record<'a> {
    columns: &'a [String],
    cells: &'a [String],
    /// Of whoever sent the table.
    pub role: Role,
    /// When the row came.
    pub now: Timestamp,
}

impl<'a> Record<'a> {
    /// A row that has as many cells as there are columns; else what is wrong with it.
    pub fn of(columns: &'a [String], cells: &'a [String], role: Role, now: Timestamp) -> Result<Self, String> {
        if cells.len() == columns.len() {
            return Ok(Self { columns, cells, role, now });
        }
        Err(format!("has {} cells, the first line names {} columns", cells.len(), columns.len()))
    }

    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    /// What stands in a column; an empty cell says nothing.
    pub fn get(&self, column: &str) -> Option<&str> {
        let place = self.columns.iter().position(|name| name == column)?;
        self.cells.get(place).map(String::as_str).filter(|cell| !cell.is_empty())
    }

    pub fn owned(&self, column: &str) -> Option<String> {
        self.get(column).map(str::to_owned)
    }

    /// Digits and nothing else: what a spreadsheet made of a number is not guessed at.
    pub fn whole(&self, column: &'static str, max: i64) -> Result<Option<i64>, FaultText> {
        let Some(text) = self.get(column) else { return Ok(None) };
        let plain = text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<i64>().ok().filter(|number| plain && *number <= max);
        number.map(Some).ok_or_else(|| (column, format!("must be a whole number of digits only, 0 to {max}, is {text:?}")))
    }
}

/// A kind of table.
pub(super) trait Table: 'static {
    type Cells: Serialize + Send + Clone + 'static;
    /// What the second look is at, gathered from the rows.
    type Sum: Default;
    const KIND: Kind;
    const COLUMNS: &'static [&'static str];
    /// Columns that must be there.
    const NEEDED: &'static [&'static str];
    /// What makes two rows the same: the column that is named then.
    const KEY: &'static str;

    fn read(record: &Record<'_>) -> Result<Self::Cells, Vec<FaultText>>;
    fn key(cells: &Self::Cells) -> String;
    /// What each row would do, in order.
    fn compare(ctx: &Context, rows: Vec<Self::Cells>, sum: &mut Self::Sum) -> impl Future<Output = Result<Verdicts, Problem>>;
    /// What has to be confirmed before all of it is done, if anything.
    fn question(ctx: &Context, sum: Self::Sum, digest: &[u8; 32]) -> impl Future<Output = Result<Option<Question>, Problem>>;
}

pub(super) type Verdicts = Vec<Result<Verdict, FaultText>>;

/// Changes a lot at once: looked at twice.
#[derive(Debug)]
pub(super) struct Question {
    pub detail: String,
    /// Of this very change, so that it confirms no other.
    pub confirm: String,
    /// What else is told of it.
    pub more: Vec<(&'static str, Value)>,
}

impl Question {
    /// What a dry run shows of it.
    fn shown(&self) -> Value {
        let mut shown = json!({"detail": self.detail, "confirm": self.confirm});
        for (name, value) in &self.more {
            shown[*name] = value.clone();
        }
        shown
    }
}

impl From<Question> for Problem {
    fn from(question: Question) -> Self {
        let Question { detail, confirm, mut more } = question;
        more.push(("confirm", json!(confirm)));
        Self { more, ..Self::conflict("needs-confirmation", detail) }
    }
}

/// Products of which nothing would be left, each counted once.
#[derive(Default)]
pub(super) struct Emptied(HashSet<u64>);

impl Emptied {
    pub fn add(&mut self, sku: &str) {
        let digest = Sha256::digest(sku.as_bytes());
        self.0.insert(u64::from_be_bytes(std::array::from_fn(|n| digest[n])));
    }

    pub fn count(&self) -> i64 {
        self.0.len() as i64
    }
}

struct Import<'a, T: Table> {
    ctx: &'a web::Data<Context>,
    caller: &'a Caller,
    dry_run: bool,
    columns: Vec<String>,
    waiting: Vec<(usize, T::Cells)>,
    /// Where each key stood first.
    seen: HashMap<u128, usize>,
    id: Option<Uuid>,
    rows: i64,
    counts: Counts,
    errors: Vec<RowError>,
    error_count: usize,
    sum: T::Sum,
}

pub(super) async fn take<T: Table>(
    request: &HttpRequest,
    ctx: &web::Data<Context>,
    params: ImportParams,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let caller = require(request, ctx, Role::Operator).await?;
    refuse_encoding(request)?;
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if !kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("text/csv") {
        let detail = "send Content-Type: text/csv";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Not taken", detail));
    }
    let mut import = Import::<T> {
        ctx,
        caller: &caller,
        dry_run: params.dry_run,
        columns: Vec::new(),
        waiting: Vec::new(),
        seen: HashMap::new(),
        id: None,
        rows: 0,
        counts: Counts::default(),
        errors: Vec::new(),
        error_count: 0,
        sum: T::Sum::default(),
    };
    let received = import.receive(body).await;
    let done = match received {
        Ok(digest) => import.decide(request, digest, params.confirm.as_deref()).await,
        Err(problem) => Err(problem),
    };
    // Whatever was kept and not accepted.
    import.discard().await;
    done
}

impl<T: Table> Import<'_, T> {
    /// Reads all of it; gives its digest.
    async fn receive(&mut self, mut body: web::Payload) -> Result<[u8; 32], Problem> {
        let limits = &self.ctx.settings.import;
        let deadline = Duration::from_millis(self.ctx.settings.ingest.body_deadline_ms);
        let (mut reader, mut rows, mut total) = (Reader::default(), Vec::new(), 0_usize);
        let mut digest = Sha256::new();
        loop {
            let next = tokio::time::timeout(deadline, body.next()).await;
            let slow =
                |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", "Too slow", "the table did not arrive in time");
            let Some(piece) = next.map_err(slow)? else { break };
            let piece = piece.map_err(|error| {
                Problem::new(StatusCode::BAD_REQUEST, "broken-body", "Bad request", format!("the table broke off: {error}"))
            })?;
            total += piece.len();
            if total > limits.bytes_max {
                return Err(too_large(format!("a table may have {} bytes", limits.bytes_max)));
            }
            digest.update(&piece);
            reader.push(&piece, &mut rows).map_err(broken)?;
            for row in rows.drain(..) {
                self.row(row).await?;
            }
        }
        reader.finish(&mut rows).map_err(broken)?;
        for row in rows.drain(..) {
            self.row(row).await?;
        }
        if self.columns.is_empty() {
            return Err(empty());
        }
        self.flush().await?;
        Ok(digest.finalize().into())
    }

    async fn row(&mut self, (line, cells): Row) -> Result<(), Problem> {
        if self.columns.is_empty() {
            self.columns = columns::<T>(&cells)?;
            return Ok(());
        }
        self.rows += 1;
        let max = self.ctx.settings.import.rows_max;
        if self.rows > max {
            return Err(too_large(format!("a table may have {max} rows")));
        }
        let record = Record::of(&self.columns, &cells, self.caller.role, self.ctx.kit.clock.now());
        match T::read(&record.map_err(|message| broken_with(line, "csv-syntax", &message))?) {
            Err(faults) => faults.into_iter().for_each(|(field, message)| self.error(line, field, message)),
            Ok(row) => {
                let digest = Sha256::digest(T::key(&row).as_bytes());
                let key = u128::from_be_bytes(std::array::from_fn(|n| digest[n]));
                if let Some(first) = self.seen.insert(key, line) {
                    self.error(line, T::KEY, format!("stands twice: first on line {first}"));
                } else {
                    self.waiting.push((line, row));
                }
            }
        }
        if self.waiting.len() >= STRETCH { self.flush().await } else { Ok(()) }
    }

    fn error(&mut self, line: usize, field: &str, message: String) {
        self.error_count += 1;
        if self.errors.len() < ERRORS_SHOWN {
            self.errors.push(RowError { line, field: field.to_owned(), message: short(message) });
        }
    }

    /// Holds what waits against what is there, and keeps it.
    async fn flush(&mut self) -> Result<(), Problem> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let verdicts = T::compare(self.ctx, waiting.iter().map(|(_, row)| row.clone()).collect(), &mut self.sum).await?;
        let mut staged = Vec::with_capacity(waiting.len());
        for ((line, row), verdict) in waiting.into_iter().zip(verdicts) {
            match verdict {
                Ok(Verdict::Created) => self.counts.created += 1,
                Ok(Verdict::Updated) => self.counts.updated += 1,
                Ok(Verdict::Unchanged) => self.counts.unchanged += 1,
                Err((field, message)) => self.error(line, field, message),
            }
            staged.push((line as i64, json!(row).to_string()));
        }
        if !self.dry_run && self.error_count == 0 {
            let actor = self.caller.actor.clone();
            let stage = Stage { id: self.id, kind: T::KIND, rows: staged, actor };
            self.id = Some(self.ctx.writer.run_patiently(stage).await?);
        }
        Ok(())
    }

    async fn discard(&mut self) {
        if let Some(id) = self.id.take()
            && let Err(error) = self.ctx.writer.run_patiently(Discard(id)).await
        {
            tracing::warn!(%error, "an import that shall not be could not be forgotten; it will be");
        }
    }

    /// All of it is known: refuse it, ask, or do it.
    async fn decide(&mut self, request: &HttpRequest, digest: [u8; 32], confirm: Option<&str>) -> Result<HttpResponse, Problem> {
        let key = if self.dry_run { None } else { key(self.caller, request, digest)? };
        if let Some(key) = &key
            && let Some(id) = self.ctx.ask(WasAccepted(key.clone())).await??
        {
            return self.finish(id, true).await;
        }
        // Some are seen when a row is read, others when it is compared.
        self.errors.sort_by_key(|error| error.line);
        if self.error_count > 0 && !self.dry_run {
            let detail = format!("{} errors in {} rows; nothing was changed", self.error_count, self.rows);
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "import-refused", "The table cannot be taken", detail);
            let more = vec![
                ("errors", json!(self.errors)),
                ("error_count", json!(self.error_count)),
                ("rows", json!(self.rows)),
                ("dry_run", json!(false)),
            ];
            return Err(Problem { more, ..problem });
        }
        let ask = T::question(self.ctx, std::mem::take(&mut self.sum), &digest).await?;
        if self.dry_run {
            let mut shown = json!(self.shown(self.counts));
            if let Some(question) = ask {
                shown["confirm_needed"] = question.shown();
            }
            return Ok(HttpResponse::Ok().json(shown));
        }
        if let Some(question) = ask.filter(|question| Some(question.confirm.as_str()) != confirm) {
            return Err(question.into());
        }
        let Some(id) = self.id.take() else { return Ok(HttpResponse::Ok().json(self.shown(Counts::default()))) };
        let (actor, action, rows) = (self.caller.actor.clone(), T::KIND.action(), self.rows);
        let accept = Accept { id, actor, action, rows, request_id: request_id(request), key };
        let accepted = self.ctx.writer.run_patiently(accept).await?;
        self.finish(accepted, accepted != id).await
    }

    /// Applies what was accepted, to its end.
    async fn finish(&mut self, id: Uuid, again: bool) -> Result<HttpResponse, Problem> {
        // It was good then: what it did itself may keep it from being so now.
        (self.error_count, self.errors) = (0, Vec::new());
        let writer = self.ctx.writer.clone();
        // Whoever sent it may go away; it is done all the same.
        let applied = self.ctx.workers.finish(async move {
            loop {
                if let Some(counts) = writer.run_patiently(ApplyNext(id)).await? {
                    return Ok::<_, crate::pipeline::writer::WriteError<ImportError>>(counts);
                }
            }
        });
        match applied.await {
            Some(Ok(counts)) => {
                let mut answer = HttpResponse::Ok();
                if again {
                    answer.insert_header(("idempotency-replayed", "true"));
                }
                Ok(answer.json(self.shown(counts)))
            }
            Some(Err(error)) => Err(error.into()),
            None => Err(Problem::unavailable("shutting-down", "accepted; it goes on at the next start")),
        }
    }

    fn shown(&self, counts: Counts) -> ImportDone {
        ImportDone {
            rows: self.rows,
            created: counts.created,
            updated: counts.updated,
            unchanged: counts.unchanged,
            skipped: counts.skipped,
            errors: self.errors.clone(),
            error_count: self.error_count,
            dry_run: self.dry_run,
        }
    }
}

/// The columns that the first line names.
pub(super) fn columns<T: Table>(cells: &[String]) -> Result<Vec<String>, Problem> {
    let cells: Vec<String> = cells.iter().map(|cell| cell.trim().to_ascii_lowercase()).collect();
    if let Some(unknown) = cells.iter().find(|cell| !T::COLUMNS.contains(&cell.as_str())) {
        return Err(header_problem(format!("there is no column {unknown:?}; there are {}", T::COLUMNS.join(", "))));
    }
    if let Some(twice) = cells.iter().enumerate().find(|(n, cell)| cells[..*n].contains(cell)) {
        return Err(header_problem(format!("the column {:?} stands twice", twice.1)));
    }
    if let Some(missing) = T::NEEDED.iter().find(|needed| !cells.iter().any(|cell| cell == *needed)) {
        return Err(header_problem(format!("the column {missing:?} is missing")));
    }
    Ok(cells)
}

/// The table has not even a first line.
pub(super) fn empty() -> Problem {
    header_problem("the table is empty: its first line names the columns".into())
}

/// Whether emptying so many products has to be confirmed: of this very change, so that the token confirms no other.
pub(super) async fn empties(ctx: &Context, emptied: i64, digest: &[u8; 32]) -> Result<Option<Question>, Problem> {
    // One by one is how a shop sells out.
    if emptied < 2 {
        return Ok(None);
    }
    let stocked = ask!(ctx, i64, [] | conn | imports::count_stocked(conn).await)?;
    if emptied * 100 <= stocked * EMPTIED_PERCENT_MAX {
        return Ok(None);
    }
    let token = Sha256::digest([&digest[..], &emptied.to_be_bytes(), &stocked.to_be_bytes()].concat());
    Ok(Some(Question {
        detail: format!("{emptied} of {stocked} products with stock would have none"),
        confirm: hex::encode(token).chars().take(16).collect(),
        more: vec![("affected", json!(emptied)), ("stocked", json!(stocked))],
    }))
}

/// Characters that are told of one mistake: it may quote a cell, and cells may be large.
const MESSAGE_MAX: usize = 400;

fn short(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_MAX) {
        message.truncate(end);
        message.push('…');
    }
    message
}

fn too_large(detail: String) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large", "Too large", detail)
}

fn header_problem(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "csv-header", "The table cannot be read", short(detail))
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
pub(super) fn broken(broken: Broken) -> Problem {
    broken_with(broken.line, broken.code, broken.message)
}

fn broken_with(line: usize, code: &'static str, message: &str) -> Problem {
    let problem =
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, "The table cannot be read", format!("line {line}: {message}"));
    let error = RowError { line, field: String::new(), message: message.to_owned() };
    Problem { more: vec![("errors", json!([error]))], ..problem }
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Unknown => Self::not_found("unknown-import", "there is no such import"),
            ImportError::KeyReused => key_reused(),
            ImportError::Database(error) => error.into(),
        }
    }
}
