//! The plainest request of an operation, as a person would write it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    openapi::{Content, Document, Operation, Place, plain},
    request::{Body, Csrf, Part, Request, UNIQUE, Who, scalar},
};

/// A unique text is as long; what has less room is left alone.
const UNIQUE_LENGTH: u64 = 12;

/// The plainest request of an operation: what is required and nothing more, new names where texts are free.
pub(crate) fn plain_request(document: &Document, operation: &Operation, who: Who) -> Request {
    let mut request = Request {
        operation: Some(operation.name.clone()),
        method: operation.method.as_str().to_owned(),
        path: operation.path.clone(),
        path_values: BTreeMap::new(),
        query: Vec::new(),
        headers: Vec::new(),
        body: Body::None,
        who,
        csrf: Csrf::Right,
    };
    for parameter in operation.parameters.iter().filter(|p| p.required) {
        let value = plain(document, &parameter.schema);
        let value = Part::Text(scalar(&value).unwrap_or_else(|| value.to_string()));
        let name = parameter.name.clone();
        match parameter.place {
            Place::Path => {
                request.path_values.insert(name, value);
            }
            Place::Query => request.query.push((name, value)),
            Place::Header => request.headers.push((name, value)),
        }
    }
    if let Some(content) = operation.body().filter(|_| operation.body_required) {
        request.body = plain_body(document, content, operation.documents(409));
    }
    request
}

fn plain_body(document: &Document, content: &Content, conflicts: bool) -> Body {
    let Some(schema) = &content.schema else {
        return if content.is_json() {
            Body::Json(json!({}))
        } else {
            Body::None
        };
    };
    let mut value = plain(document, schema);
    if content.is_json() {
        with_new_names(document, schema, &mut value, conflicts);
        return Body::Json(value);
    }
    if content.media_type == "application/x-www-form-urlencoded" {
        let members = value.as_object().cloned().unwrap_or_default();
        let pairs = members
            .into_iter()
            .map(|(name, value)| (name, scalar(&value).unwrap_or_default()));
        return Body::Form(pairs.collect());
    }
    Body::None
}

/// Puts a unique text where any will do. Where the operation may be refused for a name that is taken, examples give way.
pub(crate) fn with_new_names(
    document: &Document,
    schema: &Value,
    value: &mut Value,
    conflicts: bool,
) {
    let Value::Object(members) = value else {
        return;
    };
    for (name, property) in document.properties(schema) {
        let property = document.not_null(property);
        let Some(member) = members.get_mut(name) else {
            continue;
        };
        if member.is_object() {
            with_new_names(document, property, member, conflicts);
        }
        let Some(text) = member.as_str() else {
            continue;
        };
        let lower = name.to_ascii_lowercase();
        let given = ["example", "examples", "default"]
            .iter()
            .any(|word| property.get(*word).is_some());
        let fixed = ["enum", "const", "pattern"]
            .iter()
            .any(|word| property.get(*word).is_some());
        let room = property["maxLength"].as_u64().unwrap_or(u64::MAX) >= UNIQUE_LENGTH
            && property["minLength"].as_u64().unwrap_or(0) <= UNIQUE_LENGTH;
        let secret = lower.contains("password") || property["writeOnly"] == true;
        if fixed || !room || secret || (given && !conflicts) {
            continue;
        }
        let format = property["format"].as_str().unwrap_or_default();
        let new = match format {
            "email" | "idn-email" => format!("{UNIQUE}@example.com"),
            "" if text.contains('@') => format!("{UNIQUE}@example.com"),
            "" if !text.contains("://") => UNIQUE.to_owned(),
            _ => continue,
        };
        *member = Value::String(new);
    }
}
