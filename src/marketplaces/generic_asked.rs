//! What can be asked of a partner who speaks our own schema, where the account says so: the number of one SKU
//! (`GET {base_url}/stock?sku=` → `{"sku", "stock"}`), and the orders that changed (`GET {base_url}/orders?since=` →
//! `{"orders": […], "next": null}`, each order a body as its webhook would have it).

use std::time::Duration;

use serde_json::Value;

use super::call::{Abilities, OrderFeed, OrderRow, Page, StockRow};
use super::generic::{API_KEY, read_body};
use super::wire::Method;
use super::{Answer, Ask, Call, Connection, Outcome, Request, Told, Unreadable, Verdict, cannot_be_asked, json};
use crate::domain::fact::Fact;

/// A net under the webhooks.
const EVERY: Duration = Duration::from_secs(15 * 60);
const OVERLAP: Duration = Duration::from_secs(5 * 60);

pub fn abilities(read: bool, orders: bool) -> Abilities {
    let feed = OrderFeed { lists: 1, overlap: OVERLAP, span_max: None, every: EVERY, statuses: None };
    Abilities { stock_of: read.then_some(1), orders: orders.then_some(feed), ..Abilities::default() }
}

pub fn bearer(connection: &Connection) -> Option<(String, String)> {
    let key = connection.secrets(API_KEY).first()?;
    Some(("authorization".into(), format!("Bearer {}", key.expose())))
}

pub fn ask(abilities: &Abilities, connection: &Connection, ask: &Ask) -> Result<Call, Unreadable> {
    let base = connection.base_url.as_deref().ok_or_else(|| Unreadable::new("no-base-url", "base_url is not set"))?;
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let path = match ask {
        Ask::StockOf { items } if abilities.stock_of.is_some() => {
            let [item] = &items[..] else { return Err(Unreadable::new("batch-size", "one SKU at a time")) };
            format!("stock?sku={}", encoded(&item.sku))
        }
        Ask::Orders { window, page, .. } if abilities.orders.is_some() => {
            let cursor = page.after.as_deref().map_or(String::new(), |after| format!("&cursor={}", encoded(after)));
            format!("orders?since={}{cursor}", encoded(&window.from.to_string()))
        }
        _ => return Err(cannot_be_asked()),
    };
    let url = format!("{}/{path}", base.trim_end_matches('/'));
    let headers = bearer(connection).into_iter().chain([("accept".into(), "application/json".into())]).collect();
    Ok(Call { request: Request { method: Method::Get, url, headers, body: None }, limits: Vec::new() })
}

pub fn told(ask: &Ask, answer: &Answer) -> Result<Told, Outcome> {
    let Answer::Response { status: 200..=299, body, .. } = answer else { return Err(Outcome::of_status(answer)) };
    let value: Value = serde_json::from_slice(body).map_err(|error| unreadable(format!("the answer is not JSON: {error}")))?;
    match ask {
        Ask::StockOf { .. } => {
            let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
            let quantity = value.get("stock").and_then(Value::as_i64).filter(|stock| *stock >= 0);
            let row = StockRow { sku: text("sku"), quantity, ..StockRow::default() };
            Ok(Told::Stock { rows: vec![row], next: None })
        }
        Ask::Orders { page, .. } => orders(&value, page),
        _ => Err(unreadable("there is no such question".to_owned())),
    }
}

fn orders(value: &Value, page: &Page) -> Result<Told, Outcome> {
    let list =
        value.get("orders").and_then(Value::as_array).ok_or_else(|| unreadable("there is no list of orders".to_owned()))?;
    let orders = list.iter().map(row).collect();
    let next = value.get("next").and_then(Value::as_str).map(str::to_owned);
    if next.is_some() && next == page.after {
        return Err(unreadable("the next page is the same as this one".to_owned()));
    }
    let next = next.map(|after| Page { index: page.index.saturating_add(1), after: Some(after) });
    Ok(Told::Orders { orders, next })
}

/// What was read already keeps its bounds: the answer as a whole was capped.
const LIMITS: json::Limits = json::Limits { depth: 32, nodes: 10_000 };

fn row(order: &Value) -> OrderRow {
    let body = order.to_string().into_bytes();
    let reading = read_body(&body, LIMITS);
    let order_id = match &reading.verdict {
        Verdict::Facts(facts) => {
            facts.iter().find_map(|fact| if let Fact::Order(o) = fact { Some(o.order_id.clone()) } else { None })
        }
        _ => None,
    };
    OrderRow { order_id: order_id.unwrap_or_default(), body, reading }
}

fn unreadable(message: String) -> Outcome {
    Outcome::Retry { after: None, throttled: false, code: Some("unreadable-answer".into()), message }
}
