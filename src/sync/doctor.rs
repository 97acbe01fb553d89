//! The doctor: looks at one account as a whole, and says of each thing whether it is well and what to do about it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Sync;
use super::runs::{End, Running, Step};
use super::way::{Asked, NotTold};
use crate::ask;
use crate::caller::Purpose;
use crate::db::observations;
use crate::db::polls::{self, PollState};
use crate::db::sync::{self, NewestRun};
use crate::db::{DbError, history, marketplaces};
use crate::domain::ids::MarketplaceId;
use crate::domain::time::Timestamp;
use crate::marketplaces::call::{Ask, Page, Told, Window};
use crate::marketplaces::connection::Status;
use crate::marketplaces::{Connection, Outcome, PushStyle, Scheme};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Ok,
    Warn,
    Fail,
    /// Does not apply here.
    Skip,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub status: Health,
    pub detail: String,
    /// What to do; empty where there is nothing to do.
    pub advice: String,
}

impl Check {
    fn new(name: &str, status: Health, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name: name.to_owned(), status, detail: detail.into(), advice: advice.into() }
    }
}

/// A clock that is off by more than this makes the window rule guess, and signatures fail.
const SKEW_WARN: Duration = Duration::from_secs(2);
const SKEW_FAIL: Duration = Duration::from_secs(60);

/// What the database knows of an account.
struct Known {
    status: String,
    state: PollState,
    by_state: Vec<(String, i64)>,
    without_product: i64,
    waiting_lines: i64,
    last_push: Option<Timestamp>,
    last_poll: Option<NewestRun>,
    last_read: Option<NewestRun>,
    last_reconciliation: Option<NewestRun>,
}

impl Sync {
    pub(super) async fn doctor(&self, running: &mut Running) -> Step {
        let connection = running.connection.clone();
        let known = match self.known(connection.id).await {
            Ok(known) => known,
            Err(error) => return Step::Over(End::failed(error.to_string())),
        };
        let now = self.kit.clock.now();
        let mut checks = vec![account(&connection, &known)];
        let asked = self.question(&connection, now).await;
        if let Some((_, asked)) = &asked {
            running.calls += asked.calls;
        }
        checks.extend(answer(&connection, asked.as_ref(), now, connection.policy.clock_tolerance));
        checks.push(self.budget(&connection));
        checks.push(self.webhooks(&connection));
        checks.push(self.mapping(&connection, &known).await);
        checks.push(self.pushes(&connection, &known));
        checks.push(self.reading(&connection, &known, now));
        let failed = checks.iter().any(|check| check.status == Health::Fail);
        // A list of plain structs always has a JSON form.
        let result = serde_json::to_value(&checks).ok();
        Step::Over(End { status: if failed { "partial" } else { "succeeded" }, error: None, result })
    }

    async fn known(&self, id: MarketplaceId) -> Result<Known, DbError> {
        ask!(self, Known, [id: MarketplaceId = id] |conn| {
            Ok(Known {
                status: marketplaces::status(conn, id).await?.unwrap_or_default(),
                state: polls::state(conn, id).await?,
                by_state: observations::by_state(conn, id).await?,
                without_product: observations::without_product(conn, id).await?,
                waiting_lines: history::count_waiting(conn, id).await?,
                last_push: observations::last_acknowledged(conn, id).await?,
                last_poll: sync::newest(conn, id, "poll").await?,
                last_read: sync::newest(conn, id, "bulk_read").await?,
                last_reconciliation: sync::newest(conn, id, "reconciliation").await?,
            })
        })
    }

    /// The cheapest question that proves the credentials.
    async fn question(&self, connection: &Arc<Connection>, now: Timestamp) -> Option<(&'static str, Asked)> {
        let abilities = connection.adapter.traits().abilities;
        let (what, ask) = if abilities.check {
            ("the check of its credentials", Ask::Check)
        } else if abilities.stock {
            ("the first page of its listings", Ask::Stock { page: Page::default() })
        } else if abilities.orders.is_some() {
            let window = Window { from: now.minus(Duration::from_secs(60)), to: now };
            ("its newest orders", Ask::Orders { list: 0, window, page: Page::default() })
        } else if abilities.stock_of.is_some() {
            let names = self.names(connection.id).await.ok()?;
            let first = (!names.rows.is_empty()).then(|| names.item(0))?;
            ("one of its listings", Ask::StockOf { items: vec![first] })
        } else {
            return None;
        };
        Some((what, self.way.ask(connection, Purpose::Check, &ask).await))
    }

    fn budget(&self, connection: &Connection) -> Check {
        let name = "rate_budget";
        let left = self.way.callers.of(connection.id).left();
        let now = self.kit.clock.now();
        let limits = connection.adapter.limits();
        let mut words = Vec::new();
        let mut closed = None;
        for (budget, left, until) in left {
            // What may leave at once: the rest of an hour's budget comes with the hour.
            let whole = limits.iter().find(|limit| limit.name == budget).map(|limit| limit.burst);
            match (left, whole) {
                // A marketplace may have told of more than its adapter knew.
                (Some(left), Some(whole)) if left <= i64::from(whole) => {
                    words.push(format!("{budget}: {left} of {whole} may leave now"))
                }
                (Some(left), _) => words.push(format!("{budget}: {left} may leave now")),
                (None, _) => {}
            }
            closed = closed.max(until.filter(|until| *until > now).map(|until| (until, budget)));
        }
        if words.is_empty() {
            words.push(if limits.is_empty() {
                "its adapter names no limits".to_owned()
            } else {
                "nothing was asked yet".to_owned()
            });
        }
        match closed {
            Some((until, budget)) => {
                let advice = "it asked for patience: is another program using the same account?";
                Check::new(name, Health::Warn, format!("{}; {budget} rests until {until}", words.join("; ")), advice)
            }
            None => Check::new(name, Health::Ok, words.join("; "), ""),
        }
    }

    fn webhooks(&self, connection: &Connection) -> Check {
        let name = "webhooks";
        let code = &connection.code;
        if connection.schemes().is_empty() {
            return Check::new(name, Health::Skip, "this marketplace sends none; its orders are polled", "");
        }
        // Without its secret they are off by themselves, and switching them on would change nothing.
        if !connection.webhook_enabled && connection.can_verify() {
            let advice = format!("set webhook_enabled = true for {code} and tell the marketplace the address /webhooks/{code}");
            return Check::new(name, Health::Warn, "they are switched off", advice);
        }
        if !connection.can_verify() {
            let needed: Vec<&str> = connection.schemes().iter().map(|scheme| scheme.needed_secret()).collect();
            let advice = format!("set its secret {}", needed.first().copied().unwrap_or("webhook_secret"));
            // Where nobody asked for webhooks, doing without them is no fault.
            let health = if connection.webhook_enabled { Health::Fail } else { Health::Warn };
            return Check::new(name, health, "no secret is set, so none is believed", advice);
        }
        if connection.lacks_address() {
            let advice = format!("set marketplaces.{code}.account.{} to the address that it was given", Scheme::WEBHOOK_URL);
            let detail = "they are signed together with their address, which is not known here, so none is believed";
            return Check::new(name, Health::Fail, detail, advice);
        }
        let end = connection.secret_in_address().map(|secret| format!("/{{secrets.{secret}}}"));
        let address = format!("/webhooks/{code}{}", end.unwrap_or_default());
        match self.kit.pulse.last(connection.id) {
            Some(at) => Check::new(name, Health::Ok, format!("the last one came at {at}; address {address}"), ""),
            None => {
                let advice = format!(
                    "register {address} at the marketplace, or look into GET /v1/admin/webhooks/rejected for refused ones"
                );
                Check::new(name, Health::Warn, format!("none came yet; address {address}"), advice)
            }
        }
    }

    async fn mapping(&self, connection: &Arc<Connection>, known: &Known) -> Check {
        let name = "mapping";
        let total: i64 = known.by_state.iter().map(|(_, count)| count).sum();
        if total == 0 {
            let advice = if connection.adapter.traits().abilities.stock {
                "create them, or run `stockhub sync` once to read them from it"
            } else {
                "create them, or import a table of them: it cannot be asked what it lists"
            };
            return Check::new(name, Health::Warn, "it has no listings", advice);
        }
        let required = connection.adapter.refs().required;
        let missing = match self.names(connection.id).await {
            Ok(names) => {
                let lacks = |n: &usize| {
                    let item = names.item(*n);
                    required.iter().any(|name| !item.refs.contains_key(*name) && !connection.account.contains_key(*name))
                };
                (0..names.rows.len()).filter(lacks).count()
            }
            Err(_) => 0,
        };
        let detail = format!(
            "{total} listings, {missing} without {}, {} of nothing we know, {} order lines wait for a mapping",
            if required.is_empty() { "refs".to_owned() } else { required.join(" or ") },
            known.without_product,
            known.waiting_lines
        );
        if missing > 0 {
            return Check::new(name, Health::Fail, detail, "set their refs (PATCH /v1/admin/listings/{id}, or listings import)");
        }
        if known.without_product > 0 || known.waiting_lines > 0 {
            return Check::new(name, Health::Warn, detail, "map them: GET /v1/admin/unmapped");
        }
        Check::new(name, Health::Ok, detail, "")
    }

    fn pushes(&self, connection: &Connection, known: &Known) -> Check {
        let name = "pushes";
        let count = |state: &str| known.by_state.iter().find(|(known, _)| known == state).map_or(0, |(_, count)| *count);
        if connection.adapter.traits().push != PushStyle::Request {
            return Check::new(name, Health::Skip, "nothing is pushed to it", "");
        }
        if !connection.policy.push_enabled {
            return Check::new(name, Health::Warn, "pushes are switched off", "set policy.push_enabled = true when it is ready");
        }
        let last = known.last_push.map_or("never".to_owned(), |at| at.to_string());
        let open = self.kit.metrics.is_circuit_open(&connection.code);
        let (blocked, dirty) = (count("blocked"), count("dirty") + count("unknown"));
        let detail = format!(
            "last acknowledged: {last}; {dirty} wait, {blocked} refused for good; circuit {}",
            if open { "open" } else { "closed" }
        );
        match (open, blocked) {
            (true, _) => {
                Check::new(name, Health::Fail, detail, "it fails often and is given rest; see GET /v1/admin/pushes for its words")
            }
            (false, 1..) => {
                Check::new(name, Health::Warn, detail, "see GET /v1/admin/dead-letters?kind=push for what was refused and why")
            }
            _ => Check::new(name, Health::Ok, detail, ""),
        }
    }

    fn reading(&self, connection: &Connection, known: &Known, now: Timestamp) -> Check {
        let name = "last_success";
        let words =
            |what: &str, run: &Option<NewestRun>| run.as_ref().map(|run| format!("{what} {} at {}", run.status, run.started_at));
        let mut parts: Vec<String> = Vec::new();
        parts.extend(words("bulk read", &known.last_read));
        parts.extend(words("reconciliation", &known.last_reconciliation));
        let Some(feed) = connection.adapter.traits().abilities.orders else {
            let detail = if parts.is_empty() { "nothing was read from it yet".to_owned() } else { parts.join("; ") };
            return Check::new(name, Health::Skip, detail, "");
        };
        let every = self.poll_every(connection, feed.every);
        let Some(at) = known.state.orders_drained_at else {
            let why =
                known.last_poll.as_ref().and_then(|run| run.error_message.clone()).unwrap_or_else(|| "not polled yet".into());
            return Check::new(
                name,
                Health::Fail,
                format!("its orders were never read to the end: {why}"),
                "see GET /v1/admin/sync-logs?kind=poll",
            );
        };
        parts.insert(0, format!("orders are known up to {at} (every {} s)", every.as_secs()));
        // Two missed turns and a bit are no accident.
        let late = now.since(at) > every * 3 + Duration::from_secs(60);
        let advice = if late { "its polls are behind: see GET /v1/admin/sync-logs?kind=poll" } else { "" };
        Check::new(name, if late { Health::Warn } else { Health::Ok }, parts.join("; "), advice)
    }
}

fn account(connection: &Connection, known: &Known) -> Check {
    let name = "account";
    match Status::parse(&known.status).unwrap_or(connection.status) {
        Status::Active => Check::new(name, Health::Ok, "active", ""),
        Status::Paused => {
            Check::new(name, Health::Warn, "paused by a person", "POST /v1/admin/marketplaces/{code}/resume when it may go on")
        }
        Status::AuthError => {
            Check::new(name, Health::Fail, "its credentials were refused; nothing is pushed", "set new ones, then resume it")
        }
        Status::Archived => Check::new(name, Health::Fail, "archived", "POST /v1/admin/marketplaces/{code}/restore to use it"),
    }
}

/// Reachability, credentials and the clock, from one answer.
fn answer(connection: &Connection, asked: Option<&(&'static str, Asked)>, now: Timestamp, tolerance: Duration) -> Vec<Check> {
    let Some((what, asked)) = asked else {
        let why = "this marketplace cannot be asked anything";
        return vec![
            Check::new("reachability", Health::Skip, why, ""),
            Check::new("credentials", Health::Skip, why, ""),
            Check::new("clock", Health::Skip, why, ""),
        ];
    };
    let took = asked.took.as_millis();
    let (reach, creds) = match &asked.told {
        Ok(told) => {
            let until = if let Told::Fine { expires_at: Some(at) } = told { format!(", good until {at}") } else { String::new() };
            let soon = matches!(told, Told::Fine { expires_at: Some(at) } if at.since(now) < Duration::from_secs(7 * 86_400));
            let advice = if soon { "they run out within a week: renew them" } else { "" };
            (
                Check::new("reachability", Health::Ok, format!("answered within {took} ms"), ""),
                Check::new(
                    "credentials",
                    if soon { Health::Warn } else { Health::Ok },
                    format!("accepted for {what}{until}"),
                    advice,
                ),
            )
        }
        Err(NotTold::CannotAsk(why)) => (
            Check::new("reachability", Health::Skip, "not tried", ""),
            Check::new("credentials", Health::Fail, why.message.clone(), format!("complete the settings of {}", connection.code)),
        ),
        Err(NotTold::NotOurs) => (
            Check::new("reachability", Health::Skip, "another node took the account meanwhile", "ask again"),
            Check::new("credentials", Health::Skip, "not tried", ""),
        ),
        Err(NotTold::Failed(Outcome::Auth { message })) => (
            Check::new("reachability", Health::Ok, format!("answered within {took} ms"), ""),
            Check::new(
                "credentials",
                Health::Fail,
                message.clone(),
                "the marketplace refuses them: set new ones and resume the account",
            ),
        ),
        Err(why @ NotTold::Failed(Outcome::Retry { throttled: true, .. })) => (
            Check::new(
                "reachability",
                Health::Warn,
                format!("it asks for patience: {}", why.message()),
                "it is called too often, maybe by another program with the same account",
            ),
            Check::new("credentials", Health::Skip, "not tried", ""),
        ),
        Err(why) if asked.calls == 0 => (
            Check::new("reachability", Health::Fail, why.message(), "look at base_url, the name server and the firewall"),
            Check::new("credentials", Health::Skip, "not reached", ""),
        ),
        Err(why) => (
            Check::new(
                "reachability",
                Health::Warn,
                why.message(),
                "it answers, but not as it should: try again, then look at its status page",
            ),
            Check::new("credentials", Health::Skip, "not proven", ""),
        ),
    };
    vec![reach, creds, clock(asked.date, now, tolerance)]
}

fn clock(date: Option<Timestamp>, now: Timestamp, tolerance: Duration) -> Check {
    let Some(date) = date else { return Check::new("clock", Health::Skip, "its answer carries no date", "") };
    // The header counts whole seconds, cut off.
    let (ahead, behind) = (date.since(now), now.since(date.plus(Duration::from_secs(1))));
    let (off, word) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    let detail = format!("its clock is {:.1} s {word} ours", off.as_secs_f64());
    if off > SKEW_FAIL {
        return Check::new(
            "clock",
            Health::Fail,
            detail,
            "set this machine's clock (NTP): signed requests and the order of events depend on it",
        );
    }
    if off > SKEW_WARN.max(tolerance) {
        return Check::new("clock", Health::Warn, detail, "set this machine's clock (NTP), or raise policy.clock_tolerance");
    }
    Check::new("clock", Health::Ok, detail, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off() {
        let now = Timestamp::from_seconds(1_000);
        let of = |seconds: i64| clock(Some(Timestamp::from_seconds(seconds)), now, Duration::from_secs(2)).status;
        assert_eq!([of(1_000), of(999), of(1_002)], [Health::Ok; 3]);
        assert_eq!([of(1_010), of(990)], [Health::Warn; 2]);
        assert_eq!([of(1_100), of(900)], [Health::Fail; 2]);
        assert_eq!(clock(None, now, Duration::ZERO).status, Health::Skip);
    }
}
