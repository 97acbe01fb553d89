//! An adapter file as typed values. Every fault is found at once, each with its file, line and key; what is left of a faulty file
//! is never used.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::auth::Auth;
use super::intern::intern;
use super::order_map::{OrderMap, StatusMap};
use super::orders::Orders;
use super::pointer::TimePick;
use super::push::Push;
use super::read::{self, In};
use super::request::RequestSpec;
use super::stock::Stock;
use super::template::{Place, Template, Var};
use super::webhook::Webhook;
use crate::marketplaces::limit::{Cost, LimitHeaders};
use crate::marketplaces::{Kind, Limit, StockFeed};
use crate::settings::finding::{Fault, Origin, join};
use crate::settings::parse::whole;
use crate::settings::section::Context;
use crate::settings::tree::{self, Value};
use crate::settings::{Env, parse_duration};

#[derive(Clone, Debug)]
pub struct AdapterFile {
    pub id: &'static str,
    pub version: i64,
    pub verified_on: Option<&'static str>,
    pub kind: Kind,
    pub base_url: Option<Template>,
    pub base_url_text: Option<&'static str>,
    pub hosts: BTreeMap<String, Template>,
    pub account: Vec<&'static str>,
    pub account_optional: Vec<&'static str>,
    pub secrets: Vec<&'static str>,
    pub secrets_optional: Vec<&'static str>,
    pub refs_required: Vec<&'static str>,
    pub refs_optional: Vec<&'static str>,
    pub own_sales_decrement: bool,
    pub own_cancel_restock: Option<bool>,
    pub stock_feed: StockFeed,
    pub min_gap: Duration,
    pub auth: Auth,
    pub http: Http,
    pub limits: Vec<Limit>,
    pub push: Option<Push>,
    pub stock: Stock,
    pub orders: Orders,
    pub status: StatusMap,
    pub check: Option<Check>,
    pub webhook: Option<Webhook>,
}

#[derive(Clone, Debug, Default)]
pub struct Http {
    pub timeout: Option<Duration>,
    pub response_max_bytes: Option<usize>,
    pub user_agent: Option<Template>,
    pub headers: Vec<(String, Template)>,
    pub classify: Vec<Classify>,
}

/// What an answer means where HTTP's own meaning is not the marketplace's.
#[derive(Clone, Debug)]
pub struct Classify {
    /// Empty: of any status.
    pub statuses: Vec<(u16, u16)>,
    pub body_contains: Option<String>,
    pub class: Class,
    pub penalty: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Retry,
    Throttled,
    Permanent,
    Auth,
    Unknown,
}

pub const CLASSES: &[(&str, Class)] = &[
    ("retry", Class::Retry),
    ("throttled", Class::Throttled),
    ("permanent", Class::Permanent),
    ("auth", Class::Auth),
    ("unknown", Class::Unknown),
];

/// A cheap question that proves the credentials.
#[derive(Clone, Debug)]
pub struct Check {
    pub request: RequestSpec,
    pub expires_at: Option<TimePick>,
}

impl AdapterFile {
    /// Reads one file; `name` is how faults call it.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let table = tree::parse(name, text, &mut faults);
        let env = Env::default();
        let mut context = Context::new(&env, faults, BTreeSet::new());
        let at = Origin::of(name, None);
        let file = context.read("", &at, &table, Self::read);
        if let Some(file) = file.as_ref().filter(|_| context.faults.is_empty()) {
            context.faults = file.check(&at);
        }
        match file {
            Some(file) if context.faults.is_empty() => Ok(file),
            _ => Err(context.faults),
        }
    }

    fn read(s: &mut In<'_, '_, '_>) -> Option<Self> {
        if s.node("adapter").is_none() {
            let at = s.at.clone();
            s.fault("adapter", &at, "is missing: [adapter] says what it is called");
        }
        let head = s.table("adapter", Head::read);
        let http = s.table("http", Http::read).unwrap_or_default();
        let limits = limits(s);
        let stock = s.table("stock", |s| (s.table("push", Push::read).flatten(), Stock::read(s)));
        let (push, stock) = stock.unwrap_or_default();
        let status = s.table("status", StatusMap::read);
        let orders = s.table("orders", Orders::read).unwrap_or_default();
        let listed = orders.list.as_ref().map(|list| list.map.clone());
        let webhook = s.table("webhook", |s| Webhook::read(s, listed.as_ref()));
        let check = s.table("check", |s| {
            let request = RequestSpec::read(s, Place::Check);
            let expires_at = s.opt("expires_at", read::time);
            request.map(|request| Check { request, expires_at })
        });
        let head = head?;
        let feed = if orders.list.is_some() || webhook.as_ref().is_some_and(|w| !w.events.is_empty()) {
            StockFeed::Orders
        } else {
            StockFeed::None
        };
        Some(Self {
            id: head.id,
            version: head.version,
            verified_on: head.verified_on,
            kind: head.kind,
            base_url: head.base_url,
            base_url_text: head.base_url_text,
            hosts: head.hosts,
            account: head.account.0,
            account_optional: head.account.1,
            secrets: head.secrets.0,
            secrets_optional: head.secrets.1,
            refs_required: head.refs.0,
            refs_optional: head.refs.1,
            own_sales_decrement: head.own_sales_decrement,
            own_cancel_restock: head.own_cancel_restock,
            stock_feed: head.stock_feed.unwrap_or(feed),
            min_gap: head.min_gap,
            auth: head.auth,
            http,
            limits,
            push,
            stock,
            orders,
            status: status.unwrap_or_default(),
            check: check.flatten(),
            webhook,
        })
    }

    /// Every request of the file, and the key it stands under.
    pub fn requests(&self) -> Vec<(String, &RequestSpec)> {
        let mut all = Vec::new();
        if let Some(push) = &self.push {
            all.push(("stock.push".to_owned(), &push.way.request));
            let variants = push.variants.iter().enumerate();
            all.extend(variants.map(|(n, way)| (format!("stock.push.variants[{n}]"), &way.request)));
        }
        all.extend(self.stock.requests());
        all.extend(self.orders.requests());
        all.extend(self.check.iter().map(|check| ("check".to_owned(), &check.request)));
        all
    }

    pub fn order_maps(&self) -> impl Iterator<Item = &OrderMap> {
        self.orders.maps().chain(self.webhook.iter().flat_map(Webhook::order_maps))
    }
}

/// `[adapter]`.
struct Head {
    id: &'static str,
    version: i64,
    verified_on: Option<&'static str>,
    kind: Kind,
    base_url: Option<Template>,
    base_url_text: Option<&'static str>,
    hosts: BTreeMap<String, Template>,
    account: Names,
    secrets: Names,
    refs: Names,
    own_sales_decrement: bool,
    own_cancel_restock: Option<bool>,
    stock_feed: Option<StockFeed>,
    min_gap: Duration,
    auth: Auth,
}

/// Needed ones, and those that may be left out (written with a `?`).
type Names = (Vec<&'static str>, Vec<&'static str>);

fn names(list: Option<Vec<String>>) -> Names {
    let (optional, needed): (Vec<_>, Vec<_>) = list.unwrap_or_default().into_iter().partition(|name| name.ends_with('?'));
    let kept = |list: Vec<String>| list.iter().map(|name| intern(name.trim_end_matches('?'))).collect();
    (kept(needed), kept(optional))
}

impl Head {
    fn read(s: &mut In<'_, '_, '_>) -> Self {
        const KINDS: &[(&str, Kind)] = &[("api", Kind::Api), ("polling", Kind::Polling)];
        const OWN: &[(&str, bool)] = &[("at_order", true), ("none", false)];
        const RESTOCK: &[(&str, Option<bool>)] = &[("true", Some(true)), ("false", Some(false)), ("unknown", None)];
        const FEEDS: &[(&str, StockFeed)] = &[
            ("orders", StockFeed::Orders),
            ("delta", StockFeed::Delta),
            ("absolute", StockFeed::Absolute),
            ("none", StockFeed::None),
        ];
        let refs = s.table("refs", |s| {
            let kept = |list: Option<Vec<String>>| list.unwrap_or_default().iter().map(|name| intern(name)).collect();
            (kept(s.opt("required", read::names)), kept(s.opt("optional", read::names)))
        });
        Self {
            id: s.need_or("id", "", id),
            version: s.opt("version", whole(1..=1_000_000)).unwrap_or(1),
            verified_on: s.opt("verified_on", date),
            kind: s.opt("kind", read::choice(KINDS)).unwrap_or(Kind::Api),
            base_url_text: s.opt("base_url", read::kept),
            base_url: s.opt("base_url", read::template(Place::Settings)),
            hosts: read::templates(s, "hosts", Place::Settings).into_iter().collect(),
            account: names(s.opt("account", read::names)),
            secrets: names(s.opt("secrets", read::names)),
            refs: refs.unwrap_or_default(),
            own_sales_decrement: s.opt("own_sales_decrement", read::choice(OWN)).unwrap_or(true),
            own_cancel_restock: s.opt("own_cancel_restock", read::choice(RESTOCK)).unwrap_or(None),
            stock_feed: s.opt("stock_feed", read::choice(FEEDS)),
            min_gap: s.opt("min_gap", read::span).unwrap_or_default(),
            auth: s.table("auth", Auth::read).unwrap_or_default(),
        }
    }
}

fn id(node: &tree::Node) -> Result<&'static str, String> {
    let id = read::text(node)?;
    let good = (2..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if good { Ok(intern(&id)) } else { Err(format!("must be 2 to 32 of a-z, 0-9 and -, is {id:?}")) }
}

fn date(node: &tree::Node) -> Result<&'static str, String> {
    let text = read::text(node)?;
    let date: Result<jiff::civil::Date, _> = text.parse();
    date.map(|_| intern(&text)).map_err(|_| format!("must be a day like 2026-09-28, is {text:?}"))
}

impl Http {
    fn read(s: &mut In<'_, '_, '_>) -> Self {
        Self {
            timeout: s.opt("timeout_ms", whole(1..=600_000)).map(Duration::from_millis),
            response_max_bytes: s.opt("max_response_kb", whole(1..=1_048_576)).map(|kb: usize| kb * 1_024),
            user_agent: s.opt("user_agent", read::template(Place::Settings)),
            headers: read::templates(s, "headers", Place::Settings),
            classify: s.tables("classify", |s| Classify {
                statuses: s.opt("status", read::status_list).unwrap_or_default(),
                body_contains: s.opt("body_contains", read::text),
                class: s.need_or("as", Class::Retry, read::choice(CLASSES)),
                penalty: s.opt("penalty", read::span),
            }),
        }
    }
}

fn limits(s: &mut In<'_, '_, '_>) -> Vec<Limit> {
    let path = join(&s.path, "limit");
    let Some(table) = s.free_table("limit") else { return Vec::new() };
    let mut all = Vec::new();
    for (name, node) in table {
        let path = join(&path, name);
        match &node.value {
            Value::Table(table) => all.push(s.context.read(&path, &node.at, table, |s| limit(intern(name), s))),
            other => {
                let fault = node.at.fault(path, format!("expected a table, found {}", other.kind()));
                s.context.faults.push(fault);
            }
        }
    }
    all
}

fn limit(name: &'static str, s: &mut In<'_, '_, '_>) -> Limit {
    let requests: Option<u32> = s.opt("requests", whole(1..=1_000_000));
    let burst = s.opt("burst", whole(1..=1_000_000));
    let statuses = s.opt("throttle_status", |node| {
        let ranges = read::status_list(node)?;
        Ok(ranges.into_iter().flat_map(|(from, to)| from..=to).collect())
    });
    let costs = {
        let path = join(&s.path, "cost_on_status");
        let mut costs = Vec::new();
        for (status, node) in s.free_table("cost_on_status").into_iter().flatten() {
            let cost = read::status_of(status).and_then(|range| whole(1..=10_000)(node).map(|requests| (range, requests)));
            match cost {
                Ok(((from, to), requests)) => costs.push(Cost { from, to, requests }),
                Err(message) => s.context.faults.push(node.at.fault(join(&path, status), message)),
            }
        }
        costs
    };
    let reads = s.table("read", |s| LimitHeaders {
        retry_after_s: s.opt("retry_after_s", read::kept),
        remaining: s.opt("remaining", read::kept),
        limit: s.opt("limit", read::kept),
        fraction: s.opt("fraction", read::kept),
        reset_unix: s.opt("reset_unix", read::kept),
        reset_rfc822: s.opt("reset_rfc822", read::kept),
    });
    Limit {
        name,
        requests,
        per: s.opt("per", read::span).unwrap_or(Duration::from_secs(1)),
        // Without a word on it, as many at once as one period takes.
        burst: burst.or(requests).unwrap_or(1),
        concurrency: s.opt("concurrency", whole(1..=1_000)),
        min_interval: s.opt("min_interval", read::span).unwrap_or_default(),
        throttle_status: statuses.unwrap_or_else(|| vec![429]),
        costs,
        penalty: s.opt("penalty", read::span).unwrap_or_default(),
        reads: reads.unwrap_or_default(),
    }
}

impl AdapterFile {
    /// What only several keys together show.
    fn check(&self, at: &Origin) -> Vec<Fault> {
        let mut faults = Vec::new();
        let known: BTreeSet<&str> = self.limits.iter().map(|limit| limit.name).collect();
        for (key, spec) in self.requests() {
            for name in spec.limits.iter().flatten().filter(|name| !known.contains(**name)) {
                faults.push(at.fault(format!("{key}.limits"), format!("there is no limit {name:?}")));
            }
            if let Some(host) = spec.host.as_ref().filter(|host| !self.hosts.contains_key(*host)) {
                faults.push(at.fault(format!("{key}.host"), format!("there is no host {host:?} in adapter.hosts")));
            }
        }
        let unknown = self.holes().into_iter().filter_map(|(key, hole)| Some((key, self.unknown_name(&hole)?)));
        faults.extend(unknown.map(|(key, message)| at.fault(key, message)));
        if self.order_maps().any(OrderMap::has_status) && self.status.is_empty() {
            faults.push(at.fault("status", "is missing: what the statuses of orders mean"));
        }
        for scheme in self.webhook.iter().flat_map(|webhook| &webhook.schemes) {
            let needed = scheme.needed_secret();
            if !self.secrets.contains(&needed) && !self.secrets_optional.contains(&needed) {
                faults.push(at.fault("webhook.verify", format!("the secret {needed:?} is none of adapter.secrets")));
            }
        }
        self.check_refs(at, &mut faults);
        faults
    }

    fn check_refs(&self, at: &Origin, faults: &mut Vec<Fault>) {
        let known = |name: &&str| self.refs_required.contains(name) || self.refs_optional.contains(name);
        let maps = self.order_maps().flat_map(OrderMap::names).map(|name| ("orders", name));
        let named = maps.chain(self.stock.names().map(|name| ("stock", name)));
        let push = self.push.iter().flat_map(|push| push.names().into_iter().map(|name| ("stock.push", name)));
        let unknown: BTreeSet<(&str, &str)> =
            named.chain(push).filter(|(_, name)| !known(name) && !OWN_NAMES.contains(name)).collect();
        for (place, name) in unknown {
            let all = self.refs_required.iter().chain(&self.refs_optional).copied();
            let meant = crate::settings::finding::nearest(name, all).map_or(String::new(), |m| format!("; did you mean {m}?"));
            faults.push(at.fault(place, format!("{name:?} is none of adapter.refs{meant}")));
        }
    }

    fn holes(&self) -> Vec<(String, Var)> {
        let mut all = Vec::new();
        let mut add = |key: &str, templates: Vec<&Template>| {
            all.extend(templates.into_iter().flat_map(Template::holes).map(|hole| (key.to_owned(), hole.var.clone())));
        };
        add("adapter.base_url", self.base_url.iter().collect());
        add("adapter.hosts", self.hosts.values().collect());
        add("adapter.auth", self.auth.templates());
        add("http", self.http.user_agent.iter().chain(self.http.headers.iter().map(|(_, template)| template)).collect());
        for (key, spec) in self.requests() {
            add(&key, spec.templates());
        }
        all
    }

    /// Why a name is none of those the file declares.
    fn unknown_name(&self, var: &Var) -> Option<String> {
        let (what, name, lists): (&str, &str, [&[&'static str]; 2]) = match var {
            Var::Account(name) => ("adapter.account", name, [&self.account, &self.account_optional]),
            Var::Secret(name) => ("adapter.secrets", name, [&self.secrets, &self.secrets_optional]),
            Var::Ref(name) | Var::Group(name) => ("adapter.refs", name, [&self.refs_required, &self.refs_optional]),
            _ => return None,
        };
        if lists.iter().any(|list| list.contains(&name)) {
            return None;
        }
        let all = lists.iter().flat_map(|list| list.iter().copied());
        let meant =
            crate::settings::finding::nearest(name, all).map_or(String::new(), |meant| format!("; did you mean {meant}?"));
        Some(format!("{name:?} is none of {what}{meant}"))
    }
}

/// Names that are no refs: what the marketplace calls the listing, and its SKU there.
pub const OWN_NAMES: &[&str] = &["id", "sku"];

/// A span that is written into the program.
pub fn built_in_span(text: &str) -> Duration {
    parse_duration(text).unwrap_or_default()
}
