//! Adapters that are data: a TOML file says where to ask, what the answers mean and how webhooks are signed, and this engine is the
//! one adapter behind all of them. The keys are described in docs/adapters.md.
//!
//! A file is read once, into typed values; every fault is found then (`file`). After that nothing here can fail but for what a
//! connection or a listing leaves out, and for what a marketplace answers.

mod answer;
mod auth;
mod file;
mod intern;
mod order_map;
mod orders;
mod paging;
mod pointer;
mod push;
mod push_answer;
mod read;
mod request;
pub mod sample;
mod signing;
mod stock;
mod template;
mod values;
mod webhook;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use file::AdapterFile;
use intern::{intern_all, keep};

pub use values::{is_nothing, missing_ref, plain, reference};

use super::call::{self, Abilities, AccessToken};
use super::{
    About, Adapter, Answer, Ask, Call, Connection, Door, Incoming, Limit, Moment, Outcome, PushItem, PushStyle, Pushed, Reading,
    Refs, Request, Scheme, Told, Traits, Unreadable, Verdict, cannot_be_asked,
};
use crate::settings::finding::Fault;

/// An adapter that was read from a file.
#[derive(Clone, Debug)]
pub struct Declared {
    file: AdapterFile,
    traits: Traits,
    secrets: &'static [&'static str],
    account: &'static [&'static str],
    refs: Refs,
    about: About,
}

impl Declared {
    /// Reads a file; `name` is how faults call it.
    pub fn of_file(name: &str, text: &str) -> Result<Self, Vec<Fault>> {
        AdapterFile::parse(name, text).map(Self::new)
    }

    fn new(file: AdapterFile) -> Self {
        let secrets = file.secrets.iter().chain(&file.secrets_optional);
        let mut account = file.account.clone();
        account.extend(file.account_optional.iter().copied());
        account.extend(file.flags().map(intern::intern));
        if !file.hosts.is_empty() {
            account.push(request::HOST);
        }
        if file.auth.lends_tokens() {
            account.push(auth::TOKEN_URL);
        }
        let refs = Refs { required: intern_all(&file.refs_required), optional: intern_all(&file.refs_optional) };
        let about = About {
            version: file.version,
            verified_on: file.verified_on,
            base_url: file.base_url_text,
            account_needed: intern_all(file.account.iter().filter(|name| !file.refs_required.contains(*name))),
            secrets_needed: intern_all(&file.secrets),
        };
        Self { traits: traits(&file), secrets: intern_all(secrets), account: keep(account), refs, about, file }
    }

    /// A request that the file does not describe, to where the file's own go and with its proof: for adapters that are partly data.
    pub fn post(
        &self,
        connection: &Connection,
        moment: &Moment,
        path: &str,
        body: &Value,
        limits: &[&'static str],
    ) -> Result<Call, Unreadable> {
        let wrong = |message: String| Unreadable::new("invalid-request", message);
        let path = template::Template::parse(path, template::Place::Settings).map_err(wrong)?;
        let spec = request::RequestSpec::post(path, template::Shape::Plain(body.clone()), limits.to_vec());
        request::build(&self.file, moment, &spec, &values::Values::new(connection, moment.now))
    }

    /// The body of a good answer, or how the request ended.
    pub fn good_body<'a>(&self, answer: &'a Answer) -> Result<&'a [u8], Outcome> {
        answer::body(&self.file, answer, &[])
    }

    /// What a logged message says.
    pub fn read_message(&self, connection: &Connection, incoming: Incoming<'_>) -> Reading {
        Adapter::read(self, connection, incoming)
    }

    /// The same for one account: without what its settings did not ask for (`only_if`).
    pub fn for_account(&self, account: &Map<String, Value>) -> Self {
        let on =
            |flag: &Option<String>| flag.as_ref().is_none_or(|flag| account.get(flag).and_then(Value::as_bool).unwrap_or(false));
        let mut own = self.clone();
        let file = &mut own.file;
        file.push = file.push.take().filter(|push| on(&push.only_if));
        for list in [&mut file.stock.list, &mut file.stock.of, &mut file.stock.get] {
            *list = list.take().filter(|list| on(&list.only_if));
        }
        file.orders.list = file.orders.list.take().filter(|list| on(&list.only_if));
        own.traits = traits(&own.file);
        own
    }
}

fn traits(file: &AdapterFile) -> Traits {
    let webhooks = file.webhook.is_some();
    let plain = Traits::plain();
    Traits {
        kind: file.kind,
        stock_feed: file.stock_feed,
        push: if file.push.is_some() { PushStyle::Request } else { PushStyle::Nothing },
        own_sales_decrement: file.own_sales_decrement,
        own_cancel_restock: file.own_cancel_restock,
        batch_max: file.push.as_ref().map_or(1, |push| push.batch_max),
        quantity_max: file.push.as_ref().map_or(plain.quantity_max, |push| push.quantity.1),
        key_interval: file.push.as_ref().map_or(plain.key_interval, |push| push.key_interval),
        min_gap: file.min_gap,
        timeout: file.http.timeout,
        response_max_bytes: file.http.response_max_bytes,
        verify_after: file.push.as_ref().and_then(|push| push.way.result.verify_after).unwrap_or(plain.verify_after),
        abilities: Abilities {
            stock: file.stock.list.is_some(),
            stock_of: file.stock.per_request(),
            orders: file.orders.feed(webhooks),
            order: file.orders.get.is_some(),
            check: file.check.is_some(),
        },
    }
}

impl AdapterFile {
    /// The values of an account that turn parts of the file on.
    fn flags(&self) -> impl Iterator<Item = &str> {
        let lists = [&self.stock.list, &self.stock.of, &self.stock.get].into_iter().flatten();
        let flags = lists.map(|list| &list.only_if).chain(self.push.iter().map(|push| &push.only_if));
        let mut all: Vec<&str> =
            flags.chain(self.orders.list.iter().map(|list| &list.only_if)).flatten().map(String::as_str).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
    }
}

impl Adapter for Declared {
    fn id(&self) -> &'static str {
        self.file.id
    }

    fn traits(&self) -> &Traits {
        &self.traits
    }

    fn about(&self) -> About {
        self.about
    }

    fn schemes(&self) -> &[Scheme] {
        self.file.webhook.as_ref().map_or(&[], |webhook| &webhook.schemes)
    }

    fn secrets(&self) -> &[&'static str] {
        self.secrets
    }

    fn account(&self) -> &[&'static str] {
        self.account
    }

    fn refs(&self) -> Refs {
        self.refs
    }

    fn limits(&self) -> &[Limit] {
        &self.file.limits
    }

    fn read(&self, connection: &Connection, incoming: Incoming<'_>) -> Reading {
        match (incoming.door, &self.file.webhook) {
            (Door::Poll, _) => self.file.orders.read_logged(&self.file, connection, incoming.body),
            (Door::Webhook, Some(webhook)) => webhook.read_message(&self.file.status, connection, &incoming),
            (Door::Webhook, None) => {
                let error = Unreadable::new("not-readable", "this marketplace sends no webhooks");
                Reading { event_type: "unknown".into(), natural_key: None, occurred_at: None, verdict: Verdict::Failed(error) }
            }
        }
    }

    fn push_group(&self, connection: &Connection, item: &PushItem) -> String {
        self.file.push.as_ref().map_or(String::new(), |push| push.group(connection, item))
    }

    fn push_key(&self, connection: &Connection, item: &PushItem) -> String {
        self.file.push.as_ref().map_or_else(|| item.listing_id.to_string(), |push| push.key(connection, item))
    }

    fn push(&self, connection: &Connection, moment: &Moment, items: &[PushItem]) -> Result<Call, Unreadable> {
        let push =
            self.file.push.as_ref().ok_or_else(|| Unreadable::new("no-push", "this marketplace is not told quantities"))?;
        push.call(&self.file, connection, moment, items)
    }

    fn read_push(&self, items: &[PushItem], answer: &Answer) -> Pushed {
        match &self.file.push {
            Some(push) => push.read_answer(&self.file, items, answer),
            None => Pushed::Whole(Outcome::of_status(answer)),
        }
    }

    fn ask(&self, connection: &Connection, moment: &Moment, ask: &Ask) -> Result<Call, Unreadable> {
        let file = &self.file;
        match ask {
            Ask::Stock { page } => file.stock.ask(file, connection, moment, page),
            Ask::StockOf { items } => file.stock.ask_of(file, connection, moment, items),
            Ask::Orders { list, window, page } => file.orders.ask(file, connection, moment, (*list, window, page)),
            Ask::OrderStatuses { orders } => file.orders.ask_statuses(file, connection, moment, orders),
            Ask::Order { id } => file.orders.ask_one(file, connection, moment, id),
            Ask::Check => {
                let check = file.check.as_ref().ok_or_else(cannot_be_asked)?;
                request::build(file, moment, &check.request, &values::Values::new(connection, moment.now))
            }
        }
    }

    fn told(&self, connection: &Connection, ask: &Ask, answer: &Answer) -> Result<Told, Outcome> {
        let file = &self.file;
        match ask {
            Ask::Stock { page } => file.stock.told(file, connection, page, answer),
            Ask::StockOf { items } => file.stock.told_of(file, connection, items, answer),
            Ask::Orders { list, page, .. } => file.orders.told(file, connection, (*list, page), answer),
            Ask::OrderStatuses { .. } => file.orders.told_statuses(file, connection, answer),
            Ask::Order { .. } => file.orders.told_one(file, connection, answer),
            Ask::Check => {
                let body = answer::body(file, answer, &[])?;
                let expires_at = file.check.as_ref().and_then(|check| check.expires_at.as_ref()).and_then(|time| {
                    let value: Value = serde_json::from_slice(body).ok()?;
                    time.at(&pointer::Element::root(&value))
                });
                Ok(Told::Fine { expires_at })
            }
        }
    }

    fn token_request(&self, connection: &Connection, moment: &Moment) -> Option<Result<Request, Unreadable>> {
        self.file.auth.token_request(&self.file, connection, moment)
    }

    fn read_token(&self, answer: &Answer) -> Result<call::AccessToken, Outcome> {
        let read: Result<AccessToken, Outcome> = self.file.auth.read_token(answer);
        read
    }
}
