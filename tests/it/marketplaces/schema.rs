//! As much of JSON Schema as the hand-written ones use: what a marketplace's own document says a body must look like.

use serde_json::Value;

/// Every place where the value is not what the schema says.
pub fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(schema, value, "", &mut faults);
    faults
}

fn check(schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let mut fault = |what: String| faults.push(format!("{at}: {what}"));
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => panic!("a schema without a type at {at:?}"),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.contains(&kind) {
        fault(format!("is {kind}, not {}", types.join(" or ")));
        return;
    }
    let bound = |name: &str| schema[name].as_i64();
    let outside =
        |number: i64| bound("minimum").is_some_and(|least| number < least) || bound("maximum").is_some_and(|most| number > most);
    if let Some(number) = value.as_i64().filter(|number| outside(*number)) {
        fault(format!("{number} is out of range"));
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        fault(format!("{value} is none of {}", schema["enum"]));
    }
    // `2026-11-26T07:30:00Z`: some take no fractions.
    let whole = |text: &str| text.len() == 20 && stockhub::domain::time::Timestamp::parse_rfc3339(text).is_some();
    if schema["format"] == "whole-seconds" && !value.as_str().is_some_and(whole) {
        fault(format!("{value} is no time in whole seconds"));
    }
    match value {
        Value::Array(items) => {
            let count = i64::try_from(items.len()).unwrap();
            if bound("minItems").is_some_and(|least| count < least) || bound("maxItems").is_some_and(|most| count > most) {
                fault(format!("{count} items"));
            }
            items.iter().enumerate().for_each(|(n, item)| check(&schema["items"], item, &format!("{at}/{n}"), faults));
        }
        Value::Object(fields) => {
            let known = schema["properties"].as_object().unwrap();
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    faults.push(format!("{at}: {name} is missing"));
                }
            }
            for (name, value) in fields {
                match known.get(name) {
                    Some(schema) => check(schema, value, &format!("{at}/{name}"), faults),
                    None => faults.push(format!("{at}: {name} is not known there")),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_checker_sees_what_is_wrong() {
    let schema = serde_json::json!({"type": "object", "properties": {"a": {"type": "integer", "maximum": 5},
        "t": {"type": "string", "format": "whole-seconds"}, "l": {"type": "array",
        "items": {"type": "string"}, "minItems": 1}}, "required": ["a"]});
    let wrong = |value: Value| faults(&schema, &value);
    assert!(wrong(serde_json::json!({"a": 5, "l": ["x"], "t": "2026-11-26T07:30:00Z"})).is_empty());
    for bad in [
        serde_json::json!({}),
        serde_json::json!({"a": 6}),
        serde_json::json!({"a": "5"}),
        serde_json::json!({"a": 5, "t": "2026-11-26T07:30:00.5Z"}),
        serde_json::json!({"a": 1, "b": 1}),
        serde_json::json!({"a": 1, "l": []}),
        serde_json::json!({"a": 1, "l": [1]}),
        serde_json::json!([]),
    ] {
        assert_eq!(wrong(bad.clone()).len(), 1, "{bad}");
    }
}
