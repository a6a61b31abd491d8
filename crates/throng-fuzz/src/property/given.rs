//! What a scenario says of the values of a name, as a strategy.
//!
//! It is a JSON Schema, with a few words more: `body_of: "POST /users"` stands for the schema of that operation's body in the
//! target's OpenAPI document, whose `properties` can be replaced and left out (`without`); `nearly` breaks one rule of a
//! schema; `anything: true` is any JSON. A list is a choice, and any other value is itself.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::openapi::Document;
use crate::value::{SchemaError, Schemas, Values, garbage};

/// Why there is no strategy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GivenError {
    /// No values can be made from the schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// `body_of` without a document.
    #[error(
        "`body_of: {0}` needs the target's OpenAPI document: say where it is in `target.openapi`"
    )]
    NoDocument(String),
    /// The document has no such operation.
    #[error("the OpenAPI document has no operation `{operation}`{hint}")]
    Unknown {
        /// What was asked for.
        operation: String,
        /// What may have been meant.
        hint: String,
    },
    /// The operation takes no body.
    #[error("`{0}` takes no body with a schema")]
    NoBody(String),
    /// Something that is not understood.
    #[error("{0}")]
    Form(String),
}

/// The strategy of what a scenario gives. `document` is the target's OpenAPI document.
///
/// # Errors
///
/// When it isn't understood, or no values can be made.
pub fn strategy(given: &Value, document: Option<&Document>) -> Result<Values, GivenError> {
    let api = Api(document);
    match given {
        Value::Object(map) if map.get("anything") == Some(&Value::Bool(true)) => Ok(garbage()),
        Value::Object(map) if map.contains_key("nearly") => {
            if map.len() > 1 {
                let words = "`nearly` stands alone: put the schema into it";
                return Err(GivenError::Form(words.to_owned()));
            }
            let schema = api.expanded(&map["nearly"])?;
            Ok(api.schemas(&schema).near_valid(&schema)?)
        }
        Value::Object(_) => {
            let schema = api.expanded(given)?;
            Ok(api.schemas(&schema).valid(&schema)?)
        }
        Value::Array(choices) if choices.is_empty() => {
            let words = "an empty list has nothing to choose from";
            Err(GivenError::Form(words.to_owned()))
        }
        Value::Array(choices) => Ok(select(choices.clone()).sboxed()),
        constant => Ok(Just(constant.clone()).sboxed()),
    }
}

/// One strategy of several names: examples are objects, name to value.
pub fn together(given: Vec<(String, Values)>) -> Values {
    let (names, values): (Vec<String>, Vec<Values>) = given.into_iter().unzip();
    values
        .prop_map(move |values| Value::Object(names.iter().cloned().zip(values).collect()))
        .sboxed()
}

/// Whether a value may still be one of what a scenario gives, as far as its type tells: the scenario may have changed since
/// the value was kept.
pub fn fits(given: &Value, value: &Value) -> bool {
    match given {
        Value::Object(map) => {
            let is = |wanted: &Value| wanted.as_str().is_none_or(|wanted| is_of(value, wanted));
            let nullable = map.get("nullable") == Some(&Value::Bool(true)) && value.is_null();
            nullable
                || match map.get("type") {
                    None => true,
                    Some(Value::Array(types)) => types.iter().any(is),
                    Some(wanted) => is(wanted),
                }
        }
        Value::Array(choices) => choices.contains(value),
        constant => constant == value,
    }
}

fn is_of(value: &Value, wanted: &str) -> bool {
    match wanted {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|it| it.fract() == 0.0)
        }
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

/// Whether a document is needed for it.
pub fn needs_document(given: &Value) -> bool {
    match given {
        Value::Object(map) => {
            map.contains_key("body_of")
                || map
                    .get("$ref")
                    .and_then(Value::as_str)
                    .is_some_and(|reference| reference.starts_with("#/components/"))
                || map.values().any(needs_document)
        }
        Value::Array(items) => items.iter().any(needs_document),
        _ => false,
    }
}

struct Api<'a>(Option<&'a Document>);

impl Api<'_> {
    fn schemas(&self, schema: &Value) -> Schemas {
        match self.0 {
            Some(document) => Schemas::new(document.root()),
            None => Schemas::alone(schema),
        }
    }

    /// The schema with each `body_of` in it replaced.
    fn expanded(&self, schema: &Value) -> Result<Value, GivenError> {
        Ok(match schema {
            Value::Object(map) => match map.get("body_of") {
                Some(Value::String(operation)) => self.body(operation, map)?,
                Some(other) => {
                    return Err(GivenError::Form(format!(
                        "`body_of` names an operation such as \"POST /users\", found {other}"
                    )));
                }
                None => {
                    let members = map.iter().map(|(key, value)| {
                        let value = match key.as_str() {
                            "enum" | "const" | "default" | "examples" => value.clone(),
                            _ => self.expanded(value)?,
                        };
                        Ok((key.clone(), value))
                    });
                    Value::Object(members.collect::<Result<_, GivenError>>()?)
                }
            },
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| self.expanded(item))
                    .collect::<Result<_, _>>()?,
            ),
            other => other.clone(),
        })
    }

    /// The schema of an operation's body, with what stands beside `body_of` in place of its own.
    fn body(&self, operation: &str, given: &Map<String, Value>) -> Result<Value, GivenError> {
        let document = self
            .0
            .ok_or_else(|| GivenError::NoDocument(operation.to_owned()))?;
        let found = document
            .operation(operation)
            .ok_or_else(|| unknown(document, operation))?;
        let schema = found
            .body()
            .and_then(|content| content.schema.as_ref())
            .map(|schema| document.resolve(schema))
            .and_then(Value::as_object)
            .ok_or_else(|| GivenError::NoBody(operation.to_owned()))?;
        let mut schema = schema.clone();
        for (key, value) in given {
            match (key.as_str(), value) {
                ("body_of", _) => {}
                ("without", Value::Array(names)) => {
                    let named = |name: &str| names.iter().any(|known| known == name);
                    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
                        properties.retain(|name, _| !named(name));
                    }
                    if let Some(Value::Array(required)) = schema.get_mut("required") {
                        required.retain(|name| !name.as_str().is_some_and(named));
                    }
                }
                ("properties", Value::Object(replaced)) => {
                    let properties = schema.entry("properties").or_insert_with(|| json!({}));
                    if let Value::Object(properties) = properties {
                        for (name, value) in replaced {
                            properties.insert(name.clone(), self.expanded(value)?);
                        }
                    }
                }
                (key, value) => {
                    schema.insert(key.to_owned(), value.clone());
                }
            }
        }
        Ok(Value::Object(schema))
    }
}

fn unknown(document: &Document, operation: &str) -> GivenError {
    let method = operation.split(' ').next().unwrap_or_default();
    let alike = document
        .operations()
        .iter()
        .filter(|known| known.method == method && !known.bodies.is_empty());
    let names: Vec<&str> = alike.map(|known| known.name.as_str()).take(12).collect();
    GivenError::Unknown {
        operation: operation.to_owned(),
        hint: match names.is_empty() {
            true => String::new(),
            false => format!("; it has {}", names.join(", ")),
        },
    }
}
