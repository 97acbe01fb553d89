//! The generic adapter: our own signed schema, for the older shape (`X-Marketplace-ID`, `X-Webhook-Signature`) and any partner
//! who speaks it. In: `stock.updated`, `stock.snapshot`, `order.created`, `order.cancelled`, `order.returned`. Out: `POST {base_url}/stock`.

use sha2::{Digest as _, Sha256};

use super::call::AccessToken;
use super::generic_asked as asked;
use super::json::{self, Fields};
use super::wire::Method;
use super::{
    About, Adapter, Answer, Ask, Call, Connection, Incoming, Kind, Limit, Moment, Outcome, PushItem, PushStyle, Pushed, Reading,
    Refs, Request, Scheme, StockFeed, Told, Traits, Unreadable, Verdict, schemes,
};
use crate::domain::fact::{DeltaReason, Fact, Item, LineFact, OrderFact, StockDelta, StockObservation};
use crate::domain::order::LineUpdate;
use crate::domain::quantity::Quantity;
use crate::domain::time::Timestamp;

pub struct Generic {
    traits: Traits,
    schemes: [Scheme; 3],
}

/// The account's word that its numbers can be asked for, and its orders listed.
const READ: &str = "read";
const ORDERS: &str = "orders";

impl Generic {
    pub fn new() -> Self {
        Self {
            traits: Traits {
                kind: Kind::Api,
                stock_feed: StockFeed::Delta,
                push: PushStyle::Request,
                own_sales_decrement: true,
                own_cancel_restock: None,
                batch_max: 1,
                ..Traits::plain()
            },
            schemes: [schemes::standard(SECRET), schemes::stamped(SECRET), schemes::plain(SECRET)],
        }
    }

    /// As `new`, with the questions that this account answers.
    pub fn for_account(account: &serde_json::Map<String, serde_json::Value>) -> Self {
        let says = |name: &str| account.get(name).and_then(serde_json::Value::as_bool).unwrap_or(false);
        let mut generic = Self::new();
        generic.traits.abilities = asked::abilities(says(READ), says(ORDERS));
        generic
    }
}

impl Default for Generic {
    fn default() -> Self {
        Self::new()
    }
}

const SECRET: &str = "webhook_secret";
pub(super) const API_KEY: &str = "api_key";
/// What a challenge is answered with, where the scheme has one.
const VERIFICATION_TOKEN: &str = "verification_token";

impl Adapter for Generic {
    fn id(&self) -> &'static str {
        "generic"
    }

    fn traits(&self) -> &Traits {
        &self.traits
    }

    fn about(&self) -> About {
        About::default()
    }

    fn schemes(&self) -> &[Scheme] {
        &self.schemes
    }

    fn secrets(&self) -> &[&'static str] {
        &[SECRET, API_KEY, Scheme::PATH_SECRET, VERIFICATION_TOKEN]
    }

    fn account(&self) -> &[&'static str] {
        &[READ, ORDERS]
    }

    fn refs(&self) -> Refs {
        Refs::default()
    }

    fn limits(&self) -> &[Limit] {
        &[]
    }

    fn read(&self, _: &Connection, incoming: Incoming<'_>) -> Reading {
        read_body(incoming.body, incoming.limits)
    }

    fn push_group(&self, _: &Connection, _: &PushItem) -> String {
        String::new()
    }

    fn push_key(&self, _: &Connection, item: &PushItem) -> String {
        item.sku.clone()
    }

    fn push(&self, connection: &Connection, _: &Moment, items: &[PushItem]) -> Result<Call, Unreadable> {
        let base = connection.base_url.as_deref().ok_or_else(|| Unreadable::new("no-base-url", "base_url is not set"))?;
        let [item] = items else { return Err(Unreadable::new("batch-size", "one item at a time")) };
        let body = serde_json::json!({ "sku": item.sku, "stock": item.quantity });
        let mut headers =
            vec![("content-type".into(), "application/json".into()), ("idempotency-key".into(), item.idempotency_key())];
        headers.extend(asked::bearer(connection));
        let url = format!("{}/stock", base.trim_end_matches('/'));
        let request = Request { method: Method::Post, url, headers, body: Some(body.to_string().into_bytes()) };
        Ok(Call { request, limits: Vec::new() })
    }

    fn read_push(&self, _: &[PushItem], answer: &Answer) -> Pushed {
        Pushed::Whole(Outcome::of_status(answer))
    }

    fn ask(&self, connection: &Connection, _: &Moment, ask: &Ask) -> Result<Call, Unreadable> {
        asked::ask(&self.traits.abilities, connection, ask)
    }

    fn told(&self, _: &Connection, ask: &Ask, answer: &Answer) -> Result<Told, Outcome> {
        asked::told(ask, answer)
    }

    fn token_request(&self, _: &Connection, _: &Moment) -> Option<Result<Request, Unreadable>> {
        None
    }

    fn read_token(&self, answer: &Answer) -> Result<AccessToken, Outcome> {
        Err(Outcome::of_status(answer))
    }
}

/// What a body of our own schema says.
pub(super) fn read_body(body: &[u8], limits: json::Limits) -> Reading {
    let unreadable =
        |event_type: String, error| Reading { event_type, natural_key: None, occurred_at: None, verdict: Verdict::Failed(error) };
    let value = match json::parse(body, limits) {
        Ok(value) => value,
        Err(error) => return unreadable("unreadable".into(), error),
    };
    let event = value.get("event").and_then(serde_json::Value::as_str).unwrap_or("unknown");
    let event_type: String = event.chars().filter(|c| !c.is_control()).take(64).collect();
    let read = Fields::root(&value).and_then(|fields| match event {
        "stock.updated" => read_stock(&fields).map(Some),
        "stock.snapshot" => read_snapshot(&fields).map(Some),
        "order.created" | "order.cancelled" | "order.returned" => read_order(&fields, event).map(Some),
        "unknown" => Err(fields.missing("event")),
        _ => Ok(None),
    });
    match read {
        Ok(Some(read)) => {
            Reading { event_type, natural_key: read.key, occurred_at: read.at, verdict: Verdict::Facts(vec![read.fact]) }
        }
        Ok(None) => Reading { event_type, natural_key: None, occurred_at: None, verdict: Verdict::Ignored },
        Err(error) => unreadable(event_type, error),
    }
}

struct Read {
    key: Option<String>,
    at: Option<Timestamp>,
    fact: Fact,
}

fn item(fields: &Fields<'_>) -> Result<Item, Unreadable> {
    let item = Item { product_id: fields.id("marketplace_product_id")?, sku: fields.id("sku")?, refs: Vec::new() };
    if item == Item::default() { Err(fields.missing("sku")) } else { Ok(item) }
}

/// A time that cannot be read is no time: the window rule then takes the fact as unplaced, it does not guess.
fn timestamp(fields: &Fields<'_>) -> Option<Timestamp> {
    fields.text("timestamp").ok().flatten().and_then(Timestamp::parse_rfc3339)
}

fn read_stock(fields: &Fields<'_>) -> Result<Read, Unreadable> {
    let item = item(fields)?;
    let need = |field: &str| fields.whole(field)?.ok_or_else(|| fields.missing(field));
    let (previous, current, change) = (need("previous_stock")?, need("current_stock")?, need("change")?);
    if previous < 0 || current < 0 {
        return Err(Unreadable::new("out-of-range", "previous_stock and current_stock must not be negative"));
    }
    if current != previous + change {
        let message = format!("current_stock {current} is not previous_stock {previous} with change {change}");
        return Err(Unreadable::new("inconsistent-change", message));
    }
    let reason = match fields.text("reason")? {
        Some("sold") => DeltaReason::Sold,
        Some("cancelled") => DeltaReason::Cancelled,
        Some("returned") => DeltaReason::Returned,
        _ => DeltaReason::Other,
    };
    let wrong_way = match reason {
        DeltaReason::Sold => change > 0,
        DeltaReason::Cancelled | DeltaReason::Returned => change < 0,
        DeltaReason::Other => false,
    };
    if wrong_way {
        return Err(Unreadable::new("inconsistent-change", format!("change {change} does not fit its reason")));
    }
    let at = timestamp(fields);
    // Two equal sales are real: without a time there is nothing to tell a repeat from a second sale.
    let key = at.map(|at| {
        let name = item.product_id.as_deref().or(item.sku.as_deref()).unwrap_or_default();
        // The time first: keys of one moment then lie beside each other in the index that finds repeats.
        format!("stock:{}:{name}:{previous}:{current}", at.micros())
    });
    Ok(Read { key, at, fact: Fact::Delta(StockDelta { item, previous, current, change, reason, at }) })
}

/// "I show so many now": a report of the whole number, for marketplaces that tell no changes.
fn read_snapshot(fields: &Fields<'_>) -> Result<Read, Unreadable> {
    let item = item(fields)?;
    let quantity = fields.whole("stock")?.ok_or_else(|| fields.missing("stock"))?;
    if quantity < 0 {
        return Err(Unreadable::new("out-of-range", "stock must not be negative"));
    }
    let (at, sequence) = (timestamp(fields), fields.id("sequence")?);
    // The same number may come back: only its time or its place in a sequence tells a repeat from news.
    let place = sequence.clone().map(|text| format!("#{text}")).or(at.map(|at| at.micros().to_string()));
    let key = place.map(|place| {
        let name = item.product_id.as_deref().or(item.sku.as_deref()).unwrap_or_default();
        format!("snapshot:{place}:{name}:{quantity}")
    });
    Ok(Read { key, at, fact: Fact::Observation(StockObservation { item, quantity, at, sequence }) })
}

fn read_order(fields: &Fields<'_>, event: &str) -> Result<Read, Unreadable> {
    let order_id = fields.id("order_id")?.ok_or_else(|| fields.missing("order_id"))?;
    let at = timestamp(fields);
    let restock = fields.bool("restock")?.unwrap_or(true);
    let items = fields.list("items")?;
    let cancel_all = event == "order.cancelled" && items.is_none();
    if items.is_none() && !cancel_all {
        return Err(fields.missing("items"));
    }
    let mut lines: Vec<LineFact> = Vec::new();
    for fields in items.unwrap_or_default() {
        let line = read_line(&fields, event, at, restock)?;
        if lines.iter().any(|known| known.line_key == line.line_key) {
            return Err(Unreadable::new("duplicate-line", format!("line {:?} stands twice in items", line.line_key)));
        }
        lines.push(line);
    }
    let status = match event {
        "order.created" => "created",
        "order.cancelled" => "cancelled",
        _ => "returned",
    };
    let key = format!("order:{order_id}:{status}:{}:{}", at.map_or(0, Timestamp::micros), digest(&lines));
    let fact = OrderFact { order_id, at, placed_at: at.filter(|_| status == "created"), lines, cancel_all, status };
    Ok(Read { key: Some(key), at, fact: Fact::Order(fact) })
}

fn read_line(fields: &Fields<'_>, event: &str, at: Option<Timestamp>, restock: bool) -> Result<LineFact, Unreadable> {
    // A cancel or a return may name the line alone.
    let line_id = fields.id("order_item_id")?;
    let item = match item(fields) {
        Ok(item) => item,
        Err(_) if line_id.is_some() && event != "order.created" => Item::default(),
        Err(error) => return Err(error),
    };
    let line_key = line_id.unwrap_or_else(|| item.name().to_owned());
    let whole = fields.whole("quantity")?.ok_or_else(|| fields.missing("quantity"))?;
    let quantity = Quantity::parse(whole).map_err(|error| Unreadable::new("out-of-range", format!("quantity {error}")))?;
    if event == "order.created" && quantity == Quantity::ZERO {
        return Err(Unreadable::new("out-of-range", "quantity must be at least 1"));
    }
    let said = Some(quantity);
    let update = match event {
        "order.created" => LineUpdate { ordered: said, at, ..LineUpdate::default() },
        "order.cancelled" => LineUpdate { cancelled: said, at, ..LineUpdate::default() },
        _ if restock => LineUpdate { returned: said, at, ..LineUpdate::default() },
        _ => LineUpdate { returned_unsellable: said, at, ..LineUpdate::default() },
    };
    let price = fields.raw("price").and_then(|price| match price {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    Ok(LineFact { line_key, item, update, price })
}

/// Of what the lines say, so that another state of the same order at the same time is another event.
fn digest(lines: &[LineFact]) -> String {
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(format!("{:?}|{:?}\n", line.line_key, line.update).as_bytes());
    }
    hex::encode(&hash.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: json::Limits = json::Limits { depth: 32, nodes: 10_000 };

    fn read(body: serde_json::Value) -> Reading {
        read_body(body.to_string().as_bytes(), LIMITS)
    }

    fn failed(body: serde_json::Value) -> &'static str {
        match read(body).verdict {
            Verdict::Failed(error) => error.code,
            _ => "taken",
        }
    }

    fn stock() -> serde_json::Value {
        serde_json::json!({"event": "stock.updated", "marketplace_product_id": "UZUM-12345", "sku": "PHONE-001",
            "previous_stock": 50, "current_stock": 47, "change": -3, "timestamp": "2026-01-09T10:30:00Z", "reason": "sold"})
    }

    fn with(field: &str, value: serde_json::Value) -> serde_json::Value {
        let mut body = stock();
        body[field] = value;
        body
    }

    #[test]
    fn reads_the_older_shape() {
        let reading = read(stock());
        assert_eq!(reading.event_type, "stock.updated");
        assert_eq!(reading.natural_key.as_deref(), Some("stock:1767954600000000:UZUM-12345:50:47"));
        assert!(matches!(reading.verdict, Verdict::Facts(facts) if matches!(&facts[..], [Fact::Delta(d)] if d.change == -3)));
    }

    #[test]
    fn says_what_is_wrong_with_a_body() {
        assert_eq!(failed(with("current_stock", 46.into())), "inconsistent-change");
        assert_eq!(failed(with("reason", "returned".into())), "inconsistent-change");
        assert_eq!(failed(with("change", "-3".into())), "invalid-field");
        assert_eq!(failed(with("change", 2.5.into())), "invalid-field");
        assert_eq!(failed(with("previous_stock", (-50).into())), "out-of-range");
        assert_eq!(failed(with("previous_stock", 3_000_000_000_i64.into())), "out-of-range");
        assert_eq!(failed(serde_json::json!([1])), "invalid-field");
        assert_eq!(failed(serde_json::json!({"event": "order.created", "order_id": "1"})), "invalid-field");
        let twice = serde_json::json!({"event": "order.created", "order_id": "1",
            "items": [{"sku": "A", "quantity": 1}, {"sku": "A", "quantity": 2}]});
        assert_eq!(failed(twice), "duplicate-line");
    }

    #[test]
    fn an_unknown_reason_is_an_observation_and_an_unknown_event_is_ignored() {
        let reading = read(with("reason", "api".into()));
        assert!(
            matches!(reading.verdict, Verdict::Facts(facts) if matches!(&facts[..], [Fact::Delta(d)] if !d.reason.moves_stock()))
        );
        assert_eq!(read(serde_json::json!({"event": "price.updated"})).verdict, Verdict::Ignored);
    }

    #[test]
    fn an_order_says_what_its_lines_are_by_now() {
        let body = serde_json::json!({"event": "order.created", "order_id": 77, "timestamp": "2026-01-09T10:30:00Z",
            "items": [{"order_item_id": 1, "sku": "A", "quantity": 2, "price": "129.90", "colour": "red"}]});
        let reading = read(body);
        let Verdict::Facts(facts) = reading.verdict else { unreachable!("{reading:?}") };
        assert!(matches!(&facts[..], [Fact::Order(order)] if order.order_id == "77" && order.lines[0].line_key == "1"));
        let cancel = read(serde_json::json!({"event": "order.cancelled", "order_id": 77}));
        assert!(matches!(cancel.verdict, Verdict::Facts(facts) if matches!(&facts[..], [Fact::Order(o)] if o.cancel_all)));
    }
}
