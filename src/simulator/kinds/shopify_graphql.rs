//! Shopify's GraphQL page, as far as stock goes: `inventorySetQuantities`, which is all or nothing, compares before it sets and wants
//! an idempotency key, and a location's levels. Every answer is a 200 that says what it cost.

use serde_json::{Value, json};

use crate::domain::sku::Sku;

use super::super::chaos::Dice;
use super::call::{Call, Say};
use super::desk::{Desk, Trouble};
use super::plain;

/// Points of a mutation; of a query by the rows it may return.
const MUTATION_COST: u32 = 10;
const QUANTITIES_MAX: usize = 250;
const RESTORE_PER_SECOND: u32 = 100;
/// Answers kept by key; past this the shop forgets them all, as real ones forget after a day.
const KEYS_MAX: usize = 10_000;

pub(super) fn answer(body: &Value, call: &Call, desk: &mut Desk<'_>) -> Say {
    let Some(query) = body["query"].as_str() else {
        return Say::json(400, json!({ "errors": { "query": "Required parameter missing or invalid" } }));
    };
    let mutation = query.contains("inventorySetQuantities");
    let first = body["variables"]["first"].as_i64().unwrap_or(50).clamp(1, 250);
    let cost = if mutation { MUTATION_COST } else { 2 + u32::try_from(first).unwrap_or(50) / 5 };
    if desk.spend("points", cost).is_err() {
        let thrown = json!({ "message": "Throttled", "extensions": { "code": "THROTTLED" } });
        return Say::ok(json!({ "errors": [thrown], "extensions": costs(desk, cost, None) }));
    }
    let data =
        if mutation { set(query, &body["variables"], call.part(0), desk) } else { levels(query, &body["variables"], desk) };
    let mut said = match data {
        Ok(data) => json!({ "data": data }),
        Err(message) => json!({ "errors": [{ "message": message, "extensions": { "code": "argumentLiteralsIncompatible" } }] }),
    };
    said["extensions"] = costs(desk, cost, Some(cost));
    Say::ok(said)
}

fn costs(desk: &Desk<'_>, requested: u32, actual: Option<u32>) -> Value {
    let (left, size) = desk.left("points");
    json!({ "cost": { "requestedQueryCost": requested, "actualQueryCost": actual,
        "throttleStatus": { "maximumAvailable": size, "currentlyAvailable": left, "restoreRate": RESTORE_PER_SECOND } } })
}

/// `gid://shopify/InventoryItem/49` or `49`.
fn number(id: &Value) -> Value {
    let text = plain(id);
    json!(text.rsplit('/').next().unwrap_or_default())
}

/// The key of `@idempotent(key: …)`, written out or as a variable.
fn key_of(query: &str, variables: &Value) -> Option<String> {
    let argument = query.split_once("@idempotent")?.1.split_once("key:")?.1.trim_start();
    if let Some(literal) = argument.strip_prefix('"') {
        return literal.split_once('"').map(|(key, _)| key.to_owned());
    }
    let name: String = argument.strip_prefix('$')?.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    variables[name].as_str().map(str::to_owned)
}

fn user_error(code: &str, field: &Value, message: &str) -> Value {
    json!({ "code": code, "field": field, "message": message })
}

fn refused(errors: Vec<Value>) -> Value {
    json!({ "inventorySetQuantities": { "inventoryAdjustmentGroup": null, "userErrors": errors } })
}

fn set(query: &str, variables: &Value, version: &str, desk: &mut Desk<'_>) -> Result<Value, String> {
    let named = |value: &&Value| value["quantities"].is_array();
    let input = variables.as_object().and_then(|all| all.values().find(named)).cloned();
    let input = input.ok_or("Variable $input of type InventorySetQuantitiesInput! was provided invalid value")?;
    let rows = input["quantities"].as_array().cloned().unwrap_or_default();
    if rows.is_empty() || rows.len() > QUANTITIES_MAX {
        return Err(format!("The input array size of {} is not between 1 and {QUANTITIES_MAX}", rows.len()));
    }
    let strict = version >= "2026-04";
    if strict && rows.iter().any(|row| row.get("changeFromQuantity").is_none()) {
        return Err("Argument 'changeFromQuantity' on InputObject 'InventoryQuantityInput' is required".to_owned());
    }
    let key = key_of(query, variables);
    if strict && key.is_none() {
        return Err("The @idempotent directive is required for this mutation but was not provided.".to_owned());
    }
    let fingerprint = input.to_string();
    if let Some((before, said)) = key.as_ref().and_then(|key| desk.memory().answers.get(key)).cloned() {
        if before != fingerprint {
            let error =
                user_error("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", &Value::Null, "The same key was used with other parameters");
            return Ok(refused(vec![error]));
        }
        for row in &rows {
            if let Some(sku) = desk.find("inventory_item_id", &number(&row["inventoryItemId"])) {
                desk.repeat(&sku, row["quantity"].as_i64().unwrap_or(0));
            }
        }
        return Ok(said);
    }
    let said = apply(&rows, desk);
    if desk.pretends() {
        return Ok(json!({ "inventorySetQuantities": null }));
    }
    // What was refused left nothing behind: the same key may try again.
    let done = said["inventorySetQuantities"]["userErrors"] == json!([]);
    if let Some(key) = key.filter(|_| done) {
        let answers = &mut desk.memory().answers;
        if answers.len() >= KEYS_MAX {
            answers.clear();
        }
        answers.insert(key, (fingerprint, said.clone()));
    }
    Ok(said)
}

/// All of them or none.
fn apply(rows: &[Value], desk: &mut Desk<'_>) -> Value {
    let mut errors = Vec::new();
    let mut good: Vec<(Sku, i64)> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        match judged(row, desk) {
            Ok(found) => good.push(found),
            Err((code, field, message)) => {
                errors.push(user_error(code, &json!(["input", "quantities", index.to_string(), field]), message));
            }
        }
    }
    if !errors.is_empty() {
        for row in rows {
            let found = desk.find("inventory_item_id", &number(&row["inventoryItemId"]));
            let name = found.map_or_else(|| plain(&row["inventoryItemId"]), |sku| sku.to_string());
            desk.refuse(name, row["quantity"].as_i64().unwrap_or(-1));
        }
        return refused(errors);
    }
    let changes: Vec<Value> = good
        .into_iter()
        .map(|(sku, quantity)| {
            let before = desk.item(&sku).map_or(0, |item| item.stock);
            let after = desk.set(&sku, quantity);
            let item = desk.item(&sku).map_or(Value::Null, |item| item.refs["inventory_item_id"].clone());
            json!({ "name": "available", "delta": after - before, "quantityAfterChange": after,
                "item": { "id": format!("gid://shopify/InventoryItem/{}", plain(&item)) } })
        })
        .collect();
    let id = format!("gid://shopify/InventoryAdjustmentGroup/{}", Dice::new(desk.turn()).below(usize::MAX));
    json!({ "inventorySetQuantities": { "inventoryAdjustmentGroup": { "id": id, "createdAt": desk.now, "reason": "correction",
        "changes": changes }, "userErrors": [] } })
}

type Fault = (&'static str, &'static str, &'static str);

fn judged(row: &Value, desk: &mut Desk<'_>) -> Result<(Sku, i64), Fault> {
    let sku = desk.find("inventory_item_id", &number(&row["inventoryItemId"])).ok_or((
        "INVALID_INVENTORY_ITEM",
        "inventoryItemId",
        "The specified inventory item could not be found.",
    ))?;
    if plain(&number(&row["locationId"])) != desk.account().text("location_id") {
        return Err(("INVALID_LOCATION", "locationId", "The specified location could not be found."));
    }
    let quantity = row["quantity"].as_i64().filter(|quantity| *quantity >= 0);
    let quantity = quantity.ok_or(("INVALID_QUANTITY_NEGATIVE", "quantity", "The quantity can't be negative."))?;
    let expected = row["changeFromQuantity"].as_i64().or_else(|| row["compareQuantity"].as_i64());
    let shown = desk.item(&sku).map_or(0, |item| item.stock);
    if expected.is_some_and(|expected| expected != shown) {
        let message = "The compareQuantity argument no longer matches the persisted quantity.";
        return Err(("CHANGE_FROM_QUANTITY_STALE", "changeFromQuantity", message));
    }
    match desk.trouble(&sku) {
        Some(Trouble::Passing) => Err(("IDEMPOTENCY_CONCURRENT_REQUEST", "quantity", "Another request is being processed.")),
        Some(Trouble::Lasting) => {
            Err(("ITEM_NOT_STOCKED_AT_LOCATION", "inventoryItemId", "The item is not stocked at the location."))
        }
        None => Ok((sku, quantity)),
    }
}

/// `location(id:) { inventoryLevels(first:, after:) }`.
fn levels(query: &str, variables: &Value, desk: &Desk<'_>) -> Result<Value, String> {
    if !query.contains("inventoryLevels") {
        return Err("Field doesn't exist on type 'QueryRoot'".to_owned());
    }
    let first = usize::try_from(variables["first"].as_i64().unwrap_or(50).clamp(1, 250)).unwrap_or(1);
    let from: usize = variables["after"].as_str().and_then(|after| after.parse().ok()).unwrap_or(0);
    let items = desk.shelf(from, first);
    let next = from + items.len();
    let nodes: Vec<Value> = items
        .iter()
        .map(|item| {
            let id = format!("gid://shopify/InventoryItem/{}", plain(&item.refs["inventory_item_id"]));
            json!({ "item": { "id": id, "sku": item.sku }, "quantities": [{ "name": "available", "quantity": item.stock }] })
        })
        .collect();
    let page = json!({ "hasNextPage": next < desk.shelf_size(), "endCursor": next.to_string() });
    let location = format!("gid://shopify/Location/{}", desk.account().text("location_id"));
    Ok(json!({ "location": { "id": location, "inventoryLevels": { "nodes": nodes, "pageInfo": page } } }))
}
