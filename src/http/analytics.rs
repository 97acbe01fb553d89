//! `GET /v1/admin/analytics`: what was sold, per marketplace, SKU and day, and how well the hub does its work.

mod table;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::auth::{Role, require};
use super::csv;
use super::extract::Params;
use super::problem::{FieldError, Problem};
use crate::ask;
use crate::context::Context;
use crate::db::analytics::{self, Calls, Deliveries, Exposure, GroupBy, Reads, SalesGroup};
use crate::db::{Conn, DbError, Ids};
use crate::domain::money::{Currency, Money};
use crate::domain::time::Timestamp;

/// Rows of one answer; a wider question has to be narrowed.
const ROWS_MAX: usize = 10_000;
/// Days looked back where nobody says.
const DAYS_DEFAULT: u64 = 30;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AnalyticsParams {
    /// First UTC day, like 2026-01-09; default 30 days back.
    from: Option<String>,
    /// Last UTC day, itself included; default today.
    to: Option<String>,
    /// Any of `marketplace`, `sku`, `day`, separated by commas; nothing: the sum per currency.
    group_by: Option<String>,
    /// Only so many rows, of what sold most first; `totals` stay those of all.
    #[param(minimum = 1, maximum = 500)]
    top: Option<i64>,
    /// `sales`: the rows and totals alone, without calls, deliveries and the rest.
    #[param(inline)]
    only: Option<Only>,
}

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Only {
    Sales,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SalesShape {
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    marketplace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sku: Option<String>,
    /// Null: units without a price. Amounts of several currencies are never added up.
    currency: Option<String>,
    units: i64,
    revenue: Option<String>,
    cost: Option<String>,
    /// Null: no fees are recorded.
    fees: Option<String>,
    /// Revenue less cost and fees, as far as they are known.
    profit: Option<String>,
    orders: i64,
    cancelled: i64,
    returned: i64,
}

impl From<&SalesGroup> for SalesShape {
    fn from(g: &SalesGroup) -> Self {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let money = |minor: i64| Some(Money { minor, currency: Currency::parse(&g.currency).ok()? }.amount());
        Self {
            day: some(&g.day),
            marketplace: some(&g.marketplace),
            sku: some(&g.sku),
            currency: some(&g.currency),
            units: g.units,
            revenue: money(g.revenue_minor),
            cost: money(g.cost_minor),
            fees: if g.fee_minor == 0 { None } else { money(g.fee_minor) },
            profit: money(g.revenue_minor.saturating_sub(g.cost_minor).saturating_sub(g.fee_minor)),
            orders: g.orders,
            cancelled: g.cancelled,
            returned: g.returned,
        }
    }
}

/// What a span of days shows beside its sales.
#[derive(Debug)]
struct Work {
    calls: Vec<Calls>,
    deliveries: Vec<Deliveries>,
    exposure: Exposure,
    reads: Vec<Reads>,
    /// How reconciliations ended.
    reconciled: Vec<(String, String)>,
}

impl Work {
    async fn look(conn: &mut Conn<'_>, span: &Span) -> Result<Self, DbError> {
        let ids = Ids::between(Some(span.from), Some(span.before), None);
        Ok(Self {
            calls: analytics::calls(conn, ids, (&span.first, &span.last)).await?,
            deliveries: analytics::deliveries(conn, ids).await?,
            exposure: analytics::exposure(conn).await?,
            reads: analytics::reads(conn, &span.first, &span.last).await?,
            reconciled: analytics::reconciled(conn, span.from, span.before).await?,
        })
    }

    /// How much was counted for it.
    fn rows(&self) -> i64 {
        let calls = self.calls.iter().map(|c| c.calls + c.changes).sum::<i64>();
        calls + self.deliveries.iter().map(|d| d.count).sum::<i64>() + self.exposure.listings
    }
}

/// An answer, and when it was found.
#[derive(Clone)]
struct Remembered {
    at: Timestamp,
    span: Span,
    work: Arc<Work>,
    /// Somebody finds it anew.
    under_way: bool,
}

/// Answers that took long, the newest last.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Vec<Remembered>>>);

/// Spans remembered: more than the dashboard has to choose from.
const SPANS_KEPT: usize = 8;
/// What is older than it may be is still told, so many times as long, while it is found anew behind that answer.
const STALE_FACTOR: u32 = 10;

/// What to do about a span.
enum Known {
    Fresh(Remembered),
    /// Tell it, and find it anew.
    Stale(Remembered),
    Unknown,
}

impl Kept {
    fn get(&self, span: &Span, now: Timestamp, keep: Duration) -> Known {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = kept.iter_mut().find(|kept| kept.span == *span) else { return Known::Unknown };
        let age = now.since(found.at);
        if age < keep || (found.under_way && age < keep * STALE_FACTOR) {
            Known::Fresh(found.clone())
        } else if age < keep * STALE_FACTOR {
            found.under_way = true;
            Known::Stale(found.clone())
        } else {
            Known::Unknown
        }
    }

    fn forget(&self, span: &Span) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|kept| kept.span != *span);
    }

    fn put(&self, new: Remembered) {
        self.forget(&new.span);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == SPANS_KEPT {
            kept.remove(0);
        }
        kept.push(new);
    }
}

async fn work(ctx: &web::Data<Context>, span: &Span) -> Result<Remembered, Problem> {
    match ctx.figures.get(span, ctx.kit.clock.now(), ctx.settings.analytics.keep()) {
        Known::Fresh(known) => Ok(known),
        Known::Stale(known) => {
            let (behind, span) = (ctx.clone(), span.clone());
            ctx.workers.start(async move {
                if let Err(error) = find(&behind, &span).await {
                    tracing::warn!(%error, "figures could not be found anew");
                    behind.figures.forget(&span);
                }
            });
            Ok(known)
        }
        Known::Unknown => Ok(find(ctx, span).await?),
    }
}

/// Counts it all, and remembers it where that was much.
async fn find(ctx: &Context, span: &Span) -> Result<Remembered, DbError> {
    let at = ctx.kit.clock.now();
    let work = ask!(ctx, Work, [span: Span = span.clone()] |conn| Work::look(conn, &span).await)?;
    let found = Remembered { at, span: span.clone(), work: Arc::new(work), under_way: false };
    if found.work.rows() >= ctx.settings.analytics.keep_from_rows {
        ctx.figures.put(found.clone());
    } else {
        ctx.figures.forget(span);
    }
    Ok(found)
}

/// Sums per currency.
fn total(rows: &[SalesGroup]) -> Vec<SalesGroup> {
    let mut sums: BTreeMap<&str, SalesGroup> = BTreeMap::new();
    for r in rows {
        let sum = sums.entry(&r.currency).or_insert_with(|| SalesGroup { currency: r.currency.clone(), ..SalesGroup::default() });
        sum.units = sum.units.saturating_add(r.units);
        sum.revenue_minor = sum.revenue_minor.saturating_add(r.revenue_minor);
        sum.cost_minor = sum.cost_minor.saturating_add(r.cost_minor);
        sum.fee_minor = sum.fee_minor.saturating_add(r.fee_minor);
        sum.orders = sum.orders.saturating_add(r.orders);
        sum.cancelled = sum.cancelled.saturating_add(r.cancelled);
        sum.returned = sum.returned.saturating_add(r.returned);
    }
    sums.into_values().collect()
}

type Sales = (Vec<SalesGroup>, Vec<SalesGroup>);

#[utoipa::path(get, path = "/v1/admin/analytics", tag = "analytics", params(AnalyticsParams), security(("token" = [])),
    responses((status = 200, description = "`rows`, `totals` per currency, API calls, deliveries and exposure with when these were `counted_at`; \
            the rows alone as CSV, however many. More than 10000 rows as JSON are refused and never cut: ask for fewer days", body = Object),
        (status = 401, description = "no token"), (status = 403, description = "another role"),
        (status = 422, description = "names each parameter"), (status = 503, description = "try again")))]
pub(super) async fn show(
    request: HttpRequest,
    params: Params<AnalyticsParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let span = Span::of(&params.0, ctx.kit.clock.now())?;
    let by = group_by(params.0.group_by.as_deref().unwrap_or(""))?;
    if params.0.top.is_some_and(|top| !(1..=500).contains(&top)) {
        return Err(Problem::field("top", "must be between 1 and 500"));
    }
    let (most, best) = (params.0.top.unwrap_or(ROWS_MAX as i64 + 1), params.0.top.is_some());
    let as_table = csv::is_wanted(&request);
    if as_table && !best {
        return table::of_all(&ctx, span, by).await;
    }
    let (rows, totals) = ask!(ctx, Sales, [span: Span = span.clone(), by: GroupBy = by, most: i64 = most, best: bool = best] |conn| {
        let rows = analytics::sales(conn, &span.first, &span.last, by, most, best).await?;
        // All rows add up to the totals; only of some of them the rest has to be asked for.
        let totals = match best {
            true => analytics::sales(conn, &span.first, &span.last, GroupBy::default(), ROWS_MAX as i64, false).await?,
            false => total(&rows),
        };
        Ok((rows, totals))
    })?;
    if rows.len() > ROWS_MAX {
        let why = format!("gives more than {ROWS_MAX} rows: ask for fewer days, group by less, or take it as CSV");
        return Err(Problem::field("from", why));
    }
    if as_table {
        return Ok(table::of(&ctx, &span, &rows));
    }
    let shapes: Vec<SalesShape> = rows.iter().map(SalesShape::from).collect();
    let mut shown = json!({
        "from": span.first, "to": span.last,
        "rows": shapes,
        "totals": totals.iter().map(SalesShape::from).collect::<Vec<_>>(),
    });
    if params.0.only.is_none() {
        let found = work(&ctx, &span).await?;
        let Work { calls, deliveries, exposure, reads, reconciled } = &*found.work;
        shown["counted_at"] = json!(found.at);
        shown["api_calls"] = api_calls(calls);
        shown["reads"] = read(reads);
        shown["reconciliation"] = drift(reconciled);
        shown["deliveries"] = came_in(deliveries);
        let (shown_there, available) = (exposure.shown, exposure.available);
        shown["exposure"] = json!({ "shown": shown_there, "available": available, "ratio": ratio(shown_there, available) });
    }
    Ok(HttpResponse::Ok().json(shown))
}

/// Whole UTC days.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    first: String,
    last: String,
    from: Timestamp,
    before: Timestamp,
}

impl Span {
    fn of(params: &AnalyticsParams, now: Timestamp) -> Result<Self, Problem> {
        const DAY: Duration = Duration::from_secs(86_400);
        let mut errors = Vec::new();
        let mut day = |field: &str, text: Option<&str>, default: Timestamp| {
            let text = text.map_or_else(|| default.day(), str::to_owned);
            let at = (text.len() == 10).then(|| Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z"))).flatten();
            at.or_else(|| {
                errors.push(FieldError::new(field, "must be a day, like 2026-01-09"));
                None
            })
        };
        let back = now.minus(DAY * u32::try_from(DAYS_DEFAULT).unwrap_or(30));
        let (from, to) = (day("from", params.from.as_deref(), back), day("to", params.to.as_deref(), now));
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            errors.push(FieldError::new("from", "is after `to`"));
        }
        let (Some(from), Some(to), true) = (from, to, errors.is_empty()) else { return Err(Problem::invalid(errors)) };
        Ok(Self { first: from.day(), last: to.day(), from, before: to.plus(DAY) })
    }
}

fn group_by(text: &str) -> Result<GroupBy, Problem> {
    let mut by = GroupBy::default();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word {
            "day" => by.day = true,
            "marketplace" => by.marketplace = true,
            "sku" => by.sku = true,
            _ => return Err(Problem::field("group_by", "takes marketplace, sku and day, separated by commas")),
        }
    }
    Ok(by)
}

fn ratio(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * 10_000.0).round() / 10_000.0)
}

/// What was called, and what one call for every change of a listing would have been.
fn api_calls(calls: &[Calls]) -> Value {
    let list: Vec<Value> = calls
        .iter()
        .map(|c| {
            json!({"marketplace": c.marketplace, "made": c.calls, "applied": c.applied, "listing_changes": c.changes,
                "saved": (c.changes - c.calls).max(0)})
        })
        .collect();
    let sum = |pick: fn(&Calls) -> i64| calls.iter().map(pick).sum::<i64>();
    let (made, changes) = (sum(|c| c.calls), sum(|c| c.changes));
    json!({"made": made, "listing_changes": changes, "saved": (changes - made).max(0), "by_marketplace": list})
}

/// Requests that read something; polls of orders apart, they are not what hourly polling of every listing would have been.
fn read(reads: &[Reads]) -> Value {
    let mut purposes: BTreeMap<&str, i64> = BTreeMap::new();
    let mut places: BTreeMap<&str, BTreeMap<&str, i64>> = BTreeMap::new();
    for r in reads {
        *purposes.entry(&r.purpose).or_default() += r.calls;
        *places.entry(&r.marketplace).or_default().entry(&r.purpose).or_default() += r.calls;
    }
    let of = |wanted: &[&str]| wanted.iter().filter_map(|name| purposes.get(name)).sum::<i64>();
    let (orders, total) = (of(&["poll", "statuses", "hint"]), purposes.values().sum::<i64>());
    json!({"orders": orders, "stock": total - orders, "by_purpose": purposes, "by_marketplace": places})
}

/// How often marketplaces showed what was expected.
fn drift(runs: &[(String, String)]) -> Value {
    let mut places: BTreeMap<&str, (i64, i64, i64)> = BTreeMap::new();
    for (marketplace, counts) in runs {
        let counts: Value = serde_json::from_str(counts).unwrap_or(Value::Null);
        let count = |name: &str| counts[name].as_i64().unwrap_or(0);
        let sum = places.entry(marketplace).or_default();
        *sum = (sum.0 + 1, sum.1 + count("equal"), sum.2 + count("discrepancies"));
    }
    let show = |(runs, equal, different): (i64, i64, i64)| {
        json!({"runs": runs, "equal": equal, "discrepancies": different, "accuracy": ratio(equal, equal + different),
            "drift_rate": ratio(different, equal + different)})
    };
    let all = places.values().fold((0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2));
    let mut shown = show(all);
    shown["by_marketplace"] = places.into_iter().map(|(code, sum)| (code.to_owned(), show(sum))).collect();
    shown
}

fn came_in(deliveries: &[Deliveries]) -> Value {
    let mut sources: BTreeMap<&str, i64> = BTreeMap::new();
    let mut states: BTreeMap<&str, i64> = BTreeMap::new();
    for d in deliveries {
        *sources.entry(&d.source).or_default() += d.count;
        *states.entry(&d.status).or_default() += d.count;
    }
    let total: i64 = sources.values().sum();
    let done = ["processed", "ignored"].iter().filter_map(|state| states.get(state)).sum();
    let share = |source: &str| ratio(sources.get(source).copied().unwrap_or(0), total);
    json!({"total": total, "by_source": sources, "by_status": states, "webhook_share": share("webhook"), "poll_share": share("poll"),
        "success": ratio(done, total)})
}
