//! Shopify: an adapter that is partly data. Its reading, polling and webhooks stand in `config/adapters/shopify.toml`; telling
//! quantities does not fit the format. One GraphQL mutation sets many numbers at once or none, compares each with what we believe it
//! shows (so that a sale in between is not overwritten), says what went wrong inside a 200, and is paid for in points.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::call::AccessToken;
use super::declared::Declared;
use super::wire::excerpt;
use super::{
    About, Adapter, Answer, Ask, Call, Connection, Incoming, Limit, Moment, Outcome, PushItem, PushStyle, Pushed, Reading, Refs,
    Request, Scheme, Told, Traits, Unreadable,
};

/// Quantities of one mutation: 250 are allowed; fewer are redone when one of them is refused.
const BATCH_MAX: usize = 100;

const MUTATION: &str = "mutation tell($input: InventorySetQuantitiesInput!, $key: String!) { \
    inventorySetQuantities(input: $input) @idempotent(key: $key) { inventoryAdjustmentGroup { id } userErrors { code field message } } }";

/// What customers keep, or nobody will sell again: money went back and the goods did not.
const NOT_BACK: &str = "no_restock";

const ITEM: &str = "inventory_item_id";
const LOCATION: &str = "location_id";

pub struct Shopify {
    data: Declared,
    traits: Traits,
}

impl Shopify {
    pub fn new(data: Declared) -> Self {
        let traits = Traits { push: PushStyle::Request, batch_max: BATCH_MAX, ..data.traits().clone() };
        Self { data, traits }
    }
}

/// `gid://shopify/InventoryItem/1`; what is written so already stays.
fn gid(kind: &str, value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.starts_with("gid://") { text } else { format!("gid://shopify/{kind}/{text}") }
}

fn quantity(connection: &Connection, item: &PushItem) -> Result<Value, Unreadable> {
    let named = |name: &str| super::declared::reference(connection, item, name).ok_or_else(|| super::declared::missing_ref(name));
    Ok(json!({
        "inventoryItemId": gid("InventoryItem", &named(ITEM)?),
        "locationId": gid("Location", &named(LOCATION)?),
        "quantity": item.quantity.max(0),
        // Null: set it whatever it shows. Only where we do not know ourselves.
        "changeFromQuantity": item.expected,
    }))
}

/// The same for a retry, another as soon as a number or what it is compared with changes: Shopify refuses a known key with other
/// values, and answers a known one with what it did then.
fn key(items: &[PushItem]) -> String {
    let mut hash = Sha256::new();
    for item in items {
        hash.update(format!("{}|{:?}\n", item.idempotency_key(), item.expected));
    }
    let mut id = [0_u8; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(id).into_uuid().to_string()
}

/// The item an error speaks of: `["input", "quantities", "3", …]`.
fn index(error: &Value) -> Option<usize> {
    let path = error.get("field")?.as_array()?;
    let at = path.iter().position(|part| part == "quantities")?;
    let number = path.get(at + 1)?;
    number.as_str().and_then(|text| text.parse().ok()).or_else(|| number.as_u64().and_then(|n| usize::try_from(n).ok()))
}

fn text(error: &Value, name: &str) -> String {
    error.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What one error of the mutation means for its item.
fn refused(error: &Value) -> Outcome {
    let (code, message) = (text(error, "code"), text(error, "message"));
    let retry = |code: String, message| Outcome::Retry { after: None, throttled: false, code: Some(code), message };
    match code.as_str() {
        "CHANGE_FROM_QUANTITY_STALE" => Outcome::Conflict { shown: None, message },
        "IDEMPOTENCY_CONCURRENT_REQUEST" => retry(code, message),
        // The key was used and its fate is not ours to know: the number is told anew under a new one.
        "IDEMPOTENCY_KEY_PARAMETER_MISMATCH" | "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED" => Outcome::Unknown { message },
        _ => Outcome::Permanent { code: Some(code), message },
    }
}

/// All or nothing: where one is refused, the others were not set either, and go again without it.
fn per_item(items: usize, errors: &[Value]) -> Pushed {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; items];
    for error in errors {
        match index(error).and_then(|index| outcomes.get_mut(index)) {
            Some(slot) => *slot = Some(refused(error)),
            None => return Pushed::Whole(refused(error)),
        }
    }
    let others = || Outcome::Retry {
        after: None,
        throttled: false,
        code: Some("batch-refused".into()),
        message: "another row of its batch was refused, so none was set".into(),
    };
    Pushed::Each(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(others)).collect())
}

/// How long until the points for such a request are there again.
fn points_back(answer: &Value) -> Option<Duration> {
    let cost = answer.pointer("/extensions/cost")?;
    let number = |pointer: &str| cost.pointer(pointer).and_then(Value::as_f64);
    let wanted = number("/requestedQueryCost")?;
    let (there, rate) = (number("/throttleStatus/currentlyAvailable")?, number("/throttleStatus/restoreRate")?);
    let seconds = (wanted - there).max(0.0) / rate.max(1.0);
    Some(Duration::from_secs_f64(seconds.clamp(0.1, 60.0)))
}

/// Errors beside the mutation: it was not carried out.
fn failed(answer: &Value, errors: &[Value]) -> Outcome {
    let first = errors.first().cloned().unwrap_or_default();
    let code = first.pointer("/extensions/code").and_then(Value::as_str).unwrap_or_default().to_owned();
    let message = text(&first, "message");
    match code.as_str() {
        "THROTTLED" => Outcome::Retry { after: points_back(answer), throttled: true, code: Some(code), message },
        "ACCESS_DENIED" | "UNAUTHORIZED" => Outcome::Auth { message },
        "INTERNAL_SERVER_ERROR" | "TIMEOUT" => Outcome::Unknown { message },
        _ => Outcome::Permanent { code: Some(code).filter(|code| !code.is_empty()), message },
    }
}

/// Says in each line how many of it are gone from the shelf. What is refunded leaves `current_quantity`, also where it is not put back.
fn reckon(order: &mut Value) {
    let refunds = order.get("refunds").and_then(Value::as_array).cloned().unwrap_or_default();
    let kept: Vec<Value> = refunds
        .iter()
        .filter_map(|refund| refund.get("refund_line_items")?.as_array())
        .flatten()
        .filter(|line| line.get("restock_type").and_then(Value::as_str) == Some(NOT_BACK))
        .cloned()
        .collect();
    let lines = order.get_mut("line_items").and_then(Value::as_array_mut).into_iter().flatten();
    for line in lines {
        let Some(left) = line.get("current_quantity").and_then(Value::as_i64) else { continue };
        let ordered = line.get("quantity").and_then(Value::as_i64).unwrap_or(i64::MAX);
        let of_line = |refunded: &&Value| refunded.get("line_item_id").is_some_and(|id| Some(id) == line.get("id"));
        let kept = kept.iter().filter(of_line).filter_map(|refunded| refunded.get("quantity")?.as_i64());
        let gone = kept.fold(left, |gone, kept| gone.saturating_add(kept.max(0))).min(ordered);
        line["gone_quantity"] = gone.into();
    }
}

/// A body that holds an order, several, or none. What cannot be read is read as it stands, and refused there.
fn reckoned(body: &[u8]) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else { return body.to_vec() };
    reckon(&mut value);
    if let Some(order) = value.get_mut("order") {
        reckon(order);
    }
    value.get_mut("orders").and_then(Value::as_array_mut).into_iter().flatten().for_each(reckon);
    value.to_string().into_bytes()
}

impl Adapter for Shopify {
    fn id(&self) -> &'static str {
        self.data.id()
    }

    fn traits(&self) -> &Traits {
        &self.traits
    }

    fn about(&self) -> About {
        self.data.about()
    }

    fn schemes(&self) -> &[Scheme] {
        self.data.schemes()
    }

    fn secrets(&self) -> &[&'static str] {
        self.data.secrets()
    }

    fn account(&self) -> &[&'static str] {
        self.data.account()
    }

    fn refs(&self) -> Refs {
        self.data.refs()
    }

    fn limits(&self) -> &[Limit] {
        self.data.limits()
    }

    fn read(&self, connection: &Connection, incoming: Incoming<'_>) -> Reading {
        let body = reckoned(incoming.body);
        self.data.read_message(connection, Incoming { body: &body, ..incoming })
    }

    fn push_group(&self, connection: &Connection, item: &PushItem) -> String {
        // A listing that lacks a name fails alone.
        quantity(connection, item).map_or_else(|error| format!("{}: {}", error.message, item.listing_id), |_| String::new())
    }

    fn push_key(&self, connection: &Connection, item: &PushItem) -> String {
        let named = |name| super::declared::reference(connection, item, name).map_or(String::new(), |value| value.to_string());
        format!("{}|{}", named(ITEM), named(LOCATION))
    }

    fn push(&self, connection: &Connection, moment: &Moment, items: &[PushItem]) -> Result<Call, Unreadable> {
        if items.is_empty() || items.len() > BATCH_MAX {
            return Err(Unreadable::new("batch-size", format!("{} items, where a request takes 1 to {BATCH_MAX}", items.len())));
        }
        let quantities = items.iter().map(|item| quantity(connection, item)).collect::<Result<Vec<_>, _>>()?;
        let key = key(items);
        let input = json!({"name": "available", "reason": "correction",
            "referenceDocumentUri": format!("stockhub://push/{key}"), "quantities": quantities});
        let body = json!({"query": MUTATION, "variables": {"input": input, "key": key}});
        self.data.post(connection, moment, "/admin/api/{{account.api_version}}/graphql.json", &body, &["graphql"])
    }

    fn read_push(&self, items: &[PushItem], answer: &Answer) -> Pushed {
        let body = match self.data.good_body(answer) {
            Ok(body) => body,
            Err(outcome) => return Pushed::Whole(outcome),
        };
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Pushed::Whole(Outcome::Unknown { message: format!("an answer that is not JSON: {}", excerpt(body)) });
        };
        let list = |pointer: &str| value.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        let errors = list("/errors");
        if !errors.is_empty() {
            return Pushed::Whole(failed(&value, &errors));
        }
        let user_errors = list("/data/inventorySetQuantities/userErrors");
        if !user_errors.is_empty() {
            return per_item(items.len(), &user_errors);
        }
        match value.pointer("/data/inventorySetQuantities") {
            Some(Value::Object(_)) => Pushed::Each(vec![Outcome::Applied; items.len()]),
            _ => Pushed::Whole(Outcome::Unknown { message: "an answer without its mutation".into() }),
        }
    }

    fn ask(&self, connection: &Connection, moment: &Moment, ask: &Ask) -> Result<Call, Unreadable> {
        self.data.ask(connection, moment, ask)
    }

    fn told(&self, connection: &Connection, ask: &Ask, answer: &Answer) -> Result<Told, Outcome> {
        let (Ask::Orders { .. } | Ask::Order { .. }, Answer::Response { status, retry_after, headers, body }) = (ask, answer)
        else {
            return self.data.told(connection, ask, answer);
        };
        let (headers, body) = (headers.clone(), reckoned(body));
        self.data.told(connection, ask, &Answer::Response { status: *status, retry_after: *retry_after, headers, body })
    }

    fn token_request(&self, _: &Connection, _: &Moment) -> Option<Result<Request, Unreadable>> {
        None
    }

    fn read_token(&self, answer: &Answer) -> Result<AccessToken, Outcome> {
        self.data.read_token(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::declared::sample;
    use super::*;

    fn shopify() -> (Arc<dyn Adapter>, Connection) {
        let adapter = super::super::catalogue::Catalogue::built_in().get("shopify").unwrap();
        (adapter.clone(), sample::connection(adapter))
    }

    fn items(adapter: &dyn Adapter, count: i64) -> Vec<PushItem> {
        (0..count).map(|n| sample::item(adapter, n)).collect()
    }

    fn answer(body: &Value) -> Answer {
        Answer::Response {
            status: 200,
            retry_after: None,
            headers: [].into_iter().collect(),
            body: body.to_string().into_bytes(),
        }
    }

    fn user_errors(errors: &Value) -> Answer {
        answer(&json!({"data": {"inventorySetQuantities": {"inventoryAdjustmentGroup": null, "userErrors": errors}}}))
    }

    #[test]
    fn it_compares_before_it_sets_under_a_key_that_changes_with_what_is_compared() {
        let (adapter, connection) = shopify();
        let mut items = items(&*adapter, 2);
        items[1].expected = None;
        let call = |items: &[PushItem]| adapter.push(&connection, &sample::moment(), items).unwrap();
        let first = call(&items);
        assert_eq!(first.request.url, "https://1001.myshopify.com/admin/api/1001/graphql.json");
        assert_eq!(first.limits, ["graphql"]);
        let body: Value = serde_json::from_slice(first.request.body.as_deref().unwrap()).unwrap();
        let quantities = &body["variables"]["input"]["quantities"];
        assert_eq!(
            quantities[0],
            json!({"inventoryItemId": "gid://shopify/InventoryItem/3000", "locationId": "gid://shopify/Location/3000",
            "quantity": 4, "changeFromQuantity": 5})
        );
        assert_eq!(quantities[1]["changeFromQuantity"], Value::Null);
        assert_eq!(first, call(&items), "a retry is the same request");
        items[0].expected = Some(9);
        assert_ne!(first.request.body, call(&items).request.body);
    }

    #[test]
    fn all_or_nothing_and_a_stale_number_is_a_conflict() {
        let (adapter, _) = shopify();
        let items = items(&*adapter, 3);
        let names = |answer: &Answer| adapter.read_push(&items, answer).each(3).iter().map(Outcome::name).collect::<Vec<_>>();
        assert_eq!(names(&user_errors(&json!([]))), ["applied"; 3]);
        let at = |code: &str, index: &str| json!({"code": code, "field": ["input", "quantities", index], "message": "no"});
        let said = user_errors(&json!([at("CHANGE_FROM_QUANTITY_STALE", "1"), at("INVALID_LOCATION", "2")]));
        let outcomes = adapter.read_push(&items, &said).each(3);
        assert!(matches!(outcomes[1], Outcome::Conflict { .. }));
        assert_eq!((outcomes[0].name(), outcomes[2].name()), ("retry", "permanent"));
        let whole = user_errors(&json!([{"code": "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", "field": null, "message": "no"}]));
        assert_eq!(names(&whole), ["unknown"; 3]);
    }

    #[test]
    fn points_run_out_inside_a_200() {
        let (adapter, _) = shopify();
        let items = items(&*adapter, 1);
        let said = json!({"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}],
            "extensions": {"cost": {"requestedQueryCost": 110, "throttleStatus": {"currentlyAvailable": 10, "restoreRate": 50}}}});
        let pushed = adapter.read_push(&items, &answer(&said));
        let Pushed::Whole(Outcome::Retry { after: Some(after), throttled: true, .. }) = pushed else { panic!("{pushed:?}") };
        assert_eq!(after, Duration::from_secs(2));
        let denied = json!({"errors": [{"message": "no", "extensions": {"code": "ACCESS_DENIED"}}]});
        assert!(matches!(adapter.read_push(&items, &answer(&denied)), Pushed::Whole(Outcome::Auth { .. })));
        let bucket = adapter.limits().iter().find(|limit| limit.name == "all").unwrap();
        assert_eq!((bucket.burst, bucket.reads.fraction), (38, Some("X-Shopify-Shop-Api-Call-Limit")));
    }
}
