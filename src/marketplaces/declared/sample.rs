//! Every request of an adapter, made with sample data: `stockhub adapters check` shows that a file's templates come out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::Declared;
use crate::domain::ids::{ListingId, LocationId, MarketplaceId};
use crate::domain::order::Fulfilment;
use crate::domain::rule::Rule;
use crate::domain::time::Timestamp;
use crate::marketplaces::call::{Page, Window};
use crate::marketplaces::connection::{Policy, Status};
use crate::marketplaces::{Adapter, Ask, Call, Connection, Moment, PushItem, Request, Unreadable};
use crate::settings::{DriftPolicy, Secret};

/// One request, and what it is for.
#[derive(Debug)]
pub struct Sample {
    pub what: String,
    pub call: Result<Call, Unreadable>,
}

/// 2026-01-09T10:30:00Z: samples are the same every day.
pub const NOW: Timestamp = Timestamp::from_seconds(1_767_954_600);

/// A connection of an adapter with a value for everything it may ask of one.
pub fn connection(adapter: Arc<dyn Adapter>) -> Connection {
    let about = adapter.about();
    let own_address = about.base_url.and_then(|url| url.strip_prefix("{{account.")?.strip_suffix("}}"));
    let mut account = serde_json::Map::new();
    for name in adapter.account() {
        let value = match *name {
            // Chooses another host, or another address for tokens: the ordinary ones are shown.
            super::request::HOST | super::auth::TOKEN_URL => continue,
            name if Some(name) == own_address => Value::from("https://shop.example"),
            _ => Value::from("1001"),
        };
        account.insert((*name).to_owned(), value);
    }
    let secret = |name: &&str| ((*name).to_owned(), vec![Secret::new(format!("sample-{name}"))]);
    let traits = adapter.traits().clone();
    Connection {
        id: MarketplaceId::new(Uuid::from_u128(1)),
        code: "sample".into(),
        name: "Sample".into(),
        kind: traits.kind,
        base_url: about.base_url.is_none().then(|| "https://shop.example".into()),
        account,
        secrets: adapter.secrets().iter().map(secret).collect::<BTreeMap<_, _>>(),
        stock_feed: traits.stock_feed,
        feed_since: Timestamp::default(),
        currency: None,
        status: Status::Active,
        webhook_enabled: true,
        policy: Policy {
            clock_tolerance: Duration::from_secs(2),
            fulfilment: Fulfilment::Instant,
            own_sales_decrement: traits.own_sales_decrement,
            own_cancel_restock: traits.own_cancel_restock,
            min_gap: Duration::ZERO,
            push_enabled: true,
            count_unpaid: None,
            drift_policy: DriftPolicy::HubWins,
            poll_every: None,
            reconcile_every: None,
            rule: Rule::default(),
        },
        locations: vec![LocationId::new(Uuid::from_u128(2))],
        adapter,
    }
}

pub fn moment() -> Moment {
    let token = |text: &str| Some(Secret::new(text));
    Moment { now: NOW, access_token: token("sample-access-token"), refresh_token: token("sample-refresh-token") }
}

/// A listing that bears every ref the adapter knows of.
pub fn item(adapter: &dyn Adapter, n: i64) -> PushItem {
    // Flags are flags; every other name is a number, which can be text too.
    let value = |name: &str| if name.ends_with("_linked") { Value::from(true) } else { Value::from((3_000 + n).to_string()) };
    let refs = adapter.refs();
    let names = refs.required.iter().chain(refs.optional);
    PushItem {
        listing_id: ListingId::new(Uuid::from_u128(100 + u128::from(n.unsigned_abs()))),
        version: 1,
        quantity: 4 + n,
        marketplace_product_id: format!("{}", 2_000 + n),
        sku: format!("SKU-{n}"),
        // All of one group, and each a thing of its own.
        refs: names.map(|name| ((*name).to_owned(), value(name))).collect(),
        expected: Some(5 + n),
        changed_at: NOW,
    }
}

impl Declared {
    /// Every request it can make.
    pub fn samples(&self) -> Vec<Sample> {
        let adapter = Arc::new(self.clone());
        let connection = connection(adapter.clone());
        let moment = moment();
        let mut samples = Vec::new();
        let mut add = |what: &str, call: Result<Call, Unreadable>| samples.push(Sample { what: what.to_owned(), call });
        if let Some(push) = &self.file.push {
            let whole = item(&*adapter, 1);
            let mut plain = whole.clone();
            for way in &push.variants {
                way.when_ref.into_iter().for_each(|name| drop(plain.refs.remove(name)));
            }
            add("push", adapter.push(&connection, &moment, &[plain]));
            if !push.variants.is_empty() {
                add("push of a variant", adapter.push(&connection, &moment, &[whole]));
            }
        }
        let abilities = self.traits.abilities;
        let mut ask = |what: &str, ask: &Ask| add(what, adapter.ask(&connection, &moment, ask));
        if abilities.stock {
            ask("list of stock", &Ask::Stock { page: Page::default() });
        }
        if abilities.stock_of.is_some() {
            ask("stock of a listing", &Ask::StockOf { items: vec![item(&*adapter, 1)] });
        }
        for name in self.file.stock.variants() {
            let mut plain = item(&*adapter, 1);
            plain.refs.remove(name);
            ask(&format!("stock of a listing without {name}"), &Ask::StockOf { items: vec![plain] });
        }
        let window = Window { from: NOW.minus(Duration::from_secs(600)), to: NOW };
        for list in 0..abilities.orders.map_or(0, |orders| orders.lists) {
            ask(&format!("orders, list {list}"), &Ask::Orders { list, window, page: Page::default() });
        }
        if abilities.orders.is_some_and(|orders| orders.statuses.is_some()) {
            ask("statuses of orders", &Ask::OrderStatuses { orders: vec!["4001".into()] });
        }
        if abilities.order {
            ask("one order", &Ask::Order { id: "4001".into() });
        }
        if abilities.check {
            ask("check of the credentials", &Ask::Check);
        }
        if let Some(request) = self.token_request(&connection, &moment) {
            let call = request.map(|request: Request| Call { request, limits: Vec::new() });
            samples.push(Sample { what: "access token".to_owned(), call });
        }
        samples
    }
}
