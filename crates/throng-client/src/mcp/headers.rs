//! Headers that mirror the message (2026-07-28): names, values and the annotations that ask for them (SEP-2243).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::tools::HeaderParam;

const ANNOTATION: &str = "x-mcp-header";

/// `text` as a header value: as it stands where it would arrive unchanged, else as `=?base64?...?=`.
pub(crate) fn encode(text: &str) -> HeaderValue {
    let plain = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
        && text.trim_matches([' ', '\t']).len() == text.len()
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    let value = if plain {
        HeaderValue::from_str(text)
    } else {
        HeaderValue::from_str(&format!("=?base64?{}?=", BASE64_STANDARD.encode(text)))
    };
    // Visible ASCII and spaces in both cases.
    value.unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The headers that the arguments of a call demand. A parameter that is absent, null or no primitive gets none.
pub(crate) fn from_arguments(
    params: &[HeaderParam],
    arguments: &[u8],
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let arguments: Value =
        serde_json::from_slice(arguments).map_err(|error| format!("the arguments: {error}"))?;
    Ok(params
        .iter()
        .filter_map(|param| {
            let value = param
                .path
                .iter()
                .try_fold(&arguments, |value, key| value.get(key))?;
            let text = match value {
                Value::String(text) => encode(text),
                Value::Bool(_) | Value::Number(_) => encode(&value.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            };
            Some((param.header.clone(), text))
        })
        .collect())
}

/// Finds the annotated parameters of a tool.
///
/// # Errors
/// What is wrong with an annotation, for which the whole tool must be dropped.
pub(crate) fn annotations(input_schema: &Value) -> Result<Vec<HeaderParam>, String> {
    let mut found = Vec::new();
    if let Value::Object(schema) = input_schema {
        if schema.contains_key(ANNOTATION) {
            return Err(format!("{ANNOTATION} on the whole schema"));
        }
        walk(schema, &mut Vec::new(), &mut found)?;
    }
    Ok(found)
}

/// Walks the properties of a schema that was itself reached by `path` through properties only.
fn walk(
    schema: &Map<String, Value>,
    path: &mut Vec<String>,
    found: &mut Vec<HeaderParam>,
) -> Result<(), String> {
    for (keyword, value) in schema {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                for (name, property) in properties {
                    let Value::Object(property) = property else {
                        continue;
                    };
                    path.push(name.clone());
                    if let Some(annotation) = property.get(ANNOTATION) {
                        let param = read(property, annotation, path, found)?;
                        found.push(param);
                    }
                    walk(property, path, found)?;
                    path.pop();
                }
            }
            // Data, not schemas.
            ("default" | "const" | "enum" | "examples" | ANNOTATION, _) => {}
            // A value behind `items`, `anyOf`, `$defs`, ... has no single place in the arguments.
            (_, value) if mentions(value) => {
                return Err(format!("{ANNOTATION} below `{keyword}`"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn read(
    property: &Map<String, Value>,
    annotation: &Value,
    path: &[String],
    found: &[HeaderParam],
) -> Result<HeaderParam, String> {
    let place = path.join(".");
    let name = annotation
        .as_str()
        .ok_or_else(|| format!("{ANNOTATION} of `{place}` is no string"))?;
    // The prefix makes any remainder long enough; an empty one is invalid all the same.
    let header = (!name.is_empty())
        .then(|| HeaderName::from_bytes(format!("mcp-param-{name}").as_bytes()).ok())
        .flatten()
        .ok_or_else(|| format!("{ANNOTATION} of `{place}` is no header name: {name:?}"))?;
    if found.iter().any(|other| other.header == header) {
        return Err(format!("{ANNOTATION} {name:?} is used twice"));
    }
    match property.get("type").and_then(Value::as_str) {
        Some("string" | "integer" | "boolean") => Ok(HeaderParam {
            path: path.to_vec(),
            header,
        }),
        _ => Err(format!(
            "{ANNOTATION} of `{place}`, which is neither a string, an integer nor a boolean"
        )),
    }
}

fn mentions(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.contains_key(ANNOTATION) || object.values().any(mentions),
        Value::Array(items) => items.iter().any(mentions),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_that_would_not_survive_are_encoded() {
        for (text, value) in [
            ("us-west1", "us-west1"),
            ("us west 1", "us west 1"),
            ("", ""),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("\tindented", "=?base64?CWluZGVudGVk?="),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            ("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="),
        ] {
            assert_eq!(encode(text), value, "{text:?}");
        }
    }

    #[test]
    fn annotated_parameters_become_headers() {
        let schema = json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "count": {"type": "integer", "x-mcp-header": "Count"},
            "dry": {"type": "boolean", "x-mcp-header": "Dry"},
            "gone": {"type": "string", "x-mcp-header": "Gone"},
            "nil": {"type": "string", "x-mcp-header": "Nil"},
            "deep": {"type": "object", "properties": {
                "er": {"type": "string", "x-mcp-header": "Deeper"}}},
            "free": {"type": "number"}}});
        let params = annotations(&schema).unwrap();
        let arguments =
            br#"{"region":"eu","count":3,"dry":true,"nil":null,"deep":{"er":"x"},"free":1.5}"#;
        let mut headers: Vec<(String, String)> = from_arguments(&params, arguments)
            .unwrap()
            .into_iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        headers.sort();
        let expected = [
            ("mcp-param-count", "3"),
            ("mcp-param-deeper", "x"),
            ("mcp-param-dry", "true"),
            ("mcp-param-region", "eu"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers, expected);
    }

    #[test]
    fn invalid_annotations_are_refused() {
        let property = |schema: Value| json!({"type": "object", "properties": {"p": schema}});
        for schema in [
            property(json!({"type": "string", "x-mcp-header": ""})),
            property(json!({"type": "string", "x-mcp-header": 3})),
            property(json!({"type": "string", "x-mcp-header": "a b"})),
            property(json!({"type": "string", "x-mcp-header": "a:b"})),
            property(json!({"type": "string", "x-mcp-header": "é"})),
            property(json!({"type": "string", "x-mcp-header": "a\t1"})),
            property(json!({"type": "number", "x-mcp-header": "A"})),
            property(json!({"type": "object", "x-mcp-header": "A"})),
            property(json!({"type": "null", "x-mcp-header": "A"})),
            property(json!({"x-mcp-header": "A"})),
            property(json!({"type": "array", "items": {"type": "string", "x-mcp-header": "A"}})),
            json!({"type": "object", "x-mcp-header": "A"}),
            json!({"type": "object", "$defs": {"d": {"type": "string", "x-mcp-header": "A"}}}),
            json!({"type": "object", "properties": {
                "a": {"type": "string", "x-mcp-header": "Region"},
                "b": {"type": "string", "x-mcp-header": "region"}}}),
        ] {
            assert!(annotations(&schema).is_err(), "{schema}");
        }
        let data = property(json!({"type": "string", "default": {"x-mcp-header": 1}}));
        assert_eq!(annotations(&data).unwrap().len(), 0);
    }
}
