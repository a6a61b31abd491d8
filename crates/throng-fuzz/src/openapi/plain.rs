//! The plainest value of a schema: what a person would write to try an operation out.
//!
//! Deterministic. It is what relations begin with (a resource must really be created before it can be read), so it prefers
//! the document's own examples and sends no optional members.

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use serde_json::{Map, Number, Value, json};

use super::Document;

/// Deeper than this, `null` stands for whatever it is.
const DEEPEST: usize = 12;
/// So many values are made within one; what is beyond is `null`.
const MOST_VALUES: usize = 2_000;

/// The plainest value that fits a schema, as far as can be told. Optional members are left out, read-only ones always. Where a
/// schema requires itself, `null` stands for it.
pub fn plain(document: &Document, schema: &Value) -> Value {
    let mut builder = Builder {
        document,
        way: Vec::new(),
        left: MOST_VALUES,
    };
    builder.build(schema, "")
}

/// Builds one value.
struct Builder<'a> {
    document: &'a Document,
    /// The schemas on the way down to this one.
    way: Vec<&'a Value>,
    /// How many more values are made.
    left: usize,
}

impl<'a> Builder<'a> {
    fn build(&mut self, schema: &'a Value, name: &str) -> Value {
        let schema = self.document.resolve(schema);
        let within_itself = self.way.iter().any(|above| std::ptr::eq(*above, schema));
        if within_itself || self.way.len() >= DEEPEST || self.left == 0 {
            return Value::Null;
        }
        self.left -= 1;
        self.way.push(schema);
        let value = self.of(schema, name);
        self.way.pop();
        value
    }

    fn of(&mut self, schema: &'a Value, name: &str) -> Value {
        for given in [&schema["const"], &schema["example"]] {
            if !given.is_null() {
                return given.clone();
            }
        }
        for list in ["examples", "enum"] {
            // An example that is an object with a `value` is none of a schema.
            if let Some(first) = schema[list].as_array().and_then(|values| values.first()) {
                return first.clone();
            }
        }
        if let Some(default) = schema.get("default").filter(|value| !value.is_null()) {
            return default.clone();
        }
        for word in ["oneOf", "anyOf"] {
            let parts = schema[word].as_array().into_iter().flatten();
            let mut parts = parts.filter(|part| self.document.resolve(part)["type"] != "null");
            if let Some(first) = parts.next() {
                return self.build(first, name);
            }
        }
        let kind = match &schema["type"] {
            Value::String(kind) => kind.as_str(),
            Value::Array(kinds) => kinds
                .iter()
                .filter_map(Value::as_str)
                .find(|kind| *kind != "null")
                .unwrap_or("null"),
            _ if schema.get("properties").is_some() || schema.get("allOf").is_some() => "object",
            _ if schema.get("items").is_some() => "array",
            _ => "string",
        };
        match kind {
            "object" => self.object(schema),
            "array" => {
                let least = schema["minItems"].as_u64().unwrap_or(0).min(16);
                let item = |_| self.build(&schema["items"], name);
                (0..least).map(item).collect()
            }
            "boolean" => json!(false),
            "integer" => number(schema, true),
            "number" => number(schema, false),
            "null" => Value::Null,
            _ => json!(text(schema, name)),
        }
    }

    fn object(&mut self, schema: &'a Value) -> Value {
        let mut required = Vec::new();
        collect_required(self.document, schema, &mut required, &mut Vec::new());
        let properties = self.document.properties(schema);
        let mut made = Map::new();
        for name in required {
            let property = properties.iter().find(|(known, _)| *known == name);
            let Some((_, property)) = property else {
                made.insert(name.to_owned(), json!("a"));
                continue;
            };
            if self.document.resolve(property)["readOnly"] != true {
                made.insert(name.to_owned(), self.build(property, name));
            }
        }
        Value::Object(made)
    }
}

fn collect_required<'a>(
    document: &'a Document,
    schema: &'a Value,
    found: &mut Vec<&'a str>,
    seen: &mut Vec<&'a Value>,
) {
    let schema = document.resolve(schema);
    if seen.len() >= MOST_VALUES || seen.iter().any(|known| std::ptr::eq(*known, schema)) {
        return;
    }
    seen.push(schema);
    let names = schema["required"].as_array().into_iter().flatten();
    for name in names.filter_map(Value::as_str) {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        collect_required(document, part, found, seen);
    }
}

fn number(schema: &Value, whole: bool) -> Value {
    let step = schema["multipleOf"].as_f64().filter(|step| *step > 0.0);
    let least = bound(schema, "minimum", "exclusiveMinimum", 1.0);
    let most = bound(schema, "maximum", "exclusiveMaximum", -1.0);
    let mut value = 1.0_f64;
    if let Some(most) = most {
        value = value.min(most);
    }
    if let Some(least) = least {
        value = value.max(least);
    }
    if let Some(step) = step {
        value = (value / step).ceil() * step;
    }
    if whole || value.fract() == 0.0 {
        // A bound beyond i64 is met as well as can be.
        return json!(value.ceil() as i64);
    }
    Number::from_f64(value).map_or(json!(1), Value::Number)
}

/// A bound as a number that may be taken; the exclusive one is moved by one, or by its boolean of OpenAPI 3.0.
fn bound(schema: &Value, inclusive: &str, exclusive: &str, step: f64) -> Option<f64> {
    let open = match &schema[exclusive] {
        Value::Bool(true) => return schema[inclusive].as_f64().map(|limit| limit + step),
        other => other.as_f64().map(|limit| limit + step),
    };
    open.or_else(|| schema[inclusive].as_f64())
}

fn text(schema: &Value, name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let formatted = match schema["format"].as_str().unwrap_or_default() {
        "email" | "idn-email" => Some("someone@example.com"),
        "uuid" => Some("3fa85f64-5717-4562-b3fc-2c963f66afa6"),
        "date-time" => Some("2025-01-02T03:04:05Z"),
        "date" => Some("2025-01-02"),
        "time" => Some("03:04:05Z"),
        "duration" => Some("PT1M"),
        "uri" | "url" | "uri-reference" | "iri" => Some("https://example.com/"),
        "hostname" => Some("example.com"),
        "ipv4" => Some("192.0.2.1"),
        "ipv6" => Some("2001:db8::1"),
        "byte" => Some("YQ=="),
        "password" => Some("Secret-1234567"),
        "" if lower.contains("email") => Some("someone@example.com"),
        "" if lower.contains("password") => Some("Secret-1234567"),
        "" if lower == "url" || lower.ends_with("_url") => Some("https://example.com/"),
        _ => None,
    };
    if let Some(text) = formatted {
        return text.to_owned();
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && let Some(text) = of_pattern(pattern)
    {
        return text;
    }
    let least = schema["minLength"].as_u64().unwrap_or(0).min(10_000);
    let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
    let mut text = String::from(if lower.is_empty() { "a" } else { "sample" });
    while (text.len() as u64) < least {
        text.push('a');
    }
    text.chars()
        .take(usize::try_from(most).unwrap_or(usize::MAX))
        .collect()
}

/// A text that matches a pattern. The anchors mean the whole text, which is what is made anyway.
fn of_pattern(pattern: &str) -> Option<String> {
    let inner = pattern.strip_prefix('^').unwrap_or(pattern);
    let inner = inner.strip_suffix('$').unwrap_or(inner);
    let strategy = proptest::string::string_regex(inner).ok()?;
    let mut runner = TestRunner::deterministic();
    Some(strategy.new_tree(&mut runner).ok()?.current())
}
