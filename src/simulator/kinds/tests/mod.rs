//! A shop of a kind as a value, for the tests beside the dialects: calls go through the gate, the limits, the credentials and the
//! journal as they do on a port.

mod backmarket;
mod kaufland;
mod ozon;
mod polling;
mod refurbed;
mod shopify;
mod uzum;
mod wildberries;
mod woocommerce;
mod yandex;

use std::time::Duration;

use serde_json::Value;

use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

use super::super::chaos::Fault;
use super::super::record::{Journal, Trade};
use super::super::shop::{Identity, Opening, Shop, Speech, TakeBack};
use super::super::webhooks::{Feed, Reason};
use super::desk::Luck;
use super::{Call, Kind, News, Notice, Posting, Say};

pub(super) struct Trial {
    pub(super) shop: Shop,
    pub(super) at: Timestamp,
    pub(super) luck: Luck,
    pub(super) fault: Option<Fault>,
    /// Sent with every call.
    pub(super) headers: Vec<(String, String)>,
    kind: Kind,
}

impl Trial {
    /// Opened at 2026-01-09T10:30:00Z.
    pub(super) fn new(kind: Kind, products: &[(&str, i64)]) -> Self {
        let at = Timestamp::from_seconds(1_767_954_600);
        let restocks = kind.dialect().is_some_and(|dialect| dialect.habits().cancel_restocks);
        let identity = Identity { code: kind.id().into(), run: "r7".into(), api_key: None, own_restock: restocks };
        let opening = |(sku, stock): &(&str, i64)| Opening::new(Sku::parse(sku).unwrap(), Quantity::parse(*stock).unwrap());
        let speech = Speech { kind, account: kind.account(kind.id()), hurry: 1 };
        let journal = Journal::new(kind.id(), 10_000, None);
        let shop = Shop::open_as(speech, identity, products.iter().map(opening).collect(), journal, at);
        Self { shop, at, luck: Luck::default(), fault: None, headers: Vec::new(), kind }
    }

    pub(super) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_string()));
        self
    }

    pub(super) fn secret(&self, name: &str) -> String {
        self.shop.account().secret(name).to_owned()
    }

    pub(super) fn wait(&mut self, span: Duration) {
        self.at = self.at.plus(span);
    }

    pub(super) fn wait_seconds(&mut self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    pub(super) fn call(&mut self, method: &str, target: &str, body: Value) -> Say {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.call_bytes(method, target, body)
    }

    pub(super) fn get(&mut self, target: &str) -> Value {
        let say = self.call("GET", target, Value::Null);
        assert_eq!(say.status, 200, "GET {target}: {say:?}");
        say.body.unwrap()
    }

    pub(super) fn post(&mut self, target: &str, body: Value) -> Value {
        let say = self.call("POST", target, body);
        assert_eq!(say.status, 200, "POST {target}: {say:?}");
        say.body.unwrap()
    }

    pub(super) fn call_bytes(&mut self, method: &str, target: &str, body: Vec<u8>) -> Say {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = url::form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into(), value.into())).collect();
        let mut call = Call {
            received_at: self.at,
            method: method.into(),
            path: path.into(),
            raw_target: target.into(),
            query,
            headers: self.headers.clone(),
            body: body.into(),
            parts: Vec::new(),
        };
        let (route, refusal) = self.shop.gate(&mut call, self.at).unwrap_or_else(|| panic!("no page {method} {target}"));
        let flies = refusal.is_none();
        let spoken = self.shop.receive_call(route, &call, refusal, self.fault.clone(), &self.luck, self.at);
        if flies {
            self.shop.release(route.limits);
        }
        spoken.say
    }

    pub(super) fn sell(&mut self, sku: &str, quantity: i64) -> Trade {
        self.shop.sell(sku, quantity, self.at).unwrap()
    }

    pub(super) fn cancel(&mut self, order_id: &str, quantity: Option<i64>) -> Trade {
        self.shop.take_back(order_id, quantity, TakeBack::Cancel, self.at).unwrap()
    }

    pub(super) fn give_back(&mut self, order_id: &str) -> Trade {
        self.shop.take_back(order_id, None, TakeBack::Return, self.at).unwrap()
    }

    /// The webhooks of a trade.
    pub(super) fn notices(&self, trade: &Trade, reason: Reason, feed: Feed) -> Vec<Notice> {
        let (order, item) = (self.shop.orders().get(&trade.order_id).unwrap(), self.shop.item(trade.sku.as_str()).unwrap());
        let news = News { feed, reason, trade, order, item, account: self.shop.account() };
        self.kind.dialect().unwrap().notices(news)
    }

    /// Where a webhook goes and under which headers.
    pub(super) fn delivered(&self, notice: &Notice) -> super::Delivery {
        let (hub, code, account) = ("http://127.0.0.1:8080", self.shop.code(), self.shop.account());
        let (name, id, body, now) = (notice.name, "delivery-1", notice.body.as_bytes(), self.at);
        self.kind.dialect().unwrap().deliver(Posting { hub, code, account, name, id, body, now })
    }

    pub(super) fn breaches(&self, limit: &str) -> u64 {
        self.shop.breaches.get(limit).copied().unwrap_or(0)
    }
}

#[test]
fn every_kind_is_found_by_the_id_of_its_adapter() {
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.id()), Some(kind));
        let Some(dialect) = kind.dialect() else { continue };
        let account = kind.account("x");
        assert_eq!(account, kind.account("x"), "the same in every run");
        assert!(account.secrets.values().all(|secret| secret.len() >= 24), "{kind:?}");
        let refs = dialect.refs(1, &Sku::parse("A").unwrap(), &account);
        assert!(refs.contains_key(dialect.main_ref()), "{kind:?} {refs:?}");
        let names: Vec<&str> = dialect.limits().iter().map(|limit| limit.name).collect();
        for route in dialect.routes() {
            assert!(route.limits.iter().all(|limit| names.contains(limit)), "{kind:?} {}", route.name);
        }
        assert_ne!(dialect.order_id(100_001, 1), dialect.order_id(100_001, 2));
        assert_ne!(dialect.order_id(100_001, 1), dialect.order_id(100_002, 1));
    }
}

#[test]
fn a_call_before_the_time_a_refusal_named_is_counted() {
    let mut trial = Trial::new(Kind::Wildberries, &[("A", 5)]);
    let token = trial.secret("token");
    trial = trial.with("Authorization", token);
    for _ in 0..21 {
        trial.get("/api/v3/warehouses");
    }
    assert_eq!(trial.call("GET", "/api/v3/warehouses", Value::Null).status, 429);
    assert_eq!((trial.shop.totals().limit_breaches, trial.shop.totals().early_calls, trial.breaches("orders")), (1, 0, 1));
    trial.wait(Duration::from_millis(150));
    assert_eq!(trial.call("GET", "/api/v3/warehouses", Value::Null).status, 429);
    assert_eq!(trial.shop.totals().early_calls, 0, "this one was on its way already");
    trial.wait_seconds(60);
    trial.get("/api/v3/warehouses");
    assert_eq!((trial.shop.totals().limit_breaches, trial.shop.totals().early_calls), (2, 0));
}
