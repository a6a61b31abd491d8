//! Compiled schemas of answers.

use std::collections::HashMap;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::{Document, Version};

/// Compiles schemas of answers when they are first needed, and keeps them. For one judge: it is not shared.
#[derive(Debug, Default)]
pub(crate) struct Validators {
    /// By operation, response and content; `None` where the schema cannot be compiled.
    compiled: HashMap<(usize, usize, usize), Option<Validator>>,
    /// `components` as JSON Schema, made once.
    components: Option<Value>,
    /// What could not be compiled, in words.
    pub(crate) notes: Vec<String>,
}

impl Validators {
    /// The first thing in which `value` does not fit the schema of this content: where, and what is wrong, in that order.
    pub(crate) fn fault(
        &mut self,
        document: &Document,
        key: (usize, usize, usize),
        value: &Value,
    ) -> Option<(String, String)> {
        let (operation, response, content) = key;
        if !self.compiled.contains_key(&key) {
            let operation = &document.operations()[operation];
            let schema = &operation.responses[response].content[content].schema;
            let made = schema.as_ref().and_then(|schema| {
                self.compile(document, schema)
                    .map_err(|error| {
                        self.notes.push(format!(
                            "{}: the schema of an answer can't be used: {error}",
                            operation.name
                        ));
                    })
                    .ok()
            });
            self.compiled.insert(key, made);
        }
        let validator = self.compiled.get(&key)?.as_ref()?;
        let error = validator.iter_errors(value).next()?;
        let place = error.instance_path().to_string();
        let mut text = error.masked().to_string();
        if text.len() > 200 {
            text = text.chars().take(200).collect();
        }
        Some((place, text))
    }

    fn compile(&mut self, document: &Document, schema: &Value) -> Result<Validator, String> {
        let version = document.version();
        let components = self
            .components
            .get_or_insert_with(|| standard(&document.root()["components"], version));
        let whole = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": components,
            "allOf": [standard(schema, version)],
        });
        jsonschema::options()
            .build(&whole)
            .map_err(|error| error.to_string())
    }
}

/// A schema of an answer as JSON Schema 2020-12: what only requests have is not required, and the keywords that OpenAPI 3.0
/// has of its own are said in the standard's.
fn standard(schema: &Value, version: Version) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(|item| standard(item, version)).collect(),
        Value::Object(members) => standard_object(members, version),
        other => other.clone(),
    }
}

fn standard_object(members: &Map<String, Value>, version: Version) -> Value {
    let mut out = Map::new();
    for (key, value) in members {
        let kept = match key.as_str() {
            // Values, not schemas.
            "enum" | "const" | "default" | "example" | "examples" => value.clone(),
            "required" => match (
                value.as_array(),
                members.get("properties").and_then(Value::as_object),
            ) {
                (Some(names), properties) => names
                    .iter()
                    .filter(|name| {
                        let property = name.as_str().and_then(|name| properties?.get(name));
                        property.is_none_or(|property| property["writeOnly"] != true)
                    })
                    .cloned()
                    .collect(),
                (None, _) => continue,
            },
            _ => standard(value, version),
        };
        out.insert(key.clone(), kept);
    }
    if version == Version::V3_1 {
        return Value::Object(out);
    }
    for (flag, bound) in [
        ("exclusiveMinimum", "minimum"),
        ("exclusiveMaximum", "maximum"),
    ] {
        match out.get(flag) {
            Some(Value::Bool(true)) => {
                if let Some(limit) = out.remove(bound) {
                    out.insert(flag.to_owned(), limit);
                } else {
                    out.remove(flag);
                }
            }
            Some(Value::Bool(false)) => {
                out.remove(flag);
            }
            _ => {}
        }
    }
    if out.get("nullable") == Some(&Value::Bool(true)) {
        out.remove("nullable");
        return json!({ "anyOf": [out, { "type": "null" }] });
    }
    // In 3.0 whatever stands beside a reference is ignored.
    if let Some(reference) = out.get("$ref").filter(|reference| reference.is_string()) {
        return json!({ "$ref": reference });
    }
    Value::Object(out)
}
