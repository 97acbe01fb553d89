//! How the shelf is spoken with: an adapter like any other, with the abilities a test gives it.

use std::time::Duration;

use serde_json::Value;
use stockhub::domain::fact::{Fact, Item, LineFact, OrderFact};
use stockhub::domain::order::LineUpdate;
use stockhub::domain::quantity::Quantity;
use stockhub::domain::time::Timestamp;
use stockhub::marketplaces::call::{AccessToken, OrderFeed, OrderRow, Page, StatusFeed, StockRow};
use stockhub::marketplaces::generic::Generic;
use stockhub::marketplaces::wire::Method;
use stockhub::marketplaces::{
    Abilities, About, Adapter, Answer, Ask, Call, Connection, Incoming, Limit, Moment, Outcome, PushItem, Pushed, Reading, Refs,
    Request, Scheme, StockFeed, Told, Traits, Unreadable, Verdict,
};

/// Reads as the test says, and tells numbers as the generic adapter does.
pub struct ShelfAdapter {
    traits: Traits,
    generic: Generic,
    limits: Vec<Limit>,
}

/// What a plain shelf can be asked: everything.
pub fn everything() -> Abilities {
    let feed =
        OrderFeed { lists: 1, overlap: Duration::from_secs(60), span_max: None, every: Duration::from_secs(30), statuses: None };
    Abilities { stock: true, stock_of: Some(20), orders: Some(feed), order: true, check: true }
}

pub fn with_statuses() -> Abilities {
    let statuses = StatusFeed { every: Duration::from_secs(60), open_for: Duration::from_secs(86_400), per_request: 2 };
    let feed = everything().orders.map(|feed| OrderFeed { statuses: Some(statuses), ..feed });
    Abilities { orders: feed, ..everything() }
}

impl ShelfAdapter {
    pub fn new(abilities: Abilities, stock_feed: StockFeed) -> Self {
        let generic = Generic::new();
        let traits = Traits { abilities, stock_feed, own_cancel_restock: Some(false), ..generic.traits().clone() };
        Self { traits, generic, limits: Vec::new() }
    }

    /// Every question draws from these.
    pub fn within(self, limits: Vec<Limit>) -> Self {
        Self { limits, ..self }
    }
}

fn get(connection: &Connection, path: String) -> Result<Call, Unreadable> {
    let base = connection.base_url.clone().unwrap_or_default();
    let request = Request { method: Method::Get, url: format!("{base}{path}"), headers: Vec::new(), body: None };
    Ok(Call { request, limits: Vec::new() })
}

fn offset(page: &Page) -> &str {
    page.after.as_deref().unwrap_or("0")
}

impl Adapter for ShelfAdapter {
    fn id(&self) -> &'static str {
        "shelf"
    }

    fn traits(&self) -> &Traits {
        &self.traits
    }

    fn about(&self) -> About {
        About::default()
    }

    fn schemes(&self) -> &[Scheme] {
        self.generic.schemes()
    }

    fn secrets(&self) -> &[&'static str] {
        self.generic.secrets()
    }

    fn account(&self) -> &[&'static str] {
        &[]
    }

    fn refs(&self) -> Refs {
        Refs::default()
    }

    fn limits(&self) -> &[Limit] {
        &self.limits
    }

    fn read(&self, connection: &Connection, incoming: Incoming<'_>) -> Reading {
        let Ok(body) = serde_json::from_slice::<Value>(incoming.body) else { return self.generic.read(connection, incoming) };
        if let Some(order_id) = body["hint"].as_str() {
            let verdict = Verdict::Hint { order_id: order_id.to_owned() };
            return Reading { event_type: "hint".into(), natural_key: None, occurred_at: None, verdict };
        }
        if body["lines"].is_array() { read_order(&body) } else { self.generic.read(connection, incoming) }
    }

    fn push_group(&self, connection: &Connection, item: &PushItem) -> String {
        self.generic.push_group(connection, item)
    }

    fn push_key(&self, connection: &Connection, item: &PushItem) -> String {
        self.generic.push_key(connection, item)
    }

    fn push(&self, connection: &Connection, moment: &Moment, items: &[PushItem]) -> Result<Call, Unreadable> {
        self.generic.push(connection, moment, items)
    }

    fn read_push(&self, items: &[PushItem], answer: &Answer) -> Pushed {
        self.generic.read_push(items, answer)
    }

    fn ask(&self, connection: &Connection, _: &Moment, ask: &Ask) -> Result<Call, Unreadable> {
        let path = match ask {
            Ask::Stock { page } => format!("/listings?offset={}", offset(page)),
            Ask::StockOf { items } => {
                let ids: Vec<&str> = items.iter().map(|item| item.marketplace_product_id.as_str()).collect();
                format!("/listing?ids={}", ids.join(","))
            }
            Ask::Orders { window, page, .. } => {
                format!("/orders?from={}&to={}&offset={}", window.from.micros(), window.to.micros(), offset(page))
            }
            Ask::OrderStatuses { orders } => format!("/statuses?ids={}", orders.join(",")),
            Ask::Order { id } => format!("/order?ids={id}"),
            Ask::Check => "/check".to_owned(),
        };
        Ok(Call { limits: self.limits.iter().map(|limit| limit.name).collect(), ..get(connection, path)? })
    }

    fn told(&self, _: &Connection, ask: &Ask, answer: &Answer) -> Result<Told, Outcome> {
        let outcome = Outcome::of_status(answer);
        let (Outcome::Applied, Answer::Response { body, .. }) = (&outcome, answer) else { return Err(outcome) };
        let unreadable = |what: &str| Outcome::Permanent { code: None, message: format!("the answer has no {what}") };
        let body: Value = serde_json::from_slice(body).map_err(|_| unreadable("JSON"))?;
        let page = |page: &Page| body["next"].as_u64().map(|next| Page { index: page.index + 1, after: Some(next.to_string()) });
        match ask {
            Ask::Stock { page: at } => {
                let rows = body["rows"].as_array().ok_or_else(|| unreadable("rows"))?;
                Ok(Told::Stock { rows: rows.iter().map(stock_row).collect(), next: page(at) })
            }
            Ask::StockOf { .. } => {
                let rows = body["rows"].as_array().ok_or_else(|| unreadable("rows"))?;
                Ok(Told::Stock { rows: rows.iter().map(stock_row).collect(), next: None })
            }
            Ask::Orders { page: at, .. } => Ok(Told::Orders { orders: orders(&body)?, next: page(at) }),
            Ask::OrderStatuses { .. } | Ask::Order { .. } => Ok(Told::Orders { orders: orders(&body)?, next: None }),
            Ask::Check => Ok(Told::Fine { expires_at: None }),
        }
    }

    fn token_request(&self, _: &Connection, _: &Moment) -> Option<Result<Request, Unreadable>> {
        None
    }

    fn read_token(&self, answer: &Answer) -> Result<AccessToken, Outcome> {
        Err(Outcome::of_status(answer))
    }
}

fn stock_row(row: &Value) -> StockRow {
    StockRow {
        names: vec![("listing_id".into(), row["id"].as_str().unwrap().to_owned())],
        sku: row["sku"].as_str().map(str::to_owned),
        title: row["sku"].as_str().map(|sku| format!("Thing {sku}")),
        quantity: row["quantity"].as_i64(),
        refs: row["way"].as_str().map(|way| ("way".to_owned(), way.to_owned())).into_iter().collect(),
        ..StockRow::default()
    }
}

fn orders(body: &Value) -> Result<Vec<OrderRow>, Outcome> {
    let message = "the answer has no orders".to_owned();
    let list = body["orders"].as_array().ok_or(Outcome::Permanent { code: None, message })?;
    let row = |order: &Value| OrderRow {
        order_id: order["id"].as_str().unwrap().to_owned(),
        body: order.to_string().into_bytes(),
        reading: read_order(order),
    };
    Ok(list.iter().map(row).collect())
}

fn read_order(order: &Value) -> Reading {
    let at = order["at"].as_i64().map(Timestamp::from_micros);
    let status = if order["status"] == "cancelled" { "cancelled" } else { "created" };
    let (id, micros) = (order["id"].as_str().unwrap(), at.map_or(0, Timestamp::micros));
    let mut lines = Vec::new();
    for line in order["lines"].as_array().unwrap() {
        let sku = line["sku"].as_str().unwrap();
        let Ok(ordered) = Quantity::parse(line["quantity"].as_i64().unwrap()) else {
            let verdict = Verdict::Failed(Unreadable::new("out-of-range", "quantity cannot be that"));
            return Reading { event_type: "order".into(), natural_key: Some(format!("bad:{id}")), occurred_at: at, verdict };
        };
        lines.push(LineFact {
            line_key: sku.to_owned(),
            item: Item { product_id: None, sku: Some(sku.to_owned()), refs: Vec::new() },
            update: LineUpdate { ordered: Some(ordered), at, ..LineUpdate::default() },
            price: None,
        });
    }
    let fact = OrderFact { order_id: id.to_owned(), at, placed_at: at, lines, cancel_all: status == "cancelled", status };
    let natural_key = Some(format!("order:{id}:{status}:{micros}"));
    Reading { event_type: "order".into(), natural_key, occurred_at: at, verdict: Verdict::Facts(vec![Fact::Order(fact)]) }
}
