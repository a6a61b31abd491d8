//! What tools answer with, as JSON Schema for `tools/list`.

use serde_json::{Map, Value, json};

/// The shape of a tool's structured content.
#[derive(Debug, Clone, Copy)]
pub(in crate::mcp) enum Output {
    /// An object of these fields.
    Object(&'static str, &'static [Field]),
    /// A JSON text under `result`.
    Text,
    /// No structured content.
    None,
}

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub(in crate::mcp) struct Field {
    name: &'static str,
    kind: Kind,
    required: bool,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
    TextOrNull,
    IntegerOrNull,
    NumberOrNull,
    BooleanOrNull,
    ObjectOrNull,
    Texts,
    Objects(&'static [Field]),
}

/// A field that is always given.
pub(super) const fn always(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        required: true,
    }
}

/// A field that has a default.
pub(super) const fn usually(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        required: false,
    }
}

/// Every answer but a bare note begins with these.
pub(super) const SUCCESS: Field = usually("success", Kind::Boolean);
pub(super) const TIMESTAMP: Field = usually("timestamp", Kind::Text);

/// What a JSON text is wrapped into.
const RESULT: &[Field] = &[always("result", Kind::Text)];

impl Output {
    /// The `outputSchema` of a tool.
    pub(in crate::mcp) fn schema(self, tool: &str) -> Option<Map<String, Value>> {
        let (title, fields) = match self {
            Self::None => return None,
            Self::Text => (format!("{tool}Output"), RESULT),
            Self::Object(title, fields) => (title.to_owned(), fields),
        };
        let mut schema = object(fields);
        schema.insert("title".to_owned(), title.into());
        Some(schema)
    }
}

fn object(fields: &[Field]) -> Map<String, Value> {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| (field.name.to_owned(), field.kind.schema()))
        .collect();
    let required: Vec<_> = fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.name)
        .collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), properties.into());
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

impl Kind {
    fn schema(self) -> Value {
        let or_null = |kind: &str| json!({ "anyOf": [{ "type": kind }, { "type": "null" }] });
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Integer => json!({ "type": "integer" }),
            Self::Boolean => json!({ "type": "boolean" }),
            Self::TextOrNull => or_null("string"),
            Self::IntegerOrNull => or_null("integer"),
            Self::NumberOrNull => or_null("number"),
            Self::BooleanOrNull => or_null("boolean"),
            Self::ObjectOrNull => or_null("object"),
            Self::Texts => json!({ "type": "array", "items": { "type": "string" } }),
            Self::Objects(fields) => json!({ "type": "array", "items": object(fields) }),
        }
    }
}
