//! Schemas of OpenAPI 3.0 written as JSON Schema 2020-12, so that the rest knows one dialect.

use serde_json::{Map, Value, json};

/// The same document with `nullable: true` as a choice of null, and boolean `exclusiveMinimum`, `exclusiveMaximum` as
/// numbers. Examples, defaults, enumerations and constants are left as they are.
pub(super) fn normalised(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(normalised).collect()),
        Value::Object(map) => object(map),
        other => other.clone(),
    }
}

fn object(map: &Map<String, Value>) -> Value {
    let mut shown = Map::new();
    for (key, value) in map {
        let value = match key.as_str() {
            "enum" | "const" | "default" | "example" | "examples" => value.clone(),
            _ => normalised(value),
        };
        shown.insert(key.clone(), value);
    }
    exclusive(&mut shown, "exclusiveMinimum", "minimum");
    exclusive(&mut shown, "exclusiveMaximum", "maximum");
    if shown.get("nullable") == Some(&Value::Bool(true)) {
        shown.shift_remove("nullable");
        return json!({ "anyOf": [shown, { "type": "null" }] });
    }
    Value::Object(shown)
}

/// `{minimum: 3, exclusiveMinimum: true}` becomes `{exclusiveMinimum: 3}`.
fn exclusive(map: &mut Map<String, Value>, exclusive: &str, bound: &str) {
    match map.get(exclusive) {
        Some(Value::Bool(true)) => {
            map.shift_remove(exclusive);
            if let Some(bound) = map.shift_remove(bound) {
                map.insert(exclusive.to_owned(), bound);
            }
        }
        Some(Value::Bool(false)) => {
            map.shift_remove(exclusive);
        }
        _ => {}
    }
}
